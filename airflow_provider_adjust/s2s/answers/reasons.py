"""Every reason that a receipt can have: what it means, what to do about it, and whether a retry can help.

Log, failures, command line, rejected file, page and docs take their sentences from here. A reason is a short code to
count by; the receipt's detail says more about the one row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

#: A gateway got no answer, or none that it could read, so Adjust may have recorded the event: 502 and 504, and
#: Cloudflare's 520 and 524.
GATEWAY_STATUSES = frozenset({502, 504, 520, 524})
#: Depends on the worker's clock, so a later try may accept the same row.
IN_FUTURE = "created_at_in_future"
#: What Adjust's raw data exports said of an event in doubt.
SEEN_IN_EXPORT = "seen_in_export"
MISSING_IN_EXPORT = "missing_in_export"
#: Whoever sends these asks for another attempt.
BUSY_STATUSES = frozenset({408, 425, 429})


class Kind(Enum):
    """Where a reason comes from."""

    ROW = "refused before sending"
    ADJUST = "refused by Adjust"
    HALT = "a refusal of the whole batch"
    NOT_ADJUST = "something other than Adjust answered"
    IN_DOUBT = "sent, and its answer is unknown"
    HELD = "not delivered yet"
    SKIPPED = "not sent, because nothing has to be sent"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason by its code.

    ``meaning`` and ``remedy`` are a sentence each. ``retry_helps`` says whether a retry of the task, with nothing else
    changed, may deliver the event.
    """

    code: str
    meaning: str
    remedy: str
    kind: Kind
    retry_helps: bool = False

    @property
    def advice(self) -> str:
        """Whether a retry can help, and what to do, in one line."""
        return f"{'a retry may help' if self.retry_helps else 'a retry cannot help'}; {self.to_do}"

    @property
    def to_do(self) -> str:
        """The remedy within a sentence."""
        return self.remedy[0].lower() + self.remedy[1:].removesuffix(".")


#: A later try may find that the time has come, or that the worker's clock was put right.
_EARLY = (
    IN_FUTURE,
    "The time is more than 5 minutes in the future.",
    "Check the column's time zone, the timezone argument and the worker's clock.",
)
_ROW = (
    (
        "above_max_revenue",
        "The amount is above max_revenue.",
        "Check the unit: revenue is in currency units, not in cents or micros. If the amount is right, raise max_revenue.",
    ),
    ("conflicting_att_status", "The row has both att_status and tracking_enabled.", "Give only one of them."),
    (
        "conflicting_created_at",
        "The row's created_at and created_at_unix name different seconds.",
        "Give only one of them.",
    ),
    (
        "event_id_too_long",
        "The event id is longer than 255 characters.",
        "Use a shorter column in id_field, or a hash of it.",
    ),
    ("conflicting_revenue", "The row has both revenue and amount.", "Give only one of them."),
    (
        "expired",
        "The event is older than Adjust accepts: 58 days, or 28 days for ad revenue.",
        "Send sooner; Adjust no longer accepts this event.",
    ),
    (
        "invalid_<parameter>",
        "The value breaks the parameter's rule, as in invalid_revenue.",
        "Read the detail, then correct the query.",
    ),
    (
        "late_in_lane",
        "The event is older than the last one sent of its device and event token, so Adjust would refuse it.",
        "Send rows in time order, or set late='send_at_lane_time'.",
    ),
    (
        "missing_ad_impressions_count",
        "The ad revenue row has no number of impressions.",
        "Select it, or 1 AS ad_impressions_count if each row is one impression.",
    ),
    (
        "missing_app_token",
        "Neither the row, the operator nor the connection has an app token.",
        "Set it in the connection.",
    ),
    ("missing_created_at", "The row has no time.", "Select the time as created_at."),
    (
        "missing_currency",
        "The row has revenue but no currency.",
        "Select a currency column, or a constant: 'USD' AS currency.",
    ),
    (
        "missing_device_id",
        "The row has no usable device id: each is empty, all zeros, or a word for null.",
        "Join the device ids in the query, or leave such rows out.",
    ),
    (
        "missing_environment",
        "Neither the row, the operator nor the connection has an environment.",
        "Set it in the connection.",
    ),
    (
        "missing_event_id",
        "A column of id_field is missing or empty, or holds bytes or several values.",
        "Fill the column, cast it to text, or name another one.",
    ),
    ("missing_event_token", "Neither the row nor the operator has an event token.", "Set event_token or event_tokens."),
    ("missing_revenue", "The ad revenue row has no amount.", "Select it as revenue, or leave such rows out."),
    ("missing_sharing", "The row does not say enable or disable.", "Select one of the two as sharing."),
    ("not_a_row", "The row is not a mapping.", "Pass mappings of column names to values."),
    ("repeated_event_id", "Another row has the same event id.", "Remove the duplicate; a join may have produced it."),
    (
        "repeated_parameter",
        "Two columns give the same parameter, or a JSON object repeats a name.",
        "Keep one of them.",
    ),
    ("unknown_event", "The name in the event column is not in event_tokens.", "Add the name to event_tokens."),
    (
        "unknown_parameter",
        "Adjust has no parameter with the column's name.",
        "Rename or drop the column, or list it in extra_params.",
    ),
    ("unknown_route", "No connection is set for the value of route_by.", "Add the value to adjust_conn_id."),
    (
        "unreadable_row",
        "A line is not valid JSON or CSV, or has too many or too few fields; or a value cannot be read.",
        "Correct the line that the detail names, or cast the column to text.",
    ),
)
_ADJUST = (
    ("earlier_unique_event", "Adjust counts this event once per device, and already has it.", "Nothing to do."),
    (
        "device_not_found",
        "Adjust knows no install of this device in this app.",
        "Check environment and app token; if the install was reported later, send the event again.",
    ),
    (
        "device_opted_out",
        "The device opted out or was erased. A ledger remembers this and sends nothing more for it.",
        "Stop sending events of this device.",
    ),
    (
        "bad_event_state",
        "The event does not fit what Adjust knows: its time is before the install, for example.",
        "Compare its time with the install and with the device's last event.",
    ),
    ("invalid_revenue", "Adjust does not accept the amount.", "Correct the amount."),
    ("invalid_callback_params", "The callback parameters cannot be read.", "Correct callback_params."),
    ("event_token_blocklisted", "The event token is blocked in Adjust.", "Unblock it, or use another one."),
    ("too_large", "The request is larger than 1,000,000 bytes.", "Shorten the parameters."),
    ("unknown_error", "The answer has status 200 and an error that Adjust does not document.", "Read the detail."),
)
_FIX_AUTHORIZATION = (
    "Put the app's S2S security token into the connection "
    "(Adjust: AppView > All apps > app > Protection > S2S Security)."
)
_FIX_APP = "Compare app_token in the connection or the operator with the app's page in Adjust."
_HALT = (
    ("missing_s2s_token", "S2S authentication is on, and the request had no token.", _FIX_AUTHORIZATION),
    ("wrong_s2s_token", "Adjust does not know the S2S security token, or the token is inactive.", _FIX_AUTHORIZATION),
    ("not_authorized", "Adjust refused the S2S security token with status 401.", _FIX_AUTHORIZATION),
    (
        "insufficient_scope",
        "The S2S security token lacks the scope for these requests.",
        "Give the S2S token the scope in Adjust: Events, or Ad revenue.",
    ),
    (
        "accepted_not_recorded",
        "Adjust answered 202 without a message that it documents.",
        "Check the S2S security token in the connection: Adjust answers 202 to a token that it refuses.",
    ),
    ("invalid_app_token", "Adjust does not know the app token.", _FIX_APP),
    ("app_token_not_found", "Adjust does not know the app token.", _FIX_APP),
    (
        "invalid_event_token",
        "The event token does not exist, or belongs to another app.",
        "Check event_token; it must belong to the app of app_token.",
    ),
    ("app_inactive", "The app is deactivated in Adjust.", "Activate the app in Adjust's dashboard."),
    (
        "tracking_disabled",
        "Measurement is not enabled for the app's platform.",
        "Have measurement enabled for the app's platform in Adjust.",
    ),
    (
        "tls_refused",
        "The worker does not trust the endpoint's certificate.",
        "Check the connection's endpoint and the certificates that the worker trusts.",
    ),
)
_NOT_ADJUST = (
    (
        "not_adjust",
        "Something other than Adjust answered with a 2xx or 4xx: a web page or an empty 403, for example.",
        "Check the firewall or proxy on the way, and the connection's endpoint; Adjust's is https://s2s.adjust.com.",
    ),
    (
        "redirected",
        "The endpoint redirects, or the network asks for a login.",
        "Check the connection's endpoint; Adjust's is https://s2s.adjust.com, and redirects are not followed.",
    ),
    (
        "proxy_not_authorized",
        "The proxy asks for credentials (407).",
        "Add the proxy's credentials to the worker's proxy settings.",
    ),
)
_LOOK_UP = "Look it up in Adjust. If it is missing, send it as a separate row."
#: What the next try takes up again.
_RETRY_OR_LOOK_UP = (
    "Retry the task. With on_in_doubt='hold', look it up in Adjust, and send it as a separate row if it is missing."
)
#: The next try sends it again, unless ``on_in_doubt`` says otherwise.
_IN_DOUBT = (
    (
        "no_answer",
        "The request was sent, but no complete answer arrived: a timeout, a reset, or a truncated answer.",
        _RETRY_OR_LOOK_UP,
    ),
    ("unreadable_answer", "The answer has status 200, but its JSON is broken or truncated.", _RETRY_OR_LOOK_UP),
    ("not_verified", "The Device API could not tell whether Adjust has the event.", _RETRY_OR_LOOK_UP),
)
_LEFT_IN_DOUBT = (
    (
        "answer_too_long",
        "The answer has status 200 and more than 1 MB, so it is not read. The event is not sent again.",
        f"Check the endpoint. {_LOOK_UP}",
    ),
    (
        "shared_second",
        "Adjust has an event of this second, but it may be another row of the same device and event token.",
        "Look both up in Adjust.",
    ),
    ("too_many_resends", "None of the requests that max_resends allows got an answer.", _LOOK_UP),
    (
        "refused_after_resend",
        "Adjust refused the event for its order, perhaps because an earlier request had recorded it.",
        "Look it up in Adjust. If it is there, tolerate the reason.",
    ),
)
_HELD = (
    (
        "connection_failed",
        "No attempt got a connection, so the request was never sent.",
        "Check the endpoint and the network.",
    ),
    ("internal_error", "Adjust answered Internal error to the last attempt.", "Retry the task later."),
    ("lane_held", "An earlier event of the same device and event token is unresolved.", "Resolve that event first."),
    (
        MISSING_IN_EXPORT,
        "Its answer was lost, and it is not in Adjust's raw data exports: Adjust never recorded it.",
        "Send its row again; the ledger lets it through.",
    ),
    ("sent_elsewhere", "Another task is sending the event.", "Retry the task later."),
    (
        "stopped",
        "The delivery stopped before the event was sent, or while it waited to be sent again.",
        "See why the delivery stopped.",
    ),
)
_SKIPPED = (
    ("delivered_before", "The ledger shows that another run delivered it.", "Nothing to do."),
    (
        "differs_from_delivered",
        "It was delivered with another time or amount: its row has changed, or id_field gives two events one id.",
        "Send the difference as a new event, or add columns to id_field. Adjust cannot change an event.",
    ),
    (SEEN_IN_EXPORT, "Its answer was lost, but it is in Adjust's raw data exports: it is delivered.", "Nothing to do."),
    ("refused_before", "The ledger shows that Adjust refused it in another run.", "Change the row to send it again."),
    (
        "erased",
        "It was erased from the ledger, which keeps its id so that it is never sent again.",
        "Remove its row from the source.",
    ),
    ("dry_run", "It would be sent; a dry run sends nothing.", "Set dry_run=False to send it."),
)
_ANY_STATUS = "http_<status>"
_REFUSED_STATUS = (_ANY_STATUS, "Adjust answered 4xx with a message that it does not document.", "Read the detail.")
_GATEWAY_STATUS = (
    _ANY_STATUS,
    "A gateway got no answer from Adjust (502, 504, 520, 524), and Adjust may have the event.",
    _RETRY_OR_LOOK_UP,
)
_STRANGE_STATUS = (_ANY_STATUS, "The answer has a status that Adjust never gives, such as 201.", _LOOK_UP)
_BUSY_STATUS = (_ANY_STATUS, "The last attempt was answered 408, 425, 429 or another 5xx.", "Retry the task later.")


def _of(kind: Kind, *reasons: tuple[str, str, str], retry_helps: bool = False) -> tuple[Reason, ...]:
    return tuple(Reason(*each, kind, retry_helps) for each in reasons)


#: Every reason, by kind.
REASONS = (
    *_of(Kind.ROW, *_ROW),
    *_of(Kind.ROW, _EARLY, retry_helps=True),
    *_of(Kind.ADJUST, *_ADJUST, _REFUSED_STATUS),
    *_of(Kind.HALT, *_HALT),
    *_of(Kind.NOT_ADJUST, *_NOT_ADJUST, retry_helps=True),
    *_of(Kind.IN_DOUBT, *_IN_DOUBT, _GATEWAY_STATUS, retry_helps=True),
    *_of(Kind.IN_DOUBT, *_LEFT_IN_DOUBT, _STRANGE_STATUS),
    *_of(Kind.HELD, *_HELD, _BUSY_STATUS, retry_helps=True),
    *_of(Kind.SKIPPED, *_SKIPPED),
)
_BY_CODE = {reason.code: reason for reason in REASONS if reason.code != _ANY_STATUS}
_REFUSED, _GATEWAY, _STRANGE, _BUSY = (reason for reason in REASONS if reason.code == _ANY_STATUS)


def reason_of(code: str) -> Reason:
    """The reason that a receipt's code names; one that another version wrote may be unknown."""
    if known := _BY_CODE.get(code):
        return known
    if status := re.fullmatch("http_([0-9]+)", code):
        return replace(_of_status(int(status[1])), code=code)
    if code.startswith("invalid_"):
        return replace(_BY_CODE["invalid_<parameter>"], code=code)
    return Reason(code, "This version does not know the reason.", "Read the detail.", Kind.ROW)


def _of_status(status: int) -> Reason:
    if status in GATEWAY_STATUSES:
        return _GATEWAY
    if status in BUSY_STATUSES or status >= 500:
        return _BUSY
    return _REFUSED if 400 <= status < 500 else _STRANGE

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
#: Refused by the clock of a worker, and not by what the row says for good.
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
    IN_DOUBT = "sent, and its answer does not tell"
    HELD = "not delivered yet"
    SKIPPED = "not sent, and nothing to send"


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
    "The time lies more than 5 minutes ahead.",
    "Check the time zone of the column, the argument timezone, and the worker's clock.",
)
_ROW = (
    (
        "above_max_revenue",
        "The amount is above max_revenue.",
        "Check the unit: revenue is in units, not in cents or micros. Else raise the limit.",
    ),
    ("conflicting_att_status", "Both att_status and tracking_enabled are given.", "Give one."),
    ("conflicting_created_at", "created_at and created_at_unix name different seconds.", "Give one."),
    (
        "event_id_too_long",
        "The event id has more than 255 characters.",
        "Name a shorter column in id_field, or a digest of it.",
    ),
    ("conflicting_revenue", "Both revenue and amount are given.", "Give one."),
    (
        "expired",
        "It is older than Adjust takes: an event more than 58 days, ad revenue more than 28.",
        "Send sooner: Adjust no longer takes it.",
    ),
    (
        "invalid_<parameter>",
        "The value breaks the parameter's rule, as in invalid_revenue.",
        "Read the detail; correct the query.",
    ),
    (
        "late_in_lane",
        "It is older than the last event that was sent of its device and event token, which Adjust refuses.",
        "Send rows in the order of their times, or set late='send_at_lane_time'.",
    ),
    (
        "missing_ad_impressions_count",
        "A row of ad revenue does not say for how many impressions.",
        "Select it, or 1 AS ad_impressions_count where a row is one impression.",
    ),
    ("missing_app_token", "Row, operator and connection have no app token.", "Set it in the connection."),
    ("missing_created_at", "The row has no time.", "Select the time as created_at."),
    ("missing_currency", "There is revenue without currency.", "Select a currency, or a constant: 'USD' AS currency."),
    (
        "missing_device_id",
        "The row has no usable device id: it has none, or only zeros or words for null.",
        "Join the device ids, or leave such rows out.",
    ),
    ("missing_environment", "Row, operator and connection have no environment.", "Set it in the connection."),
    (
        "missing_event_id",
        "A column of id_field is empty or not there, or holds bytes or several values.",
        "Fill it, cast it, or name another column.",
    ),
    ("missing_event_token", "Row and operator have no event token.", "Set event_token or event_tokens."),
    ("missing_revenue", "A row of ad revenue has no amount.", "Select it as revenue, or leave such rows out."),
    ("missing_sharing", "The row does not say enable or disable.", "Select it as sharing."),
    ("not_a_row", "The row is not a mapping.", "Give mappings of names to values."),
    ("repeated_event_id", "Another row has this event id.", "Remove the duplicate; a join may have doubled it."),
    ("repeated_parameter", "Two columns give one parameter, or a JSON object has a name twice.", "Keep one."),
    ("unknown_event", "The name in the column event is not in event_tokens.", "Add it."),
    ("unknown_parameter", "Adjust knows no such name.", "Rename or drop the column, or name it in extra_params."),
    ("unknown_route", "The value of route_by has no connection.", "Add it to adjust_conn_id."),
    (
        "unreadable_row",
        "A line of the file is not JSON or CSV or has too many or too few fields, or a value has no text.",
        "Correct the line that the detail names, or cast the column to text.",
    ),
)
_ADJUST = (
    ("earlier_unique_event", "The event counts once per device, and has been counted.", "Nothing to do."),
    (
        "device_not_found",
        "Adjust knows no install of this device in this app.",
        "Check environment and app token; if the install was reported later, send the event again.",
    ),
    (
        "device_opted_out",
        "The device has opted out, or was erased; a ledger remembers it, and asks no more.",
        "Send nothing of this device.",
    ),
    (
        "bad_event_state",
        "The event does not meet Adjust's expectations: its time is before the install, for example.",
        "Compare its time with the install and with the device's last event.",
    ),
    ("invalid_revenue", "The amount is not one that Adjust takes.", "Correct the amount."),
    ("invalid_callback_params", "The callback parameters cannot be read.", "Correct callback_params."),
    ("event_token_blocklisted", "The event token is blocked in Adjust.", "Unblock it, or use another."),
    ("too_large", "The request is larger than 1,000,000 bytes.", "Shorten the parameters."),
    ("unknown_error", "Status 200 with an error that is in no table of Adjust's.", "Read the detail."),
)
_FIX_AUTHORIZATION = (
    "Put the app's S2S security token into the connection "
    "(Adjust: AppView > All apps > app > Protection > S2S Security)."
)
_FIX_APP = "Check app_token in the connection or the operator against the app's page in Adjust."
_HALT = (
    ("missing_s2s_token", "S2S authentication is on, and no token was sent.", _FIX_AUTHORIZATION),
    ("wrong_s2s_token", "Adjust does not know the S2S security token, or it is not active.", _FIX_AUTHORIZATION),
    ("not_authorized", "Adjust refuses the S2S security token with 401.", _FIX_AUTHORIZATION),
    (
        "insufficient_scope",
        "The S2S security token lacks the scope of what is sent.",
        "Give the S2S token the scope in Adjust: Events, or Ad revenue.",
    ),
    (
        "accepted_not_recorded",
        "202 without a message that Adjust documents.",
        "Check the S2S security token in the connection: Adjust answers 202 to one that it refuses.",
    ),
    ("invalid_app_token", "Adjust does not know the app.", _FIX_APP),
    ("app_token_not_found", "Adjust does not know the app.", _FIX_APP),
    (
        "invalid_event_token",
        "The event does not exist, or belongs to another app.",
        "Check event_token; it must belong to the app of app_token.",
    ),
    ("app_inactive", "The app is deactivated.", "Activate the app in Adjust's dashboard."),
    (
        "tracking_disabled",
        "Measurement is not enabled for the app's platform.",
        "Have measurement enabled for the app's platform in Adjust.",
    ),
    (
        "tls_refused",
        "The endpoint's certificate was refused.",
        "Check the connection's endpoint and the certificates that the worker trusts.",
    ),
)
_NOT_ADJUST = (
    (
        "not_adjust",
        "A 2xx or 4xx that is not in Adjust's words: a web page, for example, or nothing at all.",
        "Check the firewall or proxy on the way; check the connection's endpoint; Adjust's is https://s2s.adjust.com.",
    ),
    (
        "redirected",
        "The endpoint redirects, or a network does that wants a login.",
        "Check the connection's endpoint; Adjust's is https://s2s.adjust.com, and redirects are not followed.",
    ),
    (
        "proxy_not_authorized",
        "The proxy wants credentials (407).",
        "Give the proxy's credentials in the worker's proxy settings.",
    ),
)
_LOOK_UP = "Look it up in Adjust; if it is missing, send it as a row of its own."
#: What the next try takes up again.
_RETRY_OR_LOOK_UP = (
    "Retry the task; with on_in_doubt='hold', look it up in Adjust and send it as a row of its own if it is missing."
)
#: The next try sends it again, unless ``on_in_doubt`` says otherwise.
_IN_DOUBT = (
    (
        "no_answer",
        "The request was sent, and no whole answer came: a timeout, a reset, or a cut answer.",
        _RETRY_OR_LOOK_UP,
    ),
    ("unreadable_answer", "Status 200 with JSON that is broken or cut.", _RETRY_OR_LOOK_UP),
    ("not_verified", "The Device API could not tell whether Adjust has the event.", _RETRY_OR_LOOK_UP),
)
_LEFT_IN_DOUBT = (
    (
        "answer_too_long",
        "Status 200 with more than 1 MB, which is not read. It is not sent again.",
        f"Check the endpoint. {_LOOK_UP}",
    ),
    (
        "shared_second",
        "Adjust has an event of this second, perhaps another row's of the same device and event token.",
        "Look both up in Adjust.",
    ),
    ("too_many_resends", "No answer came to any of the requests that max_resends allows.", _LOOK_UP),
    (
        "refused_after_resend",
        "Adjust refuses its order, and an earlier request may have recorded it.",
        "Look it up in Adjust; if it is there, tolerate the reason.",
    ),
)
_HELD = (
    ("connection_failed", "No attempt had a connection; the request was never sent.", "Check endpoint and network."),
    ("internal_error", "Adjust answered Internal error to the last attempt.", "Retry the task later."),
    ("lane_held", "An earlier event of its device and event token is unresolved.", "Resolve that one first."),
    (
        MISSING_IN_EXPORT,
        "No answer came, and Adjust's raw data exports do not have it: it did not arrive.",
        "Send its row again; the ledger lets it pass.",
    ),
    ("sent_elsewhere", "Another task is sending it just now.", "Retry the task later."),
    (
        "stopped",
        "The delivery stopped before its turn, or while it waited to be sent again.",
        "See why the delivery stopped.",
    ),
)
_SKIPPED = (
    ("delivered_before", "The ledger knows that another run delivered it.", "Nothing to do."),
    (
        "differs_from_delivered",
        "It was delivered with another time or amount: its row was corrected since, or id_field names two events alike.",
        "Book the difference as an event of its own, or name more columns in id_field. Adjust cannot change an event.",
    ),
    (SEEN_IN_EXPORT, "No answer came, and Adjust's raw data exports have it: it is delivered.", "Nothing to do."),
    ("refused_before", "The ledger knows that Adjust refused it in another run.", "Change the row to send it again."),
    (
        "erased",
        "It was erased from the ledger, which keeps its id so that it is never sent again.",
        "Remove its row from the source.",
    ),
    ("dry_run", "It would be sent; a dry run sends nothing.", "Set dry_run=False to send."),
)
_ANY_STATUS = "http_<status>"
_REFUSED_STATUS = (_ANY_STATUS, "A 4xx of Adjust's with a message that is in no table.", "Read the detail.")
_GATEWAY_STATUS = (
    _ANY_STATUS,
    "A gateway had no answer from Adjust (502, 504, 520, 524), which may have the event.",
    _RETRY_OR_LOOK_UP,
)
_STRANGE_STATUS = (_ANY_STATUS, "A status that Adjust never gives: 201, for example.", _LOOK_UP)
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

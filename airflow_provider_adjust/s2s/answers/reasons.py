"""Every reason that a receipt can have: what happened, what to do, and whether a retry can help.

The log, the failures, the command line, the rejected file, the page and the docs take their sentences from here. A reason
is a short code to count by; the receipt's detail says more about the one row.
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
    IN_DOUBT = "sent, but the answer does not show whether it was recorded"
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
    "The time is more than 5 minutes in the future.",
    "Check the column's time zone, the timezone argument, and the worker's clock.",
)
_KEEP_ONE = "Keep one of the two columns."
_ROW = (
    (
        "above_max_revenue",
        "The amount is above max_revenue.",
        "Check that the amount is in units, not in cents or micros. If it is right, raise max_revenue.",
    ),
    ("conflicting_att_status", "The row has both att_status and tracking_enabled.", _KEEP_ONE),
    ("conflicting_created_at", "created_at and created_at_unix are different seconds.", _KEEP_ONE),
    (
        "event_id_too_long",
        "The event id is longer than 255 characters.",
        "Name a shorter column in id_field, or a hash of this one.",
    ),
    ("conflicting_revenue", "The row has both revenue and amount.", _KEEP_ONE),
    (
        "expired",
        "The event is older than Adjust accepts: 58 days, or 28 days for ad revenue.",
        "Leave the event out: Adjust no longer accepts it. Send such events sooner.",
    ),
    (
        "invalid_<parameter>",
        "The value breaks the rule of the parameter in the code: revenue in invalid_revenue, for example.",
        "Read the detail, then correct the query.",
    ),
    (
        "late_in_lane",
        "A later event of the same device and event token was sent before, so Adjust would refuse this one.",
        "Send rows in time order, or set late='send_at_lane_time'.",
    ),
    (
        "missing_ad_impressions_count",
        "The ad revenue row has no number of impressions.",
        "Select ad_impressions_count, or 1 AS ad_impressions_count if each row is one impression.",
    ),
    (
        "missing_app_token",
        "The row, the operator and the connection have no app token.",
        "Set the app token in the connection.",
    ),
    ("missing_created_at", "The row has no time.", "Select the time as created_at."),
    (
        "missing_currency",
        "The row has revenue but no currency.",
        "Select a currency, or a constant: 'USD' AS currency.",
    ),
    (
        "missing_device_id",
        "The row has no usable device id: it has none, or only zeros or words for null.",
        "Join the device ids, or filter such rows out.",
    ),
    (
        "missing_environment",
        "The row, the operator and the connection have no environment.",
        "Set the environment in the connection.",
    ),
    (
        "missing_event_id",
        "A column of id_field is missing or empty, or holds bytes or several values.",
        "Fill the column, cast it to text, or name another one in id_field.",
    ),
    ("missing_event_token", "The row and the operator have no event token.", "Set event_token or event_tokens."),
    ("missing_revenue", "The ad revenue row has no amount.", "Select the amount as revenue, or filter such rows out."),
    ("missing_sharing", "The row does not say enable or disable.", "Select enable or disable as sharing."),
    ("not_a_row", "The row is not a mapping.", "Pass each row as a mapping of column names to values, such as a dict."),
    (
        "repeated_event_id",
        "Another row has the same event id.",
        "Remove the duplicate; check whether a join doubled the row.",
    ),
    (
        "repeated_parameter",
        "Two columns set the same parameter, or a JSON object repeats a name.",
        "Keep one of the two.",
    ),
    ("unknown_event", "The name in the event column is not in event_tokens.", "Add the name to event_tokens."),
    (
        "unknown_parameter",
        "Adjust has no parameter of this name.",
        "Rename or drop the column, or list it in extra_params.",
    ),
    (
        "unknown_route",
        "The row's value of route_by has no connection.",
        "Add the value and its connection to adjust_conn_id.",
    ),
    (
        "unreadable_row",
        "The line is not valid JSON or CSV or has too many or too few fields, or a value cannot be written as text.",
        "Correct the line that the detail names, or cast the column to text.",
    ),
)
_ADJUST = (
    ("earlier_unique_event", "Adjust counts this event once per device, and already has one.", "Nothing to do."),
    (
        "device_not_found",
        "Adjust knows no install of this device in this app and environment.",
        "Check the environment and the app token; if Adjust learned of the install later, send the event again.",
    ),
    (
        "device_opted_out",
        "The device opted out or was erased. With a ledger, later events of it are not sent.",
        "Stop sending events of this device.",
    ),
    (
        "bad_event_state",
        "The event does not fit what Adjust knows: for example, its time is before the install.",
        "Compare its time with the install and with the device's last event.",
    ),
    ("invalid_revenue", "Adjust does not accept the amount.", "Correct the amount."),
    ("invalid_callback_params", "Adjust cannot read the callback parameters.", "Correct callback_params."),
    (
        "event_token_blocklisted",
        "The event token is blocked in Adjust.",
        "Unblock the event token in Adjust, or use another one.",
    ),
    ("too_large", "The request is larger than 1,000,000 bytes.", "Shorten the event's parameters."),
    ("unknown_error", "Adjust answered 200 with an error that it does not document.", "Read the detail."),
)
_FIX_AUTHORIZATION = (
    "Put the app's S2S security token into the connection "
    "(Adjust: AppView > All apps > app > Protection > S2S Security)."
)
_FIX_APP = "Compare app_token in the connection or the operator with the app's page in Adjust."
_HALT = (
    ("missing_s2s_token", "The app requires an S2S security token, and none was sent.", _FIX_AUTHORIZATION),
    ("wrong_s2s_token", "Adjust does not know the S2S security token, or it is not active.", _FIX_AUTHORIZATION),
    ("not_authorized", "Adjust refused the S2S security token with 401.", _FIX_AUTHORIZATION),
    (
        "insufficient_scope",
        "The S2S security token lacks the scope for what you send.",
        "Give the S2S security token the scope in Adjust: Events, or Ad revenue.",
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
        "Check event_token: it must belong to the app of app_token.",
    ),
    ("app_inactive", "The app is deactivated.", "Activate the app in Adjust's dashboard."),
    (
        "tracking_disabled",
        "Measurement is not enabled for the app's platform.",
        "Have measurement enabled for the app's platform in Adjust.",
    ),
    (
        "tls_refused",
        "The endpoint's certificate is not trusted.",
        "Check the connection's endpoint and the certificates that the worker trusts.",
    ),
)
_NOT_ADJUST = (
    (
        "not_adjust",
        "A 2xx or 4xx answer that is not in Adjust's format: for example a web page, or an empty body with any status but 200.",
        "Check the proxy or firewall in between; check the connection's endpoint; Adjust's is https://s2s.adjust.com.",
    ),
    (
        "redirected",
        "The endpoint redirects, or a network asks for a login.",
        "Check the connection's endpoint; Adjust's is https://s2s.adjust.com, and redirects are not followed.",
    ),
    (
        "proxy_not_authorized",
        "The proxy asks for credentials (407).",
        "Add the credentials to the worker's proxy settings.",
    ),
)
_LOOK_UP = "Look the event up in Adjust; if it is missing, send it as a separate row."
#: What the next try takes up again.
_RETRY_OR_LOOK_UP = (
    "Retry the task; with on_in_doubt='hold', look the event up in Adjust and send it as a separate row if Adjust "
    "does not have it."
)
#: The next try sends it again, unless ``on_in_doubt`` says otherwise.
_IN_DOUBT = (
    (
        "no_answer",
        "The request was sent, and no complete answer arrived: a timeout, a reset, or a truncated answer.",
        _RETRY_OR_LOOK_UP,
    ),
    ("unreadable_answer", "A 200 answer with JSON that is broken or truncated.", _RETRY_OR_LOOK_UP),
    ("not_verified", "The Device API could not confirm whether Adjust has the event.", _RETRY_OR_LOOK_UP),
)
_LEFT_IN_DOUBT = (
    (
        "answer_too_long",
        "A 200 answer of more than 1 MB, which is not read. The event is not sent again.",
        f"Check the endpoint. {_LOOK_UP}",
    ),
    (
        "shared_second",
        "Adjust has an event of this second, perhaps that of another row with the same device and event token.",
        "Look up both events in Adjust.",
    ),
    ("too_many_resends", "None of the requests that max_resends allows was answered.", _LOOK_UP),
    (
        "refused_after_resend",
        "Adjust refused the event as out of order, and an earlier request may have recorded it.",
        "Look the event up in Adjust; if it is there, tolerate this reason.",
    ),
)
_HELD = (
    (
        "connection_failed",
        "No attempt could connect; the request was never sent.",
        "Check the endpoint and the network, then retry the task.",
    ),
    ("internal_error", "Adjust answered Internal error to the last attempt.", "Retry the task later."),
    (
        "lane_held",
        "An earlier event of the same device and event token is unresolved.",
        "Resolve the earlier event first.",
    ),
    (
        MISSING_IN_EXPORT,
        "No answer arrived, and Adjust's raw data exports do not have the event: it was not recorded.",
        "Send its row again; the ledger allows it.",
    ),
    ("sent_elsewhere", "Another task is sending the event right now.", "Retry the task later."),
    (
        "stopped",
        "The delivery stopped before the event was sent, or before it was sent again.",
        "Fix what stopped the delivery; the task's error names it.",
    ),
)
_SKIPPED = (
    ("delivered_before", "The ledger shows that another run delivered the event.", "Nothing to do."),
    (
        "differs_from_delivered",
        "The event was delivered with another time or amount: the row was corrected since, or two events share an id.",
        "Send the difference as a new event, or name more columns in id_field. Adjust cannot change an event.",
    ),
    (
        SEEN_IN_EXPORT,
        "No answer arrived, but Adjust's raw data exports have the event: it is delivered.",
        "Nothing to do.",
    ),
    (
        "refused_before",
        "The ledger shows that Adjust refused the event in another run.",
        "Change the row to send it again.",
    ),
    (
        "erased",
        "The event was erased from the ledger, which keeps its id so that it is never sent again.",
        "Remove its row from the source.",
    ),
    ("dry_run", "The event would be sent; a dry run sends nothing.", "Set dry_run=False to send it."),
)
_ANY_STATUS = "http_<status>"
_REFUSED_STATUS = (_ANY_STATUS, "Adjust answered 4xx with a message that it does not document.", "Read the detail.")
_GATEWAY_STATUS = (
    _ANY_STATUS,
    "A gateway got no answer from Adjust (502, 504, 520, 524). Adjust may have the event.",
    _RETRY_OR_LOOK_UP,
)
_STRANGE_STATUS = (_ANY_STATUS, "Adjust never answers with this status: 201, for example.", _LOOK_UP)
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

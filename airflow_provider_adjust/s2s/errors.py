"""Every exception that a user of the provider can meet.

.. code-block:: text

    AdjustError
    ├── FinalError                  a retry meets the same end
    │   ├── AdjustConfigurationError
    │   ├── StreamOutOfOrder
    │   ├── InputUnreadable
    │   ├── DeliveryHalted          (DeliveryStopped)
    │   ├── RejectedBudgetExceeded  (DeliveryIncomplete)
    │   ├── ClaimedByAnotherDag     (DeliveryIncomplete)
    │   ├── ErasureIncomplete
    │   ├── CountsMismatch
    │   └── CheckpointMismatch
    ├── DeliveryStopped             sending ended before the input did; a retry may help
    │   ├── AdjustUnreachable
    │   ├── NotAdjust
    │   └── LedgerUnavailable
    ├── DeliveryIncomplete          everything that could be sent was, and too much is missing
    │   └── EventsUnresolved        a retry may help
    ├── PruningStopped              the next run deletes the rest
    └── InvalidEvent                a row is refused; the rest of the batch is sent

Each says what happened, to which row where one is to blame, and what to do. None carries a device id, an IP address or
a token: messages end up in task logs.
"""

from __future__ import annotations

from datetime import datetime


class AdjustError(Exception):
    """Base of all errors of this provider."""


class FinalError(AdjustError):
    """A retry meets the same end, so there is none."""


class AdjustConfigurationError(FinalError, ValueError):
    """A connection, an operator's argument or a default is wrong; nothing was sent."""


class InvalidEvent(AdjustError, ValueError):
    """The row is not an event that Adjust accepts, so it is never sent.

    ``reason`` is a short code that counts can be grouped by, ``detail`` a sentence with the remedy. ``event_id`` is the
    row's own id where ``id_field`` names one, ``occurred_at`` the event's time where it is the time that is refused.
    """

    def __init__(
        self, reason: str, detail: str, *, event_id: str | None = None, occurred_at: datetime | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.event_id = event_id
        self.occurred_at = occurred_at


class StreamOutOfOrder(FinalError):
    """A row of a stream is older than one before it. It was not sent, nor was anything after it."""


class InputUnreadable(FinalError):
    """From some line on, a file cannot be divided into rows for certain. What came before that line was sent."""


class DeliveryStopped(AdjustError):
    """Sending ended before the input did; what was not sent is counted as held.

    ``retry_after`` is how many seconds Adjust asked to wait, where it said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeliveryHalted(DeliveryStopped, FinalError):
    """Adjust rejected the credentials or the app, so no event of this batch can succeed. Not retried."""


class AdjustUnreachable(DeliveryStopped):
    """No answer that settles an event has come for as long as the retries allow. A later retry may succeed."""


class NotAdjust(DeliveryStopped):
    """A firewall, a gateway or a captive portal answered in Adjust's place. A later retry may reach Adjust."""


class LedgerUnavailable(DeliveryStopped):
    """The ledger's database failed. What was sent before is settled in it, or in doubt; a later retry can continue."""

    @classmethod
    def because(cls, error: Exception) -> LedgerUnavailable:
        if isinstance(error, LedgerUnavailable):
            return error
        failure = cls(f"the ledger could not be written ({type(error).__name__}); nothing more was sent")
        failure.__cause__ = error
        return failure


class PruningStopped(AdjustError):
    """Old events were being deleted from the ledger when the task was killed. The rest goes another time."""


class DeliveryIncomplete(AdjustError):
    """Everything that could be sent was, and yet more events than allowed did not arrive."""


class RejectedBudgetExceeded(DeliveryIncomplete, FinalError):
    """More events were refused than ``max_rejected`` allows. A retry would see the same refusals."""


class ClaimedByAnotherDag(DeliveryIncomplete, FinalError):
    """Events were not sent because the ledger has them from another DAG, and ``on_foreign_claim`` is ``error``."""


class EventsUnresolved(DeliveryIncomplete):
    """Some events are in doubt, or held behind one that is unresolved. A retry may resolve them."""


class ErasureIncomplete(FinalError):
    """Devices were not erased, since Adjust refused them or their rows name none. All others were asked for."""


class CountsMismatch(FinalError):
    """The outcomes do not add up to the rows that were read: a defect of this provider, never to be passed over."""


class CheckpointMismatch(FinalError):
    """The input is not the one that an earlier try read in part; nothing was sent by this try."""

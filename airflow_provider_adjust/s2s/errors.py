"""Every exception that a user of the provider can see.

.. code-block:: text

    AdjustError
    ├── FinalError                  a retry would fail in the same way
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
    ├── DeliveryIncomplete          all that could be sent was sent, but too much is missing
    │   └── EventsUnresolved        a retry may help
    ├── PruningStopped              the next run deletes the rest
    └── InvalidEvent                a row is refused; the rest of the batch is sent

Each message says what happened, to which row if one is the cause, and what to do. None has a device id, an IP address or a
token, because messages end up in task logs.
"""

from __future__ import annotations

from datetime import datetime


class AdjustError(Exception):
    """Base of all errors of this provider."""


class FinalError(AdjustError):
    """A retry would fail in the same way, so the task is not retried."""


class AdjustConfigurationError(FinalError, ValueError):
    """A connection, an argument or a configured default is wrong. Nothing was sent."""


class InvalidEvent(AdjustError, ValueError):
    """Adjust would not accept the row as an event, so it is not sent.

    ``reason`` is a short code, ``detail`` a sentence with the remedy. ``event_id`` is the row's id if ``id_field`` names one,
    and ``occurred_at`` the event's time if the time is the cause.
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
    """A row of a stream is older than an earlier one. Neither it nor any later row was sent."""


class InputUnreadable(FinalError):
    """From some line on, the end of a file's rows is uncertain. The rows before that line were sent."""


class DeliveryStopped(AdjustError):
    """Sending ended before the input did. What was not sent is counted as held.

    ``retry_after`` is how many seconds Adjust asked to wait, or None.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeliveryHalted(DeliveryStopped, FinalError):
    """Adjust rejected the credentials or the app, so no event of this batch can succeed. The task is not retried."""


class AdjustUnreachable(DeliveryStopped):
    """No event could be settled within its attempts, or Adjust asked for a long wait. A later retry may succeed."""


class NotAdjust(DeliveryStopped):
    """A firewall, a gateway or a captive portal answered instead of Adjust. A later retry may reach Adjust."""


class LedgerUnavailable(DeliveryStopped):
    """The ledger's database failed. Events sent before are settled in it, or in doubt; a later try can continue."""

    @classmethod
    def because(cls, error: Exception) -> LedgerUnavailable:
        if isinstance(error, LedgerUnavailable):
            return error
        failure = cls(f"the ledger could not be written ({type(error).__name__}); nothing more was sent")
        failure.__cause__ = error
        return failure


class PruningStopped(AdjustError):
    """The task was killed while it deleted old events from the ledger. The next run deletes the rest."""


class DeliveryIncomplete(AdjustError):
    """Everything that could be sent was sent, and more events than allowed did not arrive."""


class RejectedBudgetExceeded(DeliveryIncomplete, FinalError):
    """More events were refused than ``max_rejected`` allows. A retry would see the same refusals."""


class ClaimedByAnotherDag(DeliveryIncomplete, FinalError):
    """Events were not sent because the ledger has them from another DAG, and ``on_foreign_claim`` is ``error``."""


class EventsUnresolved(DeliveryIncomplete):
    """Some events are in doubt, or held behind one that is unresolved. A retry may resolve them."""


class ErasureIncomplete(FinalError):
    """Adjust refused to erase some devices, or their rows name none. All others were requested."""


class CountsMismatch(FinalError):
    """The outcomes do not add up to the rows that were read: a defect of this provider. Report it."""


class CheckpointMismatch(FinalError):
    """The input differs from the one that an earlier try read in part. This try sent nothing."""

"""Files of events and of receipts, local or on object storage."""

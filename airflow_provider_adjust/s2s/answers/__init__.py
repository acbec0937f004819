"""What came back: an answer's meaning, and the receipt of an event."""

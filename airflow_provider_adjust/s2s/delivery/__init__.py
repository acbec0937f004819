"""The loop that sends events, from intake to receipt."""

"""Triggers: the waiting half of deferrable sensors. They read from Adjust and never send: a restart would send again."""

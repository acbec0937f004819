"""The result of a delivery: counts, revenue, the failure budget and the rejected file."""

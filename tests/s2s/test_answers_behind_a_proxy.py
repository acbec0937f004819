"""A proxy that lost Adjust's answer does not know what Adjust did, whatever its status and text."""

from __future__ import annotations

from table import table

from airflow_provider_adjust.s2s import classify
from airflow_provider_adjust.s2s.answers.outcome import Outcome


@table(
    ("status", "body", "outcome"),
    [
        (
            503,
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            "in_doubt",
        ),
        (503, "<html><h1>Error 503 Backend fetch failed</h1><p>first byte timeout</p></html>", "in_doubt"),
        (504, '{"error": {"code": 504, "message": "Internal error encountered"}}', "in_doubt"),
        (502, "Internal error: upstream closed", "in_doubt"),
        (503, "no healthy upstream", "retry"),
        (503, "<html>Service Unavailable</html>", "retry"),
        (500, '{"error": "Internal error, contact support@adjust.com"}', "retry"),
    ],
)
def test_a_lost_answer_is_in_doubt_by_whatever_words(status: int, body: str, outcome: str) -> None:
    assert classify(status, body.encode()).outcome is Outcome(outcome)

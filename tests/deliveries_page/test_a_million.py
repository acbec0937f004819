"""A ledger with a million events: every view answers in seconds, with a page of moderate size.

`pytest -m slow -s tests/deliveries_page/test_a_million.py` prints the table of docs/guides/deliveries-page.md.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from deliveries_page.conftest import LAST, Visit
from deliveries_page.made_ledger import DAGS, fill

from airflow_provider_adjust.s2s.ledger.schema import drop_all

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

ROWS, DAYS = 1_000_000, 90
SECONDS = 15  # on a busy machine; what it takes on an idle one is in the documentation
RUN = f"dag_id={DAGS[0]}&run_id=scheduled__{LAST.replace(day=1):%Y-%m-%d}T00:00:00%2B00:00"
VIEWS = {
    "By day, 30 days": "/?",
    "By day, 90 days": "/?first_day={first}",
    "By day, revenue, 90 days": "/?unit=USD&first_day={first}",
    "By day, one run": f"/?{RUN}",
    "Runs, 30 days": "/runs?",
    "Runs, the second page": "/runs?after={after}",
    "Runs, 90 days": "/runs?first_day={first}",
    "Runs with rejected events, 30 days": "/runs?status=rejected",
    "Events, 30 days": "/events?",
    "One event by its id": "/events?event_id=order-0999990",
    "No event of that id": "/events?event_id=order-none",
    "Events rejected, 30 days": "/events?status=rejected",
    "Events rejected, the second page": "/events?status=rejected&after={after}",
    "Events in doubt, 30 days": "/events?status=in_doubt",
    "Events being sent (none), 30 days": "/events?status=sending",
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def connection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield an Airflow connection to a ledger of that size."""
    if request.param == "sqlite":
        file: Path = tmp_path_factory.mktemp("million") / "ledger.db"
        engine = sa.create_engine(f"sqlite:///{file}")
        made = {"conn_type": "sqlite", "host": str(file)}
    else:
        url = sa.make_url(request.getfixturevalue("postgres_url"))
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg2"), executemany_mode="values_plus_batch")
        with engine.begin() as emptied:
            drop_all(emptied)
        made = {"conn_type": "postgres", "host": url.query["host"], "login": "postgres", "schema": "postgres"}
    fill(engine, rows=ROWS, days=DAYS, last=LAST)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as open_connection:
        open_connection.exec_driver_sql("ANALYZE")  # as the database does by itself, sooner or later
    yield json.dumps(made)
    with engine.begin() as emptied:
        drop_all(emptied)
    engine.dispose()


def test_every_view_answers_in_seconds(visit: Visit, monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection)
    monkeypatch.setenv("AIRFLOW__ADJUST__LEDGER_CONN_IDS", "other")
    first = f"{LAST.fromordinal(LAST.toordinal() - 90):%Y-%m-%d}"
    after = ""
    print(f"\n{json.loads(connection)['conn_type']}")
    for name, path in VIEWS.items():
        began = time.perf_counter()
        response = visit("root", path.format(first=first, after=after))
        seconds = time.perf_counter() - began
        print(f"| {name} | {seconds:.2f} s | {len(response.content) / 1000:,.0f} kB |")
        assert response.status_code == 200, response.text
        assert seconds < SECONDS
        assert len(response.content) < 1_500_000
        assert len(re.findall("<tr", response.text)) < 500
        if found := re.search(r'rel="next" href="[^"]*after=([\w-]+)', response.text):
            after = found[1]

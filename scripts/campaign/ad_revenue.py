"""Send 100,000 rows of ad revenue from Postgres through faults and kills, with a ledger, and check that none is lost.

The real operator runs in processes of its own, which are killed at seeded points by SIGKILL while the local stand-in for
Adjust misbehaves: errors, resets, cut and lost answers. It is done twice: with ``on_in_doubt="hold"``, which may send nothing
twice, and with ``"resend"``, which may send twice only what was in doubt. Then the speed of ``/ad_revenue`` and of ``/event``
is measured side by side, without faults. The campaign exits with 1 when a promise is broken.

    python -m campaign.ad_revenue --rows 100000 --kills 12 --seed 1
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import own_postgres
import sqlalchemy as sa

from airflow_provider_adjust.s2s.ledger.schema import drop_all
from airflow_provider_adjust.sandbox import SandboxServer
from campaign.home import campaign_arguments, campaign_home
from campaign.journal import read_journal
from campaign.ledgers import claimed, engine_of
from campaign.rows import EVENT_TOKEN, Key
from campaign.story import RESENDS, Story
from campaign.tries import S2S_TOKEN, Tries, Try, adjust_connection

_FAULTS = {
    "503": 0.004,
    "429": 0.001,
    "reset_before": 0.001,
    "reset_after": 0.001,
    "truncate": 0.001,
    "stall_before": 0.0002,
    "stall_after": 0.0002,
}
#: The ledger's key in place of an event token.
_KEY = "publisher"
_UNKNOWN_DEVICE = "device-7"
_DEVICES = 5_000
_LONGEST_TRY = 900.0
_LAST_TRIES = 3
_ROWS = sa.text(
    """
    CREATE TABLE ad_impressions AS
    SELECT 'i-' || n AS impression_id, CAST(:first AS bigint) + n % 72000 AS created_at_unix,
        'device-' || n % :devices AS gps_adid,
        CAST(n % 997 + 1 AS numeric) / 1000000000 AS revenue, 'USD' AS currency, 1 AS ad_impressions_count,
        'network-' || n % 5 AS ad_revenue_network
    FROM generate_series(1, :rows) AS n
    """
)
_QUERY = "SELECT * FROM ad_impressions ORDER BY created_at_unix, impression_id"
_OF_FEW = "'few-' || created_at_unix % 4 AS gps_adid,"
_AS_PURCHASES = (
    "SELECT impression_id, created_at_unix, gps_adid, revenue * 1000000 AS revenue, currency FROM ad_impressions "
    "WHERE gps_adid <> 'device-7' ORDER BY created_at_unix, impression_id LIMIT {rows}"
)
_AS_AD_REVENUE = (
    "SELECT impression_id, created_at_unix, gps_adid, revenue, currency, ad_impressions_count FROM ad_impressions "
    "WHERE gps_adid <> 'device-7' ORDER BY created_at_unix, impression_id LIMIT {rows}"
)


@dataclass
class AdRevenueStory(Story):
    """The outcomes of the rows of one run of the task."""

    def see_recorded(self, sandbox: SandboxServer) -> None:
        sent = [each["params"] for each in sandbox.events() if each["endpoint"] == "ad_revenue"]
        self.recorded = [((_KEY, json.loads(each["callback_params"])["event_id"]), each) for each in sent]

    def see_ledger(self, connection: dict[str, Any], run: str) -> None:
        """Events that the ledger leaves open are accounted for."""
        query = sa.text(
            "SELECT event_id, status FROM adjust_delivery WHERE run_id = :run AND status IN ('in_doubt', 'sending')"
        )
        with engine_of(connection).connect() as database:
            self.listed = {(_KEY, each.event_id): each.status for each in database.execute(query, {"run": run})}


class Campaign:
    def __init__(self, home: Path, postgres: dict[str, Any], sandbox: SandboxServer, chance: random.Random) -> None:
        self._home = home
        self._postgres = postgres
        self._sandbox = sandbox
        self._chance = chance
        self._tries = Tries()

    def run(self, on_in_doubt: str, expected: dict[Key, int], rows: int, kills: int) -> tuple[AdRevenueStory, int]:
        """Try until the task has settled every row; the story, and how many tries were killed."""
        self._forget()
        self._sandbox.configure(faults=_FAULTS, seed=self._chance.randrange(2**31), unknown_devices=[_UNKNOWN_DEVICE])
        story, killed = AdRevenueStory(expected), 0
        for number in range(1, kills + _LAST_TRIES + 1):
            this = self._try(
                f"impressions-{on_in_doubt}", number, _QUERY, {"on_in_doubt": on_in_doubt, "max_rejected": rows}
            )
            with self._tries.running(this) as process:
                if number <= kills:
                    # At a request of this try, so that each try comes some way.
                    at = self._sandbox.stats()["requests"] + self._chance.randrange(max(1, 2 * rows // (kills + 2)))
                    while process.is_alive() and self._sandbox.stats()["requests"] < at:
                        time.sleep(0.005)
                    if process.is_alive():
                        os.kill(process.pid or 0, signal.SIGKILL)
                        killed += 1
                process.join(_LONGEST_TRY)
            story.doubts.update(key for what, key in read_journal(this.journal) if what == "in_doubt")
            story.doubts.update(claimed(self._postgres, this.name))
            end = this.end()
            has_sent = any(what == "sent" for what, _ in read_journal(this.journal))
            if end == "success" or (end or "").startswith("failed") or (end and (number > kills or not has_sent)):
                break
        if end is None or end.startswith("failed"):
            story.problems.append(f"the last try ended so: {end}; see {self._home}/{this.name}/log")
        story.see_recorded(self._sandbox)
        story.see_ledger(self._postgres, this.name)
        return story, killed

    def rate(self, name: str, query: str, rows: int, *, latency: float = 0.01, **options: Any) -> float:
        """Rows a second of one undisturbed run, its start not counted."""
        self._forget()
        self._sandbox.configure(faults={}, latency=latency)
        this = self._try(name, 1, query.format(rows=rows), options)
        with self._tries.running(this) as process:
            process.join(_LONGEST_TRY)
        if this.end() != "success" or self._sandbox.stats()["recorded"] != rows:
            raise SystemExit(f"{name} ended so: {this.end()}; see {self._home}/{name}/log")
        return rows / float(this.result()["seconds"])

    def _forget(self) -> None:
        """An empty ledger, since the runs have the same rows."""
        self._sandbox.reset()
        with engine_of(self._postgres).begin() as database:
            drop_all(database)

    def _try(self, name: str, number: int, query: str, options: dict[str, Any]) -> Try:
        folder = self._home / name
        folder.mkdir(exist_ok=True)
        given = {"endpoint": "ad_revenue", "event_token": None, "id_field": "impression_id", **RESENDS, **options}
        environment = {
            "AIRFLOW_CONN_ADJUST_DEFAULT": adjust_connection(self._sandbox.url),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(self._postgres),
            "AIRFLOW_CONN_LEDGER": json.dumps(self._postgres),
        }
        return Try(folder, name, number, given, environment, "postgres", query=query)


def load(postgres: dict[str, Any], rows: int) -> dict[Key, int]:
    """Fill the table; what Adjust should have of it: the second of each row of a device that it knows."""
    first = int(time.time()) - 80_000
    with engine_of(postgres).begin() as database:
        database.execute(_ROWS, {"first": first, "rows": rows, "devices": _DEVICES})
    known = (number for number in range(1, rows + 1) if f"device-{number % _DEVICES}" != _UNKNOWN_DEVICE)
    return {(_KEY, f"i-{number}"): first + number % 72_000 for number in known}


def report(on_in_doubt: str, story: AdRevenueStory, killed: int) -> list[str]:
    """Print the outcomes of the rows; return the broken promises."""
    twice = story.recorded_twice() if on_in_doubt == "hold" else story.twice_without_doubt()
    broken = {"lost": story.lost(), "unexpected": story.unexpected(), "twice": twice}
    print(
        f"| {on_in_doubt} | {killed} | {len(story.expected):,} | {len(story.times_recorded()):,} | {len(story.listed):,} "
        f"| {len(story.lost()):,} | {len(story.recorded_twice()):,} | {len(story.twice_without_doubt()):,} |",
        flush=True,
    )
    return [*story.problems, *(f"{len(keys)} {what}" for what, keys in broken.items() if keys)]


def main() -> None:
    parser = campaign_arguments(__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of ad revenue, sent once in each mode")
    parser.add_argument("--kills", type=int, default=12, help="kills in each mode")
    parser.add_argument("--modes", default="hold,resend", help="what is done with what is in doubt, in turn")
    parser.add_argument("--timed-rows", type=int, default=10_000, help="rows of each measurement of the speed")
    arguments = parser.parse_args()
    broken: list[str] = []
    with (
        campaign_home(arguments.keep) as home,
        own_postgres.own_postgres() as server,
        SandboxServer(tokens=[S2S_TOKEN], retry_after=0, stall_seconds=1.0, event_tokens=[EVENT_TOKEN]) as sandbox,
    ):
        postgres = own_postgres.connection_to(server.get_uri())
        expected = load(postgres, arguments.rows)
        campaign = Campaign(home, postgres, sandbox, random.Random(arguments.seed))
        print(
            "| in doubt | kills | expected | at Adjust | left in doubt | lost | twice | twice without doubt |\n"
            + "|---" * 8
            + "|"
        )
        for on_in_doubt in arguments.modes.split(","):
            story, killed = campaign.run(on_in_doubt, expected, arguments.rows, arguments.kills)
            broken += report(on_in_doubt, story, killed)
        print("\n| round | /event, rows/s | /ad_revenue, rows/s | ratio |\n|---|---|---|---|")
        for number in range(1, 4):
            timed = arguments.timed_rows
            event = campaign.rate(f"e{number}", _AS_PURCHASES, timed, endpoint="event", event_token=EVENT_TOKEN)
            ad_revenue = campaign.rate(f"a{number}", _AS_AD_REVENUE, timed)
            print(f"| {number} | {event:,.0f} | {ad_revenue:,.0f} | {ad_revenue / event:.2f} |", flush=True)
        # Four devices: Adjust requires the order of each device's events, but not of ad revenue.
        few = max(100, arguments.timed_rows // 5)
        purchases, impressions = (each.replace("gps_adid,", _OF_FEW) for each in (_AS_PURCHASES, _AS_AD_REVENUE))
        event = campaign.rate("e-few", purchases, few, latency=0.1, endpoint="event", event_token=EVENT_TOKEN)
        ad_revenue = campaign.rate("a-few", impressions, few, latency=0.1)
        print(f"| four devices | {event:,.0f} | {ad_revenue:,.0f} | {ad_revenue / event:.2f} |", flush=True)
        print("\n" + ("BROKEN: " + "; ".join(broken) if broken else "every promise kept"))
        if broken:
            sys.exit(1)


if __name__ == "__main__":
    main()

"""The circumstances in which a file is sent: the memory, the treatment of doubt, the content of the file, the failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import own_mariadb
import own_pgbouncer
from packaging.version import Version

from campaign.clocks import faketime_library
from campaign.rows import Warehouse, carts, purchases, repeated_ids, two_tokens

TroubleName = Literal[
    "firewall", "API server away", "disk full at the rejected file", "disk full at the state store", "ledger read-only"
]
_BOTH = ("SIGKILL", "SIGTERM")
_MEMORIES = {
    "checkpoint": "checkpoint",
    "sqlite": "ledger on SQLite",
    "postgres": "ledger on Postgres",
    "mariadb": "ledger on MariaDB",
    "pgbouncer": "ledger on Postgres behind PgBouncer",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The circumstances of a story.

    :param what: what is special about it; empty for a plain file and only kills.
    :param kinds: how its tries are killed; with none, they are not.
    :param clocks: the offsets of the workers' clocks, one for each run; they send the same file at once.
    :param most_rows: the most rows of a story that waits.
    :param few_doubts: every request is answered, so hardly an event may be in doubt.
    """

    memory: str
    on_in_doubt: str = "resend"
    what: str = ""
    make_rows: Callable[..., Warehouse] = purchases
    kinds: tuple[str, ...] = _BOTH
    trouble: TroubleName | None = None
    clocks: tuple[str, ...] = ("",)
    source: str = "file"
    closes: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    lease: float | None = None
    most_rows: int = 1_000_000
    few_doubts: bool = False

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.memory, self.on_in_doubt, self.what)))

    def in_docs(self) -> str:
        """The setting as the table in the docs names it."""
        return ", ".join(filter(None, (_MEMORIES[self.memory], self.on_in_doubt, self.what)))

    @property
    def has_faults(self) -> bool:
        return not self.few_doubts and self.lease is None

    @property
    def can_tell(self) -> bool:
        """The Device API shows only the last time, which is that of every item in a cart."""
        return self.make_rows is not carts


def _settings() -> Iterator[Setting]:
    yield Setting(memory="checkpoint")
    for memory in ("sqlite", "postgres", "mariadb"):
        for on_in_doubt in ("resend", "hold", "verify"):
            yield Setting(memory=memory, on_in_doubt=on_in_doubt)
    for on_in_doubt in ("resend", "hold"):
        yield Setting(memory="pgbouncer", on_in_doubt=on_in_doubt)
    for memory in ("sqlite", "postgres"):
        yield Setting(memory=memory, what="repeated ids", make_rows=repeated_ids)
        yield Setting(memory=memory, what="two event tokens", make_rows=two_tokens)
        yield Setting(memory=memory, on_in_doubt="verify", what="carts of one second", make_rows=carts)
    yield from _several_workers()
    yield from _troubles()
    for transport in ("requests", "curl"):
        # Nothing is killed and nothing fails: the server closes, as it may.
        what, options = f"closed after each answer, {transport}", {"transport": transport}
        yield Setting(
            memory="sqlite", on_in_doubt="hold", what=what, closes=True, options=options, kinds=(), few_doubts=True
        )
    for memory in ("checkpoint", "postgres"):
        yield Setting(memory=memory, what="killed while it reads", source="slow", kinds=("SIGKILL",))


def _several_workers() -> Iterator[Setting]:
    two = ("", "")
    for memory in ("sqlite", "postgres", "mariadb"):
        yield Setting(memory=memory, what="two runs at once", clocks=two)
    yield Setting(memory="postgres", on_in_doubt="verify", what="two runs at once", clocks=two)
    slow: dict[str, Any] = {"clocks": two, "kinds": (), "options": {"max_events_per_second": 20}, "most_rows": 240}
    for memory in ("sqlite", "postgres"):
        # A claim is written for events that are sent seconds later; the lease is shorter than that.
        yield Setting(memory=memory, what="live claims at a slow pace", lease=1.5, **slow)
    slow |= {"clocks": ("", "+16m"), "options": {"max_events_per_second": 40}, "most_rows": 480}
    for on_in_doubt in ("resend", "hold"):
        yield Setting(memory="postgres", on_in_doubt=on_in_doubt, what="clocks 16 minutes apart", **slow)


def _troubles() -> Iterator[Setting]:
    for memory, on_in_doubt in (("checkpoint", "resend"), ("sqlite", "resend"), ("postgres", "hold")):
        yield Setting(memory=memory, on_in_doubt=on_in_doubt, what="a firewall answers", trouble="firewall")
    # An orderly stop, so that even a checkpoint must be complete.
    gentle: dict[str, Any] = {"kinds": ("SIGTERM",)}
    yield Setting(memory="checkpoint", what="API server away", trouble="API server away", **gentle)
    for memory in ("checkpoint", "sqlite"):
        full: TroubleName = "disk full at the rejected file"
        yield Setting(memory=memory, on_in_doubt="hold", what=full, trouble=full, **gentle)
    yield Setting(
        memory="checkpoint", what="disk full at the state store", trouble="disk full at the state store", **gentle
    )
    for on_in_doubt in ("resend", "hold"):
        yield Setting(
            memory="postgres", on_in_doubt=on_in_doubt, what="ledger read-only", trouble="ledger read-only", **gentle
        )


SETTINGS = tuple(_settings())


def missing_for(setting: Setting) -> str | None:
    """What this machine lacks for the setting; None if nothing."""
    # A checkpoint needs Airflow's task state store, which came with 3.3.
    if setting.memory == "checkpoint" and Version(version("apache-airflow")) < Version("3.3"):
        return "Airflow 3.3"
    if setting.memory == "mariadb" and not own_mariadb.is_installed():
        return "MariaDB"
    if setting.memory == "pgbouncer" and not own_pgbouncer.is_installed():
        return "PgBouncer"
    if any(setting.clocks) and faketime_library() is None:
        return "libfaketime"
    return None

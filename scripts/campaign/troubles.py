"""Temporary failures around a running task: of the machine, of Airflow or of the network."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from campaign.disks import Disk
from campaign.door import Door
from campaign.settings import TroubleName
from campaign.tries import Try, outage_of


@dataclass(frozen=True)
class Trouble:
    """How something fails and is repaired, and for how many seconds; None fails until the try has ended."""

    begin: Callable[[], object]
    end: Callable[[], object]
    seconds: tuple[float, float] | None


@dataclass
class Scene:
    """The systems that a story's tasks depend on."""

    door: Door
    postgres: sa.Engine
    disk: Disk | None = None
    #: How often something failed.
    times: int = field(default=0)

    @contextmanager
    def troubled(self, name: TroubleName, this: Try, chance: random.Random) -> Iterator[None]:
        """Make it fail repeatedly while the block runs; everything is repaired at its end."""
        trouble = self._trouble(name, this)
        is_over = threading.Event()
        thread = threading.Thread(target=self._fail, args=(trouble, this, is_over, chance), name=name)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _fail(self, trouble: Trouble, this: Try, is_over: threading.Event, chance: random.Random) -> None:
        while not this.journal.exists():
            if is_over.wait(0.01):
                return
        while not is_over.wait(chance.uniform(0.1, 1)):
            self.times += 1
            trouble.begin()
            is_over.wait(None if trouble.seconds is None else chance.uniform(*trouble.seconds))
            trouble.end()

    def _trouble(self, name: TroubleName, this: Try) -> Trouble:
        if name == "firewall":
            return Trouble(lambda: self._shut(True), lambda: self._shut(False), (0.3, 1))
        if name == "API server away":
            away = outage_of(this.store)
            return Trouble(away.touch, away.unlink, (1, 3))
        if name == "ledger read-only":
            return Trouble(lambda: self._read_only("on"), lambda: self._read_only("off"), (2, 4))
        assert self.disk is not None  # noqa: S101 - a story about a full disk has one
        return Trouble(self.disk.fill, self.disk.free, None if name == "disk full at the rejected file" else (1, 3))

    def _shut(self, is_shut: bool) -> None:
        self.door.is_shut = is_shut

    def _read_only(self, value: str) -> None:
        """Like a demoted server: no new transaction may write, on any connection."""
        with self.postgres.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("SET default_transaction_read_only = off"))
            connection.execute(sa.text(f"ALTER SYSTEM SET default_transaction_read_only = {value}"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))

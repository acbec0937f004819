"""The cases: every fault that the sandbox knows, alone and mixed, and every outage that a machine can stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess

from airflow_provider_adjust.sandbox.faults import KINDS
from airflow_provider_adjust.sandbox.middleboxes import BARRING_THE_WAY
from campaign.outages import Surroundings

_SHARES = (0.01, 0.05, 0.2)
_FAULTS = ("429", "500", "503", *KINDS)
_MEMORIES = ("checkpoint", "sqlite")


@dataclass(frozen=True)
class Case:
    """A fault, and the task's memory of its deliveries. A fault that breaks once is over after the first try."""

    name: str
    memory: str = "checkpoint"
    faults: dict[str, float] = field(default_factory=dict)
    transport: str = "requests"
    source: str = "file"
    #: Adjust's URL in the first tries; None is the stand-in's.
    host: Callable[[Surroundings], str] | None = None
    #: Applied to the running first try, once a third of the events are recorded.
    strike: Callable[[Surroundings, BaseProcess], None] | None = None
    #: The rejected file of the first try is on a full disk.
    full_disk: bool = False
    clock_jumps: bool = False

    @property
    def breaks_once(self) -> bool:
        return self.strike is not None or self.full_disk


def all_cases() -> list[Case]:
    """Every case; the transports take turns."""
    transports = ("requests", "curl")
    cases = (*_faults(), *_mixtures(), *_outages())
    return [replace(case, transport=transports[place % 2]) for place, case in enumerate(cases)]


def _faults() -> Iterator[Case]:
    for place, fault in enumerate(_FAULTS):
        # A blocked connection stops each try, however often it occurs.
        for turn, share in enumerate(_SHARES[:1] if fault in BARRING_THE_WAY else _SHARES):
            yield Case(f"{fault} {share:.0%}", _MEMORIES[(place + turn) % 2], {fault: share})


def _mixtures() -> Iterator[Case]:
    mixed = [fault for fault in _FAULTS if fault not in BARRING_THE_WAY]
    for share in _SHARES:
        for memory in _MEMORIES:
            yield Case(f"all at once {share:.0%}", memory, {fault: share / len(mixed) for fault in mixed})


def _outages() -> Iterator[Case]:
    for memory in _MEMORIES:
        yield Case("connection refused", memory, host=Surroundings.refusing)
        yield Case("accepted, never answered", memory, host=Surroundings.silent)
        yield Case("never accepted", memory, host=Surroundings.full)
        yield Case("no such host name", memory, host=Surroundings.nameless)
        yield Case("source database lost", memory, source="postgres", strike=Surroundings.end_the_source)
        yield Case("disk full at the rejected file", memory, full_disk=True)
        yield Case("wall clock jumps", memory, clock_jumps=True)
        yield Case("SIGTERM, killed 0.3 s later", memory, strike=Surroundings.stop)
    yield Case("ledger database restarted", "postgres", strike=Surroundings.restart_the_database)

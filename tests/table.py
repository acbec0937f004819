"""A test that is one rule over a table of values: one case, which names every row that breaks the rule.

`pytest.mark.parametrize` is for cases that each need a new fixture. If a row is one assertion about a pure function, a
thousand cases say no more than a table.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

__all__ = ["table"]

#: What a failed assertion, `pytest.raises` without its error, and `pytest.fail` raise.
_FAILURES = (Exception, pytest.fail.Exception)


def table(
    names: str | Sequence[str],
    rows: Iterable[Any],
    ids: Iterable[str] | Mapping[str, Any] | Callable[[Any], object] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run the test for each row in one case. Takes what `pytest.mark.parametrize` takes; several make a product."""
    columns = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    values = [_values(row, len(columns)) for row in rows]
    labels = list(ids) if ids is not None and not callable(ids) else [None] * len(values)
    named = [
        str(label or _label(row, ids if callable(ids) else None)) for row, label in zip(values, labels, strict=True)
    ]

    def over_the_rows(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def case(**fixtures: Any) -> None:
            failures: dict[str, str] = {}
            first: BaseException | None = None
            for number, (label, row) in enumerate(zip(named, values, strict=True), start=1):
                try:
                    test(**fixtures, **dict(zip(columns, row.values, strict=True)))
                except _FAILURES as failure:
                    failures[f"row {number}: {label}"] = f"{type(failure).__name__}: {failure}"
                    first = first or failure
            if failures:
                said = "\n".join(f"{label}\n    {failure}" for label, failure in failures.items())
                raise AssertionError(f"{len(failures)} of {len(named)} rows\n{said}") from first

        signature = inspect.signature(test)
        kept = [parameter for name, parameter in signature.parameters.items() if name not in columns]
        assert len(kept) == len(signature.parameters) - len(columns), f"{names} are not all arguments of the test"
        assert values, "a table without rows proves nothing"
        vars(case)["__signature__"] = signature.replace(parameters=kept)
        return case

    return over_the_rows


def _values(row: Any, columns: int) -> ParameterSet:
    if isinstance(row, ParameterSet):
        assert not row.marks, "a row of a table has no marks"
        return row
    return ParameterSet(values=tuple(row) if columns > 1 else (row,), marks=(), id=None)


def _label(row: ParameterSet, name: Callable[[Any], object] | None) -> str:
    if isinstance(row.id, str):
        return row.id
    shown = ", ".join(str(name(value)) if name else ascii(value) for value in row.values)
    return shown if len(shown) <= 120 else f"{shown[:119]}…"

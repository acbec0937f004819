"""The file of a ledger on SQLite is for its owner alone, and is never made through a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.ledger.migration import prepare
from airflow_provider_adjust.s2s.ledger.sqlite_file import file_of, is_missing, make_file


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """The umask that would let everybody read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_ledgers_file_is_for_its_owner_alone_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "old.db").touch(0o640)
    for name, url, wanted in (
        ("new.db", "sqlite:///{}", 0o600),
        ("as uri.db", "sqlite:///file:{}?uri=true", 0o600),
        ("old.db", "sqlite:///{}", 0o640),
    ):
        engine = sa.create_engine(url.format(tmp_path / name))
        prepare(engine)
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO adjust_reason (code) VALUES ('any')")
            assert {mode(path) for path in tmp_path.glob(f"{name}*")} == {wanted}, name
        engine.dispose()


def test_a_ledger_is_not_made_behind_a_link(tmp_path: Path) -> None:
    for target in ("not there", "victim.db"):
        path = tmp_path / f"link to {target}"
        path.symlink_to(tmp_path / target)
        (tmp_path / "victim.db").write_bytes(b"")
        with pytest.raises(AdjustConfigurationError, match="is a link; name the file itself"):
            prepare(sa.create_engine(f"sqlite:///{path}"))
    assert not (tmp_path / "not there").exists()
    assert (tmp_path / "victim.db").read_bytes() == b""


def test_no_file_is_made_for_a_database_that_has_none(tmp_path: Path) -> None:
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "postgresql://127.0.0.1:9/x"):
        engine = sa.create_engine(url)
        assert file_of(engine) is None, url
        assert not is_missing(engine)
        make_file(engine)
    for url in (f"sqlite:///file:{tmp_path}/a.db?mode=ro&uri=true", f"sqlite:///{tmp_path}/no folder/a.db"):
        make_file(sa.create_engine(url))
    assert is_missing(sa.create_engine(f"sqlite:///{tmp_path}/a.db"))
    assert not is_missing(sa.create_engine(f"sqlite:///{tmp_path}/no folder/a.db"))
    assert list(tmp_path.iterdir()) == []

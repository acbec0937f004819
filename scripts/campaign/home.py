"""The folder of a campaign: its files, its logs and its Airflow."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stop_on_signals import stop_on_signals


def campaign_arguments(description: str | None) -> argparse.ArgumentParser:
    """The arguments that both campaigns have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="an empty folder in which files and logs stay")
    return parser


@contextmanager
def campaign_home(keep: Path | None) -> Iterator[Path]:
    """The folder. It is removed at the end, unless the user keeps it or the campaign failed."""
    stop_on_signals()
    folder = keep or Path(tempfile.mkdtemp(prefix="adjust-campaign-"))
    stays = keep is not None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The tries' Airflow reads it on its first import.
        os.environ["AIRFLOW_HOME"] = str(folder / "airflow")
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
        yield folder
    except SystemExit:
        stays = True
        print(f"Files and logs are in {folder}")
        raise
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)

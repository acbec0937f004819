"""The one folder for files of rows and answers, ``[adjust] files_folder``, and names below it."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import Final

from airflow.sdk import ObjectStoragePath

from airflow_provider_adjust.airflow_versions import conf
from airflow_provider_adjust.files.private import is_local
from airflow_provider_adjust.s2s.errors import AdjustConfigurationError
from airflow_provider_adjust.s2s.redaction import safe_repr

SECTION: Final = "adjust"
FOLDER_OPTION: Final = "files_folder"
RETENTION_OPTION: Final = "retain_files_for"
DEFAULT_FOLDER: Final = "{AIRFLOW_HOME}/adjust_files"
#: For the ``pattern`` of a DAG's ``Param`` with such a name: the form then refuses what `file_below` would refuse.
NAME_PATTERN: Final = r"^\w[\w.+=@ -]*(/\w[\w.+=@: -]*)*$"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: Storages or their libraries would interpret these characters.
_SPECIAL: Final = frozenset("\\*?#")


def files_folder() -> str:
    """The folder that Airflow's option names, as a path or as a URL without a slash at its end.

    :raises AdjustConfigurationError: it is a path that does not begin at the root.
    """
    from airflow.configuration import AIRFLOW_HOME

    written = conf.get(SECTION, FOLDER_OPTION, fallback="") or DEFAULT_FOLDER
    folder = written.replace("{AIRFLOW_HOME}", AIRFLOW_HOME).rstrip("/")
    if "://" not in folder and not os.path.isabs(folder):
        raise AdjustConfigurationError(
            f"[{SECTION}] {FOLDER_OPTION} is {folder!r}; name a path that begins with / or a URL such as s3://conn@bucket/adjust"
        )
    return folder


def file_below(name: str) -> str:
    """The path of a file below the configured folder, for a name that comes from whoever triggers a DAG.

    .. code-block:: python

        @dag(user_defined_macros={"file_below": file_below}, params={"name": Param("corrected.jsonl", pattern=NAME_PATTERN)})
        def resend():
            AdjustSendEventsOperator(task_id="send", events="{{ file_below(params.name) }}")

    :raises AdjustConfigurationError: the name leads, or might lead, to another place: it has a scheme, begins at the root
        or at somebody's home, has ``..`` in it, or there is a link on the way that leads outside the folder.
    """
    folder = files_folder()
    if problem := _problem_of(name):
        raise AdjustConfigurationError(
            f"{safe_repr(name)} {problem}; give a name below [{SECTION}] {FOLDER_OPTION}, such as "
            "rejected/adjust_revenue_sync/20261118T000000.jsonl"
        )
    path = f"{folder}/{name}"
    if is_local(ObjectStoragePath(folder)):
        own, real = (os.path.realpath(ObjectStoragePath(each).path) for each in (folder, path))
        if os.path.commonpath([own, real]) != own:
            raise AdjustConfigurationError(f"{safe_repr(name)} is, or lies behind, a link that leads outside {folder}")
    return path


def path_of(given: str | ObjectStoragePath) -> ObjectStoragePath:
    """The path of an operator's argument: a relative name without a scheme is below the folder.

    :raises AdjustConfigurationError: such a name leads outside the folder.
    """
    text = str(given)
    return ObjectStoragePath(text if "://" in text or os.path.isabs(text) else file_below(text))


def retain_files_for() -> timedelta | None:
    """How long Airflow's option keeps rejected files and responses files; None means forever.

    :raises AdjustConfigurationError: it is not a number of days.
    """
    written = (conf.get(SECTION, RETENTION_OPTION, fallback="") or "").strip()
    if not written:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,4}", written):
        raise AdjustConfigurationError(
            f"[{SECTION}] {RETENTION_OPTION} is {written!r}; it must be a whole number of days, such as 30, at least 1"
        )
    return timedelta(days=int(written))


def _problem_of(name: object) -> str | None:
    """Why a name could lead outside the folder; None if it cannot."""
    if not isinstance(name, str) or not name:
        return "is not a name"
    parts = name.split("/")
    if not name.isprintable() or _SPECIAL & set(name):
        return "has a character that is not allowed in a name"
    if _SCHEME.match(name) or "::" in name:
        return "has a scheme"
    if name.startswith(("/", "~")):
        return "begins at the root or at a home"
    if {"", ".", ".."} & set(parts):
        return "has a part that is empty, . or .."
    return None

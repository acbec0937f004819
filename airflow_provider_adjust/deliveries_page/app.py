"""The page as a FastAPI application, mounted into Airflow's API server: read-only views and a file of events.

Each view asks Airflow for the user, and within the page's budget for the DAGs that they may read. Scripts and styles come
from the folder ``static`` only; a header forbids the browser all others.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from airflow_provider_adjust.deliveries_page import mistakes, queries
from airflow_provider_adjust.deliveries_page.access import CurrentReader, Reader
from airflow_provider_adjust.deliveries_page.budget import RETRY_AFTER_S, Budget, PageFull
from airflow_provider_adjust.deliveries_page.comparisons import comparisons
from airflow_provider_adjust.deliveries_page.configuration import PREFIX, ledger_conn_ids
from airflow_provider_adjust.deliveries_page.csv_file import PIECE, days_file, pieces
from airflow_provider_adjust.deliveries_page.event_list import EventRow, events
from airflow_provider_adjust.deliveries_page.filters import Filters, InvalidCursor, Name
from airflow_provider_adjust.deliveries_page.ledgers import LedgerReadError, LedgerSession, open_session
from airflow_provider_adjust.deliveries_page.nights import last_nights
from airflow_provider_adjust.deliveries_page.rendering import render, root_of
from airflow_provider_adjust.deliveries_page.resend import resend_dag
from airflow_provider_adjust.deliveries_page.run_list import runs
from airflow_provider_adjust.deliveries_page.schedule import schedules
from airflow_provider_adjust.deliveries_page.summary import Summary, streaks, summarise, with_empty_days
from airflow_provider_adjust.deliveries_page.trend import trend
from airflow_provider_adjust.s2s.ledger.rehearsals import REHEARSAL

budget = Budget()


async def _refuse_if_full() -> None:
    """The first dependency, since authentication costs more than a refusal."""
    budget.refuse_if_full()


app = FastAPI(
    title="Adjust deliveries",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(_refuse_if_full)],
)


class _Files(StaticFiles):
    """Scripts and styles. Browsers cache them, and revalidate them after an update."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


app.mount("/static", _Files(directory=Path(__file__).parent / "static"), name="static")

QueryFilters = Annotated[Filters, Query()]
PathName = Annotated[Name, InPath()]


@dataclass(frozen=True, slots=True)
class _View:
    """The common data of the views: the DAGs that the user may read, and the filters with their defaults."""

    ledger: LedgerSession
    dag_ids: list[str]
    filters: Filters
    environments: list[str]
    now: datetime
    #: The hosts that are shown as a rehearsal.
    rehearsed_at: list[str]

    @property
    def shown(self) -> dict[str, Any]:
        """What every template needs of it."""
        names = ("dag_ids", "environments", "now", "rehearsed_at")
        return {name: getattr(self, name) for name in names}


def _view(ledger: LedgerSession, reader: Reader, given: Filters) -> _View:
    # As the ledger stores it: in UTC, without a zone.
    now = datetime.now(UTC).replace(tzinfo=None)
    if given.event_id is not None:
        # The form always has days and an environment, and whoever looks for one event may not know them.
        given = given.model_copy(update={"first_day": None, "last_day": None, "environment": None})
    filters = given.with_default_days(now.date())
    dag_ids = _readable(ledger, reader)
    environments = queries.environments(ledger.connection, _chosen(dag_ids, filters))
    if filters.environment is None and filters.event_id is None and environments:
        # One at a time: test events are no revenue.
        filters = filters.model_copy(update={"environment": environments[0]})
    rehearsed_at: list[str] = []
    if filters.environment == REHEARSAL:
        rehearsed_at = queries.hosts_of_rehearsals(ledger.connection, _chosen(dag_ids, filters))
    return _View(ledger, dag_ids, filters, environments, now, rehearsed_at)


@app.get("/", response_class=HTMLResponse)
async def show_deliveries(request: Request, reader: CurrentReader, given: QueryFilters) -> Response:
    """The last night of each DAG, and events and revenue per day and kind of event."""

    def answer() -> Response:
        with open_session(_ledger(given)) as ledger:
            view = _view(ledger, reader, given)
            chosen = _chosen(view.dag_ids, view.filters)
            nights, summary = _nights(view, chosen), _summary(view, chosen)
        units = ["events", *summary.currencies]
        unit = view.filters.unit if view.filters.unit in units else "events"
        return render(
            request,
            "deliveries.html",
            view.filters,
            **view.shown,
            nights=nights,
            summary=summary,
            resend=resend_dag(reader),
            units=units,
            trend=trend(summary.days, unit or "events"),
        )

    return await budget.run(reader.user_id, answer)


def _nights(view: _View, chosen: list[str]) -> list[Any]:
    if view.filters.is_about_runs:
        return []
    nights = last_nights(
        view.ledger.connection, chosen, view.now, run_id=view.filters.run_id, schedules=schedules(set(chosen) - {""})
    )
    return [night for night in nights if night.environment in {view.filters.environment, ""}]


def _summary(view: _View, chosen: list[str]) -> Summary:
    connection, filters = view.ledger.connection, view.filters
    counts = queries.counts(connection, view.dag_ids, filters, view.now)
    # It is not known which DAG should have sent the missing events.
    is_of_dags = (filters.dag_id, filters.run_id, filters.task_id, filters.map_index)
    with_unsent = not any(each is not None for each in (*is_of_dags, filters.status, filters.reason))
    summary = summarise(counts, comparisons(connection, view.dag_ids, filters), with_unsent=with_unsent)
    summary.is_cut = len(counts) >= queries.MAX_COUNTS
    summary.streaks = streaks(counts)
    if filters.first_day is None or filters.last_day is None or not chosen:
        return summary
    known_since = queries.first_day(connection, view.dag_ids, filters)
    if known_since is None:
        return summary
    return with_empty_days(summary, filters.first_day, filters.last_day, known_since, view.now.date())


@app.get("/days.csv")
async def download_days(reader: CurrentReader, given: QueryFilters) -> Response:
    """The figures of the days as a file: a line for each DAG, kind of event, outcome, reason and currency."""

    def answer() -> Response:
        with open_session(_ledger(given)) as ledger:
            view = _view(ledger, reader, given)
            counts = queries.counts(ledger.connection, view.dag_ids, view.filters, view.now)
        if len(counts) >= queries.MAX_COUNTS:
            raise HTTPException(422, "The file would be cut off; choose fewer days, one DAG or one event token")
        return Response(days_file(counts), media_type=_CSV, headers=_as_file("adjust_days.csv"))

    return await budget.run(reader.user_id, answer)


@app.get("/runs", response_class=HTMLResponse)
async def show_runs(request: Request, reader: CurrentReader, given: QueryFilters) -> Response:
    """Task instances, with their events by outcome."""

    def answer() -> Response:
        with open_session(_ledger(given)) as ledger:
            view = _view(ledger, reader, given)
            page = runs(ledger.connection, view.dag_ids, view.filters, view.now)
        return render(request, "runs.html", view.filters, **view.shown, page=page)

    return await budget.run(reader.user_id, answer)


@app.get("/events", response_class=HTMLResponse)
async def show_events(request: Request, reader: CurrentReader, given: QueryFilters) -> Response:
    """Events one by one, with their reasons and without their devices."""

    def answer() -> Response:
        with open_session(_ledger(given)) as ledger:
            view = _view(ledger, reader, given)
            page = events(ledger.connection, view.dag_ids, view.filters, view.now)
        return render(request, "events.html", view.filters, **view.shown, page=page)

    return await budget.run(reader.user_id, answer)


@app.get("/events.csv")
async def download_events(reader: CurrentReader, given: QueryFilters) -> Response:
    """The same events as a file. Each piece checks again which DAGs the user may read."""

    async def piece(after: str | None) -> queries.Page[EventRow]:
        def read() -> queries.Page[EventRow]:
            with open_session(_ledger(given)) as ledger:
                view = _view(ledger, reader, given)
                filters = view.filters.model_copy(update={"after": after})
                return events(ledger.connection, view.dag_ids, filters, view.now, size=PIECE, counted=False)

        return await budget.run(reader.user_id, read)

    # The first piece is read before the answer begins, so that whatever keeps it from being read is said by a page.
    return StreamingResponse(pieces(await piece(None), piece), media_type=_CSV, headers=_as_file("adjust_events.csv"))


_CSV = "text/csv; charset=utf-8"


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


@app.get("/dags/{dag_id}", response_class=HTMLResponse)
async def show_dag(request: Request, reader: CurrentReader, dag_id: PathName) -> Response:
    """Redirect from a DAG's tab to its deliveries."""
    return await budget.run(reader.user_id, lambda: _to_deliveries(request, reader, Filters(dag_id=dag_id)))


@app.get("/dags/{dag_id}/runs/{run_id}", response_class=HTMLResponse)
async def show_run(request: Request, reader: CurrentReader, dag_id: PathName, run_id: PathName) -> Response:
    """Redirect from a run's tab to its deliveries."""
    filters = Filters(dag_id=dag_id, run_id=run_id)
    return await budget.run(reader.user_id, lambda: _to_deliveries(request, reader, filters))


def _to_deliveries(request: Request, reader: Reader, filters: Filters) -> Response:
    """Redirect to the ledger that has the DAG; to the first one if none has it, or none can be read."""
    for conn_id in ledger_conn_ids():
        with suppress(LedgerReadError), open_session(conn_id) as ledger:
            if filters.dag_id in _readable(ledger, reader):
                filters = filters.model_copy(update={"ledger": conn_id})
                break
    return RedirectResponse(f"{root_of(request)}/?{urlencode(filters.query())}", status_code=303)


def _chosen(dag_ids: list[str], filters: Filters) -> list[str]:
    return dag_ids if filters.dag_id is None else [each for each in dag_ids if each == filters.dag_id]


def _ledger(filters: Filters) -> str:
    """The connection of the selected ledger. It is always one of the configured ones."""
    configured = ledger_conn_ids()
    if not configured:
        raise _NothingConfigured
    if filters.ledger is None:
        return configured[0]
    if filters.ledger not in configured:
        raise HTTPException(404, "The page is not configured to show this ledger")
    return filters.ledger


def _readable(ledger: LedgerSession, reader: Reader) -> list[str]:
    """The DAGs in the ledger that the user may read.

    Events sent from the command line have no DAG: its name is empty. Users who may read all DAGs see them.
    """
    readable = reader.readable(queries.dags_in(ledger.connection))
    sees_all = queries.has_senders_outside_dags(ledger.connection) and reader.reads_all()
    return sorted(readable | {""} if sees_all else readable)


class _NothingConfigured(Exception):
    """No ledger is configured. The page then explains how to configure one."""


@app.exception_handler(_NothingConfigured)
async def _explain_configuration(request: Request, error: Exception) -> Response:
    return render(request, "configure.html", Filters())


@app.exception_handler(LedgerReadError)
async def _show_read_error(request: Request, error: Exception) -> Response:
    return _notice(request, 503, "The ledger cannot be shown", str(error))


@app.exception_handler(PageFull)
async def _show_full(request: Request, error: Exception) -> Response:
    text = f"{error}. Load the page again in {RETRY_AFTER_S} seconds."
    response = _notice(request, 503, "The page is busy", text)
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


# Synchronous handlers would occupy threads that Airflow's own requests need.
@app.exception_handler(InvalidCursor)
async def _refuse_cursor(request: Request, error: Exception) -> Response:
    return _notice(request, 422, "The address is not valid", str(error))


@app.exception_handler(RequestValidationError)
async def _show_mistakes(request: Request, error: RequestValidationError) -> Response:
    wrong = mistakes.problems(error)
    filters = mistakes.entered(request.query_params, wrong)
    view = request.url.path.rpartition("/")[2].removesuffix(".csv")
    shown = {"view": view if view in {"runs", "events"} else "", "mistakes": wrong, "dag_ids": [], "environments": []}
    return render(request, "mistakes.html", filters, status=422, **shown)


@app.exception_handler(AnyHTTPException)
async def _show_http_error(request: Request, error: AnyHTTPException) -> Response:
    # In a frame, Airflow's page around it handles the login. Only a page outside a frame is redirected.
    if error.status_code == 401 and request.headers.get("sec-fetch-dest") == "document":
        airflow = root_of(request).removesuffix(PREFIX)
        here = quote(f"{request.url.path}?{request.url.query}", safe="")
        return RedirectResponse(f"{airflow}/api/v2/auth/login?next={here}", status_code=303)
    remedy = " Log in to Airflow and load the page again." if error.status_code in (401, 403) else ""
    return _notice(request, error.status_code, "The page cannot be shown", f"{error.detail}.{remedy}")


def _notice(request: Request, status: int, title: str, text: str) -> Response:
    return render(request, "notice.html", Filters(), status=status, title=title, text=text)

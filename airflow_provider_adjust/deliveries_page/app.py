"""The page as a FastAPI application, mounted into Airflow's API server: three read-only views.

Each view asks Airflow for the user, and within the page's budget for the DAGs that they may read. Scripts and styles come
from the folder ``static`` only; a header forbids the browser all others.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from airflow_provider_adjust.deliveries_page import queries
from airflow_provider_adjust.deliveries_page.access import CurrentReader, Reader
from airflow_provider_adjust.deliveries_page.budget import RETRY_AFTER_S, Budget, PageFull
from airflow_provider_adjust.deliveries_page.configuration import PREFIX, ledger_conn_ids
from airflow_provider_adjust.deliveries_page.filters import Filters, InvalidCursor, Name
from airflow_provider_adjust.deliveries_page.ledgers import LedgerReadError, LedgerSession, open_session
from airflow_provider_adjust.deliveries_page.nights import Night, last_nights
from airflow_provider_adjust.deliveries_page.rendering import render, root_of
from airflow_provider_adjust.deliveries_page.summary import summarise

budget = Budget()


async def _refuse_if_full() -> None:
    """The first of all dependencies: to find out who asks costs more than to refuse."""
    budget.refuse_if_full()


app = FastAPI(
    title="Adjust deliveries",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(_refuse_if_full)],
)


class _Files(StaticFiles):
    """Scripts and styles. A browser keeps them, and asks whether they are the same after an update."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


app.mount("/static", _Files(directory=Path(__file__).parent / "static"), name="static")

QueryFilters = Annotated[Filters, Query()]
PathName = Annotated[Name, InPath()]


@app.get("/", response_class=HTMLResponse)
async def show_deliveries(request: Request, reader: CurrentReader, given: QueryFilters) -> Response:
    """Events and revenue per day and kind of event, as a chart and a table."""

    def answer() -> Response:
        filters, now = _with_days(given)
        with open_session(_ledger(filters)) as ledger:
            dag_ids = _readable(ledger, reader)
            counts = queries.counts(ledger.connection, dag_ids, filters, now)
            nights: list[Night] = (
                [] if filters.is_about_runs else last_nights(ledger.connection, _chosen(dag_ids, filters), now)
            )
        cut = len(counts) >= queries.MAX_COUNTS
        environments = sorted(({each.environment for each in counts} | {each.environment for each in nights}) - {""})
        # Never added up: test events are no revenue.
        first = "production" if "production" in environments else next(iter(environments), None)
        shown = filters.environment or first
        counts = [each for each in counts if each.environment in {shown, ""}]
        return render(
            request,
            "deliveries.html",
            filters,
            dag_ids=dag_ids,
            summary=summarise(counts),
            cut=cut,
            nights=[night for night in nights if night.environment in {shown, ""}],
            environments=environments,
            shown_environment=shown,
            now=now,
        )

    return await budget.run(reader.user_id, answer)


@app.get("/runs", response_class=HTMLResponse)
async def show_runs(request: Request, reader: CurrentReader, given: QueryFilters) -> Response:
    """Task instances, and how many events of each ended how."""

    def answer() -> Response:
        filters, now = _with_days(given)
        with open_session(_ledger(filters)) as ledger:
            dag_ids = _readable(ledger, reader)
            page = queries.runs(ledger.connection, dag_ids, filters, now)
        return render(request, "runs.html", filters, dag_ids=dag_ids, page=page)

    return await budget.run(reader.user_id, answer)


@app.get("/events", response_class=HTMLResponse)
async def show_events(request: Request, reader: CurrentReader, given: QueryFilters) -> Response:
    """Events one by one, with their reasons and without their devices."""

    def answer() -> Response:
        filters, now = _with_days(given)
        with open_session(_ledger(filters)) as ledger:
            dag_ids = _readable(ledger, reader)
            page = queries.events(ledger.connection, dag_ids, filters, now)
        return render(request, "events.html", filters, dag_ids=dag_ids, page=page)

    return await budget.run(reader.user_id, answer)


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


def _with_days(given: Filters) -> tuple[Filters, datetime]:
    """The filters with both days, and the time as the ledger stores it: in UTC, without a zone."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return given.with_default_days(now.date()), now


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

    What was sent from the command line has no DAG: its name is empty. Whoever may read all DAGs sees it.
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


# Handlers that are not asynchronous would need one of the threads that Airflow's own requests need.
@app.exception_handler(InvalidCursor)
async def _refuse_cursor(request: Request, error: Exception) -> Response:
    return _notice(request, 422, "The address is not valid", str(error))


@app.exception_handler(RequestValidationError)
async def _refuse_parameters(request: Request, error: RequestValidationError) -> Response:
    problems = (f"{'.'.join(str(part) for part in problem['loc'][1:])}: {problem['msg']}" for problem in error.errors())
    return _notice(request, 422, "The address is not valid", "; ".join(problems))


@app.exception_handler(AnyHTTPException)
async def _show_http_error(request: Request, error: AnyHTTPException) -> Response:
    # Within a frame, Airflow's page around it asks for the login. Only a page outside a frame is redirected.
    if error.status_code == 401 and request.headers.get("sec-fetch-dest") == "document":
        airflow = root_of(request).removesuffix(PREFIX)
        here = quote(f"{request.url.path}?{request.url.query}", safe="")
        return RedirectResponse(f"{airflow}/api/v2/auth/login?next={here}", status_code=303)
    remedy = " Log in to Airflow and load the page again." if error.status_code in (401, 403) else ""
    return _notice(request, error.status_code, "The page cannot be shown", f"{error.detail}.{remedy}")


def _notice(request: Request, status: int, title: str, text: str) -> Response:
    return render(request, "notice.html", Filters(), status=status, title=title, text=text)

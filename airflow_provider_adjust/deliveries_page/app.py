"""The page as a FastAPI application, mounted into Airflow's API server: three read-only views.

Each view asks Airflow for the user and for the DAGs that they may read before it opens a ledger. Scripts and styles come
from the folder ``static`` only; a header forbids the browser all others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from airflow_provider_adjust.deliveries_page import queries
from airflow_provider_adjust.deliveries_page.access import ReadableDagIds
from airflow_provider_adjust.deliveries_page.configuration import PREFIX, ledger_conn_ids
from airflow_provider_adjust.deliveries_page.filters import Filters, InvalidCursor, Name
from airflow_provider_adjust.deliveries_page.ledgers import LedgerReadError, LedgerSession, open_session
from airflow_provider_adjust.deliveries_page.rendering import render, root_of
from airflow_provider_adjust.deliveries_page.summary import summarise

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

app = FastAPI(title="Adjust deliveries", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")

QueryFilters = Annotated[Filters, Query()]
PathName = Annotated[Name, InPath()]


@app.get("/", response_class=HTMLResponse)
def show_deliveries(request: Request, dag_ids: ReadableDagIds, given: QueryFilters) -> Response:
    """Events and revenue per day and kind of event, as a chart and a table."""
    now = _now()
    filters = given.with_default_days(now.date())
    with open_session(_ledger(filters)) as ledger:
        readable = _readable(ledger, dag_ids)
        counts = queries.counts(ledger.connection, readable, filters, now)
    cut = len(counts) >= queries.MAX_COUNTS
    return render(request, "deliveries.html", filters, dag_ids=readable, summary=summarise(counts), cut=cut)


@app.get("/runs", response_class=HTMLResponse)
def show_runs(request: Request, dag_ids: ReadableDagIds, given: QueryFilters) -> Response:
    """Task instances, and how many events of each ended how."""
    now = _now()
    filters = given.with_default_days(now.date())
    with open_session(_ledger(filters)) as ledger:
        readable = _readable(ledger, dag_ids)
        page = queries.runs(ledger.connection, readable, filters, now)
    return render(request, "runs.html", filters, dag_ids=readable, page=page)


@app.get("/events", response_class=HTMLResponse)
def show_events(request: Request, dag_ids: ReadableDagIds, given: QueryFilters) -> Response:
    """Events one by one, with their reasons and without their devices."""
    now = _now()
    filters = given.with_default_days(now.date())
    with open_session(_ledger(filters)) as ledger:
        readable = _readable(ledger, dag_ids)
        page = queries.events(ledger.connection, readable, filters, now)
    return render(request, "events.html", filters, dag_ids=readable, page=page)


@app.get("/dags/{dag_id}", response_class=HTMLResponse)
def show_dag(request: Request, dag_ids: ReadableDagIds, dag_id: PathName) -> Response:
    """Redirect from a DAG's tab to its deliveries."""
    return _to_deliveries(request, dag_ids, Filters(dag_id=dag_id))


@app.get("/dags/{dag_id}/runs/{run_id}", response_class=HTMLResponse)
def show_run(request: Request, dag_ids: ReadableDagIds, dag_id: PathName, run_id: PathName) -> Response:
    """Redirect from a run's tab to its deliveries."""
    return _to_deliveries(request, dag_ids, Filters(dag_id=dag_id, run_id=run_id))


def _to_deliveries(request: Request, dag_ids: frozenset[str], filters: Filters) -> Response:
    """Redirect to the ledger that has the DAG; to the first one if none has it, or none can be read."""
    for conn_id in ledger_conn_ids():
        with suppress(LedgerReadError), open_session(conn_id) as ledger:
            if filters.dag_id in _readable(ledger, dag_ids):
                filters = filters.model_copy(update={"ledger": conn_id})
                break
    return RedirectResponse(f"{root_of(request)}/?{urlencode(filters.query())}", status_code=303)


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


def _readable(ledger: LedgerSession, dag_ids: frozenset[str]) -> list[str]:
    """The DAGs in the ledger that the user may read. Events sent outside Airflow have no DAG and are not shown."""
    return [dag_id for dag_id in queries.dags_in(ledger.connection) if dag_id in dag_ids]


def _now() -> datetime:
    """The time as the ledger stores it: in UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


class _NothingConfigured(Exception):
    """No ledger is configured. The page then explains how to configure one."""


@app.exception_handler(_NothingConfigured)
def _explain_configuration(request: Request, error: Exception) -> Response:
    return render(request, "configure.html", Filters())


@app.exception_handler(LedgerReadError)
def _show_read_error(request: Request, error: Exception) -> Response:
    return _notice(request, 503, "The ledger cannot be shown", str(error))


@app.exception_handler(InvalidCursor)
def _refuse_cursor(request: Request, error: Exception) -> Response:
    return _notice(request, 422, "The address is not valid", str(error))


@app.exception_handler(RequestValidationError)
def _refuse_parameters(request: Request, error: RequestValidationError) -> Response:
    problems = (f"{'.'.join(str(part) for part in problem['loc'][1:])}: {problem['msg']}" for problem in error.errors())
    return _notice(request, 422, "The address is not valid", "; ".join(problems))


@app.exception_handler(AnyHTTPException)
def _show_http_error(request: Request, error: AnyHTTPException) -> Response:
    # Within a frame, Airflow's page around it asks for the login. Only a page outside a frame is redirected.
    if error.status_code == 401 and request.headers.get("sec-fetch-dest") == "document":
        airflow = root_of(request).removesuffix(PREFIX)
        here = quote(f"{request.url.path}?{request.url.query}", safe="")
        return RedirectResponse(f"{airflow}/api/v2/auth/login?next={here}", status_code=303)
    remedy = " Log in to Airflow and load the page again." if error.status_code in (401, 403) else ""
    return _notice(request, error.status_code, "The page cannot be shown", f"{error.detail}.{remedy}")


def _notice(request: Request, status: int, title: str, text: str) -> Response:
    return render(request, "notice.html", Filters(), status=status, title=title, text=text)


@app.middleware("http")
async def _add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(_HEADERS)
    return response

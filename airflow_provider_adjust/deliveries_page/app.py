"""The page as a FastAPI application, mounted into Airflow's API server: three views, all of them only to read.

Each asks Airflow who is asking and what they may read before it looks into a ledger. There are no scripts and styles but
those beside this file, and the answers forbid the browser any other.
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
from airflow_provider_adjust.deliveries_page.choice import Filters, Name, NoSuchPlace
from airflow_provider_adjust.deliveries_page.configuration import ledger_conn_ids
from airflow_provider_adjust.deliveries_page.ledgers import LedgerReadError, LedgerSession, open_ledger
from airflow_provider_adjust.deliveries_page.plugin import PREFIX
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

Chosen = Annotated[Filters, Query()]
InAddress = Annotated[Name, InPath()]


@app.get("/", response_class=HTMLResponse)
def show_deliveries(request: Request, dag_ids: ReadableDagIds, chosen: Chosen) -> Response:
    """Events and revenue per day and kind of event, and a plot of them."""
    now = _now()
    choice = chosen.with_default_days(now.date())
    with open_ledger(_ledger(choice)) as ledger:
        readable = _readable(ledger, dag_ids)
        counts = queries.counts(ledger.connection, readable, choice, now)
        cut = len(counts) == queries.MOST_COUNTS
        if ledger.has_held:
            counts += queries.held_counts(ledger.connection, readable, choice)
    return render(request, "deliveries.html", choice, dag_ids=readable, summary=summarise(counts), cut=cut)


@app.get("/runs", response_class=HTMLResponse)
def show_runs(request: Request, dag_ids: ReadableDagIds, chosen: Chosen) -> Response:
    """Task instances, and what each came to."""
    now = _now()
    choice = chosen.with_default_days(now.date())
    with open_ledger(_ledger(choice)) as ledger:
        readable = _readable(ledger, dag_ids)
        page = queries.runs(ledger.connection, readable, choice, now, with_held=ledger.has_held)
    return render(request, "runs.html", choice, dag_ids=readable, page=page)


@app.get("/events", response_class=HTMLResponse)
def show_events(request: Request, dag_ids: ReadableDagIds, chosen: Chosen) -> Response:
    """Events one by one, with their reasons and without their devices."""
    now = _now()
    choice = chosen.with_default_days(now.date())
    with open_ledger(_ledger(choice)) as ledger:
        readable = _readable(ledger, dag_ids)
        page = queries.events(ledger.connection, readable, choice, now)
    return render(request, "events.html", choice, dag_ids=readable, page=page)


@app.get("/dags/{dag_id}", response_class=HTMLResponse)
def show_dag(request: Request, dag_ids: ReadableDagIds, dag_id: InAddress) -> Response:
    """Lead from a DAG's tab to its deliveries."""
    return _to_deliveries(request, dag_ids, Filters(dag_id=dag_id))


@app.get("/dags/{dag_id}/runs/{run_id}", response_class=HTMLResponse)
def show_run(request: Request, dag_ids: ReadableDagIds, dag_id: InAddress, run_id: InAddress) -> Response:
    """Lead from a run's tab to its deliveries."""
    return _to_deliveries(request, dag_ids, Filters(dag_id=dag_id, run_id=run_id))


def _to_deliveries(request: Request, dag_ids: frozenset[str], choice: Filters) -> Response:
    """Lead to the deliveries in the ledger that knows the DAG; in the first, where none does or may be asked."""
    for conn_id in ledger_conn_ids():
        with suppress(LedgerReadError), open_ledger(conn_id) as ledger:
            if choice.dag_id in _readable(ledger, dag_ids):
                choice = choice.model_copy(update={"ledger": conn_id})
                break
    return RedirectResponse(f"{root_of(request)}/?{urlencode(choice.query())}", status_code=303)


def _ledger(choice: Filters) -> str:
    """The connection of the ledger that is chosen: one of those that are configured, never any other."""
    configured = ledger_conn_ids()
    if not configured:
        raise _NothingConfigured
    if choice.ledger is None:
        return configured[0]
    if choice.ledger not in configured:
        raise HTTPException(404, "There is no such ledger among those that the page is configured to show")
    return choice.ledger


def _readable(ledger: LedgerSession, dag_ids: frozenset[str]) -> list[str]:
    """The DAGs in the ledger that the user may read. What a task outside Airflow sent has no DAG, and is not shown."""
    return [dag_id for dag_id in queries.dags_in(ledger.connection) if dag_id in dag_ids]


def _now() -> datetime:
    """As the ledger writes times: UTC without saying so."""
    return datetime.now(UTC).replace(tzinfo=None)


class _NothingConfigured(Exception):
    """No ledger is configured, so the page says how that is done."""


@app.exception_handler(_NothingConfigured)
def _say_how_to_configure(request: Request, error: Exception) -> Response:
    return render(request, "configure.html", Filters())


@app.exception_handler(LedgerReadError)
def _say_what_is_wrong(request: Request, error: Exception) -> Response:
    return _notice(request, 503, "The ledger cannot be shown", str(error))


@app.exception_handler(NoSuchPlace)
def _refuse_place(request: Request, error: Exception) -> Response:
    return _notice(request, 422, "The address is not one of this page's", str(error))


@app.exception_handler(RequestValidationError)
def _refuse_parameters(request: Request, error: RequestValidationError) -> Response:
    problems = (f"{'.'.join(str(part) for part in problem['loc'][1:])}: {problem['msg']}" for problem in error.errors())
    return _notice(request, 422, "The address is not one of this page's", "; ".join(problems))


@app.exception_handler(AnyHTTPException)
def _answer(request: Request, error: AnyHTTPException) -> Response:
    # In a frame the login would be a page within Airflow's own, which asks for it by itself.
    if error.status_code == 401 and request.headers.get("sec-fetch-dest") == "document":
        airflow = root_of(request).removesuffix(PREFIX)
        here = quote(f"{request.url.path}?{request.url.query}", safe="")
        return RedirectResponse(f"{airflow}/api/v2/auth/login?next={here}", status_code=303)
    remedy = " Log in to Airflow and load the page again." if error.status_code in (401, 403) else ""
    return _notice(request, error.status_code, "This cannot be shown", f"{error.detail}.{remedy}")


def _notice(request: Request, status: int, title: str, text: str) -> Response:
    return render(request, "notice.html", Filters(), status=status, title=title, text=text)


@app.middleware("http")
async def _with_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    response.headers.update(_HEADERS)
    return response

"""The sandbox as an ASGI application: events, ad revenue, erasure, the Device API, the Report Service, and pages for
inspection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from airflow_provider_adjust.sandbox.core import Sandbox
from airflow_provider_adjust.sandbox.device_api import inspect_device
from airflow_provider_adjust.sandbox.erasure import PATH as ERASURE_PATH
from airflow_provider_adjust.sandbox.erasure import forget_device
from airflow_provider_adjust.sandbox.event_endpoint import OK_BODY, EventEndpoint
from airflow_provider_adjust.sandbox.exports import ExportPlan
from airflow_provider_adjust.sandbox.gate import refusal
from airflow_provider_adjust.sandbox.middleboxes import MOVED_PATH
from airflow_provider_adjust.sandbox.report_service import report_service
from airflow_provider_adjust.sandbox.rules import RULES


class SandboxApp:
    """Sends each request to its endpoint."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._endpoints = {path: EventEndpoint(sandbox, rules) for path, rules in RULES.items()}
        self._pages = Starlette(
            routes=[
                Route("/_sandbox/stats", self._get_stats, methods=["GET"]),
                Route("/_sandbox/events", self._get_events, methods=["GET"]),
                Route("/_sandbox/events", self._delete_events, methods=["DELETE"]),
                Route("/_sandbox/config", self._post_config, methods=["POST"]),
                Route("/_sandbox/exports", self._post_exports, methods=["POST"]),
                Route("/device_service/api/v2/inspect_device", self._inspect_device, methods=["GET"]),
                Route(ERASURE_PATH, self._forget_device, methods=["POST"]),
                Route("/reports-service/{page:str}", self._reports, methods=["GET"]),
                Route(MOVED_PATH, self._moved, methods=["GET", "POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := refusal(scope["headers"])):
            await JSONResponse({"error": problem}, 403)(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] in self._endpoints and scope["method"] in ("GET", "POST"):
            await self._endpoints[scope["path"]](scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _get_stats(self, request: Request) -> Response:
        return JSONResponse(self._sandbox.stats())

    async def _get_events(self, request: Request) -> Response:
        query = request.query_params
        try:
            offset = int(query.get("offset", "0"))
            limit = int(query["limit"]) if "limit" in query else None
            return JSONResponse(self._sandbox.state.events(offset, limit))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)

    async def _delete_events(self, request: Request) -> Response:
        self._sandbox.reset()
        return _ok()

    async def _post_config(self, request: Request) -> Response:
        try:
            changes = await _json_object(request)
            if "clock" in changes:
                raise TypeError("a clock is Python code; it cannot be set over HTTP")
            if "exports_folder" in changes:
                raise TypeError("the folder of exports is set where the sandbox starts; it cannot be set over HTTP")
            self._sandbox.configure(changes)
        except UnsupportedType as error:
            return JSONResponse({"error": str(error)}, 415)
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return _ok()

    async def _post_exports(self, request: Request) -> Response:
        folder = self._sandbox.config.exports_folder
        try:
            plan = ExportPlan(**await _json_object(request))
            if folder is None:
                raise ValueError("start the sandbox with a folder for exports (--exports FOLDER)")
            return JSONResponse({"files": self._sandbox.write_exports(Path(folder), plan)})
        except UnsupportedType as error:
            return JSONResponse({"error": str(error)}, 415)
        except (TypeError, ValueError, OSError) as error:
            return JSONResponse({"error": str(error)}, 400)

    async def _inspect_device(self, request: Request) -> Response:
        query = request.query_params
        status, body = inspect_device(
            query.get("advertising_id", ""),
            query.get("app_token", ""),
            request.headers.get("authorization"),
            self._sandbox.config,
            self._sandbox.state,
        )
        return JSONResponse(body, status)

    async def _forget_device(self, request: Request) -> Response:
        query: bytes = request.scope["query_string"]
        status, body = forget_device(query, request.headers.get("authorization"), self._sandbox)
        headers = {}
        if status == 429 and self._sandbox.config.retry_after is not None:
            headers["Retry-After"] = format(self._sandbox.config.retry_after, "g")
        return JSONResponse(body, status, headers)

    async def _reports(self, request: Request) -> Response:
        status, body = report_service(
            request.path_params["page"], request.query_params, request.headers.get("authorization"), self._sandbox
        )
        headers = {}
        if status in (429, 503) and self._sandbox.config.retry_after is not None:
            headers["Retry-After"] = format(self._sandbox.config.retry_after, "g")
        return Response(status_code=204) if status == 204 else JSONResponse(body, status, headers)

    async def _moved(self, request: Request) -> Response:
        # Nothing is recorded: a sender that follows the redirect loses the event, and the counters show it.
        self._sandbox.state.redirects_followed += 1
        return _ok()


class UnsupportedType(Exception):
    """The content type is not JSON. A form on another site cannot send JSON."""


async def _json_object(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedType("send the settings as application/json")
    found = json.loads(await request.body())
    if not isinstance(found, dict):
        raise TypeError("send one JSON object of settings")
    return found


def _ok() -> Response:
    return Response(OK_BODY, media_type="application/json")

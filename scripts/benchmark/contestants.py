"""The senders that are compared. Each runs in a process of its own, so that its time and memory are measured alone.

python -m benchmark.contestants requests-loop --url http://127.0.0.1:8099/event --events 1000 --in-flight 64
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_TOKEN = "measured-token"  # noqa: S105 - the answering server takes any
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "*/*", "Authorization": f"Bearer {_TOKEN}"}


def _body(number: int) -> str:
    """The request body that the provider builds from one row; the other senders get it ready-made."""
    return (
        "s2s=1&app_token=4w565xzmb54d&event_token=f0ob4r&environment=sandbox&revenue=49.99&currency=USD"
        f"&gps_adid=660e1d86-6796-463a-be86-{number:012d}&callback_params=%7B%22event_id%22%3A%22order-{number}%22%7D"
        f"&created_at_unix={1_790_000_000 + number}"
    )


def requests_loop(url: str, events: int, in_flight: int) -> None:
    import requests

    with requests.Session() as session:
        for number in range(events):
            session.post(url, data=_body(number), headers=_FORM, timeout=(5, 30)).raise_for_status()


def requests_threads(url: str, events: int, in_flight: int) -> None:
    import requests

    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=in_flight))

    def send(number: int) -> None:
        session.post(url, data=_body(number), headers=_FORM, timeout=(5, 30)).raise_for_status()

    with ThreadPoolExecutor(in_flight) as threads:
        for _ in threads.map(send, range(events)):
            pass


def http_hook(url: str, events: int, in_flight: int) -> None:
    from airflow.providers.http.hooks.http import HttpHook

    base, _, endpoint = url.rpartition("/")
    os.environ["AIRFLOW_CONN_MEASURED"] = json.dumps({"conn_type": "http", "host": base})
    hook = HttpHook(method="POST", http_conn_id="measured")
    for number in range(events):
        hook.run(endpoint, data=_body(number), headers=_FORM)


def bare_curl(url: str, events: int, in_flight: int) -> None:
    """Only libcurl: no rows, no validation, no order, no receipts. This is the limit of any sender on it."""
    import pycurl

    multi = pycurl.CurlMulti()
    sent = done = 0

    def send(handle: Any) -> None:
        nonlocal sent
        handle.setopt(pycurl.POSTFIELDS, _body(sent))
        handle.setopt(pycurl.WRITEFUNCTION, [].append)
        multi.add_handle(handle)
        sent += 1

    for _ in range(min(in_flight, events)):
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.HTTPHEADER, [*(f"{name}: {value}" for name, value in _FORM.items()), "Expect:"])
        send(handle)
    while done < events:
        multi.perform()
        _, answered, failed = multi.info_read()
        if failed:
            raise RuntimeError(failed)
        for handle in answered:
            multi.remove_handle(handle)
            if handle.getinfo(pycurl.RESPONSE_CODE) != 200:
                raise RuntimeError("an answer was no success")
            done += 1
            if sent < events:
                send(handle)
        if not answered:
            multi.select(1.0)


def provider(url: str, events: int, in_flight: int) -> None:
    """SqlToAdjustOperator from Postgres, from the query to the receipts, with the environment's connections."""
    from airflow_provider_adjust.transfers.sql_to_adjust import SqlToAdjustOperator

    operator = SqlToAdjustOperator(
        task_id="send",
        sql_conn_id="warehouse",
        sql="SELECT order_id, created_at, revenue, currency, gps_adid FROM purchases ORDER BY created_at LIMIT %(events)s",
        parameters={"events": events},
        event_token="f0ob4r",
        id_field="order_id",
        event_id_param="event_id",
        max_in_flight=in_flight,
        transport=os.environ["MEASURED_TRANSPORT"],  # type: ignore[arg-type]
        ledger_conn_id="ledger" if "AIRFLOW_CONN_LEDGER" in os.environ else None,
    )
    result = operator.execute({})
    if result["delivered"] != events:
        raise RuntimeError(result)


CONTESTANTS: dict[str, Callable[[str, int, int], None]] = {
    "requests-loop": requests_loop,
    "requests-threads": requests_threads,
    "http-hook": http_hook,
    "bare-curl": bare_curl,
    "provider": provider,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    arguments = parser.parse_args()
    contestant = CONTESTANTS[arguments.contestant]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a request in flight is an open file
    contestant(arguments.url, min(100, arguments.events), arguments.in_flight)  # imports and connections cost once
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    contestant(arguments.url, arguments.events, arguments.in_flight)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": after.ru_maxrss / 1024}))


if __name__ == "__main__":
    main()

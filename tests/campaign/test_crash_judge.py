"""The crash campaign's judge sees each kind of broken promise, and its troubles are real ones."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from campaign.crash_story import CrashStory
from campaign.disks import small_disk
from campaign.door import Door
from campaign.rows import EVENT_TOKEN, SECOND_TOKEN, Key, carts, purchases, repeated_ids, two_tokens
from campaign.settings import SETTINGS, Setting
from running_campaign import SCRIPTS

from airflow_provider_adjust.sandbox import SandboxServer

A, B = (EVENT_TOKEN, "a"), (EVENT_TOKEN, "b")


def story(*recorded: tuple[Key, int], setting: Setting | None = None, **seen: Any) -> CrashStory:
    """Two events of one device, a second apart, and what was recorded."""
    made = CrashStory({A: 100, B: 101}, setting=setting or Setting(memory="sqlite"), **seen)
    made.recorded = [
        (key, {"event_token": key[0], "created_at_unix": str(second), "gps_adid": "device"}) for key, second in recorded
    ]
    return made


def test_a_story_in_which_all_went_well_breaks_nothing() -> None:
    assert story((A, 100), (B, 101), called_delivered={A, B}, counted_delivered=[2]).broken_promises() == []


@pytest.mark.parametrize(
    ("told", "promise"),
    [
        (story((A, 100)), "1 lost"),
        (story((A, 100), (B, 101), (B, 101)), "1 recorded twice without doubt"),
        (story((A, 100), (B, 107)), "1 unexpected"),
        (story((A, 100), (B, 101), ((SECOND_TOKEN, "a"), 100)), "1 unexpected"),
        (story((B, 101), (A, 100)), "1 recorded out of order"),
        (story((A, 100), listed={B: "in_doubt"}, called_delivered={B}), "1 called delivered, and not recorded"),
        (story((A, 100), listed={B: "in_doubt"}, counted_delivered=[2]), "1 called delivered, and not recorded"),
        (story((A, 100), listed={B: "held"}), "1 needlessly unresolved"),
    ],
)
def test_the_judge_sees(told: CrashStory, promise: str) -> None:
    assert promise in told.broken_promises()


def test_an_event_in_doubt_may_be_recorded_once_more_and_under_hold_never() -> None:
    twice = ((A, 100), (B, 101), (B, 101))
    hold = Setting(memory="sqlite", on_in_doubt="hold")
    told = [story(*twice, setting=setting) for setting in (None, hold)]
    for each in told:
        each.doubts.update([B])
    assert told[0].broken_promises() == []
    assert told[1].broken_promises() == ["1 recorded twice with hold"]


def test_a_checkpoint_is_excused_after_a_kill_only() -> None:
    checkpoint = Setting(memory="checkpoint")
    told = story((A, 100), (B, 101), (B, 101), setting=checkpoint)
    assert told.broken_promises() == ["1 recorded twice without doubt"]
    told.kills["SIGKILL"] += 1
    assert told.broken_promises() == []


@pytest.mark.parametrize("make_rows", [purchases, repeated_ids, two_tokens, carts])
def test_the_rows_are_in_time_order_and_each_expected_event_has_one(make_rows: Any) -> None:
    warehouse = make_rows("story1", 200, random.Random(1))
    times = [row["created_at"] for row in warehouse.rows]
    assert times == sorted(times)
    assert {event_id for _, event_id in warehouse.expected} <= {row["order_id"] for row in warehouse.rows}


def test_carts_share_device_and_second() -> None:
    rows = carts("story1", 60, random.Random(1)).rows
    places = {(row["gps_adid"], row["created_at"]) for row in rows}
    assert len(places) == 20 < len(rows) == len({row["order_id"] for row in rows})


def test_the_settings_have_different_names() -> None:
    assert len({str(setting) for setting in SETTINGS}) == len(SETTINGS)


def test_a_door_that_is_shut_answers_with_a_page_of_its_own() -> None:
    with SandboxServer() as sandbox, Door(sandbox.url) as door:
        assert requests.get(f"{door.url}/_sandbox/stats", timeout=10).json()["requests"] == 0
        door.is_shut = True
        answer = requests.post(f"{door.url}/event", data={"app_token": "a"}, timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html")
        assert "<html>" in answer.text
        assert sandbox.stats()["requests"] == 0


def test_a_server_that_closes_does_so_after_its_answer_and_without_a_word() -> None:
    with SandboxServer() as sandbox, Door(sandbox.url) as door:
        door.closes = True
        address = door.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1])), timeout=10) as client:
            client.sendall(b"GET /_sandbox/stats HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            received = b""
            while more := client.recv(65536):
                received += more
        assert b"200 OK" in received
        assert b"connection: close" not in received.lower()


def test_a_full_disk_takes_no_line_until_it_is_free(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "rejected.jsonl") as disk:
        target = tmp_path / "disk" / "rejected.jsonl"
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            target.write_text("x" * 10_000)
        disk.free()
        target.write_text("x" * 10_000)
    assert disk.kind in {"tmpfs", "/dev/full"}


@pytest.mark.airflow
def test_the_lease_of_the_ledger_can_be_shortened() -> None:
    """Where the constants have other names, the stories about live claims would show nothing."""
    code = "from campaign.leases import shorten_leases; shorten_leases(1.5)"
    subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, check=True)

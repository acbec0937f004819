"""What is shown of an answer: known words, and the length of everything else."""

from __future__ import annotations

import re
from typing import Any

from echoes import PLACES, SPELLINGS
from hypothesis import given
from hypothesis import strategies as st
from table import table
from test_classify import DOCUMENTED

from airflow_provider_adjust.s2s.answers.classify import classify
from airflow_provider_adjust.s2s.answers.vocabulary import VOCABULARY, known_words, media_type
from airflow_provider_adjust.s2s.endpoints.endpoint import EVENT

GPS_ADID = "3f0b2f6c-8a51-4d7e-9a4b-0c2f51e6d7a8"
ADID = "d41d8cd98f00b204e9800998ecf8427e"


@table("message", [row[1] for row in DOCUMENTED])
@table("wrap", ["Event request failed ({})", "ad revenue request failed ({})", "{}", "{}."])
def test_every_documented_message_is_shown_whole(message: str, wrap: str) -> None:
    text = wrap.format(message)
    assert known_words(text) == text


@table(
    ("text", "shown"),
    [
        ("", ""),
        ("(", "("),
        ("Event Token for wrong app: 'f0ob4r'", "Event Token for wrong app: '…' (+ 6 characters not shown)"),
        (
            f"Event request failed (Device not found) (app_token:abc123, adid: {ADID})",
            "Event request failed (Device not found) (app_token:…, adid: …) (+ 38 characters not shown)",
        ),
        ("created_at before installed_at!", "created_at before installed_at!"),
        (f"device {GPS_ADID} from 192.0.2.1, ::1 unknown", "device … from … unknown (+ 46 characters not shown)"),
        ("bad\n rows\t\x0b here", "bad … here (+ 4 characters not shown)"),
        ("x", "1 character not shown"),
        ("((x))", "1 character not shown"),
        ("device " + "x" * 10_000, "device … (+ 10,000 characters not shown)"),
        ("device " * 100, ("device " * 28).strip() + " … (+ 432 characters not shown)"),
        ("ſervice \u212aey denied", "… denied (+ 10 characters not shown)"),
        ("Event\u202e request \x1b[2J failed", "… request … failed (+ 9 characters not shown)"),
    ],
)
def test_of_what_is_not_known_the_length_is_shown(text: str, shown: str) -> None:
    assert known_words(text) == shown


def test_words_of_the_request_may_be_shown() -> None:
    text = "metric gems_events is not supported, nor is coins_events"
    assert known_words(text, also=["Gems_events"]) == (
        "metric gems_events is not supported, … is … (+ 15 characters not shown)"
    )


@table(
    ("content_type", "shown"),
    [
        (None, ""),
        ("", ""),
        ("text/html; charset=x", "text/html"),
        (" Application/JSON ", "application/json"),
        (f"x/{ADID}", "unusual content type"),
        ("text/html\r\n[2026] ERROR", "unusual content type"),
    ],
)
def test_a_content_type_is_named_if_it_is_a_usual_one(content_type: str | None, shown: str) -> None:
    assert media_type(content_type) == shown


def test_the_vocabulary_holds_words_and_no_numbers() -> None:
    with_digits = {word for word in VOCABULARY if any(map(str.isdigit, word))}
    assert with_digits <= {"s2s"} | set(EVENT.parameters)
    assert all(word.isascii() and any(map(str.isalpha, word)) for word in VOCABULARY)


# -- a value that an answer repeats ------------------------------------------------------------------------------------


LETTERS = st.sampled_from(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_.:/@+%&\"'\\<>()\t\x1büßéİſ日𝒳"
)
VALUES = st.one_of(
    st.uuids().map(str),
    st.ip_addresses().map(str),
    st.text(LETTERS, min_size=6, max_size=60),
    st.builds(
        "{} ({}; {})/{}".format,
        st.text(LETTERS, min_size=5, max_size=12),
        st.text(LETTERS),
        st.text(LETTERS),
        st.floats(),
    ),
    st.builds(
        "{}@{}.example".format, st.from_regex(r"[a-z]{4,12}\.[a-z]{4,12}", fullmatch=True), st.text("xyz", min_size=3)
    ),
)
FRAME = re.compile(r"[0-9,]+ characters? not shown|unusual content type")


def shown_of(text: str) -> set[str]:
    """The words of a message, without what the provider itself says of it."""
    return {word.casefold() for word in re.findall(r"[^\W_]+", FRAME.sub("", text))}


KNOWN = {part for word in VOCABULARY for part in re.findall(r"[^\W_]+", word)} | {"html", "json", "text", "plain"}


@given(VALUES, st.sampled_from(sorted(SPELLINGS)), st.sampled_from(sorted(PLACES)))
def test_no_spelling_of_a_value_is_shown_wherever_an_answer_repeats_it(value: str, spelling: str, place: str) -> None:
    status, body, content_type = PLACES[place](SPELLINGS[spelling](value))
    verdict = classify(status, body, content_type=content_type)
    assert shown_of(verdict.message) <= KNOWN
    assert verdict.message.isprintable()
    assert len(verdict.message) <= 300


@given(st.binary() | st.text(), st.text(), st.integers(200, 599))
def test_of_any_answer_only_known_words_are_shown(body: Any, content_type: str, status: int) -> None:
    assert shown_of(classify(status, body, content_type=content_type).message) <= KNOWN

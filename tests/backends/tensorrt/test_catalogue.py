"""The table of TensorRT's messages, against messages as they were logged."""

from __future__ import annotations

import re
import string
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.tensorrt.messages import NOTHING_WRONG, Message, log, messages
from yolor_deploy.backends.tensorrt.catalogue import (
    ENTRIES,
    Entry,
    Severity,
    diagnose,
    diagnose_lines,
    first_error,
)

MESSAGES = messages()
BY_KEY = {entry.key: entry for entry in ENTRIES}
# What each log says, in the order in which it is told, and where the log was seen
LOGS = {
    # NVIDIA/TensorRT#4258
    "build-out-of-memory": (
        *("gpu-out-of-memory", "gpu-memory-short", "tactic-out-of-memory", "no-implementation"),
        "trtexec-gave-up",
    ),
    # NVIDIA/TensorRT#1893
    "build-small-workspace": (
        *("workspace-small", "no-implementation", "other-cudnn", "timing-cache-unusable"),
    ),
    # TensorRT-RTX 1.7; the second error comes after what only follows from the first
    "build-wrong-profile": ("profile-not-ordered", "no-profile", "no-driver"),
    # NVIDIA/TensorRT#3566
    "build-stale-cache": ("not-a-plan", "timing-cache-unusable"),
    # open-mmlab/mmdetection#11511
    "load-missing-plugin": ("plugin-not-registered", "plan-needs-plugin"),
    # seanavery/yolov5-tensorrt#7
    "load-other-version": ("plan-of-another-serialization", "loading-failed", "engine-is-none"),
    # TensorRT-RTX 1.7
    "parse-types-differ": ("types-differ", "no-driver"),
    # zhangcheng828/TensorRT-Plugin#4
    "parse-unknown-plugin": ("plugin-not-registered", "operator-is-no-plugin", "trtexec-gave-up"),
    # NVIDIA/TensorRT#1052
    "run-without-driver": ("cuda-not-started", "object-is-null"),
    # AUTOMATIC1111/stable-diffusion-webui-tensorrt#15
    "run-with-warnings": ("other-cudnn", "lazy-loading"),
}


def name_of(value: Message | Entry) -> str:
    """Return the key, which names a test."""
    return value.key


def keys(text: str) -> tuple[str, ...]:
    """Return the keys of what is found in a log."""
    return tuple(diagnosis.key for diagnosis in diagnose(text))


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_recorded_message_is_found_by_its_key_alone(message: Message) -> None:
    """No other entry takes it, and every value that the sentences quote was in it."""
    (found,) = diagnose(message.text)

    assert found.key == message.key
    assert found.line == 1
    assert "?" not in found.cause + found.remedy
    assert not re.search(r"[{]\w+[}]", found.cause + found.remedy)


def test_every_entry_has_a_recorded_message() -> None:
    """Nothing is in the table that was not seen."""
    assert {message.key for message in MESSAGES} == set(BY_KEY)
    assert all(message.origin for message in MESSAGES)


def test_keys_are_unique() -> None:
    """A key names one entry, in words of lower case."""
    assert len(BY_KEY) == len(ENTRIES)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) for key in BY_KEY)


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_entry_is_complete(entry: Entry) -> None:
    """Its sentences quote only what its pattern finds, and it names where it was seen."""
    quoted = {
        name
        for text in (entry.cause, entry.remedy)
        for _, name, _, _ in string.Formatter().parse(text)
        if name
    }

    assert entry.severity in get_args(Severity)
    assert quoted <= set(entry.pattern.groupindex)
    assert all((entry.cause, entry.remedy, entry.known, entry.source, entry.marks))
    assert set(entry.explains) <= set(BY_KEY)
    assert not (entry.explains and entry.severity == "error")


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_repetitions_of_a_pattern_are_bounded(entry: Entry) -> None:
    """Only runs of digits are of any length: no line takes long, however it is made."""
    assert not re.search(r"(?<!\\d)(?<!\\)[*+]", entry.pattern.pattern)


@pytest.mark.parametrize("line", NOTHING_WRONG)
def test_lines_of_a_build_that_went_well_are_left_alone(line: str) -> None:
    """A plugin that is looked for, and a cache that is used, are no faults."""
    assert keys(line) == ()


@pytest.mark.parametrize("name", LOGS)
def test_log_is_told_in_order_of_importance(name: str) -> None:
    """First the cause, then what follows from it, then warnings; each once."""
    assert keys(log(name)) == LOGS[name]


@pytest.mark.parametrize("name", [name for name in LOGS if name != "run-with-warnings"])
def test_first_error_is_the_cause(name: str) -> None:
    """What ends a build is not the last line of its log."""
    found = first_error(log(name))

    assert found is not None
    assert found.key == LOGS[name][0]
    assert found.severity == "error"


def test_log_of_warnings_has_no_error() -> None:
    """Nothing has to be done about them."""
    text = log("run-with-warnings")

    assert first_error(text) is None
    assert [(item.severity, item.line) for item in diagnose(text)] == [
        ("warning", 3),
        ("harmless", 2),
    ]


def test_warning_is_an_error_beside_what_it_explains() -> None:
    """Short memory alone costs speed; where no tactic is left it is the reason."""
    asked = "[W] [TRT] Requested amount of GPU memory (15485030400 bytes) could not be allocated."
    left = "[E] Error[10]: (Could not find any implementation for node /1/Conv.)"

    (alone,) = diagnose(asked)
    both = diagnose(f"{asked}\n{left}")

    assert alone.severity == "warning"
    assert "14.4 GiB" in alone.cause
    assert [(item.key, item.severity) for item in both] == [
        ("gpu-memory-short", "error"),
        ("no-implementation", "error"),
    ]


def test_what_only_follows_is_an_error_where_it_is_alone() -> None:
    """A machine without a driver has no other."""
    text = log("parse-types-differ").splitlines()[1]

    found = first_error(text)

    assert found is not None
    assert found.key == "no-driver"


def test_message_is_told_once_with_its_first_line() -> None:
    """A builder repeats itself for every tactic."""
    line = "[W] [TRT] Tactic Device request: 1000MB Available: 302MB. Device memory is insufficient"

    (found,) = diagnose("\n".join(["[I] start", *[f"{line} to use tactic."] * 50]))

    assert found.line == 2


def test_colours_and_progress_bars_are_seen_through() -> None:
    """Polygraphy colours its lines, and a bar ends none of its own."""
    coloured = "\x1b[38;5;9m[E] Engine deserialization \x1b[1mfailed.\x1b[0m"
    bar = " 91%|####  | 40/44 [00:19<00:00]\r[E] Unsupported SM: 0x809\r 95%|##### |"

    assert [item.text for item in diagnose(coloured)] == ["[E] Engine deserialization failed."]
    assert [item.text for item in diagnose(bar)] == ["[E] Unsupported SM: 0x809"]
    assert "8.9" in diagnose(bar)[0].cause


def test_control_characters_are_quoted_as_escapes() -> None:
    """A log may hold what a hostile model is called."""
    text = "getPluginCreator could not find plugin: a\x07b\u202ec version: 1\x08"

    (found,) = diagnose(text)

    assert r"a\x07b\u202ec" in found.cause
    assert (found.text + found.cause).isprintable()


def test_telling_part_of_a_long_line_is_quoted() -> None:
    """A node's name may be longer than the rest of the message."""
    message = "Requested amount of GPU memory (4294967296 bytes) could not be allocated."

    (found,) = diagnose(f"{'x' * 5000} {message} {'y' * 5000}")

    assert found.text.startswith(f"...{message}")
    assert found.text.endswith("yyy...")
    assert len(found.text) == 200


def test_lines_may_come_one_by_one() -> None:
    """A log need not be in memory at once."""
    text = log("parse-unknown-plugin")

    assert diagnose_lines(iter(text.splitlines(keepends=True))) == diagnose(text)


def test_windows_line_ends_change_nothing() -> None:
    """The number of a line is the same."""
    text = log("build-out-of-memory")

    assert diagnose(text.replace("\n", "\r\n")) == diagnose(text)


PIECES = st.one_of(
    st.text(),
    st.sampled_from([message.text for message in MESSAGES]),
    st.sampled_from([mark for entry in ENTRIES for mark in entry.marks]),
    st.sampled_from(["\n", "\r", "\x1b[31m", "\x1b", "\0", "{", "}", "(", "7" * 50]),
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_any_text_is_looked_up(text: str) -> None:
    """Nothing that a log may hold is a fault of ours, and what is told can be shown."""
    found = diagnose(text)

    assert len({item.key for item in found}) == len(found)
    for item in found:
        assert 1 <= item.line <= text.count("\n") + 1
        assert len(item.text) <= 200
        assert (item.text + item.cause + item.remedy).isprintable()

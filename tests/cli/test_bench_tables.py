"""What ``bench`` prints: every column that there is room for, and no figure without its terms."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.benchmark.report import records
from tests.benchmark.report.made_up import record, subject, summary_of
from yolor_deploy.cli.bench_tables import ratio_text, show
from yolor_deploy.families.catalogue import AP_CONDITIONS, FPS_CONDITIONS, OLD_FPS
from yolor_deploy.measure.latency.record import Inputs
from yolor_deploy.measure.latency.summary import Estimate, Finding, Ratio


@pytest.fixture(autouse=True)
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as into a pipe, whatever the tests run in."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def printed(capsys: pytest.CaptureFixture[str], pair: records.Pair) -> str:
    """Return what is printed of a benchmark, without colours."""
    show(*pair)
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


def in_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Print as into a terminal of so many columns."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", str(columns))):
        monkeypatch.setenv(name, value)


def suite() -> records.Pair:
    """Return the nine engines, told which the reference is."""
    made, summary = records.suite_on_gpu(200)
    return replace(made, settings=replace(made.settings, reference="yolov4-p7")), summary


def row_of(text: str, name: str) -> list[str]:
    """Return the cells of the first row of an artifact."""
    line = next(line for line in text.splitlines() if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def line_of(text: str, start: str) -> str:
    """Return the only line that begins so."""
    (line,) = (line for line in text.splitlines() if line.startswith(start))
    return line


def test_piped_table_has_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal the table is as wide as it has to be, and no cell is folded."""
    text = printed(capsys, suite())

    row = row_of(text, "yolov4-p7")
    assert row[1:3] == ["1536 x 1536", "200"]
    assert row[-3:] == ["55.5", "16*", "1"]
    assert "fps, V100," in text
    assert "…" not in text


def test_published_figures_have_their_conditions_below(capsys: pytest.CaptureFixture[str]) -> None:
    """Terms of AP, fps and star follow the table, and what our own fps hold."""
    text = printed(capsys, suite())

    assert f"published {AP_CONDITIONS}\npublished {FPS_CONDITIONS} The fps measured here" in text
    assert OLD_FPS in text


def test_star_is_explained_only_where_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    """YOLOR's own figures have none."""
    text = printed(capsys, records.one_on_cpu())

    assert row_of(text, "yolor_csp")[-2:] == ["52.8", "106"]
    assert FPS_CONDITIONS in text
    assert OLD_FPS not in text


@pytest.mark.parametrize("other", [{"size": 1280}, {"num_classes": 3}, {"variant": "custom"}])
def test_nothing_published_stands_beside_another_model(
    capsys: pytest.CaptureFixture[str], other: dict[str, int | str]
) -> None:
    """Another size, other classes or another name have a dash, and no terms below."""
    made = record([subject("yolor_csp", 4.0, **other)])  # type: ignore[arg-type]

    text = printed(capsys, (made, summary_of(made)))

    assert row_of(text, "yolor_csp")[-2:] == ["-", "-"]
    assert "V100, PyTorch" not in text


@pytest.mark.parametrize(
    ("columns", "words", "missing"),
    [
        (150, ("V100", "samples", "max [ms]", "as yolov4-p7"), ("wider terminal",)),
        (112, ("samples", "max [ms]", "as yolov4-p7", "wider terminal"), ("V100",)),
        (80, ("max [ms]", "as yolov4-p7", "wider terminal"), ("V100", "samples")),
    ],
)
def test_narrow_terminal_has_fewer_columns(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    words: tuple[str, ...],
    missing: tuple[str, ...],
) -> None:
    """What others published is left out first, then all but the times; figures stay whole."""
    in_terminal(monkeypatch, columns)

    text = printed(capsys, suite())

    table = text[: text.index("stages, timed apart")]
    assert all(word in table for word in words)
    assert not any(word in table for word in missing)
    assert re.search(r"yolor_csp_x\b.* 1\.9\d+ ", table)
    assert re.search(r"\[1\.9\d+, 1\.9\d+\]", table)
    tables = [line for line in text.splitlines() if line.startswith((" ", "│"))]
    assert max(map(len, tables)) <= columns


def test_table_wider_than_any_terminal_is_folded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 40 columns cells have several lines, and no character is left out."""
    in_terminal(monkeypatch, 40)

    assert "…" not in printed(capsys, suite())


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (
            Inputs("images", 1, True, 1, 1, (1,), None, ""),
            "one batch of images of the user's, time after time, planted 1 candidate and 1 object",
        ),
        (
            Inputs("drawn", 1, False, None, None, None, (1,), ""),
            "one batch of drawn pictures, time after time, 1 object found an image",
        ),
        (
            Inputs("drawn", 8, False, None, None, None, (0, 2), ""),
            "8 batches of drawn pictures in turn, 0 to 2 objects found an image",
        ),
    ],
)
def test_inputs_read_as_one_would_say_them(
    capsys: pytest.CaptureFixture[str], inputs: Inputs, words: str
) -> None:
    """One of a thing is not in the plural, and one batch takes no turns."""
    made = record([subject("a", 4.0, inputs=inputs)])

    assert line_of(printed(capsys, (made, summary_of(made))), "a: ").endswith(words)


def test_only_ratios_of_runs_and_models_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the other stages are on the page."""
    made, summary = records.pair_on_gpu()
    ratios = tuple(
        Ratio("yolor-d6", "yolov4-p7", of, Estimate(1.93, 1.92, 1.94), 9)
        for of in ("run", "preprocess", "model", "nms")
    )

    text = printed(capsys, (made, replace(summary, ratios=ratios)))

    assert text.count("times as fast as yolov4-p7") == 2
    assert "(model alone)" in text


@pytest.mark.parametrize(
    ("speedup", "sentence"),
    [
        (
            Estimate(1.931, 1.913, 1.949),
            "a is 1.93 times as fast as b [1.91, 1.95] at 99 %, widened by 2 %",
        ),
        (
            Estimate(1.0, 0.99, 1.01),
            "a and b cannot be told apart: 1.00 times as fast [0.99, 1.01] at 99 %, widened by 2 %",
        ),
        (
            Estimate(1.4, None, None),
            "a is 1.40 times as fast as b, by too few rounds for an interval",
        ),
    ],
)
def test_ratio_tells_level_and_rounds(speedup: Estimate, sentence: str) -> None:
    """The sentence of the page, with the level of its interval and the number of rounds."""
    assert ratio_text(Ratio("a", "b", "run", speedup, 1)) == f"{sentence} (1 round)"


def test_same_finding_of_several_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """All its artifacts are named before it."""
    made, summary = records.pair_on_gpu()
    findings = tuple(
        Finding("noise", name, "warning", "too noisy") for name in ("yolor-d6", "yolov4-p7")
    )

    text = printed(capsys, (made, replace(summary, findings=findings)))

    assert line_of(text, "warning") == "warning: yolor-d6 and yolov4-p7: too noisy (noise)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (records.one_on_cpu, "the same artifact ran back to back"),
        (records.pair_on_gpu, "between two runs of an artifact another one ran"),
    ],
)
def test_state_of_caches_is_told(
    capsys: pytest.CaptureFixture[str], make: Callable[[], records.Pair], words: str
) -> None:
    """One artifact finds its weights where it left them, one of several does not."""
    assert line_of(printed(capsys, make()), "caches: ").startswith(f"caches: {words}")


def test_text_of_files_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in names are written as escapes."""
    show(*records.hostile())

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[31m" in out

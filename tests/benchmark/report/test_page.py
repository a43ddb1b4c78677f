"""The page of a benchmark: it says what came out, and nothing that a file could say instead."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Literal

import pytest

from tests.benchmark.report import made_up, records
from tests.benchmark.report.parsed import Node, parsed, rows_of
from yolor_deploy.benchmark.report.page import report_html, write_report
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.measure.latency.record_file import record_from_json
from yolor_deploy.measure.latency.summary import Estimate, Finding, Ratio

SECTIONS = [
    *("summary", "ratios", "latency", "stages", "throughput", "pareto", "density", "roofline"),
    *("validity", "conditions", "work", "resources", "self-test", "environment", "repeat"),
]
RULES: tuple[tuple[str, Literal["invalid", "warning"]], ...] = (
    ("drift", "invalid"),
    ("noise", "warning"),
)
EVERY = pytest.mark.parametrize("name", records.ALL)


def page_of(pair: records.Pair) -> Node:
    """Return the page of a made-up benchmark as a tree."""
    return parsed(report_html(*pair))


@EVERY
def test_page_is_whole_and_stands_alone(name: str) -> None:
    """Every section is there, ids are unique, links lead somewhere, and none leads out."""
    text = report_html(*records.ALL[name]())
    page = parsed(text)

    ids = [node.attributes["id"] for node in page.below() if "id" in node.attributes]
    links = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text)

    assert [part.attributes["id"] for part in page.all("section")] == SECTIONS
    assert len(set(ids)) == len(ids)
    assert all((a or b).startswith("#") and (a or b)[1:] in ids for a, b in links)
    assert "://" not in text


@EVERY
def test_page_has_a_heading_for_each_section_and_a_caption_for_each_table(name: str) -> None:
    """Sections, tables and pictures are named for those who do not see them."""
    page = page_of(records.ALL[name]())

    ids = {node.attributes["id"] for node in page.below() if "id" in node.attributes}

    assert len(page.all("h1")) == 1
    assert all(part.attributes["aria-labelledby"] in ids for part in page.all("section"))
    assert all(table.one("caption").text for table in page.all("table"))
    for picture in page.all("svg"):
        hidden = picture.attributes.get("aria-hidden") == "true"
        assert hidden or (picture.one("title").text and picture.one("desc").text)
    for head in page.all("th", scope="col"):
        assert head.attributes["aria-sort"] == "none"
        assert head.one("button").text


@pytest.mark.parametrize(
    ("name", "sentence", "badge"),
    [
        ("pair-on-gpu", "yolor-d6 is 1.93 times as fast as yolov4-p7 [1.91, 1.95].", "VALID"),
        ("suite-on-gpu", "yolor-d6 is 1.93 times as fast as yolov4-p7 [1.91, 1.95].", "VALID"),
        ("invalid", "yolor-d6 is 1.93 times as fast as yolov4-p7 [1.91, 1.95].", "INVALID"),
        ("interrupted", "the median of 7 runs at batch 1.", "INCOMPLETE"),
        ("bare", "Nothing was measured.", "INCOMPLETE"),
    ],
)
def test_first_sentence_is_the_result(name: str, sentence: str, badge: str) -> None:
    """The headline is one sentence, and a badge says whether it counts."""
    page = page_of(records.ALL[name]())

    headline = page.one("p", class_="headline").text

    assert headline.endswith(sentence)
    assert headline.count(". ") == 0
    assert page.one("strong", class_="badge").text == badge
    assert page.one("head").one("title").text == headline


@pytest.mark.parametrize(
    ("speedup", "sentence"),
    [
        (Estimate(0.52, 0.51, 0.53), "a is 0.52 times as fast as b [0.51, 0.53]."),
        (
            Estimate(1.0, 0.99, 1.01),
            "a and b cannot be told apart: 1.00 times as fast [0.99, 1.01].",
        ),
        (
            Estimate(1.4, None, None),
            "a is 1.40 times as fast as b, by too few rounds for an interval.",
        ),
    ],
)
def test_headline_claims_no_more_than_the_interval(speedup: Estimate, sentence: str) -> None:
    """An interval that holds 1 is no difference, and none is said to be none."""
    made = made_up.record([made_up.subject("a", 1.0), made_up.subject("b", 1.0)])
    summary = replace(made_up.summary_of(made), ratios=(Ratio("a", "b", "run", speedup, 200),))

    assert page_of((made, summary)).one("p", class_="headline").text == sentence


def test_invalid_run_says_why_on_top() -> None:
    """The reasons stand below the badge, and warnings do not."""
    header = page_of(records.invalid()).one("header")

    assert [line.text for line in header.all("li")] == [
        "the GPU held its clocks back 4 times: sw_thermal",
        "yolor-d6: drift of +5.3 % between first and last third",
    ]
    assert "Do not quote these figures. 1 warning: see validity." in header.text


def test_summary_table_has_the_ratio_last() -> None:
    """The row of an artifact has its published figures and, last, its ratio."""
    rows = {row[0]: row for row in rows_of(page_of(records.suite_on_gpu(200)), "summary")}

    assert rows["artifact"][-1] == "times as fast"
    assert rows["yolor-d6"][-1].startswith("1.93 [1.9")
    assert rows["yolov4-p7"][-3:] == ["55.5 test-dev", "16*", "reference"]
    assert rows["yolor-d6"][-2] == "34"
    assert len(rows) == 10


def test_what_was_not_measured_says_so() -> None:
    """A model on a CPU alone has no stage, ratio or energy, and no figure instead."""
    page = page_of(records.one_on_cpu())

    for key in ("ratios", "stages", "throughput", "density", "roofline", "self-test"):
        assert page.one("section", id=key).text.endswith("not measured.")
    assert page.one("section", id="resources").text.endswith(
        "Memory: not measured. Energy: not measured."
    )
    row = rows_of(page, "summary")[1]
    assert row[9:11] == ["not measured", "inside model"]
    assert row[-1] == "not measured"


def test_artifact_without_samples_keeps_its_row() -> None:
    """What was not reached before the interrupt is in the table, without a figure."""
    rows = rows_of(page_of(records.interrupted()), "summary")

    assert [row[0] for row in rows[1:]] == ["yolor-p6", "yolor-d6"]
    assert set(rows[2][4:]) == {"not measured"}


def test_times_that_are_no_numbers_are_not_drawn() -> None:
    """A record that was edited may hold NaN, which counts as not measured."""
    made, summary = records.odd_figures()
    odd = replace(summary.subjects[0].run, minimum=float("nan"), maximum=float("nan"))
    summary = replace(summary, subjects=(replace(summary.subjects[0], run=odd),))

    page = page_of((made, summary))

    assert page.one("p", class_="headline").text == "Nothing was measured."
    assert rows_of(page, "summary")[1][4] == "not measured"


def test_model_that_computes_nothing_has_no_roofline() -> None:
    """Layers that only move data have a limit in the table, and no point in the picture."""
    made, summary = records.odd_figures()
    roof = summary.subjects[0].roofline
    assert roof is not None
    still = replace(summary.subjects[0], roofline=replace(roof, gflop=0.0, gflops=0.0))

    part = page_of((made, replace(summary, subjects=(still,)))).one("section", id="roofline")

    assert not part.all("figure")
    assert part.all("table")


def test_own_model_has_no_published_figures() -> None:
    """A model that nobody published has no AP beside it, and is not in the picture of that."""
    page = page_of(records.odd_figures())

    assert rows_of(page, "summary")[1][11:13] == ["not published"] * 2
    assert "no artifact is of a model with a published AP" in page.one("section", id="pareto").text


@pytest.mark.parametrize("other", [{"size": 1280}, {"num_classes": 3}])
def test_nothing_published_stands_beside_another_size_or_classes(other: dict[str, int]) -> None:
    """A name alone brings no AP: not in the table, not in the picture, not to the headline."""
    made = made_up.record([made_up.subject("yolor_csp", 4.0, **other)])  # type: ignore[arg-type]

    page = page_of((made, made_up.summary_of(made)))

    assert rows_of(page, "summary")[1][11:13] == ["not published"] * 2
    assert "no artifact is of a model with a published AP" in page.one("section", id="pareto").text
    assert "the AP beside them" not in page.one("header").text


def test_headline_passes_over_an_accuracy_of_another_size() -> None:
    """Of two ratios it takes the one whose AP was published of that input."""
    made = made_up.record(
        [
            made_up.subject("yolor-d6", 2.0, size=640),
            made_up.subject("yolor_csp", 3.0),
            made_up.subject("yolov4-p7", 9.0, size=1536),
        ]
    )

    page = page_of((made, made_up.summary_of(made, reference="yolov4-p7")))

    assert page.one("p", class_="headline").text.startswith("yolor_csp is 3.0")


def test_finding_of_several_artifacts_is_one_row() -> None:
    """What was seen alike of several artifacts is said once, above and in the section."""
    made, summary = records.pair_on_gpu()
    findings = tuple(
        Finding(rule, name, severity, "the same")
        for rule, severity in RULES
        for name in ("yolor-d6", "yolov4-p7")
    )

    page = page_of((made, replace(summary, findings=findings)))

    both = "yolor-d6 and yolov4-p7"
    assert [line.text for line in page.one("header").all("li")] == [f"{both}: the same"]
    assert "1 warning: see validity." in page.one("header").text
    assert rows_of(page, "validity")[1:] == [
        ["invalid", "drift", both, "the same"],
        ["warning", "noise", both, "the same"],
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (records.one_on_cpu, "Caches: the same artifact ran back to back"),
        (records.pair_on_gpu, "Caches: between two runs of an artifact another one ran"),
    ],
)
def test_caches_and_candidates_are_explained(make: Callable[[], records.Pair], words: str) -> None:
    """The section of the work tells what caches held, and when candidates were counted."""
    text = page_of(make()).one("section", id="work").text

    assert words in text
    assert "Candidates: per image of the first batch, counted when they were planted." in text


def test_random_weights_are_said() -> None:
    """The header and the section of accuracy tell whose AP is not theirs."""
    page = page_of(records.pair_on_gpu())

    assert "Random weights: yolor-d6 and yolov4-p7." in page.one("header").text
    assert "AP was not measured here" in page.one("section", id="pareto").text


def test_conditions_of_published_figures_are_beside_them() -> None:
    """The V100 figures never stand without what they were measured with."""
    page = page_of(records.pair_on_gpu())

    for key in ("summary", "pareto"):
        assert (
            "on a V100, PyTorch half precision, forward pass only, no NMS"
            in page.one("section", id=key).text
        )


def test_page_says_how_to_repeat_it() -> None:
    """The command can be copied, quotes included, and the replay is named."""
    made, summary = records.one_on_cpu()
    made = replace(made, command=("yolor-deploy", "bench", "my model.onnx"))

    text = page_of((made, summary)).one("section", id="repeat").text

    assert "yolor-deploy bench 'my model.onnx'" in text
    assert "yolor-deploy bench --replay FILE --report out.html" in text


def test_text_of_files_is_text_in_the_page() -> None:
    """A hostile name adds no element, no attribute and no control character."""
    made, summary = records.hostile()
    text = report_html(made, summary)
    page = parsed(text)

    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert not any(key.startswith("on") for node in page.below() for key in node.attributes)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "<script>alert(1)</script>\"'&\\x1b[31m\\u202e$\\frac$\\n</style>" in page.text


def test_half_a_surrogate_is_written(tmp_path: Path) -> None:
    """A file name that is no Unicode is shown as an escape and does not stop the page."""
    made, summary = records.one_on_cpu()
    odd = replace(made.subjects[0], path="bad\udcff.onnx")

    write_report(replace(made, subjects=(odd,)), summary, tmp_path / "a.html")

    assert "bad\\udcff.onnx" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_only_our_script_may_run() -> None:
    """The policy names the hash of the script in the page, and allows nothing from outside."""
    page = page_of(records.one_on_cpu())
    script = files("yolor_deploy.benchmark.report").joinpath("sort.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]

    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    assert page.one("script").children == [script]


def test_replay_gives_the_same_page() -> None:
    """A record that went through its file makes the page that it made before."""
    made, summary = records.pair_on_gpu()
    again = record_from_json(json.loads(json.dumps(made.to_json())), where="a.json")

    assert report_html(again, summary) == report_html(made, summary)


def test_page_of_a_suite_stays_small() -> None:
    """Nine artifacts of 2000 samples make less than 3 MB, and every sample counts."""
    made, summary = records.suite_on_gpu(2000)
    text = report_html(made, summary)

    assert len(text.encode()) < 3_000_000
    assert rows_of(parsed(text), "latency")[1][1] == "2,000"


def test_report_replaces_a_file_and_leaves_no_other(tmp_path: Path) -> None:
    """The page is written whole, in UTF-8."""
    path = tmp_path / "out.html"
    path.write_text("old", encoding="utf-8")

    write_report(*records.one_on_cpu(), path)

    assert path.read_text(encoding="utf-8") == report_html(*records.one_on_cpu())
    assert [item.name for item in tmp_path.iterdir()] == ["out.html"]


def test_report_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The error is one of ours, and names the option."""
    with pytest.raises(ArtifactError, match="cannot write") as caught:
        write_report(*records.bare(), tmp_path / "missing" / "out.html")
    assert "--report" in caught.value.hint


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_the_background(scheme: int) -> None:
    """Text has a contrast of 4.5 and what is drawn one of 3, in light and in dark.

    Source: WCAG 2.2, 1.4.3 and 1.4.11, level AA.
    """
    style = files("yolor_deploy.benchmark.report").joinpath("style.css").read_text("utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", blocks[scheme]))

    for behind in ("surface", "raised"):
        for name in ("ink", "muted", "accent"):
            assert contrast(colours[name], colours[behind]) >= 4.5, (name, behind)
    for name in ("good", "bad", "care"):
        assert contrast(colours[name], colours[f"{name}-soft"]) >= 4.5, name
    for name in [*(f"s{at}" for at in range(9)), *(f"t{at}" for at in range(5))]:
        assert contrast(colours[name], colours["surface"]) >= 3, name


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours.

    Source: WCAG 2.2, "contrast ratio" and "relative luminance".
    """
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb``."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

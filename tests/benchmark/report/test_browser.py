"""The page in a browser: it shows without complaint, sorts, fits a phone, and stays alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmark.report import records
from tests.benchmark.report.chromium import Page, browser
from yolor_deploy.benchmark.report.page import write_report

pytestmark = pytest.mark.browser

EVERY = pytest.mark.parametrize("name", records.ALL)
COLUMN = """
((key, at) => Array.from(
  document.querySelector(`#${key} table.sortable`).tBodies[0].rows,
  (row) => row.cells[at].textContent.trim()
))"""
PRESS = """
((key, at) => {
  const head = document.querySelector(`#${key} table.sortable`).tHead.rows[0].cells[at];
  head.querySelector("button").click();
  return head.getAttribute("aria-sort");
})"""
OVERFLOW = """
Array.from(document.querySelectorAll("body *"), (node) => [node, node.getBoundingClientRect()])
  .filter(([node, box]) => box.width && box.right > innerWidth + 0.5 && !node.closest(".scroll"))
  .map(([node]) => node.outerHTML.slice(0, 120))"""
CLIPPED_TEXT = """
Array.from(document.querySelectorAll("figure > svg"), (svg) => {
  const frame = svg.getBoundingClientRect();
  return Array.from(svg.querySelectorAll("text"))
    .filter((text) => {
      const box = text.getBoundingClientRect();
      return box.left < frame.left - 2 || box.right > frame.right + 2
        || box.top < frame.top - 2 || box.bottom > frame.bottom + 2;
    })
    .map((text) => text.textContent);
}).flat()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a page of every made-up benchmark."""
    folder = tmp_path_factory.mktemp("pages")
    for name, make in records.ALL.items():
        write_report(*make(), folder / f"{name}.html")
    return folder


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Return a page in a browser; it forgets what it showed when it opens something else."""
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@EVERY
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_shows_without_complaint_or_request(
    pages: Path, shown: Page, name: str, scheme: str
) -> None:
    """No script fails, no policy is broken, and nothing but the file is asked for."""
    path = pages / f"{name}.html"

    shown.open(path, scheme=scheme)

    assert shown.value("document.querySelectorAll('section').length") == 15
    assert shown.complaints == []
    assert [url for url in shown.requests if url != "about:blank"] == [path.resolve().as_uri()]


@EVERY
def test_page_fits_a_phone(pages: Path, shown: Page, name: str) -> None:
    """At 380 pixels nothing but the boxes of tables scrolls sideways."""
    shown.open(pages / f"{name}.html", width=380)

    width, inner = shown.value("[document.documentElement.scrollWidth, innerWidth]")

    assert inner == 380
    assert width <= inner
    assert shown.value(OVERFLOW) == []


def test_text_of_pictures_is_inside_them(pages: Path, shown: Page) -> None:
    """No label is cut at the edge of its picture."""
    shown.open(pages / "suite-on-gpu.html")

    assert shown.value("document.querySelectorAll('figure > svg text').length") > 300
    assert shown.value(CLIPPED_TEXT) == []


def test_numbers_sort_as_numbers(pages: Path, shown: Page) -> None:
    """A click sorts up, another down, by value and not by text."""
    shown.open(pages / "suite-on-gpu.html")
    before = shown.value(f"{COLUMN}('summary', 4)")
    medians = [float(text.split()[0]) for text in before]

    up = shown.value(f"{PRESS}('summary', 4)")
    ascending = [float(text.split()[0]) for text in shown.value(f"{COLUMN}('summary', 4)")]
    down = shown.value(f"{PRESS}('summary', 4)")
    descending = [float(text.split()[0]) for text in shown.value(f"{COLUMN}('summary', 4)")]

    assert [up, down] == ["ascending", "descending"]
    assert ascending == sorted(medians) != medians
    assert descending == sorted(medians, reverse=True)


def test_inputs_sort_by_their_area(pages: Path, shown: Page) -> None:
    """896 x 896 lies between 640 x 640 and 1280 x 1280."""
    shown.open(pages / "suite-on-gpu.html")

    shown.value(f"{PRESS}('summary', 1)")

    sides = [int(text.split()[0]) for text in shown.value(f"{COLUMN}('summary', 1)")]
    assert sides == [640, 640, 896, 1280, 1280, 1280, 1280, 1280, 1536]


def test_text_sorts_by_letters(pages: Path, shown: Page) -> None:
    """A column of text sorts by its letters, numbers in it by their value."""
    shown.open(pages / "suite-on-gpu.html")

    shown.value(f"{PRESS}('summary', 0)")

    assert shown.value(f"{COLUMN}('summary', 0)")[:4] == [
        "yolor_csp",
        "yolor_csp_x",
        "yolor-d6",
        "yolor-e6",
    ]


def test_not_measured_is_last_up_and_down(pages: Path, shown: Page) -> None:
    """An artifact without a figure stays below those that have one."""
    shown.open(pages / "interrupted.html")

    shown.value(f"{PRESS}('summary', 4)")
    up = shown.value(f"{COLUMN}('summary', 0)")
    shown.value(f"{PRESS}('summary', 4)")
    down = shown.value(f"{COLUMN}('summary', 0)")

    assert up == down == ["yolor-p6", "yolor-d6"]
    assert shown.value(f"{COLUMN}('summary', 4)")[1] == "not measured"


def test_another_column_forgets_the_first(pages: Path, shown: Page) -> None:
    """One column at a time says that the table is sorted by it."""
    shown.open(pages / "suite-on-gpu.html")

    shown.value(f"{PRESS}('summary', 4)")
    shown.value(f"{PRESS}('summary', 5)")

    marked = "document.querySelectorAll('#summary th:not([aria-sort=none])[aria-sort]').length"
    assert shown.value(marked) == 1


@pytest.mark.parametrize(("key", "code"), [("Enter", 13), (" ", 32)], ids=["enter", "space"])
def test_keyboard_sorts(pages: Path, shown: Page, key: str, code: int) -> None:
    """The heading takes the focus, and Enter and the space bar press it."""
    shown.open(pages / "suite-on-gpu.html")
    shown.value("document.querySelectorAll('#summary thead button')[13].focus()")

    shown.press(key, code)

    sign = "document.querySelectorAll('#summary thead th')[13].getAttribute('aria-sort')"
    assert shown.value(sign) == "ascending"
    assert shown.value(f"{COLUMN}('summary', 0)")[0] == "yolov4-p7"


def test_hostile_name_does_nothing(pages: Path, shown: Page) -> None:
    """What looks like markup in a name is shown, and makes no element."""
    shown.open(pages / "hostile.html")

    assert shown.value("document.querySelectorAll('script').length") == 1
    assert shown.value("document.querySelector('.headline').textContent").startswith(
        "<script>alert(1)</script>"
    )


def test_colours_follow_dark_and_paper_is_light(pages: Path, shown: Page) -> None:
    """Pictures and page turn dark with the system, and are light on paper all the same."""
    ink = "getComputedStyle(document.querySelector('figure > svg text')).fill"
    back = "getComputedStyle(document.body).backgroundColor"
    path = pages / "one-on-cpu.html"

    shown.open(path, scheme="light")
    light = shown.value(f"[{ink}, {back}]")
    shown.open(path, scheme="dark")
    dark = shown.value(f"[{ink}, {back}]")
    shown.open(path, scheme="dark", media="print")
    paper = shown.value(f"[{ink}, {back}]")

    assert light == paper
    assert light[0] != dark[0]
    assert light[1] == "rgb(255, 255, 255)" != dark[1]


def test_page_prints(pages: Path, shown: Page, tmp_path: Path) -> None:
    """Printing gives a PDF of several pages, all of them landscape A4."""
    shown.open(pages / "pair-on-gpu.html")

    shown.pdf(tmp_path / "a.pdf")

    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/MediaBox [0 0 841") >= 5


def test_wide_tables_fit_on_paper(pages: Path, shown: Page) -> None:
    """On landscape A4 less its margins no table is wider than the page."""
    shown.open(pages / "suite-on-gpu.html", width=1032, media="print")

    assert shown.value("document.documentElement.scrollWidth") <= 1032

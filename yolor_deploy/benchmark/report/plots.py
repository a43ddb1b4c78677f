"""The seam to matplotlib: figures as SVG inside the page, whose colours are the page's.

Pictures are drawn in colours that mean something (``INK``, ``series(3)``), which no picture would
have by chance, and each becomes a variable of the style sheet: one picture for light, dark, paper.
"""

from __future__ import annotations

import importlib.util
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yolor_deploy.benchmark.report.markup import Html, element, escaped
from yolor_deploy.core.errors import BackendUnavailableError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

SERIES = 9
"""Colours of artifacts; the suite has as many."""
STAGE_COLOURS = 5
WIDTH_IN = 4.5
LONGEST_NAME = 26

_NAMES = ("ink", "muted", "grid", "surface", "good", "bad", "accent")
INK, MUTED, GRID, SURFACE, GOOD, BAD, ACCENT = (f"#fe00{at:02x}" for at in range(len(_NAMES)))
_VARIABLES = {
    **{f"#fe00{at:02x}": f"var(--{name})" for at, name in enumerate(_NAMES)},
    **{f"#fe01{at:02x}": f"var(--s{at})" for at in range(SERIES)},
    **{f"#fe02{at:02x}": f"var(--t{at})" for at in range(STAGE_COLOURS)},
}
_MARKS = (
    ("o", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z"),
    ("s", "M-4-4h8v8h-8z"),
    ("^", "M0-5L5 4h-10z"),
    ("D", "M0-5L5 0L0 5L-5 0z"),
    ("v", "M0 5L5-4h-10z"),
    ("P", "M-2-5h4v3h3v4h-3v3h-4v-3h-3v-4h3z"),
    ("<", "M-5 0L4-5v10z"),
    ("p", "M0-5L4.8-1.5L2.9 4h-5.8L-4.8-1.5z"),
    (">", "M5 0L-4-5v10z"),
)
_STYLE: dict[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "yolor-deploy",
    "text.parse_math": False,  # a name may hold dollars
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.color": INK,
    "patch.edgecolor": INK,
}
_MANY_DECADES = 2.2
_WIDE = 5.0
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def series(index: int) -> str:
    """Return the colour of an artifact."""
    return f"#fe01{index % SERIES:02x}"


def stage_colour(index: int) -> str:
    """Return the colour of a stage, by its place in ``STAGES``."""
    return f"#fe02{index % STAGE_COLOURS:02x}"


def mark(index: int) -> str:
    """Return the mark of an artifact, so that colour is not all that tells it apart."""
    return _mark(index)[0]


def series_key(index: int) -> Html:
    """Return mark and colour of an artifact, to stand before its name in text."""
    return _key(_mark(index)[1], f"var(--s{index % SERIES})")


def stage_key(index: int) -> Html:
    """Return the colour of a stage, to stand before its name in text."""
    return _key("M-5-5h10v10h-10z", f"var(--t{index % STAGE_COLOURS})")


def legend(items: Sequence[tuple[Html, str]]) -> Html:
    """Return keys and names below a picture, where they wrap on a narrow screen."""
    return element("ul", *(element("li", key, f" {name}") for key, name in items), class_="legend")


def require_matplotlib(where: str) -> None:
    """Refuse to draw without matplotlib.

    Raises:
        BackendUnavailableError: It is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise BackendUnavailableError(
            "matplotlib is not installed, which draws the report",
            where=where,
            hint="pip install 'yolor-deploy[report]', or keep the samples with -o FILE and replay "
            "them where it is installed",
        )


def picture(
    draw: Callable[[Figure], None], *, key: str, title: str, description: str, height_in: float
) -> Html:
    """Draw, and return the SVG for the page.

    Args:
        draw: Puts axes into the empty figure it is given.
        key: Unique in the page; ids begin with it.
        title: What is shown, for those who hear the page.
        description: What is to be seen in it, likewise.
        height_in: Inches; the width is always the same, so that text has one size.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to load

    with _style():
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    return _for_page(buffer.getvalue(), key=key, title=title, description=description)


def use_log_ticks(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis in plain numbers, as densely as its range allows."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - late

    decades = math.log10(high / low)
    steps = (1.0,) if decades > _MANY_DECADES else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    axis.set_minor_formatter(NullFormatter())


def tick_text(value: float) -> str:
    """Return the label of a tick, without an exponent."""
    return f"{value:,.0f}" if value >= 1 else f"{value:.6g}"


def use_time_scale(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic where its values are far apart."""
    low, high = min(values), max(values)
    if low > 0 and high / low > _WIDE:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.25)
        use_log_ticks(axes.xaxis, low, high)
    else:
        axes.set_xlim(0, high * 1.08 or 1)


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to load

    with warnings.catch_warnings(), mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        # The browser has the letters that matplotlib's font lacks
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield


def _for_page(svg: str, *, key: str, title: str, description: str) -> Html:
    """Make of a file of matplotlib what may stand in HTML, beside others of its kind."""
    body = svg[svg.index("<g id=") : svg.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None, "matplotlib writes one"
    body = re.sub(r"<[^>]*>", lambda tag: _tag_for_page(tag[0], key), body)
    body = re.sub(r"\n\s*", "\n", body)
    return Html(
        f'<svg viewBox="{box[1]}" role="img" aria-labelledby="{key}-title {key}-description">'
        f'<title id="{key}-title">{escaped(title)}</title>'
        f'<desc id="{key}-description">{escaped(description)}</desc>{body}</svg>'
    )


def _tag_for_page(tag: str, key: str) -> str:
    tag = re.sub(r"#fe0[012][0-9a-f]{2}", lambda colour: _VARIABLES[colour[0]], tag)
    tag = re.sub(r" font-family: [^;\"]*;", "", tag)
    tag = re.sub(r' id="(?:m|p)([0-9a-f]{10})"', rf' id="{key}-\1"', tag)
    tag = re.sub(r' id="(?!' + re.escape(key) + r'-)[^"]*"', "", tag)  # nobody refers to those
    tag = re.sub(r'(?:xlink:)?href="#(?:m|p)([0-9a-f]{10})"', rf'href="#{key}-\1"', tag)
    tag = re.sub(r"url\(#(?:m|p)([0-9a-f]{10})\)", rf"url(#{key}-\1)", tag)
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)


def _mark(index: int) -> tuple[str, str]:
    return _MARKS[(index + index // SERIES) % SERIES]  # the tenth has the first colour, not both


def _key(path: str, colour: str) -> Html:
    shape = element("path", d=path, style=f"fill:{colour}")
    return element("svg", shape, class_="key", viewBox="-6 -6 12 12", aria_hidden="true")

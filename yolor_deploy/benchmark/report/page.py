"""The report of a benchmark: one HTML file that can be sent, printed and read on a phone."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from yolor_deploy.benchmark.report import machine, overview, timing, work
from yolor_deploy.benchmark.report.limits import density_section, roofline_section
from yolor_deploy.benchmark.report.markup import Html, element, escaped, joined
from yolor_deploy.benchmark.report.parts import Section, note, section
from yolor_deploy.benchmark.report.plots import require_matplotlib
from yolor_deploy.benchmark.report.verdict import headline, verdict_block
from yolor_deploy.benchmark.report.view import View, view_of
from yolor_deploy.benchmark.report.wording import listed
from yolor_deploy.core.whole_file import whole_file
from yolor_deploy.measure.latency.record import Record
from yolor_deploy.measure.latency.summary import Summary
from yolor_deploy.output_file import unwritable

_REPLAY = "yolor-deploy bench --replay FILE --report out.html"


def write_report(record: Record, summary: Summary, path: Path) -> None:
    """Write a benchmark as one HTML file that needs no network.

    Args:
        record: Raw samples.
        summary: Made of that record.
        path: Replaced when the page is complete.

    Raises:
        BackendUnavailableError: matplotlib is not installed.
        ArtifactError: The file cannot be written.
    """
    require_matplotlib(str(path))
    text = report_html(record, summary)
    try:
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error, option="--report") from error


def report_html(record: Record, summary: Summary) -> str:
    """Return the page as text.

    Args:
        record: Raw samples.
        summary: Made of that record; every figure is from here, and pictures draw the samples.

    Raises:
        BackendUnavailableError: matplotlib is not installed.
    """
    require_matplotlib("the report")
    view = view_of(record, summary)
    sections = [make(view) for make in _SECTIONS]
    script = _own("sort.js")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{_head(view, script)}</head>\n<body>\n'
        f"{_body(view, sections).text}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _repeat_section(view: View) -> Section:
    command = shlex.join(view.record.command)
    return section(
        "repeat",
        "How to repeat",
        element("p", "The same measurement, on this or another machine:"),
        element("pre", element("code", command or "not known")),
        element(
            "p", "This report again, from the samples that were kept with ", _code("-o FILE"), ":"
        ),
        element("pre", element("code", _REPLAY)),
        note(
            "A ratio holds for the machine, the precision, the batch and the inputs that are "
            "named here, and for no others."
        ),
    )


_SECTIONS: tuple[Callable[[View], Section], ...] = (
    overview.summary_section,
    overview.ratio_section,
    timing.latency_section,
    timing.stage_section,
    timing.throughput_section,
    overview.pareto_section,
    density_section,
    roofline_section,
    machine.validity_section,
    machine.conditions_section,
    work.work_section,
    work.resource_section,
    work.self_test_section,
    machine.environment_section,
    _repeat_section,
)
"""In the order of the page."""


def _head(view: View, script: str) -> str:
    """Return what is not seen: the policy forbids every network access and every other script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    metas = (
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"yolor-deploy {view.record.version}"),
    )
    lines = [meta.text for meta in metas]
    lines.append(f"<title>{escaped(headline(view))}</title>")
    lines.append(f"<style>{_own('style.css')}{_own('print.css')}</style>")
    return "\n".join(lines) + "\n"


def _body(view: View, sections: Sequence[Section]) -> Html:
    links = [element("li", element("a", part.title, href=f"#{part.key}")) for part in sections]
    return joined(
        [
            element(
                "header",
                element("h1", "Benchmark"),
                verdict_block(view),
                element("p", _where(view), class_="where"),
            ),
            element("nav", element("ul", *links), aria_label="Sections"),
            element("main", *(_shown(part) for part in sections)),
            element("footer", element("p", f"yolor-deploy {view.record.version}")),
        ]
    )


def _shown(part: Section) -> Html:
    heading = element("h2", part.title, id=f"{part.key}-heading")
    return element(
        "section", heading, part.content, id=part.key, aria_labelledby=f"{part.key}-heading"
    )


def _where(view: View) -> str:
    """Return machine, runtimes and time in one line."""
    record = view.record
    subjects = record.subjects
    devices = list(dict.fromkeys(subject.conditions.device for subject in subjects))
    runtimes = list(dict.fromkeys(subject.conditions.runtime for subject in subjects))
    precisions = list(dict.fromkeys(subject.precision for subject in subjects))
    cpu = str(record.environment.get("cpu") or "")
    device = record.gpu.name if record.gpu else cpu or listed(devices)
    parts = (device, listed(runtimes), listed(precisions), f"batch {record.settings.batch}")
    return " · ".join(part for part in (*parts, record.started) if part)


def _code(text: str) -> Html:
    return element("code", text)


def _own(name: str) -> str:
    return files("yolor_deploy.benchmark.report").joinpath(name).read_text(encoding="utf-8")

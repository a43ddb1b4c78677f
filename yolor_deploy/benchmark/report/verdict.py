"""The first lines of the report: what came out, and whether it may be believed."""

from __future__ import annotations

from yolor_deploy.benchmark.report.markup import Html, bullets, element, joined
from yolor_deploy.benchmark.report.sentences import (
    SharedFinding,
    ratio_sentence,
    shared_findings,
)
from yolor_deploy.benchmark.report.view import View
from yolor_deploy.benchmark.report.wording import counted, duration_with_interval, listed
from yolor_deploy.measure.latency.summary import Ratio


def headline(view: View) -> str:
    """Return the result in one sentence.

    Of several ratios it is that of the most accurate artifact, by its published AP: speed at the
    price of accuracy is no news. Of equally accurate ones it is the first.
    """
    if not view.entries:
        return "Nothing was measured."
    if view.run_ratios:
        return f"{ratio_sentence(_leading(view))}."
    first = view.entries[0]
    run = first.summary.run
    more = len(view.entries) - 1
    others = f"; {counted(more, 'other artifact')} below" if more else ""
    return (
        f"{first.name} takes {duration_with_interval(run.p50)}, "
        f"the median of {counted(run.count, 'run')} at batch {view.record.settings.batch}{others}."
    )


def _leading(view: View) -> Ratio:
    accuracy = {
        entry.name: entry.published.ap or 0.0
        for entry in view.entries
        if entry.published is not None
    }
    return max(view.run_ratios, key=lambda ratio: accuracy.get(ratio.subject, 0.0))


def verdict_block(view: View) -> Html:
    """Return headline, validity with its reasons, and what must be known beside them."""
    found = shared_findings(view.summary.findings)
    state, word, reason = _state(view, warnings=sum(f.severity == "warning" for f in found))
    badge = element("strong", word, class_="badge")
    status = element("p", badge, " ", reason, class_=f"status {state}")
    return joined(
        [
            element("p", headline(view), class_="headline"),
            status,
            bullets(_finding_text(f) for f in found if f.severity == "invalid"),
            element("p", _weights(view), class_="note") if _weights(view) else Html(""),
        ]
    )


def _state(view: View, *, warnings: int) -> tuple[str, str, str]:
    """Return class, word and reason."""
    cared = f"{counted(warnings, 'warning')}: see validity." if warnings else "No warnings."
    stopped = "" if view.record.complete else f" {_stopped(view)}"
    if not view.summary.is_valid:
        return "invalid", "INVALID", f"Do not quote these figures.{stopped} {cared}"
    if not view.record.complete:
        return "incomplete", "INCOMPLETE", f"{_stopped(view)} {cared}"
    return "valid", "VALID", f"Nothing was found that speaks against these figures. {cared}"


def _stopped(view: View) -> str:
    if view.record.interrupted:
        return "It was interrupted: what is here was measured until then."
    return "It did not come to its end: what is here was measured until then."


def _finding_text(found: SharedFinding) -> str:
    return f"{listed(found.subjects)}: {found.text}" if found.subjects else found.text


def _weights(view: View) -> str:
    drawn = [entry for entry in view.entries if entry.subject.random_weights]
    if not drawn:
        return ""
    compared = any(entry.published and entry.published.ap is not None for entry in drawn)
    return (
        f"Random weights: {listed([entry.name for entry in drawn])}. Times are those of the network"
        f"{'; the AP beside them is the published one, not theirs' if compared else ''}."
    )

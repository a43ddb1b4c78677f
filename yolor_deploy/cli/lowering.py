"""What a change of precision has cost, as ``build`` tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolor_deploy.pipeline import BuildResult

Say = Callable[[str], None]
"""Prints one line of a result."""

_MOST_TENSORS = 5  # in the text; --json has all


def lowering_json(result: BuildResult | None) -> dict[str, Any]:
    """Return what became of each layer and what that cost; None where nothing was changed."""
    return {
        "sites": result.sites.to_json() if result else None,
        "cost": result.cost.to_json() if result else None,
    }


def show_lowering(result: BuildResult, say: Say) -> None:
    """Tell what was calibrated, which layers have fewer bits, and what that cost."""
    meta, sites, cost = result.artifact.meta, result.sites, result.cost
    if result.manifest is not None:
        _show_calibration(result, say)
    if sites.quantised:
        total = len(sites.quantised) + len(sites.kept)
        say(f"8 bits: {len(sites.quantised)} of {total} convolutions")
        for name, reason in sites.kept:
            say(f"  {name}: kept, {reason}")
    for name, reason in sites.float_nodes:
        say(f"  {name}: float32, {reason}")
    if sites.tensors and "16" in meta.precision:
        lossy = sum(item.is_lossy for item in sites.tensors)
        largest = ", ".join(f"{t.name} {t.largest:.4g}" for t in sites.tensors[:_MOST_TENSORS])
        over = sum(item.overflows for item in sites.tensors)
        say(
            f"half precision: {over} of {len(sites.tensors)} tensors may leave its range; {lossy} "
            f"have more than 1 % of their values below 2**-14; the largest: {largest}"
        )
    decibels = ", ".join(f"{value:.1f}" for value in cost.signal_to_noise_db)
    say(
        f"against fp32 on {cost.images} images: raw maps {decibels} dB; detections agree with AP "
        f"{100 * cost.agreement_ap:.2f} ({cost.boxes} boxes)"
    )


def _show_calibration(result: BuildResult, say: Say) -> None:
    manifest = result.manifest
    assert manifest is not None
    drawn = manifest.preprocessing.get("kind") == "drawn"
    what = "drawn images: give --calibration for real ones" if drawn else "images"
    say(f"calibration: {len(manifest.images)} {what}")
    for name, reason in manifest.skipped:
        say(f"  skipped {name}: {reason}")
    for finding in manifest.findings:
        say(f"  {finding['severity']}: {finding['problem']} ({finding['hint']})")

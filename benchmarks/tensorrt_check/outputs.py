"""Whether engines compute what their model computes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shapes.generate import ANNOTATIONS, IMAGES, generate
from benchmarks.tensorrt_check.rig import Reference, Rig, images_of
from benchmarks.tensorrt_check.verdict import Report, Verdict, at_least, at_most, report
from yolor_deploy.core.artifact import Artifact, output_names
from yolor_deploy.core.nms_exact import exact_detections
from yolor_deploy.core.passport import Passport
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.evaluation.run import EvalConfig, evaluate_pair
from yolor_deploy.measure.matching import compare_rows, rows_of_image
from yolor_deploy.measure.parity import BOXES_PX, Tolerance

RAW_ERROR = 1e-3
LEAST_SIGNAL_DB: Mapping[str, float] = {"fp16": 30.0, "int8": 10.0}
"""Of what a map varies by around the mean of each channel; see ``varying_signal_db``."""
LEAST_SHARE = 0.9
"""Of rows that are the same within what half precision moves them."""
_HALF_PX, _HALF_SCORES = 4.0, 0.05  # pixels; relative
AP_POINTS = 0.1
_MOST_DB = 200.0
_SCORES = Tolerance(1e-4, 0.0)


def varying_signal_db(found: Array, expected: Array) -> float:
    """Return signal over noise in decibels, of what varies over the image; 200 for equal maps.

    The mean of each channel is no signal: it is the bias of the head, and would hide noise.

    Args:
        found: Float [n, channels, h, w].
        expected: Of the same shape.
    """
    exact = expected.astype(np.float64)
    signal = np.square(exact - exact.mean(axis=(2, 3), keepdims=True)).sum()
    noise = np.square(found - exact).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.minimum(10 * np.log10(signal / noise), _MOST_DB))


def compare_outputs(rig: Rig, engine: Path, reference: Reference) -> Report:
    """Compare an engine that detects with ONNX Runtime, and keep its rows beside it.

    Raw maps are compared where the plan has them as outputs; then its rows must also be, bit by
    bit, what NumPy finds in these maps.

    Args:
        rig: Opens it.
        engine: The plan.
        reference: Of its float32 model.
    """
    passport = Passport.read(engine)
    name = f"{passport.meta.precision}, {passport.nms}"
    spec, nms = passport.meta.spec, reference.busy(passport.meta.nms)
    images = images_of(spec, len(reference.maps[0]))
    rows = _run(rig, engine, images, reference)
    _keep(rows, _rows_file(engine))
    verdicts: list[Verdict] = []
    figures: dict[str, Any] = {}
    if passport.nms == "kernels":
        session = rig.open(engine, raw=True)
        maps = session.run(images)
        session.close()
        raw = [maps[name] for name in output_names("raw", num_levels=len(spec.levels))]
        verdicts, figures = _of_maps(name, _kind(passport), raw, reference)
        exact = exact_detections(raw, spec, nms)
        target = f"{name}: values other than NumPy's of the same maps"
        verdicts.append(at_most(target, _num_different(rows, exact), 0))
    expected = reference.rows(spec, nms)
    if _kind(passport) != "int8":  # 8 bits move rows as they like: the maps are judged
        target = f"{name}: rows against ONNX Runtime"
        verdicts.append(_of_rows(target, _kind(passport), rows, expected, nms))
    shares = [share_of_rows(rows, expected, image) for image in range(len(images))]
    return report(verdicts, detections=_counts(rows), shares_of_rows=shares, **figures)


def compare_ways(rig: Rig, engines: Sequence[Path], reference: Reference) -> Report:
    """Compare the rows of engines of one precision that differ in how they detect."""
    passports = {engine: Passport.read(engine) for engine in engines}
    first = passports[engines[0]]
    nms = reference.busy(first.meta.nms)
    images = images_of(first.meta.spec, len(reference.maps[0]))
    rows = {engine: _run(rig, engine, images, reference) for engine in engines}
    verdicts = []
    for a, b in itertools.combinations(engines, 2):
        target = f"{first.meta.precision}: rows of {passports[a].nms} against {passports[b].nms}"
        verdicts.append(_of_rows(target, _kind(first), rows[a], rows[b], nms))
    return report(verdicts, detections={engine.name: _counts(rows[engine]) for engine in engines})


def compare_fresh(rig: Rig, engine: Path, reference: Reference) -> Report:
    """Compare the rows in this process with those that ``compare_outputs`` kept in another."""
    images = images_of(Artifact.read(engine).meta.spec, len(reference.maps[0]))
    started = time.perf_counter()
    rig.open(engine).close()
    seconds = time.perf_counter() - started
    rows = _run(rig, engine, images, reference)
    with np.load(_rows_file(engine)) as kept:
        different = _num_different(rows, dict(kept))
    target = f"{engine.name}: values that a fresh process gives otherwise"
    return report([at_most(target, different, 0)], open_s=round(seconds, 3))


def compare_accuracy(model: Path, engine: Path, data: Path) -> Report:
    """Measure AP of a trained model in ONNX Runtime and of its engine, on drawn pictures.

    Args:
        model: In float32.
        engine: Built from it, or another artifact.
        data: Folder of the validation split, which is drawn if it is not there.
    """
    if not (data / ANNOTATIONS).is_file():
        generate(data, "val")
    config = EvalConfig(data / ANNOTATIONS, data / IMAGES, bootstrap=0)
    pair = evaluate_pair(model, engine, config)
    points = 100 * pair.ap_difference
    target = f"{pair.b.precision}: AP against ONNX Runtime, either way"
    note = f"{100 * pair.a.accuracy.ap:.2f} and {100 * pair.b.accuracy.ap:.2f}"
    return report([at_most(target, abs(points), AP_POINTS, "points", note)], change_points=points)


def _kind(passport: Passport) -> str:
    """Return what the limits of a precision go by."""
    return passport.meta.precision.partition("+")[0]


def _of_maps(
    name: str, kind: str, maps: Sequence[Array], reference: Reference
) -> tuple[list[Verdict], dict[str, Any]]:
    pairs = list(zip(maps, reference.maps, strict=True))
    errors = [float(np.abs(found.astype(np.float64) - exact).max()) for found, exact in pairs]
    decibels = [varying_signal_db(found, exact) for found, exact in pairs]
    figures = {
        "raw_max_error": _finite(errors),
        "raw_max_expected": [float(np.abs(exact).max()) for exact in reference.maps],
        "varying_signal_to_noise_db": _finite(decibels),
    }
    if kind == "fp32":
        verdict = at_most(
            f"{name}: raw maps against ONNX Runtime", float(np.max(errors)), RAW_ERROR
        )
    else:
        worst = float(np.min(decibels))  # NaN if one is
        target = f"{name}: raw maps against float32, signal to noise"
        verdict = at_least(target, worst, LEAST_SIGNAL_DB[kind], "dB")
    return [verdict], figures


def _of_rows(
    target: str,
    kind: str,
    found: RawOutput,
    expected: RawOutput,
    nms: NmsConfig,
) -> Verdict:
    images = range(len(expected["num_detections"]))
    if not expected["num_detections"].sum():
        return at_least(target, 0, 1, note="there are no detections to compare")
    if kind != "fp32":
        share = min(share_of_rows(found, expected, image) for image in images)
        return at_least(target, share, LEAST_SHARE, note="share of rows, the worst image")
    parities = [
        compare_rows(
            target,
            rows_of_image(found, image),
            rows_of_image(expected, image),
            nms=nms,
            boxes_px=BOXES_PX,
            scores=_SCORES,
        )
        for image in images
    ]
    failed = sum(not parity.passed for parity in parities)
    notes = "; ".join(parity.note for parity in parities)
    return at_most(target, failed, 0, "images that differ", notes)


def share_of_rows(found: RawOutput, expected: RawOutput, image: int) -> float:
    """Return the share of rows that have a partner: its class, nearly its box and its score."""
    a, b = rows_of_image(found, image), rows_of_image(expected, image)
    free = np.ones(len(b.scores), bool)
    for box, score, kind in zip(a.boxes_xyxy, a.scores, a.class_ids, strict=True):
        moved = np.abs(b.boxes_xyxy - box).max(axis=1)
        fits = free & (b.class_ids == kind) & (moved <= _HALF_PX)
        fits &= np.abs(b.scores - score) <= _HALF_SCORES * score
        if fits.any():
            free[int(np.argmin(np.where(fits, moved, np.inf)))] = False
    return 2.0 * int((~free).sum()) / max(1, len(a.scores) + len(b.scores))


def _run(rig: Rig, engine: Path, images: Array, reference: Reference) -> RawOutput:
    session = rig.open(engine)
    try:
        for _ in range(3):  # plain, captured, replayed
            rows = session.run(images, score_threshold=reference.score_threshold)
    finally:
        session.close()
    return rows


def _num_different(found: RawOutput, expected: RawOutput) -> int:
    """Return how many values differ in any bit."""
    return sum(
        int((_bits(found[name]) != _bits(values)).sum()) for name, values in expected.items()
    )


def _counts(rows: RawOutput) -> list[int]:
    return [int(count) for count in rows["num_detections"].ravel()]


def _bits(values: Array) -> Array:
    return values.view(np.uint32)


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values]  # JSON has no NaN


def _keep(rows: RawOutput, file: Path) -> None:
    arrays: dict[str, Any] = dict(rows)
    np.savez(file, **arrays)


def _rows_file(engine: Path) -> Path:
    return engine.with_name(f"{engine.name}.rows.npz")

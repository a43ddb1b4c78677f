"""What tuning gains on pictures that it has not seen, and how agreement relates to AP.

From the root of the repository, after ``python -m benchmarks.precision``::

    python -m benchmarks.tuning

Tunes the shapes detector on 500 annotated pictures, builds it with what was found, and scores it
on 1000 others: with 200, as elsewhere, half a point is noise. Then it compares, over all builds
that ``benchmarks.precision`` left, what agreement with the float model loses with what AP loses:
the factor by which ``tune`` scores without annotations.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import ROOT, write_result
from benchmarks.shapes.generate import Split, generate
from yolor_deploy import pipeline
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.precision import GraphTarget, Precision
from yolor_deploy.detector import Detector, open_session
from yolor_deploy.evaluation.run import EvalConfig, evaluate_pair
from yolor_deploy.measure.difference import agreement_ap
from yolor_deploy.pipeline import BuildConfig
from yolor_deploy.precision_stages import CalibrationConfig
from yolor_deploy.tuning.options import TuneConfig
from yolor_deploy.tuning.tune import tune

FORMS: tuple[tuple[str, GraphTarget], ...] = (
    ("int8", "onnxruntime"),
    ("int8", "tensorrt"),
)
TUNING_PICTURES, OTHER_PICTURES = 500, 1000
SEED = 1  # of both sets; the splits of that name have 0
TRUTH, FOUND = 0.25, 0.01  # score thresholds, as of ``tune``


def tuned(folder: Path, name: str, target: GraphTarget, *, limit: float) -> dict[str, Any]:
    """Tune on one split, and tell what is lost on the other."""
    model = folder / "shapes.onnx"
    pictures, others = folder / "tuning", folder / "others"
    data = EvalConfig(others / "annotations.json", others / "images", bootstrap=500)
    ranges = CalibrationConfig(
        (str(folder / "calibration" / "images"),), model.with_suffix(".calibration.npz")
    )
    precision = Precision.from_name(name)
    output = folder / f"shapes.{name}.{target}.tune.json"
    output.unlink(missing_ok=True)
    result = tune(
        TuneConfig(
            model,
            calibration=ranges,
            output=output,
            precision=precision,
            target=target,
            annotations=pictures / "annotations.json",
            images=pictures / "images",
            max_ap_drop=limit,
            by="block",
        )
    )
    rows = {}
    for label, keep in (("default", ()), ("tuned", result.keep)):
        built = pipeline.build(
            BuildConfig(
                model,
                output=folder / f"shapes.{name}.{target}.{label}.onnx",
                precision=precision,
                target=target,
                calibration=ranges,
                keep=tuple(keep),
            )
        )
        pair = evaluate_pair(model, built.artifact.path, data)
        assert pair.interval is not None
        rows[label] = {
            "change_points": 100 * pair.ap_difference,
            "interval_points": [100 * pair.interval.low, 100 * pair.interval.high],
            "quantised_convolutions": len(built.sites.quantised),
        }
    checked = result.verification
    assert checked is not None
    return {
        "precision": name,
        "target": target,
        "limit_points": limit,
        "state": result.state,
        "trials": len(result.trials),
        "kept_units": list(result.kept_units),
        "drop_on_tuning_pictures_points": checked.drop,
        "interval_points": [checked.drop_low, checked.drop_high],
        "on_other_pictures": rows,
    }


def agreement(folder: Path) -> dict[str, Any]:
    """Compare losses of agreement and of AP, over all builds of both nets."""
    known = json.loads((ROOT / "benchmarks" / "results" / "precision.json").read_text("utf-8"))
    images = sorted((folder / "val" / "images").iterdir())
    points = []
    for net in ("shapes", "residual"):
        reference = [item[item.scores > TRUTH] for item in _detected(folder, net, images)]
        for row in known["results"]["accuracy"]:
            if row["net"] != net or not row.get("method"):
                continue
            stem = f"{net}.{row['precision']}.{row['target']}.{row['method']}"
            found = _detected(folder, stem, images)
            loss = 100 * (1 - agreement_ap(reference, found, 8))
            points.append({"build": stem, "agreement": loss, "ap": -row["change_points"]})
            print(points[-1], flush=True)
    pairs = np.array([[point["agreement"], point["ap"]] for point in points])
    slope = float((pairs[:, 0] * pairs[:, 1]).sum() / np.square(pairs[:, 0]).sum())
    correlation = float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])
    return {"losses_points": points, "ap_per_agreement": slope, "correlation": correlation}


def _detected(folder: Path, stem: str, images: list[Path]) -> list[Any]:
    session = open_session(Artifact.read(folder / f"{stem}.onnx"), for_accuracy=True)
    detector = Detector(session, score_threshold=FOUND)
    return [detector(path) for path in images]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "precision")
    parser.add_argument("--limit", type=float, default=0.2, help="AP points")
    given = parser.parse_args()
    sets: tuple[tuple[str, Split, int], ...] = (
        ("tuning", "calibration", TUNING_PICTURES),
        ("others", "val", OTHER_PICTURES),
    )
    for name, split, count in sets:
        if not (given.folder / name).exists():
            generate(given.folder / name, split, count=count, seed=SEED)
    rows = [tuned(given.folder, name, target, limit=given.limit) for name, target in FORMS]
    for row in rows:
        print(json.dumps(row, indent=1), flush=True)
    results = {"tuned": rows, "agreement": agreement(given.folder)}
    write_result("tuning", "python -m benchmarks.tuning", results)


if __name__ == "__main__":
    main()

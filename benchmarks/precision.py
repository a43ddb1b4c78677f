"""What fewer bits cost in average precision, and what they gain on a CPU.

From the root of the repository::

    python -m benchmarks.precision

Two trained detectors (``examples/shapes``), each in every precision, target and calibration method,
scored on the 200 pictures of the validation split; then the speed of the CPU builds against
float32, interleaved in one process.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import ROOT, write_result
from benchmarks.shapes.generate import generate
from yolor_deploy import pipeline
from yolor_deploy.backends import open_for_accuracy
from yolor_deploy.backends.onnxruntime import OnnxRuntimeBackend
from yolor_deploy.calibration.images import find_calibration_images
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.precision import GraphTarget, Precision
from yolor_deploy.core.runtime import Session
from yolor_deploy.evaluation.run import EvalConfig, evaluate, evaluate_pair
from yolor_deploy.measure.ranges import METHODS
from yolor_deploy.pipeline import BuildConfig, ExportConfig
from yolor_deploy.precision_stages import DEFAULT_METHODS, CalibrationConfig

EXAMPLES = ROOT / "examples" / "shapes"
NETS = ("shapes", "residual")
FORMS: tuple[tuple[str, GraphTarget], ...] = (
    ("fp16", "onnxruntime"),
    ("bf16", "tensorrt"),
    ("int8", "onnxruntime"),
    ("int8", "tensorrt"),
    ("int8+fp16", "tensorrt"),
    ("fp8", "tensorrt"),
    ("fp8+fp16", "tensorrt"),
)


def export_net(net: str, folder: Path) -> Path:
    """Export one of the two trained detectors, and return the file."""
    config = ExportConfig(
        str(EXAMPLES / f"{net}.pt"),
        output=folder / f"{net}.onnx",
        cfg=str(EXAMPLES / f"{net}.cfg"),
        names=EXAMPLES / "shapes.names",
    )
    return pipeline.export(config).artifact.path


def build(model: Path, name: str, target: GraphTarget, method: Any, images: Path) -> Path:
    """Build a model, and return the file."""
    precision = Precision.from_name(name)
    known = None if method == "none" else method
    config = BuildConfig(
        model,
        output=model.with_name(f"{model.stem}.{name}.{target}.{method}.onnx"),
        precision=precision,
        target=target,
        calibration=CalibrationConfig(
            (str(images),), model.with_suffix(".calibration.npz"), method=known
        ),
    )
    return pipeline.build(config).artifact.path


def accuracy(folder: Path, data: EvalConfig, images: Path) -> list[dict[str, Any]]:
    """Score every form of both detectors."""
    rows: list[dict[str, Any]] = []
    for net in NETS:
        model = export_net(net, folder)
        base = evaluate(model, data).accuracy.ap
        rows.append({"net": net, "precision": "fp32", "ap_points": 100 * base})
        for name, target in FORMS:
            quantised = Precision.from_name(name).quantised
            for method in METHODS if quantised else ("none",):
                ap = evaluate(build(model, name, target, method, images), data).accuracy.ap
                row = {
                    "net": net,
                    "precision": name,
                    "target": target,
                    "method": method if quantised else None,
                    "ap_points": 100 * ap,
                    "change_points": 100 * (ap - base),
                }
                rows.append(row)
                print(row, flush=True)
    return rows


def intervals(folder: Path, data: EvalConfig) -> list[dict[str, Any]]:
    """Compare the default builds with float32, with a bootstrap interval."""
    rows = []
    for net in NETS:
        for name, target in FORMS:
            quantised = Precision.from_name(name).quantised
            method = DEFAULT_METHODS[quantised] if quantised else "none"
            model = folder / f"{net}.{name}.{target}.{method}.onnx"
            pair = evaluate_pair(folder / f"{net}.onnx", model, data)
            interval = pair.interval
            rows.append(
                {
                    "net": net,
                    "precision": name,
                    "target": target,
                    "change_points": 100 * pair.ap_difference,
                    "interval_points": [100 * interval.low, 100 * interval.high]
                    if interval
                    else None,
                }
            )
            print(rows[-1], flush=True)
    return rows


def decode_error_px(folder: Path) -> dict[str, Any]:
    """Tell how far the boxes of a half model at 1536 pixels are from exact decoding of its maps."""
    config = ExportConfig(
        str(EXAMPLES / "shapes.pt"),
        output=folder / "shapes1536.onnx",
        cfg=str(EXAMPLES / "shapes.cfg"),
        names=EXAMPLES / "shapes.names",
        size=(1536, 1536),
        output_kind="predictions",
    )
    source = pipeline.export(config).artifact
    built = pipeline.build(BuildConfig(source.path, precision=Precision("fp16"))).artifact
    images = np.random.default_rng(0).random((1, 3, 1536, 1536), np.float32)
    outputs = open_for_accuracy(built, with_raw=True).run(images)
    maps = [outputs[f"raw_{level}"] for level in range(len(source.meta.spec.levels))]
    exact = predictions_from_raw([raw.astype(np.float64) for raw in maps], source.meta.spec)
    error = np.abs(outputs["predictions"][..., :4] - exact[..., :4])
    return {"boxes": int(exact.shape[1]), "largest_error_px": float(error.max())}


def speed(folder: Path, images: Path, *, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Time the float and the 8-bit model of each net in turns, whole graph, batch 1.

    On one thread: the idle threads of one session spin while the other session runs.
    """
    rows = []
    for net in NETS:
        models = {
            "fp32": folder / f"{net}.onnx",
            "int8": folder / f"{net}.int8.onnxruntime.{DEFAULT_METHODS['int8']}.onnx",
        }
        artifacts = {key: Artifact.read(path) for key, path in models.items()}
        backend = OnnxRuntimeBackend()
        sessions: dict[str, Session] = {
            key: backend.open(artifact, threads=threads) for key, artifact in artifacts.items()
        }
        spec = artifacts["fp32"].meta.spec
        inputs = [item.tensor for item in find_calibration_images([images]).tensors(spec)]
        samples: dict[str, list[float]] = {key: [] for key in models}
        for number in range(rounds + 20):
            for key in (list(models), list(reversed(models)))[number % 2]:
                begin = time.perf_counter()
                sessions[key].run(inputs[number % len(inputs)])
                if number >= 20:  # noqa: PLR2004 - the first ones warm up
                    samples[key].append(1000 * (time.perf_counter() - begin))
        medians = {key: float(np.median(values)) for key, values in samples.items()}
        ratios = np.array(samples["fp32"]) / np.array(samples["int8"])
        draws = np.random.default_rng(0).integers(0, rounds, (1000, rounds))
        low, high = np.percentile(np.median(ratios[draws], axis=1), [2.5, 97.5])
        rows.append(
            {
                "net": net,
                "threads": threads,
                "rounds": rounds,
                "median_ms": medians,
                "speed_up": float(np.median(ratios)),
                "interval": [float(low), float(high)],
                "samples_ms": samples,
            }
        )
        print({key: value for key, value in rows[-1].items() if key != "samples_ms"}, flush=True)
    return rows


def cpu_flags() -> list[str]:
    """Return the vector instructions of this processor, as Linux names them."""
    info = Path("/proc/cpuinfo")
    words = info.read_text(encoding="utf-8").split() if info.exists() else []
    return sorted({word for word in words if word.startswith(("avx", "amx", "fma"))})


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "precision")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--only-speed", action="store_true", help="of builds made before")
    given = parser.parse_args()
    folder = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("val", "calibration"):
        if not (folder / split).exists():
            generate(folder / split, split)
    images = folder / "calibration" / "images"
    data = EvalConfig(folder / "val" / "annotations.json", folder / "val" / "images", bootstrap=0)
    if given.only_speed:
        rows = speed(folder, images, rounds=given.rounds, threads=1)
        results: dict[str, Any] = {"processor": cpu_flags(), "speed": rows}
        write_result("precision_speed", "python -m benchmarks.precision --only-speed", results)
        return
    results = {
        "default_methods": dict(DEFAULT_METHODS),
        "images": {"validation": 200, "calibration": 100},
        "accuracy": accuracy(folder, data, images),
        "against_fp32": intervals(folder, EvalConfig(data.annotations, data.images, bootstrap=500)),
        "decode_at_1536": decode_error_px(folder),
    }
    write_result("precision", "python -m benchmarks.precision", results)


if __name__ == "__main__":
    main()

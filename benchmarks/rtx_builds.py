"""TensorRT-RTX reads and builds every precision that ``build`` writes, on a machine without a GPU.

``python -m benchmarks.rtx_builds`` takes the shapes detector, and YOLOR-P6 at 1280 pixels with
drawn weights. 8-bit ranges come from two drawn pictures: enough for a graph, not for detections.
The half model of YOLOR-P6 is also built by the command, as a process whose time and memory have a
bound: its own, and those of the process that calls TensorRT-RTX.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, run, write_result
from benchmarks.shapes.generate import generate
from yolor_deploy.backends.tensorrt.targets import supports
from yolor_deploy.backends.tensorrt_rtx.build import build_with_report
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.precision import FLOAT_KINDS, Precision
from yolor_deploy.pipeline import BuildConfig, ExportConfig, build, export
from yolor_deploy.precision_stages import CalibrationConfig

TARGETS = ("8.0", "8.6", "8.9", "12.0")
PRECISIONS = [Precision(base, bits) for bits in (None, "int8", "fp8") for base in FLOAT_KINDS]
SHAPES = ROOT / "examples" / "shapes"
BOUNDED = "yolor-p6"
BOUND_S, BOUND_BYTES = 30.0, 2_000_000_000
MODELS: dict[str, Callable[[Path], ExportConfig]] = {
    "shapes": lambda folder: ExportConfig(
        str(SHAPES / "shapes.pt"), cfg=str(SHAPES / "shapes.cfg"), output=folder / "shapes.onnx"
    ),
    "yolor-p6": lambda folder: ExportConfig(
        "yolor-p6", size=(1280, 1280), output=folder / "yolor-p6.onnx"
    ),
}


def main() -> int:
    """Measure, write the result, and return 1 if anything was refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--runs", type=int, default=3, help="of the command; the median counts")
    given = parser.parse_args()
    commands = {}
    if BOUNDED in given.names:  # first: a process inherits the peak of the one that starts it
        commands[f"{BOUNDED} fp16"] = _command(given.runs)
    results = {}
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = _model(name, Path(folder))
    packages = ("tensorrt_rtx_cu13_bindings", "tensorrt_rtx_cu13_libs")
    versions = {package: importlib.metadata.version(package) for package in packages}
    write_result(
        "rtx_builds",
        "python -m benchmarks.rtx_builds",
        {"versions": versions, "models": results, "commands": commands},
    )
    refused = [
        f"{name} {precision}: {row['problem']}"
        for name, rows in results.items()
        for precision, row in rows.items()
        if row["problem"]
    ]
    refused += [f"{name}: missed" for name, row in commands.items() if not row["is_within_bound"]]
    print("\n".join(refused) or "nothing was refused, no bound was missed")
    return bool(refused)


def _model(name: str, folder: Path) -> dict[str, Any]:
    images = folder / "calibration"
    generate(images, "calibration", count=2)
    source = export(MODELS[name](folder)).artifact
    calibration = CalibrationConfig((str(images / "images"),), folder / "calibration.npz")
    rows = {}
    for precision in PRECISIONS:
        config = BuildConfig(
            source.path,
            output=folder / "built.onnx",
            precision=precision,
            target="tensorrt",
            calibration=calibration if precision.quantised else None,
        )
        rows[precision.name] = _row(build(config).artifact, precision)
        print(f"{name} {precision.name}: {rows[precision.name]}", flush=True)
    return rows


def _command(runs: int) -> dict[str, Any]:
    """Measure ``build`` of a half model, which is made before, as whole processes."""
    cli = [sys.executable, "-m", "yolor_deploy"]
    options = ["--backend", "tensorrt_rtx", "--json"]
    for capability in TARGETS:
        options += ["--compute-capability", capability]
    with tempfile.TemporaryDirectory() as folder:
        model, half = (str(Path(folder, name)) for name in ("model.onnx", "half.onnx"))
        run([*cli, "export", BOUNDED, "--size", "1280", "-o", model])
        run([*cli, "build", model, "--fp16", "-o", half])
        finished = [run([*cli, "build", half, *options]) for _ in range(runs)]
    told = [json.loads(one.stdout) for one in finished]
    wall_s = statistics.median(one.wall_s for one in finished)
    peak = max(one.peak_rss_bytes for one in finished)
    row = {
        "compute_capabilities": list(TARGETS),
        "bound_wall_s": BOUND_S,
        "bound_rss_bytes": BOUND_BYTES,
        "median_wall_s": wall_s,
        "peak_rss_bytes": peak,
        "peak_rss_bytes_of_the_build": max(value["peak_rss_bytes"] for value in told),
        "plan_bytes": told[-1]["size_bytes"],
        "runs": [one.figures() for one in finished],
        "parse_and_build_s": [value["passport"]["seconds"] for value in told],
        "is_within_bound": wall_s <= BOUND_S and peak <= BOUND_BYTES,
    }
    print(f"{BOUNDED} fp16: {row}", flush=True)
    return row


def _row(artifact: Artifact, precision: Precision) -> dict[str, Any]:
    targets = [capability for capability in TARGETS if supports(precision, capability)]
    facts: dict[str, Any] = {
        "compute_capabilities": targets,
        "onnx_bytes": artifact.path.stat().st_size,
        "problem": None,
    }
    started = time.perf_counter()
    try:
        built = build_with_report(artifact, compute_capabilities=targets)
    except BuildError as error:
        return facts | {"problem": str(error)}
    wall_s = round(time.perf_counter() - started, 3)
    report = asdict(built.report)
    report["warnings"] = dict(Counter(built.report.warnings))
    del report["problem"], report["node"], report["log"]
    return facts | {"wall_s": wall_s, "plan_bytes": len(built.plan)} | report


if __name__ == "__main__":
    sys.exit(main())

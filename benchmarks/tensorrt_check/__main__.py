r"""What only a GPU can show of engines of TensorRT: one step a process, which prints JSON.

    python -m benchmarks.tensorrt_check STEP ...

``scripts/gpu-check --kit FOLDER`` runs all steps in order, with models and engines made on the way.
Each step is also a command of its own, so that a crash loses no other. They need this package and
TensorRT, no PyTorch; any Python of 3.10 or later does.

    registry                                 loads the plugin, asks its creator; needs no GPU
    reference MODEL FILE                     what ONNX Runtime computes in float32; needs no GPU
    outputs ENGINE REFERENCE                 raw maps and rows against it
    ways REFERENCE ENGINE ENGINE ...         rows of plugin, kernels and operators in pairs
    fresh ENGINE REFERENCE                   the rows of ``outputs`` again, in a new process
    accuracy MODEL ENGINE FOLDER             AP of both on drawn pictures
    times REFERENCE WAY=ENGINE ...           plugin=..., kernels=..., ops=...: microseconds in turns
    overhead ENGINE                          what a session adds to its own graph
    stress ENGINE REFERENCE                  10 000 runs in two threads
    latency RECORD [RECORD]                  targets of a benchmark, and of one engine against
                                             itself; needs no GPU
    report RECORD PAGE                       its HTML page; needs no GPU

The JSON has ``verdicts``: target, figure, limit, and passed, missed, stated (it has no limit) or
not measured. The exit code is 0 if none was missed, 1 if one was, 2 if the step could not be done.
A record is what ``yolor-deploy bench -o`` wrote.

A kit for a machine without network is a Python 3.10 with TensorRT 8.6.0, the last that a public
registry has whole, and this package. On a machine with network, all its wheels in one folder::

    python3.10 -m pip wheel . --no-deps -w KIT -Ccmake.define.YOLOR_NMS_CUDA=ON \
        -Ccmake.define.TENSORRT_INCLUDE_DIR=/path/to/the/headers/of/TensorRT-8.6
    python3.10 -m pip download -d KIT --no-deps tensorrt==8.6.0
    python3.10 -m pip download -d KIT --only-binary=:all: 'numpy<2' \
        "$(echo KIT/yolor_deploy-*.whl)[cuda,eval,report]"

and there ``pip install --no-index --no-deps KIT/*.whl``. TensorRT 8.6 names libcublas.so.12,
libcublasLt.so.12 and libcudnn.so.8 and does not call them as we use it: where they are missing,
empty libraries of these names do, with ``sys.setdlopenflags(os.RTLD_LAZY)`` in a
``sitecustomize.py``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tensorrt_check import latency, outputs, registry, runs
from benchmarks.tensorrt_check.rig import Reference, Rig
from benchmarks.tensorrt_check.verdict import Report, is_met, report
from yolor_deploy.core.errors import YolorDeployError
from yolor_deploy.cuda.device import CudaDevice
from yolor_deploy.measure.latency.record_file import read_record

_IMAGES = 4


def main(arguments: Sequence[str] | None = None, rig: Callable[[], Rig] | None = None) -> int:
    """Run one step, and print what it found.

    Args:
        arguments: Of the command line.
        rig: What opens engines; None for the first GPU.
    """
    given = command_parser().parse_args(arguments)
    try:
        found = _run(given, rig or (lambda: Rig(CudaDevice(0))))
    except YolorDeployError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, allow_nan=False))
    return 0 if is_met(found) else 1


def command_parser() -> argparse.ArgumentParser:
    """Return what reads the command line of a step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    for name, paths in (
        ("registry", ()),
        ("reference", ("model", "file")),
        ("outputs", ("engine", "reference")),
        ("ways", ("reference",)),
        ("fresh", ("engine", "reference")),
        ("accuracy", ("model", "engine", "data")),
        ("times", ("reference",)),
        ("overhead", ("engine",)),
        ("stress", ("engine", "reference")),
        ("latency", ("record",)),
        ("report", ("record", "page")),
    ):
        step = steps.add_parser(name)
        for path in paths:
            step.add_argument(path, type=Path)
        if name == "ways":
            step.add_argument("engines", type=Path, nargs="+")
        elif name == "times":
            step.add_argument("engines", nargs="+", metavar="WAY=ENGINE")
        elif name == "stress":
            step.add_argument("--runs", type=int, default=runs.RUNS)
            step.add_argument("--seconds", type=float, default=100.0)
        elif name == "latency":
            step.add_argument("twin", type=Path, nargs="?")
    return parser


def _run(given: argparse.Namespace, rig: Callable[[], Rig]) -> Report:
    steps: dict[str, Callable[[], Report]] = {
        "registry": lambda: registry.examine_registry(importlib.import_module("tensorrt")),
        "reference": lambda: _reference(given),
        "outputs": lambda: outputs.compare_outputs(rig(), given.engine, _loaded(given)),
        "ways": lambda: outputs.compare_ways(rig(), given.engines, _loaded(given)),
        "fresh": lambda: outputs.compare_fresh(rig(), given.engine, _loaded(given)),
        "accuracy": lambda: outputs.compare_accuracy(given.model, given.engine, given.data),
        "times": lambda: runs.time_ways(rig(), _by_way(given.engines), _loaded(given)),
        "overhead": lambda: runs.time_overhead(rig(), given.engine),
        "stress": lambda: runs.stress(
            rig(), given.engine, _loaded(given), runs=given.runs, most_s=given.seconds
        ),
        "latency": lambda: latency.judge_latency(
            read_record(given.record), read_record(given.twin) if given.twin else None
        ),
        "report": lambda: latency.write_page(read_record(given.record), given.page),
    }
    return steps[given.step]()


def _reference(given: argparse.Namespace) -> Report:
    made = Reference.compute(given.model, _IMAGES)
    made.save(given.file)
    return report([], score_threshold=made.score_threshold)


def _loaded(given: Any) -> Reference:
    return Reference.load(given.reference)


def _by_way(texts: Sequence[str]) -> dict[str, Path]:
    pairs = [text.partition("=") for text in texts]
    return {way: Path(path) for way, _, path in pairs}


if __name__ == "__main__":
    sys.exit(main())

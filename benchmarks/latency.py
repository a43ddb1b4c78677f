"""YOLOR-CSP, P6 and D6 beside Scaled-YOLOv4-P7, at their native sizes, interleaved in one process.

From the root of the repository, on a machine that does nothing else::

    python -m benchmarks.latency

It calls ``yolor-deploy bench`` as a user does, keeps all samples in
``benchmarks/results/latency_cpu.json``, and adds what they are compared with: the ratio of the
multiply-adds, and the paper's. ``yolor-deploy bench --replay`` reads the record in that file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.process import run, write_result
from yolor_deploy.families.catalogue import CATALOGUE
from yolor_deploy.measure.latency.record_file import record_from_json
from yolor_deploy.measure.latency.summarise import summarise

NAMES = ("yolor_csp", "yolor-p6", "yolor-d6", "yolov4-p7")
PAPER = {"yolor-d6 against yolov4-p7": 1.875}
"""30 fps against 16 on a V100: "88 % faster". Source: YOLOR, arXiv:2105.04206."""


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="folder of models and samples, kept")
    parser.add_argument("--time-limit", type=float, default=420.0, help="of sampling, seconds")
    parser.add_argument("--min-samples", type=int, default=20, help="of each model")
    parser.add_argument("--report", type=Path, help="page to write")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = (given.work or Path(folder)) / "latency.json"
        command = [
            *(sys.executable, "-m", "yolor_deploy", "bench", *NAMES),
            *("--time-limit", str(given.time_limit), "--min-samples", str(given.min_samples)),
            *("--work", str(given.work or folder), "-o", str(output)),
            *(["--report", str(given.report.resolve())] if given.report else []),
        ]
        print(run(command).stdout)
        record = json.loads(output.read_text(encoding="utf-8"))
    write_result("latency_cpu", "python -m benchmarks.latency", result(record))


def result(value: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept: the record, what it says, and what it is compared with."""
    summary = summarise(record_from_json(value, where="latency.json"))
    gflops = {model.name: model.gflops for model in CATALOGUE}
    return {
        "record": value,
        "summary": summary.to_json(),
        "ratio_of_flops": {name: round(gflops[NAMES[-1]] / gflops[name], 3) for name in NAMES[:-1]},
        "paper": PAPER,
    }


if __name__ == "__main__":
    main()

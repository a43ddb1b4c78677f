"""YOLOR-CSP, P6 and D6 beside Scaled-YOLOv4-P7, at their native sizes, interleaved in one process.

From the root of the repository, on a machine that does nothing else::

    python -m benchmarks.latency

It calls ``yolor-deploy bench`` as a user does. All samples go to
``benchmarks/results/latency_cpu.raw.json``, which ``yolor-deploy bench --replay`` shows again; what
they say, beside the ratio of the multiply-adds and the paper's, to ``latency_cpu.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, run, write_result
from yolor_deploy.families.catalogue import CATALOGUE
from yolor_deploy.measure.latency.record_file import record_from_json
from yolor_deploy.measure.latency.summarise import summarise

NAMES = ("yolor_csp", "yolor-p6", "yolor-d6", "yolov4-p7")
RAW = ROOT / "benchmarks" / "results" / "latency_cpu.raw.json"
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
        record = without_folders(json.loads(output.read_text(encoding="utf-8")))
    RAW.write_text(json.dumps(record) + "\n", encoding="utf-8")
    write_result("latency_cpu", "python -m benchmarks.latency", result(record))


def without_folders(value: dict[str, Any]) -> dict[str, Any]:
    """Return a record whose files are named without the folders of one machine."""
    for subject in value["subjects"]:
        subject["path"] = Path(subject["path"]).name
    limits = value["settings"]
    options = ("--time-limit", limits["time_limit_s"], "--min-samples", limits["min_samples"])
    value["command"] = ["yolor-deploy", "bench", *NAMES, *map(str, options)]
    return value


def result(value: dict[str, Any]) -> dict[str, Any]:
    """Return what the record says, and what it is compared with."""
    summary = summarise(record_from_json(value, where="latency.json")).to_json()
    for subject in summary["subjects"]:
        del subject["roofline"]["layers"]  # as long as all samples, and made of them
    gflops = {model.name: model.gflops for model in CATALOGUE}
    return {
        "summary": summary,
        "ratio_of_flops": {name: round(gflops[NAMES[-1]] / gflops[name], 3) for name in NAMES[:-1]},
        "paper": PAPER,
    }


if __name__ == "__main__":
    main()

"""Does an interval hold 1 when a model is compared with itself, and what does the harness cost?

From the root of the repository, on a machine that does nothing else::

    python -m benchmarks.self_consistency

Twenty runs of ``yolor-deploy bench shapes.onnx shapes.onnx`` (``examples/shapes``), each a process
of its own; a thousand simulated comparisons of each kind of series; and what the harness adds to a
sample. Writes ``benchmarks/results/self_consistency.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.precision import export_net
from benchmarks.process import run, write_result
from tests.measure.latency.series import KINDS, pair
from yolor_deploy.measure.latency.record_file import record_from_json
from yolor_deploy.measure.latency.sampling import harness_overhead_us
from yolor_deploy.measure.latency.statistics import paired_ratio
from yolor_deploy.measure.latency.summarise import summarise
from yolor_deploy.measure.latency.summary import SESSION_EFFECT

RUNS = 20
SIMULATED = 1000
ROUNDS = (20, 50, 300)
OVERHEADS = 20


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="real comparisons")
    parser.add_argument("--time-limit", type=float, default=5.0, help="of each, seconds")
    given = parser.parse_args()
    results = {
        "overhead_us": overhead(),
        "simulated": {
            f"{kind}, {rounds} rounds": simulated(kind, rounds)
            for kind in KINDS
            for rounds in ROUNDS
        },
        "real": real(given.runs, given.time_limit),
    }
    write_result("self_consistency", "python -m benchmarks.self_consistency", results)


def overhead() -> dict[str, list[float]]:
    """Return what the harness adds to a sample, microseconds, several times."""
    found = [harness_overhead_us() for _ in range(OVERHEADS)]
    return {name: [round(values[name], 4) for values in found] for name in found[0]}


def simulated(kind: str, rounds: int) -> dict[str, Any]:
    """Compare series of one kind with series like it, and count the intervals that hold 1."""
    held = without = 0
    for seed in range(SIMULATED):
        estimate = paired_ratio(*pair(kind, rounds, seed=seed))
        if estimate.low is None or estimate.high is None:
            without += 1  # too few rounds for so correlated a series, which it says
        else:
            held += estimate.low <= 1 <= estimate.high
    return {"comparisons": SIMULATED, "held": held, "without_interval": without}


def real(runs: int, time_limit_s: float) -> dict[str, Any]:
    """Compare the shapes detector with itself in processes of their own."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = export_net("shapes", folder)
        for number in range(runs):
            output = folder / f"{number}.json"
            command = [
                *(sys.executable, "-m", "yolor_deploy", "bench", str(model), str(model)),
                *("--time-limit", str(time_limit_s), "--no-layers", "--no-curve"),
                *("-o", str(output)),
            ]
            run(command)
            value = json.loads(output.read_text(encoding="utf-8"))
            rows.append(_row(value))
            print(number, rows[-1], flush=True)
    return {
        "runs": runs,
        "held": sum(row["holds_1"] for row in rows),
        "held_without_session_effect": sum(row["holds_1_without_session_effect"] for row in rows),
        "session_effect": SESSION_EFFECT,
        "rows": rows,
    }


def _row(value: dict[str, Any]) -> dict[str, Any]:
    record = record_from_json(value, where="record")
    summary = summarise(record)
    ratio = next(item for item in summary.ratios if item.of == "run")
    low, high = ratio.speedup.low, ratio.speedup.high
    assert low is not None
    assert high is not None
    narrow = (low * (1 + SESSION_EFFECT), high / (1 + SESSION_EFFECT))
    return {
        "speedup": [round(number, 5) for number in (ratio.speedup.value, low, high)],
        "holds_1": low <= 1 <= high,
        "holds_1_without_session_effect": narrow[0] <= 1 <= narrow[1],
        "rounds": ratio.rounds,
        "median_ms": [round(item.run.p50.value, 4) for item in summary.subjects],
        "findings": sorted({f"{found.severity}: {found.rule}" for found in summary.findings}),
    }


if __name__ == "__main__":
    main()

"""Time and memory of ``yolor-deploy export NAME``, proof included, as whole processes.

``python -m benchmarks.export`` measures the three models that have a bound, and ``--help``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.process import run, write_result

BOUNDS = {  # name: seconds, bytes; on a machine of two cores
    "yolor-p6": (25.0, 2_000_000_000),
    "yolor-d6": (45.0, 4_000_000_000),
    "yolov4-p7": (120.0, 8_000_000_000),
}
HELP_BOUND_S = 0.4


def main() -> int:
    """Measure, write the result, and return 1 if a bound was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(BOUNDS))
    parser.add_argument("--runs", type=int, default=3, help="of each; the median counts")
    given = parser.parse_args()
    cli = [sys.executable, "-m", "yolor_deploy"]
    results = {}
    missed = []
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            command = [*cli, "export", name, "-o", str(Path(folder) / "model.onnx"), "--json"]
            runs = [run(command) for _ in range(given.runs)]
        stages = json.loads(runs[-1].stdout)["seconds"]
        wall_s = statistics.median(r.wall_s for r in runs)
        peak = max(r.peak_rss_bytes for r in runs)
        bound_s, bound_bytes = BOUNDS.get(name, (None, None))
        results[name] = {
            "median_wall_s": wall_s,
            "peak_rss_bytes": peak,
            "bound_wall_s": bound_s,
            "bound_rss_bytes": bound_bytes,
            "runs": [r.figures() for r in runs],
            "stages_of_last_run_s": stages,
        }
        print(f"{name}: {wall_s:.1f} s, {peak / 1e9:.2f} GB")
        if bound_s and bound_bytes and (wall_s > bound_s or peak > bound_bytes):
            missed.append(name)
    runs = [run([*cli, "--help"]) for _ in range(5 * given.runs)]
    wall_s = statistics.median(r.wall_s for r in runs)
    results["--help"] = {
        "median_wall_s": wall_s,
        "bound_wall_s": HELP_BOUND_S,
        "runs": [r.figures() for r in runs],
    }
    print(f"--help: {wall_s:.2f} s")
    if wall_s > HELP_BOUND_S:
        missed.append("--help")
    write_result("export", "python -m benchmarks.export", results)
    if missed:
        print(f"missed: {', '.join(missed)}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())

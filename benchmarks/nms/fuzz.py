"""Random cases of YolorNMS on the host against its plain reference, plainly and under sanitizers.

    python -m benchmarks.nms.fuzz [--cases 1000000] [--sanitized 100000]

Needs cmake, ninja and a C++ compiler. Writes ``benchmarks/results/nms_fuzz.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from typing import Any

from benchmarks.process import ROOT, write_result

PLUGIN = ROOT / "plugins" / "nms"


def fuzz(preset: str, cases: int) -> dict[str, Any]:
    """Build a preset and run its fuzz program; an exit code other than 0 ends this one too."""
    for command in (
        ["cmake", "--preset", preset],
        ["cmake", "--build", "--preset", preset, "--target", "fuzz"],
    ):
        subprocess.run(command, cwd=PLUGIN, check=True, stdout=subprocess.DEVNULL)
    program = PLUGIN / "build" / preset / "tests" / "fuzz"
    started = time.monotonic()
    result = subprocess.run(
        [str(program), str(cases), "0", str(os.cpu_count() or 1)],
        check=True,
        capture_output=True,
        text=True,
    )
    return {
        "preset": preset,
        "seconds": round(time.monotonic() - started, 1),
        **json.loads(result.stdout),
    }


def main() -> None:
    """Run both, and write what they met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--sanitized", type=int, default=100_000)
    options = parser.parse_args()
    results = [fuzz("host", options.cases), fuzz("host-sanitized", options.sanitized)]
    write_result("nms_fuzz", "python -m benchmarks.nms.fuzz", results)


if __name__ == "__main__":
    main()

"""What the compiler says of the kernels of YolorNMS, for every GPU architecture that is built.

    python -m benchmarks.nms.kernels

Needs nvcc, no GPU. Warnings are errors. Writes ``benchmarks/results/nms_kernels.json``.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, write_result

PLUGIN = ROOT / "plugins" / "nms"
ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")
_KERNEL = re.compile(
    r"Compiling entry function '\S*yolor_nms_kernelI(?P<element>f|NS_4HalfE)E\S*' for 'sm_\d+'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers.*?(?P<shared>\d+) bytes smem",
    re.DOTALL,
)


def kernels(architecture: str, folder: Path) -> list[dict[str, Any]]:
    """Compile for one architecture, and read the report of ptxas."""
    command = [
        "nvcc", "-std=c++17", "-O3", "-fmad=false", "-Werror", "all-warnings", "-Xcompiler",
        "-Wall,-Wextra,-Werror,-ffp-contract=off", "-Iinclude", "-Isrc", "-Xptxas", "-v", "-cubin",
        f"-gencode=arch=compute_{architecture},code=sm_{architecture}",
        "src/nms_kernels.cu", "-o", str(folder / "kernels.cubin"),
    ]  # fmt: skip
    result = subprocess.run(command, cwd=PLUGIN, check=True, capture_output=True, text=True)
    found = [
        {
            "architecture": f"{architecture[:-1]}.{architecture[-1]}",
            "element": "float32" if match["element"] == "f" else "float16",
            "registers": int(match["registers"]),
            "shared_bytes": int(match["shared"]),
            "stack_bytes": int(match["stack"]),
            "spill_store_bytes": int(match["stores"]),
            "spill_load_bytes": int(match["loads"]),
        }
        for match in _KERNEL.finditer(result.stderr)
    ]
    assert len(found) == 2, result.stderr  # noqa: PLR2004 - one an element type
    return found


def main() -> None:
    """Compile for all, and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        results = [one for arch in ARCHITECTURES for one in kernels(arch, Path(folder))]
    for one in results:
        print(one)
    write_result("nms_kernels", "python -m benchmarks.nms.kernels", results)


if __name__ == "__main__":
    main()

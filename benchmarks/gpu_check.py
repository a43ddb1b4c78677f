"""Everything that only a GPU can show, in one command: correct, clean, and how fast.

    scripts/gpu-check [--output FOLDER] [--build FOLDER] [--quick] [--commit HASH]
                      [--efficient-nms LIBNVINFER_PLUGIN]

Needs an NVIDIA GPU with its driver, and the CUDA toolkit (nvcc, compute-sanitizer, ncu) with CMake
and ninja; PyTorch and torchvision for the comparison. A build folder that was made elsewhere is
used as it is; what was built with TensorRT's headers is tried too, and with `--efficient-nms` the
plugin of that name in TensorRT 8.6's library is measured beside ours. No network. Takes less than
six minutes, and writes gpu_check.json and gpu_check.log. The exit code is 0 if every step passed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "plugins" / "nms"
DEADLINE_S = 345
QUERY = (
    "name,driver_version,vbios_version,compute_cap,memory.total,clocks.sm,clocks.mem,clocks.max.sm,"
    "clocks.max.mem,temperature.gpu,power.draw,power.limit,clocks_event_reasons.active,ecc.mode.current,mig.mode.current"
)
WATCHED = "clocks.sm,clocks.mem,temperature.gpu,power.draw,clocks_event_reasons.active"
METRICS = (
    "gpu__time_duration.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed,"
    "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed,dram__bytes.sum,lts__t_bytes.sum,"
    "l1tex__t_bytes.sum,launch__registers_per_thread,launch__grid_size,launch__block_size,"
    "smsp__inst_executed.sum,smsp__cycles_active.avg,"
    "smsp__average_warps_issue_stalled_barrier_per_issue_active.ratio,"
    "smsp__average_warps_issue_stalled_no_instruction_per_issue_active.ratio,"
    "smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio,"
    "smsp__average_warps_issue_stalled_wait_per_issue_active.ratio,"
    "smsp__average_warps_issue_stalled_math_pipe_throttle_per_issue_active.ratio"
)


class Check:
    """The steps, their log, and what they found."""

    def __init__(self, output: Path) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        self.log = output / "gpu_check.log"
        self.log.write_text("", encoding="utf-8")
        self.steps: list[dict[str, Any]] = []

    def left_s(self) -> float:
        """Return the time until all must be done."""
        return DEADLINE_S - (time.monotonic() - self.started)

    def step(
        self, name: str, command: list[str], *, limit_s: float, env: dict[str, str] | None = None
    ) -> str | None:
        """Run a command; return its output if it passed."""
        limit_s = min(limit_s, self.left_s())
        said = ["python3" if word == sys.executable else word for word in command]
        record: dict[str, Any] = {"name": name, "command": " ".join(said)}
        self.steps.append(record)
        if limit_s <= 1:
            record |= {"passed": False, "why": "no time was left"}
            return None
        started = time.monotonic()
        try:
            result = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
            out, err, code = result.stdout, result.stderr, result.returncode
        except subprocess.TimeoutExpired as expired:
            out, err, code = _text(expired.stdout), _text(expired.stderr), -1
            record["why"] = f"not done after {limit_s:.0f} s"
        except OSError as error:
            out, err, code = "", str(error), -1
        record |= {"passed": code == 0, "seconds": round(time.monotonic() - started, 2)}
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"== {name}: {record['command']}\n{out}{err}\n== exit code {code}\n")
        print(f"{'ok  ' if code == 0 else 'FAIL'} {record['seconds']:7.2f} s  {name}", flush=True)
        if code != 0:
            print((out + err)[-1500:], flush=True)
        return out if code == 0 else None

    def note(self, out: str | None) -> None:
        """Add the JSON that the last step printed."""
        if out is None:
            return
        try:
            self.steps[-1]["result"] = json.loads(out.strip() or "null")
        except ValueError:
            self.steps[-1]["result"] = out.strip()[-2000:]


def _text(value: bytes | str | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def gpu_state(query: str) -> dict[str, str]:
    """Ask nvidia-smi; an empty answer where it cannot tell."""
    try:
        out = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(query.split(","), (part.strip() for part in out.split(",")), strict=False))


def build(check: Check, folder: Path) -> bool:
    """Build for this GPU, unless it is built."""
    if (folder / "benchmark" / "nms_bench").exists():
        return True
    capability = gpu_state("compute_cap").get("compute_cap", "").replace(".", "")
    configure = [
        "cmake", "-S", str(PLUGIN), "-B", str(folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
        "-DYOLOR_NMS_CUDA=ON", "-DYOLOR_NMS_BENCHMARK=ON",
        f"-DCMAKE_CUDA_ARCHITECTURES={capability}",
    ]  # fmt: skip
    return (
        check.step("configure", configure, limit_s=60) is not None
        and check.step("build", ["cmake", "--build", str(folder)], limit_s=150) is not None
    )


def correct(check: Check, folder: Path, cases: int) -> None:
    """The rules, the behaviours, random cases."""
    tests = folder / "tests"
    check.note(check.step("rules", [str(tests / "test_rules")], limit_s=60))
    check.note(check.step("behaviours", [str(tests / "test_device")], limit_s=90))
    threads = str(os.cpu_count() or 1)
    check.note(
        check.step("fuzz", [str(tests / "fuzz_device"), str(cases), "0", threads], limit_s=120)
    )


def in_tensorrt_shells(check: Check, folder: Path) -> None:
    """The plugins as TensorRT would call them, of each set of headers that they were built with."""
    for built in (folder, *sorted(folder.glob("plugin-*"))):
        program, library = built / "tests" / "test_plugin", built / "libyolor_nms_plugin.so"
        if program.exists() and library.exists():
            name = f"plugin {built.name}" if built != folder else "plugin"
            check.note(check.step(name, [str(program), str(library)], limit_s=60))


def from_python(check: Check, folder: Path) -> None:
    """The package on this GPU: arrays and streams of other libraries."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cuda", "-m", "gpu",
        "--require=gpu", f"--nms-library={folder / 'libyolor_nms.so'}",
    ]  # fmt: skip
    check.note(check.step("from Python", command, limit_s=90))


def clean(check: Check, folder: Path, cases: int) -> None:
    """Memory errors, races, misused barriers, memory read before it is written."""
    program = str(folder / "tests" / "fuzz_device")
    for tool, options, arguments in (
        ("memcheck", ["--leak-check", "full"], []),
        ("racecheck", [], []),
        ("synccheck", [], []),
        ("initcheck", [], ["unfilled"]),
    ):
        command = [
            "compute-sanitizer", "--tool", tool, *options, "--error-exitcode", "9",
            program, str(cases), "0", "1", *arguments,
        ]  # fmt: skip
        check.note(check.step(f"sanitizer {tool}", command, limit_s=60))


def fast(check: Check, folder: Path, *, is_quick: bool, rival: Path | None) -> None:
    """Times, beside torchvision, and what a profiler says."""
    program = str(folder / "benchmark" / "nms_bench")
    check.note(check.step("nms_bench", [program, *(["--quick"] if is_quick else [])], limit_s=120))
    scenes = folder / "scenes"
    scenes.mkdir(exist_ok=True)
    if check.step("scenes", [program, "--dump", str(scenes)], limit_s=40) is not None:
        library = ["--library", str(folder / "libyolor_nms.so")]
        twin = [sys.executable, "-m", "benchmarks.nms.against_torchvision", str(scenes), *library]
        check.note(check.step("against torchvision", twin, limit_s=90))
    if rival and (folder / "benchmark" / "efficient_nms").exists():
        command = [str(folder / "benchmark" / "efficient_nms"), str(rival)]
        found = {"LD_LIBRARY_PATH": str(rival.resolve().parent)}
        check.note(check.step("against EfficientNMS_TRT", command, limit_s=60, env=found))
    if shutil.which("ncu"):
        for case in ("p6", "p6-4096"):
            command = [
                "ncu", "--clock-control", "none", "--launch-skip", "2", "--launch-count", "1",
                "--metrics", METRICS, "--csv", program, "--profile", case,
            ]  # fmt: skip
            check.note(profile_of(check.step(f"ncu {case}", command, limit_s=40)))


def profile_of(out: str | None) -> str | None:
    """Return ncu's table as JSON: value and unit by metric."""
    if out is None:
        return None
    lines = [line for line in out.splitlines() if line.startswith('"')]
    rows = csv.DictReader(lines)
    return json.dumps(
        {row["Metric Name"]: [row["Metric Value"], row["Metric Unit"]] for row in rows}
    )


def main() -> int:
    """Run all steps, and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "gpu-check")
    parser.add_argument("--build", type=Path, default=PLUGIN / "build" / "gpu-check")
    parser.add_argument("--efficient-nms", type=Path, help="libnvinfer_plugin.so.8 of TensorRT 8.6")
    parser.add_argument("--quick", action="store_true", help="fewer cases and samples")
    parser.add_argument("--commit", help="of the source tree, where git cannot tell")
    options = parser.parse_args()
    before = gpu_state(QUERY)
    if not before:
        print(
            "error: no GPU found\n  where: nvidia-smi\n"
            "  hint:  run this on a machine with an NVIDIA GPU and its driver",
            file=sys.stderr,
        )
        return 1
    check = Check(options.output)
    watch_file = options.output / "gpu_watch.csv"
    with watch_file.open("w", encoding="utf-8") as file:
        watch = subprocess.Popen(
            [
                "nvidia-smi",
                f"--query-gpu={WATCHED}",
                "--format=csv,noheader,nounits",
                "-lms",
                "500",
            ],
            stdout=file,
        )
        try:
            if build(check, options.build):
                correct(check, options.build, 5_000 if options.quick else 100_000)
                in_tensorrt_shells(check, options.build)
                from_python(check, options.build)
                fast(check, options.build, is_quick=options.quick, rival=options.efficient_nms)
                clean(check, options.build, 20 if options.quick else 60)
        finally:
            watch.terminate()
            watch.wait()
    passed = bool(check.steps) and all(step["passed"] for step in check.steps)
    report = {
        "command": "scripts/gpu-check" + (" --quick" if options.quick else ""),
        "passed": passed,
        "seconds": round(time.monotonic() - check.started, 1),
        "commit": options.commit or commit(),
        "gpu_before": before,
        "gpu_after": gpu_state(QUERY),
        "gpu_during": summary_of_watch(watch_file),
        "toolkit": version_of("nvcc"),
        "steps": check.steps,
    }
    path = options.output / "gpu_check.json"
    path.write_text(in_short(report) + "\n", encoding="utf-8")
    print(f"{'passed' if passed else 'FAILED'} in {report['seconds']} s: {path}")
    return 0 if passed else 1


def in_short(report: dict[str, Any]) -> str:
    """Return JSON that one can read, with lists of numbers on one line."""
    text = json.dumps(report, indent=1)
    return re.sub(
        r"\[\n([\s\d.,eE+-]+)\]",
        lambda found: f"[{','.join(found[1].replace(',', ' ').split())}]",
        text,
    )


def summary_of_watch(path: Path) -> dict[str, list[str]]:
    """Return the least and the most of each watched figure, and all throttle reasons."""
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    columns = list(zip(*[[cell.strip() for cell in row] for row in rows], strict=False))
    found: dict[str, list[str]] = {}
    for name, values in zip(WATCHED.split(","), columns, strict=False):
        if name.startswith("clocks_event"):
            found[name] = sorted(set(values))
        else:
            numbers = sorted(values, key=lambda value: float(value or 0))
            found[name] = [numbers[0], numbers[len(numbers) // 2], numbers[-1]]
    return found


def version_of(program: str) -> str:
    """Return the last line of what a program says of its version."""
    try:
        out = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return out.stdout.strip().splitlines()[-1]


def commit() -> str | None:
    """Return the commit of the source tree; None where git cannot tell."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


if __name__ == "__main__":
    sys.exit(main())

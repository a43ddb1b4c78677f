"""Everything that only a GPU can show, in one command: correct, clean, and how fast.

    scripts/gpu-check [--output FOLDER] [--only nms|tensorrt|bench] [--quick] [--commit HASH]
                      [--build FOLDER] [--efficient-nms LIBNVINFER_PLUGIN]
                      [--kit FOLDER] [--models FOLDER] [--work FOLDER] [--optimization-level N]
                      [--resume] [--bench-seconds S]

Needs an NVIDIA GPU with its driver; no network. Writes gpu_check.json and gpu_check.log. The exit
code is 0 if every step passed and no target was missed.

The kernels of YolorNMS take less than six minutes. They need the CUDA toolkit (nvcc,
compute-sanitizer, ncu) with CMake and ninja; PyTorch and torchvision for the comparison. A build
folder that was made elsewhere is used as it is; what was built with TensorRT's headers is tried
too, and with `--efficient-nms` the plugin of that name in TensorRT 8.6's library is measured beside
ours.

Engines take less than ten minutes, and are checked where `--kit` is given: a Python, or the folder
where it is called `python`, with TensorRT and this package; `benchmarks.tensorrt_check` tells how
to make one. Models are made with the Python that runs this, which has PyTorch, unless `--models`
holds `yolor-p6.onnx` and `shapes.onnx`.

The benchmark takes less than ten minutes more, with the same kit: YOLOR-D6, Scaled-YOLOv4-P7 and
YOLOR-P6 in half precision, one image a run, in turns in one process; then, as far as time is left,
the rest of the suite. With `--quick` these three only. Time for the measurement is kept: a model
that does not come to be in time is left out, and that is said. Samples and report are beside
gpu_check.json: latency.json, latency_itself.json (one engine against itself) and, where there is
matplotlib, latency.html. Models are taken from `--models` under the names that `yolor-deploy bench`
gives them, such as `yolor-d6.1000-100.onnx`. `--resume` takes models and engines that an earlier
run has left in `--work`; it is for the same source tree.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.check import Check
from benchmarks.tensorrt_check.latency_plan import HEADLINE, OTHERS, LatencyPlan
from benchmarks.tensorrt_check.plan import Plan, run_plan, verdicts_of

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "plugins" / "nms"
DEADLINE_S = 345
TENSORRT_DEADLINE_S = 570
BENCH_DEADLINE_S = 570.0
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
    parser = option_parser()
    options = parser.parse_args()
    if options.only in {"tensorrt", "bench"} and options.kit is None:
        parser.error(f"--only {options.only} needs --kit")
    before = gpu_state(QUERY)
    if not before:
        hint = "run this on a machine with an NVIDIA GPU and its driver"
        print(f"error: no GPU found\n  where: nvidia-smi\n  hint:  {hint}", file=sys.stderr)
        return 1
    check = Check(options.output, deadline_s=DEADLINE_S)
    watch_file = options.output / "gpu_watch.csv"
    with watched(watch_file):
        run_parts(check, options)
    passed = bool(check.steps) and all(step["passed"] for step in check.steps)
    report = {
        "command": command_of(options),
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
    print("\n".join(verdicts_of(check.steps)))
    print(f"{'passed' if passed else 'FAILED'} in {report['seconds']} s: {path}")
    return 0 if passed else 1


def option_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "gpu-check")
    parser.add_argument("--build", type=Path, default=PLUGIN / "build" / "gpu-check")
    parser.add_argument("--efficient-nms", type=Path, help="libnvinfer_plugin.so.8 of TensorRT 8.6")
    parser.add_argument("--quick", action="store_true", help="fewer cases, samples and runs")
    parser.add_argument("--commit", help="of the source tree, where git cannot tell")
    parser.add_argument("--only", choices=("nms", "tensorrt", "bench"), help="one part")
    parser.add_argument("--kit", type=Path, help="Python with TensorRT, or a folder that has it")
    parser.add_argument("--models", type=Path, help="folder of models that are there already")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "engines", help="of engines")
    parser.add_argument("--optimization-level", type=int, default=2, help="of builds: 0 to 5")
    parser.add_argument("--resume", action="store_true", help="the benchmark; see above")
    parser.add_argument(
        "--bench-seconds", type=float, default=BENCH_DEADLINE_S, help="of the benchmark, at most"
    )
    return parser


def command_of(options: argparse.Namespace) -> str:
    """Return what repeats a run: what changes its figures, no folders."""
    only = f" --only {options.only}" if options.only else ""
    kit = f" --kit FOLDER --optimization-level {options.optimization_level}" if options.kit else ""
    return "scripts/gpu-check" + only + kit + (" --quick" if options.quick else "")


def run_parts(check: Check, options: argparse.Namespace) -> None:
    """Run the parts that were asked for, each in its own time."""
    if options.only in {None, "nms"} and build(check, options.build):
        correct(check, options.build, 5_000 if options.quick else 100_000)
        in_tensorrt_shells(check, options.build)
        from_python(check, options.build)
        fast(check, options.build, is_quick=options.quick, rival=options.efficient_nms)
        clean(check, options.build, 20 if options.quick else 60)
    if options.kit is None:
        return
    if options.only in {None, "tensorrt"}:
        check.allow(TENSORRT_DEADLINE_S)
        runs = 1_000 if options.quick else 10_000
        plan = Plan(options.models is not None, options.optimization_level, runs)
        run_plan(check, options.kit, options.work.resolve(), plan, options.models)
    if options.only in {None, "bench"}:
        check.allow(options.bench_seconds)
        run_benchmark(check, options)


def run_benchmark(check: Check, options: argparse.Namespace) -> None:
    """Measure the suite; its models have a folder of their own, for they are planted."""
    work = options.work.resolve() / "bench"
    suite = LatencyPlan(
        work,
        options.output,
        names=HEADLINE if options.quick else (*HEADLINE, *OTHERS),
        models=options.models,
        level=options.optimization_level,
        is_resumed=options.resume,
    )
    run_plan(check, options.kit, work, suite, options.models)


@contextlib.contextmanager
def watched(file: Path) -> Iterator[None]:
    """Write clocks, temperature and power to a file, twice a second, while something runs."""
    query = f"--query-gpu={WATCHED}"
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits", "-lms", "500"]
    with file.open("w", encoding="utf-8") as out:
        watch = subprocess.Popen(command, stdout=out)
        try:
            yield
        finally:
            watch.terminate()
            watch.wait()


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

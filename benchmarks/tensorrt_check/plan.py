"""The steps of the TensorRT part of ``scripts/gpu-check``, in order of what they are worth.

Those of its benchmark are in ``latency_plan``; both are run here.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from benchmarks.process import ROOT
from benchmarks.tensorrt_check.verdict import line

if TYPE_CHECKING:
    from benchmarks.check import Check

_CHECK = ("-m", "benchmarks.tensorrt_check")
_CLI = ("-m", "yolor_deploy")
_REFERENCE, _CACHE = "reference.npz", "timing.cache"
_KEPT = (
    *("path", "size_bytes", "nms_reason", "warnings", "peak_rss_bytes", "seconds", "cost"),
    "planted",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One process.

    Attributes:
        name: In the report.
        command: After the interpreter; run in the folder of the files.
        limit_s: Its longest time.
        needs: Files without which it is left out.
        makes: Files that it writes; those of an earlier run are removed first.
        by: The interpreter: that of the kit, or the one that has PyTorch.
        reserve_s: Time that has to be left when it ends, for what is worth more.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    by: Literal["kit", "torch"] = "kit"
    reserve_s: float = 0.0


class Steps(Protocol):
    """What is to be run, in order; asked for each step when the one before has ended."""

    def steps(self) -> Iterator[Step]:
        """Yield the steps."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What the steps depend on.

    Attributes:
        has_models: Whether the models are there already.
        level: Optimization level of every build.
        stress_runs: Inferences of the stress step.
    """

    has_models: bool = False
    level: int = 2
    stress_runs: int = 10_000

    def steps(self) -> Iterator[Step]:
        """Yield the steps: first a small model all the way, then float types, then 8 bits."""
        yield _check("registry", limit_s=30)
        yield Step("doctor", (*_CLI, "doctor", "--json"), 30)
        if not self.has_models:
            models = ("-m", "benchmarks.tensorrt_check.models", ".")
            made = ("shapes.onnx", "yolor-p6.onnx")
            yield Step("models", models, 150, makes=made, by="torch")
        yield from self._of_small_model()
        yield _check("reference", "yolor-p6.onnx", _REFERENCE, limit_s=60, makes=(_REFERENCE,))
        yield _lowering("yolor-p6", "fp16", limit_s=60)
        yield from self._built("yolor-p6", "fp16", "kernels", "plugin")
        yield from (_outputs("yolor-p6", "fp16", way) for way in ("kernels", "plugin"))
        yield _times("fp16", "plugin", "kernels")
        yield from (_overhead("yolor-p6", way) for way in ("plugin", "kernels"))
        yield _check("fresh", _engine("yolor-p6", "fp16", "plugin"), _REFERENCE, limit_s=30)
        yield from self._built("yolor-p6", "fp32", "kernels", "plugin", "ops")
        yield from (_outputs("yolor-p6", "fp32", way) for way in ("kernels", "plugin", "ops"))
        yield _ways("fp32", "plugin", "kernels", "ops")
        yield self._stress("plugin", self.stress_runs)
        yield from self._of_eight_bits()

    def _of_small_model(self) -> Iterator[Step]:
        """Yield what a trained model of a few seconds can show; a first failure is found here."""
        yield _lowering("shapes", "fp16", limit_s=40)
        yield from self._built("shapes", "fp16", "plugin")
        engine = _engine("shapes", "fp16", "plugin")
        yield _check("accuracy", "shapes.onnx", engine, "val", limit_s=60, needs=2)
        yield _overhead("shapes", "plugin")

    def _of_eight_bits(self) -> Iterator[Step]:
        pictures = ("-m", "benchmarks.shapes.generate", "calibration")
        options = ("--split", "calibration", "--count", "4")
        yield Step("pictures", (*pictures, *options), 20, makes=("calibration/annotations.json",))
        yield _lowering("yolor-p6", "int8", limit_s=90)
        yield from self._built("yolor-p6", "int8", "kernels", "plugin")
        yield from (_outputs("yolor-p6", "int8", way) for way in ("kernels", "plugin"))
        yield _ways("int8", "plugin", "kernels")
        yield _times("int8", "plugin", "kernels")
        yield _times("fp32", "plugin", "kernels", "ops")
        yield self._stress("kernels", self.stress_runs // 5)

    def _built(self, model: str, precision: str, *ways: str) -> Iterator[Step]:
        source = _model(model, precision)
        for way in ways:
            engine = _engine(model, precision, way)
            command = (
                *(*_CLI, "build", source, "--backend", "tensorrt", "--nms", way),
                *("--optimization-level", str(self.level), "--timing-cache", _CACHE),
                *("-o", engine, "--json"),
            )
            made = (engine, f"{engine}.json")
            yield Step(f"build {engine}", command, 150, needs=(source,), makes=made)

    def _stress(self, way: str, runs: int) -> Step:
        step = _check("stress", _engine("yolor-p6", "fp16", way), _REFERENCE, limit_s=120)
        options = ("--runs", str(runs), "--seconds", "90")
        return replace(step, command=(*step.command, *options))


def run_plan(check: Check, kit: Path, work: Path, plan: Steps, models: Path | None) -> None:
    """Run the steps that can be run, and say of all others why not.

    Args:
        check: Runs and records them.
        kit: A Python with TensorRT and this package, or the folder where it is called ``python``.
        work: Folder of models, engines and references.
        plan: The steps.
        models: Folder of models that are there already; None for none.
    """
    work.mkdir(parents=True, exist_ok=True)
    for model in models.glob("*.onnx") if models else ():
        shutil.copyfile(model, work / model.name)
    python = {"kit": str((kit / "python" if kit.is_dir() else kit).resolve())}
    python["torch"] = sys.executable
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    for step in plan.steps():
        for name in step.makes:
            (work / name).unlink(missing_ok=True)
        missing = [name for name in step.needs if not (work / name).exists()]
        if missing:
            check.skip(step.name, f"{missing[0]} was not made")
            continue
        command = [python[step.by], *step.command]
        limit_s = min(step.limit_s, check.left_s() - step.reserve_s)
        found = check.measure(
            step.name, command, limit_s=limit_s, env={"PYTHONPATH": path}, cwd=work
        )
        if isinstance(found, dict):
            check.steps[-1]["result"] = _shortened(found)
            for verdict in found.get("verdicts", ()):
                print(f"     {line(verdict)}", flush=True)


def verdicts_of(steps: list[dict[str, Any]]) -> list[str]:
    """Return a line for each verdict, and for each step that came to none."""
    lines = []
    for step in steps:
        result = step.get("result")
        if isinstance(result, dict) and "verdicts" in result:
            lines += [line(verdict) for verdict in result["verdicts"]]
        elif not step["passed"]:
            lines.append(
                f"not measured: {step['name']}: {step.get('why', 'it failed, see the log')}"
            )
    return lines


def _shortened(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out of what ``build --json`` prints what a report has no use for."""
    if "sha256" not in found:
        return found
    passport = found.get("passport", {})
    kept = {name: found[name] for name in _KEPT if found.get(name)}
    return kept | {name: passport[name] for name in ("builder", "nms") if name in passport}


def _check(
    step: str,
    *arguments: str,
    limit_s: float,
    makes: tuple[str, ...] = (),
    needs: int | None = None,
) -> Step:
    """Return a step of this package; its arguments are files that it needs, or makes.

    Args:
        step: Its name.
        arguments: Of its command.
        limit_s: Its longest time.
        makes: Those that it writes.
        needs: How many of the first arguments it needs; None for all but those that it writes.
    """
    files = tuple(name for name in arguments[:needs] if name not in makes)
    name = " ".join((step, *(file for file in files if file != _REFERENCE)))
    return Step(name, (*_CHECK, step, *arguments), limit_s, files, makes)


def _model(model: str, precision: str) -> str:
    return f"{model}.onnx" if precision == "fp32" else f"{model}.{precision}.onnx"


def _engine(model: str, precision: str, way: str) -> str:
    return f"{model}.{precision}.{way}.engine"


def _lowering(model: str, precision: str, *, limit_s: float) -> Step:
    source, lowered = f"{model}.onnx", _model(model, precision)
    options = ["--fp16"]
    if precision == "int8":
        options += ["--int8", "--calibration", "calibration/images"]
        options += ["--calibration-file", "calibration.npz"]
    command = (*_CLI, "build", source, *options, "--target", "tensorrt", "-o", lowered, "--json")
    made = (lowered, "calibration.npz") if precision == "int8" else (lowered,)
    return Step(f"lower {lowered}", command, limit_s, (source,), made)


def _outputs(model: str, precision: str, way: str) -> Step:
    return _check("outputs", _engine(model, precision, way), _REFERENCE, limit_s=60)


def _ways(precision: str, *ways: str) -> Step:
    engines = (_engine("yolor-p6", precision, way) for way in ways)
    return _check("ways", _REFERENCE, *engines, limit_s=60)


def _overhead(model: str, way: str) -> Step:
    return _check("overhead", _engine(model, "fp16", way), limit_s=40)


def _times(precision: str, *ways: str) -> Step:
    engines = {way: _engine("yolor-p6", precision, way) for way in ways}
    given = tuple(f"{way}={engine}" for way, engine in engines.items())
    needs = (_REFERENCE, *engines.values())
    return Step(f"times {precision}", (*_CHECK, "times", _REFERENCE, *given), 60, needs)

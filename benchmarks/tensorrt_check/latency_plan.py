"""The steps of the benchmark of ``scripts/gpu-check``: the headline first, then the suite.

All engines have the kernels behind them: post-processing that is a plugin inside cannot be timed
apart.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tensorrt_check.plan import Step

HEADLINE = ("yolor-d6", "yolov4-p7", "yolor-p6")
"""What the targets are of."""
OTHERS = ("yolor-w6", "yolor-e6", "yolor_csp", "yolor_csp_x", "yolov4-p5", "yolov4-p6")
"""The rest of the suite; made if time is left."""
DENSITY = "1000:100"
"""Candidates and objects per image."""
RECORD, TWIN, PAGE = "latency.json", "latency_itself.json", "latency.html"
"""Files in the folder of the output: samples of all, of one against itself, and the report."""

_CHECK = ("-m", "benchmarks.tensorrt_check")
_CLI = ("-m", "yolor_deploy")
_CACHE = "timing.cache"
_REFERENCE, _ITSELF = "yolov4-p7", "yolor-p6"
_EXPORT_S, _BUILD_S = 180.0, 240.0
_SAMPLING = ("--noise", "0.5", "--min-samples", "200", "--work", ".", "--allow-shared-gpu")
"""A GPU that others use is marked as invalid: figures with that mark say more than none."""
_SAMPLING_S = 15.0  # of each engine: 200 runs, whose pictures are letterboxed on the CPU
_BENCH_S, _BENCH_EACH_S = 30.0, 30.0  # to open, sample, draw power, profile, and post-process alone
_SLACK = 1.5  # the limit is this much above what is expected
_ITSELF_S, _ITSELF_MOST_S = 25.0, 60.0
_TOLD_S = 20.0  # verdicts and page


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """What the steps depend on.

    Attributes:
        work: Folder of models and engines, and where the steps run.
        output: Folder of samples and report.
        names: Of published models, those that matter most first.
        models: Folder of models that are there already; None for none.
        level: Optimization level of every build.
        is_resumed: Whether models and engines of an earlier run are taken.
    """

    work: Path
    output: Path
    names: tuple[str, ...] = (*HEADLINE, *OTHERS)
    models: Path | None = None
    level: int = 2
    is_resumed: bool = False

    def steps(self) -> Iterator[Step]:
        """Yield the steps: model and engine of each, one benchmark of all that came to be."""
        yield Step("doctor", (*_CLI, "doctor", "--json"), 30)
        for name in self.names:
            yield from self._made(name)
        engines = self._engines()
        yield self._bench(engines)
        yield self._against_itself(engines)
        record, twin, page = (self._in_output(name) for name in (RECORD, TWIN, PAGE))
        given = (record, twin) if self._is_there(twin) else (record,)
        yield Step("latency", (*_CHECK, "latency", *given), _TOLD_S, needs=(record,))
        yield Step(
            "report",
            (*_CHECK, "report", record, page),
            _TOLD_S,
            needs=(record,),
            makes=(page,),
            by="torch" if importlib.util.find_spec("matplotlib") else "kit",
        )

    def _made(self, name: str) -> Iterator[Step]:
        """Yield what makes an engine; time for a benchmark with it is kept."""
        model, engine = model_file(name), engine_file(name)
        reserve_s = _bench_s(self._num_engines_with(name)) + _ITSELF_S + _TOLD_S
        is_given = self.models is not None and (self.models / model).exists()
        if not (is_given or self._is_kept(model)):
            export = (*_CLI, "export", name, "--density", DENSITY, "-o", model, "--json")
            yield Step(
                f"export {name}",
                export,
                _EXPORT_S,
                makes=(model,),
                by="torch",
                reserve_s=reserve_s,
            )
        made = (engine, f"{engine}.json")
        if all(self._is_kept(file) for file in made):
            return
        build = (
            *(*_CLI, "build", model, "--backend", "tensorrt", "--fp16", "--nms", "kernels"),
            *("--optimization-level", str(self.level), "--timing-cache", _CACHE),
            *("-o", engine, "--json"),
        )
        yield Step(
            f"build {engine}", build, _BUILD_S, needs=(model,), makes=made, reserve_s=reserve_s
        )

    def _bench(self, engines: Sequence[str]) -> Step:
        reference = engine_file(_REFERENCE)
        options = ("--reference", Path(reference).stem) if reference in engines else ()
        command = (
            *(*_CLI, "bench", *engines, *options, *_SAMPLING),
            *("--time-limit", f"{_SAMPLING_S * len(engines):g}", "-o", self._in_output(RECORD)),
        )
        return Step(
            "bench",
            command,
            _SLACK * _bench_s(len(engines)),
            needs=tuple(engines) or (engine_file(self.names[0]),),
            makes=(self._in_output(RECORD),),
            reserve_s=_TOLD_S,
        )

    def _against_itself(self, engines: Sequence[str]) -> Step:
        usual = engine_file(_ITSELF)
        engine = usual if usual in engines or not engines else engines[0]
        command = (
            *(*_CLI, "bench", engine, engine, "--no-layers", "--no-curve", *_SAMPLING),
            *("--time-limit", f"{_SAMPLING_S:g}", "-o", self._in_output(TWIN)),
        )
        return Step(
            f"bench {engine} against itself",
            command,
            _ITSELF_MOST_S,
            needs=(engine,),
            makes=(self._in_output(TWIN),),
            reserve_s=_TOLD_S,
        )

    def _engines(self) -> tuple[str, ...]:
        """Return the engines that are there, of the names of this plan, in their order."""
        return tuple(file for file in map(engine_file, self.names) if self._is_there(file))

    def _num_engines_with(self, name: str) -> int:
        """Return how many engines there are with this one; later ones count if they are kept."""
        at = self.names.index(name)
        made = [engine for engine in map(engine_file, self.names[:at]) if self._is_there(engine)]
        kept = [file for file in map(engine_file, self.names[at + 1 :]) if self._is_kept(file)]
        return len(made) + 1 + len(kept)

    def _is_there(self, file: str) -> bool:
        return (self.work / file).exists()

    def _is_kept(self, file: str) -> bool:
        return self.is_resumed and self._is_there(file)

    def _in_output(self, name: str) -> str:
        """Return a file of the output, as the steps see it from their folder."""
        return os.path.relpath(self.output.resolve() / name, self.work.resolve())


def model_file(name: str) -> str:
    """Return the file of a model, named as ``bench`` names those that it makes."""
    return f"{name}.{DENSITY.replace(':', '-')}.onnx"


def engine_file(name: str) -> str:
    """Return the file of an engine; what is before its suffix stands in every table."""
    return f"{name}.fp16.engine"


def _bench_s(engines: int) -> float:
    """Return how long a benchmark of so many engines is expected to take."""
    return _BENCH_S + _BENCH_EACH_S * engines

"""The process that calls TensorRT-RTX: its parser can end a process, and must not end ours.

``python -m yolor_deploy.backends.tensorrt_rtx.child FOLDER`` reads ``FOLDER/request.json``, and
writes ``FOLDER/report.json`` and, unless the report names a problem, ``FOLDER/network.plan``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yolor_deploy.backends.tensorrt_rtx import load_tensorrt_rtx
from yolor_deploy.backends.tensorrt_rtx.messages import first_cause

REQUEST_FILE = "request.json"
REPORT_FILE = "report.json"
PLAN_FILE = "network.plan"
EXIT_UNWRITABLE = 74  # EX_IOERR


@dataclass(frozen=True, slots=True)
class Request:
    """What to build.

    Attributes:
        model: ONNX file.
        capabilities: Names in ``ComputeCapability``.
        shapes: Smallest, most frequent and largest shape of each input of a dynamic shape.
    """

    model: str
    capabilities: Sequence[str]
    shapes: Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of it.

    Attributes:
        version: Of TensorRT-RTX.
        problem: Why there is no plan; None if there is one.
        node: Kind and name of the operator that the problem is about; empty if it is of none.
        layers: Of the parsed network.
        outputs: By name, its type as TensorRT-RTX calls it, such as ``HALF``.
        warnings: What it logged.
        parse_s: Seconds of reading the file.
        build_s: Of making the plan.
        cpu_s: Of the process, all threads.
        peak_rss_bytes: Of this process; None where the system does not tell.
    """

    version: str
    problem: str | None = None
    node: str = ""
    layers: int = 0
    outputs: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    parse_s: float = 0.0
    build_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int | None = None


def main() -> None:
    """Do what the request in a folder says."""
    folder = Path(sys.argv[1])
    trt = load_tensorrt_rtx()
    try:
        request = Request(**json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8")))
        report = _build(trt, request, folder / PLAN_FILE)
        (folder / REPORT_FILE).write_text(json.dumps(asdict(report)), encoding="utf-8")
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)  # noqa: T201 - to the process that waits
        sys.exit(EXIT_UNWRITABLE)


def _build(trt: Any, request: Request, plan_file: Path) -> Report:
    log = _logger(trt)  # must outlive all that is made with it
    builder = trt.Builder(log)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    started = time.perf_counter()
    if not parser.parse_from_file(request.model):
        return _refused(trt, parser, log)
    parsed = time.perf_counter()
    config = _configured(trt, builder, request)
    plan = builder.build_serialized_network(network, config)
    built = time.perf_counter()
    if plan is None:
        return Report(trt.__version__, first_cause(log.errors), layers=network.num_layers)
    plan_file.write_bytes(plan)
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return Report(
        trt.__version__,
        layers=network.num_layers,
        outputs={value.name: value.dtype.name for value in outputs},
        warnings=log.warnings,
        parse_s=round(parsed - started, 3),
        build_s=round(built - parsed, 3),
        cpu_s=round(time.process_time(), 3),
        peak_rss_bytes=_peak_rss_bytes(),
    )


def _configured(trt: Any, builder: Any, request: Request) -> Any:
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(request.capabilities)
    for index, name in enumerate(request.capabilities):
        config.set_compute_capability(trt.ComputeCapability.__members__[name], index)
    if request.shapes:
        profile = builder.create_optimization_profile()
        for name, shapes in request.shapes.items():
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
    return config


def _refused(trt: Any, parser: Any, log: Any) -> Report:
    if not parser.num_errors:
        return Report(trt.__version__, first_cause(log.errors))
    error = parser.get_error(0)
    node = f"{error.node_operator()} {error.node_name()}".strip()
    return Report(trt.__version__, first_cause([error.desc(), *log.errors]), node)


def _logger(trt: Any) -> Any:
    # The module has no types
    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps errors and warnings."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # bound code: super() does not do
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(message.strip())

    return Log()


def _peak_rss_bytes() -> int | None:
    """Return the peak of this program; getrusage would tell that of its parent if it is higher."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else None


if __name__ == "__main__":
    main()

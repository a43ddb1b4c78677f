"""The process that calls TensorRT: its parser can end a process, and must not end ours.

``python -m yolor_deploy.backends.tensorrt.child FOLDER`` reads ``FOLDER/request.json``, and writes
``FOLDER/report.json`` and, unless the report names a problem, ``FOLDER/network.plan``. On stdout it
tells how far it is, a JSON line each. SIGINT cancels the build.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yolor_deploy.backends.tensorrt import load_module
from yolor_deploy.backends.tensorrt.capabilities import Capabilities, capabilities_of
from yolor_deploy.backends.tensorrt.hooks import Cancellation, make_logger, make_monitor
from yolor_deploy.backends.tensorrt.messages import first_cause
from yolor_deploy.backends.tensorrt.plugin import load_plugin
from yolor_deploy.backends.tensorrt.request import (
    EXIT_CANCELLED,
    EXIT_UNWRITABLE,
    PLAN_FILE,
    REPORT_FILE,
    REQUEST_FILE,
    TIMING_CACHE_FILE,
    Report,
    Request,
)

_SHARING = "PROFILE_SHARING_0806"
_OWN_MEMORY = "REQUIRE_USER_ALLOCATION"


def main() -> None:
    """Do what the request in a folder says."""
    folder = Path(sys.argv[1])
    cancellation = Cancellation()
    signal.signal(signal.SIGINT, cancellation.ask)
    try:
        request = Request(**json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8")))
        report = build(load_module(request.flavour), request, folder, cancellation)
        if cancellation.is_asked:
            sys.exit(EXIT_CANCELLED)
        (folder / REPORT_FILE).write_text(json.dumps(asdict(report)), encoding="utf-8")
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)  # noqa: T201 - to the process that waits
        sys.exit(EXIT_UNWRITABLE)


def build(trt: Any, request: Request, folder: Path, cancellation: Cancellation) -> Report:
    """Parse and build; the plan goes into the folder.

    Args:
        trt: The module, or what stands in for it.
        request: What to build.
        folder: Where plan and timing cache go.
        cancellation: Asked between the steps of the build.
    """
    has = capabilities_of(trt)
    missing = _missing(has, request)
    if missing:
        return Report(has.version, f"it has no {missing}")
    log = make_logger(trt)  # must outlive all that is made with it
    for library in request.plugins:
        problem = load_plugin(trt, Path(library), log)
        if problem:
            return Report(has.version, problem, log=log.errors)
    try:
        builder = trt.Builder(log)
    except TypeError:  # how bound code says that there is none
        return Report(has.version, first_cause(log.errors), log=log.errors)
    network = builder.create_network(_creation_flags(trt))
    parser = trt.OnnxParser(network, log)
    started = time.perf_counter()
    if not parser.parse_from_file(request.model):
        return _refused(has, parser, log)
    _set_types(trt, network, request)
    parsed = time.perf_counter()
    config = _configured(trt, has, builder, request, folder)
    if has.has_progress:
        config.progress_monitor = make_monitor(trt, cancellation)
    plan = builder.build_serialized_network(network, config)
    built = time.perf_counter()
    if plan is None:
        problem = first_cause(log.errors)
        return Report(has.version, problem, log=log.errors, layers=network.num_layers)
    (folder / PLAN_FILE).write_bytes(plan)
    if request.timing_cache and has.has_timing_cache:
        _write_timing_cache(config, folder / TIMING_CACHE_FILE)
    return Report(
        has.version,
        log=log.errors,
        layers=network.num_layers,
        inputs=_tensors(network.get_input, network.num_inputs),
        outputs=_tensors(network.get_output, network.num_outputs),
        warnings=log.warnings,
        parse_s=round(parsed - started, 3),
        build_s=round(built - parsed, 3),
        cpu_s=round(time.process_time(), 3),
        peak_rss_bytes=_peak_rss_bytes(),
    )


def _missing(has: Capabilities, request: Request) -> str | None:
    """Return what the request asks for and this version does not have."""
    options = {
        "builder_optimization_level": request.optimization_level,
        "max_aux_streams": request.aux_streams,
    }
    asked = [name for name, value in options.items() if value is not None]
    absent = [name for name in asked if name not in has.options]
    absent += [f"builder flag {name}" for name in request.flags if name not in has.precision_flags]
    return absent[0] if absent else None


def _creation_flags(trt: Any) -> int:
    known = trt.NetworkDefinitionCreationFlag
    wanted = ("STRONGLY_TYPED", "EXPLICIT_BATCH")  # each where it is needed, unknown elsewhere
    return sum(1 << int(getattr(known, name)) for name in wanted if hasattr(known, name))


def _set_types(trt: Any, network: Any, request: Request) -> None:
    for index in range(network.num_outputs):
        output = network.get_output(index)
        if output.name in request.output_types:
            output.dtype = getattr(trt.DataType, request.output_types[output.name])
    named = set(request.float_layers)
    for index in range(network.num_layers if named else 0):
        layer = network.get_layer(index)
        if layer.name in named:
            layer.precision = trt.DataType.FLOAT
            layer.set_output_type(0, trt.DataType.FLOAT)


def _configured(trt: Any, has: Capabilities, builder: Any, request: Request, folder: Path) -> Any:
    config = builder.create_builder_config()
    if has.has_targets:
        config.num_compute_capabilities = len(request.capabilities)
        for index, name in enumerate(request.capabilities):
            config.set_compute_capability(trt.ComputeCapability.__members__[name], index)
    _set_options(trt, config, request)
    if request.timing_cache and has.has_timing_cache:
        _read_timing_cache(config, folder / TIMING_CACHE_FILE)
    for shapes in request.profiles:
        profile = builder.create_optimization_profile()
        for name, three in shapes.items():
            profile.set_shape(name, *three)
        config.add_optimization_profile(profile)
    return config


def _read_timing_cache(config: Any, kept: Path) -> None:
    """Use what was timed before; what is damaged, or of another GPU, TensorRT refuses: start anew.

    Source: ``IBuilderConfig::setTimingCache``, which returns false then, and attaches nothing.
    """
    for blob in (kept.read_bytes() if kept.exists() else b"", b""):
        cache = config.create_timing_cache(blob)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def _write_timing_cache(config: Any, path: Path) -> None:
    cache = config.get_timing_cache()
    if cache is not None:
        path.write_bytes(cache.serialize())


def _set_options(trt: Any, config: Any, request: Request) -> None:
    if hasattr(trt.PreviewFeature, _SHARING):  # else each context needs a profile of its own
        config.set_preview_feature(getattr(trt.PreviewFeature, _SHARING), True)
    if hasattr(trt.BuilderFlag, _OWN_MEMORY):  # TensorRT-RTX: else no CUDA graph can be captured
        config.set_flag(getattr(trt.BuilderFlag, _OWN_MEMORY))
    for flag in request.flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if request.float_layers:
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    if request.tf32 is not None:
        change = config.set_flag if request.tf32 else config.clear_flag
        change(trt.BuilderFlag.TF32)
    if request.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    if request.optimization_level is not None:
        config.builder_optimization_level = request.optimization_level
    if request.aux_streams is not None:
        config.max_aux_streams = request.aux_streams


def _refused(has: Capabilities, parser: Any, log: Any) -> Report:
    if not parser.num_errors:
        return Report(has.version, first_cause(log.errors), log=log.errors)
    error = parser.get_error(0)
    names = (getattr(error, name, str)() for name in ("node_operator", "node_name"))
    node = " ".join(name for name in names if name)  # 8.x tells neither
    said = [error.desc(), *log.errors]
    return Report(has.version, first_cause(said), node, log=said)


def _tensors(get: Any, count: int) -> dict[str, Any]:
    tensors = [get(index) for index in range(count)]
    return {tensor.name: [tensor.dtype.name, list(tensor.shape)] for tensor in tensors}


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

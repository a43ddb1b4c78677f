"""What a build process is told, and what it tells: files in a folder that both know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yolor_deploy.backends.tensorrt import Flavour

REQUEST_FILE = "request.json"
REPORT_FILE = "report.json"
PLAN_FILE = "network.plan"
TIMING_CACHE_FILE = "timing.cache"
EXIT_UNWRITABLE = 74  # EX_IOERR
EXIT_CANCELLED = 130  # as of a shell, after SIGINT

NUMPY_NAMES = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "UINT8": "uint8"}
"""What NumPy calls the types in ``DataType`` that inputs and outputs have."""

Shapes = Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Request:
    """What to build.

    Attributes:
        flavour: By which module.
        model: ONNX file.
        capabilities: Names in ``ComputeCapability``; empty for the GPU of this machine.
        profiles: Of each, by input: smallest, most frequent and largest shape.
        flags: Names in ``BuilderFlag`` to set, such as ``FP16`` where types are not the graph's.
        output_types: By output, the name of its type in ``DataType``, where types are not the
            graph's.
        float_layers: Layers that must stay float32 where types are not the graph's.
        tf32: Whether float32 products may be rounded to TF32; None to leave it.
        workspace_bytes: Most scratch memory that a layer may use; None for all there is.
        optimization_level: 0 to 5; None for TensorRT's own.
        aux_streams: Most streams beside the main one; None for TensorRT's own.
        timing_cache: Whether ``timing.cache`` of the folder is read, if there, and written.
        plugins: Libraries to load.
    """

    flavour: Flavour
    model: str
    capabilities: Sequence[str] = ()
    profiles: Sequence[Shapes] = ()
    flags: Sequence[str] = ()
    output_types: Mapping[str, str] = field(default_factory=dict)
    float_layers: Sequence[str] = ()
    tf32: bool | None = None
    workspace_bytes: int | None = None
    optimization_level: int | None = None
    aux_streams: int | None = None
    timing_cache: bool = False
    plugins: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What became of it.

    Attributes:
        version: Of the module.
        problem: Why there is no plan; None if there is one.
        node: Kind and name of the operator that the problem is about; empty if it is of none.
        log: Errors as they came, for the catalogue.
        layers: Of the parsed network.
        inputs: By name: type as TensorRT calls it, such as ``HALF``, and shape, -1 where it varies.
        outputs: Likewise.
        warnings: What it logged.
        parse_s: Seconds of reading the file.
        build_s: Of making the plan.
        cpu_s: Of the process, all threads.
        peak_rss_bytes: Of this process; None where the system does not tell.
    """

    version: str
    problem: str | None = None
    node: str = ""
    log: Sequence[str] = ()
    layers: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    parse_s: float = 0.0
    build_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int | None = None

"""Engines by hand: a plan that nothing runs, with a passport that tells all of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.graph.tiny_graphs import tiny_spec
from yolor_deploy.backends.tensorrt.capabilities import Capabilities
from yolor_deploy.core.artifact import Artifact, ArtifactMeta, StageRecord, passport_path
from yolor_deploy.core.passport import Builder, Passport, PluginInfo, TensorInfo
from yolor_deploy.core.spec import BatchRange, NmsConfig

PLAN = b"ftrt" + bytes(range(256))


def passport_of(plan: bytes = PLAN, **changes: Any) -> Passport:
    """Return the passport of a plan for TensorRT with the plugin in it."""
    spec = tiny_spec()
    meta = ArtifactMeta(
        kind="engine",
        spec=spec,
        precision="fp16",
        output="detections",
        nms=NmsConfig(max_detections=20),
        target="tensorrt",
        history=(StageRecord("engine", {"tf32": False}, {"tensorrt": "10.16.1.11"}, "ab" * 32),),
    )
    passport = Passport(
        meta=meta,
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        plan_bytes=len(plan),
        source_sha256="cd" * 32,
        builder=Builder("tensorrt", "10.16.1.11", "13.0", "NVIDIA Test", ("8.6",)),
        profiles=(BatchRange(1, 1, 1), BatchRange(2, 4, 8)),
        inputs={"images": TensorInfo("float32", (-1, 3, 32, 64))},
        outputs={"scores": TensorInfo("float32", (-1, 20))},
        nms="plugin",
        plugin=PluginInfo("1", "ef" * 32),
        options={"tf32": False},
        seconds={"parse": 0.5, "build": 300.0},
    )
    return replace(passport, **changes)


def written_engine(path: Path, plan: bytes = PLAN) -> Artifact:
    """Write a plan with its passport, and read it as an artifact."""
    path.write_bytes(plan)
    passport_path(path).write_text(passport_of(plan).to_text(), encoding="utf-8")
    return Artifact.read(path)


def capabilities(**changes: Any) -> Capabilities:
    """Return what TensorRT 10 has, or another that differs from it."""
    ten = Capabilities(
        flavour="tensorrt",
        version="10.16",
        plugins="v3",
        loads_libraries=True,
        is_strongly_typed=True,
        precision_flags=(),
        options=("builder_optimization_level", "max_aux_streams"),
        has_targets=False,
        has_progress=True,
        has_timing_cache=True,
        has_nms=True,
    )
    return replace(ten, **changes)


EIGHT = capabilities(
    version="8.6.1",
    plugins="v2",
    is_strongly_typed=False,
    precision_flags=("FP16", "BF16", "INT8", "FP8"),
    has_progress=False,
)
OLDEST = capabilities(
    version="8.5.3",
    plugins="v2",
    loads_libraries=False,
    is_strongly_typed=False,
    precision_flags=("FP16", "INT8"),
    options=(),
    has_progress=False,
)
TEN = capabilities()
ELEVEN = capabilities(version="11.0.0.114", has_nms=True)
RTX = capabilities(
    flavour="tensorrt_rtx",
    version="1.7.1.116",
    plugins=None,
    has_targets=True,
    has_timing_cache=False,
    has_nms=False,
)

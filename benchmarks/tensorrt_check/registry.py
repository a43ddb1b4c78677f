"""Whether TensorRT takes the plugin; needs no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import yolor_deploy
from benchmarks.tensorrt_check.verdict import Report, at_most, report
from yolor_deploy.backends.tensorrt.capabilities import capabilities_of
from yolor_deploy.backends.tensorrt.hooks import make_logger
from yolor_deploy.backends.tensorrt.plugin import (
    PACKAGED,
    PLUGIN_NAME,
    PLUGIN_VERSION,
    load_plugin,
)
from yolor_deploy.core.artifact import sha256_of_file
from yolor_deploy.cuda.driver import gpus

_INTEGERS = {
    "num_anchors": (3, 3),
    "strides": (8, 16),
    "num_classes": (80,),
    "max_detections": (300,),
    "max_candidates": (3840,),
    "multi_label": (1,),
    "class_agnostic": (0,),
}


def examine_registry(trt: Any, library: Path = PACKAGED) -> Report:
    """Load the plugin into the registry, and ask its creator for one.

    Args:
        trt: The module.
        library: Of the plugin.
    """
    log = make_logger(trt)
    problem = load_plugin(trt, library, log)
    problems = [problem] if problem else _problems_of(trt, _creator(trt))
    driver = gpus()
    return report(
        [
            at_most(
                "problems of the plugin in its registry", len(problems), 0, "", "; ".join(problems)
            )
        ],
        tensorrt=str(trt.__version__),
        plugins=capabilities_of(trt).plugins,
        package=str(Path(yolor_deploy.__file__).parent),
        plugin_sha256=sha256_of_file(library) if library.is_file() else None,
        cuda=driver.cuda_version_text,
        driver=driver.version,
        gpus=[gpu.name for gpu in driver.gpus],
        said=log.errors,
    )


def _creator(trt: Any) -> Any:
    registry = trt.get_plugin_registry()
    get = getattr(registry, "get_creator", None) or registry.get_plugin_creator
    return get(PLUGIN_NAME, PLUGIN_VERSION, "")


def _problems_of(trt: Any, creator: Any) -> list[str]:
    """Return what is wrong with the creator: its fields, what it makes, what it refuses."""
    names = {field.name for field in creator.field_names}
    problems = []
    if names != {"anchors", *_INTEGERS}:
        problems.append(f"its fields are {', '.join(sorted(names))}")
    kinds = trt.PluginFieldType
    anchors = trt.PluginField("anchors", np.arange(1, 13, dtype=np.float32), kinds.FLOAT32)
    others = [
        trt.PluginField(name, np.array(values, np.int32), kinds.INT32)
        for name, values in _INTEGERS.items()
    ]
    if _made(trt, creator, [anchors, *others]) is None:
        problems.append("it makes no plugin")
    if _made(trt, creator, others) is not None:
        problems.append("it makes a plugin without anchors")
    return problems


def _made(trt: Any, creator: Any, fields: list[Any]) -> Any:
    phase = (trt.TensorRTPhase.BUILD,) if hasattr(trt, "TensorRTPhase") else ()  # of V3
    return creator.create_plugin("head", trt.PluginFieldCollection(fields), *phase)

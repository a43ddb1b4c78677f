"""The time of every node on the CPU, by the profile of ONNX Runtime itself.

A runtime runs other nodes than a file has: it fuses them, changes their layout, and calls the
results by names that it makes of old ones. Here they get the names of the file back. What it
inserts between nodes keeps the runtime's name, as it has none in the file.

Source of the names: what ONNX Runtime 1.32 writes, for models of every precision of this project.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from yolor_deploy.backends.onnxruntime.session import inference_session
from yolor_deploy.backends.onnxruntime.temporary import temporary_folder
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.runtime import Array, LayerTime
from yolor_deploy.graph.head_function import NMS_OP

_KERNEL = "_kernel_time"
_INLINED = f"_inlfunc_{NMS_OP}_"  # before what a function's nodes are called once it is gone
_CAST = "InsertedPrecisionFreeCast_"  # before a value that is float32 instead of half precision
_COUNTED = re.compile(r"_token_\d+$")  # behind a name that was taken
_LAYOUT = re.compile(r"_n(?:chwc|hwc)$")
_IN_USE = "mem_in_use_peak"
_MICROSECONDS_PER_MS = 1e3


def profile_on_cpu(
    artifact: Artifact, images: Array, *, runs: int, threads: int
) -> tuple[tuple[LayerTime, ...], int | None]:
    """Load an artifact once more with its profile on, run it, and read the profile.

    Args:
        artifact: A portable model.
        images: One batch.
        runs: At least 1; one more comes first, which warms up and is not counted.
        threads: Of one run.

    Returns:
        Medians over the runs, in the order of the first run. The nodes of the ``YolorNMS`` function
        are one entry, their sum, which is called as the node and stands where its first was. And
        the most bytes in use for values that are not weights; None if this version does not tell.

    Raises:
        ArtifactError: There is no place on disk for the profile.
    """
    with temporary_folder("a profile of it", where=str(artifact.path)) as folder:
        session = inference_session(
            artifact.path, threads=threads, profile_prefix=folder / "profile"
        )
        for _ in range(1 + runs):
            session.run(artifact.output_names, {"images": images})
        events = _events_in(Path(session.end_profiling()), artifact)
    return layer_times(events, 1 + runs, names_in(artifact.path)), most_bytes(events)


def _events_in(path: Path, artifact: Artifact) -> list[dict[str, Any]]:
    """Read a profile; ONNX Runtime says nothing where it could not write all of it."""
    try:
        events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(
            f"its profile was not written to the end: {error}",
            where=str(artifact.path),
            hint="free some space, or set TMPDIR to a folder where there is some",
        ) from error
    return events


def names_in(path: Path) -> dict[str, str]:
    """Return the names of a file's nodes by what a runtime names them after: these, or results."""
    names: dict[str, str] = {}
    for node in ir.load(path).graph:
        name = str(node.name)
        names |= {str(value.name): name for value in node.outputs}
        if node.op_type == NMS_OP:
            names[_INLINED] = name
    return names | {name: name for name in names.values()}


def layer_times(
    events: Iterable[Mapping[str, Any]], runs: int, names: Mapping[str, str]
) -> tuple[LayerTime, ...]:
    """Read a profile.

    Args:
        events: As ONNX Runtime writes them: ``dur`` is microseconds.
        runs: In it; the first is not counted.
        names: Names of the file by what a runtime may have made its names of.
    """
    durations: dict[str, list[float]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_KERNEL):
            name = event["name"].removesuffix(_KERNEL)
            durations.setdefault(name, []).append(event["dur"])
    times: dict[str, float] = {}
    for runtime_name, values in durations.items():
        each = len(values) // runs  # nodes of this name
        name = name_in_file(runtime_name, names)
        median = statistics.median(values[each:] or values)
        times[name] = times.get(name, 0.0) + max(1, each) * median / _MICROSECONDS_PER_MS
    return tuple(LayerTime(name, ms) for name, ms in times.items())


def most_bytes(events: Iterable[Mapping[str, Any]]) -> int | None:
    """Return the most bytes that the arena of a session lent at any time, as far as it is told."""
    told = [event.get("args", {}).get(_IN_USE) for event in events]
    return max((int(value) for value in told if value is not None), default=None)


def name_in_file(runtime_name: str, names: Mapping[str, str]) -> str:
    """Return what the file calls a node; what the runtime does if the file has no such node."""
    if runtime_name.startswith(_INLINED):
        return names.get(_INLINED, runtime_name)
    name = runtime_name
    for shorten in (
        lambda text: _COUNTED.sub("", text),
        lambda text: _LAYOUT.sub("", text),
        lambda text: text.removeprefix(_CAST),
    ):
        if name in names:
            break
        name = shorten(name)
    return names.get(name, runtime_name)

"""From an artifact to a plan, in a process of its own."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from yolor_deploy.backends.tensorrt_rtx import INSTALL_HINT, load_tensorrt_rtx, why_unavailable
from yolor_deploy.backends.tensorrt_rtx.child import (
    EXIT_UNWRITABLE,
    PLAN_FILE,
    REPORT_FILE,
    REQUEST_FILE,
    Report,
    Request,
)
from yolor_deploy.backends.tensorrt_rtx.targets import capability_names, known_capabilities
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError, BuildError
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import InputSpec

logger = logging.getLogger(__name__)

_CHILD = "yolor_deploy.backends.tensorrt_rtx.child"
_PYTHON_ERROR = 1  # exit status of an interpreter that ends in a traceback
_TAIL = 2000  # characters of what a process said


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan, and what building it took.

    Attributes:
        plan: Its bytes.
        report: What TensorRT-RTX told.
    """

    plan: bytes
    report: Report


def build_plan(
    artifact: Artifact, *, compute_capabilities: Sequence[str], timeout_s: float | None = None
) -> bytes:
    """Build a model for GPUs, without one.

    The plan takes ``images`` as the artifact does, and gives the raw maps ``raw_0 ..`` in the type
    of the network: TensorRT-RTX has no non-maximum suppression, and takes no plugins.

    Args:
        artifact: A model of any precision and output; portable or for TensorRT.
        compute_capabilities: Of the GPUs, such as ``8.6``; one plan serves all of them.
        timeout_s: Longest time for parsing and building; None for no limit.

    Raises:
        ArtifactError: An engine, a model for another runtime, or a damaged file.
        BackendUnavailableError: TensorRT-RTX is not installed.
        BuildError: A GPU lacks a type of the precision, or TensorRT-RTX does not know it, refuses
            the model, crashes, or takes too long.
    """
    return build_with_report(
        artifact, compute_capabilities=compute_capabilities, timeout_s=timeout_s
    ).plan


def build_with_report(
    artifact: Artifact, *, compute_capabilities: Sequence[str], timeout_s: float | None = None
) -> BuiltPlan:
    """Do what ``build_plan`` does, and tell what it took."""
    from yolor_deploy.graph.nms_head import detach_head  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.read import read_model  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.write import write_model  # noqa: PLC0415 - onnx

    _require_readable(artifact)
    precision = Precision.from_name(artifact.meta.precision)
    capabilities = _capabilities(compute_capabilities, precision)
    network = read_model(artifact.path)
    detach_head(network)
    found, told = len(network.graph.outputs), len(artifact.meta.spec.levels)
    if found != told:
        raise ArtifactError(
            f"{found} raw maps, the metadata tell {told}",
            where=str(artifact.path),
            hint="the graph was changed after it was written; export the model again",
        )
    with _temporary_folder() as folder:
        model = folder / "network.onnx"
        write_model(network, model)
        del network
        request = Request(str(model), capabilities, _profile(artifact.meta.spec.input))
        return _run(request, folder, where=artifact.path.name, timeout_s=timeout_s)


def build_file(
    model: Path,
    *,
    image: InputSpec,
    precision: Precision,
    compute_capabilities: Sequence[str],
    timeout_s: float | None = None,
) -> BuiltPlan:
    """Build an ONNX file as it is: nothing is checked before TensorRT-RTX reads it.

    Args:
        model: A network without head, whose input is ``images``.
        image: That input.
        precision: Of the network.
        compute_capabilities: As for ``build_plan``.
        timeout_s: As for ``build_plan``.

    Raises:
        BackendUnavailableError, BuildError: As ``build_plan``.
    """
    capabilities = _capabilities(compute_capabilities, precision)
    with _temporary_folder() as folder:
        request = Request(str(model.resolve()), capabilities, _profile(image))
        return _run(request, folder, where=model.name, timeout_s=timeout_s)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="yolor-deploy-") as folder:
            yield Path(folder)
    except OSError as error:
        raise _unwritable(error.strerror or str(error)) from error


def _unwritable(reason: str) -> BuildError:
    return BuildError(
        f"cannot write temporary files: {reason}",
        where=tempfile.gettempdir(),
        hint="free some space there, or set TMPDIR to a folder that has some",
    )


def _require_readable(artifact: Artifact) -> None:
    meta = artifact.meta
    if meta.kind != "model" or meta.target not in {None, "tensorrt"}:
        raise ArtifactError(
            f"{meta.kind} for {meta.target}, expected a model that is portable or for tensorrt",
            where=str(artifact.path),
            hint="give the file that `export` wrote, or build it with --target tensorrt",
        )


def _capabilities(given: Sequence[str], precision: Precision) -> tuple[str, ...]:
    reason = why_unavailable()
    if reason is not None:
        raise BackendUnavailableError(reason, where="backend tensorrt_rtx", hint=INSTALL_HINT)
    return capability_names(given, precision, known=known_capabilities(load_tensorrt_rtx()))


def _profile(image: InputSpec) -> dict[str, list[tuple[int, ...]]]:
    """Return the shapes of the input, where there is more than one."""
    batch = image.batch
    if batch.is_static:
        return {}
    sizes = (batch.minimum, batch.optimum, batch.maximum)
    return {"images": [image.shape(size) for size in sizes]}


def _run(request: Request, folder: Path, *, where: str, timeout_s: float | None) -> BuiltPlan:
    (folder / REQUEST_FILE).write_text(json.dumps(asdict(request)), encoding="utf-8")
    # The child finds the same packages, and none in the folder that the user happens to be in
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100 - "" too
    try:
        process = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", _CHILD, str(folder)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(
            f"TensorRT-RTX has not finished within {timeout_s} s",
            where=where,
            hint="give it more time, or close what else is running",
        ) from error
    if process.returncode:
        raise _crash(process.returncode, process.stderr, where)
    report = Report(**json.loads((folder / REPORT_FILE).read_text(encoding="utf-8")))
    if report.problem is not None:
        raise BuildError(
            f"TensorRT-RTX {report.version} refuses the network: {report.problem}",
            where=f"{where}, {report.node}" if report.node else where,
            hint="build another precision of it, and report this model",
        )
    logger.info("%s: %d layers, %s s", where, report.layers, report.build_s)
    return BuiltPlan((folder / PLAN_FILE).read_bytes(), report)


def _crash(status: int, said: str, where: str) -> Exception:
    if status == _PYTHON_ERROR:  # a bug of ours, with its traceback
        return RuntimeError(said[-_TAIL:])
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    last = said.strip().rpartition("\n")[2]
    if status == EXIT_UNWRITABLE:
        return _unwritable(last)
    is_memory = -status == getattr(signal, "SIGKILL", None)
    return BuildError(
        f"TensorRT-RTX crashed: its process ended with {how}" + (f" ({last})" if last else ""),
        where=where,
        hint="free some memory: the system kills a process that takes too much"
        if is_memory
        else "build another precision of it, and report this model",
    )

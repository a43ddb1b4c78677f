"""From an engine on disk to one that runs: everything is checked before TensorRT reads the plan."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from yolor_deploy.backends.tensorrt import Flavour, require_module
from yolor_deploy.backends.tensorrt.engine import Engine
from yolor_deploy.backends.tensorrt.fit import require_fit, require_machine, this_machine
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.artifact import Artifact, is_engine, plan_target
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.passport import Passport
from yolor_deploy.cuda.device import CudaDevice, Device
from yolor_deploy.cuda.library import NmsLibrary

logger = logging.getLogger(__name__)


def open_engine(
    artifact: Artifact,
    flavour: Flavour,
    *,
    ordinal: int = 0,
    trust: bool = False,
    plugin: Path | None = None,
    device: Device | None = None,
    library: NmsLibrary | None = None,
) -> TensorRTSession:
    """Load an engine.

    A plan is code that TensorRT runs. Only ``trust`` opens one that is not the one of its passport,
    or that has none.

    Args:
        artifact: An engine; for a plan without passport, what ``untrusted_artifact`` gives.
        flavour: Which TensorRT runs it.
        ordinal: Of the GPU.
        trust: Whether a plan of another hash, or without passport, is opened.
        plugin: Library of the plugin; None for the one of the package.
        device: The GPU, where there is an object for it; else it is made.
        library: Of the NMS kernels; None for the one of the package.

    Raises:
        ArtifactError: The plan or its passport is damaged, or they do not belong together; or it is
            for another TensorRT, GPU or plugin.
        BackendUnavailableError: TensorRT, the GPU, or a library is missing.
        RunError: The GPU is short of memory.
    """
    where = str(artifact.path)
    machine = this_machine(flavour, ordinal=ordinal, plugin=plugin)
    passport = None
    if is_engine(artifact.path) or not trust:
        passport = Passport.read(artifact.path)
        for difference in require_fit(passport, machine, artifact):
            logger.warning("%s: %s; %s", where, difference.problem, difference.hint)
    else:
        require_machine(machine, flavour, where=where)
    plan = _read(artifact.path)
    if passport is not None and not trust:
        passport.require_bytes(len(plan), hashlib.sha256(plan).hexdigest(), artifact.path)
    # A plan that tells nothing of itself may need the plugin: it is loaded where there is one
    needs_plugin = passport.plugin is not None if passport else machine.plugin.is_file()
    device = device or CudaDevice(ordinal)
    engine = Engine(
        require_module(flavour),
        flavour,
        plan,
        where=where,
        device=device,
        plugin=machine.plugin if needs_plugin else None,
    )
    return TensorRTSession(artifact, engine, device, library=library)


def untrusted_artifact(plan: Path) -> Artifact:
    """Describe a plan that has no passport by the model that lies beside it.

    Args:
        plan: That another program built from ``<stem>.onnx``, a model of ours in the same folder.

    Raises:
        ArtifactError: It is no plan, or the model is missing or damaged.
    """
    target = plan_target(plan)
    if target is None:
        raise ArtifactError(
            "not a plan of TensorRT",
            where=str(plan),
            hint="give a file that `yolor-deploy build` or trtexec wrote",
        )
    model = plan.with_suffix(".onnx")
    if not model.is_file():
        raise ArtifactError(
            f"a plan without its passport, and without its model {model.name}",
            where=str(plan),
            hint=f"put the model that it was built from beside it, as {model.name}",
        )
    meta = Artifact.read(model).meta
    return Artifact(plan, replace(meta, kind="engine", target=target))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"cannot be read: {error.strerror or error}", where=str(path), hint="check the path"
        ) from error

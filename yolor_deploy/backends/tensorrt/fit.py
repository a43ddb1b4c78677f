"""Whether an engine fits this machine: its passport against what is here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yolor_deploy.backends.tensorrt import (
    INSTALL_HINTS,
    NAMES,
    Flavour,
    load_module,
    why_unavailable,
)
from yolor_deploy.backends.tensorrt.plugin import PACKAGED, PLUGIN_VERSION
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError, YolorDeployError
from yolor_deploy.core.passport import Passport
from yolor_deploy.cuda.driver import Driver, Gpu, gpus, named
from yolor_deploy.cuda.library import BUILD_HINT

_NUMBERS = 3  # of a version that a plan is bound to; the fourth is a build of the same release


@dataclass(frozen=True, slots=True)
class Machine:
    """What an engine is to run on.

    Attributes:
        version: Of its TensorRT; None if there is none.
        missing: Why there is none.
        driver: With its GPUs.
        ordinal: The GPU.
        plugin: The plugin library.
        plugin_sha256: Of it; None if it is not there.
    """

    version: str | None
    missing: str
    driver: Driver
    ordinal: int
    plugin: Path
    plugin_sha256: str | None

    @property
    def gpu(self) -> Gpu | None:
        """The GPU; None if there is none of that number."""
        found = self.driver.gpus
        return found[self.ordinal] if self.ordinal < len(found) else None


@dataclass(frozen=True, slots=True)
class Difference:
    """What does not fit.

    Attributes:
        kind: ``unavailable`` where something is missing here, ``mismatch`` where the engine is for
            something else, ``warning`` where it runs all the same.
        problem: As of an error.
        hint: As of an error.
    """

    kind: Literal["unavailable", "mismatch", "warning"]
    problem: str
    hint: str

    def to_error(self, where: str) -> YolorDeployError:
        """Return the error that it is."""
        kind = BackendUnavailableError if self.kind == "unavailable" else ArtifactError
        return kind(self.problem, where=where, hint=self.hint)


def this_machine(flavour: Flavour, *, ordinal: int = 0, plugin: Path | None = None) -> Machine:
    """Look at what is here. Never raises.

    Args:
        flavour: The TensorRT that is asked for.
        ordinal: The GPU that is asked for.
        plugin: The plugin library; None for the one of the package.
    """
    missing = why_unavailable(flavour)
    library = plugin or PACKAGED
    return Machine(
        version=None if missing else str(load_module(flavour).__version__),
        missing=missing or "",
        driver=gpus(),
        ordinal=ordinal,
        plugin=library,
        plugin_sha256=sha256_of_file(library) if library.is_file() else None,
    )


def require_machine(machine: Machine, flavour: Flavour, *, where: str) -> None:
    """Refuse a machine that runs no engine of that flavour at all.

    Raises:
        BackendUnavailableError: TensorRT or the GPU is missing.
    """
    for difference in _missing(machine, flavour):
        raise difference.to_error(where)


def require_fit(passport: Passport, machine: Machine, artifact: Artifact) -> list[Difference]:
    """Refuse an engine that this machine cannot run.

    Returns:
        What differs and does not matter.

    Raises:
        ArtifactError: It is of another TensorRT, GPU or plugin.
        BackendUnavailableError: TensorRT, the GPU or the plugin is missing.
    """
    found = differences(passport, machine)
    for difference in found:
        if difference.kind != "warning":
            raise difference.to_error(str(artifact.path))
    return found


def differences(passport: Passport, machine: Machine) -> list[Difference]:
    """Compare an engine with a machine; first what is most to the point."""
    flavour: Flavour = "tensorrt_rtx" if passport.meta.target == "tensorrt_rtx" else "tensorrt"
    return [
        *_missing(machine, flavour),
        *_of_version(passport, machine, flavour),
        *_of_gpu(passport, machine, flavour),
        *_of_plugin(passport, machine),
    ]


def _missing(machine: Machine, flavour: Flavour) -> Iterator[Difference]:
    if machine.version is None:
        yield Difference("unavailable", machine.missing, INSTALL_HINTS[flavour])
    if machine.driver.problem is not None:
        yield Difference(
            "unavailable",
            f"no GPU to run the engine on: {machine.driver.problem}",
            "run it where the GPU is; its model runs here with ONNX Runtime",
        )
    elif machine.gpu is None:
        yield Difference(
            "unavailable",
            f"no GPU {machine.ordinal}, this machine has {len(machine.driver.gpus)}",
            "give --device cuda:N with a smaller number",
        )


def _of_version(passport: Passport, machine: Machine, flavour: Flavour) -> Iterator[Difference]:
    built = passport.builder.version
    if machine.version is None or _release(built) == _release(machine.version):
        return
    yield Difference(
        "mismatch",
        f"built by {NAMES[flavour]} {built}, here is {machine.version}, and each reads only the "
        "plans of its own release",
        f"build it again here, or install {NAMES[flavour]} {built}",
    )


def _of_gpu(passport: Passport, machine: Machine, flavour: Flavour) -> Iterator[Difference]:
    gpu, builder = machine.gpu, passport.builder
    if gpu is None:
        return
    here = named(gpu.compute_capability)
    if here not in builder.compute_capabilities:
        capabilities = ", ".join(builder.compute_capabilities)
        hint = "build it again on this machine"
        if flavour == "tensorrt_rtx":
            hint = f"build it again with --compute-capability {here}, if TensorRT-RTX knows that"
        yield Difference(
            "mismatch",
            f"built for compute capability {capabilities}"
            f"{f' ({builder.gpu})' if builder.gpu else ''}, here is {here} ({gpu.name})",
            hint,
        )
    elif builder.gpu not in {"", gpu.name}:
        yield Difference(
            "warning",
            f"tuned on {builder.gpu}, here is {gpu.name} of the same compute capability",
            "build it again on this machine for its best speed",
        )


def _of_plugin(passport: Passport, machine: Machine) -> Iterator[Difference]:
    needed = passport.plugin
    if needed is None:
        return
    if machine.plugin_sha256 is None:
        yield Difference("unavailable", f"no plugin library at {machine.plugin}", BUILD_HINT)
    elif needed.version != PLUGIN_VERSION:
        yield Difference(
            "mismatch",
            f"built with YolorNMS {needed.version}, here is {PLUGIN_VERSION}",
            "build the engine again",
        )
    elif needed.sha256 != machine.plugin_sha256:
        yield Difference(
            "warning",
            f"the plugin library is another build of YolorNMS {PLUGIN_VERSION} than the one that "
            "the engine was built with",
            "build the engine again if results differ",
        )


def _release(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:_NUMBERS])

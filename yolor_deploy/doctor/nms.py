"""The NMS library: built, of which parts, and for the GPUs of this machine."""

from __future__ import annotations

from pathlib import Path

from yolor_deploy.core.errors import BackendUnavailableError
from yolor_deploy.cuda.driver import Driver, Gpu, named
from yolor_deploy.cuda.library import BUILD_HINT, NmsLibrary
from yolor_deploy.doctor.finding import Finding, State

_AREA = "NMS"
_USE = "post-processing on a GPU, behind an engine or alone"


def examine_nms(driver: Driver, path: Path | None = None) -> list[Finding]:
    """Load the library, and compare it with the GPUs.

    Args:
        driver: What the driver said.
        path: Of the library; None for the package's own.
    """
    try:
        library = NmsLibrary(path)
    except BackendUnavailableError as error:
        state: State = "broken" if Path(error.where).exists() else "missing"
        return [Finding(_AREA, "NMS library", state, error.problem, _USE, error.hint)]
    version = f"interface {library.version}"
    if not library.cuda_architectures:
        return [
            Finding(_AREA, "NMS library", "ok", f"{version}, host part", "tests, no GPU needed"),
            Finding(_AREA, "NMS kernels", "missing", "built without CUDA", _USE, BUILD_HINT),
        ]
    built_for = ", ".join(library.cuda_architectures)
    findings = [
        Finding(_AREA, "NMS library", "ok", f"{version}, machine code for {built_for}", _USE)
    ]
    return findings + [
        _not_covered(gpu, library)
        for gpu in driver.gpus
        if not _is_covered(gpu.compute_capability, library)
    ]


def _is_covered(capability: tuple[int, int], library: NmsLibrary) -> bool:
    """Return whether a GPU runs it: machine code of its generation, or PTX of an older one."""
    built = [
        (int(major), int(minor))
        for major, _, minor in (text.partition(".") for text in library.cuda_architectures)
    ]
    is_known = any(major == capability[0] and minor <= capability[1] for major, minor in built)
    return is_known or capability > max(built)  # PTX is kept of the newest


def _not_covered(gpu: Gpu, library: NmsLibrary) -> Finding:
    return Finding(
        _AREA,
        f"NMS library on {gpu.name}",
        "broken",
        f"has machine code for {', '.join(library.cuda_architectures)}, and the GPU has "
        f"compute capability {named(gpu.compute_capability)}",
        _USE,
        "build it with -DCMAKE_CUDA_ARCHITECTURES=" + "".join(map(str, gpu.compute_capability)),
    )

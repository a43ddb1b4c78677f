"""The driver and its GPUs."""

from __future__ import annotations

from yolor_deploy.cuda.driver import Driver, Gpu, named
from yolor_deploy.doctor.finding import Finding

_AREA = "GPU"


def examine_gpus(driver: Driver) -> list[Finding]:
    """Tell what the driver said."""
    if not driver.gpus:
        hint = "install NVIDIA's driver, or run where there is a GPU; models also run on the CPU"
        return [Finding(_AREA, "NVIDIA GPU", "missing", str(driver.problem), hint=hint)]
    own = f"{driver.version}, " if driver.version else ""
    return [
        Finding(_AREA, "driver", "ok", f"{own}runs CUDA up to {driver.cuda_version_text}"),
        *(
            Finding(_AREA, f"GPU {ordinal}", "ok", _in_words(gpu))
            for ordinal, gpu in enumerate(driver.gpus)
        ),
    ]


def _in_words(gpu: Gpu) -> str:
    free = "" if gpu.free_bytes is None else f", {gpu.free_bytes / 2**30:.1f} GiB free"
    return (
        f"{gpu.name}, compute capability {named(gpu.compute_capability)}, "
        f"{gpu.memory_bytes / 2**30:.1f} GiB{free}"
    )

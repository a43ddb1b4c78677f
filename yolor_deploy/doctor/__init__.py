"""What is installed here, what works, what is missing, and the one line that mends it."""

from __future__ import annotations

from yolor_deploy.cuda.driver import gpus
from yolor_deploy.doctor.cuda_provider import examine_cuda_provider
from yolor_deploy.doctor.engine import examine_engine
from yolor_deploy.doctor.finding import Finding, State
from yolor_deploy.doctor.gpu import examine_gpus
from yolor_deploy.doctor.memory import examine_memory
from yolor_deploy.doctor.nms import examine_nms
from yolor_deploy.doctor.packages import examine_packages
from yolor_deploy.doctor.tensorrt import examine_tensorrt

__all__ = ["Finding", "State", "examine", "examine_engine"]


def examine() -> list[Finding]:
    """Look at this machine. Never raises; loads no package that it only asks for the version of."""
    found = gpus(with_free_memory=True)
    return [
        *examine_packages(),
        *examine_memory(),
        *examine_gpus(found),
        *examine_cuda_provider(found),
        *examine_nms(found),
        *examine_tensorrt(found),
    ]

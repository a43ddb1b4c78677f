"""What is installed here, what works, what is missing, and the one line that mends it."""

from __future__ import annotations

from yolor_deploy.cuda.driver import gpus
from yolor_deploy.doctor.finding import Finding, State
from yolor_deploy.doctor.gpu import examine_gpus
from yolor_deploy.doctor.nms import examine_nms
from yolor_deploy.doctor.packages import examine_packages

__all__ = ["Finding", "State", "examine"]


def examine() -> list[Finding]:
    """Look at this machine. Never raises; loads no package that it only asks for the version of."""
    found = gpus()
    return [*examine_packages(), *examine_gpus(found), *examine_nms(found)]

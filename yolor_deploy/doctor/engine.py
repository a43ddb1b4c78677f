"""An engine against this machine: whether it would load, and why not."""

from __future__ import annotations

from pathlib import Path

from yolor_deploy.backends.tensorrt.fit import Machine, differences, this_machine
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.passport import Passport
from yolor_deploy.doctor.finding import Finding, State

_AREA = "engine"


def examine_engine(path: Path, machine: Machine | None = None) -> list[Finding]:
    """Compare the passport of an engine with the plan beside it, and with this machine.

    The plan is not loaded.

    Args:
        path: Of the plan.
        machine: What it is to run on; None for this one.

    Raises:
        ArtifactError: The passport is missing or damaged, or is of a newer format.
    """
    artifact = Artifact.read(path)
    passport = Passport.read(path)
    if machine is None:
        flavour = artifact.meta.target
        machine = this_machine("tensorrt_rtx" if flavour == "tensorrt_rtx" else "tensorrt")
    findings = [_of_plan(passport, artifact)]
    found = differences(passport, machine)
    if not found:
        findings.append(Finding(_AREA, "this machine", "ok", "has all that the engine needs"))
    for difference in found:
        state: State = "warning" if difference.kind == "warning" else "broken"
        name = "this machine" if difference.kind == "unavailable" else "passport"
        findings.append(Finding(_AREA, name, state, difference.problem, hint=difference.hint))
    return findings


def _of_plan(passport: Passport, artifact: Artifact) -> Finding:
    try:
        passport.require_plan(artifact)
    except ArtifactError as error:
        return Finding(_AREA, "plan", "broken", error.problem, hint=error.hint)
    builder = passport.builder
    made_by = f"{builder.flavour} {builder.version}"
    where = builder.gpu or ", ".join(builder.compute_capabilities)
    return Finding(_AREA, "plan", "ok", f"as its passport tells; {made_by}, for {where}")

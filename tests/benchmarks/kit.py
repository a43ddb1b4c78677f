"""A kit that stands in: it makes the files that a step makes, and keeps what it was asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.check import Check
from benchmarks.tensorrt_check.plan import Plan, Steps, run_plan

_KIT = '''#!{python}
"""Stands in for a kit: makes what a step makes, and says which step it was."""
import json, os, pathlib, sys
words = sys.argv[1:]
fails, misses, folder = {fails!r}, {misses!r}, pathlib.Path.cwd()
with open(folder / "asked.txt", "a") as file:
    file.write(" ".join(words) + "\\n")
if any(name in " ".join(words) for name in fails):
    sys.exit("error: no GPU")
step = words[2]
if step == "doctor":
    value = {{"findings": []}}
elif "yolor_deploy" in words:
    path = folder / words[words.index("-o") + 1]
    path.write_text("made")
    if path.suffix == ".engine":
        pathlib.Path(str(path) + ".json").write_text("passport")
    value = {{"path": str(path), "sha256": "0", "meta": {{}}, "size_bytes": 4, "nms_reason": ""}}
elif "benchmarks.shapes.generate" in words:
    (folder / "calibration").mkdir(exist_ok=True)
    (folder / "calibration" / "annotations.json").write_text("made")
    sys.exit(0)
else:
    if step in ("reference", "report"):
        (folder / words[-1]).write_text("made")
    state = "missed" if step in misses else "passed"
    verdict = {{"target": step, "state": state, "figure": 1.0, "limit": "at most 2"}}
    value = {{"verdicts": [verdict | {{"unit": "us", "note": ""}}]}}
print(json.dumps(value))
sys.exit(step in misses)
'''


class Run:
    """A run of all steps with a kit that stands in.

    Args:
        folder: Of everything.
        fails: Words; a command that has one of them fails.
        misses: Steps that miss their target.
        models: Files of models that are there already.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fails: list[str],
        misses: list[str],
        models: tuple[str, ...] = ("yolor-p6.onnx", "shapes.onnx"),
    ) -> None:
        self.work, self.output = folder / "work", folder / "out"
        self.kit, self.models = folder / "kit", folder / "models"
        self.kit.mkdir()
        python = self.kit / "python"
        python.write_text(_KIT.format(python=sys.executable, fails=fails, misses=misses))
        python.chmod(0o755)
        self.models.mkdir()
        for name in models:
            (self.models / name).write_text("model")
        self.check = Check(self.output, deadline_s=345)

    def run(self, plan: Steps | None = None) -> dict[str, dict[str, Any]]:
        """Run; return what was recorded by the names of the steps."""
        run_plan(self.check, self.kit, self.work, plan or Plan(has_models=True), self.models)
        return {step["name"]: step for step in self.check.steps}

    @property
    def asked(self) -> list[str]:
        """Commands of the steps that were begun, without their interpreter."""
        return (self.work / "asked.txt").read_text().splitlines()

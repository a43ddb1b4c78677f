"""Steps of a check on a machine with a GPU: each a process with a limit, none ends the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Check:
    """The steps, their log, and what they found.

    Args:
        output: Folder of the log.
        deadline_s: Time for all steps.
    """

    def __init__(self, output: Path, *, deadline_s: float) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        self.ends = self.started + deadline_s
        self.said = ""
        self.log = output / "gpu_check.log"
        self.log.write_text("", encoding="utf-8")
        self.steps: list[dict[str, Any]] = []

    def allow(self, seconds: float) -> None:
        """Begin a part that has its own time."""
        self.ends = time.monotonic() + seconds

    def left_s(self) -> float:
        """Return the time until all must be done."""
        return self.ends - time.monotonic()

    def skip(self, name: str, why: str) -> None:
        """Record a step that cannot be run."""
        self.steps.append({"name": name, "passed": False, "why": why})
        print(f"FAIL            {name}: {why}", flush=True)

    def measure(
        self, name: str, command: list[str], *, limit_s: float, env: dict[str, str], cwd: Path
    ) -> Any:
        """Run a command; return the JSON that it printed, also where it missed a target."""
        self.step(name, command, limit_s=limit_s, env=env, cwd=cwd)
        if self.said.strip():
            self.note(self.said)
        return self.steps[-1].get("result")

    def step(
        self,
        name: str,
        command: list[str],
        *,
        limit_s: float,
        env: dict[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> str | None:
        """Run a command; return its output if it passed."""
        self.said = ""
        limit_s = min(limit_s, self.left_s())
        said = ["python3" if word == sys.executable else word for word in command]
        record: dict[str, Any] = {"name": name, "command": " ".join(said)}
        self.steps.append(record)
        if limit_s <= 1:
            record |= {"passed": False, "why": "no time was left"}
            return None
        started = time.monotonic()
        out, err, code, why = _finished(command, limit_s, {**os.environ, **(env or {})}, cwd)
        if why:
            record["why"] = why
        self.said = out
        record |= {"passed": code == 0, "seconds": round(time.monotonic() - started, 2)}
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"== {name}: {record['command']}\n{out}{err}\n== exit code {code}\n")
        print(f"{'ok  ' if code == 0 else 'FAIL'} {record['seconds']:7.2f} s  {name}", flush=True)
        if code != 0:
            print((out + err)[-1500:], flush=True)
        return out if code == 0 else None

    def note(self, out: str | None) -> None:
        """Add the JSON that the last step printed."""
        if out is None:
            return
        try:
            self.steps[-1]["result"] = json.loads(out.strip() or "null")
        except ValueError:
            self.steps[-1]["result"] = out.strip()[-2000:]


def _finished(
    command: list[str], limit_s: float, env: dict[str, str], cwd: Path
) -> tuple[str, str, int, str]:
    """Run a command to its end; return output, errors, exit code, and why it was ended.

    What it has started ends with it: a build that goes on would slow all that comes after.
    """
    why = ""
    try:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
        )
    except OSError as error:
        return "", str(error), -1, ""
    try:
        out, err = process.communicate(timeout=limit_s)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        why = f"not done after {limit_s:.0f} s"
        out, err = process.communicate()
    return out, err, process.returncode, why

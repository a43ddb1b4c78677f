"""What TensorRT calls back: a logger, and a monitor of a build."""

from __future__ import annotations

import json
from typing import Any


class Cancellation:
    """Whether the build is to stop."""

    def __init__(self) -> None:
        self.is_asked = False

    def ask(self, *_: Any) -> None:
        """Ask for it; also a signal handler."""
        self.is_asked = True


def make_logger(trt: Any) -> Any:
    """Return a logger that keeps ``errors`` and ``warnings``, as they came."""

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps errors and warnings."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # bound code: super() does not do
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(message.strip())

    return Log()


def make_monitor(trt: Any, cancellation: Cancellation) -> Any:
    """Return a monitor that tells each step on stdout, a JSON line each, and stops when asked.

    Phases are nested; told are those of the outermost that has steps of its own to count.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Tells the phase that began last and has not ended."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            self.steps[phase_name] = num_steps
            tell(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            tell(phase_name, step + 1, self.steps.get(phase_name, 0))
            return not cancellation.is_asked

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def tell(phase: str, step: int, steps: int) -> None:
    """Write one line of progress."""
    line = json.dumps({"phase": phase, "step": step, "steps": steps})
    print(line, flush=True)  # noqa: T201 - to the process that waits

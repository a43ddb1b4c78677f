"""What TensorRT calls back: a logger, and a monitor of a build."""

from __future__ import annotations

import json
import time
from typing import Any

_TOLD_EVERY_S = 0.1  # a large network has thousands of steps


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


def make_recorder(trt: Any) -> Any:
    """Return a recorder of errors, for what is done with an engine; ``take`` empties it."""

    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]
        """Keeps what was reported, from any thread."""

        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)
            self.reported: list[tuple[Any, str]] = []

        def report_error(self, code: Any, desc: str) -> bool:
            self.reported.append((code, desc))
            return False

        def get_num_errors(self) -> int:  # the name that bound code calls
            return len(self.reported)

        def num_errors(self) -> int:
            return len(self.reported)

        def get_error_code(self, error_idx: int) -> Any:
            return self.reported[error_idx][0]

        def get_error_desc(self, error_idx: int) -> str:
            return self.reported[error_idx][1]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self.reported.clear()

        def take(self) -> list[str]:
            """Return the texts of what was reported, and forget it."""
            taken, self.reported[:] = [desc for _, desc in self.reported], []
            return taken

    return Recorder()


def make_profiler(trt: Any) -> Any:
    """Return a profiler that keeps what is told of layers; ``take`` empties it."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        """Keeps names and milliseconds, in the order told."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.told: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.told.append((layer_name, float(ms)))

        def take(self) -> list[tuple[str, float]]:
            """Return what was told, and forget it."""
            taken, self.told = self.told, []
            return taken

    return Profiler()


def make_monitor(trt: Any, cancellation: Cancellation) -> Any:
    """Return a monitor that tells on stdout how far a build is, and stops it when asked."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Tells the phase that began last; phases are nested."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.told = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            self.steps[phase_name] = num_steps
            tell(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            now = time.monotonic()
            if now - self.told >= _TOLD_EVERY_S:
                self.told = now
                tell(phase_name, step + 1, self.steps.get(phase_name, 0))
            return not cancellation.is_asked

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def tell(phase: str, step: int, steps: int) -> None:
    """Write one line of progress."""
    line = json.dumps({"phase": phase, "step": step, "steps": steps})
    print(line, flush=True)  # noqa: T201 - to the process that waits

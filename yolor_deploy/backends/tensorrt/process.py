"""Runs the build process, and turns its end into a report or an error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yolor_deploy.backends.tensorrt import NAMES
from yolor_deploy.backends.tensorrt.catalogue import first_error
from yolor_deploy.backends.tensorrt.request import (
    EXIT_CANCELLED,
    EXIT_UNWRITABLE,
    REPORT_FILE,
    REQUEST_FILE,
    Report,
    Request,
)
from yolor_deploy.core.errors import BuildError

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Told a phase of the build, the steps that are done, and all of them."""

_CHILD = "yolor_deploy.backends.tensorrt.child"
_PYTHON_ERROR = 1  # exit status of an interpreter that ends in a traceback
_TAIL = 2000  # characters of what a process said
_GRACE_S = 10.0  # for a build to stop when it is asked to


@contextmanager
def build_folder() -> Iterator[Path]:
    """Yield a temporary folder for a request and what becomes of it.

    Raises:
        BuildError: The disk is full, or there is no place for temporary files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="yolor-deploy-") as folder:
            yield Path(folder)
    except OSError as error:
        raise _unwritable(error.strerror or str(error), Path(tempfile.gettempdir())) from error


def run_build(
    request: Request,
    folder: Path,
    *,
    where: str,
    timeout_s: float | None = None,
    progress: Progress = lambda _phase, _done, _all: None,
) -> Report:
    """Build in a process of its own; the plan is in the folder afterwards.

    Args:
        request: What to build.
        folder: Of its files.
        where: What an error is about.
        timeout_s: Longest time; None for no limit.
        progress: Told what the build tells.

    Raises:
        BuildError: TensorRT refuses the network or the options, crashes, or takes too long.
        KeyboardInterrupt: The user wants no plan any more; the process has ended.
    """
    folder = folder.resolve()  # the child works there
    (folder / REQUEST_FILE).write_text(json.dumps(asdict(request)), encoding="utf-8")
    name = NAMES[request.flavour]
    # The child finds the same packages, and none in the folder that the user happens to be in
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100 - "" too
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", _CHILD, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        said: list[str] = []
        threads = [
            threading.Thread(target=_follow, args=(process.stdout, progress)),
            threading.Thread(target=lambda: said.append(str(process.stderr.read()))),  # type: ignore[union-attr]
        ]
        try:
            for thread in threads:
                thread.start()
            status = _wait(process, timeout_s, name, where)
        finally:
            process.kill()  # which does nothing where it has ended
            for thread in threads:
                if thread.is_alive():
                    thread.join()
    if status:
        raise _end_of(status, "".join(said), name, where, folder)
    report = Report(**json.loads((folder / REPORT_FILE).read_text(encoding="utf-8")))
    if report.problem is not None:
        raise refusal(report, name, where)
    logger.info("%s: %d layers, %s s", where, report.layers, report.build_s)
    return report


def refusal(report: Report, name: str, where: str) -> BuildError:
    """Return the error of a build that TensorRT refuses, with the remedy that is known."""
    known = first_error("\n".join(report.log))
    return BuildError(
        f"{name} {report.version} refuses the network: {report.problem}",
        where=f"{where}, {report.node}" if report.node else where,
        hint=known.remedy if known else "build another precision of it, and report this model",
    )


def _follow(stdout: Any, progress: Progress) -> None:
    """Read progress until the process ends; whatever else it prints is left out."""
    try:
        for line in stdout:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                value = json.loads(line)
                progress(str(value["phase"]), int(value["step"]), int(value["steps"]))
    finally:  # the build would wait for whoever reads, if showing it has failed
        for _ in stdout:
            pass


def _wait(process: subprocess.Popen[str], timeout_s: float | None, name: str, where: str) -> int:
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise BuildError(
            f"{name} has not finished within {timeout_s} s",
            where=where,
            hint="give it more time, or close what else is running",
        ) from error
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # a terminal has sent it already, others have not
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        raise


def _end_of(status: int, said: str, name: str, where: str, folder: Path) -> BaseException:
    if status == _PYTHON_ERROR:  # a bug of ours, with its traceback
        return RuntimeError(said[-_TAIL:])
    if status == EXIT_CANCELLED:
        return KeyboardInterrupt()
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    last = said.strip().rpartition("\n")[2]
    if status == EXIT_UNWRITABLE:
        return _unwritable(last, folder.parent)
    known = first_error(said)
    is_memory = -status == getattr(signal, "SIGKILL", None)
    hint = "build another precision of it, and report this model"
    if is_memory:
        hint = "free some memory: the system kills a process that takes too much"
    elif known:
        hint = known.remedy
    return BuildError(
        f"{name} crashed: its process ended with {how}" + (f" ({last})" if last else ""),
        where=where,
        hint=hint,
    )


def _unwritable(reason: str, folder: Path) -> BuildError:
    hint = "free some space there"
    if folder == Path(tempfile.gettempdir()):
        hint += ", or set TMPDIR to a folder that has some"
    return BuildError(f"cannot write temporary files: {reason}", where=str(folder), hint=hint)

"""A headless Chromium that tests talk to through a pipe, in its own protocol.

Source: Chrome DevTools Protocol, ``--remote-debugging-pipe``: JSON messages that end in a zero
byte, read by the browser from file descriptor 3 and written by it to 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_S = 60.0
_START = """
import fcntl, os, sys
kept = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
os.dup2(kept[0], 3)
os.dup2(kept[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
_FLAGS = (
    "--headless",
    "--no-sandbox",  # which refuses to work for root; the page is ours
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)


def why_unavailable() -> str | None:
    """Return why no page can be shown here, or None if one can."""
    return None if _program() else f"no Chromium: none of {', '.join(_NAMES)} is installed"


def _program() -> str | None:
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class Page:
    """One page in a running browser, and what it complained of.

    Attributes:
        complaints: Errors of scripts, of the console and of the policy, since it was opened.
        requests: Addresses that were asked for, the page's own included, since then.
    """

    def __init__(self, commands: BinaryIO, answers: int) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._commands = commands
        self._answers = answers
        self._unread = b""
        self._last_id = 0
        self._events: list[str] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def open(
        self, path: Path, *, width: int = 1200, scheme: str = "light", media: str = ""
    ) -> None:
        """Show a file and wait until it is there.

        Args:
            path: An HTML file.
            width: Of the screen, CSS pixels.
            scheme: ``light`` or ``dark``, as the user prefers.
            media: ``print``, or empty for the screen.
        """
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=media, features=[preference])
        for past in (self._events, self.complaints, self.requests):
            past.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._note(self._read())

    def value(self, script: str) -> Any:
        """Return what an expression of JavaScript is."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        text = "\r" if key == "Enter" else " " if key == " " else ""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write what is shown as PNG, from top to bottom if ``whole``."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {**size, "x": 0, "y": 0, "scale": 1}
            answer = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self, path: Path) -> None:
        """Print to a file."""
        answer = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method", ""), event.get("params", {})
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "assert"}:
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def _read(self) -> Any:
        deadline = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._unread:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._answers], [], [], max(0.0, left))
            assert ready, f"Chromium said nothing for {_PATIENCE_S:g} s"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "Chromium ended"
            self._unread += piece
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Start a browser with an empty profile, and end it.

    Args:
        folder: For its profile and its log.
    """
    program = _program()
    assert program is not None, "the marker `browser` skips"
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    ends = (read_commands, write_answers)
    start = [sys.executable, "-c", _START, *map(str, ends), program]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [*start, *_FLAGS, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=ends,
            stdout=log,
            stderr=log,
        )
    os.close(read_commands)
    os.close(write_answers)
    try:
        with os.fdopen(write_commands, "wb") as commands:
            yield Page(commands, read_answers)
    finally:
        os.close(read_answers)
        process.terminate()
        process.wait(_PATIENCE_S)

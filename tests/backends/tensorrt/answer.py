"""Imports bindings of TensorRT, and answers a question about their names: JSON in, JSON out."""

from __future__ import annotations

import ctypes
import importlib
import inspect
import json
import operator
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from yolor_deploy.backends.tensorrt import capabilities

_KEYWORD = re.compile(r"[(,] ?(\w+): ")
_RETURNS = re.compile(r"\) -> (?:\w+\.)+(\w+)$", re.MULTILINE)


def main() -> None:
    """Answer the question on stdin."""
    question = json.load(sys.stdin)
    for library in question["libraries"]:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    if question["folder"] is not None:
        sys.path.insert(0, question["folder"])
    module = importlib.import_module(question["module"])
    json.dump(_answer(module, question["paths"]), sys.stdout)


def _answer(module: Any, paths: Iterable[str]) -> dict[str, Any]:
    present = {path: found for path in paths if (found := _find(module, path)) is not None}
    texts = {path: _signatures(found) for path, found in present.items()}
    return {
        "version": module.__version__,
        "capabilities": _capabilities(module),
        "present": sorted(present),
        "read_only": [path for path, found in present.items() if getattr(found, "fset", 0) is None],
        "keywords": {path: _KEYWORD.findall(text) for path, text in texts.items()},
        "returns": {path: sorted(set(_RETURNS.findall(text))) for path, text in texts.items()},
        "members": sorted(
            {
                name
                for _, found in inspect.getmembers(module, inspect.isclass)
                for name in dir(found)
            }
        ),
    }


def _find(module: Any, path: str) -> Any:
    """Return what is at a path; None if there is nothing."""
    try:
        return operator.attrgetter(path)(module)
    except AttributeError:
        return None


def _signatures(found: Any) -> str:
    getter = getattr(found, "fget", None)
    return inspect.getdoc(getter if getter is not None else found) or ""


def _capabilities(module: Any) -> dict[str, Any]:
    """Return all fields of all records that our code makes of a module."""
    records = [
        asdict(ask(module))
        for name, ask in vars(capabilities).items()
        if name.endswith("capabilities_of")
    ]
    return {name: value for record in records for name, value in record.items()}


if __name__ == "__main__":
    main()

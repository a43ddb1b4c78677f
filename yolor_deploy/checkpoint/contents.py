"""Find the model in what a pickle held, and name its tensors as the authors' modules do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from yolor_deploy.checkpoint.pickle_globals import (
    AVERAGE_CLASSES,
    MODEL_CLASSES,
    WRAPPER_CLASSES,
)
from yolor_deploy.checkpoint.plain import plain_facts, plain_value
from yolor_deploy.checkpoint.stand_ins import StandIn, TensorRef
from yolor_deploy.core.errors import CheckpointError

# The authors' files have `model` alone, which is the moving average already. Where somebody else's
# trainer wrote `ema` beside it, that is the model that was evaluated.
MODEL_KEYS = ("ema", "model", "state_dict")
PREFIXES = ("module.", "_orig_mod.", "ema.")
_COUNTERS = frozenset({"num_batches_tracked", "total_ops", "total_params", "n_averaged"})
_MAX_MODULES = 100_000
_MAX_DEPTH = 64
_MAX_NAME = 512

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Contents:
    """A model as a pickle tells it, its tensors not yet read.

    Attributes:
        tensors: By the names of the authors' modules.
        structure, class_names, module_classes, facts: As in ``Checkpoint``.
        strides: Numbers, or the tensor that holds them.
    """

    tensors: Mapping[str, TensorRef]
    structure: Mapping[str, Any] | None = None
    strides: TensorRef | tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None
    module_classes: tuple[str, ...] = ()
    facts: Mapping[str, str | int | float] = field(default_factory=dict)


def find_contents(value: object, *, where: str) -> Contents:
    """Find the model in a value that a checkpoint held.

    Args:
        value: A pickled model, a state_dict, or a dict with one of them under ``MODEL_KEYS``.
        where: The file, for messages.

    Raises:
        CheckpointError: There is no model, or it is damaged.
    """
    model = _find_model(value, 0)
    if model is None:
        raise CheckpointError(
            f"no model inside: {_outline(value)}",
            where=where,
            hint="expected a pickled model, a state_dict, or a dict with one of these under "
            f"{', '.join(repr(key) for key in MODEL_KEYS)}",
        )
    facts = {}
    if isinstance(value, dict) and value is not model:
        facts = plain_facts({k: v for k, v in value.items() if k not in MODEL_KEYS})
    if isinstance(model, StandIn):
        return _contents_of_module(model, facts, where=where)
    return Contents(tensors=authors_names(model), facts=facts)


def authors_names(tensors: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return a state_dict without prefixes of wrappers and without counters.

    A prefix goes only where every tensor has it: ``module.`` of DataParallel, ``_orig_mod.`` of
    torch.compile, ``ema.``. Counters are those of BatchNorm, thop and SWA.
    """
    named = {n: t for n, t in tensors.items() if n.rpartition(".")[2] not in _COUNTERS}
    while named:
        prefix = next((p for p in PREFIXES if all(n.startswith(p) for n in named)), None)
        if prefix is None:
            break
        named = {n.removeprefix(prefix): t for n, t in named.items()}
    return named


def _find_model(value: object, depth: int) -> StandIn | dict[str, TensorRef] | None:
    if isinstance(value, StandIn):
        return _unwrapped(value)
    if not isinstance(value, dict) or not value:
        return None
    if all(isinstance(k, str) and isinstance(v, TensorRef) for k, v in value.items()):
        return value
    if depth <= len(MODEL_KEYS):
        for key in MODEL_KEYS:
            found = _find_model(value.get(key), depth + 1)
            if found is not None:
                return found
    return None


def _unwrapped(module: StandIn) -> StandIn | None:
    """Return the module inside wrappers; None if there is no module."""
    for _ in range(_MAX_DEPTH):
        if module.dotted in WRAPPER_CLASSES:
            inner = _part(module, "_modules").get("module")
        elif module.dotted in AVERAGE_CLASSES:
            inner = module.state.get("ema")
        else:
            return module if "_modules" in module.state else None
        if not isinstance(inner, StandIn):
            return None
        module = inner
    return None


def _contents_of_module(
    model: StandIn, facts: dict[str, str | int | float], *, where: str
) -> Contents:
    tensors = authors_names(dict(_walk(model, where=where)))
    classes = tuple(sorted({module.dotted for _, module in _modules(model, where=where)}))
    if model.dotted not in MODEL_CLASSES:
        return Contents(tensors=tensors, module_classes=classes, facts=facts)
    structure = model.state.get("yaml")
    if not isinstance(structure, dict):
        structure = None
    return Contents(
        tensors=tensors,
        structure=structure and plain_value(structure, where=f"{where}, yaml of the model"),
        strides=_strides(model.state.get("stride"), where=where),
        class_names=_class_names(model.state.get("names"), where=where),
        module_classes=classes,
        facts=facts,
    )


def _walk(root: StandIn, *, where: str) -> Iterator[tuple[str, TensorRef]]:
    """Yield the state_dict of a module: parameters and buffers by their dotted names."""
    for prefix, module in _modules(root, where=where):
        unsaved = module.state.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            for name, value in _part(module, kind).items():
                is_saved = not (kind == "_buffers" and isinstance(unsaved, set) and name in unsaved)
                if isinstance(value, TensorRef) and is_saved:
                    yield f"{prefix}{_name(name, where=where)}", value


def _modules(root: StandIn, *, where: str) -> Iterator[tuple[str, StandIn]]:
    """Yield a module and all inside it, each with the prefix of its names."""
    pending = [("", root)]
    for _ in range(_MAX_MODULES):
        if not pending:
            return
        prefix, module = pending.pop()
        if len(prefix) > _MAX_NAME or prefix.count(".") > _MAX_DEPTH:
            raise _damaged_module(f"module name that goes on after {prefix[:64]!r}", where=where)
        yield prefix, module
        children = [
            (f"{prefix}{_name(name, where=where)}.", child)
            for name, child in _part(module, "_modules").items()
            if isinstance(child, StandIn)
        ]
        pending.extend(reversed(children))
    raise _damaged_module(f"more than {_MAX_MODULES} modules", where=where)


def _part(module: StandIn, kind: str) -> dict[Any, Any]:
    part = module.state.get(kind)
    return part if isinstance(part, dict) else {}


def _name(name: object, *, where: str) -> str:
    if isinstance(name, str) and 0 < len(name) <= _MAX_NAME:
        return name
    raise _damaged_module("part of a module without a short name", where=where)


def _strides(value: object, *, where: str) -> TensorRef | tuple[float, ...] | None:
    if value is None or isinstance(value, TensorRef):
        return value
    return positive_numbers(plain_value(value, where=f"{where}, stride of the model"), where=where)


def positive_numbers(values: object, *, where: str) -> tuple[float, ...]:
    """Return strides, checked.

    Raises:
        CheckpointError: They are not numbers above 0.
    """
    if isinstance(values, list) and all(
        isinstance(v, int | float) and 0 < v < math.inf for v in values
    ):
        return tuple(float(v) for v in values)
    raise CheckpointError(
        "strides are not a list of positive numbers",
        where=f"{where}, stride of the model",
        hint="save the checkpoint with the authors' training script",
    )


def _class_names(value: object, *, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    at = f"{where}, names of the model"
    names = plain_value(value, where=at)
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if isinstance(names, list) and all(isinstance(n, str | int | float) for n in names):
        return tuple(str(name) for name in names)
    raise CheckpointError(
        "class names are neither a list nor a dict with the keys 0, 1, 2, ...",
        where=at,
        hint="save the checkpoint with a list of names",
    )


def _damaged_module(problem: str, *, where: str) -> CheckpointError:
    return CheckpointError(problem, where=where, hint="download or copy the file again")


def _outline(value: object) -> str:
    if isinstance(value, dict):
        keys = [key[:40] for key in value if isinstance(key, str)]
        more = f" and {len(value) - 8} more" if len(value) > 8 else ""  # noqa: PLR2004
        return f"a dict with {', '.join(repr(key) for key in keys[:8]) or 'no named entries'}{more}"
    if isinstance(value, StandIn):
        return f"an object of class {value.dotted}"
    return f"a value of type {type(value).__name__}"

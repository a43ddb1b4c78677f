"""Arguments of the rows of a yaml model: what each block takes, and what none may ask for.

The authors' parser hands them on by position. Those that would give another network than the one
built here are refused, and so are those beyond the last.

Source: signatures of the blocks of the YOLOR paper branch and of Scaled-YOLOv4 yolov4-large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from yolor_deploy.core.errors import CheckpointError

STRUCTURE_HINT = "the file is damaged, or its model was changed by hand"
MAX_WIDTH = 100_000  # far above any detector, far below what overflows
_MAX_KERNEL = 63
_MAX_STEP = 32
_SHOWN = 60  # characters of a value in a message
_REQUIRED = object()


class _WrongError(ValueError):
    """Carries what an argument should have been."""


@dataclass(frozen=True, slots=True)
class _Argument:
    name: str
    read: Callable[[object], Any]
    default: Any = _REQUIRED


def shown(value: object) -> str:
    """Return a value in about 60 characters, whatever it is: nested, huge, or inside itself."""
    if not isinstance(value, list | tuple):
        return _shown_alone(value)
    text = ", ".join(_shown_alone(one) for one in value[:_SHOWN])
    return f"[{text[:_SHOWN]}...]" if len(text) > _SHOWN else f"[{text}]"


def _shown_alone(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 10**18:  # Python refuses to write the largest
        return "a huge number"
    if value is None or isinstance(value, int | float):
        return repr(value)
    return repr(value[:_SHOWN]) if isinstance(value, str) else f"a {type(value).__name__}"


def whole(value: object, *, minimum: int = 1, maximum: int = MAX_WIDTH) -> int:
    """Return a value as a whole number; 3.0 is one, True is none.

    Raises:
        ValueError: It is not one, or out of range; the message says what was expected.
    """
    is_number = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not is_number or isinstance(value, bool):
        raise _WrongError("a whole number")
    assert isinstance(value, int | float)
    if not minimum <= value <= maximum:
        raise _WrongError(f"{minimum} to {maximum}")
    return int(value)


def options_of(kind: str, arguments: tuple[Any, ...], *, where: str) -> Mapping[str, Any]:
    """Return the arguments of a block by name, those that are left out with their defaults.

    Raises:
        CheckpointError: One is missing, of the wrong type, out of range, asks for something that
            is not built here, or is one too many.
    """
    signature = SIGNATURES[kind]
    if signature is None:
        return MappingProxyType({})
    if len(arguments) > len(signature):
        raise CheckpointError(
            f"{kind} has {len(arguments)} arguments, expected at most {len(signature)}",
            where=where,
            hint=STRUCTURE_HINT,
        )
    options = {}
    for position, argument in enumerate(signature):
        name = f"argument {position} of {kind} ({argument.name})"
        if position >= len(arguments):
            if argument.default is _REQUIRED:
                raise CheckpointError(f"{name} is missing", where=where, hint=STRUCTURE_HINT)
            options[argument.name] = argument.default
            continue
        try:
            options[argument.name] = argument.read(arguments[position])
        except _WrongError as error:
            raise CheckpointError(
                f"{name} is {shown(arguments[position])}, expected {error}",
                where=where,
                hint=STRUCTURE_HINT,
            ) from error
    return MappingProxyType(options)


def _width(value: object) -> int:
    return whole(value)


def _kernel(value: object) -> int:
    return whole(value, maximum=_MAX_KERNEL)


def _step(value: object) -> int:
    return whole(value, maximum=_MAX_STEP)


def _padding(value: object) -> int | None:
    return None if _is_none(value) else whole(value, minimum=0, maximum=_MAX_KERNEL)


def _optional_step(value: object) -> int | None:
    return None if _is_none(value) else _step(value)


def _is_none(value: object) -> bool:
    return value is None or value == "None"  # what yaml writes as None is a word


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in {"True", "False"}:
        return value == "True"
    raise _WrongError("True or False")


def _slope(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _WrongError("a number from 0 to 1")
    return float(value)


def _pools(value: object) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, list | tuple) else ()
    if not sizes or len(sizes) > _MAX_KERNEL:
        raise _WrongError("a list of odd sizes")
    sizes = tuple(_kernel(size) for size in sizes)
    if any(size % 2 == 0 for size in sizes):
        raise _WrongError("odd sizes, which keep the map")
    return sizes


def _only(*allowed: object) -> Callable[[object], Any]:
    """Return a reader that takes one of a few values, by type too: 1 is not True."""

    def read(value: object) -> object:
        for one in allowed:
            if type(value) is type(one) and value == one:
                return value
        raise _WrongError(" or ".join(repr(one) for one in allowed))

    return read


_WIDTH = _Argument("width", _width)
_GROUPS = _Argument("groups", _width, 1)
_ONE_GROUP = _Argument("groups", _only(1), 1)
_HALF = _Argument("expansion", _only(0.5), 0.5)
_ACT = _Argument("act", _only(True, "True"), default=True)
_DEFAULT_PADDING = _Argument("padding", _only(None, "None"), None)
_INPLACE = _Argument("inplace", _flag, default=False)
_POOLS = _Argument("sizes", _pools, (5, 9, 13))
_SHORTCUT = _Argument("shortcut", _flag, default=True)
_NO_SHORTCUT = _Argument("shortcut", _flag, default=False)
_SIZE, _STRIDE = _Argument("size", _kernel, 1), _Argument("stride", _step, 1)

# None: whatever is given is not read, as in the authors' code.
SIGNATURES: Mapping[str, tuple[_Argument, ...] | None] = {
    "Conv": (_WIDTH, _SIZE, _STRIDE, _Argument("padding", _padding, None), _GROUPS, _ACT),
    "DWConv": (_WIDTH, _SIZE, _STRIDE, _ACT),
    "Focus": (
        _WIDTH,
        _SIZE,
        _Argument("stride", _only(1), 1),
        _DEFAULT_PADDING,
        _ONE_GROUP,
        _ACT,
    ),
    "Bottleneck": (_WIDTH, _SHORTCUT, _ONE_GROUP, _HALF),
    "BottleneckCSP": (_WIDTH, _SHORTCUT, _ONE_GROUP, _HALF),
    "BottleneckCSPF": (_WIDTH, _SHORTCUT, _ONE_GROUP, _HALF),
    "BottleneckCSP2": (_WIDTH, _NO_SHORTCUT, _ONE_GROUP, _HALF),
    "SPP": (_WIDTH, _POOLS),
    "SPPCSP": (_WIDTH, _NO_SHORTCUT, _ONE_GROUP, _HALF, _POOLS),
    "DownC": (_WIDTH, _Argument("pool", _only(2), 2)),
    "Conv2d": (
        _WIDTH,
        _Argument("size", _kernel),
        _STRIDE,
        _Argument("padding", _padding, 0),
    ),
    "Upsample": (
        _Argument("size", _only(None, "None")),
        _Argument("factor", _step),
        _Argument("mode", _only("nearest"), "nearest"),
    ),
    "MaxPool2d": (
        _Argument("size", _kernel),
        _Argument("stride", _optional_step, None),
        _Argument("padding", _padding, 0),
    ),
    "MP": (_Argument("size", _kernel, 2),),
    "Concat": (_Argument("axis", _only(1), 1),),
    "ReOrg": (),
    "DWT": (),
    "SiLU": (_INPLACE,),
    "Mish": (),
    "ReLU": (_INPLACE,),
    "LeakyReLU": (_Argument("slope", _slope, 0.01), _INPLACE),
    "Identity": None,
    "BatchNorm2d": None,
    "Detect": None,
    "IDetect": None,
}

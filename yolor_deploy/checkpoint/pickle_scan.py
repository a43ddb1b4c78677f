"""Look through a pickle before anything is built from it.

``pickle.Unpickler`` allocates what the bytes ask for, so a few bytes can ask for gigabytes of memo
or for hours of hashing. The scan follows the opcodes on a stack of kinds, without values, and
refuses what ``torch.save`` never writes. What it lets through builds no more objects than it has
opcodes, calls nothing but names that were spelled out, and hashes no nested tuple.
"""

from __future__ import annotations

import mmap
import pickletools
from collections.abc import Callable

from yolor_deploy.core.errors import CheckpointError

PickleBytes = bytes | mmap.mmap

MAX_PICKLE_BYTES = 64 << 20
MAX_OPERATIONS = 4_000_000  # YOLOv4-P7, the largest published model, takes 81 thousand
MAX_NAME_BYTES = 512
# Integers above 64 bits are never written, and many of them can share one hash.
MAX_INTEGER_BYTES = 9
MIN_PROTOCOL = 2
MAX_PROTOCOL = 5

_HINT = "download or copy the file again; if it stays so, it was not written by torch.save"

# Kinds of stack entries. A text is kept as itself, because STACK_GLOBAL takes names from there.
_VALUE, _TUPLE, _OBJECT, _GLOBAL, _PERSISTENT = range(5)
_Kind = int | str

_VALUES = (  # noqa: SIM905 - reads better than fifteen quoted words
    "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINBYTES SHORT_BINBYTES "
    "BINSTRING SHORT_BINSTRING EMPTY_LIST EMPTY_DICT EMPTY_SET"
).split()
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE")
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
}


def scan_pickle(data: PickleBytes, *, start: int, names: set[str], where: str) -> int:
    """Look through one pickle.

    Args:
        data: The bytes that hold it.
        start: Its first byte.
        names: Takes the dotted names of its globals; those met so far where the scan is refused.
        where: The file, for messages.

    Returns:
        The position after it.

    Raises:
        CheckpointError: The pickle is cut short, damaged, or does what torch.save never does.
    """
    return _Scan(data, start, names, where).run()


class _Scan:
    """One look; the methods named after opcodes do to kinds what ``pickle`` does to values."""

    def __init__(self, data: PickleBytes, start: int, names: set[str], where: str) -> None:
        self.names = names
        self.where = where
        self.data = data
        self.size = len(data)
        self.position = start
        self.limit = min(self.size, start + MAX_PICKLE_BYTES)
        self.stack: list[_Kind] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Kind] = {}

    def run(self) -> int:
        for count in range(MAX_OPERATIONS):
            code = self.take(1)[0]
            entry = _ACTIONS.get(code)
            if entry is None:
                raise self.refusal(
                    f"pickle opcode {_opcode_name(code)}, which torch.save never writes"
                )
            name, action = entry
            if name == "PROTO" and count:
                raise self.refusal("pickle protocol named twice")
            action(self)
            if name == "STOP":
                return self.position
        raise self.refusal(f"pickle of more than {MAX_OPERATIONS} operations")

    def refusal(self, problem: str) -> CheckpointError:
        return CheckpointError(
            problem, where=f"{self.where}, byte {self.position} of the pickle", hint=_HINT
        )

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > self.limit:
            if self.limit < self.size:
                raise self.refusal(f"pickle of more than {MAX_PICKLE_BYTES} bytes")
            raise self.refusal(f"pickle cut short: it needs byte {end} of {self.size}")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + MAX_NAME_BYTES)
        if end < 0:
            raise self.refusal(f"name of a global longer than {MAX_NAME_BYTES} bytes, or cut short")
        line = self.decoded(self.take(end - self.position))
        self.position += 1
        return line

    def decoded(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.refusal("text that is not UTF-8") from error

    def pop(self, count: int) -> list[_Kind]:
        floor = self.marks[-1] if self.marks else 0
        begin = len(self.stack) - count
        if begin < floor:
            raise self.refusal("pickle takes more from its stack than it put there")
        popped = self.stack[begin:]
        del self.stack[begin:]
        return popped

    def pop_to_mark(self) -> list[_Kind]:
        if not self.marks:
            raise self.refusal("pickle closes a group that it did not open")
        begin = self.marks.pop()
        popped = self.stack[begin:]
        del self.stack[begin:]
        return popped

    def top(self) -> _Kind:
        (kind,) = self.pop(1)
        self.stack.append(kind)
        return kind

    def require_keys(self, keys: list[_Kind]) -> None:
        # Hashing a tuple walks all that it shares, which can double with every level.
        if _TUPLE in keys:
            raise self.refusal("tuple used as a key")

    def proto(self) -> None:
        protocol = self.number(1)
        if not MIN_PROTOCOL <= protocol <= MAX_PROTOCOL:
            raise self.refusal(
                f"pickle protocol {protocol}, expected {MIN_PROTOCOL} to {MAX_PROTOCOL}"
            )

    def frame(self) -> None:
        length = self.number(8)
        if self.position + length > self.limit:
            raise self.refusal(f"pickle cut short: a frame of {length} bytes is not all there")

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def stop(self) -> None:
        if self.marks or len(self.stack) != 1:
            raise self.refusal("pickle does not end in one value")

    def tuple_from_mark(self) -> None:
        self.pop_to_mark()
        self.stack.append(_TUPLE)

    def append(self) -> None:
        self.pop(1)
        self.top()

    def appends(self) -> None:
        self.pop_to_mark()
        self.top()

    def additems(self) -> None:
        self.require_keys(self.pop_to_mark())
        self.top()

    def setitem(self) -> None:
        self.require_keys(self.pop(2)[:1])
        self.top()

    def setitems(self) -> None:
        items = self.pop_to_mark()
        if len(items) % 2:
            raise self.refusal("dict with a key that has no value")
        self.require_keys(items[::2])
        self.top()

    def plain_global(self) -> None:
        self.name(self.line(), self.line())

    def stack_global(self) -> None:
        module, name = self.pop(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.refusal("global whose name is computed")
        self.name(module, name)

    def name(self, module: str, name: str) -> None:
        self.names.add(f"{module}.{name}")
        self.stack.append(_GLOBAL)

    def reduce(self) -> None:
        function, arguments = self.pop(2)
        if function != _GLOBAL or arguments != _TUPLE:
            raise self.refusal("call of something that is not a plain global")
        self.stack.append(_OBJECT)

    def newobj(self) -> None:
        cls, arguments = self.pop(2)
        if cls not in (_GLOBAL, _PERSISTENT) or arguments != _TUPLE:
            raise self.refusal("object of something that is not a plain class")
        self.stack.append(_OBJECT)

    def build(self) -> None:
        self.pop(1)
        if self.top() != _OBJECT:
            raise self.refusal("state given to something that is not an object of this pickle")

    def binpersid(self) -> None:
        if self.pop(1) != [_TUPLE]:
            raise self.refusal("storage named by something that is not a tuple")
        self.stack.append(_PERSISTENT)

    def put(self, index: int) -> None:
        # Picklers number what they keep 0, 1, 2, ...; a table up to a larger index is allocated
        # in full by the unpickler. One of slack: Python 2 began at 1.
        if index > len(self.memo) + 1:
            raise self.refusal(f"memo index {index} after {len(self.memo)} entries")
        self.memo[index] = self.top()

    def memoize(self) -> None:
        self.put(len(self.memo))

    def get(self, index: int) -> None:
        kind = self.memo.get(index)
        if kind is None:
            raise self.refusal(f"memo index {index} that was never filled")
        self.stack.append(kind)


def _opcode_name(code: int) -> str:
    known = (opcode.name for opcode in pickletools.opcodes if ord(opcode.code) == code)
    return next(known, f"0x{code:02x}")


def _pushes(kind: int, argument_bytes: int) -> Callable[[_Scan], None]:
    def action(scan: _Scan) -> None:
        if argument_bytes:
            scan.take(argument_bytes)
        scan.stack.append(kind)

    return action


def _pushes_counted(length_bytes: int, *, text: bool, most: int) -> Callable[[_Scan], None]:
    def action(scan: _Scan) -> None:
        length = scan.number(length_bytes)
        if length > most:
            raise scan.refusal(f"value of {length} bytes, expected at most {most}")
        raw = scan.take(length)
        scan.stack.append(scan.decoded(raw) if text else _VALUE)

    return action


def _pushes_tuple(count: int) -> Callable[[_Scan], None]:
    def action(scan: _Scan) -> None:
        scan.pop(count)
        scan.stack.append(_TUPLE)

    return action


def _indexed(width: int, method: Callable[[_Scan, int], None]) -> Callable[[_Scan], None]:
    return lambda scan: method(scan, scan.number(width))


def _actions() -> dict[int, tuple[str, Callable[[_Scan], None]]]:
    by_name: dict[str, Callable[[_Scan], None]] = {
        "PROTO": _Scan.proto,
        "FRAME": _Scan.frame,
        "STOP": _Scan.stop,
        "MARK": _Scan.mark,
        "TUPLE": _Scan.tuple_from_mark,
        "APPEND": _Scan.append,
        "APPENDS": _Scan.appends,
        "ADDITEMS": _Scan.additems,
        "SETITEM": _Scan.setitem,
        "SETITEMS": _Scan.setitems,
        "GLOBAL": _Scan.plain_global,
        "STACK_GLOBAL": _Scan.stack_global,
        "REDUCE": _Scan.reduce,
        "NEWOBJ": _Scan.newobj,
        "BUILD": _Scan.build,
        "BINPERSID": _Scan.binpersid,
        "MEMOIZE": _Scan.memoize,
        "BINPUT": _indexed(1, _Scan.put),
        "LONG_BINPUT": _indexed(4, _Scan.put),
        "BINGET": _indexed(1, _Scan.get),
        "LONG_BINGET": _indexed(4, _Scan.get),
    }
    by_name |= {name: _pushes_tuple(count) for name, count in _TUPLES.items()}
    opcodes = {opcode.name: opcode for opcode in pickletools.opcodes}
    for name in (*_VALUES, *_TEXTS):
        argument = opcodes[name].arg
        length = argument.n if argument else 0
        if length >= 0:
            by_name[name] = _pushes(_VALUE, length)
        else:
            most = MAX_INTEGER_BYTES if name == "LONG1" else MAX_PICKLE_BYTES
            by_name[name] = _pushes_counted(_LENGTH_BYTES[length], text=name in _TEXTS, most=most)
    return {ord(opcodes[name].code): (name, action) for name, action in by_name.items()}


_ACTIONS = _actions()

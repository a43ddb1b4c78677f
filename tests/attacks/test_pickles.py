"""Pickles that would run code, or eat the machine, in an ordinary unpickler."""

from __future__ import annotations

import builtins
import functools
import io
import operator
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.attacks.hostile import Layout, archive, floats, pickled, stream
from yolor_deploy.checkpoint import pickle_scan, pickles, read_checkpoint
from yolor_deploy.core.errors import CheckpointError

GOOD = {"model": {"model.0.weight": Layout()}}
BODY = bytes(24)


def text(value: str) -> bytes:
    """Push a text, protocol 2."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def beside(data: bytes) -> bytes:
    """Return a good checkpoint's pickle with the value that ``data`` pushes under ``extra``."""
    good = pickled(GOOD)
    assert good.endswith(b"s.")  # SETITEM, STOP
    return good[:-1] + text("extra") + data + b"s."


class Reduce:
    """Calls ``function(*arguments)`` when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def refused(path: Path, content: bytes, message: str) -> None:
    """Check that a file of this content is refused in these words."""
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("pack", [archive, stream])
def test_system_command_is_named_and_not_run(
    tmp_path: Path, protocol: int, pack: Callable[[bytes], bytes]
) -> None:
    """Whatever the protocol and the container, the command is named and nothing happens."""
    witness = tmp_path / "witness"
    data = pickle.dumps(Reduce(os.system, f"touch {witness}"), protocol)

    refused(tmp_path / "evil.pt", pack(data), r"pickle names `(posix|nt)\.system`")

    assert not witness.exists()


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (builtins.eval, ("1",), "__builtin__.eval"),
        (builtins.exec, ("1",), "__builtin__.exec"),
        (builtins.getattr, ("", "join"), "__builtin__.getattr"),
        (builtins.__import__, ("os",), "__builtin__.__import__"),
        (builtins.open, ("/tmp/x", "w"), "io.open"),
        (operator.attrgetter, ("x",), "operator.attrgetter"),
        (functools.partial, (print,), "__builtin__.print"),
        (torch.load, ("x",), "torch.serialization.load"),
        (torch.storage._load_from_bytes, (b"x",), "torch.storage._load_from_bytes"),
        (torch.hub.load, ("x",), "torch.hub.load"),
        (os.execv, ("/bin/true", ()), "posix.execv"),
    ],
)
def test_function_outside_the_allow_list_is_named(
    tmp_path: Path, function: Callable[..., Any], arguments: tuple[Any, ...], name: str
) -> None:
    """Functions that reach others are refused like those that do harm at once."""
    data = pickled({"model": Reduce(function, *arguments)})

    refused(
        tmp_path / "evil.pt", archive(data), f"pickle names `{re.escape(name)}`, which is outside"
    )


def test_function_handed_to_an_allowed_one_is_refused(tmp_path: Path) -> None:
    """``_rebuild_from_type_v2`` calls its first argument in torch; it cannot be os.system here."""
    data = pickled({"model": Reduce(torch._tensor._rebuild_from_type_v2, os.system, 1, ("x",), 0)})

    refused(tmp_path / "evil.pt", archive(data), "posix.system")


def test_allowed_function_handed_to_an_allowed_one_is_checked(tmp_path: Path) -> None:
    """Only functions that make tensors are called by ``_rebuild_from_type_v2``."""
    data = pickled({"model": Reduce(torch._tensor._rebuild_from_type_v2, set, 1, ([1],), 0)})

    refused(tmp_path / "evil.pt", archive(data), "not a function of torch")


@pytest.mark.parametrize("module", ["Mish.os", "models.yolo.os", "torch.nn.modules.os"])
def test_allowed_module_opens_no_other_name(tmp_path: Path, module: str) -> None:
    """Names are compared whole: an allowed prefix is no way to anything else."""
    data = f"\x80\x02c{module}\nsystem\n.".encode("latin1")

    refused(tmp_path / "evil.pt", archive(data), f"{module}.system")


def test_unpickler_itself_resolves_nothing_else() -> None:
    """The scan is the first lock: without it the unpickler refuses by itself."""
    unpickler = pickles._Unpickler(io.BytesIO(b"\x80\x02cos\nsystem\n."), pickles.Storages())

    with pytest.raises(CheckpointError, match=r"os\.system"):
        unpickler.load()


def test_dotted_name_is_no_way_into_a_stand_in(tmp_path: Path) -> None:
    """Protocol 4 allows attributes of attributes; the whole name must be in the table."""
    data = b"\x80\x04\x8c\x0bmodels.yolo\x8c\x0eModel.__init__\x93."

    refused(tmp_path / "evil.pt", archive(data), r"models\.yolo\.Model\.__init__")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\x80\x02(X\1\0\0\0xios\nsystem\n.", "opcode INST", id="inst"),
        pytest.param(b"\x80\x02(cos\nsystem\nX\1\0\0\0xo.", "os.system", id="obj"),
        pytest.param(b"\x80\x02(cmodels.yolo\nModel\no.", "opcode OBJ", id="obj-known"),
        pytest.param(b"\x80\x02\x82\x01.", "opcode EXT1", id="ext1"),
        pytest.param(b"\x80\x02\x83\x01\0.", "opcode EXT2", id="ext2"),
        pytest.param(b"\x80\x02\x84\1\0\0\0.", "opcode EXT4", id="ext4"),
        pytest.param(b"\x80\x02P0\n.", "opcode PERSID", id="persid"),
        pytest.param(b"\x80\x04}}\x92.", "opcode NEWOBJ_EX", id="newobj-ex"),
        pytest.param(b"\x80\x05\x97.", "opcode NEXT_BUFFER", id="buffer"),
        pytest.param(b"\x80\x05\x96" + b"\xff" * 8 + b".", "opcode BYTEARRAY8", id="bytearray"),
        pytest.param(b"\x80\x02\xff.", "opcode 0xff", id="no-opcode"),
        pytest.param(b"\x80\x02" + text("x") + b"1.", "opcode POP_MARK", id="pop-mark"),
        pytest.param(b"\x80\x02" + text("x") + b")R.", "call of something", id="call-of-text"),
        pytest.param(
            b"\x80\x02cmodels.yolo\nModel\n)R)R.", "call of something", id="call-of-result"
        ),
        pytest.param(b"\x80\x02" + text("x") + b")\x81.", "object of something", id="new-of-text"),
        pytest.param(b"\x80\x02ctorch\nSize\n}b.", "state given", id="state-of-function"),
        pytest.param(b"\x80\x02cmodels.yolo\nModel\n}b.", "state given", id="state-of-class"),
        pytest.param(b"\x80\x02" + text("x") + b"Q.", "not a tuple", id="storage-text"),
        pytest.param(b"\x80\x04NN\x93.", "name is computed", id="computed-name"),
        pytest.param(b"\x80\x02c" + b"a" * 600 + b"\nb\n.", "longer than 512", id="long-name"),
        pytest.param(b"\x80\x02X\1\0\0\0\xff.", "not UTF-8", id="not-utf8"),
        pytest.param(b"\x80\x02\x80\x02N.", "named twice", id="two-protocols"),
        pytest.param(b"\x80\x07N.", "protocol 7", id="protocol-7"),
        pytest.param(b"\x80\x02NN.", "does not end in one value", id="two-values"),
        pytest.param(b"\x80\x02.", "takes more|does not end", id="no-value"),
        pytest.param(b"\x80\x02(.", "does not end", id="open-mark"),
        pytest.param(b"\x80\x02t.", "did not open", id="no-mark"),
        pytest.param(b"\x80\x02N\x87.", "takes more", id="underflow"),
        pytest.param(b"\x80\x02}(Nu.", "key that has no value", id="odd-items"),
        pytest.param(b"\x80\x02h\x05.", "never filled", id="empty-memo"),
        pytest.param(b"\x80\x02]]s.", "takes more", id="set-on-nothing"),
        pytest.param(b"\x80\x02N}e.", "did not open", id="appends-without-mark"),
        pytest.param(b"\x80\x02N(Ne.", "damaged pickle", id="appends-to-none"),
        pytest.param(b"\x80\x02}]Ns.", "damaged pickle", id="list-as-key"),
        pytest.param(b"", "cut short", id="empty"),
    ],
)
def test_malformed_pickle_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    """Each opcode that torch.save never writes, and each misuse of the others, is said."""
    refused(tmp_path / "evil.pt", archive(data), message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"Nr\xff\xff\xff\x7f", "memo index 2147483647", id="memo-bomb"),
        pytest.param(b"\x8b" + b"\xff\xff\xff\x7f", "opcode LONG4", id="huge-long4"),
        pytest.param(b"\x8a\xff" + b"\x7f" * 255, "value of 255 bytes", id="huge-long1"),
        pytest.param(b"X\xff\xff\xff\xff", "value of 4294967295 bytes", id="huge-text"),
        pytest.param(b"X\xff\xff\xff\0", "cut short", id="long-text"),
        pytest.param(b"\x8d" + b"\xff" * 8, "opcode BINUNICODE8", id="text-of-exabytes"),
        pytest.param(b"\x8e" + b"\xff" * 8, "opcode BINBYTES8", id="bytes-of-exabytes"),
        pytest.param(b"\x95" + b"\xff" * 7 + b"\x7f", "a frame of", id="lying-frame"),
        pytest.param(b"I" + b"9" * 5000 + b"\n", "opcode INT", id="long-decimal"),
    ],
)
def test_pickle_that_asks_for_memory_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    """What a few bytes would allocate is seen before anything is allocated."""
    refused(tmp_path / "evil.pt", archive(beside(data), {"data/0": BODY}), message)


def doubling(levels: int, opcode: bytes) -> bytes:
    """Push a value that holds itself twice per level, kept once in memory."""
    level = b"".join(
        b"q" + bytes([i]) + b"h" + bytes([i]) + opcode for i in range(200, 200 + levels)
    )
    # The memo must grow one by one: fill what lies below.
    fill = b"".join(b"q" + bytes([i]) for i in range(200))
    return b"N" + fill + level


def test_billion_laughs_as_key_is_refused(tmp_path: Path) -> None:
    """Hashing a tuple of tuples takes as long as its full size, which doubles per level."""
    laughs = doubling(50, b"\x86")

    refused(
        tmp_path / "evil.pt",
        archive(beside(b"}" + laughs + b"Ns"), {"data/0": BODY}),
        "tuple used as a key",
    )


def test_billion_laughs_as_value_costs_nothing(tmp_path: Path) -> None:
    """Beside the model such a value is small in memory, and nobody looks at it."""
    path = tmp_path / "odd.pt"
    path.write_bytes(archive(beside(doubling(50, b"\x86")), {"data/0": BODY}))

    checkpoint = read_checkpoint(path)

    assert list(checkpoint.tensors) == ["model.0.weight"]
    assert checkpoint.facts == {}


@pytest.mark.parametrize("attribute", ["yaml", "names", "stride"])
def test_billion_laughs_in_the_model_is_refused(tmp_path: Path, attribute: str) -> None:
    """What is copied out of the model is bounded, however small it is in the file."""
    state = b"}" + text(attribute) + b"}" + text("x") + doubling(50, b"\x86") + b"ss"
    modules = text("_modules") + b"}s"
    data = b"\x80\x02cmodels.yolo\nModel\n)\x81" + state + modules + b"b."

    refused(tmp_path / "evil.pt", archive(data), "more than 100000 values|names|stride")


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        pytest.param(b"]", b"a", id="list"),
        pytest.param(b"}" + text("k"), b"s", id="dict"),
        pytest.param(b"", b"\x85", id="tuple"),
        pytest.param(b"ccollections\nOrderedDict\n)R" + text("k"), b"s", id="OrderedDict"),
        pytest.param(b"cmodels.yolo\nModel\n)\x81}" + text("k"), b"sb", id="module"),
    ],
)
def test_deep_nesting_does_not_overflow_the_stack(
    tmp_path: Path, opening: bytes, closing: bytes
) -> None:
    """A hundred thousand levels beside the model are built, and freed, without recursion."""
    path = tmp_path / "deep.pt"
    deep = opening * 100_000 + b"N" + closing * 100_000
    path.write_bytes(archive(beside(deep), {"data/0": BODY}))

    assert list(read_checkpoint(path).tensors) == ["model.0.weight"]


def test_deep_modules_are_refused(tmp_path: Path) -> None:
    """Modules inside modules end at a depth that no model has."""
    opening = b"cmodels.yolo\nModel\n)\x81}" + text("_modules") + b"}" + text("m")
    data = b"\x80\x02" + opening * 5000 + b"N" + b"ssb" * 5000 + b"."

    refused(tmp_path / "evil.pt", archive(data), "module name that goes on")


def test_module_that_holds_itself_is_refused(tmp_path: Path) -> None:
    """A cycle ends like any other depth."""
    data = (
        b"\x80\x02cmodels.yolo\nModel\n)\x81q\0}" + text("_modules") + b"}" + text("m") + b"h\0ssb."
    )

    refused(tmp_path / "evil.pt", archive(data), "module name that goes on")


def shared_modules(levels: int) -> bytes:
    """Push a module whose two children are one module, of which the same is true, and so on."""
    module = b"cmodels.yolo\nModel\n)\x81}" + text("_modules") + b"}"
    if not levels:
        return module + b"sb"
    child = bytes([levels - 1])
    put_and_get = b"q" + child + b"s" + text("b") + b"h" + child + b"s"
    return module + text("a") + shared_modules(levels - 1) + put_and_get + b"sb"


def test_modules_that_share_modules_are_bounded(tmp_path: Path) -> None:
    """Forty levels of one module twice are a million million modules when they are walked."""
    data = b"\x80\x02" + shared_modules(40) + b"."

    refused(tmp_path / "evil.pt", archive(data), "more than 100000 modules")


def test_number_of_operations_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle of endless opcodes is not followed to its end."""
    monkeypatch.setattr(pickle_scan, "MAX_OPERATIONS", 1000)
    data = beside(b"](" + b"N" * 1000 + b"e")

    refused(tmp_path / "evil.pt", archive(data, {"data/0": BODY}), "more than 1000 operations")


def test_size_of_the_pickle_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle larger than any detector's is not read, in either container."""
    monkeypatch.setattr(pickle_scan, "MAX_PICKLE_BYTES", 1000)
    monkeypatch.setattr("yolor_deploy.checkpoint.zip_archive.MAX_PICKLE_BYTES", 1000)
    data = beside(text("x" * 1000))

    refused(tmp_path / "zip.pt", archive(data, {"data/0": BODY}), "expected at most 1000")
    refused(tmp_path / "old.pt", stream(data, ["0"], floats(6)), "more than 1000 bytes")


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("torch\nSize", b"(]N\x85at\x85", "torch.Size of something"),
        ("torch\nSize", b"J\xff\xff\xff\xff\x85\x85", "torch.Size of something"),
        ("__builtin__\nset", b"](N\x85N\x85e\x85", "key of type tuple"),
        ("__builtin__\nset", b"N\x85", "set of something"),
        ("collections\nOrderedDict", b"](](N\x85Nee\x85", "key of type tuple"),
        ("collections\nOrderedDict", b"](Ne\x85", "damaged pickle"),
        ("_codecs\nencode", b"X\1\0\0\0xX\3\0\0\0zip\x86", "not written as latin1"),
        ("_codecs\nencode", text("ж") + b"\x85", "not written as latin1"),
        ("torch._utils\n_rebuild_parameter", b"N\x85", "parameter without a tensor"),
        ("torch._utils\n_rebuild_tensor_v2", b"(NNNNt", "tensor without a storage"),
        ("torch._utils\n_rebuild_tensor_v2", b"N\x85", "damaged pickle"),
    ],
)
def test_allowed_function_checks_what_it_is_given(
    tmp_path: Path, function: str, arguments: bytes, message: str
) -> None:
    """Functions of ours take what torch.save writes, and say so of everything else."""
    data = beside(b"c" + function.encode() + b"\n" + arguments + b"R")

    refused(tmp_path / "evil.pt", archive(data, {"data/0": BODY}), message)


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(pickled(Layout())[2:-1], id="tensor"),
        pytest.param(
            b"ctorch._utils\n_rebuild_parameter\n" + pickled(Layout())[2:-1] + b"\x85R",
            id="parameter",
        ),
    ],
)
def test_state_cannot_be_set_on_a_tensor(tmp_path: Path, tensor: bytes) -> None:
    """BUILD sets attributes and slots of what it is given: a layout could change after checks."""
    slots = b"N}" + text("offset") + text("x") + b"s\x86b"
    data = beside(tensor + slots)

    refused(tmp_path / "evil.pt", archive(data, {"data/0": BODY}), "state given to a TensorRef")

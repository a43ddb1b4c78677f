"""Containers that lie: sizes, names, lengths, orders."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.attacks.hostile import (
    MACHINE,
    MAGIC,
    Layout,
    Storage,
    archive,
    floats,
    pickled,
    saved,
    stream,
)
from yolor_deploy.checkpoint import read_checkpoint, zip_archive
from yolor_deploy.core.errors import CheckpointError

BODY = bytes(24)
TENSORS = {"module_list.0.weight": torch.arange(6.0), "module_list.1.weight": torch.ones(2, 3)}


def model(layout: Layout) -> dict[str, Any]:
    """Return a checkpoint of one tensor."""
    return {"model": {"model.0.weight": layout}}


def refused(path: Path, content: bytes, message: str) -> CheckpointError:
    """Check that a file of this content is refused in these words; return the error."""
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(path)
    return error.value


LYING_LAYOUTS = [
    pytest.param(Layout(offset=-1), id="negative-offset"),
    pytest.param(Layout(offset=1), id="offset-past-end"),
    pytest.param(Layout(offset=1 << 62), id="huge-offset"),
    pytest.param(Layout(stride=(-3, 1)), id="negative-stride"),
    pytest.param(Layout(stride=(1 << 40, 1)), id="huge-stride"),
    pytest.param(Layout(stride=(3,)), id="missing-stride"),
    pytest.param(Layout(stride=(3, 1.5)), id="fractional-stride"),
    pytest.param(Layout(size=(-2, -3)), id="negative-size"),
    pytest.param(Layout(size=(2, 4)), id="too-large"),
    pytest.param(Layout(size=(1 << 32, 1 << 32)), id="product-overflows"),
    pytest.param(Layout(size=(1 << 40, 3), stride=(0, 1)), id="repeated-for-ever"),
    pytest.param(Layout(size=(0, 1 << 60), stride=(1, 1)), id="empty-and-huge"),
    pytest.param(Layout(size=("2", "3")), id="text-size"),
    pytest.param(Layout(size=(True, 3)), id="boolean-size"),
    pytest.param(Layout(size=(1,) * 40, stride=(1,) * 40), id="forty-axes"),
]


@pytest.mark.parametrize("layout", LYING_LAYOUTS)
def test_tensor_outside_its_storage_is_named(tmp_path: Path, layout: Layout) -> None:
    """Offsets, sizes and strides are checked before torch sees them, in both containers."""
    data = pickled(model(layout))
    old = pickled(model(layout), view=(None,))

    for content in (archive(data, {"data/0": BODY}), stream(old, ["0"], floats(6))):
        error = refused(tmp_path / "evil.pt", content, "not inside its storage of 6 elements")
        assert "tensor 'model.0.weight'" in error.where


def doubling_size(levels: int) -> bytes:
    """Pickle a tensor with such a size; apart, because pytest prints the variables of a failure."""
    size: Any = ()
    for _ in range(levels):
        size = (size, size)
    return pickled(model(Layout(size=size)))


def test_size_that_shares_itself_is_not_printed(tmp_path: Path) -> None:
    """A tuple that doubles with every level would take for ever as text in the message."""
    content = archive(doubling_size(levels=60), {"data/0": BODY})

    refused(tmp_path / "evil.pt", content, "not a few whole numbers")


@pytest.mark.parametrize(
    ("storage", "body", "message"),
    [
        (Storage(numel=7), BODY, "declared as 7 elements of torch.float32, 28 bytes"),
        (Storage(numel=1 << 40), BODY, "the file has 24"),
        (Storage(numel=-1), BODY, "declared as -1 elements"),
        (Storage(numel=6, kind=torch.DoubleStorage), BODY, "48 bytes; the file has 24"),
        (Storage(), BODY + b"x", "24 bytes; the file has 25"),
        (Storage(key="1"), BODY, "has no entry 'archive/data/1'"),
        (Storage(key="../data.pkl"), BODY, "has no entry"),
        (Storage(key="k" * 65), BODY, "not a short text"),
    ],
)
def test_storage_that_lies_about_its_size_is_refused(
    tmp_path: Path, storage: Storage, body: bytes, message: str
) -> None:
    """What the pickle declares must be what the archive has, to the byte."""
    content = archive(pickled(model(Layout(storage))), {"data/0": body})

    refused(tmp_path / "evil.pt", content, message)


def test_storage_declared_twice_must_be_the_same(tmp_path: Path) -> None:
    """One key is one storage, with one dtype and one length."""
    value = {"model": {"a": Layout(), "b": Layout(Storage(numel=12, kind=torch.HalfStorage))}}

    refused(tmp_path / "evil.pt", archive(pickled(value), {"data/0": BODY}), "declared as 12")


def test_many_tensors_of_one_storage_are_bounded(tmp_path: Path) -> None:
    """A thousand views of one storage would be checked, folded and written a thousand times."""
    storage = Storage(numel=100_000)
    layouts = {f"a{i}": Layout(storage, size=(100_000,), stride=(1,)) for i in range(1000)}

    content = archive(pickled(layouts), {"data/0": bytes(400_000)})

    refused(tmp_path / "evil.pt", content, "more than twice")


@pytest.mark.parametrize("reference", [("storage",), ("module", 1, "", ""), "0", ("x", 1, 2), ()])
def test_reference_that_is_no_storage_is_refused(tmp_path: Path, reference: Any) -> None:
    """Persistent ids are those of torch.save, or nothing."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return reference if isinstance(obj, Storage) else None

    out = io.BytesIO()
    Pickler(out, 2).dump(model(Layout()))

    content = archive(out.getvalue(), {"data/0": BODY})

    refused(tmp_path / "evil.pt", content, "otherwise than torch.save|not a tuple")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_bomb_is_not_inflated(tmp_path: Path, compression: int) -> None:
    """Compressed entries are refused by what the directory says of them."""
    content = archive(
        pickled(model(Layout(Storage(numel=1 << 22)))),
        {"data/0": bytes(1 << 24)},
        compression=compression,
    )
    assert len(content) < 1 << 16

    refused(tmp_path / "bomb.pt", content, "compressed entry 'archive/data.pkl'")


def test_entries_over_one_another_are_refused(tmp_path: Path) -> None:
    """Many entries that claim the same bytes of the file are a bomb without compression."""
    content = archive(pickled(model(Layout())), {f"data/{i}": bytes(4000) for i in range(20)})
    directory = content.index(b"PK\1\2")
    first = content.index(b"PK\1\2", directory + 4)
    # Cut the entries' bytes out, and leave the directory as it was.
    short = content[:200] + content[directory:]
    end = bytearray(short)
    struct.pack_into("<L", end, len(end) - 6, 200)

    assert first > directory
    refused(tmp_path / "bomb.pt", bytes(end), "zip entries claim 80")


def test_directory_of_gigabytes_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive of nothing but names is refused before ``zipfile`` reads them."""
    monkeypatch.setattr(zip_archive, "MAX_DIRECTORY_BYTES", 1000)
    content = archive(pickled(model(Layout())), {f"data/{i}": b"" for i in range(50)})

    refused(tmp_path / "bomb.pt", content, "zip directory of .* bytes")


@pytest.mark.parametrize(
    "name",
    [
        "../../outside",
        "/absolute",
        "archive/../../outside",
        "archive\\..\\outside",
        "elsewhere/data/0",
        "data.pkl",
    ],
)
def test_entry_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is extracted; an archive with such a name is refused all the same."""
    out = io.BytesIO(archive(pickled(model(Layout())), {"data/0": BODY}))
    with zipfile.ZipFile(out, "a") as packed:
        packed.writestr(name, b"x")

    refused(tmp_path / "evil.pt", out.getvalue(), "lies outside the folder")

    assert list(tmp_path.iterdir()) == [tmp_path / "evil.pt"]


@pytest.mark.parametrize("folder", ["..", "."])
def test_folder_that_is_a_way_out_is_refused(tmp_path: Path, folder: str) -> None:
    """The one folder of the archive must be one."""
    content = archive(pickled(model(Layout())), {"data/0": BODY}, folder=folder)

    refused(tmp_path / "evil.pt", content, "lies outside the folder")


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    """Which of the two is read would depend on the reader."""
    out = io.BytesIO(archive(pickled(model(Layout())), {"data/0": BODY}))
    with zipfile.ZipFile(out, "a") as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        packed.writestr("archive/data/0", bytes(24))

    refused(tmp_path / "evil.pt", out.getvalue(), "two entries of one name")


@pytest.mark.parametrize("folders", [[], ["one", "two"], ["one/inner"]])
def test_zip_of_something_else_is_refused(tmp_path: Path, folders: list[str]) -> None:
    """An archive that somebody packed a checkpoint into is not a checkpoint."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("readme.txt", b"x")
        for folder in folders:
            packed.writestr(f"{folder}/data.pkl", b"x")

    error = refused(tmp_path / "packed.pt", out.getvalue(), "FOLDER/data.pkl, expected 1")

    assert "unpack it" in error.hint


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused_with_a_hint(tmp_path: Path) -> None:
    """A traced program holds weights, but not under the names of a checkpoint."""
    traced = tmp_path / "traced.pt"
    program: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
        torch.nn.Conv2d(3, 4, 1), torch.ones(1, 3, 2, 2)
    )
    program.save(str(traced))

    with pytest.raises(CheckpointError, match="TorchScript archive") as error:
        read_checkpoint(traced)

    assert "from which this was traced" in error.value.hint


@pytest.mark.parametrize("order", [b"big", b"middle", b""])
def test_other_byte_order_is_refused(tmp_path: Path, order: bytes) -> None:
    """Weights of a big-endian machine would be read as noise."""
    content = archive(pickled(model(Layout())), {"data/0": BODY, "byteorder": order})

    refused(tmp_path / "big.pt", content, "expected 'little'")


@pytest.mark.parametrize("new", [pytest.param(True, id="zip"), pytest.param(False, id="legacy")])
def test_every_truncation_is_refused(tmp_path: Path, new: bool) -> None:
    """However short the file was cut, the error is ours."""
    whole = saved(TENSORS, _use_new_zipfile_serialization=new)
    path = tmp_path / "cut.pt"

    for kept in range(0, len(whole), 7 if new else 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


def test_damaged_weights_are_noticed(tmp_path: Path) -> None:
    """The archive has a checksum of every entry; one flipped bit is enough."""
    whole = bytearray(saved({"w": torch.full((64,), 3.0)}))
    whole[whole.index(struct.pack("<f", 3.0) * 8) + 100] ^= 1

    refused(tmp_path / "flipped.pt", bytes(whole), "damaged zip archive: Bad CRC-32")


def old(
    *,
    version: int = 1001,
    machine: Any = None,
    data: bytes | None = None,
    keys: Any = ("0",),
    body: bytes | None = None,
) -> bytes:
    """Return a stream of the old container; a good one unless told otherwise."""
    parts = [version, MACHINE if machine is None else machine]
    good = pickled(model(Layout()), view=(None,))
    return (
        MAGIC
        + b"".join(pickle.dumps(part, protocol=2) for part in parts)
        + (good if data is None else data)
        + pickle.dumps(keys, protocol=2)
        + (floats(6) if body is None else body)
    )


def test_stream_of_our_own_is_good(tmp_path: Path) -> None:
    """What the next test spoils can be read before."""
    path = tmp_path / "old.pt"
    path.write_bytes(old(keys=["0"]))

    assert torch.equal(read_checkpoint(path).tensors["model.0.weight"], torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(old(version=1000), "protocol 1000, expected 1001", id="version"),
        pytest.param(old(machine={"little_endian": False}), "little-endian", id="big-endian"),
        pytest.param(old(machine=[]), "little-endian", id="no-machine"),
        pytest.param(old(keys=7), "list of storages", id="no-list"),
        pytest.param(old(keys=["0", "0"]), "list of storages", id="key-twice"),
        pytest.param(old(keys=[["0"]]), "list of storages", id="list-as-key"),
        pytest.param(old(keys=["0", "5"]), "'5' is listed, and used by nothing", id="unknown-key"),
        pytest.param(old(keys=[]), "the file has 0", id="key-missing"),
        pytest.param(old(keys=["0"], body=floats(5)), "cut short", id="short"),
        pytest.param(old(keys=["0"], body=floats(6, claimed=7)), "and has 7", id="lying-count"),
        pytest.param(old(keys=["0"], body=floats(6, claimed=-1)), "and has -1", id="negative"),
        pytest.param(
            old(keys=["0"], data=pickled(model(Layout()), view=(("v", 4, 3),))),
            "not inside its 6 elements",
            id="view-past-end",
        ),
        pytest.param(
            old(keys=["0"], data=pickled(model(Layout()), view=(("v", -1, 3),))),
            "not inside its 6 elements",
            id="negative-view",
        ),
        pytest.param(
            old(keys=["0"], data=pickled(model(Layout()), view=(("v", 2, 4),))),
            "not inside its storage of 4 elements",
            id="tensor-past-view",
        ),
    ],
)
def test_lying_stream_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Versions, lists and lengths of the old container are held against one another."""
    refused(tmp_path / "old.pt", content, message)


@pytest.mark.parametrize("new", [pytest.param(True, id="zip"), pytest.param(False, id="legacy")])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, new: bool, value: float) -> None:
    """The tensor is named as the model names it, and its bad values are counted."""
    weights = torch.ones(4, 4)
    weights[1, 2] = weights[3, 3] = value
    content = saved(
        {"model": {"module.model.0.bn.weight": weights}}, _use_new_zipfile_serialization=new
    )

    error = refused(tmp_path / "diverged.pt", content, "2 NaN|2 infinite")

    assert "tensor 'model.0.bn.weight'" in error.where

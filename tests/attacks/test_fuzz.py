"""Small good files with bytes changed: a checkpoint or an error of ours, nothing else."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.hostile import Layout, archive, pickled, saved
from tests.checkpoint.authors import authors_module
from yolor_deploy.checkpoint import Checkpoint, read_checkpoint
from yolor_deploy.core.errors import YolorDeployError

FUZZ = settings(
    max_examples=250,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
Edit = tuple[str, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut"]),
        st.integers(0, 1 << 20),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, edits: list[Edit]) -> bytes:
    """Return the content with bytes overwritten, put in, taken out or cut off."""
    changed = bytearray(content)
    for kind, position, data in edits:
        at = position % (len(changed) + 1)
        if kind == "set":
            changed[at : at + len(data)] = data
        elif kind == "insert":
            changed[at:at] = data
        elif kind == "delete":
            del changed[at : at + len(data)]
        elif position % 8 == 0:
            del changed[at:]
    return bytes(changed)


def read_or_error(path: Path) -> Checkpoint | YolorDeployError:
    """Return what reading gives; anything but an error of ours goes through."""
    try:
        return read_checkpoint(path)
    except YolorDeployError as error:
        return error


def assert_survives(path: Path, content: bytes) -> None:
    """Check that reading gives a checkpoint whose tensors can be used, or an error of ours."""
    path.write_bytes(content)
    outcome = read_or_error(path)
    if isinstance(outcome, YolorDeployError):
        assert outcome.problem
        assert outcome.hint
        assert str(outcome).encode()
    else:
        for tensor in outcome.tensors.values():
            assert torch.isfinite(tensor).all()


@pytest.fixture(scope="module")
def pickled_model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A pickled ``models.yolo.Model`` in both containers."""
    with authors_module(tmp_path_factory.mktemp("authors"), "models.yolo") as yolo:
        model = yolo.Model()
        return {
            "zip": saved({"model": model}),
            "legacy": saved({"model": model}, _use_new_zipfile_serialization=False),
        }


@pytest.mark.parametrize("container", ["zip", "legacy"])
@FUZZ
@given(edits=EDITS)
def test_edited_model_survives(
    tmp_path: Path, pickled_model: dict[str, bytes], container: str, edits: list[Edit]
) -> None:
    """Whatever happens to the bytes of a pickled model, reading ends well."""
    assert_survives(tmp_path / "model.pt", edited(pickled_model[container], edits))


@pytest.mark.parametrize("protocol", [2, 4])
@FUZZ
@given(edits=EDITS)
def test_edited_pickle_survives(tmp_path: Path, protocol: int, edits: list[Edit]) -> None:
    """With checksums made anew, edits get as far as the unpickler."""
    good = {
        "model": {"model.0.weight": Layout(), "model.0.bias": Layout(size=(6,), stride=(1,))},
        "epoch": 3,
        "best_fitness": np.array([0.5]),
        "sizes": [torch.Size([1]), {1, 2}, torch.float16, (1, 2.0, None, True)],
    }
    data = edited(pickled(good, protocol=protocol), edits)

    assert_survives(tmp_path / "model.pt", archive(data, {"data/0": bytes(24)}))


@FUZZ
@given(data=st.binary(max_size=64))
def test_noise_as_pickle_survives(tmp_path: Path, data: bytes) -> None:
    """Opcodes in any order are refused, or build something that is no model."""
    assert_survives(tmp_path / "model.pt", archive(b"\x80\x02" + data + b"."))


@FUZZ
@given(edits=EDITS)
def test_edited_weights_survive(tmp_path: Path, edits: list[Edit]) -> None:
    """There is no checksum in a .weights file: most edits are read, and must be finite."""
    good = struct.pack("<3iQ", 0, 2, 5, 7) + np.linspace(-1, 1, 50, dtype="<f4").tobytes()

    assert_survives(tmp_path / "model.weights", edited(good, edits))


@FUZZ
@given(edits=EDITS)
def test_edited_safetensors_survive(tmp_path: Path, edits: list[Edit]) -> None:
    """The library checks the header; what it lets through is checked as ever."""
    header = b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}       '
    good = struct.pack("<Q", len(header)) + header + bytes(24)

    assert_survives(tmp_path / "model.safetensors", edited(good, edits))


@FUZZ
@given(data=st.binary(max_size=600))
def test_noise_as_file_survives(tmp_path: Path, data: bytes) -> None:
    """A file of anything is called something."""
    assert_survives(tmp_path / "model.pt", data)

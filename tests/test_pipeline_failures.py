"""What a failed export leaves: a message, and the folder as it was."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.exports import (
    exported,
    names_in,
)
from tests.tiny_checkpoints import TinyCheckpoint, write_tiny_checkpoint
from yolor_deploy import pipeline, proof
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.graph import write
from yolor_deploy.measure import parity
from yolor_deploy.measure.parity import Tolerance


@pytest.fixture
def tiny(tmp_path: Path) -> TinyCheckpoint:
    """A checkpoint of a few layers, with its cfg."""
    return write_tiny_checkpoint(tmp_path)


def wrong_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change a weight after folding was proven."""
    real = proof.fold_with_proof

    def broken(*args: Any, **options: Any) -> Any:
        folded, sites, parities = real(*args, **options)
        weight = next(folded.parameters())
        weight.data[0, 0, 0, 0] += 0.5
        return folded, sites, parities

    monkeypatch.setattr(pipeline, "fold_with_proof", broken)


def strict_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow no rounding of raw maps."""
    monkeypatch.setattr(parity, "RAW", Tolerance(0.0, 0.0))


def strict_folding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow no rounding of folding."""
    monkeypatch.setattr(parity, "FOLDING", Tolerance(0.0, 0.0))


@pytest.mark.parametrize(
    ("fault", "stage"),
    [
        pytest.param(wrong_weight, "ONNX, batch 1: raw_", id="weight"),
        pytest.param(strict_raw, "ONNX, batch 1: raw_", id="raw-tolerance"),
        pytest.param(strict_folding, "folded, float64: raw_", id="folding-tolerance"),
    ],
)
def test_failed_proof_leaves_no_file(
    tiny: TinyCheckpoint,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    stage: str,
) -> None:
    """The error names the stage and the output, and the folder is as it was."""
    fault(monkeypatch)

    with pytest.raises(BuildError, match=stage) as error:
        exported(tiny)

    assert "no file was written" in error.value.hint
    assert names_in(tiny.path.parent) == ["tiny.cfg", "tiny.pt"]


def full_disk(*_: object, **__: object) -> None:
    """Fail as a write does on a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_while_writing_is_said_and_leaves_nothing(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how much is free, and the half-written file is gone."""

    def half(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        full_disk()

    monkeypatch.setattr(write, "write_model", half)

    with pytest.raises(ArtifactError, match="cannot write: No space left on device") as error:
        exported(tiny)

    assert "MB are free there" in error.value.hint
    assert names_in(tiny.path.parent) == ["tiny.cfg", "tiny.pt"]


def test_full_disk_while_proving_is_said_and_leaves_nothing(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof works on a copy, which may be what fills the disk."""
    monkeypatch.setattr("shutil.copyfileobj", full_disk)

    with pytest.raises(ArtifactError, match="No space left on device"):
        exported(tiny)

    assert names_in(tiny.path.parent) == ["tiny.cfg", "tiny.pt"]


@pytest.mark.parametrize("stage", ["prove_artifact", "move_into_place", "_save"])
def test_interrupt_leaves_nothing(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Control-C at any stage that writes leaves the folder as it was."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, stage, interrupt)

    with pytest.raises(KeyboardInterrupt):
        exported(tiny)

    assert names_in(tiny.path.parent) == ["tiny.cfg", "tiny.pt"]


def test_file_is_replaced_only_by_a_proven_one(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed export keeps the file of the last good one; a good one replaces it."""
    path = exported(tiny).artifact.path
    first = path.read_bytes()

    with monkeypatch.context() as patch:
        strict_raw(patch)
        with pytest.raises(BuildError):
            exported(tiny, size=(32, 32))
    kept = path.read_bytes()
    exported(tiny, size=(32, 32))

    assert kept == first
    assert Artifact.read(path).meta.spec.input.height == 32
    assert names_in(path.parent) == ["tiny.cfg", "tiny.onnx", "tiny.pt"]

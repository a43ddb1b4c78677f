"""Networks against what the authors' own code computed for the same weights and image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from tests.references import REFERENCES, weights_with_implicit
from yolor_deploy.checkpoint import Checkpoint, read_checkpoint
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.spec import BatchRange, InputSpec
from yolor_deploy.families import cfg_text, family_of
from yolor_deploy.graph.from_module import onnx_from_module
from yolor_deploy.nn.fold import fold

MODELS = sorted(path.stem for path in REFERENCES.glob("*.npz"))
WITH_PREDICTIONS = [name for name in MODELS if "pred" in np.load(REFERENCES / f"{name}.npz").files]


def reference(name: str) -> dict[str, npt.NDArray[np.float32]]:
    """Return the arrays of a reference."""
    with np.load(REFERENCES / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def checkpoint_of(name: str, folder: Path) -> Checkpoint:
    """Read the checkpoint of a reference, with its cfg where it has one."""
    described = REFERENCES / f"{name}.cfg"
    cfg = cfg_text(str(described)) if described.exists() else None
    path = REFERENCES / f"{name}.pt"
    if not path.exists():
        path = weights_with_implicit(folder)
    return read_checkpoint(path, cfg=cfg)


def raw_of(arrays: dict[str, npt.NDArray[np.float32]]) -> list[Tensor]:
    """Return the authors' raw maps in the layout of ours: float [n, anchors * values, h, w]."""
    names = sorted(key for key in arrays if key.startswith("raw"))
    maps = [torch.from_numpy(arrays[name]).permute(0, 1, 4, 2, 3) for name in names]
    return [x.flatten(1, 2) for x in maps]


def assert_near(found: Any, expected: list[Tensor]) -> None:
    """Compare raw maps, level by level."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.float(), theirs, rtol=1e-4, atol=1e-3)


def test_all_containers_and_families_are_among_the_references() -> None:
    """The references are of both families, and five of them have raw maps."""
    assert MODELS == [
        "implicit_zoo",
        "yolor-p6_nc1",
        "yolor_csp_cfg_fp16",
        "yolor_csp_weights",
        "yolov4-p7_mc_legacy",
    ]
    assert MODELS[:3] == WITH_PREDICTIONS


@pytest.mark.parametrize("name", MODELS)
def test_network_gives_the_authors_raw_maps(name: str, tmp_path: Path) -> None:
    """Every level of the network is within 1e-3 + 1e-4 of what the authors' code computed."""
    arrays = reference(name)
    checkpoint = checkpoint_of(name, tmp_path)

    maps = family_of(checkpoint).module(checkpoint)(torch.from_numpy(arrays["image"]))

    assert_near(maps, raw_of(arrays))


@pytest.mark.parametrize("name", MODELS)
def test_folded_network_gives_the_authors_raw_maps(name: str, tmp_path: Path) -> None:
    """Folding changes nothing: the same bound holds behind it, computed in float64."""
    arrays = reference(name)
    checkpoint = checkpoint_of(name, tmp_path)

    folded, sites = fold(family_of(checkpoint).module(checkpoint))

    assert sites
    assert_near(folded(torch.from_numpy(arrays["image"]).double()), raw_of(arrays))


@pytest.mark.parametrize("name", MODELS)
def test_exported_network_gives_the_authors_raw_maps(name: str, tmp_path: Path) -> None:
    """The same bound holds for the float32 ONNX of the folded network, run by ONNX Runtime."""
    arrays = reference(name)
    images = arrays["image"]
    checkpoint = checkpoint_of(name, tmp_path)
    family = family_of(checkpoint)
    rows, _, height, width = images.shape
    size = InputSpec(height, width, BatchRange(rows, rows, rows))
    folded, _ = fold(family.module(checkpoint))

    model = onnx_from_module(folded, replace(family.spec(checkpoint), input=size))

    session = ort.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"images": images})
    assert_near([torch.from_numpy(raw) for raw in found], raw_of(arrays))


@pytest.mark.parametrize("name", WITH_PREDICTIONS)
def test_decoding_gives_the_authors_predictions(name: str, tmp_path: Path) -> None:
    """Boxes are within 0.2 pixels + 1e-4, scores within 1e-3, in the authors' order."""
    arrays = reference(name)
    checkpoint = checkpoint_of(name, tmp_path)
    family = family_of(checkpoint)
    maps = family.module(checkpoint)(torch.from_numpy(arrays["image"]))

    found = predictions_from_raw([x.numpy() for x in maps], family.spec(checkpoint))

    expected = arrays["pred"]
    np.testing.assert_allclose(found[..., :4], expected[..., :4], rtol=1e-4, atol=0.2)
    np.testing.assert_allclose(found[..., 4:], expected[..., 4:], rtol=1e-4, atol=1e-3)

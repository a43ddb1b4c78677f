from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.families.small import small_structure, structured, with_row
from yolor_deploy.checkpoint import Checkpoint
from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError
from yolor_deploy.families import family_of, yaml
from yolor_deploy.families.yaml.network import network_from_plan
from yolor_deploy.families.yaml.plan import plan_from_structure
from yolor_deploy.families.yaml.published import RECIPES, published_structure
from yolor_deploy.nn.layers import HaarTransform, ReOrg
from yolor_deploy.nn.loading import expected_shapes

P5, P6, P7 = (8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64, 128)
RESOLVED = {  # layers, strides, anchors a level
    "yolor-p6": (42, P6, 3),
    "yolor-w6": (42, P6, 3),
    "yolor-e6": (42, P6, 3),
    "yolor-d6": (42, P6, 3),
    "yolor-ssss-s2d": (29, P5, 3),
    "yolor-ssss-dwt": (29, P5, 3),
    "yolov4-csp-yaml": (32, P5, 3),
    "yolov4-p5": (32, P5, 4),
    "yolov4-p6": (43, P6, 4),
    "yolov4-p7": (54, P7, 4),
}


@pytest.fixture
def unpublished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare small models the comparison with every published one."""
    monkeypatch.setattr(yaml, "RECIPES", {})


SMALL = pytest.mark.usefixtures("unpublished")


def meta_checkpoint(name: str, *, num_classes: int) -> Checkpoint:
    """Return a checkpoint with the weights of a published model, without memory for them."""
    plan = plan_from_structure(published_structure(name, num_classes=num_classes), where=name)
    with torch.device("meta"):
        network = network_from_plan(plan)
    shapes = expected_shapes(network)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    return Checkpoint(name="best.pt", sha256=None, container="zip", tensors=tensors)


@pytest.mark.parametrize(
    ("name", "num_classes"),
    [
        *((name, 80) for name in sorted({*RECIPES} - {"yolor-ssss-dwt"})),
        ("yolor-e6", 123),
        ("yolov4-p5", 2),
    ],
)
def test_published_model_is_recognised_by_its_weights(name: str, num_classes: int) -> None:
    """Without a structure, names and shapes of the weights say which published model it is."""
    checkpoint = meta_checkpoint(name, num_classes=num_classes)

    spec = yaml.spec(checkpoint)

    assert family_of(checkpoint) is yaml
    assert spec.variant == name
    assert spec.num_classes == num_classes
    assert (spec.input.height, spec.input.width) == (RECIPES[name].size,) * 2
    assert tuple(level.stride for level in spec.levels) == RESOLVED[name][1]


def test_weights_of_no_published_model_need_a_structure() -> None:
    """Weights alone, of a model that nobody published, are refused."""
    tensors = structured(small_structure()).tensors
    checkpoint = Checkpoint(name="a/best.pt", sha256=None, container="zip", tensors=tensors)

    with pytest.raises(UnsupportedModelError, match="no published model") as error:
        yaml.spec(checkpoint)

    assert error.value.where == "best.pt"


@SMALL
def test_detect_has_no_implicit_vectors() -> None:
    """IDetect has two vectors for each level with drawn values, Detect has none."""
    structure = small_structure()
    plain = with_row(7, [[6, 2], 1, "Detect", ["nc", "anchors"]])

    names = {name for name in structured(structure).tensors if name.endswith("implicit")}

    vectors = {f"model.7.{kind}.{level}.implicit" for kind in ("ia", "im") for level in (0, 1)}
    assert names == vectors
    assert not [name for name in structured(plain).tensors if name.endswith("implicit")]


@SMALL
def test_vectors_of_the_head_shift_and_scale() -> None:
    """The raw map is convolution(x + ia) * im: with an im of 3 and an ia of 1 it follows."""
    checkpoint = structured(small_structure())
    neutral = {
        **checkpoint.tensors,
        "model.7.ia.0.implicit": torch.zeros(1, 8, 1, 1),
        "model.7.im.0.implicit": torch.ones(1, 16, 1, 1),
    }
    used = {
        **neutral,
        "model.7.ia.0.implicit": torch.ones(1, 8, 1, 1),
        "model.7.im.0.implicit": torch.full((1, 16, 1, 1), 3.0),
    }
    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(6))
    before, other = yaml.module(replace(checkpoint, tensors=neutral))(image)

    after, same = yaml.module(replace(checkpoint, tensors=used))(image)

    step = neutral["model.7.m.0.weight"].sum((1, 2, 3)).reshape(1, 16, 1, 1)
    assert before.shape == (1, 16, 8, 12)
    torch.testing.assert_close(after, 3 * (before + step), rtol=1e-4, atol=1e-4)
    assert torch.equal(other, same)


@SMALL
@pytest.mark.parametrize(
    ("classes", "head", "expected"),
    [
        (("torch.nn.SiLU",), "Detect", nn.SiLU),
        (("models.common.Swish",), "Detect", nn.SiLU),
        (("mish_cuda.MishCuda",), "IDetect", nn.Mish),
        (("somewhere.else_.MishCuda", "models.common.Conv"), "IDetect", nn.Mish),
        (("models.common.Mish",), "IDetect", nn.Mish),
        (("torch.nn.LeakyReLU",), "IDetect", nn.LeakyReLU),
        (("models.common.Conv",), "IDetect", nn.SiLU),
        ((), "Detect", nn.Mish),
    ],
)
def test_activation_is_the_pickled_one(
    classes: tuple[str, ...], head: str, expected: type[nn.Module]
) -> None:
    """The activation class counts under any module; without one the kind of head decides."""
    structure = with_row(7, [[6, 2], 1, head, ["nc", "anchors"]])

    network = yaml.module(structured(structure, module_classes=classes))

    assert type(network.get_submodule("model.0.act")) is expected


@SMALL
@pytest.mark.parametrize(
    ("classes", "named"),
    [
        (("torch.nn.SiLU", "torch.nn.LeakyReLU"), "leaky, silu"),
        (("torch.nn.Hardswish",), "Hardswish"),
        (("torch.nn.SiLU", "torch.nn.ReLU"), "silu, ReLU"),
    ],
)
def test_blocks_of_other_activations_are_refused(classes: tuple[str, ...], named: str) -> None:
    """Forks mix activations inside their blocks: which block has which is not known."""
    with pytest.raises(UnsupportedModelError, match=f"the activations {named},") as error:
        yaml.module(structured(small_structure(), module_classes=classes))

    assert error.value.where == "small.pt"


def test_activation_of_a_row_is_not_that_of_the_blocks() -> None:
    """A LeakyReLU that is a row of its own leaves the blocks their SiLU."""
    structure = with_row(1, [-1, 1, "nn.LeakyReLU", [0.25]])
    classes = ("torch.nn.SiLU", "torch.nn.LeakyReLU")

    network = yaml.module(structured(structure, module_classes=classes))

    row = network.get_submodule("model.1")
    assert isinstance(row, nn.LeakyReLU)
    assert row.negative_slope == 0.25
    assert type(network.get_submodule("model.0.act")) is nn.SiLU


def test_strides_of_the_file_must_be_those_of_the_layers() -> None:
    """A file that says 8 and 16 for layers of strides 2 and 4 is refused with both."""
    agreeing = structured(small_structure(), strides=(2.0, 4.0))
    assert [level.stride for level in yaml.spec(agreeing).levels] == [2, 4]

    with pytest.raises(CheckpointError, match=r"\(8.0, 16.0\), its layers give \(2, 4\)") as error:
        yaml.spec(replace(agreeing, strides=(8.0, 16.0)))

    assert error.value.where == "small.pt"


@SMALL
@pytest.mark.parametrize("strides", [(math.nan, 4.0), (2.0, math.inf), (2.0,), ()])
def test_strides_that_are_no_numbers_are_refused(strides: tuple[float, ...]) -> None:
    """Strides that are no finite numbers, or too few, disagree with the layers."""
    with pytest.raises(CheckpointError):
        yaml.spec(structured(small_structure(), strides=strides))


@SMALL
def test_anchors_of_the_weights_come_before_those_of_the_structure() -> None:
    """anchor_grid of the weights counts, as trained; without it the structure's own."""
    described = structured(small_structure())
    grid = torch.arange(8).reshape(2, 1, 2, 1, 1, 2).half() + 100
    trained = replace(described, tensors={**described.tensors, "model.7.anchor_grid": grid})

    assert yaml.spec(described).levels[0].anchors_px == ((4, 5), (6, 7))
    assert yaml.spec(described).levels[1].anchors_px == ((20, 21), (30, 31))
    assert yaml.spec(trained).levels[0].anchors_px == ((100, 101), (102, 103))
    assert yaml.spec(trained).levels[1].anchors_px == ((104, 105), (106, 107))


@SMALL
def test_levels_are_ordered_with_their_anchors() -> None:
    """A head that reads the coarse map first gives the fine level first, with its own anchors."""
    structure = with_row(7, [[2, 6], 1, "IDetect", ["nc", "anchors"]])
    structure["anchors"].reverse()

    checkpoint = structured(structure)
    spec = yaml.spec(checkpoint)
    maps = yaml.module(checkpoint)(torch.rand(1, 3, 16, 24))

    assert [level.stride for level in spec.levels] == [2, 4]
    assert [level.anchors_px[0] for level in spec.levels] == [(4, 5), (20, 21)]
    assert [tuple(x.shape[2:]) for x in maps] == [(8, 12), (4, 6)]


@SMALL
@pytest.mark.parametrize(
    "anchors",
    [[[4, 5, 6, 7]], [[4, 5, 6, 7], [None] * 4], [[4, 5, 6, 7], 8], 2, [[1, 2, 3, 4], "ab"]],
)
def test_anchors_that_do_not_fit_the_levels_are_refused(anchors: Any) -> None:
    """Anchors of another number, or that are no numbers, are refused."""
    structure = {**small_structure(), "anchors": anchors}

    with pytest.raises(CheckpointError, match="anchors"):
        yaml.spec(structured(structure))


@SMALL
def test_names_must_be_as_many_as_the_classes() -> None:
    """Two names for heads of three classes are refused; three are taken as they are."""
    named = structured(small_structure(), class_names=("cat", "dog", "owl"))
    assert yaml.spec(named).class_names == ("cat", "dog", "owl")

    with pytest.raises(CheckpointError, match="2 class names for heads of 3 classes") as error:
        yaml.spec(replace(named, class_names=("cat", "dog")))

    assert "--names" in error.value.hint


@SMALL
def test_wavelets_are_those_whose_taps_the_file_has() -> None:
    """DWT with stored taps is a Haar transform of them; without, as the authors' class, ReOrg."""
    structure = small_structure()
    structure["backbone"][0] = [-1, 1, "DWT", []]
    structure["backbone"].insert(1, [-1, 1, "Conv", [8, 3, 1]])
    structure["backbone"].pop(2)
    plain = structured(structure)
    tap = torch.full((1, 1, 2, 1), 0.70703125)  # 1 / sqrt(2) in half precision
    taps = {"model.0.xfm.h0_col": tap, "model.0.xfm.h1_col": -tap}
    wavelet = replace(plain, tensors={**plain.tensors, **taps})

    without, with_taps = (
        yaml.module(checkpoint).get_submodule("model.0") for checkpoint in (plain, wavelet)
    )

    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    low = image.reshape(1, 3, 4, 2, 4, 2).sum((3, 5)) * 0.70703125**2 / 2
    assert type(without) is ReOrg
    assert type(with_taps) is HaarTransform
    torch.testing.assert_close(with_taps(image)[:, :3], low)


def test_published_wavelet_model_is_told_by_its_taps() -> None:
    """ssss-dwt and ssss-s2d have the same weights; the taps of the filters tell them apart."""
    drawn = yaml.random_checkpoint("yolor-ssss-dwt")
    weights = {name: value for name, value in drawn.tensors.items() if ".xfm." not in name}

    assert yaml.spec(replace(drawn, structure=None)).variant == "yolor-ssss-dwt"
    assert yaml.spec(replace(drawn, structure=None, tensors=weights)).variant == "yolor-ssss-s2d"


@SMALL
@pytest.mark.parametrize(
    "row",
    [
        [-1, 1, "Conv", [8, 100_000, 1]],
        [-1, 1, "Conv", [100_000, 64, 1]],
        [-1, 1, "Focus", [8, 64]],
        [-1, 1, "SPP", [8, [4]]],
        [-1, 1, "SPP", [8, "ab"]],
        [-1, 1, "SPPCSP", [8, []]],
        [-1, 1, "Conv", [8, "three"]],
        [-1, 1, "Conv", [8, 3, 1, None, 1.5]],
        [-1, 1, "nn.Conv2d", [8, math.nan]],
        [-1, 1, "nn.Conv2d", [8]],
    ],
)
def test_arguments_that_build_no_block_are_refused(row: Any) -> None:
    """Arguments that only the network reads are checked as well; the layer is named."""
    checkpoint = structured(small_structure())
    wrong = replace(checkpoint, structure=with_row(1, row))

    with pytest.raises(CheckpointError) as error:
        yaml.module(wrong)

    assert error.value.where.startswith("small.pt")


@SMALL
def test_empty_filter_is_refused() -> None:
    """A wavelet filter without values is damage; the tensor is named."""
    checkpoint = structured(small_structure())
    tensors = {**checkpoint.tensors, "model.0.xfm.h0_col": torch.empty(0)}

    with pytest.raises(CheckpointError, match=r"model\.0\.xfm\.h0_col") as error:
        yaml.module(replace(checkpoint, tensors=tensors))

    assert error.value.where == "small.pt"

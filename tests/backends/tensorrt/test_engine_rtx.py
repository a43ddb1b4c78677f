"""The real runtime of TensorRT-RTX on damaged plans: it reads their headers without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cuda.host_device import HostDevice
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from yolor_deploy.backends.tensorrt import require_module
from yolor_deploy.backends.tensorrt.build import build_engine
from yolor_deploy.backends.tensorrt.engine import Engine
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.backends.tensorrt.peak import PeakLoad, PeakPrecision, chain_plan
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.cuda.driver import gpus

pytestmark = pytest.mark.tensorrt_rtx


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a plan for a GPU that is not here."""
    folder = tmp_path_factory.mktemp("engine")
    model = written_artifact(folder / "model.onnx", tiny_spec())
    (folder / "out").mkdir()
    options = EngineOptions(compute_capabilities=("8.6",))
    built = build_engine(
        model, folder / "out", "model.engine", flavour="tensorrt_rtx", options=options
    )
    return Path(built.artifact.path).read_bytes()


def opened(plan: bytes) -> Engine:
    """Load a plan as a session does."""
    module, device = require_module("tensorrt_rtx"), HostDevice()
    return Engine(module, "tensorrt_rtx", plan, where="model.engine", device=device)


@pytest.mark.parametrize(
    ("begin", "end", "problem", "hint"),
    [
        pytest.param(b"", -100, "blobSize failed", "compare its sha256", id="cut"),
        pytest.param(
            b"ftrt", None, "incompatible serialization version", "run it with", id="flavour"
        ),
        pytest.param(b"", 0, "empty memory buffer", "error of the build", id="empty"),
    ],
)
def test_damaged_plans_are_refused_with_what_helps(
    plan: bytes, begin: bytes, end: int | None, problem: str, hint: str
) -> None:
    """The recorder's first error is told, and the catalogue's remedy."""
    damaged = (begin + plan[len(begin) :])[:end]

    with pytest.raises(ArtifactError, match=problem) as caught:
        opened(damaged)

    assert "TensorRT-RTX 1." in caught.value.problem
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "precision", [PeakPrecision("fp16", tf32=False), PeakPrecision("fp32", tf32=True)]
)
def test_chain_of_products_is_built_for_a_gpu(precision: PeakPrecision) -> None:
    """The network that a peak is measured with is one that TensorRT takes."""
    device = HostDevice()
    device.compute_capability = "8.6"

    built = chain_plan("tensorrt_rtx", device, precision, PeakLoad(side=256, links=3))

    assert len(built) > 256 * 256  # the weights are in it


@pytest.mark.skipif(gpus().problem is None, reason="there is a GPU")
def test_whole_plan_without_a_gpu_is_told_as_such(plan: bytes) -> None:
    """What CUDA says is the only error here, and it is not hidden."""
    with pytest.raises(ArtifactError, match="cudaError 35") as caught:
        opened(plan)

    assert "without a GPU" in caught.value.hint

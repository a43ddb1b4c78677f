"""ONNX Runtime on a GPU: built for it, and able to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from yolor_deploy.backends.onnxruntime import cuda
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import YolorDeployError
from yolor_deploy.cuda.driver import Driver
from yolor_deploy.doctor.finding import Finding

_AREA, _NAME = "GPU", "ONNX Runtime on CUDA"
_USE = "models on a GPU without TensorRT: --device cuda"


def examine_cuda_provider(driver: Driver) -> list[Finding]:
    """Look for the provider, and try it on the first GPU: the list of providers proves nothing.

    Args:
        driver: What the driver said.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - slow to load
    except Exception:  # noqa: BLE001 - told among the packages
        return []
    if cuda.PROVIDER not in onnxruntime.get_available_providers():
        detail = f"{onnxruntime.__version__} is built without it"
        return [Finding(_AREA, _NAME, "missing", detail, _USE, cuda.INSTALL)]
    if not driver.gpus:
        return [Finding(_AREA, _NAME, "missing", "built in, and there is no GPU", _USE)]
    try:
        _run_one_node(RuntimeDevice("cuda"))
    except YolorDeployError as error:
        return [Finding(_AREA, _NAME, "broken", error.problem, _USE, error.hint)]
    detail = f"{onnxruntime.__version__}, tried on {driver.gpus[0].name}"
    return [Finding(_AREA, _NAME, "ok", detail, _USE)]


def _run_one_node(device: RuntimeDevice) -> None:
    """Convolve one pixel on a GPU: cuDNN, which convolutions need, is loaded by them alone.

    Raises:
        BackendUnavailableError: ONNX Runtime took the CPU instead.
        RunError: The GPU, or cuDNN, failed.
    """
    import numpy as np  # noqa: PLC0415 - told among the packages if missing
    from onnx import TensorProto, helper, save  # noqa: PLC0415 - the same

    sides = [1, 1, 1, 1]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, sides) for n in ("x", "w", "y")]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "one", values[:2], values[2:]
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    with tempfile.TemporaryDirectory(prefix="yolor-deploy-") as folder:
        path = Path(folder) / "one-convolution.onnx"
        save(model, path)
        session = cuda.session_on_gpu(path, device, threads=1)
        ones = np.ones(sides, np.float32)
        cuda.run_on_gpu(session, ["y"], {"x": ones, "w": ones}, where=device.name)

"""Messages of TensorRT as they were logged, with the key that each must be found by.

``messages.tsv`` and ``logs`` hold the texts alone, as they came: of public threads, of the
libraries themselves, and of TensorRT-RTX on a machine without a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent


class Message(NamedTuple):
    """One line, by the key of its entry and where it was seen."""

    key: str
    origin: str
    text: str


def messages() -> list[Message]:
    """Return every recorded line."""
    rows = (_HERE / "messages.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [Message(*row.split("\t")) for row in rows]


def log(name: str) -> str:
    """Return a recorded log of several lines."""
    return (_HERE / "logs" / f"{name}.txt").read_text(encoding="utf-8")


NOTHING_WRONG = (
    "[01/01/2025-10:00:00] [I] TensorRT version: 10.8.0",
    "[01/01/2025-10:00:00] [I] Loading standard plugins",
    "[V] [TRT] Registered plugin creator - ::EfficientNMS_TRT version 1",
    "[I] [TRT] [MemUsageChange] Init CUDA: CPU +2, GPU +0, now: CPU 22427, GPU 1063 (MiB)",
    "[I] [TRT] ----------------------------------------------------------------",
    "[I] [TRT] Input filename:   yolor-p6.onnx",
    "[I] [TRT] Opset version:    17",
    "[I] Finished parsing network model. Parse time: 0.187905",
    "[I] [TRT] No importer registered for op: YolorNMS. Attempting to import as plugin.",
    "[I] [TRT] Searching for plugin: YolorNMS, plugin_version: 1, plugin_namespace: ",
    "[I] [TRT] Successfully created plugin: YolorNMS",
    "[V] [TRT] Parsing node: /model/TopK [TopK]",
    "[V] [TRT] *************** Autotuning format combination: Int8(6400,32:4,40,1) -> Float(1) ***",
    "[V] [TRT] Tactic: 0x1d53511430a5d47e Time: 0.00649725",
    "[V] [TRT] Skipping CaskConvolution: No valid tactics for /model/Conv",
    "[I] Local timing cache in use. Profiling results in this builder pass will not be stored.",
    "[I] [TRT] Global timing cache in use. Profiling results in this builder pass will be stored.",
    "[I] [TRT] Detected 1 inputs and 4 output network tensors.",
    "[I] [TRT] Total Activation Memory: 53452800",
    "[V] [TRT] CUDA lazy loading is enabled.",
    "[I] [TRT] Loaded engine size: 17 MiB",
    "[I] [TRT] [MS] Running engine with multi stream info",
    "[I] Workspace: 16 MiB",
    "&&&& PASSED TensorRT.trtexec [TensorRT v8601] # trtexec --onnx=yolor-p6.onnx --fp16",
    "INFO: fold_implicit: 3 heads, 0.02 s",
    "WARNING: 2 of 180 tensors may leave the range of half precision",
    "error: 'sm_42' is not one of 8.0, 8.6",
    "wrote yolor-p6.engine (fp16 for tensorrt, 74.1 MB) in 312.8 s",
    "",
)
"""Lines of a build that went well, and of ours."""

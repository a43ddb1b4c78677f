"""Messages of the ONNX parser, and of trtexec about the model that it was given."""

from __future__ import annotations

import re

from yolor_deploy.backends.tensorrt.catalogue.entry import SEEN_IN_RTX, Entry

_EXPORT = "`yolor-deploy export`"

PARSING = (
    Entry(
        key="operator-unknown",
        severity="error",
        marks=("No importer registered for op: ",),
        # With "Attempting to import as plugin" it is no failure: a plugin may have that name
        pattern=re.compile(
            r"No importer registered for op: (?P<operator>[\w:]{1,100})\b(?!\.? ?Attempting)"
        ),
        cause="this version of TensorRT has no operator {operator}",
        remedy=f"use a newer TensorRT, or a model that {_EXPORT} wrote",
        known="5 to 8.6",
        source="CaoWGG/TensorRT-CenterNet#81",
    ),
    Entry(
        key="operator-is-no-plugin",
        severity="error",
        marks=("Plugin not found, are the plugin name",),
        pattern=re.compile(r"Plugin not found, are the plugin name, version, and namespace"),
        cause="the model has an operator that is neither of the parser nor a registered plugin; "
        "`While parsing node` before it names the node",
        remedy="for YolorNMS build with `yolor-deploy build MODEL --backend tensorrt`, and with "
        "`--nms kernels` where plugins cannot be loaded; for any other operator use a newer "
        "TensorRT",
        known="7 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="plugin-of-operator-missing",
        severity="error",
        marks=("was not found in plugin registry",),
        pattern=re.compile(
            r"(?P<operator>\w{1,100}) plugin creator version \S{1,20} was not found in plugin "
            r"registry"
        ),
        cause="TensorRT-RTX has no {operator}: it would need a plugin, and RTX has none",
        remedy="build with `--nms kernels`, which leaves NMS out of the engine",
        known="RTX 1.7",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="types-differ",
        severity="error",
        marks=("must be of same type",),
        pattern=re.compile(
            r"`input` and `kernel` must be of same type\. `input` type is (?P<input>\w{1,20}) but "
            r"`kernel` is of type (?P<kernel>\w{1,20})"
        ),
        cause="a convolution has an input of type {input} and weights of type {kernel}",
        remedy="convert the whole model, not its weights alone: `yolor-deploy build MODEL --fp16`",
        known="10, 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="zero-point",
        severity="error",
        marks=("shiftIsAllZeros", "only supports symmetric quantization"),
        pattern=re.compile(r"shiftIsAllZeros\(|only supports symmetric quantization"),
        cause="the model is quantised with a zero point that is not 0; TensorRT takes symmetric "
        "quantisation only",
        remedy="quantise the float model for it: "
        "`yolor-deploy build MODEL --backend tensorrt --int8`",
        known="8 to 11, RTX",
        source="NVIDIA/TensorRT#2774",
    ),
    Entry(
        key="number-of-scales",
        severity="error",
        marks=("number of scales is not equal",),
        pattern=re.compile(
            r"number of scales is not equal to the number of output channels\..{0,60}? = "
            r"(?P<channels>\d+), number of scales = (?P<scales>\d+)"
        ),
        cause="weights of {channels} output channels are quantised with {scales} scales",
        remedy="quantise along the axis of the output channels (0 of a convolution's weights): "
        "`yolor-deploy build MODEL --backend tensorrt --int8`",
        known="10, 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="scale-not-positive",
        severity="error",
        marks=("Scale coefficients must all be positive",),
        pattern=re.compile(r"Scale coefficients must all be positive"),
        cause="a scale of the quantisation is 0, negative or NaN",
        remedy="calibrate again, on real images: `yolor-deploy build MODEL --int8 --calibration "
        "IMAGES`",
        known="8 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="implicit-batch",
        severity="error",
        marks=("hasImplicitBatchDimension", "with an explicit batch dimension"),
        pattern=re.compile(r"hasImplicitBatchDimension\(\)|with an explicit batch dimension"),
        cause="the program made a network with an implicit batch, which the ONNX parser does not "
        "take",
        remedy="make the network with the flag EXPLICIT_BATCH, or build with `yolor-deploy build "
        "MODEL --backend tensorrt`",
        known="6 to 8.6",
        source="zerollzeng/tiny-tensorrt#6",
    ),
    Entry(
        key="topk-limit",
        severity="error",
        marks=("K exceeds the maximum value allowed",),
        pattern=re.compile(r"K exceeds the maximum value allowed \((?P<most>\d+)\)"),
        cause="a TopK of the model takes more than {most} values, and TensorRT takes no more",
        remedy="export again with fewer candidates (`yolor-deploy export --max-candidates "
        "{most}`), or build with `--nms kernels`, which has no such limit",
        known="8 to 11, RTX",
        source="NVIDIA/TensorRT#4244",
    ),
    Entry(
        key="topk-of-a-variable",
        severity="error",
        marks=("only supports input K as an initializer",),
        pattern=re.compile(r"only supports input K as an initializer"),
        cause="a TopK of the model takes a number of values that is only known when it runs",
        remedy=f"export the model with {_EXPORT}, whose numbers are fixed, or build with "
        "`--nms kernels`",
        known="7 to 8.6",
        source="NVIDIA/TensorRT#2721",
    ),
    Entry(
        key="shapes-do-not-fit",
        severity="error",
        marks=(
            *("reshape changes volume", "broadcast dimensions must be conformable"),
            *("all concat input tensors must have the same dimensions", "but must match"),
            "Kernel weight dimension failed to broadcast to input",
        ),
        pattern=re.compile(
            r"reshape changes volume|broadcast dimensions must be conformable"
            r"|all concat input tensors must have the same dimensions"
            r"|second to last dimension of input1 = \d+ but must match"
            r"|Kernel weight dimension failed to broadcast to input"
        ),
        cause="shapes inside the model do not fit each other: mostly an input size that the model "
        "was not exported for",
        remedy="give the size that `yolor-deploy info MODEL` tells, or export again with `--size`",
        known="8 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="model-unreadable",
        severity="error",
        marks=("Failed to parse the ONNX model",),
        pattern=re.compile(r"Failed to parse the ONNX model"),
        cause="the file is no ONNX model, or is incomplete",
        remedy="check it with `yolor-deploy info MODEL`; export it again if it is damaged",
        known="7 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="model-missing",
        severity="error",
        marks=("Input file cannot be found", "Could not open file "),
        pattern=re.compile(
            r"(?:Input file cannot be found, or is not a regular file:|Could not open file) "
            r"(?P<path>\S{1,200})"
        ),
        cause="there is no model file {path}",
        remedy="correct the path; in a container the folder must be mounted",
        known="5 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="weights-file",
        severity="error",
        marks=(
            *("Failed to open file: ", "out of range for file: "),
            "Failed to read weights from external file: ",
        ),
        pattern=re.compile(
            r"(?:WeightsContext\.cpp:\d+: Failed to open file"
            r"|external weights offset/length out of range for file"
            r"|Failed to read weights from external file): (?P<path>\S{1,200})"
        ),
        cause="the model keeps its weights in file {path}, which is missing or too short",
        remedy="put that file beside the model, with the name that it had at the export",
        known="7 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="operator-set-too-old",
        severity="warning",
        marks=("ONNX graphs generated with at least opset",),
        pattern=re.compile(r"supports ONNX graphs generated with at least opset (?P<opset>\d+)"),
        cause="the model is of an operator set before {opset}, whose meaning may be taken wrongly",
        remedy=f"export it again with {_EXPORT}",
        known="7 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="shape-overridden",
        severity="warning",
        marks=("Automatically overriding shape to: ",),
        pattern=re.compile(
            r"Dynamic dimensions required for input: (?P<input>\S{1,100}), but no shapes were "
            r"provided\. Automatically overriding shape to: (?P<shape>[\dx]{1,60})"
        ),
        cause="trtexec was given no shape for input {input}, and fixed it to {shape}",
        remedy="give --minShapes, --optShapes and --maxShapes, or build with `yolor-deploy build "
        "MODEL --backend tensorrt --profile ...`",
        known="7 to 11",
        source="NVIDIA/TensorRT#1111",
    ),
    Entry(
        key="double-weights",
        severity="warning",
        marks=("generated with double-typed weights",),
        pattern=re.compile(r"generated with double-typed weights"),
        cause="the model has weights of 64-bit floats, which are rounded to 32 bits",
        remedy=f"nothing, if the results are right; else export it again with {_EXPORT}",
        known="7 to 8.6",
        source="text of libnvonnxparser 8.6",
    ),
    Entry(
        key="int64-weights",
        severity="harmless",
        marks=("generated with INT64 weights",),
        pattern=re.compile(r"generated with INT64 weights, while TensorRT does not natively"),
        cause="indices and shapes of the model are 64-bit integers, and are kept in 32 bits",
        remedy="nothing: it says so of every model with such constants",
        known="6 to 9",
        source="NVIDIA/TensorRT#2756",
    ),
    Entry(
        key="int64-clamped",
        severity="harmless",
        marks=("weights outside the range of INT32 was clamped",),
        pattern=re.compile(r"weights outside the range of INT32 was clamped"),
        cause="`to the end` in a Slice is written as the largest 64-bit integer, and was made the "
        "largest of 32 bits",
        remedy="nothing: it means the same",
        known="7 to 9",
        source="NVIDIA/TensorRT#2756",
    ),
    Entry(
        key="int64-binding",
        severity="harmless",
        marks=(" has Int64 binding",),
        pattern=re.compile(r"Make sure (?:input|output) (?P<tensor>\S{1,100}) has Int64 binding"),
        cause="{tensor} has 64-bit integers, where versions before 10 had 32 bits",
        remedy="nothing, if the program takes the type that the engine tells",
        known="10, 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="trtexec-gave-up",
        severity="error",
        marks=(
            *("Failed to parse onnx file", "Parsing model failed", "Engine set up failed"),
            *("Engine creation failed", "Failed to create engine from model"),
            *("Engine could not be created from network", "Building engine failed"),
        ),
        pattern=re.compile(
            r"\[E\] (?:Failed to parse onnx file|Parsing model failed|Engine set up failed"
            r"|Engine creation failed|Failed to create engine from model"
            r"|Engine could not be created from network|Building engine failed)"
        ),
        cause="trtexec ended without an engine",
        remedy="look for the first line with [E], which tells why",
        known="7 to 11",
        source="onnx/onnx-tensorrt#800",
        follows=True,
    ),
)

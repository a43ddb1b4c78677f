"""Messages of the builder: memory, tactics, optimization profiles, types, caches."""

from __future__ import annotations

import re

from yolor_deploy.backends.tensorrt.catalogue.entry import SEEN_IN_RTX, Entry

_BUILD = "`yolor-deploy build MODEL --backend tensorrt`"
_FREE = "close what uses the GPU (`nvidia-smi` lists it)"
_NO_TACTIC = ("no-implementation", "no-implementation-in-workspace")

BUILDING = (
    Entry(
        key="no-profile",
        severity="error",
        marks=("no optimization profile has been defined",),
        pattern=re.compile(r"dynamic or shape inputs, but no optimization profile has been"),
        cause="an input of the model varies in size, and the build was not told in which range",
        remedy="build with `yolor-deploy build MODEL --backend tensorrt --profile ...`; with "
        "trtexec give --minShapes, --optShapes and --maxShapes",
        known="7 to 11, RTX",
        source="NVIDIA/TensorRT#768",
    ),
    Entry(
        key="profile-not-ordered",
        severity="error",
        marks=("optimization profiles satisfy MIN<=OPT<=MAX",),
        pattern=re.compile(
            r"Invalid optimization profiles for input tensors (?P<tensor>\S{1,99}),"
        ),
        cause="the profile of input {tensor} is not in the order smallest, best, largest",
        remedy="give `--profile` in that order",
        known="10, 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="profile-against-model",
        severity="error",
        marks=(
            *("does not match network definition (got min=", ", profile has min="),
            *("dimensions but profile ", "number of dimensions is "),
        ),
        pattern=re.compile(
            r"in profile \d+ does not match network definition"
            r"|and profile \d+\. At dimension axis \d+, profile has min="
            r"|has \d+ dimensions but profile \d+ has \d+"
            r"|number of dimensions is \d+ but profile \d+ has \d+"
        ),
        cause="the profile asks for a size that is fixed in the model, or has another number of "
        "dimensions",
        remedy="change the batch alone, or export the model for the size that is wanted: "
        "`yolor-deploy export --size HxW --batch MIN:OPT:MAX`",
        known="7 to 11, RTX",
        source="NVIDIA/TensorRT#939",
    ),
    Entry(
        key="profile-without-input",
        severity="error",
        marks=("is missing dimensions in profile",),
        pattern=re.compile(r"(?:dynamic input|tensor \S{1,100}) is missing dimensions in profile"),
        cause="the profile says nothing of an input whose size varies",
        remedy="name every such input in the profile, with the name that the model gives it",
        known="7 to 11",
        source="NVIDIA/TensorRT#939",
    ),
    Entry(
        key="gpu-memory-short",
        severity="warning",
        marks=("could not be allocated",),
        pattern=re.compile(
            r"Requested amount of (?:GPU )?memory \((?P<bytes>\d{1,20}) bytes\) could not be "
            r"allocated"
        ),
        cause="{bytes} of GPU memory were asked for at once, and are not free",
        remedy=f"{_FREE}, or build with a smaller `--workspace` or a smaller batch in `--profile`",
        known="7 to 11",
        source="NVIDIA/TensorRT#4258",
        explains=(*_NO_TACTIC, "gpu-out-of-memory"),
    ),
    Entry(
        key="tactic-out-of-memory",
        severity="warning",
        marks=("is insufficient to use tactic", "icient memory on requested", "allocator error"),
        pattern=re.compile(
            r"Device memory is insufficient to use tactic"
            r"|due to insuff?icient memory on requested size"
            r"|[Uu]ser allocator error allocating \d"
        ),
        cause="a tactic asked for more memory than was free, and was left out: the engine may be "
        "slower",
        remedy=f"{_FREE}, or build with a smaller `--workspace`",
        known="8 to 11",
        source="ultralytics/ultralytics#22271",
        explains=_NO_TACTIC,
    ),
    Entry(
        key="tactic-left-out",
        severity="warning",
        marks=("kipping tactic",),
        pattern=re.compile(
            r"[Ss]kipping tactic ?\S{1,40} due to (?:exception|Myelin error:) (?P<reason>.{1,80})"
        ),
        cause="a tactic failed here and was left out, which matters only where none is left "
        "({reason})",
        remedy="nothing, if the engine was built; else use a newer TensorRT",
        known="8 to 11",
        source="microsoft/onnxruntime#22164",
        explains=_NO_TACTIC,
    ),
    Entry(
        key="no-implementation-in-workspace",
        severity="error",
        marks=("due to insufficient workspace", "within workspace limit"),
        pattern=re.compile(
            r"due to insufficient workspace\. See verbose log"
            r"|no tactics to implement the operation within workspace limit"
        ),
        cause="every way to compute a layer needs more scratch memory than the builder may use",
        remedy="build with a larger `--workspace`, or a smaller batch in `--profile`",
        known="8.6 to 11, RTX",
        source="text of libnvinfer 8.6",
    ),
    Entry(
        key="no-implementation",
        severity="error",
        marks=("ould not find any implementation for node",),
        pattern=re.compile(
            r"[Cc]ould not find any implementation for node "
            r"(?P<node>.{1,200}?)(?=\.\)|\.$|, try |$)"
        ),
        cause="no way to compute {node} was left: mostly memory is short, seldom the layer is not "
        "supported",
        remedy=f"look for memory warnings before it; {_FREE}; build with another `--workspace` or "
        "a smaller batch in `--profile`; else use a newer TensorRT",
        known="5 to 11",
        source="NVIDIA/TensorRT#4258",
    ),
    Entry(
        key="plugin-out-of-workspace",
        severity="error",
        marks=("bytes of scratch space, but only",),
        pattern=re.compile(
            r"plugin node (?P<node>.{1,200}?) ?requires (?P<asked>\d{1,20}) bytes of scratch "
            r"space, but only (?P<free>\d{1,20}) is available"
        ),
        cause="plugin layer {node} needs {asked} bytes of scratch memory, and may use {free}",
        remedy="build with a larger `--workspace`, or a smaller batch in `--profile`",
        known="7 to 11",
        source="PaddlePaddle/PaddleDetection#7674",
    ),
    Entry(
        key="workspace-small",
        severity="warning",
        marks=("do not have sufficient workspace memory",),
        pattern=re.compile(r"Some tactics do not have sufficient workspace memory to run"),
        cause="some tactics need more scratch memory than the builder may use, and were not tried",
        remedy="build with a larger `--workspace`, if the GPU has it: the engine may be faster",
        known="7 to 8.6",
        source="wang-xinyu/tensorrtx#855",
        explains=("no-implementation",),
    ),
    Entry(
        key="layer-without-runner",
        severity="error",
        marks=("has no runners that implement it",),
        pattern=re.compile(r"(?P<layer>\S{1,100}) has no runners that implement it"),
        cause="TensorRT-RTX cannot compute layer {layer}",
        remedy="for NMS build with `--nms kernels`, which leaves it out of the engine",
        known="RTX 1.7",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="type-not-of-target",
        severity="error",
        marks=("contains HW-specific datatypes",),
        pattern=re.compile(
            r"Cannot compile for target\(s\) (?P<targets>[\w, ]{1,80}), because the model contains "
            r"HW-specific datatypes: (?P<types>\w[\w, ]{0,79})"
        ),
        cause="{targets} cannot compute in {types}; one such target fails the whole build",
        remedy="build for newer GPUs only, or in another precision: --fp16 runs on all of them",
        known="RTX 1.7",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="type-not-of-gpu",
        severity="error",
        marks=("layers require hardware with", "precision require hardware with"),
        pattern=re.compile(r"require hardware with (?P<type>FP8|Int8|INT8|FP4|BF16) support"),
        cause="this GPU cannot compute in {type}",
        remedy="build in another precision: FP8 needs compute capability 8.9, --int8 or --fp16 do "
        "not",
        known="8 to 10",
        source="NVIDIA/TensorRT-LLM#1428",
    ),
    Entry(
        key="type-slow-on-gpu",
        severity="warning",
        marks=("support requested on hardware without native",),
        pattern=re.compile(
            r"(?P<type>Half2|Int8) support requested on hardware without native \w{1,10} support"
        ),
        cause="this GPU computes in {type} more slowly than in single precision",
        remedy="build with --fp32",
        known="5 to 8.6",
        source="linghu8812/tensorrt_inference#117",
    ),
    Entry(
        key="gpu-newer-than-tensorrt",
        severity="error",
        marks=("Unsupported SM: ",),
        pattern=re.compile(r"Unsupported SM: 0x(?P<major>[0-9a-f]{1,2})0(?P<minor>[0-9a-f])\b"),
        cause="the GPU, of compute capability {major}.{minor}, came after this TensorRT",
        remedy="use a newer TensorRT",
        known="7, 8",
        source="wang-xinyu/tensorrtx#1610",
    ),
    Entry(
        key="no-calibrator",
        severity="warning",
        marks=("Calibrator is not being used",),
        pattern=re.compile(r"Calibrator is not being used\. Users must provide dynamic range"),
        cause="8 bits were asked for without ranges: layers without quantisation nodes stay float",
        remedy=f"nothing for a model of {_BUILD} --int8, whose ranges are in the graph; any other "
        "model needs them",
        known="7 to 10",
        source="OpenPPL/ppq#469",
    ),
    Entry(
        key="calibration-failed",
        severity="error",
        marks=("no scaling factors detected",),
        pattern=re.compile(r"Calibration failure occurred with no scaling factors detected"),
        cause="8 bits were asked for, and the program gave neither ranges nor a calibrator",
        remedy=f"put the ranges into the graph: {_BUILD} --int8 --calibration IMAGES",
        known="7 to 8.6",
        source="text of libnvinfer 8.6",
    ),
    Entry(
        key="precision-flag-gone",
        severity="error",
        marks=("has no attribute '",),
        pattern=re.compile(
            r"BuilderFlag' has no attribute '(?P<flag>FP16|BF16|INT8|FP8|INT4|FP4)'"
        ),
        cause="the program sets {flag} as a flag, which TensorRT 11 and TensorRT-RTX do not have: "
        "they take the types of the model",
        remedy=f"convert the model instead ({_BUILD} --fp16), or install `tensorrt<11`",
        known="11, RTX",
        source="yuvraj108c/ComfyUI-Rife-Tensorrt#25",
    ),
    Entry(
        key="name-gone",
        severity="error",
        marks=("has no attribute '",),
        pattern=re.compile(
            r"'tensorrt[\w.]{0,60}\.(?P<type>\w{1,60})' (?:object )?has no attribute "
            r"'(?P<name>\w{1,60})'"
        ),
        cause="the installed TensorRT has no {type}.{name}: the program is for another version",
        remedy="install the version that the program is for, or a newer program",
        known="8 to 11, RTX",
        source="triple-mu/YOLOv8-TensorRT#226",
    ),
    Entry(
        key="flag-of-typed-network",
        severity="error",
        marks=("!config.getFlag(BuilderFlag::k",),
        pattern=re.compile(r"!config\.getFlag\(BuilderFlag::k(?P<flag>[A-Z]{2,4}\d{1,2})\)"),
        cause="{flag} was set as a flag of a strongly typed network, which takes the types of the "
        "model",
        remedy=f"leave out the flag, and convert the model: {_BUILD} --fp16",
        known="10, RTX 1.0",
        source="NVIDIA/TensorRT#4253",
    ),
    Entry(
        key="weights-lost-in-half",
        severity="warning",
        marks=("converting weights between types and that", "Subnormal FP16 values detected"),
        pattern=re.compile(
            r"converting weights between types and that could affect accuracy"
            r"|Subnormal FP16 values detected"
        ),
        cause="some weights are too small for half precision and were rounded, mostly to no effect",
        remedy="compare the engine with the model: `yolor-deploy diff`; `build --fp16` tells which "
        "tensors leave the range",
        known="8.4 to 10",
        source="NVIDIA/TensorRT#4022",
    ),
    Entry(
        key="timing-cache-unusable",
        severity="warning",
        marks=("nvalid timing cache", "Timing cache header mismatch", "timing cache will not be"),
        pattern=re.compile(
            r"[Ii]nvalid timing cache|Timing cache header mismatch|timing cache will not be used"
        ),
        cause="the timing cache is of another GPU or version, or damaged: all tactics are timed "
        "anew",
        remedy="delete the cache file, or give a new one",
        known="7 to 11",
        source="NVIDIA/TensorRT#3566",
    ),
    Entry(
        key="lean-library-missing",
        severity="error",
        marks=("Unable to load library: libnvinfer_lean",),
        pattern=re.compile(r"Unable to load library: (?P<library>libnvinfer_lean[\w.]{0,20}\w)"),
        cause="a version-compatible plan carries a small runtime, {library}, which is not here",
        remedy="install TensorRT's lean runtime, or build without version compatibility",
        known="8.6 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="dla-fallback",
        severity="warning",
        marks=("on DLA, falling back to GPU", "Unsupported on DLA. Switching"),
        pattern=re.compile(
            r"is not (?:supported|running) on DLA, falling back to GPU"
            r"|Unsupported on DLA\. Switching this layer's device type to GPU"
        ),
        cause="Jetson's accelerator (DLA) cannot compute a layer, which runs on the GPU instead",
        remedy="build for the GPU: YOLOR's activations and its head are not of the DLA, and every "
        "change between them costs time",
        known="5 to 10",
        source="marcoslucianops/DeepStream-Yolo#27",
    ),
    Entry(
        key="refit-without-gpu",
        severity="error",
        marks=("MyelinCheckException: graph_jit.cpp",),
        pattern=re.compile(
            r"MyelinCheckException: graph_jit\.cpp:\d+: CHECK\(status == CUDA_SUCCESS\)"
        ),
        cause="engines whose weights can be exchanged (REFIT, STRIP_PLAN) cannot be built without "
        "a GPU",
        remedy="build without these flags, or on a machine with a GPU",
        known="RTX 1.7",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="compiler-failed",
        severity="error",
        marks=("MyelinCheckException", "Myelin Error in ", "Error Code 1: Myelin ("),
        pattern=re.compile(
            r"MyelinCheckException: (?P<where>\S{1,60})|Myelin Error in \w|Error Code 1: Myelin \("
        ),
        cause="the compiler inside TensorRT failed at a part of the model, which is its fault",
        remedy="use a newer TensorRT; until then `yolor-deploy build MODEL --backend tensorrt "
        "--nms kernels`, or another precision, may go another way",
        known="7 to 11, RTX",
        source="NVIDIA/TensorRT#4468",
    ),
    Entry(
        key="empty-network",
        severity="error",
        marks=("Network must have at least one output",),
        pattern=re.compile(r"Network must have at least one output"),
        cause="the network is empty: the parser failed, and the program went on",
        remedy="look for the parser's error before it",
        known="7 to 11, RTX",
        source="NVIDIA/TensorRT#286",
        follows=True,
    ),
)

"""Messages of a plan that is loaded: another version, another GPU, damage, a missing plugin."""

from __future__ import annotations

import re

from yolor_deploy.backends.tensorrt.catalogue.entry import SEEN_IN_RTX, Entry

_REBUILD = (
    "build it again with the TensorRT that runs it: `yolor-deploy build MODEL --backend tensorrt`"
)

LOADING = (
    Entry(
        key="plan-of-another-version",
        severity="error",
        marks=("expecting library version",),
        pattern=re.compile(
            r"expecting library version (?P<runtime>\d+(?:\.\d+){0,3}) "
            r"got (?P<built>\d+(?:\.\d+){0,3})"
        ),
        cause="TensorRT {built} built the plan, and TensorRT {runtime} is to run it",
        remedy=f"{_REBUILD}; Python and C++ may have found two installations",
        known="5 to 11",
        source="marcoslucianops/DeepStream-Yolo#77",
    ),
    Entry(
        key="plan-of-another-serialization",
        severity="error",
        marks=("Version tag does not match",),
        pattern=re.compile(r"Version tag does not match"),
        cause="another version of TensorRT built the plan",
        remedy=f"{_REBUILD}; Python and C++ may have found two installations",
        known="6 to 11",
        source="NVIDIA/TensorRT#2072",
    ),
    Entry(
        key="plan-newer-than-runtime",
        severity="error",
        marks=("old deserialization call on a newer plan",),
        pattern=re.compile(r"old deserialization call on a newer plan file"),
        cause="the plan is of a newer TensorRT than the one that is to run it",
        remedy=_REBUILD,
        known="10.16, 11.4",
        source="text of libnvinfer_lean 11.4",
    ),
    Entry(
        key="engine-of-another-rtx",
        severity="error",
        marks=("engine has been created with TensorRT-RTX version",),
        pattern=re.compile(r"engine has been created with TensorRT-RTX version"),
        cause="another version of TensorRT-RTX built the engine, and each reads only its own",
        remedy="build it again with the version that runs it",
        known="RTX 1.7",
        source="text of libtensorrt_rtx 1.7",
    ),
    Entry(
        key="plan-of-the-other-runtime",
        severity="error",
        marks=("1953657958 != 1953657974", "1953657974 != 1953657958"),
        pattern=re.compile(r"\((?:1953657958 != 1953657974|1953657974 != 1953657958)\)"),
        cause="one of TensorRT and TensorRT-RTX built the plan, and the other is to run it",
        remedy="run it with the one that built it, or build it for the one that runs it",
        known="RTX 1.7",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="header-of-another-tool",
        severity="error",
        marks=("incompatible serialization version (",),
        pattern=re.compile(r"incompatible serialization version \((?P<length>\d{1,6}) != \d+\)"),
        cause="the file begins with {length} bytes of another tool's header, not with a plan: "
        "Ultralytics writes its metadata there",
        remedy="cut off the header (4 bytes with its length, then the JSON), or build the plan "
        "with `yolor-deploy build MODEL --backend tensorrt`, which keeps what it knows beside it",
        known="10, 11",
        source="ultralytics/ultralytics#20053",
    ),
    Entry(
        key="not-a-plan",
        severity="error",
        marks=("incompatible serialization version", "Magic tag does not match", "magicTag"),
        pattern=re.compile(
            r"incompatible serialization version|Magic tag does not match"
            r"|magicTag(?:Read)? ?== ?(?:rt::)?k?\w{0,40}"
        ),
        cause="the file is no plan of TensorRT, or one that a much older or newer version wrote",
        remedy="give the plan itself, not the ONNX model; read it in binary; build it again if it "
        "is old. Beside `The timing cache will not be used` that file is meant: delete it",
        known="7 to 11",
        source="NVIDIA/TensorRT#1384",
    ),
    Entry(
        key="plan-damaged",
        severity="error",
        marks=(
            *("header.size == blobSize", "cursor < blobSize", "cursor == blobSize"),
            *("e.offset ", "e.size ", "kEND_OF_PLAN_MARKER", "bufferSize >= minBufferSize"),
            *("No engine found in plan", "Failed to read plan from stream"),
        ),
        pattern=re.compile(
            r"header\.size == blobSize|cursor (?:<|==) blobSize"
            r"|Serialization assertion e\.(?:offset|size) |kEND_OF_PLAN_MARKER"
            r"|bufferSize >= minBufferSize|No engine found in plan|Failed to read plan from stream"
        ),
        cause="the plan is incomplete or was changed after it was written",
        remedy="copy it again and compare its sha256 with the one in `<engine>.json`; else build "
        "it again",
        known="8.6 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="plan-empty",
        severity="error",
        marks=("Cannot deserialize",),
        pattern=re.compile(r"Cannot deserialize (?:with an )?empty (?:memory buffer|blob)"),
        cause="the plan has no bytes: the build before it failed, or the file was not read",
        remedy="look for the error of the build",
        known="8.6 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="plan-of-another-platform",
        severity="error",
        marks=("Platform specific tag mismatch",),
        pattern=re.compile(r"Platform specific tag mismatch"),
        cause="the plan was built on another operating system or processor architecture",
        remedy=f"plans are not portable: {_REBUILD}, on a machine of the same kind",
        known="10, 11",
        source="pytorch/TensorRT#3090",
    ),
    Entry(
        key="plan-of-another-gpu",
        severity="error",
        marks=("generated on an incompatible device",),
        pattern=re.compile(r"expecting compute (?P<here>\d+\.\d+) got compute (?P<built>\d+\.\d+)"),
        cause="the plan was built for compute capability {built}, and this GPU has {here}",
        remedy="build it on a GPU of the kind that runs it; CUDA_VISIBLE_DEVICES chooses the GPU "
        "where there are several",
        known="5 to 11",
        source="NVIDIA/TensorRT#2176",
    ),
    Entry(
        key="gpu-below-compatible-plan",
        severity="error",
        marks=("not compatible with this hardware-compatible engine",),
        pattern=re.compile(r"not compatible with this hardware-compatible engine"),
        cause="the plan is for several kinds of GPU, and this one is older than all of them",
        remedy="build it on a GPU of the kind that runs it",
        known="10, 11",
        source="text of libnvinfer_lean 11.4",
    ),
    Entry(
        key="plan-of-another-gpu-model",
        severity="warning",
        marks=("engine plan file across different models of devices",),
        pattern=re.compile(r"engine plan file across different models of devices"),
        cause="the plan was built on another model of GPU, for which its kernels were chosen",
        remedy="build it on the model that runs it: it may be slow here, or fail",
        known="7 to 11",
        source="NVIDIA/TensorRT#2900",
    ),
    Entry(
        key="plugin-not-registered",
        severity="error",
        marks=("getPluginCreator could not find plugin", "Cannot find plugin: "),
        pattern=re.compile(
            r"(?:getPluginCreator could not find plugin:?|Cannot find plugin:) "
            r"(?P<plugin>[^\s,]{1,100}),? version:? (?P<version>[^\s,)]{1,40})"
        ),
        cause="no library that was loaded has plugin {plugin} of version {version}",
        remedy="load the plugin's library before the plan or the model (trtexec: --staticPlugins; "
        "TensorRT's own plugins: init_libnvinfer_plugins), or build without plugins: "
        "`yolor-deploy build MODEL --backend tensorrt --nms kernels`",
        known="6 to 11",
        source="laugh12321/TensorRT-YOLO#118",
    ),
    Entry(
        key="plan-needs-plugin",
        severity="error",
        marks=("Cannot deserialize plugin since",),
        pattern=re.compile(r"Cannot deserialize plugin since corresponding IPluginCreator"),
        cause="the plan holds a layer of a plugin whose library was not loaded before it",
        remedy="load the plugin's library first (trtexec: --staticPlugins; TensorRT's own plugins: "
        "init_libnvinfer_plugins), or build without plugins: "
        "`yolor-deploy build MODEL --backend tensorrt --nms kernels`",
        known="6 to 11",
        source="Linaom1214/TensorRT-For-YOLO-Series#97",
    ),
    Entry(
        key="plan-holds-host-code",
        severity="error",
        marks=("getEngineHostCodeAllowed",),
        pattern=re.compile(r"getEngineHostCodeAllowed\(\) is false"),
        cause="the plan carries a runtime of its own, which is code for this machine and is not "
        "allowed to run",
        remedy="build it without version compatibility; allow its code only if you built it",
        known="8.6 to 11",
        source="text of libnvinfer 8.6 and libnvinfer_lean 11.4",
    ),
    Entry(
        key="plan-for-dla-alone",
        severity="error",
        marks=("EngineCapability::kDLA_STANDALONE",),
        pattern=re.compile(r"Cannot deserialize .{1,40} EngineCapability::kDLA_STANDALONE"),
        cause="the plan is for an accelerator of Jetson alone, which TensorRT does not run",
        remedy="build it for the GPU, or run it with cuDLA",
        known="8.6 to 11",
        source="text of libnvinfer 8.6 and libnvinfer_lean 11.4",
    ),
    Entry(
        key="engine-is-none",
        severity="error",
        marks=("'NoneType' object has no attribute '",),
        pattern=re.compile(
            r"'NoneType' object has no attribute '(?P<name>create_execution_context|"
            r"execute_async(?:_v[23])?|serialize|num_io_tensors|num_bindings)'"
        ),
        cause="the engine was not loaded or built, and the program went on to `{name}`",
        remedy="look for the error before it; with none, set the logger to INFO and run again",
        known="5 to 11",
        source="seanavery/yolov5-tensorrt#7",
        follows=True,
    ),
    Entry(
        key="loading-failed",
        severity="error",
        marks=(
            *("Engine deserialization failed", "Deserialize the cuda engine failed"),
            *("Core engine deserialization failure", "engine->deserialize("),
        ),
        pattern=re.compile(
            r"Engine deserialization failed|Deserialize the cuda engine failed"
            r"|Core engine deserialization failure|Assertion engine->deserialize\("
        ),
        cause="the plan was not loaded",
        remedy="look for the error before it, which tells why",
        known="7 to 11",
        source="NVIDIA/TensorRT#2105",
        follows=True,
    ),
)

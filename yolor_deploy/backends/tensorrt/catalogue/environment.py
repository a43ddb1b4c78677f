"""Messages of what TensorRT needs around it: driver, GPU, libraries, Python modules."""

from __future__ import annotations

import re

from yolor_deploy.backends.tensorrt.catalogue.entry import SEEN_IN_RTX, Entry

_LOOK = "run `yolor-deploy doctor`, which tells what the driver says"

ENVIRONMENT = (
    Entry(
        key="driver-too-old",
        severity="error",
        marks=("nitialization failure with error",),
        pattern=re.compile(r"(?:CUDA|Cuda) initialization failure with error:? 35\b"),
        cause="there is no driver of NVIDIA here, or one that is older than this CUDA needs",
        remedy=f"{_LOOK}; install a newer driver, or a TensorRT for the CUDA that it runs; a "
        "container needs `--gpus all`",
        known="5 to 11",
        source="wang-xinyu/tensorrtx#685",
    ),
    Entry(
        key="no-gpu",
        severity="error",
        marks=("nitialization failure with error", "no CUDA-capable device is detected"),
        pattern=re.compile(
            r"(?:CUDA|Cuda) initialization failure with error:? 100\b"
            r"|no CUDA-capable device is detected"
        ),
        cause="the driver is here and shows no GPU",
        remedy=f"{_LOOK}; look at CUDA_VISIBLE_DEVICES; a container needs `--gpus all`",
        known="5 to 11",
        source="NVIDIA/TensorRT#149",
    ),
    Entry(
        key="cuda-not-started",
        severity="error",
        marks=("nitialization failure with error",),
        pattern=re.compile(r"(?:CUDA|Cuda) initialization failure with error:? (?P<code>\d+)"),
        cause="CUDA did not start: its error {code}",
        remedy=f"{_LOOK}; error 2: the GPU's memory is taken; 222: the driver is older than this "
        "CUDA; 999 after an update or a sleep: start the machine again",
        known="5 to 11",
        source="NVIDIA/TensorRT#1052",
    ),
    Entry(
        key="no-driver",
        severity="error",
        marks=("CUDA driver version is insufficient", "cudaError 35", "CUDA GPU properties"),
        pattern=re.compile(
            r"CUDA driver version is insufficient for CUDA runtime version|cudaError 35\b"
            r"|Error reading CUDA GPU properties"
        ),
        cause="there is no driver of NVIDIA here, or one that is older than this CUDA needs; after "
        "another error it means nothing",
        remedy=f"on a machine without a GPU look for the error before it; else {_LOOK}",
        known="8 to 11, RTX",
        source=SEEN_IN_RTX,
        follows=True,
    ),
    Entry(
        key="library-missing",
        severity="error",
        marks=("cannot open shared object file",),
        pattern=re.compile(
            r"(?P<library>lib(?:nvinfer|nvonnxparser|nvparsers|tensorrt)\w{0,40}\.so(?:\.\d+){0,4})"
            r": cannot open shared object file"
        ),
        cause="the library {library} of TensorRT is not found",
        remedy="install the TensorRT of that number; if it is installed, add its folder to "
        "LD_LIBRARY_PATH",
        known="5 to 11",
        source="wang-xinyu/tensorrtx#1501",
    ),
    Entry(
        key="cuda-library-missing",
        severity="error",
        marks=("cannot open shared object file",),
        pattern=re.compile(
            r"(?P<library>lib(?:cudnn|cublas|cublasLt|cudart|nvrtc)\w{0,40}\.so(?:\.\d+){0,4})"
            r": cannot open shared object file"
        ),
        cause="the library {library} of CUDA or cuDNN is not found",
        remedy="install the CUDA and cuDNN that this TensorRT is for, or add their folder to "
        "LD_LIBRARY_PATH; TensorRT 10 and later need no cuDNN",
        known="5 to 11",
        source="pytorch/TensorRT#858",
    ),
    Entry(
        key="builder-resource-missing",
        severity="error",
        marks=("nvinfer_builder_resource",),
        pattern=re.compile(
            r"Unable to load library: (?P<library>(?:lib)?nvinfer_builder_resource[\w.]{0,30}\w)"
        ),
        cause="the builder's kernels, {library}, are not found; engines can be run, not built",
        remedy="add TensorRT's library folder to LD_LIBRARY_PATH (PATH on Windows)",
        known="8.4 to 11",
        source="wang-xinyu/tensorrtx#1205",
    ),
    Entry(
        key="library-not-loaded",
        severity="error",
        marks=("Unable to load library: ",),
        pattern=re.compile(r"Unable to load library: (?P<library>[^\s:)]{1,200})"),
        cause="the library {library} is missing, or one that it needs is",
        remedy="correct the path; `ldd` tells what it needs",
        known="8 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="library-is-no-plugin",
        severity="error",
        marks=("Creators could not be loaded",),
        pattern=re.compile(r"SymbolAddress for get(?:Plugin)?Creators could not be loaded"),
        cause="the library that was given as a plugin exports no creators",
        remedy="give the plugin's own library; `scripts/build-plugins` builds ours, "
        "libyolor_nms_plugin.so",
        known="8.6 to 11, RTX",
        source="NVIDIA/TensorRT#4051",
    ),
    Entry(
        key="symbol-missing",
        severity="error",
        marks=("undefined symbol: ",),
        pattern=re.compile(
            r"undefined symbol: (?P<symbol>getPluginRegistry|getBuilderPluginRegistry|"
            r"getInferLibVersion|_ZT?[A-Z]{0,3}N?K?\d{0,3}nvinfer1\w{0,120})"
        ),
        cause="a library was built for another TensorRT, or TensorRT was not loaded before it: "
        "{symbol} is missing",
        remedy="build the plugin for the installed version; import tensorrt before it is loaded",
        known="7 to 10",
        source="wang-xinyu/tensorrtx#492",
    ),
    Entry(
        key="module-missing",
        severity="error",
        marks=("No module named 'tensorrt",),
        pattern=re.compile(r"No module named '(?P<module>tensorrt[\w.]{0,60})'"),
        cause="the Python module {module} is not installed for this Python",
        remedy="pip install the bindings of the TensorRT that is installed; on Jetson and in "
        "NVIDIA's containers use the system's Python",
        known="7 to 11, RTX",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="rtx-without-this-gpu",
        severity="error",
        marks=(
            "TensorRT-RTX does not support this compute capability",
            "The engine cannot run on this GPU, which has compute capability",
        ),
        pattern=re.compile(
            r"TensorRT-RTX does not support this compute capability"
            r"|The engine cannot run on this GPU, which has compute capability"
        ),
        cause="the engine of TensorRT-RTX is not for this GPU; GPUs of data centres (9.0, 10.0) "
        "are none of RTX's",
        remedy="use TensorRT instead (`--backend tensorrt`), or build for this GPU's compute "
        "capability",
        known="RTX 1.7",
        source="text of libtensorrt_rtx 1.7",
    ),
    Entry(
        key="parser-aborted",
        severity="error",
        marks=("terminate called without an active exception",),
        pattern=re.compile(r"terminate called without an active exception"),
        cause="the process was ended from inside: TensorRT-RTX does so at a node that is a plugin",
        remedy="build for RTX without plugins: `--nms kernels`",
        known="RTX 1.7",
        source=SEEN_IN_RTX,
    ),
    Entry(
        key="other-cudnn",
        severity="warning",
        marks=("TensorRT was linked against ",),
        pattern=re.compile(
            r"TensorRT was linked against (?P<library>\w[\w /]{1,30}?) (?P<linked>\d[\d.]{0,12}) "
            r"but loaded \w[\w /]{1,30}? (?P<loaded>\d[\d.]{0,12}\d)"
        ),
        cause="TensorRT is for {library} {linked} and found {loaded}",
        remedy="nothing, if it works; after an unclear failure install the version that it is for",
        known="5 to 8.6",
        source="NVIDIA/TensorRT#3534",
    ),
    Entry(
        key="lazy-loading",
        severity="harmless",
        marks=("CUDA lazy loading is not enabled",),
        pattern=re.compile(r"CUDA lazy loading is not enabled"),
        cause="all kernels are loaded at the start, which takes time and some hundred MiB",
        remedy="nothing; CUDA_MODULE_LOADING=LAZY saves both",
        known="8.6 to 11",
        source="AUTOMATIC1111/stable-diffusion-webui-tensorrt#3",
    ),
    Entry(
        key="object-is-null",
        severity="error",
        marks=("factory function returned nullptr",),
        pattern=re.compile(r"pybind11::init\(\): factory function returned nullptr"),
        cause="TensorRT gave no builder or runtime, and Python went on",
        remedy="look for the error before it: mostly CUDA did not start",
        known="7 to 10",
        source="NVIDIA/TensorRT#1052",
        follows=True,
    ),
)

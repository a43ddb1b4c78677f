"""Messages of an execution context: shapes, addresses, streams, and CUDA's own errors."""

from __future__ import annotations

import re

from yolor_deploy.backends.tensorrt.catalogue.entry import Entry

_PROFILE = "build again with a range that holds it: `yolor-deploy build MODEL --profile ...`"

RUNNING = (
    Entry(
        key="batch-outside-profile",
        severity="error",
        marks=("exceed min ~ max range at index 0",),
        pattern=re.compile(
            r"exceed min ~ max range at index 0, maximum dimension in profile is (?P<most>\d+), "
            r"minimum dimension in profile is (?P<least>\d+), but supplied dimension is "
            r"(?P<given>\d+)"
        ),
        cause="a batch of {given} was given to an engine that takes {least} to {most}",
        remedy=f"give a batch of that range, or {_PROFILE}",
        known="8",
        source="NVIDIA/TensorRT#2739",
    ),
    Entry(
        key="shape-outside-profile",
        severity="error",
        marks=(
            *("exceed min ~ max range", "exceed min..max range", "satisfy any optimization prof"),
            *("profileMinDims.d[i] <= dimensions", "profileMaxDims.d[i] >= dimensions"),
        ),
        pattern=re.compile(
            r"exceed min ?(?:~|\.\.) ?max range|does not satisfy any optimization profile"
            r"|profileM(?:in|ax)Dims\.d\[i\] [<>]= dimensions"
        ),
        cause="an input has a size that the engine was not built for",
        remedy=f"give images of the size that the engine tells, or {_PROFILE}",
        known="7 to 11",
        source="NVIDIA/TensorRT-LLM#1332",
    ),
    Entry(
        key="shape-is-fixed",
        severity="error",
        marks=("Static dimension mismatch while setting input shape",),
        pattern=re.compile(r"Static dimension mismatch while setting input shape"),
        cause="the engine was built for one size or batch alone, and was given another",
        remedy="give the size that it was built for, or export the model with `--batch "
        "MIN:OPT:MAX` and build it again",
        known="8.5 to 11",
        source="jamjamjon/usls#212",
    ),
    Entry(
        key="shape-not-set",
        severity="error",
        marks=(
            *("allInputDimensionsSpecified", "dimensions or shape bindings are specified"),
            "input tensors' dimensions are not specified",
        ),
        pattern=re.compile(
            r"allInputDimensionsSpecified\(|dimensions or shape bindings are specified"
            r"|input tensors' dimensions are not specified"
        ),
        cause="the size of an input that varies was not set before the run",
        remedy="call set_input_shape for each input before each run of another size",
        known="7 to 11",
        source="NVIDIA/TensorRT#1564",
    ),
    Entry(
        key="address-not-set",
        severity="error",
        marks=("Address is not set for input tensor", "address or allocator is set for output"),
        pattern=re.compile(
            r"(?:Address is not set for input|Neither address or allocator is set for output) "
            r"tensor (?P<tensor>\S{1,100}?)\. Call"
        ),
        cause="no memory was given for tensor {tensor}",
        remedy="call set_tensor_address for every input and output, those that are not needed too",
        known="8.5 to 11",
        source="hamdiboukamcha/Yolo-V11-cpp-TensorRT#6",
    ),
    Entry(
        key="binding-not-set",
        severity="error",
        marks=("bindings[x] || nullBindingOK",),
        pattern=re.compile(r"bindings\[x\] \|\| nullBindingOK"),
        cause="one of the addresses is null: an engine has as many as it has inputs and outputs",
        remedy="give memory for every one of them, those that are not needed too",
        known="8",
        source="shouxieai/infer#26",
    ),
    Entry(
        key="tensor-unknown",
        severity="error",
        marks=("nvalid tensor name",),
        pattern=re.compile(r"(?:Given|given|Called with|called with) invalid tensor name"),
        cause="the engine has no tensor of the name that the program asked for",
        remedy="take the names that the engine tells: num_io_tensors and get_tensor_name",
        known="8.5 to 11",
        source="text of libnvinfer_lean 11.4",
    ),
    Entry(
        key="profile-in-use",
        severity="error",
        marks=("has been chosen by another IExecutionContext",),
        pattern=re.compile(
            r"Profile (?P<profile>\d+) has been chosen by another IExecutionContext"
        ),
        cause="two contexts of one engine use its profile {profile} at the same time",
        remedy="build with one profile for each context, or load the engine once for each",
        known="7, 8",
        source="NVIDIA/TensorRT#846",
    ),
    Entry(
        key="default-stream",
        severity="warning",
        marks=("Using default stream in enqueueV3()",),
        pattern=re.compile(r"Using default stream in enqueueV3\(\)"),
        cause="the run is on CUDA's default stream, where TensorRT waits for it at each end",
        remedy="make a stream of its own, and give that; times measured on the default are too "
        "long",
        known="10, 11",
        source="text of libnvinfer_lean 10.16 and 11.4",
    ),
    Entry(
        key="capture-failed",
        severity="error",
        marks=(
            *("when stream is capturing", "previous error during capture"),
            *("because the stream is capturing a CUDA graph", "CUDA graph capture on the stream"),
        ),
        pattern=re.compile(
            r"operation not permitted when stream is capturing"
            r"|operation failed due to a previous error during capture"
            r"|because the stream is capturing a CUDA graph"
            r"|CUDA graph capture on the stream has failed"
        ),
        cause="something in the run cannot be recorded in a CUDA graph: memory that is taken "
        "during it, or outputs whose size depends on the data",
        remedy="run once with the same sizes and addresses before the capture; build with "
        "`--nms kernels` where a NonMaxSuppression is in the engine",
        known="8 to 11, RTX",
        source="NVIDIA/TensorRT#3011",
    ),
    Entry(
        key="illegal-access",
        severity="error",
        marks=("illegal memory access", "cudaErrorIllegalAddress", "cudaError 700"),
        pattern=re.compile(
            r"an illegal memory access was encountered|cudaErrorIllegalAddress|cudaError 700\b"
        ),
        cause="a kernel read or wrote outside its memory; every call of CUDA after it fails too",
        remedy="compare the sizes of all buffers with the shapes of the engine, batch included; "
        "`compute-sanitizer` names the kernel",
        known="7 to 11",
        source="open-mmlab/mmdeploy#1645",
    ),
    Entry(
        key="misaligned-address",
        severity="error",
        marks=("(misaligned address)", "cudaError 716"),
        pattern=re.compile(r"\(misaligned address\)|cudaError 716\b"),
        cause="a buffer is missing, too small, or begins at an address that is no multiple of 256",
        remedy="allocate every input and output of the engine by itself",
        known="8 to 10",
        source="NVIDIA/TensorRT#1929",
    ),
    Entry(
        key="handle-of-another-context",
        severity="error",
        marks=("(invalid resource handle)", "cudaError 400"),
        pattern=re.compile(r"\(invalid resource handle\)|cudaError 400\b"),
        cause="the stream is of another CUDA context than the engine: PyCUDA's autoinit and "
        "PyTorch each have their own",
        remedy="use one context in the process: the primary one, which PyTorch and TensorRT take",
        known="8 to 10",
        source="NVIDIA/TensorRT#4191",
    ),
    Entry(
        key="no-kernel-for-gpu",
        severity="error",
        marks=("no kernel image is available",),
        pattern=re.compile(r"no kernel image is available for execution on the device"),
        cause="a library or plugin has no machine code for this GPU",
        remedy="run `yolor-deploy doctor`, which compares our kernels with the GPU; build plugins "
        "for its compute capability",
        known="7 to 11",
        source="wang-xinyu/tensorrtx#481",
    ),
    Entry(
        key="invalid-argument",
        severity="error",
        marks=("Cuda Runtime (invalid argument)",),
        pattern=re.compile(r"Cuda Runtime \(invalid argument\)"),
        cause="CUDA was given an address or a size that is none of the GPU's",
        remedy="check that every address is of memory of this GPU, and still allocated",
        known="8 to 10",
        source="NVIDIA/TensorRT#3469",
    ),
    Entry(
        key="gpu-out-of-memory",
        severity="error",
        marks=("(out of memory)", "OutOfMemory"),
        pattern=re.compile(
            r"Cuda Runtime \(out of memory\)|Error Code 2: OutOfMemory|: 2 \(out of memory\)"
        ),
        cause="the GPU has not as much memory free as was asked for",
        remedy="close what uses the GPU (`nvidia-smi` lists it); build with a smaller "
        "`--workspace`, or a smaller batch in `--profile`",
        known="6 to 11",
        source="NVIDIA/TensorRT#4258",
    ),
)

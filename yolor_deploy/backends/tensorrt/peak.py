"""What a GPU reaches at best, through TensorRT itself: products of matrices, and a copy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from yolor_deploy.backends.tensorrt import Flavour, require_module
from yolor_deploy.backends.tensorrt.capabilities import capabilities_of
from yolor_deploy.backends.tensorrt.engine import Context, Engine
from yolor_deploy.backends.tensorrt.execution import Execution
from yolor_deploy.backends.tensorrt.matrix_chain import PRODUCT, write_chain
from yolor_deploy.backends.tensorrt.options import precision_flags
from yolor_deploy.backends.tensorrt.process import build_folder, run_build
from yolor_deploy.backends.tensorrt.request import PLAN_FILE, Request
from yolor_deploy.backends.tensorrt.signature import IMAGES
from yolor_deploy.backends.tensorrt.targets import capability_names, known_capabilities
from yolor_deploy.core.artifact import ArtifactMeta
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.runtime import Peak
from yolor_deploy.cuda.device import Device, Memory
from yolor_deploy.cuda.stopwatch import Stopwatch

_WHERE = "peak of this machine"
_BUILD_S = 300.0  # some seconds are usual
_LEVEL = 3  # TensorRT's own: lower ones leave out the fastest tactics


@dataclass(frozen=True, slots=True)
class PeakLoad:
    """How much is computed and copied.

    Attributes:
        side: Rows and columns of the matrices; 4096 fill any GPU, and take 0.2 ms to 0.1 s.
        links: Products of a run, one after the other.
        copy_bytes: Copied at a time, unless the GPU has less than four times as much free; far
            more than caches hold.
        runs: Of each, the fastest of which counts.
    """

    side: int = 4096
    links: int = 8
    copy_bytes: int = 512 << 20
    runs: int = 10


@dataclass(frozen=True, slots=True)
class PeakPrecision:
    """Of the products.

    Attributes:
        base: Of matrices.
        tf32: Whether products of float32 may be rounded to TF32.
    """

    base: Literal["fp16", "fp32"]
    tf32: bool

    @property
    def name(self) -> str:
        """As it is told."""
        return "tf32" if self.tf32 and self.base == "fp32" else self.base


def precision_of(meta: ArtifactMeta) -> PeakPrecision:
    """Return the precision of the products that an engine is compared with.

    8 bits are compared with fp16: what is not quantised runs in it at best. bf16 is as fast as it.

    Args:
        meta: Of the engine.
    """
    precision = Precision.from_name(meta.precision)
    is_float = precision.base == "fp32" and precision.quantised is None
    tf32 = any(
        record.options.get("tf32") is True for record in meta.history if record.stage == "engine"
    )
    return PeakPrecision("fp32" if is_float else "fp16", tf32)


def measure_peak(
    flavour: Flavour, device: Device, precision: PeakPrecision, load: PeakLoad
) -> Peak:
    """Build a chain of products, run it, and copy memory.

    Args:
        flavour: Which TensorRT.
        device: The GPU; nothing else runs on it.
        precision: Of the products.
        load: How much.

    Raises:
        BackendUnavailableError: TensorRT is missing.
        BuildError: TensorRT does not build the chain.
        RunError: The GPU is short of memory, or failed.
    """
    plan = chain_plan(flavour, device, precision, load)
    watch = Stopwatch(device, device.stream)
    try:
        chain_ms = _chain_ms(flavour, device, plan, load, watch)
        copy_ms, copied = _copy_ms(device, load, watch)
    finally:
        watch.close()
    operations = 2 * load.side**3 * load.links
    return Peak(
        gflops=operations / chain_ms / 1e6,
        gbytes_per_s=2 * copied / copy_ms / 1e6,
        precision=precision.name,
        note=f"{load.links} products of {load.side} x {load.side} matrices built by TensorRT, and "
        f"copies of {copied / 2**20:.0f} MiB within the GPU's memory, by events; the fastest of "
        f"{load.runs} runs each",
    )


def chain_plan(flavour: Flavour, device: Device, precision: PeakPrecision, load: PeakLoad) -> bytes:
    """Build a chain of products for a GPU, in some seconds.

    Args:
        flavour: Which TensorRT.
        device: The GPU.
        precision: Of the products.
        load: Their size and number.

    Raises:
        BackendUnavailableError: TensorRT is missing.
        BuildError: TensorRT does not build it.
    """
    module = require_module(flavour)
    has = capabilities_of(module)
    kind = Precision(precision.base)
    targets: tuple[str, ...] = ()
    if has.has_targets:
        known = known_capabilities(module)
        targets = capability_names((device.compute_capability,), kind, known=known)
    with build_folder() as folder:
        model = folder / "chain.onnx"
        write_chain(model, side=load.side, links=load.links, precision=precision.base)
        request = Request(
            flavour=flavour,
            model=str(model.resolve()),
            capabilities=targets,
            flags=precision_flags(has, kind),
            tf32=precision.tf32,
            optimization_level=_LEVEL if "builder_optimization_level" in has.options else None,
        )
        run_build(request, folder, where=_WHERE, timeout_s=_BUILD_S)
        return Path(folder / PLAN_FILE).read_bytes()


def _chain_ms(
    flavour: Flavour, device: Device, plan: bytes, load: PeakLoad, watch: Stopwatch
) -> float:
    engine = Engine(require_module(flavour), flavour, plan, where=_WHERE, device=device)
    dtype = np.dtype(engine.inputs[IMAGES].dtype)
    drawn = np.random.default_rng(1).normal(size=(load.side, load.side)).astype(dtype)
    with ExitStack() as stack:
        addresses = {
            name: _allocated(stack, device, drawn.nbytes).pointer for name in (IMAGES, PRODUCT)
        }
        scratch = _allocated(stack, device, engine.context_bytes or 1).pointer

        def context_on(stream: int) -> Context:
            made = engine.new_context(scratch, 0, load.side, addresses, stream)
            assert made is not None  # its shape is fixed: there is no profile to be in use
            return made

        device.copy(addresses[IMAGES], drawn.ctypes.data, drawn.nbytes, device.stream)
        chain = Execution(
            context_on(device.stream), device, None, (), load.side, renewed=context_on
        )
        stack.callback(device.synchronize, device.stream)
        for _ in range(2):  # plain, and captured
            chain.launch(device.stream)
        return _fastest_ms(lambda: chain.launch(device.stream), load.runs, watch)


def _copy_ms(device: Device, load: PeakLoad, watch: Stopwatch) -> tuple[float, int]:
    """Return the milliseconds of a copy, and its bytes."""
    free, _ = device.memory_bytes()
    num_bytes = max(1, min(load.copy_bytes, free // 4))
    with ExitStack() as stack:
        source, target = (_allocated(stack, device, num_bytes) for _ in range(2))
        source.fill(b"\x5a", device.stream)
        stack.callback(device.synchronize, device.stream)

        def copy() -> None:
            device.copy(target.pointer, source.pointer, num_bytes, device.stream)

        copy()
        return _fastest_ms(copy, load.runs, watch), num_bytes


def _allocated(stack: ExitStack, device: Device, num_bytes: int) -> Memory:
    memory = device.allocate(num_bytes)
    stack.callback(memory.close)
    return memory


def _fastest_ms(work: Callable[[], None], runs: int, watch: Stopwatch) -> float:
    fastest = float("inf")
    for _ in range(runs):
        watch.begin()
        work()
        watch.mark()
        fastest = min(fastest, *watch.ms())
    return fastest

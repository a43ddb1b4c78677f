"""A plan that was loaded: its tensors, its profiles, and contexts that run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolor_deploy.backends.tensorrt import NAMES, Flavour
from yolor_deploy.backends.tensorrt.capabilities import runtime_capabilities_of
from yolor_deploy.backends.tensorrt.catalogue import first_error
from yolor_deploy.backends.tensorrt.hooks import make_logger, make_profiler, make_recorder
from yolor_deploy.backends.tensorrt.messages import first_cause
from yolor_deploy.backends.tensorrt.plugin import load_plugin
from yolor_deploy.backends.tensorrt.request import NUMPY_NAMES
from yolor_deploy.backends.tensorrt.signature import IMAGES
from yolor_deploy.core.errors import ArtifactError, RunError
from yolor_deploy.core.passport import TensorInfo
from yolor_deploy.core.spec import BatchRange
from yolor_deploy.cuda.device import Device


class Engine:
    """A plan in the memory of a GPU.

    Args:
        module: TensorRT, of the flavour that built the plan.
        flavour: That.
        plan: Its bytes.
        where: Name of its file, for errors.
        device: The GPU; the current one.
        plugin: Library that is loaded before; None for none.

    Attributes:
        inputs: By name.
        outputs: By name.
        profiles: Batch sizes of each profile.
        context_bytes: Memory that a context needs while it runs.
        weights_bytes: Size of the weights; where TensorRT does not tell, of the whole plan.
        flavour: As given.
        version: Of TensorRT.
        plugin: As given.

    Raises:
        ArtifactError: The plan is damaged, or of another version or GPU, or a plugin is missing.
        RunError: The GPU is short of memory.
    """

    def __init__(
        self,
        module: Any,
        flavour: Flavour,
        plan: bytes,
        *,
        where: str,
        device: Device,
        plugin: Path | None = None,
    ) -> None:
        self._trt = module
        self._has = runtime_capabilities_of(module)
        self.flavour = flavour
        self.version = str(module.__version__)
        self.plugin = plugin
        self._name = f"{NAMES[flavour]} {self.version}"
        self._where = where
        self._log = make_logger(module)  # these two must outlive all that is made with them
        self._recorder = make_recorder(module)
        problem = load_plugin(module, plugin, self._log) if plugin else None
        if problem is not None:
            raise ArtifactError(
                problem, where=where, hint="run `yolor-deploy doctor`, which looks at the plugin"
            )
        try:
            self._runtime = module.Runtime(self._log)
        except TypeError as error:  # how bound code says that there is none
            raise self._failure("has no runtime here", self._log.errors) from error
        self._runtime.error_recorder = self._recorder
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._refusal(len(plan), device)
        self._engine.error_recorder = self._recorder
        self.inputs, self.outputs = self._tensors()
        self.profiles = self._profiles()
        sized = self._has.has_sized_memory
        self.context_bytes = int(
            self._engine.device_memory_size_v2 if sized else self._engine.device_memory_size
        )
        self.weights_bytes = self._weights_bytes(len(plan))

    def new_context(
        self, memory: int, profile: int, batch: int, addresses: Mapping[str, int], stream: int
    ) -> Context | None:
        """Return a context that is ready to run.

        Args:
            memory: Address of ``context_bytes`` of memory, which contexts share that do not run at
                the same time.
            profile: Index of one that holds the batch.
            batch: Images.
            addresses: Of every input and output.
            stream: Handle of the stream that changes of the profile are made in.

        Returns:
            None if TensorRT wants the other contexts of this profile to be freed first.

        Raises:
            RunError: TensorRT refuses a shape or an address.
        """
        context = self._bare_context(memory)
        if context is None:
            raise self._failure("cannot make a context", self._said(self._recorder))
        recorder = make_recorder(self._trt)  # of its own: other contexts run in other threads
        context.error_recorder = recorder
        shape = self.inputs[IMAGES].shape
        if -1 in shape:  # else there is no profile to take, and contexts need not share it
            if not context.set_optimization_profile_async(profile, stream):
                said = self._said(recorder)
                known = first_error("\n".join(said))
                if known is not None and known.key == "profile-in-use":
                    return None
                raise self._failure(f"refuses profile {profile}", said)
            if not context.set_input_shape(IMAGES, (batch, *shape[1:])):
                raise self._failure(f"refuses a batch of {batch}", self._said(recorder))
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise self._failure(f"refuses an address for {name}", self._said(recorder))
        return Context(self, context, recorder, tells_capturable=self._has.tells_capturable)

    def layer_times(self) -> LayerTimes | None:
        """Return what a context can be told to time its layers with; None if none can."""
        return LayerTimes(make_profiler(self._trt)) if self._has.has_profiler else None

    def failure(self, what: str, recorder: Any) -> RunError:
        """Return the error of what TensorRT refused, with what it said, which is forgotten then.

        Args:
            what: It did not do.
            recorder: Of the context.
        """
        return self._failure(what, self._said(recorder))

    def _failure(self, what: str, said: list[str]) -> RunError:
        known = first_error("\n".join(said))
        return RunError(
            f"{self._name} {what}: {first_cause(said)}",
            where=self._where,
            hint=known.remedy if known else "run `yolor-deploy doctor` with this engine",
        )

    def _said(self, recorder: Any) -> list[str]:
        """Return what was recorded; where nothing was, what was logged."""
        said: list[str] = recorder.take()
        if not said:
            said, self._log.errors[:] = list(self._log.errors), []
        return said

    def _refusal(self, num_bytes: int, device: Device) -> ArtifactError | RunError:
        said = self._said(self._recorder)
        known = first_error("\n".join(said))
        hint = known.remedy if known else "build the engine again on this machine"
        problem = f"{self._name} refuses the plan: {first_cause(said)}"
        if known and known.key == "gpu-out-of-memory":
            free, total = (size / 2**20 for size in device.memory_bytes())
            problem += f"; it has {num_bytes / 2**20:.1f} MiB, and {free:.1f} of {total:.1f} "
            return RunError(f"{problem}MiB of the GPU are free", where=self._where, hint=hint)
        return ArtifactError(problem, where=self._where, hint=hint)

    def _bare_context(self, memory: int) -> Any:
        engine, trt = self._engine, self._trt
        if self._has.specialises_shapes:
            context = engine.create_execution_context(self._runtime_config())
        elif self._has.has_allocation_strategy:
            strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context = engine.create_execution_context(strategy)
        else:
            context = engine.create_execution_context_without_device_memory()
        if context is None or not self.context_bytes:
            return context
        if self._has.takes_sized_memory:
            context.set_device_memory(memory, self.context_bytes)
        else:
            context.device_memory = memory
        return context

    def _runtime_config(self) -> Any:
        """Return what a context of TensorRT-RTX is told.

        By itself it compiles kernels for a shape while others run in their place, and a CUDA graph
        that was captured meanwhile would keep the others for good.
        """
        trt, config = self._trt, self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.dynamic_shapes_kernel_specialization_strategy = eager
        return config

    def _weights_bytes(self, plan_bytes: int) -> int:
        if not self._has.has_statistics:
            return plan_bytes
        total = int(self._engine.get_engine_stat(self._trt.EngineStat.TOTAL_WEIGHTS_SIZE))
        return total if total > 0 else plan_bytes  # -1 where it is not known

    def _tensors(self) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
        engine = self._engine
        inputs: dict[str, TensorInfo] = {}
        outputs: dict[str, TensorInfo] = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            dtype = str(engine.get_tensor_dtype(name).name)
            shape = tuple(int(side) for side in engine.get_tensor_shape(name))
            is_input = engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
            info = TensorInfo(NUMPY_NAMES.get(dtype, dtype.lower()), shape)
            (inputs if is_input else outputs)[name] = info
        return inputs, outputs

    def _profiles(self) -> tuple[BatchRange, ...]:
        engine = self._engine
        images = self.inputs.get(IMAGES)
        if images is None or not images.shape or images.shape[0] != -1:
            batch = images.shape[0] if images and images.shape else 1
            return (BatchRange(batch, batch, batch),)
        return tuple(
            BatchRange(
                *(int(shape[0]) for shape in engine.get_tensor_profile_shape(IMAGES, profile))
            )
            for profile in range(engine.num_optimization_profiles)
        )


class LayerTimes:
    """Times of the layers of one context, as TensorRT takes them.

    Args:
        profiler: Of TensorRT.
    """

    def __init__(self, profiler: Any) -> None:
        self.profiler = profiler

    def take(self) -> list[tuple[str, float]]:
        """Return name and milliseconds of each layer in the runs since the last call, in order."""
        taken: list[tuple[str, float]] = self.profiler.take()
        return taken


class Context:
    """Runs an engine with one batch size, on memory that stays where it is."""

    def __init__(
        self, engine: Engine, context: Any, recorder: Any, *, tells_capturable: bool
    ) -> None:
        self._engine = engine
        self._recorder = recorder  # must outlive the context
        self._context = context
        self._tells_capturable = tells_capturable
        self._times: LayerTimes | None = None

    def is_capturable(self, stream: int) -> bool:
        """Return whether a CUDA graph can be made of it, as far as TensorRT tells."""
        return not self._tells_capturable or bool(self._context.is_stream_capturable(stream))

    def time_layers(self, times: LayerTimes) -> None:
        """Let every run from now on wait, and tell how long each layer took.

        Such a context is not captured.
        """
        self._times = times  # must outlive the context
        self._context.profiler = times.profiler

    def enqueue(self, stream: int) -> None:
        """Run, in the order of a stream; nothing waits.

        Raises:
            RunError: TensorRT refuses, or recorded an error.
        """
        if not self._context.execute_async_v3(stream):
            raise self._engine.failure("cannot run", self._recorder)
        if self._recorder.reported:
            raise self._engine.failure("failed", self._recorder)

"""Thresholds in memory of the GPU, where kernels and captured graphs read them."""

from __future__ import annotations

import numpy as np

from yolor_deploy.core.errors import RunError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.cuda.device import Device, Memory


class DeviceThresholds:
    """The two thresholds of a run, float32 [1] each; written only when they change.

    Args:
        device: The GPU.
        config: Thresholds of a run that is given none.

    Raises:
        RunError: The GPU is short of memory.
    """

    def __init__(self, device: Device, config: NmsConfig) -> None:
        self._config = config
        self._values: dict[str, float] = {}
        self._memory: dict[str, Memory] = {}
        try:
            for name in THRESHOLD_INPUTS:
                self._memory[name] = device.allocate(np.dtype(np.float32).itemsize)
            self.set(None, None, device.stream)
            device.synchronize(device.stream)  # any stream may be the first
        except RunError:
            self.close()
            raise

    def pointer(self, name: str) -> int:
        """Return the address of a threshold."""
        return self._memory[name].pointer

    def set(self, score: float | None, iou: float | None, stream: int) -> None:
        """Write those that changed, in the order of a stream.

        Args:
            score: 0..1; None for the configuration's.
            iou: Likewise.
            stream: Handle.

        Raises:
            RunError: One is not 0 to 1.
        """
        for name, given in zip(THRESHOLD_INPUTS, (score, iou), strict=True):
            value = getattr(self._config, name) if given is None else given
            if self._values.get(name) == value:
                continue
            if not 0.0 <= value <= 1.0:  # NaN fails too
                raise RunError(
                    f"{name} is {value}, expected 0 to 1", where=name, hint="give a fraction"
                )
            self._memory[name].fill(np.float32(value).tobytes(), stream)
            self._values[name] = value

    def close(self) -> None:
        """Free the memory."""
        for memory in self._memory.values():
            memory.close()
        self._memory.clear()

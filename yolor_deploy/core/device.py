"""Where a session runs, as a user says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from yolor_deploy.core.errors import BackendUnavailableError

_CUDA = re.compile(r"cuda(?::(0|[1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class RuntimeDevice:
    """What a network is computed on; ``None`` in its place leaves that to the runtime.

    Attributes:
        kind: ``cuda`` is a GPU of NVIDIA.
        index: Which GPU, as CUDA counts them; 0 for the CPU.
    """

    kind: Literal["cpu", "cuda"]
    index: int = 0

    @property
    def name(self) -> str:
        """As ``parse`` reads it."""
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    @staticmethod
    def parse(text: str) -> RuntimeDevice:
        """Read ``cpu``, ``cuda`` (the first GPU) or ``cuda:N``.

        Raises:
            BackendUnavailableError: It is none of them.
        """
        if text == "cpu":
            return RuntimeDevice("cpu")
        match = _CUDA.fullmatch(text)
        if match is None:
            raise BackendUnavailableError(
                f"{text!r} is not a device, expected cpu, cuda or cuda:N",
                where="--device",
                hint="give cuda:0 for the first GPU; `yolor-deploy doctor` lists them",
            )
        return RuntimeDevice("cuda", int(match[1] or 0))

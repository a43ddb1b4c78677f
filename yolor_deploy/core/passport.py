"""What is known of an engine: a plan of TensorRT tells nothing without the GPU that it is for.

The plan stays as TensorRT made it, so that other programs take it. Beside it lies ``<plan>.json``:
what it was made from, by what, for which GPU, and the hash of its bytes.

A plan is code: TensorRT runs what is in it. The hash shows that a plan is the one that the passport
describes, by accident or not; it does not show who wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from yolor_deploy.core.artifact import (
    DAMAGED_JSON,
    PASSPORT_FORMAT,
    PASSPORT_KEY,
    Artifact,
    ArtifactMeta,
    passport_path,
    require_passport_format,
    sha256_of_file,
)
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.spec import BatchRange

NmsWay = Literal["plugin", "kernels", "ops"]
"""Inside the plan by our plugin, behind it by our kernels, or inside it in standard operators."""

_OF_DAMAGE = (OSError, *DAMAGED_JSON)
_AGAIN = "build the engine again; its plan cannot be used without the file beside it"


@dataclass(frozen=True, slots=True)
class Builder:
    """What made a plan.

    Attributes:
        flavour: ``tensorrt`` or ``tensorrt_rtx``.
        version: Of it, such as ``10.16.1.11``.
        cuda_version: Newest CUDA of the driver, such as ``13.0``; empty without a driver.
        gpu: Name; empty where the plan was built without one.
        compute_capabilities: That the plan runs on.
        driver: Version of NVIDIA's driver, such as ``580.159.03``; empty where it is not known.
    """

    flavour: str
    version: str
    cuda_version: str
    gpu: str
    compute_capabilities: tuple[str, ...]
    driver: str = ""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a plan.

    Attributes:
        dtype: As NumPy calls it, such as ``float16``.
        shape: -1 where it varies.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """The plugin library that a plan needs.

    Attributes:
        version: Of the plugin.
        sha256: Of the library that it was built with.
    """

    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Passport:
    """What is known of an engine.

    Attributes:
        meta: As of every artifact.
        plan_sha256: Of the plan's bytes.
        plan_bytes: Their number.
        source_sha256: Of the model that it was built from.
        builder: What made it.
        profiles: Ranges of batch sizes; one each for what the plan was optimised for.
        inputs: By name.
        outputs: By name; of the plan, which gives raw maps where ``nms`` is ``kernels``.
        nms: How it gets its detections; None where it gives none.
        plugin: The plugin that it needs; None if none.
        options: What the builder was told.
        seconds: What parsing and building took.
    """

    meta: ArtifactMeta
    plan_sha256: str
    plan_bytes: int
    source_sha256: str
    builder: Builder
    profiles: tuple[BatchRange, ...]
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    nms: NmsWay | None
    plugin: PluginInfo | None
    options: Mapping[str, Any]
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        value = {
            name: asdict(part) if hasattr(part, "__dataclass_fields__") else part
            for name, part in (
                (name, getattr(self, name)) for name in self.__dataclass_fields__ if name != "meta"
            )
        }
        for name in ("inputs", "outputs"):
            value[name] = {key: asdict(info) for key, info in value[name].items()}
        value["profiles"] = [asdict(batch) for batch in self.profiles]
        return {
            PASSPORT_KEY: PASSPORT_FORMAT,
            **value,
            "meta": json.loads(self.meta.to_json()),
        }

    def to_text(self) -> str:
        """Return what is written."""
        return json.dumps(self.to_json(), indent=1)

    @staticmethod
    def read(plan: Path) -> Passport:
        """Read what lies beside a plan.

        Raises:
            ArtifactError: It is not there, is damaged, or is of a newer format.
        """
        path = passport_path(plan)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            require_passport_format(value, where=str(path))
            return _from_json(value, where=str(path))
        except FileNotFoundError as error:
            raise ArtifactError(
                "no passport beside the plan", where=str(path), hint=_AGAIN
            ) from error
        except BuildError as error:  # a value that no option may have
            raise ArtifactError(
                f"the passport is damaged: {error.problem}", where=str(path), hint=_AGAIN
            ) from error
        except _OF_DAMAGE as error:
            raise ArtifactError(
                f"the passport is damaged: {error!r}", where=str(path), hint=_AGAIN
            ) from error

    def require_plan(self, artifact: Artifact) -> None:
        """Refuse a plan that is not the one described here.

        Raises:
            ArtifactError: It is shorter, longer, or has another hash.
        """
        size = artifact.path.stat().st_size
        # The hash of a gigabyte takes seconds: not for a plan that was cut short
        sha256 = sha256_of_file(artifact.path) if size == self.plan_bytes else ""
        self.require_bytes(size, sha256, artifact.path)

    def require_bytes(self, num_bytes: int, sha256: str, path: Path) -> None:
        """Refuse a plan that is not the one described here.

        Args:
            num_bytes: Of the plan.
            sha256: Of its bytes.
            path: Of its file, for the error.

        Raises:
            ArtifactError: It is shorter, longer, or has another hash.
        """
        if num_bytes != self.plan_bytes:
            problem = f"the plan has {num_bytes} bytes, its passport tells {self.plan_bytes}"
            raise _changed(problem, path)
        if sha256 != self.plan_sha256:
            raise _changed("the plan has another SHA-256 than its passport tells", path)


def _changed(problem: str, path: Path) -> ArtifactError:
    return ArtifactError(
        problem,
        where=str(path),
        hint="build or copy it again; --trust loads it all the same, which runs whatever is in it",
    )


def _from_json(value: Mapping[str, Any], *, where: str) -> Passport:
    if value["nms"] not in {None, *get_args(NmsWay)}:
        raise ValueError(f"nms {value['nms']!r}")
    plugin = value["plugin"]
    return Passport(
        meta=ArtifactMeta.from_json(json.dumps(value["meta"]), where=where),
        plan_sha256=str(value["plan_sha256"]),
        plan_bytes=int(value["plan_bytes"]),
        source_sha256=str(value["source_sha256"]),
        builder=_builder(value["builder"]),
        profiles=tuple(BatchRange(**batch) for batch in value["profiles"]),
        inputs=_tensors(value["inputs"]),
        outputs=_tensors(value["outputs"]),
        nms=value["nms"],
        plugin=PluginInfo(**plugin) if plugin else None,
        options=dict(value["options"]),
        seconds=dict(value["seconds"]),
    )


def _builder(value: Mapping[str, Any]) -> Builder:
    capabilities = value["compute_capabilities"]
    texts = {name: text for name, text in value.items() if name != "compute_capabilities"}
    if not isinstance(capabilities, list):
        raise TypeError(f"compute_capabilities {capabilities!r}")
    for text in (*texts.values(), *capabilities):
        if not isinstance(text, str):
            raise TypeError(f"builder {text!r}, expected text")
    return Builder(**texts, compute_capabilities=tuple(capabilities))


def _tensors(value: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(str(info["dtype"]), tuple(map(int, info["shape"])))
        for name, info in value.items()
    }

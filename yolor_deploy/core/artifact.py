"""Files that this project writes: a portable ONNX model, or an engine for one runtime.

All that a command must know of the model is inside the file of the command before it: in ONNX,
the entry ``yolor_deploy`` of ``metadata_props``.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.spec import DetectorSpec, NmsConfig, OutputKind

METADATA_KEY = "yolor_deploy"
PASSPORT_KEY = "yolor_deploy_passport"
FORMAT = 1
PASSPORT_FORMAT = 1
DAMAGED_JSON = (
    *(AttributeError, KeyError, TypeError),
    *(ValueError, OverflowError, RecursionError),
)
"""What reading a file of ours may raise that was changed after it was written."""
_MOST_PASSPORT_BYTES = 100_000_000
_PLAN_MAGICS = {b"ftrt": "tensorrt", b"vtrt": "tensorrt_rtx"}  # the first bytes of plans
_METADATA_PROPS_FIELD = 14  # onnx.proto: ModelProto.metadata_props
_GRAPH_FIELD = 7  # onnx.proto: ModelProto.graph
_LENGTH_DELIMITED = 2


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage that an artifact went through.

    Attributes:
        stage: Its name in ``pipeline``.
        options: What it was told and what it found, JSON values only.
        versions: Libraries that took part.
        input_sha256: Hash of the file that it read; None where it read none.
    """

    stage: str
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    input_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ArtifactMeta:
    """What an artifact says of itself.

    Attributes:
        kind: ``model`` is portable ONNX, ``engine`` is for one runtime.
        spec: The detector.
        precision: Of the weights and activations, such as ``fp32``.
        output: What its outputs are.
        nms: Post-processing inside; None unless ``output`` is ``detections``.
        target: Runtime that it is for; None if portable.
        history: Stages in the order in which they ran.
    """

    kind: Literal["model", "engine"]
    spec: DetectorSpec
    precision: str
    output: OutputKind
    nms: NmsConfig | None
    target: str | None
    history: tuple[StageRecord, ...]

    def to_json(self) -> str:
        """Return the metadata as one line of JSON, the same for equal metadata."""
        value = {
            "format": FORMAT,
            "kind": self.kind,
            "spec": self.spec.to_json(),
            "precision": self.precision,
            "output": self.output,
            "nms": asdict(self.nms) if self.nms else None,
            "target": self.target,
            "history": [asdict(record) for record in self.history],
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str, *, where: str, hint: str = "export the model again") -> ArtifactMeta:
        """Read what ``to_json`` wrote.

        Args:
            text: One line of JSON.
            where: The file that it came from.
            hint: What to do if it is damaged.

        Raises:
            ArtifactError: The text is not that, or is of a newer format.
        """
        try:
            value = json.loads(text)
            if value["format"] != FORMAT:
                raise ArtifactError(
                    f"metadata has format {value['format']!r}, expected {FORMAT}",
                    where=where,
                    hint="read it with the version of yolor-deploy that wrote it",
                )
            _require_known(value)
            return ArtifactMeta(
                kind=value["kind"],
                spec=DetectorSpec.from_json(value["spec"]),
                precision=str(value["precision"]),
                output=value["output"],
                nms=NmsConfig(**value["nms"]) if value["nms"] else None,
                target=value["target"],
                history=tuple(StageRecord(**record) for record in value["history"]),
            )
        except BuildError as error:  # a value that no option may have
            raise ArtifactError(
                f"metadata is damaged: {error.problem}", where=where, hint=hint
            ) from error
        except DAMAGED_JSON as error:
            raise ArtifactError(
                f"metadata is damaged: {error!r}", where=where, hint=hint
            ) from error


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of ours on disk, read as far as its metadata."""

    path: Path
    meta: ArtifactMeta

    @staticmethod
    def read(path: Path) -> Artifact:
        """Read the metadata of an artifact; the weights stay on disk.

        An engine is a file with a passport of ours beside it, ``<name>.json``; anything else is
        ONNX. That a plan is the one of its passport is checked when it is opened.

        Raises:
            ArtifactError: Not readable, truncated, not ONNX, or without our metadata.
        """
        if path.is_file() and (meta := _meta_of_passport(passport_path(path))):
            return Artifact(path, meta)
        if looks_like_plan(path):
            raise _without_passport(path)
        text = dict(_metadata_entries(path)).get(METADATA_KEY)
        if text is None:
            raise ArtifactError(
                "ONNX file without yolor-deploy metadata",
                where=str(path),
                hint="give a file that `yolor-deploy export` wrote",
            )
        return Artifact(path, ArtifactMeta.from_json(text, where=str(path)))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return output_names(self.meta.output, num_levels=len(self.meta.spec.levels))


def _require_known(value: Mapping[str, Any]) -> None:
    """Refuse values that no artifact has.

    Raises:
        ValueError: The output is none of ours, or the target is no text.
    """
    if value["output"] not in get_args(OutputKind):
        raise ValueError(f"output {value['output']!r}")
    if value["target"] is not None and not isinstance(value["target"], str):
        raise ValueError(f"target {value['target']!r}")


def output_names(output: OutputKind, *, num_levels: int) -> tuple[str, ...]:
    """Return the names of the outputs of an artifact of that kind, in order."""
    if output == "detections":
        return ("num_detections", "boxes_xyxy", "scores", "class_ids")
    if output == "predictions":
        return ("predictions",)
    return tuple(f"raw_{level}" for level in range(num_levels))


def passport_path(plan: Path) -> Path:
    """Return where the passport of a plan lies."""
    return plan.with_name(f"{plan.name}.json")


def is_engine(path: Path) -> bool:
    """Return whether a passport of ours lies beside a file."""
    return path.is_file() and _passport_value(passport_path(path)) is not None


def looks_like_plan(path: Path) -> bool:
    """Return whether a file begins as plans of TensorRT do."""
    return plan_target(path) is not None


def plan_target(path: Path) -> str | None:
    """Return the runtime that a plan is for, by its first bytes; None if it is no plan."""
    try:
        with path.open("rb") as file:
            return _PLAN_MAGICS.get(file.read(4))
    except OSError:
        return None


def _without_passport(path: Path) -> ArtifactError:
    beside = passport_path(path)
    problem = f"a plan whose passport {beside.name} is damaged"
    hint = (
        "`yolor-deploy build` writes both; for a plan that another program built from a model of "
        f"ours, put that beside it as {path.with_suffix('.onnx').name} and give --trust"
    )
    try:
        beside.open("rb").close()
    except FileNotFoundError:
        problem = f"a plan without its passport {beside.name}"
        plan = Path(os.path.realpath(path))
        if passport_path(plan).exists():  # the name is a link, and its passport has none
            hint = f"give the file that it links to, {plan}, or link its passport too"
    except OSError as error:
        problem = f"a plan whose passport {beside.name} cannot be read: {error.strerror}"
        hint = "make it a file that you may read"
    return ArtifactError(problem, where=str(path), hint=hint)


def looks_like_onnx(path: Path) -> bool:
    """Return whether a file is a protobuf message with a graph, as far as its outline shows."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(number == _GRAPH_FIELD for number, _, _ in _fields(data))
    except (OSError, ValueError):
        return False


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _meta_of_passport(path: Path) -> ArtifactMeta | None:
    value = _passport_value(path)
    if value is None:
        return None
    require_passport_format(value, where=str(path))
    meta = ArtifactMeta.from_json(
        json.dumps(value.get("meta")), where=str(path), hint="build the engine again"
    )
    if meta.kind != "engine":
        raise ArtifactError(
            f"the passport is damaged: it tells of kind {meta.kind!r}, expected 'engine'",
            where=str(path),
            hint="build the engine again",
        )
    return meta


def require_passport_format(value: Mapping[str, Any], *, where: str) -> None:
    """Refuse a passport of another format.

    Raises:
        ArtifactError: It is newer than this program.
    """
    if value[PASSPORT_KEY] != PASSPORT_FORMAT:
        raise ArtifactError(
            f"the passport has format {value[PASSPORT_KEY]!r}, expected {PASSPORT_FORMAT}",
            where=where,
            hint="read it with the version of yolor-deploy that wrote it",
        )


def _passport_value(path: Path) -> dict[str, Any] | None:
    """Return what a passport holds; None for any other file, and for none."""
    try:
        if path.stat().st_size > _MOST_PASSPORT_BYTES:
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and PASSPORT_KEY in value else None


def _metadata_entries(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ``metadata_props`` of an ONNX file without reading its weights.

    The outline of a protobuf message can be walked field by field: a tag, then a length. onnx.load
    would read the whole file, which is more than a gigabyte for YOLOv4-P7.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            fields = list(_fields(data))
            if not any(number == _GRAPH_FIELD for number, _, _ in fields):
                raise ValueError("no graph")  # noqa: TRY301 - one place turns it into our error
            for number, begin, end in fields:
                if number == _METADATA_PROPS_FIELD:
                    body = data[begin:end]
                    entry = {n: body[b:e].decode() for n, b, e in _fields(body)}
                    yield entry.get(1, ""), entry.get(2, "")
    except FileNotFoundError as error:
        raise ArtifactError(
            "no such file", where=str(path), hint="check the path; `export` writes this file"
        ) from error
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"not a readable ONNX file: {error}",
            where=str(path),
            hint="give a file that `yolor-deploy export` wrote; if it is one, it was cut short",
        ) from error


def _fields(data: mmap.mmap | bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, begin, end) of each length-delimited field of a protobuf message.

    Raises:
        ValueError: The bytes are not a protobuf message, or end inside a field.
    """
    position, size = 0, len(data)
    while position < size:
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == _LENGTH_DELIMITED:
            length, position = _varint(data, position)
            begin, position = position, position + length
        elif kind == 0:
            _, position = _varint(data, position)
            continue
        elif kind in {1, 5}:
            begin, position = position, position + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"wire type {kind} at byte {position}")
        if number == 0 or position > size:
            raise ValueError(f"field {number} ends at byte {position} of {size}")
        if kind == _LENGTH_DELIMITED:
            yield number, begin, position


def _varint(data: mmap.mmap | bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            raise ValueError(f"ends inside a number at byte {position}")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position
    raise ValueError(f"number of more than 64 bits at byte {position}")

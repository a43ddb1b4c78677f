"""The images of a calibration: files in, the tensors that a network gets out, one at a time."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from yolor_deploy.calibration.tensors import tensor_from_file, tensors_in_file
from yolor_deploy.core.artifact import sha256_of_file
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.image import letterbox, load_image, tensor_from_images
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec
from yolor_deploy.image_files import IMAGE_SUFFIXES

CalibrationKind = Literal["images", "tensors"]

RESIZE_RULE = "opencv-linear/1"
"""What ``core.image.letterbox`` computes; the number goes up whenever its pixels change."""

_TENSOR_SUFFIX = ".npy"
_UNREADABLE_ONE_IN = 20  # at most 5 % of a set may be unreadable
_NAMED = 3  # files that a refusal names


@dataclass(frozen=True, slots=True)
class CalibrationTensor:
    """One input of the network.

    Attributes:
        name: Path of its file as given or found; ``path[3]`` for the fourth tensor of a file.
        sha256: Of the file's bytes.
        tensor: ``spec.input.dtype`` of shape ``spec.input.shape(1)``, contiguous.
        image_size: Height and width of the image in pixels before letterboxing; None for a tensor
            that was read as it is.
    """

    name: str
    sha256: str
    tensor: Array
    image_size: tuple[int, int] | None


class SkippedFile(NamedTuple):
    """A file that was left out.

    Attributes:
        name: As in ``CalibrationTensor``.
        reason: Why it cannot be used.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Item:
    path: Path
    row: int | None  # of a file that holds [n, ...]; None for one that is a single input
    name: str


class CalibrationImages:
    """An ordered set of inputs, read when they are needed; ``find_calibration_images`` makes it.

    Nothing is decoded in advance and nothing is kept: memory does not grow with the set.

    Attributes:
        kind: ``images`` go through the letterbox of inference; ``tensors`` are taken as they are.
    """

    def __init__(self, items: Sequence[_Item], kind: CalibrationKind) -> None:
        self.kind: CalibrationKind = kind
        self._items = tuple(items)
        self._errors: list[tuple[_Item, EvaluationError]] = []
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def __len__(self) -> int:
        """Number of inputs, unreadable ones included."""
        return len(self._items)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all inputs, unreadable ones included, in order."""
        return tuple(item.name for item in self._items)

    @property
    def skipped(self) -> list[SkippedFile]:
        """What the latest pass of ``tensors`` has left out so far."""
        return [SkippedFile(item.name, error.problem) for item, error in self._errors]

    def tensor(self, index: int, spec: DetectorSpec) -> Array:
        """Read one input.

        Args:
            index: 0..len - 1.
            spec: Of the network.

        Returns:
            ``spec.input.dtype`` of shape ``spec.input.shape(1)``, contiguous.

        Raises:
            EvaluationError: The file is unreadable, or a tensor of another form than ``spec`` says.
        """
        return self._read(self._items[index], spec).tensor

    def tensors(self, spec: DetectorSpec) -> Iterator[CalibrationTensor]:
        """Read all inputs in order, and leave out those that cannot be read: see ``skipped``.

        Raises:
            EvaluationError: More than 5 % of all inputs are unreadable; raised as soon as it is
                certain.
        """
        self._errors = []
        for done, item in enumerate(self._items, start=1):
            read = self._read_or_note(item, spec)
            if read is not None:
                yield read
            else:
                self._require_few_errors(done)

    def digest(self) -> str:
        """Return one SHA-256 for the whole set: the bytes of its files, and their order.

        Names do not enter it. But a folder is read in the order of names, so a file that is renamed
        past another one changes the digest. Pixels are not decoded: what a decoder cannot read is
        part of the set too.
        """
        whole = hashlib.sha256()
        for item in self._items:
            try:
                content = self._sha256(item)
            except EvaluationError:
                content = "unreadable"
            whole.update(f"{content} {item.row or 0}\n".encode())
        return whole.hexdigest()

    def _read_or_note(self, item: _Item, spec: DetectorSpec) -> CalibrationTensor | None:
        """Return one input; None, and its error listed, if it cannot be read."""
        try:
            return self._read(item, spec)
        except EvaluationError as error:
            self._errors.append((item, error))
            return None

    def _read(self, item: _Item, spec: DetectorSpec) -> CalibrationTensor:
        sha256 = self._sha256(item)
        if self.kind == "tensors":
            tensor = tensor_from_file(item.path, spec.input, row=item.row)
            return CalibrationTensor(item.name, sha256, tensor, None)
        image = load_image(item.path)
        pixels, _ = letterbox(image, spec.input.height, spec.input.width, spec.letterbox)
        height, width = image.shape[:2]
        tensor = tensor_from_images([pixels], spec.input)
        return CalibrationTensor(item.name, sha256, tensor, (height, width))

    def _sha256(self, item: _Item) -> str:
        """Return the hash of a file; of an unchanged one it is computed once."""
        try:
            status = item.path.stat()
            key = (item.path, status.st_size, status.st_mtime_ns)
            if key not in self._hashes:
                self._hashes[key] = sha256_of_file(item.path)
        except OSError as error:
            raise _unreadable(item.path, error) from error
        return self._hashes[key]

    def _require_few_errors(self, done: int) -> None:
        bad, total = len(self._errors), len(self._items)
        if bad * _UNREADABLE_ONE_IN <= total:
            return
        first = self._errors[0][1]
        names = [item.name for item, _ in self._errors]
        more = f" and {bad - _NAMED} more" if bad > _NAMED else ""
        stopped = f", and the {total - done} after them were not tried" if done < total else ""
        raise EvaluationError(
            f"{bad} of {total} calibration inputs cannot be used{stopped}, expected at most 5 %: "
            f"{first.problem}",
            where=", ".join(names[:_NAMED]) + more,
            hint=first.hint,
        ) from first


def find_calibration_images(
    sources: Sequence[Path | str], *, limit: int | None = None, seed: int = 0
) -> CalibrationImages:
    """List the inputs of a calibration without reading their pixels.

    Files of images, or ``.npy`` files that the user's own preprocessing wrote: float32 or uint8, as
    the network takes, of one input or of several ([n, ...]). Of a folder the files with such a
    suffix are taken in the order of names, not those of its folders. Anything else may be a
    pattern, such as ``day?/*.jpg``. A file that is named twice counts once.

    A limit spreads over the whole list: it is cut into as many runs of equal length (within one),
    and of each run one input is drawn, by the SHA-256 of ``seed:run``. So the choice is the same on
    any machine, and does not fall into step with a list in which cameras take turns.

    Args:
        sources: Files, folders, patterns.
        limit: The most inputs to take; None for all.
        seed: Other seeds draw other inputs.

    Returns:
        In the order given; folders and patterns in the order of names.

    Raises:
        EvaluationError: Nothing is there, a folder cannot be read, image files and tensors are
            mixed, or the limit is not positive.
    """
    if limit is not None and limit < 1:
        raise EvaluationError(
            f"limit of calibration images is {limit}, expected 1 or more",
            where="calibration images",
            hint="give a positive number, such as 100",
        )
    files: dict[Path, Path] = {}  # by the file itself, however it was named
    for source in sources:
        for path in _files_of(str(source)):
            files.setdefault(path.resolve(), path)
    if not files:
        raise EvaluationError(
            "no calibration images were given",
            where="calibration images",
            hint="give a folder of images like those that the model will see",
        )
    kind = _kind_of(list(files.values()))
    items = [item for path in files.values() for item in _items_of(path, kind)]
    return CalibrationImages(items if limit is None else _spread(items, limit, seed), kind)


def preprocessing_of(spec: DetectorSpec, *, kind: CalibrationKind = "images") -> dict[str, Any]:
    """Describe how an input was made, for the manifest of a calibration.

    Ranges hold for one description only: when any value differs, they are stale.

    Args:
        spec: Of the network.
        kind: Of the set; tensors come without letterbox and resizing, for nothing is known of it.

    Returns:
        JSON values.
    """
    image = spec.input
    made_here = kind == "images"
    rule = {"pad_value": spec.letterbox.pad_value, "scale_up": spec.letterbox.scale_up}
    return {
        "kind": kind,
        "height": image.height,
        "width": image.width,
        "dtype": image.dtype,
        "layout": image.layout,
        "colours": "RGB",
        "value_range": [0, 255] if image.dtype == "uint8" else [0, 1],
        "letterbox": {**rule, "placement": "centre"} if made_here else None,
        "resize": RESIZE_RULE if made_here else None,
    }


def _files_of(source: str) -> list[Path]:
    path = Path(source)
    try:
        if path.is_dir():
            return _files_of_folder(path)
        if path.exists():
            return [path]
        if glob.has_magic(source):
            matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            found = [item for item in map(Path, matches) if item.is_file()]
            if found:
                return found
    except OSError as error:
        raise _unreadable(path, error) from error
    raise EvaluationError(
        "no such file or folder, and no file matches it as a pattern",
        where=source,
        hint="check the path; a calibration needs a folder of images, or a pattern",
    )


def _files_of_folder(folder: Path) -> list[Path]:
    suffixes = IMAGE_SUFFIXES | {_TENSOR_SUFFIX}
    found = sorted(
        item
        for item in folder.iterdir()
        # Hidden files: such as the resource forks that macOS leaves
        if item.suffix.lower() in suffixes and not item.name.startswith(".") and item.is_file()
    )
    if not found:
        raise EvaluationError(
            f"folder without images and without {_TENSOR_SUFFIX} tensors",
            where=str(folder),
            hint=f"its own folders are not searched: give '{folder}/**/*.jpg' for that",
        )
    return found


def _kind_of(files: Sequence[Path]) -> CalibrationKind:
    tensors = [path for path in files if path.suffix.lower() == _TENSOR_SUFFIX]
    if not tensors:
        return "images"
    if len(tensors) < len(files):
        raise EvaluationError(
            f"{len(files) - len(tensors)} image files and {len(tensors)} {_TENSOR_SUFFIX} files "
            "were given, expected files of one kind",
            where=str(tensors[0]),
            hint="keep what was preprocessed in a folder of its own, and give one of the two",
        )
    return "tensors"


def _items_of(path: Path, kind: CalibrationKind) -> list[_Item]:
    whole = [_Item(path, None, str(path))]
    if kind == "images":
        return whole
    try:
        count = tensors_in_file(path)
    except EvaluationError:
        return whole  # is reported, and counted, where it is read
    if count is None:
        return whole
    if count == 1:
        return [_Item(path, 0, str(path))]
    return [_Item(path, row, f"{path}[{row}]") for row in range(count)]


def _spread(items: Sequence[_Item], limit: int, seed: int) -> list[_Item]:
    """Take one item from each of ``limit`` runs of the list; all of them if there are no more."""
    total = len(items)
    if limit >= total:
        return list(items)
    chosen = []
    for run in range(limit):
        first, end = run * total // limit, (run + 1) * total // limit
        drawn = int.from_bytes(hashlib.sha256(f"{seed}:{run}".encode()).digest(), "big")
        chosen.append(items[first + drawn % (end - first)])
    return chosen


def _unreadable(path: Path, error: OSError) -> EvaluationError:
    return EvaluationError(
        f"cannot be read: {error.strerror or error}",
        where=str(path),
        hint="check that it exists and that its permissions let you read it",
    )

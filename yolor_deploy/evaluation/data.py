"""What a model is evaluated on: annotated images, and their categories as classes of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yolor_deploy.core.detections import Detections
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.image import image_size
from yolor_deploy.measure.annotations import read_annotations

ClassMatching = Literal["name", "order"]

_ANNOTATIONS = "annotations.json"
_IMAGES = "images"
_MOST_NAMED = 5  # in a message


@dataclass(frozen=True, slots=True)
class EvaluationImage:
    """An annotated image.

    Attributes:
        id: In the annotation file.
        path: Of the image file.
    """

    id: int
    path: Path


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """An annotation file that was checked against its images.

    Attributes:
        annotations: The file.
        truth: What is in it.
        images: In the order of the file.
    """

    annotations: Path
    truth: Mapping[str, Any]
    images: tuple[EvaluationImage, ...]


@dataclass(frozen=True, slots=True)
class ClassMatch:
    """Which category each class of a model is.

    Attributes:
        category_ids: By class id; None for a class that the annotations do not have.
        note: What is left out of the score because of that; empty if nothing is.
    """

    category_ids: tuple[int | None, ...]
    note: str


def files_of_folder(folder: Path) -> tuple[Path, Path]:
    """Return the annotation file and the image folder of a data set that lies in one folder.

    Raises:
        EvaluationError: ``annotations.json`` or ``images`` is missing there.
    """
    for path, is_there in (
        (folder / _ANNOTATIONS, (folder / _ANNOTATIONS).is_file()),
        (folder / _IMAGES, (folder / _IMAGES).is_dir()),
    ):
        if not is_there:
            raise EvaluationError(
                f"folder without {path.name!r}",
                where=str(folder),
                hint=f"it needs {_ANNOTATIONS} and {_IMAGES}; give --annotations FILE and "
                "--images DIR if they lie elsewhere",
            )
    return folder / _ANNOTATIONS, folder / _IMAGES


def read_data(annotations: Path, images: Path) -> EvaluationData:
    """Read annotations and the headers of the images that they list.

    Args:
        annotations: File in COCO form; its images have ``file_name``.
        images: Folder that these names are in.

    Raises:
        EvaluationError: The file is not COCO annotations, an image is missing or is no image, or
            one is not of the size that the file says: the picture behind the id is another one.
    """
    truth = read_annotations(annotations)
    listed = [
        EvaluationImage(row["id"], images / _file_name(row, number, where=str(annotations)))
        for number, row in enumerate(truth["images"])
    ]
    missing = [image for image in listed if not image.path.is_file()]
    if missing:
        raise EvaluationError(
            f"{len(missing)} of {len(listed)} images are not there; the first is image "
            f"{missing[0].id}, {missing[0].path.name!r}",
            where=str(images),
            hint=f"give the folder with the images of {annotations.name} by --images",
        )
    for row, image in zip(truth["images"], listed, strict=True):
        _require_size(row, image, where=str(annotations))
    return EvaluationData(annotations, truth, tuple(listed))


def _file_name(row: Mapping[str, Any], number: int, *, where: str) -> str:
    name = row.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        raise EvaluationError(
            f"images[{number}] has file_name {name!r}, expected the name of a file",
            where=where,
            hint="give each image the name of its file in the image folder",
        )
    return name


def _require_size(row: Mapping[str, Any], image: EvaluationImage, *, where: str) -> None:
    height, width = image_size(image.path)
    said_height, said_width = row.get("height"), row.get("width")
    said = (
        height if said_height is None else said_height,
        width if said_width is None else said_width,
    )
    if said == (height, width):
        return
    turned = " or it has an EXIF orientation that was not there," if said == (width, height) else ""
    raise EvaluationError(
        f"image {image.id} is {said[1]}x{said[0]}, but its file {image.path.name!r} is "
        f"{width}x{height}",
        where=where,
        hint=f"the file is not the one that was annotated,{turned} or the ids are wrong",
    )


def match_classes(
    data: EvaluationData, class_names: Sequence[str], *, by: ClassMatching
) -> ClassMatch:
    """Find the category of each class.

    Args:
        data: The annotations.
        class_names: Of the model.
        by: ``name`` ignores case and surrounding blanks; ``order`` takes the categories by
            ascending id, and as many of them as there are classes.

    Raises:
        EvaluationError: They do not match: an annotated category is no class of the model, two
            have the same name, or their numbers differ.
    """
    categories = sorted(data.truth["categories"], key=lambda row: int(row["id"]))
    if by == "order":
        return _match_by_order(data, categories, class_names)
    ids = {_plain(str(row["name"])): row["id"] for row in categories}
    for whose, names in (
        ("categories", [str(row["name"]) for row in categories]),
        ("classes of the model", list(class_names)),
    ):
        twice = [name for name, count in Counter(map(_plain, names)).items() if count > 1]
        if twice:
            raise EvaluationError(
                f"{_listed(twice)} is the name of several {whose}",
                where=str(data.annotations),
                hint="give each its own name, or match them with --match-classes order",
            )
    known = {_plain(name) for name in class_names}
    annotated = {row["category_id"] for row in data.truth["annotations"]}
    unknown = [
        str(row["name"])
        for row in categories
        if row["id"] in annotated and _plain(str(row["name"])) not in known
    ]
    if unknown:
        raise EvaluationError(
            f"annotated categories that the model does not know: {_listed(unknown)}; its classes "
            f"are {_listed(class_names)}",
            where=str(data.annotations),
            hint="export with --names FILE if the names differ, use --match-classes order if only "
            "the order agrees, or give annotations of the model's classes",
        )
    category_ids = tuple(ids.get(_plain(name)) for name in class_names)
    return ClassMatch(category_ids, _note_of_left_out(category_ids, class_names))


def _match_by_order(
    data: EvaluationData, categories: Sequence[Mapping[str, Any]], class_names: Sequence[str]
) -> ClassMatch:
    if len(categories) != len(class_names):
        raise EvaluationError(
            f"{len(categories)} categories for {len(class_names)} classes of the model",
            where=str(data.annotations),
            hint="match them with --match-classes name, or give annotations of the model's classes",
        )
    return ClassMatch(tuple(int(row["id"]) for row in categories), "")


def _note_of_left_out(category_ids: Sequence[int | None], class_names: Sequence[str]) -> str:
    left_out = [
        name for name, known in zip(class_names, category_ids, strict=True) if known is None
    ]
    if not left_out:
        return ""
    return (
        f"{len(left_out)} of {len(class_names)} classes are not in the annotations, and their "
        f"detections are left out: {_listed(left_out)}"
    )


def _plain(name: str) -> str:
    return name.strip().casefold()


def _listed(names: Sequence[str]) -> str:
    """Return the first names, quoted, and how many more there are."""
    text = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{text} and {more} more" if more > 0 else text


def result_rows(
    image_id: int, found: Detections, category_ids: Sequence[int | None]
) -> Iterator[dict[str, Any]]:
    """Yield detections in the COCO result form, without those of no category."""
    for (left, top, right, bottom), score, class_id in zip(
        found.boxes_xyxy, found.scores, found.class_ids, strict=True
    ):
        category_id = category_ids[class_id]
        if category_id is not None:
            yield {
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
                "score": float(score),
            }

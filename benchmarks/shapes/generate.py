"""Draw the data set: pictures of shapes with COCO annotations, the same for the same seed.

From the root of the repository::

    python -m benchmarks.shapes.generate out/shapes/val --split val
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from benchmarks.shapes.render import CLASS_NAMES
from benchmarks.shapes.scene import Scene, draw_scene
from yolor_deploy.cli.progress import progress

Split = Literal["train", "val", "calibration"]
SPLITS: tuple[Split, ...] = get_args(Split)
DEFAULT_COUNT: dict[Split, int] = {"train": 4000, "val": 200, "calibration": 100}
DEFAULT_SEED = 0
ANNOTATIONS = "annotations.json"
IMAGES = "images"


def scene(split: Split, index: int, *, seed: int = DEFAULT_SEED) -> Scene:
    """Draw picture number ``index`` of a split.

    Every picture has a random stream of its own, so splits never share one, and a picture does not
    depend on how many others are drawn.
    """
    stream = np.random.SeedSequence([seed, SPLITS.index(split), index])
    return draw_scene(np.random.Generator(np.random.PCG64(stream)))


def generate(
    out_dir: Path,
    split: Split,
    *,
    count: int | None = None,
    seed: int = DEFAULT_SEED,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``images/NNNNNN.png`` and ``annotations.json`` in COCO form.

    Args:
        out_dir: Is made if it does not exist; files of the same name are replaced.
        split: Which pictures.
        count: How many; None for the usual number of that split.
        seed: Other seeds give other data sets.
        progress: Called with the number of pictures written and their total.

    Returns:
        The annotation file, which is written last.
    """
    total = DEFAULT_COUNT[split] if count is None else count
    folder = out_dir / IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(total):
        drawn = scene(split, index, seed=seed)
        name = f"{index:06d}.png"
        Image.fromarray(drawn.picture).save(folder / name, compress_level=1)
        height, width = drawn.picture.shape[:2]
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for shape in drawn.annotations:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": shape.kind + 1,
                    "bbox": list(shape.box_xywh),
                    "area": shape.area,
                    "iscrowd": 0,
                }
            )
        if progress:
            progress(index + 1, total)
    return _write(out_dir / ANNOTATIONS, split, images=images, annotations=annotations)


def _write(
    path: Path, split: Split, *, images: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> Path:
    value = {
        "info": {"description": f"yolor-deploy shapes, {split}", "version": "1"},
        "licenses": [{"id": 1, "name": "Apache-2.0"}],
        "categories": [
            {"id": kind + 1, "name": name, "supercategory": "shape"}
            for kind, name in enumerate(CLASS_NAMES)
        ],
        "images": images,
        "annotations": annotations,
    }
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)
    return path


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--split", choices=SPLITS, default="val")
    parser.add_argument("--count", type=int, help="default: train 4000, val 200, calibration 100")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    given = parser.parse_args()
    with progress("drawing") as advance:
        written = generate(
            given.out_dir, given.split, count=given.count, seed=given.seed, progress=advance
        )
    print(written)


if __name__ == "__main__":
    main()

"""Pictures as a network takes them: letterboxed once, varied at random whenever seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.shapes.generate import Split, scene
from benchmarks.shapes.render import Picture
from yolor_deploy.core.image import letterbox
from yolor_deploy.core.spec import LetterboxRule


class Batch(NamedTuple):
    """What one training step sees.

    Attributes:
        images: float32 [n, 3, size, size], 0..1.
        targets: float32 [m, 6]: image in the batch, class, centre x, centre y, width, height in
            pixels of the square.
    """

    images: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Pictures:
    """A split in memory.

    Attributes:
        pictures: uint8 [n, size, size, 3].
        boxes: Per picture float32 [k, 5]: class, centre x, centre y, width, height in pixels.
    """

    pictures: Picture
    boxes: tuple[npt.NDArray[np.float32], ...]

    def batches(self, rng: np.random.Generator, *, batch: int) -> Iterator[Batch]:
        """Yield each picture once, in random order, turned and recoloured at random."""
        order = rng.permutation(len(self.boxes))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = [self._varied(rng, int(k)) for k in order[start : start + batch]]
            images = np.stack([picture for picture, _ in chosen])
            rows = [np.insert(boxes, 0, k, axis=1) for k, (_, boxes) in enumerate(chosen)]
            tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
            targets = torch.from_numpy(np.concatenate(rows).astype(np.float32))
            yield Batch(tensor.contiguous(memory_format=torch.channels_last), targets)

    def _varied(
        self, rng: np.random.Generator, index: int
    ) -> tuple[Picture, npt.NDArray[np.float32]]:
        """Flip, transpose, and permute the colour channels: no shape changes its name by that."""
        picture, boxes = self.pictures[index], self.boxes[index].copy()
        size = picture.shape[0]
        if rng.random() < 0.5:  # noqa: PLR2004
            picture = picture[:, ::-1]
            boxes[:, 1] = size - boxes[:, 1]
        if rng.random() < 0.5:  # noqa: PLR2004
            picture = picture[::-1]
            boxes[:, 2] = size - boxes[:, 2]
        if rng.random() < 0.5:  # noqa: PLR2004
            picture = picture.transpose(1, 0, 2)
            boxes = boxes[:, [0, 2, 1, 4, 3]]
        return picture[:, :, rng.permutation(3)], boxes


def load_pictures(
    split: Split, *, count: int, size: int, seed: int, workers: int | None = None
) -> Pictures:
    """Draw a split into memory, letterboxed into squares as a detector does it."""
    draw = partial(_drawn, split, size, seed)
    with ProcessPoolExecutor(workers or os.cpu_count(), get_context("spawn")) as pool:
        drawn = list(pool.map(draw, range(count), chunksize=50))
    return Pictures(np.stack([picture for picture, _ in drawn]), tuple(boxes for _, boxes in drawn))


def load_cached(path: Path, split: Split, *, count: int, size: int, seed: int) -> Pictures:
    """Read a split from ``path``, or draw it and keep it there."""
    if path.exists():
        with np.load(path) as file:
            boxes = np.split(file["boxes"], file["ends"][:-1])
            return Pictures(file["pictures"], tuple(boxes))
    loaded = load_pictures(split, count=count, size=size, seed=seed)
    ends = np.cumsum([len(boxes) for boxes in loaded.boxes])
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, pictures=loaded.pictures, boxes=np.concatenate(loaded.boxes), ends=ends)
    temporary.replace(path)
    return loaded


def _drawn(
    split: Split, size: int, seed: int, index: int
) -> tuple[Picture, npt.NDArray[np.float32]]:
    drawn = scene(split, index, seed=seed)
    picture, placed = letterbox(drawn.picture, size, size, LetterboxRule())
    rows = [
        (
            item.kind,
            (item.box_xywh[0] + item.box_xywh[2] / 2) * placed.gain + placed.pad_x_px,
            (item.box_xywh[1] + item.box_xywh[3] / 2) * placed.gain + placed.pad_y_px,
            item.box_xywh[2] * placed.gain,
            item.box_xywh[3] * placed.gain,
        )
        for item in drawn.annotations
    ]
    return picture, np.array(rows, np.float32).reshape(-1, 5)

"""YolorNMS beside torchvision: the same head maps, in one process, in turn.

    python -m benchmarks.nms.against_torchvision FOLDER [--library FILE]

FOLDER holds the scenes that ``nms_bench --dump FOLDER`` wrote. Two ways of doing it with
torchvision are measured: the authors' (decode every anchor, then ``batched_nms`` on what is above
the threshold), and a frugal one (objectness first, decode only what is left). Prints JSON:
microseconds, on the GPU's clock (events) and on the wall's, a synchronisation after each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from yolor_deploy.core.spec import BatchRange, DetectorSpec, HeadLevel, InputSpec, NmsConfig
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.cuda.nms import DeviceNms

_DEVICE = "cuda"
_WARM_UP = 20
_SAMPLES = 200
Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # boxes_xyxy, scores, class_ids


class Scene:
    """Head maps of a detector on the GPU, and what to do with them."""

    def __init__(self, path: Path) -> None:
        facts = json.loads(path.read_text(encoding="utf-8"))
        self.name = str(facts["name"])
        self.config = NmsConfig(
            score_threshold=facts["score_threshold"],
            iou_threshold=facts["iou_threshold"],
            max_detections=facts["max_detections"],
            max_candidates=facts["max_candidates"],
        )
        self.maps = [
            torch.from_numpy(
                np.fromfile(path.parent / level["file"], np.float16).reshape(level["shape"])
            ).to(_DEVICE)
            for level in facts["levels"]
        ]
        finest = facts["levels"][0]
        height, width = (side * finest["stride"] for side in finest["shape"][2:])
        self.spec = DetectorSpec(
            family="benchmark",
            variant=self.name,
            class_names=tuple(map(str, range(facts["num_classes"]))),
            levels=tuple(
                HeadLevel(
                    level["stride"],
                    tuple(zip(level["anchors_px"][::2], level["anchors_px"][1::2], strict=True)),
                )
                for level in facts["levels"]
            ),
            input=InputSpec(height, width, batch=BatchRange()),
        )
        self.cells = [
            _cells(raw, level) for raw, level in zip(self.maps, self.spec.levels, strict=True)
        ]


def _cells(raw: torch.Tensor, level: HeadLevel) -> torch.Tensor:
    """Return column, row, anchor width and height, stride of each box, float32 [boxes, 5]."""
    height, width = raw.shape[2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=_DEVICE), torch.arange(width, device=_DEVICE), indexing="ij"
    )
    parts = [
        torch.stack(
            [
                columns.flatten().float(),
                rows.flatten().float(),
                *(torch.full((height * width,), side, device=_DEVICE) for side in anchor),
                torch.full((height * width,), float(level.stride), device=_DEVICE),
            ],
            dim=1,
        )
        for anchor in level.anchors_px
    ]
    return torch.cat(parts)


def _boxes(values: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Decode sigmoids of x, y, w, h, [k, 4], to corners in pixels."""
    centre = (values[:, :2] * 2 - 0.5 + cells[:, :2]) * cells[:, 4:5]
    half = (values[:, 2:4] * 2) ** 2 * cells[:, 2:4] * 0.5
    return torch.cat([centre - half, centre + half], dim=1)


def _suppress(
    scene: Scene, boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor
) -> Rows:
    config = scene.config
    if len(scores) > config.max_candidates:
        scores, order = scores.topk(config.max_candidates)
        boxes, classes = boxes[order], classes[order]
    kept = torchvision.ops.batched_nms(boxes, scores, classes, config.iou_threshold)
    kept = kept[: config.max_detections]
    return boxes[kept], scores[kept], classes[kept]


def authors_way(scene: Scene) -> Rows:
    """Decode everything, then select: what the authors' ``non_max_suppression`` does."""
    num_values = 5 + scene.spec.num_classes
    rows = torch.cat(
        [
            raw.view(level.num_anchors, num_values, -1).transpose(1, 2).reshape(-1, num_values)
            for raw, level in zip(scene.maps, scene.spec.levels, strict=True)
        ]
    )
    values = rows.float().sigmoid()
    cells = torch.cat(scene.cells)
    scores = values[:, 4:5] * values[:, 5:]
    boxes, classes = (scores > scene.config.score_threshold).nonzero(as_tuple=True)
    decoded = _boxes(values[boxes], cells[boxes])
    return _suppress(scene, decoded, scores[boxes, classes], classes)


def frugal_way(scene: Scene) -> Rows:
    """Look at the objectness first, and decode only what it leaves."""
    num_values = 5 + scene.spec.num_classes
    threshold = scene.config.score_threshold
    parts = []
    for raw, cells, level in zip(scene.maps, scene.cells, scene.spec.levels, strict=True):
        planes = raw.view(level.num_anchors, num_values, -1)
        sure = (planes[:, 4].float().sigmoid() > threshold).flatten().nonzero().squeeze(1)
        anchors = sure // planes.shape[2]
        values = planes[anchors, :, sure - anchors * planes.shape[2]].float().sigmoid()
        parts.append((values, cells[sure]))
    values = torch.cat([part[0] for part in parts])
    cells = torch.cat([part[1] for part in parts])
    scores = values[:, 4:5] * values[:, 5:]
    boxes, classes = (scores > threshold).nonzero(as_tuple=True)
    decoded = _boxes(values[boxes], cells[boxes])
    return _suppress(scene, decoded, scores[boxes, classes], classes)


def agreement(rows: Rows, found: dict[str, Any]) -> dict[str, Any]:
    """Compare rows of torchvision with ours, in order.

    Equal scores and boxes on the edge of a threshold may fall the other way: both are counted.
    """
    count = int(found["num_detections"].item())
    boxes, scores, classes = (part.cpu().numpy() for part in rows)
    same = min(count, len(scores))
    close = (
        np.isclose(scores[:same], found["scores"][0, :same], rtol=0, atol=1e-6)
        & (classes[:same] == found["class_ids"][0, :same])
        & np.isclose(boxes[:same], found["boxes_xyxy"][0, :same], rtol=2e-6, atol=1e-3).all(axis=1)
    )
    return {"ours": count, "torchvision": len(scores), "same_rows": int(close.sum())}


def measure(scene: Scene, library: NmsLibrary) -> dict[str, Any]:
    """Time all ways in turn."""
    nms = DeviceNms(scene.spec, scene.config, library=library)
    graph = nms.capture(scene.maps)
    stream = torch.cuda.current_stream()
    found = dict(nms.run(scene.maps, stream=stream).to_host())
    boxes, scores, classes = frugal_way(scene)
    ways: dict[str, Callable[[], object]] = {
        "yolor_nms_graph": lambda: graph.graph.launch(stream.cuda_stream),
        "yolor_nms_call": lambda: nms.run(scene.maps, stream=stream),
        "torchvision_authors_way": lambda: authors_way(scene),
        "torchvision_frugal_way": lambda: frugal_way(scene),
        "torchvision_batched_nms_alone": lambda: torchvision.ops.batched_nms(
            boxes, scores, classes, scene.config.iou_threshold
        ),
    }
    samples = _interleaved(ways)
    ours = np.median(samples["yolor_nms_graph"]["gpu_us"])
    result: dict[str, Any] = {
        "name": scene.name,
        "agreement": {
            "authors_way": agreement(authors_way(scene), found),
            "frugal_way": agreement(frugal_way(scene), found),
        },
        "ways": {name: _summary(values) for name, values in samples.items()},
        "torchvision_over_ours_gpu": {
            name: round(float(np.median(values["gpu_us"]) / ours), 2)
            for name, values in samples.items()
        },
    }
    nms.close()
    return result


def _interleaved(ways: dict[str, Callable[[], object]]) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {
        name: {"gpu_us": [], "wall_us": []} for name in ways
    }
    start: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    for turn in range(_WARM_UP + _SAMPLES):
        for name, work in ways.items():
            torch.cuda.synchronize()
            began = time.perf_counter()
            start.record()
            work()
            end.record()
            torch.cuda.synchronize()
            wall_us = 1e6 * (time.perf_counter() - began)
            if turn >= _WARM_UP:
                samples[name]["gpu_us"].append(1e3 * start.elapsed_time(end))
                samples[name]["wall_us"].append(wall_us)
    return samples


def _summary(samples: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        clock: {
            "p50": round(float(np.percentile(values, 50)), 2),
            "p99": round(float(np.percentile(values, 99)), 2),
            "min": round(min(values), 2),
        }
        for clock, values in samples.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every scene of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--library", type=Path, help="instead of the package's")
    options = parser.parse_args(arguments)
    library = NmsLibrary(options.library)
    scenes = [Scene(path) for path in sorted(options.folder.glob("*.json"))]
    results = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "device": torch.cuda.get_device_name(),
        "scenes": [measure(scene, library) for scene in scenes],
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()

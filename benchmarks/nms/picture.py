"""Draw ``docs/nms.png`` from ``benchmarks/results/nms_gpu.json``.

python -m benchmarks.nms.picture
"""

from __future__ import annotations

import json
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.process import ROOT

_OURS, _OTHERS, _GREY = "#0b6e4f", "#b3541e", "#777777"


def density(cases: list[dict[str, Any]], threshold: float) -> tuple[list[int], list[float]]:
    """Return candidates and median microseconds of the density curve at a threshold."""
    points = [
        (case["candidates"], case["warm_us"]["p50"])
        for case in cases
        if case["name"].startswith("density") and case["score_threshold"] == threshold
    ]
    candidates, medians = zip(*sorted(points), strict=True)
    return list(candidates), list(medians)


def main() -> None:
    """Draw it."""
    report = json.loads((ROOT / "benchmarks/results/nms_gpu.json").read_text(encoding="utf-8"))
    results = {step["name"]: step.get("result") for step in report["steps"]}
    bench = results["nms_bench"]
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 4.6), dpi=110)
    for threshold, style in ((0.25, "-o"), (0.001, "--s")):
        candidates, medians = density(bench["cases"], threshold)
        label = f"YolorNMS from raw maps, score threshold {threshold:g}"
        axes.plot(candidates, medians, style, color=_OURS, label=label, markersize=5)
    scenes = {scene["name"]: scene for scene in results["against torchvision"]["scenes"]}
    named = {case["name"]: case for case in bench["cases"]}
    for way, marker in (("torchvision_authors_way", "^"), ("torchvision_batched_nms_alone", "v")):
        points = [
            (named[name]["candidates"], scenes[name]["ways"][way]["gpu_us"]["p50"])
            for name in ("p6", "p6-4096")
        ]
        label = way.replace("_", " ").replace("torchvision", "torchvision,")
        axes.plot(*zip(*points, strict=True), ":" + marker, color=_OTHERS, label=label)
    floor = bench["device"]["floors_us"]["empty_graph"]["p50"]
    axes.axhline(floor, color=_GREY, linewidth=1, label="a graph of one empty kernel")
    axes.set_xscale("symlog", linthresh=10)
    axes.set_yscale("log")
    axes.set_xlim(-1, 40_000)
    axes.set_xlabel("candidates above the threshold (100 objects from 100 on)")
    axes.set_ylabel("microseconds, median")
    axes.set_title(
        f"YOLOR-P6 post-processing, 102 000 boxes x 80 classes, float16, {bench['device']['name']}",
        fontsize=10,
    )
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 0.86))
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "nms.png")
    print("wrote docs/nms.png")


if __name__ == "__main__":
    main()

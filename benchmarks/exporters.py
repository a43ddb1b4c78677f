"""The project's ONNX writer against torch's exporter: time, memory, nodes, and the same outputs.

``python -m benchmarks.exporters`` exports the folded YOLOR-P6 at 1280 with each, in processes of
their own, and lets onnxsim look for something to simplify in both.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process import run, write_result

NAME = "yolor-p6"
SEED = 0


def main() -> None:
    """Measure both writers, compare their files, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writer", choices=WRITERS, help="internal: run one writer here")
    parser.add_argument("--file", type=Path, help="internal: where it writes")
    parser.add_argument("--size", type=int, default=1280)
    given = parser.parse_args()
    if given.writer:
        print(json.dumps(measure(given.writer, given.file, given.size)))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = {writer: Path(folder) / f"{writer}.onnx" for writer in WRITERS}
        results: dict[str, Any] = {}
        for writer, file in files.items():
            command = [sys.executable, "-m", "benchmarks.exporters", "--writer", writer]
            finished = run([*command, "--file", str(file), "--size", str(given.size)])
            results[writer] = {**json.loads(finished.stdout), **simplified(file)}
            print(writer, {k: v for k, v in results[writer].items() if k != "operators"})
        results["max_difference"] = difference(*files.values(), size=given.size)
    print(f"largest difference of their outputs: {results['max_difference']:.1e}")
    write_result("exporters", "python -m benchmarks.exporters", results)


def measure(writer: str, file: Path, size: int) -> dict[str, Any]:
    """Fold the model, then write it; the second step alone is timed."""
    import onnx

    from yolor_deploy import families
    from yolor_deploy.nn.fold import fold

    checkpoint = families.random_checkpoint(NAME, seed=SEED)
    family = families.family_of(checkpoint)
    spec = family.spec(checkpoint)
    spec = replace(spec, input=replace(spec.input, height=size, width=size))
    folded, _ = fold(family.module(checkpoint))
    folded.float()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    WRITERS[writer](folded, spec, file)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = onnx.load(file)
    operators = Counter(node.op_type for node in model.graph.node)
    return {
        "seconds": round(seconds, 3),
        "peak_rss_rise_bytes": (after - before) * 1024,
        "opset": next(o.version for o in model.opset_import if not o.domain),
        "ir_version": model.ir_version,
        "nodes": sum(operators.values()),
        "operators": dict(operators.most_common()),
        "first_node_names": [node.name for node in model.graph.node[:4]],
    }


def write_ours(folded: Any, spec: Any, file: Path) -> None:
    """Write with ``graph.from_module``."""
    from yolor_deploy.graph.from_module import onnx_from_module
    from yolor_deploy.graph.write import write_model

    write_model(onnx_from_module(folded, spec), file)


def write_torch(folded: Any, spec: Any, file: Path) -> None:
    """Write with ``torch.onnx.export``, its current exporter, asked for the same opset."""
    import torch

    images = torch.zeros(1, 3, spec.input.height, spec.input.width)
    names = [f"raw_{level}" for level in range(len(spec.levels))]
    torch.onnx.export(
        folded,
        (images,),
        file,
        dynamo=True,
        opset_version=17,
        input_names=["images"],
        output_names=names,
        external_data=False,
        verbose=False,
    )


def simplified(file: Path) -> dict[str, int]:
    """Return how many nodes onnxsim leaves."""
    import onnx
    import onnxsim

    model, _ = onnxsim.simplify(onnx.load(file))
    return {"nodes_after_onnxsim": len(model.graph.node)}


def difference(first: Path, second: Path, *, size: int) -> float:
    """Return the largest difference between the outputs of two files on one drawn image."""
    import onnxruntime

    image = np.random.default_rng(SEED).random((1, 3, size, size), np.float32)
    outputs = []
    for file in (first, second):
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"images": image}))
    return max(float(np.abs(a - b).max()) for a, b in zip(*outputs, strict=True))


WRITERS = {"yolor-deploy": write_ours, "torch": write_torch}

if __name__ == "__main__":
    main()

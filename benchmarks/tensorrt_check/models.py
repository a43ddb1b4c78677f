"""Make the models that engines are checked with; needs PyTorch, and no TensorRT.

    python -m benchmarks.tensorrt_check.models FOLDER

Writes ``yolor-p6.onnx`` (1280 pixels, batches of 1 to 4) and the trained ``shapes.onnx``. Drawn
weights alone are a poor test: their raw maps vary by a hundredth around the biases, and a map of
constants would nearly pass. So each head is widened until its map varies by about 0.3.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.process import ROOT
from yolor_deploy import families
from yolor_deploy.core.spec import BatchRange, NmsConfig
from yolor_deploy.graph.plugin_head import MOST_RANKED
from yolor_deploy.pipeline import ExportConfig, export
from yolor_deploy.proof import seeded_images

NAME = "yolor-p6"
BATCH = BatchRange(1, 1, 4)
SIZE = (1280, 1280)
_SPREAD = 0.3  # of a raw map over the image; at 1 the best boxes, far out, have no width
_SHAPES = ROOT / "examples" / "shapes"


def lively_checkpoint(name: str, path: Path, *, side: int, seed: int = 0) -> Path:
    """Write a checkpoint of drawn weights whose raw maps vary as those of trained ones do.

    Args:
        name: Of a published model.
        path: Of the state dict that is written.
        side: Of the square image that tells how much they vary, pixels.
        seed: Of weights and image.
    """
    checkpoint = families.random_checkpoint(name, seed=seed)
    network = families.family_of(checkpoint).module(checkpoint).eval()
    pixels = torch.from_numpy(seeded_images(1, side, side, seed=seed))
    outputs: dict[nn.Conv2d, torch.Tensor] = {}

    def keep(conv: nn.Module, _: Any, output: torch.Tensor) -> None:
        if isinstance(conv, nn.Conv2d):
            outputs[conv] = output

    hooks = [
        module.register_forward_hook(keep)
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.bias is not None
    ]
    with torch.inference_mode():
        maps = network(pixels.permute(0, 3, 1, 2).float() / 255)
    for hook in hooks:
        hook.remove()
    channels = {raw.shape[1] for raw in maps}
    for conv, output in outputs.items():
        if output.shape[1] in channels:
            _widen(conv, output)
    torch.save(network.state_dict(), path)
    return path


def _widen(conv: nn.Conv2d, output: torch.Tensor) -> None:
    """Scale a convolution: its output varies by as much as is wanted, around the same mean."""
    assert conv.bias is not None
    gain = _SPREAD / output.std((2, 3)).mean()
    mean = output.mean((0, 2, 3))
    with torch.no_grad():
        conv.bias.copy_(mean - gain * (mean - conv.bias))
        conv.weight.mul_(gain)


def make_models(folder: Path) -> list[Path]:
    """Export both models, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = ExportConfig(
        str(_SHAPES / "shapes.pt"),
        output=folder / "shapes.onnx",
        cfg=str(_SHAPES / "shapes.cfg"),
        names=_SHAPES / "shapes.names",
        batch=BATCH,
    )
    checkpoint = lively_checkpoint(NAME, folder / f"{NAME}.pt", side=SIZE[0])
    large = ExportConfig(
        str(checkpoint),
        output=folder / f"{NAME}.onnx",
        size=SIZE,
        batch=BATCH,
        nms=NmsConfig(max_candidates=MOST_RANKED),  # so that operators can do it too
    )
    return [export(config).artifact.path for config in (shapes, large)]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    for path in make_models(parser.parse_args().folder):
        print(path)


if __name__ == "__main__":
    main()

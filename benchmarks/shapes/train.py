"""Train the shapes detector on a CPU, and save it as the authors' training scripts do.

From the root of the repository::

    python -m benchmarks.shapes.train --run out/shapes_run --minutes 45

A run that was stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
import subprocess
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.shapes.data import Batch, Pictures, load_cached
from benchmarks.shapes.evaluate import Validation, spec_of
from benchmarks.shapes.loss import detection_loss
from yolor_deploy.checkpoint import CfgText
from yolor_deploy.core.artifact import sha256_of_file
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.network import DarknetNetwork, network_from_plan
from yolor_deploy.families.darknet.plan import plan_from_sections
from yolor_deploy.measure.accuracy import AccuracyReport

ROOT = Path(__file__).resolve().parents[2]
CFG = ROOT / "examples" / "shapes" / "shapes.cfg"
RESULTS = ROOT / "benchmarks" / "results"
SIZE = 256
BATCH = 16
PEAK_RATE, LAST_RATE = 2e-3, 0.02  # AdamW; the second is a fraction of the first
WEIGHT_DECAY = 0.02
WARM_UP_STEPS = 300
AVERAGE_DECAY = 0.999
GRADIENT_LIMIT = 10.0
EVALUATE_EVERY_S = 300.0
# While training only: a network that has learned nothing finds candidates everywhere.
QUICK = NmsConfig(score_threshold=0.02, iou_threshold=0.65, max_candidates=500)


@dataclass(slots=True)
class Progress:
    """How far a run is; what it needs to go on is stored with it.

    Attributes:
        seconds: Spent in training steps and evaluations.
        steps: Optimizer steps.
        epoch: Passes over the training pictures, the running one included.
        losses: Mean over the last steps: total, box, objectness, classes.
    """

    seconds: float = 0.0
    steps: int = 0
    epoch: int = 0
    losses: tuple[float, ...] = ()


def network_from_cfg(path: Path) -> DarknetNetwork:
    """Build the network of a cfg file with freshly drawn weights.

    Raises:
        CheckpointError: The cfg is wrong.
    """
    text = CfgText(path.name, path.read_text(encoding="utf-8"))
    return network_from_plan(plan_from_sections(parse_cfg(text)))


def prepare(network: DarknetNetwork, size: int) -> None:
    """Let an untrained head expect few objects, as there are: the loss starts lower.

    Source: Lin et al., arXiv:1708.02002, section 4.1 (prior probability).
    """
    objects = 4.0
    for head, level in zip(_head_convolutions(network), network.plan.levels, strict=True):
        assert head.bias is not None
        cells = (size / level.stride) ** 2 * level.num_anchors
        with torch.no_grad():
            bias = head.bias.view(level.num_anchors, -1)
            bias[:, 4] = -math.log(cells / objects)
            bias[:, 5:] = -math.log(network.plan.num_classes - 1)


def _head_convolutions(network: DarknetNetwork) -> list[nn.Conv2d]:
    """Return the convolutions without normalisation: those before the ``yolo`` layers."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]


def optimizer_for(network: nn.Module) -> torch.optim.AdamW:
    """Return an optimizer that decays the weights of convolutions, and nothing else."""
    convolutions = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d)}
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {
                "params": [p for p in parameters if id(p) in convolutions],
                "weight_decay": WEIGHT_DECAY,
            },
            {
                "params": [p for p in parameters if id(p) not in convolutions],
                "weight_decay": 0.0,
            },
        ],
        lr=PEAK_RATE,
        fused=True,
    )


class Trainer:
    """A network with its moving average and its optimizer.

    Args:
        network: Is trained in place.
    """

    def __init__(self, network: DarknetNetwork) -> None:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # in no stub
        self.network = network.train()
        self.average = copy.deepcopy(network).eval()
        self.optimizer = optimizer_for(network)
        self.progress = Progress()

    def step(self, batch: Batch, *, done: float) -> tuple[float, ...]:
        """Learn from one batch.

        Args:
            batch: Pictures and objects.
            done: Fraction of the run that is over, 0 to 1; the learning rate follows it.

        Returns:
            The losses: total, box, objectness, classes.
        """
        rate = PEAK_RATE * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2)
        rate *= min(1.0, (self.progress.steps + 1) / WARM_UP_STEPS)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            raw = self.network(batch.images)
        loss = detection_loss(raw, batch.targets, self.network.plan.levels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_LIMIT)
        self.optimizer.step()
        self.progress.steps += 1
        self._follow()
        return tuple(float(value.detach()) for value in loss)

    def _follow(self) -> None:
        """Move the average towards the network, quickly at first."""
        decay = AVERAGE_DECAY * (1 - math.exp(-self.progress.steps / 500))
        current = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])

    def save(self, path: Path) -> None:
        """Store all that a run needs to go on."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": [self.progress.seconds, self.progress.steps, self.progress.epoch],
        }
        temporary = path.with_suffix(".part")
        torch.save(state, temporary)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Go on from what ``save`` stored."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        seconds, steps, epoch = state["progress"]
        self.progress = Progress(float(seconds), int(steps), int(epoch))


def train(
    trainer: Trainer,
    pictures: Pictures,
    validation: Validation,
    *,
    run: Path,
    seconds: float,
    seed: int,
) -> None:
    """Train until the time is over; evaluate and store the state every few minutes."""
    progress = trainer.progress
    recent: list[tuple[float, ...]] = []
    evaluated = progress.seconds
    while progress.seconds < seconds:
        rng = np.random.default_rng([seed, progress.epoch])
        for batch in pictures.batches(rng, batch=BATCH):
            started = time.perf_counter()
            recent.append(trainer.step(batch, done=min(1.0, progress.seconds / seconds)))
            progress.seconds += time.perf_counter() - started
            if progress.seconds >= seconds:
                break
            if progress.seconds - evaluated >= EVALUATE_EVERY_S:
                evaluated = progress.seconds
                trainer.save(run / "state.pt")
                _report(progress, recent, validation.report(trainer.average, nms=QUICK))
                recent.clear()
        progress.epoch += 1
    trainer.save(run / "state.pt")


def save_as_authors(path: Path, network: nn.Module, *, fitness: float) -> None:
    """Write a checkpoint of the form that the authors' main branch leaves after training.

    Args:
        path: The ``.pt`` file.
        network: Whose weights are stored, in float32.
        fitness: Average precision, as a fraction.
    """
    weights: OrderedDict[str, Tensor] = OrderedDict(
        (name, value.detach().clone(memory_format=torch.contiguous_format))
        for name, value in network.state_dict().items()
    )
    temporary = path.with_suffix(".part")
    torch.save(
        {
            "epoch": -1,
            "best_fitness": fitness,
            "training_results": None,
            "model": weights,
            "optimizer": None,
            "wandb_id": None,
        },
        temporary,
    )
    temporary.replace(path)


def _report(progress: Progress, recent: list[tuple[float, ...]], found: AccuracyReport) -> None:
    losses = " ".join(f"{value:.4f}" for value in np.mean(recent, axis=0)) if recent else "-"
    print(
        f"{progress.seconds:7.0f} s  epoch {progress.epoch:3d}  step {progress.steps:6d}  "
        f"loss {losses}  AP {found.ap:.4f}  AP50 {found.ap50:.4f}  AP75 {found.ap75:.4f}",
        flush=True,
    )


def _result(trainer: Trainer, found: AccuracyReport, given: argparse.Namespace) -> dict[str, Any]:
    progress = trainer.progress
    return {
        "command": "python -m benchmarks.shapes.train --run out/shapes_run "
        f"--cfg examples/shapes/{given.cfg.name} --minutes {given.minutes:g} "
        f"--pictures {given.pictures} --seed {given.seed}",
        "commit": _commit(),
        "checkpoint_sha256": sha256_of_file(given.output),
        "cfg_sha256": sha256_of_file(given.cfg),
        "machine": {
            "cpu": _cpu_name(),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "seed": given.seed,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "training_pictures": given.pictures,
        "batch": BATCH,
        "training_seconds": round(progress.seconds, 1),
        "steps": progress.steps,
        "epochs": round(progress.steps * BATCH / given.pictures, 2),
        "validation": {
            "score_threshold": 0.001,
            "iou_threshold": 0.65,
            "size": SIZE,
            **found.to_json(),
        },
    }


def _commit() -> str | None:
    """Return the commit of the working tree; None outside of a repository with commits."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="folder for pictures and state")
    parser.add_argument("--minutes", type=float, default=45.0, help="training time, all starts")
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cfg", type=Path, default=CFG, help="architecture; names the output")
    parser.add_argument("--output", type=Path, help="default: the cfg's name with .pt")
    parser.add_argument("--result", type=Path, help="default: in benchmarks/results")
    given = parser.parse_args()
    given.output = given.output or given.cfg.with_suffix(".pt")
    given.result = given.result or RESULTS / f"{given.cfg.stem}_training.json"
    given.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(given.seed)
    network = network_from_cfg(given.cfg)
    prepare(network, SIZE)
    trainer = Trainer(network)
    state = given.run / "state.pt"
    if state.exists():
        trainer.load(state)
    cache = given.run / f"train_{given.pictures}_{SIZE}_{given.seed}.npz"
    pictures = load_cached(cache, "train", count=given.pictures, size=SIZE, seed=given.seed)
    validation = Validation(spec_of(network.plan.levels, SIZE), given.run / "val", seed=given.seed)
    train(
        trainer,
        pictures,
        validation,
        run=given.run,
        seconds=60 * given.minutes,
        seed=given.seed,
    )
    found = validation.report(trainer.average)
    _report(trainer.progress, [], found)
    save_as_authors(given.output, trainer.average, fitness=found.ap)
    value = _result(trainer, found, given)
    given.result.parent.mkdir(parents=True, exist_ok=True)
    given.result.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

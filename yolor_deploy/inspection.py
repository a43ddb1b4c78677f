"""What a checkpoint is, in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

from yolor_deploy.core.describe import facts_of_spec
from yolor_deploy.source import load_checkpoint


def facts_of_checkpoint(source: str, *, cfg: str | None = None) -> dict[str, Any]:
    """Explain a checkpoint: container, model, weights, where its implicit knowledge would fold.

    Args:
        source: Path.
        cfg: Darknet description.

    Raises:
        CheckpointError, UnsupportedModelError: It cannot be read, or is not of our families.
    """
    from yolor_deploy import families  # noqa: PLC0415 - torch
    from yolor_deploy.nn.fold import fold  # noqa: PLC0415 - torch

    checkpoint = load_checkpoint(source, cfg=cfg)
    family = families.family_of(checkpoint)
    spec = family.spec(checkpoint)
    network = family.module(checkpoint)
    stored = Counter(str(t.dtype).removeprefix("torch.") for t in checkpoint.tensors.values())
    if checkpoint.darknet is not None:
        stored = Counter({"float32 values": checkpoint.darknet.values.size})
    facts = {
        "file": source,
        "container": checkpoint.container,
        "sha256": checkpoint.sha256,
        **facts_of_spec(spec),
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        "stored as": ", ".join(f"{count} {kind}" for kind, count in stored.items()),
    }
    facts |= {key: value for key, value in checkpoint.facts.items() if key not in facts}
    _, sites = fold(network)
    implicit = [site for site in sites if site.kind == "implicit"]
    facts["implicit sites"] = [
        f"{site.layer}: "
        + (f"would stay, {site.kept}" if site.kept else f"folds into {', '.join(site.into)}")
        for site in implicit
    ] or "none"
    return facts

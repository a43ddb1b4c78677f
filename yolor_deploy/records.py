"""What an artifact tells of how it was made."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from yolor_deploy import __version__
from yolor_deploy.build_limits import target_of
from yolor_deploy.calibration.file import Calibration
from yolor_deploy.core.artifact import Artifact, ArtifactMeta, StageRecord, sha256_of_file
from yolor_deploy.core.spec import DetectorSpec
from yolor_deploy.options import BuildConfig, ExportConfig, method_of
from yolor_deploy.precision_stages import LoweredSites

if TYPE_CHECKING:
    from yolor_deploy.checkpoint import Checkpoint
    from yolor_deploy.nn.fold_affine import FoldSite


def origin_record(checkpoint: Checkpoint, config: ExportConfig) -> StageRecord:
    """Return what was read, as the first stage of a history."""
    options: dict[str, Any] = {
        "source": checkpoint.file,
        "container": checkpoint.container,
        "cfg": checkpoint.cfg.name if checkpoint.cfg else None,
        "facts": dict(checkpoint.facts),  # apart: a file may call a fact of its own "seed"
    }
    if checkpoint.container == "random":
        options["seed"] = config.seed
    return StageRecord("load", options, _versions("torch"), checkpoint.sha256)


def export_meta(
    config: ExportConfig, spec: DetectorSpec, origin: StageRecord, sites: Sequence[FoldSite]
) -> ArtifactMeta:
    """Describe the artifact, with all that is needed to make the same one again."""
    shown = [asdict(site) for site in sites if site.kind != "batchnorm" or site.kept]
    counts = {
        kind: sum(site.kind == kind and site.kept is None for site in sites)
        for kind in sorted({site.kind for site in sites})
    }
    fold = StageRecord(
        "fold",
        {"fold_implicit": config.fold_implicit, "folded": counts, "sites": shown},
        _versions("torch"),
    )
    write = StageRecord("onnx", {}, _versions("onnx-ir"))
    return ArtifactMeta(
        kind="model",
        spec=spec,
        precision="fp32",
        output=config.output_kind,
        nms=config.nms if config.output_kind == "detections" else None,
        target=None,
        history=(origin, fold, write),
    )


def lowered_meta(
    source: Artifact, config: BuildConfig, sites: LoweredSites, calibration: Calibration | None
) -> ArtifactMeta:
    """Describe a built artifact: what it was made from, and how."""
    history = list(source.meta.history)
    sha256 = sha256_of_file(source.path)
    if calibration is not None:
        used = method_of(config) if config.precision.quantised else None
        manifest = asdict(calibration.manifest)
        history.append(
            StageRecord("calibrate", {"method": used, **manifest}, _versions("onnxruntime"), sha256)
        )
    options = {
        "precision": config.precision.name,
        "keep": list(config.keep),
        "quantised": len(sites.quantised),
        "kept": [list(pair) for pair in sites.kept],
        "float_nodes": [list(pair) for pair in sites.float_nodes],
        "ranges": {name: list(pair) for name, pair in sites.ranges.items()},
    }
    history.append(StageRecord("lower", options, _versions("onnx-ir", "onnxruntime"), sha256))
    return replace(
        source.meta,
        precision=config.precision.name,
        target=target_of(config.precision, config.target),
        history=tuple(history),
    )


def _versions(*packages: str) -> dict[str, str]:
    return {
        "yolor-deploy": __version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }

"""Which layers stay float, so that a model of 8 bits finds what the float model finds.

Every variant is really built and really scored; nothing is added up from single layers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from yolor_deploy import __version__
from yolor_deploy.build_limits import require_buildable, require_float_network
from yolor_deploy.build_proof import sample_tensors
from yolor_deploy.calibration.file import Calibration
from yolor_deploy.calibration.images import CalibrationImages, find_calibration_images
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.errors import BackendUnavailableError, BuildError, EvaluationError
from yolor_deploy.core.runtime import Array
from yolor_deploy.graph.costs import multiply_adds_of
from yolor_deploy.output_file import require_writable
from yolor_deploy.precision_stages import lower, ranges_for
from yolor_deploy.tuning.file import Tuning, TuningStore, UnitResult
from yolor_deploy.tuning.options import TuneConfig
from yolor_deploy.tuning.run import TuningRun
from yolor_deploy.tuning.scores import (
    DEFAULT_IMAGES,
    AgreementScorer,
    AnnotatedScorer,
    Scorer,
)
from yolor_deploy.tuning.search import Budget, search
from yolor_deploy.tuning.trials import TrialModels
from yolor_deploy.tuning.units import rate_of, units_of

logger = logging.getLogger(__name__)

_RANKING_IMAGES = 2
Note = Callable[[str], None]
Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    pass


def tune(config: TuneConfig, *, note: Note = logger.info, progress: Progress = _silent) -> Tuning:
    """Find the layers that must stay float, and write what was found out.

    Each trial is stored as soon as it is done. An interrupted run, or one whose budget was spent,
    goes on where the same settings are given again; the limit and the budget may be others.

    Args:
        config: What to do.
        note: Told what is being done.
        progress: Of the calibration: images done, and all; then of the trials.

    Returns:
        The result, as it is in the file; its state is ``missed`` where no set of layers that was
        tried meets the limit: ``require_met`` makes an error of that.

    Raises:
        ArtifactError: The model cannot be read, or a file cannot be written.
        BuildError: The model is not float, or has nothing to quantise.
        EvaluationError: Images, annotations, or the file of an earlier run cannot be used.
        BackendUnavailableError: matplotlib is not installed, and a picture is wanted.
    """
    budget = Budget(config.budget_minutes, config.max_trials)
    source = _checked_source(config)
    scorer = _scorer(source, config)
    note("calibrating")
    images = config.calibration.find_images()
    calibration = ranges_for(source, config.precision, config.calibration, images, progress)
    assert calibration is not None
    models = TrialModels(
        source,
        config.precision,
        target=config.target,
        calibration=calibration,
        method=config.method,
    )
    fresh = _fresh(config, source, calibration, scorer)
    store = TuningStore(config.output_file, fresh)
    run = TuningRun(config, models, scorer, store, budget, note, progress)
    if run.needs_ranking():
        run.rank(_ranking_tensors(source, images))
    complete = search(
        [unit.name for unit in fresh.units],
        run,
        limit=config.max_ap_drop,
        signal_to_noise_db=run.signal_to_noise_db(),
    )
    run.finish(complete=complete)
    if config.picture:
        from yolor_deploy.tuning.picture import write_picture  # noqa: PLC0415 - matplotlib

        write_picture(store.tuning, config.picture_file, title=source.path.name)
    return store.tuning


def require_met(tuning: Tuning, path: Path) -> None:
    """Refuse a result that misses its limit.

    Raises:
        EvaluationError: With the best that was found.
    """
    best = tuning.verification
    assert best is not None, "tune has ended"
    if tuning.state == "met":
        return
    if not tuning.search_complete:
        hint = "run it again, with more --budget or --max-trials: it goes on from there"
    else:
        hint = "raise --max-ap-drop, or calibrate with more images or another --method"
    raise EvaluationError(
        f"AP drops by {best.drop:.2f} points with {len(best.keep)} of {len(tuning.units)} units "
        f"kept in float, the best of {len(tuning.trials)} trials; allowed are "
        f"{tuning.max_ap_drop:g}",
        where=str(path),
        hint=hint,
    )


def _checked_source(config: TuneConfig) -> Artifact:
    """Read the model, and refuse what would fail after the long work."""
    source = Artifact.read(config.model)
    if config.precision.quantised is None:
        raise BuildError(
            f"precision {config.precision.name} has nothing to choose layers for",
            where="precision",
            hint="tune for int8 or fp8",
        )
    require_buildable(source, config.precision, config.target)
    require_writable(config.output_file, inputs=[config.model])
    if config.picture:
        require_writable(config.picture_file, inputs=[config.model, config.output_file])
        if importlib.util.find_spec("matplotlib") is None:
            raise BackendUnavailableError(
                "matplotlib is not installed, which draws the picture",
                where=str(config.picture_file),
                hint="pip install 'yolor-deploy[report]', or tune with --no-picture",
            )
    return source


def _scorer(source: Artifact, config: TuneConfig) -> Scorer:
    if config.annotations is not None and config.images is not None:
        return AnnotatedScorer(
            source,
            config.annotations,
            config.images,
            matching=config.match_classes,
            limit=config.score_images,
        )
    if not config.calibration.images:
        raise EvaluationError(
            "no images to score on",
            where="--calibration",
            hint="give a folder of images, or annotated ones by --data",
        )
    images = find_calibration_images(
        config.calibration.images, limit=config.score_images or DEFAULT_IMAGES
    )
    return AgreementScorer(source, images, truth_threshold=config.truth_threshold)


def _fresh(
    config: TuneConfig, source: Artifact, calibration: Calibration, scorer: Scorer
) -> Tuning:
    """Return what is known before the first trial."""
    base, target = config.precision.base, config.target
    digest = hashlib.sha256(json.dumps(calibration.manifest.images).encode()).hexdigest()
    settings = {
        "precision": config.precision.name,
        "target": target,
        "by": config.by,
        "method": config.method,
        "calibration_images_sha256": digest,
        **scorer.settings,
    }
    assumptions = {
        "score": scorer.description,
        "predicted_time": (
            f"arithmetic alone: an 8-bit multiply-add takes 1/{rate_of(target, base):.3g} of the "
            f"time of one in {base} on {target}; predicted, not measured"
        ),
        "version": __version__,
    }
    return Tuning(
        sha256_of_file(source.path),
        settings,
        assumptions,
        max_ap_drop=config.max_ap_drop,
        units=_units(config, source, calibration),
    )


def _units(
    config: TuneConfig, source: Artifact, calibration: Calibration
) -> tuple[UnitResult, ...]:
    """Return what can be kept or quantised, with its share of the multiply-adds."""
    from yolor_deploy.graph.nms_head import detach_head  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.read import read_model  # noqa: PLC0415 - onnx

    network, lowered = read_model(config.model), read_model(config.model)
    for model in (network, lowered):
        detach_head(model)
    require_float_network(network, where=str(config.model))
    total = sum(multiply_adds_of(network).values())
    _, sites = lower(
        lowered,
        replace(config.precision, base="fp32"),
        target=config.target,
        calibration=calibration,
        method=config.method,
    )
    if not sites.quantised:
        raise BuildError(
            "no convolution of the network can be quantised",
            where=str(source.path),
            hint="build it in fp16",
        )
    found = units_of(network, sites.quantised, config.by)
    return tuple(UnitResult(u.name, u.layers, u.multiply_adds / total) for u in found)


def _ranking_tensors(source: Artifact, images: CalibrationImages | None) -> list[Array]:
    tensors = list(sample_tensors(source, images))
    return tensors[:: max(1, len(tensors) // _RANKING_IMAGES)][:_RANKING_IMAGES]

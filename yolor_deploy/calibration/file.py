"""What calibration has seen, on disk: it goes on where it stopped, and later builds reuse it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.whole_file import whole_file
from yolor_deploy.measure.histogram import BINS, Histogram

FORMAT = 1
_HINT = "give another file with --calibration-file, or remove this one to calibrate anew"


@dataclass(frozen=True, slots=True)
class CalibrationManifest:
    """What the ranges of a calibration are of.

    Attributes:
        model_sha256: Of the file of the float model.
        preprocessing: How the inputs were made; see ``preprocessing_of``.
        images: (name, SHA-256 of its file) of each input that was seen, in order.
        skipped: (name, reason) of each that could not be read.
        findings: What looks wrong about the inputs.
        complete: Whether all inputs have been seen.
    """

    model_sha256: str
    preprocessing: Mapping[str, Any]
    images: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    complete: bool = False


@dataclass(slots=True)
class Calibration:
    """The distributions of all values of a network over the images seen so far."""

    manifest: CalibrationManifest
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def merged(self, names: tuple[str, ...]) -> Histogram:
        """Return the distribution of several values together.

        Raises:
            EvaluationError: One of them was not seen: the calibration is of another network.
        """
        total: Histogram | None = None
        for name in names:
            if name not in self.histograms:
                raise EvaluationError(
                    f"calibration has no values of {name!r}",
                    where="calibration",
                    hint="calibrate this model; a calibration of another one does not serve",
                )
            histogram = self.histograms[name]
            total = histogram if total is None else total.merged(histogram)
        assert total is not None, "a group has at least one value"
        return total


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    names = list(calibration.histograms)
    seen = [calibration.histograms[name] for name in names]
    manifest = {"format": FORMAT, **asdict(calibration.manifest)}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            manifest=np.frombuffer(json.dumps(manifest).encode(), np.uint8),
            names=np.array(names, np.str_),
            counts=np.array([h.counts for h in seen], np.int64).reshape(-1, BINS),
            limits=np.array([h.limit for h in seen], np.float64),
            minima=np.array([h.minimum for h in seen], np.float64),
            maxima=np.array([h.maximum for h in seen], np.float64),
            seen=np.array([h.seen for h in seen], np.int64),
            nonfinite=np.array([h.nonfinite for h in seen], np.int64),
            tiny=np.array([h.tiny for h in seen], np.int64),
        )


def read_calibration(path: Path) -> Calibration:
    """Read what ``write_calibration`` wrote.

    Raises:
        EvaluationError: Missing, damaged, or something else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            manifest = json.loads(data["manifest"].tobytes())
            if manifest.pop("format") != FORMAT:
                raise ValueError("another format")  # noqa: TRY301 - one place makes it our error
            rows = zip(
                data["names"].tolist(),
                data["limits"].tolist(),
                data["counts"],
                data["minima"].tolist(),
                data["maxima"].tolist(),
                data["seen"].tolist(),
                data["nonfinite"].tolist(),
                data["tiny"].tolist(),
                strict=True,
            )
            histograms = {name: Histogram(*values) for name, *values in rows}
        for key in ("images", "skipped"):
            manifest[key] = tuple((str(name), str(value)) for name, value in manifest[key])
        manifest["findings"] = tuple(manifest["findings"])
        return Calibration(CalibrationManifest(**manifest), histograms)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise EvaluationError(
            f"not a readable calibration: {error}", where=str(path), hint=_HINT
        ) from error


def require_same(
    found: CalibrationManifest, *, model_sha256: str, preprocessing: Mapping[str, Any], path: Path
) -> None:
    """Refuse a calibration of another model, or of inputs that were made in another way.

    Raises:
        EvaluationError: With what differs.
    """
    if found.model_sha256 != model_sha256:
        raise EvaluationError(
            f"calibration of another model: SHA-256 {found.model_sha256[:12]}, this one has "
            f"{model_sha256[:12]}",
            where=str(path),
            hint=_HINT,
        )
    if dict(found.preprocessing) != json.loads(json.dumps(preprocessing)):
        differing = [
            f"{key} {found.preprocessing.get(key)!r} instead of {value!r}"
            for key, value in preprocessing.items()
            if found.preprocessing.get(key) != value
        ]
        raise EvaluationError(
            f"calibration of inputs made in another way: {', '.join(differing)}",
            where=str(path),
            hint=_HINT,
        )


def require_same_image(
    found: CalibrationManifest, position: int, name: str, sha256: str, path: Path
) -> None:
    """Refuse to go on where the images are not those that were seen.

    Raises:
        EvaluationError: Naming the first that differs.
    """
    seen_name, seen_sha256 = found.images[position]
    if seen_sha256 != sha256:
        raise EvaluationError(
            f"calibration is stale: its image {position + 1} was {seen_name} with SHA-256 "
            f"{seen_sha256[:12]}, now it is {name} with {sha256[:12]}",
            where=str(path),
            hint=_HINT,
        )

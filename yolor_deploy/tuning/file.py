"""The file of ``tune``: every trial as soon as it is done, and what was chosen in the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.whole_file import whole_file
from yolor_deploy.output_file import unwritable
from yolor_deploy.tuning.search import Purpose, pareto_front

FORMAT = 1
_KIND = "yolor-deploy tuning"
State = Literal["running", "met", "missed"]


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What is known of a unit.

    Attributes:
        name: Of the layer or block.
        layers: Names of its convolutions.
        share: Of the multiply-adds of the network, 0..1.
        signal_to_noise_db: Of the raw maps where it alone is quantised; None if not looked at.
    """

    name: str
    layers: tuple[str, ...]
    share: float
    signal_to_noise_db: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of units in float, all others in 8 bits, and its score.

    Attributes:
        keep: Names of the units that stay float, sorted.
        purpose: What it was run for.
        score: 0..1.
        drop: What that is below the float model, in points; below 0 if it is better.
        float_share: Share of the multiply-adds that stay in float, 0..1.
        predicted_time: Relative to all in float; predicted, not measured.
        changes: What became of the boxes of the float model.
        seconds: That it took.
    """

    keep: tuple[str, ...]
    purpose: Purpose
    score: float
    drop: float
    float_share: float
    predicted_time: float
    changes: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Verification:
    """The chosen set, built and scored once more.

    Attributes:
        keep: Names of its units, sorted.
        score: 0..1.
        drop: In points.
        drop_low: Lower end of its interval over other images of the kind, in points.
        drop_high: Upper end.
        level: Of the interval, 0..1.
    """

    keep: tuple[str, ...]
    score: float
    drop: float
    drop_low: float
    drop_high: float
    level: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """All that ``tune`` has found out so far.

    Attributes:
        model_sha256: Of the float model.
        settings: What a trial depends on; trials of other settings are not comparable.
        assumptions: How predicted times come about, and what the score is, in words.
        state: ``running`` until it has come to an end; ``missed`` if the limit was not met.
        max_ap_drop: The limit, in points.
        search_complete: Whether the search ended by itself, not by its budget.
        float_score: Of the float model, 0..1; None if not measured yet.
        units: In the order of the network.
        trials: In the order in which they were run.
        kept_units: The chosen ones.
        verification: Of the chosen set.
    """

    model_sha256: str
    settings: Mapping[str, Any]
    assumptions: Mapping[str, Any] = field(default_factory=dict)
    state: State = "running"
    max_ap_drop: float = 0.0
    search_complete: bool = False
    float_score: float | None = None
    units: tuple[UnitResult, ...] = ()
    trials: tuple[Trial, ...] = ()
    kept_units: tuple[str, ...] = ()
    verification: Verification | None = None

    @property
    def keep(self) -> tuple[str, ...]:
        """Names of the layers that stay float, in the order of the network."""
        return tuple(
            layer for unit in self.units if unit.name in self.kept_units for layer in unit.layers
        )

    @property
    def baseline(self) -> Trial | None:
        """The trial with all units in 8 bits."""
        return self.trial_of(())

    @property
    def gains(self) -> dict[str, float]:
        """What AP wins where one unit stays float, in points, by unit; of those measured."""
        if self.baseline is None:
            return {}
        return {
            trial.keep[0]: self.baseline.drop - trial.drop
            for trial in self.trials
            if len(trial.keep) == 1
        }

    @property
    def front(self) -> list[Trial]:
        """The trials that no other beats in cost and drop, the cheapest first."""
        return pareto_front(self.trials)

    def trial_of(self, keep: tuple[str, ...]) -> Trial | None:
        """Return the trial of a set of units, sorted by name; None if it was not run."""
        return next((trial for trial in self.trials if trial.keep == keep), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        gains = self.gains
        units = [{**asdict(unit), "gain": gains.get(unit.name)} for unit in self.units]
        front = [
            {key: getattr(t, key) for key in ("keep", "float_share", "predicted_time", "drop")}
            for t in self.front
        ]
        return {
            "kind": _KIND,
            "format": FORMAT,
            **asdict(self),
            "units": units,
            "keep": self.keep,
            "pareto": front,
        }


def read_tuning(path: Path, *, model: Path) -> Tuning:
    """Read the finished result of ``tune``, to build the model that it is of.

    A result that missed its limit is finished too: it holds the best set that was found.

    Args:
        path: The file.
        model: The float model.

    Raises:
        EvaluationError: Missing, damaged, of another model, or not finished.
        ArtifactError: The model cannot be read.
    """
    tuning = load_tuning(path)
    sha256 = sha256_of_file(Artifact.read(model).path)
    if tuning.model_sha256 != sha256:
        raise EvaluationError(
            f"tuning of another model: SHA-256 {tuning.model_sha256[:12]}, {model.name} has "
            f"{sha256[:12]}",
            where=str(path),
            hint="give the model that was tuned, or tune this one",
        )
    if tuning.state == "running":
        raise EvaluationError(
            f"tuning was interrupted after {len(tuning.trials)} trials",
            where=str(path),
            hint="run `yolor-deploy tune` again with the same options: it goes on from there",
        )
    return tuning


def load_tuning(path: Path) -> Tuning:
    """Read what ``TuningStore`` wrote, finished or not.

    Raises:
        EvaluationError: Missing, damaged, or something else.
    """
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise EvaluationError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            hint="give the file that `yolor-deploy tune` wrote",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EvaluationError(
            f"not a readable result of `tune`: {error!r}",
            where=str(path),
            hint="give a file that `yolor-deploy tune` wrote; if it is one, remove it and run it",
        ) from error


class TuningStore:
    """A result that is on disk whenever it changes.

    Args:
        path: Of the file.
        fresh: What is known before the first trial.

    Raises:
        EvaluationError: The file holds something else, or trials of other settings.
        ArtifactError: It cannot be written.
    """

    def __init__(self, path: Path, fresh: Tuning) -> None:
        self.path = path
        self.tuning = fresh
        if path.exists():
            found = load_tuning(path)
            _require_same(found, fresh, path)
            self.tuning = replace(
                found,
                assumptions=fresh.assumptions,
                max_ap_drop=fresh.max_ap_drop,
                state="running",
                search_complete=False,
            )

    def save(self, **changes: Any) -> None:
        """Change attributes of the result, and write it.

        Raises:
            ArtifactError: It cannot be written.
        """
        self.tuning = replace(self.tuning, **changes)
        try:
            with whole_file(self.path) as temporary:
                text = json.dumps(self.tuning.to_json(), indent=1, allow_nan=False)
                temporary.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise unwritable(self.path, error) from error


def _require_same(found: Tuning, fresh: Tuning, path: Path) -> None:
    expected = json.loads(json.dumps(dict(fresh.settings)))
    known = dict(found.settings)
    if found.model_sha256 != fresh.model_sha256:
        expected, known = {"model": fresh.model_sha256[:12]}, {"model": found.model_sha256[:12]}
    differing = [
        f"{key} {known.get(key)!r} instead of {expected.get(key)!r}"
        for key in {**known, **expected}
        if known.get(key) != expected.get(key)
    ]
    if differing:
        raise EvaluationError(
            f"holds trials of other settings: {', '.join(differing)}",
            where=str(path),
            hint="give another file with -o, or remove this one to begin anew",
        )


def _from_json(value: Any) -> Tuning:
    if not isinstance(value, dict) or value.get("kind") != _KIND:
        raise ValueError("it does not say that it is one")
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']!r}, expected {FORMAT}")
    value = {k: v for k, v in value.items() if k not in {"kind", "format", "pareto"}}
    keep = value.pop("keep")
    verification = value.pop("verification")
    tuning = Tuning(
        **{
            **value,
            "units": tuple(_unit(row) for row in value["units"]),
            "trials": tuple(_trial(row) for row in value["trials"]),
            "kept_units": _names(value["kept_units"]),
            "verification": verification and _verification(verification),
        }
    )
    if tuning.state not in get_args(State) or not isinstance(tuning.model_sha256, str):
        raise ValueError(f"state {tuning.state!r} of model {tuning.model_sha256!r}")
    if tuning.keep != _names(keep) or set(tuning.kept_units) - {u.name for u in tuning.units}:
        raise ValueError(f"'keep' is {keep!r}, but the units chosen are {tuning.kept_units!r}")
    return tuning


def _unit(row: Mapping[str, Any]) -> UnitResult:
    decibels = row["signal_to_noise_db"]
    return UnitResult(
        str(row["name"]),
        _names(row["layers"]),
        float(row["share"]),
        None if decibels is None else float(decibels),
    )


def _trial(row: Mapping[str, Any]) -> Trial:
    if row["purpose"] not in get_args(Purpose):
        raise ValueError(f"purpose {row['purpose']!r}")
    numbers = {
        key: float(row[key])
        for key in ("score", "drop", "float_share", "predicted_time", "seconds")
    }
    return Trial(**{**row, **numbers, "keep": _names(row["keep"])})


def _verification(row: Mapping[str, Any]) -> Verification:
    return Verification(
        _names(row["keep"]),
        *(float(row[key]) for key in ("score", "drop", "drop_low", "drop_high", "level")),
    )


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{value!r}, expected a list of names")
    return tuple(value)

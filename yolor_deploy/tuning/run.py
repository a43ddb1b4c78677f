"""One run of ``tune``: trials one by one, each stored before the next begins."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from yolor_deploy.core.detections import Detections
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.tuning.file import Trial, TuningStore, Verification
from yolor_deploy.tuning.scores import Scorer, changes_between
from yolor_deploy.tuning.search import Budget, BudgetSpentError, Purpose, chosen_of
from yolor_deploy.tuning.trials import NoiseOfUnits, TrialModels
from yolor_deploy.tuning.units import predicted_time

if TYPE_CHECKING:
    from yolor_deploy.tuning.options import TuneConfig

_RANKING_SHARE = 0.25  # of the time budget, at most
Note = Callable[[str], None]
Progress = Callable[[int, int], None]


class TuningRun:
    """Trials that are run when they are asked for: the ``Measure`` of ``search``.

    Args:
        config: What ``tune`` is told.
        models: Builds the variants.
        scorer: Images, and what is found in them as a number.
        store: The result so far.
        budget: Of this run.
        note: Told what is being done.
        progress: Called with the trials done, and a guess at all.
    """

    def __init__(
        self,
        config: TuneConfig,
        models: TrialModels,
        scorer: Scorer,
        store: TuningStore,
        budget: Budget,
        note: Note,
        progress: Progress,
    ) -> None:
        self.config = config
        self.models = models
        self.scorer = scorer
        self.store = store
        self.budget = budget
        self.note = note
        self.progress = progress
        self.units = {unit.name: unit.layers for unit in store.tuning.units}
        self._found_by_float: list[Detections] | None = None

    def __call__(self, keep: Collection[str], purpose: Purpose) -> float:
        """Return what AP drops by; run the trial if it was not run yet."""
        names = tuple(sorted(keep))
        known = self.store.tuning.trial_of(names)
        if known is not None:
            return known.drop
        if purpose != "baseline" and self.budget.trials_left() < 1:
            raise BudgetSpentError
        trial = self._measured(names, purpose)
        self.store.save(trials=(*self.store.tuning.trials, trial))
        return trial.drop

    def knows(self, keep: Collection[str]) -> bool:
        """Return whether a trial was run, by this run or an earlier one."""
        return self.store.tuning.trial_of(tuple(sorted(keep))) is not None

    def trials_left(self) -> float:
        """Return how many more trials there is time for."""
        return self.budget.trials_left()

    def signal_to_noise_db(self) -> dict[str, float]:
        """Return by unit what ``rank`` found."""
        rows = self.store.tuning.units
        return {r.name: r.signal_to_noise_db for r in rows if r.signal_to_noise_db is not None}

    def needs_ranking(self) -> bool:
        """Tell whether there may be no time to measure all units."""
        return self.budget.is_limited and self((), "baseline") > self.config.max_ap_drop

    def rank(self, tensors: Sequence[Array]) -> None:
        """Look at the noise of each unit that was not looked at, for a part of the time."""
        missing = [unit for unit in self.store.tuning.units if unit.signal_to_noise_db is None]
        if not missing:
            return
        self.note(f"ranking {len(missing)} units by the noise of each alone")
        noise = NoiseOfUnits(
            self.models, [name for layers in self.units.values() for name in layers], tensors
        )
        for done, unit in enumerate(missing, start=1):
            if self.budget.spent_share > _RANKING_SHARE and done > 1:
                break
            ranked = replace(unit, signal_to_noise_db=noise.of(unit.layers))
            rows = self.store.tuning.units
            self.store.save(units=tuple(ranked if r.name == unit.name else r for r in rows))
            self.progress(done, len(missing))

    def finish(self, *, complete: bool) -> None:
        """Choose, score the chosen set once more, and store the end."""
        limit = self.config.max_ap_drop
        chosen = chosen_of(self.store.tuning.trials, limit)
        verification = self.store.tuning.verification
        if verification is None or verification.keep != chosen.keep:
            verification = self._verified(chosen.keep)
        self.store.save(
            kept_units=tuple(name for name in self.units if name in chosen.keep),
            verification=verification,
            search_complete=complete,
            state="met" if verification.drop <= limit else "missed",
        )

    def _measured(self, names: tuple[str, ...], purpose: Purpose) -> Trial:
        done = len(self.store.tuning.trials)
        self.note(f"trial {done + 1}: {purpose}, {_listed(names)} in float")
        begin = time.perf_counter()
        found = self._found(names)
        score = self.scorer.score(self._reference, found)
        share = self._float_share(names)
        nms = self.models.source.meta.nms or NmsConfig()
        seconds = time.perf_counter() - begin
        self.budget.add(seconds)
        self.progress(done + 1, done + 1 + self._planned())
        return Trial(
            keep=names,
            purpose=purpose,
            score=score,
            drop=100 * (self._float_score() - score),
            float_share=share,
            predicted_time=predicted_time(
                share, target=self.config.target, base=self.config.precision.base
            ),
            changes=changes_between(
                self._reference,
                found,
                score_threshold=max(nms.score_threshold, self.config.truth_threshold),
            ),
            seconds=round(seconds, 3),
        )

    def _verified(self, names: tuple[str, ...]) -> Verification:
        self.note(f"verifying: {_listed(names)} in float")
        found = self._found(names)
        score = self.scorer.score(self._reference, found)
        interval = self.scorer.drop_interval(self._reference, found)
        return Verification(
            names,
            score,
            100 * (self._float_score() - score),
            100 * interval.low,
            100 * interval.high,
            interval.level,
        )

    def _found(self, names: tuple[str, ...]) -> list[Detections]:
        _ = self._reference  # before the trial's model is there: one model at a time
        keep = [layer for name in names for layer in self.units[name]]
        with self.models.opened(keep) as session:
            return self.scorer.detect(session)

    @property
    def _reference(self) -> list[Detections]:
        """What the float model finds; it runs once."""
        if self._found_by_float is None:
            self.note("running the float model")
            with self.models.opened_float() as session:
                self._found_by_float = self.scorer.detect(session)
        return self._found_by_float

    def _float_score(self) -> float:
        known = self.store.tuning.float_score
        if known is None:
            known = self.scorer.score(self._reference, self._reference)
            self.store.save(float_score=known)
        return known

    def _float_share(self, names: Collection[str]) -> float:
        return 1 - sum(row.share for row in self.store.tuning.units if row.name not in names)

    def _planned(self) -> int:
        """Return how many more trials there may be, for the progress bar."""
        left = len(self.units) - sum(len(t.keep) == 1 for t in self.store.tuning.trials)
        return int(min(max(left, 0) + math.log2(len(self.units) + 1), self.budget.trials_left()))


def _listed(names: Collection[str]) -> str:
    if not names:
        return "nothing"
    return next(iter(names)) if len(names) == 1 else f"{len(names)} units"

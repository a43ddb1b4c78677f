"""Which units to keep in float: measured one by one, then together, within a budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol, TypeVar

Purpose = Literal["baseline", "leave-one-out", "search"]


class BudgetSpentError(Exception):
    """There is no time left for another trial."""


class Measure(Protocol):
    """Trials that are run when asked for, and remembered."""

    def __call__(self, keep: Collection[str], purpose: Purpose) -> float:
        """Return what AP drops by where these units stay float, in points.

        Raises:
            BudgetSpentError: It was not measured yet, and there is no time.
        """
        ...

    def knows(self, keep: Collection[str]) -> bool:
        """Return whether that costs no time."""
        ...

    def trials_left(self) -> float:
        """Return how many more trials there is time for; infinity without a budget."""
        ...


class Point(Protocol):
    """A set of units, as one point of the picture."""

    @property
    def float_share(self) -> float:
        """Share of the multiply-adds that stay in float, 0..1."""
        ...

    @property
    def drop(self) -> float:
        """What AP drops by, in points."""
        ...


PointT = TypeVar("PointT", bound=Point)


class Budget:
    """Time and trials of one run.

    Args:
        minutes: Of this run; None for no limit.
        trials: Of this run; None for no limit.
        clock: Gives seconds.
    """

    def __init__(
        self,
        minutes: float | None,
        trials: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = math.inf if minutes is None else 60 * minutes
        self._trials = math.inf if trials is None else trials
        self._clock = clock
        self._begin = clock()
        self._taken: list[float] = []

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return min(self._seconds, self._trials) < math.inf

    @property
    def spent_share(self) -> float:
        """Part of the time that is over, 0 without a limit."""
        return (self._clock() - self._begin) / self._seconds

    def add(self, seconds: float) -> None:
        """Count one trial."""
        self._taken.append(seconds)

    def trials_left(self) -> float:
        """Return how many more trials fit, each as long as those so far; 0 or more."""
        left = self._seconds - (self._clock() - self._begin)
        mean = sum(self._taken) / len(self._taken) if self._taken else 0.0
        by_time = left / mean if mean and left < math.inf else math.inf if left > 0 else 0.0
        return max(0.0, min(by_time, self._trials - len(self._taken)))


def search(
    units: Sequence[str],
    measure: Measure,
    *,
    limit: float,
    signal_to_noise_db: Mapping[str, float],
) -> bool:
    """Run the trials that are worth their time.

    1. All units in 8 bits. If that meets the limit, nothing else is to be found out.
    2. All but one, for each unit: its gain is what AP wins by that. Those that make most noise come
       first; where time is short, enough of it is left for the next step.
    3. The first unit in the order of ``by_gain``, the first two, four, eight, ... until the limit
       is met; then by bisection the fewest.

    Args:
        units: Names.
        measure: Runs a trial.
        limit: Most that AP may drop by, in points.
        signal_to_noise_db: By unit, of the raw maps where it alone is quantised; may lack some.

    Returns:
        Whether it came to an end; False if the budget was spent before.
    """
    try:
        baseline = measure((), "baseline")
        if baseline <= limit:
            return True
        gains: dict[str, float] = {}
        reserve = min(2 * math.ceil(math.log2(len(units) + 1)), measure.trials_left() / 2)
        for name in by_gain(units, {}, signal_to_noise_db):
            if measure.knows((name,)) or measure.trials_left() > reserve:
                gains[name] = baseline - measure((name,), "leave-one-out")
        order = by_gain(units, gains, signal_to_noise_db)
        fewest_within(order, lambda keep: measure(keep, "search"), limit)
    except BudgetSpentError:
        return False
    return True


def by_gain(
    units: Sequence[str], gains: Mapping[str, float], signal_to_noise_db: Mapping[str, float]
) -> list[str]:
    """Return the units, the most worth keeping first.

    Those that were measured to gain come first, the larger gain before; then those that were not
    measured, the noisier before; then those that gained nothing.
    """

    def key(name: str) -> tuple[int, float, float]:
        gain, noise = gains.get(name), signal_to_noise_db.get(name, math.inf)
        if gain is None:
            return (1, noise, 0.0)
        return (0 if gain > 0 else 2, -gain, noise)

    return sorted(units, key=key)


def fewest_within(
    order: Sequence[str], drop_of: Callable[[Sequence[str]], float], limit: float
) -> int | None:
    """Return how many of the first units must be kept for the drop to be within the limit.

    Zero of them are known not to be enough. Where the drop does not fall steadily, a number that is
    enough, where one less is not. None if all of them are not enough.
    """
    low, high = 0, 1
    while drop_of(order[:high]) > limit:
        if high == len(order):
            return None
        low, high = high, min(2 * high, len(order))
    while high - low > 1:
        middle = (low + high) // 2
        if drop_of(order[:middle]) > limit:
            low = middle
        else:
            high = middle
    return high


def chosen_of(points: Sequence[PointT], limit: float) -> PointT:
    """Return the cheapest point that meets the limit; if none does, the one that drops least."""
    within = [point for point in points if point.drop <= limit]
    if within:
        return min(within, key=lambda point: (point.float_share, point.drop))
    return min(points, key=lambda point: (point.drop, point.float_share))


def pareto_front(points: Sequence[PointT]) -> list[PointT]:
    """Return the points that no other beats in cost and drop, the cheapest first."""
    front: list[PointT] = []
    for point in sorted(points, key=lambda item: (item.float_share, item.drop)):
        if not front or point.drop < front[-1].drop:
            front.append(point)
    return front

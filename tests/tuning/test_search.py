"""The search for units to keep, on drops that are known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolor_deploy.tuning.search import (
    Budget,
    BudgetSpentError,
    Purpose,
    by_gain,
    chosen_of,
    fewest_within,
    pareto_front,
    search,
)

COSTS = {"a": 0.05, "b": 0.4, "c": 0.0, "d": 0.2, "e": 0.1, "f": -0.02}
"""What AP loses, in points, by each unit in 8 bits."""


@dataclass
class KnownDrops:
    """A ``Measure`` whose drops add up, with room for so many trials.

    Attributes:
        costs: By unit.
        room: Trials that may still be run.
        known: Drops of those that were run.
        purposes: In their order.
    """

    costs: Mapping[str, float]
    room: float = math.inf
    known: dict[frozenset[str], float] = field(default_factory=dict)
    purposes: list[Purpose] = field(default_factory=list)

    def __call__(self, keep: Collection[str], purpose: Purpose) -> float:
        """Run a trial, if it was not run yet and there is room."""
        key = frozenset(keep)
        if key not in self.known:
            if self.room < 1:
                raise BudgetSpentError
            self.room -= 1
            self.purposes.append(purpose)
            self.known[key] = sum(cost for name, cost in self.costs.items() if name not in key)
        return self.known[key]

    def knows(self, keep: Collection[str]) -> bool:
        """Return whether it was run."""
        return frozenset(keep) in self.known

    def trials_left(self) -> float:
        """Return the room."""
        return self.room


@dataclass(frozen=True)
class At:
    """A point of the picture."""

    float_share: float
    drop: float


def clock_of(*seconds: float) -> Callable[[], float]:
    """Return a clock that shows one time after the other, and stays at the last."""
    left = list(seconds)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (0.4, {"b"}),
        (0.2, {"b", "d"}),
        (0.05, {"b", "d", "e"}),
        (0.0, {"b", "d", "e", "a"}),
    ],
)
def test_search_keeps_the_fewest_units_that_cost_most(limit: float, expected: set[str]) -> None:
    """The fewest units within the limit are those that gain most."""
    measure = KnownDrops(COSTS)

    complete = search(list(COSTS), measure, limit=limit, signal_to_noise_db={})

    assert complete
    within = [keep for keep, drop in measure.known.items() if drop <= limit + 1e-9]
    assert min(within, key=len) == expected


def test_search_measures_every_unit_alone() -> None:
    """Without a budget each unit has a trial of its own."""
    measure = KnownDrops(COSTS)

    search(list(COSTS), measure, limit=0.1, signal_to_noise_db={})

    assert {frozenset(name) for name in COSTS} <= measure.known.keys()
    assert measure.purposes[0] == "baseline"


def test_search_ends_where_nothing_must_be_kept() -> None:
    """If all in 8 bits meets the limit, that is the only trial."""
    measure = KnownDrops(COSTS)

    assert search(list(COSTS), measure, limit=1.0, signal_to_noise_db={})

    assert measure.purposes == ["baseline"]


def test_search_spends_a_short_budget_on_the_noisy_units() -> None:
    """Units are measured in the order of their noise, and trials are left for what follows."""
    measure = KnownDrops(COSTS, room=7)
    noise = {"d": 20.0, "b": 10.0, "a": 50.0, "c": 60.0, "e": 40.0, "f": 70.0}

    complete = search(list(COSTS), measure, limit=0.2, signal_to_noise_db=noise)

    assert complete
    alone = [keep for keep in measure.known if len(keep) == 1]
    assert set(alone) == {frozenset("b"), frozenset("d"), frozenset("e")}
    assert measure.known[frozenset("bd")] <= 0.2


def test_search_says_that_its_budget_was_spent() -> None:
    """Three trials cannot find four units; what was run stays known."""
    measure = KnownDrops(COSTS, room=3)

    assert not search(list(COSTS), measure, limit=0.0, signal_to_noise_db={})

    assert len(measure.known) == 3


def test_search_goes_on_with_what_is_known() -> None:
    """A second search with more room runs only the trials that the first has not run."""
    first = KnownDrops(COSTS, room=4)
    search(list(COSTS), first, limit=0.05, signal_to_noise_db={})
    whole = KnownDrops(COSTS)
    search(list(COSTS), whole, limit=0.05, signal_to_noise_db={})

    second = KnownDrops(COSTS, known=dict(first.known))
    complete = search(list(COSTS), second, limit=0.05, signal_to_noise_db={})

    assert complete
    assert len(second.purposes) == len(second.known) - len(first.known)
    assert second.known.items() >= whole.known.items()


def test_order_puts_losers_last() -> None:
    """Measured gains first, then units not measured by their noise, then those without a gain."""
    order = by_gain("abcdef", {"a": 0.1, "b": 0.3, "c": -0.1}, {"d": 40.0, "e": 30.0, "b": 90.0})

    assert order == ["b", "a", "e", "d", "f", "c"]


@given(st.integers(1, 70), st.integers(1, 90))
def test_bisection_finds_the_number_in_few_trials(size: int, needed: int) -> None:
    """Where the drop falls steadily, the number is exact, after some 2 log2 trials."""
    asked: list[int] = []

    def drop_of(keep: Collection[int]) -> float:
        asked.append(len(keep))
        return 0.0 if len(keep) >= needed else 1.0

    found = fewest_within([str(n) for n in range(size)], drop_of, 0.5)  # type: ignore[arg-type]

    assert found == (needed if needed <= size else None)
    assert len(set(asked)) <= 2 * math.ceil(math.log2(size + 1)) + 1


def test_chosen_is_the_cheapest_within_the_limit() -> None:
    """Of those that meet it, cost decides; if none does, the drop."""
    points = [At(0.1, 0.5), At(0.3, 0.2), At(0.2, 0.29), At(0.9, 0.0)]

    assert chosen_of(points, 0.3) == At(0.2, 0.29)
    assert chosen_of(points, -0.1) == At(0.9, 0.0)


@given(st.lists(st.builds(At, st.floats(0, 1), st.floats(-1, 5)), min_size=1))
def test_front_has_what_nothing_beats(points: list[At]) -> None:
    """Every point is matched or beaten by one of the front; on it, cost buys AP."""
    front = pareto_front(points)

    for point in points:
        assert any(p.float_share <= point.float_share and p.drop <= point.drop for p in front)
    for first, second in pairwise(front):
        assert first.float_share < second.float_share
        assert first.drop > second.drop


def test_budget_counts_trials_of_their_mean_length() -> None:
    """After 60 of 120 seconds and two trials of 20, three fit."""
    budget = Budget(2.0, None, clock=clock_of(0, 60))
    budget.add(15)
    budget.add(25)

    assert budget.trials_left() == pytest.approx(3)
    assert budget.spent_share == pytest.approx(0.5)
    assert budget.is_limited


def test_budget_of_trials_is_a_number() -> None:
    """Of four, one is done."""
    budget = Budget(None, 4)
    budget.add(1000)

    assert budget.trials_left() == 3


def test_no_budget_is_no_limit() -> None:
    """Neither time nor trials: any number fits."""
    budget = Budget(None, None)
    budget.add(1000)

    assert budget.trials_left() == math.inf
    assert not budget.is_limited


def test_spent_time_leaves_nothing() -> None:
    """Also before the first trial, whose length is not known."""
    assert Budget(1.0, None, clock=clock_of(0, 61)).trials_left() == 0

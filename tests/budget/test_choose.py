"""Choosing for a goal where bytes are known only after a plan is weighed."""

from __future__ import annotations

import random
import re

import pytest

from edgeq.budget.allocate import Choice, Item, total
from edgeq.budget.amounts import parse_size
from edgeq.budget.check import Seen
from edgeq.budget.choose import choose
from edgeq.budget.code import names_of
from edgeq.budget.estimate import Estimate
from edgeq.budget.fulfil import kept
from edgeq.budget.goal import Goal
from edgeq.budget.held_out import Increase
from edgeq.budget.weigh import Weighed
from edgeq.errors import BudgetError

FORMATS = {"w4g256": 4.06, "w4g64": 4.25, "w4g32": 4.5, "w4g32a": 4.75, "w8": 8.0}
SHAPES = ((960, 576), (576, 576), (3072, 576), (576, 1536))
FIXED = 4_321_987  # bytes that only weighing finds


def model(layers=8, seed=0):
    draw = random.Random(seed)
    return [_unit(draw, f"{layer}.{i}", *shape) for layer in range(layers) for i, shape in enumerate(SHAPES)]


def _unit(draw, name, rows, columns):
    size = draw.lognormvariate(-5, 1)
    choices = []
    for text, bits in FORMATS.items():
        damage = size * (0.01 if text == "w8" else 1 / bits) * draw.uniform(0.9, 1.1)
        seconds = rows * columns * bits / 8 / 1e10
        choices.append(Choice(text, damage, int(rows * columns * bits / 8), seconds, names_of(rows, columns, text)))
    return Item((name,), tuple(choices))


class Scales:
    """Weighs allocations: each kernel takes three times what was guessed, and there are bytes nobody guessed."""

    def __init__(self, guess=20_000, real=60_000):
        self.guess, self.real, self.plans = guess, real, []

    def code(self, items):
        return {name: self.guess for item in items for choice in item.choices for name in choice.code}

    def __call__(self, found):
        self.plans.append(found)
        picked = total(items_of(found), [0] * len(found.formats))
        kernels = dict.fromkeys(picked.code, self.real)
        return Weighed(picked.bytes, sum(kernels.values()), FIXED, 0, kernels)


def items_of(found):
    return [Item(item.modules, tuple(choice for choice in item.choices if choice.format == text))
            for item, text in zip(ITEMS, found.formats, strict=True)]  # fmt: skip


ITEMS = model()


@pytest.mark.parametrize("size", [22_500_000, 25_000_000, 31_000_000])
def test_a_size_is_filled_to_a_hundredth_and_never_exceeded(size):
    scales = Scales()
    found, estimate = choose(ITEMS, Goal(bytes=size), Estimate(code=scales.code(ITEMS)), scales)
    real = scales(found).total
    assert estimate.size(found) == real
    assert 0.99 * size <= real <= size


def test_larger_sizes_mean_less_damage():
    damages = []
    for size in (22_500_000, 25_000_000, 31_000_000, 60_000_000):
        scales = Scales()
        damages.append(choose(ITEMS, Goal(bytes=size), Estimate(code=scales.code(ITEMS)), scales)[0].damage)
    assert damages == sorted(damages, reverse=True)
    assert damages[-1] == min(sum(min(c.damage for c in item.choices) for item in ITEMS), damages[-1])


def test_what_is_too_small_is_refused_with_a_size_that_is_not():
    scales = Scales()
    with pytest.raises(BudgetError, match="smallest artifact") as refused:
        choose(ITEMS, Goal(bytes=10_000_000), Estimate(code=scales.code(ITEMS)), scales)
    assert refused.value.exit_code == 11
    near = parse_size(re.search(r"the nearest: --target-size (\S+)", str(refused.value))[1])
    again = Scales()
    found, estimate = choose(ITEMS, Goal(bytes=near), Estimate(code=again.code(ITEMS)), again)
    assert estimate.size(found) <= near


def test_size_and_latency_hold_together_or_both_are_named():
    scales = Scales()
    code = scales.code(ITEMS)
    loose, _ = choose(ITEMS, Goal(bytes=30_000_000), Estimate(code=code), Scales())
    goal = Goal(bytes=30_000_000, seconds=loose.seconds * 0.95 + 1e-3)
    found, estimate = choose(ITEMS, goal, Estimate(seconds=1e-3, code=code), scales)
    assert estimate.latency(found) <= goal.seconds and estimate.size(found) <= goal.bytes
    assert found.damage >= loose.damage
    with pytest.raises(BudgetError, match=r"smallest artifact.*the fastest.*--target-size .* or --target-latency "):
        choose(ITEMS, Goal(bytes=30_000_000, seconds=1e-4), Estimate(seconds=1e-3, code=code), Scales())


def test_a_perplexity_alone_takes_the_fewest_bytes():
    scales = Scales()
    goals = [Goal(increase=share) for share in (0.005, 0.02, 0.05)]
    found = [choose(ITEMS, goal, Estimate(code=scales.code(ITEMS)), scales) for goal in goals]
    assert all(estimate.share(one.damage) <= goal.increase for goal, (one, estimate) in zip(goals, found, strict=True))
    sizes = [estimate.size(one) for one, estimate in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]


def test_a_measured_artifact_corrects_the_estimate():
    scales = Scales()
    goal = Goal(increase=0.05)
    found, estimate = choose(ITEMS, goal, Estimate(code=scales.code(ITEMS)), scales)
    seen = Seen(30_000_000, Increase(11.0, 10.0, 0.1, 0.01), None)
    after = estimate.corrected(found, seen)
    assert after.size(found) == seen.bytes
    assert after.share(found.damage) >= 0.1  # twice as bad as predicted: the next has less damage
    assert choose(ITEMS, goal, after, scales)[0].damage < found.damage


@pytest.mark.parametrize(
    ("goal", "holds"),
    [
        (Goal(bytes=100), True),
        (Goal(bytes=99), False),
        (Goal(increase=0.03), True),
        (Goal(increase=0.01), False),
        (Goal(seconds=0.006), True),
        (Goal(bytes=100, increase=0.03, seconds=0.004), False),
    ],
)
def test_what_is_kept(goal, holds):
    assert kept(goal, Seen(100, Increase(10.2, 10.0, 0.02, 0.001), 0.005, "measured here")) is holds


def test_an_unmeasured_perplexity_is_not_kept():
    assert not kept(Goal(increase=0.03), Seen(100))

"""How often the recipe that is said to be the best is the best, over simulated pairs and sixes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from time import process_time

import numpy as np

from benchmarks.forecast import markdown
from scaling_cli.fitting import auto
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law, get_law, get_published
from scaling_cli.planning.recipes import SideBySide, side_by_side
from scaling_cli.records import Floats
from scaling_cli.table import Table

title = "Recipes side by side"
SETS = int(os.environ.get("RECIPE_SETS", "500"))  # of each size
SIZES = (2, 6)
RUNS, BUDGETS, NOISE, RESAMPLES = 24, 6, 0.005, 200
REACH = (3.0, 30.0)  # times the largest compute at which recipes are compared
BINS = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
HOW = """\
A set of recipes has one surface of three families (Chinchilla's, the same with a power, Farseer's)
and each recipe its own amplitudes and floor within a few per cent, and 24 runs with .5 % noise.
`auto` is fitted to each. The best is the recipe with the lowest true loss at the splits that were
said. `reliability`: mean over bins of .1, by their size, of |share that was the best - probability
that was said|; `largest` of a bin that holds 5 % of the probabilities. `called`: share of sets in
which one recipe was said to be the best (probability .9), and `right` of these. `curse`: by how
much the loss of the recipe that looked best was too low, in the mean, with what the forecasts of
all recipes missed alike, and what was said of it.
"""
Values = Mapping[str, float]


def surface(random: np.random.Generator) -> tuple[Law, dict[str, float]]:
    """A law and values of one family of three."""
    family = random.integers(3)
    if family == 2:
        law, entry = get_published("farseer2025")
        return law, dict(entry.values)
    alpha, beta = random.uniform(0.28, 0.42, 2)
    values = {
        "E": random.uniform(1.3, 2.0),
        "A": random.uniform(0.8, 1.4) * 1e8**alpha,
        "alpha": alpha,
        "B": random.uniform(0.8, 1.4) * 2e9**beta,
        "beta": beta,
    }
    if family == 0:
        return get_law("chinchilla"), values
    return get_law("skaling"), values | {"k": random.uniform(0.75, 1.25)}


def recipe(random: np.random.Generator, law: Law, values: Values) -> dict[str, float]:
    """The same surface a little otherwise; Farseer's by a factor of its whole loss."""
    if law.id == "farseer":
        return dict(values)
    spread = {"E": 0.006, "A": 0.06, "B": 0.06, "alpha": 0.004, "beta": 0.004}
    moved = dict(values)
    for name, width in spread.items():
        moved[name] = values[name] * float(np.exp(width * random.standard_normal()))
    moved["A"] *= 1e8 ** (moved["alpha"] - values["alpha"])
    moved["B"] *= 2e9 ** (moved["beta"] - values["beta"])
    return moved


def ladder(random: np.random.Generator) -> dict[str, Floats]:
    compute = 10 ** np.repeat(np.linspace(18.0, 20.5, BUDGETS), RUNS // BUDGETS)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), RUNS)))
    return {"params": params, "tokens": compute / 6 / params}


def one_set(seed: int, size: int) -> tuple[SideBySide, Floats]:
    """The recipes as they are compared, and their true ln losses [budgets, recipes] there."""
    random = np.random.default_rng([seed, size])
    law, values = surface(random)
    truths, factors, fits = [], [], list[Fit]()
    for number in range(size):
        own, factor = recipe(random, law, values), 1.0
        if law.id == "farseer":
            factor = float(np.exp(0.006 * random.standard_normal()))
        runs = ladder(random)
        loss = factor * law.predict(**own, **runs) * np.exp(NOISE * random.standard_normal(RUNS))
        rows = Table.from_columns({**runs, "loss": loss})
        fitted = auto.fit(rows, FitOptions(resamples=RESAMPLES))
        fits.append(replace(fitted, group={"recipe": str(number)}, seed=seed))
        truths.append(own)
        factors.append(factor)
    top = max(fit.domain["flops"][1] for fit in fits)
    found = side_by_side(fits, [top * times for times in REACH])
    true = np.empty((len(REACH), size))
    for row, ranking in enumerate(found.rankings):
        for item in ranking.standings:
            i = int(item.recipe)
            at = {
                "params": np.array([item.split.params]),
                "tokens": np.array([item.split.tokens]),
            }
            true[row, i] = np.log(factors[i] * float(law.predict(**truths[i], **at)[0]))
    return found, true


def run() -> str:
    lines = []
    for size in SIZES:
        sets = [one_set(seed, size) for seed in range(SETS)]
        for row, times in enumerate(REACH):
            said, was, called, right, curse, stated = [], [], 0, 0, [], []
            for found, true in sets:
                ranking, best = found.rankings[row], str(int(np.argmin(true[row])))
                said += [item.p_best for item in ranking.standings]
                was += [item.recipe == best for item in ranking.standings]
                called += ranking.best is not None
                right += ranking.best == best
                lowest = min(ranking.standings, key=lambda item: item.split.loss or np.inf)
                seen = float(np.log(lowest.split.loss or np.nan))
                curse.append(true[row, int(lowest.recipe)] - seen)
                stated.append(ranking.optimism)
            reliability, largest = reliability_of(np.array(said), np.array(was, dtype=float))
            share = f"{right / called:.2f}" if called else "-"
            lines.append(
                [
                    f"{size}", f"{times:g}", f"{reliability:.3f}", f"{largest:.3f}",
                    f"{called / len(sets):.2f}", share, f"{100 * np.mean(curse):+.2f} %",
                    f"{100 * np.mean(stated):+.2f} %",
                ]
            )  # fmt: skip
    head = ["recipes", "times the largest", "reliability", "largest", "called", "right"]
    return (
        HOW
        + "\n"
        + markdown([*head, "curse", "said"], lines)
        + f"\n\n{SETS} sets of each size. Six fits of 1,000 resamples at three budgets:"
        f" {seconds_of_six():.2f} s.\n"
    )


def reliability_of(said: Floats, was: Floats) -> tuple[float, float]:
    """Mean and largest distance of shares from probabilities over bins."""
    place = np.clip(np.digitize(said, BINS) - 1, 0, len(BINS) - 2)
    gaps, weights = [], []
    for one in np.unique(place):
        inside = place == one
        gaps.append(abs(float(np.mean(was[inside]) - np.mean(said[inside]))))
        weights.append(float(np.mean(inside)))
    large = [gap for gap, weight in zip(gaps, weights, strict=True) if weight >= 0.05]
    return float(np.average(gaps, weights=weights)), max(large)


def seconds_of_six() -> float:
    random = np.random.default_rng(0)
    law, values = surface(random)
    fits = []
    for number in range(6):
        runs = ladder(random)
        loss = law.predict(**values, **runs) * np.exp(NOISE * random.standard_normal(RUNS))
        fitted = auto.fit(Table.from_columns({**runs, "loss": loss}), FitOptions())
        fits.append(replace(fitted, group={"recipe": str(number)}))
    began = process_time()
    side_by_side(fits, [1e21, 1e22, 1e23])
    return process_time() - began


if __name__ == "__main__":
    print(run())

"""Runs that a law would make, and what would be learnt from them: before they are paid for."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law, get_law, get_published
from scaling_cli.planning.beliefs import Runs
from scaling_cli.planning.budget import Line, optimum
from scaling_cli.planning.recipes import side_by_side
from scaling_cli.quantities import read_quantity
from scaling_cli.records import Floats
from scaling_cli.shown import Shown
from scaling_cli.table import Table

REPEATS, RESAMPLES = 20, 200
MOST_ROWS = 100_000
PLAIN, BETTER = "plain", "better"  # the recipes of a comparison


@dataclass(frozen=True)
class Truth:
    """A law with values, and the relative `noise` of a run's loss."""

    law: Law
    values: Mapping[str, float]
    noise: float
    source: str

    def __post_init__(self) -> None:
        if set(self.law.variables) != {"params", "tokens"} or self.law.target != "loss":
            raise InputError(
                f"law {self.law.id} is no loss of params and tokens alone",
                "Simulate by chinchilla, skaling or farseer.",
            )
        if not 0 <= self.noise < 1:
            raise InputError(f"a noise of {self.noise:g} is no share", "Give 0.005 for .5 %.")

    @classmethod
    def of(
        cls,
        noise: float | None,
        law: str | None = None,
        published: str | None = None,
        fit: Fit | None = None,
    ) -> Truth:
        """Of a paper's coefficients, of the first that a law has, or of a fit and its own noise."""
        if fit is not None:
            values = {**fit.values, **fit.constants}
            return cls(fit.law, values, fit.noise if noise is None else noise, fit.fit_id)
        if noise is None:
            raise InputError("nothing says how noisy runs are", "Give a noise, as 0.005.")
        if published is not None:
            chosen, entry = get_published(published)
            return cls(chosen, entry.values, noise, entry.name)
        declared = get_law(law or "")
        if not declared.published:
            raise InputError(f"law {declared.id} has no published values", "Simulate by a fit.")
        first = declared.published[0]
        return cls(declared, first.values, noise, first.name)

    def loss(self, runs: Runs) -> Floats:
        """Without noise [runs]."""
        predicted: Floats = self.law.predict(**self.values, **runs.columns)
        return predicted

    def seen(self, runs: Runs, random: np.random.Generator, factor: float = 1.0) -> Table:
        """The runs with noise, their true losses times a factor."""
        drawn = np.exp(self.noise * random.standard_normal(len(runs)))
        return Table.from_columns({**runs.columns, "loss": factor * self.loss(runs) * drawn})

    def target(self, flops: float) -> Runs:
        """The best split of a budget by the law itself."""
        batch = {name: np.full((1, 1), value) for name, value in self.values.items()}
        (params,), (tokens,) = optimum(self.law, batch, Line(flops))
        if not 0 < params < np.inf:
            raise InputError(f"{self.source} has no best split of {flops:.3g} FLOPs", "Ask nearer.")
        return Runs.one(float(params), float(tokens))


@dataclass(frozen=True)
class Lesson:
    """What refits to repeated simulations said of the loss at a target.

    `half_width` is the median of half the intervals, `error` that of the predictions', relative;
    `covered` the share of intervals that hold a new run. `power` is the share of repeats in which a
    recipe whose losses are lower by `effect` was said to be the best, `wrong` that in which the
    other was.
    """

    target_flops: float
    repeats: int
    half_width: float | None
    error: float | None
    covered: float | None
    effect: float | None = None
    power: float | None = None
    wrong: float | None = None

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Simulation(Shown):
    """The runs with their losses, `recipe` beside them where there are two."""

    truth: Truth
    table: Mapping[str, Sequence[Any]]
    lesson: Lesson | None = None

    def rows(self) -> list[dict[str, Any]]:
        names = list(self.table)
        return [
            dict(zip(names, row, strict=True))
            for row in zip(*(self.table[name] for name in names), strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "simulate",
            "law": self.truth.law.id,
            "source": self.truth.source,
            "noise": self.truth.noise,
            "runs": self.rows(),
            "lesson": self.lesson.to_json() if self.lesson else None,
        }


def simulate(
    truth: Truth,
    runs: Runs,
    seed: int = 0,
    target_flops: float | None = None,
    effect: float | None = None,
    repeats: int = REPEATS,
) -> Simulation:
    """The runs as the truth would make them; with a target, what refits of `auto` say of it, and
    with an effect, whether a recipe that much better would be told."""
    if effect is not None and target_flops is None:
        raise InputError("an effect is looked for at a target", "Give a target.")
    if effect is not None and not 0 < effect < 1:
        raise InputError(f"an effect of {effect:g} is no share", "Give 0.01 for losses 1 % lower.")
    random = np.random.default_rng(seed)
    factors = {PLAIN: 1.0} if effect is None else {PLAIN: 1.0, BETTER: 1 - effect}
    tables = {name: truth.seen(runs, random, factor) for name, factor in factors.items()}
    table: dict[str, list[Any]] = {"run_id": [], "params": [], "tokens": [], "loss": []}
    if effect is not None:
        table["recipe"] = []
    for name, rows in tables.items():
        table["run_id"] += [f"{name}-{i:03d}" for i in range(1, len(runs) + 1)]
        for column in ("params", "tokens", "loss"):
            table[column] += rows.columns[column].tolist()
        if effect is not None:
            table["recipe"] += [name] * len(runs)
    lesson = None
    if target_flops is not None:
        lesson = _lesson(truth, runs, seed, target_flops, effect, repeats)
    return Simulation(truth, table, lesson)


def _lesson(
    truth: Truth, runs: Runs, seed: int, target_flops: float, effect: float | None, repeats: int
) -> Lesson:
    aim = truth.target(target_flops)
    at = {"params": float(aim.params[0]), "tokens": float(aim.tokens[0])}
    true = float(truth.loss(aim)[0])
    fit = fitter("auto")
    widths, errors, inside, called = [], [], [], []
    for repeat in range(repeats):
        random = np.random.default_rng([seed, repeat])
        options = FitOptions(resamples=RESAMPLES, seed=repeat)
        plain = fit(truth.seen(runs, random), options, {"recipe": PLAIN})
        answer = plain.predict(at)
        new = true * float(np.exp(truth.noise * random.standard_normal()))
        errors.append(abs(answer.loss / true - 1))
        if answer.low is not None and answer.high is not None:
            widths.append((answer.high - answer.low) / 2 / answer.loss)
            inside.append(answer.low <= new <= answer.high)
        if effect is not None:
            rows = truth.seen(runs, random, 1 - effect)
            better = replace(fit(rows, options, {"recipe": BETTER}), seed=repeat)
            called.append(_best(plain, better, target_flops))
    return Lesson(
        target_flops,
        repeats,
        float(np.median(widths)) if widths else None,
        float(np.median(errors)),
        float(np.mean(inside)) if inside else None,
        effect,
        None if effect is None else called.count(BETTER) / repeats,
        None if effect is None else called.count(PLAIN) / repeats,
    )


def _best(plain: Fit, better: Fit, flops: float) -> str | None:
    try:
        return side_by_side([plain, better], [flops]).rankings[0].best
    except (InputError, FitError):  # no split, or no interval: then nothing is told
        return None


def read_design(path: str) -> Runs:
    """The params and tokens of a table of runs, CSV or JSON, as `design` writes them."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        rows = _objects(text) if path.endswith(".json") else list(csv.DictReader(text.splitlines()))
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"the design {path} cannot be read ({reason})", "Give a CSV of runs."
        ) from None
    if not rows or len(rows) > MOST_ROWS:
        raise InputError(f"the design {path} holds {len(rows)} runs", "Give at least one.")
    runs = []
    for number, row in enumerate(rows, 1):
        sizes = [_size(row.get(name)) for name in ("params", "tokens")]
        if None in sizes:
            raise InputError(
                f"the design {path} has no params and tokens above zero in run {number}",
                "Its columns are params and tokens.",
            )
        runs.append(sizes)
    params, tokens = np.array(runs, dtype=float).T
    return Runs(params, tokens)


def _objects(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    if isinstance(document, dict) and isinstance(document.get("design"), dict):
        document = document["design"]
    rows = document.get("runs") if isinstance(document, dict) else document
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _size(value: Any) -> float | None:
    number = read_quantity(str(value)) if isinstance(value, str | int | float) else None
    return number if number is not None and 0 < number < np.inf else None

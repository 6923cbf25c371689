"""What an interval at a target is worth after the designed runs, and after the usual ones."""

from __future__ import annotations

import os

import numpy as np

from benchmarks.forecast import markdown
from benchmarks.recipes import surface
from scaling_cli.errors import FitError
from scaling_cli.fitting import auto
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.planning.beliefs import Runs
from scaling_cli.planning.design import Designs, design_for_fits
from scaling_cli.records import Floats
from scaling_cli.table import Table

title = "Designs of ladders"
TRUTHS = int(os.environ.get("DESIGN_TRUTHS", "200"))
NOISE, RESAMPLES = 0.005, 300
PILOT = 12
SPEND, TARGET = 1e20, float(os.environ.get("DESIGN_TARGET", "1e22"))
HOW = """\
A truth of three families (Chinchilla's, the same with a power, Farseer's), 12 runs of 1e17 to 3e18
FLOPs with .5 % noise, and 1e20 FLOPs to spend on further runs, to tell of 1e22. `auto` is fitted to
the first runs and the design made by it; each design's runs are then made by the truth, `auto` is
fitted again to all, and its 90 % interval of a new run at the target is held against one. `width`:
median of half the interval; `narrower` and `in`: median of the design's interval over that design's
less one, and share of truths in which it is narrower; `error`: median error of the prediction.
"""


def pilot(random: np.random.Generator) -> Runs:
    compute = 10 ** np.repeat(np.linspace(17.0, 18.5, 4), PILOT // 4)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(5), np.log(100), PILOT)))
    return Runs(params, compute / 6 / params)


def one(seed: int) -> tuple[Designs, Floats, Floats, Floats] | None:
    """The designs; after each the half width at the target, whether it holds a new run, and the
    prediction's error."""
    random = np.random.default_rng(seed)
    law, values = surface(random)

    def seen(runs: Runs) -> Floats:
        loss: Floats = law.predict(**values, **runs.columns)
        return loss * np.exp(NOISE * random.standard_normal(len(runs)))

    def fitted(runs: Runs, loss: Floats) -> Fit:
        rows = Table.from_columns({**runs.columns, "loss": loss})
        return auto.fit(rows, FitOptions(resamples=RESAMPLES, seed=seed))

    first = pilot(random)
    losses = seen(first)
    try:
        found = design_for_fits([fitted(first, losses)], SPEND, TARGET)
        at = {"params": float(found.target.params or 0), "tokens": float(found.target.tokens or 0)}
        (new,) = seen(Runs.one(**at))
        true = float(law.predict(**values, **Runs.one(**at).columns)[0])
        widths, inside, errors = [], [], []
        for design in found.all:
            after = fitted(first.joined(design.runs), np.append(losses, seen(design.runs)))
            answer = after.predict(at)
            if answer.low is None or answer.high is None:
                return None
            widths.append((answer.high - answer.low) / 2 / answer.loss)
            inside.append(answer.low <= new <= answer.high)
            errors.append(abs(answer.loss / true - 1))
    except FitError:
        return None
    return found, np.array(widths), np.array(inside, dtype=float), np.array(errors)


def run() -> str:
    results = [item for item in map(one, range(TRUTHS)) if item is not None]
    widths = np.stack([item[1] for item in results])
    inside = np.stack([item[2] for item in results])
    errors = np.stack([item[3] for item in results])
    stated = np.stack([[each.half_width for each in item[0].all] for item in results])
    gain = 1 - widths[:, :1] / widths
    names = [item.name for item in results[0][0].all]
    lines = [
        [
            name,
            f"{100 * np.median(stated[:, i]):.2f} %",
            f"{100 * np.median(widths[:, i]):.2f} %",
            f"{np.mean(inside[:, i]):.2f}",
            f"{100 * np.median(errors[:, i]):.2f} %",
            "-" if i == 0 else f"{100 * np.median(gain[:, i]):.0f} %",
            "-" if i == 0 else f"{100 * np.mean(gain[:, i] > 0):.0f} %",
        ]
        for i, name in enumerate(names)
    ]
    best = 1 - widths[:, 0] / np.min(widths[:, 1:], axis=1)
    head = ["design", "expected", "width", "covered", "error", "narrower", "in"]
    return (
        HOW
        + "\n"
        + markdown(head, lines)
        + f"\n\n{len(results)} truths. Against the better of the two, truth by truth:"
        f" {100 * np.median(best):+.0f} % narrower in the median.\n"
    )


if __name__ == "__main__":
    print(run())

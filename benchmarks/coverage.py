"""How often 90 % intervals hold what comes: public ladders, simulated ones, few runs, links."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import product

import numpy as np

from benchmarks.forecast import (
    DATA,
    further_tables,
    markdown,
    new_tables,
    observations,
    tables,
)
from scaling_cli.errors import FitError
from scaling_cli.fitting import engine
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.scoring import score_holdout
from scaling_cli.laws import get_law
from scaling_cli.records import Floats
from scaling_cli.table import Table

title = "Coverage of 90 % intervals"
COUNT = int(os.environ.get("COVERAGE_COUNT", "200"))  # simulated tables a cell
# A pattern of the cells of simulated ladders, and these alone: `auto, grid, 60 runs, noise 3.0%`.
CELLS = os.environ.get("COVERAGE_CELLS", "")
RESAMPLES = 200
PROCEDURES = ("auto", "chinchilla", "skaling")
SURFACES = {
    "chinchilla": {"E": 1.82, "A": 480.0, "alpha": 0.348, "B": 2085.0, "beta": 0.366},
    "skaling": {"E": 1.7, "A": 480.0, "alpha": 0.42, "B": 2085.0, "beta": 0.45, "k": 0.8},
    "steep floor": {"E": 2.6, "A": 60.0, "alpha": 0.25, "B": 400.0, "beta": 0.28},
}
DESIGNS = ("grid", "isoFLOP", "fixed ratio")
RUNS = (6, 8, 16, 60)  # the skaling law of `auto` has six parameters
NOISES = (0.001, 0.005, 0.03)
TIMES = (4.0, 20.0, 100.0)
BEST = (0.30, 0.35, 0.44, 0.58, 0.72)
HOW = """\
What was looked at: the constants of the record (that other ladders count as one fold, what each
procedure's intervals are multiplied by, the drift of a plain law) were chosen on the public tables
below, the new ladders among them; all between 1 and 3 folds cover alike. The simulated ladders had
no say but in that number. A ladder that follows its law needs no doubt about the law, which the
intervals hold all the same: on little noise they cover more than 90 %. Folds cannot take it away:
those of kempner_fineweb_1e21 missed by a tenth of what was stated, and its largest run by a half.
"""


def public() -> str:
    """By group of tables and procedure."""
    lines = []
    for name, group in (
        ("23 of the study", tables()),
        ("11 further", further_tables()),
        ("10 new", new_tables()),
    ):
        for procedure in PROCEDURES:
            held, widths, errors, none = [], [], [], 0
            for rows in group.values():
                parts = (
                    observations([r for r in rows if r["split"] == s]) for s in ("train", "test")
                )
                training, ahead = parts
                fitted = fitter(procedure)(training, FitOptions(resamples=2 * RESAMPLES), {})
                scored = score_holdout(fitted, ahead).holdout_rows
                errors.append(np.mean([abs(row["error"]) for row in scored]))
                if scored[0]["low"] is None:
                    none += 1
                    continue
                held.append([row["low"] <= row["observed"] <= row["high"] for row in scored])
                width = [(row["high"] - row["low"]) / row["predicted"] for row in scored]
                widths.append(np.median(width))
            by_table = [np.mean(item) for item in held]
            lines.append(
                [
                    name,
                    procedure,
                    f"{np.exp(np.mean(np.log(errors))):.2%}",
                    f"{np.mean(np.concatenate(held)):.3f}",
                    f"{np.mean(by_table):.3f}",
                    f"{np.min(by_table):.2f}",
                    f"{np.median(widths):.2%}",
                    str(none),
                ]
            )
    head = ["tables", "procedure", "error", "by rows", "by tables", "least", "width", "without"]
    return markdown(head, lines)


def design(kind: str, runs: int) -> tuple[Floats, Floats]:
    """params and tokens of a ladder over two decades of compute."""
    if kind == "fixed ratio":
        compute = np.geomspace(1e18, 1e20, runs)
        params = np.sqrt(compute / 120)
        return params, 20 * params
    side = max(2, round(np.sqrt(runs)))
    across = np.geomspace(5, 120, -(-runs // side))
    if kind == "grid":
        size, ratio = np.meshgrid(np.geomspace(3e7, 7e8, side), across)
        params = size.ravel()[:runs]
        return params, params * ratio.ravel()[:runs]
    budget, ratio = np.meshgrid(np.geomspace(1e18, 1e20, side), across)
    params = np.sqrt(budget.ravel()[:runs] / 6 / ratio.ravel()[:runs])
    return params, params * ratio.ravel()[:runs]


def loss_of(surface: str, params: Floats, tokens: Floats) -> Floats:
    law = "skaling" if surface == "skaling" else "chinchilla"
    loss: Floats = get_law(law).predict(**SURFACES[surface], params=params, tokens=tokens)
    return loss


def ladders(procedure: str, kind: str, runs: int, noise: float) -> tuple[Floats, float]:
    """Coverage at each of TIMES the compute, over surfaces and tables, and the share of tables
    without an interval, which is none where the runs do not tell two directions apart."""
    held: list[list[bool]] = []
    tables = product(enumerate(SURFACES), range(-(-COUNT // len(SURFACES))))
    for (number, surface), seed in tables:  # each table with a noise of its own
        random = np.random.default_rng([runs, seed, len(kind), number])
        params, tokens = design(kind, runs)
        loss = loss_of(surface, params, tokens) * np.exp(noise * random.standard_normal(runs))
        columns = {"params": params, "tokens": tokens, "loss": loss, "flops": 6 * params * tokens}
        at = np.max(columns["flops"]) * np.array(TIMES)
        larger = {"params": np.sqrt(at / 120), "tokens": 20 * np.sqrt(at / 120)}
        seen = loss_of(surface, **larger) * np.exp(noise * random.standard_normal(len(TIMES)))
        try:
            fitted = fitter(procedure)(
                Table.from_columns(columns), FitOptions(resamples=RESAMPLES, seed=seed), {}
            )
        except FitError:
            continue
        band = fitted.band(larger)
        if band and np.isfinite(band).all():
            held.append(((band[0] <= seen) & (seen <= band[1])).tolist())
    missing = 1 - len(held) / (len(SURFACES) * -(-COUNT // len(SURFACES)))
    return np.mean(held, axis=0) if held else np.full(len(TIMES), np.nan), missing


def simulated() -> str:
    lines = []
    for procedure, kind, runs in product(PROCEDURES[:2], DESIGNS, RUNS):
        if procedure != "auto" and runs < 8:
            continue  # a law of five parameters goes through six runs, whatever they are
        for noise in NOISES:
            name = f"{procedure}, {kind}, {runs} runs, noise {noise:.1%}"
            if not re.search(CELLS, name):
                continue
            covered, missing = ladders(procedure, kind, runs, noise)
            figures = [f"{value:.2f}" for value in covered]
            lines.append([procedure, kind, str(runs), f"{noise:.1%}", *figures, f"{missing:.0%}"])
    head = [
        "procedure",
        "design",
        "runs",
        "noise",
        *(f"{time:g} times" for time in TIMES),
        "without",
    ]
    return f"Simulated ladders, {COUNT} a line (three surfaces).\n\n" + markdown(head, lines)


def few() -> str:
    """Power laws of one column through few runs, a decade beyond."""
    law, lines = get_law("power_offset"), []
    for runs, fixed in product((3, 4, 5, 6, 8, 12), ({"E": 1.6}, {})):
        free = 3 - len(fixed)
        if runs <= free:
            continue
        held, widths = [], []
        for seed in range(COUNT):
            random = np.random.default_rng([runs, seed])
            flops, noise = np.geomspace(1e18, 1e20, runs), 0.003 * random.standard_normal(runs + 1)
            loss, ahead = (1.6 + 90 / at**0.0936 for at in (flops, 1e21))
            rows = Table.from_columns({"flops": flops, "loss": loss * np.exp(noise[:-1])})
            options = FitOptions(resamples=RESAMPLES, x="flops", fixed=fixed, seed=seed)
            found = engine.fit(law, rows, options).predict({"flops": 1e21})
            if found.low is not None and found.high is not None:
                held.append(found.low <= ahead * np.exp(noise[-1]) <= found.high)
                widths.append((found.high - found.low) / ahead)
        covered, width = f"{np.mean(held):.2f}", f"{np.median(widths):.2%}"
        lines.append([str(runs), str(free), covered, width, f"{1 - len(held) / COUNT:.0%}"])
    head = ["runs", "free parameters", "covered", "width", "without"]
    return f"A power law with noise of 0.3 %, {COUNT} a line.\n\n" + markdown(head, lines)


def scored(best: float) -> Iterator[tuple[Fit, bool | None, float]]:
    """chinchilla+ladder on 28 models, and whether the interval of a larger one holds."""
    truth = {"a": 0.5, "b": 0.25, "k": 4.5}
    lowest = float(loss_of("chinchilla", np.array(2e8), np.array(4e10)))
    middle = lowest - np.log(truth["a"] / (best - truth["b"]) - 1) / truth["k"]
    for seed in range(COUNT):
        random = np.random.default_rng([round(100 * best), seed])
        params = np.repeat([1e7, 3e7, 6e7, 2e8], 7)
        tokens = np.exp(random.uniform(np.log(2e9), np.log(4e10), 28))
        exact = loss_of("chinchilla", np.append(params, 2e9), np.append(tokens, 2e11))
        accuracy = get_law("ladder").predict(**truth, L_0=middle, loss=exact)
        accuracy = accuracy + 0.006 * random.standard_normal(29)
        loss = exact[:-1] * np.exp(0.002 * random.standard_normal(28))
        columns = {"params": params, "tokens": tokens, "loss": loss, "accuracy": accuracy[:-1]}
        options = FitOptions(resamples=RESAMPLES, target="accuracy", seed=seed)
        try:
            fitted = fitter("chinchilla+ladder")(Table.from_columns(columns), options, {})
        except FitError:
            continue
        band = fitted.band({"params": np.array([2e9]), "tokens": np.array([2e11])})
        if band is None:
            yield fitted, None, np.nan
            continue
        low, high = (float(end[0]) for end in band)
        yield fitted, low <= accuracy[-1] <= high, high - low


def links() -> str:
    lines = []
    for best in BEST:
        found = list(scored(best))
        held = [inside for _, inside, _ in found if inside is not None]
        widths = [width for _, inside, width in found if inside is not None]
        codes = [{note.code for note in fitted.notes} for fitted, _, _ in found]
        said = ["plateau_not_seen" in those for those in codes]
        missing = f"{1 - len(held) / COUNT:.0%}"
        covered, width = f"{np.mean(held):.2f}", f"{np.median(widths):.2f}"
        lines.append([f"{best:.2f}", covered, width, missing, f"{np.mean(said):.0%}"])
    head = ["best accuracy seen", "covered", "width", "without", "plateau said not to be seen"]
    return f"Links from the loss, {COUNT} a line.\n\n" + markdown(head, lines)


def run() -> str:
    if CELLS:
        return simulated()
    parts = [HOW]
    if DATA.is_dir():
        parts.append(public())
    else:
        parts.append(f"The public tables are not at {DATA} (set SCALEFIT_PUBLIC_DATA).\n")
    return "\n".join([*parts, simulated(), few(), links()])


if __name__ == "__main__":
    print(run())

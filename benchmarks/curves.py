"""Training-curve laws: what they predict of other schedules, how fast, and of runs still going."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.rows import DATA, ROOT, seconds
from scaling_cli.fitting.solver import objective_values
from scaling_cli.laws import get_law, get_published
from scaling_cli.project import open_project
from scaling_cli.training.curve import Curve, curve_of
from scaling_cli.training.fit import (
    CurveFit,
    Hold,
    curve_starts,
    fit_curves,
    held_to,
    solve_curves,
    surface_of,
)
from scaling_cli.training.forecast import forecast, learn, usable
from scaling_cli.training.history import DECAY
from scaling_cli.training.schedule import Schedule, logged_schedule

title = "Training curves"
TABLE = DATA / "mpl_curves" / "mpl_curves.csv"
PEAK, LEAST, WARMUP = 3e-4, 3e-5, 2160
SHARES = (0.3, 0.5, 0.7)
BAND = 0.90
HOLDS = [Hold(shape, trust) for shape in (0.01, 0.02, 0.04, 0.08) for trust in (4, 8, 16, 32)]


def rates(schedule: str) -> np.ndarray:
    """The learning rate of every step, by the formulas beside the public table."""
    total = 16000 if schedule.startswith("wsdcon") else int(schedule.rpartition("_")[2])
    step = np.arange(total + 1)
    made = np.full(total + 1, PEAK)
    if schedule.startswith("cosine"):
        turn = np.cos(np.pi * (step - WARMUP) / (total - WARMUP))
        made = LEAST + (PEAK - LEAST) / 2 * (1 + turn)
    elif schedule.startswith("wsdcon"):
        made[8000:] = int(schedule.rpartition("_")[2]) * 1e-5
    elif schedule.startswith("wsd"):
        done = np.clip((step - 20000) / 4000, 0, 1)
        straight = schedule.startswith("wsdld")
        made = PEAK * (1 - done) + LEAST * done if straight else PEAK ** (1 - done) * LEAST**done
    made[:WARMUP] = np.linspace(0, PEAK, WARMUP)
    return made


def public_curves() -> dict[str, dict[str, list[Curve]]]:
    """Size -> split -> curves."""
    rows: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    with TABLE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.setdefault((row["group"], row["split"], row["schedule"]), []).append(row)
    found: dict[str, dict[str, list[Curve]]] = {}
    for (size, split, schedule), points in rows.items():
        curve = Curve(
            f"{size} {schedule}",
            np.array([int(row["step"]) for row in points]),
            np.array([float(row["loss"]) for row in points]),
            Schedule(rates(schedule), WARMUP - 1, schedule),
            float(points[0]["params"]),
        )
        found.setdefault(size, {}).setdefault(split, []).append(curve)
    return found


def error(fitted: CurveFit, curves: Sequence[Curve]) -> float:
    """The mean over curves of the mean absolute error, as the study scores."""
    each = [np.mean(np.abs(fitted.predict(curve) - curve.loss)) for curve in curves]
    return float(np.mean(each))


def held_errors(train: Sequence[Curve], test: Sequence[Curve]) -> np.ndarray:
    """The error on each test curve by how far `mpl` may go from its prior [holds, curves]."""
    fits = [fit_curves("mpl", train, hold=hold) for hold in HOLDS]
    return np.array([[error(fitted, [curve]) for curve in test] for fitted in fits])


def left_out(errors: np.ndarray) -> tuple[list[int], np.ndarray, np.ndarray]:
    """From [sizes, holds, curves]: the hold that the other sizes choose, the error by it [sizes],
    and the error by what the other sizes choose on the other schedules [sizes]."""
    chosen, by_size, by_both = [], [], []
    for size in range(len(errors)):
        others = np.delete(errors, size, axis=0)
        chosen.append(int(np.argmin(others.mean(axis=(0, 2)))))
        by_size.append(errors[size, chosen[-1]].mean())
        each = [
            errors[size, np.argmin(np.delete(others, curve, axis=2).mean(axis=(0, 2))), curve]
            for curve in range(errors.shape[2])
        ]
        by_both.append(np.mean(each))
    return chosen, np.array(by_size), np.array(by_both)


def holds() -> str:
    """How the width of the prior of `mpl` was chosen, and what it costs to choose it elsewhere."""
    public = public_curves()
    errors = np.array([held_errors(item["train"], item["test"]) for item in public.values()])
    chosen, by_size, by_both = left_out(errors)
    runs = [usable(curve) for _, curve in sample_curves() if "schedule" in curve.run_id]
    folds = [
        held_errors(
            [curve for curve in runs if not curve.run_id.endswith(kind)],
            [curve for curve in runs if curve.run_id.endswith(kind)],
        )
        for kind in ("cosine", "constant", "wsd")
    ]
    sample = np.mean(folds, axis=(0, 2))
    lines = []
    for hold, row, other in zip(HOLDS, errors.mean(axis=2).T, sample, strict=True):
        cells = " | ".join(f"{value:.5f}" for value in (*row, other))
        lines.append(f"| {hold.shape:g} | {hold.trust:g} | {cells} |")
    cells = [
        f"{size} {HOLDS[i].shape:g} and {HOLDS[i].trust:g}, error {one:.5f}; the schedule left out"
        f" too, {both:.5f}"
        for size, i, one, both in zip(public, chosen, by_size, by_both, strict=True)
    ]
    return "\n".join(
        [
            "The width of the prior of `mpl` (`shape` and `trust` of"
            " `scaling_cli.training.fit.Hold`), and the error on the six other schedules at each"
            " size; the last column is that of the nine `schedule` sample runs, each of three"
            " schedules predicted from the other two. Chosen by the other two sizes alone: "
            + "; ".join(cells)
            + ".",
            "",
            f"| shape | trust | {' | '.join(public)} | sample runs |",
            "|---|---|---|---|---|---|",
            *lines,
        ]
    )


@dataclass(frozen=True)
class Asked:
    """What `scalefit curve --fit` says of the six runs that the fit has not seen: the mean over
    them of the mean absolute error, and shares inside the 90 % band."""

    error: float
    rows: float
    worst: float
    finals: float


def by_the_command(size: str, law: str) -> Asked:
    """`curve --law LAW --where 'split == "train"' -o FILE`, then `curve --fit FILE` for each other
    run: what a user gets who has no more than the logged rates, about every 128th."""
    with TemporaryDirectory() as folder, TABLE.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == size]
        table, kept = Path(folder, "curves.csv"), Path(folder, "law.json")
        with table.open("w", encoding="utf-8") as made:
            writer = csv.DictWriter(made, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        project = open_project(folder + "/store")
        project.ingest([str(table)])
        train, test = (
            list(dict.fromkeys(row["run_id"] for row in rows if row["split"] == split))
            for split in ("train", "test")
        )
        known = project.curve(train[0], where='split == "train"', law=law)[2]
        assert known is not None
        kept.write_text(json.dumps(known.to_document()), encoding="utf-8")
        errors, inside = [], []
        for run in test:
            curve, found, _ = project.curve(run, fit=str(kept), level=BAND)
            at = np.searchsorted(found.steps, curve.steps)
            errors.append(np.mean(np.abs(found.loss[at] - curve.loss)))
            inside.append((found.low[at] <= curve.loss) & (curve.loss <= found.high[at]))
    shares = [float(np.mean(item)) for item in inside]
    finals = float(np.mean([item[-1] for item in inside]))
    return Asked(float(np.mean(errors)), float(np.mean(shares)), min(shares), finals)


def schedules() -> str:
    errors, covered, times = [], [], []
    for size, curves in public_curves().items():
        law, published = get_published(f"luo2025_{size.lower()}")
        theirs = CurveFit(law, published.values, DECAY, np.nan, ())
        anneal, ours = (by_the_command(size, name) for name in ("lr_anneal", "mpl"))
        shown = [anneal.error, error(theirs, curves["test"]), ours.error]
        errors.append(f"| {size} | {' | '.join(f'{value:.5f}' for value in shown)} |")
        covered += [
            f"| {size} | {name} | {asked.rows:.2f} | {asked.worst:.2f} | {asked.finals:.2f} |"
            for name, asked in (("lr_anneal", anneal), ("mpl", ours))
        ]
        simple = fit_curves("lr_anneal", curves["train"])
        times.append(f"| {size} | {against_scipy(curves['train'], simple)} |")
    return "\n".join(
        [
            "Fitted on cosine_24000, constant_24000 and wsdcon_9, mean absolute error on the six"
            " other schedules, by the command and from the logged rates alone: `scalefit curve"
            " --law LAW --where 'split == \"train\"' -o FILE.json`, then `scalefit curve --fit"
            " FILE.json --run RUN`. The published law is given the study's formulas of the rates.",
            "",
            "| size | lr_anneal | published mpl | our mpl |",
            "|---|---|---|---|",
            *errors,
            "",
            "How much of the six runs the 90 % bands of these answers hold: of their rows in the"
            " mean, on the worst run, and of their last rows.",
            "",
            "| size | law | rows | worst run | last rows |",
            "|---|---|---|---|---|",
            *covered,
            "",
            "The time of one `mpl` fit against scipy's L-BFGS-B with numerical gradients on the"
            " same objective, prior included, from the same start, with two evaluations of the"
            " loss: in plain numpy, every row times every step behind it at which the rate"
            " changes, as one array, made before the clock starts (one evaluation timed; their"
            " number is that of the other peer); and on the short table of pairs that our fit"
            " uses. `whole` is `fit_curves`: the table, the fit of `lr_anneal` behind the prior"
            " and the solver; `solve` the solver alone. Each peer is held against what does the"
            " same: plain numpy against whole, the short table against solve. `excess` is scipy's"
            " objective over ours, less one.",
            "",
            "| size | whole | solve | evaluations | scipy, plain numpy | ratio |"
            " scipy, short table | ratio | excess |",
            "|---|---|---|---|---|---|---|---|---|",
            *times,
        ]
    )


def against_scipy(curves: Sequence[Curve], anneal: CurveFit) -> str:
    from scipy.optimize import minimize

    surface, _ = surface_of(get_law("mpl"), curves)
    prior, alphas = held_to(anneal, surface), (anneal.values["alpha"],)
    ones, (start,) = np.ones((1, len(surface.target))), curve_starts(surface, alphas)

    def objective(theta: np.ndarray) -> float:
        value = float(objective_values(surface, ones, theta[None], prior)[0])
        return 1e4 * value if np.isfinite(value) else 1e6  # of order one, or ftol stops it early

    def peer() -> Any:
        options = {"ftol": 1e-12, "gtol": 1e-8, "maxiter": 2000, "maxfun": 100000}
        return minimize(objective, start, method="L-BFGS-B", options=options)

    (short,) = seconds(peer, rounds=1)
    found = peer()
    solved, whole = seconds(
        lambda: solve_curves(surface, prior, alphas),
        lambda: fit_curves("mpl", curves),
        rounds=5,
    )
    excess = found.fun / 1e4 / solve_curves(surface, prior, alphas).objective.min() - 1
    plain = found.nfev * plain_evaluation(curves)
    return (
        f"{whole * 1e3:.0f} ms | {solved * 1e3:.0f} ms | {found.nfev} | {plain:.1f} s |"
        f" {plain / whole:.0f} | {short:.2f} s | {short / solved:.0f} | {excess:+.1e}"
    )


def plain_evaluation(curves: Sequence[Curve]) -> float:
    """Seconds of one sum of the law over every change of the rate behind every row."""
    rates, drops, sums, first = [], [], [], [0]
    for curve in curves:
        plan = curve.schedule.rates
        falls = -np.diff(plan, prepend=plan[0])
        changes = np.flatnonzero(falls * (plan > 0))
        for step in curve.steps:
            here = changes[changes <= step]
            rates.append(plan[here])
            drops.append(falls[here])
            sums.append(curve.sums[step] - curve.sums[here - 1])
            first.append(first[-1] + len(here))
    rate, drop, total = (np.concatenate(parts) for parts in (rates, drops, sums))
    done = np.concatenate([curve.sums[curve.steps] for curve in curves])
    v = get_published("luo2025_100m")[1].values

    def once() -> None:
        left = (1 + v["C"] * rate ** -v["gamma"] * total) ** -v["beta"]
        gained = np.add.reduceat(drop * (1 - left), first[:-1])
        v["L0"] + v["A"] * done ** -v["alpha"] - v["B"] * gained

    return seconds(once, rounds=2)[0]


@cache
def sample_curves() -> list[tuple[str, Curve]]:
    with TemporaryDirectory() as folder:
        project = open_project(folder + "/store", ROOT / "sample_runs" / "scalefit.toml")
        project.ingest([str(ROOT / "sample_runs")])
        records = project.store.runs()
        series = project.store.series()
        return [
            (str(item.config["recipe"]), curve_of(item.to_run(series[item.run_key]), item.mapping))
            for item in records
        ]


def power_law(curve: Curve) -> float:
    """The final loss by floor + amplitude * step**-exponent through what is known."""
    late = curve.steps >= 0.15 * curve.steps[-1]
    steps, loss = curve.steps[late] / curve.total, curve.loss[late]
    best = (np.inf, float(loss[-1]))
    for exponent in np.linspace(0.05, 1.5, 30):
        basis = np.stack([np.ones(len(steps)), steps**-exponent], axis=1)
        found = np.linalg.lstsq(basis, loss, rcond=None)[0]
        best = min(best, (float(np.sum((basis @ found - loss) ** 2)), float(found.sum())))
    return best[1]


def forecasts() -> str:
    groups: dict[str, list[Curve]] = {}
    for recipe, curve in sample_curves():
        groups.setdefault(f"sample runs, {recipe}", []).append(curve)
    if TABLE.is_file():
        for size, curves in public_curves().items():
            known = [*curves["train"], *curves["test"]]
            groups[f"public, {size}"] = [
                # What a user has: the rate as it was logged, about every 128th step.
                replace(
                    item,
                    schedule=logged_schedule(
                        item.steps, item.schedule.rates[item.steps], int(item.steps[-1])
                    ),
                )
                for item in known
            ]
    lines = []
    for mode in ("siblings", "alone"):
        pooled: dict[tuple[str, float], list[tuple[float, ...]]] = {}
        for name, curves in groups.items():
            thin = [usable(curve) for curve in curves]
            for curve in curves:
                others = [item for item in thin if item.run_id != curve.run_id]
                ladder = learn(others) if mode == "siblings" else None
                for share in SHARES:
                    upto, final = int(share * curve.total), float(curve.loss[-1])
                    found = forecast(
                        curve, (), upto=upto, level=BAND, ladder=ladder, steps=[curve.total]
                    ).final
                    part = curve.until(upto)
                    row = (
                        abs(found["loss"] / final - 1),
                        found["loss"] / final - 1,
                        found["low"] <= final <= found["high"],
                        (found["high"] - found["low"]) / final,
                        abs(part.loss[-1] / final - 1),
                        abs(power_law(part) / final - 1),
                    )
                    pooled.setdefault((name.split(",")[0], share), []).append(row)
        for (name, share), rows in pooled.items():
            mean = np.mean(np.array(rows, dtype=float), axis=0)
            lines.append(
                f"| {name} | {mode} | {share:.0%} | {len(rows)} | {mean[0]:.2%} | {mean[1]:+.2%} |"
                f" {mean[2]:.2f} | {mean[3]:.1%} | {mean[4]:.2%} | {mean[5]:.2%} |"
            )
    return "\n".join(
        [
            "The last logged loss, predicted from the first 30, 50 and 70 % of each run, its"
            " schedule known: with the other runs of its recipe or size as finished siblings, and"
            " alone. Mean relative error, bias, share inside the 90 % band and its width; beside"
            " two baselines, the last value and a power law through what is known. In sample: the"
            " structure of the method was chosen on these same runs, so that new runs may be"
            " predicted worse.",
            "",
            "| runs | from | known | n | error | bias | covered | width | last value | power law |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *lines,
        ]
    )


def run() -> str:
    if TABLE.is_file():
        parts = [schedules(), holds(), forecasts()]
    else:
        parts = [f"The public curves are not at {TABLE}.", forecasts()]
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(run())

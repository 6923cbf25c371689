"""What rests on predicted training curves: schedules, intervals, fits to unfinished runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np

from benchmarks.curves import TABLE, public_curves
from benchmarks.rows import ROOT
from scaling_cli.fitting.imputed import SPREAD
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.project import LAST, PREDICTED, Project, open_project
from scaling_cli.records import Floats, Series
from scaling_cli.resolve import finals
from scaling_cli.store import open_store
from scaling_cli.table import Table
from scaling_cli.training import bootstrap
from scaling_cli.training.curve import Curve
from scaling_cli.training.ends import ends_of
from scaling_cli.training.fit import CurveFit, fit_curves
from scaling_cli.training.history import DECAY
from scaling_cli.training.plan import plan_schedule
from scaling_cli.training.schedule import parse_schedule

title = "Schedules, intervals and predicted finals by training curves"
STEPS = 24_000  # of the longest public runs
ANNEAL = {"L0": 2.6, "A": 0.5, "alpha": 0.55, "C": 0.4}  # a law of which noisy curves are made
SPECS = (
    "cosine:peak=3e-4,warmup=100,total=3000,min=3e-5",
    "constant:peak=3e-4,warmup=100,total=3000",
    "piecewise:peak=3e-4,warmup=100,total=2000,1000=9e-5",
)
CORRELATION = 0.9  # of neighbouring rows' noise; 0.7 to 0.98 on the public curves
NOISE = 5e-4
FAMILIES = 30  # of curves: 120 intervals, so that their share is known to some 4 %
LADDER = 'recipe == "baseline" and split == "ladder"'
TARGETS = 'recipe == "baseline" and split == "holdout"'
STOPPED = ((8.1e12,), (2.7e12, 8.1e12), (2.7e12,), (9e11, 2.7e12))  # budgets of runs cut short
SHARES = (1 / 2, 2 / 3, 4 / 5)  # of their steps that they have done
LAWS = ("auto", "chinchilla")


def made_by(
    law: str,
    values: Mapping[str, float],
    noise: Callable[[int], Floats] = np.zeros,
    every: int = 20,
    specs: Sequence[str] = SPECS,
) -> list[Curve]:
    """Curves that follow the law but for the noise of their logs, logged every so many steps."""
    exact = CurveFit(get_law(law), values, DECAY, 0.0, ())
    curves = []
    for spec in specs:
        plan = parse_schedule(spec)
        steps = np.append(np.arange(200, plan.total, every), plan.total)
        blank = Curve(spec, steps, np.ones(len(steps)), plan, 1e8)
        loss = exact.predict(blank) * np.exp(noise(len(steps)))
        curves.append(replace(blank, loss=loss))
    return curves


def autoregressive(random: np.random.Generator) -> Callable[[int], Floats]:
    """Noise whose neighbouring rows are alike."""

    def noise(rows: int) -> Floats:
        made = random.standard_normal(rows)
        made[1:] *= np.sqrt(1 - CORRELATION**2)
        for i in range(1, rows):
            made[i] += CORRELATION * made[i - 1]
        return NOISE * made

    return noise


def row_by_row(
    residuals: Sequence[Floats], parameters: int, count: int, random: np.random.Generator
) -> list[Floats]:
    """Noise that takes each row for independent, in place of `bootstrap.blackened`."""
    return [random.choice(own, size=(count, len(own))) for own in residuals]


def covered(families: int, every: int, resamples: int, seed: int = 11) -> Floats:
    """Share of 90 % intervals of `lr_anneal` that hold the truth, by parameter."""
    noise, inside = autoregressive(np.random.default_rng(seed)), []
    for _ in range(families):
        curves = made_by("lr_anneal", ANNEAL, noise, every)
        drawn = bootstrap.resampled(fit_curves("lr_anneal", curves), curves, resamples)
        bounds = drawn.parameters(0.90)
        assert all(item.low is not None and item.high is not None for item in bounds.values())
        inside.append(
            [bounds[name].low <= truth <= bounds[name].high for name, truth in ANNEAL.items()]
        )
    return np.mean(inside, axis=0)


def intervals() -> str:
    ways = (
        ("in blocks", bootstrap.blackened, 8),
        ("in blocks", bootstrap.blackened, 30),
        ("row by row", row_by_row, 8),
    )
    lines = []
    for name, way, every in ways:
        rows = [len(curve.steps) for curve in made_by("lr_anneal", ANNEAL, every=every)]
        with patch.object(bootstrap, "blackened", way):
            shares = covered(FAMILIES, every, bootstrap.RESAMPLES)
        cells = " | ".join(f"{share:.0%}" for share in (*shares, np.mean(shares)))
        lines.append(f"| {name} | {min(rows)} to {max(rows)} | {cells} |")
    return "\n".join(
        [
            f"Share of 90 % intervals of `lr_anneal` that hold the truth, of {FAMILIES} families of"
            f" three curves each whose noise has a correlation of {CORRELATION} from row to row.",
            "",
            f"| residuals drawn | rows a run | {' | '.join(ANNEAL)} | mean |",
            "|---|---|---|---|---|---|---|",
            *lines,
        ]
    )


def memory(fitted: CurveFit, curve: Curve) -> float:
    """Correlation of what neighbouring rows are missed by."""
    residuals = np.log(curve.loss / fitted.predict(curve))
    return float(np.corrcoef(residuals[1:], residuals[:-1])[0, 1])


def gains() -> str:
    lines = []
    for size, curves in public_curves().items():
        plan = plan_schedule(curves["train"], STEPS, ["wsd"])
        (cosine,) = (item for item in plan.candidates if item.family == "cosine")
        ended = {
            curve.run_id.partition(" ")[2]: curve.loss[-1]
            for part in curves.values()
            for curve in part
        }
        memories = [memory(plan.known.fitted, curve) for curve in curves["train"]]
        late = [ended[name] for name in ("wsd_20000_24000", "wsdld_20000_24000")]
        real = " and ".join(f"{1 - loss / ended['cosine_24000']:.2%}" for loss in late)
        lines.append(
            f"| {size} | {plan.best.schedule} | {cosine.behind:.2%} |"
            f" {'yes' if cosine.decided else 'no'} | {real} |"
            f" {min(memories):.2f} to {max(memories):.2f} |"
        )
    return "\n".join(
        [
            "The schedule that `mpl`, fitted on cosine_24000, constant_24000 and wsdcon_9, chooses;"
            " how far cosine to a tenth of the peak is predicted behind it; and how far runs with a"
            " decay over the last sixth (exponential, linear), which were not fitted, ended below"
            " cosine. At last the correlation of the residuals of neighbouring rows.",
            "",
            "| size | best | cosine behind | decided | runs below cosine | correlation |",
            "|---|---|---|---|---|---|",
            *lines,
        ]
    )


def stopped(project: Project, place: str, share: float, chosen: Sequence[str]) -> Project:
    """The runs of a project as they were when those chosen had done a share of their steps."""
    assert project.mapping
    store, runs = open_store(place, create=True), []
    for record in project.store.runs():
        run = record.to_run(project.store.series([record.run_key])[record.run_key])
        if record.run_id in chosen:
            last = share * record.final["steps"]
            kept = {name: item.steps <= last for name, item in run.series.items()}
            series = {
                name: Series(item.steps[kept[name]], item.values[kept[name]])
                for name, item in run.series.items()
            }
            run = replace(run, series=series)
        runs.append(run)
    store.put(runs, finals(runs, project.mapping).rows, project.mapping)
    return Project(place, project.mapping)


def fitted(project: Project, law: str, which: str, resamples: int = 0) -> Fit:
    options = FitOptions(resamples=resamples)
    (found,) = project.fit([law], [], LADDER, None, options, save=False, finals=which)
    assert isinstance(found, Fit)
    return found


def apart(one: Fit, other: Fit, columns: Mapping[str, Floats]) -> float:
    """Root mean square over rows of the relative difference of two fits."""
    return float(np.sqrt(np.mean(np.log(one.curve(columns) / other.curve(columns)) ** 2)))


def missed(predicted: Table, ends: Mapping[str, float]) -> Floats:
    """By how many of their standard deviations the predicted ends missed [ends]."""
    losses, spreads = predicted.columns["loss"], predicted.columns[SPREAD]
    real = np.array([ends[run_id] for run_id in predicted.run_ids])
    return np.log(losses / real)[spreads > 0] / spreads[spreads > 0]


def predicted() -> str:
    lines, nearer = [], []
    with TemporaryDirectory() as folder:
        whole = open_project(folder + "/whole", ROOT / "sample_runs" / "scalefit.toml")
        whole.ingest([str(ROOT / "sample_runs")])
        rows, held = whole.observations(LADDER), whole.observations(TARGETS)
        at = [{name: r.columns[name] for name in ("params", "tokens")} for r in (rows, held)]
        ends = dict(zip(rows.run_ids, rows.columns["loss"], strict=True))
        real = {law: fitted(whole, law, LAST) for law in LAWS}
        for i, (budgets, share) in enumerate(product(STOPPED, SHARES)):
            chosen = rows.select(np.isin(rows.numbers("budget_flops"), budgets)).run_ids
            going = stopped(whole, f"{folder}/{i}", share, chosen)
            left = going.observations(LADDER)
            predicted = ends_of(going.store, left, going.mapping).of(left)
            deviations = missed(predicted, ends)
            cells = [", ".join(f"{budget:.1e}" for budget in budgets), f"{share:.0%}"]
            cells.append(f"{np.sqrt(np.mean(deviations**2)):.1f}")
            for law in LAWS:
                fits = [fitted(going, law, which) for which in (LAST, PREDICTED)]
                found = [[apart(fit, real[law], columns) for fit in fits] for columns in at]
                nearer.append(found)
                cells += [f"{value:.2%}" for pair in found for value in pair]
            lines.append(f"| {' | '.join(cells)} |")
    last, ours = np.array(nearer).transpose(2, 1, 0)
    told = [
        f"{np.sum(o <= x)} of {len(x)} times, in the mean {np.mean(o):.1%} against {np.mean(x):.1%}"
        for o, x in zip(ours, last, strict=True)
    ]
    heads = [f"{law}, {at}: last | predicted" for law in LAWS for at in ("ladder", "targets")]
    return "\n".join(
        [
            "The `baseline` ladder of the sample runs with the runs of some budgets cut short: by"
            " how many of their standard deviations the predicted ends missed (root mean square);"
            " and how far a fit lies from that of the whole runs, over the ladder and at the two"
            " larger targets (root mean square), with the last points and with `--finals"
            f" predicted`. That is as near or nearer over the ladder {told[0]}; at the targets"
            f" {told[1]}.",
            "",
            f"| budgets | done | missed by | {' | '.join(heads)} |",
            f"|{'---|' * (3 + 2 * len(heads))}",
            *lines,
        ]
    )


def run() -> str:
    public = gains() if TABLE.is_file() else f"The public curves are not at {TABLE}."
    return "\n\n".join([public, intervals(), predicted()])


if __name__ == "__main__":
    print(run())

"""Forecasts of larger runs that no fit has seen: each law and `auto` against plain Chinchilla."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting import auto
from scaling_cli.fitting.prior import learnt
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.scoring import score_holdout
from scaling_cli.laws import LAWS
from scaling_cli.project import open_project
from scaling_cli.records import Floats
from scaling_cli.table import Table

title = "Forecasts of held-out larger runs"
ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SCALEFIT_PUBLIC_DATA", ROOT.parent / "shared" / "data"))
SAMPLES = Path(os.environ.get("SCALEFIT_SAMPLE_RUNS", ROOT / "sample_runs"))
BASELINE = "chinchilla"
RESAMPLES = 400
LEFT_OUT = "auto, source left out"
HOW = """\
How choices were made. The medians of the prior are learnt (`python -m tools.prior`) from whole
ladders, not from errors of forecasts; `auto, source left out` forecasts each table by what the
other eleven sources say, and is the figure to expect. Learnt medians took the place of one share of
.70 and exponents of .44 because, source left out and sources equal, they err 0.434 of plain
Chinchilla, those 0.451 (the share alone 0.446), and on three sources that had no say in anything
(OLMo's ladder on five corpora, datablations' runs of up to four epochs on C4, the sample runs)
0.78, 0.79 and 0.27, those 0.97, 0.84 and 0.35. All of its widths times 0.7 to 1.5 give 0.427 to
0.465, so that they stayed as an earlier study of the first tables chose them, with the weights and
the drift. How a wider prior earns its place was chosen on the first 23 tables and on simulated
ladders of twenty seeds (1000 to 1019) that are not below.
"""
MEASURED = """\
Error on the held-out larger runs over plain Chinchilla's (`better`: tables with less error;
`covered`: mean over tables of the share inside the 90 % interval).
"""
FURTHER = """\
Ladders of the same sources: other counts of parameters, other warmups and decays, and a
transformer's runs on web text.
"""
NEW = """\
Ladders of four further sources: web text, code and proofs, bytes, proteins and chess.
"""
Row = dict[str, str]


def read(path: str, keep: Callable[[Row], bool], loss: str = "loss") -> list[Row]:
    with (DATA / path).open() as file:
        rows = [row for row in csv.DictReader(file) if keep(row)]
    return [row | {"loss": row[loss]} for row in rows if row[loss]]


def best_cell(rows: list[Row]) -> list[Row]:
    """The lowest loss of each (params, tokens): grids over other settings become one row a cell."""
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row["params"], row["tokens"])
        if key not in best or float(row["loss"]) < float(best[key]["loss"]):
            best[key] = row
    return list(best.values())


def group(name: str) -> Callable[[Row], bool]:
    return lambda row: row["group"] == name


POINTS = "porian_isoflop/porian_isoflop_points.csv"
ISOFLOPS = "isoflop_collection/isoflops.csv"


def tables() -> dict[str, list[Row]]:
    """The tables of runs with params and tokens that the study chose, named source/group."""
    found: dict[str, list[Row]] = {}
    found["chinchilla_epoch"] = read(
        "chinchilla_epoch/chinchilla.csv", lambda r: r["in_epoch_fit"] == "1"
    )
    for name in ("c4_original", "rpj", "rw_original"):
        found[f"gadre/{name}"] = read("gadre_overtrain/gadre_104.csv", group(name), "loss_c4_val")
    for name in ("hot", "cool_end"):
        found[f"gemstones/{name}"] = read("gemstones/gemstones.csv", group(name))
    for name, text in (
        ("rw/tuned/const", "rw/tuned/short-warmup/const-decay/standard-count/val-loss"),
        ("rw/base/chinchilla", "rw/base/short-warmup/chinchilla-decay/standard-count/val-loss"),
        ("owt2/tuned/const", "owt2/tuned/short-warmup/const-decay/standard-count/val-loss"),
        ("owt2/base/chinchilla", "owt2/base/short-warmup/chinchilla-decay/standard-count/val-loss"),
        ("rw/base/kaplan", "rw/base/long-warmup/kaplan-decay/standard-count/val-loss"),
    ):
        found[f"porian/{name}"] = read(POINTS, group(text))
    found["porian/rw/tuned/const 2..200"] = [
        row
        for row in found["porian/rw/tuned/const"]
        if 2 <= float(row["tokens"]) / float(row["params"]) <= 200
    ]
    found["steplaw"] = best_cell(read("steplaw/steplaw_dense.csv", lambda r: True, "loss_smooth"))
    found["misfitting"] = best_cell(read("misfitting/misfitting_final.csv", lambda r: True))
    for name in (
        "llama_3__exp_loss",
        "llama_3__raw_loss",
        "marin_202603__comma__llama_2",
        "marin_202603__dclm__llama_2",
        "marin_202603__nemotron__llama_2",
        "ml_scalefit__massivetext__chinchilla",
    ):
        found[f"isoflop/{name}"] = isoflop(name)
    for name in ("comma", "dclm", "nemotron"):
        found[f"marin/{name}"] = read("marin_isoflop/marin_isoflop.csv", group(name))
    return found


def isoflop(name: str) -> list[Row]:
    return [row for row in read(ISOFLOPS, group(name)) if row["outlier"] == "0"]


def further_tables() -> dict[str, list[Row]]:
    """The ladders of the same sources that had no say in any constant of the recipe."""
    ladders = (
        "owt2/base/long-warmup/kaplan-decay/kaplan-count/train-loss",
        "owt2/base/long-warmup/kaplan-decay/standard-count/val-loss",
        "owt2/base/short-warmup/kaplan-decay/standard-count/val-loss",
        "rw/base/long-warmup/kaplan-decay/attention-count/train-loss",
        "rw/base/long-warmup/kaplan-decay/kaplan-count/train-loss",
        "rw/base/short-warmup/chinchilla-decay/attention-count/train-loss",
        "rw/base/short-warmup/kaplan-decay/attention-count/train-loss",
        "rw/base/short-warmup/kaplan-decay/standard-count/val-loss",
        "rw/tuned/long-warmup/const-decay/kaplan-count/train-loss",
        "rw/tuned/short-warmup/const-decay/attention-count/train-loss",
    )
    found = {f"porian/{name}": read(POINTS, group(name)) for name in ladders}
    name = "misfitting__fineweb_c4__transformer"
    return found | {f"isoflop/{name}": isoflop(name)}


def new_tables() -> dict[str, list[Row]]:
    """Ladders of further sources: other code bases, corpora and sizes, proteins, and chess."""
    found = {}
    for path in sorted((DATA / "new_ladders").glob("*.csv")):
        with path.open() as file:
            found[path.stem] = [row for row in csv.DictReader(file) if row["loss"]]
    return found


def every_table() -> dict[str, list[Row]]:
    return tables() | further_tables() | new_tables()


SOURCES = {"chinchilla_epoch": "hoffmann", "ml_scalefit__massivetext__chinchilla": "hoffmann"}


def source_of(table: str) -> str:
    """Who trained the runs of a table: those of isoflop_collection are others' as well."""
    name = table.removeprefix("isoflop/")
    return SOURCES.get(name, name.split("/")[0].split("_")[0])


def observations(rows: Sequence[Row]) -> Table:
    """The rows as a ladder of runs, one run a `run_id`."""
    columns = {
        name: np.array([float(row[name]) for row in rows]) for name in ("params", "tokens", "loss")
    }
    columns["flops"] = 6 * columns["params"] * columns["tokens"]
    return Table.from_columns(columns, [row["run_id"] for row in rows])


def strong(rows: Table, options: FitOptions, group: dict[str, str]) -> Fit:
    """The recipe with its tightest prior alone."""
    return auto.fit(rows, options, group, auto.WIDTHS[:1])


def weak(rows: Table, options: FitOptions, group: dict[str, str]) -> Fit:
    """The recipe with its widest prior alone."""
    return auto.fit(rows, options, group, auto.WIDTHS[-1:])


def contenders() -> dict[str, Callable[..., Fit]]:
    """The baseline, every other law of the loss by params and tokens, and the recipe."""
    both = [law for law in LAWS.values() if set(law.variables) == {"params", "tokens"}]
    others = [law.id for law in both if law.target == "loss" and law.id != BASELINE]
    return {name: fitter(name) for name in (BASELINE, *others)} | {
        "auto, tightest prior": strong,
        "auto": fitter("auto"),
    }


def public(found: dict[str, list[Row]]) -> str:
    """The tables: error against the baseline's, bias, coverage."""
    options = FitOptions(resamples=RESAMPLES)
    fits: dict[str, Callable[..., Fit]] = contenders() | {LEFT_OUT: auto.fit}
    ratios: dict[str, list[float]] = {name: [] for name in fits}
    covered: dict[str, list[float]] = {name: [] for name in fits}
    sources, lines = [], []
    for table, rows in found.items():
        training = observations([row for row in rows if row["split"] == "train"])
        held = observations([row for row in rows if row["split"] == "test"])
        sources.append(table.split("/")[0])
        cells = [table, f"{len(training)} → {len(held)}"]
        base = np.nan
        fits[LEFT_OUT] = partial(auto.fit, known=learnt(source_of(table)))
        for name, fit in fits.items():
            try:
                score = score_holdout(fit(training, options, {}), held).holdout or {}
            except FitError:
                ratios[name].append(np.nan)
                covered[name].append(np.nan)
                cells.append("-")
                continue
            error = float(score["mape"] or np.nan)
            base = error if name == BASELINE else base
            ratios[name].append(error / base)
            covered[name].append(float(score["coverage"] or 0.0))
            cells.append(f"{error:.2%}" if name == BASELINE else f"{error / base:.2f}")
        cells += [f"{float(score['bias'] or 0):+.2%}", f"{covered[LEFT_OUT][-1]:.2f}"]
        lines.append(cells)
    summary = []
    for name in fits:
        logs = np.log(ratios[name])
        by_source = [
            np.nanmean([log for log, s in zip(logs, sources, strict=True) if s == source])
            for source in dict.fromkeys(sources)
        ]
        summary.append(
            [
                name,
                f"{np.exp(np.nanmean(logs)):.3f}",
                f"{np.exp(np.nanmean(by_source)):.3f}",
                f"{np.exp(np.nanmax(logs)):.2f}",
                f"{int(np.nansum(logs < 0))} of {int(np.sum(np.isfinite(logs)))}",
                f"{np.nanmean(covered[name]):.3f}",
            ]
        )
    head = ["law", "geometric mean", "sources equal", "worst", "better", "covered"]
    names = [f"{name} (error)" if name == BASELINE else name for name in fits]
    return (
        markdown(head, summary)
        + f"\nBy table; bias and coverage are those of `{LEFT_OUT}`.\n\n"
        + markdown(["table", "runs", *names, "bias", "covered"], lines)
    )


def sample_ladder() -> str:
    """The held-out runs of the shipped ladder, or its largest budget while there are none."""
    if not (SAMPLES / "scalefit.toml").is_file():
        return f"There are no sample runs at {SAMPLES}.\n"
    with TemporaryDirectory() as store:
        project = open_project(store, Path(__file__).parents[1] / "sample_runs" / "scalefit.toml")
        project.ingest([str(SAMPLES)])
        rows = project.observations("split != 'schedule'")
    held = rows.matches("split == 'holdout'")
    what = "the runs of split `holdout`"
    if not held.any():
        ladder = rows.matches("split == 'ladder'")
        held = rows.columns["flops"] > np.max(rows.columns["flops"][ladder]) / 2
        what = "the largest budget, for want of held-out runs"
    lines = []
    options = FitOptions(resamples=RESAMPLES)
    unseen_by = {str(group): part for group, part in rows.select(held).groups(["recipe"])}
    for group, training in rows.select(~held).groups(["recipe"]):
        unseen = unseen_by[str(group)]
        for name, fit in contenders().items():
            try:
                score = score_holdout(fit(training, options, group), unseen).holdout or {}
            except FitError:
                continue
            lines.append(
                [
                    group["recipe"],
                    name,
                    f"{len(training)} → {len(unseen)}",
                    f"{float(score['mape'] or 0):.2%}",
                    f"{float(score['bias'] or 0):+.2%}",
                    f"{float(score['coverage'] or 0):.2f}",
                ]
            )
    return f"Held out: {what}.\n\n" + markdown(
        ["recipe", "law", "runs", "error", "bias", "covered"], lines
    )


def surface(
    share: float, exponent: float, runs: int, noise: float, seed: int
) -> tuple[Table, Table, Floats]:
    """A simulated ladder over 2.5 decades of compute, six targets 4 to 30 times beyond, and what
    these are without noise. `share` is E over the lowest loss of the ladder."""
    random = np.random.default_rng(seed)
    compute = 10 ** np.repeat(np.linspace(18, 20.5, 6), runs // 6)
    ratio = np.exp(random.uniform(np.log(4), np.log(160), len(compute)))
    ahead = compute.max() * np.tile([4.0, 10.0, 30.0], 2)
    ratio = np.concatenate([ratio, np.repeat([20.0, 60.0], 3)])
    compute = np.concatenate([compute, ahead])
    params = np.sqrt(compute / 6 / ratio)
    tokens = compute / 6 / params
    alpha, beta = exponent * np.exp(random.normal(0, 0.1, 2))
    loss = (params / params[0]) ** -alpha + (tokens / tokens[0]) ** -beta
    loss += share / (1 - share) * np.min(loss[: -len(ahead)])
    loss *= 2.5 / loss[0]
    seen = loss * np.exp(noise * random.standard_normal(len(loss)))
    rows = [
        {"run_id": str(i), "params": str(n), "tokens": str(d), "loss": str(y)}
        for i, (n, d, y) in enumerate(zip(params, tokens, seen, strict=True))
    ]
    cut = len(rows) - len(ahead)
    return observations(rows[:cut]), observations(rows[cut:]), loss[cut:]


def simulated(repeats: int = 3) -> str:
    """Error over that of the better of the tightest and the widest prior, for nine surfaces."""
    lines, ratios = [], []
    options = FitOptions(resamples=0)
    for share, exponent in product((0.3, 0.7, 0.95), (0.2, 0.4, 0.9)):
        errors = []
        for runs, noise, seed in product((18, 48), (0.003, 0.01), range(repeats)):
            ladder, targets, truth = surface(share, exponent, runs, noise, seed)
            points = {name: targets.columns[name] for name in ("params", "tokens")}
            fits = [fit(ladder, options, {}) for fit in (strong, weak, fitter("auto"))]
            errors.append([np.mean(np.abs(fitted.curve(points) / truth - 1)) for fitted in fits])
        tight, wide, auto = np.mean(errors, axis=0)
        ratios.append(auto / min(tight, wide))
        lines.append(
            [f"{share}", f"{exponent}"]
            + [f"{error:.2%}" for error in (tight, wide, auto)]
            + [f"{ratios[-1]:.2f}"]
        )
    head = ["E / lowest loss", "exponents", "tightest prior", "widest prior", "auto", "ratio"]
    return (
        f"Simulated ladders ({4 * repeats} a line: 18 and 48 runs, noise 0.3 and 1 %; targets 4 to"
        f" 30 times beyond). Over the better prior: mean {np.mean(ratios):.2f}, 90th percentile"
        f" {np.quantile(ratios, 0.9):.2f}.\n\n" + markdown(head, lines)
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def run() -> str:
    parts = [HOW]
    if DATA.is_dir():
        parts += [MEASURED, public(tables()), FURTHER, public(further_tables())]
        parts += [NEW, public(new_tables())]
    else:
        parts.append(f"The public tables are not at {DATA} (set SCALEFIT_PUBLIC_DATA).\n")
    return "\n".join([*parts, sample_ladder(), simulated()])


if __name__ == "__main__":
    print(run())

"""The papers' numbers beside ours, on the public tables of their runs: docs/reproduction.md."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import TABLE
from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.isoflop import fit_isoflop
from scaling_cli.fitting.objective import get_objective
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.selection import selected
from scaling_cli.laws import Law, get_law, get_published
from scaling_cli.laws import Published as Entry
from scaling_cli.planning.budget import Constraints, optimum
from scaling_cli.planning.budget import Line as BudgetLine
from scaling_cli.planning.splits import allocate_published
from scaling_cli.planning.target import budget_for_published
from scaling_cli.records import Floats
from scaling_cli.table import Table

FOLDER = TABLE.parents[1]
PAGE = Path(__file__).parents[1] / "docs" / "reproduction.md"
INTRODUCTION = """\
# Reproduction

Made by `make reproduction` from the public tables of the papers' runs; do not edit. Each law is
fitted by its declaration, with the objective that the paper names, from the starts that every fit
has. Objectives are sums over runs; a lower one is a better fit of the same runs. Tests hold ours to
the published number within half a per cent wherever no reason for a difference is given.

| paper | number | published | ours | why they differ |
|---|---|---|---|---|
"""


COMMANDS = """
## By the command line

The same numbers come out of commands, on the tables that the papers' authors published, with
`--bootstrap 0` for the values alone.

| numbers | mapping beside the table's own names | command |
|---|---|---|
| Routed, all rows above | `experts = "num_experts"`, `loss = "loss_validation"` | `scalefit fit --law routed --by router_type --shared 'num_experts == 1' --where 'k == 1 and seed == 42 and routing_frequency == 0.5'` |
| Gemstones, hot | - | `scalefit fit --law chinchilla --points all --where 'group == "hot"' --objective huber_log:1e-4` |
| LAION, `--select frontier` | - | `scalefit fit --law laion --x flops --y error --by group --select frontier --holdout 'split == "test"'` |
| Step Law, within .25 % | `loss = "loss_smooth"`, `batch_tokens = "batch_size_seqs * 2048"` | `scalefit fit --law steplaw --law steplaw_batch --select within:0.25%` |
| Step Law, smooth | the same | `scalefit fit --law steplaw --law steplaw_batch --select smooth:lr,batch_tokens` |
| Broken laws, how many breaks | - | `scalefit compare --laws power_offset,bnsl,bnsl2 --x samples --y loss` |
| Shared capacity | `params = "model_size"`, `tokens = "n_tokens"`, `loss = "c4_loss"`, `"mixture.c4" = "weight_c4"` and so on | `scalefit fit --law mix_capacity.c4 --law mix_shukor_joint --where 'tokens > 5e9 and mixture.c4 >= 0.1' --holdout 'params > 7e8'` |

Step Law's published exponents are the medians of its authors' bootstraps. The runs that they published
do not give all three; how near they come, by the selection of the authors' own code where no other is
named:

| runs | rows | params, rate | tokens, rate | tokens, batch |
|---|---|---|---|---|
| published | - | -.713 | .307 | .571 |
| dense, within .25 % of the lowest of each cell | 129 | -.766 | .197 | .613 |
| dense, within .25 %, the loss not smoothed | 71 | -.793 | .278 | .719 |
| dense, within .1 % | 47 | -.755 | .205 | .668 |
| dense, within .5 % | 260 | -.712 | .173 | .496 |
| dense, within 1 % | 537 | -.640 | .133 | .475 |
| dense, lowest points of parabolas | 17 | -.693 | .210 | .572 |
| dense and routed by all their params, within .25 % | 213 | -.713 | .209 | .577 |

Of the 127,856 subsets of the 17 cells three have all three exponents within .02, of five or six cells,
and the best of thirteen cells is .074 off. Bootstraps of the 129 rows scatter by .054, .035 and .039,
1.8 to 2.1 times the authors' own .030, .019 and .019: theirs had three to four times as many rows. The
rate's exponent of tokens cannot be had from the public runs.
"""  # noqa: E501


@dataclass(frozen=True)
class Line:
    """One number; `published` is None where the paper or its repository gives none. `note` says why
    the two differ, where they do."""

    paper: str
    what: str
    published: float | None
    ours: float
    note: str = ""


class Published:
    """A public table: columns of numbers, or of words."""

    def __init__(self, name: str) -> None:
        with (FOLDER / name).open(encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file))

    def where(self, **wanted: str) -> Published:
        chosen = object.__new__(Published)
        chosen.rows = [row for row in self.rows if all(row[k] == v for k, v in wanted.items())]
        return chosen

    def numbers(self, name: str) -> Floats:
        return np.array([float(row[name] or "nan") for row in self.rows])

    def observations(self, **columns: str) -> Table:
        """Our columns, each from one of the table's; rows that lack a number are left out."""
        found = {ours: self.numbers(theirs) for ours, theirs in columns.items()}
        kept = np.all([np.isfinite(values) for values in found.values()], axis=0)
        ids = [row["run_id"] for row, keep in zip(self.rows, kept, strict=True) if keep]
        values = {name: item[kept] for name, item in found.items()}
        return Table.from_columns(values, [f"{name} {i}" for i, name in enumerate(ids)])


def fitted(law: str, rows: Table, **options: Any) -> Fit:
    return fit(get_law(law), rows, FitOptions(resamples=0, **options))


def held_out(found: Fit, rows: Table) -> float:
    """Mean absolute relative error."""
    columns = {name: rows.columns[found.columns[name]] for name in found.law.variables}
    target = rows.columns[found.columns["target"]]
    return float(np.mean(np.abs(found.curve(columns) / target - 1)))


def objective_at(name: str, objective: str, rows: Table, **renamed: str) -> float:
    """What a paper's coefficients reach on these rows."""
    law, entry = get_published(name)
    columns = {item: rows.columns[renamed.get(item, item)] for item in law.variables}
    prediction = law.predict(**entry.values, **columns)
    chosen = get_objective(objective)
    residuals = chosen.residuals(prediction, rows.columns[renamed.get("target", "loss")], None)
    return float(np.sum(chosen.rho(residuals)))


def chinchilla() -> Iterator[Line]:
    paper = "Chinchilla, replicated (2404.10102)"
    table = Published("chinchilla_epoch/chinchilla.csv")
    names = {"params": "params", "tokens": "tokens", "loss": "loss"}
    rows = table.where(in_epoch_fit="1").observations(**names)
    found = fitted("chinchilla", rows)
    why = "the headline's A and B are no minimum: its objective is .0010228"
    for name, value in (("E", 1.8172), ("alpha", 0.3478), ("beta", 0.3658)):
        yield Line(paper, name, value, found.values[name])
    for name, value in (("A", 482.01), ("B", 2085.43)):
        yield Line(paper, name, value, found.values[name], why)
    yield Line(paper, "objective, 240 points", 0.00101827403, found.objective_value)
    at_headline = objective_at("epoch2024", "huber_log", rows)
    yield Line(paper, "objective at the headline", 0.0010228428, at_headline)
    at_hoffmann = objective_at("hoffmann2022_tex", "huber_log", rows)
    yield Line(paper, "objective at Hoffmann's (TeX)", 0.0012311626, at_hoffmann)
    exponent = found.values["beta"] / (found.values["alpha"] + found.values["beta"])
    yield Line(paper, "exponent of params", 0.513, exponent)
    whole = fitted("chinchilla", table.observations(**names))
    yield Line(paper, "beta, all 245 points", None, whole.values["beta"], "five outliers kept")
    bent = fitted("skaling", rows)
    paper = "Skaling (2608.07222)"
    yield Line(
        paper, "objective, 240 points", None, bent.objective_value, "not fitted in the paper"
    )
    yield Line(paper, "k, 240 points", None, bent.values["k"], "the paper says .77 to .90")


def data_constrained() -> Iterator[Line]:
    paper = "Data-constrained (2305.16264)"
    table = Published("datablations/data_constrained.csv").where(in_paper_fit="1")
    rows = table.observations(
        params="params", tokens="tokens", unique_tokens="unique_tokens", loss="loss"
    )
    name = "muennighoff2023_repeats"
    _, entry = get_published(name)
    why = f"{len(rows)} of the paper's 182 runs: those below 9e20 FLOPs"
    at_paper = objective_at(name, "huber_log", rows)
    yield Line(paper, "objective at R_D 15.39, R_N 5.31", 0.01582594, at_paper, why)
    fixed = {key: value for key, value in entry.values.items() if key not in ("R_D", "R_N")}
    found = fitted("data_constrained", rows, fixed=fixed)
    yield Line(paper, "objective, second stage", 0.01582594, found.objective_value, why)
    yield Line(paper, "R_D", 15.387756, found.values["R_D"], why)
    yield Line(paper, "R_N", 5.309743, found.values["R_N"], why)


OVERTRAIN = {
    "c4_original": (1.5083, 141.28, 189.52, 0.1212),
    "rpj": (1.8366, 212.24, 366.69, 0.1364),
    "rw_original": (1.7345, 157.12, 246.21, 0.1272),
}
ERRORS = {
    "c4_original": (0.8497, 2.0789, 0.7561),
    "rpj": (0.8570, 2.2065, 0.7146),
    "rw_original": (0.8653, 2.2148, 0.7070),
}
TARGETS = {"rpj": (0.007103, 0.007320)}


def overtrain() -> Iterator[Line]:
    table = Published("gadre_overtrain/gadre_104.csv")
    for corpus, published in OVERTRAIN.items():
        paper = f"Over-training (2403.08540), {corpus.partition('_')[0]}"
        runs = table.where(group=corpus)
        names = {"params": "params", "tokens": "tokens", "loss": "loss_c4_val"}
        found = fitted(
            "overtrain", runs.where(paper_fit_loss="1").observations(**names), objective="squared"
        )
        for name, value in zip(("E", "a", "b", "eta"), published, strict=True):
            yield Line(paper, name, value, found.values[name])
        errors = fitted(
            "err_exp",
            runs.where(paper_fit_error="1").observations(loss="loss_c4_val", error="err_avg_17"),
        )
        for name, value in zip(("eps", "k", "gamma"), ERRORS[corpus], strict=True):
            yield Line(paper, f"{name}, 17 tasks", value, errors.values[name])
        for i, size in enumerate((1.4e9, 6.9e9)):
            big = runs.observations(**names)
            near = np.abs(np.log(big.columns["params"] / size)) < 0.1
            ratio = big.columns["tokens"] / big.columns["params"]
            far = near & ((ratio > 300) if i == 0 else (ratio < 30))
            label = ("1.4B, 640 tokens per param", "6.9B, 20 tokens per param")[i]
            aim = TARGETS[corpus][i] if corpus in TARGETS else None
            if far.any():
                yield Line(paper, f"loss error, {label}", aim, held_out(found, big.select(far)))


def parscale() -> Iterator[Line]:
    table = Published("parscale/parscale.csv")
    for group, published in (
        ("stack", {"E": 0.6913, "A": 1.1307e7, "alpha": 0.18940, "k": 0.39343, "": 3.67674e-5}),
        ("pile", {"E": 1.28885, "A": 1.9728e8, "alpha": 0.19636, "k": 0.33443, "": 1.81394e-5}),
    ):
        paper = f"ParScale (2505.10475), {group}"
        found = fitted(
            "parscale",
            table.where(group=group).observations(
                params="params", streams="parallel_streams", loss="loss"
            ),
        )
        for name in ("E", "A", "alpha", "k"):
            yield Line(paper, name, published[name], found.values[name], "published: the authors' "
                       "recipe run again")  # fmt: skip
        yield Line(paper, "objective", published[""], found.objective_value)


def bnsl() -> Iterator[Line]:
    paper = "Broken laws (2210.14891), addition"
    table = Published("bnsl_addition/addition_4digit.csv")
    names = {"samples": "samples", "loss": "loss"}
    rows = table.where(split="train").observations(**names)
    found = fitted("bnsl", rows, x="samples")
    test = table.where(split="test").observations(**names)
    yield Line(paper, "held-out error, one break", 0.00933, held_out(found, test),
               "published: their code run again; three points")  # fmt: skip
    plain = fitted("power_offset", rows, x="samples")
    yield Line(paper, "held-out error, power_offset", 1.73081, held_out(plain, test),
               "")  # fmt: skip


def routed() -> Iterator[Line]:
    table = Published("routing_moe/routing_curves.csv").where(is_final="1")
    refit = {
        "S-Base": (-0.0830, -0.1180, 0.0099, 1.1136, 2.075, 239.0),
        "RL-R": (-0.0827, -0.1234, 0.0112, 1.1070, 1.722, 470.0),
        "Hash": (-0.0874, -0.1384, 0.0126, 1.1595, 4.269, 427.0),
    }
    for method, published in refit.items():
        runs = [row for row in table.rows if _routed_row(row, method)]
        chosen = object.__new__(Published)
        chosen.rows = runs
        found = fitted(
            "routed",
            chosen.observations(params="params", experts="num_experts", loss="loss_validation"),
        )
        paper = f"Routed (2202.01169), {method}"
        for name, value in zip(found.law.parameter_names, published, strict=True):
            yield Line(paper, name, value, found.values[name], "")


def _routed_row(row: dict[str, str], method: str) -> bool:
    standard = row["k"] == "1" and row["seed"] == "42" and float(row["routing_frequency"]) == 0.5
    return standard and (row["router_type"] == method or row["num_experts"] == "1")


def gemstones() -> Iterator[Line]:
    paper = "Gemstones (2502.06857), hot"
    rows = Published("gemstones/gemstones.csv").where(group="hot").observations(
        params="params", tokens="tokens", loss="loss"
    )  # fmt: skip
    found = fitted("chinchilla", rows, objective="huber_log:1e-4")
    why = "our minimum of the same objective is lower"
    yield Line(paper, "objective, delta 1e-4", 2.076018e-4, found.objective_value, why)
    yield Line(paper, "alpha", 0.2989, found.values["alpha"], why)
    yield Line(paper, "beta", 0.6928, found.values["beta"], why)
    yield Line(paper, "E", float(np.exp(0.7663)), found.values["E"], why)


def steplaw() -> Iterator[Line]:
    paper = "Step Law (2503.04715)"
    table = Published("steplaw/steplaw_bootstrap_params.csv")
    for name, published, of in (
        ("exponent of params, rate", -0.713, "lr_coefN"),
        ("exponent of tokens, rate", 0.307, "lr_coefD"),
        ("exponent of tokens, batch", 0.571, "bs_coefD"),
    ):
        yield Line(paper, name, published, float(np.median(table.numbers(of))), "ours: the median"
                   " of the authors' bootstraps")  # fmt: skip
    best = lowest_cells(Published("steplaw/steplaw_dense.csv"))
    rate = fitted("steplaw", best)
    batch = fitted("steplaw_batch", best)
    why = "17 cells, the lowest run of each: noisier than the paper's smoothed optima"
    yield Line(paper, "exponent of params, rate, refit", -0.713, rate.values["n"], why)
    yield Line(paper, "exponent of tokens, rate, refit", 0.307, rate.values["d"], why)
    yield Line(paper, "exponent of tokens, batch, refit", 0.571, batch.values["d"], why)
    every = Published("steplaw/steplaw_dense.csv").observations(
        params="params", tokens="tokens", lr="lr", sequences="batch_size_seqs", loss="loss_smooth"
    )
    every = every.with_columns(batch_tokens=2048 * every.columns["sequences"])
    smooth = selected(every, "smooth:lr,batch_tokens", "loss")
    rate, batch = fitted("steplaw", smooth), fitted("steplaw_batch", smooth)
    why = "fit --select smooth:lr,batch_tokens: parabolas in both, within 2 % of the lowest loss"
    yield Line(paper, "exponent of params, rate, smooth", -0.713, rate.values["n"], why)
    yield Line(paper, "exponent of tokens, rate, smooth", 0.307, rate.values["d"], why)
    yield Line(paper, "exponent of tokens, batch, smooth", 0.571, batch.values["d"], why)
    near = selected(every, "within:0.25%", "loss")
    rate, batch = fitted("steplaw", near), fitted("steplaw_batch", near)
    why = "fit --select within:0.25%: the authors' code does so, and gives these on its public runs"
    yield Line(paper, "exponent of params, rate, within .25 %", -0.713, rate.values["n"], why)
    yield Line(paper, "exponent of tokens, rate, within .25 %", 0.307, rate.values["d"], why)
    yield Line(paper, "exponent of tokens, batch, within .25 %", 0.571, batch.values["d"], why)


def lowest_cells(table: Published) -> Table:
    """The best run of each size and amount of data."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in table.rows:
        key = row["params"], row["tokens"]
        if key not in cells or float(row["loss_smooth"]) < float(cells[key]["loss_smooth"]):
            cells[key] = row
    chosen = object.__new__(Published)
    chosen.rows = list(cells.values())
    rows = chosen.observations(
        params="params", tokens="tokens", lr="lr", sequences="batch_size_seqs"
    )
    return rows.with_columns(batch_tokens=2048 * rows.columns["sequences"])


def laion() -> Iterator[Line]:
    table = Published("clip_mammut_segm/clip_mammut_ade20k.csv")
    for group in ("clip", "mammut"):
        runs = table.where(group=group).observations(flops="flops", error="error")
        test = np.array([row["split"] == "test" for row in table.where(group=group).rows])
        frontier = lowest_by_bin(runs.columns["flops"], runs.columns["error"])
        rows, held = runs.select(frontier & ~test), runs.select(frontier & test)
        found = fitted("shifted_power", rows, x="flops")
        yield Line(f"LAION (2506.04598), {group}", "held-out error of the frontier", None,
                   held_out(found, held), "no coefficients are published")  # fmt: skip
        rows, held = (selected(runs.select(part), "frontier", "error") for part in (~test, test))
        found = fitted("shifted_power", rows, x="flops")
        yield Line(f"LAION (2506.04598), {group}", "held-out error, --select frontier", None,
                   held_out(found, held), "no coefficients are published")  # fmt: skip


BINS = 8  # a decade of compute


def lowest_by_bin(flops: Floats, error: Floats) -> Floats:
    """Which runs are the lowest of their bin of compute [rows]."""
    bins = np.floor(np.log10(flops) * BINS)
    return np.array([error[i] == np.min(error[bins == bins[i]]) for i in range(len(error))])


def nmt(laws: Sequence[str] = ("power", "power_offset", "m3", "m4")) -> Iterator[Line]:
    paper = "Learning curves (2209.06640), NMT"
    table = Published("nmt_learning_curves/nmt_curves.csv")
    for law in laws:
        errors = []
        for group in sorted({row["group"] for row in table.rows}):
            curve = table.where(group=group)
            names = {"samples": "samples", "loss": "loss"}
            fixed = {"e_0": 10.0} if law == "m4" else {}
            found = fitted(
                law, curve.where(split="train").observations(**names), x="samples", fixed=fixed
            )
            errors.append(held_out(found, curve.where(split="test").observations(**names)))
        note = "e_0 pinned at ten nats" if law == "m4" else ""
        published = 0.04119 if law == "power_offset" else None
        yield Line(paper, f"held-out error, {law}", published, float(np.mean(errors)), note)


def vocabularies() -> Iterator[Line]:
    paper = "Vocabulary (2407.13623)"
    table = Published("vocab/exp_data.csv")
    body = table.numbers("Non_vocab_parameters")
    vocab = table.numbers("vocab_size") * table.numbers("embed_dim")
    flops = table.numbers("FLOPs")
    rows = Table.from_columns(
        {
            "params_non_embedding": body,
            "params_vocab": vocab,
            "tokens": flops / 6 / (body + vocab),
            "unigram_normalised_loss": table.numbers("Lossu"),
        }
    ).select(flops >= 2.18e17)
    found = fitted("vocab", rows)
    why = "published: by data that a slip in the authors' script makes characters"
    yield Line(paper, "exponent of params and tokens", 0.446606, found.values["a_1"], why)
    yield Line(paper, "exponent of the vocabulary", 0.670737, found.values["a_2"], why)


def mixed() -> Iterator[Line]:
    paper = "Optimal mixtures (2507.09404), SlimPajama, C4"
    table = Published("data_mixing/dmsl_llm_slimpajama.csv")
    domains = [name for name in table.rows[0] if name.startswith("weight_")]
    columns = {"params": table.numbers("model_size"), "tokens": table.numbers("n_tokens")}
    columns |= {name.replace("weight_", "mixture."): table.numbers(name) for name in domains}
    rows = Table.from_columns(columns | {"loss": table.numbers("c4_loss")})
    rows = rows.select((columns["tokens"] > 5e9) & np.isfinite(rows.columns["loss"]))
    small = rows.columns["params"] < 7e8
    why = "fitted to 680M params and more than 5B tokens, held out 937M to 2.7B; others' runs"
    for law in ("mix_shukor", "mix_shukor_joint"):
        found = fitted(law, rows.select(small))
        yield Line(paper, f"held-out error, {law}", None, held_out(found, rows.select(~small)), why)
    # Its authors leave out what has less than a tenth of the domain.
    much = rows.columns["mixture.c4"] >= 0.1
    rows, small = rows.select(much), small[much]
    paper, why = "Shared capacity (2606.08167), SlimPajama, C4", f"{why}; C4 a tenth or more"
    for law in ("mix_shukor_joint", "mix_capacity.c4"):
        found = fitted(law, rows.select(small))
        yield Line(paper, f"held-out error, {law}", None, held_out(found, rows.select(~small)), why)


DILOCO = {  # table 4: the lowest loss at each size by replicas 1, 2, 4 and 8
    35e6: (3.482, 3.508, 3.554, 3.621), 90e6: (3.162, 3.182, 3.213, 3.265),
    180e6: (2.943, 2.957, 2.981, 3.019), 335e6: (2.777, 2.788, 2.808, 2.841),
    550e6: (2.645, 2.657, 2.673, 2.698), 1.3e9: (2.451, 2.464, 2.472, 2.493),
    2.4e9: (2.317, 2.323, 2.332, 2.351),
}  # fmt: skip


def diloco() -> Iterator[Line]:
    paper = "DiLoCo (2503.09799)"
    rows = Table.from_columns(
        {
            "params": np.repeat(list(DILOCO), 4),
            "replicas": np.tile([1.0, 2.0, 4.0, 8.0], len(DILOCO)),
            "loss": np.concatenate(list(DILOCO.values())),
        }
    )
    found = fitted("diloco", rows)
    for name, value in (("A", 19.226), ("alpha", 0.0985), ("beta", 0.0116)):
        yield Line(paper, name, value, found.values[name])


def protocols() -> Iterator[Line]:
    """The exponent of compute-optimal params under each protocol, from the runs at each budget."""
    optima = Published("porian_isoflop/porian_optima.csv")
    points = Published("porian_isoflop/porian_isoflop_points.csv")
    columns = {"params": "params", "flops": "isoflop", "loss": "loss"}
    for group in dict.fromkeys(row["group"] for row in optima.rows):
        published = float(optima.where(group=group).numbers("published_n_exponent")[0])
        rows = points.where(group=group).observations(**columns)
        found = fit_isoflop(rows, FitOptions(resamples=0), method="akima")
        paper = "IsoFLOP protocols (2406.19146)"
        yield Line(paper, f"a, {group}", published, found.values["a"])


def lifetimes() -> Iterator[Line]:
    """What papers conclude of splits: by their coefficients, and the planner that users have."""
    law, tex = get_published("hoffmann2022_tex")
    split = allocate_published(law, tex, 5.76e23)
    paper = "Chinchilla (2203.15556)"
    yield Line(paper, "params at 5.76e23 FLOPs, approach 3", 40e9, split.params or np.nan,
               "printed as 40 billion")  # fmt: skip
    rounded = replace(tex, values={**tex.values, "alpha": 0.336, "beta": 0.283})
    served = 2e12
    budget = budget_of_size(law, rounded, 13e9)
    alone = allocate_published(law, rounded, budget)
    whole = budget + 2 * 13e9 * served
    lifetime = budget_for_published(
        law, rounded, alone.loss or np.nan, Constraints(inference_tokens=served)
    )
    paper = "Inference (2401.00448), 13B optimum, 2e12 tokens served"
    yield Line(paper, "params of the same loss for the fewest FLOPs of a lifetime", 7e9,
               lifetime.params or np.nan, "printed as 7B (figure 1)")  # fmt: skip
    saved = whole - lifetime.budget_flops
    yield Line(paper, "FLOPs saved", 1.7e22, saved, "printed as 1.7e22")
    yield Line(paper, "share of FLOPs saved", 0.17, saved / whole, "printed as 17 %")
    best = allocate_published(law, rounded, 1e23)
    half = Constraints(max_params=0.5 * (best.params or np.nan))
    dearer = budget_for_published(law, rounded, best.loss or np.nan, half)
    worth = 1 - (0.5**-0.336 - 1) * 0.283 / 0.336  # by the formulas behind Harm's law
    published = 0.5 * worth ** (-1 / 0.283) - 1
    yield Line("Overheads (de Vries 2023)", "FLOPs over the fewest, half the params", published,
               dearer.budget_flops / 1e23 - 1)  # fmt: skip
    yield Line("Kaplan and Chinchilla (2406.12907)", "exponent of params without embeddings", 0.73,
               without_embeddings(law, tex), "published: Kaplan's; ours: Chinchilla's surface at"
               " Kaplan's sizes, which the paper says explains it")  # fmt: skip


def budget_of_size(law: Law, entry: Entry, params: float) -> float:
    """The FLOPs whose best split has so many params."""
    low, high = np.log(1e18), np.log(1e27)
    for _ in range(80):
        middle = 0.5 * (low + high)
        small = (allocate_published(law, entry, float(np.exp(middle))).params or 0.0) < params
        low, high = (middle, high) if small else (low, middle)
    return float(np.exp(low))


def without_embeddings(law: Law, entry: Entry) -> float:
    """The exponent of the best params without embeddings in FLOPs that leave these out too, from
    768 to 1.5e9 of them; 47491 N**(1/3) params are embeddings (2406.12907, section 3)."""

    def predict(params: Any, tokens: Any, **values: Any) -> Any:
        whole = params + 47491 * params ** (1 / 3)
        return law.predict(params=whole, tokens=tokens, **values)

    counted = replace(law, optimum=None, predict=predict)
    batch = {name: np.full((1, 1), value) for name, value in entry.values.items()}
    flops = np.logspace(12, 21, 80)
    params = np.array([optimum(counted, batch, BudgetLine(float(each)))[0][0] for each in flops])
    kept = (params > 768) & (params < 1.5e9)
    return float(np.polyfit(np.log(flops[kept]), np.log(params[kept]), 1)[0])


STUDIES: tuple[Callable[[], Iterator[Line]], ...] = (
    chinchilla,
    data_constrained,
    overtrain,
    parscale,
    bnsl,
    routed,
    steplaw,
    diloco,
    gemstones,
    laion,
    vocabularies,
    mixed,
    nmt,
    protocols,
    lifetimes,
)


def table() -> str:
    if not FOLDER.is_dir():
        return f"Skipped: {FOLDER} is not there (set SCALEFIT_PUBLIC_DATA)."
    lines = [line for study in STUDIES for line in study()]
    head = INTRODUCTION[INTRODUCTION.index("| paper") :]
    return head + "\n".join(map(_shown, lines)) + "\n"


def _shown(line: Line) -> str:
    published = "-" if line.published is None else f"{line.published:.6g}"
    return f"| {line.paper} | {line.what} | {published} | {line.ours:.6g} | {line.note} |"


if __name__ == "__main__":
    if not FOLDER.is_dir():
        raise SystemExit(table())
    PAGE.write_text(
        INTRODUCTION[: INTRODUCTION.index("| paper")] + table() + COMMANDS, encoding="utf-8"
    )
    print(PAGE.read_text(encoding="utf-8"))

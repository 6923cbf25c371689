"""Designs of ladders as tables and as files that trainers read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling_cli.quantities import count, counted, number, percent, power, share
from scaling_cli.report.listing import Listing

if TYPE_CHECKING:
    from scaling_cli.planning.design import Design, Designs
    from scaling_cli.planning.simulate import Simulation

SHOWN = ("run", "params", "tokens", "seed")


def design_tables(found: Designs) -> list[Listing]:
    """The runs to train, and the design beside the usual ones."""
    chosen, target = found.chosen, found.target
    rows = tuple(
        (
            str(row["run"]),
            count(row["params"]),
            count(row["tokens"]),
            number(row["tokens"] / row["params"], 3),
            str(row["seed"]),
            power(row["flops"]),
            percent(row["flops"] / found.spend, 1),
        )
        for row in chosen.rows()
    )
    headers = ("run", "params", "tokens", "D/N", "seed", "FLOPs", "of the spend")
    now = "nothing known yet" if found.before is None else f"±{percent(found.before, 1)} now"
    title = (
        f"Train {counted(len(rows), 'run')} for {power(found.spend)} FLOPs: the interval of the"
        f" {target.target} at {power(target.budget_flops)} FLOPs ({count(target.params)} params,"
        f" {count(target.tokens)} tokens) should be ±{percent(chosen.half_width, 1)}, {now}"
    )
    sides = tuple(
        (
            item.name,
            str(len(item.runs)),
            percent(float(item.flops.max()) / found.spend, 0),
            f"±{percent(item.half_width, 1)}",
        )
        for item in found.all
    )
    how = (
        f"as refits to {counted(found.trials, 'simulated experiment')} state it, in the mean"
        if found.trials
        else "as the posterior expects it, which was too good by half where that was tried"
    )
    lines = (f"Half of the {share(found.level)} interval, {how}.",)
    beside = ("design", "runs", "largest run", "expected interval")
    return [
        Listing(title, headers, rows),
        Listing("For the same spend", beside, sides, lines=lines),
    ]


def written(found: Designs, suffix: str) -> str:
    """The chosen runs as a table, a W&B sweep or a loop of a shell."""
    design = found.chosen
    return {".csv": _csv, ".yaml": _sweep, ".sh": _loop}[suffix](design)


def _figures(design: Design) -> list[tuple[str, str, str, str]]:
    return [
        (row["run"], f"{row['params']:.0f}", f"{row['tokens']:.0f}", str(row["seed"]))
        for row in design.rows()
    ]


def _csv(design: Design) -> str:
    lines = [",".join(cells) for cells in (SHOWN, *_figures(design))]
    return "\n".join(lines) + "\n"


def _sweep(design: Design) -> str:
    """A sweep of one parameter that holds a whole run, as params and tokens belong together."""
    runs = "".join(
        f"      - {{run: {run}, params: {params}, tokens: {tokens}, seed: {seed}}}\n"
        for run, params, tokens, seed in _figures(design)
    )
    return (
        "# wandb sweep FILE; each run reads its size from config.point\n"
        "program: train.py\nmethod: grid\nparameters:\n  point:\n    values:\n" + runs
    )


def _loop(design: Design) -> str:
    runs = "".join(" ".join(cells) + "\n" for cells in _figures(design))
    return (
        "#!/bin/sh\n# Put your trainer's command in place of echo.\n"
        "while read -r run params tokens seed; do\n"
        '  echo train name="$run" params="$params" tokens="$tokens" seed="$seed"\n'
        "done <<'RUNS'\n" + runs + "RUNS\n"
    )


def simulation_tables(found: Simulation) -> list[Listing]:
    """What would be learnt, and the runs."""
    rows = tuple(
        (
            row["run_id"],
            count(row["params"]),
            count(row["tokens"]),
            number(row["loss"], 5),
            *((row["recipe"],) if "recipe" in row else ()),
        )
        for row in found.rows()
    )
    recipe = ("recipe",) if "recipe" in found.table else ()
    title = (
        f"{counted(len(rows), 'run')} as {found.truth.source} would make them, with"
        f" {percent(found.truth.noise)} noise"
    )
    runs = Listing(title, ("run", "params", "tokens", "loss", *recipe), rows)
    lesson = found.lesson
    if lesson is None:
        return [runs]
    width = "no interval" if lesson.half_width is None else f"±{percent(lesson.half_width)}"
    said = [
        f"Over {lesson.repeats} simulations, `auto` on these runs gives {width} for the loss at"
        f" {power(lesson.target_flops)} FLOPs, and misses it by {percent(lesson.error)} (medians);"
        f" {percent(lesson.covered, 0)} of the intervals hold a new run."
    ]
    if lesson.effect is not None:
        said.append(
            f"A recipe whose losses are {percent(lesson.effect)} lower is said to be the best in"
            f" {percent(lesson.power, 0)} of them, the other in {percent(lesson.wrong, 0)}; else"
            " neither is."
        )
    return [Listing("What would be learnt", (), (), lines=tuple(said)), runs]


def table_of_runs(found: Simulation) -> str:
    """The runs as a CSV that `ingest` reads."""
    lines = [",".join(found.table)]
    lines += [
        ",".join(cell if isinstance(cell, str) else repr(cell) for cell in row.values())
        for row in found.rows()
    ]
    return "\n".join(lines) + "\n"

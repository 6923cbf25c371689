"""`scalefit fit`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli import completion
from scaling_cli.cli.common import (
    DEFAULT_LEVEL,
    DEFAULT_PRIOR,
    DEFAULT_STORE,
    DEFAULT_WORKERS,
    ByOption,
    ConfigOption,
    JsonOption,
    LevelOption,
    OnceOption,
    PriorOption,
    SeedOption,
    StoreOption,
    WhereOption,
    WorkersOption,
    answer,
    as_typed,
    assignments,
    check_folder,
    check_level,
    command,
    draw,
    is_figure,
    many,
    names,
    ranges,
    say,
    write_json,
)
from scaling_cli.errors import InputError, UnreachableError

LEAST_RESAMPLES = 20  # one beyond each end of a central 90 %


@command
def fit(
    law: Annotated[
        list[str] | None,
        typer.Option(
            "--law",
            help="Law to fit; may be repeated. Without: auto, the forecast.",
            metavar="LAW",
            autocompletion=completion.laws,
        ),
    ] = None,
    formula: Annotated[
        list[str] | None,
        typer.Option(
            "--formula", help="A law of your own: 'E + A/params**a + B/tokens**b'.", metavar="EXPR"
        ),
    ] = None,
    then: Annotated[
        str | None,
        typer.Option("--then", help="Link from the loss to --metric, e.g. ladder.", metavar="LAW"),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option("--range", help="Where a parameter starts.", metavar="NAME=LOW:HIGH"),
    ] = None,
    by: ByOption = None,
    where: WhereOption = None,
    holdout: Annotated[
        str | None,
        typer.Option("--holdout", help="Keep these runs out, and score on them.", metavar="EXPR"),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option("--objective", help="What is minimised; the law's own.", metavar="NAME"),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", help="Resamples for the intervals.", min=0, metavar="N")
    ] = 1000,
    seed: SeedOption = 0,
    level: LevelOption = DEFAULT_LEVEL,
    fix: Annotated[
        list[str] | None, typer.Option("--fix", help="Pin a parameter.", metavar="NAME=VALUE")
    ] = None,
    bound: Annotated[
        list[str] | None,
        typer.Option("--bound", help="Keep a parameter in a range.", metavar="NAME=LOW:HIGH"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Column that runs count by.", metavar="COLUMN"),
    ] = None,
    procedure: Annotated[
        str,
        typer.Option(
            "--procedure",
            "--recipe",
            help="How to fit: robust, or paper, as the law's paper did.",
            metavar="NAME",
        ),
    ] = "robust",
    tie: Annotated[
        str | None,
        typer.Option("--tie", help="One value for all groups of --by.", metavar="NAME,..."),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            "--x",
            help="Column of a one-variable law.",
            metavar="COLUMN",
            autocompletion=completion.columns,
        ),
    ] = None,
    y: Annotated[
        str | None,
        typer.Option(
            "--y",
            "--metric",
            help="The target; the law's own.",
            metavar="COLUMN",
            autocompletion=completion.columns,
        ),
    ] = None,
    prior: PriorOption = DEFAULT_PRIOR,
    finals: Annotated[
        str,
        typer.Option(
            "--finals",
            help="Of a run that has not ended: its predicted end, or its last point.",
            metavar="predicted|last",
        ),
    ] = "predicted",
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints/--no-checkpoints",
            help="Fit a link of --then, and auto to runs of one ratio, to checkpoints too.",
        ),
    ] = True,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Keep the fits under this name, for --fit.", metavar="NAME"),
    ] = None,
    workers: WorkersOption = DEFAULT_WORKERS,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="The fits; as .svg, .pdf or .png a figure.", metavar="FILE"
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            "--select",
            help="Of a sweep: frontier, best:KEY,..., within:0.25% or smooth:SETTING,SETTING.",
            metavar="WHICH",
        ),
    ] = None,
    shared: Annotated[
        str | None,
        typer.Option("--shared", help="Runs that count in every group of --by.", metavar="EXPR"),
    ] = None,
    points: Annotated[
        str,
        typer.Option(
            "--points", help="Rows: the final points, or each logged loss.", metavar="final|all"
        ),
    ] = "final",
    once: OnceOption = False,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit laws to the runs in the store.

    Each law is fitted to each group, with bootstrap intervals from whole runs resampled.

    The fits are kept in the store (`scalefit fits`); `predict`, `optimal` and `report` use the
    newest of the loss, or of the target that --y names.

    Example: scalefit fit --law chinchilla --by recipe --holdout 'split == "holdout"'
    """
    from scaling_cli.fitting.document import fits_document
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.fitting.result import FailedFit
    from scaling_cli.project import open_project
    from scaling_cli.report.answers import fits_figure
    from scaling_cli.report.fits import failed_table, fit_table, groups_tables, holdout_table

    check_level(level)
    check_folder(output)
    figure = output if is_figure(output) else None
    if 0 < bootstrap < LEAST_RESAMPLES:
        raise InputError(
            f"--bootstrap {bootstrap} gives no interval", f"Give 0, or {LEAST_RESAMPLES} and more."
        )
    options = FitOptions(
        objective=objective,
        resamples=bootstrap,
        seed=seed,
        level=level,
        x=x,
        target=y,
        weights=weights,
        fixed=assignments(fix or [], "--fix"),
        bounds=ranges(bound or [], "--bound"),
        tied=tuple(names(tie) or ()),
        procedure=procedure,
        ranges=ranges(start or [], "--range"),
        prior=prior,
        checkpoints=checkpoints,
    )
    project = open_project(store, config)
    wanted = [*many(law or []), *(f"={text}" for text in formula or [])] or ["auto"]
    if then:
        if formula:
            raise InputError("--then needs a law by name", "Name one: --law chinchilla.")
        wanted = [f"{item}+{then}" for item in wanted]
    if name is not None:
        project.store.fits.check_name(name)  # before the work, not after it
    results = project.fit(
        wanted,
        names(by),
        where,
        holdout,
        options,
        workers=workers,
        finals=finals,
        once=once,
        select=select,
        shared=shared,
        points=points,
        command=as_typed(),
    )
    fits = [item for item in results if not isinstance(item, FailedFit)]
    kept = "not kept in the store"
    try:
        project.saved.save(fits, name)
        kept = f"in the store as {', '.join(item.fit_id for item in fits)}"
    except UnreachableError as error:
        say(f"The fits were not kept in the store: {error}")
    document = {"fits": [item.to_json() for item in results]}
    draw(as_json, figure, lambda: fits_figure(project.observations(where), fits))
    try:
        answer(
            as_json,
            document,
            lambda: [
                *(
                    failed_table(item) if isinstance(item, FailedFit) else fit_table(item)
                    for item in results
                ),
                *groups_tables(fits),
                *([holdout_table(fits)] if any(item.holdout_rows for item in fits) else []),
            ],
        )
    except Exception:
        say(f"The fits cannot be shown; they are {kept}.")
        raise
    if output and not figure:
        write_json(output, fits_document(fits))

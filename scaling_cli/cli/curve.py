"""`scalefit curve`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli import completion
from scaling_cli.cli.common import (
    DEFAULT_LEVEL,
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    LevelOption,
    StoreOption,
    WhereOption,
    answer,
    check_figure,
    check_folder,
    check_level,
    command,
    for_people,
    one_of,
    positive,
    say,
    show_figure,
    steps_of,
    write_figure,
    write_json,
)
from scaling_cli.errors import InputError


@command
def curve(
    run: Annotated[
        str,
        typer.Option(
            "--run",
            help="The run: its id or name.",
            metavar="RUN",
            autocompletion=completion.runs,
        ),
    ],
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            help="Another schedule: cosine:peak=...,warmup=..., or a CSV.",
            metavar="SPEC",
        ),
    ] = None,
    steps: Annotated[
        str | None, typer.Option("--steps", help="Another length, in steps.", metavar="N")
    ] = None,
    params: Annotated[
        str | None, typer.Option("--params", help="Another size.", metavar="N")
    ] = None,
    upto: Annotated[
        str | None,
        typer.Option("--upto", help="As if the run had logged no further.", metavar="STEP"),
    ] = None,
    law: Annotated[
        str | None,
        typer.Option("--law", help="By a curve law alone: mpl, lr_anneal or fsl.", metavar="LAW"),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option("--fit", help="By a curve fit that -o FILE.json wrote.", metavar="FILE"),
    ] = None,
    where: WhereOption = None,
    level: LevelOption = DEFAULT_LEVEL,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="A figure; as .json the fit of --law.", metavar="FILE"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast the rest of a run, or of the same run with other settings.

    From its own losses, its schedule, and the finished runs of its group (--where narrows them).
    Another schedule, length or size is answered from the finished runs. With --law a curve law
    fitted to those of its size answers alone; -o FILE.json keeps it for --fit.

    Example: scalefit curve --run cosine-2 --upto 1000
    """
    from scaling_cli.project import open_project
    from scaling_cli.report.curves import curve_fit_table, curve_table
    from scaling_cli.report.figures import curve_figure

    check_level(level)
    one_of(law=law, fit=fit)
    keeps = output is not None and output.endswith(".json")
    if keeps and not law:
        raise InputError(f"-o {output} keeps a curve law, and none is named", "Add --law mpl.")
    if output and not keeps:
        check_figure(output)
    check_folder(output)
    shown, predicted, known = open_project(store, config).curve(
        run,
        schedule=schedule,
        steps=steps_of(steps, "--steps"),
        params=positive(params, "--params"),
        upto=steps_of(upto, "--upto"),
        where=where,
        level=level,
        law=law,
        fit=fit,
    )
    if output and known and keeps:
        write_json(output, known.to_document())
    elif output:
        write_figure(output, curve_figure(shown, predicted))
    if for_people(as_json):
        show_figure(curve_figure(shown, predicted))
    document = predicted.to_json()
    if known:
        document["parameters"] = known.parameters_json(level)
    answer(
        as_json,
        document,
        lambda: [curve_table(predicted), *([curve_fit_table(known, level)] if known else [])],
    )
    if output:
        say(f"The {'fit' if keeps else 'figure'} is in {output}.")

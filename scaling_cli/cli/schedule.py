"""`scalefit schedule`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_LEVEL,
    DEFAULT_STORE,
    ConfigOption,
    FigureOption,
    JsonOption,
    LevelOption,
    SeedOption,
    StoreOption,
    WhereOption,
    answer,
    check_figure,
    check_level,
    command,
    draw,
    many,
    steps_of,
)


@command
def schedule(
    steps: Annotated[str, typer.Option("--steps", help="Length of the run to plan.", metavar="N")],
    families: Annotated[
        list[str] | None,
        typer.Option(
            "--family",
            help="wsd, cosine, linear, inv_sqrt, constant; may be repeated.",
            metavar="NAME",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Fit on the finished runs like this one.", metavar="RUN"),
    ] = None,
    law: Annotated[
        str, typer.Option("--law", help="The curve law: mpl, lr_anneal or fsl.", metavar="LAW")
    ] = "mpl",
    warmup: Annotated[
        str | None,
        typer.Option("--warmup", help="Steps of the warmup; that of the runs.", metavar="N"),
    ] = None,
    where: WhereOption = None,
    seed: SeedOption = 0,
    level: LevelOption = DEFAULT_LEVEL,
    output: FigureOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the learning-rate schedule of the lowest final loss.

    A curve law is fitted to the finished runs of one size; the free numbers of each family are
    chosen within what those runs did, and the usual schedules stand beside the best.

    Example: scalefit schedule --run cosine-2 --steps 5000 --family wsd
    """
    from scaling_cli.project import open_project
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.answers import schedules_figure
    from scaling_cli.report.curves import schedule_table

    check_level(level)
    check_figure(output)
    asked = {"families": many(families)} if families else {}
    plan = open_project(store, config).schedule(
        int(parse_positive(steps, "--steps")),
        run,
        where,
        law=law,
        warmup=steps_of(warmup, "--warmup"),
        level=level,
        seed=seed,
        **asked,
    )
    draw(as_json, output, lambda: schedules_figure(plan))
    answer(as_json, plan.to_json(), lambda: [schedule_table(plan)])

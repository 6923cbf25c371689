"""`scalefit simulate`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    FitOption,
    JsonOption,
    PublishedOption,
    SeedOption,
    StoreOption,
    answer,
    check_folder,
    command,
    one_of,
    positive,
    say,
    write_text,
)
from scaling_cli.errors import InputError


@command
def simulate(
    design: Annotated[
        str, typer.Option(help="A table of params and tokens: .csv or .json.", metavar="FILE")
    ],
    noise: Annotated[
        str | None, typer.Option(help="Of a run's loss, relative; the fit's.", metavar="X")
    ] = None,
    law: Annotated[
        str | None, typer.Option("--law", help="By a law's first published values.", metavar="LAW")
    ] = None,
    published: PublishedOption = None,
    fit: FitOption = None,
    target: Annotated[
        str | None, typer.Option(help="The budget to learn about, by refits.", metavar="C")
    ] = None,
    effect: Annotated[
        str | None,
        typer.Option(help="How often losses lower by this share are noticed.", metavar="SHARE"),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Of the refits.", min=2, max=1000)] = 20,
    seed: SeedOption = 0,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="The runs as a .csv, for ingest.", metavar="FILE"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the runs of a design by a law, and say what would be learnt.

    With a target the forecasts of `auto` from such runs are held against the truth; with an effect,
    how often a recipe that much better would be said to be.

    Example: scalefit simulate --published epoch2024 --design runs.csv --noise 0.005
    """
    from scaling_cli.planning.simulate import Truth, read_design
    from scaling_cli.planning.simulate import simulate as make
    from scaling_cli.project import load_fit, open_project
    from scaling_cli.report.designs import simulation_tables, table_of_runs

    one_of(law=law, published=published, fit=fit)
    if law is None and published is None and fit is None:
        raise InputError("nothing says what runs follow", "Give --published, --law or --fit.")
    if output and Path(output).suffix != ".csv":
        raise InputError(f"--output {output}: runs are written as .csv", "Name the file runs.csv.")
    check_folder(output)
    share = None if noise is None else _share(noise, "--noise")
    fitted = None if fit is None else load_fit(fit, open_project(store, config))
    truth = Truth.of(share, law, published, fitted)
    simulated = make(
        truth,
        read_design(design),
        seed,
        positive(target, "--target"),
        positive(effect, "--effect"),
        repeats,
    )
    if output:
        write_text(output, table_of_runs(simulated))
        say(f"Wrote {output}")
    answer(as_json, simulated.to_json(), lambda: simulation_tables(simulated))


def _share(text: str, option: str) -> float:
    """A number that may be zero."""
    from scaling_cli.quantities import parse_quantity

    return parse_quantity(text, option)

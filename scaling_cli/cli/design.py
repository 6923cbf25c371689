"""`scalefit design`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    FitOption,
    JsonOption,
    LawOption,
    PublishedOption,
    StoreOption,
    TargetOption,
    answer,
    check_folder,
    command,
    json_text,
    one_of,
    positive,
    say,
    write_text,
)
from scaling_cli.errors import InputError

FORMATS = (".csv", ".json", ".yaml", ".sh")


@command
def design(
    spend: Annotated[str, typer.Option(help="FLOPs of all runs together.", metavar="C")],
    target: Annotated[str, typer.Option(help="The budget that they are to tell of.", metavar="C")],
    recipe: Annotated[
        str | None, typer.Option(help="The group, where the fits have several.", metavar="NAME")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Write it here: .csv, .json, .yaml (W&B), .sh.", metavar="FILE"
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="Of one run's loss, relative, without a fit; 0.005.", metavar="X"),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="Simulated experiments that each is tried on.", min=0, max=1000)
    ] = 6,
    fit: FitOption = None,
    law: LawOption = None,
    y: TargetOption = None,
    published: PublishedOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which small runs to train next.

    Of several designs for the spend the one after which the interval at the target is narrowest,
    by refits to simulated experiments, beside an isoFLOP grid and a ladder at one ratio.

    Example: scalefit design --spend 1e21 --target 1e24 --published epoch2024 --trials 2
    """
    from scaling_cli.fitting.result import Fit
    from scaling_cli.laws import get_published
    from scaling_cli.planning.design import (
        DEFAULT_NOISE,
        design_for_fits,
        design_for_published,
        of_one_recipe,
    )
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.designs import design_tables, written
    from scaling_cli.report.origins import origins_json, with_origin

    one_of(fit=fit, law=law, published=published)
    one_of(fit=fit, y=y, published=published)
    one_of(recipe=recipe, published=published)
    if noise is not None and published is None:
        raise InputError("a fit has a noise of its own", "Give --noise with --published.")
    if output and Path(output).suffix not in FORMATS:
        raise InputError(
            f"--output {output}: a design is written as {', '.join(FORMATS)}",
            "Name the file design.csv.",
        )
    check_folder(output)
    whole = parse_positive(spend, "--spend"), parse_positive(target, "--target")
    fits: list[Fit] = []
    if published:
        deviation = positive(noise, "--noise") or DEFAULT_NOISE
        proposal = design_for_published(*get_published(published), *whole, deviation, trials)
    else:
        from scaling_cli.project import open_project

        saved = open_project(store, config).saved.answering(fit, law, y)
        fits = of_one_recipe(saved, recipe)
        proposal = design_for_fits(fits, *whole, trials)
    document = proposal.to_json() | {"origin": origins_json(fits)}
    if output:
        suffix = Path(output).suffix
        text = json_text(document, 2) + "\n" if suffix == ".json" else written(proposal, suffix)
        write_text(output, text)
        say(f"Wrote {output}")
    answer(as_json, document, lambda: with_origin(design_tables(proposal), fits))

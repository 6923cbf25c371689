"""`scalefit fits`: list, show, name, forget"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    JsonOption,
    StoreOption,
    answer,
    command,
    say,
    say_notes,
)

fits = typer.Typer(invoke_without_command=True, add_completion=False)

FitArgument = Annotated[str, typer.Argument(help="A saved fit: its name or id.", metavar="FIT")]


@fits.callback()
@command
def listing(
    context: typer.Context, store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False
) -> None:
    """List the saved fits, the newest first, and which of them answer.

    Of each target the newest set answers: a fit of something else changes no answer about the loss.

    Example: scalefit fits
    """
    if context.invoked_subcommand:
        return
    from scaling_cli.project import open_project
    from scaling_cli.report.origins import saved_table

    project = open_project(store, None)
    saved = project.store.fits.listed()
    answering = project.saved.answering_files(saved)
    document = {
        "fits": [
            {
                "fit_id": item.fit_id,
                "names": list(item.names),
                "set": item.set,
                "answers": item.file in answering,
                **{key: part for key, part in item.about.items() if key != "contents"},
            }
            for item in saved
        ]
    }
    say_notes(project.store.fits.lost(saved))
    answer(as_json, document, lambda: [saved_table(saved, answering)])


@fits.command()
@command
def show(fit: FitArgument, store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Show a saved fit: its parameters, and the runs and the command that it rests on.

    Example: scalefit fits show ladder
    """
    from scaling_cli.project import open_project
    from scaling_cli.report.fits import fit_table, holdout_table
    from scaling_cli.report.origins import basis_tables

    project = open_project(store, None)
    saved = project.store.fits.find(fit)
    loaded = project.saved.load(saved)
    named = list(zip(saved, loaded, strict=True))
    document = {"fits": [item.to_json() | {"names": list(one.names)} for one, item in named]}
    answer(
        as_json,
        document,
        lambda: [
            *(
                table
                for one, item in named
                for table in (fit_table(item), *basis_tables(item, one.names))
            ),
            *([holdout_table(loaded)] if any(item.holdout_rows for item in loaded) else []),
        ],
    )


@fits.command()
@command
def name(
    fit: FitArgument,
    name: Annotated[str, typer.Argument(help="What to call it.", metavar="NAME")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Give a saved fit a name, by which --fit finds it; another that had it loses it.

    Example: scalefit fits name chinchilla-0f3a91c2 ladder
    """
    from scaling_cli.project import open_project

    saved = open_project(store, None).store.fits
    matching = saved.find(fit)
    saved.give_name(matching, name)
    document = {"name": name, "fits": [item.fit_id for item in matching]}
    answer(as_json, document, list)
    say(f"{', '.join(document['fits'])} is called {name}.")


@fits.command()
@command
def forget(
    fit: Annotated[list[str], typer.Argument(help="Names or ids.", metavar="FIT...")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Take saved fits out of the store.

    Example: scalefit fits forget chinchilla-0f3a91c2
    """
    from scaling_cli.project import open_project

    saved = open_project(store, None).store.fits
    matching = [item for text in fit for item in saved.find(text)]
    saved.forget(matching)
    ids = list(dict.fromkeys(item.fit_id for item in matching))
    answer(as_json, {"forgotten": ids}, list)
    say(f"Forgot {', '.join(ids)}.")

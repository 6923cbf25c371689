"""`scalefit ingest`"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    StoreOption,
    answer,
    command,
    manner,
    many,
    say,
    say_notes,
)
from scaling_cli.progress import Progress
from scaling_cli.sources import Selection, Sources
from scaling_cli.workers import checked


@command
def ingest(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders or URLs of run logs; - reads standard input;"
            " wandb:ENTITY/PROJECT[/RUN]; mlflow:URI#EXPERIMENT."
        ),
    ],
    as_format: Annotated[
        str | None, typer.Option("--as", help="Read as this format.", metavar="FORMAT")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Put the runs in this group.", metavar="NAME")
    ] = None,
    meta: Annotated[
        str | None,
        typer.Option("--meta", help="Table of the runs' settings, by id or name.", metavar="FILE"),
    ] = None,
    filter: Annotated[
        str,
        typer.Option(
            "--filter", help="Only runs that the service finds by this.", metavar="EXPR|JSON"
        ),
    ] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Only the service's runs with this tag.", metavar="TAG,..."),
    ] = None,
    sweep: Annotated[
        str, typer.Option("--sweep", help="Only the runs of this W&B sweep.", metavar="ID")
    ] = "",
    again: Annotated[bool, typer.Option("--again", help="Also runs that were forgotten.")] = False,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read files again that have not changed.")
    ] = False,
    workers: Annotated[
        str,
        typer.Option(
            "--workers",
            envvar="SCALEFIT_WORKERS",
            help="Processes that read many files; mostly as many as there are processors.",
            metavar="N",
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what would be read, and write nothing."),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read run logs into the store.

    Formats are recognised by content. What was taken for params, tokens and loss is printed, and
    nothing is guessed in silence. Ingesting again reads the files that have changed since, and
    replaces runs that did; the last line says how many, and with -q it is all that is said.

    Example: scalefit ingest logs/ --config scalefit.toml
    """
    from scaling_cli.project import open_project
    from scaling_cli.report.ingests import ingest_tables, preview_tables

    select = Selection(filter, tuple(many(tag or [])), sweep)
    asked = Sources(tuple(sources), as_format, group, select, meta)
    if dry_run:
        seen = open_project(store, config).preview(asked)
        say_notes(seen.notes)
        answer(as_json, seen.to_json(), lambda: preview_tables(seen))
        return
    with _Bar() if sys.stderr.isatty() else _Count() as progress:
        try:
            project = open_project(store, config)
            done = project.ingest(
                asked, progress, again=again, reread=reread, workers=_readers(workers)
            )
        except KeyboardInterrupt:
            progress.close()
            say(
                f"Stopped. {progress.in_store} runs are in {store};"
                " the same command goes on from there."
            )
            raise
    say_notes(done.notes)
    if manner.quiet and not as_json:
        print(done.line)
        return
    answer(as_json, done.to_json(), lambda: ingest_tables(done))
    say(done.line)


_MOST_READERS = 4  # one process stores what they read


def _readers(workers: str) -> int:
    """How many processes read, if none or a cluster is asked for: files are of this machine."""
    asked = checked(workers) if workers else 0
    if isinstance(asked, int) and asked:
        return asked
    may_use = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return min(len(may_use(0)), _MOST_READERS)


class _Count(Progress):
    """How many runs are in the store."""

    in_store = 0

    def stored(self, runs: int) -> None:
        self.in_store += runs

    def close(self) -> None:
        pass

    def __enter__(self) -> _Count:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Bar(_Count):
    """Runs, rows, what is still to be read and for how long, as a bar on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Shown

        self.total = self.runs = self.rows = 0
        self.files = self.files_read = self.size = self.size_read = 0
        self.shown = Shown(
            BarColumn(bar_width=16),  # all fits into 80 columns
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.shown.add_task("", total=None, told="looking for runs")

    def __enter__(self) -> _Bar:
        self.shown.start()
        return self

    def close(self) -> None:
        self.shown.stop()

    def expect(self, runs: int) -> None:
        self.total += runs
        self.tell()

    def to_read(self, files: int, size: int) -> None:
        self.files, self.size = files, size
        self.began = self.shown.tasks[0].elapsed or 0.0
        self.tell()

    def was_read(self, files: int, size: int) -> None:
        self.files_read += files
        self.size_read += size
        self.tell()

    def arrived(self, runs: int, rows: int) -> None:
        self.runs += runs
        self.rows += rows
        self.tell()

    def tell(self) -> None:
        seconds = self.shown.tasks[0].elapsed or 0.0
        of = f" of {self.total:,}" if self.total else ""
        text = f"{self.runs:,}{of} runs, {self.rows:,} rows"
        done, total = (self.runs, self.total) if self.total else (self.size_read, self.size)
        if self.files:
            text = f"{self.files_read:,} of {self.files:,} files, {text}"
        elif seconds:
            text += f", {self.rows / seconds:,.0f} a second"
        if self.size_read:
            left = (seconds - self.began) * (self.size / self.size_read - 1)
            text += f", {left:,.0f} s left"
        self.shown.update(self.task, completed=done, total=total or None, told=text)

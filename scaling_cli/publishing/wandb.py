"""A report as a run of W&B, sent by its client: the page, a table of it for each of ours, figures
as images. Offline (WANDB_MODE=offline) it waits in WANDB_DIR for `wandb sync`."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scaling_cli.drawing.plots import figure_bytes
from scaling_cli.errors import InputError, UnreachableError, install
from scaling_cli.publishing.publication import Publication

START_SECONDS = 30.0  # until the server has taken the run
# Nothing of the machine or of what is printed belongs to a report.
QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "init_timeout": START_SECONDS,
}


def send(place: str, publication: Publication) -> str:
    entity, _, project = place.partition("/")
    if not (entity and project) or "/" in project:
        raise InputError(f"wandb:{place} names no project", "Write wandb:ENTITY/PROJECT.")
    try:
        import wandb
    except ImportError:
        raise InputError("W&B is sent to by its client", install("wandb")) from None
    os.environ.setdefault("WANDB_SILENT", "true")
    offline = os.environ.get("WANDB_MODE", "online") == "offline"
    with TemporaryDirectory() as folder:
        try:
            run: Any = wandb.init(
                entity=entity,
                project=project,
                job_type="report",
                name=publication.title,
                notes=publication.summary,
                config=publication.config,
                dir=os.environ.get("WANDB_DIR", ".") if offline else folder,
                settings=wandb.Settings(**QUIET),
            )
        except Exception as error:  # the client's own, of many kinds
            raise UnreachableError(
                f"W&B did not take the run ({type(error).__name__})",
                "Run `wandb login --relogin`, or set WANDB_API_KEY; is the project there?",
            ) from None
        run.log(_media(wandb, publication, Path(folder)))
        run.finish()
        return str(run.url or run.dir)


def _media(wandb: Any, publication: Publication, folder: Path) -> dict[str, Any]:
    """What the run shows, by name."""
    media: dict[str, Any] = {"report": wandb.Html(publication.page, inject=False)}
    for figure in publication.figures:
        image = folder / f"{figure.name}.png"
        image.write_bytes(figure_bytes(figure, ".png"))
        media[f"figures/{figure.name}"] = wandb.Image(str(image), caption=figure.caption)
    for number, table in enumerate(publication.tables, 1):
        if table.headers:
            columns = [header or " " for header in table.headers]
            rows = [list(row) for row in table.rows]
            media[f"tables/{number:02d} {_named(table.title)}"] = wandb.Table(columns, rows)
    return media


def _named(title: str) -> str:
    """A title as the client takes a name: letters, digits and blanks."""
    plain = (char if char.isascii() and char.isalnum() else " " for char in title)
    return " ".join("".join(plain).split())

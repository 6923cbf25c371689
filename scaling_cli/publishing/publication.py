"""What is published, and where: the service by how the target begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scaling_cli.drawing.figure import Figure
from scaling_cli.errors import InputError
from scaling_cli.report.listing import Listing
from scaling_cli.version import VERSION


@dataclass(frozen=True)
class Publication:
    """A report: its page, its figures, its tables, its JSON document as text, and the sentence or
    two that sum it up."""

    title: str
    summary: str
    page: str
    document: str
    figures: Sequence[Figure]
    tables: Sequence[Listing]
    fit_ids: Sequence[str]

    @property
    def config(self) -> dict[str, Any]:
        """What a run of a service says of itself."""
        return {"scalefit_version": VERSION, "fits": ", ".join(self.fit_ids)}


def check_target(target: str) -> None:
    """Refuse a target of no service, before the work."""
    if not target.startswith(("wandb:", "mlflow:")):
        raise InputError(
            f"{target} names no service", "Write wandb:ENTITY/PROJECT or mlflow:URI#EXPERIMENT."
        )


def publish(target: str, publication: Publication) -> str:
    """Send it as a run; where the run is to be seen."""
    check_target(target)
    if target.startswith("wandb:"):
        from scaling_cli.publishing.wandb import send
    else:
        from scaling_cli.publishing.mlflow import send
    return send(target.partition(":")[2], publication)

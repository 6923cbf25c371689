"""What an adapter makes of a source: runs, each with its config and its logged series."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scaling_cli.notes import Note

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]
Status = Literal["finished", "unfinished", "failed"]


@dataclass(frozen=True)
class Series:
    """A metric's logged points: `steps` (int64, increasing) and `values` (float64), both [n]."""

    steps: NDArray[np.int64]
    values: Floats


@dataclass(frozen=True)
class Run:
    """One training run as its source recorded it.

    `run_key` names the run for good (`csv:<run_id>`, `wandb:<entity>/<project>/<id>`): what is
    ingested again under the same key replaces it. `config` is flat, nested keys joined by dots;
    its values are JSON scalars or lists. `series` maps a logged name to its points; a run that is
    one row of a table has none. `notes` say what of the source is missing or damaged. `cursor` is
    what a service says of the run's state: as long as it says the same, nothing has changed.
    `step_name` is what the source calls the steps that the series stand at, where it says so.
    """

    run_key: str
    run_id: str
    source: str
    name: str = ""
    group: str = ""
    status: Status = "finished"
    config: dict[str, Any] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    created_at: str = ""
    notes: tuple[Note, ...] = ()
    cursor: str = ""
    step_name: str = ""

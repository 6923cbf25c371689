"""The figure of a split, which `optimal` and `plan` draw alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling_cli.drawing.figure import Figure
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.budget import Constraints
    from scaling_cli.planning.splits import Allocation


def split_figure(
    store: str,
    config: str | None,
    published: str | None,
    fits: Sequence[Fit],
    splits: Sequence[Allocation],
    asked: Constraints,
) -> Figure | None:
    """The loss along compute by the fits and their runs, or by a paper's coefficients."""
    from scaling_cli.report.answers import published_figure, splits_figure

    if published is None:
        from scaling_cli.project import open_project

        return splits_figure(open_project(store, config).observations(), fits, splits)
    from scaling_cli.planning.splits import allocate_published, published_for

    law, entry = published_for(published, asked)
    return published_figure(
        published, lambda flops: allocate_published(law, entry, flops, asked), splits
    )

"""Items of a test set that scale alike, and the score that they predict, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaling_cli.quantities import number, percent
from scaling_cli.report.listing import Listing

if TYPE_CHECKING:
    from scaling_cli.fitting.items import Items, ScoreForecast


def items_tables(found: Items, forecasts: Sequence[ScoreForecast], count: int) -> list[Listing]:
    clusters = tuple(
        (
            str(i),
            f"{item.items}",
            percent(float(item.scores[0]), 1),
            percent(float(item.scores[-1]), 1),
            "carried on" if item.fit else item.why_not,
        )
        for i, item in enumerate(found.clusters, 1)
    )
    share = sum(item.items for item in found.predictable) / count
    lines = (
        f"{found.alone} of {count} items are in no cluster; {percent(share, 0)} are carried on.",
        f"The curve from their score to that of all misses the runs by {percent(found.missed, 2)}.",
    )
    rows = tuple(
        (
            number(item.flops),
            percent(item.score, 1),
            f"{percent(item.low, 1)}..{percent(item.high, 1)}",
            percent(item.subset, 1),
        )
        for item in forecasts
    )
    level = percent(forecasts[0].level, 0)
    return [
        Listing("Items of like difficulty", ("cluster", "items", "least compute", "most", ""),
                clusters, lines=lines),
        Listing("Score of all items", ("flops", "score", f"{level} interval", "carried on"), rows),
    ]  # fmt: skip

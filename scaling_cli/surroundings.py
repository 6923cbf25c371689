"""What a report shows beside its fits: recipes side by side, what the checks say of the runs, and
training curves, one of them forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling_cli.ending import ENDED
from scaling_cli.errors import ScalefitError

if TYPE_CHECKING:
    from scaling_cli.checks import Result
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.recipes import SideBySide
    from scaling_cli.project import Project
    from scaling_cli.training.curve import Curve
    from scaling_cli.training.forecast import Forecast

MOST_RECIPES = 8  # which two by two are 28 crossings
MOST_CHECKED = 1000  # runs: of more their histories take longer than all the rest
MOST_FORECAST = 3  # of the runs that go on
MOST_TRIED = 3  # runs of which none may have a curve that can be forecast


@dataclass(frozen=True)
class Surroundings:
    """`forecasts` are of the largest runs that go on; where none does, of the largest one as if it
    had stopped half way, beside what it logged later. `checks` are None where there are too many
    runs to look through their histories."""

    recipes: SideBySide | None
    checks: tuple[Result, ...] | None
    curves: tuple[Curve, ...]
    forecasts: tuple[tuple[Curve, Forecast], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "recipes": self.recipes.to_json() if self.recipes else None,
            "checks": None if self.checks is None else [item.to_json() for item in self.checks],
            "forecasts": [forecast.to_json() for _, forecast in self.forecasts],
        }


def surroundings(project: Project, fits: Sequence[Fit], budgets: Sequence[float]) -> Surroundings:
    """What stands beside the fits; a part that cannot be made is left out."""
    largest = project.runs(sort="-flops")
    return Surroundings(
        _recipes(fits, budgets),
        tuple(project.check()) if len(largest) <= MOST_CHECKED else None,
        tuple(project.first_curves(largest)),
        tuple(_forecasts(project, largest.records)),
    )


def _recipes(fits: Sequence[Fit], budgets: Sequence[float]) -> SideBySide | None:
    """The groups by the first law that splits a budget, where there are several."""
    from scaling_cli.planning.recipes import side_by_side

    split = [fit for fit in fits if fit.group and fit.law.splits and len(fit.draws)]
    same = [fit for fit in split if (fit.name, fit.target) == (split[0].name, split[0].target)]
    if len(same) < 2:
        return None
    with suppress(ScalefitError):
        return side_by_side(same[:MOST_RECIPES], budgets)
    return None


def _forecasts(project: Project, largest: Sequence[Any]) -> Iterator[tuple[Curve, Forecast]]:
    records = [item for item in largest if item.has_history]
    going = [item for item in records if item.final.get(ENDED) == 0.0][:MOST_FORECAST]
    for record in going:
        with suppress(ScalefitError):
            yield project.curve(record.run_id)[:2]
    if going:
        return
    for record in records[:MOST_TRIED]:
        with suppress(ScalefitError):
            yield project.curve(record.run_id, upto=int(record.final.get("steps", 0)) // 2)[:2]
            return

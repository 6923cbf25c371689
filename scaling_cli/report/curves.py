"""Training curves and schedules as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaling_cli.quantities import count, counted, measured, percent, share
from scaling_cli.report.listing import Listing

if TYPE_CHECKING:
    from scaling_cli.training.assessed import Assessed
    from scaling_cli.training.fit import CurveFit
    from scaling_cli.training.forecast import Forecast
    from scaling_cli.training.plan import SchedulePlan


def curve_table(forecast: Forecast) -> Listing:
    """What a run will reach, at a few of the steps to come and at its end."""
    ahead = [i for i, step in enumerate(forecast.steps) if step > forecast.seen]
    chosen = sorted({ahead[len(ahead) * k // 4] for k in range(4)} | {ahead[-1]}) if ahead else [-1]
    rows = tuple(
        (
            count(float(forecast.steps[i])),
            *measured(float(forecast.loss[i]), float(forecast.low[i]), float(forecast.high[i])),
        )
        for i in chosen
    )
    ground = f"from its steps up to {forecast.seen}" if forecast.seen else "from no step of its own"
    siblings = counted(len(forecast.siblings), "finished run")
    rests = f"rests on {siblings}" if forecast.siblings else "alone"
    title = f"{forecast.run_id}: {ground}, {rests}"
    headers = ("step", "loss", f"{share(forecast.level)} band")
    return Listing(title, headers, rows, left=0, lines=forecast.notes)


def _fitted_on(fitted: CurveFit) -> str:
    return f"{fitted.law.id} on {counted(len(fitted.runs), 'run')}"


def curve_fit_table(known: Assessed, level: float) -> Listing:
    """The parameters of a curve law with their intervals."""
    fitted = known.fitted
    rows = tuple(
        (name, *measured(item.value, item.low, item.high))
        for name, item in fitted.parameters(level).items()
    )
    lines = (fitted.law.formula, *fitted.law.caveats)
    headers = ("parameter", "value", f"{share(level)} interval")
    return Listing(_fitted_on(fitted), headers, rows, lines=lines)


def _told_apart(specs: Sequence[str]) -> tuple[list[str], str]:
    """Each spec by its family and what not all of them say, and what they all say."""
    families, parts = zip(*(spec.split(":", 1) for spec in specs), strict=True)
    lists = [part.split(",") for part in parts]
    common = [item for item in lists[0] if all(item in other for other in lists)]
    own = [" ".join(item for item in items if item not in common) for items in lists]
    return [" ".join(pair).strip() for pair in zip(families, own, strict=True)], ", ".join(common)


def schedule_table(plan: SchedulePlan) -> Listing:
    """One line a schedule, the lowest predicted loss first."""
    names, common = _told_apart([item.schedule for item in plan.candidates])
    rows = tuple(
        (
            name,
            *measured(item.loss, item.low, item.high),
            "best" if item is plan.best else percent(item.behind, 2, sign=True),
            "" if item is plan.best else "decided" if item.decided else "cannot tell",
            ", ".join(item.beyond),
        )
        for name, item in zip(names, plan.candidates, strict=True)
    )
    fitted = plan.known.fitted
    title = f"Final loss after {count(plan.steps)} steps, by {_fitted_on(fitted)}: {common}"
    headers = ("schedule", "loss", f"{share(plan.level)} band", "behind", "", "beyond the runs")
    return Listing(title, headers, rows, lines=(f"Best: {plan.best.schedule}", *plan.notes))

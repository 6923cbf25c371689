"""Fits, predictions and comparisons of laws as tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaling_cli.notes import Note
from scaling_cli.quantities import count, counted, measured, number, percent, power, share
from scaling_cli.report.listing import COUNTS, Listing, about, group_name, span_of

if TYPE_CHECKING:
    from scaling_cli.fitting.backtest import Comparison
    from scaling_cli.fitting.result import Estimate, FailedFit, Fit, Prediction
    from scaling_cli.planning.inverse import Solution

_shapes = dict.fromkeys(COUNTS, count) | {"flops": power}
NOTHING = 1e-6  # a parameter at its bound and below this is zero but for the solver's last step


def fit_table(fitted: Fit) -> Listing:
    rows: list[tuple[str, ...]] = [
        (name, *_estimate(name, item, fitted.notes)) for name, item in fitted.parameters.items()
    ]
    rows += [(f"{name} (fixed)", number(value), "-") for name, value in fitted.constants.items()]
    rows += [
        (f"{name} (derived)", *measured(item.value, item.low, item.high))
        for name, item in fitted.further.items()
    ]
    if fitted.then:
        rows += [
            (f"{name} of {fitted.then.name}", *_estimate(name, item, fitted.then.notes))
            for name, item in fitted.then.parameters.items()
        ]
    headers: tuple[str, ...] = ("parameter", "value", f"{share(fitted.level)} interval")
    if fitted.tied:
        rows, headers = _with_untied(fitted.tied, rows), (*headers, "untied", "interval")
    low, high = fitted.domain.get("flops", (None, None))
    reach = f", {power(low)} to {power(high)} FLOPs" if low and high else ""
    procedure = fitted.procedure + (" with the language models' prior" if fitted.prior else "")
    lines = [
        fitted.law.formula,
        f"{counted(fitted.n_runs, 'run')}{reach}; procedure {procedure},"
        f" objective {fitted.objective} {number(fitted.objective_value)};"
        f" r2 {number(fitted.metrics['r2'])}, mape {percent(fitted.metrics['mape'])},"
        f" noise {percent(fitted.noise) if fitted.log else number(fitted.noise)}",
    ]
    if fitted.holdout:
        scores = fitted.holdout
        lines.append(
            f"held out: {counted(int(scores['n'] or 0), 'run')}, mape {percent(scores['mape'])},"
            f" bias {percent(scores['bias'], sign=True)}, inside the interval"
            f" {percent(scores['coverage'], 0)}"
        )
    if fitted.tied:
        p_value = fitted.tied["p_value"]
        shown = "" if p_value is None else f" (as much or more by chance in {percent(p_value)})"
        lines.append(
            f"{', '.join(fitted.tied['parameters'])} tied over {len(fitted.tied['groups'])} groups;"
            f" joint objective {number(fitted.tied['objective'], 6)}, untied"
            f" {number(fitted.tied['untied_objective'], 6)}{shown}"
        )
    return Listing(
        f"{fitted.name}, {group_name(fitted.group)}  ({fitted.fit_id})",
        headers,
        tuple(rows),
        lines=(*lines, *fitted.notes),
    )


def _estimate(name: str, item: Estimate, notes: Iterable[Note]) -> tuple[str, str]:
    """A parameter and its interval; one that ended at a bound says so."""
    value, interval = measured(item.value, item.low, item.high)
    said = [note.message for note in notes if note.code == "at_bound"]
    ended = [message for message in said if name in re.findall(r"\w+", message)]
    if not ended:
        return value, interval
    zero = abs(item.value) < NOTHING or any("driven to zero" in message for message in ended)
    return f"{'0' if zero else value} (at its bound)", interval


def groups_tables(fits: Sequence[Fit]) -> list[Listing]:
    """Each law that was fitted to several groups: the groups side by side."""
    tables = []
    for name in dict.fromkeys(fitted.name for fitted in fits):
        same = [fitted for fitted in fits if fitted.name == name]
        if len(same) < 2 or len({fitted.law.parameter_names for fitted in same}) > 1:
            continue
        rows = tuple(
            (
                group_name(fitted.group),
                str(fitted.n_runs),
                *(_estimate(n, i, fitted.notes)[0] for n, i in fitted.parameters.items()),
                percent(fitted.metrics["mape"]),
                percent(fitted.noise),
            )
            for fitted in same
        )
        headers = ("group", "runs", *same[0].parameters, "mape", "noise")
        tables.append(Listing(f"{name}, group by group", headers, rows))
    return tables


def _with_untied(tied: Mapping[str, Any], rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows of a tied fit, each with what its group has by itself."""
    lines = []
    for name, *cells in rows:
        alone = tied["untied"].get(name)
        more = measured(alone["value"], alone["low"], alone["high"]) if alone else ("", "")
        lines.append((f"{name} (tied)" if name in tied["parameters"] else name, *cells, *more))
    return lines


def failed_table(failed: FailedFit) -> Listing:
    title = f"{failed.name}, {group_name(failed.group)}"
    return Listing(title, ("failed",), ((failed.message,),), lines=failed.notes)


def holdout_table(fits: Sequence[Fit]) -> Listing:
    rows = [
        (
            fitted.name,
            str(row["run_id"]),
            number(row["observed"]),
            *measured(row["predicted"], row["low"], row["high"]),
            percent(row["error"], sign=True),
        )
        for fitted in fits
        for row in fitted.holdout_rows
    ]
    headers = ("law", "held-out run", "observed", "predicted", "interval", "error")
    return Listing("Runs that no fit has seen", headers, tuple(rows), left=2)


def comparison_table(compared: Comparison) -> Listing:
    """The laws of one group, best first."""
    rows = tuple(
        (
            score.law,
            str(score.n_parameters),
            percent(score.mape),
            percent(score.bias, sign=True),
            percent(score.coverage, 0),
            " ".join(percent(float(sum(errors) / len(errors))) for errors in score.errors),
            "-" if i == 0 else f"{percent(score.behind, sign=True)} ± {percent(score.spread)}",
            "" if i == 0 else "decided" if score.decided else "cannot tell",
        )
        for i, score in enumerate(compared.ranking)
    )
    lines: list[str | Note] = [
        f"fitted on {counted(len(fold.training), 'run')}"
        + (f" below {power(fold.cut)} {compared.by}" if fold.cut else "")
        + f", scored on {len(fold.held)} larger"
        for fold in compared.folds
    ]
    lines += [f"{item.name} is not ranked: {item.message}" for item in compared.failed]
    headers = ("law", "free", "error", "bias", "covered", "by fold", "behind best", "")  # fmt: skip
    title = (
        f"Which law predicts larger runs best, {group_name(compared.group)}: {compared.sentence}"
    )
    return Listing(title, headers, rows, lines=(*lines, *compared.notes))


def solutions_table(solutions: Sequence[Solution]) -> Listing:
    """The values of one variable at which laws predict a target."""
    rows, notes = [], list[Note]()
    for item in solutions:
        shape = _shapes.get(item.variable, number)
        given = ", ".join(
            f"{name} {_shapes.get(name, number)(value)}" for name, value in item.inputs.items()
        )
        ends = None if item.low is item.high is None else (item.low, item.high)
        rows.append(
            (item.name, group_name(item.group), given or "-", shape(item.value),
             span_of(ends, shape))
        )  # fmt: skip
        notes += about(item.group, item.notes)
    first = solutions[0]
    title = f"{first.variable} for a {first.target} of {number(first.wanted)}"
    interval = "interval" if first.level is None else f"{share(first.level)} interval"
    headers = ("law", "group", "at", first.variable, interval)
    return Listing(title, headers, tuple(rows), left=3, lines=tuple(dict.fromkeys(notes)))


def predictions_table(predictions: Sequence[Prediction]) -> Listing:
    rows, notes = [], list[Note]()
    for item in predictions:
        shown = ", ".join(
            f"{name} {_shapes.get(name, number)(value)}" for name, value in item.inputs.items()
        )
        rows.append(
            (
                item.name,
                group_name(item.group),
                shown,
                *measured(item.loss, item.low, item.high),
                *(number(value) for value in item.quantiles.values()),
            )
        )
        notes += about(item.group, item.notes)
    level = predictions[0].level
    target = predictions[0].target
    inside = f"{share(level)} interval" if level else "interval"
    shares = (f"{share(each)} below" for each in predictions[0].quantiles)
    headers = ("law", "group", "at", target, inside, *shares)
    lines = tuple(dict.fromkeys(notes))
    return Listing(f"Predicted {target}", headers, tuple(rows), left=3, lines=lines)

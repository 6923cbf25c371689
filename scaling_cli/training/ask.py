"""A question about a stored run -> its curve, the finished runs like it, and the forecast."""

from __future__ import annotations

from dataclasses import replace
from math import isnan, log, nan

import numpy as np

from scaling_cli.ending import stored
from scaling_cli.errors import InputError, ScalefitError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.observe import Runs
from scaling_cli.quantities import count
from scaling_cli.records import Steps
from scaling_cli.store import RunRecord, Store
from scaling_cli.training.assessed import SAME_SIZE, Assessed, assess
from scaling_cli.training.curve import Curve, curve_of
from scaling_cli.training.forecast import FEW_RUNS, LEAST_ROWS, Forecast, forecast, usable
from scaling_cli.training.schedule import SAME_RATE, Schedule, parse_schedule

LAW_ALONE = "mpl"  # on the public curves its error on other schedules is the least
SHOWN = 100  # steps at which what has not been logged yet is predicted


def siblings_of(store: Store, rows: Runs, run: RunRecord, mapping: Mapping | None) -> list[Curve]:
    """The curves of the other runs in the run's group that have one."""
    ((_, group),) = [
        (name, members)
        for name, members in rows.groups(rows.table.by)
        if any(record.run_key == run.run_key for record in members.records)
    ] or [({}, rows)]
    records = [
        record
        for record in group.records
        if record.has_history and record.run_key != run.run_key and may_have_ended(record)
    ]
    return list(curves_of(store, records, mapping).values())


def may_have_ended(record: RunRecord) -> bool:
    """Whether nothing says that the run has not ended."""
    return stored(record.final, record.mapped).ended is not False


def curves_of(store: Store, records: list[RunRecord], mapping: Mapping | None) -> dict[str, Curve]:
    """run_key -> curve, of those runs that have a loss and a learning rate."""
    series = store.series(record.run_key for record in records)
    curves = {}
    for record in records:
        try:
            curves[record.run_key] = curve_of(
                record.to_run(series[record.run_key]), mapping or record.mapping
            )
        except InputError:
            continue
    return curves


def alike(
    store: Store,
    rows: Runs,
    asked: str | None,
    mapping: Mapping | None,
    among: Runs | None = None,
) -> list[Curve]:
    """The curves of the finished runs of one size: those of the run's group, or all of `among`, or
    without a run all of `rows`."""
    if asked is None:
        size = nan
    else:
        record = rows.records[rows.one_called(asked)]
        used = mapping or record.mapping
        own = curve_of(record.to_run(store.series([record.run_key])[record.run_key]), used)
        size = own.params
    if asked is None or among is not None:
        chosen = (among or rows).records
        records = [run for run in chosen if run.has_history and may_have_ended(run)]
        curves = list(curves_of(store, records, mapping).values())
    else:
        curves = [own, *siblings_of(store, rows, record, mapping)]
    finished = [curve for curve in curves if curve.finished]
    if not finished:
        raise InputError(
            "no finished run with a loss and a learning rate is left",
            "Widen `where=`, or ingest finished runs; see `scalefit runs`.",
        )
    return of_one_size(finished, size)


def learnt(
    store: Store,
    rows: Runs,
    asked: str,
    mapping: Mapping | None,
    law: str,
    among: Runs | None = None,
    upto: int | None = None,
) -> Assessed:
    """`law` fitted to the finished runs of this one's group and size, or to those of `among`; with
    `upto` as if it were not finished itself."""
    curves = alike(store, rows, asked, mapping, among)
    own = rows.records[rows.one_called(asked)].run_id
    return assess(law, [curve for curve in curves if upto is None or curve.run_id != own])


def of_one_size(curves: list[Curve], params: float) -> list[Curve]:
    """The curves of `params`, or all where it is NaN and they share one size."""
    if not isnan(params):
        return [curve for curve in curves if not abs(log(curve.params / params)) > SAME_SIZE]
    sizes = sorted({curve.params for curve in curves if not isnan(curve.params)})
    if sizes and log(sizes[-1] / sizes[0]) > SAME_SIZE:
        listed = ", ".join(count(size) for size in sizes[:5]) + (" ..." if len(sizes) > 5 else "")
        raise InputError(
            f"the runs have {len(sizes)} sizes ({listed} params), and a curve law holds for one",
            "Name a run with `run=`, or narrow them: `where=` 'params < ...'.",
        )
    return curves


def ask(
    store: Store,
    rows: Runs,
    asked: str,
    mapping: Mapping | None = None,
    *,
    among: Runs | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    params: float | None = None,
    upto: int | None = None,
    level: float = 0.90,
    known: Assessed | None = None,
) -> tuple[Curve, Forecast]:
    """The run's curve and what it will log; `among` are the runs to learn from, if not its group.

    The rest as in `predict_rest`.
    """
    record = rows.records[rows.one_called(asked)]
    used = mapping or record.mapping
    run = record.to_run(store.series([record.run_key])[record.run_key])
    own = curve_of(run, used)
    others = (
        siblings_of(store, rows, record, mapping)
        if among is None
        else list(
            curves_of(
                store, [r for r in among.records if r.run_key != record.run_key], mapping
            ).values()
        )
    )
    return predict_rest(
        own,
        others,
        schedule=schedule,
        steps=steps,
        params=params,
        upto=upto,
        level=level,
        known=known,
    )


def predict_rest(
    own: Curve,
    others: list[Curve],
    *,
    schedule: str | None = None,
    steps: int | None = None,
    params: float | None = None,
    upto: int | None = None,
    level: float = 0.90,
    known: Assessed | None = None,
) -> tuple[Curve, Forecast]:
    """The curve that is asked for and what it will log, from its own losses and the `others`.

    With `known`, a curve law that has been fitted, that is by the law alone.
    Another `schedule`, number of `steps` or `params` asks for the same run otherwise: what it has
    logged counts as far as the learning rates agree, and not at all for another size.
    """
    if schedule is None and steps is None and params is None:
        return own, _forecast(own, others, upto, level, known)
    if schedule is not None:
        planned = parse_schedule(schedule, steps)
    elif steps is not None:
        planned = _of_length(own, steps)
    else:
        planned = own.schedule
    same = min(planned.total, own.total) + 1
    apart = np.abs(planned.rates[:same] - own.schedule.rates[:same]) > SAME_RATE * planned.peak
    apart[: own.schedule.warmup + 1] = False
    agree = int(np.argmax(apart)) - 1 if apart.any() else same - 1
    if params is not None and params != own.params:
        agree = 0
    asked_for = replace(
        own.until(agree),
        run_id=f"{own.run_id} with other settings",
        schedule=planned,
        params=own.params if params is None else params,
        notes=planned.notes,
    )
    if len(asked_for.steps) < len(own.steps) and known is None:
        note = Note.of(
            "other_run",
            f"{own.run_id} speaks for this only up to step {agree}; the rest rests on finished runs"
            + (", it among them." if own.finished else "."),
        )
        asked_for = replace(asked_for, notes=(*asked_for.notes, note))
    if known is None and params is None:
        known, said = _by_law_alone(asked_for, [*others, own])
        asked_for = replace(asked_for, notes=(*asked_for.notes, *said))
    return asked_for, _forecast(asked_for, [*others, own], upto, level, known)


def _by_law_alone(asked_for: Curve, runs: list[Curve]) -> tuple[Assessed | None, list[Note]]:
    """The law that answers where too few runs have ended for the forecast, and the question leaves
    nothing of the run's own: fitted to those of its size, as a curve law that is named."""
    ended = [curve for curve in runs if curve.finished]
    if len(ended) >= FEW_RUNS or len(usable(asked_for).steps) >= LEAST_ROWS:
        return None, []
    try:
        known = assess(LAW_ALONE, of_one_size(ended, asked_for.params))
    except ScalefitError:  # no run lowers its rate, or the rows are too few
        return None, []
    message = (
        f"The forecast learns from {FEW_RUNS} finished runs or more, and there are {len(ended)}:"
        f" {LAW_ALONE} answers alone, fitted to those of this size."
    )
    return known, [Note.of("law_alone", message)]


def _of_length(curve: Curve, steps: int) -> Schedule:
    """The same schedule, its steps after the warmup stretched or squeezed to another number."""
    warmup, rates = curve.schedule.warmup, curve.schedule.rates
    if steps <= warmup:
        raise InputError(f"`steps=` {steps} ends within the warmup of {warmup}", "Give more steps.")
    share = (np.arange(warmup, steps + 1) - warmup) / (steps - warmup)
    after = np.interp(warmup + share * (curve.total - warmup), np.arange(len(rates)), rates)
    made = np.concatenate([rates[:warmup], after])
    return Schedule(made, warmup, f"{curve.schedule.name} in {steps} steps")


def _forecast(
    curve: Curve, others: list[Curve], upto: int | None, level: float, law: Assessed | None
) -> Forecast:
    known = curve if upto is None else curve.until(upto)
    last = int(known.steps[-1]) if len(known.steps) else curve.schedule.warmup
    ahead = np.linspace(last, curve.total, SHOWN + 1).astype(np.int64)[1:]
    at: Steps = np.union1d(curve.steps, ahead) if last < curve.total else curve.steps
    if law is not None:
        return law.forecast(curve, at, level)
    return forecast(curve, others, upto=upto, level=level, steps=at)

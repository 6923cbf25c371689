"""The end that is predicted for a run that has not ended, from its curve and finished ones."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from scaling_cli.ending import stored
from scaling_cli.errors import FitError, InputError
from scaling_cli.mapping import Mapping
from scaling_cli.store import RunRecord, Store
from scaling_cli.table import Table
from scaling_cli.training.curve import Curve, curve_of
from scaling_cli.training.ends import End
from scaling_cli.training.forecast import Ladder, forecast, learn

WIDEST = 0.05  # relative standard deviation of a predicted final loss from which on it says nothing
LEVEL = 0.90  # of the band that the standard deviation is read from
# A last loss so far above the lowest (both of thinned rows) is of a run that diverged: its curve
# predicts no end. Noise of the sample runs' rows is .3 to 1 %.
DIVERGED = 0.1


def predict_ends(
    store: Store, rows: Table, mapping: Mapping | None, ended: Dict[str, bool | None]
) -> tuple[dict[str, End], dict[str, str]]:
    """How the runs of the rows that have not `ended` will end, by their own curves and the runs of
    their group that have; and why the others have no end."""
    records = {record.run_key: record for record in store.runs() if record.run_key in ended}
    predicted: dict[str, End] = {}
    left_out: dict[str, str] = {}
    for _, group in rows.groups(rows.by):
        members = dict.fromkeys(group.owners)
        going = [records[owner] for owner in members if ended[owner] is False]
        if not going:
            continue
        others = [records[owner] for owner in members if ended[owner] is not False]
        curves = [own for _, own in _curves(store, others, mapping) if isinstance(own, Curve)]
        siblings = [curve for curve in curves if curve.finished]
        ladder = learn(siblings) if siblings else None
        for record, own in _curves(store, going, mapping):
            end = own if isinstance(own, str) else _end_of(own, siblings, ladder)
            if isinstance(end, End):
                predicted[record.run_key] = end
            else:
                state = stored(record.final, record.mapped).in_words(record.status)
                left_out[record.run_key] = f"{state}; {end}"
    return predicted, left_out


def _curves(
    store: Store, records: Sequence[RunRecord], mapping: Mapping | None
) -> list[tuple[RunRecord, Curve | str]]:
    """The curve of each run, or what it lacks for one."""
    series = store.series(record.run_key for record in records if record.has_history)
    curves: list[tuple[RunRecord, Curve | str]] = []
    for record in records:
        run = record.to_run(series.get(record.run_key, {}))
        try:
            curves.append((record, curve_of(run, mapping or record.mapping)))
        except InputError as error:
            what = error.what.removeprefix(f"run {record.run_id} has ")
            curves.append((record, what))
    return curves


def _end_of(own: Curve, ended: Sequence[Curve], ladder: Ladder | None) -> End | str:
    """The end of a run, or why none can be predicted."""
    if own.finished:
        return "nothing says how many steps it is to take"
    thin = own.thinned().loss
    if len(thin) and thin[-1] > (1 + DIVERGED) * np.min(thin):
        return "its loss has risen again"
    try:
        predicted = forecast(own, ended, steps=[own.total], level=LEVEL, ladder=ladder)
    except FitError as error:
        return error.what.removeprefix(f"run {own.run_id} has ")
    wide = 2 * NormalDist().inv_cdf(0.5 + LEVEL / 2)
    spread = float(np.log(predicted.high[0] / predicted.low[0])) / wide
    if not spread <= WIDEST:
        return f"its end is known to {spread:.0%} only"
    return End(float(predicted.loss[0]), spread, own.total / int(own.steps[-1]))

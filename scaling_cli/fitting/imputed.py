"""Fit to targets some of which are predictions: multiple imputation (Rubin 1987).

The unsure targets are drawn anew several times, each table is fitted and resampled as any other,
and the resamples of all are one sample: they hold the uncertainty of the runs and of the targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import Fitter
from scaling_cli.fitting.result import Fit
from scaling_cli.notes import Note
from scaling_cli.table import Table

SPREAD = "loss_spread"  # column: relative standard deviation of a predicted loss, 0 of a logged one
# With m tables an interval is about 1 + share / (2 m) times as wide as with all, Rubin's relative
# efficiency, where `share` of the information is missing: 1.03 at half of it.
TABLES = 10
UNFINISHED = "unfinished_runs"  # the code of a note on runs that are left out
LISTED = 5


def fit(fitter: Fitter, rows: Table, options: FitOptions, group: Mapping[str, Any]) -> Fit:
    """The fit to the rows as they are, with draws over what the targets may be.

    Only losses are predicted: a fit to anything else leaves those runs out, and says so.
    """
    fitted = fitter(rows, options, group)
    if fitted.then or fitted.target != "loss":
        whole, said = ended_alone(rows, fitted.then.target if fitted.then else fitted.target)
        return fitter(whole, options, group).with_notes(said)
    predicted = [
        {"run_id": run_id, "loss": float(loss), "spread": float(spread)}
        for run_id, loss, spread in zip(
            rows.run_ids, rows.columns["loss"], rows.columns[SPREAD], strict=True
        )
        if spread > 0
    ]
    if not predicted:
        return fitted
    named = ", ".join(
        f"{item['run_id']} ({item['loss']:.4g} ± {item['spread']:.1%})"
        for item in predicted[:LISTED]
    )
    more = f" and {len(predicted) - LISTED} more" if len(predicted) > LISTED else ""
    message = (
        f"{len(predicted)} of {len(rows)} runs have not ended and enter at the end that"
        f" their curves predict: {named}{more}."
    )
    note = Note.of("predicted_finals", message)
    fitted = replace(fitted.with_notes([note]), predicted_finals=tuple(predicted))
    if not len(fitted.draws):
        return fitted
    random = np.random.default_rng([options.seed, len(rows)])
    each = replace(options, resamples=-(-options.resamples // TABLES))
    draws = []
    for table in range(TABLES):
        missed = rows.columns[SPREAD] * random.standard_normal(len(rows))
        drawn = rows.with_columns(loss=rows.columns["loss"] * np.exp(missed))
        draws.append(fitter(drawn, replace(each, seed=options.seed + table), group).draws)
    return replace(fitted, draws=np.concatenate(draws)[: options.resamples])


def ended_alone(rows: Table, why: str) -> tuple[Table, list[Note]]:
    """The rows of runs that have ended, and a note on the others; `why` is what of their ends
    cannot be predicted."""
    going = rows.columns[SPREAD] > 0
    if not going.any():
        return rows, []
    ids = [run_id for run_id, out in zip(rows.run_ids, going.tolist(), strict=True) if out]
    more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
    message = (
        f"{len(ids)} of {len(rows)} runs have not ended, and {why} at their ends cannot be"
        f" predicted; left out: {', '.join(ids[:LISTED])}{more}."
    )
    return rows.select(~going), [Note.of(UNFINISHED, message)]

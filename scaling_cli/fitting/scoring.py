"""A fit against runs that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.fitting.problem import read, usable
from scaling_cli.fitting.result import Fit
from scaling_cli.table import Table


def score_holdout(fitted: Fit, held_out: Table) -> Fit:
    """The same fit with its errors on runs that it has not seen: mape, signed bias, coverage."""
    names = {**fitted.columns, "target": fitted.target}
    rows, _ = usable(fitted.law, held_out, names, (fitted.then or fitted).log, least=1)
    columns, target = read(rows, names)
    prediction = fitted.curve(columns)
    error = (prediction - target) / np.where(target == 0, np.nan, target)
    nothing = np.full(len(target), np.nan)
    band = fitted.band(columns) or (nothing, nothing)
    known = np.isfinite(band[0]) & np.isfinite(band[1])
    table = []
    for i, run_id in enumerate(rows.run_ids):
        entry: dict[str, Any] = {
            "run_id": run_id,
            **{name: float(columns[name][i]) for name in columns},
            "observed": float(target[i]),
            "predicted": float(prediction[i]),
            "low": float(band[0][i]) if known[i] else None,
            "high": float(band[1][i]) if known[i] else None,
            "error": float(error[i]),
        }
        table.append(entry)
    inside = (band[0] <= target) & (target <= band[1])
    summary = {
        "n": len(rows),
        "mape": float(np.nanmean(np.abs(error))),
        "bias": float(np.nanmean(error)),
        "coverage": float(np.mean(inside[known])) if known.any() else None,
    }
    return fitted.with_holdout(summary, table)

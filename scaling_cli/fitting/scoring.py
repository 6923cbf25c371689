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
    band = fitted.band(columns)
    table = []
    for i, run_id in enumerate(rows.run_ids):
        entry: dict[str, Any] = {
            "run_id": run_id,
            **{name: float(columns[name][i]) for name in columns},
            "observed": float(target[i]),
            "predicted": float(prediction[i]),
            "low": float(band[0][i]) if band else None,
            "high": float(band[1][i]) if band else None,
            "error": float(error[i]),
        }
        table.append(entry)
    inside = np.mean((band[0] <= target) & (target <= band[1])) if band else np.nan
    summary = {
        "n": len(rows),
        "mape": float(np.nanmean(np.abs(error))),
        "bias": float(np.nanmean(error)),
        "coverage": float(inside) if band else None,
    }
    return fitted.with_holdout(summary, table)

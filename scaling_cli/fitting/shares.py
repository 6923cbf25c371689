"""Columns that are shares: in per cent, or as counts, they make a fit that looks good and is wrong
wherever a share is asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling_cli.columns import about
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting.targets import PERCENT
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.quantities import counted, number
from scaling_cli.records import Floats

MIXTURE = "mixture."
WHOLE = 0.02  # by which the shares of a mixture may miss one: they are often rounded to per cent
# Sizes of models and amounts of data.
LARGE_COUNTS = (
    "params", "params_non_embedding", "params_active", "encoder_params", "decoder_params",
    "tokens", "unique_tokens", "transfer_tokens",
)  # fmt: skip
LEAST_COUNT = 1e3  # params or tokens: no language model is smaller, those told in billions are


def is_share(name: str) -> bool:
    column = about(name)
    return column is not None and "share of" in column.meaning


def refuse_others(law: Law, names: Mapping[str, str], columns: Mapping[str, Floats]) -> None:
    """FitError where a column [rows] of the law that is a share is above one."""
    for name in law.variables:
        if not is_share(name) or not np.max(columns[name]) > PERCENT:
            continue
        most, column = float(np.max(columns[name])), names.get(name, name)
        counts = most > 100 * PERCENT
        mapping = f'"{column}" = "{column} / {"TOTAL" if counts else "100"}"'
        raise FitError(
            f"{column} goes up to {number(most)}, and is to be a share between 0 and 1: these look"
            f" like {'counts' if counts else 'per cent'}",
            f"Divide by {'the total' if counts else '100'} in the [columns] of the mapping, as"
            f" {mapping}, and ingest again.",
        )


def mixture_notes(columns: Mapping[str, Floats]) -> list[Note]:
    """Shares of a mixture [rows] that do not add up to one."""
    shares = [values for name, values in columns.items() if name.startswith(MIXTURE)]
    if not shares:
        return []
    total = np.sum(shares, axis=0)
    off = np.abs(total - 1) > WHOLE
    if not off.any():
        return []
    low, high = number(float(total.min())), number(float(total.max()))
    message = (
        f"The shares of {counted(int(np.sum(off)), 'run')} add up to {low} to {high}, not to one: a"
        " domain is left out, or they are no shares."
    )
    return [Note.of("shares_incomplete", message)]


def check_point(law: Law, names: Mapping[str, str], at: Mapping[str, float]) -> None:
    """InputError where a point is none that the law can be asked at: a share above one, or nothing
    of what has to be some."""
    for name, value in at.items():
        column, known = names.get(name, name), about(name)
        if known is None:
            continue
        if is_share(name) and value > PERCENT:
            raise InputError(
                f"{column} is a share between 0 and 1, and {number(value)} is none",
                f"Write {number(value / 100)} for {number(value)} %.",
            )
        if not known.zero and not value > 0:
            raise InputError(
                f"{column} has to be above zero for law {law.id}, and is {number(value)}",
                f"Give the {known.meaning.partition(',')[0].partition(';')[0]}.",
            )


def count_notes(at: Mapping[str, float]) -> list[Note]:
    """Counts of a point so small that they are told in another unit."""
    return [
        Note.of(
            "units_doubtful",
            f"{name} is {number(at[name])}: it is to be a plain number, and this looks like"
            f" millions or billions. Write {number(at[name])}B or {number(at[name])}M.",
        )
        for name in LARGE_COUNTS
        if at.get(name, np.inf) < LEAST_COUNT
    ]

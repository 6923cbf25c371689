"""What kind of number a target is, as far as its name and its values tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from scaling_cli.columns import COLUMNS, names_share
from scaling_cli.errors import InputError
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.records import Floats

# Losses of another kind, and cross-entropies of what is no text.
_OTHER_LOSSES = (
    r"(^|[^a-z])(pixels?|images?|patch|video|audio|frames?|actions?|policy|rewards?|value|critic"
    r"|moves?|chess|proteins?|residues?|amino|mse|mae|l1|l2|huber|diffusion|denoising|contrastive"
    r"|clip|vae|kl)([^a-z]|$)"
)
LANGUAGE, NONE = PRIORS = ("language", "none")
LEAST_ROWS = 5
RISES = 0.5  # rank correlation; noise about a flat stretch of half the runs leaves more than this
BY_CHANCE = 3.09  # standard deviations that chance exceeds once in a thousand
PERCENT = 1.01  # a share above this is one of a hundred: rounding makes 1.000x of a one


def is_cross_entropy(target: str) -> bool:
    """Whether a column is a language model's cross-entropy, as far as its name tells."""
    named = target in ("loss", "bpb") or target.endswith(("_loss", "/loss"))
    return named and not re.search(_OTHER_LOSSES, target.lower())


def holds_prior(target: str, prior: str) -> bool:
    """Whether what other ladders of language models have in common may hold a fit of the target:
    `prior` is "language", or "none" where the runs are no language models' (pixels, chess,
    proteins, actions), which a loss does not show. InputError for another."""
    if prior not in PRIORS:
        raise InputError(f"there is no prior '{prior}'", f"Choose one of {', '.join(PRIORS)}.")
    return prior == LANGUAGE and is_cross_entropy(target)


def is_share(target: str) -> bool:
    """Whether a column is a share of tries or answers, between 0 and 1."""
    known = COLUMNS.get(target)
    return "share of" in known.meaning if known else names_share(target)


def unit_notes(law: Law, target: str, values: Floats) -> list[Note]:
    """Shares [rows] that are told in per cent."""
    if not (is_share(law.target) or is_share(target)) or not np.max(values) > PERCENT:
        return []
    message = (
        f"{target} goes up to {np.max(values):.4g}, and is to be a share between 0 and 1: these"
        f' look like per cent. Map it, as by [columns] {target} = "config.{target} / 100", and'
        " ingest again."
    )
    return [Note.of("units_doubtful", message)]


def direction_notes(
    law: Law, target: str, columns: Mapping[str, Floats], values: Floats
) -> list[Note]:
    """A target [rows] that rises along the columns of a law that can only fall."""
    if not law.falls or len(values) < LEAST_ROWS:
        return []
    along = np.sum([np.log(columns[name]) for name in law.variables], axis=0)
    correlation = _rank_correlation(along, values)
    freedom = len(values) - 2
    significance = correlation * np.sqrt(freedom / max(1 - correlation**2, 1e-12))
    if correlation < RISES or significance < BY_CHANCE:
        return []
    names = " and ".join(law.variables)
    message = (
        f"{target} rises with {names} (rank correlation {correlation:.2f}), and law {law.name} can"
        " only fall. For a score use rise, a link from the loss (ladder, err_exp), cod or sloth, or"
        " a formula; for an error, check that it is not its complement."
    )
    return [Note.of("target_rises", message)]


def _rank_correlation(x: Floats, y: Floats) -> float:
    ranks = [np.argsort(np.argsort(values, kind="stable")).astype(float) for values in (x, y)]
    if any(np.ptp(values) == 0 for values in (x, y)):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])

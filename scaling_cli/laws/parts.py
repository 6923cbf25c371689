"""What many declarations share: parameters of the usual kinds, and functions that stay analytic.

Derivatives follow by the complex step, so that a law may branch on the real part of its arguments
but must take neither absolute values nor maxima.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling_cli.laws.base import Array, Evidence, Parameter, Published, Source

LAST_SOUGHT = "November 2026"  # texts of the authors of laws known from secondary accounts


def floor(name: str = "E", meaning: str = "irreducible loss") -> Parameter:
    """A term that no scale takes away, between nothing and the typical target."""
    return Parameter(name, meaning, 0.05, 0.99, of_target=True, linear=True)


def amplitude(name: str, column: str, exponent: str, meaning: str = "") -> Parameter:
    """`name` of the term `name / column**exponent`."""
    meaning = meaning or f"amplitude of the {column} term"
    return Parameter(
        name, meaning, 0.02, 2.0, centre={column: exponent}, of_target=True, linear=True
    )


def exponent(name: str, of: str, low: float = 0.05, high: float = 1.5) -> Parameter:
    return Parameter(name, f"exponent of {of}", low, high)


def scale_of(name: str, column: str, low: float, high: float, meaning: str = "") -> Parameter:
    """`name` of `column / name`: a value of the column, in its unit."""
    return Parameter(name, meaning or f"scale of {column}", low, high, centre={column: 1.0})


def softplus(z: Array) -> Array:
    """ln(1 + exp(z)) without overflow."""
    up = np.real(z) > 0
    tail = np.log(1 + np.exp(np.where(up, -z, z)))
    grown: Array = np.where(up, z + tail, tail)
    return grown


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)) without overflow."""
    share: Array = np.exp(-softplus(-z))
    return share


def least(a: Array, b: Array) -> Array:
    """The smaller of two, by the real part."""
    smaller: Array = np.where(np.real(a) < np.real(b), a, b)
    return smaller


def power_of(base: Array, exponent: Array) -> Array:
    """base**exponent for a real base that may be zero, where it is zero for any exponent."""
    some = base > 0
    raised: Array = np.where(some, np.where(some, base, 1.0) ** exponent, 0.0)
    return raised


def coefficients(
    name: str,
    source: Source,
    data: str,
    evidence: Evidence,
    target: str = "nats per token",
    params: str = "total",
    ranges: Mapping[str, tuple[float, float]] | None = None,
    **values: Any,
) -> Published:
    return Published(name, values, data, source, target, params, evidence, ranges=ranges or {})


def secondary(where: str = "") -> Evidence:
    return Evidence("secondary", where, sought=LAST_SOUGHT)


def repository(where: str) -> Evidence:
    return Evidence("repository", where)


def refit(where: str) -> Evidence:
    return Evidence("refit", where)

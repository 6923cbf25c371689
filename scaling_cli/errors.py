"""Errors for people: each says what is wrong, where, and how to mend it."""

from __future__ import annotations


class ScalefitError(Exception):
    """A request or an input that cannot be served; shown as one message, without a traceback."""

    exit_code = 2
    code = "input"  # for programs, as in JSON

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what if not mend else f"{what.rstrip('.')}. {mend}")
        self.what = what
        self.mend = mend


class InputError(ScalefitError):
    """A source, mapping or option that holds something unusable."""


class FitError(ScalefitError):
    """Runs that a law cannot be fitted to."""

    code = "fit"


class UnreachableError(ScalefitError):
    """A source or store that could not be reached."""

    exit_code = 3
    code = "unreachable"


def install(extra: str) -> str:
    """How an optional part of this package is installed; the one place that says from where."""
    return f"In a clone of scalefit: pip install '.[{extra}]'"

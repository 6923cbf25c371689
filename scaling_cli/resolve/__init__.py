"""The canonical columns of runs: by the mapping, else by the names that loggers use.

`resolver` finds the columns of a run, `choices` says which of several losses is taken, `seen`
computes tokens that were not logged, `final_points` puts runs into one row each.
"""

from scaling_cli.resolve.column import Column, Resolved, sample
from scaling_cli.resolve.final_points import Final, Finals, finals, points, together
from scaling_cli.resolve.resolver import on_mapped_step, resolve

__all__ = [
    "Column",
    "Final",
    "Finals",
    "Resolved",
    "finals",
    "on_mapped_step",
    "points",
    "resolve",
    "sample",
    "together",
]

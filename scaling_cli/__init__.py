"""Neural scaling laws from training runs.

    import scaling_cli as scalefit

    project = scalefit.open_project(".scalefit")
    project.ingest(["logs/"])
    (fitted,) = project.fit(["chinchilla"])
    fitted.predict({"params": 7e9, "tokens": 2e12}).loss
    scalefit.optimal([fitted], [1e23])

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scaling_cli.version import VERSION as __version__

if TYPE_CHECKING:
    from scaling_cli.errors import FitError, InputError, ScalefitError, UnreachableError
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.fitting.result import Fit, Prediction
    from scaling_cli.laws import LAWS, get_law, get_published
    from scaling_cli.planning.splits import Allocation
    from scaling_cli.project import Project, load_fit, open_project, optimal
    from scaling_cli.store import open_store

_HOMES = {
    "scaling_cli.errors": ("FitError", "InputError", "ScalefitError", "UnreachableError"),
    "scaling_cli.fitting.engine": ("FitOptions",),
    "scaling_cli.fitting.result": ("Fit", "Prediction"),
    "scaling_cli.laws": ("LAWS", "get_law", "get_published"),
    "scaling_cli.planning.splits": ("Allocation",),
    "scaling_cli.project": ("Project", "load_fit", "open_project", "optimal"),
    "scaling_cli.store": ("open_store",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "LAWS",
    "Allocation",
    "Fit",
    "FitError",
    "FitOptions",
    "InputError",
    "Prediction",
    "Project",
    "ScalefitError",
    "UnreachableError",
    "__version__",
    "get_law",
    "get_published",
    "load_fit",
    "open_project",
    "open_store",
    "optimal",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

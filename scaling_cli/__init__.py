"""Neural scaling laws from training runs, of arrays, of frames or of a store.

    import scaling_cli as scalefit

    fitted = scalefit.fit("chinchilla", {"params": [...], "tokens": [...], "loss": [...]})
    fitted.values["alpha"]
    scalefit.predict(fitted, params="7B", tokens="2T").loss
    scalefit.optimal(fitted, 1e23)

    project = scalefit.open_project(".scalefit")
    project.ingest(["logs/"])
    scalefit.fit("chinchilla", project, by="recipe")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module

from scaling_cli.version import VERSION as __version__

TYPE_CHECKING = False  # typing takes as long to import as the rest of this file
if TYPE_CHECKING:
    from typing import Any

    from scaling_cli.api import (
        Fits,
        compare,
        crossing,
        curve,
        design,
        equivalent,
        fit,
        hparams,
        optimal,
        plan,
        plot,
        predict,
        recipes,
        schedule,
        simulate,
        slope,
    )
    from scaling_cli.architecture import Architecture
    from scaling_cli.errors import FitError, InputError, ScalefitError, UnreachableError
    from scaling_cli.fitting.backtest import Comparison
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.fitting.result import Fit, Prediction
    from scaling_cli.laws import LAWS, get_law, get_published
    from scaling_cli.planning.costs import Machine
    from scaling_cli.planning.splits import Allocation
    from scaling_cli.project import Project, load_fit, open_project
    from scaling_cli.shown import Results
    from scaling_cli.store import open_store
    from scaling_cli.table import Table

_VERBS = (
    *("compare", "crossing", "curve", "design", "equivalent", "fit", "hparams", "optimal", "plan"),
    *("plot", "predict", "recipes", "schedule", "simulate", "slope"),
)
_HOMES = {
    "scaling_cli.api": ("Fits", *_VERBS),
    "scaling_cli.architecture": ("Architecture",),
    "scaling_cli.errors": ("FitError", "InputError", "ScalefitError", "UnreachableError"),
    "scaling_cli.fitting.backtest": ("Comparison",),
    "scaling_cli.fitting.problem": ("FitOptions",),
    "scaling_cli.fitting.result": ("Fit", "Prediction"),
    "scaling_cli.laws": ("LAWS", "get_law", "get_published"),
    "scaling_cli.planning.costs": ("Machine",),
    "scaling_cli.planning.splits": ("Allocation",),
    "scaling_cli.project": ("Project", "load_fit", "open_project"),
    "scaling_cli.shown": ("Results",),
    "scaling_cli.store": ("open_store",),
    "scaling_cli.table": ("Table",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "LAWS",
    "Allocation",
    "Architecture",
    "Comparison",
    "Fit",
    "FitError",
    "FitOptions",
    "Fits",
    "InputError",
    "Machine",
    "Prediction",
    "Project",
    "Results",
    "ScalefitError",
    "Table",
    "UnreachableError",
    "__version__",
    "compare",
    "crossing",
    "curve",
    "design",
    "equivalent",
    "fit",
    "get_law",
    "get_published",
    "hparams",
    "load_fit",
    "open_project",
    "open_store",
    "optimal",
    "plan",
    "plot",
    "predict",
    "recipes",
    "schedule",
    "simulate",
    "slope",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""Curve laws fitted to the steps of runs: scipy's optimum, known parameters, other schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from benchmarks import curves as study
from benchmarks import plans
from scaling_cli.errors import FitError
from scaling_cli.fitting.solver import objective_values
from scaling_cli.laws import get_law, get_published
from scaling_cli.training.curve import Curve
from scaling_cli.training.fit import (
    curve_starts,
    fit_curves,
    held_to,
    solve_curves,
    surface_of,
)

SPECS = (
    "cosine:peak=3e-4,warmup=200,total=6000,min=3e-5",
    "constant:peak=3e-4,warmup=200,total=6000",
    "piecewise:peak=3e-4,warmup=200,total=4000,2000=9e-5",
)


def made_by(law: str, values: dict[str, float], **more: Any) -> list[Curve]:
    """Curves on three schedules that follow the law."""
    return plans.made_by(law, values, every=60, specs=SPECS, **more)


def test_lr_anneal_gives_its_own_parameters_back() -> None:
    values = {"L0": 2.6, "A": 0.5, "alpha": 0.55, "C": 0.4}
    found = fit_curves("lr_anneal", made_by("lr_anneal", values))
    assert found.values == pytest.approx(values, rel=1e-5)


def test_mpl_gives_its_own_predictions_back() -> None:
    values = dict(get_published("luo2025_100m")[1].values)
    curves = made_by("mpl", values)
    free = solve_curves(surface_of(get_law("mpl"), curves)[0])
    assert free.objective.min() < 1e-12
    held = fit_curves("mpl", curves)
    for curve in curves:
        assert np.mean(np.abs(held.predict(curve) / curve.loss - 1)) < 2e-3


def test_optimum_is_that_of_scipy() -> None:
    values = dict(get_published("luo2025_25m")[1].values)
    random = np.random.default_rng(5)
    curves = made_by("mpl", values, noise=lambda rows: 1e-3 * random.normal(size=rows))
    surface, _ = surface_of(get_law("mpl"), curves)
    simple = fit_curves("lr_anneal", curves)
    prior = held_to(simple, surface)
    ones = np.ones((1, len(surface.target)))

    def objective(theta: np.ndarray) -> float:
        return 1e4 * float(objective_values(surface, ones, theta[None], prior)[0])

    theirs = minimize(
        objective, curve_starts(surface)[1], method="L-BFGS-B",
        options={"ftol": 1e-13, "maxfun": 20000, "maxiter": 2000},
    )  # fmt: skip
    ours = solve_curves(surface, prior).objective.min()
    assert ours <= theirs.fun / 1e4 * (1 + 1e-9)
    assert ours == pytest.approx(theirs.fun / 1e4, rel=1e-4)
    # The one start that a fit of `mpl` has, the exponent of `lr_anneal`, leads there too.
    one = solve_curves(surface, prior, [simple.values["alpha"]]).objective.min()
    assert one == pytest.approx(ours, rel=1e-9)


def test_too_few_rows_are_refused() -> None:
    curves = made_by("mpl", dict(get_published("luo2025_25m")[1].values))[:1]
    with pytest.raises(FitError, match="7 parameters"):
        fit_curves("mpl", [curves[0].until(900)])


@pytest.mark.parametrize(
    ("size", "anneal", "published"),
    [("25M", 0.00477, 0.00376), ("100M", 0.00467, 0.00435), ("400M", 0.00646, 0.00484)],
)
def test_unseen_schedules_of_the_public_curves(
    public_data: Path, size: str, anneal: float, published: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "TABLE", public_data / "mpl_curves" / "mpl_curves.csv")
    curves = study.public_curves()[size]
    simple = study.error(fit_curves("lr_anneal", curves["train"]), curves["test"])
    assert round(simple, 5) <= anneal
    functional = fit_curves("fsl", curves["train"])
    assert study.error(functional, curves["test"]) < simple
    assert functional.objective < fit_curves("lr_anneal", curves["train"]).objective
    ours = study.error(fit_curves("mpl", curves["train"]), curves["test"])
    assert ours <= published
    assert ours < simple

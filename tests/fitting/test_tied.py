"""Parameters tied across groups: the joint optimum, its intervals, and the test of the tie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting import engine, tied
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.project import Project
from scaling_cli.table import Table
from tests.places import SAMPLES

CHINCHILLA = get_law("chinchilla")
Groups = list[tuple[dict[str, Any], Table]]


def runs(seed: int, noise: float = 0.004, **truth: float) -> Table:
    """36 runs over 2.5 decades of compute, by Chinchilla's law with a recipe's own coefficients."""
    values = {"E": 1.82, "A": 480.0, "alpha": 0.348, "B": 2085.0, "beta": 0.366} | truth
    random = np.random.default_rng(seed)
    compute = 10 ** np.repeat(np.linspace(18.0, 20.5, 6), 6)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), len(compute))))
    tokens = compute / 6 / params
    loss = CHINCHILLA.predict(**values, params=params, tokens=tokens)
    loss = loss * np.exp(noise * random.standard_normal(len(loss)))
    return Table.from_columns({"params": params, "tokens": tokens, "loss": loss})


def recipes(seed: int, floor: float = 1.82) -> Groups:
    """Two recipes: the second has another amplitude, and the floor that is given."""
    return [
        ({"recipe": "a"}, runs(2 * seed)),
        ({"recipe": "b"}, runs(2 * seed + 1, E=floor, A=700.0)),
    ]


def fitted(groups: Groups, law: str = "chinchilla", **options: Any) -> list[Fit]:
    results = tied.fit(get_law(law), groups, FitOptions(**options))
    found = [item for item in results if isinstance(item, Fit)]
    assert len(found) == len(groups)
    return found


def oracle(groups: Groups, fits: Sequence[Fit], shared: Sequence[str]) -> float:
    """The lowest joint objective that scipy finds near the fits and from further starts."""
    names = [name for name in CHINCHILLA.parameter_names if name not in shared]
    middles = {
        name: np.exp(np.mean(np.log(np.concatenate([rows.columns[name] for _, rows in groups]))))
        for name in ("params", "tokens")
    }

    def residuals(theta: np.ndarray) -> np.ndarray:
        parts = []
        for g, (_, rows) in enumerate(groups):
            own = theta[len(shared) + g * len(names) :][: len(names)]
            values = dict(
                zip((*shared, *names), np.exp([*theta[: len(shared)], *own]), strict=True)
            )
            scaled = {name: rows.columns[name] / middle for name, middle in middles.items()}
            loss = CHINCHILLA.predict(**values, **scaled)
            parts.append(np.log(loss) - np.log(rows.columns["loss"]))
        return np.concatenate(parts)

    start = [fits[0].values[name] for name in shared]
    for item in fits:
        scaled = CHINCHILLA.to_scaled(item.values, middles)
        start += [scaled[name] for name in names]
    random = np.random.default_rng(0)
    starts = np.log(np.array(start, dtype=float)) + 0.3 * random.standard_normal((4, len(start)))
    found = [
        least_squares(residuals, at, loss="huber", f_scale=1e-3, xtol=1e-15, ftol=1e-15, gtol=1e-15)
        for at in (np.log(start), *starts)
    ]
    return float(min(item.cost for item in found))


@pytest.mark.parametrize("shared", [("E",), ("alpha", "beta"), ("E", "A", "alpha")])
def test_the_joint_optimum_is_that_of_scipy(shared: tuple[str, ...]) -> None:
    groups = recipes(0)
    fits = fitted(groups, resamples=0, tied=shared)
    assert fits[0].tied is not None
    best = oracle(groups, fits, shared)
    assert fits[0].tied["objective"] == pytest.approx(best, rel=1e-9)
    assert fits[0].tied["objective"] == pytest.approx(sum(item.objective_value for item in fits))
    assert fits[0].tied["objective"] > fits[0].tied["untied_objective"]
    for name in CHINCHILLA.parameter_names:
        same = fits[0].values[name] == pytest.approx(fits[1].values[name], rel=1e-12)
        assert same == (name in shared)


def test_untied_values_are_those_of_each_group_by_itself() -> None:
    groups = recipes(1)
    fits = fitted(groups, resamples=0, tied=("E",))
    for item, (_, rows) in zip(fits, groups, strict=True):
        alone = engine.fit(CHINCHILLA, rows, FitOptions(resamples=0))
        assert item.tied is not None
        for name, value in alone.values.items():
            assert item.tied["untied"][name]["value"] == pytest.approx(value, rel=1e-4)


def test_three_groups_share_a_floor_and_an_adaptive_objective() -> None:
    groups = [({"recipe": str(i)}, runs(i, A=300.0 + 200 * i)) for i in range(3)]
    fits = fitted(groups, resamples=0, tied=("E",), objective="huber_adaptive")
    assert [item.values["E"] for item in fits] == pytest.approx([1.82] * 3, rel=0.03)
    assert fits[0].tied is not None
    assert len(fits[0].tied["groups"]) == 3


def test_resamples_share_what_is_tied_and_know_it_better() -> None:
    first, second = fitted(recipes(2), resamples=100, tied=("E",))
    assert (first.draws[:, 0] == second.draws[:, 0]).all()
    assert (first.draws[:, 1] != second.draws[:, 1]).all()
    interval = first.parameters["E"]
    assert interval.low is not None
    assert interval.high is not None
    for item in (first, second):
        assert item.tied is not None
        alone = item.tied["untied"]["E"]
        assert interval.high - interval.low < alone["high"] - alone["low"]


def test_a_tie_is_doubted_where_the_floors_differ_and_only_there() -> None:
    same = [fitted(recipes(s), resamples=60, tied=("E",))[0] for s in range(5)]
    apart = [fitted(recipes(s, 1.5), resamples=60, tied=("E",))[0] for s in range(5)]

    def doubted(fits: Sequence[Fit]) -> int:
        return sum("tie_doubtful" in {note.code for note in item.notes} for item in fits)

    assert doubted(same) <= 1
    assert doubted(apart) >= 4


def test_a_group_that_cannot_be_fitted_is_left_out() -> None:
    groups = [*recipes(3), ({"recipe": "c"}, runs(9).select(np.arange(36) < 4))]
    results = tied.fit(CHINCHILLA, groups, FitOptions(resamples=0, tied=("E",)))
    assert [isinstance(item, Fit) for item in results] == [True, True, False]
    with pytest.raises(FitError, match="`by="):
        tied.fit(CHINCHILLA, groups[:1], FitOptions(tied=("E",)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tied": ("k",)}, "no parameter k"),
        ({"tied": ("A",)}, "together with alpha"),
        ({"tied": ("E",), "fixed": {"E": 1.7}}, "is fixed"),
        ({"tied": CHINCHILLA.parameter_names}, "leave `by=` out"),
    ],
)
def test_a_tie_that_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tied.fit(CHINCHILLA, recipes(0), FitOptions(**options))


def test_the_recipes_of_the_sample_runs_share_a_floor(own_samples: Project) -> None:
    store, config = own_samples.location, str(SAMPLES / "scalefit.toml")

    def scalefit(*arguments: str) -> Any:
        command = [*arguments, "--store", store, "--config", config]
        result = CliRunner().invoke(app, [*command, "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    groups = own_samples.observations().groups(["recipe"])
    fits = fitted(groups, resamples=0, tied=("alpha", "beta"))
    assert fits[0].tied is not None
    best = oracle(groups, fits, ("alpha", "beta"))
    assert fits[0].tied["objective"] <= best * (1 + 1e-9)
    ask = ["fit", "--law", "chinchilla", "--by", "recipe", "--bootstrap", "50"]
    first, second = scalefit(*ask, "--tie", "alpha,beta")["fits"]
    assert first["tied"]["parameters"] == ["alpha", "beta"]
    for name in ("alpha", "beta"):
        assert first["parameters"][name] == second["parameters"][name]
    assert 0 < first["tied"]["p_value"] <= 1
    shown = CliRunner().invoke(
        app, [*ask, "--tie", "alpha,beta", "--store", store, "--config", config]
    )
    assert "alpha (tied)" in shown.stdout
    assert "untied" in shown.stdout
    refused = CliRunner().invoke(app, ["fit", "--tie", "E", "--store", store, "--config", config])
    assert refused.exit_code == 2
    assert "--law" in refused.stderr

"""The solver against an independent oracle, and against the traps that others fell into."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize

from scaling_cli.fitting import solver
from scaling_cli.fitting.arrays import products
from scaling_cli.fitting.objective import get_objective
from scaling_cli.fitting.solver import Prior, decided, objective_values, rough, solve
from scaling_cli.fitting.starts import candidate_starts, fit_starts, halton
from scaling_cli.fitting.surface import Surface, middle, on_scale
from scaling_cli.laws import LAWS, get_law
from scaling_cli.laws.farseer import farseer_centred
from scaling_cli.training.history import curve_columns
from scaling_cli.training.schedule import parse_schedule

OPTIMUM = 1.0182740177e-3  # of the 240 public rows; many solvers agree on it to 1e-12


def surface_on(
    law_id: str,
    params: np.ndarray,
    tokens: np.ndarray,
    loss: np.ndarray,
    objective: str = "huber_log",
) -> tuple[Surface, dict[str, float]]:
    law = get_law(law_id)
    scales, scaled, constants = on_scale(law, {"params": params, "tokens": tokens})
    return Surface(law, scaled, loss, get_objective(objective), constants), scales


def ladder(seed: int, rows: int = 40, noise: float = 0.01) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    params = np.exp(random.uniform(np.log(1e7), np.log(1e9), rows))
    tokens = params * np.exp(random.uniform(np.log(5), np.log(200), rows))
    loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.36
    return params, tokens, loss * np.exp(noise * random.standard_t(3, rows))


@pytest.fixture
def chinchilla_rows(public_data: Path) -> tuple[np.ndarray, ...]:
    with (public_data / "chinchilla_epoch" / "chinchilla.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["in_epoch_fit"] == "1"]
    assert len(rows) == 240
    return tuple(np.array([float(r[name]) for r in rows]) for name in ("params", "tokens", "loss"))


def test_public_rows_reach_the_true_optimum_from_every_start(
    chinchilla_rows: tuple[np.ndarray, ...],
) -> None:
    surface, scales = surface_on("chinchilla", *chinchilla_rows)
    solution = solve(surface, np.ones((1, 240)), candidate_starts(surface, 16))
    assert solution.converged.all()
    assert solution.objective.max() <= OPTIMUM * (1 + 1e-9)
    values = surface.decode(solution.theta[:1])
    raw = {k: float(v[0, 0]) for k, v in surface.law.to_raw(values, scales).items()}
    assert raw == pytest.approx(
        {"E": 1.817218, "A": 477.826, "B": 2143.42, "alpha": 0.34731, "beta": 0.367172}, rel=2e-6
    )


def test_skaling_reaches_its_known_optimum(chinchilla_rows: tuple[np.ndarray, ...]) -> None:
    surface, _ = surface_on("skaling", *chinchilla_rows)
    solution = solve(surface, np.ones((1, 240)), candidate_starts(surface, 16))
    assert solution.objective.min() == pytest.approx(9.5418450e-4, rel=1e-7)
    k = surface.decode(solution.theta[solution.best()][None])["k"]
    assert float(k[0, 0]) == pytest.approx(0.7741, abs=5e-5)


def test_resamples_match_the_oracle(chinchilla_rows: tuple[np.ndarray, ...]) -> None:
    """A warm start with scipy's default tolerance is 1 % off; ours must match a tight oracle."""
    surface, _ = surface_on("chinchilla", *chinchilla_rows)
    start = candidate_starts(surface, 1)
    best = solve(surface, np.ones((1, 240)), start).theta
    random = np.random.default_rng(5)
    weights = random.multinomial(240, np.full(240, 1 / 240), size=20).astype(float)
    solution = solve(surface, weights, np.repeat(best, 20, axis=0))
    assert solution.converged.all()
    delta = surface.objective.delta
    for i, weight in enumerate(weights):
        kept = weight > 0

        def residuals(theta: np.ndarray, kept: np.ndarray = kept) -> np.ndarray:
            return surface.residuals(theta[None])[0][kept]

        # scipy's huber wants weights inside rho: repeat the rows instead.
        rows = np.repeat(np.arange(kept.sum()), weight[kept].astype(int))
        oracle = least_squares(
            lambda theta, rows=rows, residuals=residuals: residuals(theta)[rows],
            best[0], loss="huber", f_scale=delta, xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=500,
        )  # fmt: skip
        assert solution.objective[i] <= oracle.cost * (1 + 1e-9)


@pytest.mark.parametrize(
    "law_id", [law.id for law in LAWS.values() if law.form or law.curves or law.hessian]
)
@pytest.mark.parametrize("objective", ["huber_log", "squared"])
@pytest.mark.parametrize("fixed", ["none", "last", "amplitudes"])
def test_declared_curvature_agrees_with_differences(
    law_id: str, objective: str, fixed: str
) -> None:
    """With the amplitudes, and the floor, fixed a power sum's exponents stand alone."""
    law, random = get_law(law_id), np.random.default_rng(3)
    columns = {name: np.exp(random.normal(0, 1, 40)) for name in law.variables}
    if "rate_drops" in law.variables:
        rates = parse_schedule("wsd:peak=1e-3,warmup=100,total=9000,min=1e-4").rates
        columns = curve_columns(law, rates, np.sort(random.integers(500, 9000, 40)))
    constants = dict.fromkeys(law.references, 1.2)
    chosen = {
        "none": (),
        "last": law.parameter_names[-1:],
        "amplitudes": [item.name for item in law.parameters if item.linear or item.centre],
    }
    constants |= dict.fromkeys(chosen[fixed], 0.6)
    surface = Surface(law, columns, np.ones(40), get_objective(objective), constants)
    theta = surface.encode(
        {item.name: random.uniform(item.low, item.high, 3) for item in law.parameters}
    )
    plain = replace(surface, law=replace(law, form=None, curves=None, hessian=None))
    pull, gauss = random.normal(size=(3, 40)), random.uniform(size=(3, 40))
    mix = np.array([0.0, 0.3, 1.0])
    assert np.allclose(surface.residuals(theta), plain.residuals_and_jacobian(theta)[0], atol=1e-12)
    gradient, matrix = surface.sums(surface.at(theta), pull, gauss, mix)
    expected, numeric = plain.sums(plain.at(theta), pull, gauss, mix)
    assert np.allclose(gradient, expected, rtol=1e-9, atol=1e-11)
    assert np.allclose(matrix, numeric, rtol=1e-5, atol=1e-5 * np.abs(numeric).max())


def test_a_product_s_digits_do_not_depend_on_its_neighbours() -> None:
    random = np.random.default_rng(0)
    for rows, columns in ((17, 1), (40, 3), (240, 6), (1000, 20)):
        left, right = random.normal(size=(50, rows)), random.normal(size=(rows, columns))
        whole = products(left, right)
        assert np.allclose(whole, left @ right, rtol=1e-12, atol=1e-12)
        for at, count in ((0, 1), (3, 16), (7, 33), (49, 1)):
            assert (products(left[at : at + count], right) == whole[at : at + count]).all()


@pytest.mark.parametrize("law_id", ["chinchilla", "skaling", "farseer"])
def test_digits_do_not_depend_on_the_batch(law_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    surface, _ = surface_on(law_id, *ladder(3))
    best = solve(surface, np.ones((1, 40)), candidate_starts(surface, 1)).theta
    weights = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=5).astype(float)
    found = []
    for problems, elements in ((1, 1), (3, 2**20), (1024, 3 * 40), (1024, 2**20)):
        monkeypatch.setattr(solver, "BATCH", problems)
        monkeypatch.setattr(solver, "PIECE_ELEMENTS", (elements, elements))
        found.append(solve(surface, weights, np.repeat(best, 5, axis=0)))
    for other in found[1:]:
        assert (other.theta == found[0].theta).all()
        assert (other.objective == found[0].objective).all()


@pytest.mark.parametrize("law_id", ["chinchilla", "skaling", "farseer"])
def test_a_step_moves_the_level_at_the_middle_in_a_straight_line(law_id: str) -> None:
    surface, _ = surface_on(law_id, *ladder(4))
    theta = candidate_starts(surface, 1)
    middle = {name: np.ones(1) for name in surface.columns}
    if law_id == "farseer":
        middle = {name: np.array([surface.constants[f"{name}_0"]]) for name in middle}

    def level(point: np.ndarray) -> float:
        return float(surface.law.predict(**surface.decode(point), **middle)[0, 0])

    direction = np.random.default_rng(1).normal(size=theta.shape) * 0.1
    small = 1e-6
    slope = (level(surface.moved(theta, small * direction)) - level(theta)) / small
    assert level(surface.moved(theta, direction)) == pytest.approx(level(theta) + slope, rel=1e-6)
    bent = theta + direction
    bent[:, 0] = np.log(np.exp(theta[:, 0]) + direction[:, 0] * np.median(surface.target))
    assert level(bent) != pytest.approx(level(theta) + slope, rel=1e-4)


def test_small_resamples_follow_the_valley_between_floor_and_amplitude() -> None:
    """With straight steps in floor and amplitudes one in a hundred needs more than 60."""
    surface, _ = surface_on("chinchilla", *ladder(8, rows=20, noise=0.005))
    _, found = fit_starts(surface, 8)
    weights = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), size=400).astype(float)
    weights = weights[(weights > 0).sum(axis=1) > len(surface.free)]
    starts = np.repeat(found.theta[[found.best()]], len(weights), axis=0)
    limit = np.full(len(weights), solver.FEW_ITERATIONS)
    assert np.mean(solver._solve_batch(surface, weights, starts, None, limit).converged) > 0.998


def test_resamples_without_a_floor_converge() -> None:
    params, tokens, _ = ladder(4, 30)
    random = np.random.default_rng(1)
    loss = (40 * params**-0.2 + 80 * tokens**-0.2) * np.exp(0.005 * random.standard_t(3, 30))
    surface, _ = surface_on("chinchilla", params, tokens, loss)
    best = solve(surface, np.ones((1, 30)), candidate_starts(surface, 4))
    weights = random.multinomial(30, np.full(30, 1 / 30), size=200).astype(float)
    solution = solve(surface, weights, np.repeat(best.theta[best.best()][None], 200, axis=0))
    at_bound = surface.decode(solution.theta)["E"][:, 0] < 1e-6 * np.median(loss)
    assert at_bound.mean() > 0.2
    assert solution.converged.mean() > 0.99


def farseer_surface(seed: int) -> Surface:
    random = np.random.default_rng(seed)
    sizes, ratios = int(random.integers(5, 16)), int(random.integers(6, 15))
    params, ratio = np.meshgrid(np.geomspace(2e8, 6.4e9, sizes), np.geomspace(4, 400, ratios))
    params, tokens = params.ravel(), (params * ratio).ravel()
    values = farseer_centred(
        a1=-0.124 * np.exp(0.2 * random.normal()), alpha=0.123, b1=0.424 + 0.05 * random.normal(),
        a2=88.01 * np.exp(0.1 * random.normal()), beta=-0.1, b2=-6.287 + 0.3 * random.normal(),
        a3=-0.021 * np.exp(0.3 * random.normal()), gamma=0.169 + 0.02 * random.normal(),
        b3=-0.091 + 0.05 * random.normal(), params_0=1e9, tokens_0=2e10,
    )  # fmt: skip
    noise = np.exp(random.uniform(np.log(3e-4), np.log(3e-3)))
    loss = get_law("farseer").predict(**values, params=params, tokens=tokens)
    loss = loss * np.exp(noise * random.normal(size=len(loss)))
    return surface_on("farseer", params, tokens, loss)[0]


@pytest.mark.parametrize("seed", range(3))
def test_farseer_s_best_starts_hold_the_optimum_of_many(seed: int) -> None:
    surface = farseer_surface(seed)
    _, found = fit_starts(surface, 48)
    many = rough(surface, np.ones((1, len(surface.target))), candidate_starts(surface, 192)[48:])
    other = solve(surface, np.ones((1, len(surface.target))), many[::6])
    assert found.objective.min() <= other.objective.min() * (1 + 1e-9)


def test_starts_race_until_half_agree_and_none_lies_below() -> None:
    done = np.array([True, True, False, False])
    assert decided(np.array([1.0, 1.0, 2.0, 3.0]), done)
    assert not decided(np.array([1.0, 1.0, 0.9, 3.0]), done)
    assert not decided(np.array([1.0, 1.1, 2.0, 3.0]), done)
    assert not decided(np.array([1.0, 1.0, 2.0, 3.0]), ~np.ones(4, dtype=bool))


@pytest.mark.parametrize("bend", [-5.0, 4.0])
def test_an_exponent_that_bends_at_one_end_alone_is_found(bend: float) -> None:
    """Starts without a bend end in an optimum 7 and 150 times above the truth's objective."""
    params, ratio = np.meshgrid(np.geomspace(1e8, 1.6e10, 8), np.geomspace(4, 400, 7))
    params, tokens = params.ravel(), (params * ratio).ravel()
    references = {"params_0": middle(params), "tokens_0": middle(tokens)}
    end = np.log((params.max() if bend > 0 else params.min()) / references["params_0"])
    values = references | {
        "floor": 1.8, "floor_slope": -0.05, "floor_bend": 0.1,
        "data": 0.6, "data_slope": -0.1, "data_bend": 0.1, "exponent": 0.4,
        "exponent_slope": 0.4 * abs(bend / np.expm1(bend * end)), "exponent_bend": bend,
    }  # fmt: skip
    truth = get_law("farseer").predict(**values, params=params, tokens=tokens)
    loss = truth * np.exp(3e-4 * np.random.default_rng(0).normal(size=len(truth)))
    surface, _ = surface_on("farseer", params, tokens, loss)
    surface, found = fit_starts(surface, 48)
    assert found.objective.min() <= np.sum(surface.objective.rho(np.log(truth / loss)))


def test_the_adaptive_delta_follows_the_noise() -> None:
    for noise in (0.003, 0.03):
        params, tokens, loss = ladder(6, 400, 0.0)
        loss = loss * np.exp(noise * np.random.default_rng(0).normal(size=400))
        surface, _ = surface_on("chinchilla", params, tokens, loss, "huber_adaptive")
        adapted, found = fit_starts(surface, 16)
        assert adapted.objective.delta == pytest.approx(1.345 * noise, rel=0.15)
        assert found.converged[found.best()]


@pytest.mark.parametrize("law_id", ["chinchilla", "skaling"])
@pytest.mark.parametrize("objective", ["huber_log", "squared_log", "squared", "absolute_log"])
def test_no_start_of_the_oracle_does_better(law_id: str, objective: str) -> None:
    for seed in range(3):
        surface, _ = surface_on(law_id, *ladder(seed), objective)
        weights = np.ones((1, len(surface.target)))
        starts = candidate_starts(surface, 16)
        solution = solve(surface, weights, starts)
        for start in starts[:4]:
            oracle = minimize(
                lambda theta, s=surface, w=weights: (
                    float(objective_values(s, w, theta[None])[0]) * 1e3
                ),
                start,
                method="Nelder-Mead",
                options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-10, "fatol": 1e-14},
            )
            assert solution.objective.min() <= oracle.fun / 1e3 * (1 + 1e-7)


@pytest.mark.parametrize("law_id", ["chinchilla", "skaling", "farseer"])
def test_a_law_s_own_noiseless_data_give_its_predictions_back(law_id: str) -> None:
    params, tokens, _ = ladder(0)
    surface, _ = surface_on(law_id, params, tokens, np.ones(40))
    middle = surface.encode(
        {
            p.name: (p.low * p.high) ** 0.5 if p.transform == "log" else (p.low + p.high) / 2 + 0.05
            for p in surface.law.parameters
        }
    )
    truth = np.exp(surface.residuals(middle)[0])
    surface, _ = surface_on(law_id, params, tokens, truth)
    _, solution = fit_starts(surface, 48 if law_id == "farseer" else 16)
    best = solution.theta[solution.best()][None]
    assert np.abs(surface.residuals(best)).max() < 1e-6


def test_stopping_is_relative_to_the_objective() -> None:
    """A change of unit by 1e-6 in the residual must not change the optimum that is found."""
    params, tokens, loss = ladder(1)
    surface, _ = surface_on("chinchilla", params, tokens, loss)
    starts = candidate_starts(surface, 8)
    solution = solve(surface, np.ones((1, 40)), starts)
    small = solve(surface, np.full((1, 40), 1e-9), starts)
    assert np.allclose(small.objective * 1e9, solution.objective, rtol=1e-9)


def test_a_prior_pulls_as_far_as_it_is_precise() -> None:
    surface, _ = surface_on("chinchilla", *ladder(2))
    start = candidate_starts(surface, 1)
    free = solve(surface, np.ones((1, 40)), start)
    mean = free.theta[0] + 0.5
    held = solve(surface, np.ones((1, 40)), start, Prior(mean, np.full(5, 1e6)))
    assert np.allclose(held.theta[0], mean, atol=1e-6)
    loose = solve(surface, np.ones((1, 40)), start, Prior(mean, np.full(5, 1e-9)))
    assert np.allclose(loose.objective, free.objective, rtol=1e-9)


def test_a_batch_gives_the_digits_of_its_members() -> None:
    surface, _ = surface_on("chinchilla", *ladder(3))
    starts = candidate_starts(surface, 8)
    together = solve(surface, np.ones((1, 40)), starts)
    for i in range(8):
        alone = solve(surface, np.ones((1, 40)), starts[i : i + 1])
        assert np.allclose(alone.theta[0], together.theta[i], rtol=1e-9)


def test_halton_covers_evenly() -> None:
    points = halton(1024, 6)
    assert ((points > 0) & (points < 1)).all()
    assert np.allclose(points.mean(axis=0), 0.5, atol=0.01)

"""One fit and 4000 resamples of the public Chinchilla rows, beside what people use today."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares, minimize
from scipy.special import huber

from benchmarks.rows import TABLE, chinchilla_rows, seconds, surface_on
from scaling_cli.fitting.solver import solve
from scaling_cli.fitting.starts import fit_starts
from scaling_cli.records import Floats

title = "One fit and 4000 resamples of 240 public rows"
DELTA = 1e-3
STARTS = 4500
TIMED_STARTS = 60  # of the notebook's 4500, drawn at random; its time is extrapolated from these
RESAMPLES = 4000
TIMED_RESAMPLES = 16  # of the peers' 4000
TIMED_FITS = 5
ROUNDS = 5
HOFFMANN = np.array([6.0073404, 6.0179186, 0.5267228, 0.33917084, 0.2849083])


def notebook_starts() -> Floats:
    """Epoch's grid of (a, b, e, alpha, beta) [4500, 5]."""
    exponents, amplitudes = np.arange(0, 2.1, 0.5), np.arange(0, 26, 5)
    grid = np.meshgrid(amplitudes, amplitudes, np.arange(-1, 1.1, 0.5), exponents, exponents)
    return np.stack([item.ravel() for item in grid], axis=1)


def package(
    rows: tuple[Floats, ...], objective: Callable[[Floats, Floats], float], loop: float
) -> str:
    """The `chinchilla` package on a coarse grid; its finest documented one takes half an hour."""
    if not find_spec("chinchilla"):
        return "| chinchilla | | not installed | | |"
    from chinchilla import Chinchilla
    from chinchilla._metrics import log_huber

    params, tokens, loss = rows
    ends = {"e": (-1, 0, 1), "a": (0, 12.5, 25), "b": (0, 12.5, 25)}
    grid = ends | {"alpha": (0, 1, 2), "beta": (0, 1, 2)}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (Path(folder) / "df.csv").open("w") as file:
            print("C,N,D,loss", file=file)
            for n, d, value in zip(params, tokens, loss, strict=True):
                print(f"{6 * n * d},{n},{d},{value}", file=file)
        peer = Chinchilla(
            folder,
            param_grid=grid,
            loss_fn=lambda seen, made: log_huber(seen, made, DELTA),
            log_level=50,
        )
        (spent,) = seconds(lambda: peer.fit(parallel=False), rounds=1)
    point = np.array([np.log(peer.A), np.log(peer.B), np.log(peer.E), peer.alpha, peer.beta], float)
    reached = objective(point, np.ones(len(loss)))
    return (
        f"| chinchilla {version('chinchilla')}, log_huber | {3**5} | {spent:.1f} s |"
        f" {loop / spent:.0f} | {reached:.10e} |"
    )


def run() -> str:
    rows = chinchilla_rows()
    if rows is None:
        return f"Skipped: {TABLE.name} is not there (set SCALEFIT_PUBLIC_DATA)."
    params, tokens, loss = rows
    log_n, log_d, log_l = np.log(params), np.log(tokens), np.log(loss)
    count = len(loss)
    random = np.random.default_rng(0)

    def notebook(point: Floats, weights: Floats) -> float:
        a, b, e, alpha, beta = point
        terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full(count, e)])
        top = terms.max(axis=0)
        predicted = top + np.log(np.exp(terms - top).sum(axis=0))
        return float(np.sum(weights * huber(DELTA, predicted - log_l)))

    surface, _ = surface_on("chinchilla", *rows)
    ones = np.ones((1, count))
    _, found = fit_starts(surface, 16)
    best = found.theta[found.best()][None]
    chosen = iter(notebook_starts()[random.choice(STARTS, TIMED_STARTS, replace=False)])

    def loop_part() -> None:
        for _ in range(TIMED_STARTS // ROUNDS):
            minimize(notebook, next(chosen), args=(ones[0],), method="L-BFGS-B")

    def fits() -> None:
        for _ in range(TIMED_FITS):
            fit_starts(surface, 16)

    timed, ours = seconds(loop_part, fits, rounds=ROUNDS)
    loop, ours = timed * ROUNDS / TIMED_STARTS * STARTS, ours / TIMED_FITS

    weights = random.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)
    start = np.repeat(best, RESAMPLES, axis=0)
    x, y = np.log(surface.columns["params"]), np.log(surface.columns["tokens"])

    def parts(theta: Floats) -> tuple[Floats, Floats, Floats]:
        e, a, alpha, b, beta = np.exp(theta)
        by_a, by_b = a * np.exp(-alpha * x), b * np.exp(-beta * y)
        return np.full(count, e), by_a, by_b

    def jacobian(theta: Floats) -> Floats:
        floor, by_a, by_b = parts(theta)
        _, _, alpha, _, beta = np.exp(theta)
        partial = [floor, by_a, -alpha * x * by_a, by_b, -beta * y * by_b]
        return np.stack(partial, axis=1) / (floor + by_a + by_b)[:, None]

    def oracle(item: Floats) -> float:
        index = np.repeat(np.arange(count), item.astype(int))
        answer = least_squares(
            lambda theta: (np.log(sum(parts(theta))) - log_l)[index], best[0],
            jac=lambda theta: jacobian(theta)[index], loss="huber", f_scale=DELTA,
            xtol=1e-15, ftol=1e-15, gtol=1e-15,
        )  # fmt: skip
        return float(answer.cost)

    some = weights[:TIMED_RESAMPLES]
    costs = np.array([oracle(item) for item in some])
    solved = solve(surface, weights, start)
    bfgs, warm, many = seconds(
        lambda: [minimize(notebook, HOFFMANN, args=(item,), method="BFGS") for item in some],
        lambda: [oracle(item) for item in some],
        lambda: solve(surface, weights, start),
    )
    bfgs, warm, many = bfgs / TIMED_RESAMPLES, warm / TIMED_RESAMPLES, many / RESAMPLES
    excess = float(np.max(solved.objective[:TIMED_RESAMPLES] / costs - 1))
    agreeing = float(np.mean(found.objective <= found.objective.min() * (1 + 1e-9)))
    lines = [
        "| one fit | starts | time | notebook loop / time | objective |",
        "|---|---|---|---|---|",
        f"| notebook: L-BFGS-B, finite differences | {STARTS}, {TIMED_STARTS} of them timed |"
        f" {loop:.1f} s | 1 | |",
        f"| scalefit | grid, {len(found.objective)} polished until half agree ({agreeing:.0%}) |"
        f" {ours * 1e3:.2f} ms | {loop / ours:,.0f} | {found.objective.min():.10e} |",
        package(rows, notebook, loop),
        "",
        "| 4000 resamples | a resample | BFGS loop / time | least_squares / time |",
        "|---|---|---|---|",
        f"| notebook: one BFGS start, finite differences | {bfgs * 1e3:.1f} ms | 1 | |",
        f"| scipy least_squares(huber), warm, same Jacobian | {warm * 1e3:.2f} ms |"
        f" {bfgs / warm:.1f} | 1 |",
        f"| scalefit | {many * 1e6:.0f} us | {bfgs / many:.0f} | {warm / many:.0f} |",
        "",
        f"Converged: {solved.converged.mean():.2%}. Largest excess over least_squares at its"
        f" tightest tolerances, {TIMED_RESAMPLES} resamples: {excess:.1e} relative.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(run())

"""Many groups, each fitted and resampled: time and memory against their number."""

from __future__ import annotations

import resource

import numpy as np

from benchmarks.rows import seconds, surface_on
from scaling_cli.fitting.solver import solve
from scaling_cli.fitting.starts import fit_starts

title = "Many groups, 100 resamples each"
GROUPS = (10, 100, 300)
ROWS = 16
RESAMPLES = 100


def fit_group(seed: int) -> None:
    random = np.random.default_rng(seed)
    params = np.exp(random.uniform(np.log(1e7), np.log(1e9), ROWS))
    tokens = params * np.exp(random.uniform(np.log(5), np.log(200), ROWS))
    loss = 1.7 + 400 * params**-0.34 + 1500 * tokens**-0.36
    loss = loss * np.exp(0.005 * random.normal(size=ROWS))
    surface, _ = surface_on("chinchilla", params, tokens, loss)
    surface, found = fit_starts(surface, 16)
    best = np.repeat(found.theta[found.best()][None], RESAMPLES, axis=0)
    weights = random.multinomial(ROWS, np.full(ROWS, 1 / ROWS), size=RESAMPLES).astype(float)
    solve(surface, weights, best)


def run(groups: tuple[int, ...] = GROUPS) -> str:
    lines = ["| groups | time | a group | peak memory |", "|---|---|---|---|"]
    for count in groups:
        (spent,) = seconds(lambda n=count: [fit_group(seed) for seed in range(n)], rounds=1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(f"| {count} | {spent:.1f} s | {spent / count * 1e3:.0f} ms | {peak:.0f} MiB |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(run())

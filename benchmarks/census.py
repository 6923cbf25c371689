"""Every severe warning on ladders that give no cause for one, with its reason.

The public tables are fitted whole, as a user would, and simulated ladders that follow a law of the
catalogue: a severe warning there is either a property of the design, which is listed, or false.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import cycle, islice, product

import numpy as np

from benchmarks.coverage import DESIGNS, SURFACES, design, loss_of, new_tables
from benchmarks.forecast import DATA, further_tables, markdown, observations, tables
from scaling_cli.errors import FitError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.table import Table

title = "Severe warnings on sound ladders"
COUNT = int(os.environ.get("CENSUS_COUNT", "500"))
PROCEDURES = ("auto", "chinchilla", "skaling")
RUNS = (8, 12, 20, 36, 60)
NOISES = (0.001, 0.003, 0.01)


def simulated() -> Iterator[tuple[str, Table]]:
    """COUNT ladders by name, of every surface, design, number of runs and noise in turn."""
    cells = cycle(product(DESIGNS, RUNS, NOISES, SURFACES))
    for seed, (kind, runs, noise, surface) in enumerate(islice(cells, COUNT)):
        random = np.random.default_rng([seed, 77])
        params, tokens = design(kind, runs)
        params = params * np.exp(random.uniform(-1, 1))
        loss = loss_of(surface, params, tokens) * np.exp(noise * random.standard_normal(runs))
        columns = {"params": params, "tokens": tokens, "loss": loss, "flops": 6 * params * tokens}
        yield f"{kind}, {runs} runs, noise {noise:.1%}, {surface}", Table.from_columns(columns)


def severe(name: str, rows: Table) -> Iterator[tuple[str, str, str]]:
    """Procedure, code and sentence of each severe warning, and of a refusal."""
    for procedure in PROCEDURES:
        try:
            fitted = fitter(procedure)(rows, FitOptions(resamples=200), {})
        except FitError as error:
            yield procedure, "refused", str(error)
            continue
        for note in fitted.notes:
            if note.severity == "severe":
                yield procedure, note.code, note.message


def census(ladders: Iterator[tuple[str, Table]], by: int) -> str:
    """One line a code and kind of ladder: how often, and the first sentence. `by` says how many
    parts of a ladder's name are its kind."""
    times: Counter[tuple[str, ...]] = Counter()
    fits: Counter[str] = Counter()
    first: dict[tuple[str, ...], str] = defaultdict(str)
    for name, rows in ladders:
        kind = ", ".join(name.split(", ")[:by])
        fits[kind] += len(PROCEDURES)
        for procedure, code, message in severe(name, rows):
            key = kind, procedure, code
            times[key] += 1
            first[key] = first[key] or message
    lines = [
        [*key, f"{count} of {fits[key[0]] // len(PROCEDURES)}", first[key]]
        for key, count in sorted(times.items())
    ]
    return markdown(["ladder", "procedure", "warning", "ladders", "the first of them says"], lines)


def public() -> Iterator[tuple[str, Table]]:
    for group in (tables(), further_tables(), new_tables()):
        for name, rows in group.items():
            yield name, observations(rows)


def run() -> str:
    parts = []
    if DATA.is_dir():
        parts.append(f"Public tables, all of their runs.\n\n{census(public(), 9)}")
    else:
        parts.append(f"The public tables are not at {DATA} (set SCALEFIT_PUBLIC_DATA).\n")
    parts.append(f"{COUNT} simulated ladders.\n\n{census(simulated(), 2)}")
    return "\n".join(parts)


if __name__ == "__main__":
    print(run())

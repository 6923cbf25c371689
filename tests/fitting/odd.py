"""Every law on every odd table: `make odd`; a part of it in the suite.

A fit is refused in words or holds finite numbers and is JSON; nothing else comes out, no warning of
Python's and nothing that takes longer than SECONDS.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import traceback
import warnings
from collections import Counter

import numpy as np

from scaling_cli.errors import ScalefitError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import PROCEDURES, procedure
from scaling_cli.laws import LAWS
from scaling_cli.report.fits import fit_table
from scaling_cli.report.render import to_text
from scaling_cli.table import Table
from tests.odd_tables import ODD, Columns
from tests.simulate import columns_of, observed, values_of

NAMES = tuple(dict.fromkeys([*LAWS, *PROCEDURES]))
SECONDS = 60  # of processor time
ROWS = 16


def healthy(name: str) -> Columns:
    """Columns that the law made, its target last."""
    law = procedure(name).law
    if law.family == "training curve":  # a table holds no schedules, but may have their columns
        random = np.random.default_rng(1)
        numbers = {n: np.exp(random.uniform(-9, 5, ROWS)) for n in law.variables}
        return numbers | {law.target: random.uniform(1, 5, ROWS)}
    columns = columns_of(law)
    target = observed(law, columns, values_of(law, columns), 0.01)
    return {n: v[:ROWS] for n, v in columns.items()} | {law.target: target[:ROWS]}


def attempt(name: str, columns: Columns, number: int) -> str:
    """What comes of a law on an odd table; AssertionError where it is no fit of numbers."""
    law = procedure(name).law
    title = list(ODD)[number]
    with np.errstate(all="ignore"):
        made = ODD[title](columns, np.random.default_rng(number))
        if {"params", "tokens"} <= made.keys():
            made.setdefault("flops", 6 * made["params"] * made["tokens"])
    x = "x" if "x" in law.variables else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            fit = procedure(name).fit(Table.from_columns(made), FitOptions(resamples=8, x=x), {})
        except ScalefitError:
            return "refused"
        document = fit.to_json()
        to_text([fit_table(fit)])
    json.dumps(document, allow_nan=False)
    assert all(np.isfinite(value) for value in fit.values.values()), title
    assert all(part["value"] is not None for part in document["parameters"].values()), title
    return "fitted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--law", choices=NAMES, action="append")
    parser.add_argument("--first", type=int, default=0, help="of the laws")
    parser.add_argument("--count", type=int, default=len(NAMES))
    asked = parser.parse_args()

    def too_slow(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGPROF, too_slow)
    outcomes: Counter[str] = Counter()
    bad = 0
    names = asked.law or NAMES[asked.first :][: asked.count]
    for name in names:
        columns = healthy(name)
        for number, title in enumerate(ODD):
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                outcomes[attempt(name, columns, number)] += 1
            except Exception:
                bad += 1
                print(f"{name} on {title}:\n{traceback.format_exc()[-900:]}", flush=True)
            signal.setitimer(signal.ITIMER_PROF, 0)
        print(f"{name}: {dict(outcomes)}, {bad} findings so far", flush=True)
    print(f"{len(names)} laws x {len(ODD)} tables: {dict(outcomes)}, {bad} findings")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()

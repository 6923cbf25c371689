"""Work on clusters: the digits of one worker, also where another is killed in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from scaling_cli import api
from scaling_cli.errors import InputError, ScalefitError, UnreachableError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import FailedFit, Fit
from scaling_cli.frames import table_of
from scaling_cli.table import Table
from scaling_cli.workers import mapper
from tests.clusters.work import dies, fitted

GROUPS, RUNS = 12, 14
OPTIONS = FitOptions(resamples=60)


@pytest.fixture(scope="module")
def rows() -> Table:
    """Ladders on surfaces of their own."""
    random = np.random.default_rng(3)
    floor, decay = (
        np.repeat(random.uniform(*ends, GROUPS), RUNS) for ends in ((1.5, 2), (0.3, 0.4))
    )
    params = 10 ** random.uniform(7, 9, GROUPS * RUNS)
    tokens = params * 10 ** random.uniform(0.7, 2.3, GROUPS * RUNS)
    loss = floor + 400 * params**-decay + 1500 * tokens**-0.36
    loss *= np.exp(0.003 * random.normal(size=GROUPS * RUNS))
    recipe = np.repeat([f"g{group:02}" for group in range(GROUPS)], RUNS)
    return table_of({"params": params, "tokens": tokens, "loss": loss, "recipe": recipe})


def digits(results: list[Fit | FailedFit]) -> list[str]:
    """All that the fits say, without when they were made, and their resamples."""
    texts = [re.sub(r'"made": "[^"]*"', "", json.dumps(result.to_json())) for result in results]
    draws = [result.draws.tobytes().hex() for result in results if isinstance(result, Fit)]
    return [*texts, *draws]


def test_fits_and_rankings_have_the_digits_of_one_worker(rows: Table, workers: str) -> None:
    asked = {"by": "recipe", "bootstrap": 60}
    alone, spread = (api.fit(["chinchilla"], rows, workers=w, **asked) for w in (1, workers))
    assert digits(list(spread)) == digits(list(alone))
    two = rows.select(rows.matches("recipe in ['g00', 'g01']"))
    laws = ["chinchilla", "kaplan_nd"]
    alone, spread = (api.compare(laws, two, by="recipe", workers=w) for w in (1, workers))
    assert [item.to_json() for item in spread] == [item.to_json() for item in alone]


def test_a_worker_that_is_killed_costs_its_groups_once_more(
    rows: Table, workers: str, tmp_path: Path
) -> None:
    groups = rows.groups(["recipe"])
    chunks = [groups[start : start + 2] for start in range(0, GROUPS, 2)]
    killed: list[int] = []

    def kill() -> None:
        while not killed:
            for name in os.listdir(tmp_path):  # the first that is at work
                os.kill(int(name), signal.SIGKILL)
                killed.append(int(name))
                return
            time.sleep(0.002)

    killer = threading.Thread(target=kill)
    killer.start()
    with mapper(workers) as mapped:
        results = list(mapped(partial(fitted, str(tmp_path), OPTIONS), chunks))
    killer.join()
    assert killed
    assert len(os.listdir(tmp_path)) > 1  # another did the rest
    alone = [fitted(str(tmp_path), OPTIONS, chunk) for chunk in chunks]
    assert [*map(digits, results)] == [*map(digits, alone)]


def test_work_that_ends_every_worker_is_an_error(workers: str) -> None:
    if workers.startswith("slurm"):
        pytest.skip("as of Dask, and the jobs that ended are not begun again")
    with (
        pytest.raises(ScalefitError, match="ended over the same work"),
        mapper(workers) as mapped,
    ):
        list(mapped(dies, [1]))


def test_faults_of_a_request_come_back_as_such(rows: Table, workers: str) -> None:
    with pytest.raises(InputError, match="no parameter nothing") as told:
        api.fit(["chinchilla"], rows, by="recipe", fix={"nothing": 1.0}, workers=workers)
    assert told.value.mend.startswith("It has E")


@pytest.mark.parametrize(
    ("url", "package"), [("dask://127.0.0.1:9", "distributed"), ("ray://127.0.0.1:9", "ray")]
)
def test_a_cluster_that_is_not_there_is_unreachable(url: str, package: str) -> None:
    pytest.importorskip(package, reason="`make clusters` installs it")
    with pytest.raises(UnreachableError, match=f"at {url}"), mapper(url):
        pass

"""Groups spread over processes: the same digits in the same order, and nothing left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_cli.errors import InputError, ScalefitError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import FailedFit, Fit
from scaling_cli.project import Project, open_project
from scaling_cli.workers import AHEAD, mapper
from tests.places import SAMPLES

OPTIONS = FitOptions(resamples=20)
RUNS = 14


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Nine ladders on surfaces of their own, and a tenth with too few runs to fit."""
    folder = tmp_path_factory.mktemp("ladders")
    random = np.random.default_rng(3)
    lines = ["run_id,recipe,params,tokens,loss"]
    for group in range(10):
        floor, decay = random.uniform(1.5, 2.0), random.uniform(0.3, 0.4)
        for run in range(3 if group == 4 else RUNS):
            params, ratio = 10 ** random.uniform(7, 9), 10 ** random.uniform(0.7, 2.3)
            loss = floor + 400 * params**-decay + 1500 * (params * ratio) ** -0.36
            loss *= np.exp(0.003 * random.normal())
            lines.append(f"g{group}r{run},g{group},{params},{params * ratio},{loss}")
    table = folder / "ladders.csv"
    table.write_text("\n".join(lines) + "\n")
    project = open_project(str(folder / "store"))
    project.ingest([str(table)])
    return project


def timeless(fit: Fit | FailedFit) -> str:
    """The fit's document, without when it was made."""
    return re.sub(r'"made": "[^"]*"', "", json.dumps(fit.to_json()))


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_digits(ladders: Project, workers: int) -> None:
    def fits(count: int) -> list[Fit | FailedFit]:
        by = ["config.recipe"]
        return ladders.fit(["chinchilla"], by, options=OPTIONS, save=False, workers=count)

    alone, spread = fits(1), fits(workers)
    assert [item.group["config.recipe"] for item in spread] == [f"g{i}" for i in range(10)]
    assert isinstance(spread[4], FailedFit)
    assert [timeless(item) for item in spread] == [timeless(item) for item in alone]
    for one, other in zip(alone, spread, strict=True):
        if isinstance(one, Fit) and isinstance(other, Fit):
            assert np.array_equal(one.draws, other.draws)


def test_recipes_of_the_sample_runs_are_the_same_from_workers(tmp_path: Path) -> None:
    project = open_project(str(tmp_path / "store"), SAMPLES / "scalefit.toml")
    project.ingest([str(SAMPLES)])
    # the recipe auto and a formula: each is found again by its name in the worker
    laws = ["auto", "=E + A / params**a + B / tokens**b"]
    one, two = (
        project.fit(laws, ["config.recipe"], options=OPTIONS, save=False, workers=count)
        for count in (1, 2)
    )
    assert len(one) == 4
    assert [timeless(item) for item in one] == [timeless(item) for item in two]


def test_errors_of_the_request_are_told_as_without_workers(ladders: Project) -> None:
    fixed = FitOptions(resamples=0, fixed={"nothing": 1.0})
    with pytest.raises(InputError, match="no parameter nothing") as told:
        ladders.fit(["chinchilla"], ["config.recipe"], options=fixed, workers=2)
    assert told.value.mend.startswith("It has E")


def squared(number: int) -> int:
    return number * number


def left(_: object) -> None:
    os._exit(3)


@pytest.mark.parametrize(
    "asked", ["0", "-1", "two", "dask://here", "ray://:1", "slurm:cores=many", "slurm:gpus=8"]
)
def test_what_names_no_workers_is_refused(ladders: Project, asked: str) -> None:
    with pytest.raises(InputError, match=f"`workers={asked}`") as told:
        ladders.compare(["chinchilla"], workers=asked)
    assert told.value.mend


def test_tables_are_sent_as_arrow(ladders: Project) -> None:
    rows = ladders.observations("config.recipe == 'g1'")
    sent = pickle.dumps(rows)
    arrived = pickle.loads(sent)  # noqa: S301 - our own
    assert len(sent) < 20_000
    assert sent.count(b"\xff\xff\xff\xff") >= 4  # marks of a stream's messages
    assert arrived.digest() == rows.digest()
    assert arrived.run_ids == rows.run_ids
    assert arrived.look_up("recipe").tolist() == rows.look_up("recipe").tolist()


def test_few_items_are_handed_out_at_a_time() -> None:
    handed = []

    def items() -> Iterator[int]:
        for number in range(30):
            handed.append(number)
            yield number

    with mapper(2) as mapped:
        answers = mapped(squared, items())
        assert next(answers) == 0
        assert len(handed) <= AHEAD * 2 + 1
        assert list(answers) == [number**2 for number in range(1, 30)]


@pytest.mark.parametrize("items", [[3, 3], [bytes(1 << 20)] * 4], ids=["small", "large"])
def test_a_worker_that_dies_is_an_error_and_leaves_none_behind(items: list[Any]) -> None:
    """Large items too, of which a pipe holds a part while nobody reads it any more."""
    before = set(multiprocessing.active_children())
    with pytest.raises(ScalefitError, match="worker process ended"), mapper(2) as mapped:
        list(mapped(left, items))
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGKILL", -signal.SIGKILL)])
def test_a_fit_that_is_stopped_leaves_no_worker(ladders: Project, sent: str, code: int) -> None:
    """Ctrl-C says nothing, no traceback; and workers end with a parent that is killed."""
    arguments = ["fit", "--law", "chinchilla", "--by", "config.recipe", "--bootstrap", "200000"]
    program = [sys.executable, "-m", "scaling_cli", *arguments, "--workers", "2"]
    running = subprocess.Popen(
        [*program, "--store", ladders.location],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    group = running.pid  # the workers are of its session, as those of a terminal's program

    def processes() -> int:
        shown = subprocess.run(["ps", "-eo", "pgid,stat"], capture_output=True, text=True).stdout
        lines = [line.split() for line in shown.splitlines()[1:]]
        return sum(line[0] == str(group) and line[1][0] != "Z" for line in lines)

    deadline = time.monotonic() + 60
    while processes() < 4 and time.monotonic() < deadline:  # itself, two workers, their tracker
        time.sleep(0.1)
    if sent == "SIGINT":
        os.killpg(group, signal.SIGINT)
    else:
        running.kill()
    _, errors = running.communicate(timeout=60)
    assert running.returncode == code
    if sent == "SIGINT":  # one whose parent is killed before it has begun does say so
        assert b"Traceback" not in errors
    deadline = time.monotonic() + 60
    while processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes()

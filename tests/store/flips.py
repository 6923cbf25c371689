"""Flip single bits of a store, one at a time, and ask what the commands say: `make faults`.

Each flipped bit has to be found by `store verify`, and `store export`, `curve`, `fit` and `predict`
answer as before or refuse: never otherwise.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling_cli.errors import ScalefitError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.project import Project
from scaling_cli.training.schedule import parse_schedule
from tests.store.interrupts import ladder

POINT = {"params": 1e9, "tokens": 2e10}


def make(folder: Path) -> Project:
    """A store of several commits, with histories, and fits that answer."""
    rows = ladder(folder).read_text().splitlines()
    rates = parse_schedule("cosine:peak=1e-3,warmup=10,total=100,min=1e-4").rates[1:]
    project = Project(str(folder / "store"), None)
    for part in range(3):  # of the 15 runs, each in 100 rows
        numbers = [i for i in range(1500) if i // 100 % 3 == part]
        own = [f"{rows[1 + i]},{rates[i % 100]:.6g}" for i in numbers]
        source = folder / f"part-{part}.csv"
        source.write_text("\n".join([f"{rows[0]},lr", *own]) + "\n")
        project.ingest([str(source)])
    project.fit(["chinchilla"], options=FitOptions(resamples=20), save=True, name="mine")
    project.fit(["kaplan_nd"], options=FitOptions(resamples=20), save=True)
    return project


def exported(project: Project) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        project.store.export(Path(folder) / "x.csv", "long")
        return (Path(folder) / "x.csv").read_bytes()


def curve(project: Project) -> Any:
    return json.dumps(project.curve("r4-40", upto=60)[1].to_json())


def fitted(project: Project) -> Any:
    (fit,) = project.fit(["chinchilla"], options=FitOptions(resamples=0))
    return fit.fit_id, dict(fit.values)  # type: ignore[union-attr]


def predicted(project: Project) -> Any:
    (fit,) = project.saved_fits("mine")
    return json.dumps(fit.predict(POINT).to_json())


ANSWERS: dict[str, Callable[[Project], Any]] = {
    "export": exported,
    "curve": curve,
    "fit": fitted,
    "predict": predicted,
}


def outcome(answer: Callable[[Project], Any], folder: Path, before: Any) -> str:
    try:
        after = answer(Project(str(folder), None))
    except ScalefitError:
        return "refused"
    assert after == before, "another answer"
    return "as before"


def campaign(folder: Path, flips: int, seed: int) -> dict[str, Counter[str]]:
    """Flip so many bits; gives what each command did. AssertionError says which was not found."""
    chance = random.Random(seed)
    project = make(folder)
    before = {name: answer(project) for name, answer in ANSWERS.items()}
    whole = folder / "store"
    damaged = shutil.copytree(whole, folder / "damaged")
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    ends: dict[str, Counter[str]] = {name: Counter() for name in ("verify", *ANSWERS)}
    for _ in range(flips):
        name = chance.choice(files)
        content = bytearray((whole / name).read_bytes())
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        content[place] ^= 1 << bit
        (damaged / name).write_bytes(content)
        where = f"{name} byte {place} bit {bit}"
        try:
            problems = Project(str(damaged), None).store.verify().problems
        except ScalefitError:  # it is no commit any more
            problems = ("refused",)
        assert problems, f"{where} is not found"
        ends["verify"]["found"] += 1
        for command, answer in ANSWERS.items():
            try:
                ends[command][outcome(answer, damaged, before[command])] += 1
            except AssertionError as error:
                raise AssertionError(f"{where}: {command}: {error}") from error
        shutil.copyfile(whole / name, damaged / name)
    return ends


def main() -> None:
    flips = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    with tempfile.TemporaryDirectory() as folder:
        ends = campaign(Path(folder), flips, seed)
    shown = "; ".join(f"{name}: {dict(counts)}" for name, counts in ends.items())
    print(f"{flips} flipped bits, seed {seed}: {shown}")


if __name__ == "__main__":
    main()

"""A fitted curve law is kept in a file, and answers from it for other runs and in checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.project import Project
from scaling_cli.training.assessed import Assessed
from tests.places import SAMPLES

MAPPING = SAMPLES / "scalefit.toml"
RUN = "baseline-schedule-d32l2-9.0e11-cosine"
OTHER = "baseline-schedule-d32l2-1.8e12-wsd"


def run(*arguments: Any, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def place(samples: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the curve law of the d32l2 runs."""
    place = tmp_path_factory.mktemp("saved")
    fitted = ("--law", "lr_anneal", "-o", place / "ladder.json")
    answer = run("curve", "--store", samples.location, "--run", RUN, *fitted, "--json")
    (place / "answer.json").write_text(answer.stdout, encoding="utf-8")
    return place


def test_intervals_of_the_parameters_are_shown(samples: Project, place: Path) -> None:
    document = json.loads((place / "answer.json").read_text(encoding="utf-8"))
    assert document["law"] == "lr_anneal"
    assert set(document["parameters"]) == {"L0", "A", "alpha", "C"}
    assert all(p["low"] < p["value"] < p["high"] for p in document["parameters"].values())
    assert all(p["low"] < p["loss"] < p["high"] for p in document["points"])
    shown = run("curve", "--store", samples.location, "--run", RUN, "--fit", place / "ladder.json")
    assert "lr_anneal on 16 runs" in shown.stdout
    assert "90% interval" in shown.stdout


def test_the_file_gives_the_same_numbers_back(samples: Project, place: Path) -> None:
    asked = ("curve", "--store", samples.location, "--run", RUN, "--fit", place / "ladder.json")
    again = json.loads(run(*asked, "--json").stdout)
    assert again == json.loads((place / "answer.json").read_text(encoding="utf-8"))
    known = Assessed.load(place / "ladder.json")
    assert known.to_document() == Assessed.from_document(known.to_document()).to_document()


def test_it_answers_for_another_run_and_another_schedule(samples: Project, place: Path) -> None:
    asked = ("curve", "--store", samples.location, "--fit", place / "ladder.json", "--json")
    other = json.loads(run(*asked, "--run", OTHER).stdout)
    assert other["final"]["low"] < other["points"][-1]["loss"] < other["final"]["high"]
    constant = "constant:peak=0.0141421,warmup=100,total=1940"
    flat = json.loads(run(*asked, "--run", RUN, "--schedule", constant).stdout)
    own = json.loads(run(*asked, "--run", RUN).stdout)
    assert flat["final"]["loss"] > 1.03 * own["final"]["loss"]
    long = json.loads(run(*asked, "--run", RUN, "--steps", "20K").stdout)
    assert "extrapolation" in {note["code"] for note in long["warnings"]}


def damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], str]:
    def write(path: Path) -> str:
        document = json.loads(path.read_text(encoding="utf-8"))
        change(document)
        return json.dumps(document)

    return write


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (lambda path: "{", "cannot be read"),
        (lambda path: "[]", "not a saved curve fit"),
        (damaged(lambda d: d.update(document="scalefit fit")), "not a saved curve fit"),
        (damaged(lambda d: d.update(document_version=9)), "document_version 9"),
        (damaged(lambda d: d.update(law="chinchilla")), "missing or malformed"),
        (damaged(lambda d: d["parameters"].pop("alpha")), "missing or malformed"),
        (damaged(lambda d: d.update(draws=[])), "missing or malformed"),
        (damaged(lambda d: d["within"].update(steps=[1])), "missing or malformed"),
    ],
)
def test_a_damaged_file_is_refused_in_words(
    place: Path, tmp_path: Path, written: Callable[[Path], str], said: str
) -> None:
    path = tmp_path / "broken.json"
    path.write_text(written(place / "ladder.json"), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        Assessed.load(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", RUN, "--fit", "nowhere.json"), "no such file"),
        (("--run", RUN, "-o", "fit.json"), "--law"),
        (("--run", RUN, "--law", "mpl", "--fit", "x.json"), "Give one"),
        (("--run", RUN, "--law", "chinchilla"), "lr_anneal"),
        (("--run", "baseline-ladder-d64l2-8.1e12", "--fit", "HERE"), "params"),
        (("--run", "baseline-ladder-d24l2-9.0e11", "--fit", "HERE"), "params"),
    ],
)
def test_refusals_say_what_and_how(
    samples: Project, place: Path, arguments: tuple[str, ...], said: str
) -> None:
    given = [str(place / "ladder.json") if part == "HERE" else part for part in arguments]
    found = run("curve", "--store", samples.location, *given, code=2)
    assert said in found.stderr


@pytest.mark.parametrize(("factor", "status"), [(1.0, "pass"), (1.3, "fail"), (0.7, "fail")])
def test_check_holds_a_run_against_the_file(
    place: Path, tmp_path: Path, factor: float, status: str
) -> None:
    """Another run of that size and schedule: undamaged, too high, too low."""
    lines = (SAMPLES / "jsonl" / f"{RUN}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if "val/loss" in row:
            row["val/loss"] *= factor
    source = tmp_path / f"{RUN}.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = tmp_path / "scalefit.toml"
    rule = f'\n[[check]]\nrule = "course"\nfit = "{place / "ladder.json"}"\n'
    config.write_text(MAPPING.read_text(encoding="utf-8") + rule, encoding="utf-8")
    run("ingest", source, "--config", config, "--store", tmp_path / "store")
    asked = ("check", "--store", tmp_path / "store", "--config", config, "--json")
    (found,) = json.loads(run(*asked, code=int(status == "fail")).stdout)["checks"]
    assert found["status"] == status
    assert "ladder.json" in found["message"]
    assert np.isfinite(found["observed"])

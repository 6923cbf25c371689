"""Saved fits through the commands: which answers, what each rests on, files of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import app
from tests.places import DATA

Scalefit = Callable[..., Result]
POINT = ("predict", "--params", "1B", "--tokens", "20B")


@pytest.fixture
def scalefit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scalefit:
    """The command in an empty folder, on a store with a ladder of two recipes and an accuracy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    lines = ["run_id,recipe,params,tokens,loss,accuracy"]
    for recipe, floor in (("base", 1.7), ("new", 1.6)):
        for i, params in enumerate((1e7, 3e7, 1e8, 3e8)):
            for ratio in (10, 30):
                loss = floor + 400 / params**0.34 + 1200 / (params * ratio) ** 0.37
                loss *= 1 + 0.002 * np.sin(7 * i + ratio)
                line = f"{recipe}-{i}-{ratio},{recipe},{params:.0f},{params * ratio:.0f}"
                lines.append(f"{line},{loss:.6f},{np.exp(-loss / 4):.6f}")
    Path("runs.csv").write_text("\n".join(lines) + "\n")

    def run(*arguments: Any, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        return result

    run("ingest", "runs.csv")
    return run


def fitted(scalefit: Scalefit, *options: str) -> list[dict[str, Any]]:
    shown = scalefit("fit", "--law", "chinchilla", "--bootstrap", "20", "--json", *options)
    found: list[dict[str, Any]] = json.loads(shown.stdout)["fits"]
    return found


def test_a_fit_of_something_else_changes_no_answer_about_the_loss(scalefit: Scalefit) -> None:
    fitted(scalefit, "--by", "recipe", "--where", "params > 2e7")
    before = scalefit(*POINT, "--json").stdout, scalefit("optimal", "--budget", "1e21").stdout
    scalefit(
        *("fit", "--law", "power_offset", "--x", "loss", "--y", "accuracy", "--bootstrap", "20")
    )
    assert (
        scalefit(*POINT, "--json").stdout,
        scalefit("optimal", "--budget", "1e21").stdout,
    ) == before
    asked = ("predict", "--at", "loss=2", "--y", "accuracy", "--json")
    (found,) = json.loads(scalefit(*asked).stdout)["predictions"]
    assert found["target"] == "accuracy"
    listed = json.loads(scalefit("fits", "--json").stdout)["fits"]
    assert [(item["target"], item["answers"]) for item in listed] == [
        ("accuracy", True),
        ("loss", True),
        ("loss", True),
    ]
    refused = scalefit(*POINT, "--y", "acuracy", code=2)
    assert "accuracy" in refused.stderr


def test_a_fit_of_the_best_params_answers_for_splits_alone(scalefit: Scalefit) -> None:
    """isoflop gives no loss: it answers `optimal` if it is the newest, and never `predict`."""
    lines = ["run_id,params,tokens,flops,loss"]
    for flops in (1e18, 1e19, 1e20):
        for factor in (0.25, 0.5, 1, 2, 4):
            params = factor * (flops / 120) ** 0.5
            tokens = flops / 6 / params
            loss = 1.7 + 400 / params**0.34 + 1200 / tokens**0.37
            lines.append(f"{flops:.0e}-{factor},{params:.0f},{tokens:.0f},{flops},{loss:.6f}")
    Path("isoflop.csv").write_text("\n".join(lines) + "\n")
    where = ("--store", "isoflops")
    scalefit("ingest", "isoflop.csv", *where)
    fitted(scalefit, *where)
    before = scalefit(*POINT, "--json", *where).stdout
    scalefit("fit", "--law", "isoflop", "--bootstrap", "20", *where)
    split = json.loads(scalefit("optimal", "--budget", "1e21", "--json", *where).stdout)
    assert [item["law"] for item in split["allocations"]] == ["isoflop"]
    assert scalefit(*POINT, "--json", *where).stdout == before


def test_a_fit_says_what_it_rests_on_and_the_answer_says_so(scalefit: Scalefit) -> None:
    options = ("--where", "recipe == 'base'", "--holdout", "params > 2e8", "--name", "mine")
    (made,) = fitted(scalefit, *options)
    basis = made["rests_on"]
    assert basis["where"] == "recipe == 'base'"
    assert basis["holdout"] == "params > 2e8"
    assert basis["runs"] == [f"base-{i}-{ratio}" for i in range(3) for ratio in (10, 30)]
    assert len(basis["runs_digest"]) == 16
    assert len(made["holdout_rows"]) == 2
    said = "Answered by " + made["fit_id"]
    for command in (POINT, ("optimal", "--budget", "1e21"), ("report",)):
        shown = " ".join(scalefit(*command).stdout.split())
        assert (
            f"{said}, of 6 runs, where recipe == 'base', without params > 2e8, made just" in shown
        )
    origin = json.loads(scalefit(*POINT, "--fit", "mine", "--json").stdout)["origin"]
    assert (origin[0]["fit_id"], origin[0]["n_runs"]) == (made["fit_id"], 6)
    shown = scalefit("fits", "show", "mine").stdout
    assert "base-2-30" in shown
    assert "params > 2e8" in shown


def test_names_are_given_used_and_forgotten(scalefit: Scalefit) -> None:
    one, other = fitted(scalefit, "--by", "recipe", "--name", "ladder")
    fitted(scalefit, "--where", "params > 2e7")
    found = json.loads(scalefit(*POINT, "--fit", "ladder", "--json").stdout)["predictions"]
    assert [item["fit_id"] for item in found] == [one["fit_id"], other["fit_id"]]
    scalefit("crossing", "base", "new", "--fit", "ladder")
    scalefit("fits", "name", one["fit_id"], "ladder")
    (found,) = json.loads(scalefit(*POINT, "--fit", "ladder", "--json").stdout)["predictions"]
    assert found["fit_id"] == one["fit_id"]
    assert "ladder" in scalefit("fits").stdout
    refused = scalefit("fit", "--name", "a/b", code=2)
    assert "is not a name" in refused.stderr
    scalefit("fits", "forget", "ladder", other["fit_id"])
    assert len(json.loads(scalefit("fits", "--json").stdout)["fits"]) == 1
    assert "no fit 'ladder'" in scalefit(*POINT, "--fit", "ladder", code=2).stderr


def test_a_file_of_groups_answers_everywhere(scalefit: Scalefit) -> None:
    fitted(scalefit, "--by", "recipe", "-o", "both.fit.json")
    fitted(scalefit, "--where", "recipe == 'base'", "-o", "one.fit.json")
    shapes = [
        json.loads(Path(name).read_text()).keys() for name in ("both.fit.json", "one.fit.json")
    ]
    assert shapes[0] == shapes[1]
    Path("scalefit.toml").write_text('[[check]]\nrule = "band"\nfit = "both.fit.json"\n')
    for command in (
        POINT,
        ("optimal", "--budget", "1e21"),
        ("report",),
    ):
        shown = json.loads(scalefit(*command, "--fit", "both.fit.json", "--json").stdout)
        assert len(shown["origin"]) == 2
    scalefit("crossing", "base", "new", "--fit", "both.fit.json")
    scalefit("equivalent", "base", "new", "--fit", "both.fit.json", "--flops", "1e19")
    scalefit("slope", "base", "--fit", "both.fit.json")
    refused = scalefit("crossing", "base", "nwe", "--fit", "both.fit.json", code=2)
    assert "Groups are base, new" in refused.stderr
    checked = json.loads(scalefit("check", "--json").stdout)["checks"]
    assert {item["status"] for item in checked} == {"pass"}
    assert len(checked) == 16


@pytest.mark.parametrize("name", ["fit_document_1.json", "fit_documents_1.json"])
def test_files_of_the_first_version_are_read(scalefit: Scalefit, name: str) -> None:
    """Written before files had one shape: a bare fit, or a list of them without a head."""
    shown = json.loads(scalefit(*POINT, "--fit", DATA / name, "--json").stdout)
    assert {item["law"] for item in shown["predictions"]} <= {"chinchilla", "kaplan_nd"}
    assert "Answered by" in scalefit(*POINT, "--fit", DATA / name).stdout


def test_a_store_of_the_second_version_answers_as_it_did(
    scalefit: Scalefit, tmp_path: Path
) -> None:
    shutil.copytree(DATA / "store_format_2", tmp_path / "old")
    asked = ("predict", "--params", "1e8", "--tokens", "1e9", "--store", "old", "--json")
    found = json.loads(scalefit(*asked).stdout)["predictions"]
    assert [item["fit_id"] for item in found] == [
        *("kaplan_nd-fa478c70", "chinchilla-67cd7adb"),
        *("kaplan_nd-5c673806", "chinchilla-c6c83d83"),
    ]
    assert found[0]["loss"] == pytest.approx(2.776322686263971, rel=1e-12)
    assert found[1]["loss"] == pytest.approx(3.019293475883291, rel=1e-12)


def test_a_table_of_scores_has_no_loss_in_it_and_is_fitted_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["model,params,tokens,mmlu_acc"]
    for i, params in enumerate(np.geomspace(7e7, 7e9, 12)):
        score = 0.25 + 0.4 / (1 + 3e9 / params) + 0.002 * (-1) ** i
        lines.append(f"m{i},{params:.0f},300000000000,{score:.4f}")
    Path("scores.csv").write_text("\n".join(lines) + "\n")

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result

    said = json.loads(run("ingest", "scores.csv", "--json").stdout)
    assert "no_loss" in {note["code"] for note in said["warnings"]}
    (fit,) = json.loads(run("fit", "--law", "cod", "--y", "mmlu_acc", "--json").stdout)["fits"]
    assert fit["n_observations"] == 12
    refused = run("fit", "--law", "chinchilla", code=2)
    assert "needs the column loss" in refused.stderr

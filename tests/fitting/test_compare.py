"""`compare`: laws are ranked by what they predict, and a tie is called one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scaling_cli.api import compare as compare_laws
from scaling_cli.cli import app

Scalefit = Callable[..., Result]
HEADER = "run_id,recipe,size,params,tokens,loss"


def lines(recipe: str, bend: float, noise: float = 0.001, budgets: int = 6) -> list[str]:
    """An isoFLOP ladder of (A / N**a + B / D**b)**bend over a floor: bend 1 is Chinchilla's."""
    random = np.random.default_rng(3)
    rows = []
    for compute in 10 ** np.linspace(18, 20.5, budgets):
        for ratio in (5.0, 12.0, 30.0, 75.0):
            params = np.sqrt(compute / 6 / ratio)
            tokens = compute / 6 / params
            gap = (params / 1e8) ** (-0.34 / bend) + (tokens / 3e9) ** (-0.36 / bend)
            loss = (1.7 + 0.6 * gap**bend) * np.exp(noise * random.standard_normal())
            name = "small" if compute < 2e19 else "large"
            rows.append(f"{recipe}{len(rows)},{recipe},{name},{params},{tokens},{loss}")
    return rows


@pytest.fixture
def scalefit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scalefit:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    runner = CliRunner()

    def run(*arguments: object) -> Result:
        return runner.invoke(app, [str(argument) for argument in arguments])

    text = "\n".join([HEADER, *lines("bent", 0.4), *lines("plain", 1.0)]) + "\n"
    Path("runs.csv").write_text(text)
    assert run("ingest", "runs.csv").exit_code == 0
    return run


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["groups"]


def test_the_law_that_the_runs_follow_predicts_them_best(scalefit: Scalefit) -> None:
    asked = ["compare", "--laws", "chinchilla,skaling", "--by", "recipe", "--json"]
    bent, plain = answer(scalefit(*asked))
    assert [bent["group"], plain["group"]] == [{"recipe": "bent"}, {"recipe": "plain"}]
    assert bent["best"] == "skaling"
    first, second = bent["ranking"]
    assert {"law", "holdout_mape", "folds", "coverage", "n_parameters"} <= first.keys()
    assert first["holdout_mape"] < second["holdout_mape"]
    assert (first["n_parameters"], second["n_parameters"]) == (6, 5)
    assert first["behind_best"] == {"mape": 0, "standard_error": 0, "decided": False}
    assert second["behind_best"]["decided"]
    assert bent["warnings"] == []
    for group in (bent, plain):
        for fold, above in zip(group["folds"], group["folds"][1:], strict=False):
            assert fold["cut"] < above["cut"]
            assert fold["n_fitted"] < above["n_fitted"]
        assert all(fold["n_fitted"] + fold["n_held_out"] == 24 for fold in group["folds"])
        assert {item["folds"] for item in group["ranking"]} == {len(group["folds"])}


def test_laws_that_predict_alike_are_not_told_apart(scalefit: Scalefit) -> None:
    """Skaling holds Chinchilla's law: on runs that follow it the two differ by noise alone."""
    asked = ["compare", "--laws", "chinchilla,skaling", "--where", "recipe == 'plain'"]
    (group,) = answer(scalefit(*asked, "--json"))
    assert not group["ranking"][1]["behind_best"]["decided"]
    assert [note["code"] for note in group["warnings"]] == ["cannot_tell"]
    shown = scalefit(*asked).stdout
    assert "cannot tell" in shown


def test_one_named_holdout_is_one_fold(scalefit: Scalefit) -> None:
    asked = ["compare", "--laws", "chinchilla", "--where", "recipe == 'plain'", "--json"]
    (group,) = answer(scalefit(*asked, "--holdout", "size == 'large'"))
    assert [fold["cut"] for fold in group["folds"]] == [None]
    assert group["folds"][0]["n_fitted"] == 12
    assert group["ranking"][0]["folds"] == 1
    options = ["--law", "chinchilla", "--where", "recipe == 'plain'", "--bootstrap", "0"]
    scalefit("fit", *options, "--holdout", "size == 'large'", "-o", "fit.json")
    alone = json.loads(Path("fit.json").read_text())["fits"][0]["holdout"]
    assert group["ranking"][0]["holdout_mape"] == pytest.approx(alone["mape"], rel=1e-6)
    assert group["ranking"][0]["bias"] == pytest.approx(alone["bias"], rel=1e-6)


@pytest.mark.parametrize("column", ["flops", "params", "tokens"])
def test_every_cut_predicts_above_itself(scalefit: Scalefit, column: str) -> None:
    asked = ["compare", "--laws", "chinchilla", "--cut", column, "--where", "recipe == 'plain'"]
    (group,) = answer(scalefit(*asked, "--json"))
    rows = [line.split(",") for line in Path("runs.csv").read_text().splitlines()[1:]]
    values = [
        {"params": float(r[3]), "tokens": float(r[4]), "flops": 6 * float(r[3]) * float(r[4])}
        for r in rows
        if r[1] == "plain"
    ]
    assert group["cut"] == column
    for fold in group["folds"]:
        assert fold["n_fitted"] == sum(row[column] < fold["cut"] for row in values)


def test_without_laws_the_recipe_and_all_that_fit_are_compared(scalefit: Scalefit) -> None:
    asked = ["compare", "--where", "recipe == 'plain' and size == 'small'", "--json"]
    (group,) = answer(scalefit(*asked))
    ranked = {item["law"] for item in group["ranking"]}
    failed = {item["law"] for item in group["failed"]}
    assert {"auto", "chinchilla", "skaling"} <= ranked
    assert "farseer" in failed  # nine parameters, and folds of eight runs
    assert "power" not in ranked | failed


def test_a_group_without_folds_does_not_stop_the_others(scalefit: Scalefit) -> None:
    keep = "recipe == 'plain' or flops < 2e18"
    asked = ["compare", "--laws", "chinchilla", "--by", "recipe", "--where", keep, "--json"]
    short, whole = answer(scalefit(*asked))
    assert short["best"] is None
    assert short["ranking"] == []
    assert [note["code"] for note in short["warnings"]] == ["no_folds"]
    assert whole["best"] == "chinchilla"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--laws", "chinchila"], "chinchilla"),
        (["--cut", "loss"], "flops"),
        (["--where", "flops < 2e18"], "cannot be cut"),
        (["--holdout", "params < 1"], "matches no run"),
        (["--holdout", "params > 1"], "leaves none to fit"),
        (["--holdout", "size == 'large'", "--where", "size == 'small'"], "it hides"),
        (["--by", "flavour"], "flavour"),
    ],
)
def test_wrong_requests(scalefit: Scalefit, arguments: list[str], word: str) -> None:
    result = scalefit("compare", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert word in result.stderr


@pytest.mark.parametrize("command", [["compare", "--laws", "chinchilla,skaling"], ["fit"]])
def test_held_out_runs_that_a_filter_hides_are_named(
    scalefit: Scalefit, command: list[str]
) -> None:
    asked = [*command, "--holdout", "size == 'large'", "--where", "flops < 2e20"]
    said = scalefit(*asked).stdout
    assert "[held_out_hidden] 8 of 24 runs" in said
    assert "bent20" in said
    assert "held_out_hidden" not in scalefit(*asked[:-2]).stdout


def test_a_group_that_is_held_out_whole_says_so(scalefit: Scalefit) -> None:
    said = scalefit("fit", "--by", "recipe", "--holdout", "recipe == 'bent'").stdout
    assert "leaves none to fit" in said


def test_laws_of_another_column_and_target_are_compared_without_a_cut(
    scalefit: Scalefit, tmp_path: Path
) -> None:
    images = 1e6 * 3 ** np.arange(0, 7, 0.5)
    rows = [f"r{i},{x},{0.08 + 30 * x**-0.4}" for i, x in enumerate(images)]
    (tmp_path / "errors.csv").write_text("\n".join(["run_id,images,error", *rows]))
    (tmp_path / "own.toml").write_text('[columns]\nimages = "config.images"\n')
    for mapping in ([], ["--config", "own.toml"]):
        store = ["--store", f"store{len(mapping)}", *mapping]
        assert scalefit("ingest", "errors.csv", *store).exit_code == 0
        asked = ["--laws", "power,power_offset", "--x", "images", "--y", "error", "--json"]
        (group,) = answer(scalefit("compare", *asked, *store))
        assert (group["cut"], group["best"]) == ("images", "power_offset")


def test_help_has_an_example(scalefit: Scalefit) -> None:
    assert "Example: scalefit compare" in scalefit("compare", "--help").stdout


def test_the_sentence_says_what_was_missed_a_decade_out_and_no_more() -> None:
    random = np.random.default_rng(0)
    compute = np.repeat(np.geomspace(1e18, 1e20, 7), 4)
    params = np.sqrt(compute / 6 / random.uniform(5, 100, 28))
    tokens = compute / 6 / params
    loss = 1.8 + 480 / params**0.35 + 2000 / tokens**0.37
    runs = {"params": params, "tokens": tokens, "loss": loss, "flops": compute}
    (compared,) = compare_laws(["chinchilla", "kaplan_n"], runs)
    assert compared.sentence.startswith(f"use {compared.ranking[0].law}")
    one = compared.missed(1.0)
    assert one is not None
    errors = [
        error
        for fold, missed in zip(compared.folds, compared.ranking[0].errors, strict=True)
        for flops, error in zip(fold.held.columns["flops"], missed, strict=True)
        if abs(np.log10(flops / fold.training.columns["flops"].max()) - 1) <= 0.35
    ]
    assert one == (pytest.approx(np.mean(errors)), len(errors))
    assert compared.missed(2.0) is None
    assert "two decades out nothing known" in compared.sentence

"""The command line's contract: answers on stdout, JSON as promised, one message for bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import COMMANDS, app

Scalefit = Callable[..., Result]
TRUTH = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 1500.0, "beta": 0.36}


@pytest.fixture
def scalefit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scalefit:
    """Runs a command in an empty folder; its store is the default one there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


def table(rows: int = 24, noise: float = 0.003, seed: int = 0, recipe: str = "a") -> list[str]:
    """CSV lines of a ladder that follows TRUTH."""
    random = np.random.default_rng(seed)
    lines = []
    for i in range(rows):
        params = 10 ** random.uniform(7, 9)
        tokens = params * 10 ** random.uniform(0.7, 2.3)
        loss = TRUTH["E"] + TRUTH["A"] * params ** -TRUTH["alpha"]
        loss = (loss + TRUTH["B"] * tokens ** -TRUTH["beta"]) * np.exp(noise * random.normal())
        lines.append(f"{recipe}{i},{recipe},{params:.6g},{tokens:.6g},{loss:.6f}")
    return lines


HEADER = "run_id,recipe,params,tokens,loss"


@pytest.fixture
def ladder(scalefit: Scalefit) -> Scalefit:
    Path("runs.csv").write_text("\n".join([HEADER, *table(), *table(seed=1, recipe="b")]) + "\n")
    assert scalefit("ingest", "runs.csv").exit_code == 0
    return scalefit


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refusal(result: Result, *words: str, code: int = 2) -> None:
    """One message on stderr, nothing on stdout, no traceback."""
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_published_split_from_an_empty_folder(scalefit: Scalefit) -> None:
    found = answer(scalefit("optimal", "--budget", "1e24", "--published", "epoch2024", "--json"))
    (split,) = found["allocations"]
    assert split["params"] == pytest.approx(9.5861e10, rel=1e-3)
    assert split["tokens"] == pytest.approx(1.7386e12, rel=1e-3)
    assert split["fit_id"] is None
    assert list(Path().iterdir()) == []


def test_several_budgets_in_every_spelling(scalefit: Scalefit) -> None:
    spelled = ["--budget", "1e22,1e23", "1e24", "--published", "epoch2024", "--json"]
    found = answer(scalefit("optimal", *spelled))
    assert [item["budget_flops"] for item in found["allocations"]] == [1e22, 1e23, 1e24]


def test_fit_keeps_the_contract_and_finds_the_truth(ladder: Scalefit) -> None:
    found = answer(ladder("fit", "--law", "chinchilla", "--by", "recipe", "--json"))
    assert [item["group"] for item in found["fits"]] == [{"recipe": "a"}, {"recipe": "b"}]
    for item in found["fits"]:
        assert item["status"] == "ok"
        assert item["n_observations"] == 24
        assert item["objective"]["name"] == "huber_log"
        assert set(item["metrics"]) == {"r2", "rmse", "mape"}
        assert item["holdout"] is None
        for name, value in TRUTH.items():
            estimate = item["parameters"][name]
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
            assert estimate["low"] / 1.2 <= value <= estimate["high"] * 1.2


def test_the_same_command_twice_gives_the_same_digits(ladder: Scalefit) -> None:
    def digits(*more: str) -> str:
        shown = ladder("fit", "--law", "chinchilla", "--json", *more).stdout
        return re.sub(r'"made": "[^"]*"', "", shown)  # when, by the clock

    assert digits() == digits()
    assert digits("--seed", "1") != digits()


def test_holdout_is_scored_and_not_seen(ladder: Scalefit) -> None:
    whole = answer(ladder("fit", "--law", "chinchilla", "--where", "flops < 3e18", "--json"))
    split = answer(ladder("fit", "--law", "chinchilla", "--holdout", "flops >= 3e18", "--json"))
    held, alone = split["fits"][0], whole["fits"][0]
    assert held["parameters"] == alone["parameters"]
    assert held["holdout"]["n"] + held["n_observations"] == 48
    assert abs(held["holdout"]["mape"]) < 0.02
    assert 0 <= held["holdout"]["coverage"] <= 1


def test_predict_uses_the_newest_fit(ladder: Scalefit) -> None:
    answer(ladder("fit", "--law", "chinchilla", "--by", "recipe", "--json"))
    found = answer(ladder("predict", "--params", "1B", "--tokens", "20B", "--json"))
    truth = TRUTH["E"] + TRUTH["A"] * 1e9 ** -TRUTH["alpha"] + TRUTH["B"] * 2e10 ** -TRUTH["beta"]
    for item in found["predictions"]:
        assert item["inputs"] == {"params": 1e9, "tokens": 2e10}
        assert item["low"] < item["loss"] < item["high"]
        assert item["loss"] == pytest.approx(truth, rel=0.01)
        assert item["level"] == 0.9
    assert len(found["predictions"]) == 2


def test_optimal_carries_its_intervals_and_its_distance(ladder: Scalefit) -> None:
    answer(ladder("fit", "--law", "chinchilla,skaling", "--json"))
    found = answer(ladder("optimal", "--budget", "1e22", "--json"))
    assert [item["law"] for item in found["allocations"]] == ["chinchilla", "skaling"]
    for item in found["allocations"]:
        assert item["params_low"] < item["params"] < item["params_high"]
        assert item["tokens_low"] < item["tokens"] < item["tokens_high"]
        assert item["loss_low"] < item["loss"] < item["loss_high"]
        assert 6 * item["params"] * item["tokens"] == pytest.approx(1e22)
        assert "extrapolation" in [note["code"] for note in item["warnings"]]


def test_a_fit_file_predicts_without_a_store(ladder: Scalefit, tmp_path: Path) -> None:
    answer(ladder("fit", "--law", "chinchilla", "-o", "ladder.fit.json", "--json"))
    stored = answer(ladder("optimal", "--budget", "1e21", "--json"))
    frozen = ["optimal", "--budget", "1e21", "--fit", "ladder.fit.json", "--store", "nowhere"]
    assert answer(ladder(*frozen, "--json")) == stored


def test_fixing_a_parameter_holds_it(ladder: Scalefit) -> None:
    found = answer(ladder("fit", "--law", "chinchilla", "--fix", "E=1.69", "--json"))
    assert found["fits"][0]["parameters"]["E"]["value"] == pytest.approx(1.69, rel=1e-12)


def test_one_variable_law_over_a_named_column(ladder: Scalefit) -> None:
    found = answer(ladder("fit", "--law", "power_offset", "--x", "flops", "--json"))
    assert found["fits"][0]["parameters"]["alpha"]["value"] > 0
    refusal(ladder("fit", "--law", "power_offset"), "--x")


def test_one_group_too_small_does_not_stop_the_others(scalefit: Scalefit) -> None:
    rows = [HEADER, *table(), *table(3, seed=1, recipe="b")]
    Path("runs.csv").write_text("\n".join(rows) + "\n")
    scalefit("ingest", "runs.csv")
    found = answer(scalefit("fit", "--law", "chinchilla", "--by", "recipe", "--json"))
    assert [item["status"] for item in found["fits"]] == ["ok", "failed"]
    assert found["fits"][1]["warnings"][0]["code"] == "failed"


def test_a_single_ratio_design_gets_no_split(scalefit: Scalefit) -> None:
    rows = [HEADER]
    for i, params in enumerate(np.geomspace(1e7, 1e9, 20)):
        loss = 1.7 + 400 * params**-0.34 + 1500 * (20 * params) ** -0.36
        rows.append(f"r{i},a,{params},{20 * params},{loss * (1 + 0.002 * (-1) ** i)}")
    Path("runs.csv").write_text("\n".join(rows) + "\n")
    scalefit("ingest", "runs.csv")
    found = answer(scalefit("fit", "--law", "chinchilla", "--json"))
    assert "collinear_design" in [note["code"] for note in found["fits"][0]["warnings"]]
    refusal(scalefit("optimal", "--budget", "1e22"), "no split", "ratios")


def test_report_as_html_markdown_and_json(ladder: Scalefit) -> None:
    ladder("fit", "--law", "chinchilla", "--by", "recipe", "--holdout", "flops > 1e18")
    assert ladder("report", "-o", "report.md").exit_code == 0
    text = Path("report.md").read_text()
    assert text.startswith("# Scaling report")
    for part in ("chinchilla, a", "Runs that no fit has seen", "Compute-optimal splits"):
        assert part in text
    assert ladder("report", "-o", "report.html").exit_code == 0
    markup = Path("report.html").read_text().partition("</head>")[2]
    markup = markup.partition("<script>")[0] + "</body>"
    page = ElementTree.fromstring(markup)
    titles = [heading.text for heading in page.findall("main/h3")]
    shown = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles[: len(shown)] == shown
    assert ladder("report", "-o", "report.json").exit_code == 0
    document = json.loads(Path("report.json").read_text())
    assert {"runs", "fits", "allocations"} <= document.keys()
    refusal(ladder("report", "-o", "report.pdf"), "report.pdf", ".md")


def test_runs_keep_the_contract(ladder: Scalefit) -> None:
    found = answer(ladder("runs", "--where", "recipe == 'a' and params < 1e8", "--json"))
    keys = {
        "run_id",
        "name",
        "source",
        "group",
        "status",
        "steps",
        "params",
        "tokens",
        "flops",
        "loss",
    }
    assert found["runs"]
    assert all(keys <= item.keys() and item["params"] < 1e8 for item in found["runs"])


def test_laws_are_listed_with_their_published_sets(scalefit: Scalefit) -> None:
    found = answer(scalefit("laws", "--json"))
    by_id = {item["id"]: item for item in found["laws"]}
    assert {"power", "power_offset", "chinchilla", "skaling", "farseer"} <= by_id.keys()
    assert "epoch2024" in by_id["chinchilla"]["published"]
    assert "exp(a3" in scalefit("laws", "farseer").stdout


@pytest.mark.parametrize("budget", ["-1", "abc", "0", "1e999", ""])
def test_a_budget_that_is_none(scalefit: Scalefit, budget: str) -> None:
    result = scalefit("optimal", f"--budget={budget}", "--published", "epoch2024")
    refusal(result, *(["--budget"] if budget else []))


def test_bad_sources_name_the_file_and_leave_the_store(ladder: Scalefit) -> None:
    before = ladder("runs", "--json").stdout
    Path("empty.csv").write_text("")
    Path("noloss.csv").write_text("run_id,params,tokens\nx,1e8,1e9\ny,2e8,1e9\n")
    Path("nan.csv").write_text(f"{HEADER}\nx,a,1e8,1e9,NaN\ny,a,2e8,1e9,NaN\n")
    Path("broken.jsonl").write_text(
        '{"run_id": "x", "step": 1, "loss": 2}\n{"step": \n{"step": 3}\n'
    )
    refusal(ladder("ingest", "missing.csv"), "missing.csv")
    refusal(ladder("ingest", "empty.csv"), "empty.csv")
    refusal(ladder("ingest", "noloss.csv"), "noloss.csv", "loss")
    refusal(ladder("ingest", "nan.csv"), "nan.csv", "loss")
    refusal(ladder("ingest", "broken.jsonl"), "broken.jsonl", "2")
    assert ladder("runs", "--json").stdout == before


def test_a_mapping_that_names_an_unknown_column(ladder: Scalefit) -> None:
    Path("wrong.toml").write_text('[columns]\nloss = "evall/loss"\n')
    before = ladder("runs", "--json").stdout
    refusal(ladder("ingest", "runs.csv", "--config", "wrong.toml"), "wrong.toml", "evall/loss")
    refusal(ladder("ingest", "runs.csv", "--config", "nowhere.toml"), "nowhere.toml")
    assert ladder("runs", "--json").stdout == before


def test_fewer_runs_than_parameters(scalefit: Scalefit) -> None:
    Path("few.csv").write_text("\n".join([HEADER, *table(4)]) + "\n")
    scalefit("ingest", "few.csv")
    refusal(scalefit("fit", "--law", "chinchilla"), "needs 5 usable runs", "there are 4")


def test_a_column_that_the_runs_lack(scalefit: Scalefit) -> None:
    lines = [line.split(",") for line in table()]
    rows = ["run_id,params,loss", *(f"{r[0]},{r[2]},{r[4]}" for r in lines)]
    Path("runs.csv").write_text("\n".join(rows) + "\n")
    assert scalefit("ingest", "runs.csv").exit_code == 0
    refusal(scalefit("fit", "--law", "chinchilla"), "tokens", "[columns]")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["fit", "--law", "chinchila"], "chinchilla"),
        (["fit", "--law", "chinchilla", "--where", "params <"], "params <"),
        (["fit", "--law", "chinchilla", "--where", "parms < 1"], "params"),
        (["fit", "--law", "chinchilla", "--where", "params < 1"], "None of the 48 runs"),
        (["fit", "--law", "chinchilla", "--holdout", "params < 1"], "matches no run"),
        (["fit", "--law", "chinchilla", "--objective", "best"], "huber_log"),
        (["fit", "--law", "chinchilla", "--fix", "F=1"], "has no parameter F"),
        (["fit", "--law", "chinchilla", "--fix", "A=1"], "alpha"),
        (["fit", "--law", "chinchilla", "--bound", "E=2:1"], "--bound 'E=2:1' is empty"),
        (["fit", "--law", "chinchilla", "--bound", "E"], "NAME=LOW:HIGH"),
        (["fit", "--law", "chinchilla", "--bound", "A=1:2"], "amplitude"),
        (["fit", "--law", "chinchilla", "--weights", "flavour"], "flavour"),
        (["fit", "--weights", "tokens"], "--law skaling"),
        (["fit", "--bound", "E=1:2"], "--law skaling"),
        (["fit", "--law", "chinchilla", "--level", "90"], "--level"),
        (["fit", "--law", "chinchilla", "--by", "flavour"], "flavour"),
        (["predict", "--params", "1B", "--tokens", "1B"], "scalefit fit"),
        (["predict", "--params", "1B", "--published", "epoch2024"], "tokens"),
        (["predict", "--fit", "nothing.json", "--params", "1B"], "nothing.json"),
        (["optimal", "--budget", "1e22", "--published", "epoch"], "epoch2024"),
        (["optimal", "--budget", "1e22", "--published", "epoch2024", "--law", "farseer"], "--law"),
        (["ingest", "runs.csv", "--as", "parket"], "parket"),
    ],
)
def test_wrong_requests(ladder: Scalefit, arguments: list[str], word: str) -> None:
    refusal(ladder(*arguments), word)


def test_no_store_is_said_with_the_way_to_make_one(scalefit: Scalefit) -> None:
    refusal(scalefit("runs"), "scalefit ingest", code=3)


def test_a_damaged_fit_file_is_refused(ladder: Scalefit) -> None:
    ladder("fit", "--law", "chinchilla", "-o", "good.fit.json")
    (good,) = json.loads(Path("good.fit.json").read_text())["fits"]
    for change in ({"draws": "x"}, {"values": {}}, {"document_version": 99}, {"document": "?"}):
        Path("bad.fit.json").write_text(json.dumps(good | change))
        asked = ["predict", "--fit", "bad.fit.json", "--params", "1B", "--tokens", "1B"]
        refusal(ladder(*asked), "bad.fit.json")
    Path("bad.fit.json").write_text("{")
    refusal(ladder("optimal", "--budget", "1e21", "--fit", "bad.fit.json"), "bad.fit.json")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(scalefit: Scalefit, name: str) -> None:
    result = scalefit(name, "--help")
    assert result.exit_code == 0
    assert f"Example: scalefit {name}" in result.stdout


def test_the_recipe_for_forecasts_is_described_as_laws_are(scalefit: Scalefit) -> None:
    (shown,) = answer(scalefit("laws", "auto", "--json"))["laws"]
    assert shown["id"] == "auto"
    assert any("prior" in line for line in shown["recipe"])
    everything = [item["id"] for item in answer(scalefit("laws", "--json"))["laws"]]
    assert everything[0] == "auto"
    assert len(everything) == len(set(everything))
    assert "noise scales" in scalefit("laws", "auto").stdout


def test_groups_stand_side_by_side(ladder: Scalefit) -> None:
    asked = ("fit", "--law", "chinchilla", "--by", "recipe", "--bootstrap", "0")
    shown = ladder(*asked).stdout
    assert "chinchilla, group by group" in shown
    lines = shown.partition("group by group")[2].splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["group", "a", "b"]
    assert "group by group" not in ladder(*asked, "--where", "recipe == 'a'").stdout


def test_a_fit_of_other_runs_than_the_store_has_says_so(scalefit: Scalefit, tmp_path: Path) -> None:
    """Answers by a saved fit after more runs have come; an ingest of the same changes nothing."""
    table = tmp_path / "runs.csv"
    rows = [
        f"r{i},{n:.6g},{d:.6g},{1.8 + 480 / n**0.35 + 2085 / d**0.37:.6f}\n"
        for i, (n, d) in enumerate((n, d) for n in (1e7, 3e7, 1e8, 3e8) for d in (1e9, 3e9, 1e10))
    ]
    asked = ("--params", "1B", "--tokens", "20B", "--json")

    def codes() -> set[str]:
        (found,) = json.loads(scalefit("predict", *asked).stdout)["predictions"]
        return {note["code"] for note in found["warnings"]}

    table.write_text("run_id,params,tokens,loss\n" + "".join(rows[:-1]))
    scalefit("ingest", "runs.csv")
    scalefit("fit", "--law", "chinchilla", "--bootstrap", "20")
    scalefit("ingest", "runs.csv")
    scalefit("store", "compact")
    assert "store_changed" not in codes()
    table.write_text("run_id,params,tokens,loss\n" + "".join(rows))
    scalefit("ingest", "runs.csv")
    assert "store_changed" in codes()
    scalefit("fit", "--law", "chinchilla", "--bootstrap", "20")
    assert "store_changed" not in codes()

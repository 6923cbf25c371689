"""Checks find what was done to real runs, are silent on the rest, and say when they cannot tell."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from benchmarks.checks import CONFIG, DAMAGES, alarms, hits
from scaling_cli.checks import read_checks, rules
from scaling_cli.checks.reference import BLOCKS, flip_p_value
from scaling_cli.cli import app
from scaling_cli.documents import digest_of
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.project import Project
from scaling_cli.saved import load_fits
from tests.places import ROOT, SAMPLES

MAPPING = SAMPLES / "scalefit.toml"
REPEATS = ("baseline-repeat-d32l2-9.0e11-s1", "baseline-repeat-d32l2-9_0e11-s2")


@pytest.fixture(scope="module")
def store(samples: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample runs, with the forecast of each recipe fitted to its ladder."""
    path = tmp_path_factory.mktemp("checks") / "store"
    shutil.copytree(samples.location, path)
    fitted = ("--by", "recipe", "--where", "split == 'ladder'", "--bootstrap", "200")
    run("fit", *fitted, "--store", path, "-o", path / "ladder.fit.json")
    return path


def run(*arguments: Any, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def checked(store: Path, tmp_path: Path, text: str, *arguments: Any, code: int = 0) -> list[Any]:
    """The results of [[check]] tables on the runs of a store."""
    config = tmp_path / "scalefit.toml"
    config.write_text(MAPPING.read_text(encoding="utf-8") + text, encoding="utf-8")
    result = run("check", *arguments, "--store", store, "--config", config, "--json", code=code)
    document = json.loads(result.stdout)
    assert document["ok"] is (code == 0)
    assert all(
        {"run", "rule", "status", "observed", "expected", "message"} <= item.keys()
        for item in document["checks"]
    )
    found: list[Any] = document["checks"]
    return found


def write_run(path: Path, loss: np.ndarray, run_id: str = "made", **config: Any) -> None:
    rows: list[dict[str, Any]] = [{"run_id": run_id, "config": {"params": 1e6, **config}}]
    rows += [
        {"step": 10 * i, "tokens": 1000 * i, "loss": float(value)}
        for i, value in enumerate(loss, 1)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# Damaged and undamaged runs


def test_every_damage_is_found(tmp_path: Path) -> None:
    found = hits(tmp_path, every=3)
    assert found.keys() == DAMAGES.keys()
    # Noise can hide whether a loss still falls; then the rule says that it cannot tell.
    failed, passed, cannot_tell = found.pop("stall, noise goes on")
    assert failed >= 8
    assert passed == 0
    assert failed + cannot_tell == 10
    assert set(found.values()) == {(10, 0, 0)}


def test_undamaged_runs_raise_no_alarm(tmp_path: Path) -> None:
    found = alarms(SAMPLES, tmp_path / "store", CONFIG)
    assert {status for _, _, status in found} == {"pass"}
    assert len({run for run, _, _ in found}) == 67


def test_public_curves_raise_no_alarm(tmp_path: Path, public_data: Path) -> None:
    found = alarms(public_data / "mpl_curves" / "mpl_curves.csv", tmp_path / "store", None)
    assert len({run for run, _, _ in found}) == 27
    assert "fail" not in {status for _, _, status in found}


def test_too_few_points_are_a_skip_and_no_pass(tmp_path: Path) -> None:
    write_run(tmp_path / "short.jsonl", np.linspace(3, 2.5, 8))
    run("ingest", tmp_path / "short.jsonl", "--store", tmp_path / "store")
    result = run("check", "--store", tmp_path / "store", "--json")
    results = json.loads(result.stdout)["checks"]
    status = {item["rule"]: item["status"] for item in results}
    assert status["spike"] == status["stall"] == status["divergence"] == "skip"
    assert status["complete"] == "skip"  # the config has no plan
    assert all("ot enough" in r["message"] for r in results if r["rule"] in ("spike", "stall"))


def test_a_run_that_ends_in_nan_is_ingested_and_fails(tmp_path: Path) -> None:
    loss = np.linspace(3, 2, 100)
    loss[90:] = np.nan
    write_run(tmp_path / "nan.jsonl", loss)
    run("ingest", tmp_path / "nan.jsonl", "--store", tmp_path / "store")
    result = run("check", "--store", tmp_path / "store", "--json", code=1)
    failed = [c for c in json.loads(result.stdout)["checks"] if c["status"] == "fail"]
    assert [item["rule"] for item in failed] == ["nan"]
    assert failed[0]["step"] == 910


# Rules with settings


def test_band_holds_the_targets_and_not_a_worse_run(store: Path, tmp_path: Path) -> None:
    text = f'[[check]]\nrule = "band"\nfit = "{store}/ladder.fit.json"\n'
    # The recipe follows the frontier: what it says of the smallest budget is no forecast.
    where = "split != 'schedule' and flops > 2e11"
    held = checked(store, tmp_path, text + f'where = "{where}"')
    assert len(held) == 48
    assert {item["status"] for item in held} == {"pass"}
    # The same runs by the band of the other recipe: rotary is better by far.
    one, other = load_fits(store / "ladder.fit.json")
    swapped = replace(one, group=other.group).to_document()
    (tmp_path / "swapped.fit.json").write_text(json.dumps(swapped))
    text = '[[check]]\nrule = "band"\nfit = "swapped.fit.json"\n'
    found = checked(store, tmp_path, text, "rotary-ladder-d48l2-9.0e11", code=1)
    assert "below" in found[0]["message"]


def test_band_says_nothing_of_a_run_on_its_way(store: Path, tmp_path: Path) -> None:
    source = SAMPLES / "jsonl" / "rotary-holdout-d96l3-3.3e13.jsonl"
    lines = source.read_text().splitlines(keepends=True)
    (tmp_path / source.name).write_text("".join(lines[: len(lines) // 2]))
    part = tmp_path / "store"
    run("ingest", tmp_path / source.name, "--config", MAPPING, "--store", part)
    text = f'[[check]]\nrule = "band"\nfit = "{store}/ladder.fit.json"\n'
    assert [item["status"] for item in checked(part, tmp_path, text)] == ["skip"]


def test_limit_at_tokens(store: Path, tmp_path: Path) -> None:
    name = "rotary-holdout-d96l3-3.3e13"
    text = '[[check]]\nrule = "limit"\nmax = {}\ntokens = "{}"\n'
    assert checked(store, tmp_path, text.format(1.6, "5M"), name)[0]["status"] == "pass"
    failed = checked(store, tmp_path, text.format(1.3, "5M"), name, code=1)[0]
    assert failed["expected"] == "<= 1.3"
    assert 1.3 < failed["observed"] < 1.6
    skipped = checked(store, tmp_path, text.format(1.4, "1T"), name)[0]
    assert skipped["status"] == "skip"
    assert "not enough points" in skipped["message"].lower()


def test_planned_compares_tokens_compute_and_batch(store: Path, tmp_path: Path) -> None:
    text = (
        '[[check]]\nrule = "planned"\ntokens = "total_steps * batch_tokens"\n'
        'flops = "budget_flops"\nbatch_tokens = {}\n'
    )
    found = checked(store, tmp_path, text.format('"config.batch_tokens"'))
    assert {item["status"] for item in found} == {"pass"}
    found = checked(store, tmp_path, text.format(4096), code=1)
    assert {item["status"] for item in found} == {"fail"}
    assert all("planned 4.10K (-50.0 %)" in item["message"] for item in found)


def test_reference_accepts_a_repeat_and_finds_a_worse_recipe(store: Path, tmp_path: Path) -> None:
    text = f'[[check]]\nrule = "reference"\nrun = {json.dumps(REPEATS)}\n'
    seed = checked(store, tmp_path, text, "*baseline-ladder-d32l2-9.0e11")
    assert [item["status"] for item in seed] == ["pass"]
    worse = '[[check]]\nrule = "reference"\nrun = "rotary-repeat-d32l2-9.0e11-s1"\n'
    found = checked(store, tmp_path, worse, REPEATS[0], code=1)[0]
    assert found["observed"] > 0.08
    assert found["details"]["p_value"] < 0.01


def test_flips_keep_their_level_on_dependent_noise() -> None:
    """Autocorrelated noise without a difference: rows would be significant, blocks are not."""
    generator = np.random.default_rng(0)
    rejected = 0
    for _ in range(200):
        noise = np.convolve(generator.normal(size=309), np.ones(10) / 10, "valid")
        rejected += flip_p_value(noise) < 0.05
    assert rejected / 200 < 0.10
    assert flip_p_value(np.ones(300)) == 2.0**-BLOCKS


# What is written in the mapping file


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ([{"rule": "spik"}], "spike"),
        ([{"rule": "spike", "zz": 4}], "Near names: z"),
        ([{"rule": "spike", "z": "high"}], "'high' is not a number"),
        ([{"rule": "spike", "z": True}], "z = True is no number"),
        ([{"rule": "reference"}], "needs run"),
        ([{"rule": "limit"}], "needs one of max, min"),
        ([{"rule": "nan", "where": "params <"}], "where"),
        ([{}], "names no rule"),
        ({"rule": "nan"}, "[[check]]"),
    ],
)
def test_what_cannot_be_read_is_named(tables: Any, told: str) -> None:
    mapping = Mapping(path="scalefit.toml", tables={"check": tables})
    with pytest.raises(InputError, match=r"scalefit\.toml") as error:
        read_checks(mapping)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('rule = "planned"\ntokens = "total_stepz * 2048"', "total_steps"),
        ('rule = "nan"\nmetric = "val/los"', "val/loss"),
        ('rule = "spike"\nmetric = ["val/loss", "val/los"]', "val/loss"),
    ],
)
def test_a_name_that_no_run_has_is_an_error_and_no_skip(
    text: str, meant: str, store: Path, tmp_path: Path
) -> None:
    config = tmp_path / "scalefit.toml"
    config.write_text(f"[[check]]\n{text}\n")
    result = run("check", "--store", store, "--config", config, code=2)
    assert meant in result.stderr


@pytest.mark.parametrize("name", sorted(rules()))
def test_every_rule_says_what_it_is(name: str) -> None:
    rule = rules()[name]
    assert rule.name == name
    assert rule.title
    assert all(setting.meaning for setting in rule.settings)


def test_a_check_for_no_run_is_skipped(store: Path, tmp_path: Path) -> None:
    found = checked(store, tmp_path, '[[check]]\nrule = "nan"\nwhere = "params > 1T"\n')
    assert [(item["run"], item["status"]) for item in found] == [(None, "skip")]


def test_an_unknown_run_is_an_error(store: Path) -> None:
    result = run("check", "rotary-holdout-d96l3", "--store", store, code=2)
    assert "rotary-holdout-d96l3-3.3e13" in result.stderr


def test_the_page_as_written_passes_on_the_shipped_runs(store: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    written = page.partition("```toml\n")[2].partition("```")[0]
    shutil.copy(store / "ladder.fit.json", tmp_path)
    found = checked(store, tmp_path, written)
    assert {item["status"] for item in found} == {"pass", "skip"}
    assert {item["rule"] for item in found if item["status"] == "pass"} == set(
        re.findall(r'rule = "(\w+)"', written)
    )
    assert sum(item["status"] == "pass" for item in found) > 200


# The frozen fit


def test_a_frozen_fit_is_read_back_whole(store: Path, tmp_path: Path) -> None:
    path = store / "ladder.fit.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert {item["document_version"] for item in document["fits"]} == {1}
    assert [item["fit_id"] for item in document["fits"]] == [f.fit_id for f in load_fits(path)]
    for item in load_fits(path):
        inputs = {"params": 1e6, "tokens": 1e8}
        again = type(item).from_document(json.loads(json.dumps(item.to_document())))
        assert again.predict(inputs) == item.predict(inputs)
    # What a later version adds is no obstacle; another document version is refused in words.
    newer = document["fits"][0] | {"a_later_field": 1}
    newer["digest"] = digest_of(newer, load_fits(path)[0].draws)
    (tmp_path / "newer.fit.json").write_text(json.dumps(newer))
    assert len(load_fits(tmp_path / "newer.fit.json")) == 1
    (tmp_path / "newer.fit.json").write_text(json.dumps(newer | {"document_version": 99}))
    with pytest.raises(InputError, match="document_version 99"):
        load_fits(tmp_path / "newer.fit.json")


def test_the_command_line_copies_nothing_into_the_store(store: Path, tmp_path: Path) -> None:
    copied = tmp_path / "store"
    shutil.copytree(store, copied)
    before = sorted(path.name for path in copied.rglob("*"))
    run("check", "--store", copied)
    assert sorted(path.name for path in copied.rglob("*")) == before


def test_course_finds_a_run_that_has_left_it(tmp_path: Path) -> None:
    """A target at 70 % of its steps, told by six smaller runs and its own first half; and the same
    run with a validation loss that is 8 % worse over the last quarter."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for source in sorted((SAMPLES / "jsonl").glob("rotary-ladder-*"))[:6]:
        shutil.copy(source, logs)
    source = SAMPLES / "jsonl" / "rotary-holdout-d96l3-3.3e13.jsonl"
    head, *rows = map(json.loads, source.read_text(encoding="utf-8").splitlines())
    rows = rows[: int(0.7 * len(rows))]
    for run_id, factor in (("good", 1.0), ("worse", 1.08)):
        shifted = [
            row | ({"val/loss": row["val/loss"] * factor} if "val/loss" in row else {})
            for row in rows[int(0.75 * len(rows)) :]
        ]
        log = [head | {"run_id": run_id}, *rows[: int(0.75 * len(rows))], *shifted]
        (logs / f"{run_id}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    run("ingest", logs, "--config", MAPPING, "--store", tmp_path / "store")
    text = '[[check]]\nrule = "course"\n'
    assert checked(tmp_path / "store", tmp_path, text, "good")[0]["status"] == "pass"
    failed = checked(tmp_path / "store", tmp_path, text, "worse", code=1)[0]
    assert failed["observed"] > failed["details"]["high"]
    assert "above" in failed["message"]


def test_collapse_finds_a_run_that_leaves_the_curve_of_its_ladder(
    store: Path, tmp_path: Path
) -> None:
    done = np.linspace(0.01, 1, 100)
    sizes = {"small": 1e6, "middle": 3e6, "large": 1e7, "ill": 3e7, "on its way": 3e7}
    for name, params in sizes.items():
        loss = (2 + 400 / params**0.34) * (1 + 0.3 * (1 - done) / (0.1 + done))
        loss *= 1 + np.where((name == "ill") & (done > 0.8), 0.04, 0.0)
        lines: list[dict[str, Any]] = [
            {"run_id": name, "config": {"params": params, "total_steps": 100, "loss": 0.0}}
        ]
        logged = 60 if name == "on its way" else 100
        lines += [
            {"step": i + 1, "tokens": 20 * params * done[i], "loss": float(loss[i])}
            for i in range(logged)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ladder = tmp_path / "ladder"
    run("ingest", *sorted(tmp_path.glob("*.jsonl")), "--store", ladder)
    config = tmp_path / "scalefit.toml"
    config.write_text('[[check]]\nrule = "collapse"\nrun = ["small", "middle", "large"]\n')
    asked = ("check", "--store", ladder, "--config", config, "--json")
    found = {item["run"]: item for item in json.loads(run(*asked, code=1).stdout)["checks"]}
    status = {name: item["status"] for name, item in found.items()}
    assert status == dict.fromkeys(sizes, "pass") | {"ill": "fail"}
    assert found["ill"]["observed"] == pytest.approx(0.04, abs=0.005)
    end = 2 + 400 / 3e7**0.34
    assert found["on its way"]["details"]["end"] == pytest.approx(end, rel=0.01)

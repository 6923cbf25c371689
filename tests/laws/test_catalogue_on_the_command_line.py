"""Laws as a user meets them: columns without a mapping, names that are printed, derived values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.laws import get_law
from scaling_cli.report.listing import group_name
from scaling_cli.saved import ALL_RUNS
from tests.simulate import columns_of, observations, observed

RUN = CliRunner()


def table(path: Path, columns: dict[str, np.ndarray]) -> str:
    rows = zip(*columns.values(), strict=True)
    lines = [f"r{i}," + ",".join(repr(float(x)) for x in row) for i, row in enumerate(rows)]
    path.write_text("run_id," + ",".join(columns) + "\n" + "\n".join(lines) + "\n")
    return str(path)


def test_members_of_a_family_need_no_mapping(tmp_path: Path) -> None:
    web = np.linspace(0.1, 0.9, 12)
    columns = {"mixture.web": web, "mixture.code": 1 - web, "loss": 1.5 + np.exp(-2 * web)}
    store = ["--store", str(tmp_path / "store")]
    source = table(tmp_path / "mixtures.csv", columns)
    assert RUN.invoke(app, ["ingest", source, *store]).exit_code == 0
    found = RUN.invoke(app, ["fit", "--law", "mix_exp", "--bootstrap", "0", "--json", *store])
    assert found.exit_code == 0, found.stderr
    (item,) = json.loads(found.stdout)["fits"]
    assert item["parameters"]["t.web"]["value"] == pytest.approx(-2, rel=1e-3)


def test_slope_knows_the_name_that_fit_prints(tmp_path: Path) -> None:
    params = np.geomspace(1e7, 1e9, 12)
    store = ["--store", str(tmp_path / "store")]
    source = table(tmp_path / "runs.csv", {"params": params, "loss": 40 * params**-0.2})
    assert RUN.invoke(app, ["ingest", source, *store]).exit_code == 0
    asked = ["fit", "--law", "power", "--x", "params", "--bootstrap", "20", *store]
    assert group_name({}) == ALL_RUNS
    assert ALL_RUNS in RUN.invoke(app, asked).stdout
    found = RUN.invoke(app, ["slope", ALL_RUNS, "--json", *store])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["slopes"][0]["value"] == pytest.approx(0.2, rel=1e-3)


def test_sets_that_are_for_no_split_say_so() -> None:
    for name, codes in (("gadre2024_c4", {"no_optimum_set"}), ("epoch2024", set())):
        asked = ["optimal", "--budget", "1e21", "--published", name, "--json"]
        found = RUN.invoke(app, asked)
        assert found.exit_code == 0, found.stderr
        (item,) = json.loads(found.stdout)["allocations"]
        assert {note["code"] for note in item["warnings"]} & {"no_optimum_set"} == codes


def test_derived_values_have_intervals_that_hold_the_truth() -> None:
    law = get_law("nmt")
    random = np.random.default_rng(0)
    encoder, decoder = (np.exp(random.uniform(16, 21, 60)) for _ in range(2))
    columns = {"encoder_params": encoder, "decoder_params": decoder}
    truth = {"L_inf": 1.0, "A": 30.0, "p_e": 0.12, "p_d": 0.08}
    exact = law.predict(**truth, **columns)
    target = exact * np.exp(0.002 * random.standard_normal(60))
    fitted = fit(law, observations(law, columns, target), FitOptions(resamples=100))
    (ratio,) = fitted.further.values()
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < 1.5 < ratio.high < 2 * ratio.low
    assert fitted.to_json()["derived_intervals"]["best encoder / decoder"]["low"] == ratio.low


def test_closed_form_of_reinforcement_goes_through_its_own_runs() -> None:
    law = get_law("rl_math_closed")
    params, flops = (
        item.ravel()
        for item in np.meshgrid([5e8, 1.5e9, 3e9, 7e9, 1.4e10, 3.2e10], np.geomspace(1e19, 1e21, 8))
    )
    truth = {"C_0": 2e10, "r": 0.8, "k_max": 0.1, "N_0": 1e10}
    columns = {"params": params, "flops": flops}
    runs = observations(law, columns, law.predict(**truth, **columns))
    fitted = fit(law, runs, FitOptions(resamples=0))
    at = {"params": np.array([7.2e10]), "flops": np.array([1e21])}
    assert fitted.curve(at) == pytest.approx(law.predict(**truth, **at), rel=1e-5)


def test_shares_in_per_cent_or_as_counts_are_refused(tmp_path: Path) -> None:
    web = np.linspace(0.1, 0.9, 12)
    loss = 1.5 + np.exp(-2 * web)
    for times, told in ((100.0, "per cent"), (3e9, "counts")):
        store = ["--store", str(tmp_path / f"store {told}")]
        columns = {"mixture.web": times * web, "mixture.code": times * (1 - web), "loss": loss}
        source = table(tmp_path / "mixtures.csv", columns)
        assert RUN.invoke(app, ["ingest", source, *store]).exit_code == 0
        found = RUN.invoke(app, ["fit", "--law", "mix_exp", "--bootstrap", "0", *store])
        assert found.exit_code != 0
        assert told in found.stderr
        assert "Divide by" in found.stderr


def test_mixtures_that_leave_out_a_domain_say_so(tmp_path: Path) -> None:
    web = np.linspace(0.1, 0.6, 12)
    columns = {"mixture.web": web, "mixture.code": 0.7 - web, "loss": 1.5 + np.exp(-2 * web)}
    store = ["--store", str(tmp_path / "store")]
    source = table(tmp_path / "mixtures.csv", columns)
    assert RUN.invoke(app, ["ingest", source, *store]).exit_code == 0
    found = RUN.invoke(app, ["fit", "--law", "mix_exp", "--bootstrap", "0", "--json", *store])
    assert found.exit_code == 0, found.stderr
    assert "shares_incomplete" in found.stdout


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("charles2025 --params 1B --at replicas=0", "above zero"),
        (
            "tian2025 --flops 1e22 --at activation_ratio=3.1 --at granularity=8",
            "a share between 0 and 1",
        ),
    ],
)
def test_points_that_no_law_can_be_asked_at_are_refused(asked: str, told: str) -> None:
    found = RUN.invoke(app, ["predict", "--published", *asked.split()])
    assert found.exit_code != 0
    assert told in " ".join(found.stderr.split())


def test_sizes_told_in_billions_without_their_letter_are_doubted() -> None:
    asked = [
        "predict",
        "--published",
        "epoch2024",
        "--params",
        "7",
        "--tokens",
        "1.4",
        "--json",
    ]
    found = RUN.invoke(app, asked)
    assert found.exit_code == 0, found.stderr
    assert "units_doubtful" in found.stdout


def test_every_count_that_a_law_reads_is_doubted_in_billions(tmp_path: Path) -> None:
    """unique_tokens of 1, 4 and 16 beside plain tokens gave a fit without a word on units."""
    law = get_law("data_constrained")
    columns = columns_of(law)
    target = observed(law, columns, dict(law.published[0].values), 1e-3)
    columns = {**columns, "unique_tokens": columns["unique_tokens"] / 1e9, "loss": target}
    store = ["--store", str(tmp_path / "store")]
    assert RUN.invoke(app, ["ingest", table(tmp_path / "runs.csv", columns), *store]).exit_code == 0
    asked = ["fit", "--law", law.id, "--bootstrap", "0", "--json", *store]
    (item,) = json.loads(RUN.invoke(app, asked).stdout)["fits"]
    told = [note["message"] for note in item["warnings"] if note["code"] == "units_doubtful"]
    assert any('unique_tokens = "config.unique_tokens * 1e9"' in message for message in told)


def test_a_table_of_what_a_law_predicts_needs_no_loss(tmp_path: Path) -> None:
    law = get_law("moe_leverage")
    columns = columns_of(law)
    target = observed(law, columns, dict(law.published[0].values), 1e-3)
    store = ["--store", str(tmp_path / "store")]
    source = table(tmp_path / "runs.csv", {**columns, law.target: target})
    assert RUN.invoke(app, ["ingest", source, *store]).exit_code == 0
    asked = ["fit", "--law", law.id, "--fix", "A_max=1e16", "--bootstrap", "0", "--json", *store]
    (item,) = json.loads(RUN.invoke(app, asked).stdout)["fits"]
    assert item["parameters"]["A_start"]["value"] == pytest.approx(1.63e-2, rel=0.05)

"""Laws that the user writes: parsed, fitted as well as the declared ones, kept and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.laws.formula import formula_law
from tests.simulate import columns_of, observations, observed, values_of

TWINS = [
    ("chinchilla", "E + A/params**alpha + B/tokens**beta"),
    ("chinchilla", "A*params**-alpha + B*tokens**(-beta) + E"),
    ("skaling", "E + (A / params**alpha + B / tokens**beta)**k"),
    ("power", "A / x**alpha"),
    ("parscale", "E + (A / (params * (k * log(streams) + 1)))**alpha"),
    ("steplaw", "c * params**n * tokens**d"),
    ("exp_offset", "E + A * exp(-x / x_0)"),
]
UNSIGNED = {"steplaw": {"n": (-1.0, 1.0), "d": (-1.0, 1.0)}}
RAW = {"exp_offset": {"x_0": (100.0, 10_000.0)}, "parscale": {"A": (1e3, 1e9)}}


@pytest.mark.parametrize(("law_id", "text"), TWINS, ids=[text for _, text in TWINS])
def test_a_formula_fits_as_the_declared_law_does(law_id: str, text: str) -> None:
    law = get_law(law_id)
    columns = columns_of(law)
    target = observed(law, columns, values_of(law, columns), 1e-3)
    runs = observations(law, columns, target)
    x = "x" if "x" in law.variables else None
    declared = fit(law, runs, FitOptions(resamples=0, x=x))
    options = FitOptions(
        resamples=0,
        x=x,
        target=law.target,
        objective=law.objective,
        ranges=UNSIGNED.get(law_id, {}) | RAW.get(law_id, {}),
    )
    written = fit(get_law("=" + text), runs, options)
    assert written.objective_value == pytest.approx(declared.objective_value, rel=1e-6)
    for name, value in declared.values.items():
        assert written.values[name] == pytest.approx(value, rel=1e-3)
    again = Fit.from_document(json.loads(json.dumps(written.to_document())))
    assert again.name == "formula"
    assert np.array_equal(again.curve(columns), written.curve(columns))


def test_a_sum_of_powers_takes_the_fast_path() -> None:
    law = formula_law("E + A/params**a + B/tokens**b")
    assert law.form is not None
    assert law.form.floor == "E"
    assert law.parameter("A").centre == {"params": "a"}
    assert formula_law("E - A/params**a").form is None
    shared = formula_law("E + A/params**a + log(params) * c")
    assert shared.parameter("A").centre == {}, "params stands elsewhere too: it cannot be scaled"


def test_columns_of_the_mapping_are_variables() -> None:
    law = get_law("=E + A/my_column**a").among(["my_column", "loss"])
    assert law.variables == ("my_column",)
    assert law.parameter_names == ("E", "A", "a")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("E + A", "no column"),
        ("params + tokens", "no parameter"),
        ("E + A/params^a", r"\*\*"),
        ("__import__('os').system('true')", "not a function"),
        ("E + A/params**a +", "value is expected|ends early"),
    ],
)
def test_what_is_no_law_is_refused(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        formula_law(text, ["loss"])


def test_a_range_of_what_needs_none_is_refused() -> None:
    law = get_law("=E + A/params**a")
    columns = {"params": np.geomspace(1e6, 1e9, 12)}
    runs = observations(law, columns, 2 + columns["params"] ** -0.1)
    for ranges, what in (({"A": (1.0, 2.0)}, "amplitude"), ({"z": (1.0, 2.0)}, "no parameter")):
        with pytest.raises(InputError, match=what):
            fit(law, runs, FitOptions(resamples=0, ranges=ranges))


def test_on_the_command_line(tmp_path: Path) -> None:
    params, tokens = (item.ravel() for item in np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e9, 3e9, 1e10]))
    loss = 1.7 + 400 / params**0.34 + 400 / tokens**0.28
    points = zip(params, tokens, loss, strict=True)
    rows = [f"run{i},{n},{d},{y}" for i, (n, d, y) in enumerate(points)]
    table = tmp_path / "runs.csv"
    table.write_text("run_id,params,tokens,loss\n" + "\n".join(rows) + "\n")
    store = ["--store", str(tmp_path / "store")]
    run = CliRunner()
    assert run.invoke(app, ["ingest", str(table), *store]).exit_code == 0
    text = "E + A/params**a + B/tokens**b"
    found = run.invoke(
        app, ["fit", "--formula", text, "--range", "a=0.1:1", "--bootstrap", "20", "--json", *store]
    )
    assert found.exit_code == 0, found.stderr
    (item,) = json.loads(found.stdout)["fits"]
    assert item["law"] == "formula"
    assert item["surface"] == "=" + text
    assert item["parameters"]["a"]["value"] == pytest.approx(0.34, abs=1e-3)
    found = run.invoke(app, ["predict", "--params", "1B", "--tokens", "100B", "--json", *store])
    assert found.exit_code == 0, found.stderr
    (item,) = json.loads(found.stdout)["predictions"]
    assert item["loss"] == pytest.approx(1.7 + 400 / 1e9**0.34 + 400 / 1e11**0.28, rel=1e-4)
    bad = run.invoke(app, ["fit", "--formula", text, "--range", "a=1:0.1", *store])
    assert bad.exit_code == 2


def ladder() -> dict[str, np.ndarray]:
    params, tokens = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 4e10, 5))
    return {"params": params.ravel(), "tokens": tokens.ravel()}


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("1.69 + A/params**a + B/tokens**b", {"A": 400.0, "a": 0.34, "B": 410.0, "b": 0.28}),
        ("A/params**a + B/tokens**b + 1.69", {"A": 400.0, "a": 0.34, "B": 410.0, "b": 0.28}),
        ("0 - E + A/params**a", {"E": 0.3, "A": 30.0, "a": 0.1}),
        ("2*A/params**a + E", {"A": 200.0, "a": 0.34, "E": 1.7}),
        ("c*(tokens/params)**m", {"c": 1.084, "m": -0.527}),
        ("c*params**b/tokens**a", {"c": 30.0, "b": -0.52, "a": 0.1}),
        ("a + b*log(params*tokens)", {"a": 12.0, "b": -0.2}),
        ("E + A*params**b", {"E": 0.8, "A": -40.0, "b": -0.25}),
        ("E + A/(params/1e9)**a", {"E": 1.7, "A": 0.35, "a": 0.34}),
    ],
)
def test_what_a_formula_made_comes_back(text: str, truth: dict[str, float]) -> None:
    columns = ladder()
    law = formula_law(text)
    target = law.predict(**truth, **columns)
    fitted = fit(law, observations(law, columns, target), FitOptions(resamples=0))
    assert fitted.curve(columns) == pytest.approx(target, rel=1e-6)
    for name, value in truth.items():
        assert fitted.values[name] == pytest.approx(value, rel=1e-3)

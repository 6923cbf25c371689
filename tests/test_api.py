"""The library as a notebook uses it: arrays and frames in, results that show themselves out."""

from __future__ import annotations

import inspect
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import scaling_cli as scalefit
from scaling_cli.errors import FitError, InputError
from scaling_cli.shown import Shown
from tests.places import ROOT

TRUTH = {"E": 1.82, "A": 482.0, "alpha": 0.348, "B": 2085.0, "beta": 0.366}
CONSUMER = """
import scaling_cli as scalefit

fitted = scalefit.fit("chinchilla", {"params": [1e8], "tokens": [1e9], "loss": [3.0]})
alpha: float = fitted.values["alpha"]
several = scalefit.fit(["chinchilla", "skaling"], {"loss": [3.0]}, by="recipe", bootstrap=100)
first: scalefit.Fit = several[0]
loss: float = scalefit.predict(fitted, params="7B", tokens=2e12).loss
losses: list[float] = [item.loss for item in scalefit.predict(fitted, params=[7e9], tokens=[2e12])]
params: float | None = scalefit.optimal(fitted, 1e23).params
splits = scalefit.optimal("epoch2024", [1e23, 1e24], max_params="70B")
allocation: scalefit.Allocation = splits[0]
best: list[scalefit.Comparison] = scalefit.compare(["chinchilla"], {"loss": [3.0]})
crossed: float | None = scalefit.crossing(fitted, first, along="flops").at
project: scalefit.Project = scalefit.open_project(".scalefit")
"""


def ladder(runs: int = 36, noise: float = 0.002) -> dict[str, Any]:
    random = np.random.default_rng(5)
    compute = 10 ** np.repeat(np.linspace(18.0, 20.5, 6), runs // 6)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), runs)))
    tokens = compute / 6 / params
    law = scalefit.get_law("chinchilla")
    loss = law.predict(**TRUTH, params=params, tokens=tokens)
    loss = loss * np.exp(noise * random.standard_normal(runs))
    recipe = ["web", "code"] * (runs // 2)
    return {"params": params, "tokens": tokens, "loss": loss, "recipe": recipe}


@pytest.fixture(scope="module")
def fitted() -> scalefit.Fit:
    return scalefit.fit("chinchilla", ladder(), bootstrap=200)


def frames() -> list[Any]:
    data = ladder()
    made: list[Any] = [
        {name: list(values) for name, values in data.items()},
        pa.table(data),
        pa.table(data).to_reader(),
        scalefit.Table.from_columns(data),
    ]
    for module, name in (("pandas", "DataFrame"), ("polars", "DataFrame")):
        try:
            made.append(getattr(__import__(module), name)(data))
        except ImportError:
            continue
    return made


def test_arrays_and_frames_give_one_fit(fitted: scalefit.Fit) -> None:
    assert fitted.values["alpha"] == pytest.approx(TRUTH["alpha"], abs=0.02)
    found = [scalefit.fit("chinchilla", data, bootstrap=200) for data in frames()]
    assert len(found) >= 4
    assert {item.fit_id for item in found} == {fitted.fit_id}


def test_a_number_that_is_missing_leaves_its_row_out() -> None:
    data = ladder() | {"loss": [None, *ladder()["loss"][1:]]}
    lists = scalefit.fit("chinchilla", data, bootstrap=0)
    arrow = scalefit.fit("chinchilla", pa.table(data), bootstrap=0)
    assert lists.n_runs == arrow.n_runs == 35
    assert lists.values == arrow.values


def test_one_law_and_no_groups_is_a_fit_and_all_else_a_list() -> None:
    data = ladder()
    several = scalefit.fit(["chinchilla", "skaling"], data, bootstrap=0)
    assert [item.name for item in several] == ["chinchilla", "skaling"]
    grouped = scalefit.fit("chinchilla", data, by="recipe", bootstrap=0)
    assert [item.group for item in grouped] == [{"recipe": "code"}, {"recipe": "web"}]
    assert grouped.failed == ()


def test_a_group_that_fails_is_told_beside_the_others() -> None:
    data = ladder() | {"recipe": ["few"] * 3 + ["web"] * 33}
    fits = scalefit.fit("chinchilla", data, by=["recipe"], bootstrap=0)
    assert [item.group["recipe"] for item in fits] == ["web"]
    assert [item.group["recipe"] for item in fits.failed] == ["few"]
    assert "few" in fits._repr_html_()


def test_what_is_called_otherwise_is_named() -> None:
    data = ladder()
    renamed = {"n": data["params"] / 1e6, "D": data["tokens"], "val": data["loss"]}
    columns = {"params": "n * 1e6", "tokens": "D", "loss": "val"}
    found = scalefit.fit("chinchilla", renamed, columns=columns, bootstrap=0)
    assert found.values == pytest.approx(scalefit.fit("chinchilla", data, bootstrap=0).values)


def test_filter_and_hold_out() -> None:
    found = scalefit.fit(
        "chinchilla", ladder(), where="params < 1G", holdout="flops > 1e20", bootstrap=100
    )
    assert found.holdout is not None
    assert found.holdout["mape"] == pytest.approx(0.002, abs=0.003)
    with pytest.raises(InputError, match="matches all 36 runs and leaves none to fit"):
        scalefit.fit("chinchilla", ladder(), holdout="params > 1")
    with pytest.raises(FitError, match="none of the 36 rows matches"):
        scalefit.fit("chinchilla", ladder(), where="params < 1")


def test_points_of_one_run_are_one_run() -> None:
    data = ladder() | {"run_id": [i // 2 for i in range(36)]}
    assert scalefit.fit("chinchilla", data, bootstrap=0).n_runs == 18


def test_vectors_are_taken_point_by_point(fitted: scalefit.Fit) -> None:
    one = scalefit.predict(fitted, params="7B", tokens="2T")
    many = scalefit.predict(fitted, params=[7e9, 1e10], tokens=2e12)
    assert many[0] == one
    assert [item.inputs["params"] for item in many] == [7e9, 1e10]
    assert scalefit.predict("epoch2024", params=7e9, tokens=2e12).low is None
    assert len(scalefit.optimal(fitted, np.array([1e22, 1e23]))) == 2
    assert scalefit.optimal(fitted, "1e22") == scalefit.optimal(fitted, [1e22])[0]
    with pytest.raises(InputError, match="differ in length: params 2, tokens 3"):
        scalefit.predict(fitted, params=[1e9, 2e9], tokens=[1e9, 2e9, 3e9])


def test_splits_keep_constraints(fitted: scalefit.Fit) -> None:
    held = scalefit.optimal(fitted, 1e24, max_params="2B")
    assert held.params == pytest.approx(2e9)
    assert scalefit.optimal(fitted, 1e24, tokens_per_param=20).tokens_per_param == pytest.approx(20)
    reached = scalefit.optimal(fitted, target_loss=2.5)
    assert reached.loss == pytest.approx(2.5)
    with pytest.raises(InputError, match="one budget or of one loss"):
        scalefit.optimal(fitted)


def test_laws_of_one_column_are_compared_along_it() -> None:
    images = np.geomspace(500, 1e6, 16)
    noise = np.exp(0.01 * np.random.default_rng(2).standard_normal(16))
    rows = {"images": [str(int(n)) for n in images], "error": (0.08 + 5 * images**-0.5) * noise}
    laws = ["power", "power_offset"]
    for named in ({"cut": "images"}, {"x": "images"}, {"cut": "images", "x": "images"}):
        (found,) = scalefit.compare(laws, rows, y="error", **named)
        assert found.by == "images"
        assert [score.law for score in found.ranking] == ["power_offset", "power"]
    with pytest.raises(FitError, match="no run has numbers called flops"):
        scalefit.compare(laws, rows, y="error")


def test_errors_name_arguments_as_python_does(fitted: scalefit.Fit) -> None:
    with pytest.raises(InputError) as caught:
        scalefit.predict(fitted, params="7B")
    assert "tokens" in str(caught.value)
    assert "--" not in str(caught.value)
    with pytest.raises(InputError, match="weights") as caught:
        scalefit.fit("isoflop", ladder(), weights="tokens")
    assert "--" not in str(caught.value)


def test_laws_and_recipes_are_compared(fitted: scalefit.Fit) -> None:
    (found,) = scalefit.compare(["chinchilla", "skaling"], ladder())
    assert {score.law for score in found.ranking} == {"chinchilla", "skaling"}
    web, code = scalefit.fit("chinchilla", ladder(), by="recipe", bootstrap=100)
    assert scalefit.equivalent(web, code, 1e20).multiple == pytest.approx(1, abs=0.2)
    assert len(scalefit.equivalent(web, code, [1e19, 1e20])) == 2
    assert scalefit.crossing(web, code).level == 0.9
    assert [item.exponent for item in scalefit.slope(fitted)] == ["alpha", "beta"]
    assert len(scalefit.slope(web, code)) == 6
    assert len(scalefit.hparams("1B", "100B")) >= 4


def runs_of_one_size() -> list[dict[str, Any]]:
    """Loss by the multi-power idea in short: a power of the summed rates, less what annealing
    brings."""
    made = []
    steps = np.arange(1, 2001)
    for peak, low in ((1e-3, 0.1), (1e-3, 0.0), (6e-4, 0.1), (8e-4, 0.0)):
        lr = peak * (low + (1 - low) * 0.5 * (1 + np.cos(np.pi * steps / 2000)))
        loss = 2.5 + 0.6 * (np.cumsum(lr) + 0.02) ** -0.4 - 150 * (peak - lr) * 0.5
        at = slice(19, None, 20)
        made.append({"step": steps[at], "loss": loss[at], "lr": lr[at], "params": 1e8})
    return made


def test_a_curve_is_predicted_from_arrays() -> None:
    *others, run = runs_of_one_size()
    begun = {name: v[:60] if np.ndim(v) else v for name, v in run.items()} | {"total_steps": 2000}
    found = scalefit.curve(begun, others)
    assert found.seen == 1200
    assert found.final["step"] == 2000
    assert found.final["loss"] == pytest.approx(run["loss"][-1], rel=0.05)
    assert found.to_frame().columns.tolist() == ["step", "loss", "low", "high"]
    with pytest.raises(InputError, match="no column step"):
        scalefit.curve({"loss": [1.0]}, others)


def test_a_project_answers_by_the_same_verbs(samples: scalefit.Project) -> None:
    found = scalefit.fit(
        "chinchilla", samples, by="recipe", where="split == 'ladder'", bootstrap=100
    )
    again = samples.fit(
        ["chinchilla"], ["recipe"], "split == 'ladder'", options=scalefit.FitOptions(resamples=100)
    )
    assert [item.values for item in found] == [item.values for item in again]  # type: ignore[union-attr]
    assert found[0].n_runs > 10
    rest = scalefit.curve("baseline-schedule-d32l2-9_0e11-wsd", samples, upto=400)
    assert rest.seen <= 400
    with pytest.raises(InputError, match="own mapping"):
        scalefit.fit("chinchilla", samples, columns={"params": "n"})


def test_a_fit_in_python_is_kept_only_when_that_is_said(tmp_path: Path) -> None:
    lines = [f"{n:g},{d:g},{x}" for n, d, x, _ in zip(*ladder().values(), strict=True)]
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n" + "\n".join(lines))
    project = scalefit.open_project(str(tmp_path / "store"))
    project.ingest([str(tmp_path / "runs.csv")])
    options = scalefit.FitOptions(resamples=0)
    project.fit(["chinchilla"], options=options)
    assert project.store.fits.listed() == []
    project.fit(["chinchilla"], options=options, save=True)
    assert len(project.store.fits.listed()) == 1


def test_results_show_themselves(fitted: scalefit.Fit, samples: scalefit.Project) -> None:
    pytest.importorskip("pandas")
    shown = [
        fitted,
        scalefit.fit("chinchilla", ladder(), by="recipe", bootstrap=0),
        scalefit.predict(fitted, params=7e9, tokens=2e12),
        scalefit.optimal(fitted, [1e22, 1e23]),
        scalefit.compare(["chinchilla", "skaling"], ladder()),
        scalefit.slope(fitted),
        samples.runs(),
    ]
    for result in shown:
        frame = result.to_frame()
        assert len(frame) == len(result.rows()) > 0
        page = result._repr_html_()
        assert page.count("<tr>") == len(frame) + 1
        assert all(f"<th>{name}</th>" in page for name in frame.columns)
    assert all('class="scalefit-card"' in result._repr_html_() for result in shown[:5])
    parameters = fitted.to_frame().set_index("parameter")
    assert parameters.loc["alpha", "value"] == fitted.values["alpha"]
    assert "<li>warning [extrapolation]" in scalefit.optimal(fitted, [1e26])._repr_html_()


def test_a_card_rounds_to_what_the_interval_supports() -> None:
    """And shows an end where the solver stopped short of zero as zero."""
    rows = [{"parameter": "E", "value": 0.8236, "low": 1.779e-12, "high": 1.0951}]
    rows += [{"parameter": "B", "value": 9e4, "low": None, "high": None}]
    rows += [{"params": 5.058e5, "params_low": 2.1e5, "params_high": 1.99e6, "step": 10157.0}]

    class Result(Shown):
        def rows(self) -> list[dict[str, Any]]:
            return rows

    page = Result()._repr_html_()
    cells = [re.findall("<td>(.*?)</td>", row) for row in page.split("<tr>")[2:]]
    assert cells[0][:4] == ["E", "0.82", "0", "1.10"]
    assert cells[1][:4] == ["B", "90000", "-", "-"]
    assert cells[2][4:] == ["506K", "210K", "1.99M", "10157"]


def test_text_of_a_result_is_no_markup() -> None:
    data = ladder() | {"recipe": ["<b>x</b>"] * 36}
    page = scalefit.fit("chinchilla", data, by="recipe", bootstrap=0)._repr_html_()
    assert "&lt;b&gt;x" in page
    assert "<b>" not in page


def test_results_draw_themselves(fitted: scalefit.Fit) -> None:
    """Axes in, axes out; a result that was pickled has no runs beside it, and is the same."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    axes = figure().subplots()
    data = ladder() | {"recipe": ["<i>a</i>", "b"] * 18}
    fits = scalefit.fit("chinchilla", data, by="recipe", bootstrap=0)
    for result in (fits, fitted, scalefit.predict(fitted, params=7e9, tokens=2e12)):
        assert result.plot(axes) is axes
    assert len(fits[0].figure().series[0].x) == len(fits[1].figure().series[0].x) == 18
    assert "<i>" not in fits._repr_html_()
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - our own
    assert again.to_document() == fitted.to_document()
    assert again.figure().series[0].mark == "band"  # no points
    with pytest.raises(scalefit.ScalefitError, match="no figure of this"):
        scalefit.slope(fitted).plot()


def test_the_verbs_have_real_signatures() -> None:
    assert set(dir(scalefit)) == set(scalefit.__all__)
    verbs = [n for n in dir(scalefit) if inspect.isfunction(getattr(scalefit, n))]
    assert {"fit", "predict", "optimal", "compare", "crossing", "equivalent", "slope"} <= set(verbs)
    assert {"curve", "schedule", "hparams"} <= set(verbs)
    for name in verbs:
        asked = inspect.signature(getattr(scalefit, name)).parameters.values()
        assert not [p for p in asked if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)], name
    for name in ("fit", "compare", "curve", "schedule"):
        asked = inspect.signature(getattr(scalefit.Project, name)).parameters.values()
        assert not [p for p in asked if p.kind == p.VAR_KEYWORD], name


def test_no_store_no_folder_and_nothing_heavy(tmp_path: Path) -> None:
    data = {n: list(v) for n, v in ladder().items() if n != "recipe"}
    code = (
        "import json, sys, scaling_cli as s\n"
        f"fitted = s.fit('chinchilla', json.loads({json.dumps(data)!r}), bootstrap=100)\n"
        "print(fitted.values['alpha'], s.optimal(fitted, 1e23).params)\n"
        "heavy = {'pandas', 'pyarrow', 'scipy', 'rich', 'typer'}\n"
        "print(heavy & {name.partition('.')[0] for name in sys.modules})\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.splitlines()
    assert float(shown[0].split()[0]) == pytest.approx(0.348, abs=0.02)
    assert shown[1] == "set()"
    assert list(tmp_path.iterdir()) == []


def test_a_consumers_project_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "consumer.py").write_text(CONSUMER)
    cache = ROOT / ".mypy_cache" / "consumer"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "consumer.py"]
    checked = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert checked.returncode == 0, checked.stdout
    (tmp_path / "consumer.py").write_text(CONSUMER.replace("alpha: float", "alpha: str"))
    checked = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "Incompatible types in assignment" in checked.stdout


def test_a_page_shows_names_from_outside_as_text() -> None:
    columns = {"params": np.geomspace(1e7, 1e9, 6), "tokens": np.geomspace(2e8, 2e10, 6)[::-1]}
    loss = 1.7 + 400 / columns["params"] ** 0.34 + 410 / columns["tokens"] ** 0.28
    recipe = ["\x1b]8;;http://x\x07<b>\u202e"] * 6
    fits = scalefit.fit(
        "chinchilla", {**columns, "loss": loss, "recipe": recipe}, by=["recipe"], bootstrap=0
    )
    shown = fits._repr_html_() if hasattr(fits, "_repr_html_") else fits[0]._repr_html_()
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "<b>" not in shown

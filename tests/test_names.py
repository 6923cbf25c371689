"""A name means one thing, whoever asks: the mapping, a filter, a group, an option, a formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_cli.errors import InputError
from scaling_cli.fitting.engine import FitOptions, fit
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.mapping import Mapping
from scaling_cli.names import OwnNames
from scaling_cli.observe import listed, observe
from scaling_cli.project import Project
from scaling_cli.records import Run, Series
from scaling_cli.resolve import finals
from scaling_cli.store import Store, open_store
from scaling_cli.table import Table

STEPS = np.array([10, 20], dtype=np.int64)


def run(key: str, metrics: dict[str, float] | None = None, **config: Any) -> Run:
    logged = {"loss": 3.0} | (metrics or {})
    series = {name: Series(STEPS, np.array([9.0, value])) for name, value in logged.items()}
    return Run(f"csv:{key}", key, f"{key}.csv", config=config, series=series)


def filled(folder: Path, *runs: Run, mapping: Mapping | None = None) -> Store:
    store = open_store(folder / "store", create=True)
    store.put(runs, finals(runs, mapping).rows, mapping)
    return store


def codes(notes: Any) -> set[str]:
    return {note.code for note in notes}


@pytest.fixture
def both(tmp_path: Path) -> Store:
    """Eight runs that log a batch of 300, and are set to one of 0 to 7."""
    runs = [run(f"r{i}", {"batch": 300.0}, batch=i) for i in range(8)]
    return filled(tmp_path, *runs, mapping=Mapping({"b2": "batch", "b3": "batch * 1"}))


@pytest.mark.parametrize("name", ["batch", "b2", "b3"])
def test_a_metric_comes_before_a_setting_for_filter_and_mapping_alike(
    both: Store, name: str
) -> None:
    assert len(observe(both, where=f"{name} > 5")) == 8
    assert len(listed(both, f"{name} > 5")) == 8
    assert observe(both).numbers(name).tolist() == [300] * 8


def test_the_setting_is_asked_for_in_full(both: Store) -> None:
    assert len(observe(both, where="config.batch > 5")) == 2
    columns = {"b2": "config.batch"}
    assert observe(both, Mapping(columns)).columns["b2"].tolist() == list(range(8))


def test_a_name_that_is_both_is_said(both: Store, tmp_path: Path) -> None:
    (note,) = observe(both, where="batch > 5").notes
    assert note.code == "ambiguous_name"
    assert "write config.batch for the setting (so in 8 runs)" in note.message
    (note,) = listed(both, "batch > 5").table.notes
    assert note.code == "ambiguous_name"
    assert not observe(both, where="config.batch > 5").notes
    mapped = finals([run("a", {"batch": 300.0}, batch=1)], Mapping({"b2": "batch"}))
    assert codes(mapped.notes) == {"ambiguous_name"}
    plain = finals([run("a", {"batch": 300.0}, batch="auto")], Mapping({"b2": "batch"}))
    assert not plain.notes


def test_a_setting_nested_otherwise_in_each_run_is_found_by_all(tmp_path: Path) -> None:
    runs = [run("a", **{"model.heads": 4}), run("b", **{"net.arch.heads": 8}), run("c", heads=6)]
    store = filled(tmp_path, *runs, mapping=Mapping({"deep": "heads", "twice": "2 * heads"}))
    rows = observe(store)
    for name in ("heads", "config.heads", "deep"):
        assert rows.numbers(name).tolist() == [4, 8, 6]
        assert observe(store, where=f"{name} > 5").run_ids == ("b", "c")
    assert rows.columns["twice"].tolist() == [8, 16, 12]
    assert [group["heads"] for group, _ in rows.groups(["heads"])] == [4, 6, 8]
    (note,) = rows.remarks(["heads"])
    assert "config.model.heads in 1 run" in note.message


def test_of_two_settings_that_end_so_none_is_taken(tmp_path: Path) -> None:
    nested = {"model.heads": 4, "head.heads": 2}
    store = filled(tmp_path, run("a", **nested), run("b", **nested))
    with pytest.raises(InputError, match=r"No run has 'heads'.*head.heads"):
        observe(store, where="heads > 1")
    assert len(observe(store, where="model.heads > 1")) == 2


def test_a_setting_without_a_value_is_no_unknown_name(tmp_path: Path) -> None:
    store = filled(tmp_path, run("a", seed=None), run("b", seed=None))
    assert observe(store).look_up("seed").tolist() == [None, None]
    assert len(listed(store, "seed == 1")) == 0


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("lr", "lr"),
        ("config.lr", "config.lr"),
        ("opt.lr", "config.opt.lr"),
        ("width", "config.model.width"),
        ("config.width", "config.model.width"),
        ("a/b", "a/b"),
        ("x", "config.config.x"),
        ("height", None),
    ],
)
def test_where_a_name_stands(name: str, origin: str | None) -> None:
    names = OwnNames({"lr", "a/b"}, {"lr": 1, "opt.lr": 2, "model.width": 3, "config.x": 4})
    place = names.place(name)
    assert (place and place.origin) == origin
    assert names.place("width", nested=False) is None


def ladder(**labels: Any) -> Table:
    random = np.random.default_rng(3)
    heads = np.tile([4.0, 8.0, 16.0, 32.0], 12)
    params = np.repeat(np.geomspace(1e7, 1e9, 12), 4)
    loss = (1.7 + 40 * params**-0.2 + 0.9 * heads**-0.8) * np.exp(
        0.001 * random.standard_normal(48)
    )
    texts = {"heads": [str(n) for n in heads.astype(int).tolist()]}
    return Table.from_columns({"params": params, "loss": loss, **texts, **labels})


def test_a_formula_reads_the_settings_of_the_runs() -> None:
    law = get_law("=E + A/params**a + C/heads**c")
    found = fit(law, ladder(), FitOptions(resamples=0))
    assert found.values["c"] == pytest.approx(0.8, abs=0.1)
    assert "heads" not in found.values
    assert "formula_reads" in codes(found.notes)
    again = type(found).from_document(found.to_document())
    at = {"params": 1e8, "heads": 8.0}
    assert again.predict(at).loss == found.predict(at).loss


def test_what_an_option_fixes_is_a_parameter_whatever_the_runs_have() -> None:
    law = get_law("=E + A/params**a + 0*heads")
    found = fit(law, ladder(), FitOptions(resamples=0, fixed={"heads": 1.0}))
    assert found.values["heads"] == 1.0


def test_a_formula_says_where_it_reads_and_knows_what_settings_end_in(tmp_path: Path) -> None:
    heads = [1 + i % 5 for i in range(12)]
    runs = [
        run(f"r{i}", {"loss": 2 + 1 / n + i / 100}, **{"net.heads": n}) for i, n in enumerate(heads)
    ]
    rows = observe(filled(tmp_path, *runs)).with_columns(tokens=np.ones(12))
    read = fit(get_law("=E + C/heads"), rows, FitOptions(resamples=0))
    (note,) = (note for note in read.notes if note.code == "formula_reads")
    assert note.message == "heads is read from the runs (config.net.heads)."
    slip = fit(get_law("=E + head/tokens**0"), rows, FitOptions(resamples=0))
    (note,) = (note for note in slip.notes if note.code == "formula_name_near")
    assert "did you mean net.heads?" in note.message


@pytest.mark.parametrize(("name", "near"), [("param", "params"), ("headz", "heads")])
def test_a_slip_of_the_pen_in_a_formula_is_questioned(name: str, near: str) -> None:
    law = get_law(f"=E + A/params**a + {name}")
    found = fit(law, ladder(), FitOptions(resamples=0))
    (note,) = (note for note in found.notes if note.code == "formula_name_near")
    assert f"did you mean {near}?" in note.message


@pytest.mark.parametrize("letter", ["A", "beta", "gamma"])
def test_parameters_of_ones_own_are_not_questioned(letter: str) -> None:
    law = get_law(f"=E + {letter}/params**a")
    assert not codes(fit(law, ladder(), FitOptions(resamples=0)).notes) & {
        "formula_name_near",
        "formula_reads",
    }


def test_a_fit_says_which_of_its_names_mean_two_things(both: Store) -> None:
    runs = [
        run(f"r{i}", {"loss": 2 + 1 / (i + 1), "images": 10.0 * (i + 1)}, images=i, recipe="x")
        for i in range(9)
    ]
    store = filled(Path(both.location).parent / "other", *runs)
    law = get_law("power_offset")
    rows = observe(store, where="images > 1")
    found = fit(law, rows, FitOptions(resamples=0, x="images"))
    assert "ambiguous_name" in codes(found.notes)
    project = Project(store.location, None)
    options = FitOptions(resamples=0, x="config.images")
    (result,) = project.fit(["power_offset"], holdout="images > 80", options=options, save=False)
    assert isinstance(result, Fit)
    assert "ambiguous_name" in codes(result.notes)

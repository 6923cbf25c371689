from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping, load_mapping
from scaling_cli.records import Run, Series
from scaling_cli.resolve import finals, resolve

CONTRACT = """
[columns]
params = "config.n_params"
tokens = "step * config.batch_size * config.seq_len"
loss   = "eval/loss"
bpb    = "`eval/loss` / 0.6931"
[run]
id     = "run_id"
group  = ["config.recipe"]
final  = "mean:3"
where  = "status != 'crashed'"
[[check]]
rule = "nan"
"""


def load(tmp_path: Path, text: str) -> Mapping:
    path = tmp_path / "scalefit.toml"
    path.write_text(text)
    return load_mapping(path)


def series(steps: list[int], values: list[float]) -> Series:
    return Series(np.array(steps, np.int64), np.array(values, np.float64))


def run(config: dict[str, Any], **metrics: Series) -> Run:
    named = {name.replace("__", "/").replace("_dot_", "."): s for name, s in metrics.items()}
    return Run("csv:a", "a", "a.csv", config=config, series=named)


def test_the_contract_is_read_whole(tmp_path: Path) -> None:
    mapping = load(tmp_path, CONTRACT)
    assert mapping.columns["loss"] == "eval/loss"
    assert (mapping.id, mapping.group, mapping.final) == ("run_id", ("config.recipe",), "mean:3")
    assert mapping.where == "status != 'crashed'"
    assert mapping.tables == {"check": [{"rule": "nan"}]}
    assert Mapping.from_json(mapping.to_json()) == mapping
    assert load_mapping(None).empty
    assert not mapping.empty


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[columns", "is not TOML"),
        ("[colums]\nloss = 'x'", r"\[colums\] is not a table.*Write \[columns\]"),
        ("columns = 3", "columns is not a table"),
        ("[columns]\nloss = ['a']", r"\[columns\] loss is not a text"),
        ("[columns]\nloss = ' '", r"\[columns\] loss is empty"),
        ("[run]\nfinl = 'last'", r"\[run\] has no setting 'finl'. Near names: final"),
        ("[run]\nfinal = 'first'", "'first' is not a point of a history.*mean:K"),
        ("[run]\nfinal = 'mean:0'", "'mean:0' is not a point"),
        ("[run]\ngroup = 3", "group is not a list of names"),
        ("[run]\nwhere = 'a ='", r"\[run\] where: Expression cannot be read"),
        ("[run]\nid = 3", "id is not a text"),
    ],
)
def test_a_faulty_mapping_is_refused_by_file_and_place(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(InputError, match=rf"(?s)scalefit\.toml.*{says}"):
        load(tmp_path, text)


def test_a_mapping_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.toml is not a mapping file"):
        load_mapping(tmp_path / "nowhere.toml")


def test_a_logged_name_is_itself_even_with_a_slash_or_a_space() -> None:
    found = run({}, eval__loss=series([1], [2.0]), **{"lm loss": series([1], [3.0])})
    for name, expected in (("eval/loss", 2.0), ("lm loss", 3.0), ("`lm loss` + 1", 4.0)):
        column = resolve(found, Mapping(columns={"loss": name})).columns["loss"]
        assert column.values.values.tolist() == [expected]
        assert column.origin == name


def test_names_are_canonical_column_then_metric_then_config() -> None:
    found = run(
        {"x": 1, "n_params": 10, "model.width": 64},
        x=series([5], [2.0]),
        loss=series([5], [3.0]),
        tokens=series([5], [7.0]),
    )
    columns = {
        "a": "x",
        "b": "config.x",
        "c": "n_params + width",
        "d": "params * tokens",
        "tokens": "tokens * 100",
    }
    got = resolve(found, Mapping(columns=columns)).columns
    assert got["a"].values.values.tolist() == [2.0]
    assert got["b"].values == 1
    assert got["c"].values == 74
    assert got["d"].values.values.tolist() == [7000.0]
    assert got["flops"].values.values.tolist() == [6 * 10 * 700.0]


def test_columns_that_refer_to_each_other_end() -> None:
    found = run({"b": 2}, loss=series([1], [1.0]))
    got = resolve(found, Mapping(columns={"a": "b + 1", "b": "a + 1"}))
    assert "a" in got.columns or "a" in got.unknown


@pytest.mark.parametrize("column", [c for c in COLUMNS.values() if c.aliases], ids=lambda c: c.name)
def test_every_alias_stands_for_its_column(column: Any) -> None:
    for alias in column.aliases:
        if column.name != "step":
            metric = resolve(run({}, **{alias: series([1], [9.0])})).columns[column.name]
            assert (metric.origin, metric.values.values.tolist()) == (alias, [9.0])
        config = resolve(run({alias: 8})).columns[column.name]
        assert (config.origin, config.values) == (f"config.{alias}", 8)


def test_the_own_name_comes_first_and_a_logged_metric_before_a_setting() -> None:
    found = run({"tokens": 5e9}, tokens_seen=series([1], [3.0]), train__loss=series([1], [2.0]))
    assert resolve(found).origins["tokens"] == "tokens_seen"
    both = run({}, train__loss=series([1], [2.0]), val__loss=series([1], [2.5]))
    assert resolve(both).origins["loss"] == "val/loss"


def test_a_nested_setting_counts_where_it_is_the_only_one() -> None:
    assert resolve(run({"model.n_params": 7})).origins["params"] == "config.model.n_params"
    two = run({"model.n_params": 7, "draft.n_params": 3})
    assert "params" not in resolve(two).columns
    assert "tokens" not in resolve(run({"data.tokens": 7, "n_params": 3})).columns


def test_params_are_never_guessed_from_the_shape() -> None:
    assert "params" not in resolve(run({"d_model": 512, "n_layers": 8, "vocab_size": 5})).columns


@pytest.mark.parametrize(
    ("config", "origin", "tokens"),
    [
        ({"batch_tokens": 64}, "step * config.batch_tokens", 640),
        ({"tokens_per_step": 64}, "step * config.tokens_per_step", 640),
        ({"batch_size": 4, "seq_len": 8}, "step * config.batch_size * config.seq_len", 320),
        (
            {"global_train_batch_size": 4, "max_sequence_length": 8, "batch_size": 1},
            "step * config.global_train_batch_size * config.max_sequence_length",
            320,
        ),
        (
            {"train_batch_size": 2, "seq_len": 8},
            "step * config.train_batch_size * config.seq_len",
            160,
        ),
    ],
)
def test_tokens_follow_from_the_step_and_the_batch(
    config: dict[str, Any], origin: str, tokens: float
) -> None:
    got = finals([run(config | {"n_params": 2}, loss=series([1, 10], [3.0, 2.0]))])
    assert got.rows[0].mapped["tokens"] == origin
    assert got.rows[0].values["tokens"] == tokens
    assert got.rows[0].values["flops"] == 12 * tokens
    assert got.rows[0].mapped["flops"] == "6 * params * tokens"


def test_a_batch_that_may_be_a_part_is_said() -> None:
    config = {"batch_size": 4, "seq_len": 8, "gradient_accumulation_steps": 16}
    (note,) = finals([run(config, loss=series([1], [3.0]))]).notes
    assert note.code == "tokens_batch_unclear"
    assert "gradient_accumulation_steps" in note.message


def test_a_count_that_wrapped_around_is_not_believed_anywhere_in_its_file() -> None:
    one = Run(
        "csv:1", "1", "t.csv", config={"params": 1e9, "tokens": 1e10, "flops": -4e18, "loss": 2}
    )
    two = Run(
        "csv:2", "2", "t.csv", config={"params": 1e9, "tokens": 2e10, "flops": 5e18, "loss": 2}
    )
    other = Run(
        "csv:3", "3", "u.csv", config={"params": 1e9, "tokens": 2e10, "flops": 5e18, "loss": 2}
    )
    got = finals([one, two, other])
    assert [row.values["flops"] for row in got.rows] == [6e19, 1.2e20, 5e18]
    assert [note.code for note in got.notes] == ["negative_flops"]


def test_an_expression_is_taken_at_the_steps_of_its_sparsest_series() -> None:
    found = run(
        {},
        train__loss=series([1, 2, 3, 4], [4.0, 3.0, 2.0, 1.0]),
        val__loss=series([2, 4], [3.5, 1.5]),
    )
    gap = resolve(found, Mapping(columns={"gap": "`val/loss` - `train/loss`"})).columns["gap"]
    assert gap.values.steps.tolist() == [2, 4]
    assert gap.values.values.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("rule", "step", "loss"), [("last", 40, 2.5), ("min", 20, 2.0), ("mean:2", 40, 2.75)]
)
def test_the_final_point_is_by_the_rule(rule: str, step: int, loss: float) -> None:
    found = run(
        {"n_params": 100},
        val__loss=series([10, 20, 30, 40], [4.0, 2.0, 3.0, 2.5]),
        lr=series([5, 25, 45], [0.3, 0.2, 0.1]),
        tokens=series([10, 30, 50], [100.0, 300.0, 500.0]),
    )
    values = finals([found], Mapping(final=rule)).rows[0].values
    assert values["loss"] == loss
    assert values["step"] == step
    assert values["tokens"] == 10 * step  # between two logged points, in proportion to the step
    assert values["lr"] == {20: 0.3, 40: 0.2}[step]  # the last one known
    assert values["steps"] == 50


def test_a_mapped_name_that_no_run_has_is_an_error_with_the_near_names() -> None:
    runs = [run({"n_params": 1}, val__loss=series([1], [1.0]))]
    mapping = Mapping(columns={"loss": "eval/loss"}, path="scalefit.toml")
    message = (
        r'scalefit\.toml: \[columns\] loss = "eval/loss": no run has \'eval/loss\'\.'
        r" Near names: val/loss"
    )
    with pytest.raises(InputError, match=message):
        finals(runs, mapping)
    with pytest.raises(InputError, match=r"no run has 'n_parms'\. Near names:.*n_params"):
        finals(runs, Mapping(columns={"params": "n_parms * 2"}))
    with pytest.raises(InputError, match=r"`val/loss` in backticks"):
        finals(runs, Mapping(columns={"bpb": "val/loss / 0.69"}))
    with pytest.raises(InputError, match=r"no logged name and no expression"):
        finals(runs, Mapping(columns={"bpb": "(val"}))


def test_a_mapped_name_that_some_runs_lack_is_a_note() -> None:
    has, lacks = run({}, val__loss=series([1], [1.0])), run({}, loss=series([1], [1.0]))
    got = finals([has, lacks], Mapping(columns={"loss": "val/loss"}))
    assert [note.code for note in got.notes] == ["mapped_name_missing"]
    assert "loss" not in got.rows[1].values


def test_a_text_is_no_column() -> None:
    with pytest.raises(InputError, match=r"\[columns\] kind = \"recipe\" is the text 'a'"):
        finals([run({"recipe": "a", "loss": 1})], Mapping(columns={"kind": "recipe"}))


def test_runs_without_any_loss_are_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(InputError, match=r"a\.csv: no run has a loss.*config\.oddity.*\[columns\]"):
        finals([run({"params": 1, "oddity": 0.5})])


def test_the_step_goes_by_its_name_in_the_source_too() -> None:
    found = run({"batch": 4}, loss=series([10, 20], [3.0, 2.0]))
    for name in ("step", "global_step", "k"):
        mapping = Mapping(columns={"step": name, "tokens": f"{name} * batch"})
        assert finals([found], mapping).rows[0].values["tokens"] == 80


def test_a_loss_from_different_names_is_said() -> None:
    got = finals([run({}, val__loss=series([1], [1.0])), run({}, train__loss=series([1], [1.0]))])
    assert [note.code for note in got.notes] == ["mixed_origins"]
    assert got.mapped["loss"] == {"val/loss": 1, "train/loss": 1}


def test_text_that_is_meant_as_a_number_is_said() -> None:
    """A lone comma, a percentage; a loss named by words is no such text."""
    for text, value in (("61,234,567", 61234567.0), ("61.2M", 61.2e6), ("1.05B", 1.05e9)):
        found = resolve(run({"params": text, "loss": 3.0}))
        assert found.columns["params"].at([0]).tolist() == [value]
    told = {}
    for text in ("61,234", "3,41", "28.3%"):
        found = resolve(run({"params": text, "loss": 3.0}))
        assert "params" not in found.columns
        told |= {note.code: note.message for note in found.notes}
        assert repr(text) in told["params_no_number"]
    assert resolve(run({"loss": "cross_entropy", "val_loss": 3.0})).notes == ()
    with pytest.raises(InputError, match=r"a\.csv: config\.loss is the text '3,41'"):
        finals([run({"loss": "3,41"})])


@pytest.mark.parametrize(
    ("name", "near"), [("parms", "params"), ("token", "tokens"), ("los", "loss")]
)
def test_a_column_that_looks_like_a_canonical_one_is_questioned(name: str, near: str) -> None:
    runs = [run({"n": 5, "loss": 3.0})]
    (note,) = finals(runs, Mapping({name: "n"})).notes
    assert (note.code, note.severity) == ("column_name_near", "warning")
    assert f"[columns] {name} is a column of your own; did you mean {near}?" in note.message


@pytest.mark.parametrize("name", ["bpb", "loss_c4", "params2", "mixture.web", "depth", "heads"])
def test_a_column_of_ones_own_is_not_questioned(name: str) -> None:
    assert finals([run({"n": 5e6, "loss": 3.0})], Mapping({name: "n"})).notes == ()
    both = Mapping({"parms": "n", "params": "n"})
    assert finals([run({"n": 5e6, "loss": 3.0})], both).notes == ()

"""Small logs as strangers bring them: what a careless user would believe is right, or said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.ending import ENDED, PLANNED
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.resolve import Finals, finals

STEPS = range(100, 2001, 100)


def table(header: str, line: str) -> str:
    """A CSV with a line for each step; `{s}` is the step, `{t}` its tokens, `{loss}` falls."""
    rows = (line.format(s=s, t=500_000 * s, loss=round(5 - s / 1000, 4)) for s in STEPS)
    return "\n".join([header, *rows]) + "\n"


def lines(**more: Any) -> str:
    rows = ({"step": s, "tokens": 500_000 * s, "val_loss": 5 - s / 1000} | more for s in STEPS)
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(tmp_path: Path, files: dict[str, str | bytes]) -> tuple[Finals, dict[str, str]]:
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    done = read_sources(tmp_path)
    found = finals(done.runs)
    return found, {note.code: note.message for note in (*done.notes, *found.notes)}


def test_a_step_with_thousands_parted_is_the_step_of_one_run(tmp_path: Path) -> None:
    text = table("step;loss;tokens", "{s:,};{loss};{t:,}")
    found, _ = read(tmp_path, {"run.csv": text})
    (row,) = found.rows
    assert (row.values["steps"], row.values["tokens"]) == (2000, 1e9)


def test_times_that_pass_are_points_of_one_run(tmp_path: Path) -> None:
    found, notes = read(tmp_path, {"run.csv": table("time_s,val_loss", "{s}.5,{loss}")})
    assert len(found.rows) == 1
    assert "numbered by time_s" in notes["no_step_column"]


def test_train_and_eval_files_of_a_folder_are_one_run(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {}
    for run in ("a", "b"):
        files[f"{run}/train.csv"] = table("step,loss,tokens", "{s},{loss},{t}")
        files[f"{run}/eval.csv"] = table("step,loss,tokens", "{s},1{loss},{t}")
    found, notes = read(tmp_path, files)
    assert [row.mapped["loss"] for row in found.rows] == ["eval/loss"] * 2
    assert [row.values["loss"] for row in found.rows] == [13.0] * 2
    assert [row.values["tokens"] for row in found.rows] == [1e9] * 2  # equal in both, so it is one
    assert "eval.csv and train.csv are read as one run" in notes["files_joined"]


@pytest.mark.parametrize(
    ("measure", "given"), [("eval_perplexity", "log(eval_perplexity)"), ("val_bpb", "val_bpb")]
)
def test_a_held_out_measure_beside_a_training_loss_is_said(
    tmp_path: Path, measure: str, given: str
) -> None:
    text = table(f"step,tokens,{measure},train_loss", "{s},{t},9,{loss}")
    found, notes = read(tmp_path, {"run.csv": text})
    assert found.rows[0].mapped["loss"] == "train_loss"
    assert f'[columns] loss = "{given}"' in notes["loss_of_training"]


def test_a_perplexity_alone_is_no_loss_and_how_it_serves_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, {"run.csv": table("step,tokens,val_ppl", "{s},{t},9")})
    assert '[columns] loss = "log(val_ppl)"' in caught.value.mend


def test_tokens_that_begin_again_are_none(tmp_path: Path) -> None:
    rows = [f"{s},{(s % 800) * 500_000},{5 - s / 1000}" for s in STEPS]
    found, notes = read(tmp_path, {"run.csv": "\n".join(["step,tokens,val_loss", *rows])})
    assert "tokens" not in found.rows[0].values
    assert "tokens begins again within the run" in notes["not_rising"]


def test_a_plan_that_each_line_repeats_tells_that_a_run_goes_on(tmp_path: Path) -> None:
    found, _ = read(tmp_path, {"run.jsonl": lines(max_steps=4000)})
    values = found.rows[0].values
    assert (values[PLANNED], values[ENDED]) == (4000, 0)


def test_params_without_embeddings_are_kept_beside_the_total(tmp_path: Path) -> None:
    config = {"num_parameters": 1.3e8, "num_non_embedding_parameters": 9e7}
    text = json.dumps({"config": config}) + "\n" + lines()
    found, notes = read(tmp_path, {"run.jsonl": text})
    values = found.rows[0].values
    assert (values["params"], values["params_non_embedding"]) == (1.3e8, 9e7)
    assert "N is config.num_parameters" in notes["params_chosen"]


@pytest.mark.parametrize(
    ("config", "code", "offered"),
    [
        ({"params_M": 30}, "params_offered", "config.params_M * 1e6"),
        ({"model size (B)": 0.03}, "params_offered", "`config.model size (B)` * 1e9"),
        ({"non_embedding_params": 3e7}, "params_offered", "config.non_embedding_params"),
        (
            {"n_layer": 6, "n_embd": 512},
            "params_offered",
            "12 * config.n_layer * config.n_embd**2",
        ),
        ({"tokens (B)": 0.6}, "tokens_offered", "`config.tokens (B)` * 1e9"),
    ],
)
def test_what_may_be_a_missing_count_is_offered_and_works(
    tmp_path: Path, config: dict[str, float], code: str, offered: str
) -> None:
    rows = [{"step": s, "val_loss": 5 - s / 1000} for s in STEPS]
    text = "".join(json.dumps(row) + "\n" for row in [{"config": config}, *rows])
    found, notes = read(tmp_path, {"run.jsonl": text})
    column = code.removesuffix("_offered")
    assert column not in found.rows[0].values
    assert f'[columns] {column} = "{offered}"' in notes[code]
    runs = read_sources(tmp_path).runs
    assert column in finals(runs, Mapping(columns={column: offered})).rows[0].values


def test_utf_16_among_the_files_of_a_folder_is_named(tmp_path: Path) -> None:
    _, notes = read(tmp_path, {"run.jsonl": lines(), "other.jsonl": lines().encode("utf-16")})
    assert "other.jsonl is UTF-16 text: save it as UTF-8" in notes["files_not_known"]


@pytest.mark.parametrize(
    ("text", "number"), [("1048.58M", 1048580000), ("1.05B", 1050000000), ("331.48M", 331480000)]
)
def test_a_unit_gives_the_printed_digits(tmp_path: Path, text: str, number: int) -> None:
    rows = f"step,tokens,val_loss\n1,1M,3\n2,{text},2\n"
    found, _ = read(tmp_path, {"run.csv": rows})
    assert found.rows[0].values["tokens"] == number


ROWS = [{"step": s, "tokens": 500_000 * s, "val_loss": 5 - s / 1000} for s in STEPS]
COLUMNS = {key: [row[key] for row in ROWS] for key in ROWS[0]}


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("rows.json", [{key: str(value) for key, value in row.items()} for row in ROWS]),
        ("columns.json", {"n_params": 3e7, **COLUMNS}),
        ("history.json", {"config": {"n_params": 3e7}, "log": ROWS}),
        ("listed.json", [{"name": "a", "config": {"n_params": 3e7}, "log": ROWS}]),
        ("runs.json", {"runs": [{"id": 1, "n_params": 3e7, **COLUMNS}]}),
        ("by_run.json", {"a": {"n_params": 3e7, "log": ROWS}}),
        ("result.json", {"n_params": 3e7, "tokens": 1e9, "val_loss": 3.0, "config": {"lr": 1}}),
    ],
)
def test_json_of_any_shape_is_read(tmp_path: Path, name: str, document: Any) -> None:
    other = {"vocab_size": 32000, "hidden_size": 512, "eval_loss": 3.1, "total_flos": 1e18}
    files: dict[str, str | bytes] = {
        name: json.dumps(document, indent=1),
        "c.json": json.dumps(other),
    }
    (row,) = read(tmp_path, files)[0].rows
    assert row.values["loss"] == 3
    assert row.values.get("tokens", row.summary.get("tokens", 1e9)) == 1e9


def test_what_tensorboards_page_saves_is_a_run(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {}
    for tag in ("val_loss", "train_loss"):
        files[f"run-n30m-tag-{tag}.csv"] = table(
            "Wall time,Step,Value", "1764337000.{s},{s},{loss}"
        )
    points = [[1764337000.5 + s, s, 5 - s / 1000] for s in STEPS]
    files["sub/run-n60m-tag-eval_loss.json"] = json.dumps(points)
    found, _ = read(tmp_path, files)
    assert [(row.mapped["loss"], row.values["steps"]) for row in found.rows] == [
        ("val_loss", 2000),
        ("eval_loss", 2000),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.txt", "# 30M, seed 0\n" + table("step,loss,tokens", "{s},{loss},{t}")),
        ("log.dat", table("step loss tokens", " {s}   {loss}  {t}")),
        (
            "turned.csv",
            "step,tokens,loss\n100,5,4.9\n# restarted\nstep,loss,tokens\n"
            + table("", "{s},{loss},{t}").lstrip("\n"),
        ),
        ("log.csv", "step,loss\n100,4.9\n200,4.8\n" + table("step,loss,tokens", "{s},{loss},{t}")),
    ],
)
def test_tables_as_they_are_kept(tmp_path: Path, name: str, text: str) -> None:
    found, notes = read(tmp_path, {name: text})
    assert [(row.values["steps"], row.values["tokens"]) for row in found.rows] == [(2000, 1e9)]
    assert ("remarks_left_out" in notes) == ("# restarted" in text)


@pytest.mark.parametrize(
    "line",
    [
        "INFO [train.py:8] Epoch 1, batch {s}, loss[loss={loss}, over 4.0 frames.], lr: 1",
        "Train: 0 [{s}/2000 (  5%)]  Loss: {loss} ({loss})  Time: 0.3s, 30/s  LR: 1.0e-03",
    ],
)
def test_lines_with_commas_are_no_table(tmp_path: Path, line: str) -> None:
    text = "".join(line.format(s=s, loss=5 - s / 1000) + "\n" for s in STEPS)
    found, _ = read(tmp_path, {"out.txt": text})
    assert [(row.values["steps"], row.values["loss"]) for row in found.rows] == [(2000, 3.0)]


def test_what_lingua_logs_in_two_files_is_one_run(tmp_path: Path) -> None:
    """facebookresearch/lingua writes metrics.jsonl and metrics.eval.jsonl into one folder."""
    train = [{"global_step": s, "optim/total_tokens": s * 500, "loss/out": 5.0} for s in STEPS]
    judged = [
        {"global_step": s, "validation": {"c4": {"nll_per_token": 4.0}}} for s in (1000, 2000)
    ]
    files: dict[str, str | bytes] = {
        f"dump/{name}.jsonl": "".join(json.dumps(row) + "\n" for row in rows)
        for name, rows in (("metrics", train), ("metrics.eval", judged))
    }
    (row,) = read(tmp_path, files)[0].rows
    assert (row.values["tokens"], row.values["loss"]) == (1e6, 4.0)


def test_the_settings_beside_a_run_that_is_alone_are_its_own(tmp_path: Path) -> None:
    settings = {"n_params": 3e7, "train": {"global_batch_size": 250, "seq_len": 2000}}
    yaml = "n_params: 6.0e+7\ntrain:\n  global_batch_size: 250\n  seq_len: 2000\n"
    log = table("step,val_loss", "{s},{loss}")
    found, notes = read(
        tmp_path,
        {"a/config.json": json.dumps(settings), "a/metrics.csv": log, "b/metrics.csv": log,
         "b/hparams.yaml": yaml, "two/x.csv": log, "two/y.csv": log, "two/config.yaml": yaml},
    )  # fmt: skip
    told = [(row.values.get("params"), row.values.get("tokens")) for row in found.rows]
    assert told == [(3e7, 1e9), (6e7, 1e9), (None, None), (None, None)]
    assert notes["settings_beside"].endswith("and 1 more are those of the run beside it")


def test_results_in_one_document_are_a_run_each_by_name(tmp_path: Path) -> None:
    runs = [
        {"name": f"n{n}", "config": {"n_params": n * 1e6}, "metrics": {"val_loss": 9 / n}}
        for n in (3, 6, 9)
    ]
    for name, document in (("a.json", {"runs": runs}), ("b.json", runs)):
        found, _ = read(tmp_path / name, {name: json.dumps(document)})
        assert [row.values["params"] for row in found.rows] == [3e6, 6e6, 9e6]
        ids = [run.run_id for run in read_sources(tmp_path / name).runs]
        assert ids == ["n3", "n6", "n9"]


def test_dots_that_part_thousands_are_named(tmp_path: Path) -> None:
    text = "step;tokens;loss\n" + "".join(f"{s};{s}.000.000;{9 / s}\n" for s in STEPS)
    _, notes = read(tmp_path, {"run.csv": text})
    assert "dots that part thousands are not read: write" in notes["decimal_comma"]


@pytest.mark.parametrize(
    ("name", "help"), [("runs.xlsx", "save its sheet as CSV"), ("runs.zip", "unpack it")]
)
def test_what_would_help_with_a_file_is_said(tmp_path: Path, name: str, help: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(99))
    with pytest.raises(InputError, match=help):
        read_sources(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.log"])
def test_an_id_that_nothing_has_is_said(tmp_path: Path, name: str) -> None:
    texts = {
        "a.jsonl": lines(),
        "a.csv": table("step,val_loss", "{s},{loss}"),
        "a.log": "".join(f"step {s}: train loss 5, val loss {9 / s}\n" for s in STEPS),
    }
    (tmp_path / name).write_text(texts[name])
    done = read_sources(tmp_path, Mapping(id="experiment_nr"))
    (said,) = (note.message for note in done.notes if note.code == "no_id_column")
    assert "'experiment_nr'" in said


BOX = "| loss{pad} | {loss:<8.3g} |\n| step{pad} | {s:<8} |\n| grad_norm | 0.5      |\n"
RULE = "-" * 30 + "\n"


@pytest.mark.parametrize(
    ("line", "loss", "last"),
    [
        # openai/baselines logger.py, HumanOutputFormat
        (RULE + BOX.replace("{pad}", "     ") + RULE, "loss", 2000),
        # DLR-RM/stable-baselines3 common/logger.py
        (RULE + "| train/    |       |\n|    loss   | {loss:.4f} |\n| step | {s} |\n" + RULE,
         "train/loss", 2000),
        # pytorch/examples mnist/main.py
        ("Train Epoch: 1 [{s}/60000 (1%)]\tLoss: {loss:.6f}\n", "Loss", 2000),
        # pytorch/examples imagenet/main.py
        ("Epoch: [0][ {s}/5005]\tTime  0.5 ( 0.6)\tLoss {loss:.4e} (7.0e+00)\n", "Loss", 2000),
    ],
)  # fmt: skip
def test_boxes_and_epochs_of_steps_are_read(
    tmp_path: Path, line: str, loss: str, last: int
) -> None:
    text = "".join(line.format(s=s, loss=5 - s / 1000) for s in STEPS)
    found, _ = read(tmp_path, {"run.txt": text})
    (row,) = found.rows
    assert (row.mapped["loss"], row.values["steps"]) == (loss, last)
    assert row.values["loss"] == pytest.approx(3, abs=0.01)
    assert "tokens" not in row.values


@pytest.mark.parametrize(
    ("line", "loss"),
    [
        (">>> validation: loss = {held}, ppl = 50.1", "val/loss"),
        ("eval | loss {held} | ppl 33.1", "val/loss"),
        ("Evaluation results: {{'eval_loss': {held}, 'eval_ppl': 44.1}}", "eval_loss"),
        ("*** Eval loss at step {s}: {held} ***", "val_loss"),
        ("[rank0] validation set loss is {held}", "val_loss"),
    ],
)
def test_a_held_out_loss_between_the_steps_is_read(tmp_path: Path, line: str, loss: str) -> None:
    train = "Step {s} - train loss {loss}\n"
    rows = [train.format(s=s, loss=5 - s / 1e3) + line.format(s=s, held=s / 1e3) for s in STEPS]
    found, _ = read(tmp_path, {"run.log": "\n".join(rows) + "\n"})
    assert (found.rows[0].mapped["loss"], found.rows[0].values["loss"]) == (loss, 2.0)


def test_what_may_be_a_held_out_loss_is_said(tmp_path: Path) -> None:
    rows = [f"step {s} | loss {5 - s / 1000}\nval: {s / 1e3:.4f}" for s in STEPS]
    _, notes = read(tmp_path, {"run.log": "\n".join(rows) + "\n"})
    assert "'val: 0.1000'" in notes["held_out_unread"]


def test_decimal_commas_of_a_console_are_named(tmp_path: Path) -> None:
    text = "".join(f"step {s} loss 3,{s:04}1 lr 0,001\n" for s in STEPS)
    with pytest.raises(InputError, match="decimal commas are not read"):
        read(tmp_path, {"run.log": text})


def test_decimal_commas_of_a_column_that_is_mapped_are_named(tmp_path: Path) -> None:
    text = "Lauf;Parameter;Verlust\na;50000000;3,8092\nb;100000000;3,6115\n"
    (tmp_path / "runs.csv").write_text(text)
    runs = read_sources(tmp_path / "runs.csv").runs
    with pytest.raises(InputError) as raised:
        finals(runs, Mapping(columns={"loss": "config.Verlust"}))
    assert "write 3.8092" in raised.value.mend


@pytest.mark.parametrize(
    "line",
    [
        "step {s} loss {loss} tokens {m:.4f}M lr 3e-4",
        "step {s}: loss {loss}, {m:.4f}M tokens seen, 51.2K tokens/s",
        "step {s} | loss {loss} | lr 3.0e-4 | {m:.4f} million tokens",
    ],
)
def test_tokens_and_rates_need_no_colon(tmp_path: Path, line: str) -> None:
    text = "".join(line.format(s=s, loss=5 - s / 1e3, m=s / 2) + "\n" for s in STEPS)
    found, _ = read(tmp_path, {"run.log": text})
    assert (found.rows[0].values["tokens"], found.rows[0].values["loss"]) == (1e9, 3.0)
    assert ("lr" in line) == ("lr" in found.rows[0].values)


@pytest.mark.parametrize("rate", ["lr-AdamW", "lr-DecoupledAdamW/group0", "train/lr-Adam/pg1"])
def test_the_rate_of_an_optimiser_is_the_rate(tmp_path: Path, rate: str) -> None:
    # Lightning's LearningRateMonitor; mosaicml/composer composer/callbacks/lr_monitor.py
    text = table(f"step,time/token,metrics/eval/LanguageCrossEntropy,{rate}", "{s},{t},{loss},1e-3")
    found, _ = read(tmp_path, {"metrics.csv": text})
    values = found.rows[0].values
    assert (values["lr"], values["tokens"], values["loss"]) == (1e-3, 1e9, 3.0)


def test_what_axolotl_writes_is_read_or_asked_for(tmp_path: Path) -> None:
    # axolotl src/axolotl/core/trainers/base.py: its numbers are texts
    history = [
        {
            "loss": f"{5 - s / 1e3:.4f}", "grad_norm": "12.79", "learning_rate": "0.0002",
            "ppl": "2.046", "memory/max_active (GiB)": "2.98", "tokens/trainable": 400_000 * s,
            "tokens/total": 500_000 * s, "epoch": f"{s / 2000:.4g}", "step": s,
        }
        for s in STEPS
    ]  # fmt: skip
    history.append({"eval_loss": "3.05", "eval_runtime": "2.1", "epoch": "1", "step": 2000})
    state = {"global_step": 2000, "max_steps": 2000, "log_history": history, "total_flos": 0}
    printed = "".join(
        str({key: value for key, value in row.items() if key != "step"}) + "\n" for row in history
    )
    settings = "base_model: NousResearch/Llama-3.2-1B\nsequence_len: 2048\nmicro_batch_size: 2\n"
    found, notes = read(
        tmp_path / "a",
        {"config.yml": settings, "out/checkpoint-2000/trainer_state.json": json.dumps(state)},
    )
    values = found.rows[0].values
    assert (values["loss"], values["steps"], values["tokens"]) == (3.05, 2000, 1e9)
    assert "params" not in values  # no file of it says them
    assert "also logged: tokens/trainable" in notes["tokens_chosen"]
    found, notes = read(tmp_path / "b", {"train.log": printed})
    assert (found.rows[0].values["loss"], found.rows[0].values["tokens"]) == (3.05, 1e9)
    assert "rows are counted" in notes["step_counts_rows"]


def test_a_name_of_one_letter_is_no_unit_of_the_number_before_it(tmp_path: Path) -> None:
    text = "".join(f"@{s} L={5 - s / 1e3:.4f} T={500_000 * s} M=3.5 B=1 G=2\n" for s in STEPS)
    (tmp_path / "x.log").write_text(text)
    line = "@{step} L={val_loss} T={tokens} M={memory} B={batch} G={groups}"
    (run,) = read_sources(tmp_path, Mapping(console=(line,))).runs
    last = {name: series.values[-1] for name, series in run.series.items()}
    assert last == {"val_loss": 3.0, "tokens": 1e9, "memory": 3.5, "batch": 1, "groups": 2}


def test_events_of_training_and_validation_are_one_run(tmp_path: Path) -> None:
    rows = [
        {"event": event, "step": s, "loss": value}
        for s in STEPS
        for event, value in (("train_step", 5 - s / 1e3), ("validation_step", 6 - s / 1e3))
    ]
    found, _ = read(tmp_path, {"r.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    assert [row.values["loss"] for row in found.rows] == [4.0]


def test_documents_that_name_their_runs_alike_hold_runs_of_their_own(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"{recipe}.json": json.dumps(
            {name: {"n_params": size, "tokens": 2e8, "val_loss": loss} for name, size in SIZES}
        )
        for recipe, loss in (("cosine", 4.0), ("wsd", 4.1))
    }
    read(tmp_path, files)
    ids = [run.run_id for run in read_sources(tmp_path).runs]
    assert ids == ["cosine/large", "cosine/small", "wsd/large", "wsd/small"]


SIZES = (("small", 1e7), ("large", 1e8))


@pytest.mark.parametrize("called", ["loss_seed{}", "val_loss (seed {})", "eval_loss_s{}"])
def test_a_loss_for_each_seed_is_offered_as_their_mean(tmp_path: Path, called: str) -> None:
    header = ",".join(["params", "tokens", *(called.format(seed) for seed in (1, 2, 42))])
    rows = "1e7,2e8,4.1,4.2,4.3\n1e8,2e9,3.1,3.2,3.3\n"
    with pytest.raises(InputError, match="no run has a loss") as refused:
        read(tmp_path, {"sweep.csv": f"{header}\n{rows}"})
    offered = str(refused.value).split('loss = "')[1].split('"')[0]
    runs = read_sources(tmp_path).runs
    losses = [row.values["loss"] for row in finals(runs, Mapping(columns={"loss": offered})).rows]
    assert losses == pytest.approx([4.2, 3.2])


def test_a_step_that_no_run_has_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("".join(f'{{"update": {s}, "loss": {9 / s}}}\n' for s in STEPS))
    asked = Mapping(columns={"step": "iters"})
    runs = read_sources(path, asked).runs
    with pytest.raises(InputError, match=r"no run has 'iters'.* The step is called update there"):
        finals(runs, asked)
    right = Mapping(columns={"step": "update"})
    (row,) = finals(read_sources(path, right).runs, right).rows
    assert row.values["step"] == 2000


def test_a_line_of_the_mapping_without_a_step_is_an_error(tmp_path: Path) -> None:
    read(tmp_path, {"run.jsonl": lines()})
    with pytest.raises(InputError, match=r"names no \{step\}"):
        read_sources(tmp_path, Mapping(console=("step {stp} loss {loss}",)))


@pytest.mark.parametrize(
    "line",
    [
        # young-geng/EasyLM: a dict behind what the logger prints
        "I1128 10:00:00.123 140 train.py:210] {{'step': {s}, 'train/loss': {loss}, 'lr': 3e-4}}",
        # zihangdai/xlnet train_gpu.py, by absl
        "I1128 10:00:00.1 140 train_gpu.py:303] [{s}] | gnorm 0.25 lr 0.0003 | train/loss {loss}",
        # karpathy/minGPT projects/chargpt
        "iter_dt 7797.46ms; iter {s}: train loss {loss}",
    ],
)
def test_a_loss_in_any_quotes_or_place_is_read(tmp_path: Path, line: str) -> None:
    text = "".join(line.format(s=s, loss=5 - s / 1000) + "\n" for s in STEPS)
    (row,) = read(tmp_path, {"run.log": text})[0].rows
    assert row.values["steps"] == 2000
    assert row.values["loss"] == 3.0


def test_a_unit_in_brackets_is_no_name(tmp_path: Path) -> None:
    text = "".join(f"steps: {s} loss: {9 / s} iter time (s): 0.5 samples/sec: 9.1\n" for s in STEPS)
    read(tmp_path, {"ds.log": text})  # as deepspeed/runtime/pipe/engine.py prints
    (run,) = read_sources(tmp_path).runs
    assert sorted(run.series) == ["loss", "samples/sec"]


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_results_of_models_that_are_named_by_size_are_runs(tmp_path: Path, suffix: str) -> None:
    rows = [("30M", "600M", 4.0), ("60M", "1.2B", 3.6), ("120M", "2.4B", 3.3)]
    keys = ("model", "tokens", "val_loss")
    text = json.dumps([dict(zip(keys, row, strict=True)) for row in rows])
    if suffix == "csv":
        text = "\n".join(",".join(map(str, row)) for row in (keys, *rows))
    found, _ = read(tmp_path, {f"results.{suffix}": text})
    told = [(row.values["tokens"], row.values["loss"]) for row in found.rows]
    assert told == [(6e8, 4.0), (1.2e9, 3.6), (2.4e9, 3.3)]


@pytest.mark.parametrize("names", [("metrics.jsonl", "metrics_1.jsonl"), ("a.csv", "a-2.csv")])
def test_the_log_of_a_resumed_job_goes_on_in_a_numbered_file(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    def written(name: str, steps: range) -> str:
        if name.endswith("csv"):
            return "step,loss\n" + "".join(f"{s},{5 - s / 1000}\n" for s in steps)
        return "".join(f'{{"step": {s}, "loss": {5 - s / 1000}}}\n' for s in steps)

    parts = (range(100, 1201, 100), range(1000, 2001, 100))
    files: dict[str, str | bytes] = {
        f"run/{name}": written(name, steps) for name, steps in zip(names, parts, strict=True)
    }
    _, notes = read(tmp_path, files)
    (run,) = read_sources(tmp_path).runs
    assert run.series["loss"].steps.tolist() == list(STEPS)
    assert "read as the sessions of one run" in notes["files_joined"]


def test_what_sacred_observes_is_a_run_with_its_settings(tmp_path: Path) -> None:
    # IDSIA/sacred sacred/observers/file_storage.py
    held = {"steps": [*STEPS], "timestamps": ["t"] * 20, "values": [5 - s / 1000 for s in STEPS]}
    judged = {"steps": [1000, 2000], "timestamps": ["t", "t"], "values": [4.1, 3.1]}
    metrics = {"training.loss": held, "val.loss": judged}
    settings = json.dumps({"n_params": 30000000, "seed": 1})
    found, _ = read(tmp_path, {"1/metrics.json": json.dumps(metrics), "1/config.json": settings})
    (row,) = found.rows
    assert (row.values["steps"], row.values["loss"], row.values["params"]) == (2000, 3.1, 3e7)


@pytest.mark.parametrize("other", [1 / 100, 8])
def test_a_count_that_is_not_the_step_is_said(tmp_path: Path, other: float) -> None:
    rows = "".join(f"{s * other:.0f},{s},{5 - s / 1000}\n" for s in STEPS)
    found, notes = read(tmp_path, {"metrics.csv": "step,optimizer_step,loss\n" + rows})
    assert found.rows[0].values["step"] == 2000
    assert f"step, up to {2000 * other:,.0f}, is another count" in notes["own_step"]


@pytest.mark.parametrize("called", ["checkpoint", "ckpt"])
def test_the_checkpoints_of_a_run_are_its_points(tmp_path: Path, called: str) -> None:
    one = table(f"{called},params,tokens,loss", "step{s},30000000,{t},{loss}")
    (row,) = read(tmp_path / "one", {"evals.csv": one})[0].rows
    assert (row.values["step"], row.values["tokens"], row.values["loss"]) == (2000, 1e9, 3.0)
    other = table("", "step{s},60000000,{t},{loss}").lstrip()
    found, notes = read(tmp_path / "two", {"evals.csv": one + other})
    assert [row.values["params"] for row in found.rows] == [3e7, 6e7]
    assert f"the number in {called} (step2000)" in notes["step_by_order"]
    ends = "model,checkpoint,params,tokens,loss\na,step9,3e7,3e8,4.1\nb,step9,6e7,6e8,3.8\n"
    assert len(read(tmp_path / "ends", {"results.csv": ends})[0].rows) == 2
    text = "".join(
        json.dumps({called: f"iter_{s}", "params": 3e7, "loss": 5 - s / 1000}) + "\n" for s in STEPS
    )
    (row,) = read(tmp_path / "lines", {"evals.jsonl": text})[0].rows
    assert (row.values["step"], row.values["loss"]) == (2000, 3.0)


@pytest.mark.parametrize(
    ("name", "line"),
    [("log.csv", '{s},"{loss}"\n'), ("log.jsonl", '{{"step": {s}, "loss": "{loss}"}}\n')],
)
def test_decimal_commas_are_named_in_a_folder_too(tmp_path: Path, name: str, line: str) -> None:
    rows = [line.format(s=s, loss=f"{5 - s / 1000:.4f}".replace(".", ",")) for s in STEPS]
    text = ("step,loss\n" if name.endswith("csv") else "") + "".join(rows)
    with pytest.raises(InputError, match=r"run/log.*: loss holds texts such as '3,0000'; decimal"):
        read(tmp_path, {f"run/{name}": text, "run/README.md": "notes"})


@pytest.mark.parametrize("count", ["idx", "example_id"])
def test_what_a_model_lost_on_each_prompt_is_no_run(tmp_path: Path, count: str) -> None:
    answers = [{count: i, "prompt": f"q{i}", "loss": 1 + i / 9} for i in range(30)]
    rows = "".join(json.dumps(row) + "\n" for row in answers)
    files: dict[str, str | bytes] = {"run/metrics.jsonl": lines(), "run/evals/answers.jsonl": rows}
    found, notes = read(tmp_path, files)
    assert len(found.rows) == 1
    assert "answers.jsonl" in notes["not_runs"]

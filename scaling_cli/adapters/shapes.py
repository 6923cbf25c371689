"""Tables in the shapes that people keep runs in; the shape is told from the columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from scaling_cli.adapters.building import (
    STATUS_NAMES,
    make_run,
    names_numbered,
    no_id,
    numbered_names,
    numbers_of,
)
from scaling_cli.adapters.charts import chart_export, is_chart_export
from scaling_cli.adapters.histories import histories, long_table, part_by_seed
from scaling_cli.adapters.tables import Labels, RawTable, config_key, distinct, one_run
from scaling_cli.adapters.unnamed import (
    begun_again_in,
    is_history,
    runs_in,
    several_by_epoch,
    step_in_names,
    unnamed_history,
)
from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.losses import is_loss
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.steps import step_names

_ID_NAMES = ("run_id", "runid", "run", "run_name", "id", "name", "experiment")
_LOOSE_NAMES = ("run", "run_name", "name", "experiment")  # of these two runs may have one
_RUN_NAMES = ("name", "run_name", "display_name")
_BEGAN = ("created", "created_at", "createdat", "start_time", "started", "started_at")
_METRIC_NAMES = ("metric", "tag", "metric_name", "key", "variable", "name")
_VALUE_NAMES = ("value", "metric_value")
# Names of columns without which a table says nothing of several runs
TELLS_RUNS = {*_ID_NAMES, *_RUN_NAMES, *_METRIC_NAMES, *_VALUE_NAMES, *_BEGAN}


def runs_of(table: RawTable, mapping: Mapping) -> list[Run]:
    """What the table holds; notes on the whole of it hang on the first run."""
    found = list(_shaped(table, mapping))
    if found and table.notes:
        found[0] = replace(found[0], notes=(*table.notes, *found[0].notes))
    return found


def _shaped(table: RawTable, mapping: Mapping) -> Iterator[Run]:
    if is_chart_export(table):
        yield from chart_export(table)
        return
    step = _step_column(table, mapping) or step_in_names(table)
    if _is_runs_table(table):
        yield from _rows(table, *_names_of_rows(table))
        return
    metric, value = table.named(_METRIC_NAMES), table.named(_VALUE_NAMES)
    run_id = _id_column(table, mapping, metric if value else None)
    if step and metric and value and metric != run_id and table[value].numeric:
        yield from long_table(table, run_id, step, metric, value)
        return
    if run_id is None:
        if step is None:
            found = several_by_epoch(table) or unnamed_history(table)
            if found is not None:
                yield from found
                return
        several = runs_in(table, step) if step else None
        if step and several is not None:
            yield from histories(table, None, several, step)
        elif step and is_history(table, step):
            again = begun_again_in(table, step)
            yield from histories(table, None, again or one_run(table), step)
        else:
            width = len(str(table.rows))
            names = [f"{table.stem}-{row + 1:0{width}}" for row in range(table.rows)]
            yield from _rows(table, None, names)
        return
    ids = table.labels(run_id)
    if "" in ids.names:
        row = int(np.argmax(ids.code == ids.names.index("")))
        raise InputError(
            f"{table.place(row)} has no {run_id}",
            'Fill it in, or name another column in the mapping: [run] id = "..."',
        )
    if len(ids.names) == table.rows:
        yield from _rows(table, run_id, ids.texts())
    elif step and distinct(ids.code, table[step].values) > len(ids.names):
        yield from histories(table, run_id, ids, step)
    else:
        yield from _repeated_rows(table, run_id, ids, step)


def _step_column(table: RawTable, mapping: Mapping) -> str | None:
    found = []
    for candidate in step_names(table.arrays, mapping.columns.get("step")):
        if not table[candidate].numeric:
            _read_written(table, candidate)
        if table[candidate].numeric:
            found.append(candidate)
    if len(found) > 1 and found[0] == mapping.columns.get("step"):
        return found[0]
    whole = (candidate for candidate in found if table[candidate].filled.all())
    return next(whole, next(iter(found), None))


def _read_written(table: RawTable, column: str) -> None:
    """Take the texts of a column of steps for the numbers that they write (`1,000`, `12.5k`)."""
    cells = table[column]
    if cells.kind != "text":
        return
    texts = set(cells.values[cells.filled].tolist())
    known = numbers_of(texts, counts=True)
    if known is not None:
        table.replace(column, known)
        return
    odd = sorted(text for text in texts if numbers_of([text]) is None)
    if odd and len(odd) * 2 <= len(texts):
        row = cells.values.tolist().index(odd[0])  # NumPy's == drops NUL at the end of a text
        raise InputError(
            f"{table.place(row)}: {column} holds {odd[0]!r}, which is no number",
            "Mend or drop that row.",
        )


def _is_runs_table(table: RawTable) -> bool:
    """Whether it is a logger's table of a project's runs, whose names need not be unique: W&B's, or
    one that says of each row when it began."""
    if table.named(("run_id", "runid")) is not None:
        return False
    if {"Name", "State", "Created"} <= table.arrays.keys():
        return True
    name, began = table.named(_RUN_NAMES), table.named(_BEGAN)
    if name is None or began is None or table.named(STATUS_NAMES) is None:
        return False
    if not (table.has_labels(name) and table.has_labels(began)):
        return False
    return distinct(table.labels(name).code, table.labels(began).code) == table.rows


def _names_of_rows(table: RawTable) -> tuple[str | None, list[str]]:
    """The column that names the runs of such a table, and a name for each row that no other has."""
    column = table.named(("id", *_RUN_NAMES))
    texts = [""] * table.rows if column is None else table.labels(column).texts()
    if len(set(texts)) == table.rows:
        return column, texts
    table.notes.append(names_numbered(table.source, texts))
    return None, numbered_names(texts, table.stem)


def _id_column(table: RawTable, mapping: Mapping, metric: str | None) -> str | None:
    if mapping.id is not None:
        wanted = (mapping.id, mapping.id.removeprefix("config."))
        found = next((n for n in wanted if n in table.arrays), None)
        if found is not None:
            return found
        table.notes.append(no_id(table.source, mapping.id, table.arrays))
    for candidate in _ID_NAMES:
        column = table.named((candidate,))
        if column is None or column == metric or not table.has_labels(column):
            continue
        if candidate in ("run_id", "runid"):
            return column
        # A column `run` or `name` may also count repeats; it names runs if its values differ,
        # or if a step parts the rows of one value.
        unique = len(table.labels(column).names) == table.rows
        if unique or step_names(table.arrays):
            return column
    return None


def _rows(table: RawTable, run_id: str | None, ids: Sequence[str]) -> Iterator[Run]:
    """One row a run: every other column is a config key."""
    columns = [(column, table[column]) for column in table.arrays if column != run_id]
    for row, identity in enumerate(ids):
        cells = {column: values.cell(row) for column, values in columns}
        config = {config_key(c): value for c, value in cells.items() if value is not None}
        yield make_run(table.adapter, identity, table.source, config, {})


def _repeated_rows(table: RawTable, run_id: str, ids: Labels, step: str | None) -> Iterator[Run]:
    """Rows that share a run but no step parts them: the tokens do, or they are repeats of it."""
    tokens = next((n for n in COLUMNS["tokens"].names if n in table.arrays), None)
    if (
        step is None
        and tokens is not None
        and table[tokens].numeric
        and distinct(ids.code, table[tokens].values) == table.rows
    ):
        message = f"{table.source}: it has no step column, so the points are numbered by {tokens}"
        table.notes.append(Note.of("no_step_column", message))
        yield from histories(table, run_id, ids, None, tokens)
        return
    seeds = part_by_seed(table, run_id, ids)
    if seeds is not None:
        yield from _rows(table, None, seeds.texts())
        return
    texts = ids.texts()
    last = {identity: row for row, identity in enumerate(texts)}
    losses = [name for name in table.arrays if is_loss(name)]
    if run_id.strip().lower() in _LOOSE_NAMES and _differ(table, texts, last, losses):
        table.notes.append(names_numbered(table.source, texts))
        yield from _rows(table, None, numbered_names(texts, table.stem))
        return
    loss = next((n for n in COLUMNS["loss"].names if n in table.arrays), None)
    for row, identity in enumerate(texts):
        kept = last[identity]
        if step is None and loss and table[loss].cell(row) != table[loss].cell(kept):
            first = table.first_row
            raise InputError(
                f"{table.source}: run {identity!r} stands in rows {row + first} and"
                f" {kept + first} with different {loss}, and no column says the step",
                "Add a step column, or make the run ids differ.",
            )
    message = f"{table.source}: {table.rows - len(last)} rows repeat a run; its last row counts"
    table.notes.append(Note.of("repeated_runs", message))
    kept_rows = {run.run_id: run for run in _rows(table, run_id, texts)}
    yield from kept_rows.values()


def _differ(
    table: RawTable, texts: Sequence[str], last: dict[str, int], losses: Sequence[str]
) -> bool:
    """Whether rows of one name say different losses."""
    return any(
        table[loss].cell(row) != table[loss].cell(last[text])
        for loss in losses
        for row, text in enumerate(texts)
    )

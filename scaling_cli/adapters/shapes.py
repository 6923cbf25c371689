"""Tables in the shapes that people keep runs in; the shape is told from the columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters.building import (
    constants_to_config,
    decimal_comma,
    make_run,
    numbers_of,
    whole_steps,
)
from scaling_cli.adapters.wire import Ints
from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.losses import is_loss
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.spelling import spelled, unfiled
from scaling_cli.steps import (
    CALLS,
    STEP_IS,
    counters,
    epoch_column,
    marked_if_called,
    own_rank,
    passing,
    rising,
    settings_differ,
    step_names,
    unrolled,
)

_ID_NAMES = ("run_id", "runid", "run", "run_name", "id", "name", "experiment")
_METRIC_NAMES = ("metric", "tag", "metric_name", "key", "variable", "name")
_VALUE_NAMES = ("value", "metric_value")
_EXTREMES = ("__MIN", "__MAX")
TIME = re.compile(r"^\s*(\d+ days?,? )?[\dT:.,+Z\s/-]*\s*$")
_SEEDS = {"seed", "random seed", "data seed", "trial", "replicate", "repeat"}
_TELEMETRY = {
    "norm", "time", "mfu", "throughput", "memory", "mem", "tps", "wps", "dt", "ms", "seconds",
}  # fmt: skip
_SWEPT = 0.18  # of the logarithm: rates of a sweep lie a fifth or more apart
_TOKENS = {unfiled(name) for name in COLUMNS["tokens"].names}


@dataclass
class Column:
    """A column by type: numbers as float64 with NaN where empty, else objects with None."""

    kind: str  # int | float | bool | text | other, which is no text and no number
    values: Any
    filled: Any  # bool[n]: the cell holds something

    def cell(self, row: int) -> Any:
        if not self.filled[row]:
            return None
        value = self.values[row]
        if self.kind == "int":
            return int(value)
        return float(value) if self.kind == "float" else value

    @property
    def numeric(self) -> bool:
        return self.kind in ("int", "float")


@dataclass
class Labels:
    """A text in each row, as the number of one of the distinct `names`, in order of appearance."""

    code: NDArray[np.signedinteger[Any]]
    names: list[str]

    def __len__(self) -> int:
        return len(self.code)

    def texts(self) -> list[str]:
        return [self.names[code] for code in self.code.tolist()]

    @cached_property
    def grouped(self) -> tuple[Ints, Ints]:
        """The rows in order of their name, and where each name's begin; one bound more."""
        order = np.argsort(self.code, kind="stable")
        return order, np.searchsorted(self.code[order], np.arange(len(self.names) + 1))


@dataclass
class RawTable:
    """Columns of any source by name. `arrays` are pyarrow's, which `to_column` types when asked;
    `first_row` is the number that a person finds the first of them under."""

    adapter: str
    source: str
    stem: str
    arrays: dict[str, Any]
    rows: int
    to_column: Callable[[Any], Column]
    first_row: int = 1
    notes: list[Note] = field(default_factory=list)
    _typed: dict[str, Column] = field(default_factory=dict)
    _labels: dict[str, Labels] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Column:
        if name not in self._typed:
            self._typed[name] = self.to_column(self.arrays[name])
        return self._typed[name]

    def labels(self, name: str) -> Labels:
        """A column as text, empty where it holds nothing."""
        if name not in self._labels:
            import pyarrow as pa

            from scaling_cli.arrow import from_texts, to_numpy

            (empty,) = from_texts([""])
            encoded = self.arrays[name].cast(pa.string()).fill_null(empty).dictionary_encode()
            names = encoded.dictionary.to_pylist()
            self._labels[name] = Labels(to_numpy(encoded.indices), names)
        return self._labels[name]

    def has_labels(self, name: str) -> bool:
        import pyarrow as pa

        kind = self.arrays[name].type
        return not (pa.types.is_nested(kind) or pa.types.is_binary(kind))

    def named(self, names: Sequence[str]) -> str | None:
        """The first of `names` that is a column, in whatever case."""
        plain = {column.strip().lower().replace(" ", "_"): column for column in self.arrays}
        return next((plain[n] for n in (n.lower() for n in names) if n in plain), None)

    def replace(self, name: str, known: dict[str, float]) -> None:
        """Take the texts of a column for the numbers that they write."""
        cells = self[name]
        values = [
            known[text] if here else 0.0
            for text, here in zip(cells.values, cells.filled, strict=True)
        ]
        self._typed[name] = Column("float", np.array(values), cells.filled)

    def add(self, name: str, column: Column) -> None:
        """Give the table a column of its own."""
        self.arrays[name], self._typed[name] = None, column

    def place(self, row: int) -> str:
        return f"{self.source}: row {row + self.first_row}"

    def runs(self, mapping: Mapping) -> list[Run]:
        """What the table holds; notes on the whole of it hang on the first run."""
        found = list(_runs(self, mapping))
        if found and self.notes:
            found[0] = replace(found[0], notes=(*self.notes, *found[0].notes))
        return found


def _runs(table: RawTable, mapping: Mapping) -> Iterator[Run]:
    if _is_chart_export(table):
        yield from _chart_export(table)
        return
    step = _step_column(table, mapping)
    if _is_runs_table(table):
        yield from _rows(table, *_names_of_rows(table))
        return
    metric, value = table.named(_METRIC_NAMES), table.named(_VALUE_NAMES)
    run_id = _id_column(table, mapping, metric if value else None)
    if step and metric and value and metric != run_id and table[value].numeric:
        yield from _long(table, run_id, step, metric, value)
        return
    if run_id is None:
        if step is None:
            found = _unnamed_history(table)
            if found is not None:
                yield from found
                return
        if step and _is_history(table, step):
            yield from _histories(table, None, _one(table), step)
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
    elif step and _distinct(ids.code, table[step].values) > len(ids.names):
        yield from _histories(table, run_id, ids, step)
    else:
        yield from _repeated_rows(table, run_id, ids, step)


def _one(table: RawTable) -> Labels:
    """The whole table as one run."""
    return Labels(np.zeros(table.rows, dtype=np.int64), [table.stem])


def _distinct(*keys: Any) -> int:
    """How many different rows the columns of numbers have."""
    if not len(keys[0]):
        return 0
    order = np.lexsort(keys)
    new = np.zeros(len(order) - 1, dtype=bool)
    for key in keys:
        new |= key[order][1:] != key[order][:-1]
    return 1 + int(new.sum())


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
    """Whether it is W&B's table of a project's runs, whose names need not be unique."""
    return {"Name", "State", "Created"} <= table.arrays.keys() and table.named(("run_id",)) is None


def _names_of_rows(table: RawTable) -> tuple[str | None, list[str]]:
    """The column that names the runs of such a table, and a name for each row that no other has."""
    column = next(name for name in ("ID", "Name") if name in table.arrays)
    texts = table.labels(column).texts()
    if len(set(texts)) == table.rows:
        return column, texts
    taken = set(texts)
    times, names = dict[str, int](), []
    for text in texts:
        name = text
        if texts.count(text) > 1 or not text:
            while name in taken:
                times[text] = times.get(text, 0) + 1
                name = f"{text or table.stem}-{times[text]}"
            taken.add(name)
        names.append(name)
    message = (
        f"{table.source}: {len(set(texts))} names for {table.rows} runs; each row is a run, and"
        " those of one name are numbered in the order of the rows"
    )
    table.notes.append(Note.of("names_numbered", message))
    return None, names


def _unnamed_history(table: RawTable) -> Iterator[Run] | None:
    """The rows as one history, where a column that rises says so and no setting differs; None if
    they are runs."""
    if table.rows < 2 or not _tells_of_training(table):
        return None
    numbers = {c: _floats(table[c]) for c in table.arrays if table[c].numeric}
    if settings_differ(numbers) or _names_its_rows(table):
        return None
    found = counters(numbers)
    if len(found) > 1:
        raise InputError(
            f"{table.source}: its rows are points of a history, and more than one column may be"
            f" their step: {', '.join(found)}",
            f'Name it in scalefit.toml: [columns] step = "{found[0]}"',
        )
    if found:
        table.notes.append(_step_by_name(table.source, found[0]))
        return _histories(table, None, _one(table), found[0])
    epoch = epoch_column(numbers)
    if epoch is not None:
        table.notes.append(_step_by_epoch(table.source, epoch))
        return _marked(_histories(table, None, _one(table), epoch), "epoch")
    tokens = rising(numbers, COLUMNS["tokens"].names)
    if tokens is not None:
        message = f"{table.source}: it has no step column, so the points are numbered by {tokens}"
        table.notes.append(Note.of("no_step_column", message))
        return _marked(_histories(table, None, _one(table), None, tokens), "rows")
    clock = passing(numbers)
    if clock is not None:
        message = f"{table.source}: it has no step column, so the points are numbered by {clock}"
        table.notes.append(Note.of("no_step_column", message))
        return _marked(_histories(table, None, _one(table), None, clock), "rows")
    if _is_of_one_run(numbers, table.arrays):
        message = f"{table.source}: it has no step column, so its points are numbered in order"
        table.notes.append(Note.of("no_step_column", message))
        return _marked(_numbered_rows(table), "rows")
    return None


def _is_of_one_run(numbers: Dict[str, NDArray[np.float64]], names: Iterable[str]) -> bool:
    """Whether rows say nothing but what a trainer logs of each step: a loss, a rate that changes
    little from row to row, times and norms."""
    rate = None
    for name in names:
        words = set(spelled(name).split())
        if name not in numbers:
            return False
        if words & {"lr"} or {"learning", "rate"} <= words:
            rate = numbers[name]
        elif not is_loss(name) and not words & _TELEMETRY:
            return False
    if rate is None or len(rate) < 2:
        return rate is None
    ratios = rate[1:] / np.where(rate[:-1] == 0, np.nan, rate[:-1])
    return bool(np.mean(np.abs(np.log(np.maximum(np.abs(ratios), 1e-9))) > _SWEPT) < 0.5)


def _numbered_rows(table: RawTable) -> Iterator[Run]:
    table.add("\0row", Column("int", np.arange(1, table.rows + 1), np.ones(table.rows, bool)))
    return _histories(table, None, _one(table), "\0row")


def _marked(runs: Iterable[Run], counts: str) -> Iterator[Run]:
    """The runs, with the setting that says that their steps are none of the trainer's."""
    for run in runs:
        yield replace(run, config=run.config | {STEP_IS: counts})


def _step_by_name(source: str, name: str) -> Note:
    message = (
        f"{source}: {name} rises from row to row and no setting differs, so it is taken for the"
        f' step of one history; if it is not, name the step: [columns] step = "..."'
    )
    return Note.of("step_by_order", message)


def _step_by_epoch(source: str, name: str) -> Note:
    message = f"{source}: it has no step column, so its points stand at their {name}"
    return Note.of("no_step_column", message)


def _floats(column: Column) -> NDArray[np.float64]:
    return np.where(column.filled, column.values, np.nan).astype(np.float64)


def _tells_of_training(table: RawTable) -> bool:
    """Whether a column is known as a loss or as tokens."""
    return any(is_loss(name) or unfiled(name) in _TOKENS for name in table.arrays)


def _names_its_rows(table: RawTable) -> bool:
    """Whether a column of texts differs in each row and is no time: names of runs."""
    for name in table.arrays:
        cells = table[name]
        if cells.kind != "text" or not cells.filled.all():
            continue
        texts = set(cells.values.tolist())
        if len(texts) == table.rows and not all(map(TIME.match, texts)):
            return True
    return False


def _id_column(table: RawTable, mapping: Mapping, metric: str | None) -> str | None:
    if mapping.id is not None:
        wanted = (mapping.id, mapping.id.removeprefix("config."))
        found = next((n for n in wanted if n in table.arrays), None)
        if found is not None:
            return found
        message = f"{table.source}: has no column {mapping.id!r} for [run] id"
        table.notes.append(Note.of("no_id_column", message))
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


def _is_history(table: RawTable, step: str) -> bool:
    """Whether the rows of a table without run ids are the points of one run."""
    for size in COLUMNS["params"].names:
        if size in table.arrays and len(table.labels(size).names) > 1:
            return False
    column = table[step]
    told = column.values[column.filled].astype(np.float64)
    if len(np.unique(told)) * 2 > len(told):
        return True
    losses = [table[name] for name in table.arrays if is_loss(name) and table[name].numeric]
    held = [column.values[cells.filled & column.filled] for cells in losses]
    if held and all(len(np.unique(at)) * 2 > len(at) for at in held):
        return True  # training and validation stand in rows of their own
    epoch = next((c for c in table.arrays if unfiled(c) == "epoch" and table[c].numeric), None)
    epochs = None if epoch is None else _floats(table[epoch])[column.filled]
    return unrolled(told, epochs, step)[0] is not None  # it begins again with each epoch


def _rows(table: RawTable, run_id: str | None, ids: Sequence[str]) -> Iterator[Run]:
    """One row a run: every other column is a config key."""
    columns = [(column, table[column]) for column in table.arrays if column != run_id]
    for row, identity in enumerate(ids):
        cells = {column: values.cell(row) for column, values in columns}
        config = {_config_key(c): value for c, value in cells.items() if value is not None}
        yield make_run(table.adapter, identity, table.source, config, {})


def one_array(column: Any) -> Any:
    """A pyarrow column as one array, without dictionaries and large offsets."""
    import pyarrow as pa

    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    return array.cast(pa.string()) if is_text or pa.types.is_null(array.type) else array


def typed_column(array: Any) -> Column:
    """A pyarrow array as a column."""
    import pyarrow as pa

    from scaling_cli.arrow import filled_rows, to_numpy

    kind = array.type
    filled = filled_rows(array)
    if pa.types.is_integer(kind):
        try:
            return Column("int", to_numpy(array.cast(pa.int64()), 0), filled)
        except pa.ArrowInvalid:  # past 63 bits
            return Column("float", _doubles(array), filled)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Column("float", _doubles(array), filled)
    if pa.types.is_string(kind) or pa.types.is_temporal(kind):
        return text_column(array.cast(pa.string()))
    values = np.empty(len(array), dtype=object)
    if pa.types.is_binary(kind) or pa.types.is_struct(kind) or pa.types.is_map(kind):
        return Column("other", values, np.zeros(len(array), dtype=bool))
    values[:] = array.to_pylist()
    return Column("bool" if pa.types.is_boolean(kind) else "other", values, filled)


def _doubles(array: Any) -> Any:
    import pyarrow as pa

    from scaling_cli.arrow import to_numpy

    return to_numpy(array.cast(pa.float64(), safe=False))


def text_column(array: Any) -> Column:
    """A column of a pyarrow string array; equal texts are one object."""
    from scaling_cli.arrow import filled_rows, to_numpy

    encoded = array.dictionary_encode()
    names = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return Column("text", names[to_numpy(encoded.indices, -1)], filled_rows(array))


def _config_key(column: str) -> str:
    for prefix in ("config.", "config/"):
        if column.startswith(prefix) and len(column) > len(prefix):
            return column[len(prefix) :]
    return column


def _repeated_rows(table: RawTable, run_id: str, ids: Labels, step: str | None) -> Iterator[Run]:
    """Rows that share a run but no step parts them: the tokens do, or they are repeats of it."""
    tokens = next((n for n in COLUMNS["tokens"].names if n in table.arrays), None)
    if (
        step is None
        and tokens is not None
        and table[tokens].numeric
        and _distinct(ids.code, table[tokens].values) == table.rows
    ):
        message = f"{table.source}: it has no step column, so the points are numbered by {tokens}"
        table.notes.append(Note.of("no_step_column", message))
        yield from _histories(table, run_id, ids, None, tokens)
        return
    texts = ids.texts()
    last = {identity: row for row, identity in enumerate(texts)}
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


def _histories(
    table: RawTable, run_id: str | None, ids: Labels, step: str | None, order_by: str | None = None
) -> Iterator[Run]:
    """Rows are points of runs."""
    ids = _part_by_group(table, run_id, ids, step)
    if step is None:
        steps, has_step = _numbered(ids, table[str(order_by)].values), np.ones(table.rows, bool)
    else:
        has_step = table[step].filled
        numbers = np.where(has_step, table[step].values, 0).astype(np.float64)
        steps = whole_steps(numbers, table.place)
    if not has_step.all():
        steps, has_step = _with_the_row_before(table, ids, steps, has_step, str(step))
    if run_id is None and len(ids.names) == 1 and len(steps):
        steps = _one_counter(table, steps, has_step, str(step or order_by))
    order, bounds = ids.grouped
    columns = {c: table[c] for c in table.arrays if c not in (run_id, step)}
    left_out: dict[str, None] = {}
    commas: dict[Note | None, None] = {}
    runs = []
    for code, identity in enumerate(ids.names):
        rows = order[bounds[code] : bounds[code + 1]]
        rows = rows[has_step[rows]]
        if not len(rows):
            continue
        config: dict[str, Any] = {}
        points = {}
        run_steps = steps[rows]  # one array for all metrics that are always logged
        for column, cells in columns.items():
            held = rows[cells.filled[rows]]
            if not len(held):
                continue
            if cells.kind == "other":
                left_out[column] = None
                continue
            if not cells.numeric or _config_key(column) != column:
                if len(set(cells.values[held].tolist())) == 1:
                    config[_config_key(column)] = cells.cell(int(held[-1]))
                    continue
                if cells.kind == "text":
                    texts = cells.values[held].tolist()
                    known = numbers_of(set(texts))
                    if known is None:
                        left_out[column] = None
                        commas |= dict.fromkeys([decimal_comma(column, set(texts))])
                        continue
                    values = np.array([known[text] for text in texts], dtype=np.float64)
                    points[column] = steps[held], values
                    continue
            at = run_steps if len(held) == len(rows) else steps[held]
            points[column] = (at, cells.values[held].astype(np.float64, copy=False))
        made = make_run(table.adapter, identity, table.source, config, points)
        made = replace(made, step_name=step or "")
        runs.append(marked_if_called(made) if step in CALLS else made)
    if left_out:
        message = (
            f"{table.source}: text that changes within a run is left out: {', '.join(left_out)}"
        )
        table.notes.append(Note.of("text_left_out", message))
    table.notes += [note.about(table.source) for note in commas if note is not None]
    yield from constants_to_config(runs)


def _with_the_row_before(
    table: RawTable, ids: Labels, steps: Ints, has_step: Any, step: str
) -> tuple[Ints, Any]:
    """Rows without a step stand at the step of their run's row before; those with none before
    them are left out."""
    last = np.full(len(ids.names), -1)
    steps, known = steps.copy(), has_step.copy()
    for row, code in enumerate(ids.code.tolist()):
        if has_step[row]:
            last[code] = row
        elif last[code] >= 0:
            steps[row], known[row] = steps[last[code]], True
    joined, lost = int((known & ~has_step).sum()), int((~known).sum())
    told = []
    if joined:
        told.append(f"{joined} rows have no {step} and stand at that of the row before")
    if lost:
        told.append(f"{lost} rows have no {step} and none before them, and are left out")
    message = f"{table.source}: {'; '.join(told)}"
    table.notes.append(Note.of("rows_without_step", message))
    return steps, known


def _one_counter(table: RawTable, steps: Ints, has_step: Any, step: str) -> Ints:
    """The steps of one history; those that begin again with each epoch go on."""
    if not has_step.all() or bool((np.diff(steps) >= 0).all()):
        return steps
    epoch = next((c for c in table.arrays if unfiled(c) == "epoch" and table[c].numeric), None)
    epochs = None if epoch is None else _floats(table[epoch])
    joined, notes = unrolled(steps.astype(np.float64), epochs, step)
    table.notes += [note.about(table.source) for note in notes]
    return steps if joined is None else joined.astype(np.int64)


def _part_by_group(table: RawTable, run_id: str | None, ids: Labels, step: str | None) -> Labels:
    """The runs, those that repeat their steps parted by what tells the repeats apart: the group,
    once for each evaluation of a run, or the seed."""
    if run_id is None or step is None:
        return ids
    steps = table[step].values
    names = [table.named(("group",)), *(n for n in table.arrays if spelled(n) in _SEEDS)]
    parting = [n for n in names if n not in (None, run_id, step) and table.has_labels(n)]
    if not parting or _distinct(ids.code, steps) == table.rows:
        return ids
    for name in parting:
        if _distinct(ids.code, steps, table.labels(name).code) == table.rows:
            return _parted(table, ids, name)
    return ids


def _parted(table: RawTable, ids: Labels, name: str) -> Labels:
    """The runs, parted by the values of a column."""
    values = table.labels(name)
    message = f"{table.source}: runs that repeat their steps in several {name}s are parted by it"
    table.notes.append(Note.of("parted_by_group", message))
    pairs, first, code = np.unique(
        ids.code.astype(np.int64) * len(values.names) + values.code,
        return_index=True,
        return_inverse=True,
    )
    owner = pairs // len(values.names)
    several = np.bincount(owner, minlength=len(ids.names)) > 1
    rank = np.argsort(np.argsort(first))
    names = [""] * len(pairs)
    for pair, identity, place in zip(pairs.tolist(), owner.tolist(), rank.tolist(), strict=True):
        run = ids.names[identity]
        part = values.names[pair % len(values.names)]
        part = part if spelled(name) not in _SEEDS else f"{name}{part}"
        names[place] = f"{run}/{part}" if several[identity] else run
    return Labels(rank[code], names)


def _numbered(ids: Labels, order_by: Any) -> Ints:
    """1, 2, ... within each run in rising order of a column."""
    order = np.lexsort((order_by, ids.code))
    _, bounds = ids.grouped
    steps = np.empty(len(ids), dtype=np.int64)
    steps[order] = np.arange(1, len(ids) + 1) - bounds[ids.code[order]]
    return steps


def _long(table: RawTable, run_id: str | None, step: str, metric: str, value: str) -> Iterator[Run]:
    """Rows are (run, step, metric, value)."""
    ids = table.labels(run_id) if run_id else _one(table)
    metrics = table.labels(metric)
    usable = table[step].filled & table[value].filled
    steps = whole_steps(np.where(usable, table[step].values, 0).astype(np.float64), table.place)
    values = table[value].values.astype(np.float64)
    usable &= metrics.code != (metrics.names.index("") if "" in metrics.names else -1)
    rows = np.flatnonzero(usable)
    pair = ids.code[rows].astype(np.int64) * len(metrics.names) + metrics.code[rows]
    order = np.argsort(pair, kind="stable")
    rows, pair = rows[order], pair[order]
    begin = np.flatnonzero(np.append(True, pair[1:] != pair[:-1]))[: len(pair)]
    points: dict[int, dict[str, Any]] = {}
    for number, held in zip(pair[begin].tolist(), np.split(rows, begin[1:]), strict=False):
        code, name = divmod(number, len(metrics.names))
        points.setdefault(code, {})[metrics.names[name]] = (steps[held], values[held])
    config: dict[int, dict[str, Any]] = {}
    for column in table.arrays:
        if column not in (run_id, step, metric, value) and table.has_labels(column):
            for code, cell in _constants(table, column, ids, usable):
                config.setdefault(code, {})[_config_key(column)] = cell
    for code in sorted(points):
        identity = ids.names[code]
        yield make_run(table.adapter, identity, table.source, config.get(code, {}), points[code])


def _constants(table: RawTable, column: str, ids: Labels, usable: Any) -> Iterator[tuple[int, Any]]:
    """The runs in which a column holds one value only, and the value."""
    order, _ = ids.grouped
    order = order[(usable & table[column].filled)[order]]
    if not len(order):
        return
    codes, begin = np.unique(ids.code[order], return_index=True)
    label = table.labels(column).code[order]
    same = np.minimum.reduceat(label, begin) == np.maximum.reduceat(label, begin)
    for code, row in zip(codes[same].tolist(), order[begin[same]].tolist(), strict=True):
        yield code, table[column].cell(row)


def _chart_columns(table: RawTable) -> list[str]:
    return [c for c in list(table.arrays)[1:] if not c.endswith(_EXTREMES)]


def _is_chart_export(table: RawTable) -> bool:
    columns = _chart_columns(table)
    return bool(columns) and all(" - " in column for column in columns)


def _chart_export(table: RawTable) -> Iterator[Run]:
    """A W&B chart: the x axis, then "<run> - <metric>" for each run."""
    axis = next(iter(table.arrays))
    columns: dict[str, dict[str, str]] = {}
    for column in _chart_columns(table):
        run, metric = column.rsplit(" - ", 1)
        columns.setdefault(run.removeprefix("Group: "), {})[metric] = column
    note = Note.of(
        "sampled",
        "a chart export holds sampled points and no config; give the runs' table by `meta=`, or"
        " ingest the runs themselves",
    )
    for run, metrics in columns.items():
        own = metrics.pop("_step", None)
        step = own or (axis if axis in CALLS or own_rank(axis) is not None else None)
        if step is not None and not table[step].numeric:
            raise InputError(f"{table.source}: {step} is no number", "Export the chart again.")
        numeric = {m: table[c] for m, c in metrics.items() if table[c].numeric}
        if step != axis and table[axis].numeric:
            numeric[axis] = table[axis]  # what the chart was drawn over, such as the tokens
        if step is None:
            steps, filled = np.arange(1.0, table.rows + 1), np.ones(table.rows, bool)
        else:
            filled = table[step].filled
            steps = np.where(filled, table[step].values, 0).astype(np.float64)
        whole = whole_steps(steps, table.place)
        points = {
            metric: (whole[held], cells.values[held].astype(np.float64))
            for metric, cells in numeric.items()
            if len(held := np.flatnonzero(cells.filled & filled))
        }
        if step is None:
            points = {m: p for m, p in points.items() if m == axis or len(p[0])}
        made = make_run(table.adapter, run, table.source, {}, points, [note])
        yield made if step is None else marked_if_called(made)

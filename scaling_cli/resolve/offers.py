"""What could be meant by a column that a run lacks: not read, offered as a line of the mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scaling_cli.counts import counts_in_units, unit_in
from scaling_cli.expressions import as_number
from scaling_cli.names import CONFIG
from scaling_cli.notes import Note
from scaling_cli.quantities import power
from scaling_cli.records import Run
from scaling_cli.resolve.column import Column
from scaling_cli.spelling import last_part, quoted

LAYERS = ("n_layer", "n_layers", "num_layers", "num_hidden_layers", "depth")
WIDTHS = ("n_embd", "d_model", "hidden_size", "width", "dim")
_UNITS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}


def offers(run: Run, columns: Mapping[str, Column]) -> Iterator[Note]:
    """A note on each count that a law of size and data rests on, that the run lacks, and that
    something in it may be."""
    names = [*run.series, *(CONFIG + k for k, v in run.config.items() if as_number(v) is not None)]
    for column, code, found in (
        ("params", "params_offered", size_offers),
        ("tokens", "tokens_offered", data_offers),
    ):
        if column not in columns:
            offer = next(found(names, columns), None)
            if offer is not None:
                meaning, text = offer
                message = f'no {column}: {meaning}. To read it: [columns] {column} = "{text}"'
                yield Note.of(code, message)


def size_offers(names: Sequence[str], columns: Mapping[str, Column]) -> Iterator[tuple[str, str]]:
    """What may be the parameters, and as which expression."""
    yield from _in_units("params", names)
    rest = columns.get("params_non_embedding")
    if rest is not None:
        yield f"{rest.origin} are those without embeddings", quoted(rest.origin)
    shape = of_a_transformer(names)
    if shape:
        yield "layers and width of a plain transformer give those without embeddings", shape


def data_offers(names: Sequence[str], columns: Mapping[str, Column]) -> Iterator[tuple[str, str]]:
    """What may be the tokens, and as which expression."""
    yield from _in_units("tokens", names)


def _in_units(column: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if counts_in_units(column, name.removeprefix(CONFIG)):
            yield f"{name} looks like it, in {_UNITS[_unit(name)]}", in_ones(name)


def _unit(name: str) -> float:
    return unit_in(name.removeprefix(CONFIG))


def in_ones(name: str) -> str:
    """A name as an expression, times the unit that it says: `config.params_M * 1e6`."""
    text = _quoted(name)
    return text if _unit(name) == 1.0 else f"{text} * {power(_unit(name), 1)}"


def _quoted(name: str) -> str:
    plain = name.replace(".", "").isidentifier() and not name.startswith(".")
    return name if plain else f"`{name}`"


def of_a_transformer(names: Sequence[str]) -> str:
    """The parameters of a plain transformer without its embeddings, where layers and width are
    known (Kaplan 2020, arXiv:2001.08361, equation 2.1)."""
    ends = {last_part(name): name for name in names}
    layers = next((ends[name] for name in LAYERS if name in ends), "")
    width = next((ends[name] for name in WIDTHS if name in ends), "")
    return f"12 * {_quoted(layers)} * {_quoted(width)}**2" if layers and width else ""

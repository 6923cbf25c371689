"""A fit as a JSON document and back. What is read back comes from outside: every value is held
against what it has to be before anything is computed from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scaling_cli.compute import SIX_ND, Accounting
from scaling_cli.documents import (
    AGREES,
    DocumentKind,
    Fields,
    as_finite,
    check_digest,
    digest_of,
    finite,
)
from scaling_cli.errors import InputError
from scaling_cli.fitting.basis import Basis
from scaling_cli.fitting.explored import Explored, Line
from scaling_cli.fitting.record import Record
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.transforms import DOMAINS
from scaling_cli.laws import Law, get_law
from scaling_cli.laws.formula import MARK
from scaling_cli.notes import Note
from scaling_cli.quantities import MAX_LEVEL, MIN_LEVEL
from scaling_cli.records import Floats

DOCUMENT = DocumentKind("scalefit fit", 1, "a saved fit", "Make one with `scalefit fit -o FILE`.")
DEEPEST = 4  # links on links


def to_document(fit: Fit) -> dict[str, Any]:
    """All of the fit, for a file that `from_document` reads back."""
    document: dict[str, Any] = finite(
        {
            **DOCUMENT.head(),
            **fit.to_json(),
            "target": fit.target,
            "version": fit.version,
            "data_digest": fit.data_digest,
            "values": dict(fit.values),
            "then": to_document(fit.then) if fit.then else None,
            "holdout_rows": [dict(row) for row in fit.holdout_rows],
            "draws": fit.draws.tolist(),
        }
    )
    return document | {"digest": digest_of(document, fit.draws)}


def fits_document(fits: Sequence[Fit]) -> dict[str, Any]:
    """The document of a file of fits: of one or of several, one shape."""
    return {**DOCUMENT.head(), "fits": [to_document(fit) for fit in fits]}


def read_fits(document: Any, where: str) -> list[Fit]:
    """The fits of a file of this or an older version, which held one fit or a bare list of them."""
    if isinstance(document, dict) and "fits" in document:
        if "document" in document:
            DOCUMENT.check(document, where)
        try:
            parts = [item.value for item in Fields(document).objects("fits")]
            if not parts:
                raise ValueError("fits is empty")
        except ValueError as error:
            raise DOCUMENT.malformed(where, error) from None
    else:
        parts = [document]
    return [from_document(part, where) for part in parts]


def from_document(document: Any, where: str = "the document", depth: int = 0) -> Fit:
    """Read a fit back; InputError says what of `where` is missing or is not what it has to be."""
    DOCUMENT.check(document, where)
    try:
        if depth > DEEPEST:
            raise ValueError("then goes deeper than any link")
        fields = Fields(document)
        law = _law(fields)
        _check_same_law(fields, law, where)
        draws = _draws(fields, law)
        then = from_document(document["then"], where, depth + 1) if "then" in fields else None
        fit = _fit(fields, law, draws, then)
        _check_identity(document, fit)
        _check_agreement(fit)
        _check_use(fit)
        return fit
    except InputError as error:
        if error.what.startswith(where):
            raise
        raise DOCUMENT.malformed(where, error) from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DOCUMENT.malformed(where, error) from None


def _law(fields: Fields) -> Law:
    columns = fields.fields("columns")
    for name in columns.value:
        columns.text(name)
    columns.raw("target")
    return get_law(fields.text("surface" if "surface" in fields else "law")).among(columns.value)


def _check_same_law(fields: Fields, law: Law, where: str) -> None:
    """That the law has the parameters and reads the columns of when it was fitted: what a law is
    may change between versions, and the numbers of one would be wrong in the other."""
    values, columns = set(fields.fields("values").value), set(fields.fields("columns").value)
    pairs = (
        ("parameters", sorted(values), sorted(law.parameter_names)),
        ("columns", sorted(columns - {"target"}), sorted(law.variables)),
    )
    for what, then, now in pairs:
        if set(then) == set(now) or (what == "columns" and set(now) <= set(then)):
            continue
        raise InputError(
            f"{where}: {law.id} was fitted with the {what} {', '.join(then)}, and has"
            f" {', '.join(now)} in this version",
            "Fit it again: the numbers of one mean nothing in the other.",
        )


def _draws(fields: Fields, law: Law) -> Floats:
    """The resamples' parameters [resamples, parameters], all finite and within the law's range."""
    raw = fields.items("draws")
    width = len(law.parameters)
    if not all(isinstance(row, list) and len(row) == width for row in raw):
        raise ValueError(f"draws holds a row that is no list of {width} numbers")
    if not all(type(number) in (float, int) for row in raw for number in row):
        raise ValueError("draws holds something that is no number")
    draws: Floats = np.array(raw, dtype=float).reshape(-1, width)
    if not np.isfinite(draws).all():
        raise ValueError("draws holds a number that is not finite")
    for i, parameter in enumerate(law.parameters):
        low, high = _range(law, parameter.name)
        if len(draws) and not (low <= draws[:, i].min() and draws[:, i].max() <= high):
            raise ValueError(f"draws of {parameter.name} leave {low:g} to {high:g}")
    return draws


def _range(law: Law, name: str) -> tuple[float, float]:
    """Within which a parameter lies; a level of the target lies where that does, and one of a
    formula wherever `ranges=` had it start."""
    if name in law.levels or law.id.startswith(MARK):
        return -np.inf, np.inf
    return DOMAINS[law.parameter(name).transform]


def _fit(fields: Fields, law: Law, draws: Floats, then: Fit | None) -> Fit:
    objective = fields.fields("objective")
    values, domain = fields.fields("values"), fields.fields("domain")
    metrics = fields.fields("metrics")
    ranges = {name: _range(law, name) for name in law.parameter_names}
    holdout = fields.fields("holdout") if "holdout" in fields else None
    return Fit(
        law_id=law.id,
        group=fields.fields("group").scalars(),
        n_observations=fields.integer("n_observations", 1),
        n_runs=fields.integer("n_runs"),
        objective=objective.text("name"),
        objective_value=_or_nan(objective, "value"),
        values={name: values.number(name, *ranges[name]) for name in law.parameter_names},
        constants=fields.fields("constants").numbers(),
        draws=draws,
        level=fields.number("level", MIN_LEVEL, MAX_LEVEL),
        noise=fields.number("noise", 0.0),
        metrics={name: _or_nan(metrics, name) for name in ("r2", "rmse", "mape", *metrics.value)},
        domain={name: domain.pair(name) for name in domain.value},
        columns={name: str(column) for name, column in fields.fields("columns").value.items()},
        seed=fields.integer("seed"),
        data_digest=fields.text("data_digest"),
        version=fields.text("version"),
        notes=tuple(Note.from_json(item.value) for item in fields.objects("warnings")),
        procedure=fields.text("recipe"),
        drift=fields.number("drift", 0.0) if "drift" in fields else 0.0,
        tied=_tied(fields.fields("tied")) if "tied" in fields else None,
        holdout=_held_out(holdout) if holdout else None,
        holdout_rows=tuple(_held_out_row(row) for row in fields.objects("holdout_rows")),
        then=then,
        predicted_finals=tuple(
            item.scalars()
            for item in (fields.objects("predicted_finals") if "predicted_finals" in fields else ())
        ),
        compute=_compute(fields.fields("compute")) if "compute" in fields else SIX_ND,
        record=_record(fields.fields("record")) if "record" in fields else None,
        unknown=tuple(fields.texts("unknown")) if "unknown" in fields else (),
        explored=_explored(fields.fields("explored")) if "explored" in fields else None,
        rests_on=Basis.read(fields.fields("rests_on")) if "rests_on" in fields else None,
    )


def _explored(fields: Fields) -> Explored:
    columns = tuple(fields.texts("columns"))
    lines = []
    for item in fields.objects("lines"):
        parts = [float(part) for part in item.items("direction")]
        if len(parts) != len(columns) or not np.isfinite(parts).all():
            raise ValueError("explored has a direction that is not of its columns")
        low, high = item.number("low"), item.number("high")
        lines.append(Line(tuple(parts), low, high, bool(item.raw("seen"))))
    two = fields.fields("two") if "two" in fields else None
    sizes = {name: tuple(map(float, two.items(name))) for name in two.value} if two else {}
    if any(name not in columns or len(known) != 2 for name, known in sizes.items()):
        raise ValueError("explored has two sizes of what is no column of it")
    return Explored(columns, tuple(lines), {name: (a, b) for name, (a, b) in sizes.items()})


def _or_nan(fields: Fields, name: str) -> float:
    value = fields.number_or_null(name)
    return float("nan") if value is None else value


def _held_out(fields: Fields) -> dict[str, float | None]:
    for name in ("n", "mape", "bias", "coverage", *fields.value):
        fields.number_or_null(name)
    return fields.value


def _held_out_row(row: Fields) -> Mapping[str, Any]:
    for name in ("observed", "predicted", "low", "high", "error"):
        row.number_or_null(name)
    row.raw("run_id")
    return row.scalars()


def _tied(fields: Fields) -> Mapping[str, Any]:
    fields.texts("parameters")
    fields.items("groups")
    for name in ("objective", "untied_objective", "p_value"):
        fields.number_or_null(name)
    untied = fields.fields("untied")
    for name in untied.value:
        estimate = untied.fields(name)
        estimate.number("value")
        estimate.number_or_null("low")
        estimate.number_or_null("high")
    return fields.value


def _compute(fields: Fields) -> Accounting:
    terms = fields.items("terms")
    if not terms or not all(isinstance(term, list) and len(term) == 2 for term in terms):
        raise ValueError("compute.terms is no list of pairs")
    for factor, power in terms:
        as_finite(factor, "compute.terms", 0.0)
        as_finite(power, "compute.terms", -1.0, 3.0)
    fields.text("name")
    return Accounting.from_json(fields.value)


def _record(fields: Fields) -> Record:
    fields.text("along")
    fields.number("others", 0.0)
    if "freedom" in fields:
        fields.number("freedom", 0.0)
    for fold in fields.objects("folds"):
        for name in fold.value:  # all are counts, sizes or squares but the bias
            fold.number(name, -np.inf if name == "bias" else 0.0)
    return Record.from_json(fields.value)


def _check_identity(document: Mapping[str, Any], fit: Fit) -> None:
    """That the document is of what its id and its digest were made of."""
    if document.get("fit_id") != fit.fit_id:
        raise ValueError(f"fit_id is not that of its content, which is {fit.fit_id}")
    check_digest(document, fit.draws)


def _check_agreement(fit: Fit) -> None:
    """That the draws are resamples of what the values say."""
    if not len(fit.draws):
        return
    low, high = fit.draws.min(axis=0), fit.draws.max(axis=0)
    values = np.array([fit.values[name] for name in fit.law.parameter_names])
    room = AGREES * (high - low) + 1e-6 * np.abs(values) + 1e-9
    beyond = (values < low - room) | (values > high + room)
    if beyond.any():
        name = fit.law.parameter_names[int(np.argmax(beyond))]
        raise ValueError(f"values.{name} is far from all its draws")


def _check_use(fit: Fit) -> None:
    """That the law can be asked with these values and constants, amid its own runs."""
    spans = {name: fit.domain.get(fit.columns.get(name, name)) for name in fit.law.variables}
    if any(span is None for span in spans.values()):
        return
    middle = {
        name: np.array([np.sqrt(low * high) if low > 0 else (low + high) / 2])
        for name, (low, high) in ((name, span) for name, span in spans.items() if span)
    }
    if not np.isfinite(fit.curve(middle)).all():
        raise ValueError("the law gives no finite number amid its own runs")

"""What the library returns, laid out as tables of text; shown in a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scaling_cli.notes import Note
from scaling_cli.quantities import count, counted, number, percent, power, share

if TYPE_CHECKING:
    from scaling_cli.contrasts import Crossing, Equivalence, Slope
    from scaling_cli.fitting.backtest import Comparison
    from scaling_cli.fitting.result import FailedFit, Fit, Prediction
    from scaling_cli.ingest import Ingest
    from scaling_cli.laws import Law
    from scaling_cli.planning import Allocation
    from scaling_cli.store.upkeep import Compacted, Verified
    from scaling_cli.table import Table
    from scaling_cli.training.assessed import Assessed
    from scaling_cli.training.fit import CurveFit
    from scaling_cli.training.forecast import Forecast
    from scaling_cli.training.plan import SchedulePlan

COUNTS = ("params", "params_non_embedding", "tokens", "flops", "unique_tokens")
RANGES: tuple[tuple[str, Callable[[float | None], str]], ...] = (
    ("params", count),
    ("tokens", count),
    ("flops", power),
    ("loss", number),
)


@dataclass(frozen=True)
class Listing:
    """A titled table of text: the first `left` columns are words, the rest figures."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    lines: tuple[str | Note, ...] = ()  # said under the table


def group_name(group: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in group.values()) or "all runs"


def span(
    low: float | None, high: float | None, shape: Callable[[float | None], str] = number
) -> str:
    return "-" if low is None or high is None else f"{shape(low)}..{shape(high)}"


def _range(pair: tuple[float, float] | None, shape: Callable[[float | None], str]) -> str:
    return span(*pair, shape) if pair else "-"


def note_text(note: Note) -> str:
    mark = {"info": "note", "warning": "warning", "severe": "SEVERE"}[note.severity]
    return f"{mark} [{note.code}] {note.message}"


def _about(group: Mapping[str, Any], notes: Iterable[Note]) -> list[Note]:
    """The notes, each saying of which group it speaks."""
    prefix = f"{group_name(group)}: " if group else ""
    return [replace(note, message=prefix + note.message) for note in notes]


def runs_json(rows: Table) -> list[dict[str, Any]]:
    """The contract's `runs` objects."""
    return [
        {
            "run_id": record.run_id,
            "name": record.name,
            "source": record.source,
            "group": group,
            "status": record.status,
            "steps": record.final.get("steps"),
            **{name: record.final.get(name) for name, _ in RANGES},
            "warnings": [note.to_json() for note in record.notes],
        }
        for record, group in zip(rows.runs, _groups(rows), strict=True)
    ]


def _groups(rows: Table) -> list[str]:
    """Each run's group: the one that its logger gave, else what the mapping groups by."""
    mapped = {
        record.run_key: ", ".join(str(value) for value in group.values())
        for group, members in rows.groups(rows.by)
        for record in members.runs
    }
    return [record.group or mapped[record.run_key] for record in rows.runs]


def ingest_tables(ingest: Ingest) -> list[Listing]:
    mapped = tuple(
        (column, origin, str(runs))
        for column, origins in ingest.mapped.items()
        for origin, runs in origins.items()
    )
    landed = tuple((name, str(getattr(ingest, name))) for name in ("new", "replaced", "unchanged"))
    return [
        Listing("What was read as what", ("column", "taken from", "runs"), mapped, left=2),
        Listing(f"{counted(ingest.runs, 'run')} into {ingest.store}", ("runs", "count"), landed),
    ]


def verified_table(verified: Verified) -> Listing:
    names = ("commits", "segments", "runs", "points", "fits")
    rows = tuple((name, f"{getattr(verified, name):,}") for name in names)
    state = counted(len(verified.problems), "problem") if verified.problems else "whole"
    return Listing(f"{verified.store}: {state}", ("what", "count"), rows, lines=verified.problems)


def compacted_table(done: Compacted) -> Listing:
    rows = (
        ("segments before", f"{done.segments_before:,}"),
        ("segments after", f"{done.segments_after:,}"),
        ("files removed", f"{done.files_removed:,}"),
        ("bytes removed", f"{done.bytes_removed:,}"),
    )
    return Listing(f"Compacted {done.store}", ("what", "count"), rows)


def exported_table(path: str, shape: str, rows: int) -> Listing:
    return Listing(f"Exported to {path}", ("shape", "rows"), ((shape, f"{rows:,}"),))


def groups_table(rows: Table, by: Sequence[str]) -> Listing:
    """One line a group: how many runs, and the range of what they span."""
    lines = []
    for group, members in rows.groups(by):
        cells = []
        for name, shape in RANGES:
            values = [v for v in members.columns.get(name, ()) if v == v]
            cells.append(span(min(values), max(values), shape) if values else "-")
        lines.append((group_name(group), str(len(members)), *cells))
    headers = (", ".join(by) or "group", "runs", *(name for name, _ in RANGES))
    title = f"{counted(len(rows), 'run')} in {counted(len(lines), 'group')}"
    return Listing(title, headers, tuple(lines))


def runs_table(rows: Table) -> Listing:
    lines = tuple(
        (
            record.name or record.run_id,
            group,
            record.status,
            count(record.final.get("steps")),
            *(shape(record.final.get(name)) for name, shape in RANGES),
        )
        for record, group in zip(rows.runs, _groups(rows), strict=True)
    )
    headers = ("run", "group", "status", "steps", *(name for name, _ in RANGES))
    return Listing(counted(len(rows), "run"), headers, lines, left=3)


def fit_table(fitted: Fit) -> Listing:
    derived = fitted.to_json()["derived"]
    rows: list[tuple[str, ...]] = [
        (name, number(item.value, 6), span(item.low, item.high))
        for name, item in fitted.parameters.items()
    ]
    rows += [(f"{name} (fixed)", number(value, 6), "-") for name, value in fitted.constants.items()]
    rows += [
        (f"{name} (raw)", number(value, 6), "not identified") for name, value in derived.items()
    ]
    if fitted.then:
        rows += [
            (f"{name} of {fitted.then.name}", number(item.value, 6), span(item.low, item.high))
            for name, item in fitted.then.parameters.items()
        ]
    headers: tuple[str, ...] = ("parameter", "value", f"{share(fitted.level)} interval")
    if fitted.tied:
        rows, headers = _with_untied(fitted.tied, rows), (*headers, "untied", "interval")
    low, high = fitted.domain.get("flops", (None, None))
    reach = f", {power(low)} to {power(high)} FLOPs" if low and high else ""
    lines = [
        fitted.law.formula,
        f"{counted(fitted.n_runs, 'run')}{reach}; recipe {fitted.recipe},"
        f" objective {fitted.objective} {fitted.objective_value:.10g};"
        f" r2 {fitted.metrics['r2']:.5f}, mape {percent(fitted.metrics['mape'])},"
        f" noise {percent(fitted.noise) if fitted.log else number(fitted.noise)}",
    ]
    if fitted.holdout:
        held = fitted.holdout
        lines.append(
            f"held out: {counted(int(held['n'] or 0), 'run')}, mape {percent(held['mape'])},"
            f" bias {percent(held['bias'], sign=True)}, inside the interval"
            f" {percent(held['coverage'], 0)}"
        )
    if fitted.tied:
        p_value = fitted.tied["p_value"]
        shown = "" if p_value is None else f" (as much or more by chance in {percent(p_value)})"
        lines.append(
            f"{', '.join(fitted.tied['parameters'])} tied over {len(fitted.tied['groups'])} groups;"
            f" joint objective {fitted.tied['objective']:.6g}, untied"
            f" {fitted.tied['untied_objective']:.6g}{shown}"
        )
    return Listing(
        f"{fitted.name}, {group_name(fitted.group)}  ({fitted.fit_id})",
        headers,
        tuple(rows),
        lines=(*lines, *fitted.notes),
    )


def groups_tables(fits: Sequence[Fit]) -> list[Listing]:
    """Each law that was fitted to several groups: the groups side by side."""
    tables = []
    for name in dict.fromkeys(fitted.name for fitted in fits):
        same = [fitted for fitted in fits if fitted.name == name]
        if len(same) < 2 or len({fitted.law.parameter_names for fitted in same}) > 1:
            continue
        rows = tuple(
            (
                group_name(fitted.group),
                str(fitted.n_runs),
                *(number(item.value) for item in fitted.parameters.values()),
                percent(fitted.metrics["mape"]),
                percent(fitted.noise),
            )
            for fitted in same
        )
        headers = ("group", "runs", *same[0].parameters, "mape", "noise")
        tables.append(Listing(f"{name}, group by group", headers, rows))
    return tables


def _with_untied(tied: Mapping[str, Any], rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows of a tied fit, each with what its group has by itself."""
    found = []
    for name, *cells in rows:
        alone = tied["untied"].get(name)
        more = (number(alone["value"], 6), span(alone["low"], alone["high"])) if alone else ("", "")
        found.append((f"{name} (tied)" if name in tied["parameters"] else name, *cells, *more))
    return found


def failed_table(failed: FailedFit) -> Listing:
    title = f"{failed.law_id}, {group_name(failed.group)}"
    return Listing(title, ("failed",), ((failed.message,),), lines=failed.notes)


def holdout_table(fits: Sequence[Fit]) -> Listing:
    rows = [
        (
            fitted.name,
            str(row["run_id"]),
            number(row["observed"]),
            number(row["predicted"]),
            span(row["low"], row["high"]),
            percent(row["error"], sign=True),
        )
        for fitted in fits
        for row in fitted.holdout_rows
    ]
    headers = ("law", "held-out run", "observed", "predicted", "interval", "error")
    return Listing("Runs that no fit has seen", headers, tuple(rows), left=2)


def comparison_table(compared: Comparison) -> Listing:
    """The laws of one group, best first."""
    rows = tuple(
        (
            score.law,
            str(score.n_parameters),
            percent(score.mape),
            percent(score.bias, sign=True),
            percent(score.coverage, 0),
            " ".join(percent(float(sum(errors) / len(errors))) for errors in score.errors),
            "-" if i == 0 else f"{percent(score.behind, sign=True)} ± {percent(score.spread)}",
            "" if i == 0 else "decided" if score.decided else "cannot tell",
        )
        for i, score in enumerate(compared.ranking)
    )
    lines: list[str | Note] = [
        f"fitted on {counted(len(fold.training), 'run')}"
        + (f" below {power(fold.cut)} {compared.by}" if fold.cut else "")
        + f", scored on {len(fold.held)} larger"
        for fold in compared.folds
    ]
    lines += [f"{item.law_id} is not ranked: {item.message}" for item in compared.failed]
    headers = ("law", "free", "error", "bias", "covered", "by fold", "behind best", "")  # fmt: skip
    title = f"Which law foresees larger runs: {group_name(compared.group)}"
    return Listing(title, headers, rows, lines=(*lines, *compared.notes))


def predictions_table(predictions: Sequence[Prediction]) -> Listing:
    rows, notes = [], list[Note]()
    for item in predictions:
        shown = ", ".join(
            f"{name} {count(value) if name in COUNTS else number(value)}"
            for name, value in item.inputs.items()
        )
        rows.append(
            (
                item.law_id,
                group_name(item.group),
                shown,
                number(item.loss, 5),
                span(item.low, item.high),
            )
        )
        notes += _about(item.group, item.notes)
    level = predictions[0].level
    target = predictions[0].target
    headers = ("law", "group", "at", target, f"{share(level)} interval" if level else "interval")
    lines = tuple(dict.fromkeys(notes))
    return Listing(f"Predicted {target}", headers, tuple(rows), left=3, lines=lines)


def curve_table(forecast: Forecast) -> Listing:
    """What a run will reach, at a few of the steps to come and at its end."""
    ahead = [i for i, step in enumerate(forecast.steps) if step > forecast.seen]
    chosen = sorted({ahead[len(ahead) * k // 4] for k in range(4)} | {ahead[-1]}) if ahead else [-1]
    rows = tuple(
        (
            count(float(forecast.steps[i])),
            number(float(forecast.loss[i]), 5),
            span(float(forecast.low[i]), float(forecast.high[i])),
        )
        for i in chosen
    )
    told = f"told of steps up to {forecast.seen}" if forecast.seen else "told of no step of its own"
    siblings = counted(len(forecast.siblings), "finished run")
    rests = f"rests on {siblings}" if forecast.siblings else "alone"
    title = f"{forecast.run_id}: {told}, {rests}"
    headers = ("step", "loss", f"{share(forecast.level)} band")
    return Listing(title, headers, rows, left=0, lines=forecast.notes)


def _fitted_on(fitted: CurveFit) -> str:
    return f"{fitted.law.id} on {counted(len(fitted.runs), 'run')}"


def curve_fit_table(known: Assessed, level: float) -> Listing:
    """The parameters of a curve law with their intervals."""
    fitted = known.fitted
    rows = tuple(
        (name, number(item.value, 6), span(item.low, item.high))
        for name, item in fitted.parameters(level).items()
    )
    lines = (fitted.law.formula, *fitted.law.caveats)
    headers = ("parameter", "value", f"{share(level)} interval")
    return Listing(_fitted_on(fitted), headers, rows, lines=lines)


def _told_apart(specs: Sequence[str]) -> tuple[list[str], str]:
    """Each spec by its family and what not all of them say, and what they all say."""
    families, parts = zip(*(spec.split(":", 1) for spec in specs), strict=True)
    lists = [part.split(",") for part in parts]
    common = [item for item in lists[0] if all(item in other for other in lists)]
    own = [" ".join(item for item in items if item not in common) for items in lists]
    return [" ".join(pair).strip() for pair in zip(families, own, strict=True)], ", ".join(common)


def schedule_table(plan: SchedulePlan) -> Listing:
    """One line a schedule, the lowest foreseen loss first."""
    names, common = _told_apart([item.schedule for item in plan.candidates])
    rows = tuple(
        (
            name,
            number(item.loss, 5),
            span(item.low, item.high),
            "best" if item is plan.best else percent(item.behind, 2, sign=True),
            "" if item is plan.best else "decided" if item.decided else "cannot tell",
            ", ".join(item.beyond),
        )
        for name, item in zip(names, plan.candidates, strict=True)
    )
    fitted = plan.known.fitted
    title = f"Final loss after {count(plan.steps)} steps, by {_fitted_on(fitted)}: {common}"
    headers = ("schedule", "loss", f"{share(plan.level)} band", "behind", "", "beyond the runs")
    return Listing(title, headers, rows, lines=(f"Best: {plan.best.schedule}", *plan.notes))


def hparams_table(predictions: Sequence[Prediction]) -> Listing:
    """One line a rule."""
    from scaling_cli.laws import get_law

    rows = tuple(
        (
            item.target,
            item.law_id,
            group_name(item.group),
            count(item.loss) if item.target == "batch_tokens" else number(item.loss),
            span(item.low, item.high),
        )
        for item in sorted(predictions, key=lambda item: item.target, reverse=True)
    )
    caveats = [
        f"{item.law_id}: {text}" for item in predictions for text in get_law(item.law_id).caveats
    ]
    notes = [note for item in predictions for note in item.notes]
    headers = ("hyperparameter", "rule", "from", "value", "interval")
    lines: tuple[str | Note, ...] = (*dict.fromkeys(caveats), *dict.fromkeys(notes))
    return Listing("Hyperparameters", headers, rows, left=3, lines=lines)


def allocation_tables(allocations: Sequence[Allocation]) -> list[Listing]:
    """One table a fit, one line a budget."""
    fits: dict[tuple[str, str, str | None], list[Allocation]] = {}
    for item in allocations:
        fits.setdefault((item.law_id, group_name(item.group), item.fit_id), []).append(item)
    tables = []
    for (law, group, _), items in fits.items():
        rows = tuple(
            (
                power(item.budget_flops),
                "-" if item.decades_beyond is None else f"{item.decades_beyond:.1f}",
                count(item.params),
                _range(item.params_range, count),
                count(item.tokens),
                number(item.tokens_per_param, 3),
                number(item.loss),
                _range(item.loss_range, number),
            )
            for item in items
        )
        inside = share(items[0].level) if items[0].level else "interval"
        headers = ("FLOPs", "past", "params", inside, "tokens", "D/N", "loss", inside)
        flat = [item for item in items if item.cost_of_double is not None]
        lines: list[str | Note] = []
        if flat:
            lines.append(
                f"At {power(flat[-1].budget_flops)} FLOPs twice the params cost"
                f" {percent(flat[-1].cost_of_double)} of the loss, half of them"
                f" {percent(flat[-1].cost_of_half)}."
            )
        if any(item.decades_beyond for item in items):
            lines.append("past: decades of compute beyond the largest fitted run.")
        # What is said of each budget is said once, of the last.
        latest = {(note.code, note.message.split()[0]): note for i in items for note in i.notes}
        title = f"Compute-optimal splits: {law}, {group}"
        tables.append(Listing(title, headers, rows, left=0, lines=(*lines, *latest.values())))
    return tables


def crossing_table(item: Crossing) -> Listing:
    shape = dict(RANGES).get(item.along, number)
    low, high = ("open" if place is None else shape(place) for place in (item.low, item.high))
    share = "-" if item.share is None else percent(item.share)
    row = (item.along, shape(item.at), f"{low}..{high}", share, item.before, item.after)
    return Listing(
        f"Where {item.first} and {item.second} meet",
        ("along", "at", "interval", "resamples", "lower before", "after"),
        (row,),
        lines=("resamples: share of them in which the curves cross.", *item.notes),
    )


def equivalence_table(items: Sequence[Equivalence]) -> Listing:
    rows = tuple(
        (
            power(item.flops),
            number(item.loss),
            "never" if item.multiple is None else number(item.multiple),
            f"{number(item.low)}..{'never' if item.high is None else number(item.high)}"
            if item.low is not None
            else "-",
        )
        for item in items
    )
    notes = dict.fromkeys(note for item in items for note in item.notes)
    return Listing(
        f"Compute that {items[0].second} needs for the loss of {items[0].first}",
        ("FLOPs", "loss", "times", "interval"),
        rows,
        left=0,
        lines=tuple(notes),
    )


def slopes_table(items: Sequence[Slope]) -> Listing:
    rows = tuple(
        (
            item.name,
            item.exponent,
            number(item.value),
            span(item.low, item.high),
            *(() if item.theory is None else (number(item.theory), number(item.p_value))),
        )
        for item in items
    )
    headers = ("recipe", "exponent", "value", "interval")
    tested = any(item.theory is not None for item in items)
    notes = dict.fromkeys(note for item in items for note in item.notes)
    return Listing(
        "Slopes of the loss above its floor" if "/" not in items[0].name else "Ratios of slopes",
        (*headers, "theory", "p") if tested else headers,
        rows,
        left=2,
        lines=tuple(notes),
    )


def laws_tables(laws: Sequence[Law]) -> list[Listing]:
    """One table a family, one line a law."""
    families: dict[str, list[Law]] = {}
    for law in laws:
        families.setdefault(law.family, []).append(law)
    return [
        Listing(
            family,
            ("law", "what it says", ""),
            tuple(
                (", ".join((law.id, *law.aliases)), law.title, _standing(law)) for law in members
            ),
            left=3,
        )
        for family, members in families.items()
    ]


def _standing(law: Law) -> str:
    """How many coefficients there are, and whether the form can be relied on."""
    sets = f"{len(law.published)} published" if law.published else ""
    return ", ".join(filter(None, (sets, "" if law.evidence.verified else "unverified")))


def law_tables(law: Law, about: Sequence[str] = ()) -> list[Listing]:
    """One law in full: its parameters, its coefficients, its evidence, its caveats, and what a
    recipe does to the runs."""
    names = dict.fromkeys((*law.variables, law.target, *([law.trials] if law.trials else [])))
    lines = [
        f"{law.target} = {law.formula}",
        *(f"{name}: {meaning(name)}" for name in names),
        *(about or [f"objective: {law.objective}"]),
        *([f"recipe paper: {law.paper.objective}, {law.paper.method}"] if law.paper else []),
        f"source: {law.source}",
        f"form: {law.evidence}",
        f"example: scalefit fit {example(law)}",
        *([f"also known as: {', '.join(law.aliases)}"] if law.aliases else []),
        *(f"caveat: {text}" for text in law.caveats),
    ]
    tables = [
        Listing(
            f"{law.id}: {law.title}",
            ("parameter", "meaning"),
            tuple((p.name, p.meaning) for p in law.parameters),
            left=2,
            lines=tuple(lines),
        )
    ]
    for item in (*law.published, *law.unverified):
        rows = tuple((name, f"{value:.8g}") for name, value in item.values.items())
        mark = "" if item.evidence.verified else " (UNVERIFIED: nothing is predicted from it)"
        origin = (
            f"{item.data}; {item.target}; params: {item.params}; {item.source}; {item.evidence}"
        )
        tables.append(Listing(item.name + mark, ("parameter", "value"), rows, lines=(origin,)))
    return tables


def meaning(name: str) -> str:
    """What a column says, and its unit."""
    from scaling_cli.columns import about

    column = about(name)
    if column is None:
        return "any column, named with --x"
    return f"{column.meaning} ({column.unit})"


def example(law: Law) -> str:
    """The options of `scalefit fit` that fit this law."""
    x = " --x tokens" if "x" in law.variables else ""
    return f"--law {law.id}{x}"

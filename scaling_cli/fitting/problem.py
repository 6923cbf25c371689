"""What is to be fitted: options, usable rows, and the frame that the solver works in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from scaling_cli.columns import COLUMNS, is_positive
from scaling_cli.copies import as_one, copies, duplicates, same_run_twice
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting import accepts, diagnostics, shares
from scaling_cli.fitting.identified import settled
from scaling_cli.fitting.objective import Objective, get_objective
from scaling_cli.fitting.result import PROCEDURES, ROBUST
from scaling_cli.fitting.surface import Surface, on_scale
from scaling_cli.fitting.targets import LANGUAGE, direction_notes, unit_notes
from scaling_cli.fitting.transforms import DOMAINS
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Floats
from scaling_cli.spelling import spelled_like
from scaling_cli.table import Table

DEFAULT_RESAMPLES = 1000
TOLD_BY_ROWS = (
    "ambiguous_name",
    "selected",
    "near_best",
    "smoothed",
)  # notes of the rows that a fit keeps


@dataclass(frozen=True)
class FitOptions:
    """How to fit. `x` names the column of a one-variable law; `objective` and `target` are the
    law's own unless they are named; `weights` names a column that runs count by. `fixed` pins
    parameters, `bounds` keep them in a range, and `tied` ones are the same in every group; `ranges`
    say where they start. `procedure` is `robust`, or `paper` for what the law's own paper did.
    `prior` is `language`, or `none` for runs that are no language models'; `auto` alone has one.
    With `checkpoints` a link, and `auto` where runs have one ratio of tokens to params, rests on
    logged points of the runs, else on their final ones."""

    objective: str | None = None
    resamples: int = DEFAULT_RESAMPLES
    seed: int = 0
    level: float = 0.90
    x: str | None = None
    target: str | None = None
    weights: str | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    procedure: str = ROBUST
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    prior: str = LANGUAGE
    checkpoints: bool = True


def _objective(law: Law, options: FitOptions) -> Objective:
    """What is minimised: as the user says, else the law's own or its paper's."""
    if options.procedure not in PROCEDURES:
        raise InputError(
            f"there is no procedure '{options.procedure}'",
            f"Choose one of {', '.join(PROCEDURES)}.",
        )
    if options.procedure == ROBUST:
        return get_objective(options.objective or law.objective)
    if law.paper is None:
        raise InputError(
            f"how the paper of law {law.id} fitted it is not recorded",
            f"Use `procedure={ROBUST}`, or name an `objective=`.",
        )
    accepts.check("paper", f"law {law.id} as its paper fitted it", options)
    return get_objective(law.paper.objective)


@dataclass(frozen=True)
class Design:
    """What a law is fitted to: `columns` by the law's own names, `target` and `trials`, [rows].

    `weights` [rows], of mean one, say how much a row counts; None where all count the same.
    `names` maps the law's variables, `target` and `trials` to the columns of the observations.
    """

    law: Law
    rows: Table
    names: Mapping[str, str]
    columns: Mapping[str, Floats]
    target: Floats
    trials: Floats | None
    weights: Floats | None
    objective: Objective
    notes: tuple[Note, ...]

    @classmethod
    def of(cls, law: Law, observations: Table, options: FitOptions) -> Design:
        law, notes_of_law = _among(law, observations, options)
        law = _ranged(law, options.ranges)
        _check_fixed(law, options.fixed)
        names = _column_names(law, options, observations) | {"target": options.target or law.target}
        if law.trials:
            names["trials"] = law.trials
        objective = _objective(law, options)
        needed = names | ({"weights": options.weights} if options.weights else {})
        free = len(law.parameters) - len(options.fixed)
        rows, notes = usable(law, observations, needed, objective.log, free)
        columns, target = read(rows, names)
        shares.refuse_others(law, names, columns)
        law = _leveled(law, target, options)
        columns = settled(law, columns)
        weights = None
        if options.weights:
            weights = of_mean_one(rows.numbers(options.weights))
            notes.append(Note.of("weighted", f"Runs count by the column {options.weights}."))
        trials = rows.numbers(names["trials"]) if law.trials else None
        if objective.binomial and trials is None:
            raise InputError(
                f"objective {objective.name} needs the tries behind a rate, which law {law.id} does"
                " not read",
                "Use it with passuntil, or choose `objective=squared`.",
            )
        notes += look_at(law, names["target"], columns, target, effective_runs(rows, weights), free)
        _refuse_turn(law, names, columns, target, rows)
        notes = [*notes_of_law, *notes]
        return cls(law, rows, names, columns, target, trials, weights, objective, tuple(notes))

    def no_number(self) -> FitError:
        """That no fit of these rows can be written, and what of them is to blame."""
        alike = [name for name, n in diagnostics.sizes(self.columns).items() if n == 1]
        varied = f": {' and '.join(alike)} hardly vary" if alike else ""
        return FitError(
            f"{self.law.id} gives no finite prediction on these {len(self.rows)} runs{varied}",
            "Add runs that differ there, or fit a law that does not read it.",
        )


def look_at(
    law: Law, name: str, columns: Mapping[str, Floats], target: Floats, runs: float, free: int
) -> list[Note]:
    """What the rows alone make doubtful, before a fit of `free` parameters to the target `name`;
    `runs` are counted as `effective_runs` does."""
    return [
        *diagnostics.design_notes(law, columns, runs, free),
        *diagnostics.settings_notes(columns, target, name),
        *unit_notes(law, name, target),
        *shares.mixture_notes(columns),
        *direction_notes(law, name, columns, target),
    ]


def _refuse_turn(
    law: Law,
    names: Mapping[str, str],
    columns: Mapping[str, Floats],
    target: Floats,
    rows: Table,
) -> None:
    """A monotone curve through runs that turn around is wrong at both ends (arXiv:2306.09479).

    Of the points of one run the last counts: as so many runs their noise would be a turn."""
    if len(law.variables) > 1 or not law.monotone:
        return
    (variable,) = law.variables
    last = np.array(sorted({owner: i for i, owner in enumerate(rows.owners)}.values()))
    place = diagnostics.turn(columns[variable][last], target[last])
    if place is None:
        return
    column = names[variable]
    raise FitError(
        f"{names['target']} turns around near {column} {place:.3g}, and law {law.id} is monotone",
        f"Fit one side, for instance `where=` '{column} > {place:.3g}', or a law that can bend"
        " back: `law=bnsl`.",
    )


@dataclass(frozen=True)
class Frame:
    """What the solver's coordinates are measured by: scales of columns, and constants on these."""

    law: Law
    scales: Mapping[str, float]
    constants: Mapping[str, float]
    fixed: Mapping[str, float]
    bounds: Mapping[str, tuple[float, float]]

    @classmethod
    def around(cls, law: Law, columns: Mapping[str, Floats], options: FitOptions) -> Frame:
        scales, _, constants = on_scale(law, columns)
        fixed = _fixed_on_scale(law, options.fixed, scales)
        return cls(law, scales, constants, fixed, _bounds(law, options))

    def surface(self, design: Design) -> Surface:
        scaled = {
            name: values / self.scales.get(name, 1.0) for name, values in design.columns.items()
        }
        constants = {**self.constants, **self.fixed}
        surface = Surface(
            self.law,
            scaled,
            design.target,
            design.objective,
            constants,
            design.trials,
            design.weights,
            self.bounds,
        )
        reach = surface.decode(np.stack(surface.limits))
        for name, (low, high) in self.bounds.items():
            if np.max(reach[name]) < low or np.min(reach[name]) > high:
                raise InputError(
                    f"`bounds={name}={low:g}:{high:g}` lies beyond what a fit can reach",
                    "Give a range that the data could ask for.",
                )
        return surface

    def raw(self, surface: Surface, points: Floats) -> Floats:
        """Coordinates [batch, free] -> base-unit parameters [batch, parameters]."""
        with np.errstate(over="ignore"):  # a resample's exponent may have run away
            values = self.law.to_raw(surface.decode(points), self.scales)
        columns = [values[name] for name in self.law.parameter_names]
        return np.concatenate([np.broadcast_to(c, (len(points), 1)) for c in columns], axis=1)


def check_names(law: Law, names: Iterable[str]) -> None:
    """InputError unless the law has all these parameters."""
    for name in names:
        if name not in law.parameter_names:
            raise InputError(
                f"law {law.name} has no parameter {name}",
                f"It has {', '.join(law.parameter_names)}.",
            )


def _bounds(law: Law, options: FitOptions) -> Mapping[str, tuple[float, float]]:
    """The bounds on parameters, checked."""
    check_names(law, options.bounds)
    for name in options.bounds:
        if name in options.fixed:
            raise InputError(
                f"{name} is fixed and bounded", f"Leave `fix=` or `bounds={name}` out."
            )
        if law.parameter(name).centre:
            raise InputError(
                f"{name} is an amplitude, whose unit depends on its exponent",
                f"Leave `bounds={name}` out, or pin it by `fix=`.",
            )
        low, high = options.bounds[name]
        least, most = DOMAINS[law.parameter(name).transform]
        if high <= least or low >= most:
            raise InputError(
                f"law {law.name} keeps {name} {_domain_text(least, most)}, and `bounds=`"
                f" {name}={low:g}:{high:g} leaves nothing of that",
                f"Bound it there, or let it go elsewhere: `ranges={name}={low:g}:{high:g}`.",
            )
    return options.bounds


def _check_fixed(law: Law, fixed: Mapping[str, float]) -> None:
    check_names(law, fixed)
    if set(law.parameter_names) <= set(fixed):
        raise InputError(
            f"every parameter of law {law.name} is fixed, and nothing is left to fit",
            "Leave one `fix=` out.",
        )


def _domain_text(least: float, most: float) -> str:
    if np.isfinite(least) and np.isfinite(most):
        return f"between {least:g} and {most:g}"
    return f"above {least:g}" if np.isfinite(least) else f"below {most:g}"


def _ranged(law: Law, ranges: Mapping[str, tuple[float, float]]) -> Law:
    check_names(law, ranges)
    for name in ranges:
        if law.parameter(name).centre:
            raise InputError(
                f"{name} is an amplitude, whose start is found on scaled columns",
                f"Leave `ranges={name}` out, or pin it by `fix=`.",
            )
    return law.starting(ranges)


def _leveled(law: Law, target: Floats, options: FitOptions) -> Law:
    """The law whose levels of the target are free where the target leaves 0 to 1: rewards go below
    zero, and scores above one."""
    low, high = float(np.min(target)), float(np.max(target))
    if not law.levels or (low >= 0 and high <= 1):
        return law
    names = [name for name in law.levels if name not in options.ranges]
    return law.with_levels(names, low - (high - low), high + (high - low))


def _among(law: Law, observations: Table, options: FitOptions) -> tuple[Law, list[Note]]:
    """A law over a family of columns, on those that the observations have; a formula on all names
    that the observations have numbers of, but for those that the options treat as parameters."""
    if law.family == "formula":
        return _formula_among(law, observations, options)
    if law.over and not any(name.startswith(law.over) for name in observations.columns):
        raise FitError(
            f"law {law.id} reads the columns {law.over}*, and no run has one",
            f'Name them in the mapping: [columns] "{law.over}web" = "...", and ingest again.',
        )
    return law.among(observations.columns), []


def _formula_among(law: Law, rows: Table, options: FitOptions) -> tuple[Law, list[Note]]:
    given = {*options.fixed, *options.bounds, *options.ranges, *options.tied}
    labels = rows.labels.known()
    read = [
        name
        for name in law.parameter_names
        if name not in rows.columns and name not in given and rows.has(name)
        # E, A or b may well end the key of some setting, and are nearly always parameters
        if len(name) > 2 or name in labels
    ]
    notes = [
        Note.of("formula_reads", f"{name} is read from the runs ({rows.labels.origin(name)}).")
        for name in read
    ]
    among = law.among([*rows.columns, *read])
    known = [*COLUMNS, *rows.columns, *labels]
    for name in among.parameter_names:
        near = [] if name in given or len(name) < 4 else spelled_like(name, known)
        if near:
            message = f"{name} is fitted as a free parameter; did you mean {near[0]}?"
            notes.append(Note.of("formula_name_near", message))
    return among, notes


def read(rows: Table, names: Mapping[str, str]) -> tuple[dict[str, Floats], Floats]:
    """The law's variables and its target, each [rows]."""
    found = {name: rows.numbers(column) for name, column in names.items()}
    target = found.pop("target")
    found.pop("trials", None)
    return found, target


def _column_names(law: Law, options: FitOptions, rows: Table) -> dict[str, str]:
    """The law's variables -> the observations' columns. A law of whole runs reads the learning rate
    that was set, not that of the last step."""
    if "x" not in law.variables:
        set_rate = law.family != "training curve" and rows.has("peak_lr")
        return {name: "peak_lr" if name == "lr" and set_rate else name for name in law.variables}
    if options.x is None:
        raise InputError(
            f"law {law.id} reads one column, and none was named",
            "Say which, for instance `x=flops` or `x=tokens`.",
        )
    return {"x": options.x}


def usable(
    law: Law,
    observations: Table,
    names: Mapping[str, str],
    positive_target: bool,
    least: int | None = None,
) -> tuple[Table, list[Note]]:
    """The rows that have every column that the law needs: `names` maps its variables, and
    `target`, to columns. Counts are positive, a target where its log is taken."""
    mask = np.ones(len(observations), dtype=bool)
    curve = law.family == "training curve"  # their columns are of a run's steps
    if "rate_drops" in law.variables or (
        curve and any(np.isnan(observations.numbers(column)).all() for column in names.values())
    ):
        raise FitError(
            f"law {law.id} reads the learning rate of every step, not a run's final point",
            "Ask `scalefit curve` with `run=RUN`.",
        )
    if positive_target:
        _refuse_negative(observations, names.get("target", "loss"))
    for name, column in names.items():
        values = observations.numbers(column)
        if np.isnan(values).all():
            raise FitError(
                f"law {law.id} needs the column {column}, which none of the"
                f" {len(observations)} runs has",
                f'Say in the mapping where it is: [columns] {column} = "...", and ingest again.',
            )
        mask &= np.isfinite(values)
        if name == "weights" or (name != "target" and is_positive(column)):
            mask &= values > 0
    notes = [note for note in observations.notes if note.code in TOLD_BY_ROWS]
    notes += observations.remarks(names.values())
    dropped = int(np.sum(~mask))
    wanted = ", ".join(dict.fromkeys(names.values()))
    if dropped:
        ids = [name for name, keep in zip(observations.run_ids, mask, strict=True) if not keep]
        notes.append(
            Note.of(
                "rows_dropped",
                f"{dropped} of {len(observations)} runs lack a positive {wanted}: "
                + ", ".join(ids[:5])
                + (" ..." if dropped > 5 else "")
                + ".",
            )
        )
    rows = observations.select(mask)
    needed = len(law.parameters) if least is None else least
    if len(rows) < needed:
        lacking = f" ({dropped} lack a positive {wanted})" if dropped else ""
        raise FitError(
            f"law {law.id} needs {counted(needed, 'usable run')} and there are"
            f" {len(rows)}{lacking}",
            "Add runs, widen `where=`, or choose a law with fewer parameters.",
        )
    notes += diagnostics.repeated_notes(law, rows.columns)
    again = copies(rows, names.get("target", "loss"), names.values())
    notes += same_run_twice(rows) or duplicates(rows, again)
    return as_one(rows, again), notes


def _refuse_negative(observations: Table, target: str) -> None:
    """To leave out the runs whose target has no log would choose runs by what they reached."""
    values = observations.numbers(target)
    below = np.flatnonzero(values <= 0)
    if len(below):
        ids = ", ".join(observations.run_ids[row] for row in below[:5])
        raise FitError(
            f"{target} is not above zero in {len(below)} of {counted(len(observations), 'run')}"
            f" ({ids}{' ...' if len(below) > 5 else ''}), and residuals are logs",
            f"If it stands for a value that is missing, `where=` '{target} > 0'; else fit a law"
            " without logs: `law=NAME` `objective=squared`.",
        )


def _fixed_on_scale(
    law: Law, fixed: Mapping[str, float], scales: Mapping[str, float]
) -> dict[str, float]:
    result = {}
    for name in fixed:
        parameter = law.parameter(name)
        try:
            scaled = parameter.to_raw(fixed, {c: 1 / s for c, s in scales.items()})
        except KeyError as missing:
            (lacking,) = missing.args
            raise InputError(
                f"{name} can only be fixed together with {lacking}",
                f"Add `fix={lacking}=VALUE`.",
            ) from None
        result[name] = float(scaled)
    return result


def of_mean_one(weights: Floats) -> Floats:
    """The weights [rows] over their mean; those near the largest float do not overflow."""
    scaled: Floats = weights / np.max(weights)
    return scaled / np.mean(scaled)


def effective_runs(rows: Table, weights: Floats | None = None) -> float:
    """How many runs of equal weight would say as much (Kish 1965): points of one run are one."""
    totals = np.bincount(rows.owner_numbers(), weights)
    return float(np.sum(totals) ** 2 / np.sum(totals**2))

"""Warnings as data: a code that programs test, a severity, and a sentence for people.

Every code is declared once, in `SECTIONS` below; `scalefit explain CODE` and docs/warnings.md
(`make docs`) follow from that, and a note of no declared code cannot be made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

Severity = Literal["info", "warning", "severe"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the worse, the later


@dataclass(frozen=True)
class Kind:
    """What notes of one code have in common.

    A code with a `*` stands for one code a column (`negative_*`: `negative_tokens`). Where there is
    more than one severity, the note says which, by how bad its case is.
    """

    code: str
    severities: tuple[Severity, ...]
    meaning: str
    mend: str


@dataclass(frozen=True)
class Note:
    """One warning. `severe` means that the number it stands beside is not to be relied on."""

    code: str
    severity: Severity
    message: str

    def __post_init__(self) -> None:
        declared = kind_of(self.code)
        if declared is None:
            raise ValueError(f"declare the code {self.code!r} in scaling_cli/notes.py")
        if self.severity not in declared.severities:
            raise ValueError(
                f"{self.code} is declared as {declared.severities}, not {self.severity}"
            )

    @classmethod
    def of(cls, code: str, message: str, severity: Severity | None = None) -> Note:
        """A note of a declared code; `severity` where the declaration leaves a choice."""
        declared = kind_of(code)
        if severity is None and declared is not None:
            (severity,) = declared.severities
        return cls(code, severity or "severe", message)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Note:
        """A note as it was kept, of this version or another: its code need not be known today.

        ValueError where it is no note.
        """
        parts = {name: document.get(name) for name in ("code", "severity", "message")}
        if not all(isinstance(part, str) for part in parts.values()):
            raise ValueError("a warning has a code, a severity and a message, each a text")
        if parts["severity"] not in SEVERITIES:
            raise ValueError(f"a warning is {', '.join(SEVERITIES)}, not {parts['severity']}")
        kept = object.__new__(cls)
        for name, part in parts.items():
            object.__setattr__(kept, name, part)
        return kept

    def about(self, subject: str) -> Note:
        """The same note, which says of whom it speaks."""
        return Note.from_json(asdict(self) | {"message": f"{subject}: {self.message}"})

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def gather(notes: Iterable[tuple[str, Note]]) -> tuple[Note, ...]:
    """Notes on many runs as one note for each kind: (run id, its note) in, first come first."""
    kinds: dict[tuple[str, Severity], list[tuple[str, str]]] = {}
    for run_id, note in notes:
        kinds.setdefault((note.code, note.severity), []).append((run_id, note.message))
    gathered = []
    for (code, severity), found in kinds.items():
        ids = list(dict.fromkeys(run_id for run_id, _ in found))
        messages = list(dict.fromkeys(message for _, message in found))
        shown = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
        more = f" (and {len(messages) - 1} other such remarks)" if len(messages) > 1 else ""
        prefix = f"{shown}: " if any(ids) else ""
        message = prefix + messages[0] + more
        gathered.append(Note.from_json({"code": code, "severity": severity, "message": message}))
    return tuple(gathered)


def kind_of(code: str) -> Kind | None:
    """The declaration of a code, or None."""
    exact = KINDS.get(code)
    if exact is not None:
        return exact
    return next((kind for name, kind in _FAMILIES.items() if fnmatchcase(code, name)), None)


def mends(notes: Iterable[Note]) -> str:
    """What would mend all that these notes say, each once."""
    kinds = [kind_of(note.code) for note in notes]
    return " ".join(dict.fromkeys(kind.mend for kind in kinds if kind))


def register(kind: Kind) -> None:
    """Declare a code of your own, as a package does that adds a source, a law or a check."""
    if kind_of(kind.code) is not None:
        raise ValueError(f"{kind.code} is declared already")
    (_FAMILIES if "*" in kind.code else KINDS)[kind.code] = kind


def _info(code: str, meaning: str, mend: str) -> Kind:
    return Kind(code, ("info",), meaning, mend)


def _warning(code: str, meaning: str, mend: str) -> Kind:
    return Kind(code, ("warning",), meaning, mend)


def _severe(code: str, meaning: str, mend: str) -> Kind:
    return Kind(code, ("severe",), meaning, mend)


SECTIONS: dict[str, tuple[Kind, ...]] = {
    "Reading sources": (
        _warning(
            "damaged",
            "Parts of a file cannot be read: it was cut off or altered. The rest of it is read.",
            "Copy the file again from where it was written. A run that is still being written may"
            " lack its last part for a moment: ingest again later.",
        ),
        _warning(
            "counter_does_not_rise",
            "A printed name says tokens or FLOPs of all so far, but its values do not rise.",
            "Map it, if it is what a step takes: batch_tokens or tokens in [columns].",
        ),
        _warning(
            "decimal_comma",
            "A number holds a comma that may part thousands or decimals, and is left out.",
            "Write decimal points where the log is made, or replace the commas in the file.",
        ),
        _warning(
            "empty_file",
            "A file in the folder holds no bytes, and is passed over.",
            "Nothing, if no run was meant to be in it; else copy it again.",
        ),
        _warning(
            "history_incomplete",
            "The service gave fewer logged rows of a run than it says it has.",
            "Ingest again; the run is fetched anew until its history is whole.",
        ),
        _warning(
            "incomplete",
            "The server did not give the latest point of some metrics.",
            "Ingest again; if it stays, look at the run in the server's own page.",
        ),
        _info(
            "files_not_known",
            "Files of the folder were looked into and hold no form of log that is known.",
            "Nothing, if they are no logs; else say how a line reads ([console] line), or which"
            " format they have (`as_format=`), and see docs/sources.md.",
        ),
        _info(
            "in_bits",
            "The trainer prints its losses to base 2; they were turned into nats.",
            "Nothing; the printed values are kept under their own names.",
        ),
        _warning(
            "far_from_a_step",
            "Lines of a console log hold values, and no step is near: they are left out.",
            "Nothing, if they are of another model; else print the step in the line.",
        ),
        _warning(
            "long_lines",
            "Lines of a console log are too long to be a trainer's message, and are left out.",
            "Nothing, if they are progress bars or dumps; else write the metrics to a file of"
            " their own.",
        ),
        _warning(
            "no_id_column",
            "The table lacks the column that the mapping names as the run's id.",
            "Correct `[run] id` in the mapping, or leave it out.",
        ),
        _warning(
            "no_points",
            "An event file holds no scalars.",
            "Nothing, if it belongs to a profiler or a graph; else log scalars.",
        ),
        _warning(
            "counter_joined",
            "A counter of steps begins again, with each epoch or session; the parts are put behind"
            " one another.",
            "Log a step that goes on, or name one: `[columns] step`.",
        ),
        _warning(
            "names_numbered",
            "Several rows of a table of runs have one name (its seeds, say). Each row is a run.",
            "Nothing; or name a column of ids: `[run] id`.",
        ),
        _info(
            "remarks_left_out",
            "Lines that begin with # stand between the rows of a table, and are no rows.",
            "Nothing.",
        ),
        _warning(
            "parted_by_settings",
            "A table of histories names no runs: rows whose settings are the same are a run each.",
            "Nothing, if so; else name the column of ids: `[run] id`.",
        ),
        _warning(
            "step_by_order",
            "No known name tells the step; a column that rises from row to row is taken for it.",
            "Name the step: `[columns] step`.",
        ),
        _info(
            "own_step",
            "The run logged a step of its own, which counts; the logger's count of its calls does"
            " not.",
            "Nothing; to take another counter: `[columns] step`.",
        ),
        _info(
            "files_joined",
            "Files of one folder whose names say what is in them (`train.csv`, `eval.csv`) are one"
            " run.",
            "Nothing; runs of their own need names of their own, or folders.",
        ),
        _info(
            "settings_beside",
            "A run that is alone in its folder has the settings of the file beside it"
            " (`config.json`, `hparams.yaml`).",
            "Nothing; what the log itself says goes before them.",
        ),
        _warning(
            "header_again",
            "The header of a table stands again among its rows, and is passed over there.",
            "Nothing.",
        ),
        _info(
            "not_runs",
            "Tables or JSON lines in the folder hold no loss, no size, no tokens and no step: data,"
            " and no runs. They are passed over.",
            "Nothing; if they are runs, map their columns by `[columns]`.",
        ),
        _info(
            "own_store",
            "A folder is a store of scalefit, whose runs are in it already; it is passed over.",
            "Nothing.",
        ),
        _warning(
            "no_step_column",
            "The points of a history have no step; they are numbered in the order of the tokens or"
            " of the file.",
            "Add a step column, or map one by `[columns] step`.",
        ),
        _warning(
            "non_finite",
            "Logged values are NaN or infinite. They are kept, and a law does not use them.",
            "See whether the run diverged: `scalefit check` has the rule `nan`.",
        ),
        _info(
            "not_scalars",
            "Images, histograms and other media are no numbers over steps, and are left out.",
            "Nothing.",
        ),
        _info(
            "parted_by_group",
            "Runs of one name repeat their steps under several groups, and are taken as one run a"
            " group.",
            "Give the runs ids of their own by `[run] id`, if that is not what they are.",
        ),
        _warning(
            "repeated_runs",
            "Several rows of a table of runs have one id and one result; the last row counts.",
            "Remove the copies, or add a step column if the rows are points of a history.",
        ),
        _warning(
            "held_out_unread",
            "Lines of a console log name an evaluation and a number in a form that is not known,"
            " and no held-out loss was read.",
            'Say how they read: `[console] line = "validation: {val_loss}"`.',
        ),
        _warning(
            "no_step_lines",
            "Lines of a console log hold values and no step: they are taken at a step beside them.",
            "Nothing, if they belong to that step; else print the step in the line.",
        ),
        _warning(
            "ranks_left_out",
            "Several ranks print the same steps into one log; one of them is read.",
            "Nothing, if they print the mean over all; else log the mean from one rank.",
        ),
        _warning(
            "repeated_steps",
            "A metric was logged more than once at a step; the last value counts.",
            "Nothing, after a restart from a checkpoint; else log each step once.",
        ),
        _info(
            "restarted",
            "A run went on from a checkpoint: points that were logged again replace the earlier.",
            "Nothing.",
        ),
        _warning(
            "several_runs",
            "A file holds several runs in turn: each begins where the steps begin again.",
            "Nothing, if they are runs of their own; else name each run's file.",
        ),
        _warning(
            "sessions_joined",
            "The steps of a file begin again: its sessions or epochs are joined into one run.",
            "Nothing, after a restart from a checkpoint; else give each run a file of its own.",
        ),
        _warning(
            "step_counts_rows",
            "The log says no step: rows or epochs are counted instead, and no tokens are computed.",
            "Ingest a log that has steps (trainer_state.json), or map tokens in scalefit.toml.",
        ),
        _warning(
            "step_counts_calls",
            "The run logged no step of its own, and its logger's count of its calls (`_step` of"
            " W&B) may be another: no tokens are computed from it.",
            'Where each step is one call: `[columns] step = "_step"`; else log the step, or map'
            " tokens by an expression.",
        ),
        _info(
            "step_from_epoch",
            "The log says no step; it was computed from the epoch and the printed plan.",
            "Ingest trainer_state.json where the exact step matters.",
        ),
        _info(
            "rounded",
            "A console log holds numbers as they were printed, to a few digits.",
            "Ingest what the logger wrote (JSONL, CSV, TensorBoard, W&B), where it is there.",
        ),
        _warning(
            "rows_without_step",
            "Rows of a history have no step, and are left out.",
            "Log the step with every row.",
        ),
        _warning(
            "run_not_described",
            "The table given by `meta=` has rows for runs that are not among the sources.",
            "Correct their ids, or ingest those runs too.",
        ),
        _warning(
            "run_without_history",
            "A table describes a run whose history is not beside it.",
            "Copy the history to the same folder, or nothing if its final row is enough.",
        ),
        _warning(
            "sampled",
            "The source holds a sample of the logged points (a chart's export), not all of them.",
            "Ingest the runs themselves for the full history.",
        ),
        _info(
            "text_left_out",
            "Columns that are neither numbers nor one constant text are left out.",
            "Nothing, unless one of them should be a number: write it as one.",
        ),
        _warning(
            "truncated",
            "The last row of a file is cut off, and is left out.",
            "Nothing while the run is being written; else copy the file again.",
        ),
        _warning(
            "adapter_failed",
            "An adapter of another package could not be loaded, or failed on a file, which is left"
            " out.",
            "Tell those who made the adapter; read its files by another format with `as_format=`.",
        ),
        _warning(
            "unreadable",
            "A file or a run cannot be read as what it seems to be, and is left out.",
            "Read the message; name the format by `as_format=` if it was recognised wrongly.",
        ),
    ),
    "Columns and their names": (
        _warning(
            "ambiguous_name",
            "A name that was asked for means more than one thing in the runs: a logged metric and a"
            " setting, or settings that are nested differently. Metrics come before settings.",
            "Write a setting in full: `config.batch`, `config.model.depth`.",
        ),
        _warning(
            "column_name_near",
            "The mapping names a column that nobody reads, and that looks like a canonical one.",
            "Correct the name in `[columns]`; a column of your own needs another name.",
        ),
        _info(
            "runs_forgotten",
            "Runs of the source were forgotten (`scalefit runs forget`), and are left out.",
            "Ingest with `again=` to bring them back.",
        ),
        _info(
            "runs_vanished",
            "Runs in the store are no more where they were read: their files or rows have gone.",
            "Nothing, if they were moved away; `scalefit runs forget` takes them out.",
        ),
        _warning(
            "replaced_from_elsewhere",
            "A run of the store was replaced by one of the same id that another file holds, and"
            " that ended at other values.",
            "Give the runs two ids (a column for `[run] id`), or a store each.",
        ),
        _warning(
            "columns_lost",
            "A run has lost columns that it had when it was ingested before.",
            "Ingest it again with the same `config=` and the table of its settings (`meta=`).",
        ),
        _warning(
            "*_no_number",
            "A setting that names a column (params, tokens, ...) is a text and no plain number, so"
            " it is not read as that column.",
            "Write it as a number, or map the column by an expression over other settings.",
        ),
        _warning(
            "mapped_name_missing",
            "The mapping names a metric or a setting that the runs do not have.",
            "Correct the name in `[columns]`; `scalefit show RUN` shows what is there.",
        ),
        _warning(
            "mixed_origins",
            "The loss or the size is read from different names in different runs: they may not"
            " compare.",
            "Map the column in `[columns]`, or ingest the runs into stores of their own.",
        ),
        _warning(
            "negative_*",
            "A count is negative in its source (often an integer that overflowed), so it is not"
            " read as that column.",
            "Map the column from another name.",
        ),
        _warning(
            "no_loss",
            "Runs have no finite loss, or no column is known as the loss; they are left out of"
            " fits.",
            'Name it in scalefit.toml: `[columns] loss = "..."`.',
        ),
        _info(
            "loss_chosen",
            "Several losses were logged, and a held-out one is taken.",
            "Nothing; to take another: `[columns] loss`.",
        ),
        _warning(
            "loss_of_training",
            "The training loss is taken, though held-out losses were logged: of several data sets,"
            " so that none stands for all.",
            "Name the one that counts: `[columns] loss`.",
        ),
        _warning(
            "params_active",
            "A model of experts logged all its parameters and those that a token passes through."
            " All are N; those that a token passes through cost compute.",
            "To fit the active ones as N: `[columns] params`.",
        ),
        _info(
            "params_chosen",
            "Parameters were logged with and without embeddings; the first count as N.",
            "To fit the others: `[columns] params`.",
        ),
        _warning(
            "not_rising",
            "A metric is called as tokens or compute are, and does not rise over the run: it"
            " counts what one step takes. It is not read.",
            "Map the metric that counts what was seen so far.",
        ),
        _warning(
            "tokens_chosen",
            "More than one count of tokens was logged and they differ: that of all devices and"
            " kinds is taken where a name says so, else the likeliest by name.",
            "To take another: `[columns] tokens`.",
        ),
        _warning(
            "step_beyond_plan",
            "The step goes far beyond the steps that the config plans: it counts something else,"
            " and no tokens are computed from it.",
            "Name the step: `[columns] step`, or the tokens: `[columns] tokens`.",
        ),
        _warning(
            "units_unlikely",
            "A count of tokens or parameters is too small for one: it may be in millions or"
            " billions.",
            'Say its unit: `[columns] tokens = "tokens * 1e9"`.',
        ),
        _warning(
            "params_offered",
            "The run has no params by a known name, and something in it may be them: a count in"
            " millions, say, or one without embeddings. It is not read.",
            "Take the line that is offered into the mapping, if it is what is meant.",
        ),
        _warning(
            "tokens_offered",
            "The run has no tokens by a known name, and something in it may be them, in millions,"
            " say. It is not read.",
            "Take the line that is offered into the mapping, if it is what is meant.",
        ),
        _warning(
            "tokens_batch_unclear",
            "Tokens were computed from step, batch and sequence length, and a setting suggests a"
            " further factor (devices, gradient accumulation) that is not in them.",
            "Map the tokens: `[columns] tokens = ...`, with the factor or without.",
        ),
    ),
    "The runs that a fit rests on": (
        _info(
            "counted_once",
            "Runs that two loggers wrote count once, as was asked for.",
            "Nothing.",
        ),
        _warning(
            "duplicate_runs",
            "Runs have all the numbers of another run: for the intervals they count as one, in the"
            " fit as often as they are there.",
            "Leave the copies out by `where=`; of seeds log the `seed`.",
        ),
        _info(
            "end_unknown",
            "Nothing tells whether a run has ended: no number of planned steps, no learning rate"
            " that falls, no word of its logger. Its last point counts as its result.",
            'Say the plan in scalefit.toml: `[columns] planned_steps = "config.total_updates"`.',
        ),
        _warning(
            "groups_differ",
            "The runs of several groups do not follow one law: their residuals lie apart.",
            "Fit each group by `by=`, or choose one by `where=`.",
        ),
        _info(
            "shared_runs",
            "Runs of other groups are fitted in this one too, as `shared=` asks.",
            "Nothing: but the groups' fits are not independent of each other.",
        ),
        _warning(
            "held_out_hidden",
            "Runs that are to be held out are left out by the filter, so the fit is not scored on"
            " them.",
            "Widen `where=`: what is held out is not fitted in any case.",
        ),
        _severe(
            "one_run",
            "All rows are points of one run: what another run would give is not known.",
            "Add runs of other sizes.",
        ),
        _severe(
            "other_settings",
            "Runs of the same size and data differ by far more than noise: another setting (a"
            " learning rate, say) moves them.",
            "Keep one setting, or the best run of each size, by `where=`.",
        ),
        _info(
            "not_ended",
            "A run has not reached the end that it was to reach: its last loss is not its final"
            " one, and no fit takes it for that.",
            "Ingest it again when it has ended. If it was meant to end there:"
            " `finals=last`, or `[columns] planned_steps` in scalefit.toml.",
        ),
        _warning(
            "predicted_finals",
            "Runs that have not ended enter at the end that their curves predict.",
            "Nothing; `finals=last` takes their last points instead.",
        ),
        _warning(
            "repeated_data",
            "Runs repeat their data many times, and the law takes a repeated token for a new one.",
            "Use `law=data_constrained`, or leave those runs out by `where=`.",
        ),
        _warning(
            "rows_dropped",
            "Runs lack a column of the law, or it is not positive there; they are left out.",
            "Map the column, or leave the runs out by `where=`.",
        ),
        _warning(
            "same_run_twice",
            "Two runs of the store look like one run that two loggers wrote: it counts twice.",
            "Count each once by `once=`, leave one out by `where=`, or ingest one logger into a"
            " store of its own.",
        ),
        _severe(
            "unfinished_runs",
            "Runs have not ended, and their ends cannot be predicted from their curves and plans;"
            " they are left out.",
            "Ingest them again when they have ended; log the learning rate and the planned steps,"
            " by which an end is predicted; or take their last points by `finals=last`.",
        ),
        _warning(
            "store_changed",
            "The runs in the store are not those of when this fit was made.",
            "Fit again, if it is to count them as they are.",
        ),
        _severe(
            "units_doubtful",
            "A number seems to be written in another unit, as millions or per cent.",
            'Map it: `[columns] params = "config.params * 1e6"`, and ingest again.',
        ),
        _warning(
            "shares_incomplete",
            "The shares of a mixture do not add up to one.",
            "Map every domain, `mixture.NAME`, or what is left as one more.",
        ),
        _severe(
            "target_rises",
            "The target rises along the columns of a law that can only fall.",
            "Use a link from the loss (ladder, err_exp), cod, sloth or a formula for a score.",
        ),
    ),
    "Fits": (
        _warning(
            "formula_name_near",
            "A name of a formula is fitted as a free parameter, and looks like one that the runs"
            " have.",
            "Correct the name, or call the parameter something else.",
        ),
        _info(
            "formula_reads",
            "A name of a formula that is no column is a metric or a setting of the runs, and so is"
            " read from them, not fitted.",
            "Call the parameter something else if it is meant to be fitted.",
        ),
        _warning(
            "at_bound",
            "A parameter ended at a bound of its range: the runs ask for more than it allows, or"
            " show no such term at all (zero).",
            "Widen the bound by `bounds=` if it is yours; use a law without the term, or add runs"
            " that show it.",
        ),
        _severe(
            "plateau_not_seen",
            "No run comes near the upper plateau of a link, or none shows it rise: what lies there"
            " rests on its bounds.",
            "Add larger runs, or say what is known: `bounds=a=LOW:HIGH`, `fix=b=0.25`.",
        ),
        _severe(
            "share_outside",
            "A law gives a value below 0 or above 1 for a share of tries or answers.",
            "Ask nearer to the runs, or fit a law with levels: a link, cod, rise_chance.",
        ),
        _severe(
            "collinear_design",
            "Params and tokens rise together in these runs: their effects cannot be separated, so"
            " no split of a budget can be recommended.",
            "Ask at the ratio of these runs (`tokens_per_param=`), of which they do tell; for a"
            " split add runs at other ratios, or the curves of these: `auto` reads losses and"
            " learning rates that were logged.",
        ),
        _severe(
            "explains_little",
            "The fit is hardly nearer to the runs than their median: this law is not theirs, or"
            " noise hides it.",
            "Compare laws (`scalefit compare`), and see that the target is the right column.",
        ),
        _severe(
            "failed",
            "This law could not be fitted to this group; the others were.",
            "Read the message: it says what the law lacks.",
        ),
        _warning(
            "few_runs",
            "There are few runs for the number of parameters: the intervals mean little.",
            "Add runs, or fix a parameter by `fix=`.",
        ),
        Kind(
            "few_sizes",
            ("warning", "severe"),
            "A column takes two values or fewer (severe), or few: its exponent rests on too"
            " little.",
            "Add runs at other values of it.",
        ),
        _info("fixed", "Parameters were not fitted: `fix=` gave their values.", "Nothing."),
        _warning(
            "no_backtest",
            "There are too few runs to test a prediction on the larger of them: the forecast leans"
            " on what other ladders of language models look like.",
            "Add runs, at several budgets.",
        ),
        _info(
            "link_by_checkpoints",
            "A link from the loss to a score was fitted to every checkpoint of its runs, smoothed,"
            " and where the score is an accuracy to its known end.",
            "Fit it to the final points alone: `checkpoints=False`.",
        ),
        _info(
            "surface_by_checkpoints",
            "Runs of one ratio of tokens to params were fitted by their curves: a checkpoint counts"
            " as a finished run of fewer tokens, and so the effects of params and tokens part.",
            "Fit the final points alone, without a split: `checkpoints=False`. Runs at other ratios"
            " say it better.",
        ),
        _info(
            "no_prior",
            "The target is no language model's cross-entropy, so nothing known of other ladders"
            " holds the fit.",
            "Nothing.",
        ),
        _severe(
            "not_converged",
            "The solver stopped before it reached the optimum.",
            "Give starting ranges by `ranges=`, or a law of fewer parameters.",
        ),
        Kind(
            "not_identified",
            ("info", "warning"),
            "A parameter by itself is known only within a factor of ten, as others make up for it:"
            " predictions near the runs are not affected. A warning: the runs say nothing of it,"
            " and it has no interval.",
            "Do not read the parameter by itself; add runs over a wider range.",
        ),
        Kind(
            "outliers",
            ("warning", "severe"),
            "Runs lie far from the fit; severe where they are too many to be set aside.",
            "Look at those runs: another setting, a crash, a wrong column? Leave them out by"
            " `where=` if so.",
        ),
        _warning(
            "outliers_set_aside",
            "Runs lie far from a robust fit, and do not count.",
            "Look at those runs; leave them out by `where=`, or correct them.",
        ),
        _warning(
            "prior_gave_way",
            "The runs are unlike the language models that the prior comes from, so it holds the"
            " fit less.",
            "Nothing, if the runs are of another kind; else check the units of loss, params and"
            " tokens.",
        ),
        Kind(
            "resamples_failed",
            ("warning", "severe"),
            "Some resamples gave no fit: the intervals may be too narrow. Severe: too few are left"
            " for an interval.",
            "Add runs, or use a law of fewer parameters.",
        ),
        _severe(
            "single_budget_design",
            "All runs have about one compute budget: how the loss falls with compute is not in"
            " them.",
            "Add runs at other budgets.",
        ),
        _info("staged_procedure", "The fit was made in steps, as the law's paper did.", "Nothing."),
        _warning(
            "starts_disagree",
            "Most starting points end in a worse optimum: the runs allow several.",
            "Give starting ranges by `ranges=`; compare with a law of fewer parameters.",
        ),
        _warning(
            "tie_doubtful",
            "The runs speak against one shared value of a tied parameter.",
            "Leave the parameter out of `tie=`.",
        ),
        _info("weighted", "Runs count by a column of weights.", "Nothing."),
    ),
    "Optima from isoFLOP curves": (
        _warning(
            "budget_dropped",
            "A budget is left out: its runs show no minimum over sizes.",
            "Add sizes on both sides of the minimum.",
        ),
        _warning(
            "flops_not_6nd",
            "The compute of these runs is not 6 params tokens; budgets are counted as theirs is.",
            "Nothing, if `flops` is what the runs cost; else leave it out of the mapping.",
        ),
        _severe(
            "flops_unclear",
            "The compute of these runs does not follow from params and tokens.",
            "Fit models that differ in experts or shape apart, or map params to the active ones.",
        ),
        _warning(
            "lopsided_window",
            "The sizes reach further on one side of the optimum: the minimum of the parabola leans"
            " to it.",
            "Add sizes on the other side.",
        ),
        _warning(
            "noise_unknown",
            "No budget has four sizes, so how far a loss lies from its parabola by chance is not"
            " known; there is no interval.",
            "Add a fourth size to some budgets.",
        ),
        _info(
            "selected",
            "Of the runs of a sweep, those that were asked for were fitted: the frontier, or the"
            " best of each cell.",
            "Nothing. What was chosen by its loss is lower than another such run would be.",
        ),
        _info(
            "near_best",
            "Of the runs of a sweep, all that are nearly as good as the best of their cell were"
            " fitted, as some papers do.",
            "Nothing. The share decides how far the sweep's own bounds enter: see that the answer"
            " stays with half and twice of it.",
        ),
        _info(
            "smoothed",
            "Each row of the fit is the lowest point of a parabola through the runs of one size and"
            " amount of data.",
            "Nothing.",
        ),
        _info(
            "optima",
            "The optimal size found at each budget, or the best setting of each sweep.",
            "Nothing.",
        ),
        _warning(
            "sweep_open",
            "The lowest loss of a sweep stands at one of its ends: the best value lies there or"
            " beyond, and the rule is fitted without it.",
            "Train the values beyond that end too.",
        ),
        _info(
            "not_swept",
            "Runs of some sizes were trained at one or two values of the setting: they show what"
            " was chosen, not what is best, and are left out.",
            "Sweep the setting there too, or nothing.",
        ),
        _warning(
            "unannealed_points",
            "Points inside a run, whose learning rate has not fallen yet, stand for runs of their"
            " own: their loss is too high.",
            "Use the ends of runs that were planned for each budget.",
        ),
        _warning(
            "wide_window",
            "The sizes reach far from the optimum, where the curve is no parabola.",
            "Use `law=chinchilla`, which has no such bias, or fewer of the far sizes.",
        ),
    ),
    "Predictions and splits": (
        _severe(
            "beside_the_runs",
            "The runs lie on a line, as those of one size or of one ratio of tokens to params, and"
            " the point that is asked for lies beside it: the prediction there has no interval.",
            "Add runs that leave the line: other sizes, ratios or budgets.",
        ),
        Kind(
            "extrapolation",
            ("info", "warning"),
            "What is asked lies beyond the largest run (or below the smallest), in compute or"
            " steps; a warning where it is far.",
            "Read the interval; add larger runs. The held-out error says how well nearer"
            " extrapolations went.",
        ),
        _warning(
            "local_optimum",
            "The split is a minimum within sensible tokens per param; the law has a lower loss far"
            " outside any data.",
            "Nothing; or compare with another law.",
        ),
        _severe(
            "no_optimum",
            "The fitted law has no compute-optimal split at this budget.",
            "Use a law with a term for both params and tokens; add runs at other ratios.",
        ),
        _severe(
            "optimum_uncertain",
            "Many resamples have no compute-optimal split at this budget.",
            "Add runs at other tokens per param.",
        ),
        Kind(
            "outside_design",
            ("info", "warning"),
            "An input lies outside the range of the fitted runs; a warning where it is far.",
            "Read the interval with care; add runs there.",
        ),
        _info(
            "point_alone",
            "A paper's coefficients come without resamples: a value, and no interval.",
            "Nothing; or fit your own runs, which gives one.",
        ),
        _warning(
            "ratio_outside",
            "The tokens per param asked for lie outside those of the fitted runs.",
            "Add runs at that ratio.",
        ),
    ),
    "Laws and recipes compared": (
        _warning(
            "cannot_tell",
            "The held-out errors of two laws differ by less than chance would make them.",
            "Use either; add larger runs to separate them.",
        ),
        _warning(
            "crossing_possible",
            "The curves of two recipes do not cross, but in some resamples they do.",
            "Add larger runs of both recipes.",
        ),
        _severe(
            "crossing_uncertain",
            "In many resamples the curves of two recipes do not cross at all.",
            "Add larger runs of both recipes.",
        ),
        _info(
            "no_crossing",
            "One recipe stays better over the whole range that was searched.",
            "Search further by `reach=`.",
        ),
        _severe(
            "no_folds",
            "The runs cannot be divided into smaller ones to fit and larger ones to score on.",
            "Add runs at more budgets.",
        ),
        _warning(
            "no_floor",
            "The law has no irreducible term, so its exponent is a slope of the whole loss.",
            "Use a law with a floor, such as chinchilla.",
        ),
        _warning(
            "several_crossings",
            "The curves of two recipes cross more than once.",
            "Read all the places; the last is given.",
        ),
        _warning(
            "unreachable",
            "One recipe does not reach the loss of the other within the compute searched.",
            "Nothing: that is the answer.",
        ),
    ),
    "Training curves and schedules": (
        _warning(
            "few_points",
            "The run has logged too little after its warmup to say anything of itself.",
            "Wait for more of the run.",
        ),
        _warning(
            "few_schedules",
            "The fitted runs have few schedules: what a fall of the learning rate gains rests on"
            " the law more than on them.",
            "Train three that differ, or more.",
        ),
        _info(
            "law_alone",
            "Too few runs have ended for the forecast to learn from: a curve law that is fitted to"
            " those of this size answers alone.",
            "Ingest more finished runs of the same recipe.",
        ),
        _info(
            "law_error",
            "By how much the curve law misses the end of runs that it was not fitted to.",
            "Nothing: the bands hold it.",
        ),
        _warning(
            "no_optimum_set",
            "Published coefficients that their paper, or the runs behind them, do not offer for a"
            " split of a budget.",
            "Split by another set, such as epoch2024, or by a fit of your own runs.",
        ),
        _warning("no_number", "Losses are no positive numbers, and are left out.", "See the run."),
        _info(
            "no_siblings",
            "No finished runs are like this one: the forecast rests on its own points and on what"
            " is common to public training curves.",
            "Ingest finished runs of the same recipe.",
        ),
        _info(
            "other_run",
            "The question is of another schedule, length or size than the run had: its own points"
            " help only as far as they agree.",
            "Nothing.",
        ),
        _warning(
            "outside_schedules",
            "The schedule differs from all of the fitted runs: there the law extrapolates.",
            "Train a short run with such a schedule.",
        ),
        _info(
            "rate_drop",
            "The learning rate changes at once between two logged steps; the roundest step in"
            " between is taken for it.",
            "Give the schedule by `schedule=`, or log each step's rate.",
        ),
        _warning(
            "schedule_assumed",
            "The learning rate has been constant so far; it is assumed to stay so.",
            "Give the schedule by `schedule=`.",
        ),
        _warning(
            "schedule_unknown",
            "After the last logged step the schedule is not known; the last rate is kept.",
            "Give the schedule by `schedule=`.",
        ),
        _info(
            "usual_is_lower",
            "A usual schedule is predicted to be better than the best found within the range of"
            " the fitted runs.",
            "Nothing; it is listed.",
        ),
        _info(
            "warmup_assumed",
            "The first learning rates are not logged: a straight rise from zero is assumed.",
            "Give the schedule by `schedule=`.",
        ),
    ),
    "Damage of a store (`scalefit store verify`)": (
        _severe(
            "checkpoint_damaged",
            "A summary of the log cannot be read. The log itself counts.",
            "Remove the checkpoint; the next commit writes one anew.",
        ),
        _severe(
            "checkpoint_differs",
            "A summary of the log is not what the log says.",
            "Remove the checkpoint; the next commit writes one anew.",
        ),
        _severe(
            "commit_damaged",
            "An entry of the log cannot be read.",
            "Restore the file from a copy, or ingest the sources into a new store.",
        ),
        _severe(
            "commit_missing",
            "An entry of the log is not there.",
            "Restore the file from a copy, or ingest the sources into a new store.",
        ),
        _severe(
            "manifest_damaged",
            "What the store remembers of the files that were read is not what was written.",
            "Ingest again: what is damaged is not believed, and is replaced.",
        ),
        _severe("fit_damaged", "A saved fit is not what was saved.", "Forget it, and fit again."),
        _info(
            "unnamed_file",
            "No commit names a file of the store: a writer was killed before its commit, or the"
            " commit is lost.",
            "`scalefit store compact` removes it, once it is a day old.",
        ),
        _severe(
            "history_missing",
            "Histories that the log names are not in their file.",
            "Ingest the runs again.",
        ),
        _severe(
            "runs_missing", "Runs that the log names are not in their file.", "Ingest them again."
        ),
        _severe(
            "segment_damaged",
            "A file of runs or histories fails its checksums, or is not there.",
            "Restore the file from a copy, or ingest its runs again.",
        ),
        _severe("series_damaged", "The steps of a metric do not rise.", "Ingest the run again."),
    ),
}

KINDS = {kind.code: kind for kinds in SECTIONS.values() for kind in kinds if "*" not in kind.code}
_FAMILIES = {kind.code: kind for kinds in SECTIONS.values() for kind in kinds if "*" in kind.code}

"""What trainers print, kept with `tee`: console logs of the forms that console_forms declares, and
of those that a project declares itself:

    [console]
    line = "step:{step}/{total_steps} val_loss:{loss} train_time:{}"

The console rounds, so what is logged beside it (W&B, TensorBoard, JSON lines) is the better source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters import console_boxes, console_rows
from scaling_cli.adapters.base import BY_WORDS, Adapter
from scaling_cli.adapters.building import make_run, plain_number
from scaling_cli.adapters.console_forms import FORMS, LN_2, SETTINGS, Form
from scaling_cli.adapters.console_lines import (
    STEP,
    TOTAL,
    Span,
    Template,
    below,
    held_out,
    may_be_held_out,
    rank_of,
    template,
)
from scaling_cli.adapters.console_sessions import Session, sessions
from scaling_cli.adapters.console_text import LONGEST, Layout, Layouts, Lines, decoded
from scaling_cli.adapters.files import read_bytes, stem_of, suffix_of
from scaling_cli.adapters.settings import files_beside
from scaling_cli.documents import open_file
from scaling_cli.errors import InputError
from scaling_cli.losses import is_held_out
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Floats, Run
from scaling_cli.steps import Points, own_rank

NAME = "console"

RANK, EPOCH = "\0rank", "epoch"
# What holds no console log, whatever stands in it; `as_format=console` reads it nevertheless.
_NO_LOGS = re.compile(
    r"\.(?:pyi?|md|rst|cc?|cpp|cuh?|h|hpp|[jt]s|java|go|rs|jl|html|css|xml|ya?ml|toml|cfg|ini|tex|bib"
    r"|ipynb|json|jsonl|ndjson|[ct]sv|sh|sbatch|sql|parquet|db|patch|diff|svg)"
)
_NO_STEP = np.int64(-(1 << 62))
# A line without a step is of one that stands near: within so many lines, or so many times the usual
# distance of two steps. Behind the end of a training an evaluation may be another model's.
_NEAR, _NEAR_STEPS = 1000, 3
_AHEAD = 4  # lines before the first step, in which the evaluation before it may stand
_SEEN = 2  # different steps that make a file such a log
_CANDIDATES = 512  # layouts that a form is chosen by
_PIECE, _END = 1 << 16, 1 << 12
_ENOUGH = 1 << 12  # bytes that mostly show a form, in a tenth of the time
_LOOKED_INTO = 1 << 24  # bytes of a text that are looked through for its first step
_CANDIDATE_WORDS = tuple(b"step iter epoch batch update val trl tel s: train loss".split())
_COUNT = re.compile(r"(?i)(?:(?:n|num|total|train|consumed)[ _-])?(?:tokens|flops?)(?:[ _-]seen)?")
_LOSS = re.compile(r"(?i)loss|ppl|perplexity|bpb|nll|entropy")
_ARGUMENT = re.compile(rb"(?:\d+:)?\s*([a-z]\w{1,60}) \.{2,} ?(\S[^\n]{0,200}?)\s*")
_SECRET = re.compile(r"key|token$|secret|passw", re.IGNORECASE)
_SETTINGS = tuple(template(text, any_case=True) for text in SETTINGS)
_NUMBER = re.compile(rb"\d|[Nn]a[Nn]|\binf")


def recognises(path: Path, head: bytes) -> bool:
    """A log that repeats its script, or whose set-up is long, has its first step far behind."""
    if _NO_LOGS.fullmatch(suffix_of(path)) or _binary(head):
        return False
    if _form_of(decoded(head[: head.rfind(b"\n", 0, _ENOUGH) + 1])):
        return True
    if len(head) < _PIECE or not path.exists():
        # A log elsewhere may repeat the script of modded-nanogpt.
        return _form_of(decoded(head)) is not None or b"step:{step}/{" in head
    try:
        size = path.stat().st_size
        with open_file(path, size) as file:
            for piece in (_END, _PIECE):  # most logs end with their steps
                file.seek(max(0, size - piece))
                if _form_of(decoded(_whole_lines(file.read()))):
                    return True
            if _form_of(decoded(head)):
                return True
            file.seek(0)
            return _form_of(decoded(file.read(_LOOKED_INTO))) is not None
    except (OSError, MemoryError):
        return False


def is_declared(path: Path, head: bytes, mapping: Mapping) -> bool:
    """Whether a line of the mapping is in the file."""
    if not mapping.console or _binary(head) or suffix_of(path) in (".toml", ".py"):
        return False
    text = decoded(head)
    if len(head) >= _PIECE and path.exists():
        with open_file(path, path.stat().st_size) as file:
            text = decoded(file.read(_LOOKED_INTO))
    return any(
        made.pattern.search(line)
        for made in map(template, _own(mapping).lines)
        for line in text.split(b"\n")
        if len(line) <= LONGEST
    )


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    data = decoded(read_bytes(path, source))
    lines = Lines(data)
    form = _own(mapping) if mapping.console else None
    log = None if form is None else _Log(lines, form)
    if log is None or not log.steps.size:
        form = _form(lines)
        log = None if form is None else _Log(lines, form)
    if form is not None and (form.rows or form.boxes):
        rows = console_rows if form.rows else console_boxes
        yield rows.read(NAME, stem_of(path), source, lines, settings_of(lines))
        return
    if log is not None and log.commas and not log.points:
        name, text = next(iter(log.commas.items()))
        raise InputError(
            f"{source}: a comma may part thousands or decimals in {name} as in"
            f" {text.decode('utf-8', 'replace').strip()!r}; decimal commas are not read",
            "Write its numbers with a decimal point.",
        )
    if form is None or log is None or not log.points:
        raise InputError(
            f"{source} holds no numbers after a step in a form that is known",
            'Say how its lines read: [console] line = "step {step} loss {loss}" in scalefit.toml.',
        )
    yield from log.runs(stem_of(path), source)


def matches(path: Path, source: str, mapping: Mapping, most: int = 3) -> tuple[str, list[str]]:
    """The form of a log and its first lines that are read, as they stand."""
    lines = Lines(decoded(read_bytes(path, source)))
    form = _own(mapping) if mapping.console else None
    if form is None or not _steps_seen(lines, form, lines.layouts.each)[0]:
        form = _form(lines)
    if form is None:
        return "", []
    found = []
    for layout in lines.layouts.each:
        plan = plan_of(form, layout.line)
        boxed = form.boxes and console_boxes.cell(layout.line)
        if boxed or (form.rows and console_rows.row(layout.line)):
            found.append(layout.line.decode("utf-8", "replace"))
        elif plan is not None:
            told = ", ".join(
                f"{plan.called(span.name)}={span.value(layout.line):g}"
                for span in plan.spans
                if span.name != RANK
            )
            found.append(f"{layout.line.decode('utf-8', 'replace').strip()}  ->  {told}")
    return form.name, found[:most]


def nearest(head: bytes) -> str:
    """Which form the lines of a text come nearest to, and what they lack; empty if to none."""
    layouts = Lines(decoded(head[:_PIECE])).layouts
    lines = [layouts.each[place].line for place in sorted(_candidates(layouts))[:_CANDIDATES]]
    for form in FORMS:
        for line in lines:
            if form.rows and console_rows.row(line):
                return f"what {form.name} prints (but for too few rows)"
            plan = plan_of(form, line)
            if plan is not None and plan.kind == "lines":
                named = any(_LOSS.search(span.name) for span in plan.spans)
                lacks = "too few steps" if named else "no loss beside its step"
                shown = line.decode("utf-8", "replace")[:60]
                trainer = "any trainer" if form.any_trainer else form.name
                return f"what {trainer} prints ({lacks}: {shown})"
    return ""


@dataclass(frozen=True)
class Plan:
    """How the lines of a layout are read: its numbers, and which step they are of."""

    spans: tuple[Span, ...]
    made: Template | None
    kind: str  # "lines", "after", "before"
    prefix: str = ""
    names: dict[str, str] = field(default_factory=dict)

    def called(self, printed: str) -> str:
        """What a printed name is stored under."""
        if printed in (STEP, TOTAL, RANK, EPOCH):
            return printed
        name = self.names.get(printed, printed)
        declared = self.made is not None and printed in self.made.names
        return name if declared else self.prefix + name


def plan_of(form: Form, line: bytes) -> Plan | None:
    if not _NUMBER.search(line):
        return None
    for kind, made in form.templates:
        found = made.spans(line)
        if found is None:
            continue
        spans = list({span.name: span for span in reversed(found)}.values())[::-1]
        if form.counter and any(span.name == form.counter for span in spans):
            spans = [span for span in spans if span.name != STEP]
            spans = [
                Span(STEP, *_inside(span)) if span.name == form.counter else span for span in spans
            ]
        if kind == "lines" and not any(span.name == STEP for span in spans):
            continue
        if not spans:
            continue
        rank = rank_of(line)
        if rank is not None and kind == "lines":
            spans.append(Span(RANK, rank.start, rank.end))
        prefix = form.prefixes.get(made.text, "")
        return Plan(tuple(spans), made, kind, prefix, dict(form.names))
    single = below(line) if form.below else None
    return None if single is None else Plan((single,), None, "after", "", dict(form.names))


def _layouts(layouts: Layouts, form: Form) -> list[Layout]:
    """Those that may hold what a form prints, in the order of their first lines."""
    places: set[int] = set()
    for words in form.words:  # of its lines with a step, then of the others
        for held in words:
            places.update(layouts.places(held) if held else _candidates(layouts))
        if not places:
            break
    return [layouts.each[place] for place in sorted(places)]


def _candidates(layouts: Layouts) -> set[int]:
    """The places of the layouts whose line may say a step or a loss."""
    return {place for word in _CANDIDATE_WORDS for place in layouts.places([word], any_case=True)}


def _inside(span: Span) -> tuple[int, int, float]:
    return span.start, span.end, span.times


def _once(
    called: str, steps: NDArray[np.int64], values: Floats
) -> tuple[NDArray[np.int64], Floats]:
    """Points without those that two lines hold of one step, if they are the same or no loss."""
    again = np.zeros(len(steps), bool)
    again[:-1] = steps[1:] == steps[:-1]
    if not again.any():
        return steps, values
    if _LOSS.search(called):
        again[:-1] &= values[1:] == values[:-1]
    return steps[~again], values[~again]


def _counters(points: Points) -> tuple[Points, list[Note]]:
    """What is named like a count of all so far and does not rise is of one step, and renamed so."""
    found: Points = {}
    flat = []
    for called, (steps, values) in points.items():
        falls = np.count_nonzero(np.diff(values) < 0)  # few where sessions are joined
        rises = len(values) < 2 or (values[-1] > values[0] and falls <= len(values) // 4)
        if _COUNT.fullmatch(called) and not rises:
            flat.append(called)
            found[f"{called} of a line"] = steps, values
        else:
            found[called] = steps, values
    if not flat:
        return points, []
    message = (
        f"{', '.join(flat)} does not rise, so it is no count of all so far: it is kept as"
        f" {', '.join(f'`{called} of a line`' for called in flat)}, and not read as a column"
    )
    return found, [Note.of("counter_does_not_rise", message)]


def _own(mapping: Mapping) -> Form:
    """The form that a mapping declares: its lines with a step, and those without."""
    templates = mapping.console
    try:
        for text in templates:
            template(text)
    except InputError as error:
        raise InputError(f"{mapping.path}: [console] line {error.what}", error.mend) from error
    with_step = tuple(t for t in templates if STEP in template(t).names)
    without = tuple(t for t in templates if STEP not in template(t).names)
    if not with_step:
        raise InputError(
            f"{mapping.path}: [console] line names no {{step}}",
            'Write line = "step {step} loss {loss}"; a line without a step is of the one before.',
        )
    return Form("[console] of the mapping", "scalefit.toml", with_step, after=without)


def _binary(head: bytes) -> bool:
    return b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff")


def _whole_lines(tail: bytes) -> bytes:
    return tail[tail.find(b"\n") + 1 :]


def _form_of(text: bytes) -> Form | None:
    return _form(Lines(text)) if text.strip() else None


def _form(lines: Lines) -> Form | None:
    """The trainer's form that the most lines have, else one of any trainer."""
    # Steps are lines that repeat; a script before them, or what stands between, does not.
    again = lines.layouts is not lines.repeated
    return (
        _best(lines, lines.repeated, any_trainer=False)
        or (_best(lines, lines.layouts, any_trainer=False) if again else None)
        or _best(lines, lines.layouts, any_trainer=True)
    )


def _best(lines: Lines, layouts: Layouts, any_trainer: bool) -> Form | None:
    best: tuple[int, Form] | None = None
    most = sum(layout.count for layout in layouts.each)
    for form in FORMS:
        if form.any_trainer is not any_trainer:
            continue
        # Those that repeat, and stand at the end, first.
        held = sorted(_layouts(layouts, form), key=lambda each: (-each.count, -each.code))
        if best is not None and sum(layout.count for layout in held) <= best[0]:
            continue
        seen, count, numbers = _steps_seen(lines, form, held[:_CANDIDATES])
        if seen >= _SEEN and numbers and (best is None or count > best[0]):
            best = count, form
            if any_trainer or count == most:
                break
    return None if best is None else best[1]


def _steps_seen(lines: Lines, form: Form, layouts: Sequence[Layout]) -> tuple[int, int, bool]:
    """How many different steps its lines say, in how many lines, and whether numbers with them."""
    steps: set[float] = set()
    count, numbers, loss = 0, False, False
    for layout in layouts:
        if form.rows:
            if console_rows.row(layout.line):
                count += layout.count
                steps.update(range(count))
                numbers = loss = True
            continue
        if form.boxes:
            named_so = console_boxes.cell(layout.line)
            if named_so is not None:
                numbers = True
                loss = loss or bool(_LOSS.search(named_so[0]))
                if own_rank(named_so[0]) is not None:
                    count += layout.count
                    held = lines.numbers_of(layout)[:64].tolist()
                    cells = [console_boxes.cell(lines.line(number)) for number in held]
                    steps |= {each[1] for each in cells if each and each[1] is not None}
            continue
        plan = plan_of(form, layout.line)
        if plan is None:
            continue
        named = [s for s in plan.spans if s.name not in (STEP, TOTAL, RANK, EPOCH)]
        numbers = numbers or bool(named)
        loss = loss or any(_LOSS.search(span.name) for span in named)
        if plan.kind != "lines":
            continue
        if form.any_trainer and not named:
            continue
        count += layout.count
        for number in lines.numbers_of(layout)[:64].tolist() if len(steps) < _SEEN else ():
            line = lines.line(number)
            again = plan_of(form, line)
            steps |= {s.value(line) for s in (again.spans if again else ()) if s.name == STEP}
            if len(steps) >= _SEEN:
                break
    return len(steps), count, numbers and (loss or not form.any_trainer)


def settings_of(lines: Lines) -> list[tuple[int, str, int | float | str]]:
    """What a log says of its run besides the steps: line number, name, value."""
    found: list[tuple[int, str, int | float | str]] = []
    asked: dict[int, list[Template]] = {}  # place of a layout -> what it may say
    for place in lines.layouts.places([b" .."]):
        asked[place] = []
    for made in _SETTINGS:
        for place in lines.layouts.places(made.words, any_case=True):
            asked.setdefault(place, []).append(made)
    for place in sorted(asked):
        for number in lines.numbers_of(lines.layouts.each[place])[:256].tolist():
            line = lines.line(number)
            argument = _ARGUMENT.fullmatch(line)
            if argument is not None:
                key = argument[1].decode()
                if not _SECRET.search(key):
                    found.append((number, key, _plain(argument[2].decode("utf-8", "replace"))))
                continue
            spans = next((spans for made in asked[place] if (spans := made.spans(line))), [])
            found += [(number, span.name, plain_number(span.value(line))) for span in spans]
    return found


def _plain(text: str) -> int | float | str:
    try:
        return plain_number(float(text))
    except ValueError:
        return text


class _Log:
    """The numbers of a log by name, each with its line, and the steps of its lines."""

    def __init__(self, lines: Lines, form: Form) -> None:
        self.lines, self.form = lines, form
        self.points: dict[str, list[tuple[NDArray[np.intp], Floats, str]]] = {}
        self.commas: dict[str, bytes] = {}
        self.coarse: set[str] = set()
        at: list[NDArray[np.intp]] = []
        columns: dict[str, list[Floats]] = {STEP: [], TOTAL: [], RANK: [], EPOCH: []}
        for layout in _layouts(lines.layouts, form):
            plan = plan_of(form, layout.line)
            if plan is None:
                continue
            for numbers, spans, values in self._values(layout, plan):
                if plan.kind == "lines":
                    at.append(numbers)
                    places = {span.name: place for place, span in enumerate(spans)}
                    none = np.full(len(numbers), np.nan)
                    for own, found in columns.items():
                        found.append(values[:, places[own]] if own in places else none)
                self._add(plan, numbers, spans, values)
        self.unread: list[bytes] = []
        self._add_held_out(min((int(each[0]) for each in at if len(each)), default=0))
        order = np.argsort(np.concatenate([*at, np.empty(0, np.intp)]), kind="stable")
        self.at = np.concatenate([*at, np.empty(0, np.intp)])[order]
        joined = {
            own: np.concatenate([*found, np.empty(0)])[order] for own, found in columns.items()
        }
        kept = np.isfinite(joined[STEP]) & (np.abs(joined[STEP]) < 2**62)
        self.at = self.at[kept]
        self.steps = joined[STEP][kept].astype(np.int64)
        self.totals, self.ranks = joined[TOTAL][kept], joined[RANK][kept]
        self.epochs = joined[EPOCH][kept]

    def _add_held_out(self, first: int) -> None:
        """The losses of evaluations in lines behind the first step that the form knows nothing of,
        by their words; and those lines that may hold one and are not read."""
        if any(map(is_held_out, self.points)):
            return
        layouts = self.lines.layouts
        words = (b"val", b"eval", b"dev", b"held")
        places = {place for word in words for place in layouts.places([word], any_case=True)}
        found: list[tuple[NDArray[np.intp], list[Span]]] = []
        for place in sorted(places):
            layout = layouts.each[place]
            if layout.last <= first - _AHEAD or plan_of(self.form, layout.line) is not None:
                continue
            numbers = self.lines.numbers_of(layout)
            numbers = numbers[numbers > first - _AHEAD]
            line = self.lines.line(int(numbers[0]))
            if spans := held_out(line):
                found.append((numbers, spans))
            elif may_be_held_out(line):
                self.unread.append(line.strip())
        ahead = any(int(numbers[0]) < first for numbers, _ in found)
        for numbers, spans in found:
            plan = Plan(tuple(spans), None, "before" if ahead else "after")
            for held, own, values in self.lines.values(numbers, spans, held_out):
                self._add(plan, held, own, values)

    def _values(
        self, layout: Layout, plan: Plan
    ) -> list[tuple[NDArray[np.intp], Sequence[Span], Floats]]:
        def again(line: bytes) -> Sequence[Span] | None:
            found = plan_of(self.form, line)
            return None if found is None else found.spans

        numbers = self.lines.numbers_of(layout)
        fixed = () if plan.made is None else plan.made.fixed
        word = "" if plan.made is None else plan.made.word(layout.line)
        if any(letter.isdigit() for letter in word):
            fixed = (*fixed, word.encode())
        return self.lines.values(numbers, plan.spans, again, fixed)

    def _add(
        self, plan: Plan, numbers: NDArray[np.intp], spans: Sequence[Span], values: Floats
    ) -> None:
        for place, span in enumerate(spans):
            if span.name in (STEP, TOTAL, RANK):
                continue
            called = plan.called(span.name)
            if span.comma:
                line = self.lines.line(int(numbers[0]))
                self.commas.setdefault(called, line[span.start : span.end + 5])
                continue
            if span.times != 1.0:
                self.coarse.add(called)
            self.points.setdefault(called, []).append((numbers, values[:, place], plan.kind))

    def runs(self, stem: str, source: str) -> Iterator[Run]:
        found = settings_of(self.lines)
        known = np.isfinite(self.ranks)
        alone = np.ones(len(self.steps), bool)
        notes: list[Note] = []
        if len(ranks := np.unique(self.ranks[known])) > 1 and self._repeat(known):
            alone = self.ranks == ranks[0]
            message = f"{len(ranks)} ranks print each step; those of rank {ranks[0]:.0f} are read"
            notes.append(Note.of("ranks_left_out", message))
        at, steps = self.at[alone], self.steps[alone]
        parts = sessions(at, steps, self.totals[alone], self.epochs[alone], found)
        for place, part in enumerate(parts):
            run_id = stem if len(parts) == 1 else f"{stem}-{place + 1}"
            yield self._run(run_id, source, part, found, notes)

    def _repeat(self, known: NDArray[np.bool_]) -> bool:
        """Whether more than one rank prints the same steps."""
        firsts = {
            rank: set(self.steps[self.ranks == rank].tolist())
            for rank in np.unique(self.ranks[known]).tolist()
        }
        counts = [len(found) for found in firsts.values()]
        return sum(counts) > len(set().union(*firsts.values()))

    def _run(
        self,
        run_id: str,
        source: str,
        part: Session,
        settings: list[tuple[int, str, int | float | str]],
        notes: Sequence[Note],
    ) -> Run:
        points, placed, far = self._points(part)
        config = {key: value for number, key, value in settings if part.first <= number < part.end}
        if part.total is not None:
            config[TOTAL] = part.total
        if self.form.counts:
            config["step_is"] = self.form.counts
        points, counted_down = _counters(points)
        points, changed = self._in_nats(points)
        notes = [
            *notes,
            *self._placing_notes(part, placed, far),
            *self._unread_notes(points),
            *counted_down,
            *changed,
            *self._reading_notes(),
            *part.notes,
            *self._text_notes(),
        ]
        return make_run(NAME, run_id, source, config, points, notes)

    def _placing_notes(self, part: Session, placed: dict[str, str], far: int) -> Iterator[Note]:
        """Of lines without a step: those taken at a neighbour's, and those too far from one."""
        if placed:
            names = ", ".join(sorted(placed))
            yield Note.of(
                "no_step_lines",
                f"lines without a step hold {names}; they are taken at the step that is printed"
                f" {self._side(placed)}",
            )
        if far:
            yield Note.of(
                "far_from_a_step",
                f"{counted(far, 'line')} without a step lie more than {self._near(part)} lines"
                " from one, or where a run was cut off, and are left out",
            )

    def _unread_notes(self, points: Points) -> Iterator[Note]:
        """On lines that may hold a held-out loss, where none was read."""
        if self.unread and not any(map(is_held_out, points)):
            told = self.unread[0].decode("utf-8", "replace")[:60]
            yield Note.of(
                "held_out_unread",
                f"lines such as {told!r} may hold a held-out loss and are not read; say how they"
                ' read: [console] line = "..."',
            )

    def _reading_notes(self) -> Iterator[Note]:
        """What the form itself does not hold."""
        message = (
            f"read as what {self.form.name} prints, whose numbers are rounded; see docs/sources.md"
        )
        if self.coarse:
            message += f" ({', '.join(sorted(self.coarse))} by a unit)"
        yield Note.of("rounded", message)
        if self.form.counts:
            counts = {"epoch": "is the epoch", "samples": "are the samples"}[self.form.counts]
            yield Note.of(
                "step_counts_rows", f"no line has a step: what counts as its step {counts}"
            )

    def _text_notes(self) -> Iterator[Note]:
        """Numbers and lines that can be read in two ways, or not at all."""
        if self.commas:
            examples = ", ".join(
                f"{key} as in {text.decode('utf-8', 'replace').strip()!r}"
                for key, text in self.commas.items()
            )
            yield Note.of(
                "decimal_comma",
                f"a comma may part thousands or decimals, so it is left out: {examples}",
            )
        if len(self.lines.too_long):
            yield Note.of(
                "long_lines",
                f"{counted(len(self.lines.too_long), 'line')} of more than {LONGEST} bytes left"
                " out",
            )

    def _side(self, placed: dict[str, str]) -> str:
        return "after them" if "before" in placed.values() else "before them"

    def _near(self, part: Session) -> int:
        """How many lines from its step a line without one may stand."""
        usual = float(np.median(np.diff(part.at))) if len(part.at) > 1 else 0
        return max(_NEAR, int(_NEAR_STEPS * usual))

    def _points(self, part: Session) -> tuple[Points, dict[str, str], int]:
        """The points of a session, by name; which names stand in lines without a step; and how many
        such lines are too far from one."""
        found: Points = {}
        placed: dict[str, str] = {}
        far: set[int] = set()
        at_line = np.full(len(self.lines.codes), _NO_STEP)
        at_line[part.at] = part.steps
        steps_of: dict[tuple[int, str], NDArray[np.int64]] = {}
        for called, pieces in self.points.items():
            steps, values, lines = [], [], []
            for numbers, column, kind in pieces:
                key = id(numbers), kind
                if key not in steps_of:
                    steps_of[key] = self._steps_at(numbers, kind, part, at_line)
                    if kind != "lines":
                        within = (numbers >= part.first) & (numbers < part.end)
                        far.update(numbers[within & (steps_of[key] == _NO_STEP)].tolist())
                steps.append(steps_of[key])
                values.append(column)
                lines.append(numbers)
            joined, column = np.concatenate(steps), np.concatenate(values)
            if len(pieces) > 1:
                order = np.argsort(np.concatenate(lines), kind="stable")
                joined, column = joined[order], column[order]

            kept = joined != _NO_STEP
            if not kept.all():
                joined, column = joined[kept], column[kept]
            if not len(joined):
                continue
            kinds = {kind for *_, kind in pieces}
            if "lines" not in kinds and not self.form.below:
                placed[called] = "before" if "before" in kinds else "after"
            found[called] = _once(called, joined, column)
        return found, placed, len(far)

    def _steps_at(
        self, numbers: NDArray[np.intp], kind: str, part: Session, at_line: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The step of each of these lines; _NO_STEP where it is of no session's or is left out."""
        if kind == "lines":
            return at_line[numbers]
        earlier = np.searchsorted(part.at, numbers, side="right") - 1
        later = np.searchsorted(part.at, numbers)
        known = (numbers >= part.first) & (numbers < part.end)
        if kind == "before":  # the next step of a restart is none that this line goes before
            known &= later < len(part.at)
        later = np.minimum(later, len(part.at) - 1)
        if kind == "before":
            known &= (earlier < 0) | (part.steps[later] > part.steps[earlier])
        place = np.where((kind == "before") | (earlier < 0), later, earlier)
        steps = part.steps[place]
        known &= np.abs(part.at[place] - numbers) <= self._near(part)
        return np.where(known, steps, _NO_STEP)

    def _in_nats(self, points: Points) -> tuple[Points, list[Note]]:
        """With the losses in nats that are printed to base 2."""
        notes = []
        for called, printed in self.form.in_bits.items():
            source = next((key for key in printed if key in points), None)
            if source is not None:
                steps, values = points[source]
                points[called] = steps, values * LN_2
                notes.append(
                    Note.of(
                        "in_bits",
                        f"{called} is {source} times ln 2: {self.form.name} prints to base 2",
                    )
                )
        return points, notes


ADAPTER = Adapter(
    NAME,
    recognises,
    read,
    order=BY_WORDS,
    declared=is_declared,
    only_histories=True,
    beside=files_beside,
)

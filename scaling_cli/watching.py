"""Following a run while it trains: read its source again and again, and check what has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from scaling_cli.checks import Check, Result, read_checks, rules, run_checks
from scaling_cli.checks.base import Bench, Subject
from scaling_cli.errors import InputError, ScalefitError, UnreachableError
from scaling_cli.project import Project

END_TOLERANCE = 0.001  # the last of the planned steps may be unlogged


@dataclass(frozen=True)
class Look:
    """A run at one poll. `low` and `high` bound its predicted final loss; `alarms` are the checks
    that fail for the first time; `ended` says why the watch is over, and `trouble` why the source
    could not be read."""

    run: str
    step: int
    planned_steps: float | None
    tokens: float | None
    loss: float | None
    low: float | None
    high: float | None
    results: tuple[Result, ...]
    alarms: tuple[Result, ...]
    ended: str = ""
    trouble: str = ""

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(item for item in self.results if item.finding.status == "fail")

    def to_json(self) -> dict[str, Any]:
        names = ("run", "step", "planned_steps", "tokens", "loss", "low", "high", "ended")
        checks = [item.to_json() for item in self.results]
        return {name: getattr(self, name) for name in names} | {"checks": checks}


def watch(
    project: Project,
    name: str,
    sources: Sequence[str] = (),
    poll_seconds: float = 10.0,
    idle_seconds: float = 3600.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Look]:
    """A look at the run at each poll, until it ends: its planned steps are reached, its source
    says that it is over, or nothing has come for `idle_seconds`.

    The source is that of the stored run unless `sources` are given; what could be read once and
    cannot for a while is tried again. A stored run keeps its settings, and its mapping where the
    project has none.
    """
    stored = None
    if not sources:
        bench = project.bench()
        stored = bench.runs.records[bench.runs.one_called(name)]
    paths = list(sources) if stored is None else [stored.source]
    checks = _checks(project)
    reader = project
    if stored is not None and project.mapping is None:
        reader = replace(project, mapping=stored.mapping)
    seen: set[str] = set()
    was_running, last_step, quiet = False, -1, 0.0
    while True:
        trouble = ""
        try:
            reader.ingest(paths, onto=True)
        except ScalefitError as error:  # a log that is being rewritten, a server that is away
            if last_step < 0:
                raise
            trouble = str(error)
        bench = project.bench()
        place = bench.runs.one_called(name)
        run = bench.subjects([place])[0]
        quiet = 0.0 if run.step > last_step else quiet + poll_seconds
        ended = _ended(run, was_running, idle_seconds if quiet >= idle_seconds else None)
        was_running, last_step = run.running, run.step
        # A plain log does not say that its run goes on; to judge it by its end would be too early.
        bench = bench if ended else _going_on(bench, place)
        results = run_checks(bench, checks, [run.record.run_id])
        look = _look(run, [item for item in results if item.run is not None], seen, ended, trouble)
        seen |= {item.name for item in look.alarms}
        yield look
        if ended:
            return
        sleep(poll_seconds)


def _ended(run: Subject, was_running: bool, idle: float | None) -> str:
    """Why there is nothing more to come, nothing having come for `idle` seconds; or ""."""
    planned = run.planned_steps
    if planned is not None and run.step >= (1 - END_TOLERANCE) * planned:
        return "the run has reached its planned steps"
    if was_running and not run.running:
        return f"the run has {run.record.status}"
    return "" if idle is None else f"nothing has come for {idle:g} s"


def _look(
    run: Subject, results: Sequence[Result], seen: Set[str], ended: str, trouble: str
) -> Look:
    """The run as it stands; an alarm is of a check that has not failed before (`seen`)."""
    bands = [r.finding.details for r in results if "high" in r.finding.details]
    band = bands[0].get("final", bands[0]) if bands else {}  # `course` tells of both
    values = run.record.final
    return Look(
        run.record.run_id,
        run.step,
        run.planned_steps,
        values.get("tokens"),
        values.get("loss"),
        band.get("low"),
        band.get("high"),
        tuple(results),
        tuple(r for r in results if r.finding.status == "fail" and r.name not in seen),
        ended,
        trouble,
    )


def _going_on(bench: Bench, place: int) -> Bench:
    """The same runs, that of this row unfinished where its source calls it finished."""
    records = list(bench.runs.records)
    if records[place].status == "finished":
        records[place] = replace(records[place], status="unfinished")
    return replace(bench, runs=bench.runs.of_records(records))


def _checks(project: Project) -> list[Check]:
    """The project's checks, and the band of the newest fits where they have none."""
    checks = read_checks(project.mapping)
    if not any(check.rule.name == "band" for check in checks):
        try:
            project.saved.answering()
        except (InputError, UnreachableError):
            return checks
        checks.append(Check(rules()["band"], rules()["band"].read({}, "scalefit"), "band"))
    return checks

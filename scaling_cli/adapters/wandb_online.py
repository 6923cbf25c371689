"""Runs of a W&B server, fetched by the wandb client: `wandb:ENTITY/PROJECT[/RUN]` or a pasted URL.

History comes complete, never sampled: what the server has exported to Parquet is downloaded, and
the steps that it logged since are scanned.
"""

from __future__ import annotations

import json
import os
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np

from scaling_cli.adapters.base import Request, Service, Unchanged
from scaling_cli.adapters.building import Logged, flattened, make_run, moment, status_of
from scaling_cli.adapters.wandb_runs import declared_steps, settings
from scaling_cli.adapters.wire import Ints
from scaling_cli.errors import InputError, UnreachableError, install
from scaling_cli.notes import Note
from scaling_cli.records import Floats, Run
from scaling_cli.remote import LOOK, MOST_GROWTH, bounded, resident, without_secrets
from scaling_cli.sources import Selection
from scaling_cli.steps import AS_CALLED, STEP_IS, Points, join, marked_if_called, on_own_step

NAME = "wandb"

PREFIX = "wandb:"
HOSTS = ("wandb.ai", "wandb.io", "forge.coreweave.com")
# The client's pages: 100 is the most that pays, as configs come along. A page that the server does
# not manage is asked for again in halves.
PAGE, SMALLEST_PAGE = 100, 12
END_SECONDS = 5.0  # for the client to end
CALL_SECONDS = 30.0  # for a page of the list; the client tries again by itself within it
LIST_SECONDS = 120.0  # for all that the client does to come to one
MOST_REPEATED = 10 * PAGE  # runs in a row that were listed before
# For one run. The client would try a broken history for a quarter of an hour, and the time limit
# that it takes is not for histories.
RUN_SECONDS = 600.0
THREADS = 12  # at 100 ms a call 8 are a fifth slower, and 16 not faster
LOST_IN_A_ROW = 2 * THREADS  # then it is not the runs that are at fault
ATTEMPTS = 3  # links to exports expire, and a new answer has new ones
# The client asks for steps, not rows, and 1,000 at a time: a run whose step counts tokens would
# take a call for each row. The largest page that the server's 32 bits hold takes them all at once.
WHOLE = 2**31 - 1
# Should a server thin out so large a page, smaller ones follow, though not without end.
CAREFUL, MOST_PAGES = 10_000, 1_000
SETTLED = timedelta(days=1)  # a server exports what a run logged within hours of its end
READER = 1  # raised when more is read from a run, so that stored ones are fetched again
# What both lists of runs say; whatever changes in a run, one of these changes with it.
_LISTED = (
    "state",
    "heartbeatAt",
    "historyLineCount",
    "displayName",
    "group",
    "jobType",
    "tags",
    "sweepName",
)
_LOG_IN = "Run `wandb login --relogin`, or set WANDB_API_KEY."
_PARTS = {"runs": "name", "groups": "group", "sweeps": "sweep"}  # of a project, in its URLs

T = TypeVar("T")


@dataclass(frozen=True)
class _Place:
    """A project, and which of its runs the source names."""

    entity: str
    project: str
    only: tuple[dict[str, Any], ...] = ()

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}"

    def run_key(self, run: Any) -> str:
        return f"wandb:{self.path}/{run.id}"


def claims(source: str) -> bool:
    if source.startswith(PREFIX):
        return True
    host = _host(source)
    own = _host(os.environ.get("WANDB_BASE_URL", ""))
    return host != "" and any(
        host == known or host.endswith(f".{known}") for known in (*HOSTS, own)
    )


def fetch(source: str, request: Request) -> Iterator[Run | Unchanged | Note]:
    place = _place(source)
    filters = _filters(place, request.select)
    lacking = list[int]()
    with _client(place) as client:
        if any(key.startswith(f"wandb:{place.path}/") for key in request.known):
            kept, changed = _compared(client, place, filters, request, lacking)
            yield from kept
        else:
            changed = _in_full(client, place, filters, lacking, request.expect)
        yield from _fetched(client, place, changed)
    if sum(lacking):
        told = f"{sum(lacking)} of the runs of {place.path} cannot be listed and are left out"
        yield Note.of("unreadable", told)


def _compared(
    client: _Client,
    place: _Place,
    filters: dict[str, Any],
    request: Request,
    lacking: list[int],
) -> tuple[list[Unchanged], Iterator[Any]]:
    """The runs that the store has as they are, by a list without their configs, and the others."""
    kept, names = list[Unchanged](), list[str]()
    for run in _listed(client, place, filters, lazy=True, expect=request.expect):
        key = place.run_key(run)
        if request.known.get(key) == _cursor(run):
            kept.append(Unchanged(key))
        else:
            names.append(run.id)
    parts = (names[i : i + PAGE] for i in range(0, len(names), PAGE))
    changed = (_in_full(client, place, {"name": {"$in": part}}, lacking) for part in parts)
    return kept, chain.from_iterable(changed)


def _fetched(client: _Client, place: _Place, runs: Iterator[Any]) -> Iterator[Run | Note]:
    lost = 0
    for run, outcome in _in_parallel(runs, partial(_read, client, place)):
        if isinstance(outcome, Run):
            lost = 0
            yield outcome
            continue
        lost += 1
        if lost == LOST_IN_A_ROW:
            raise UnreachableError(
                f"{lost} runs of {place.path} in a row could not be fetched ({_told(outcome)})",
                "Give the same command later: it goes on from there.",
            )
        told = f"{place.path}/{run.id} could not be fetched ({_told(outcome)}) and is left out"
        yield Note.of("unreadable", told)


def _in_parallel(
    jobs: Iterator[T], work: Callable[[T], Run]
) -> Iterator[tuple[T, Run | Exception]]:
    """Each job with what came of it, as it comes. What takes longer than RUN_SECONDS is given up:
    its thread cannot be stopped, but nobody waits for it."""
    done: queue.SimpleQueue[tuple[int, Run | Exception]] = queue.SimpleQueue()
    active: dict[int, tuple[T, float]] = {}

    def attempt(number: int, job: T) -> None:
        try:
            done.put((number, work(job)))
        except Exception as error:
            done.put((number, error))

    numbered = enumerate(jobs)
    while True:
        for number, job in islice(numbered, THREADS - len(active)):
            active[number] = job, time.monotonic() + RUN_SECONDS
            threading.Thread(target=attempt, args=(number, job), daemon=True).start()
        if not active:
            return
        try:
            number, outcome = done.get(timeout=1.0)
        except queue.Empty:
            pass
        else:
            if number in active:
                yield active.pop(number)[0], outcome
        late = [number for number, (_, end) in active.items() if time.monotonic() > end]
        for number in late:
            yield active.pop(number)[0], TimeoutError()


# The list


def _in_full(
    client: _Client,
    place: _Place,
    filters: dict[str, Any],
    lacking: list[int],
    expect: Callable[[int], None] = lambda runs: None,
) -> Iterator[Any]:
    """The project's runs with their configs. One config that cannot be read costs the client its
    page: the runs that it left out come without, to be asked for one by one. `lacking` is told how
    many cannot be listed at all."""
    expected, seen = list[int](), set[str]()

    def expecting(runs: int) -> None:
        expected.append(runs)
        expect(runs)

    for run in _listed(client, place, filters, False, expecting):
        seen.add(run.id)
        yield run
    if len(seen) < max(expected, default=1):
        client.api.flush()  # it keeps lists, by what was asked for
        for run in _listed(client, place, filters, True, expecting):
            if run.id not in seen:
                seen.add(run.id)
                yield run
        lacking.append(max(0, max(expected, default=1) - len(seen)))


def _listed(
    client: _Client,
    place: _Place,
    filters: dict[str, Any],
    lazy: bool,
    expect: Callable[[int], None] = lambda runs: None,
) -> Iterator[Any]:
    """The project's runs in the order of their start, `lazy` ones without config and summary."""
    runs = client.api.runs(place.path, filters=filters, per_page=PAGE, lazy=lazy)
    seen, repeated = set[str](), 0
    for i in count():
        while True:
            try:
                run = (
                    runs[i]
                    if i < len(runs.objects)
                    else bounded(partial(_at, runs, i), LIST_SECONDS)
                )
                break
            except IndexError:
                if not i and not len(runs):
                    raise InputError(
                        f"{place.path} has no such runs", "Widen the filter."
                    ) from None
                return
            except (TimeoutError, MemoryError) as error:
                raise _unreachable(place, error) from None
            except ValueError:  # the client's word for it
                raise InputError(
                    f"W&B has no project {place.path}, or this API key may not see it",
                    "Write wandb:ENTITY/PROJECT as in the project's URL.",
                ) from None
            except Exception as error:
                if runs.per_page <= SMALLEST_PAGE or 400 <= _status(error) < 500:
                    raise _unreachable(place, error) from None
                runs.per_page //= 2
        if not i:
            expect(len(runs))
        repeated = repeated + 1 if run.id in seen else 0
        if repeated > MOST_REPEATED:
            raise _unreachable(place, _Lost("its list of runs has no end"))
        if run.id not in seen:
            seen.add(run.id)
            yield run


def _at(runs: Any, index: int) -> Any:
    return runs[index]


def _place(source: str) -> _Place:
    spelled = source.removeprefix(PREFIX)
    if _host(spelled):
        spelled = urlsplit(spelled).path
    parts = [unquote(part) for part in spelled.split("/") if part]
    entity, project, *rest = parts if len(parts) > 1 else ("", "")
    if not entity or (len(rest) > 1 and rest[0] not in _PARTS):
        raise InputError(
            f"{without_secrets(source)} names no W&B project",
            "Write wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/RUN, or paste the page's URL.",
        )
    if len(rest) == 1 and not _host(source):
        return _Place(entity, project, ({"name": rest[0]},))
    if len(rest) > 1:
        return _Place(entity, project, ({_PARTS[rest[0]]: rest[1]},))
    return _Place(entity, project)  # of a page of the project, say


def _filters(place: _Place, select: Selection) -> dict[str, Any]:
    """What the server is to look for, as the client takes it: MongoDB's language."""
    wanted = list(place.only)
    if select.filter:
        try:
            asked = json.loads(select.filter)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise InputError(
                f"`filter=` {select.filter}: no JSON object",
                """Write for example `filter=` '{"config.recipe": "a", "state": "finished"}'.""",
            )
        wanted.append(asked)
    if select.tags:
        wanted.append({"tags": {"$in": list(select.tags)}})
    if select.sweep:
        wanted.append({"sweep": select.sweep})
    return wanted[0] if len(wanted) == 1 else {"$and": wanted} if wanted else {}


def _cursor(run: Any) -> str:
    """What both lists say of a run's state, and nothing that they do not."""
    said = (_said(run, name) for name in _LISTED)
    return json.dumps([READER, *said], separators=(",", ":"))


def _said(run: Any, attribute: str) -> Any:
    return getattr(run, attribute, None)


# A run


def _read(client: _Client, place: _Place, run: Any) -> Run:
    """The run with all of its history, or with a note on what of it is missing."""
    lines, last_step = _said(run, "historyLineCount") or 0, _last_step(run)
    history = _exported(client, run)
    if history.live or history.rows < lines:
        since = history.last + 1
        if last_step - since > WHOLE * MOST_PAGES:
            raise _Lost(f"steps from {since:,} to {last_step:,} are none of a run")
        for page in (WHOLE, max(CAREFUL, (last_step - since) // MOST_PAGES)):
            history.live_rows = list(
                run.scan_history(min_step=since, page_size=page, use_cache=client.private)
            )
            if history.rows >= lines:
                break
    for file in history.files:
        file.unlink(missing_ok=True)
    logged, media, points = history.read()
    notes = [*logged.notes()]
    if media:
        names = ", ".join(sorted(media))
        notes.append(Note.of("not_scalars", f"media are left out: {names}"))
    complete = history.rows >= lines and history.last >= last_step
    if not complete:
        told = (
            f"{history.rows:,} of {lines:,} logged rows could be had, up to step"
            f" {history.last:,} of {last_step:,}"
        )
        notes.append(Note.of("history_incomplete", told))
    labels = {"job_type": _said(run, "jobType"), "sweep": _said(run, "sweepName")}
    summary = {key: value for key, value in run.summary_metrics.items() if not _is_media(value)}
    config = settings(logged, points, flattened(summary), flattened(run.config), labels)
    key = place.run_key(run)
    made = make_run(NAME, run.id, key, config, points, notes)
    cursor = _cursor(run) if complete or _settled(run) else ""
    made = marked_if_called(on_own_step(made))
    if made.config.get(STEP_IS) == AS_CALLED:
        made = on_own_step(made, declared=_declared(run))
    return replace(
        made,
        run_key=key,
        name=_said(run, "displayName") or made.name,
        group=_said(run, "group") or made.group,
        status=status_of(run.state),
        tags=tuple(_said(run, "tags") or ()) or made.tags,
        created_at=_moment(_said(run, "createdAt")) or made.created_at,
        cursor=cursor,
    )


def _declared(run: Any) -> list[str]:
    """What `define_metric` declared, asked for again: of a run in a list, the client drops it."""
    if "_wandb" not in (_said(run, "rawconfig") or {}):
        run.load(force=True)
    return declared_steps(_said(run, "rawconfig"))


@dataclass
class _History:
    """What is known of a run's history: tables that the server exported, and rows since."""

    tables: list[Any]
    files: list[Path]  # that the tables are from; the client's scan looks at them, too
    live_rows: list[dict[str, Any]] = field(default_factory=list)
    live: bool = False  # whether the server says that there are rows since

    @property
    def rows(self) -> int:
        exported: int = sum(table.num_rows for table in self.tables)
        return exported + len(self.live_rows)

    @property
    def last(self) -> int:
        steps = [int(row.get("_step", -1)) for row in self.live_rows]
        steps += [int(_steps(table).max()) for table in self.tables if table.num_rows]
        return max(steps, default=-1)

    def read(self) -> tuple[Logged, set[str], Points]:
        """Text and media beside the points of each metric."""
        logged, media = Logged(), set[str]()
        parts: dict[str, list[tuple[Ints, Floats]]] = {}
        for table in self.tables:
            steps = _steps(table)
            for metric, column in _columns(table.drop_columns("_step"), media):
                numbers = _numbers(column)
                if numbers is None:
                    for step, value in zip(steps.tolist(), column.to_pylist(), strict=True):
                        logged.add(step, metric, value)
                    continue
                known = column.is_valid().to_numpy(zero_copy_only=False)
                parts.setdefault(metric, []).append((steps[known], numbers[known]))
        for row in self.live_rows:
            step = int(row["_step"])
            for top, entry in row.items():
                if top == "_step":
                    continue
                if _is_media(entry):
                    media.add(top)
                    continue
                for metric, value in flattened({top: entry}):
                    logged.add(step, metric, value)
        for metric, points in logged.points().items():
            parts.setdefault(metric, []).append(points)
        return logged, media, {metric: join(arrays) for metric, arrays in parts.items()}


def _exported(client: _Client, run: Any) -> _History:
    import pyarrow.parquet as pq

    for _ in range(ATTEMPTS):
        found = run.download_history_exports(client.folder, require_complete_history=False)
        if not found.errors:
            break
    else:
        raise _Lost("its exported history cannot be downloaded")
    try:
        tables = [pq.read_table(path) for path in found.paths]
    except (OSError, ValueError):
        raise _Lost("its exported history is damaged") from None
    return _History(tables, found.paths, live=found.contains_live_data)


def _steps(table: Any) -> Ints:
    """They may be stored as whole numbers or as doubles."""
    steps: Ints = table.column("_step").to_numpy().astype(np.int64)
    return steps


def _columns(table: Any, media: set[str]) -> Iterator[tuple[str, Any]]:
    """The columns by name; those of nested ones by a path of names joined by dots."""
    import pyarrow as pa

    for metric, column in zip(table.column_names, table.columns, strict=True):
        joined = column.combine_chunks()
        if not pa.types.is_struct(joined.type):
            yield metric, joined
        elif joined.type.get_field_index("_type") >= 0:
            media.add(metric)
        else:
            names = [f"{metric}.{inner.name}" for inner in joined.type]
            yield from _columns(pa.table(joined.flatten(), names), media)


def _numbers(column: Any) -> Floats | None:
    """A column as numbers, if it can be read so: the server spells NaN and infinity as texts."""
    import pyarrow as pa

    try:
        numbers: Floats = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return numbers


def _is_media(value: Any) -> bool:
    return isinstance(value, dict) and "_type" in value


def _last_step(run: Any) -> int:
    keys = _said(run, "historyKeys")
    return int(keys.get("lastStep", -1)) if isinstance(keys, dict) else -1


def _moment(said: str | None) -> str:
    """A time as the server says it, as the other sources do."""
    try:
        return moment(_time(said).timestamp())
    except ValueError:
        return ""


def _time(said: str | None) -> datetime:
    time = datetime.fromisoformat(said or "")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _settled(run: Any) -> bool:
    """Whether what is missing will not come any more, so that asking again is in vain."""
    try:
        idle = datetime.now(UTC) - _time(_said(run, "heartbeatAt"))
    except ValueError:
        return False
    return idle > SETTLED


# The client


class _Lost(Exception):
    """Part of a run cannot be had, for a reason that may be told."""


@dataclass(frozen=True)
class _Client:
    """The wandb client; `private` says that its cache is `folder`, and that nobody else uses it."""

    api: Any
    folder: Path
    private: bool


@contextmanager
def _client(place: _Place) -> Iterator[_Client]:
    """The client with a cache of its own: a shared one may hold what a run was before it grew, and
    keeps the error of an expired link as if it were the history."""
    try:
        import wandb
        from wandb.sdk import wandb_setup
    except ImportError:
        raise InputError(f"wandb:{place.path} needs the package wandb", install("wandb")) from None
    if not hasattr(wandb.apis.public.Run, "download_history_exports"):
        raise InputError(
            f"wandb {wandb.__version__} cannot download histories", "pip install 'wandb>=0.28'"
        )
    with tempfile.TemporaryDirectory(prefix="scalefit-", ignore_cleanup_errors=True) as folder:
        private = {"WANDB_CACHE_DIR": folder, "WANDB_DIR": folder}
        quiet = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
        with _environment(private | quiet):
            own = getattr(wandb_setup.singleton(), "_connection", None) is None
            if own:
                wandb_setup.singleton().ensure_service()
                service = _service(wandb_setup)
                if hasattr(service, "poll"):
                    threading.Thread(target=_watch, args=(service,), daemon=True).start()
            try:
                yield _Client(_connected(wandb, place), Path(folder), own)
            finally:
                if own:
                    _end(wandb, wandb_setup)


def _service(wandb_setup: Any) -> Any:
    """The process that the client's service runs in, where it says so."""
    service = getattr(getattr(wandb_setup.singleton(), "_connection", None), "_proc", None)
    return getattr(service, "_process", None)


def _watch(process: Any) -> None:
    """End the client's service where it grows beyond all measure: it takes a whole answer, whatever
    its length, and says a page of Go's words where its memory is limited."""
    while process.poll() is None and resident(process.pid) < MOST_GROWTH:
        time.sleep(LOOK)
    process.kill()


def _end(wandb: Any, wandb_setup: Any) -> None:
    """End the client's service, by force where it does not end: it was seen to wait for ever behind
    a server that is away, and the command with it."""
    process = _service(wandb_setup)
    watch = threading.Timer(END_SECONDS, process.kill) if process else None
    if watch:
        watch.daemon = True
        watch.start()
    try:
        wandb.teardown()
    except (SystemExit, OSError):  # by the exit code of a service, or for one that has died
        pass
    finally:
        if watch:
            watch.cancel()


def _connected(wandb: Any, place: _Place) -> Any:
    try:
        return bounded(partial(wandb.Api, timeout=CALL_SECONDS), LIST_SECONDS)
    except wandb.errors.UsageError:
        raise UnreachableError("W&B has no API key here", _LOG_IN) from None
    except wandb.errors.AuthenticationError as error:
        if error.__cause__ is None:  # nothing was asked: the client sees that it is none
            raise UnreachableError("the API key for W&B is none", _LOG_IN) from None
        raise _unreachable(place, error) from None
    except Exception as error:
        raise _unreachable(place, error) from None


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _unreachable(place: _Place, error: Exception) -> UnreachableError:
    if _status(error) in (401, 403):
        return UnreachableError(f"W&B does not accept the API key for {place.path}", _LOG_IN)
    return UnreachableError(
        f"{place.path} cannot be reached ({_told(error)})",
        "See that the server answers (WANDB_BASE_URL, if it is your own), and try again.",
    )


def _status(error: Exception) -> int:
    """The HTTP status that an error of the client speaks of. Its words themselves are never
    passed on: they quote what the server said, which may be a signed URL."""
    cause: BaseException | None = error
    while cause is not None:
        status = getattr(getattr(cause, "response", None), "http_status", 0)
        found = re.search(r"\berror ([45]\d\d)\b", str(cause))
        status = status or (int(found[1]) if found else 0)
        if status:
            return int(status)
        cause = cause.__cause__
    return 0


def _told(error: Exception) -> str:
    if isinstance(error, _Lost):
        return str(error)
    if isinstance(error, TimeoutError | MemoryError):
        return str(error) or f"not here after {RUN_SECONDS:.0f} s"
    status = _status(error)
    if status:
        return f"HTTP {status}"
    return "no answer" if "did not respond" in str(error) else type(error).__name__


def _host(url: str) -> str:
    return urlsplit(url).hostname or "" if re.match("https?://", url) else ""


SERVICE = Service(NAME, claims, fetch, install("wandb"))

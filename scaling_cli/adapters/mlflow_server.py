"""`mlflow:URI#EXPERIMENT`: what an MLflow tracking server holds, read by MLflow's client.

The experiment is a name or an id; without one, all are read. A URI of a folder or a SQLite file is
read by `mlflow.py`, without the client. `filter=` is in MLflow's words (`params.lr > '1e-4'`).
Credentials are the client's own (MLFLOW_TRACKING_TOKEN, MLFLOW_TRACKING_USERNAME and _PASSWORD).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from math import isnan
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from scaling_cli.adapters import mlflow
from scaling_cli.adapters.base import Request, Service, Unchanged
from scaling_cli.adapters.files import SourceFiles
from scaling_cli.errors import InputError, UnreachableError, install
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.remote import bounded, hushed, without_secrets

NAME = "mlflow-server"

_SCHEME = "mlflow:"
_RUNS_A_PAGE = 1000
_MOST_RUNS = 200_000  # 1 GB of what the list says of them
_MOST_BARREN = 20  # pages in a row without a run that was not there before
_LOST_IN_A_ROW = 24  # then it is not the runs that are at fault
# For a call, beyond the client's own 60 s for each of its tries.
_CALL_SECONDS = 300.0
_LOGGERS = ("mlflow", "urllib3", "requests")
_TOGETHER = 8  # runs read at a time; more only queue on a server of a few workers
# The client's own settings, unless the user has set them: it would try a dead host for 4 minutes.
_CLIENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}

T = TypeVar("T")


def claims(source: str) -> bool:
    return source.startswith(_SCHEME)


def fetch(source: str, request: Request) -> Iterator[Run | Unchanged | Note]:
    uri, _, experiment = source.removeprefix(_SCHEME).partition("#")
    if not uri:
        raise InputError(f"{source} names no server", "Write mlflow:http://HOST:5000#EXPERIMENT.")
    is_server = urlsplit(uri).scheme in ("http", "https", "databricks") or uri == "databricks"
    select = request.select
    if select.tags or select.sweep or (select.filter and not is_server):
        mend = "`filter=` serves on a server: `filter=` \"tags.recipe = 'rotary'\"."
        raise InputError(f"{without_secrets(uri)} is not searched by `tag=` or `sweep=`", mend)
    if is_server:
        for key, value in _CLIENT.items():
            os.environ.setdefault(key, value)
        client_class = _client_class(without_secrets(uri))
        with hushed(*_LOGGERS):  # importing it sets their levels
            yield from _served(client_class, uri, experiment, request)
        return
    with SourceFiles() as door:
        found = [
            f for f, head in door.find([_local(uri)]) if mlflow.recognises(f.path, head or b"")
        ]
        door.fetch(found)
        for item in mlflow.read_together(found, request.mapping):
            if isinstance(item, Note) or item.group == (experiment or item.group):
                yield item


def _local(uri: str) -> str:
    """The path behind `sqlite:///tracking.db` and `file:///mlruns`; else the URI is one."""
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        return parts.path.removeprefix("/")
    return unquote(parts.path) if parts.scheme == "file" else uri


def _client_class(shown: str) -> Callable[[str], Any]:
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise InputError(f"{_SCHEME}{shown} needs MLflow's client", install("mlflow")) from None
    return MlflowClient


def _served(
    client_class: Callable[[str], Any], uri: str, experiment: str, request: Request
) -> Iterator[Run | Unchanged | Note]:
    shown = without_secrets(uri)
    client = _asked(shown, partial(client_class, uri))
    titles = _experiments(client, experiment, shown)
    if not titles:
        raise InputError(f"{shown} has no experiment {experiment!r}", "Its page lists them.")
    options = {"filter_string": request.select.filter, "max_results": _RUNS_A_PAGE}
    search = partial(client.search_runs, list(titles), **options)
    found = list(_pages(shown, search, lambda run: run.info.run_id))
    request.expect(len(found))
    changed = []
    for run in found:
        key = f"{mlflow.NAME}:{run.info.run_id}"
        if _cursor(run) and request.known.get(key) == _cursor(run):
            yield Unchanged(key)
        else:
            changed.append(run)
    failed: UnreachableError | None = None
    lost = 0
    with ThreadPoolExecutor(_TOGETHER) as pool:
        asked = {pool.submit(_read, client, run, titles, shown): run for run in changed}
        try:
            for answer in as_completed(asked):
                try:
                    yield answer.result()
                    lost = 0
                except UnreachableError as error:
                    failed, lost = error, lost + 1
                    if lost == _LOST_IN_A_ROW:
                        raise
                    run_id = asked[answer].info.run_id
                    yield Note.of("unreadable", f"run {run_id}: {error.what}")
        finally:
            pool.shutdown(cancel_futures=True)
    if failed is not None and all(answer.exception() is not None for answer in asked):
        raise failed


def _cursor(run: Any) -> str:
    """What tells whether an ended run has changed; a running one is always read."""
    if not run.info.end_time:
        return ""
    told = (run.info.status, run.info.end_time, run.data.metrics, run.data.params, run.data.tags)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _experiments(client: Any, wanted: str, shown: str) -> dict[str, str]:
    """The names by id of the experiment that is wanted, or of all."""
    every = _pages(shown, client.search_experiments, lambda experiment: experiment.experiment_id)
    return {e.experiment_id: e.name for e in every if wanted in ("", e.name, e.experiment_id)}


def _pages(shown: str, search: Callable[..., Any], identity: Callable[[Any], str]) -> Iterator[Any]:
    """What a server lists, each once; a list that does not end is refused."""
    token, seen, barren = None, set[str](), 0
    while True:
        page = _asked(shown, partial(search, page_token=token))
        new = [entry for entry in page if identity(entry) not in seen]
        yield from new
        seen.update(map(identity, new))
        token = page.token
        if not token:
            return
        barren = 0 if new else barren + 1
        if barren > _MOST_BARREN:
            mend = "Is it a tracking server? Its pages lead on without anything new on them."
            raise UnreachableError(f"{shown} lists without end", mend)
        if len(seen) > _MOST_RUNS:
            mend = "Ask for fewer of them: `filter=` \"tags.recipe = 'rotary'\"."
            raise UnreachableError(f"{shown} lists more than {_MOST_RUNS:,} runs", mend)


def _read(client: Any, run: Any, titles: dict[str, str], shown: str) -> Run:
    info = run.info
    recorded = mlflow.Recorded(
        info.run_id,
        info.run_name or "",
        titles.get(info.experiment_id, ""),
        info.status.lower(),
        (info.start_time or 0) / 1000,
        params=run.data.params,
        tags=run.data.tags,
    )
    lacking = []
    for key, latest in run.data.metrics.items():
        history = list(_asked(shown, partial(client.get_metric_history, info.run_id, key)))
        history.sort(key=lambda point: (point.timestamp, point.step))
        values = [point.value for point in history]
        recorded.points[key] = mlflow.make_points([point.step for point in history], values)
        if not isnan(latest) and latest not in values:
            lacking.append(key)
    if lacking:
        message = f"the server did not give the latest point of {', '.join(lacking)}"
        recorded.notes.append(Note.of("incomplete", message))
    found = recorded.run(f"{_SCHEME}{shown}#{recorded.experiment}")
    return replace(found, cursor=_cursor(run))


def _asked(shown: str, ask: Callable[[], T]) -> T:
    """What the client answers. Its messages quote the address with its password; its codes do
    not."""
    try:
        return bounded(ask, _CALL_SECONDS)
    except (TimeoutError, MemoryError) as error:
        told = str(error) or type(error).__name__
    except Exception as error:
        told = getattr(error, "error_code", type(error).__name__)
    mend = "Is it a tracking server, and does the client have its credentials?"
    raise UnreachableError(f"{shown} cannot be read ({told})", mend) from None


SERVICE = Service(NAME, claims, fetch, install("mlflow"))

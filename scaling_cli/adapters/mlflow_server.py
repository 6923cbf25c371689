"""`mlflow:URI#EXPERIMENT`: what an MLflow tracking server holds, read by MLflow's client.

The experiment is a name or an id; without one, all are read. A URI of a folder or a SQLite file is
read by `mlflow.py`, without the client. `filter=` is in MLflow's words (`params.lr > '1e-4'`).
Credentials are the client's own (MLFLOW_TRACKING_TOKEN, MLFLOW_TRACKING_USERNAME and _PASSWORD).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from math import isnan
from typing import Any
from urllib.parse import unquote, urlsplit

from scaling_cli.adapters import mlflow
from scaling_cli.adapters.base import Request, Service, Unchanged
from scaling_cli.adapters.files import SourceFiles
from scaling_cli.errors import InputError, UnreachableError, install
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.remote import without_secrets

NAME = "mlflow-server"

_SCHEME = "mlflow:"
_RUNS_A_PAGE = 1000
_TOGETHER = 8  # runs read at a time; more only queue on a server of a few workers
# The client's own settings, unless the user has set them: it would try a dead host for 4 minutes.
_CLIENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}


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
        yield from _served(uri, experiment, request)
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


def _served(uri: str, experiment: str, request: Request) -> Iterator[Run | Unchanged | Note]:
    for key, value in _CLIENT.items():
        os.environ.setdefault(key, value)
    shown = without_secrets(uri)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise InputError(f"{_SCHEME}{shown} needs MLflow's client", install("mlflow")) from None
    with _reaching(shown):
        client = MlflowClient(uri)
        titles = _experiments(client, experiment)
    if not titles:
        raise InputError(f"{shown} has no experiment {experiment!r}", "Its page lists them.")
    with _reaching(shown):
        options = {"filter_string": request.select.filter, "max_results": _RUNS_A_PAGE}
        found = list(_pages(client.search_runs, list(titles), **options))
    request.expect(len(found))
    changed = []
    for run in found:
        key = f"{mlflow.NAME}:{run.info.run_id}"
        if _cursor(run) and request.known.get(key) == _cursor(run):
            yield Unchanged(key)
        else:
            changed.append(run)
    failed: UnreachableError | None = None
    with ThreadPoolExecutor(_TOGETHER) as pool:
        asked = {pool.submit(_read, client, run, titles, shown): run for run in changed}
        try:
            for answer in as_completed(asked):
                try:
                    yield answer.result()
                except UnreachableError as error:
                    failed = error
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


def _experiments(client: Any, wanted: str) -> dict[str, str]:
    """The names by id of the experiment that is wanted, or of all."""
    every = _pages(client.search_experiments)
    return {e.experiment_id: e.name for e in every if wanted in ("", e.name, e.experiment_id)}


def _pages(search: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(*arguments, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


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
        with _reaching(shown):
            history = client.get_metric_history(info.run_id, key)
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


@contextmanager
def _reaching(shown: str) -> Iterator[None]:
    """The client's messages quote the address with its password; its codes do not."""
    try:
        yield
    except Exception as error:
        told = getattr(error, "error_code", type(error).__name__)
        mend = "Is it a tracking server, and does the client have its credentials?"
        raise UnreachableError(f"{shown} cannot be read ({told})", mend) from None


SERVICE = Service(NAME, claims, fetch, install("mlflow"))

"""A W&B server on loopback, as far as the wandb client asks anything of one when it reads runs.

It answers the queries that wandb 0.31 was seen to send. What it cannot prove: nothing here was ever
compared with the real service, so that its page limits, its rate limits, the types of its exports
and whether it serves exported rows as live ones too are assumptions. Where they were in doubt,
this server does what is worse for its reader.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

KEY = "abcdef0123456789" * 2 + "deadbeef"
SIGNATURE = "X-Amz-Signature=5ecret51gnature"
VIEWER = {"id": "VXNlcjox", "entity": "lab", "username": "me", "email": "", "flags": "{}"}


@dataclass
class Recorded:
    """A run as the server has it. The first `exported` rows are in Parquet, one file for each
    `per_file` of them, the others are live."""

    name: str
    rows: list[dict[str, Any]]
    exported: int = 0
    per_file: int = 10_000
    config: dict[str, Any] = field(default_factory=dict)
    metrics: Sequence[dict[str, Any]] = ()  # what `define_metric` declared
    summary: dict[str, Any] = field(default_factory=dict)
    state: str = "finished"
    display: str = ""
    group: str = ""
    job_type: str = ""
    tags: Sequence[str] = ()
    sweep: str | None = None
    heartbeat: str = "2024-05-01T10:00:00Z"
    lines: int | None = None  # if it claims more rows than it has
    most: int = 1 << 31  # rows that it gives in a page, however many are asked for
    delay: float = 0.0  # seconds that each of its exports takes

    def files(self) -> list[bytes]:
        parts = range(0, self.exported, self.per_file)
        return [parquet(self.rows[i : min(i + self.per_file, self.exported)]) for i in parts]

    def light(self) -> dict[str, Any]:
        return {
            "id": f"id-{self.name}",
            "name": self.name,
            "displayName": self.display or self.name,
            "projectId": "7",
            "tags": list(self.tags),
            "sweepName": self.sweep,
            "state": self.state,
            "group": self.group,
            "jobType": self.job_type,
            "commit": None,
            "readOnly": False,
            "createdAt": "2024-05-01T09:00:00Z",
            "heartbeatAt": self.heartbeat,
            "description": "",
            "notes": "",
            "historyLineCount": len(self.rows) if self.lines is None else self.lines,
            "user": {"name": "me", "username": "me"},
        }

    def full(self) -> dict[str, Any]:
        config = {key: {"value": value} for key, value in self.config.items()}
        config["_wandb"] = {"value": {"cli_version": "0.31.0", "m": list(self.metrics)}}
        return self.light() | {
            "config": json.dumps(config),
            "summaryMetrics": json.dumps(self.summary),
            "systemMetrics": "{}",
            "historyKeys": self.history_keys(),
        }

    def history_keys(self) -> dict[str, Any]:
        return {"lastStep": self.rows[-1]["_step"] if self.rows else -1}


def parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as the server exports them; a column that holds a text is one of texts."""
    columns: dict[str, list[Any]] = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        if any(isinstance(value, str) for value in values):
            values = [None if value is None else str(value) for value in values]
        columns[name] = values
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@dataclass
class Fault:
    """What is answered to the next `times` requests of an operation instead."""

    operation: str
    status: int
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


class Server:
    """Its projects hold runs by name; `calls` counts what was asked."""

    def __init__(self, latency: float = 0.0) -> None:
        self.projects: dict[str, dict[str, Recorded]] = {}
        self.latency = latency
        self.calls: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.pages: list[int] = []  # runs in each page of a list
        self.overlap = False  # whether exported rows are served as live ones, too
        self.files: dict[str, list[bytes]] = {}
        self.lock = threading.Lock()
        server = self

        class Handler(_Handler):
            home = server

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def put(self, project: str, *runs: Recorded) -> None:
        for run in runs:
            self.projects.setdefault(project, {})[run.name] = run
            self.files[f"{project}/{run.name}"] = run.files()

    def fault(self, operation: str) -> Fault | None:
        """The fault that this request meets, if one does."""
        with self.lock:
            self.calls[operation] += 1
            for fault in self.faults:
                if fault.operation == operation and fault.times:
                    fault.times -= 1
                    return fault
        return None

    def answer(self, operation: str, query: str, asked: dict[str, Any]) -> dict[str, Any]:
        if operation == "Viewer":
            return {"viewer": {**VIEWER, "teams": {"edges": []}}}
        if operation == "GetDefaultEntity":
            return {"viewer": VIEWER}
        project = f"{asked['entity']}/{asked['project']}"
        if operation == "Runs":
            return {"project": self.listed(project, "...RunFragment" in query, asked)}
        found = self.projects[project][asked.get("run") or asked.get("runName") or asked["name"]]
        return {"project": {"run": self.about(operation, project, found, asked)}}

    def listed(self, project: str, full: bool, asked: dict[str, Any]) -> dict[str, Any] | None:
        if project not in self.projects:
            return None
        wanted = json.loads(asked.get("filters") or "{}")
        runs = [run for run in self.projects[project].values() if matches(run, wanted)]
        start = int(asked.get("cursor") or 0)
        shown = runs[start : start + asked["perPage"]]
        self.pages.append(len(shown))
        edges = [
            {"node": run.full() if full else run.light(), "cursor": str(start + i + 1)}
            for i, run in enumerate(shown)
        ]
        end = start + len(shown)
        info = {"endCursor": str(end), "hasNextPage": end < len(runs)}
        runs_found = {"edges": edges, "pageInfo": info}
        return {"internalId": "7", "runCount": len(runs), "readOnly": False, "runs": runs_found}

    def about(
        self, operation: str, project: str, run: Recorded, asked: dict[str, Any]
    ) -> dict[str, Any]:
        if operation == "Run":
            return run.full()
        if operation == "RunHistoryKeys":
            return {"historyKeys": run.history_keys()}
        if operation == "RunParquetHistory":
            count = len(self.files[f"{project}/{run.name}"])
            urls = [f"{self.url}/{project}/{run.name}/{i}?{SIGNATURE}" for i in range(count)]
            live = [{"_step": row["_step"]} for row in run.rows[run.exported :]]
            return {"parquetHistory": {"parquetUrls": urls, "liveData": live}}
        if operation == "HistoryPage":
            rows = run.rows if self.overlap else run.rows[run.exported :]
            inside = [r for r in rows if asked["minStep"] <= r["_step"] < asked["maxStep"]]
            step = max(1, -(-len(inside) // run.most))  # thinned out, as a sample is
            return {"history": [json.dumps(row) for row in inside[::step]]}
        raise AssertionError(f"the client asks {operation}, which it was never seen to")


def matches(run: Recorded, wanted: dict[str, Any]) -> bool:
    """What of MongoDB's language the tests use."""
    fields = {"name": run.name, "group": run.group, "sweep": run.sweep, "state": run.state}
    for key, value in wanted.items():
        if key == "$and":
            if not all(matches(run, part) for part in value):
                return False
        elif key == "tags":
            if not set(value["$in"]) & set(run.tags):
                return False
        else:
            own = run.config.get(key[7:]) if key.startswith("config.") else fields[key]
            if own not in (value["$in"] if isinstance(value, dict) else [value]):
                return False
    return True


class _Handler(BaseHTTPRequestHandler):
    home: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # else head and body go in two packets, and each answer waits for the client

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = re.search(r"(?:query|mutation)\s+(\w+)", body["query"])
        operation = found[1] if found else "?"
        self.serve(operation, lambda: self.graphql(operation, body))

    def do_GET(self) -> None:
        self.serve("export", self.export)

    def serve(self, operation: str, answer: Any) -> None:
        fault = self.home.fault(operation)
        time.sleep(self.home.latency + (fault.delay if fault else 0.0))
        if fault and fault.status:
            secret = f"{self.home.url}{self.path}?{SIGNATURE} {KEY}"
            self.send(fault.status, f"refused: {secret}".encode(), fault.headers)
            return
        self.send(200, answer())

    def graphql(self, operation: str, body: dict[str, Any]) -> bytes:
        told = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
        assert self.headers["Authorization"] == told
        data = self.home.answer(operation, body["query"], body.get("variables") or {})
        return json.dumps({"data": data}).encode()

    def export(self) -> bytes:
        assert urlsplit(self.path).query == SIGNATURE
        path, number = urlsplit(self.path).path.strip("/").rsplit("/", 1)
        project, name = path.rsplit("/", 1)
        time.sleep(self.home.projects[project][name].delay)
        return self.home.files[path][int(number)]

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

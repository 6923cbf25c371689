"""A W&B server on loopback, as far as the wandb client asks anything of one when it sends a run.

It answers what wandb 0.31 was seen to ask. Nothing here was ever compared with the real service.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

ENTITY = {"id": "e", "name": "lab"}


class Receiver:
    """`files` by name as they were uploaded, `runs` as they were made, `streamed` lines of logs."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.runs: list[dict[str, Any]] = []
        self.streamed: list[dict[str, Any]] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (_Handler,), {"home": self}))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        if operation == "UpsertBucket":
            self.runs.append(asked)
            project = {"id": "7", "name": asked["project"], "entity": ENTITY}
            bucket = {"id": "id1", "config": "{}", "historyLineCount": 0, "project": project}
            bucket |= {"name": asked["name"], "displayName": "", "description": ""}
            return {"upsertBucket": {"bucket": bucket | {"sweepName": None}, "inserted": True}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": self.place(name)} for name in asked["files"]]
            return {"createRunFiles": {"runID": "id1", "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":
            made = {"id": "a", "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
            return {"createArtifact": {"artifact": made}}
        if operation == "CreateArtifactManifest":
            file = {"id": "f", "uploadUrl": self.place("manifest.json"), "uploadHeaders": []}
            return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}
        if operation == "CreateArtifactFiles":
            names = [item["name"] for item in asked["input"]["artifactFiles"]]
            return {"createArtifactFiles": {"files": {"edges": list(map(self.node, names))}}}
        if operation == "CommitArtifact":
            return {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}}
        if operation == "ArtifactType":
            return {"project": {"artifact": None}}
        if operation == "Viewer":
            viewer = {"id": "v", "entity": "lab", "username": "me", "email": "", "flags": "{}"}
            return {"viewer": {**viewer, "teams": {"edges": []}}}
        return {}

    def node(self, name: str) -> dict[str, Any]:
        parts = {"storagePath": name, "uploadUrl": self.place(name), "uploadHeaders": []}
        return {"node": {**parts, "uploadMultipartUrls": None, "artifact": {"id": "a"}}}

    def place(self, name: str) -> str:
        return f"{self.url}/up/{name}"


class _Handler(BaseHTTPRequestHandler):
    home: Receiver
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return (
            gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content
        )

    def do_PUT(self) -> None:
        self.home.files[unquote(self.path).removeprefix("/up/")] = self.body()
        self.send({})

    def do_POST(self) -> None:
        content = self.body()
        if self.path.endswith("/file_stream"):
            self.home.streamed.append(json.loads(content))
            self.send({})
        elif self.path == "/graphql":
            body = json.loads(content)
            known = re.search(r"(?:query|mutation)\s+(\w+)", body["query"])
            answer = self.home.answer(known[1] if known else "", body.get("variables") or {})
            self.send({"data": answer})
        else:  # what the client counts of itself
            self.send({})

    def send(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

"""Two writers of a store in S3 whose answers go astray: `make faults`.

Of what they PUT, some is done and said to have failed (lost), some is done twice (doubled), and
some is said to have failed and done when its writer has given up (late); at times each try of a
file goes the same way. After each round the store is whole, and every ingest, save and forgetting
that was told done is there.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread
from typing import Any

URL, WRITERS, POINTS = "s3://lab/team/store", "ab", 20
SHARE = 0.15  # of the PUTs
KINDS = ("lost", "doubled", "late")
DELAY = (0.1, 1.5)  # seconds that a late one takes
PATIENCE = "2"  # tries of a client, by default five with growing pauses

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Astray:
    """A server's application before which answers go astray."""

    def __init__(self, application: Application, seed: int) -> None:
        self.application = application
        self.chance = random.Random(seed)
        self.one_by_one = Lock()  # moto looks and creates in two steps, S3 in one
        self.stuck: dict[str, str] = {}  # path -> what all its tries come to
        self.seen: Counter[str] = Counter()
        self.late: list[Thread] = []
        self.at_work = False

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size) if size else b""
        kind = self.kind(environ) if environ["REQUEST_METHOD"] == "PUT" else ""
        if kind == "late":
            thread = Thread(target=self.do_late, args=(environ, body))
            thread.start()
            self.late.append(thread)
        elif kind == "lost":
            self.do(environ, body, lambda *_: None)
        if kind in ("late", "lost"):
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>astray</Message></Error>"]
        if kind == "doubled":
            self.do(environ, body, lambda *_: None)
        return self.do(environ, body, start)

    def kind(self, environ: dict[str, Any]) -> str:
        path = environ["PATH_INFO"]
        if not self.at_work:
            return ""
        found = self.stuck.get(path)
        if found is None:
            if self.chance.random() > SHARE:
                return ""
            found = self.chance.choice(KINDS)
            if self.chance.random() < 0.5:
                self.stuck[path] = found
        self.seen[found] += 1
        return found

    def do(self, environ: dict[str, Any], body: bytes, start: Any) -> list[bytes]:
        with self.one_by_one:
            return list(self.application({**environ, "wsgi.input": io.BytesIO(body)}, start))

    def do_late(self, environ: dict[str, Any], body: bytes) -> None:
        time.sleep(self.chance.uniform(*DELAY))
        self.do(environ, body, lambda *_: None)


@contextmanager
def serving(seed: int) -> Iterator[Astray]:
    """A server of S3 on loopback, which this process and its children are told of."""
    import logging

    import moto.server
    from werkzeug.serving import make_server

    astray = Astray(moto.server.DomainDispatcherApplication(moto.server.create_backend_app), seed)
    server = make_server("127.0.0.1", 0, astray, threaded=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "AKIATESTKEY",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-told",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": PATIENCE,
    }
    try:
        yield astray
    finally:
        server.shutdown()


def write(name: str, first: int, count: int, seed: int) -> None:
    """Work; what is begun, done and failed is told on stdout."""
    import numpy as np
    import s3fs

    from scaling_cli.errors import UnreachableError
    from scaling_cli.records import Run, Series
    from scaling_cli.resolve import Final
    from scaling_cli.store import open_store
    from scaling_cli.store.log import DamagedError

    s3fs.S3FileSystem.retries = int(PATIENCE)
    chance = random.Random(seed)
    store = open_store(URL, create=True)
    steps = np.arange(POINTS, dtype=np.int64)
    for version in range(first, first + count):
        operation = chance.choice(("put", "put", "save", "forget", "compact"))
        print(operation, version, flush=True)
        try:
            if operation == "put":
                series = {"loss": Series(steps, np.full(POINTS, float(version)))}
                keys = [f"{name}{i}" for i in range(3)] + [f"{name}-spare"]
                runs = [Run(f"csv:{key}", key, "x", series=series) for key in keys]
                store.put(runs, [Final({"loss": float(version)}, {})] * len(keys), again=True)
            elif operation == "save":
                values = {"version": version}
                fits = [{"fit_id": f"{name}-{part}", "values": values} for part in "xy"]
                store.fits.save(fits, name)
            elif operation == "forget":
                store.forget([f"csv:{name}-spare"])
            else:
                store.compact(older_than=chance.choice((0.0, 5.0)))
        except DamagedError:
            raise
        except UnreachableError:
            print("failed", version, flush=True)
        else:
            print("done", version, flush=True)


def told(lines: list[str], operation: str) -> tuple[int, int]:
    """Of an operation, the last version that was told done, and the last that was begun."""
    begun = done = 0
    doing = ""
    for line in lines:
        what, number = line.split()
        if what == operation:
            begun = int(number)
        elif what == "done" and doing == operation:
            done = int(number)
        doing = what
    return done, begun


def look(lines: dict[str, list[str]]) -> None:
    """See that the store is whole and holds what the writers told."""
    from scaling_cli.store import open_store

    store = open_store(URL)
    verified = store.verify()
    assert not verified.problems, verified.problems
    series = store.series()
    finals = {record.run_id: record.final["loss"] for record in store.runs()}
    for name, own in lines.items():
        done, begun = told(own, "put")
        versions = {finals.get(f"{name}{i}", 0.0) for i in range(3)}
        assert len(versions) == 1, f"{name}: a put is there in part: {versions}"
        assert done <= min(versions) <= begun, f"{name}: {done} was done, {versions} is there"
        for i in range(3) if max(versions) else ():
            values = set(series[f"csv:{name}{i}"]["loss"].values.tolist())
            assert values == versions, f"{name}{i}: {values} is no history of {versions}"
        gone, going = told(own, "forget")
        spare = finals.get(f"{name}-spare")
        assert spare is not None or not done or going > done, f"{name}: its spare run is lost"
        assert spare is None or spare > gone, f"{name}: a forgotten run is there again"
        saved, saving = told(own, "save")
        fits = store.fits.load([fit for fit in store.fits.listed() if name in fit.names])
        assert len(fits) in ((2,) if saved else (0, 2)), f"{name}: half a set of fits"
        kept = {fit["values"]["version"] for fit in fits} or {0}
        assert len(kept) == 1, f"{name}: fits of one name are of two saves"
        assert saved <= min(kept) <= saving, f"{name}: {saved} was saved, {kept} is there"


def campaign(answers: int, seed: int, operations: int = 25) -> tuple[Counter[str], Counter[str]]:
    """Rounds until so many answers went astray. Gives these by kind, and how operations ended."""
    import s3fs

    lines: dict[str, list[str]] = {name: [] for name in WRITERS}
    with serving(seed) as server, tempfile.TemporaryDirectory() as folder:
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("lab")
        number = 0
        while server.seen.total() < answers:
            number += 1
            server.at_work = True
            processes = {
                name: subprocess.Popen(
                    [sys.executable, "-m", __spec__.name, "write", name,
                     str(1 + operations * (number - 1)), str(operations), f"{seed + number}"],
                    stdout=subprocess.PIPE,
                    stderr=(Path(folder) / f"{name}.err").open("ab"),
                    text=True,
                )
                for name in WRITERS
            }  # fmt: skip
            for name, process in processes.items():
                out, _ = process.communicate(timeout=600)
                lines[name] += out.splitlines()
                error = (Path(folder) / f"{name}.err").read_text()
                assert process.returncode == 0, f"{name} failed by itself: {error[-3000:]}"
            server.at_work = False
            for thread in server.late:
                thread.join()
            server.late.clear()
            server.stuck.clear()
            look(lines)
        ends = Counter(line.split()[0] for own in lines.values() for line in own)
        return server.seen, ends


def main() -> None:
    if sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
        return
    answers = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    seen, ends = campaign(answers, seed)
    print(
        f"{seen.total()} answers astray ({dict(seen)}), seed {seed}: {ends['done']} operations"
        f" done, {ends['failed']} failed and said so; nothing was lost"
    )


if __name__ == "__main__":
    main()

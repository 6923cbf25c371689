"""Damaged files of every format, read and stored beside a good run: `make fuzz`.

Each case damages one real file: cut off, bits flipped, spliced, lengths and numbers made absurd,
records damaged under checksums that hold, and bombs. It holds if
nothing but our own errors comes out, the good run is read and stored, a case takes less than
`SECONDS` and the process keeps within `MEMORY`. Cases run in child processes, so that a crash is a
finding and not the end: `python -m tests.adapters.fuzz_sources --first N --count 1` repeats case N.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import random
import re
import resource
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from scaling_cli.adapters.crc32c import FRONT, crc32c, masked
from scaling_cli.adapters.reading import read_sources
from scaling_cli.adapters.wire import PAD
from scaling_cli.errors import ScalefitError
from scaling_cli.project import open_project
from tests.adapters.test_console_forms import CASES
from tests.places import ROOT

SAMPLES = ROOT / "sample_runs"
SECONDS = 20  # of processor time, so that a busy machine is no finding; the slowest took 8
MEMORY = 3 << 30  # of address space; pyarrow and numpy alone map 1 GiB
BATCH = 250  # cases in a process
MLFLOW_RUN = "0/" + "a" * 32
GOOD = "step,loss,params\n1,3,10\n2,2,10\n"


@cache
def seeds() -> dict[str, bytes]:
    """A small real file of each format, by the path that it is read under."""
    largest = {
        "csv": ("csv", "baseline-ladder-d16l2-9.0e11.csv"),
        "jsonl": ("jsonl", "baseline-ladder-d16l2-1.0e11.jsonl"),
    }
    text = {kind: (SAMPLES / "/".join(at)).read_bytes()[:20_000] for kind, at in largest.items()}
    text = {kind: content[: content.rindex(b"\n") + 1] for kind, content in text.items()}
    events = next((SAMPLES / "tensorboard" / "baseline-ladder-d16l1-1.0e11").iterdir())
    (offline,) = SAMPLES.glob("wandb/*baseline-ladder-d16l2-3_0e11/*.wandb")
    found = {
        "run.csv": text["csv"],
        "runs.csv": (SAMPLES / "csv" / "runs.csv").read_bytes(),
        "run.tsv": text["csv"].replace(b",", b"\t"),
        "chart.csv": b'"Step","a - val/loss","a - val/loss__MIN","b - val/loss"\n"1","3","2",""\n',
        "run.csv.gz": gzip.compress(text["csv"]),
        "run.csv.zst": pa.compress(text["csv"], codec="zstd", asbytes=True),
        "run.jsonl": text["jsonl"],
        "run.jsonl.gz": gzip.compress(text["jsonl"]),
        "run.jsonl.zst": pa.compress(text["jsonl"], codec="zstd", asbytes=True),
        "tb/events.out.tfevents.1795235441.host": events.read_bytes()[:40_000],
        "tb/events.out.tfevents.1795235441.host.gz": gzip.compress(events.read_bytes()[:40_000]),
        "wandb/run-x.wandb": offline.read_bytes()[:80_000],
        "hf/trainer_state.json": trainer_state(),
        **shapes(),
        "console.log": b"".join(
            b"step %05d/00100 (1%%) | loss: %f | tok/sec: 1,024\n" % (s, 1 / s)
            for s in range(1, 99)
        ),
        **{f"{name.split()[0]}.out": text.encode() for name, (text, *_) in CASES.items()},
        "powershell.log": CASES["nanochat"][0].encode("utf-16"),
        "0/" + "a" * 32 + "/metrics/loss": b"".join(
            b"%d %f %d\n" % (9, 1 / s, s) for s in range(1, 99)
        ),
        "0/"
        + "a" * 32
        + "/meta.yaml": b"experiment_id: '0'\nrun_id: x\nstart_time: 17\nstatus: 3\n",
    }
    with tempfile.TemporaryDirectory() as folder:
        found["trackio.db"] = trackio(Path(folder))
        found["mlflow.db"] = mlflow(Path(folder))
        for name, table in tables().items():
            parquet.write_table(table, Path(folder) / name)
            found[name] = (Path(folder) / name).read_bytes()
    return found


def shapes() -> dict[str, bytes]:
    """Small histories in the shapes that strangers keep them in."""
    rows = [{"step": s, "tokens": 500 * s, "loss": round(3 + 9 / s, 4)} for s in range(10, 200, 10)]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    body = "".join(f"{s},{500 * s},{3 + 9 / s:.4f}\n" for s in range(10, 200, 10))
    turned = "".join(f"{s},{3 + 9 / s:.4f},{500 * s}\n" for s in range(150, 300, 10))
    models = "".join(f"{m},{row}" for m in ("small", "base") for row in body.splitlines(True))
    splits = [row | {"split": split} for row in rows for split in ("train", "val")]
    boxes = "".join(
        f"{'-' * 20}\n| train/ |  |\n|    loss | {3 + 9 / s:.3g} |\n| step | {s} |\n{'-' * 20}\n"
        for s in range(10, 200, 10)
    )
    between = "".join(
        f"Step {s} - loss {3 + 9 / s:.4f}\n>>> validation: loss = {3 + 8 / s:.4f}, ppl = 50.1\n"
        for s in range(10, 200, 10)
    )
    texts = {
        "rows.json": json.dumps(rows),
        "columns.json": json.dumps({"n_params": 3e7, **columns}),
        "listed.json": json.dumps([{"name": "a", "config": {"n_params": 3e7}, "log": rows}]),
        "by_run.json": json.dumps({"a": {"n_params": 3e7, "log": rows}}),
        "again.csv": f"step,tokens,loss\n{body}step,tokens,loss\n{body}",
        "turned.csv": f"step,tokens,loss\n{body}# restarted\nstep,loss,tokens\n{turned}",
        "models.csv": f"model,step,tokens,loss\n{models}",
        "splits.jsonl": "".join(json.dumps(row) + "\n" for row in splits),
        "behind.jsonl": "".join(json.dumps(row) + "\n" for row in (*rows, *rows)),
        "boxes.txt": boxes,
        "between.log": between,
    }
    return {name: text.encode() for name, text in texts.items()}


def trainer_state() -> bytes:
    rows = [{"step": step, "loss": 3 / step, "epoch": step / 9} for step in range(1, 60)]
    return json.dumps({"global_step": 59, "log_history": rows}, indent=2).encode()


def trackio(folder: Path) -> bytes:
    with contextlib.closing(sqlite3.connect(folder / "t.db")) as database, database:
        database.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT,"
            " step INTEGER, metrics TEXT)"
        )
        for step in range(200):
            row = (step, "", "r", step, json.dumps({"loss": 1 / (step + 1)}))
            database.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?)", row)
    return (folder / "t.db").read_bytes()


def mlflow(folder: Path) -> bytes:
    with contextlib.closing(sqlite3.connect(folder / "m.db")) as database, database:
        database.executescript(
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT);"
            "CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time INTEGER,"
            " lifecycle_stage TEXT, experiment_id INTEGER);"
            "CREATE TABLE metrics (key TEXT, value FLOAT, timestamp INTEGER, run_uuid TEXT,"
            " step INTEGER, is_nan INTEGER);"
            "CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);"
            "CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);"
            "INSERT INTO experiments VALUES (0, 'e');"
            "INSERT INTO runs VALUES ('r', 'name', 'FINISHED', 1, 'active', 0);"
            "INSERT INTO params VALUES ('params', '10', 'r');"
        )
        for step in range(200):
            row = ("loss", 1 / (step + 1), step, "r", step, 0)
            database.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", row)
    return (folder / "m.db").read_bytes()


def tables() -> dict[str, pa.Table]:
    steps = np.arange(400)
    wide = {"step": steps, "loss": 1 / (1 + steps), "note": ["x"] * 400}
    long = {
        "run_id": ["a", "b"] * 200,
        "step": steps // 4,
        "metric": np.repeat(["loss", "lr"], 200),
        "value": 1 / (1 + steps),
    }
    return {"wide.parquet": pa.table(wide), "long.parquet": pa.table(long)}


BOMBS = ("bomb.csv.gz", "bomb.csv.zst", "bomb.jsonl.zst", "bomb.parquet", "bomb.jsonl")


@cache
def bomb(path: str) -> bytes:
    """A small file that unpacks, or claims to decode, to more than is allowed, or nests as deep."""
    if path == "bomb.jsonl":
        return b'{"step": 1, "a": ' + b"[" * 500_000 + b"]" * 500_000 + b"}\n"
    sink = pa.BufferOutputStream()
    if path == "bomb.parquet":
        column = pa.array(np.zeros(1 << 20, dtype=np.int64))
        parquet.write_table(pa.table({f"c{i}": column for i in range(129)}), sink)
    else:
        codec = "gzip" if path.endswith(".gz") else "zstd"
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(b'{"a": "' if "jsonl" in path else b"step,loss\n")
            for _ in range(300):
                stream.write(bytes(1 << 20))
    return sink.getvalue().to_pybytes()


def case(number: int, seed: int) -> tuple[str, str, bytes]:
    """How a file is damaged, its path and its content."""
    chance = random.Random(f"{seed}/{number}")
    if number % 500 == 499:
        path = BOMBS[number // 500 % len(BOMBS)]
        return "bomb", path, bomb(path)
    path = sorted(seeds())[number % len(seeds())]
    data = seeds()[path]
    ways = [cut, flip, splice, overwrite, absurd, repeat]
    if "tfevents" in path or path.endswith(".wandb"):
        ways += [forge, forge]
    way = chance.choice(ways)
    if path.endswith((".gz", ".zst")) and chance.random() < 0.6:  # else only the packing breaks
        codec = "gzip" if path.endswith(".gz") else "zstd"
        plain = pa.CompressedInputStream(pa.BufferReader(data), codec).read()
        damaged = way(chance, plain, path)
        packed = gzip.compress(damaged, 1)
        if codec == "zstd":
            packed = pa.compress(damaged, codec="zstd", asbytes=True)
        return f"{way.__name__} within", path, packed
    return way.__name__, path, way(chance, data, path)


def cut(chance: random.Random, data: bytes, path: str) -> bytes:
    return data[: chance.randrange(len(data))]


def flip(chance: random.Random, data: bytes, path: str) -> bytes:
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def splice(chance: random.Random, data: bytes, path: str) -> bytes:
    other = seeds()[chance.choice(sorted(seeds()))]
    start = chance.randrange(len(other))
    piece = other[start : start + chance.choice((1, 16, 512, 8192))]
    at = chance.randrange(len(data))
    return data[:at] + piece + data[at + chance.choice((0, len(piece))) :]


def overwrite(chance: random.Random, data: bytes, path: str) -> bytes:
    """Numbers of the largest kind, or zeros, over some bytes: lengths, counts, offsets."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 3))):
        piece = chance.choice(
            [b"\xff" * 4, b"\xff" * 8, b"\xff" * 9 + b"\x01", b"\xff\xff\xff\x7f", bytes(4),
             bytes(64), struct.pack("<Q", 1 << 40), b"\x80" * 12]
        )  # fmt: skip
        at = chance.randrange(len(found))
        found[at : at + len(piece)] = piece
    return bytes(found)


def absurd(chance: random.Random, data: bytes, path: str) -> bytes:
    """Numbers of the text that no run has; in a binary file, digits where there are some."""
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not numbers:
        return flip(chance, data, path)
    for found in sorted(chance.sample(numbers, min(3, len(numbers))), key=lambda m: -m.start()):
        other = chance.choice(
            [b"9" * 30, b"9" * 400, b"1e999", b"-1", b"-9223372036854775808", b"1e18", b"NaN",
             b"0.5", b"", b"0x10", b"1,5", b"\xff", b"\"", b"{", b"\0", b"\xed\xa0\x80"]
        )  # fmt: skip
        data = data[: found.start()] + other + data[found.end() :]
    return data


def repeat(chance: random.Random, data: bytes, path: str) -> bytes:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.choice((1, 40, 1000))]
    return data[:start] + piece * chance.choice((2, 50, 1000)) + data[start:]


def forge(chance: random.Random, data: bytes, path: str) -> bytes:
    """Damage under checksums that hold."""
    found = bytearray()
    for record in records(data, path):
        payload = record
        if chance.random() < 0.05 and payload:
            payload = chance.choice((cut, flip, overwrite, splice))(chance, payload, path)
        found += framed(payload, path)
    return (data[:7] if path.endswith(".wandb") else b"") + bytes(found)


def records(data: bytes, path: str) -> Iterator[bytes]:
    at = 0 if "tfevents" in path else 7
    while at + 16 < len(data):
        if "tfevents" in path:
            size = int.from_bytes(data[at : at + 8], "little")
            yield data[at + 12 : at + 12 + size]
            at += size + 16
        else:
            size = int.from_bytes(data[at + 4 : at + 6], "little")
            if size and data[at + 6] == 1:
                yield data[at + 7 : at + 7 + size]
            at += size + 7
            at += -at % (1 << 15) if -at % (1 << 15) < 7 else 0


def framed(payload: bytes, path: str) -> bytes:
    if "tfevents" in path:
        length = struct.pack("<Q", len(payload))
        return length + checksum(length) + payload + checksum(payload)
    payload = payload[:4000]  # so that blocks need no care: at worst a chunk crosses one
    return struct.pack("<IHB", zlib.crc32(b"\x01" + payload), len(payload), 1) + payload


def checksum(content: bytes) -> bytes:
    data = np.frombuffer(FRONT + content + PAD, np.uint8)
    start, size = np.array([len(FRONT)]), np.array([len(content)])
    return struct.pack("<I", int(masked(crc32c(data, start, size))[0]))


def tried(path: str, content: bytes, folder: Path) -> str:
    """Read and store the damaged file beside a good run, and read it alone; says what came out."""
    target = folder / "logs" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    (folder / "logs" / "good.csv").write_text(GOOD)
    found = read_sources([folder / "logs"])
    assert any(run.run_key == "csv:good" for run in found.runs), "the good run is not read"
    project = open_project(str(folder / "store"))
    project.ingest([str(folder / "logs")])
    stored = project.store.runs()
    assert any(record.run_key == "csv:good" for record in stored), "the good run is not stored"
    project.store.series()
    try:
        read_sources([target])
    except ScalefitError:
        return "refused"
    return "read" if len(found.runs) > 1 else "left out"


def child(first: int, count: int, seed: int) -> None:
    """Try cases, one line of JSON each; the parent sees which one did not end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def too_slow(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGPROF, too_slow)
    for number in range(first, first + count):
        how, path, content = case(number, seed)
        print(json.dumps({"case": number, "how": how, "path": path}), flush=True)
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            with tempfile.TemporaryDirectory() as folder:
                outcome, told = tried(path, content, Path(folder)), ""
        except BaseException as error:
            outcome, told = type(error).__name__, traceback.format_exc()
        signal.setitimer(signal.ITIMER_PROF, 0)
        spent = time.process_time() - started
        print(json.dumps({"outcome": outcome, "told": told, "seconds": spent}), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak}), flush=True)


def campaign(first: int, count: int, seed: int) -> tuple[Counter[str], list[str], float, float]:
    """Outcomes, findings, the slowest case in seconds and the highest peak of memory in MiB."""
    outcomes: Counter[str] = Counter()
    findings: list[str] = []
    slowest = peak = 0.0
    at, end = first, first + count
    while at < end:
        size = min(BATCH, end - at)
        options = ["--child", "--first", str(at), "--count", str(size), "--seed", str(seed)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.adapters.fuzz_sources", *options],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60 + 10 * SECONDS * size,  # nothing waits: only a deadlock would
        )
        begun: dict[str, object] = {}
        ended = 0
        for line in done.stdout.splitlines():
            told = json.loads(line)
            begun = told if "case" in told else begun
            if "outcome" in told:
                ended += 1
                outcomes[told["outcome"]] += 1
                slowest = max(slowest, told["seconds"])
                if told["told"]:
                    findings.append(f"{begun}\n{told['told']}")
            peak = max(peak, told.get("peak", 0.0))
        if ended < size:  # it died in the case that it had begun
            outcomes["crash"] += 1
            findings.append(f"{begun}: exit {done.returncode}\n{done.stderr[-2000:]}")
            ended += 1
        at += ended
    return outcomes, findings, slowest, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true")
    asked = parser.parse_args()
    if asked.child:
        child(asked.first, asked.count, asked.seed)
        return
    outcomes, findings, slowest, peak = campaign(asked.first, asked.count, asked.seed)
    for finding in findings[:20]:
        print(finding)
    shown = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"{asked.count} cases: {shown}; slowest {slowest:.1f} s, peak {peak:.0f} MiB")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()

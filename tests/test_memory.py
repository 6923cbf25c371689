"""Which files an ingest reads again, and that the store holds what a first ingest would give."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scaling_cli import manifest
from scaling_cli.adapters import jsonl, reading
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.outcome import Ingest
from scaling_cli.progress import Progress
from scaling_cli.project import Project
from scaling_cli.sources import Sources
from scaling_cli.store import MOST_MANIFESTS

LATER = 60.0  # seconds, beyond all doubt


def write(path: Path, *losses: float, run_id: str = "", **config: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {"_type": "config", "n_params": 10**6, **config} | (
        {"run_id": run_id} if run_id else {}
    )
    rows = [{"step": i, "loss": loss, "tokens": 10**6 * i} for i, loss in enumerate(losses, 1)]
    path.write_text("\n".join(map(json.dumps, [given, *rows])), encoding="utf-8")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files that are read, each its own part; files are beyond the doubt of the clock."""
    seen: list[str] = []
    read = jsonl.ADAPTER.read

    def noted(path: Path, source: str, mapping: Mapping) -> object:
        if Path(source).exists() and path.samefile(source):  # no copy of its first lines
            seen.append(Path(source).name)
        assert read is not None
        return read(path, source, mapping)

    object.__setattr__(jsonl.ADAPTER, "read", noted)
    monkeypatch.setattr(reading, "PIECE_BYTES", 1)
    monkeypatch.setattr(manifest, "DOUBTFUL_SECONDS", -LATER)
    yield seen
    object.__setattr__(jsonl.ADAPTER, "read", read)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for name in "abc":
        write(tmp_path / "logs" / f"{name}.jsonl", 3.0, 2.5)
    return tmp_path / "logs"


def ingest(logs: Path, mapping: Mapping | None = None, **options: bool) -> Ingest:
    return Project(str(logs.parent / "store"), mapping).ingest([str(logs)], **options)


def loss(logs: Path, run_id: str) -> float:
    records = Project(str(logs.parent / "store"), None).store.runs()
    return {record.run_id: record.final["loss"] for record in records}[run_id]


def keep_times(path: Path, change: Callable[[], object]) -> None:
    """Change a file within one tick of its clock."""
    status = path.stat()
    change()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_has_not_changed_is_not_read(logs: Path, reads: list[str]) -> None:
    first = ingest(logs)
    assert (sorted(reads), first.not_read) == (["a.jsonl", "b.jsonl", "c.jsonl"], 0)
    reads.clear()
    again = ingest(logs)
    assert reads == []
    assert again.line.startswith("3 runs: 3 unchanged, 0 read, ")
    names = ("mapped", "notes", "also_logged", "missing", "runs", "store")
    assert all(getattr(again, name) == getattr(first, name) for name in names)
    write(logs / "b.jsonl", 3.0, 2.5, 2.25)
    changed = ingest(logs)
    assert reads == ["b.jsonl"]
    assert (changed.replaced, changed.unchanged, changed.not_read) == (1, 2, 2)
    assert changed.mapped == first.mapped
    reads.clear()
    assert ingest(logs, reread=True).unchanged == len(reads) == 3


def test_a_file_of_the_same_size_and_time_is_known_by_its_content(
    logs: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time of its status; where the system keeps none, by its digest while in doubt."""
    ingest(logs)
    path = logs / "a.jsonl"
    keep_times(path, lambda: write(path, 3.0, 1.5))
    ingest(logs)
    assert loss(logs, "a") == 1.5
    bare = lambda status: (status.st_size, status.st_mtime_ns, 0, status.st_ino)  # noqa: E731
    monkeypatch.setattr(manifest, "stamp_of", bare)
    monkeypatch.setattr(manifest, "DOUBTFUL_SECONDS", LATER)
    ingest(logs)
    keep_times(path, lambda: write(path, 3.0, 1.25))
    reads.clear()
    ingest(logs)
    assert (reads, loss(logs, "a")) == (["a.jsonl"], 1.25)
    monkeypatch.setattr(manifest, "DOUBTFUL_SECONDS", -LATER)
    assert ingest(logs).not_read == 3  # by the digest; from now on the stamp is enough
    found, _ = (store := Project(str(logs.parent / "store"), None).store).remembered(
        store.log.state()
    )
    assert all(not file.content for part in found.parts for file in part.files)


@pytest.mark.parametrize("how", ["truncated", "replaced", "mapping", "version", "readers", "group"])
def test_whatever_has_a_say_in_the_reading_is_heeded(
    how: str, logs: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(logs)
    reads.clear()
    mapping, path = None, logs / "a.jsonl"
    if how == "truncated":
        path.write_text("\n".join(path.read_text().splitlines()[:2]), encoding="utf-8")
    elif how == "replaced":
        write(logs / "new", 3.0, 1.5)
        os.replace(logs / "new", path)
    elif how == "mapping":
        mapping = Mapping(columns={"loss": "loss * 2"})
    elif how == "version":
        monkeypatch.setattr(manifest, "VERSION", "9.9.9")
    elif how == "readers":
        monkeypatch.setattr(manifest, "_readers", lambda: "others")
    sources = Sources((str(logs),), group="g" if how == "group" else None)
    Project(str(logs.parent / "store"), mapping).ingest(sources)
    all_of_them = ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert sorted(reads) == (["a.jsonl"] if how in ("truncated", "replaced") else all_of_them)


def test_a_source_goes_by_where_it_lies_and_not_by_its_spelling(
    logs: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(logs)
    monkeypatch.chdir(logs.parent)
    for spelled in ("logs", "./logs/", "../" + logs.parent.name + "/logs"):
        assert Project("store", None).ingest([spelled]).not_read == 3
    reads.clear()
    assert Project("store", None).ingest(["logs/a.jsonl"]).unchanged == 1
    assert reads == ["a.jsonl"]  # a file of its own: its run may go by another name


def test_forgotten_runs_stay_out_until_they_are_asked_for(logs: Path, reads: list[str]) -> None:
    ingest(logs)
    Project(str(logs.parent / "store"), None).store.forget(["jsonl:a"])
    reads.clear()
    for _ in range(2):
        found = ingest(logs)
        assert (reads, found.runs) == ([], 2)
        assert "runs_forgotten" in {note.code for note in found.notes}
    assert ingest(logs, again=True).new == 1
    assert reads == ["a.jsonl"]
    assert ingest(logs).not_read == 3


def test_runs_that_vanished_are_said_and_kept(logs: Path, reads: list[str]) -> None:
    ingest(logs)
    (logs / "a.jsonl").unlink()
    write(logs / "b.jsonl", 3.0, run_id="other")
    for _ in range(MOST_MANIFESTS + 2):
        found = ingest(logs)
        assert found.vanished == ("jsonl:a", "jsonl:b")
        assert "runs_vanished" in {note.code for note in found.notes}
        write(logs / "c.jsonl", 3.0, 2.0 - len(reads) / 100)  # and so the documents are made one
    store = Project(str(logs.parent / "store"), None).store
    assert {record.run_id for record in store.runs()} == {"a", "b", "c", "other"}
    assert len(store.log.state().manifests) <= MOST_MANIFESTS + 1
    assert not store.verify().problems
    store.forget(["jsonl:a"])
    assert ingest(logs).vanished == ("jsonl:b",)
    write(logs / "b.jsonl", 3.0)
    assert ingest(logs).vanished == ("jsonl:other",)


def test_an_interrupted_ingest_goes_on_with_the_rest(logs: Path, reads: list[str]) -> None:
    class Impatient(Progress):
        def arrived(self, runs: int, rows: int) -> None:
            if len(reads) == 2:
                raise KeyboardInterrupt

    project = Project(str(logs.parent / "store"), None)
    with pytest.raises(KeyboardInterrupt):
        project.ingest([str(logs)], Impatient())
    stored = len(project.store.runs())
    reads.clear()
    done = project.ingest([str(logs)])
    assert (done.unchanged, done.new, len(reads)) == (stored, 3 - stored, 3 - stored)
    assert stored == 1


def test_damage_of_the_memory_costs_reading_and_no_more(logs: Path, reads: list[str]) -> None:
    project = Project(str(logs.parent / "store"), None)
    for change in (lambda text: text[:-9], lambda text: text.replace("jsonl:a", "jsonl:b"), None):
        ingest(logs, reread=True)
        for path in (logs.parent / "store" / "manifests").iterdir():
            path.unlink() if change is None else path.write_text(change(path.read_text()))
        assert "manifest_damaged" in {note.code for note in project.store.verify().problems}
        reads.clear()
        assert (ingest(logs).unchanged, len(reads)) == (3, 3)
        assert not project.store.verify().problems
        assert ingest(logs).not_read == 3


def test_a_run_id_that_a_known_file_has_is_still_refused(logs: Path, reads: list[str]) -> None:
    ingest(logs)
    write(logs / "z.jsonl", 1.0, run_id="a")
    with pytest.raises(InputError, match="both hold a run 'a', and they differ"):
        ingest(logs)
    shutil.copy(logs / "a.jsonl", logs / "z.jsonl")


def test_settings_beside_a_table_have_a_say(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "metrics.csv").write_text("step,loss\n1,3\n2,2\n3,1.5\n", encoding="utf-8")
    for width in (None, 64, 128):
        if width:
            (logs / "hparams.yaml").write_text(f"n_params: {width}\n", encoding="utf-8")
        ingest(logs)
        (record,) = Project(str(tmp_path / "store"), None).store.runs()
        assert record.config.get("n_params") == width


def changes(rng: random.Random, logs: Path) -> None:
    """One change of a folder of runs, as the years bring them."""
    files = sorted(logs.rglob("*.jsonl"))
    path = rng.choice(files)
    kind = rng.randrange(9)
    if kind == 0:
        write(logs / rng.choice(["", "d/"]) / f"n{rng.randrange(5)}.jsonl", rng.random(), 1.0)
    elif kind == 1 and len(files) > 2:
        path.unlink()
    elif kind == 2:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"step": rng.randrange(9, 99), "loss": rng.random()}))
    elif kind == 3:
        table = logs / rng.choice(["", "d/"]) / "runs.csv"
        table.parent.mkdir(exist_ok=True)
        rows = [f"{f.stem},{rng.randrange(9)}" for f in files]
        table.write_text("\n".join(["run_id,seed", *rows]), encoding="utf-8")
    elif kind == 4:
        for table in logs.rglob("runs.csv"):
            table.unlink()
    elif kind == 5:
        keep_times(path, lambda: write(path, rng.random(), seed=rng.randrange(9)))
    elif kind == 6 and not (logs.parent / "away").exists() and len(files) > 2:
        (logs / "d").mkdir(exist_ok=True)
        os.replace(logs / "d", logs.parent / "away")
    elif kind == 7 and (logs.parent / "away").exists():
        shutil.rmtree(logs / "d", ignore_errors=True)
        os.replace(logs.parent / "away", logs / "d")
    else:
        (logs / "notes.md").write_text(f"{rng.random()}", encoding="utf-8")


@pytest.mark.parametrize("seed", range(int(os.environ.get("SCALEFIT_SEEDS", "2"))))
@pytest.mark.parametrize("piece", [1, 1 << 25])
def test_the_store_is_that_of_a_first_ingest(
    seed: int, piece: int, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any changes, as files are read one by one and as they are read together."""
    monkeypatch.setattr(reading, "PIECE_BYTES", piece)
    monkeypatch.setattr(manifest, "DOUBTFUL_SECONDS", random.Random(seed).choice([-LATER, LATER]))
    rng = random.Random(seed)
    store = logs.parent / "store"
    for night in range(5):
        for _ in range(rng.randrange(3)):
            changes(rng, logs)
        fresh = logs.parent / f"fresh-{night}"
        said = []
        for place in (store, fresh):
            try:
                done = Project(str(place), None).ingest([str(logs)])
                said.append((done.runs, done.mapped, set(done.also_logged), sorted(done.missing)))
            except InputError as error:
                said.append(sorted(str(error).split()))
        assert said[0] == said[1]
        if isinstance(said[1], list):
            continue
        kept = {r.run_key: (r.revision, r.config) for r in Project(str(store), None).store.runs()}
        first = {r.run_key: (r.revision, r.config) for r in Project(str(fresh), None).store.runs()}
        assert {key: kept[key] for key in first} == first
        assert set(done.vanished) == set()

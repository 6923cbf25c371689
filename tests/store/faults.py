"""Kill writers of a store at random, and look at what is left: `make faults`; a few in the suite.

Three processes ingest, forget, save fits, compact and export without a pause. One is killed
(SIGKILL), the others are stopped where they are, and the store has to be whole: it verifies, every
ingest, every save and every forgetting that was told done is there, every run is of one ingest,
fits of a set are of one save, an export is there whole or not at all.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling_cli.store import Store

WRITERS, RUNS, POINTS = 3, 6, 50
OPERATIONS = ("ingest", "ingest", "ingest", "forget", "save", "save", "compact", "export")


def write(folder: Path, name: str, version: int, seed: int) -> None:
    """Work until killed. What is done is told on stdout, one line before and one after."""
    import scaling_cli.ingest
    import scaling_cli.store.export
    import scaling_cli.store.upkeep  # noqa: F401 - a kill is to come upon work, not upon imports
    from scaling_cli.project import open_project

    project = open_project(str(folder / "store"), None)
    random_ = random.Random(seed)
    while True:
        operation = random_.choice(OPERATIONS) if (folder / "store" / "_log").exists() else "ingest"
        print(operation, version, flush=True)
        if operation == "ingest":
            source = folder / f"{name}.csv"
            keys = [*(f"{name}-{i}" for i in range(RUNS)), f"{name}-spare", "shared"]
            lines = [f"{k},{s},{version + s / 1000}" for k in keys for s in range(POINTS)]
            source.write_text("run_id,step,loss\n" + "\n".join(lines) + "\n")
            project.ingest([str(source)], again=True)
        elif operation == "forget":
            project.store.forget([f"csv:{name}-spare"])
        elif operation == "save":
            values = {"version": version}
            fits = [{"fit_id": f"{name}-{part}", "values": values} for part in "xy"]
            project.store.fits.save(fits, name)
        elif operation == "compact":
            project.store.compact(older_than=random_.choice((0.0, 0.3)))
        else:
            project.store.export(folder / f"{name}.parquet", random_.choice(("long", "wide")))
        print("done", version, flush=True)
        version += 1


class Writer:
    def __init__(self, folder: Path, name: str, seed: int) -> None:
        self.folder, self.name, self.seed = folder, name, seed
        self.told = folder / f"{name}.told"
        self.told.touch()
        self.start()

    def start(self) -> None:
        started = self.lines()
        version = max((int(line[1]) for line in started), default=0) + 1
        self.seed += 1
        self.before = len(started)
        with self.told.open("ab") as out, (self.folder / f"{self.name}.err").open("ab") as err:
            arguments = [str(self.folder), self.name, str(version), str(self.seed)]
            command = [sys.executable, __file__, "write", *arguments]
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    def lines(self) -> list[list[str]]:
        whole = self.told.read_text().rpartition("\n")[0]  # the last may be just being written
        return [line.split() for line in whole.splitlines()]

    @property
    def working(self) -> bool:
        """Whether it has done something since it was started: no kill is spent on a start."""
        return any(what == "done" for what, _ in self.lines()[self.before :])

    def kill(self) -> str:
        """Kill it, and say in the middle of what."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return self.lines()[-1][0]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def versions(self, operation: str = "ingest") -> tuple[int, int]:
        """Of an operation, the last version that was told done, and the last that was begun."""
        begun = done = 0
        doing = ""
        for what, number in self.lines():
            if what == operation:
                begun = int(number)
            elif what == "done" and doing == operation:
                done = int(number)
            doing = what
        return done, begun


def look(folder: Path, writers: list[Writer]) -> None:
    """See that the store is whole and holds what the writers were told."""
    import pyarrow.parquet as pq

    from scaling_cli.store import open_store

    for writer in writers:
        errors = (folder / f"{writer.name}.err").read_text()
        assert not errors, f"{writer.name} failed by itself: {errors}"
    if not (folder / "store" / "_log").exists():
        assert not any(writer.versions()[0] for writer in writers), "a store that was is gone"
        return
    store = open_store(folder / "store")
    verified = store.verify()
    assert not verified.problems, verified.problems
    series = store.series()
    known = {record.run_id for record in store.runs()}
    versions: dict[str, int] = {}
    for key, found in series.items():
        loss = found["loss"].values
        assert len(loss) == POINTS, f"half a run: {key} has {len(loss)} points"
        assert len({int(value) for value in loss}) == 1, f"{key} is of two ingests"
        versions[key.partition(":")[2]] = int(loss[0])
    assert known == set(versions)
    for writer in writers:
        done, begun = writer.versions()
        look_at_spare(writer, versions.get(f"{writer.name}-spare"))
        look_at_fits(writer, store)
        own = {versions.get(f"{writer.name}-{i}", 0) for i in range(RUNS)}
        assert len(own) == 1, f"{writer.name}: an ingest is there in part: {own}"
        assert done <= min(own) <= begun, f"{writer.name}: {done} was told done, {own} is there"
        exported = folder / f"{writer.name}.parquet"
        if exported.exists():
            rows = Counter(pq.read_table(exported, columns=["run_key"])["run_key"].to_pylist())
            assert set(rows.values()) <= {POINTS}, f"half an export: {rows}"


def look_at_spare(writer: Writer, version: int | None) -> None:
    """A run that one ingest stores and the next forgetting takes out."""
    (stored, storing), (gone, going) = writer.versions("ingest"), writer.versions("forget")
    if version is None:
        assert not stored or going > stored, (
            f"{writer.name}: {stored} was told done, and its spare run is lost"
        )
    else:
        assert version <= storing
        assert version > gone, f"{writer.name}: a forgotten run is there again"


def look_at_fits(writer: Writer, store: Store) -> None:
    saved, saving = writer.versions("save")
    found = [fit for fit in store.fits.listed() if writer.name in fit.names]
    documents = store.fits.load(found)
    assert len(found) in ((2,) if saved else (0, 2)), f"{writer.name}: half a set of fits"
    versions = {document["values"]["version"] for document in documents} or {0}
    assert len(versions) == 1, f"{writer.name}: fits of one name are of two saves"
    assert saved <= min(versions) <= saving, (
        f"{writer.name}: {saved} was saved, {versions} is there"
    )


def campaign(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Kill so many times. Gives how often in the middle of what; `done` is between two."""
    random_ = random.Random(seed)
    writers = [Writer(folder, name, seed + 1000 * n) for n, name in enumerate("abc"[:WRITERS])]
    found: Counter[str] = Counter()
    try:
        while found.total() < kills:
            time.sleep(random_.uniform(0.0, 0.4))
            if any(writer.process.poll() is not None for writer in writers):
                look(folder, writers)  # says why one ended by itself
                raise AssertionError("a writer ended by itself")
            working = [writer for writer in writers if writer.working]
            if not working:
                continue
            victim = random_.choice(working)
            found[victim.kill()] += 1
            others = [writer for writer in writers if writer is not victim]
            for writer in others:
                writer.signal(signal.SIGSTOP)
            look(folder, writers)
            for writer in others:
                writer.signal(signal.SIGCONT)
            victim.start()
    finally:
        for writer in writers:
            writer.process.kill()
            writer.process.wait()
    return found


def main() -> None:
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        return
    kills = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"{kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), kills, seed)
        commits = len(list(Path(folder, "store", "_log").glob("*.json")))
    where = ", ".join(f"{count} in {what}" for what, count in found.most_common())
    print(f"{found.total()} kills ({where}), {commits} commits: the store was whole after each")


if __name__ == "__main__":
    main()

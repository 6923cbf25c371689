"""A damaged store is found by `verify`, and never answers otherwise than before it was damaged."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.errors import UnreachableError
from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final
from scaling_cli.store import Store, log, open_store
from scaling_cli.store.digests import COLUMNS, fingerprint, seal, seal_holds

FLIPS = 150  # of single bits, all found; 1,000 in `make faults`, and what commands say


def make(key: str, points: int = 40) -> Run:
    steps = np.arange(points, dtype=np.int64) * 10
    values = np.random.default_rng(points).normal(3, 1, points)
    series = {"loss": Series(steps, values), "lr": Series(steps, values / 1000)}
    return Run(f"csv:{key}", key, f"{key}.csv", config={"key": key}, series=series)


def put(store: Store, *keys: str) -> None:
    store.put([make(k) for k in keys], [Final({"loss": 1.0}, {})] * len(keys))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five commits of runs, one of fits, and a checkpoint."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    store = open_store(folder, create=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "CHECKPOINT_EVERY", 4)
        for keys in ("ab", "cd", "e", "f", "g"):
            put(store, *keys)
        store.fits.save([{"fit_id": "one", "values": {"E": 0.46}}, {"fit_id": "two"}], "mine")
    assert store.verify().problems == ()
    return folder


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Store:
    return Store(open_store(shutil.copytree(whole, tmp_path / "store")).files)


def answers(store: Store) -> list[Callable[[], Any]]:
    """Everything that is read of a store, each by itself."""

    def series() -> Any:
        return {
            key: {name: (s.steps.tolist(), s.values.tolist()) for name, s in found.items()}
            for key, found in store.series().items()
        }

    def fits() -> Any:
        return store.fits.listed(), store.fits.load(store.fits.listed())

    return [store.runs, series, fits]


def read(answer: Callable[[], Any]) -> Any:
    try:
        return answer()
    except UnreachableError:
        return None


def files(store: Store) -> list[Path]:
    return sorted(path for path in Path(store.location).rglob("*") if path.is_file())


def test_every_flipped_bit_is_found_and_none_is_answered_from(whole: Path, tmp_path: Path) -> None:
    store = open_store(shutil.copytree(whole, tmp_path / "store"))
    before = [answer() for answer in answers(store)]
    chosen = random.Random(5)
    for _ in range(FLIPS):
        path = chosen.choice(files(store))
        content = path.read_bytes()
        place, bit = chosen.randrange(len(content)), 1 << chosen.randrange(8)
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        where = f"{path.relative_to(store.location)} byte {place} bit {bit}"
        with contextlib.suppress(UnreachableError):  # raised where it is no commit any more
            assert store.verify().problems, where
        for answer, good in zip(answers(store), before, strict=True):
            assert read(answer) in (None, good), where
        path.write_bytes(content)
    assert store.verify().problems == ()


def lose(number: int) -> Callable[[Path], None]:
    return lambda folder: (folder / "_log" / f"{number:012}.json").unlink()


def swap(names: str, *, places: tuple[int, int] = (0, 1)) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        found = sorted(folder.glob(names))
        one, other = (found[place] for place in places)
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)

    return change


def empty(folder: Path) -> None:
    for path in (folder / "_log").iterdir():
        path.unlink()


def edit_fit(folder: Path) -> None:
    (path,) = [p for p in (folder / "fits").iterdir() if b"0.46" in p.read_bytes()]
    path.write_bytes(path.read_bytes().replace(b"0.46", b"0.96"))


def edit_commit(folder: Path) -> None:
    """By someone who seals what he wrote: the commit after it, or the head, names another."""
    path = folder / "_log" / "000000000006.json"
    entry = json.loads(path.read_bytes())
    del entry["digest"], entry["fits"]
    path.write_bytes(seal(entry))


def lose_end(folder: Path) -> None:
    """The last commit, with the head that stands beside it."""
    for path in (folder / "_log").glob("000000000006.*"):
        path.unlink()


def fold_fit(folder: Path) -> None:
    """A folder in the place of a fit."""
    path = min((folder / "fits").iterdir())
    path.unlink()
    path.mkdir()


def put_back(folder: Path) -> None:
    """The last commit as one of an older format, which had no digests."""
    old = {"format": 2, "segments": []}
    (folder / "_log" / "000000000006.json").write_text(json.dumps(old))


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "the last commit is lost": (lose(6), "commit_missing"),
    "the last commit is lost with its head": (lose_end, "commit_missing"),
    "a middle commit is lost": (lose(5), "commit_missing"),
    "the first commit is lost": (lose(1), "commit_missing"),
    "all commits are lost": (empty, "commit_missing"),
    "the log is lost": (lambda folder: shutil.rmtree(folder / "_log"), "commit_missing"),
    "two commits are exchanged": (swap("_log/*.json", places=(4, 5)), "commit_damaged"),
    "two histories are exchanged": (swap("history/*"), "segment_damaged"),
    "two files of runs are exchanged": (swap("runs/*"), "segment_damaged"),
    "a fit is edited": (edit_fit, "fit_damaged"),
    "two fits are exchanged": (swap("fits/*"), "fit_damaged"),
    "a folder is in the place of a fit": (fold_fit, "fit_damaged"),
    "the last commit is edited": (edit_commit, "commit_damaged"),
    "the last commit is of an older format": (put_back, "commit_damaged"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_lost_exchanged_or_edited_is_found(store: Store, what: str) -> None:
    change, code = CHANGES[what]
    before = [answer() for answer in answers(store)]
    change(Path(store.location))
    assert code in {problem.code for problem in store.verify().problems}
    shown = CliRunner().invoke(app, ["store", "verify", "--store", store.location])
    assert (shown.exit_code, shown.stderr.count("Error:")) == (2, 1)
    after = [read(answer) for answer in answers(store)]
    for found, good in zip(after, before, strict=True):
        assert found in (None, good)
    if what != "the first commit is lost":  # the checkpoint says the same
        assert None in after


def test_what_no_version_names_is_passed_over(store: Store) -> None:
    """A checkpoint that cannot be read, and files beside the commits."""
    before = [answer() for answer in answers(store)]
    (path,) = Path(store.location, "_checkpoints").glob("*.json")
    path.unlink()
    path.mkdir()
    for name in ("\u00b2.json", f"{10**30}.json", "1.json", "x.head", f"{'9' * 13}.0.head"):
        Path(store.location, "_log", name).write_text("x")
    assert [answer() for answer in answers(store)] == before
    assert {problem.code for problem in store.verify().problems} == {"checkpoint_damaged"}
    shutil.rmtree(path.parent)
    path.parent.write_text("no folder")
    assert [answer() for answer in answers(store)] == before
    assert {problem.code for problem in store.verify().problems} == {"checkpoint_damaged"}


def test_a_list_says_which_fit_is_lost(store: Store) -> None:
    fold_fit(Path(store.location))
    shown = CliRunner().invoke(app, ["fits", "--store", store.location])
    assert (shown.exit_code, shown.stderr.count("[fit_damaged]")) == (0, 1)


def test_the_only_commit_is_lost(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    put(store, "a")
    lose(1)(Path(store.location))
    assert [p.code for p in store.verify().problems] == ["commit_missing"]
    with pytest.raises(UnreachableError, match=r"000000000001\.json is lost"):
        store.runs()
    with pytest.raises(UnreachableError, match="is lost"):  # and nobody begins anew over it
        put(open_store(store.location, create=True), "b")


def test_verify_names_what_no_commit_names(store: Store) -> None:
    folder = Path(store.location)
    (name,) = sorted(folder.glob("runs/*"))[:1]
    shutil.copy(name, folder / "runs" / "left.parquet")
    shutil.copy(next((folder / "fits").iterdir()), folder / "fits" / ("0" * 32 + ".json"))
    verified = store.verify()
    assert verified.problems == ()
    assert verified.unnamed == ("runs/left.parquet", f"fits/{'0' * 32}.json")
    shown = CliRunner().invoke(app, ["store", "verify", "--store", store.location])
    assert shown.exit_code == 0
    assert "runs/left.parquet" in shown.output
    assert store.compact(older_than=0).files_removed >= 2
    assert store.verify().unnamed == ()


def test_a_commit_names_files_of_its_store_alone(tmp_path: Path) -> None:
    for name in ("../../runs/a.parquet", "/etc/passwd", "runs/../../a.parquet", "fits/../x.json"):
        store = open_store(tmp_path / "store", create=True)
        line = {"id": "a", "file": name, "digest": "", "about": {}}
        segment = {"runs": name, "history": None, "revisions": {"a": "1"}}
        entry = {"format": 3, "number": 1, "previous": None}
        for part in ({"segments": [segment]}, {"segments": [], "fits": [line]}):
            path = Path(store.location, "_log", "000000000001.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(seal(entry | part))
            with pytest.raises(UnreachableError, match="is no file of a store"):
                store.runs()


def test_a_head_is_never_ahead_of_a_reader(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lists the log while a commit and its head come sees the head alone."""
    names, late = store.files.names, []

    def listing(folder: str, suffix: str = "") -> list[str]:
        if folder == "_log" and not late:
            late.append(names(folder, suffix))
            put(open_store(store.location), "h")
            found = names(folder, suffix)
            return [name for name in found if name != "000000000007.json"]
        return names(folder, suffix)

    monkeypatch.setattr(store.files, "names", listing)
    assert len(store.runs()) == 8


def test_a_writer_that_died_before_its_head_is_no_damage(store: Store) -> None:
    for head in Path(store.location).glob("_*/*.head"):
        head.unlink()
    assert store.verify().problems == ()
    put(store, "h")
    assert len(store.log.heads()) == 1
    assert store.verify().problems == ()


def test_fingerprints_tell_contents_apart() -> None:
    """Of a single bit anywhere, of words that changed places, of length."""
    random_ = np.random.default_rng(1)
    content = random_.integers(0, 256, 8 * COLUMNS * 3 + 5, np.uint8)
    seen = {fingerprint([content])}
    for place in range(0, len(content), 97):
        content[place] ^= 1 << (place % 8)
        seen.add(fingerprint([content]))
        content[place] ^= 1 << (place % 8)
    words = content.copy()
    words[:512], words[512:1024] = content[512:1024], content[:512]
    seen |= {fingerprint([words]), fingerprint([content[:-1]]), fingerprint([content[8:]])}
    assert len(seen) == 1 + len(range(0, len(content), 97)) + 3
    parts = [content[: 8 * COLUMNS], content[8 * COLUMNS :]]
    assert fingerprint(parts) == fingerprint([content])


def test_a_seal_holds_to_the_last_bit() -> None:
    content = seal({"format": 3, "text": "é"})
    assert json.loads(content)["text"] == "é"
    assert seal_holds(content)
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            assert not seal_holds(bytes(changed))

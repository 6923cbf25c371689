"""Saved fits: sets that are whole whoever saves at the same time, lists that read no fit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaling_cli.errors import InputError
from scaling_cli.store import Store, log, open_store
from tests.places import DATA

SAVES = 20  # of either process; 200 were tried by hand
SAVER = """
import sys
from scaling_cli.store import open_store
store = open_store(sys.argv[1], create=True)
for n in range(int(sys.argv[3])):
    store.fits.save([{"fit_id": f"{sys.argv[2]}-{n}-{part}"} for part in "abc"])
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def ids(store: Store) -> list[str]:
    return [fit.fit_id for fit in store.fits.listed()]


def test_two_processes_that_save_at_once_mix_no_sets(store: Store) -> None:
    savers = [
        subprocess.Popen([sys.executable, "-c", SAVER, store.location, name, str(SAVES)])
        for name in ("one", "other")
    ]
    assert [saver.wait() for saver in savers] == [0, 0]
    sets: dict[int, list[str]] = {}
    for fit in store.fits.listed():
        sets.setdefault(fit.set, []).append(fit.fit_id)
    assert len(sets) == 2 * SAVES
    for found in sets.values():
        (made_by,) = {fit_id.rpartition("-")[0] for fit_id in found}
        assert found == [f"{made_by}-{part}" for part in "abc"]
    assert store.verify().problems == ()


def test_a_set_that_was_not_committed_is_not_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.fits.save([{"fit_id": "old"}])
    write, written = store.files.write, []

    def dies(name: str, content: Any) -> None:
        written.append(name)
        if len(written) == 2:
            raise KeyboardInterrupt
        write(name, content)

    monkeypatch.setattr(store.files, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        store.fits.save([{"fit_id": "new-1"}, {"fit_id": "new-2"}])
    assert ids(open_store(store.location)) == ["old"]
    assert len(store.files.names("fits")) == 1


def test_a_list_opens_no_fit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = [[1.0, 2.0]] * 100
    document = {"law": "chinchilla", "n_runs": 9, "columns": {"target": "loss"}, "draws": draws}
    for number in range(3):
        store.fits.save([document | {"fit_id": f"fit-{number}", "group": {"n": number}}])
    read = store.files.read
    opened: list[str] = []
    monkeypatch.setattr(store.files, "read", lambda names: opened.extend(names) or read(names))
    (newest, *_) = store.fits.listed()
    assert (newest.about["law"], newest.about["target"], newest.about["runs"]) == (
        "chinchilla",
        "loss",
        9,
    )
    assert newest.about["group"] == {"n": 2}
    assert not [name for name in opened if name.startswith("fits/")]
    assert store.fits.load([newest])[0]["draws"] == draws
    assert len([name for name in opened if name.startswith("fits/")]) == 1


def test_names_find_fits_and_move(store: Store) -> None:
    store.fits.save([{"fit_id": "a"}, {"fit_id": "b"}], name="ladder")
    store.fits.save([{"fit_id": "c"}])
    assert [fit.fit_id for fit in store.fits.find("ladder")] == ["a", "b"]
    (c,) = store.fits.find("c")
    store.fits.give_name([c], "ladder")
    assert [fit.fit_id for fit in store.fits.find("ladder")] == ["c"]
    assert store.fits.find("ladder")[0].names == ("ladder",)
    for bad in ("", "a/b", "x.json", "a", "-x"):
        with pytest.raises(InputError, match="is not a name"):
            store.fits.give_name([c], bad)
        with pytest.raises(InputError, match="is not a name"):
            store.fits.save([{"fit_id": "d"}], name=bad)


def test_forgotten_fits_are_gone_and_their_files_with_a_compaction(store: Store) -> None:
    store.fits.save([{"fit_id": "a"}, {"fit_id": "b"}], name="both")
    store.fits.save([{"fit_id": "c"}])
    store.fits.forget(store.fits.find("both")[:1])
    assert ids(store) == ["c", "b"]
    assert [fit.fit_id for fit in store.fits.find("both")] == ["b"]
    store.fits.forget(store.fits.find("b"))
    with pytest.raises(InputError, match="no fit 'both'"):
        store.fits.find("both")
    assert store.verify().unnamed == ()
    assert store.compact(older_than=0).files_removed == 2
    assert store.verify().problems == ()
    assert len(store.files.names("fits")) == 1


def test_a_set_saved_again_takes_the_place_of_the_old(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a fit made every night does not fill the store, unless it was given a name."""
    monkeypatch.setattr(log, "CHECKPOINT_EVERY", 2)
    for _ in range(5):
        store.fits.save([{"fit_id": "a"}, {"fit_id": "b"}])
    store.fits.save([{"fit_id": "b"}])
    assert ids(store) == ["b", "a", "b"]
    store.fits.give_name(store.fits.listed()[:1], "kept")
    store.fits.save([{"fit_id": "b"}])
    assert [(fit.fit_id, fit.names) for fit in store.fits.listed()] == [
        ("b", ()),
        ("b", ("kept",)),
        ("a", ()),
        ("b", ()),
    ]
    assert store.verify().problems == ()


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """Written by the version before commits had digests: three commits, the second and third of
    which replace a run; two sets of fits, of two laws and two groups the second."""
    return open_store(shutil.copytree(DATA / "store_format_2", tmp_path / "old"))


NEWEST = ["kaplan_nd", "chinchilla", "kaplan_nd", "chinchilla"]


def see(old: Store) -> None:
    fits = old.fits.listed()
    assert [fit.about["law"] for fit in fits] == NEWEST
    assert len({fit.set for fit in fits}) == 1
    assert fits[0].about["group"] == {"recipe": "base"}
    documents = old.fits.load(fits)
    assert [document["fit_id"] for document in documents] == [fit.fit_id for fit in fits]
    assert len(documents[0]["draws"]) == 20
    assert len(old.runs()) == 16
    assert old.series()["csv:base-1e+06-10"]["loss"].values[-1] == pytest.approx(8.446, abs=1e-3)
    verified = old.verify()
    assert (verified.problems, verified.unnamed, verified.fits) == ((), (), 4)


def test_a_store_of_the_second_version_still_reads(old: Store) -> None:
    see(old)
    assert old.files.names("_log") == [f"{n:012}.json" for n in (1, 2, 3)]  # reading writes nothing


def test_a_store_of_the_second_version_is_written_on(old: Store) -> None:
    """Its fits come under the log with the next change, its segments get digests."""
    (fit,) = old.fits.find("chinchilla-67cd7adb")
    old.fits.give_name([fit], "mine")
    assert old.fits.find("mine")[0].fit_id == "chinchilla-67cd7adb"
    see(old)
    entry = json.loads(Path(old.location, "_log", "000000000004.json").read_bytes())
    assert len(entry["adopted"]) == 1
    assert old.log.state().digests == {}
    old.compact(older_than=0)
    see(old)
    state = old.log.state()
    assert state.digests.keys() == {
        name for place in state.places.values() for name in (place.runs, place.history)
    }
    old.fits.save([{"fit_id": "later"}])
    assert old.fits.listed()[0].fit_id == "later"


def test_a_flipped_page_of_the_second_version_is_refused(old: Store) -> None:
    from scaling_cli.errors import UnreachableError

    path = Path(old.location, old.log.state().places["csv:base-1e+06-40"].history or "")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreachableError, match=f"{path.name} is damaged"):
        old.series()

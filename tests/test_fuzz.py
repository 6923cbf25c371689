"""A short part of `make fuzz`, and what was a finding once."""

from __future__ import annotations

import warnings

import pytest

from tests import fuzz

CASES = {"fit": 60, "curve-fit": 60, "mapping": 80, "expression": 300, "schedule": 80,
         "quantity": 300, "store": 60}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_mutated_inputs_are_read_or_refused(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(CASES[name]):
            assert fuzz.TARGETS[name].attempt(fuzz.case(name, number, 1)) in ("read", "refused")


def test_the_corpus_is_of_targets() -> None:
    known = {name.replace(" ", "_") for name in fuzz.TARGETS}
    assert {folder.name for folder in fuzz.CORPUS.iterdir()} <= known


@pytest.mark.parametrize("name", [name for name in fuzz.TARGETS if fuzz.corpus(name)])
def test_what_was_a_finding_is_none(name: str) -> None:
    for content in fuzz.corpus(name):
        assert fuzz.TARGETS[name].attempt(content) in ("read", "refused")


def test_a_finding_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no target would hold against is seen: an answer of a store that is another."""
    store, files, before = fuzz.whole_store()
    monkeypatch.setattr(fuzz, "whole_store", lambda: (store, files, [before[0][:-1], *before[1:]]))
    with pytest.raises(AssertionError, match="another answer"):
        fuzz.store(fuzz.store_seeds()[0])

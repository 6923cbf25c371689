"""Files of fits come from outside: whatever is wrong with one is named, and nothing is computed."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scaling_cli as scalefit
from scaling_cli.documents import digest_of, finite, read_file
from scaling_cli.errors import InputError
from scaling_cli.fitting.document import from_document
from scaling_cli.fitting.result import Fit
from scaling_cli.saved import load_fits

ODD: tuple[Any, ...] = (None, True, -1, 0, 1e400, -1e300, 2**70, "x", "", [], [[]], {}, {"a": 1})
ODD_AMID = (*ODD, float("nan"), [1, 2, 3], ["a"], {"value": "x"})


@pytest.fixture(scope="module")
def fit() -> Fit:
    sizes = np.repeat([1e7, 3e7, 1e8, 3e8], 3)
    tokens = sizes * np.tile([10, 20, 40], 4)
    noise = 1 + 0.002 * np.sin(np.arange(12))
    data = {"params": sizes, "tokens": tokens}
    data["loss"] = (1.7 + 400 / sizes**0.34 + 1200 / tokens**0.37) * noise
    found = scalefit.fit("chinchilla", data, bootstrap=20, holdout="params > 2e8")
    assert isinstance(found, Fit)
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from places(value[key], (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_it_comes_back_whole(fit: Fit) -> None:
    document = json.loads(json.dumps(fit.to_document()))
    again = from_document(document)
    assert again.to_document() == document
    point = {"params": 1e9, "tokens": 2e10}
    assert again.predict(point) == fit.predict(point)


def test_any_changed_part_is_refused_and_named(fit: Fit) -> None:
    """Each value replaced by each odd one, with a digest of the new content and without one: what
    is still read has to predict what it did, or be refused in words."""
    good = json.loads(json.dumps(fit.to_document()))
    chosen = random.Random(3)
    every = [p for p in places(good) if p and p[0] != "draws"]
    every += chosen.sample([p for p in places(good) if p and p[0] == "draws"], 20)
    refused = 0
    for path in every:
        for odd in chosen.sample(ODD_AMID, 6):
            document = copy.deepcopy(good)
            at(document, path[:-1])[path[-1]] = odd
            if path != ("digest",) and chosen.random() < 0.5:
                try:
                    document["digest"] = digest_of(document, np.array(document["draws"], float))
                except (ValueError, TypeError):
                    del document["digest"]
            try:
                read = from_document(document, "x.json")
            except InputError as error:
                refused += str(error).startswith("x.json")
                continue
            shown = read.predict({"params": 1e9, "tokens": 2e10})
            known = [bound for bound in (shown.low, shown.high) if bound is not None]
            assert np.isfinite([shown.loss, *known]).all(), path
            assert len(known) == 2 or path[0] == "explored", path  # then the point lies beside
            json.dumps(finite(read.to_json()), allow_nan=False)
    assert refused > 300


def values(**changed: float) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["values"].update(changed)


CASES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an edited value": (values(E=0.96), "fit_id is not that of its content"),
    "a value that is no number": (values(E=float("nan")), "values.E is no finite number"),
    "a value that no law allows": (values(E=-5.0), "values.E = -5 is not within"),
    "NaN draws": (lambda d: d["draws"][3].__setitem__(0, float("nan")), "draws holds"),
    "edited draws": (lambda d: d["draws"][3].__setitem__(0, 1.0), "digest is not that"),
    "a row short": (lambda d: d["draws"][3].pop(), "draws holds a row"),
    "a range upside down": (lambda d: d["domain"].update(params=[1e300, -1]), "domain.params"),
    "NaN noise": (lambda d: d.update(noise=float("nan")), "noise is no finite number"),
    "an odd level": (lambda d: d.update(level=0.9999), "level = 0.9999 is not within"),
    "no columns": (lambda d: d.pop("columns"), "columns is missing"),
    "a group of lists": (lambda d: d.update(group={"a": []}), "group.a is neither"),
    "an odd warning": (lambda d: d.update(warnings=[3]), "warnings[0] is no object"),
    "an unknown law": (lambda d: d.update(surface="nope"), "there is no law"),
    "another document": (lambda d: d.update(document="x"), "is not a saved fit"),
}


@pytest.mark.parametrize("what", CASES)
def test_what_is_wrong_is_said(fit: Fit, what: str) -> None:
    change, said = CASES[what]
    document = json.loads(json.dumps(fit.to_document()))
    change(document)
    with pytest.raises(InputError) as caught:
        from_document(document, "x.json")
    assert said in str(caught.value)


def test_values_far_from_their_draws_are_refused(fit: Fit) -> None:
    """Whoever edits the values may write a matching id and digest as well."""
    document = json.loads(json.dumps(fit.to_document()))
    document["values"]["E"] = 30.0
    del document["digest"]
    with pytest.raises(InputError, match="fit_id") as caught:
        from_document(document, "x.json")
    document["fit_id"] = str(caught.value).rpartition("which is ")[2].partition(")")[0]
    with pytest.raises(InputError, match=r"values\.E is far from all its draws"):
        from_document(document, "x.json")


def test_only_regular_files_of_a_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", Path("/dev/zero"), tmp_path):
        with pytest.raises(InputError, match=r"cannot be read as a saved fit|no such file"):
            load_fits(path)
    (tmp_path / "large").write_bytes(b"x" * 100)
    assert len(read_file(tmp_path / "large", 100)) == 100
    with pytest.raises(OSError, match="more than"):
        read_file(tmp_path / "large", 99)
    (tmp_path / "nan.json").write_text('{"fits": [NaN]}')
    with pytest.raises(InputError, match="NaN is no number of JSON"):
        load_fits(tmp_path / "nan.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="cannot be read as a saved fit"):
        load_fits(tmp_path / "deep.json")
    for text in ("[]", "{}", '{"fits": []}', '{"fits": 3}', '{"fits": [3]}', "3", "null"):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(InputError, match="saved fit"):
            load_fits(tmp_path / "odd.json")


SHARES = {"mixture.a": "mixture.a", "mixture.b": "mixture.b"}
CHANGED = [
    # As versions before wrote them: the joint law's amplitudes were C_A_i**gamma_A of the shares,
    # vocab had an exponent of tokens of its own, looped read the recurrence for the size.
    ("mix_shukor_joint", ("E", "alpha", "beta", "C.a", "C.b", "gamma.a", "gamma.b", "C_A.a",
                          "C_A.b", "C_B.a", "C_B.b", "gamma_A", "gamma_B"),
     {"params": "params", "tokens": "tokens", **SHARES}, "parameters"),
    ("vocab", ("E", "A_1", "a_1", "A_2", "a_2", "B", "beta"),
     {name: name for name in ("params_non_embedding", "params_vocab", "tokens")}, "parameters"),
    ("looped", ("E", "X", "x", "Y", "y"),
     {"recurrence": "recurrence", "tokens": "tokens"}, "columns"),
]  # fmt: skip


@pytest.mark.parametrize(("law", "names", "columns", "what"), CHANGED)
def test_a_fit_of_a_law_that_has_changed_is_refused(
    fit: Fit, law: str, names: tuple[str, ...], columns: dict[str, str], what: str
) -> None:
    document = json.loads(json.dumps(fit.to_document()))
    values, draws = dict.fromkeys(names, 0.5), [[0.5] * len(names)] * 20
    document |= {
        "law": law,
        "surface": law,
        "columns": columns | {"target": "loss"},
        "values": values,
    }
    document |= {"draws": draws}
    with pytest.raises(InputError, match=f"{law} was fitted with the {what} .* Fit it again"):
        from_document(document, "x.json")

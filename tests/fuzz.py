"""Mutated inputs of every kind that comes from outside, hundreds a second: `make fuzz`.

A target takes bytes: a log, a fit's file, a mapping, an expression, a schedule, a store's file. It
holds if nothing but our own errors comes out, an answer is made of numbers, and a damaged store
answers as before or not at all. Cases run in child processes, which may take no more than SECONDS a
case and MEMORY in all, so that a crash, a hang and a bomb are findings and not the end.

    python -m tests.fuzz --count 1000              cases of each target
    python -m tests.fuzz --only fit --first N --count 1   repeats case N
    python -m tests.fuzz --guided fit -runs=100000  led by coverage (pip install '.[fuzz]')

Inputs that were findings once, or are like them, stay in tests/data/corpus/TARGET and begin every
campaign.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaling_cli.errors import ScalefitError
from tests.adapters import fuzz_sources
from tests.places import DATA, ROOT

CORPUS = DATA / "corpus"
SECONDS = 20
MEMORY = 3 << 29  # resident, in bytes
BATCH = 2_000

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 2**70, -(2**63), 1e308, -1e300, 5e-324, "", "x", "NaN", "1e999",
    "\ud800", "\x1b[2J", [], {}, [[]], [None], {"a": {}}, float("nan"), float("inf"), "a" * 5_000,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """`seeds` are good inputs, `attempt` says what came out of one, `mutate` makes another."""

    seeds: Callable[[], list[bytes]]
    attempt: Callable[[bytes], str]
    mutate: Callable[[random.Random, bytes], bytes]


def bytewise(chance: random.Random, data: bytes) -> bytes:
    """A few of the ways of tests/adapters/fuzz_sources.py, one after another."""
    ways = [
        fuzz_sources.cut,
        fuzz_sources.flip,
        fuzz_sources.overwrite,
        fuzz_sources.absurd,
        fuzz_sources.repeat,
    ]
    for _ in range(chance.choice((1, 1, 2, 4))):
        data = chance.choice(ways)(chance, data or b"0", "")
    return data


WORDS = re.split(
    " +",
    "and or not in like is null true NaN inf ( ) [ ] , . == != < <= > >= + - * / ** % ` ' 1e999 9"
    " 7B 2T -1 _ = # : ; \\ { } {step} loss params config. mean( log( min(",
)


def textwise(chance: random.Random, data: bytes) -> bytes:
    """Words put in, taken out, doubled and nested."""
    text = data.decode("utf-8", "replace")
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(text) + 1)
        piece = chance.choice((*WORDS, chr(chance.choice((0, 10, 27, 0x202E, 0x1F600, 0xE9)))))
        way = chance.randrange(5)
        if way == 0:
            text = text[:at] + piece + text[at:]
        elif way == 1:
            text = text[:at] + text[at + chance.choice((1, 3, 9)) :]
        elif way == 2:
            text = text[:at] + text[at : at + 30] * chance.choice((2, 3, 400)) + text[at:]
        elif way == 3:
            text = chance.choice(("(", "[", "-", "not ")) * chance.choice((2, 90, 3_000)) + text
        else:
            text = text.replace(text[at : at + 3] or "1", piece, 1)
    return text.encode("utf-8", "surrogatepass")


def jsonwise(chance: random.Random, data: bytes) -> bytes:
    """A value of a document made odd, lost, doubled or moved; at times its bytes."""
    if chance.random() < 0.2:
        return bytewise(chance, data)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return bytewise(chance, data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = list(_places(document))
        path = chance.choice(places[1:] or [()])
        if not path:
            continue
        parent = functools.reduce(lambda value, key: value[key], path[:-1], document)
        way = chance.randrange(6)
        if way == 0 and isinstance(parent, dict):
            del parent[path[-1]]
        elif way == 1 and isinstance(parent, list):
            parent *= 2
        elif way == 2:
            other = chance.choice(places)
            value = functools.reduce(lambda value, key: value[key], other, document)
            parent[path[-1]] = json.loads(json.dumps(value))
        elif way == 3 and isinstance(parent[path[-1]], int | float):
            parent[path[-1]] *= chance.choice((-1, 1e3, 1e-3, 1e300))
        else:
            parent[path[-1]] = copy.deepcopy(chance.choice(ODD))
    text = json.dumps(document)
    if chance.random() < 0.05:  # what no writer of JSON makes
        text = text.replace('"values"', '"values": {}, "values"', 1)
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(min(len(value), 8)):
            yield from _places(value[key], (*path, key))


@functools.cache
def scratch() -> Path:
    """A folder for as long as the process lives."""
    folder = tempfile.TemporaryDirectory(prefix="scalefit-fuzz-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[Any] = []


# Logs


def source(path: str) -> Target:
    """A file of one format, read by itself: what is read has points in order."""

    def attempt(content: bytes) -> str:
        from scaling_cli.adapters.reading import read_sources

        target = scratch() / "log" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        try:
            found = read_sources([target])
        except ScalefitError:
            return "refused"
        for run in found.runs:
            for series in run.series.values():
                assert len(series.steps) == len(series.values)
                assert (series.steps[1:] > series.steps[:-1]).all(), "steps that do not rise"
        return "read"

    def mutate(chance: random.Random, data: bytes) -> bytes:
        if chance.random() < 0.3:  # damage under packing and checksums that hold
            number = chance.randrange(1 << 30)
            names = sorted(fuzz_sources.seeds())
            at = number - number % len(names) + names.index(path)
            return fuzz_sources.case(at - (at % 500 == 499) * len(names), 1)[2]
        return bytewise(chance, data)

    return Target(lambda: [fuzz_sources.seeds()[path]], attempt, mutate)


# Fits


@functools.cache
def ladder() -> dict[str, Any]:
    sizes = np.repeat([1e7, 3e7, 1e8, 3e8], 3)
    tokens = sizes * np.tile([10, 20, 40], 4)
    loss = (1.7 + 400 / sizes**0.34 + 1200 / tokens**0.37) * (1 + 0.002 * np.sin(np.arange(12)))
    return {"params": sizes, "tokens": tokens, "loss": loss}


def fit_seeds() -> list[bytes]:
    import scaling_cli as scalefit

    found = []
    for law, options in (("chinchilla", {"holdout": "params > 2e8"}), ("auto", {})):
        fitted = scalefit.fit(law, ladder(), bootstrap=6, **options)  # type: ignore[arg-type]
        found.append(json.dumps({"fits": [fitted.to_document()]}).encode())  # type: ignore[union-attr]
    return found


def resealed(chance: random.Random, data: bytes) -> bytes:
    """A changed fit under a digest, or an id, that holds."""
    from scaling_cli.documents import digest_of

    data = jsonwise(chance, data)
    if chance.random() < 0.3:
        return data
    with contextlib.suppress(Exception):  # no document is left
        document = json.loads(data)
        for part in document.get("fits", [document]):
            part["digest"] = digest_of(part, np.array(part["draws"], float))
        data = json.dumps(document).encode("utf-8", "surrogatepass")
    return data


def fit(content: bytes) -> str:
    """What is read of it predicts finite numbers, and says them as JSON."""
    from scaling_cli.documents import finite
    from scaling_cli.planning.splits import allocate_fit
    from scaling_cli.report import render
    from scaling_cli.report.fits import fit_table
    from scaling_cli.saved import load_fits

    path = scratch() / "x.fit.json"
    path.write_bytes(content)
    try:
        fits = load_fits(path)
    except ScalefitError:
        return "refused"
    for fitted in fits:
        with contextlib.suppress(ScalefitError):
            shown = fitted.predict({"params": 1e9, "tokens": 2e10})
            assert np.isfinite(
                [v for v in (shown.loss, shown.low, shown.high) if v is not None]
            ).all()
        with contextlib.suppress(ScalefitError):
            allocate_fit(fitted, 1e22)
        json.dumps(finite(fitted.to_json()), allow_nan=False)
        render.to_text([fit_table(fitted)])
    return "read"


def curve_fit_seeds() -> list[bytes]:
    from scaling_cli.training.assessed import assess
    from scaling_cli.training.curve import Curve

    curves = []
    for total in (200, 300, 400):
        steps = np.arange(1, total + 1)
        from scaling_cli.training.schedule import parse_schedule

        plan = parse_schedule(f"cosine:peak=1e-3,warmup=10,total={total},min=1e-4")
        loss = 2 + 3 * steps**-0.5 - 20 * (1e-3 - plan.rates[1:])
        curves.append(Curve(f"r{total}", steps, loss, plan, 1e8))
    return [json.dumps(assess("mpl", curves, resamples=4).to_document()).encode()]


def curve_fit(content: bytes) -> str:
    from scaling_cli.training.assessed import Assessed

    path = scratch() / "x.curve.json"
    path.write_bytes(content)
    try:
        Assessed.load(path)
    except ScalefitError:
        return "refused"
    return "read"


# What is written by hand

MAPPING = b"""[columns]
params = "config.n_params"
tokens = "step * config.batch_size * 1K"
loss = "`eval/loss` / 0.6931"
[run]
id = "run_id"
group = ["config.recipe"]
final = "mean:5"
where = "status != 'crashed' and params < 7B"
[console]
line = "step {step} loss {loss}"
[[check]]
rule = "spike"
window = 50
[[check]]
rule = "limit"
max = "2 * loss"
where = "tokens > 1G"
[[check]]
rule = "schedule"
spec = "cosine:peak=3e-4,warmup=20,total=72000,min=3e-5"
[[check]]
rule = "planned"
tokens = "2T"
[[check]]
rule = "collapse"
floor = 1.7
tolerance = 0.02
run = ["r1", "r2"]
[[check]]
rule = "reference"
run = "r1"
"""


def mapping(content: bytes) -> str:
    from scaling_cli.adapters.reading import read_sources
    from scaling_cli.checks import read_checks
    from scaling_cli.mapping import load_mapping

    path = scratch() / "scalefit.toml"
    path.write_bytes(content)
    log = scratch() / "good.csv"
    log.write_text("run_id,step,eval/loss,n_params\ng,1,3,10\ng,2,2,10\n")
    printed = scratch() / "good.log"
    printed.write_text("".join(f"step {s}/9 loss {9 / s:.2f} time:{s}ms\n" for s in (1, 2)))
    try:
        found = load_mapping(path)
        read_checks(found)
        read_sources([log], mapping=found)
        read_sources([printed], mapping=found)
    except ScalefitError:
        return "refused"
    return "read"


EXPRESSIONS = [
    b"params < 7B and config.recipe == 'wsd'",
    b"`eval/loss` / 0.6931 + min(step, 3) ** 2",
    b"name like 'rotary-*' or not (x is null) and a in ['b', \"c\", 3]",
    b'-2 ** -2 % 3 < log(1e9) and "xl" in name',
]


def expression(content: bytes) -> str:
    """It is refused, or has a value for each of three rows; as text it is read as the same."""
    from scaling_cli.expressions import parse

    values = {
        "params": np.array([1e6, np.nan, np.inf]),
        "name": np.array(["rotary-1", None, ""], dtype=object),
        "step": np.array([0, 1, 2**62]),
    }

    def lookup(name: str) -> Any:
        return values.get(name, np.array([np.nan, 1.0, 2.0]))

    try:
        parsed = parse(content.decode("utf-8", "replace"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed.evaluate(lookup)
    except ScalefitError:
        return "refused"
    return "read"


SCHEDULES = [
    b"cosine:peak=3e-4,warmup=20,total=7200,min=3e-5",
    b"wsd:peak=1e-3,total=500,decay=0.2,shape=sqrt",
    b"piecewise:0=0,100=1e-3,500=0",
    b"step,lr\n0,0\n10,1e-3\n100,1e-4\n",
]


def schedule(content: bytes) -> str:
    from scaling_cli.training.schedule import parse_schedule

    path = scratch() / "s.csv"
    path.write_bytes(content)
    for spec in (str(path), content.decode("utf-8", "replace").replace("\0", "")):
        try:
            made = parse_schedule(spec)
        except ScalefitError:
            continue
        assert np.isfinite(made.rates).all()
        assert (made.rates >= 0).all()
    return "read"


def quantity(content: bytes) -> str:
    from scaling_cli.quantities import count, number, parse_quantity

    try:
        value = parse_quantity(content.decode("utf-8", "replace"))
    except ScalefitError:
        return "refused"
    assert np.isfinite(value)
    count(value), number(value)
    return "read"


# Stores: the input is the name of a file, an empty line, and what is put in its place


@functools.cache
def whole_store() -> tuple[Any, dict[str, bytes], list[Any]]:
    """A store of five commits with fits and a checkpoint, its files, and what it answers."""
    from scaling_cli.records import Run, Series
    from scaling_cli.resolve import Final
    from scaling_cli.store import log, open_store

    store = open_store(scratch() / "store", create=True)
    every, log.CHECKPOINT_EVERY = log.CHECKPOINT_EVERY, 4
    for i, keys in enumerate(("ab", "cd", "e", "a", "g")):
        steps = np.arange(20 + i, dtype=np.int64)
        runs = [
            Run(f"csv:{k}", k, "x", config={}, series={"loss": Series(steps, 1 / (1 + steps))})
            for k in keys
        ]  # fmt: skip
        store.put(runs, [Final({"loss": 1.0 + i}, {})] * len(keys))
    store.fits.save([{"fit_id": "one", "values": {"E": 0.46}}, {"fit_id": "two"}], "mine")
    store.put(runs, [Final({"loss": 9.0}, {})])
    log.CHECKPOINT_EVERY = every
    folder = Path(store.location)
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return store, files, [answer(store) for answer in ANSWERS]


def _runs(store: Any) -> Any:
    return store.runs()


def _series(store: Any) -> Any:
    return {
        key: {name: (s.steps.tolist(), s.values.tolist()) for name, s in found.items()}
        for key, found in store.series().items()
    }


def _fits(store: Any) -> Any:
    listed = store.fits.listed()
    return listed, store.fits.load(listed)


ANSWERS: list[Callable[[Any], Any]] = [_runs, _series, _fits]


def store_seeds() -> list[bytes]:
    _, files, _ = whole_store()
    return [name.encode() + b"\n\n" + content for name, content in files.items()]


def store(content: bytes) -> str:
    """It answers as before, or not at all."""
    from scaling_cli.store import open_store

    good, files, before = whole_store()
    name, _, damaged = content.partition(b"\n\n")
    folder = Path(good.location)
    chosen = name.decode("utf-8", "replace")
    if chosen not in files:
        return "read"
    path = folder / chosen
    path.write_bytes(damaged)
    outcome = "read"
    try:
        for answer, expected in zip(ANSWERS, before, strict=True):
            try:
                assert answer(open_store(folder)) == expected, "another answer"
            except ScalefitError:
                outcome = "refused"
    finally:
        path.write_bytes(files[chosen])
    return outcome


def within_store(chance: random.Random, data: bytes) -> bytes:
    name, _, content = data.partition(b"\n\n")
    if chance.random() < 0.1:  # another file of the store in its place
        content = chance.choice(sorted(whole_store()[1].items()))[1]
    elif name.endswith(b".json") and chance.random() < 0.5:
        content = jsonwise(chance, content)
        if chance.random() < 0.5:  # by someone who seals what he wrote, but not the next
            from scaling_cli.store.digests import seal

            with contextlib.suppress(ValueError, AttributeError, TypeError, KeyError):
                document = json.loads(content)
                document.pop("digest", None)
                if b"_log" in name and not name.endswith(b"6.json"):
                    content = seal(document)
    else:
        content = bytewise(chance, content)
    return name + b"\n\n" + content


TARGETS: dict[str, Target] = {
    **{f"log {name}": source(name) for name in sorted(fuzz_sources.seeds())},
    "fit": Target(fit_seeds, fit, resealed),
    "curve-fit": Target(curve_fit_seeds, curve_fit, resealed),
    "mapping": Target(lambda: [MAPPING], mapping, textwise),
    "mapping-bytes": Target(lambda: [MAPPING], mapping, bytewise),
    "expression": Target(lambda: EXPRESSIONS, expression, textwise),
    "schedule": Target(lambda: SCHEDULES, schedule, textwise),
    "quantity": Target(lambda: [b"7B", b"1.5e23", b"1,000", b"20x"], quantity, textwise),
    "store": Target(store_seeds, store, within_store),
}


@functools.cache
def seeds_of(name: str) -> list[bytes]:
    """Those of the corpus, which are tried as they are, and those that are made."""
    return [*corpus(name), *TARGETS[name].seeds()]


def corpus(name: str) -> list[bytes]:
    folder = CORPUS / name.replace(" ", "_")
    return [path.read_bytes() for path in sorted(folder.glob("*"))] if folder.is_dir() else []


def case(name: str, number: int, seed: int) -> bytes:
    seeds = seeds_of(name)
    if number < len(seeds):
        return seeds[number]
    chance = random.Random(f"{seed}/{name}/{number}")
    return TARGETS[name].mutate(chance, chance.choice(seeds))


def child(name: str, first: int, count: int, seed: int, place: int) -> None:
    """Try cases; the number of each stands in a file before it begins, for the parent to see."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * MEMORY + (1 << 30),) * 2)
    sys.setrecursionlimit(1000)

    def too_slow(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGPROF, too_slow)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(first, first + count):
        os.pwrite(place, b"%-20d" % number, 0)
        content = case(name, number, seed)
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcomes[TARGETS[name].attempt(content)] += 1
        except BaseException as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            outcomes[type(error).__name__] += 1
            told = {
                "case": number,
                "told": traceback.format_exc()[-1500:],
                "input": repr(content[:300]),
            }
            print(json.dumps(told), flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps({"outcomes": outcomes, "slowest": slowest, "peak": peak}), flush=True)


@dataclass
class Found:
    outcomes: Counter[str]
    findings: list[str]
    slowest: float = 0.0
    peak: int = 0


def campaign(name: str, first: int, count: int, seed: int) -> Found:
    """So many cases of a target, some in a process."""
    found = Found(Counter(), [])
    at = first
    while at < first + count:
        size = min(BATCH, first + count - at)
        at += _batch(name, at, size, seed, found)
    return found


def _batch(name: str, at: int, size: int, seed: int, found: Found) -> int:
    options = ["--child", "--only", name, "--first", str(at), "--count", str(size)]
    with tempfile.TemporaryFile() as place:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", *options, "--seed", str(seed),
             "--place", str(place.fileno())],
            capture_output=True, text=True, cwd=ROOT, pass_fds=[place.fileno()],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, timeout=600 + 2 * size,
        )  # fmt: skip
        place.seek(0)
        reached = int(place.read().strip() or at)
    ended = False
    for line in done.stdout.splitlines():
        told = json.loads(line)
        if "told" in told:
            found.findings.append(f"{name} {told['case']}: {told['input']}\n{told['told']}")
        else:
            ended = True
            found.outcomes.update(told["outcomes"])
            found.slowest = max(found.slowest, told["slowest"])
            found.peak = max(found.peak, told["peak"])
    if ended:
        if found.peak > MEMORY:
            found.findings.append(f"{name} {at} to {at + size}: {found.peak >> 20} MiB")
        return size
    found.outcomes["crash"] += 1
    found.findings.append(f"{name} {reached}: exit {done.returncode}\n{done.stderr[-1500:]}")
    return reached - at + 1


def guided(name: str, arguments: list[str]) -> None:
    """Hand a target to atheris, which looks for inputs that reach code that none has reached."""
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["scaling_cli"]):
        import scaling_cli.checks
        import scaling_cli.project
        import scaling_cli.saved
        import scaling_cli.training.assessed  # noqa: F401

    target = TARGETS[name]
    for content in seeds_of(name)[:4]:
        target.attempt(content)  # imports
    folder = scratch() / "seeds"
    folder.mkdir()
    for i, content in enumerate(seeds_of(name)):
        (folder / str(i)).write_bytes(content)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        try:
            made = target.mutate(chance, data) if chance.random() < 0.5 else None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            made = None
        return made[:most] if made is not None else atheris.Mutate(data, most)

    warnings.simplefilter("ignore")
    arguments = [sys.argv[0], f"-rss_limit_mb={MEMORY >> 20}", f"-timeout={SECONDS}", *arguments]
    atheris.Setup([*arguments, str(folder)], target.attempt, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", choices=list(TARGETS))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--place", type=int, default=0)
    parser.add_argument("--guided", choices=list(TARGETS))
    asked, rest = parser.parse_known_args()
    if asked.guided:
        guided(asked.guided, rest)
    elif asked.child:
        child(asked.only, asked.first, asked.count, asked.seed, asked.place)
    else:
        bad = total = 0
        for name in [asked.only] if asked.only else TARGETS:
            started = time.monotonic()
            found = campaign(name, asked.first, asked.count, asked.seed)
            took = time.monotonic() - started
            for finding in found.findings[:5]:
                print(finding)
            shown = ", ".join(f"{count} {what}" for what, count in found.outcomes.most_common())
            print(
                f"{name}: {shown}; {asked.count / took:.0f} a second,"
                f" slowest {found.slowest:.1f} s, peak {found.peak >> 20} MiB",
                flush=True,
            )
            bad += len(found.findings)
            total += asked.count
        print(f"{total} cases, {bad} findings")
        sys.exit(bool(bad))


if __name__ == "__main__":
    main()

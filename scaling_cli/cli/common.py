"""What the commands share: options, error handling, and the two ways of answering."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from scaling_cli.errors import InputError, ScalefitError

if TYPE_CHECKING:
    from rich.console import Console

    from scaling_cli.notes import Note
    from scaling_cli.report.listing import Listing

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
MIN_LEVEL, MAX_LEVEL = 0.5, 0.999
DEFAULT_LEVEL = 0.90

StoreOption = Annotated[
    str,
    typer.Option("--store", envvar="SCALEFIT_STORE", help="Folder of the store.", metavar="PATH"),
]
ConfigOption = Annotated[
    str | None,
    typer.Option("--config", help="Mapping file; ./scalefit.toml if there.", metavar="FILE"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.")
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", help="Group runs by these keys, e.g. config.recipe.", metavar="KEY,..."),
]
WhereOption = Annotated[
    str | None,
    typer.Option("--where", help="Only runs that match, e.g. 'params < 1B'.", metavar="EXPR"),
]
FitOption = Annotated[
    str | None, typer.Option("--fit", help="A saved fit: its id or its file.", metavar="ID")
]
LawOption = Annotated[
    str | None, typer.Option("--law", help="Newest fits of this law.", metavar="LAW")
]
RatioOption = Annotated[
    str | None,
    typer.Option("--tokens-per-param", help="Prescribe the ratio instead.", metavar="R"),
]
PublishedOption = Annotated[
    str | None,
    typer.Option("--published", help="A paper's coefficients, e.g. epoch2024.", metavar="NAME"),
]

LevelOption = Annotated[
    float, typer.Option("--level", help="Central share of the intervals.", metavar="SHARE")
]
FitLevelOption = Annotated[
    float | None,
    typer.Option("--level", help="Central share of the intervals; the fit's.", metavar="SHARE"),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Seed of the resamples.", min=0, metavar="N")
]
FirstRecipe = Annotated[str, typer.Argument(help="A recipe: group, fit id or file.", metavar="A")]
SecondRecipe = Annotated[str, typer.Argument(help="The other one.", metavar="B")]

DEFAULT_STORE = ".scalefit"


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turn errors into one message on stderr and the contract's exit code."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except typer.Exit:  # a command's own exit code
            raise
        except ScalefitError as error:
            if debugging():
                raise
            say(f"Error: {error}")
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader has seen enough; silence the flush at exit too
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except Exception as error:
            if debugging():
                raise
            say(
                f"Error: scalefit failed unexpectedly ({type(error).__name__}: {error})."
                " Run again with --debug and report the traceback."
            )
            raise typer.Exit(2) from None

    return run


def debugging() -> bool:
    return "--debug" in sys.argv


def say(text: str) -> None:
    """A message for people, on stderr."""
    print(text, file=sys.stderr)


def say_notes(notes: Iterable[Note]) -> None:
    from scaling_cli.report.listing import note_text

    for note in notes:
        say(note_text(note))


def console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def answer(
    as_json: bool, document: dict[str, Any], tables: Callable[[], Iterable[Listing]]
) -> None:
    """The command's answer on stdout: one JSON document, or tables for people."""
    if as_json:
        import json

        print(json.dumps(finite(document), allow_nan=False, indent=2))
        return
    show(tables())


def show(tables: Iterable[Listing]) -> None:
    """Tables on stdout: folded and coloured in a terminal, plain lines elsewhere."""
    from scaling_cli.report.render import to_terminal, to_text

    if sys.stdout.isatty():
        to_terminal(tables, console())
    else:
        print(to_text(tables))


def finite(value: Any) -> Any:
    """The same document with null in place of numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_text(path: str, text: str, option: str = "--output") -> None:
    """A file that an option names."""
    from pathlib import Path

    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written ({error.strerror})") from None


def write_json(path: str, content: dict[str, Any]) -> None:
    """A document in a file that --output names."""
    import json

    write_text(path, json.dumps(finite(content), indent=1) + "\n")


def names(text: str | None) -> list[str] | None:
    """`a, b` -> ["a", "b"]; None stays None, and an empty text is no key at all."""
    if text is None:
        return None
    return [part.strip() for part in text.split(",") if part.strip()]


def many(texts: Sequence[str]) -> list[str]:
    """Repeated and comma-separated values, in order and without repeats."""
    return list(dict.fromkeys(part for text in texts for part in names(text) or ()))


def check_level(level: float | None) -> None:
    """Refuse a share that no interval should have: resamples say nothing of the last permille."""
    if level is not None and not MIN_LEVEL <= level <= MAX_LEVEL:
        raise InputError(f"--level {level} is no share", f"Give {MIN_LEVEL} to {MAX_LEVEL}.")


def one_of(**options: object) -> None:
    """Refuse options that contradict each other."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} contradict each other", "Give one of them.")


def positive(text: str | None, option: str) -> float | None:
    """The number that an option writes, if it is given."""
    from scaling_cli.quantities import parse_positive

    return None if text is None else parse_positive(text, option)


def steps_of(text: str | None, option: str) -> int | None:
    """The whole number of steps that an option writes, if it is given."""
    value = positive(text, option)
    return None if value is None else int(value)


def assignments(texts: Sequence[str], option: str) -> dict[str, float]:
    """`NAME=VALUE` options -> numbers."""
    from scaling_cli.quantities import parse_quantity

    result = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{option} '{text}' is no NAME=VALUE", f"Write {option} E=1.69.")
        result[name.strip()] = parse_quantity(value, f"{option} {name.strip()}")
    return result

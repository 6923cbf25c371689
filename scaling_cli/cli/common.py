"""What the commands share: options, error handling, and the two ways of answering."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TextIO, TypeVar

import typer

from scaling_cli.cli import completion
from scaling_cli.cli.flags import as_flags, document_as_flags, flag, listing_as_flags
from scaling_cli.errors import InputError, ScalefitError
from scaling_cli.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from scaling_cli.drawing.figure import Figure
    from scaling_cli.notes import Note
    from scaling_cli.report.listing import Listing

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
DEFAULT_LEVEL = 0.90

StoreOption = Annotated[
    str,
    typer.Option("--store", envvar="SCALEFIT_STORE", help="Folder of the store.", metavar="PATH"),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        envvar="SCALEFIT_CONFIG",
        help="Mapping file; ./scalefit.toml if there.",
        metavar="FILE",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.")
]
ByOption = Annotated[
    str | None,
    typer.Option(
        "--by",
        help="Group runs by these keys, e.g. config.recipe.",
        metavar="KEY,...",
        autocompletion=completion.columns,
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option("--where", help="Only runs that match, e.g. 'params < 1B'.", metavar="EXPR"),
]
WorkersOption = Annotated[
    str,
    typer.Option(
        "--workers",
        envvar="SCALEFIT_WORKERS",
        help="Processes to spread the work over, or a cluster: dask://HOST:PORT, ray://HOST:PORT,"
        " slurm:cores=8,memory=16GB.",
        metavar="N|URL",
    ),
]
OnceOption = Annotated[
    bool, typer.Option("--once", help="Count a run that two loggers wrote once.")
]
PriorOption = Annotated[
    str,
    typer.Option(
        "--prior",
        help="What auto knows: language, or none for runs that are no language models'.",
        metavar="language|none",
    ),
]
FitOption = Annotated[
    str | None,
    typer.Option(
        "--fit",
        help="A saved fit: its name, id or file.",
        metavar="NAME|ID|FILE",
        autocompletion=completion.fits,
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--y",
        "--metric",
        help="Newest fits of this target; the loss.",
        metavar="COLUMN",
        autocompletion=completion.columns,
    ),
]
LawOption = Annotated[
    str | None,
    typer.Option(
        "--law",
        help="Newest fits of this law.",
        metavar="LAW",
        autocompletion=completion.laws,
    ),
]
RatioOption = Annotated[
    str | None,
    typer.Option("--tokens-per-param", help="Prescribe the ratio instead.", metavar="R"),
]
PublishedOption = Annotated[
    str | None,
    typer.Option(
        "--published",
        help="A paper's coefficients, e.g. epoch2024.",
        metavar="NAME",
        autocompletion=completion.published,
    ),
]

LevelOption = Annotated[
    float, typer.Option("--level", help="Central share of the intervals.", metavar="SHARE")
]
LONGEST_SUMMARY = 1 << 20  # bytes that GitHub shows of a step
FigureOption = Annotated[
    str | None,
    typer.Option("--output", "-o", help="Draw the answer: .svg, .pdf or .png.", metavar="FIGURE"),
]
FitLevelOption = Annotated[
    float | None,
    typer.Option("--level", help="Central share of the intervals; the fit's.", metavar="SHARE"),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Seed of the resamples.", min=0, metavar="N")
]
FirstRecipe = Annotated[
    str, typer.Argument(help="A recipe: a group, or a fit's name, id or file.", metavar="A")
]
SecondRecipe = Annotated[str, typer.Argument(help="The other one.", metavar="B")]

DEFAULT_STORE = ".scalefit"
DEFAULT_WORKERS = "1"
DEFAULT_PRIOR = "language"


FORMATS = ("csv", "tsv", "md", "latex", "json")
NAMES_ONE = ("published", "output")  # options that an empty text names nothing for


@dataclass
class Manner:
    """How this call answers: what stands anywhere on the line, for every command."""

    debug: bool = False
    quiet: bool = False
    verbose: bool = False
    format: str | None = None
    as_json: bool = False
    answered: bool = False  # a document is on stdout already
    interrupted: bool = False


manner = Manner()


class OutputError(InputError):
    """Stdout that takes nothing more: a full disk behind it, say."""

    code = "output"

    def __init__(self, error: OSError) -> None:
        super().__init__(f"The answer cannot be written ({error.strerror or error})")


def put(text: str, end: str = "\n") -> None:
    """Text on stdout."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        silence()
        raise OutputError(error) from None


def silence(stream: TextIO | None = None) -> None:
    """Let go what is still to be written to a stream, stdout: the interpreter would try again at
    its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def interrupt(*_: object) -> None:
    """What Ctrl-C does while a command works."""
    manner.interrupted = True
    raise KeyboardInterrupt


def read_manner(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that every command takes, which are kept in `manner`."""
    manner.__init__()  # type: ignore[misc]
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            return [*rest, argument, *waiting]
        name, equals, value = argument.partition("=")
        if argument in ("--debug", "-q", "--quiet", "-v", "--verbose"):
            manner.debug |= argument == "--debug"
            manner.quiet |= argument in ("-q", "--quiet")
            manner.verbose |= argument in ("-v", "--verbose")
        elif name == "--format":
            manner.format = value if equals else next(waiting, "")
        else:
            rest.append(argument)
    if manner.format == "json":
        manner.format = None
        rest.append("--json")
    manner.as_json = "--json" in rest
    return rest


def as_typed() -> str | None:
    """The command line, to be kept with what it made; without what an address may hide. None where
    another program calls."""
    import shlex

    from scaling_cli.remote import without_secrets

    program = Path(sys.argv[0])
    if program.stem != "scalefit" and program.name != "__main__.py":
        return None
    parts = [without_secrets(part) if "://" in part else part for part in sys.argv[1:]]
    return shlex.join(["scalefit", *parts])


def for_people(as_json: bool) -> bool:
    """Whether stdout is read by people, who are shown pictures too."""
    return not as_json and manner.format is None


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turn errors into one message on stderr and the contract's exit code."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            if manner.format not in (None, *FORMATS):
                raise InputError(
                    f"--format {manner.format} is none", f"There are {', '.join(FORMATS)}."
                )
            for name in NAMES_ONE:
                if kwargs.get(name) is not None and not str(kwargs[name]).strip():
                    raise InputError(f"{flag(name)} is empty", "Name one, or leave it out.")
            answered = function(*args, **kwargs)
            _say_next(function, kwargs)
            return answered
        except typer.Exit:  # a command's own exit code
            raise
        except ScalefitError as error:
            if manner.debug:
                raise
            raise refused(error.code, error.what, error.mend, error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader has seen enough
            silence()
            raise typer.Exit(0) from None
        except OSError as error:  # what the system refuses, and none of us foresaw where
            if manner.debug:
                raise
            where = error.filename if isinstance(error.filename, str) else "A file"
            what = f"{where} cannot be read or written ({error.strerror or error})"
            raise refused("system", what) from None
        except MemoryError:
            if manner.debug:
                raise
            raise refused("memory", "The memory of this machine does not suffice") from None
        except Exception as error:
            if manner.interrupted:  # a class or a module whose making is broken off says otherwise
                raise typer.Exit(INTERRUPTED) from None
            if manner.debug:
                raise
            what = f"scalefit failed unexpectedly ({type(error).__name__}: {error})"
            mend = "Run again with --debug and report the traceback."
            raise refused("unexpected", what, mend) from None

    return run


def _say_next(function: Callable[..., Any], asked: dict[str, Any]) -> None:
    """In a terminal, which command sensibly follows."""
    if manner.as_json or manner.format or manner.quiet or not on_terminal():
        return
    from scaling_cli.cli.following import following

    if any(getattr(value, "invoked_subcommand", None) for value in asked.values()):
        return  # the command of a group, which says its own
    file = function.__module__.rpartition(".")[2]
    name = file if function.__name__ in (file, "listing") else f"{file} {function.__name__}"
    usual = os.environ.get("SCALEFIT_STORE", DEFAULT_STORE)
    line = following(name, asked, usual)
    if line:
        say(line)


def refused(code: str, what: str, mend: str = "", exit_code: int = 2) -> typer.Exit:
    """An error said to people and, with --json, to programs; raise what this gives."""
    _tell(f"Error: {ScalefitError(what, mend)}")
    if manner.as_json and not manner.answered:
        put_json({"error": {"code": code, "message": what, "mend": mend}})
    return typer.Exit(exit_code)


def say(text: str) -> None:
    """A message for people, on stderr."""
    if not manner.quiet:
        _tell(text)


def _tell(text: str) -> None:
    """One message on stderr; in a terminal no word of it is broken at the margin."""
    lines = [visible(as_flags(text))]
    if sys.stderr.isatty():
        from shutil import get_terminal_size

        from scaling_cli.report.layout import folded

        lines = folded(lines[0], get_terminal_size().columns)
    try:
        print("\n".join(lines), file=sys.stderr, flush=True)
    except OSError:  # nobody listens, and the exit code says the same
        silence(sys.stderr)


def say_notes(notes: Iterable[Note]) -> None:
    """Warnings on stderr; those of one code in few lines."""
    from scaling_cli.report.folding import fold_notes
    from scaling_cli.report.listing import note_text

    for note in notes if manner.verbose else fold_notes(notes):
        say(note_text(note))


def on_terminal() -> bool:
    """Whether a person sees stdout as it comes."""
    return sys.stdout.isatty()


def console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def answer(
    as_json: bool, document: dict[str, Any], tables: Callable[[], Iterable[Listing]]
) -> None:
    """The command's answer on stdout: one JSON document, or tables for people. A reader that has
    seen enough (`| head`) takes nothing from the exit code: a gate that fails stays failed."""
    try:
        if as_json:
            put_json(document)
        else:
            show(tables())
    except BrokenPipeError:
        silence()


def put_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    put(json_text(document, 2))
    manner.answered = True


def json_text(document: dict[str, Any], indent: int) -> str:
    """A document as JSON of plain ASCII, in which no character is hidden and no CI runner finds a
    command."""
    return _plain_json(document_as_flags(document), indent)


def _plain_json(document: Any, indent: int) -> str:
    import json

    from scaling_cli.documents import finite

    text = json.dumps(finite(document), allow_nan=False, indent=indent)
    return text.replace("\x7f", "\\u007f").replace("##", "#\\u0023")


def show(tables: Iterable[Listing]) -> None:
    """Tables on stdout: within the width and coloured in a terminal, plain lines elsewhere."""
    from scaling_cli.report import render
    from scaling_cli.report.folding import fold

    given = [listing_as_flags(table) for table in tables]
    shown = given if manner.verbose else fold(given)
    if manner.format:
        put(render.FORMATS[manner.format](shown))
        if manner.format in ("csv", "tsv"):  # which have no place for them
            say_notes(note for item in shown for note in item.notes)
    elif on_terminal():
        render.to_terminal(shown, console())
    else:
        put(render.to_text(shown))


def write_text(path: str, text: str, option: str = "--output") -> None:
    """A file that an option names, whole or not at all."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), option)


def write_bytes(path: str, content: bytes, option: str = "--output") -> None:
    """The same of bytes."""
    from scaling_cli.documents import write_whole

    try:
        write_whole(path, content)
    except (OSError, ValueError) as error:
        raise _unwritable(option, path, error) from None


def add_to_job_summary(title: str, tables: Iterable[Listing]) -> None:
    """The tables, on the page of the GitHub job that runs the command; nothing elsewhere. A page
    that cannot be written, or would be longer than GitHub takes, is told and changes no answer."""
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if os.environ.get("GITHUB_ACTIONS") != "true" or not page:
        return
    from scaling_cli.report import render

    text = render.to_markdown(title, list(map(listing_as_flags, tables))) + "\n"
    content = text.encode("utf-8", "backslashreplace")
    try:
        if len(content) > LONGEST_SUMMARY:
            raise OSError(0, f"{len(content):,} bytes, and GitHub takes {LONGEST_SUMMARY:,}")
        with open(page, "ab") as file:
            file.write(content)
    except (OSError, ValueError) as error:
        say(f"The job summary was not written ({getattr(error, 'strerror', None) or error}).")


def _unwritable(option: str, path: str | None, error: Exception, mend: str = "") -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{option} {path} cannot be written ({reason})", mend)


def make_folder(path: str, option: str) -> None:
    """A folder for several files, made if it is not there."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{option} {path} cannot be made ({reason})") from None


def check_figure(path: str | None, option: str = "-o") -> None:
    """Refuse a file that is no kind of figure before the work that it is to show."""
    if path is None:
        return
    from scaling_cli.drawing.plots import check_kind

    check_kind(path, option)
    check_folder(path, option)


def is_figure(path: str | None) -> bool:
    """Whether a file is a figure by its suffix."""
    from scaling_cli.drawing.plots import KINDS

    return path is not None and Path(path).suffix.lower() in KINDS


def write_figure(path: str, figure: Figure, style: str | None = None) -> None:
    """A figure in a file whose suffix says which kind."""
    from scaling_cli.drawing.plots import figure_bytes

    write_bytes(path, figure_bytes(figure, Path(path).suffix.lower(), style), "-o")


def show_figure(figure: Figure) -> None:
    """A figure as characters, above the tables of an answer."""
    from scaling_cli.drawing.terminal import to_terminal

    put(to_terminal(figure), end="\n\n")


def draw(as_json: bool, output: str | None, make: Callable[[], Figure | None]) -> None:
    """The figure of an answer, in the file `output` and, as characters, in a terminal; it is made
    where one of them is asked for."""
    shown = for_people(as_json) and on_terminal() and not manner.quiet
    figure = make() if output or shown else None
    if output and figure is None:
        raise InputError(f"-o {output}: this answer has no figure", "Leave -o out.")
    if output and figure:
        write_figure(output, figure)
        say(f"The figure is in {output}.")
    if shown and figure:
        show_figure(figure)


def check_folder(path: str | None, option: str = "--output") -> None:
    """Refuse a file that cannot be written before the work that it is to hold."""
    from scaling_cli.documents import destination

    try:
        if path:
            destination(path)
    except (OSError, ValueError) as error:
        mend = "Give a file in a folder that is there."
        raise _unwritable(option, path, error, mend) from None


def write_json(path: str, content: dict[str, Any]) -> None:
    """A document that is read back in a file that --output names: its digest is of what the
    library says, not of the command line's words for it."""
    write_text(path, _plain_json(content, 1) + "\n")


def names(text: str | None) -> list[str] | None:
    """`a, b` -> ["a", "b"]; None stays None, and an empty text is no key at all. InputError for a
    part that is empty beside others: it may have been meant for a value."""
    if text is None or not text.strip():
        return None if text is None else []
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"'{text}' has an empty part", "Leave out the comma, or add the value.")
    return parts


def many(texts: Sequence[str]) -> list[str]:
    """Repeated and comma-separated values, in order and without repeats."""
    return list(dict.fromkeys(part for text in texts for part in names(text) or ()))


def check_level(level: float | None) -> None:
    """Refuse a share that no interval should have: resamples say nothing of the last permille."""
    from scaling_cli.quantities import MAX_LEVEL, MIN_LEVEL

    if level is not None and not MIN_LEVEL <= level <= MAX_LEVEL:
        raise InputError(f"--level {level} is no share", f"Give {MIN_LEVEL} to {MAX_LEVEL}.")


def one_of(**options: object) -> None:
    """Refuse options that contradict each other."""
    given = [flag(name) for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} contradict each other", "Give one of them.")


def positive(text: str | None, option: str) -> float | None:
    """The number that an option writes, if it is given."""
    from scaling_cli.quantities import parse_positive

    return None if text is None else parse_positive(text, option)


def positives(texts: Sequence[str] | None, option: str) -> list[float]:
    """The numbers of an option that takes several."""
    from scaling_cli.quantities import parse_positive

    values = [parse_positive(text, option) for text in many(texts or [])]
    if any(not text.strip() for text in texts or []):
        raise InputError(f"{option} is empty", "Give a number, or leave it out.")
    return values


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


def ranges(texts: list[str], option: str) -> dict[str, tuple[float, float]]:
    """`NAME=LOW:HIGH` of an option -> ranges."""
    from scaling_cli.quantities import parse_quantity

    limits = {}
    for text in texts:
        name, equals, bounds = text.partition("=")
        low, colon, high = bounds.partition(":")
        if not (equals and colon):
            raise InputError(f"{option} '{text}' is no NAME=LOW:HIGH", f"Write {option} a=0.1:1.")
        pair = parse_quantity(low, f"{option} {name}"), parse_quantity(high, f"{option} {name}")
        if not pair[0] < pair[1]:
            raise InputError(f"{option} '{text}' is empty", "Give the lower bound first.")
        limits[name.strip()] = pair
    return limits

"""What a source of runs declares: a format of files as an `Adapter`, a service as a `Service`.

Each stands as `ADAPTER` or `SERVICE` at the end of one file of this folder. Other packages add
theirs under the entry point group "scalefit.adapters".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from pathlib import Path

from scaling_cli.adapters.files import Found
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.sources import Selection

# In which order adapters are asked: by a signature, by the kind of text, by any text in columns.
BY_SIGNATURE, BY_OTHERS, BY_LINES, BY_WORDS, BY_COLUMNS = range(5)


@dataclass(frozen=True)
class Adapter:
    """A format of files.

    `recognises(path, head)` judges a file by its name and its first bytes. Then it is read by one
    of two:

    - `read(path, source, mapping)` yields every run of a file, with `source` as what to call the
      file in runs and messages;
    - `read_together(files, mapping)` is given all its files at once, for runs that lie in several.
      It yields runs, whose source is a path, and notes on what holds none. With `apart(files)`,
      which parts the files so that none of their runs lies in two parts, it is given one part at a
      time.

    `order` says how sure it is of what it recognises: the surest are asked first.
    `declared(path, head, mapping)` says whether a project's mapping declares a file to be of this
    format, which goes before all that is recognised. No file of `only_histories` is a table of
    settings, and none whose first bytes, by `shows_history(head, mapping)`, are points of a run
    for certain. What is read together with a file and is no file of an adapter, `beside(path)`
    names: an ingest passes over a file that has not changed. Where another package says nothing of
    it, its files are read each time. `install` is what it needs besides this package.
    """

    name: str
    recognises: Callable[[Path, bytes], bool]
    read: Callable[[Path, str, Mapping], Iterator[Run]] | None = None
    read_together: Callable[[Sequence[Found], Mapping], Iterator[Run | Note]] | None = None
    apart: Callable[[Sequence[Found]], list[list[Found]]] | None = None
    order: int = BY_OTHERS
    declared: Callable[[Path, bytes, Mapping], bool] | None = None
    only_histories: bool = False
    shows_history: Callable[[bytes, Mapping], bool] | None = None
    beside: Callable[[Path], Sequence[Path]] | None = None
    install: str = ""

    def __post_init__(self) -> None:
        if (self.read is None) == (self.read_together is None):
            raise ValueError(f"adapter {self.name}: give read or read_together")


@dataclass(frozen=True)
class Request:
    """What an ingest asks of a service.

    `known` maps a run_key to the cursor that the stored run came with: a run whose cursor is still
    the same need not be fetched. `expect` is called with the number of runs to come, once known.
    """

    mapping: Mapping = field(default_factory=Mapping)
    select: Selection = field(default_factory=Selection)
    known: Table[str, str] = field(default_factory=dict)
    expect: Callable[[int], None] = lambda runs: None


@dataclass(frozen=True)
class Unchanged:
    """A run that was not fetched, since the store has it as the service does."""

    run_key: str


@dataclass(frozen=True)
class Service:
    """A source that is no file.

    `claims(source)` judges a source by how it is spelled (`wandb:team/project`). `fetch` yields
    each run as soon as it is here, complete and with its cursor, so that the runs of an interrupted
    ingest are kept. A run that cannot be had is a Note and holds up no other; InputError and
    UnreachableError are for sources of which nothing can be had. `install` is what it needs besides
    this package.
    """

    name: str
    claims: Callable[[str], bool]
    fetch: Callable[[str, Request], Iterator[Run | Unchanged | Note]]
    install: str = ""

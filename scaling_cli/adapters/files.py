"""The door to files: a path, an fsspec URL or standard input, all read as files of this machine.

What lies elsewhere is listed, told apart by its first bytes, and only what holds runs is copied to
a folder that goes away again: adapters see local files, and checkpoints beside logs stay where
they are.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast

from scaling_cli.documents import NoFileError, open_file, read_file
from scaling_cli.errors import InputError, ScalefitError, UnreachableError
from scaling_cli.manifest import File, Recall, Stamp, stamp_at
from scaling_cli.remote import filesystem_at, is_url, reaching, without_secrets

STANDARD_INPUT = "-"
_HEAD = 1 << 16  # bytes that tell a format; also what a small remote file is read with in one call
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SUFFIXES = (".gz", ".zst", ".zstd")
# A file that unpacks to more than this is refused: repetitive logs pack 20 to 60 times, whereas a
# bomb packs 1000 times (gzip) or 30,000 times (zstd).
_MOST_TIMES, _ALWAYS_ALLOWED = 250, 1 << 28
_PIECE = 1 << 20
# A file that is read whole takes a few times its size of memory; event files are read in pieces.
_MOST_WHOLE, _MOST_IN_PIECES = 4 << 30, 64 << 30
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SYSTEM = {"proc", "sys", "dev"}
_LOG = "_log"  # of a store: its commits, `1.json` and so on
_COMMIT = re.compile(r"\d+\.json|_checkpoints")
# Loggers give every run's file the same name and part the runs by folder.
_GENERIC = {
    *("metrics", "log", "logs", "history", "progress", "results", "output", "data"),
    *("train", "training", "eval", "evaluation", "val", "valid", "validation", "test"),
}
_DOWNLOAD = re.compile(r"run-(.+)-tag-(.+)")  # as TensorBoard's page names what it saves
AnyPath = TypeVar("AnyPath", bound=PurePath)
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")
_WANDB_OWN = {"debug.log", "debug-internal.log"}  # the W&B client's own, in JSON lines
_WANDB_BESIDE = {"files", "logs", "tmp"}  # folders beside a `.wandb` file
_MLFLOW_RUN = {"metrics", "params", "tags"}  # the folders beside a run's meta.yaml
_MLFLOW_BESIDE = {"artifacts", "inputs", "outputs"}


@dataclass(frozen=True)
class Found:
    """A file to read, what to call it, and the file or folder that was named to find it.

    `real` is where it lies, links followed; `name` and `stamp` are how a manifest knows it, and
    `seen` is what one says of it if it is as it was.
    """

    path: Path
    source: str
    root: Path
    real: str = ""
    name: tuple[str, str] = ("", "")
    stamp: Stamp | None = None
    seen: File | None = None

    @property
    def walked(self) -> bool:
        """Whether a folder was named."""
        return self.root != self.path

    @property
    def folder(self) -> str:
        """What to call the folder that it lies in."""
        return self.source.rpartition("/")[0] or "."


class SourceFiles:
    """The files that sources name. Copies of what lies elsewhere last as long as this is open."""

    def __init__(self, recall: Recall | None = None) -> None:
        self.recall = recall
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._elsewhere: dict[Path, tuple[Any, str]] = {}  # copy -> file system, its path there
        self._stamps: dict[str, Stamp | None] = {}  # of what is elsewhere, by its copy
        self.stores: list[str] = []  # folders that are stores of our own, and passed over
        self.unreadable: list[str] = []  # what of folders cannot be read, and why

    def __enter__(self) -> SourceFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._copies is not None:
            self._copies.cleanup()

    def find(self, sources: Sequence[str]) -> Iterator[tuple[Found, bytes | None]]:
        """Every file that is named or lies in a folder that is, with its first bytes; without them
        if it is known from an ingest before."""
        for source in sources:
            path = Path(source)
            if source == STANDARD_INPUT:
                found = self._from_standard_input()
                yield found, read_head(found.path, found.source)
            elif is_url(source) and not os.path.exists(path):
                yield from self._find_elsewhere(source)
            elif os.path.isdir(path):
                for place, name, real in self.below(path):
                    file = Path(place)
                    found = self._here(file, path, name, real)
                    try:
                        head = None if found.seen else read_head(file, found.source)
                    except ScalefitError as error:
                        self.unreadable.append(error.what)
                    else:
                        yield found, head
            elif os.path.exists(path):
                found = self._here(path, path, (os.path.abspath(path), ""), "")
                yield found, None if found.seen else read_head(path, found.source)
            elif _ADDRESS.match(source) and not os.path.splitdrive(source)[0]:
                raise InputError(
                    f"{without_secrets(source)}: no such kind of source",
                    "Export the runs to CSV or JSON lines files.",
                )
            else:
                raise InputError(f"{source} does not exist", "Give the path of a file or folder.")

    def below(self, folder: Path) -> Iterator[tuple[str, tuple[str, str], str]]:
        """The files of a folder: each as a path, as it is named in a manifest, and where it lies,
        links followed."""
        root = os.path.abspath(folder)
        for place, below, real in _walk(folder, "", set(), self):
            yield place, (root, below), real

    def _here(self, path: Path, root: Path, name: tuple[str, str], real: str) -> Found:
        stamp = seen = None
        if self.recall is not None:
            stamp = stamp_at(path)
            seen = _known(self.recall.file(name, stamp, path, stamp_at))
        return Found(path, path.as_posix(), root, real, name, stamp, seen)

    def stamp(self, path: str | Path) -> Stamp | None:
        """The stamp of a file here, or of that elsewhere whose copy this would be."""
        return self._stamps[str(path)] if str(path) in self._stamps else stamp_at(path)

    def fetch(self, files: Iterable[Found]) -> None:
        """Copy those of the files that are elsewhere and not here yet."""
        wanted: dict[int, list[tuple[Any, str, Found]]] = {}
        for file in files:
            filesystem, path = self._elsewhere.get(file.path, (None, ""))
            if filesystem is not None and not file.path.exists():
                wanted.setdefault(id(filesystem), []).append((filesystem, path, file))
        for items in wanted.values():
            filesystem = items[0][0]
            for *_, file in items:
                with _copying(file.source):
                    file.path.parent.mkdir(parents=True, exist_ok=True)
            with reaching(items[0][2].source):
                filesystem.get([path for _, path, _ in items], [str(f.path) for *_, f in items])

    @property
    def _folder(self) -> Path:
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="scalefit-")
        return Path(self._copies.name)

    def _from_standard_input(self) -> Found:
        path = self._folder / "stdin"
        if not path.exists():
            with path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        return Found(path, "standard input", path)

    def _find_elsewhere(self, url: str) -> Iterator[tuple[Found, bytes | None]]:
        shown = without_secrets(url).rstrip("/")
        with reaching(shown):
            filesystem, top = filesystem_at(url)
            info = filesystem.info(top)
            is_folder = info["type"] == "directory"
            listed = filesystem.find(top, detail=True) if is_folder else {top: info}
            names = {path.removeprefix(top).strip("/"): path for path in sorted(listed)}
            kept = _kept(names)
            address = _parts(shown.partition("://")[2])
            root = self._folder.joinpath(str(len(self._elsewhere)), *address)
            places = {name: root.joinpath(*_parts(name)) for name in kept}
            self._stamps |= {str(places[n]): _stamp_of(listed[names[n]]) for n in kept}
            seen = {name: self._seen(shown, name, places[name]) for name in kept}
            full = [names[n] for n in kept if not seen[n] and listed[names[n]].get("size") != 0]
            heads = filesystem.cat_ranges(full, 0, _HEAD, on_error="return")
        head_of = dict(zip(full, heads, strict=True))
        for name in kept:
            path, below = names[name], _parts(name)
            source = "/".join((shown, *below))
            head = head_of.get(path, b"")
            if isinstance(head, BaseException):
                with reaching(source):
                    raise head
            stamp = self._stamps[str(places[name])]
            file = Found(places[name], source, root, "", (shown, name), stamp, seen[name])
            self._elsewhere[file.path] = filesystem, path
            if seen[name]:
                yield file, None
                continue
            if len(head) == listed[path].get("size") < _HEAD:
                with _copying(source):
                    file.path.parent.mkdir(parents=True, exist_ok=True)
                    file.path.write_bytes(head)
            yield file, _unpacked_head(head[:_HEAD])

    def _seen(self, root: str, name: str, copy: Path) -> File | None:
        if self.recall is None:
            return None
        return _known(self.recall.file((root, name), self.stamp(copy), copy, self.stamp))


def _known(seen: File | None) -> File | None:
    """What was seen of a file that is of a known format; others are looked at each time."""
    return seen if seen is not None and seen.adapter else None


def _stamp_of(info: dict[str, Any]) -> Stamp | None:
    """What an object store says of an object's content, if it says that."""
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    return (info.get("size"), str(tag)) if tag else None


def read_bytes(path: Path, source: str) -> bytes:
    """The whole file, unpacked where it is a gzip or zstd."""
    with _told(source):
        data = read_file(path, _MOST_WHOLE)
    codec = _codec(data)
    return _unpacked(data, codec, source) if codec else data


def utf16(data: bytes, source: str) -> None:
    """InputError where a text is in UTF-16, as PowerShell's `>` writes it."""
    if data.startswith(_UTF16):
        raise InputError(
            f"{source} is UTF-16 text, as PowerShell's > writes it",
            "Save it as UTF-8: Get-Content FILE | Set-Content -Encoding utf8 NEW.",
        )


@contextmanager
def reading(path: Path, source: str) -> Iterator[BinaryIO]:
    """The file, opened, and unpacked where it is a gzip or zstd; what the system refuses is said in
    our words."""
    with _opened(path, source, _MOST_IN_PIECES) as file:
        codec = _codec(file.read(4))
        file.seek(0)
        yield cast(BinaryIO, _Unpacking(file, codec, source)) if codec else file


def read_head(path: Path, source: str, size: int = _HEAD) -> bytes:
    """The first bytes, unpacked where the file is a gzip or zstd."""
    with _opened(path, source, _MOST_IN_PIECES) as file:
        return _unpacked_head(file.read(size))


@contextmanager
def _opened(path: Path, source: str, most: int) -> Iterator[BinaryIO]:
    with _told(source), open_file(path, most) as file:
        yield file


@contextmanager
def _told(source: str) -> Iterator[None]:
    """What a file or the system refuses, said in our words."""
    try:
        yield
    except NoFileError as error:
        raise InputError(
            f"{source} cannot be read: {error}",
            "Give a file of logs; what a pipe brings is read as `-`.",
        ) from None
    except OSError as error:
        raise UnreachableError(f"{source} cannot be read: {error.strerror}") from error


def suffix_of(path: Path) -> str:
    """The suffix in lower case, without that of a compression."""
    return uncompressed(path).suffix.lower()


def stem_of(path: Path) -> str:
    """The run that a file is of, by its name, or by its folder's if the name is `metrics` or so."""
    stem = uncompressed(path).stem
    return path.absolute().parent.name or stem if is_generic(path) else stem


def is_generic(path: PurePath) -> bool:
    """Whether a file's name says what is in it (`train.csv`, `metrics.eval.jsonl`), and its
    folder's of which run."""
    return all(word in _GENERIC for word in re.split(r"[._-]", uncompressed(path).stem.lower()))


def download_of(path: PurePath) -> tuple[str, str]:
    """The run and the metric of a file that TensorBoard's page saved, by its name."""
    stem = uncompressed(path).stem
    named = _DOWNLOAD.fullmatch(stem)
    return (named[1], named[2]) if named else (stem, stem)


def run_folder(folder: Path, root: Path) -> str:
    """The name of a run that is a folder: its path below the folder that was named."""
    if root in folder.parents:
        return folder.relative_to(root).as_posix()
    return Path(os.path.abspath(folder)).name or "run"


def uncompressed(path: AnyPath) -> AnyPath:
    """The path without the suffix of a compression."""
    return path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path


def _codec(data: bytes) -> str:
    return next((codec for magic, codec in _COMPRESSED.items() if data.startswith(magic)), "")


class _LeftOpen:
    """A file that stays open when a stream over it is dropped: it is read again from its start."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read

    def close(self) -> None:
        pass


class _Unpacking:
    """A packed file as the file that it unpacks to, held in pieces."""

    def __init__(self, file: BinaryIO, codec: str, source: str) -> None:
        self.file, self.codec, self.source = file, codec, source
        self.most = max(_ALWAYS_ALLOWED, _MOST_TIMES * file.seek(0, io.SEEK_END))
        self.room = bytearray()
        self.seek(0)

    def seek(self, place: int) -> int:
        import pyarrow as pa

        if place:
            raise io.UnsupportedOperation("a packed file is read from its beginning")
        self.file.seek(0)
        self.stream = pa.CompressedInputStream(
            pa.PythonFile(_LeftOpen(self.file), mode="r"), self.codec
        )
        self.size = 0
        return 0

    def read(self, size: int) -> bytes:
        # Into room of ours: pyarrow's own read never frees its bytes where a file is damaged.
        if len(self.room) < size:
            self.room = bytearray(size)
        try:
            found = self.stream.readinto(memoryview(self.room)[:size])
        except OSError as error:
            raise InputError(
                f"{self.source} is not a whole {self.codec} file", "Copy it again."
            ) from error
        self.size += found
        if self.size > self.most:
            raise InputError(
                f"{self.source} unpacks to more than {_MOST_TIMES} times its size",
                "Unpack it yourself if it is what it seems.",
            )
        return bytes(memoryview(self.room)[:found])


def _unpacked(data: bytes, codec: str, source: str) -> bytes:
    file = _Unpacking(io.BytesIO(data), codec, source)
    return b"".join(iter(lambda: file.read(_PIECE), b""))


def _unpacked_head(head: bytes) -> bytes:
    codec = _codec(head)
    if not codec:
        return head
    import pyarrow as pa

    found = bytearray()
    try:
        with pa.CompressedInputStream(pa.BufferReader(head), codec) as stream:
            # Small pieces: of the one that the head cuts off, nothing is had.
            while len(found) < _HEAD and (piece := stream.read(16)):
                found += piece
    except OSError:
        pass
    return bytes(found) or b"\n"  # not empty, but only its name tells what it should be


@contextmanager
def _copying(source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreachableError(f"{source} cannot be copied here: {error.strerror}") from error


def _parts(path: str) -> list[str]:
    """The parts of a path, none of which leads out of a folder."""
    return [part for part in path.split("/") if part not in ("", ".", "..")]


def _passed_over(names: Collection[str]) -> set[str]:
    """What is no run log among the entries of a folder: hidden files, and what W&B and MLflow keep
    beside those of a run."""
    own = set(_WANDB_OWN)
    if any(name.endswith(".wandb") for name in names):
        own |= _WANDB_BESIDE
    if "meta.yaml" in names and not _MLFLOW_RUN.isdisjoint(names):
        own |= _MLFLOW_BESIDE
    return {name for name in names if name.startswith(".") or name in own}


def _kept(names: Collection[str]) -> list[str]:
    """Of paths below a folder, those that a walk through it finds."""
    inside: dict[PurePosixPath, set[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        for part in (path, *path.parents)[:-1]:
            inside.setdefault(part.parent, set()).add(part.name)
    out = {folder / name for folder, found in inside.items() for name in _passed_over(found)}
    logs = [folder for folder in inside if folder.name == _LOG]
    out |= {log.parent for log in logs if any(map(_COMMIT.fullmatch, inside[log]))}
    return [n for n in names if out.isdisjoint((path := PurePosixPath(n), *path.parents))]


def _is_store(folder: Path) -> bool:
    log = folder / _LOG
    try:
        return any(map(_COMMIT.fullmatch, os.listdir(log)))
    except OSError:
        return False


def _leads_astray(target: str, folder: str) -> bool:
    """Whether a link within a folder leads to one that holds it, up to the whole of the disk, or to
    what the system shows as files (/proc/self/root is again the disk)."""
    around = f"{folder}{os.sep}".startswith(f"{target.rstrip(os.sep)}{os.sep}")
    return around or target.split(os.sep)[1] in _SYSTEM


def _walk(
    folder: Path, below: str, visited: set[str], door: SourceFiles
) -> Iterator[tuple[str, str, str]]:
    """The files of a folder: each as a path, as the path below the folder that was named, and
    where it lies."""
    real = os.path.realpath(folder)
    if real in visited:
        return
    visited.add(real)
    try:
        # Links last: W&B's `latest-run` names a folder that stands beside it.
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        told = f"{folder} cannot be read: {error.strerror}"
        if len(visited) == 1:
            raise UnreachableError(told) from error
        door.unreadable.append(told)
        return
    names = [entry.name for entry in entries]
    if _LOG in names and _is_store(folder):
        door.stores.append(folder.as_posix())
        return
    passed_over = _passed_over(names)
    for entry in entries:
        if entry.name in passed_over:
            continue
        link = entry.is_symlink()
        # Of a link pathlib and scandir fail where it cannot be looked at, as one to itself.
        if os.path.isdir(entry.path) if link else entry.is_dir():
            target = os.path.realpath(entry.path) if link else ""
            if target in visited:
                continue
            if link and _leads_astray(target, real):
                door.unreadable.append(
                    f"{Path(entry.path).as_posix()} is a link to a folder around it or to the"
                    " system's own, and is not followed"
                )
                continue
            yield from _walk(Path(entry.path), f"{below}{entry.name}/", visited, door)
        elif os.path.isfile(entry.path) if link else entry.is_file():
            where = os.path.realpath(entry.path) if link else f"{real}{os.sep}{entry.name}"
            yield entry.path, f"{below}{entry.name}", where
        elif link and os.path.lexists(entry.path):
            door.unreadable.append(f"{Path(entry.path).as_posix()} is a link to no file")

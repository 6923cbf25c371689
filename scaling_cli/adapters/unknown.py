"""What no adapter knows: what kind of file it is, and what would help."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scaling_cli.adapters.files import Found, suffix_of
from scaling_cli.notes import Note
from scaling_cli.quantities import counted

_NAMED = 6  # kinds in a message
_KINDS: tuple[tuple[str, str], ...] = (
    (".py .pyi .ipynb .c .cc .cpp .cu .cuh .h .hpp .js .ts .java .go .rs .jl .sh .sbatch .sql",
     "source file"),
    (".md .rst .tex .bib .html .pdf .css", "document"),
    (".yaml .yml .toml .cfg .ini .json .xml .conf", "settings file"),
    (".png .jpg .jpeg .gif .svg .webp .mp4", "image"),
    (".pt .pth .bin .safetensors .ckpt .npy .npz .pkl .pickle .h5 .distcp .model .idx .tar .zip",
     "checkpoint or array"),
)  # fmt: skip
_COUNT, _BETWEEN, _MEASURE = re.compile(rb"\d"), re.compile(rb"[^\d.]"), re.compile(rb"\d\.\d")
_BY_SUFFIX = {suffix: kind for suffixes, kind in _KINDS for suffix in suffixes.split()}
_HELP = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "It is a workbook: save its sheet as CSV."),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".bz2", ".xz"), "It is packed: unpack it."),
    **dict.fromkeys(
        (".pkl", ".pickle", ".pt", ".pth", ".npz", ".npy"),
        "It holds Python objects or arrays, which are not opened: write what it logs as CSV.",
    ),
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # as PowerShell's > writes it
_MAGIC = (
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"PK\x03\x04", "checkpoint or array"),
    (b"\x93NUMPY", "checkpoint or array"),
)


def kind_of(path: Path, head: bytes) -> str:
    """What to call a file that no adapter knows."""
    if head[:2] in _UTF16:
        return "UTF-16 text"
    kind = _BY_SUFFIX.get(suffix_of(path))
    kind = kind or next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    if kind is not None:
        return kind
    binary = b"\0" in head[:4096]
    return "binary file" if binary else f"{suffix_of(path)} text".strip()


def not_known(files: Sequence[tuple[Found, bytes]]) -> list[Note]:
    """A note that counts the files of folders by kind, names a text of them, and says which form of
    a console log comes nearest to it."""
    if not files:
        return []
    kinds = Counter(kind_of(file.path, head) for file, head in files)
    told = [f"{counted(n, kind)}" for kind, n in kinds.most_common(_NAMED)]
    more = f" and {len(kinds) - _NAMED} more kinds" if len(kinds) > _NAMED else ""
    texts = [(file, head) for file, head in files if kind_of(file.path, head).endswith("text")]
    passed = f"held no runs and {'was' if len(files) == 1 else 'were'} passed over"
    message = f"{counted(len(files), 'file')} {passed}: {', '.join(told)}"
    message += more
    wide = next((file.source for file, head in files if head[:2] in _UTF16), None)
    if wide is not None:
        message += f"; {wide} is UTF-16 text: save it as UTF-8"
    elif texts:
        near = _nearest(texts)
        message += f"; a text of them is {(near or (texts[0][0].source, ''))[0]}"
        message += f", nearest to {near[1]}" if near else ", near no form that is known"
    return [Note.of("files_not_known", message)]


def _nearest(texts: Sequence[tuple[Found, bytes]]) -> tuple[str, str] | None:
    """The first of these that is near a form of a console log, and how near."""
    from scaling_cli.adapters.console import nearest

    found = [(file.source, near) for file, head in texts[:64] if (near := nearest(head))]
    return min(found, key=lambda each: "any trainer" in each[1], default=None)


def _is_numbered(line: bytes) -> bool:
    """Whether a line holds a count and a measure. One pattern for both takes the cube of its
    length."""
    count, measures = _COUNT.search(line), list(_MEASURE.finditer(line))
    if count is None or not measures:
        return False
    return _BETWEEN.search(line, count.end(), measures[-1].start()) is not None


def hint(path: Path, head: bytes) -> str:
    """What would help with a file that was named and that no adapter knows."""
    from scaling_cli.adapters.console import nearest

    if head[:2] in _UTF16:
        return "It is UTF-16 text: save it as UTF-8."
    if suffix_of(path) in _HELP:
        return _HELP[suffix_of(path)]
    if near := nearest(head):
        return (
            f"Its lines are nearest to {near}. Say how they read in scalefit.toml:"
            ' [console] line = "step {step} loss {loss}".'
        )
    lines = [line for line in head.split(b"\n") if line.strip()][:-1]  # the last may be cut off
    numbered = sum(map(_is_numbered, lines))
    if len(lines) > 2 and 2 * numbered > len(lines) and kind_of(path, head).endswith("text"):
        return (
            "If it is a log, say how its lines read in scalefit.toml:"
            ' [console] line = "{step} ... {loss}".'
        )
    return ""

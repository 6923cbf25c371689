"""What the store remembers of the files that ingests have read: sealed documents that its log
names. They only save reading: without them, or where one is damaged, everything is read again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from scaling_cli.errors import UnreachableError
from scaling_cli.manifest import Manifest, Part, Whole, document_of
from scaling_cli.store.digests import digest_of, seal, seal_holds
from scaling_cli.store.log import MANIFESTS, DamagedError, Entry, State

if TYPE_CHECKING:
    from scaling_cli.store.store import Store

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


def write(store: Store, document: dict[str, Any], written: list[str]) -> Entry:
    """Write a document and give what a commit says of it."""
    name, content = f"{MANIFESTS}/{uuid.uuid4().hex}.json", seal(document)
    written.append(name)
    store.files.write(name, lambda file: file.write(content))
    return {"file": name, "digest": digest_of(content)}


def written_parts(
    store: Store, parts: Sequence[Part], revision_of: Callable[[str], str], written: list[str]
) -> list[Entry]:
    """Write what was read, with the revisions that its runs have in the store."""
    known = [part.with_revisions(revision_of) for part in parts]
    return [write(store, document_of(known), written)] if known else []


def read_into(store: Store, name: str, state: State, manifest: Manifest) -> None:
    """Add what one document says; UnreachableError where it is not what its commit says."""
    path, content = store.files.path(name), store.files.read([name])[0]
    if digest_of(content) != state.manifests[name] or not seal_holds(content):
        raise DamagedError(path, "its content is not what its commit says")
    try:
        manifest.add_document(json.loads(content))
    except _MALFORMED as error:
        raise DamagedError(path, error) from error


def load(store: Store, state: State) -> tuple[Manifest, list[str]]:
    """All that is remembered, and the documents that cannot be read."""
    manifest = Manifest()
    lost = []
    for name in state.manifests:
        try:
            read_into(store, name, state, manifest)
        except UnreachableError:
            lost.append(name)
    return manifest, lost


def keep(store: Store, parts: Sequence[Part], wholes: dict[str, Whole]) -> None:
    """Add parts, and what ingests found and answered that came to their end."""
    document = document_of(parts) | {"wholes": wholes}
    store.commit(
        store.log.state(),
        lambda written: write(store, document, written),
        lambda made, state: {"segments": [], "manifests": [made]},
    )


def tidy(store: Store) -> None:
    """Make one document of all, and leave out what cannot be read."""
    state = store.log.state()
    manifest, _ = load(store, state)
    names = list(state.manifests)
    document = manifest.to_document(state.places.keys())

    def entry(made: Entry, state: State) -> Entry:
        # Another process may have made one of some of them: then this one says it once more.
        dropped = [name for name in names if name in state.manifests]
        return {"segments": [], "manifests_dropped": dropped, "manifests": [made]}

    store.commit(state, lambda written: write(store, document, written), entry)

"""How far a long piece of work is, for whoever wants to know."""

from __future__ import annotations


class Progress:
    """Told as an ingest goes on. This one keeps it to itself."""

    def expect(self, runs: int) -> None:
        """So many more runs are to come."""

    def arrived(self, runs: int, rows: int) -> None:
        """Runs have been read, with so many logged rows, or were found unchanged."""

    def to_read(self, files: int, size: int) -> None:
        """So many files are to be read, of so many bytes together."""

    def was_read(self, files: int, size: int) -> None:
        """So many of the files, and of their bytes, have been read."""

    def stored(self, runs: int) -> None:
        """Runs are in the store for good."""

"""The store: runs, histories and fits in one folder, as Parquet segments under a commit log.

    _log/<n>.json            one commit: its segments, the revision of each run in them, saved fits
    _log/<n>.<digest>.head   how long the log is at least
    _checkpoints/<n>.json    the commits up to n as one
    runs/<uuid>.parquet      a row a run
    history/<uuid>.parquet   a row a run and metric: its steps and values as bytes
    fits/<uuid>.json         a fit's document
    manifests/<uuid>.json    files that were read, each as it was, and the runs that came out

Segments never change. A commit makes its segments visible at once; in the folded log the last
revision of a run counts, so a run is replaced as a whole and an interrupted put leaves no trace.
A commit has a digest of each file that it names, of itself, and of the commit before it: what was
changed or lost is refused, not read.
"""

from scaling_cli.store.records import PutSummary, RunRecord
from scaling_cli.store.store import (
    MOST_MANIFESTS,
    SEGMENT_POINTS,
    SEGMENT_RUNS,
    Store,
    open_store,
)

__all__ = [
    "MOST_MANIFESTS",
    "SEGMENT_POINTS",
    "SEGMENT_RUNS",
    "PutSummary",
    "RunRecord",
    "Store",
    "open_store",
]

"""Workers in jobs of Slurm, which dask-jobqueue writes and submits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.workers.dask_cluster import of_client
from scaling_cli.workers.shipping import absent
from scaling_cli.workers.spread import SLURM, Executor

NUMBERS = {"jobs": "how many", "cores": "workers of each"}
# What else dask-jobqueue is told: names of its own, but `extra`, one further line of the script.
TEXTS = ("memory", "queue", "account", "walltime", "interface", "log_directory", "extra")
KNOWN = f"There are {', '.join([*NUMBERS, *TEXTS])}."


def settings(text: str) -> dict[str, Any]:
    """`slurm:jobs=2,cores=8,memory=16GB,queue=short` as values by name; InputError for what is
    none. What is not given stands in dask-jobqueue's own jobqueue.yaml."""
    given: dict[str, Any] = {}
    for part in filter(None, text.removeprefix(SLURM).split(",")):
        name, equals, value = part.partition("=")
        if not equals or not value or name not in (*NUMBERS, *TEXTS):
            raise InputError(f"`workers={text}`: '{part}' is no setting", KNOWN)
        if name in NUMBERS and not (value.isdecimal() and int(value) > 0):
            raise InputError(f"`workers={text}`: {name} is no whole number", "Write cores=4.")
        given[name] = int(value) if name in NUMBERS else value
    return given


@contextmanager
def jobs(text: str) -> Iterator[Executor]:
    """The jobs that a text asks for: they are submitted here, waited for as long as the queue takes
    and cancelled with the block."""
    given = settings(text)
    count = given.pop("jobs", 1)
    try:
        from dask_jobqueue import SLURMCluster
        from distributed import Client
    except ImportError as error:
        raise absent("dask-jobqueue", "slurm", text) from error
    if shutil.which("sbatch") is None:
        raise UnreachableError(f"`workers={text}`: there is no sbatch here", "Run it where it is.")
    try:
        cluster = SLURMCluster(**asked_of(given))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"`workers={text}`: {error}", "Give cores and memory, as in slurm:cores=4,memory=8GB."
        ) from error
    with cluster:
        cluster.scale(jobs=count)
        with Client(cluster, set_as_default=False) as client, of_client(client, text, None) as made:
            yield made


def asked_of(given: dict[str, Any]) -> dict[str, Any]:
    """The settings as dask-jobqueue takes them: a process of one thread on each core."""
    asked = dict(given)
    if "cores" in asked:
        asked["processes"] = asked["cores"]
    if "extra" in asked:
        asked["job_extra_directives"] = [asked.pop("extra")]
    return asked

"""Real clusters of two workers on this machine, each named as `workers=` takes it: `make clusters`
installs their clients."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.places import ROOT

KINDS = ("dask", "ray", "slurm")
INSTALL = "is not installed; `make clusters` does it"
JOB = """\
#!{python}
import os, subprocess, sys
log = open({log!r}, "a")
job = subprocess.Popen(["bash", sys.argv[1]], start_new_session=True, stdout=log, stderr=log)
print("Submitted batch job", job.pid)
"""
CANCEL = """\
#!{python}
import os, signal, sys
for job in sys.argv[1:]:
    try:
        os.killpg(int(job), signal.SIGTERM)
    except ProcessLookupError:
        pass
"""


@contextmanager
def dask_cluster(_: Path) -> Iterator[str]:
    distributed = pytest.importorskip("distributed", reason=f"distributed {INSTALL}")
    made = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    )
    with made:
        yield made.scheduler_address.replace("tcp://", "dask://")


@contextmanager
def ray_cluster(folder: Path) -> Iterator[str]:
    """A head with two processors: a worker of Ray's is a process on one."""
    pytest.importorskip("ray", reason=f"ray {INSTALL}")
    port, client = free_port(), free_port()
    program = Path(sys.executable).with_name("ray")
    options = ["--include-dashboard=false", "--disable-usage-stats", "--num-cpus=2", "--block"]
    options += [f"--port={port}", f"--ray-client-server-port={client}"]
    options += ["--node-ip-address=127.0.0.1", f"--temp-dir={folder}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    with (folder / "head.log").open("wb") as log:
        head = subprocess.Popen(
            [program, "start", "--head", *options], env=environment, stdout=log, stderr=log
        )
        try:
            wait_for(client, head)
            yield f"ray://127.0.0.1:{client}"
        finally:
            head.terminate()
            head.wait(timeout=60)


@contextmanager
def slurm(folder: Path) -> Iterator[str]:
    """dask-jobqueue's own scripts, run by programs that are called as Slurm's."""
    pytest.importorskip("dask_jobqueue", reason=f"dask-jobqueue {INSTALL}")
    log = str(folder / "jobs.log")
    for name, text in (("sbatch", JOB), ("scancel", CANCEL)):
        program = folder / name
        program.write_text(text.format(python=sys.executable, log=log))
        program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        patch.setenv("PYTHONPATH", str(ROOT))
        yield f"slurm:jobs=2,cores=1,memory=1GB,walltime=00:10:00,log_directory={folder}"


@pytest.fixture(scope="module", params=KINDS)
def workers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Two workers of each kind of cluster, one cluster at a time."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("clusters take the machine for themselves: `make clusters`")
    begun = {"dask": dask_cluster, "ray": ray_cluster, "slurm": slurm}[request.param]
    with begun(tmp_path_factory.mktemp(request.param)) as url:
        yield url


def free_port() -> int:
    with closing(socket.socket()) as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until something listens there."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        with closing(socket.socket()) as made:
            if made.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the head of the cluster has not come up")

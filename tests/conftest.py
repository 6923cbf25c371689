from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from hypothesis import settings

from scaling_cli.project import Project, open_project
from tests.places import ROOT, SAMPLES

PUBLIC_DATA = "SCALEFIT_PUBLIC_DATA"

# A job in the background (`nohup make test &`) ignores Ctrl-C, and so would the programs that tests
# start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on how busy the machine is, and what passed once passes again.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture
def public_data() -> Path:
    """The folder of public tables: shared/data beside the checkout, or where the variable says."""
    beside = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get(PUBLIC_DATA, beside))
    if not folder.is_dir():
        pytest.skip(f"the public tables are not at {folder} (set {PUBLIC_DATA})")
    return folder


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The sample runs in a store that all tests read: one that writes copies it (`own_samples`)."""
    store = tmp_path_factory.mktemp("samples") / "store"
    project = open_project(str(store), SAMPLES / "scalefit.toml")
    project.ingest([str(SAMPLES)])
    before = sorted(store.rglob("*"))
    yield project
    assert sorted(store.rglob("*")) == before, "a test wrote into the store of all tests"


@pytest.fixture
def own_samples(samples: Project, tmp_path: Path) -> Project:
    """A copy of `samples` to write into."""
    store = shutil.copytree(samples.location, tmp_path / "samples" / "store")
    return Project(str(store), samples.mapping)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 server with an empty bucket `lab`, and the client's settings for it."""
    s3fs = pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    patch = pytest.MonkeyPatch()
    # S3 answers one of two writers who each create an object; moto looks and creates in two steps.
    one_by_one, answer = Lock(), server_module.DomainDispatcherApplication.__call__

    def answered(app: Any, *request: Any) -> Any:
        with one_by_one:
            return answer(app, *request)

    patch.setattr(server_module.DomainDispatcherApplication, "__call__", answered)
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "AKIATESTKEY",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-told",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    filesystem.mkdir("lab")
    yield filesystem
    filesystem.rm("lab", recursive=True)  # the next module's server knows of it too
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
    patch.undo()

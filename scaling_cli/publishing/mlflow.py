"""A report as a run of MLflow, sent by its client: the page, the figures, the tables and the JSON
document as artifacts."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from scaling_cli.drawing.plots import figure_bytes
from scaling_cli.errors import InputError, UnreachableError, install
from scaling_cli.publishing.publication import Publication
from scaling_cli.remote import without_secrets
from scaling_cli.report.render import to_markdown

NAME = "scalefit"  # of the experiment where none is named
# The client's own settings, unless the user has set them: it would try a dead host for 4 minutes.
CLIENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}


def send(place: str, publication: Publication) -> str:
    uri, _, experiment = place.partition("#")
    if not uri:
        raise InputError("mlflow: names no server", "Write mlflow:http://HOST:5000#EXPERIMENT.")
    for name, value in CLIENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise InputError("MLflow is sent to by its client", install("mlflow")) from None
    shown = without_secrets(uri)
    if "://" not in uri and uri != "databricks":  # a folder
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = Path(uri).resolve().as_uri()
    try:
        client = MlflowClient(uri)
        known = client.get_experiment_by_name(experiment or NAME)
        number = known.experiment_id if known else client.create_experiment(experiment or NAME)
        run = client.create_run(number, run_name=publication.title).info.run_id
        for key, value in publication.config.items():
            client.set_tag(run, key, value)
        client.set_tag(run, "mlflow.note.content", publication.summary)
        with TemporaryDirectory() as folder:
            _write(Path(folder), publication)
            client.log_artifacts(run, folder)
        client.set_terminated(run)
    except Exception as error:  # the client's messages quote the address with its password
        told = getattr(error, "error_code", type(error).__name__)
        mend = "Is it a tracking server, and does the client have its credentials?"
        raise UnreachableError(f"{shown} did not take the run ({told})", mend) from None
    return f"{shown}, run {run}"


def _write(folder: Path, publication: Publication) -> None:
    (folder / "report.html").write_text(publication.page, encoding="utf-8")
    (folder / "report.json").write_text(publication.document, encoding="utf-8")
    tables = to_markdown(publication.title, list(publication.tables))
    (folder / "report.md").write_text(tables, encoding="utf-8")
    (folder / "figures").mkdir()
    for figure in publication.figures:
        for suffix in (".svg", ".png"):
            path = folder / "figures" / f"{figure.name}{suffix}"
            path.write_bytes(figure_bytes(figure, suffix))

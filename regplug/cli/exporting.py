"""`regplug export`."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli.failures import telling_what_was_reached
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, Disable, Json, Plugin, TrackingUri, new_app
from regplug.cli.output import emit, note, say

if TYPE_CHECKING:
    from regplug.exporting import Exported, Registered
    from regplug.registry import Registry

app = new_app()

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="<format>",
        help="Export to this format; repeats.  [default: those of the run]",
        show_default=False,
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="<folder>",
        help="Write the bundle to this folder.  [default: bundles/ and the start of the run id, or ensemble- and a "
        "hash of the run ids; plus -stochastic]",
        show_default=False,
    ),
]


@app.command(cls=Command)
def export(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="A run or a study: its id, the beginning of its id, or its name."),
    ],
    formats: Formats = None,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            help="Export the models of several runs, or of a study's best setting with several seeds, as one, which "
            "averages their probabilities or values.",
        ),
    ] = False,
    out: Out = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities",
            help="End the graph in a softmax (for labels, a sigmoid), so that it returns probabilities, not logits.",
        ),
    ] = False,
    stochastic: Annotated[
        bool,
        typer.Option(
            "--stochastic",
            help="Keep dropout live in inference (MC dropout): repeated outputs differ; has its own checks.",
        ),
    ] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="<temperature|none>",
            help="Divide the logits by a temperature fitted on the validation rows.  [default: as in the run]",
            show_default=False,
        ),
    ] = None,
    conformal: Annotated[
        float | None,
        typer.Option(
            "--conformal",
            metavar="<share>",
            help="Add prediction sets, or intervals of a regression, with this coverage, fitted on the validation "
            "rows; 0 for none.  [default: as in the run]",
            show_default=False,
        ),
    ] = None,
    register: Annotated[
        str, typer.Option("--register", metavar="<name>", help="Register the ONNX file in MLflow.", show_default=False)
    ] = "",
    alias: Annotated[
        str,
        typer.Option(
            "--alias",
            metavar="<alias>",
            help="Point this alias, such as champion, to the registered version.",
            show_default=False,
        ),
    ] = "",
    license_id: Annotated[
        str,
        typer.Option(
            "--license",
            metavar="<license>",
            help="The model's licence for its card, such as apache-2.0.",
            show_default=False,
        ),
    ] = "",
    sign: Annotated[
        str | None,
        typer.Option(
            "--sign",
            metavar="<file>",
            help="Sign the bundle with this secret key of minisign; its password is read from REGPLUG_SIGN_PASSWORD "
            "or at the terminal.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing bundle of another run at --out.")
    ] = False,
    accept_changed_data: Annotated[
        bool,
        typer.Option("--accept-changed-data", help="Train a run of a study again although its data have changed."),
    ] = False,
    tracking_uri: TrackingUri = None,
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Export a tracked run, or the best setting of a study, as a verified bundle; or several runs as one model.

    A run of a study has no weights in the store: it is trained again, and its metrics are compared with the study's.
    """
    registry = registry_of({"disable": disable, "plugin": plugin})
    names = [spelled(text) for text in formats or ()]
    _check_license(license_id)
    is_calibrated = _check_calibration(calibrate, conformal)
    _check_runs(runs, ensemble=ensemble, register=register or alias, is_calibrated=is_calibrated)
    _check(names, registry, register, alias, tracking_uri)
    from regplug.studies.delivery.exporting import export_named

    with telling_what_was_reached(_tell, as_json=json):
        request: dict[str, Any] = {
            "formats": names,
            "out": out,
            "probabilities": probabilities,
            "stochastic": stochastic,
            "calibrate": calibrate,
            "conformal": conformal,
            "register": register,
            "alias": alias,
            "license_id": license_id,
            "sign": None if sign is None else Path(sign),
            "overwrite": overwrite,
            "registry": registry,
            "tracking_uri": tracking_uri,
        }
        exported = export_named(
            runs, is_ensemble=ensemble, accept_changed_data=accept_changed_data, tell=note, **request
        )
    if json:
        emit(exported.document())
    else:
        _tell(exported)


def _check_license(license_id: str) -> None:
    from regplug.config.licenses import check_license

    check_license(license_id)


def _check_calibration(calibrate: str | None, conformal: float | None) -> bool:
    """Returns whether a calibration is requested, after checking the request."""
    from regplug.config.calibration import check_calibration

    check_calibration(calibrate or "none", conformal or 0.0)
    return calibrate not in (None, "none") or bool(conformal)


def _check_runs(runs: list[str], *, ensemble: bool, register: str, is_calibrated: bool) -> None:
    from regplug.runs.request import check_exported_runs

    check_exported_runs(runs, is_ensemble=ensemble, register=register, is_calibrated=is_calibrated)


def _check(formats: list[str], registry: Registry, register: str, alias: str, tracking_uri: str | None) -> None:
    """Reports errors in the request itself, before torch and mlflow are imported."""
    from regplug.runs.request import check_component
    from regplug.tracking.location import resolve_location
    from regplug.tracking.registering import check_registration

    for text in formats:
        check_component("format", text, registry)
    check_registration(register, alias)
    resolve_location(tracking_uri).require_there()


def spelled(text: str) -> str:
    """Replaces dashes in a format's name by underscores: `onnx-int8` is `onnx_int8`."""
    head, colon, values = text.partition(":")
    is_plain = not set(head) & set("./")
    return (head.replace("-", "_") if is_plain else head) + colon + values


def _tell(exported: Exported) -> None:
    from regplug.cli.summary import describe_checks, lines_of

    folder = shlex.quote(str(exported.path))
    rows = [
        *_run_rows(exported),
        *(("note", text) for text in exported.notes),
        ("bundle", str(exported.path)),
        *_file_rows(exported),
        ("checks", describe_checks(exported.verification)),
        ("digest", exported.digest),
    ]
    if exported.registered is not None:
        alias = f", alias {exported.registered.alias}" if exported.registered.alias else ""
        rows.append(("registered", f"{exported.registered.uri}{alias}"))
        rows.append(("serve", mlflow_command(exported.registered, exported.tracking_uri)))
    say(*lines_of([*rows, ("next", f"regplug verify {folder}"), ("", f"regplug inspect {folder}")]))


def mlflow_command(registered: Registered, tracking_uri: str) -> str:
    """Returns the command with which MLflow serves a registered model, as it works in any folder and environment.

    MLflow starts `uvicorn` from the PATH, and fails where the environment of this interpreter is not activated.
    """
    scripts = Path(sys.executable).parent
    uri = f"models:/{registered.name}@{registered.alias}" if registered.alias else registered.uri
    path = "" if shutil.which("uvicorn") else f'PATH={shlex.quote(str(scripts))}:"$PATH" '
    command = shlex.join([str(scripts / "mlflow"), "models", "serve", "-m", uri, "--env-manager", "local"])
    return f"{path}MLFLOW_TRACKING_URI={shlex.quote(tracking_uri)} {command}"


def _run_rows(exported: Exported) -> list[tuple[str, str]]:
    runs = dict(exported.members) or {exported.run_id: exported.run_name}
    return [
        ("" if at else "runs" if exported.members else "run", f"{runs[run_id]} ({run_id})")
        for at, run_id in enumerate(runs)
    ]


def _file_rows(exported: Exported) -> list[tuple[str, str]]:
    """Returns each model file with its size and its metrics on the test split."""
    from regplug.bundles.layout import model_kib, read_manifest

    rows: list[tuple[str, str]] = []
    for filename, facts in read_manifest(exported.path)["files"].items():
        parts = {f"{facts['format']}.": "", f"{facts['format']}.noise_off.": " without noise"}
        names = {f"{part}{name}": name + tail for part, tail in parts.items() for name in ("test_accuracy", "test_mse")}
        measured = [check for check in exported.verification.checks if check.name in names]
        words = [f"{names[check.name].replace('_', ' ')} {check.figure:.4g}" for check in measured]
        size = model_kib(exported.path, filename, facts)
        rows.append(("file" if not rows else "", ", ".join([filename, size, *words])))
    return rows

"""Checks a request before torch or mlflow is imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from regplug.bundles.publish import require_free
from regplug.config import KIND_BY_FIELD, RunConfig
from regplug.config.calibration import check_calibration
from regplug.config.params import describe_params
from regplug.config.spec import ComponentSpec
from regplug.errors import DataError, MissingExtraError, ParameterError, RequestError
from regplug.registry import Registry, read_params, require_code
from regplug.registry.components import Chosen, Components, resolve
from regplug.registry.faults import named_faults
from regplug.regularization.ordering import Entry, check_composition
from regplug.tracking import require_reachable, resolve_location

_THREADS_FOR_EACH_PROCESSOR = 4
_ALWAYS_ALLOWED_THREADS = 64
"""So that the configuration of a run on a large machine can be repeated on a small one."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A run that was checked; nothing of it is checked or read again.

    Args:
        config: The run with every parameter spelled out.
        components: Its components.
        registry: What is installed.
    """

    config: RunConfig
    components: Components
    registry: Registry


@named_faults()
def check_request(
    config: RunConfig, registry: Registry, *, tracking_uri: str | None = None, writes: bool = True, owner: str = ""
) -> RunRequest:
    """Checks everything about a run that needs no data and no training.

    Args:
        config: The run as requested.
        registry: What is installed.
        tracking_uri: As for `execute`.
        writes: Whether a store and a bundle will be written, so that their places must be free and writable.
        owner: The id of a run that is resumed, whose own bundle may be replaced.

    Raises:
        RequestError: Something is wrong; nothing was started.
    """
    installed = check_parts(config, registry)
    if writes:
        check_places(config, tracking_uri, owner=owner)
    # The user's own code is imported here, and torch with it in most cases.
    resolved, components = resolve(config, registry, installed)
    check_composition(composition_entries(components.regs))
    return RunRequest(config=resolved, components=components, registry=registry)


def check_parts(config: RunConfig, registry: Registry) -> dict[str, list[Chosen]]:
    """Checks names, parameters, bounds and files without importing the user's own code.

    Returns:
        Field -> its installed components, without the user's own code.

    Raises:
        RequestError: Something is wrong.
    """
    _check_threads(config.threads)
    check_calibration(config.calibrate, config.conformal)
    if config.system_metrics and find_spec("psutil") is None:
        raise MissingExtraError("system_metrics", "psutil", extra="system")
    installed: dict[str, list[Chosen]] = {field: [] for field in KIND_BY_FIELD}
    for field, kind in KIND_BY_FIELD.items():
        for spec in config.specs(field):
            installed[field] += check_component(kind, spec, registry)
    if len(installed["reg"]) == len(config.reg):
        check_composition(composition_entries(installed["reg"]))
    return installed


def check_places(config: RunConfig, tracking_uri: str | None = None, *, owner: str = "") -> None:
    """Checks that the tracking store can be reached and is of a known kind, and that the bundle's place is free.

    Args:
        config: The run.
        tracking_uri: As for `execute`.
        owner: The id of a run whose own bundle may be replaced.

    Raises:
        RequestError: One cannot be written; nothing was.
    """
    require_reachable(resolve_location(tracking_uri))
    if config.export:
        require_free(Path(config.out or "bundles/any"), owner)


def composition_entries(regs: Sequence[Chosen]) -> list[Entry]:
    """Returns the regularizers of a run as entries for the composition rules."""
    return [
        Entry(key=reg.spec.key, descriptor=reg.registered.component, source=reg.registered.full_name)  # type: ignore[arg-type] # found as a regularizer
        for reg in regs
    ]


def _check_threads(threads: int) -> None:
    processors = os.cpu_count() or 1
    most = max(_ALWAYS_ALLOWED_THREADS, _THREADS_FOR_EACH_PROCESSOR * processors)
    if threads > most:
        raise ParameterError(
            f"threads={threads} is too many for this machine: it has {processors} processors, "
            f"and at most {most} threads are allowed.",
            hint=f"Choose --threads {processors}, or leave it out.",
        )


def check_component(kind: str, spec: ComponentSpec | str, registry: Registry) -> list[Chosen]:
    """Checks the name, the parameters and the files of one component.

    Returns:
        The component; nothing for the user's own code, which is not imported here.

    Raises:
        RequestError: Something is wrong.
    """
    spec = ComponentSpec.parse(spec, is_data=kind == "dataset") if isinstance(spec, str) else spec
    if spec.code is not None:
        require_code(spec.code)
        return []
    spec = registry.locate(kind, spec)
    registered = registry.find(kind, spec)
    params = read_params(registered, spec.values)
    for info in describe_params(registered.component.params):
        if info.needed is not None and info.name not in spec.values:
            raise ParameterError(
                f"The {registered.kind} {registered.name} needs {info.name}, which was not given.",
                hint=f"Write {registered.name}:{info.name}={info.needed.example}",
            )
        if info.is_file:
            _require_file(Path(str(getattr(params, info.name))).expanduser())
    return [Chosen(spec=spec, registered=registered, params=params)]


def _require_file(path: Path) -> None:
    try:
        is_there = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise DataError(f"The file {path} cannot be read: {error.strerror}.") from None
    if not is_there:
        raise DataError(f"No file {path}.", hint="Relative paths start from the current folder.")


def check_exported_runs(
    runs: Sequence[str], *, is_ensemble: bool, register: str = "", is_calibrated: bool = False
) -> None:
    """Checks how many runs an export names.

    Args:
        runs: The named runs.
        is_ensemble: Whether they are exported as one model.
        register: The registered model or the alias that was requested; empty for none.
        is_calibrated: Whether a calibration was requested.

    Raises:
        RequestError: There are several runs for a bundle of one or one for an ensemble, a run is named twice, or an
            ensemble should be registered or calibrated.
    """
    if not is_ensemble:
        if len(runs) == 1:
            return
        raise RequestError(
            f"An export takes one run, but {len(runs)} were named: {', '.join(runs) or 'none'}.",
            hint="Export each by itself, or all as one model with --ensemble (ensemble=True).",
        )
    if not runs:
        raise RequestError("An ensemble needs at least two runs, but none was named.", hint="Name runs, or a study.")
    twice = sorted({run for run in runs if list(runs).count(run) > 1})
    if twice:
        raise RequestError(f"The run {twice[0]} is named twice.", hint="Name each run of an ensemble once.")
    if is_calibrated:
        raise RequestError(
            "An ensemble cannot be calibrated, because the validation rows of one run may be training rows of another.",
            hint="Leave out --calibrate and --conformal, or export one run.",
        )
    if register:
        raise RequestError(
            "An ensemble cannot be registered, because a registered model belongs to one run.",
            hint="Leave out --register and --alias; or log model.onnx of the bundle with MLflow yourself.",
        )

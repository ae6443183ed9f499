"""Trains a run of a study again, because a study keeps no weights, and stores the weights with the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from regplug.config.commands import command_of
from regplug.data import Prepared
from regplug.errors import RequestError, VerificationError
from regplug.exporting import require_exportable
from regplug.measuring.final_metrics import SPLITS, measure_final
from regplug.registry import Registry
from regplug.registry.faults import named_faults
from regplug.runs.assembly import Assembly, assemble, threads
from regplug.runs.data_facts import DIGEST_TAG
from regplug.runs.leaving import log_state
from regplug.runs.loading import load_data
from regplug.runs.request import check_request
from regplug.runs.stored import CONFIG_FILE, STATE_FILE, asking_for_objects, require_same_data
from regplug.runs.trained import trained_model, trainer_of
from regplug.studies.design.child_configs import tracked_config
from regplug.studies.measuring import FINISHED
from regplug.tracking import RunInfo, Store

CHANGED_DATA_HINT = (
    "Restore the data, or train on the new ones with --accept-changed-data (accept_changed_data=True from Python)."
)

ACCURACY_TOLERANCE, ROWS_TOLERANCE = 0.01, 3
"""An accuracy agrees within this much, or within this many rows."""

RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 0.02, 1e-3
"""A loss agrees within this share, or this much: a stack multiplies matrices in another order than a run alone."""


def has_weights(store: Store, info: RunInfo) -> bool:
    """Returns whether a run has what an export needs."""
    return {CONFIG_FILE, STATE_FILE} <= set(store.artifact_names(info.run_id))


@named_faults()
def restore(
    store: Store, info: RunInfo, registry: Registry, *, accept_changed_data: bool, tell: Callable[[str], None]
) -> str:
    """Trains a run of a study again and stores its configuration and weights with it.

    Args:
        store: Its store.
        info: The run.
        registry: The available components.
        accept_changed_data: Whether it may be trained on other data than before.
        tell: Is told what is done, before it is done.

    Returns:
        A note on what was done.

    Raises:
        RequestError: The run has not finished, or has no configuration, or a component or a file is missing.
        DataError: The data have changed.
        ExportError: The model cannot be exported.
        VerificationError: The metrics differ from those of the study.
    """
    made, is_changed = _assembled(store, info, registry, accept_changed_data=accept_changed_data)
    with threads(made.num_threads()):
        require_exportable(made)
        shown = f"{info.name} ({info.run_id[:8]})"
        tell(f"A study keeps no weights: {shown} is trained again, {made.config.epochs} epochs.")
        trainer = trainer_of(made)
        for _ in trainer.train():
            pass
        trainer.finish()
        measured = measure_final(trainer, [made.data])[0].metrics
        model = trained_model(trainer, made)
    if not is_changed:
        _require_agreement(info, measured, made)
    tracked = store.attach(info.run_id)
    log_state(tracked, model)
    tracked.log_dataset(made.data.raw.name, made.data.digest, made.data.raw.source)
    # Last: a run without this file is trained again.
    tracked.log_text(made.config.replaced(export=False).to_toml(), CONFIG_FILE)
    if is_changed:
        return f"{shown} was trained again on data that have changed; its metrics in the store are of the old data."
    return f"{shown} was trained again; its metrics agree with those of the study."


def _assembled(store: Store, info: RunInfo, registry: Registry, *, accept_changed_data: bool) -> tuple[Assembly, bool]:
    """Returns the run ready to train, and whether its data have changed."""
    config = tracked_config(store, info)
    if config is None:
        raise RequestError(
            f"Run {info.name} ({info.run_id[:8]}) has no configuration: its study was made by an older version.",
            hint="Train it alone: the command is in its description.",
        )
    if info.status != FINISHED:
        raise RequestError(
            f"Run {info.name} ({info.run_id[:8]}) ended {info.status} in its study, so there is nothing to export.",
            hint="Name a run that finished; `regplug runs list` shows the status.",
        )
    with asking_for_objects(f"Run {info.name}", "regplug.export"):
        request = check_request(config.replaced(export=True), registry, writes=False)
    data = load_data(request.config, request.components)
    seen = info.tags.get(DIGEST_TAG)
    if not accept_changed_data:
        require_same_data(data, seen, info.name, hint=CHANGED_DATA_HINT)
    return assemble(request.config, request.components, data), seen not in (None, data.digest)


def _require_agreement(info: RunInfo, measured: Mapping[str, float], made: Assembly) -> None:
    apart = [
        f"{name} is {measured[name]:.6g} and was {info.metrics[name]:.6g}"
        for name, tolerance in _tolerances(info.metrics, made.data).items()
        if name in measured and not abs(measured[name] - info.metrics[name]) <= tolerance
    ]
    if apart:
        raise VerificationError(
            f"Run {info.name} ({info.run_id[:8]}) was trained again, but its metrics differ from those of the study: "
            f"{'; '.join(apart)}.",
            hint=f"The code of a component has changed since. As a new run: {command_of(made.config)}",
        )


def _tolerances(tracked: Mapping[str, float], data: Prepared) -> dict[str, float]:
    """Returns by how much each metric may differ."""
    found = {}
    for split in SPLITS:
        rows = getattr(data, split)
        if f"{split}/accuracy" in tracked and rows is not None:
            found[f"{split}/accuracy"] = max(ACCURACY_TOLERANCE, ROWS_TOLERANCE / len(rows)) + 1e-9
        if f"{split}/loss" in tracked:
            found[f"{split}/loss"] = max(ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * abs(tracked[f"{split}/loss"]))
    return found

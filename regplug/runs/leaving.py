"""Logs what a finished run leaves: figures, the outputs and values of rows, the state, the bundle."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from regplug.data import Prepared
from regplug.measuring.final_metrics import Final
from regplug.measuring.metrics import calibration_bins, confusion_matrix, probabilities
from regplug.measuring.predictions import predictions_csv
from regplug.reports.plots import confusion_matrix_png, reliability_png
from regplug.runs.figures import Figures
from regplug.runs.row_files import keep_rows
from regplug.runs.stored import STATE_FILE
from regplug.statistics import RowValues
from regplug.tracking import TrackedRun
from regplug.training.state_hash import state_sha256

if TYPE_CHECKING:
    from regplug.bundles.request import Bundle


def log_rows(
    tracked: TrackedRun, final: Final, data: Prepared, figures: Figures, *, digest: str, keeps_outputs: bool
) -> None:
    """Logs what the final measurement tells of the test rows, and starts drawing it.

    Args:
        tracked: The run.
        final: Its final measurement.
        data: Its data.
        figures: Draws.
        digest: Of the rows on which the run was judged.
        keeps_outputs: Whether the model's output for each test row is logged as well.
    """
    outputs, y = final.outputs["test"], data.raw.test.y
    if data.task.is_classification:
        figures.draw("confusion_matrix.png", confusion_matrix_png, confusion_matrix(outputs, y), data.task.class_names)
    if final.rows:
        keep_rows(tracked, {"": RowValues(digest=digest, values=final.rows)}, "run")
    if not keeps_outputs:
        return
    tracked.log_text(predictions_csv(outputs, y, data.task), "predictions.csv")
    if data.task.is_classification:
        figures.draw("reliability.png", reliability_png, *calibration_bins(probabilities(outputs), y))


def log_state(tracked: TrackedRun, model: nn.Module) -> None:
    """Stores the trained state and its hash, so that the run can be exported again."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / STATE_FILE
        torch.save(model.state_dict(), file)
        tracked.log_file(file)
    tracked.set_tags({"regplug.state_sha256": state_sha256(model)})


def log_bundle(tracked: TrackedRun, bundle: Bundle) -> None:
    """Logs the folder of a bundle, and its ONNX file as a model of MLflow."""
    from regplug.bundles.origin import digest_tag
    from regplug.exporting import DEPLOYED_FILE

    tracked.log_folder(bundle.path, "bundle")
    tracked.set_tags({"regplug.bundle": str(bundle.path.absolute()), **digest_tag(bundle.digest)})
    if DEPLOYED_FILE in bundle.files:
        _log_deployed(tracked, bundle)


def _log_deployed(tracked: TrackedRun, bundle: Bundle) -> None:
    from regplug.exporting import DEPLOYED_FILE, deployment_requirements, deployment_samples

    inputs, outputs = deployment_samples(bundle)
    tracked.keep_onnx_model(
        bundle.path / DEPLOYED_FILE,
        sample_input=inputs,
        sample_output=outputs,
        requirements=deployment_requirements(),
    )

"""Logs an ONNX file as MLflow model through the client, without changing MLflow's active run or global URI."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.errors import VerificationError
from regplug.tracking.files import all_or_nothing
from regplug.tracking.trouble import tracking_trouble

if TYPE_CHECKING:
    import numpy as np

_RELATIVE_TOLERANCE = 1e-4
_ABSOLUTE_TOLERANCE = 1e-5


def log_onnx_model(
    client: Any,
    path: Path,
    *,
    run_id: str,
    experiment_id: str,
    name: str,
    sample_input: np.ndarray[Any, Any],
    sample_output: np.ndarray[Any, Any],
    requirements: Sequence[str],
    disagreement: Callable[[Any], str] | None = None,
) -> str:
    """Logs an ONNX file as a model of a run and returns its address `models:/...`.

    Args:
        client: MLflow's client.
        path: The file.
        run_id: The run it comes from.
        experiment_id: That run's experiment.
        name: The model's name.
        sample_input: An input batch, which defines the signature.
        sample_output: The expected output, to 1e-4 relative and 1e-5 of its largest value.
        requirements: Pinned pip requirements; without them MLflow would run the model to infer them (9 to 33 s).
        disagreement: Returns what is wrong with an output for the sample input, or an empty string; for a model with
            random outputs. By default the output must equal the sample output.

    Raises:
        VerificationError: The model that MLflow saved gives a different output.
        TrackingError: The store cannot be written.
    """
    from mlflow.entities import LoggedModelOutput

    with _own_warnings_only(), tracking_trouble("The model could not be logged"):
        model = client.create_logged_model(experiment_id, name=name, source_run_id=run_id, model_type="onnx")
        try:
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / "model"
                _save(path, folder, model, run_id, sample_input, sample_output, requirements)
                _compare(folder, sample_input, disagreement or (lambda answer: _difference(answer, sample_output)))
                send = partial(client.log_model_artifacts, model.model_id, str(folder))
                all_or_nothing(model.artifact_location, "", send)()
        except BaseException:
            client.finalize_logged_model(model.model_id, "FAILED")
            raise
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_uri)


@contextmanager
def _own_warnings_only() -> Iterator[None]:
    """Silences mlflow.pyfunc's warning about its own type hints at each import."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType", category=UserWarning)
        yield


def _save(
    path: Path,
    folder: Path,
    model: Any,
    run_id: str,
    sample_input: np.ndarray[Any, Any],
    sample_output: np.ndarray[Any, Any],
    requirements: Sequence[str],
) -> None:
    import mlflow.onnx
    from mlflow.models import Model, infer_signature

    described = Model(
        artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id, model_id=model.model_id
    )
    mlflow.onnx.save_model(
        # Loaded for this call only: saving changes the object, and saving it again would store no weights.
        mlflow.onnx._load_model(str(path)),
        str(folder),
        mlflow_model=described,
        signature=infer_signature(sample_input, sample_output),
        pip_requirements=list(requirements),
        save_as_external_data=False,
        onnx_execution_providers=["CPUExecutionProvider"],
    )


def _compare(folder: Path, sample_input: np.ndarray[Any, Any], disagreement: Callable[[Any], str]) -> None:
    """Loads the saved model as a user of MLflow would, and checks its output."""
    import mlflow.pyfunc

    answer = next(iter(mlflow.pyfunc.load_model(str(folder)).predict(sample_input).values()))
    wrong = disagreement(answer)
    if wrong:
        raise VerificationError(f"The model that MLflow saved gives a different output: {wrong}.")


def _difference(answer: Any, sample_output: np.ndarray[Any, Any]) -> str:
    import numpy as np

    limit = _ABSOLUTE_TOLERANCE * max(1.0, float(np.abs(sample_output).max(initial=0.0)))
    if np.allclose(answer, sample_output, rtol=_RELATIVE_TOLERANCE, atol=limit):
        return ""
    return f"by {float(np.abs(answer - sample_output).max()):.2g}, allowed {limit:.2g}"

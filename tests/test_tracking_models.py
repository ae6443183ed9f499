"""ONNX models as MLflow models, and a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracking_stores import start

from regplug.errors import VerificationError
from regplug.tracking import ChildRun, open_store

pytest_plugins = ["tracking_folder"]
pytestmark = pytest.mark.usefixtures("no_tracking_variables")


@pytest.fixture(scope="module")
def linear_model(tmp_path_factory):
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    weight = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    x = np.ones((2, 4), dtype="float32")
    return path, x, x @ weight


def test_an_onnx_model_is_logged_with_signature_and_requirements_and_answers_the_same(store, linear_model):
    path, x, y = linear_model
    before = path.read_bytes()
    with start(store) as run:
        uris = [
            run.log_onnx_model(path, sample_input=x, sample_output=y, requirements=["onnxruntime>=1", "numpy>=1"])
            for _ in range(2)
        ]
    assert uris[0] != uris[1]
    assert path.read_bytes() == before
    model = store._client.get_logged_model(uris[1].removeprefix("models:/"))
    assert (str(model.status), model.source_run_id) == ("READY", run.run_id)
    import mlflow.pyfunc

    folder = model.artifact_location.removeprefix("file://").replace("%20", " ").replace("%C3%A9", "é")
    loaded = mlflow.pyfunc.load_model(folder)
    assert abs(loaded.predict(x)["logits"] - y).max() < 1e-6
    assert loaded.metadata.signature.inputs.input_types()[0] == "float32"
    mlflow_itself, *ours = (Path(folder) / "requirements.txt").read_text().split()
    assert (mlflow_itself.partition("==")[0], ours) == ("mlflow", ["onnxruntime>=1", "numpy>=1"])
    outputs = store._client.get_run(run.run_id).outputs.model_outputs
    assert {f"models:/{each.model_id}" for each in outputs} == set(uris)


def test_a_model_that_answers_otherwise_is_not_published(store, linear_model):
    path, x, y = linear_model
    with start(store) as run, pytest.raises(VerificationError, match="gives a different output"):
        run.log_onnx_model(path, sample_input=x, sample_output=y + 1, requirements=["onnxruntime"])
    found = store._client.search_logged_models([run.experiment_id])
    assert [str(each.status) for each in found if each.source_run_id == run.run_id] == ["FAILED"]


@pytest.mark.slow
def test_a_server_takes_everything_that_a_database_takes(server, linear_model, tmp_path):
    store = open_store(server.address)
    children = [
        ChildRun(name=f"child {index}", params={"lr": index}, metrics=[("train/loss", 1.0, 0, 5)], status=status)
        for index, status in enumerate(("FINISHED", "FAILED", "FINISHED"))
    ]
    with start(store, params={f"p{index}": index for index in range(150)}) as run:
        for step in range(1200):
            run.log_metrics({"train/loss": step / 3}, step=step)
        run.log_text("hello", "notes/a.txt")
        run.log_dataset("digits", "abc", "regplug:digits")
        ids = [run_id for ids in store.log_children(run.run_id, "digits/mlp", children) for run_id in ids]
        path, x, y = linear_model
        uri = run.log_onnx_model(path, sample_input=x, sample_output=y, requirements=["onnxruntime"])
    assert store.find_run(run.run_id[:10]).status == "FINISHED"
    assert len(store.metric_history(run.run_id, "train/loss")) == 1200
    assert store.read_artifact(run.run_id, "notes/a.txt").read_text() == "hello"
    assert [store.find_run(each).status for each in ids] == ["FINISHED", "FAILED", "FINISHED"]
    assert len(store.runs(parent=run.run_id)) == 3
    assert str(store._client.get_logged_model(uri.removeprefix("models:/")).status) == "READY"
    with store.resume_run(run.run_id) as again:
        again.log_metrics({"train/loss": 0.0}, step=1200)

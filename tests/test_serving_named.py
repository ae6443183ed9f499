"""A bundle with several inputs and outputs is served: arrays and rows by name, checked by the manifest."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from named_kinds import IMAGES, META, NAMES, Both, Unit
from serving_calls import Client, Server, form_of, serving

import regplug
from regplug.bundles.named.signature import Axis, InputPart, OutputPart, Signature
from regplug.errors import BundleError
from regplug.serving.bodies import MalformedError
from regplug.serving.named import NamedModel, NamedRows

NEEDED = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
SIZES = range(4, 12)


@pytest.fixture(scope="module", autouse=True)
def _libraries() -> None:
    for name in NEEDED:
        pytest.importorskip(name, reason=f"{name} is not installed: pip install -e .[serve]")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return regplug.export(
        Both(),
        {"image": IMAGES, "meta": META},
        tmp_path_factory.mktemp("named") / "b",
        outputs=("logits", "embedding"),
        dynamic={"image": {2: "height", 3: "width"}},
        class_names=NAMES,
        preprocess={"image": Unit()},
        formats=["onnx"],
    ).path


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(bundle, tmp_path_factory.mktemp("server")) as server:
        yield server


def model() -> NamedModel:
    """Two inputs of which one has any length, and their sums as output."""
    part = {"layout": "array", "range": None}
    signature = Signature(
        inputs=(
            InputPart(name="x", dtype=np.dtype("float32"), shape=("length",), **part),
            InputPart(name="y", dtype=np.dtype("int64"), shape=(2,), **part),
        ),
        outputs=(OutputPart(name="sum", shape=(), checked=((),)),),
        axes=(Axis(name="length", least=1, most=4, checked=(2,)),),
    )

    def run(arrays: Any) -> dict[str, np.ndarray]:
        return {"sum": arrays["x"].sum(1) + arrays["y"].sum(1)}

    return NamedModel(
        manifest={"task": None}, digest="", passes=0, is_batched=False, signature=signature, named_run=run
    )


def read(document: Any) -> Any:
    return model().read_json(document if isinstance(document, bytes) else json.dumps(document).encode())


def test_arrays_and_rows_by_name_are_read_alike_and_cut_together() -> None:
    arrays = read({"inputs": {"x": [[1, 2, 3], [4, 5, 6]], "y": [[1, 2], [3, 4]]}, "top": 2})
    by_row = read({"rows": [{"y": [1, 2], "x": [1, 2, 3]}, {"x": [4, 5, 6], "y": [3, 4]}]})
    for asked in (arrays, by_row):
        assert (asked.rows.arrays["x"].dtype, len(asked.rows)) == (np.float32, 2)
        assert asked.rows[1:].arrays["y"].tolist() == [[3, 4]]
    assert arrays.top == 2
    outputs, spreads = model().compute(arrays.rows)
    assert model().document(arrays, outputs, spreads) == {
        "task": None,
        "predictions": [{"row": 0, "outputs": {"sum": 9.0}}, {"row": 1, "outputs": {"sum": 22.0}}],
        "notes": arrays.notes,
    }


def test_a_model_with_live_dropout_answers_with_means_and_spreads() -> None:
    draws = np.random.default_rng(0)

    def run(arrays: Any) -> dict[str, np.ndarray]:
        return {"sum": draws.normal(size=(len(arrays["y"]), 2))}

    live = dataclasses.replace(model(), passes=200, named_run=run)
    asked = read({"rows": [{"y": [1, 2], "x": [1]}] * 3})
    outputs, spreads = live.compute(asked.rows)
    assert not live.not_finite(outputs).any()
    document = live.document(asked, outputs, spreads)
    assert document["passes"] == 200
    assert document["notes"][-1].startswith("dropout is live: means and standard deviations over 200 passes")
    for answer in document["predictions"]:
        assert np.allclose(answer["outputs"]["sum"], 0, atol=0.5)
        assert np.allclose(answer["output_spreads"]["sum"], 1, atol=0.3)


def test_a_row_with_an_output_that_is_not_finite_is_found() -> None:
    rows = NamedRows({"x": np.array([[1.0], [np.inf]], np.float32), "y": np.zeros((2, 2), np.int64)})
    assert model().not_finite(model().compute(rows)[0]).tolist() == [False, True]


def test_a_model_without_a_task_has_an_application() -> None:
    from regplug.serving.app import make_app

    assert make_app(model(), most_bytes=100)


WRONG = {
    b"[1]": "not a JSON object",
    b"{}": "no inputs; exactly one of",
    b'{"rows": [], "inputs": {}}': "inputs and rows; exactly one of",
    b'{"inputs": {}, "topp": 1}': "unknown keys: topp",
    b'{"inputs": [[1]]}': "inputs is not an object",
    b'{"rows": {"x": 1}}': "rows is not a list",
    b'{"rows": []}': "rows is not a JSON object|rows is empty",
    b'{"rows": [{"x": [1], "y": [1, 2]}, {"x": [1]}]}': "row 1 has other inputs",
    b'{"inputs": {"x": [[1]]}}': "lacks the input 'y'",
    b'{"inputs": {"x": [], "y": []}}': "axes|empty|no rows",
    b'{"inputs": {"x": [[1]], "y": [[1, 2], [1, 2]]}}': "different numbers of rows",
    b'{"inputs": {"x": [[1, 2, 3, 4, 5]], "y": [[1, 2]]}}': "1 to 4",
    b'{"inputs": {"x": [[1], [2, 3]], "y": [[1, 2], [1, 2]]}}': "not an array",
    b'{"inputs": {"x": [["a"]], "y": [[1, 2]]}}': "more than numbers",
    b'{"inputs": {"x": [[null]], "y": [[1, 2]]}}': "more than numbers",
    b'{"inputs": {"x": [[1]], "y": [[1.5, 2]]}}': "y",
    b'{"inputs": {"x": [[1]], "y": [[1, 2]]}, "top": 0}': "top is 0",
}


@pytest.mark.parametrize("body", list(WRONG))
def test_a_body_that_does_not_fit_the_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(BundleError, match=WRONG[body]) as caught:
        read(body)
    assert caught.value.hint


def test_what_is_not_json_is_malformed_and_files_are_refused() -> None:
    with pytest.raises(MalformedError):
        read(b'{"inputs": {"x": [[NaN]]}}')
    with pytest.raises(BundleError, match="this bundle takes x: float32"):
        model().read_files([("a.png", b"")])


@pytest.mark.slow
def test_a_server_answers_as_predict_does_at_any_size_and_refuses_bad_requests(
    server: Server, bundle: Path, tmp_path: Path
) -> None:
    arrays = {"image": np.pad(IMAGES[:3], ((0, 0), (0, 0), (0, 4), (0, 1))), "meta": META[:3]}
    np.savez(tmp_path / "new.npz", **arrays)
    known = [row.as_json() for row in regplug.predict(bundle, tmp_path / "new.npz").rows]
    status, answer = server.predict({"inputs": {name: array.tolist() for name, array in arrays.items()}})
    assert (status, answer["task"]) == (200, "classification")
    for got, want in zip(answer["predictions"], known, strict=True):
        assert got["label"] == want["label"]
        assert np.allclose(got["outputs"]["embedding"], want["outputs"]["embedding"], atol=1e-6)
    status, refused = server.predict({"inputs": {"image": arrays["image"].tolist()}})
    assert (status, "lacks the input 'meta'" in refused["error"]["message"]) == (422, True)
    assert server.ask("POST", "/predict", *form_of({"x.png": b""}))[0] == 422
    assert server.ask("POST", "/predict", b"{")[0] == 400
    assert json.loads(server.ask("GET", "/metadata")[1])["manifest"]["inputs"][1]["name"] == "meta"


@pytest.mark.slow
def test_answers_to_many_requests_of_different_sizes_are_not_mixed_up(server: Server) -> None:
    def inputs(size: int) -> dict[str, Any]:
        return {"image": np.full((1, 3, size, size), size, np.uint8).tolist(), "meta": META[:1].tolist()}

    async def asked(size: int) -> dict[str, Any]:
        client = Client(server.port)
        _, answer = await client.ask("POST", "/predict", json.dumps({"inputs": inputs(size)}).encode())
        client.close()
        outputs: dict[str, Any] = json.loads(answer)["predictions"][0]["outputs"]
        return outputs

    async def together() -> list[dict[str, Any]]:
        return await asyncio.gather(*map(asked, SIZES))

    alone = [asyncio.run(asked(size)) for size in SIZES]
    assert len({tuple(one["embedding"]) for one in alone}) == len(SIZES)
    assert asyncio.run(together()) == alone


def of_one_image(channels: int = 3) -> NamedModel:
    """One image of any size, and its mean as output."""
    part = InputPart(
        name="image",
        layout="image",
        dtype=np.dtype("uint8"),
        shape=(channels, "height", "width"),
        range=(0.0, 255.0),
    )
    axes = tuple(Axis(name=name, least=2, most=9, checked=(8, 4)) for name in ("height", "width"))
    outputs = (OutputPart(name="mean", shape=(), checked=((), ())),)
    return dataclasses.replace(
        model(),
        signature=Signature(inputs=(part,), outputs=outputs, axes=axes),
        named_run=lambda arrays: {"mean": arrays["image"].mean((1, 2, 3))},
    )


def png(value: int, height: int = 5, width: int = 4) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_image_files_and_images_in_base64_are_read_if_an_image_is_the_only_input() -> None:
    served = of_one_image()
    files = served.read_files([("a.png", png(7)), ("b.png", png(9))])
    texts = [base64.b64encode(png(value)).decode() for value in (7, 9)]
    body = json.dumps({"images": texts, "top": 1}).encode()
    images = served.read_json(body)
    for asked in (files, images):
        assert asked.rows.arrays["image"].shape == (2, 3, 5, 4)
        assert served.compute(asked.rows)[0].tolist() == [{"mean": 7.0}, {"mean": 9.0}]
    assert (list(files.sources), list(images.sources), images.top) == (["a.png", "b.png"], ["", ""], 1)
    assert not served.is_quick_to_read(body), "an image takes longer to read than the event loop may wait"
    assert served.is_quick_to_read(b'{"inputs": {}}')
    assert model().is_quick_to_read(body)


WRONG_FILES: dict[str, tuple[list[tuple[str, bytes]], str]] = {
    "no file": ([], "no file"),
    "no image": ([("a.png", b"?")], "a.png cannot be read as an image: it is not an image"),
    "too large": ([("a.png", png(0, 12, 4))], "12 along the axis 'height'; 2 to 9 is allowed"),
    "two sizes": ([("a.png", png(0)), ("b.png", png(0, 6, 4))], "a.png has 4 x 5, b.png has 4 x 6"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_image_files_that_do_not_fit_are_refused(case: str) -> None:
    files, words = WRONG_FILES[case]
    with pytest.raises(BundleError, match=words) as caught:
        of_one_image().read_files(files)
    assert caught.value.hint


def test_the_error_for_files_says_what_to_send_instead() -> None:
    with pytest.raises(BundleError, match="only if an image is the only input") as caught:
        model().read_files([("a.png", png(0))])
    assert '{"inputs": {"x": [row, row], "y": [row, row]}}' in str(caught.value.hint)
    for body in (b'{"images": []}', b'{"images": ["?"]}', b'{"images": [3]}', b'{"images": {}}'):
        with pytest.raises(BundleError, match=r"images is empty|not base64|images is not a list"):
            of_one_image().read_json(body)
    with pytest.raises(BundleError, match="unknown keys: images"):
        read({"images": []})

"""A verified bundle is served by a process without torch; many clients at once get their own answers."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_calls import Terminal
from made_bundles import image_request, images, onnx_only, row_request, rows
from PIL import Image
from serving_calls import JSON_TYPE, Client, Server, form_of, serving

import regplug
from regplug.bundles.calibration.answers import softmax
from regplug.bundles.inputs import InputForm
from regplug.bundles.layout import read_manifest, write_checksums
from regplug.bundles.opening import open_file
from regplug.bundles.writing import write_bundle
from regplug.errors import BundleError
from regplug.serving.app import make_app
from regplug.serving.batching import MOST_ROWS, Batcher, OverloadedError
from regplug.serving.bodies import MalformedError, read_json_body
from regplug.serving.single import SingleModel
from regplug.tables.preparation import Column, Fitted, Preparation

NEEDED = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
CLIENTS, REQUESTS = 64, 20


@pytest.fixture(scope="module", autouse=True)
def _libraries() -> None:
    for name in NEEDED:
        pytest.importorskip(name, reason=f"{name} is not installed: pip install -e .[serve]")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    made = {"rows": row_request(formats=onnx_only()), "images": image_request(formats=onnx_only())}
    return {name: write_bundle(request, folder / name).path for name, request in made.items()}


@pytest.fixture(scope="module")
def row_server(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(bundles["rows"], tmp_path_factory.mktemp("server"), "--max-body-mib", 1) as server:
        yield server


def form(**changes: Any) -> InputForm:
    standard = {"name": "input", "layout": "row", "dtype": np.dtype("float32"), "shape": (2,), "range": None}
    return InputForm(**{**standard, "columns": ("a", "b"), **changes})


def read(document: Any, **changes: Any) -> Any:
    return read_json_body(document if isinstance(document, bytes) else json.dumps(document).encode(), form(**changes))


def test_rows_are_read_by_name_in_any_order_and_arrays_by_place() -> None:
    named = read({"rows": [{"b": 2, "a": 1.5, "c": 0}], "top": 2})
    assert (named.rows.tolist(), named.rows.dtype, named.top) == ([[1.5, 2.0]], np.float32, 2)
    assert "ignored: c" in named.notes[0]
    assert read({"inputs": [[1, 2], [3, 4]]}).rows.tolist() == [[1, 2], [3, 4]]
    assert read({"inputs": [1, 2]}).rows.tolist() == [[1, 2]]


def test_columns_that_are_ignored_are_named_of_all_rows() -> None:
    asked = read({"rows": [{"a": 1, "b": 2, "c": 0}, {"a": 1, "b": 2, "d": 0}]})
    assert asked.notes == ("rows: columns that the model does not take are ignored: c, d.",)


def prepared(*categories: str) -> InputForm:
    """A table of a category and a number."""
    flag = Column(name="flag", kind="category", categories=categories)
    columns = (Fitted(column=flag), Fitted(column=Column(name="age", kind="number")))
    return form(columns=("flag", "age"), preparation=Preparation(columns=columns))


@pytest.mark.parametrize(
    "categories", [("false", "true"), ("False", "True"), ("FALSE", "TRUE"), ("False", "True", "false", "true")]
)
def test_truth_values_count_as_the_categories_of_the_training_table(categories: tuple[str, ...]) -> None:
    body = json.dumps({"rows": [{"flag": False, "age": 1}, {"flag": True, "age": 1}]}).encode()
    asked = read_json_body(body, prepared(*categories))
    assert asked.rows[:, :-1].argmax(1).tolist() == [len(categories) - 2, len(categories) - 1]
    assert asked.notes == ()


def test_truth_values_that_are_no_category_are_told_as_json_has_them() -> None:
    asked = read_json_body(b'{"rows": [{"flag": false, "age": 1}]}', prepared("no", "yes"))
    assert "flag has 'false', rare or not seen in training" in asked.notes[0]
    with pytest.raises(BundleError, match=r"^rows\[1\], column 'age': 'true' is not a number"):
        read_json_body(b'{"rows": [{"flag": "no", "age": 1}, {"flag": "no", "age": true}]}', prepared("no", "yes"))


def test_an_answer_is_the_document_of_predict_with_the_promised_coverage() -> None:
    conformal = {"kind": "conformal", "coverage": 0.9, "thresholds": [0.3]}
    manifest = {"task": "classification", "class_names": ["cat", "dog"], "calibration": conformal}
    model = SingleModel(manifest=manifest, digest="", passes=0, is_batched=True, form=form(), run=lambda rows: rows)
    asked = read({"inputs": [[0.75, 0.25]], "top": 1})
    top = {"label": "cat", "probability": 0.75}
    assert model.document(asked, *model.compute(asked.rows)) == {
        "task": "classification",
        "predictions": [{"row": 0, **top, "top": [top], "set": ["cat"]}],
        "notes": [],
        "coverage": 0.9,
    }


WRONG = {
    b"[1]": "not a JSON object",
    b"{}": "exactly one of",
    b'{"rows": [], "inputs": []}': "exactly one of",
    b'{"inputs": [[1, 2]], "topp": 1}': "unknown keys: topp",
    b'{"inputs": [[1, 2]], "top": 0}': "top is 0",
    b'{"inputs": [[1, 2]], "top": true}': "top is True",
    b'{"inputs": 3}': "inputs is not a list",
    b'{"inputs": []}': "inputs is empty",
    b'{"inputs": [[1, 2], [1]]}': "inputs is not an array",
    b'{"inputs": [[1, "2"]]}': "more than numbers",
    b'{"inputs": [[1, null]]}': "more than numbers",
    b'{"inputs": [[1, 2, 3]]}': "inputs has shape",
    b'{"inputs": [[1, 1e999]]}': "NaN or infinity",
    b'{"rows": [{"a": 1}]}': r"rows\[0\] lacks the column b",
    b'{"rows": [{"a": 1, "b": 2}, 3]}': r"rows\[1\] is not an object",
    b'{"rows": [{"a": 1, "b": "x"}]}': '"x" is not a number',
    b'{"rows": [{"a": 1, "b": true}]}': r"rows\[0\], column 'b': true is not a number",
    b'{"rows": [{"a": 1, "b": null}]}': "null is not a number",
    b'{"images": ["AAAA"]}': "is an image",
    b'{"images": [3]}': "is not base64",
}


@pytest.mark.parametrize("body", WRONG)
def test_an_input_that_does_not_fit_is_told(body: bytes) -> None:
    with pytest.raises(BundleError, match=WRONG[body]):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"inputs": [[NaN]]}',
        b'{"rows": [{"a": 1, "a": 2}]}',
        b"[" * 100_000,
        b"9" * 5000,
        b"-" + b"9" * 400,
    ],
    ids=map(str, range(8)),
)
def test_a_body_that_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        read(body)


def test_an_image_is_refused_by_its_size_before_it_is_unpacked() -> None:
    content = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(content, "PNG")
    wanted = {"layout": "image", "dtype": np.dtype("uint8"), "shape": (1, 8, 8), "columns": ()}
    with pytest.raises(BundleError, match="12000 x 12000 pixels"):
        read({"images": [base64.b64encode(content.getvalue()).decode()]}, **wanted)


@pytest.mark.parametrize(
    ("layout", "body", "is_quick"),
    [
        ("image", b'{"inputs": [[1, 2]]}', True),
        ("image", b'{"images": ["iVBO"]}', False),
        ("image", rb'{"\u0069mages": ["iVBO"]}', False),
        ("image", '{"images": ["iVBO"]}'.encode("utf-16"), False),
        ("row", b'{"rows": [{"images": 1}]}', True),
    ],
)
def test_only_images_in_base64_are_read_outside_the_event_loop(layout: Any, body: bytes, is_quick: bool) -> None:
    model = SingleModel(
        manifest={}, digest="", passes=0, is_batched=True, form=form(layout=layout), run=lambda rows: rows
    )
    assert model.is_quick_to_read(body) is is_quick


def batched(jobs: list[np.ndarray], *, is_batched: bool = True, compute: Any = None) -> tuple[list[Any], list[int]]:
    """The results of requests that arrive together, and the sizes of the batches."""
    sizes: list[int] = []

    def double(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return part * 2, part * 0

    async def all_of_them() -> list[Any]:
        batcher = Batcher(compute or double, is_batched=is_batched, observe=sizes.append)
        batcher.start()
        results = await asyncio.gather(*(batcher.submit(job) for job in jobs), return_exceptions=True)
        await batcher.close()
        return results

    return asyncio.run(all_of_them()), sizes


def test_requests_that_wait_share_a_batch_and_get_their_own_rows() -> None:
    jobs = [np.full((1 + at % 3, 2), float(at)) for at in range(40)]
    results, sizes = batched(jobs)
    assert all(
        (result[0] == job * 2).all() and len(result[0]) == len(job) for result, job in zip(results, jobs, strict=True)
    )
    assert len(sizes) == 1
    alone, sizes = batched(jobs, is_batched=False)
    assert [len(result[0]) for result in alone] == sizes == [len(job) for job in jobs]
    (large,), sizes = batched([np.arange(2.0 * MOST_ROWS + 1)[:, None]])
    assert sizes == [MOST_ROWS, MOST_ROWS, 1]
    assert large[0][-1, 0] == 4.0 * MOST_ROWS


def test_a_request_that_fails_fails_alone() -> None:
    def compute(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if (part < 0).any():
            raise ValueError("negative")
        return part, part

    results, _ = batched([np.ones((1, 1)), -np.ones((1, 1)), np.ones((2, 1))], compute=compute)
    assert [type(result) for result in results] == [tuple, ValueError, tuple]


def test_a_client_that_hangs_up_in_its_body_is_no_failure_of_the_server() -> None:
    model: Any = SimpleNamespace(digest="d", manifest={"task": None}, compute=None, is_batched=True)
    app = make_app(model, most_bytes=100)
    messages = [{"type": "http.request", "body": b'{"inp', "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "root_path": ""}
    asyncio.run(app(scope | {"headers": [(b"content-type", b"application/json")]}, receive, send))
    assert sent[0]["status"] == 499


def test_more_rows_than_can_wait_are_refused() -> None:
    results, _ = batched([np.ones((10_000, 1))] * 4)
    assert [type(result) is OverloadedError for result in results] == [False, True, True, True]


@pytest.mark.slow
def test_a_request_to_serve_that_is_wrong_is_refused_at_once(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal(capsys)
    for options, words in {
        ("--port", "70000"): "is not a port",
        ("--max-body-mib", "0"): "admits no request",
        ("--host", "203.0.113.7"): "cannot listen on 203.0.113.7",
        ("--port", "0", "--passes", "5"): "is not stochastic",
        ("--port", "0", "--tracking-uri", "x"): "has no effect without --run",
    }.items():
        said = terminal("serve", bundles["rows"], *options)
        assert (said.code, words in said.err) == (2, True), said.err
    said = terminal("serve", tmp_path)
    assert (said.code, "is not a bundle" in said.err) == (2, True)


@pytest.mark.slow
def test_a_bundle_that_does_not_verify_is_not_served(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = shutil.copytree(bundles["rows"], tmp_path / "forged")
    with np.load(forged / "sample_output.npz") as known:
        np.savez(forged / "sample_output.npz", **{name: known[name] + (name == "logits") for name in known.files})
    write_checksums(forged)
    said = Terminal(capsys)("serve", forged, "--port", "0")
    assert said.code == 1
    assert "is not served: " in said.err
    assert "checks failed" in said.err


BAD: tuple[tuple[int, bytes, str], ...] = (
    (400, b'{"inputs": [[1, 2', JSON_TYPE),
    (422, b'{"inputs": [[1, 2]]}', JSON_TYPE),
    (422, b'{"rows": [{"a": 1, "b": 2, "c": "?", "d": 4}]}', JSON_TYPE),
    (415, b"a=1", "application/x-www-form-urlencoded"),
    (413, b" " * (2**20 + 1), JSON_TYPE),
)


async def client_of(number: int, port: int, expected: Any) -> list[str]:
    """Sends requests of its own rows, of which one in five is wrong; returns what was wrong with the answers."""
    client, generator, faults = Client(port), np.random.default_rng(number), []
    for at in range(REQUESTS):
        if at % 5 == number % 5:
            status, body, kind = BAD[(at // 5 + number) % len(BAD)]
            found, answer = await client.ask("POST", "/predict", body, kind)
            if found != status or not json.loads(answer)["error"]["message"]:
                faults.append(f"client {number}: {found} for {body[:40]!r}: {answer[:200]!r}")
            continue
        own = generator.normal(5, 2, (1 + at % 4, 4)).astype(np.float32)
        found, answer = await client.ask("POST", "/predict", json.dumps({"inputs": own.tolist(), "top": 3}).encode())
        names = ("iris", "rose", "tulip")
        got = [{one["label"]: one["probability"] for one in row["top"]} for row in json.loads(answer)["predictions"]]
        if found != 200 or not np.allclose([[row[name] for name in names] for row in got], expected(own), atol=1e-5):
            faults.append(f"client {number}, request {at}: {found} {answer[:200]!r}")
    client.close()
    return faults


@pytest.mark.slow
def test_sixty_four_clients_with_one_bad_request_in_five_lose_no_answer_and_mix_none_up(
    row_server: Server, bundles: dict[str, Path], tell: Any
) -> None:
    run = open_file(bundles["rows"]).run()

    async def all_of_them() -> list[list[str]]:
        return await asyncio.gather(
            *(client_of(number, row_server.port, lambda x: softmax(run(x))) for number in range(CLIENTS))
        )

    assert [fault for faults in asyncio.run(all_of_them()) for fault in faults] == []
    text = row_server.ask("GET", "/metrics")[1].decode()
    counted = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    good = CLIENTS * REQUESTS * 4 // 5
    assert float(counted['regplug_requests_total{path="/predict",status="200"}']) >= good
    batches = float(counted["regplug_batch_rows_count"])
    tell(f"{good} good requests of 64 clients in {batches:.0f} batches")
    assert batches < good
    assert row_server.log.read_text().count("\n") == 1, row_server.log.read_text()


@pytest.mark.slow
def test_the_server_imports_no_torch_and_tells_about_itself(row_server: Server, bundles: dict[str, Path]) -> None:
    mapped = Path(f"/proc/{row_server.process.pid}/maps").read_text()
    assert "onnxruntime" in mapped
    assert "libtorch" not in mapped
    status, health = row_server.ask("GET", "/health")
    assert (status, json.loads(health)["status"]) == (200, "ok")
    metadata = json.loads(row_server.ask("GET", "/metadata")[1])
    assert metadata["manifest"] == read_manifest(bundles["rows"])
    assert metadata["limits"] == {"max_body_bytes": 2**20}
    assert row_server.ask("GET", "/nothing")[0] == 404
    assert row_server.ask("GET", "/predict")[0] == 405
    assert row_server.predict({"rows": [dict(zip("dcba", range(4), strict=True))]})[0] == 200


@pytest.mark.slow
def test_images_are_predicted_from_forms_and_base64_as_from_files(bundles: dict[str, Path], tmp_path: Path) -> None:
    contents = {}
    for at, pixels in enumerate(images(3)):
        Image.fromarray(pixels[0]).save(tmp_path / f"{at}.png")
        contents[f"{at}.png"] = (tmp_path / f"{at}.png").read_bytes()
    document = regplug.predict(bundles["images"], sorted(tmp_path.glob("*.png"))).as_json()
    known = document["predictions"]
    with serving(bundles["images"], tmp_path) as server:
        _, as_text = server.predict({"images": [base64.b64encode(one).decode() for one in contents.values()]})
        status, body = server.ask("POST", "/predict", *form_of(contents))
        no_image = server.ask("POST", "/predict", *form_of({"x.png": b"no image"}))
        array = server.predict({"inputs": images(3).tolist()})[1]
    as_form = json.loads(body)["predictions"]
    assert set(json.loads(body)) == set(document)
    assert (status, [one["source"] for one in as_form]) == (200, [*contents])
    for got in (as_form, as_text["predictions"], array["predictions"]):
        assert [one["label"] for one in got] == [one["label"] for one in known]
        assert np.allclose([one["probability"] for one in got], [one["probability"] for one in known], atol=1e-6)
    assert (no_image[0], "cannot be read as an image" in no_image[1].decode()) == (422, True)


@pytest.mark.slow
def test_a_server_that_is_asked_to_end_answers_what_has_begun(bundles: dict[str, Path], tmp_path: Path) -> None:
    body = json.dumps({"inputs": rows(3).tolist()}).encode()

    async def late(server: Server) -> tuple[int, bytes]:
        client = Client(server.port)
        await client.ask("POST", "/predict", body)
        await client.begin("POST", "/predict", len(body))
        await asyncio.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset: nobody new is served
            await Client(server.port).ask("GET", "/health")
        answer = await client.finish(body)
        client.close()
        return answer

    with serving(bundles["rows"], tmp_path) as server:
        status, answer = asyncio.run(late(server))
        assert (status, len(json.loads(answer)["predictions"])) == (200, 3)
        assert server.process.wait(60) == 0

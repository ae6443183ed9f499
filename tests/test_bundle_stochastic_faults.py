"""What was changed in a bundle whose dropout is live is found when it is verified."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_bundles import row_request
from made_stochastic import all_three, network
from onnx import helper, numpy_helper
from torch import nn

from regplug.bundles.layout import write_checksums
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle

pytestmark = pytest.mark.slow  # each test exports, or starts processes


def failed(bundle: Path) -> set[str]:
    return {check.name for check in verify_bundle(bundle).failures}


def nodes_of(model: Any, kind: str) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == kind]


def constant_behind(model: Any, drawn: str, steps: int) -> Any:
    """The constant of the node so many steps behind a draw."""
    name = drawn
    for _ in range(steps):
        node = next(node for node in model.graph.node if name in node.input)
        name = node.output[0]
    return next(item for item in model.graph.initializer if item.name in node.input)


def rate_altered(model: Any) -> None:
    constant = constant_behind(model, nodes_of(model, "RandomUniformLike")[0].output[0], 1)
    constant.CopyFrom(numpy_helper.from_array(np.float32(0.41).reshape(()), constant.name))


def scale_missing(model: Any) -> None:
    constant = constant_behind(model, nodes_of(model, "RandomUniformLike")[1].output[0], 3)
    constant.CopyFrom(numpy_helper.from_array(np.float32(1).reshape(()), constant.name))


def mask_shared(model: Any) -> None:
    """One mask for all rows of a batch."""
    node = nodes_of(model, "RandomUniformLike")[0]
    for name, value in (("from", 0), ("to", 1), ("axis", 0)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    first = helper.make_node("Slice", [node.input[0], "from", "to", "axis"], ["first_row"])
    node.input[0] = "first_row"
    place = next(i for i, one in enumerate(model.graph.node) if one.output == node.output)
    model.graph.node.insert(place, first)


def layer_not_live(model: Any) -> None:
    """The second dropout as a runtime's optimiser would have it: the identity."""
    draw = nodes_of(model, "RandomUniformLike")[1]
    name, seen = draw.output[0], [draw]
    while True:
        node = next(node for node in model.graph.node if name in node.input)
        seen.append(node)
        if node.op_type == "Mul" and len(seen) == 5:
            break
        name = node.output[0]
    data = next(value for value in seen[-1].input if value != seen[-2].output[0])
    kept = [node for node in model.graph.node if node not in seen]
    for node in kept:
        node.input[:] = [data if value == seen[-1].output[0] else value for value in node.input]
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def seed_planted(model: Any) -> None:
    nodes_of(model, "RandomUniformLike")[0].attribute.append(helper.make_attribute("seed", 1.0))


def range_altered(model: Any) -> None:
    for attribute in nodes_of(model, "RandomUniformLike")[0].attribute:
        if attribute.name == "high":
            attribute.f = 1.2


def normal_numbers(model: Any) -> None:
    node = nodes_of(model, "RandomUniformLike")[0]
    del node.attribute[:]
    node.op_type = "RandomNormalLike"


def weight_nudged(model: Any) -> None:
    weight = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    array = numpy_helper.to_array(weight).copy()
    array.flat[0] += 1e-4
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))


MUTATIONS: list[tuple[Callable[[Any], None], set[str]]] = [
    (rate_altered, {"rates", "noise_given"}),
    (scale_missing, {"noise_given", "mean"}),
    (mask_shared, {"masks", "rows_independent"}),
    (layer_not_live, {"layers_live", "noise_given", "spread"}),
    (range_altered, {"masks"}),
    (weight_nudged, {"noise_off.numbers", "noise_given"}),
]


@pytest.mark.parametrize(("plant", "names"), MUTATIONS, ids=[plant.__name__ for plant, _ in MUTATIONS])
def test_a_fault_planted_into_the_noise_is_found_though_checksums_hold(
    live_copy: Path, plant: Callable[[Any], None], names: set[str]
) -> None:
    model = onnx.load(live_copy / "model.onnx")
    plant(model)
    onnx.save(model, live_copy / "model.onnx")
    write_checksums(live_copy)
    found = failed(live_copy)
    for level in ("all", "disabled"):
        told = {f"onnx.{name}.{level}" for name in names - {"noise_off.numbers"}}
        told |= {f"onnx.{name}.{level}.real" for name in names & {"noise_off.numbers"}}
        assert told <= found


@pytest.mark.parametrize("plant", [seed_planted, range_altered, normal_numbers, layer_not_live])
def test_a_graph_that_draws_otherwise_is_found_without_running_it(
    live_copy: Path, plant: Callable[[Any], None]
) -> None:
    model = onnx.load(live_copy / "model.onnx")
    plant(model)
    onnx.save(model, live_copy / "model.onnx")
    write_checksums(live_copy)
    assert "onnx.random_nodes" in failed(live_copy)


@pytest.mark.parametrize("other", ["quiet", "other rate", "fewer layers"])
def test_torchs_files_are_held_to_the_same(live_copy: Path, other: str, tmp_path: Path) -> None:
    net = network()
    if other == "other rate":
        net[2].p = 0.41
    if other == "fewer layers":
        net[5] = nn.Identity()
    formats = [form for form in all_three() if form[0] != "onnx"]
    made = write_bundle(row_request(net, stochastic=other != "quiet", formats=formats), tmp_path / "other").path
    for name in ("model.ts", "model.pt2"):
        shutil.copy(made / name, live_copy / name)
    write_checksums(live_copy)
    found = failed(live_copy)
    wanted = {"quiet": "layers_live", "other rate": "rates", "fewer layers": "layers_live"}[other]
    for form in ("torchscript", "pt2"):
        assert f"{form}.{wanted}.all" in found
        assert f"{form}.noise_off.numbers.all.real" not in found


def test_draws_that_are_lost_are_told(live_copy: Path) -> None:
    with np.load(live_copy / "sample_output.npz") as outputs:
        kept = {name: outputs[name] for name in outputs.files if not name.endswith(".live")}
    np.savez(live_copy / "sample_output.npz", **kept)
    write_checksums(live_copy)
    assert "samples.arrays" in failed(live_copy)

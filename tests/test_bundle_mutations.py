"""The verifier on trial: what share of planted faults it catches, and how often it cries wolf over sound models."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from architectures import KINDS, normalization, raw_inputs, request, trained
from made_bundles import both
from made_stochastic import all_three
from planted import MODULE_FAULTS, ONNX_FAULTS, OnnxFault
from random_networks import KINDS as RANDOM_KINDS
from random_networks import random_request
from rewriting import rewrite
from torch import nn
from trainings import _trainer, assembled
from trainings import trained as finished

from regplug.bundles.layout import write_checksums
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import RegplugError, VerificationError
from regplug.exporting import export_run
from regplug.regularization.settling import settle
from regplug.training.tensors import restore_tensors

TRIED = ("mlp", "cnn", "lenet", "residual", "unet", "transformer")
LEAST_FAULTS, LEAST_RANDOM = 60, 80
SAMPLE = 3 * len(RANDOM_KINDS)
"""Random networks of the slow tests: one of each kind in each of three formats."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A proven bundle of each architecture."""
    folder = tmp_path_factory.mktemp("sound")
    return {name: write_bundle(request(name, both()), folder / name).path for name in KINDS}


def is_caught(bundle: Path) -> bool:
    """Whether the verifier says no, though every checksum holds."""
    write_checksums(bundle)
    return not verify_bundle(bundle).passed


@pytest.mark.slow
def test_all_planted_faults_are_caught(sound: dict[str, Path], tmp_path: Path, tell: Any) -> None:
    outcomes: dict[str, bool] = {}
    for name in TRIED:
        for what, bundle in planted(name, sound[name], tmp_path):
            outcomes[f"{name}: {what}"] = is_caught(bundle)
            shutil.rmtree(bundle)
    missed = [name for name, caught in outcomes.items() if not caught]
    share = 1 - len(missed) / len(outcomes)
    tell(f"faults caught {len(outcomes) - len(missed)} / {len(outcomes)} ({100 * share:.1f} %), missed: {missed}")
    assert len(outcomes) >= LEAST_FAULTS
    assert not missed


def planted(name: str, bundle: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """A copy of a bundle for every fault that its network can have."""
    for number, (what, fault) in enumerate(ONNX_FAULTS.items()):
        faulty_model = with_fault(name, bundle / "model.onnx", fault, number)
        if faulty_model is not None:
            faulty = shutil.copytree(bundle, folder / "faulty")
            onnx.save(faulty_model, faulty / "model.onnx")
            yield f"{what} in ONNX", faulty
    for what, fault in MODULE_FAULTS.items():
        network = copy.deepcopy(trained(name))
        if fault(network) and is_another(name, network):
            faulty = shutil.copytree(bundle, folder / "faulty")
            rewrite(faulty, normalization(KINDS[name][1]), network, "model.ts")
            yield f"{what} in TorchScript", faulty
    network = copy.deepcopy(trained(name))
    if MODULE_FAULTS["running statistics replaced"](network):
        faulty = shutil.copytree(bundle, folder / "faulty")
        rewrite(faulty, normalization(KINDS[name][1]), network, "model.onnx")
        yield "running statistics replaced in ONNX", faulty


def with_fault(name: str, path: Path, fault: OnnxFault, number: int) -> Any:
    """A model with a fault that changes an output; a weight before a ReLU that is always 0 would not."""
    x = raw_inputs(KINDS[name][1], seed=99)
    for attempt in range(5):
        model = onnx.load(path)
        if not fault(model, np.random.default_rng(number + 100 * attempt)):
            return None
        if not np.array_equal(answers(model, x), answers(onnx.load(path), x)):
            return model
    return None


def answers(model: Any, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def is_another(name: str, network: nn.Module) -> bool:
    """Whether a fault changes any output; torch's fused attention, for one, never asks its dropout."""
    x = normalization(KINDS[name][1])(torch.from_numpy(raw_inputs(KINDS[name][1])))
    with torch.no_grad():
        return not torch.equal(network(x), trained(name)(x))


FIRST_PARTY = [
    (model, reg)
    for model in ("linear", "mlp:hidden=[16,12]", "cnn")
    for reg in ((), ("batchnorm",), ("dropout",), ("batchnorm", "dropout"), ("swa", "max_norm"))
    if model != "linear" or not {"batchnorm", "dropout"} & set(reg)
]


@pytest.mark.slow
def test_sound_models_raise_no_false_alarm(sound: dict[str, Path], tmp_path: Path, tell: Any) -> None:
    makers = {
        f"{model} {'+'.join(reg)}": partial(export_first_party, model, reg, tmp_path / "b")
        for model, reg in FIRST_PARTY
    }
    makers |= {f"{name} again": partial(require_verified, path) for name, path in sound.items()}
    refused = refusals(makers)
    tell(f"false alarms {len(refused)} in {len(makers)} sound models")
    assert not refused


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(SAMPLE), marks=pytest.mark.slow, id="sample"),
        pytest.param(range(SAMPLE, LEAST_RANDOM), marks=pytest.mark.full, id="others"),
    ],
)
def test_random_sound_networks_raise_no_false_alarm(seeds: range, tmp_path: Path, tell: Any) -> None:
    forms = all_three()
    makers = {
        f"random network {seed}": partial(
            export_and_verify, seed, [forms[seed // len(RANDOM_KINDS) % 3]], tmp_path / "b"
        )
        for seed in seeds
    }
    refused = refusals(makers)
    tell(f"false alarms {len(refused)} in {len(makers)} random networks")
    assert not refused


def refusals(makers: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    """What is raised for a sound model, by its name."""
    refused: dict[str, str] = {}
    for name, make in makers.items():
        try:
            make()
        except RegplugError as error:
            refused[name] = str(error)
    return refused


def export_and_verify(seed: int, forms: Sequence[Any], out: Path) -> None:
    require_verified(write_bundle(random_request(seed, forms), out).path)


def require_verified(path: Path) -> None:
    failures = verify_bundle(path).failures
    if failures:
        raise VerificationError("; ".join(map(str, failures)))


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Bytes of noise, 12 x 12, in which a bright band tells the class."""
    x, y = np.random.default_rng(0).integers(0, 128, (160, 1, 12, 12), np.uint8), np.arange(160) % 3
    for label in range(3):
        x[y == label, :, 4 * label : 4 * label + 4] += 127
    return x, y


def export_first_party(model: str, reg: tuple[str, ...], out: Path) -> None:
    made = assembled(dataset=pictures(), model=model, reg=reg, epochs=2, format=("onnx",))
    trainer = finished(_trainer([made], stacked=False))[0]
    restore_tensors(made.program.model, *trainer.tensors_of(0))
    export_run(made, settle(made.program.model, made.network.final_settings).eval(), run_id="", out=out)

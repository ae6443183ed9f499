"""The verifier on trial: what share of planted faults it catches, and how often it cries wolf over sound models."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from architectures import KINDS, normalization, raw_inputs, request, trained
from made_bundles import both, onnx_only
from planted import MODULE_FAULTS, ONNX_FAULTS
from torch import nn
from trainings import _trainer, assembled
from trainings import trained as finished

from regplug.bundles.capture import capture
from regplug.bundles.formats import Captured, Format
from regplug.bundles.isolate import Deployed
from regplug.bundles.layout import read_manifest, write_checksums
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import RegplugError
from regplug.exporting import export_run
from regplug.regularization.settling import settle
from regplug.training.tensors import restore_tensors

pytestmark = pytest.mark.slow

TRIED = ("mlp", "cnn", "lenet", "residual", "unet", "transformer")
LEAST_FAULTS, LEAST_SHARE, LEAST_SOUND = 40, 0.95, 30


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A proven bundle of each architecture."""
    folder = tmp_path_factory.mktemp("sound")
    return {name: write_bundle(request(name, both()), folder / name).path for name in KINDS}


def is_caught(bundle: Path) -> bool:
    """Whether the verifier says no, though every checksum holds."""
    write_checksums(bundle)
    return not verify_bundle(bundle).passed


def test_of_the_planted_faults_nearly_all_are_caught(sound: dict[str, Path], tmp_path: Path, tell: Any) -> None:
    outcomes: dict[str, bool] = {}
    for name in TRIED:
        for what, bundle in planted(name, sound[name], tmp_path):
            outcomes[f"{name}: {what}"] = is_caught(bundle)
            shutil.rmtree(bundle)
    missed = [name for name, caught in outcomes.items() if not caught]
    share = 1 - len(missed) / len(outcomes)
    tell(f"faults caught {len(outcomes) - len(missed)} / {len(outcomes)} ({100 * share:.1f} %), missed: {missed}")
    assert len(outcomes) >= LEAST_FAULTS
    assert share >= LEAST_SHARE, missed


def planted(name: str, bundle: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """A copy of a bundle for every fault that its network can have."""
    for number, (what, fault) in enumerate(ONNX_FAULTS.items()):
        model = onnx.load(bundle / "model.onnx")
        if fault(model, np.random.default_rng(number)):
            faulty = shutil.copytree(bundle, folder / "faulty")
            onnx.save(model, faulty / "model.onnx")
            yield f"{what} in ONNX", faulty
    for what, fault in MODULE_FAULTS.items():
        network = copy.deepcopy(trained(name))
        if fault(network) and is_another(name, network):
            faulty = shutil.copytree(bundle, folder / "faulty")
            rewrite(name, network, faulty, "model.ts")
            yield f"{what} in TorchScript", faulty
    network = copy.deepcopy(trained(name))
    if MODULE_FAULTS["running statistics replaced"](network):
        faulty = shutil.copytree(bundle, folder / "faulty")
        rewrite(name, network, faulty, "model.onnx")
        yield "running statistics replaced in ONNX", faulty


def is_another(name: str, network: nn.Module) -> bool:
    """Whether a fault changes any output; torch's fused attention, for one, never asks its dropout."""
    x = normalization(KINDS[name][1])(torch.from_numpy(raw_inputs(KINDS[name][1])))
    with torch.no_grad():
        return not torch.equal(network(x), trained(name)(x))


def rewrite(name: str, network: nn.Module, bundle: Path, filename: str) -> None:
    """Writes a faulty network as a file of a bundle, with the bundle's own manifest inside."""
    with np.load(bundle / "sample_input.npz") as samples:
        example = torch.from_numpy(samples["input"][:3])
    deployed = Deployed(normalization(KINDS[name][1]), network, False).eval().requires_grad_(False)
    program: Any = capture(deployed, example)[0] if filename == "model.onnx" else None
    answer = read_manifest(bundle)["output"]["name"]
    captured = Captured(module=deployed, program=program, example=example, input_name="input", output_name=answer)
    forms: dict[str, Format] = {file: form for _, file, form in both()}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        forms[filename].write(captured, bundle / filename, read_manifest(bundle))


FIRST_PARTY = [
    (model, reg)
    for model in ("linear", "mlp:hidden=[16,12]", "cnn")
    for reg in ((), ("batchnorm",), ("dropout",), ("batchnorm", "dropout"), ("swa", "max_norm"))
    if model != "linear" or not {"batchnorm", "dropout"} & set(reg)
]


def test_sound_models_raise_no_false_alarm(sound: dict[str, Path], tmp_path: Path, tell: Any) -> None:
    refused: dict[str, str] = {}
    makers = sound_models(tmp_path / "bundle")
    for name, make in makers.items():
        try:
            make()
        except RegplugError as error:
            refused[name] = str(error)
    for name, path in sound.items():
        failures = verify_bundle(path).failures
        if failures:
            refused[name] = str(failures)
    tried = len(makers) + len(sound)
    tell(f"false alarms {len(refused)} in {tried} sound models")
    assert tried >= LEAST_SOUND
    assert not refused, refused


def sound_models(out: Path) -> dict[str, Callable[[], object]]:
    """What makes a bundle of each of several trained models; it raises where the verifier says no."""
    seeds = {
        f"{name}, seed {seed}": partial(write_bundle, request(name, onnx_only(), seed=seed), out)
        for seed in (1, 2)
        for name in KINDS
        if (name, seed) != ("gru", 2)
    }
    ours = {f"{model} {'+'.join(reg)}": partial(export_first_party, model, reg, out) for model, reg in FIRST_PARTY}
    return {**seeds, **ours}


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

"""Every model trains one epoch on every dataset that it fits; a covering sample is exported and proven."""

from __future__ import annotations

import os

import pytest
from made_images import write_images, write_own_files

from regplug.config import RunConfig
from regplug.config.params import describe_params
from regplug.errors import DataError, ModelError
from regplug.registry import default_registry
from regplug.registry.components import find_components
from regplug.runs.assembly import assemble
from regplug.runs.loading import load_data, pools_of
from regplug.training.loop import Pools, Trainer

REGISTRY = default_registry()
MODELS = sorted(one.name for one in REGISTRY.components("model"))
DATASETS = sorted(
    one.name
    for one in REGISTRY.components("dataset")
    if not any(info.needed for info in describe_params(one.component.params))
)
OWN_FILES = ("images", "npz", "table")
SIDES = {"torchvision": "torchvision:name=squeezenet1_1,side=32"}
EXPORTED = [("lenet", "mnist"), ("resnet", "digits"), ("tabular_resnet", "wine"), ("ft_transformer", "iris"),
            ("gru", "adding"), ("polynomial", "noisy_line"), ("deep_mlp", "moons")]  # fmt: skip


def config_of(model, dataset):
    return RunConfig(
        model=SIDES.get(model, model), dataset=dataset, epochs=1, batch_size=8, lr=1e-3, train_rows=8, export=False
    )


@pytest.fixture(scope="module")
def loaded():
    """Data by name."""
    return {}


@pytest.fixture(scope="module")
def made_files(tmp_path_factory):
    """A folder of small files in the published form, for data sets whose own are not here."""
    return write_images(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def own_files(tmp_path_factory):
    """Files of a user's own, as texts for the field `dataset`, by the dataset that reads them."""
    written = write_own_files(tmp_path_factory.mktemp("own"))
    return {name: f"{name}:{','.join(map('='.join, written[name].items()))}" for name in OWN_FILES}


def data_of(dataset, loaded, made_files, monkeypatch):
    if dataset not in loaded:
        config = config_of("linear", dataset)
        components = find_components(config, REGISTRY)
        try:
            monkeypatch.setenv("REGPLUG_DATA_DIR", os.environ.get("REGPLUG_DATA_DIR") or str(made_files))
            loaded[dataset] = load_data(config, components)
        except DataError:
            monkeypatch.setenv("REGPLUG_DATA_DIR", str(made_files))
            loaded[dataset] = load_data(config, components)
    return loaded[dataset]


@pytest.mark.full
@pytest.mark.parametrize("dataset", [*DATASETS, *OWN_FILES])
@pytest.mark.parametrize("model", MODELS)
def test_each_model_trains_on_each_dataset_that_it_fits(model, dataset, loaded, made_files, own_files, monkeypatch):
    dataset = own_files.get(dataset, dataset)
    config, data = config_of(model, dataset), data_of(dataset, loaded, made_files, monkeypatch)
    try:
        made = assemble(config, find_components(config, REGISTRY), data)
    except ModelError as refusal:
        pytest.skip(refusal.message)
    train, valid, test = pools_of(data)
    trainer = Trainer(
        program=made.program,
        rule=made.rule,
        runs=[made.inputs],
        pools=Pools(train=train, valid=valid, test=test),
        course=made.course,
        places=made.network.places,
        stacked=False,
        probed=False,
    )
    (record,) = trainer.train()
    assert all(map(bool, record.active))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "dataset"), EXPORTED)
def test_a_covering_sample_is_exported_and_proven(model, dataset, place, loaded, made_files, monkeypatch):
    data_of(dataset, loaded, made_files, monkeypatch)
    monkeypatch.setenv("REGPLUG_DATA_DIR", os.environ.get("REGPLUG_DATA_DIR") or str(made_files))
    formats = ["onnx"] if model == "gru" else ["onnx", "torchscript"]
    result = place.run(
        model=model, dataset=dataset, epochs=1, batch_size=8, lr=1e-3, train_rows=8, export=True, format=formats
    )
    assert result.verification.passed

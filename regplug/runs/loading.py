"""A run's data: read or generated, normalised, and on the run's device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from regplug.api import DataContext
from regplug.config import Fold, RunConfig
from regplug.data import Prepared, RawData, prepare
from regplug.data.accepted import ACCEPTED, raw_from_any
from regplug.data.altering import alter_training, noisy_test_inputs
from regplug.data.folds import fold_data
from regplug.data.inputs import Inputs
from regplug.errors import DataError, ModelError, PluginError
from regplug.registry.components import Components
from regplug.training.state import Pool

DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}


def load_data(config: RunConfig, components: Components) -> Prepared:
    """Reads or generates the data, and normalises it.

    Raises:
        DataError: They cannot be read or do not fit.
    """
    dataset = components.dataset
    made = dataset.build(DataContext(data_seed=config.data_seed))
    raw = raw_from_any(made, seed=config.data_seed, name=dataset.registered.name)
    if raw is None:
        raise PluginError(
            f"The dataset {dataset.registered.name} ({dataset.registered.full_name}) returned a {type(made).__name__}.",
            hint=f"A dataset returns {ACCEPTED}.",
        )
    data = prepare_for(config, _folded(raw, config))
    check_batch_size(config, data)
    return data


def _folded(raw: RawData, config: RunConfig) -> RawData:
    if not config.fold:
        return raw
    fold = Fold.parse(config.fold)
    return fold_data(raw, fold=fold.index, folds=fold.count, repeat=fold.repeat, data_seed=config.data_seed)


def prepare_for(config: RunConfig, raw: RawData) -> Prepared:
    """Alters the training rows as configured, and normalises the data.

    Raises:
        DataError: They do not fit.
    """
    altered = alter_training(raw, train_rows=config.train_rows, label_noise=config.label_noise, seed=config.data_seed)
    return prepare(altered, dtype=DTYPES[config.dtype], device=find_device(config.device))


def noisy_inputs(datas: Sequence[Prepared], configs: Sequence[RunConfig]) -> list[Inputs]:
    """Returns the noisy test inputs of each run, if a run has asked for noise; equal ones are drawn once."""
    if not any(config.test_noise for config in configs):
        return []
    known: dict[tuple[str, float, int], Inputs] = {}
    for data, config in zip(datas, configs, strict=True):
        key = (data.digest, config.test_noise, config.data_seed)
        if key not in known:
            known[key] = noisy_test_inputs(data, config.test_noise, config.data_seed)
    return [known[d.digest, c.test_noise, c.data_seed] for d, c in zip(datas, configs, strict=True)]


def check_batch_size(config: RunConfig, data: Prepared) -> None:
    """Checks that a batch is not larger than the training split.

    Raises:
        DataError: It is.
    """
    if config.batch_size > len(data.train):
        raise DataError(
            f"batch_size={config.batch_size} is larger than the {len(data.train)} training rows of {data.raw.name}.",
            hint=f"Choose --batch-size {len(data.train)} or less.",
        )


def find_device(name: str) -> torch.device:
    """Returns the device for a configuration's `device`.

    Raises:
        ModelError: A GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ModelError(
            "device=cuda was requested, but torch finds no GPU.", hint="Use --device cpu or --device auto."
        )
    return torch.device("cuda" if has_gpu and name in ("cuda", "auto") else "cpu")


def pools_of(data: Prepared) -> tuple[Pool, Pool | None, Pool]:
    """Returns the training, validation and test rows in the form that the loop takes."""
    valid = None if data.valid is None else Pool(x=data.valid.x, y=data.valid.y)
    return Pool(x=data.train.x, y=data.train.y), valid, Pool(x=data.test.x, y=data.test.y)

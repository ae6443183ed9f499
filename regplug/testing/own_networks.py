"""A model that is named on the command line, as a network for the kit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from regplug.config import RunConfig
from regplug.errors import RequestError
from regplug.registry import Registry
from regplug.runs.loading import load_data
from regplug.runs.network import build_model
from regplug.runs.request import check_request
from regplug.testing.bench import Network


def networks_of_models(models: Sequence[str], dataset: str, registry: Registry) -> dict[str, Network]:
    """Returns a network for each model, by how it is written, built as a run on the dataset builds it.

    Args:
        models: Models as a user writes them, such as `./net.py:Net`.
        dataset: The dataset whose inputs and classes they are for.
        registry: What is installed.

    Raises:
        RequestError: One cannot be found or built, or is named twice.
    """
    if len(set(models)) < len(models):
        twice = next(text for text in models if models.count(text) > 1)
        raise RequestError(f"--model names {twice} twice.", hint="Name each model once.")
    return {text: _network(text, dataset, registry) for text in models}


def _network(model: str, dataset: str, registry: Registry) -> Network:
    config = RunConfig(model=model, dataset=dataset, batch_size=1, export=False)
    request = check_request(config, registry, writes=False)
    config, components = request.config, request.components
    data = load_data(config, components)

    def make() -> nn.Module:
        seed = int(torch.randint(2**31, ()))
        return build_model(replace(config, seed=seed), components, data)

    with torch.random.fork_rng(devices=[]):
        make()  # what is wrong with it is said now
    return Network(make=make, input_shape=tuple(data.train.x.shape[1:]), num_outputs=data.task.num_outputs)

"""Trained weights for torchvision's classifiers, and which parameters stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from regplug.errors import ModelError, ParameterError, did_you_mean, some_of

_COLOURS = 3


def load_weights(network: nn.Module, name: str, weights: str) -> None:
    """Copies trained weights into a network of this architecture.

    The output layer stays as it is where the number of classes differs. Where the number of input channels differs, the
    first convolution gets the mean of its kernels over the channels, scaled so that a grey image gives what it gives as
    three equal channels.

    Args:
        network: For the dataset's channels and classes.
        name: Of the architecture.
        weights: `default`, a name of torchvision's weights for it, or the path of a file with a state_dict.

    Raises:
        ModelError: They could not be downloaded or read, or are another network's.
        ParameterError: There is no such file and torchvision has no weights of that name.
    """
    given, own = _state_of(name, weights), network.state_dict()
    copied: dict[str, Tensor] = {}
    unfit = []
    for key, value in own.items():
        found = given.get(key)
        if found is not None and found.shape == value.shape:
            copied[key] = found
        elif found is not None and _are_stems(found, value):
            scale = found.shape[1] / value.shape[1]
            copied[key] = (found.mean(1, keepdim=True) * scale).expand_as(value)
        elif found is None or found.shape[1:] != value.shape[1:]:
            unfit.append(key)
    if unfit:
        raise ModelError(
            f"The weights {weights} are not those of torchvision's {name}: {some_of(unfit)} differ.",
            hint="Give the weights of this architecture, at the image size for which they were trained (side=).",
        )
    network.load_state_dict({**own, **copied})


def _are_stems(given: Tensor, own: Tensor) -> bool:
    """Whether the kernels differ in the number of input channels alone, and the trained ones take colours."""
    is_kernel = given.ndim == own.ndim == 4 and given.shape[1] == _COLOURS
    return is_kernel and len(given) == len(own) and given.shape[2:] == own.shape[2:]


def freeze(network: nn.Module, globs: Sequence[str]) -> None:
    """Marks parameters as not trained: those whose name, or whose module's name, matches a glob.

    Raises:
        ModelError: A glob matches nothing, or nothing is left to train.
    """
    names = [name for name, _ in network.named_parameters()]
    for glob in globs:
        matched = [name for name in names if fnmatchcase(name, glob) or fnmatchcase(name.rpartition(".")[0], glob)]
        if not matched:
            modules = dict.fromkeys(name.partition(".")[0] for name in names)
            raise ModelError(f"freeze={glob} names no parameter.", hint=f"Parts of the network: {some_of(modules)}.")
        for name in matched:
            network.get_parameter(name).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError(f"freeze={','.join(globs)} leaves nothing to train.", hint="Leave the output layer out.")


def _state_of(name: str, weights: str) -> Mapping[str, Tensor]:
    path = Path(weights).expanduser()
    if path.is_file():
        return _read(path)
    known = torchvision.models.get_model_weights(name)
    members = known.__members__
    if weights != "default" and weights not in members:
        raise ParameterError(
            f"weights={weights}: there is no such file, and torchvision has no weights of that name for {name}.",
            hint=did_you_mean(weights, ["default", *members]),
        )
    chosen = known.DEFAULT if weights == "default" else members[weights]
    try:
        state: Mapping[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"The weights {weights} of {name} could not be downloaded: {error}",
            hint=f"Download {chosen.url} by hand and give the file: weights=FILE.",
        ) from error
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise ModelError(
            f"{path} cannot be read as weights: {error}", hint="Give a file of torch.save(model.state_dict(), FILE)."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no state_dict.", hint="Give a file of torch.save(model.state_dict(), FILE).")
    return state

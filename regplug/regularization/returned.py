"""Checks what the functions of a regularizer return, and names class and function where it does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from torch import Tensor

from regplug.errors import PluginError
from regplug.regularizer import EpochEnd, Member, RegularizerFunctions, Tensors


class Returned:
    """One function of one regularizer, whose results it checks.

    Most functions are called at each step, so it compares types, lengths and names each time, and the shapes of
    parameters only the first time.

    Args:
        key: The regularizer's key in the run.
        functions: The regularizer.
        function: Name of the function.
    """

    __slots__ = ("_of", "_saw_shapes")

    def __init__(self, key: str, functions: RegularizerFunctions, function: str) -> None:
        self._of, self._saw_shapes = f"{key}: {function} of {type(functions).__name__}", False

    def pair(self, value: Any, wanted: str) -> tuple[Any, Any]:
        """Requires a pair; `wanted` says of what."""
        if not isinstance(value, tuple | list) or len(value) != 2:
            self._refuse(f"returns {_kind_of(value)}", f"Return a pair: {wanted}.")
        return value  # type: ignore[return-value] # of length 2

    def tensors(self, new: Any, own: Tensors, what: str) -> Tensors:
        """Requires one tensor for each name of the run's own, in any order; `what` is "parameters", say."""
        if new is own:
            return own  # type: ignore[no-any-return] # the same object
        if not _is_mapping(new):
            self._refuse(f"returns {_kind_of(new)} as {what}", f"Return a dict of {what} by name.")
        if new.keys() != own.keys():
            lacking, unknown = _listed(own.keys() - new.keys()), _listed(new.keys() - own.keys())
            parts = [lacking and f"lacks {lacking}", unknown and f"has the unknown {unknown}"]
            self._refuse(
                f"returns {what} by other names than it received: the result {' and '.join(filter(None, parts))}",
                f"Return all {what} under their own names, those that it leaves alone too.",
            )
        if not self._saw_shapes:
            self._saw_shapes = True
            self._require_shapes(new, own)
        return new  # type: ignore[no-any-return] # checked above

    def _require_shapes(self, new: Tensors, own: Tensors) -> None:
        for name, value in own.items():
            if not isinstance(new[name], Tensor) or new[name].shape != value.shape:
                self._refuse(
                    f"returns {_kind_of(new[name])} for {name}", f"Its shape is {tuple(value.shape)}, and stays so."
                )

    def state(self, state: Any) -> Tensors:
        """Requires a dict of tensors; without state, `None` is one as well."""
        if state is None:
            return {}
        if not _is_mapping(state):
            self._refuse(f"returns {_kind_of(state)} as state", _STATE_HINT)
        for name, value in state.items():
            if not isinstance(value, Tensor):
                self._refuse(f"returns {_kind_of(value)} for {name} of its state", _STATE_HINT)
        return state  # type: ignore[no-any-return] # checked above

    def batch(self, value: Any) -> tuple[Tensor, Tensor]:
        """Requires inputs and targets."""
        x, y = self.pair(value, "the inputs and the targets")
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            self._refuse(f"returns {_kind_of(x)} and {_kind_of(y)}", "Return two tensors: the inputs and the targets.")
        return x, y

    def rows(self, losses: Any, given: Tensor) -> Tensor:
        """Requires one loss for each row."""
        if not isinstance(losses, Tensor) or losses.shape != given.shape:
            self._refuse(
                f"returns {_kind_of(losses)}",
                f"Return the loss of each row, here of shape {tuple(given.shape)}; regplug takes their mean.",
            )
        return losses

    def scalar(self, value: Any) -> Tensor | None:
        """Requires a scalar tensor, a number or `None`."""
        if value is not None and (value.ndim if isinstance(value, Tensor) else not isinstance(value, int | float)):
            self._refuse(f"returns {_kind_of(value)}", "Return a scalar: reduce it with .sum() or .mean(); or None.")
        return value  # type: ignore[no-any-return] # checked above

    def loss(self, loss: Any) -> Any:
        """Requires a loss function."""
        if not callable(loss):
            self._refuse(f"returns {_kind_of(loss)}", "Return a function that calls the loss it received.")
        return loss

    def weight(self, weight: Any) -> Tensor:
        """Requires a weight."""
        if weight is None:
            self._refuse("returns None", "Return the weight itself where any value is allowed.")
        return weight  # type: ignore[no-any-return] # a function that returns another type fails by itself

    def epoch_end(self, end: Any, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Requires an `EpochEnd`."""
        if not isinstance(end, EpochEnd):
            self._refuse(f"returns {_kind_of(end)}", "Return EpochEnd(params, buffers, state).")
        self.member((end.params, end.buffers), params, buffers)
        self.state(end.state)
        return end

    def member(self, value: Any, params: Tensors, buffers: Tensors) -> Member:
        """Requires parameters and buffers."""
        own_params, own_buffers = self.pair(value, "the parameters and the buffers")
        return self.tensors(own_params, params, "parameters"), self.tensors(own_buffers, buffers, "buffers")

    def networks(self, finished: Any, params: Tensors, buffers: Tensors) -> Sequence[Member]:
        """Requires parameters and buffers, or a list of such pairs; returns the list."""
        is_sequence = isinstance(finished, tuple | list) and len(finished) > 0
        if not is_sequence or any(_is_mapping(each) for each in finished):
            finished = [self.pair(finished, "the parameters and the buffers; for an ensemble, a list of such pairs")]
        return [self.member(each, params, buffers) for each in finished]

    def _refuse(self, what: str, hint: str) -> NoReturn:
        """Raises the error; `what` continues the sentence after class and function."""
        raise PluginError(f"{self._of} {what}.", hint=hint)


_STATE_HINT = "The state is a dict of tensors by name; torch.tensor(0) is a number's."


def _is_mapping(value: Any) -> bool:
    # Compares the type itself first: isinstance with the abstract class costs more.
    return type(value) is dict or isinstance(value, Mapping)


def _kind_of(value: Any) -> str:
    """Returns what a value is, for a message."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    kind = type(value).__name__
    count = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}{count}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(str, names)))

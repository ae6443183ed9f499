"""How a module with several inputs or outputs is called, and which of its results are outputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from regplug.errors import ExportError, RequestError

Style: TypeAlias = Literal["single", "arguments", "dict"]
Key: TypeAlias = str | int | None
"""How an output is found: a key of a mapping, a place in a tuple, or `None` for the result itself."""

_FLOATS = "Return the logits or values themselves, as floats."


@dataclass(frozen=True, kw_only=True)
class Calling:
    """How a module is called.

    Args:
        inputs: Names of the inputs.
        style: `single`: with one tensor; `arguments`: with keyword arguments; `dict`: with one dict of all inputs.
        outputs: Names of the outputs and how each is found, in order; empty until the module has been called.
    """

    inputs: tuple[str, ...]
    style: Style
    outputs: tuple[tuple[str, Key], ...] = ()

    def call(self, module: nn.Module, tensors: Sequence[Tensor]) -> Any:
        """Calls the module with a tensor for each input."""
        if self.style == "single":
            return module(tensors[0])
        arrays = dict(zip(self.inputs, tensors, strict=True))
        return module(arrays) if self.style == "dict" else module(**arrays)

    def parts(self, result: Any, rows: int) -> list[Tensor]:
        """Returns the outputs in a result.

        Raises:
            ExportError: One is not a tensor of floats with a row for each row of the inputs.
        """
        return [_require_part(name, _found(name, key, result), rows) for name, key in self.outputs]


def style_of(module: nn.Module, names: Sequence[str], *, is_single: bool) -> Style:
    """Returns how a module takes inputs with these names.

    Args:
        module: The module.
        names: Names of the inputs.
        is_single: Whether a tensor was given instead of a mapping.

    Raises:
        RequestError: Its forward has neither these arguments nor one for a dict.
    """
    if is_single:
        return "single"
    try:
        known = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return "arguments"
    named = [one.name for one in known if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [one.name for one in known if one.default is one.empty and one.name in named]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in known)
    unknown = [name for name in names if name not in named]
    if (not unknown or takes_any) and set(needed) <= set(names):
        return "arguments"
    if len(unknown) == len(names) and len(needed) <= 1 and any(one.kind is not one.KEYWORD_ONLY for one in known):
        return "dict"
    missing = [name for name in needed if name not in names]
    told = [f"it has no argument {', '.join(unknown)}"] if unknown else []
    told += [f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
    raise RequestError(
        f"{type(module).__qualname__}.forward({', '.join(named)}) cannot take the inputs {', '.join(names)}: "
        f"{'; '.join(told)}.",
        hint="Name the inputs as the arguments of forward, all that it needs; or let forward take one dict of them.",
    )


def output_keys(result: Any, wanted: Sequence[str] | None, default: str) -> tuple[tuple[str, Key], ...]:
    """Returns the names of the outputs and how each is found in a result.

    Args:
        result: What the module returns.
        wanted: Names that the caller gives; with a dict or a named tuple they choose outputs.
        default: Name of a single output.

    Raises:
        RequestError: The result does not have these outputs, or they have no names.
    """
    if isinstance(result, Tensor):
        names = wanted or (default,)
        if len(names) != 1:
            raise _mismatch("one tensor", names)
        return ((names[0], None),)
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return _chosen(result._fields, wanted, f"a {type(result).__name__} of", by_place=True)
    if isinstance(result, Mapping):
        return _chosen(list(map(str, result)), wanted, f"a {type(result).__name__} of", by_place=False)
    if isinstance(result, tuple | list):
        what = f"a {type(result).__name__} of {len(result)}"
        if wanted is None:
            raise RequestError(
                f"The model returns {what}, whose parts have no names.",
                hint="Name them in order: outputs=('logits', 'embedding').",
            )
        if len(wanted) != len(result):
            raise _mismatch(what, wanted)
        return tuple((name, at) for at, name in enumerate(wanted))
    raise RequestError(
        f"The model returns a {type(result).__name__}, which is no tensor.",
        hint="Return a tensor, a tuple, a named tuple or a dict of tensors.",
    )


def _chosen(
    names: Sequence[str], wanted: Sequence[str] | None, what: str, *, by_place: bool
) -> tuple[tuple[str, Key], ...]:
    unknown = [name for name in wanted or () if name not in names]
    if unknown or not names:
        raise RequestError(
            f"The model returns {what} {', '.join(names) or 'nothing'}; there is no {', '.join(unknown) or 'output'}.",
            hint="Choose outputs by their own names: outputs=('" + "', '".join(names[:2]) + "').",
        )
    return tuple((name, list(names).index(name) if by_place else name) for name in (wanted or names))


def _mismatch(what: str, names: Sequence[str]) -> RequestError:
    return RequestError(
        f"The model returns {what}, but there are {len(names)} names of outputs: {', '.join(names)}.",
        hint="Give one name for each output, in order.",
    )


def _found(name: str, key: Key, result: Any) -> Any:
    try:
        return result if key is None else result[key]
    except (KeyError, IndexError, TypeError):
        raise ExportError(
            f"The model does not always return the output {name!r}.",
            hint="Return the same outputs for every input in evaluation mode.",
        ) from None


def _require_part(name: str, part: Any, rows: int) -> Tensor:
    if not isinstance(part, Tensor):
        kind = "None" if part is None else f"a {type(part).__name__}"
        raise ExportError(
            f"The output {name!r} is {kind}, where a tensor (batch, ...) is needed.",
            hint="Return a tensor, or leave it out: outputs=(names of the others) of a dict or a named tuple.",
        )
    if not part.is_floating_point():
        raise ExportError(f"The output {name!r} is a tensor of {part.dtype}; floats are needed.", hint=_FLOATS)
    if not part.ndim or part.shape[0] != rows:
        raise ExportError(
            f"The output {name!r} has shape {tuple(part.shape)} for {rows} rows; its first axis must be the batch.",
            hint="Return an output for each row of the inputs. Take the batch size from the input: x.flatten(1).",
        )
    return part.float() if part.element_size() < 4 else part

"""The contract between the host and a `format` component.

A format writes the captured model into one file, opens that file again without the model, reads the manifest inside it,
and checks its graph. The host does the rest: the pre-flight checks, the comparison of outputs, the clean process, the
folder.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from regplug.bundles.report import Check

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

Array: TypeAlias = NDArray[Any]
Run: TypeAlias = Callable[[Array], Array]
"""Runs a saved file: raw rows `(B, ...)` to outputs `(B, K)`, float32."""
RunAll: TypeAlias = Callable[[Array], Sequence[Array]]
"""Runs a saved file: raw rows `(B, ...)` to all of its outputs, in order."""


NamedRun: TypeAlias = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Runs a saved file with several inputs and outputs: arrays `(B, ...)` by name to arrays `(B, ...)` by name."""


@dataclass(frozen=True, kw_only=True)
class NoiseRuns:
    """Ways of running a stochastic file that only the verifier uses.

    Args:
        off: Maps raw rows to outputs with the noise off: every drawn factor is 1, and every drawn summand is 0.
        given: The same with supplied uniform numbers instead of drawn ones, in the order of the draws.
        drawn: Returns the draws of each place for raw rows, and the rate with which they are compared, or NaN.
    """

    off: Run
    given: Callable[[Array, Sequence[Array]], Array]
    drawn: Callable[[Array], Sequence[tuple[Array, float]]]


@dataclass(frozen=True, kw_only=True)
class NamedNoiseRuns:
    """The same for a file with several inputs or outputs: arrays by name instead of rows and outputs."""

    off: NamedRun
    given: Callable[[Mapping[str, Array], Sequence[Array]], dict[str, Array]]
    drawn: Callable[[Mapping[str, Array]], Sequence[tuple[Array, float]]]


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names in a graph with several inputs or outputs, or with symbolic axes besides the batch.

    Args:
        inputs: Name and axes of each input, in order; an axis is a size or a name, the first is `batch`.
        outputs: The same of each output; the name of an axis may be a formula, such as `height//2`.
    """

    inputs: Mapping[str, Sequence[int | str]]
    outputs: Mapping[str, Sequence[int | str]]


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A model captured once for all formats.

    Args:
        module: Maps raw input to output; isolated: a copy on the CPU, float32, evaluation mode, no hooks.
        program: The same, captured by `torch.export` with a symbolic batch axis.
        example: Three raw rows `(3, ...)`; with `names` a tuple of them, one for each input.
        input_name: Required name of the graph's input; with `names` of the first.
        output_name: Required name of the graph's output; with `names` of the first.
        added_outputs: Names of further outputs. If there are any, `module` and `program` return a tuple.
        names: All names, for a format with `holds_names`; otherwise `None`. Several outputs are a tuple.
    """

    module: nn.Module
    program: ExportedProgram
    example: Any
    input_name: str
    output_name: str
    added_outputs: tuple[str, ...] = ()
    names: Names | None = None

    @property
    def examples(self) -> tuple[torch.Tensor, ...]:
        """The raw rows of each input."""
        return self.example if isinstance(self.example, tuple) else (self.example,)


def parts_of(manifest: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """Returns the inputs or the outputs of a manifest.

    Args:
        manifest: Has `input` and `output`, or `inputs` and `outputs` with several.
        kind: `input` or `output`.
    """
    return list(manifest.get(f"{kind}s") or [manifest[kind]])


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Limits of a format that computes with fewer bits than float32, instead of the rounding tolerance.

    Args:
        relative_error: Largest difference of an output, relative to the case's largest output.
        agreement: Smallest share of test rows with torch's prediction.
        accuracy: Largest loss of test accuracy, as a share of all rows.
        mse: Largest relative increase of a regression's mean squared error on the test set.
        not_asked: Cases (see `regplug.bundles.cases`) that are not checked, with the reason.
    """

    relative_error: float
    agreement: float
    accuracy: float
    mse: float
    not_asked: Mapping[str, str] = field(default_factory=dict)


class Format(abc.ABC):
    """One export format. Called with the component's parameters: `target(params)`."""

    loss: Loss | None = None
    """Limits of its files; `None` if they compute in float32."""

    holds_noise: bool = False
    """Whether a file may contain live dropout (`torch.rand_like` in the captured program); requires `open_noise`, and
    with `holds_names` also `open_named_noise`."""

    holds_added_outputs: bool = False
    """Whether a file may have further outputs; then `open` runs the first one, and `open_outputs` all of them."""
    holds_names: bool = False
    """Whether a file may have several inputs, outputs and other symbolic axes than the batch; requires `open_named`."""

    def facts(self) -> Mapping[str, Any]:
        """Returns the facts about a file of this format for the manifest, such as the opset."""
        return {}

    @abc.abstractmethod
    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None:
        """Writes the model with the manifest inside.

        Raises:
            ExportError: The model cannot be written in this format; the message names operator, module and fix.
            OSError: The disk cannot be written; the host cleans up.
        """

    def largest_batch(self, path: Path) -> int | None:
        """Returns the most rows that a saved file takes in one call, or `None`; the host splits larger batches.

        Raises:
            Exception: The runtime cannot open the file; the host reports a failed check.
        """
        del path
        return None

    @abc.abstractmethod
    def open(self, path: Path, *, optimised: bool) -> Run:
        """Opens a saved file with the runtime's optimiser fully on or off.

        Raises:
            Exception: The runtime cannot open it; the host reports a failed check.
        """

    def open_outputs(self, path: Path, *, optimised: bool) -> RunAll:
        """Opens a saved file as `open` does, with all of its outputs.

        Raises:
            Exception: The runtime cannot open it; the host reports a failed check.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not support further outputs")

    def open_noise(self, path: Path, *, optimised: bool) -> NoiseRuns:
        """Opens a saved stochastic file so that its noise can be turned off, supplied and inspected.

        Raises:
            Exception: The runtime cannot open it, or it has another structure; the host reports a failed check.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not support noise")

    def open_named(
        self, path: Path, manifest: Mapping[str, Any], *, optimised: bool, seed: int | None = None
    ) -> NamedRun:
        """Opens a saved file with several inputs or outputs.

        Args:
            path: The saved file.
            manifest: The bundle's manifest, whose `inputs` and `outputs` are in the order of the graph's.
            optimised: Whether the runtime's optimiser is fully on or off.
            seed: If given, the last bits of every operator's result are changed at random; see `open_perturbed`.

        Raises:
            Exception: The runtime cannot open it; the host reports a failed check.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not support several inputs or outputs")

    def open_named_noise(self, path: Path, manifest: Mapping[str, Any], *, optimised: bool) -> NamedNoiseRuns:
        """Opens a saved stochastic file with several inputs or outputs, as `open_noise` and `open_named` do.

        Raises:
            Exception: The runtime cannot open it, or it has another structure; the host reports a failed check.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not support noise with several inputs or outputs")

    def open_perturbed(self, path: Path, *, seed: int) -> Run | None:
        """Opens a saved file so that the last bits of every operator's result are changed at random.

        The effect on the outputs measures the file's rounding. Returns `None` if the format does not support this; then
        large tolerances of its bundles are bounded less tightly.
        """
        del path, seed
        return None

    @abc.abstractmethod
    def manifest(self, path: Path) -> Mapping[str, Any]:
        """Returns the manifest that `write` put inside the file.

        Raises:
            Exception: The file cannot be read or has none; the host reports a failed check.
        """

    @abc.abstractmethod
    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Checks the saved graph without running it.

        Args:
            path: The saved file.
            manifest: The bundle's manifest: names, shapes, opset.
        """

    def standalone(self) -> str | None:
        """Returns a Python program that needs neither regplug nor torch, or `None` if the runtime is torch.

        It is called as `python -c PROGRAM MODEL INPUT.npz NAME OUTPUT.npy`: it runs MODEL on the array NAME of
        INPUT.npz and writes the outputs. With `holds_names`, NAME may be empty: then it runs MODEL on the arrays of
        INPUT.npz with the names of the inputs, and writes all outputs of a row one after another, flattened.
        """
        return None

"""What an export format is: the contract between the host and a `format` component.

A format writes the captured model into one file, opens that file again without the model, tells what the file says of
itself, and walks through what it holds. The host does the rest: the pre-flight, the comparison of numbers, the clean
process, the folder.
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


@dataclass(frozen=True, kw_only=True)
class NoiseRuns:
    """A stochastic file run as only its verifier runs it.

    Args:
        off: Raw rows to outputs with every factor that is drawn in the place of 1, and every summand of 0.
        given: The same with given uniform numbers in the place of drawn ones, in the order in which they are drawn.
        drawn: What each place draws for raw rows, and the rate that it is compared with; NaN where there is none.
    """

    off: Run
    given: Callable[[Array, Sequence[Array]], Array]
    drawn: Callable[[Array], Sequence[tuple[Array, float]]]


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A model captured once, for every format.

    Args:
        module: Raw input to output, isolated: own copy, CPU, float32, evaluation mode, no hooks.
        program: The same, captured by `torch.export` with a symbolic batch axis.
        example: Three raw rows `(3, ...)`.
        input_name: Name that the graph's input must have.
        output_name: Name that the graph's output must have.
    """

    module: nn.Module
    program: ExportedProgram
    example: torch.Tensor
    input_name: str
    output_name: str


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a format may lose that computes with fewer bits than float32: its own limits, in the place of rounding's.

    Args:
        relative_error: Largest difference of an output, as a share of the case's largest output.
        agreement: Least share of test rows with the same answer as torch's.
        accuracy: Most test accuracy that may be lost, as a share of all rows.
        mse: Most that a regression's mean squared error on the test set may grow, as a share of itself.
        not_asked: Cases (see `regplug.bundles.cases`) that are not asked of it, with the reason.
    """

    relative_error: float
    agreement: float
    accuracy: float
    mse: float
    not_asked: Mapping[str, str] = field(default_factory=dict)


class Format(abc.ABC):
    """One export format. Called with the component's parameters: `target(params)`."""

    loss: Loss | None = None
    """What its files may lose; `None` where they compute in float32."""

    holds_noise: bool = False
    """Whether a file may hold live dropout (`torch.rand_like` in the captured program); then `open_noise` is there."""

    def facts(self) -> Mapping[str, Any]:
        """What the manifest says of a file of this format before it is written, such as the opset."""
        return {}

    @abc.abstractmethod
    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None:
        """Writes the model, and the manifest inside it.

        Raises:
            ExportError: The model cannot be written in this format; names operator, module and fix.
            OSError: The disk refused; the host cleans up.
        """

    @abc.abstractmethod
    def open(self, path: Path, *, optimised: bool) -> Run:
        """Opens a saved file with the runtime's optimiser fully on or off.

        Raises:
            Exception: The runtime cannot open it; the host makes it a failed check.
        """

    def open_noise(self, path: Path, *, optimised: bool) -> NoiseRuns:
        """Opens a saved stochastic file so that its noise can be taken out, given, and looked at.

        Raises:
            Exception: The runtime cannot open it, or it is built otherwise; the host makes it a failed check.
        """
        raise NotImplementedError(f"{type(self).__qualname__} holds no noise")

    def open_perturbed(self, path: Path, *, seed: int) -> Run | None:
        """Opens a saved file so that the result of every operator is moved by its last bits, at random.

        How far that moves the answers tells the size of the file's rounding. `None` where a format cannot do that; then
        large tolerances of its bundles are bounded less tightly.
        """
        del path, seed
        return None

    @abc.abstractmethod
    def manifest(self, path: Path) -> Mapping[str, Any]:
        """The manifest that `write` put inside the file.

        Raises:
            Exception: The file cannot be read or holds none; the host makes it a failed check.
        """

    @abc.abstractmethod
    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Walks through the saved graph, without running it.

        Args:
            path: The saved file.
            manifest: What the bundle says of it: names, shapes, opset.
        """

    def standalone(self) -> str | None:
        """A Python program that needs neither regplug nor torch, or `None` where the runtime is torch.

        It is called as `python -c PROGRAM MODEL INPUT.npz NAME OUTPUT.npy`: it runs MODEL on the array NAME of
        INPUT.npz and writes what comes out.
        """
        return None

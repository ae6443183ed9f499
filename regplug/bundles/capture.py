"""Step 3: captures the model once with `torch.export` and a symbolic batch axis, and checks the graph."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import Dim, ExportedProgram
from torch.fx import Node
from torch.nn.utils.rnn import PackedSequence

from regplug.bundles.blame import STOCHASTIC_HINT, is_users, place, user_line
from regplug.bundles.causes import cause
from regplug.bundles.recurrence import symbolic_recurrence
from regplug.bundles.report import Check, holds
from regplug.errors import ExportError
from regplug.registry.uncollected import uncollected

EXAMPLE_ROWS = 3
"""Neither 1, which `torch.export` treats as a constant, nor a batch size that is tried later."""

_TRAINING = ("train", "training")
"""torch's names for the argument of an operator that switches training mode on."""

_FRAME = re.compile(r'File "(.+)", line (\d+)')
_NUMPY = re.compile(r"numpy", re.IGNORECASE)
_DATA_DEPENDENT = re.compile(r"data-dependent|Could not guard|GuardOnDataDependent|unbacked", re.IGNORECASE)
_BOUND = re.compile(r"satisfy the generated guard (.+)")
_SIZE = re.compile(r"L\['\w+'\]\.size\(\)\[0\]")
_FIXED_BATCH = re.compile(r"Constraints violated|specialized it to be a constant", re.IGNORECASE)


def capture(
    deployed: nn.Module, example: Tensor, draws: int = 0, *, is_trained: bool = True
) -> tuple[ExportedProgram, list[Check]]:
    """Captures the model and checks the graph.

    Args:
        deployed: The isolated model.
        example: Three raw rows `(3, ...)`.
        draws: Expected number of operators that draw uniform random numbers, for live dropout.
        is_trained: Whether a file will be written. The graph of an untrained model is not decomposed, which would take
            longer than the capture of a small model.

    Raises:
        ExportError: The model cannot be captured, or its graph is random, writes buffers, or uses batch statistics.
    """
    with torch.no_grad():
        try:
            with quiet_capture(), uncollected():  # the first export imports a thousand modules
                program = torch.export.export(deployed, (example,), dynamic_shapes=({0: Dim("batch", min=1)},))
        except Exception as error:
            raise explained(error) from error
        if not is_trained:
            return program, [*_judge_structure(program), no_random_op(program)]
    return program, capture_checks(program, draws)


def capture_checks(program: ExportedProgram, draws: int = 0) -> list[Check]:
    """Checks a captured graph as `judge` does; the checks are named as those of the capture."""
    with torch.no_grad():
        return [replace(check, name=f"capture.{check.name}") for check in judge(program, draws)]


def judge(program: ExportedProgram, draws: int = 0) -> list[Check]:
    """Checks a captured graph.

    Args:
        program: The graph.
        draws: See `capture`.

    Raises:
        ExportError: It is random, writes buffers, uses batch statistics, or has a fixed batch size.
    """
    checks = _judge_structure(program)
    # After decomposition an instance norm looks like batch statistics, so those are checked before it.
    if not draws and all(map(_is_plain, _operators(program))):
        low_level = program
    else:
        with symbolic_recurrence(program):
            low_level = program.run_decompositions()
    return [*checks, no_random_op(low_level, draws), no_buffer_written(low_level)]


def _judge_structure(program: ExportedProgram) -> list[Check]:
    _require_every_row(program)
    return [batch_symbolic(program), training_arguments_off(program)]


def batch_symbolic(program: ExportedProgram) -> Check:
    """Checks that the first axis of each input has no fixed size.

    Raises:
        ExportError: One has a fixed size.
    """
    for raw in (node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs):
        size = raw.meta["val"].shape[0]
        if isinstance(size, int):
            raise ExportError(f"The model takes batches of {size} rows only.", hint=_BATCH_HINT)
    return holds("batch_symbolic", True, "the batch axis has no fixed size")


def _require_every_row(program: ExportedProgram) -> None:
    # torch.export has already loaded it; a local import keeps it out of code that only reads a bundle.
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

    names = program.graph_signature.user_outputs
    for answer in (node for node in program.graph.nodes if node.name in names):
        rows = answer.meta["val"].shape[0]
        if not isinstance(rows, int) and free_unbacked_symbols(rows):
            raise ExportError(
                f"The number of rows that {where(answer)} returns depends on the input values.",
                hint="Return an output for every row: use torch.where instead of x[mask].",
            )


def training_arguments_off(program: ExportedProgram) -> Check:
    """Checks that every dropout and every batch norm in the graph is in evaluation mode.

    Raises:
        ExportError: One is not; the message names module and line.
    """
    told = [(node, training) for node in _operators(program) if (training := _training(node)) is not None]
    for node, training in told:
        if training is not False:
            is_random = _is_random(node)
            so = ", so the model is random in evaluation mode" if is_random else ""
            other = "" if is_random else "; a batch norm needs running statistics (track_running_stats=True)"
            raise ExportError(
                f"{where(node)} applies {node.target} in training mode{so}.",
                hint=f"Pass training=self.training{other}.{_stochastic_hint(node)}",
            )
    return holds("training_arguments", True, f"{len(told)} operators are in evaluation mode")


def _training(node: Node) -> object:
    """Returns the training argument of an operator; `None` if it has none."""
    return _argument(node, _TRAINING)


def _argument(node: Node, names: Sequence[str]) -> object:
    schema = getattr(node.target, "_schema", None)
    for index, argument in enumerate(schema.arguments if schema else ()):
        if argument.name in names:
            given = node.args[index] if index < len(node.args) else node.kwargs.get(argument.name)
            return argument.default_value if given is None else given
    return None


def _is_plain(node: Node) -> bool:
    """Returns whether an operator certainly draws no random numbers and writes no buffer, also when decomposed.

    Decomposing a graph takes as long as capturing it, and most networks have only such operators.
    """
    target = node.target
    if not isinstance(target, OpOverload):
        return getattr(target, "__module__", "") == "_operator"  # arithmetic of sizes
    is_statistic = any(argument.name == "running_mean" for argument in target._schema.arguments)
    may_write = is_statistic or torch.Tag.maybe_aliasing_or_mutating in target.tags
    is_quiet = _writes_no_state(node, target) and not _is_random(node)
    return target.namespace == "aten" and is_quiet and (not may_write or _training(node) is False)


def _writes_no_state(node: Node, target: OpOverload) -> bool:
    """Returns whether an operator certainly writes no input, parameter or buffer, but possibly an intermediate value.

    A ReLU in place and `x += y` write the result of the operator before them.
    """
    if not target._schema.is_mutable:
        return True
    # Operators with an underscore in front are torch's own; some draw random numbers without saying so.
    name = target._schema.name.removeprefix("aten::")
    return name.endswith("_") and not name.startswith("_") and all(map(_is_fresh, _written(node, target)))


def _written(node: Node, target: OpOverload) -> list[object]:
    return [
        node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
        for place, argument in enumerate(target._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]


def _is_fresh(value: object) -> bool:
    """Returns whether an operator of the graph allocated a value, which is then no view of an input or of the state."""
    while isinstance(value, Node) and isinstance(value.target, OpOverload):
        target = value.target
        is_view = any(returned.alias_info is not None for returned in target._schema.returns)
        if not is_view and torch.Tag.maybe_aliasing_or_mutating not in target.tags:
            return True
        value = value.args[0]
    return False


def no_random_op(program: ExportedProgram, draws: int = 0) -> Check:
    """Checks that no operator in the graph draws random numbers, except the uniform ones of live dropout.

    Raises:
        ExportError: One does; the message names operator, module and line.
    """
    random = [node for node in _operators(program) if _is_random(node)]
    wanted = [node for node in random if draws and node.target is torch.ops.aten.rand_like.default]
    for node in random:
        if node not in wanted:
            raise ExportError(
                f"{where(node)} draws random numbers in evaluation mode ({node.target}).",
                hint=f"Make the noise depend on self.training.{_stochastic_hint(node)}",
            )
    if draws:
        return Check(
            name="random_operators",
            passed=len(wanted) == draws,
            figure=float(len(wanted)),
            limit=float(draws),
            detail=f"operators that draw uniform numbers, of {len(_operators(program))}; dropout layers are live",
        )
    return holds("no_random_operator", True, f"{len(_operators(program))} operators, none draws random numbers")


def _is_random(node: Node) -> bool:
    draws = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    return draws and _training(node) is not False and _argument(node, ("dropout_p",)) != 0


def _stochastic_hint(node: Node) -> str:
    return f" {STOCHASTIC_HINT}" if "dropout" in str(node.target) else ""


def no_buffer_written(program: ExportedProgram) -> Check:
    """Checks that the graph writes no buffer.

    Raises:
        ExportError: It does; the message names the buffers.
    """
    written = sorted({name.removeprefix("network.") for name in program.graph_signature.buffers_to_mutate.values()})
    if written:
        raise ExportError(
            f"Inference writes to {', '.join(written)}.",
            hint="Write buffers only if self.training is true; an exported graph cannot write them.",
        )
    return holds("no_buffer_written", True, "the graph writes no buffer")


def _operators(program: ExportedProgram) -> list[Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]


def where(node: Node) -> str:
    """Returns the module and the line of the user's own code of an operator."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    name, kind = (stack[-1][0], stack[-1][1]) if stack else ("", "")
    lines = [f"{file}:{line}" for file, line in _FRAME.findall(node.meta.get("stack_trace") or "") if is_users(file)]
    return f"{place(name)}{f' ({kind})' if kind else ''}{f' at {lines[-1]}' if lines else ''}"


def explained(error: Exception) -> ExportError:
    """Returns the error for a model that torch.export cannot capture, with torch's reason."""
    text = f"{type(error).__name__}: {error}"
    line = user_line(error)
    at = f" at {line}" if line else ""
    if _FIXED_BATCH.search(text):
        return _fixed_batch(text)
    if _NUMPY.search(text):
        return ExportError(f"The model's forward uses numpy{at}.", hint="Use torch's functions instead.")
    if _packs(error):
        return ExportError(
            f"The model's forward packs sequences{at}, which torch.export cannot capture.",
            hint="Pass padded sequences to the recurrent layer, and take the output of each row's last step: "
            "output[torch.arange(len(output)), lengths - 1].",
        )
    if _DATA_DEPENDENT.search(text):
        return ExportError(
            f"The model's forward branches on tensor values{at}.",
            hint="A graph cannot branch on values: use torch.where, and tensors instead of .item() and float().",
        )
    return ExportError(
        f"The model cannot be captured{at}: {cause(error)}",
        hint="This is an error of torch.export. Write this part in plain tensor operations on the whole batch.",
    )


def _packs(error: BaseException) -> bool:
    """Returns whether an error was raised where a packed sequence is used."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(isinstance(value, PackedSequence) for frame in frames for value in list(frame.f_locals.values()))


def _fixed_batch(text: str) -> ExportError:
    """Returns the error for a model whose graph holds only for some batch sizes, with torch's reason."""
    bound = _BOUND.search(text)
    if bound is None:
        return ExportError("The model has a fixed batch size: it takes batches of 3 rows only.", hint=_BATCH_HINT)
    return ExportError(
        f"The model computes differently in larger or smaller batches: the captured graph holds for "
        f"{_SIZE.sub('batch', bound[1]).rstrip('.')}.",
        hint=f"{_BATCH_HINT} Instead of torch.cdist(x, y), write (x[:, None] - y).norm(dim=-1).",
    )


@contextlib.contextmanager
def quiet_capture() -> Iterator[None]:
    """Silences torch's logs, prints and warnings during a capture; errors are reported in a shorter form.

    One warning, on the weights of nn.GRU, would be an error wherever warnings are errors.
    """
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level, logger.level = logger.level, logging.CRITICAL
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.level = level


_BATCH_HINT = (
    "Take the batch size from the input: x.flatten(1), x.view(x.shape[0], -1). Avoid len(x) and loops over the rows."
)

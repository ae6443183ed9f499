"""Models: networks for an input shape and a task."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regplug.api import Model, ModelContext, Task
from regplug.errors import RegplugError
from regplug.testing import bench
from regplug.testing.checking import attempting, expect
from regplug.testing.checks.common import MODEL_SHAPES
from regplug.testing.exports import prove_model
from regplug.testing.generators import generators_untouched, seeded_globally
from regplug.testing.subject import Subject
from regplug.testing.trainings import same_bits

_ROUNDING = 1e-4
_STEPS, _FIT = 300, 0.1


def _shape(subject: Subject) -> tuple[int, ...]:
    """The first input shape that it takes."""
    if "shape" not in subject.cache:
        refusals = []
        for shape in MODEL_SHAPES:
            try:
                with seeded_globally(0):
                    subject.make(ModelContext(input_shape=shape, task=_task(subject)))
            except RegplugError as error:
                refusals.append(error.message)
                continue
            subject.cache["shape"] = shape
            break
        expect("shape" in subject.cache, f"it takes none of the input shapes {MODEL_SHAPES}: {refusals}")
    found: tuple[int, ...] = subject.cache["shape"]
    return found


def _task(subject: Subject) -> Task:
    return bench.TASKS[subject.descriptor(Model).tasks[0]]


def _network(subject: Subject, task: Task | None = None, seed: int = 0) -> nn.Module:
    context = ModelContext(input_shape=_shape(subject), task=task or _task(subject))
    with seeded_globally(seed):
        model = subject.build(context)
    expect(isinstance(model, nn.Module), f"it is a {type(model).__name__}, but must be a torch.nn.Module")
    return model  # type: ignore[no-any-return] # looked at above


def _x(subject: Subject, rows: int) -> Tensor:
    return torch.randn((rows, *_shape(subject)), generator=torch.Generator().manual_seed(0))


def _tasks(subject: Subject) -> Iterator[Task]:
    for kind in subject.descriptor(Model).tasks:
        yield bench.TASKS[kind]


def gives_one_row_for_each_input(subject: Subject) -> None:
    """Outputs of another shape, or a model that fails on a single row."""
    for task in _tasks(subject):
        model = _network(subject, task)
        for rows in (1, 2, 7):
            for training in (False, True):
                if training and rows == 1:
                    continue  # a batch normalization takes no variance of one row
                with attempting(f"{rows} rows, training={training}"), seeded_globally(0):
                    output = model.train(training)(_x(subject, rows))
                expect(tuple(output.shape) == (rows, task.num_outputs), f"{rows} rows give {tuple(output.shape)}")
                expect(torch.isfinite(output).all(), f"{rows} rows give numbers that are not finite")


def rows_are_independent_in_evaluation(subject: Subject) -> None:
    """An output that depends on other rows, or changes from call to call."""
    model, x = _network(subject).eval(), _x(subject, 7)
    with torch.no_grad(), attempting("evaluation"), generators_untouched("evaluation"):
        together, again = model(x), model(x)
        alone = torch.cat([model(row[None]) for row in x])
    expect(torch.equal(together, again), "two evaluations of the same rows differ")
    gap = float((together - alone).abs().max())
    expect(gap < _ROUNDING * (1 + float(together.abs().max())), f"a row alone and in a batch differ by {gap:.3g}")


def input_is_not_written(subject: Subject) -> None:
    """An in-place first layer: the rows in memory are the user's data."""
    model, x = _network(subject), _x(subject, 4)
    before = x.clone()
    with attempting("a forward pass"), seeded_globally(0):
        model.train()(x)
    expect(torch.equal(x, before), "it writes to its input")


def every_parameter_gets_a_gradient(subject: Subject) -> None:
    """An unused layer or a detached graph: its parameters would be counted and exported but never trained."""
    for task in _tasks(subject):
        model, y = _network(subject, task).train(), bench.targets(task, 8, torch.float32)
        with attempting("a training step"), seeded_globally(0):
            torch.autograd.backward(_loss(task, model(_x(subject, 8)), y))
        lost = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
        expect(not lost, f"no gradient reaches {', '.join(lost)}")
        grads = [value.grad for value in model.parameters() if value.grad is not None]
        expect(grads and all(torch.isfinite(grad).all() for grad in grads), "a gradient is not finite")
        dead = [n for n, v in model.named_parameters() if v.grad is not None and v.ndim > 1 and not v.grad.any()]
        expect(not dead, f"the gradient of {', '.join(dead)} is zero throughout")


def _loss(task: Task, output: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(output, y) if task.is_classification else F.mse_loss(output, y)


def overfits_sixteen_rows(subject: Subject) -> None:
    """A network that cannot overfit sixteen rows: a part of it is broken or saturated."""
    task = _task(subject)
    x, y = _x(subject, 16), bench.targets(task, 16, torch.float32)
    if not task.is_classification:
        # A linear model cannot fit noise on more rows than features; of a linear truth it must.
        truth = torch.randn((x[0].numel(), bench.OUTPUTS), generator=torch.Generator().manual_seed(1))
        y = x.flatten(1) @ truth / x[0].numel() ** 0.5
    elif len(_shape(subject)) == 1:
        y = x.flatten(1)[:, : bench.OUTPUTS].argmax(1)
    model = _network(subject, task).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    first, last = 0.0, float("inf")
    with attempting("training"), seeded_globally(0):
        for step in range(_STEPS):
            optimizer.zero_grad()
            loss = _loss(task, model(x), y)
            torch.autograd.backward(loss)
            optimizer.step()
            last = float(loss.detach())
            first = last if step == 0 else first
            if last < _FIT * first:
                return
    expect(last < 2 * _FIT * first, f"after {_STEPS} steps on 16 rows the loss fell from {first:.3g} to {last:.3g}")


def seed_decides_the_weights(subject: Subject) -> None:
    """Weights that are equal for different seeds, or differ for the same seed, so that repetitions are meaningless."""
    one, again, other = (list(_network(subject, seed=seed).state_dict().values()) for seed in (1, 1, 2))
    expect(same_bits(one, again), "the same seed gives two networks")
    expect(not same_bits(one, other), "two seeds give the same network")


def state_dict_holds_all(subject: Subject) -> None:
    """A number that is neither parameter nor buffer: a model loaded from its state would compute something else."""
    trained, fresh, x = _network(subject, seed=1), _network(subject, seed=2), _x(subject, 4)
    with attempting("a forward pass and loading its state"), seeded_globally(0), torch.no_grad():
        trained.train()(x)
        fresh.load_state_dict(copy.deepcopy(trained.state_dict()))
        gap = float((trained.eval()(x) - fresh.eval()(x)).abs().max())
    expect(gap == 0, f"a fresh network with the saved state differs by {gap:.3g}")


def exports_with_torch_export(subject: Subject) -> None:
    """A forward that branches on values, or has a fixed batch size (`torch.export`, symbolic batch)."""
    prove_model(subject, "", _network(subject).eval(), _x(subject, 64), _task(subject))


def exports_to_onnx(subject: Subject) -> None:
    """An ONNX file that differs from the network at some batch size."""
    prove_model(subject, "onnx", _network(subject).eval(), _x(subject, 64), _task(subject))


CHECKS = (
    gives_one_row_for_each_input,
    rows_are_independent_in_evaluation,
    input_is_not_written,
    every_parameter_gets_a_gradient,
    overfits_sixteen_rows,
    seed_decides_the_weights,
    state_dict_holds_all,
    exports_with_torch_export,
    exports_to_onnx,
)

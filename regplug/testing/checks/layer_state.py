"""The structure phase: everything that layers store is saved, copied, moved and exported."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.exports import prove_export
from regplug.testing.rig import Rig, make_rig, networks_of
from regplug.testing.subject import Subject
from regplug.testing.tags import BATCH_STATISTICS
from regplug.testing.trainings import same_bits

_ROUNDING = 1e-10


def _rigs(subject: Subject) -> Iterator[Rig]:
    for name in networks_of(subject):
        yield make_rig(subject, name)


def _stepped(subject: Subject, name: str) -> Rig:
    """A network after two passes in training, as the host runs one alone: in place."""
    rig = make_rig(subject, name)
    for seed in (1, 2):
        _in_place(rig, rig.x(seed=seed), rig.noise(seed=seed)[0])
    return rig


def _in_place(rig: Rig, x: Tensor, noise: object) -> None:
    program = rig.program
    program.model.train()
    with torch.no_grad(), attempting("a training step"):
        program.forward(program.params, program.buffers, rig.step(noise), x)  # type: ignore[arg-type] # a mapping


def evaluation_leaves_buffers(subject: Subject) -> None:
    """Statistics that change in evaluation: evaluating a model would change it, and it could not be exported."""
    for rig in _rigs(subject):
        before = rig.buffers
        rig.eval_logits(rig.x())
        expect(same_bits(list(before.values()), list(rig.buffers.values())), f"{rig.name}: evaluation changed a buffer")


def training_moves_statistics(subject: Subject) -> None:
    """`self.running_mean = ...` instead of `copy_`: works for a run alone, but is lost in a stack."""
    for name in networks_of(subject):
        alone, apart = make_rig(subject, name), make_rig(subject, name)
        if len(alone.buffers) == 0:
            continue
        x, noise, before = alone.x(), alone.noise()[0], alone.buffers
        _in_place(alone, x, noise)
        own = {key: value.clone() for key, value in apart.program.buffers.items()}
        with torch.no_grad():
            apart.train_logits(x, noise, buffers=own)
        now = dict(alone.model.named_buffers())
        moved = [key for key in before if not torch.equal(before[key], now[key])]
        lost = [key for key in own if not torch.allclose(own[key].double(), now[key].double(), rtol=1e-9)]
        expect(
            not lost, f"{name}: {', '.join(lost)} changes in a run alone but not in a stack; write buffers with copy_"
        )
        has_statistics = BATCH_STATISTICS in subject.component.tags
        expect(
            moved or not has_statistics, f"{name}: a step in training moved no buffer, and it has {BATCH_STATISTICS}"
        )


def state_dict_holds_all(subject: Subject) -> None:
    """Statistics kept as plain attributes: a network loaded from its saved state would compute something else."""
    for name in networks_of(subject):
        rig = _stepped(subject, name)
        file = io.BytesIO()
        torch.save(rig.model.state_dict(), file)
        file.seek(0)
        fresh = make_rig(subject, name, seed=1)
        with attempting("loading the saved state with weights_only"):
            fresh.model.load_state_dict(torch.load(file, weights_only=True))
        same = torch.equal(fresh.eval_logits(rig.x()), rig.eval_logits(rig.x()))
        expect(same, f"{name}: a fresh network with the saved state computes something else")


def copies_are_equal(subject: Subject) -> None:
    """A layer that cannot be pickled or copied, such as one that holds a lambda: no export, no process, no sweep."""
    ways: dict[str, Callable[[nn.Module], nn.Module]] = {
        "pickle": lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301 - what we have just written
        "deepcopy": copy.deepcopy,
    }
    for name in networks_of(subject):
        rig = _stepped(subject, name)
        expected = rig.eval_logits(rig.x())
        # torch refuses to pickle parametrized modules; a trained model holds none.
        is_parametrized = any(parametrize.is_parametrized(module) for module in rig.model.modules())
        for way, copied in ways.items():
            if is_parametrized and way == "pickle":
                continue
            with attempting(f"{way} of {name}"):
                again = rig.evaluated(copied(rig.model).eval(), rig.x())
            expect(torch.equal(again, expected), f"{name}: after {way} it computes something else")


def rows_are_independent_in_evaluation(subject: Subject) -> None:
    """Batch statistics in evaluation: a row's output would depend on the other rows."""
    for name in networks_of(subject):
        rig = _stepped(subject, name)
        together = rig.eval_logits(rig.x())
        alone = torch.cat([rig.eval_logits(row[None]) for row in rig.x()])
        worst = float((together - alone).abs().max())
        expect(worst < _ROUNDING, f"{name}: a row alone and in a batch differ by {worst:.3g}")


def strides_do_not_matter(subject: Subject) -> None:
    """A `.view` or a flat index that assumes contiguous memory."""
    for rig in _rigs(subject):
        x = rig.x()
        strided = x.transpose(0, -1).contiguous().transpose(0, -1)
        expect(not strided.is_contiguous(), "the kit's own input is contiguous")
        for training in (True, False):
            with attempting(f"{rig.name} on an input that is not contiguous"):
                pair = [rig.train_logits(v) if training else rig.eval_logits(v) for v in (x, strided)]
            expect(torch.allclose(pair[0], pair[1], rtol=1e-12), f"{rig.name}: the strides of the input matter")


def no_tensor_is_a_plain_attribute(subject: Subject) -> None:
    """A tensor that is neither parameter nor buffer is lost when the model is saved, moved or stacked."""
    for name in networks_of(subject):
        rig = _stepped(subject, name)
        kept = [
            f"{type(module).__name__}.{key}"
            for layer in rig.layers()
            for module in layer.modules()
            for key, value in vars(module).items()
            if isinstance(value, Tensor)
        ]
        kept += [
            f"{type(rig.functions).__name__}.{key}" for key, v in vars(rig.functions).items() if isinstance(v, Tensor)
        ]
        expect(not kept, f"{name}: {', '.join(kept)} is a tensor but neither parameter, buffer nor state")


def works_without_memory(subject: Subject) -> None:
    """A tensor created on a fixed device, which fails on a GPU and on the meta device."""
    for rig in _rigs(subject):
        model = copy.deepcopy(rig.model).to("meta").eval()
        with attempting(f"{rig.name} on the meta device"):
            output = rig.evaluated(model, rig.x().to("meta"))
        expect(output.device.type == "meta", f"{rig.name}: the output lies on {output.device}")


def _exported(subject: Subject, form: str) -> None:
    taken = [name for name in networks_of(subject) if name != "normed"]
    # A file costs seconds, and its operators are those of the capture.
    for name in taken[-1:] if form else taken:
        prove_export(subject, form, make_rig(subject, name, dtype=torch.float32))


def exports_with_torch_export(subject: Subject) -> None:
    """A graph that branches on values, or has a fixed batch size (`torch.export`, symbolic batch)."""
    _exported(subject, "")


def exports_as_trace(subject: Subject) -> None:
    """A trace that computes something else than the network, or keeps its random numbers."""
    _exported(subject, "torchscript")


def exports_to_onnx(subject: Subject) -> None:
    """An ONNX file that differs from the network at any batch size, or has a Dropout or random node."""
    _exported(subject, "onnx")


def layers_are_owned(subject: Subject) -> None:
    """Two regularizers from one build share no layer: the second network would train the first one's."""
    for name in networks_of(subject):
        one, two = make_rig(subject, name), make_rig(subject, name)
        shared = {id(layer) for layer in one.layers()} & {id(layer) for layer in two.layers()}
        expect(not shared, f"{name}: two networks share a layer")
        if not one.layers():
            raise NotApplicable("it puts no layer into the network")


CHECKS = (
    evaluation_leaves_buffers,
    training_moves_statistics,
    state_dict_holds_all,
    copies_are_equal,
    rows_are_independent_in_evaluation,
    strides_do_not_matter,
    no_tensor_is_a_plain_attribute,
    works_without_memory,
    layers_are_owned,
    exports_with_torch_export,
    exports_as_trace,
    exports_to_onnx,
)

"""The structure phase: everything that layers store is saved, copied, moved and exported."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from regplug.regularization.layers import ActingLayer, WeightLayer
from regplug.testing.building import make_rig, networks_of, rigs_of
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.exports import prove_export
from regplug.testing.generators import generators_untouched
from regplug.testing.rig import Rig
from regplug.testing.subject import Subject
from regplug.testing.tags import BATCH_STATISTICS
from regplug.testing.trainings import same_bits

_ROUNDING = 1e-10


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
    for rig in rigs_of(subject):
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
    for name in networks_of(subject):
        rig = _stepped(subject, name)
        expected = rig.eval_logits(rig.x())
        ways: dict[str, Callable[[], nn.Module]] = {"deepcopy": lambda rig=rig: copy.deepcopy(rig.model)}  # type: ignore[misc] # mypy sees no default
        if not any(parametrize.is_parametrized(module) for module in rig.model.modules()):
            # torch refuses to pickle parametrized modules; their layers are tried by themselves.
            ways["pickle"] = lambda rig=rig: _pickled(rig.model)  # type: ignore[misc]
        for way, copied in ways.items():
            with attempting(f"{way} of {name}"):
                again = rig.evaluated(copied(), rig.x())
            expect(torch.equal(again, expected), f"{name}: after {way} it computes something else")
        for layer in rig.layers():
            with attempting(f"pickle of {type(layer).__name__}"):
                _pickled(layer)


def _pickled(module: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(module))  # type: ignore[no-any-return] # noqa: S301 - what we have just written


def settled_network_is_the_evaluated_one(subject: Subject) -> None:
    """A layer that settles into something else than it computes in evaluation: the file is not what was measured."""
    for name in networks_of(subject):
        rig = _stepped(subject, name)
        finished = rig.settled()
        acting = [type(module).__name__ for module in finished.modules() if isinstance(module, ActingLayer)]
        expect(not acting, f"{name}: {', '.join(acting)} settles into a layer that needs regplug's loop")
        with torch.no_grad(), attempting(f"the settled network of {name}"):
            gap = float((finished(rig.x()) - rig.eval_logits(rig.x())).abs().max())
        expect(gap < _ROUNDING, f"{name}: what it settles into differs from its evaluation by {gap:.3g}")


def way_back_gives_the_weight(subject: Subject) -> None:
    """A `right_inverse` that is none: a decay or a projection would set the weight to something else."""
    for name in networks_of(subject):
        rig = make_rig(subject, name)
        layers = [layer for layer in rig.layers() if isinstance(layer, WeightLayer)]
        if not layers:
            raise NotApplicable("it puts no layer on a weight")
        own = [layer for layer in layers if type(layer).right_inverse is not WeightLayer.right_inverse]
        step = rig.step()
        for each in rig.program.effective if own else ():
            if any(layer in own for layer in each.parametrization.children()):
                can = each.can_be_set(rig.params, rig.buffers, step)
                expect(can, f"{name}: right_inverse at {each.name} does not give the weight back")


def looking_at_weights_moves_nothing(subject: Subject) -> None:
    """A weight that is drawn, or a buffer that moves, where penalties, probes and metrics only look."""
    for name in networks_of(subject):
        rig = _stepped(subject, name)
        if not rig.program.effective:
            continue
        params, buffers, step = rig.params, rig.buffers, rig.step()
        kept = [*params.values(), *buffers.values()]
        before = [value.clone() for value in kept]
        with torch.no_grad(), generators_untouched("an effective weight"), attempting("an effective weight"):
            one, two = (rig.program.weights(params, buffers, step) for _ in range(2))
        expect(same_bits(before, kept), f"{name}: an effective weight wrote to a parameter or buffer")
        expect(same_bits(list(one.values()), list(two.values())), f"{name}: a weight is another at each look")


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
    for rig in rigs_of(subject):
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
        bare = _tensor_attributes(make_rig(None, name, network=rig.network).model)
        kept = [each for each in _tensor_attributes(rig.model) if each not in bare]
        kept += [
            f"{type(rig.functions).__name__}.{key}" for key, v in vars(rig.functions).items() if isinstance(v, Tensor)
        ]
        expect(not kept, f"{name}: {', '.join(kept)} is a tensor but neither parameter, buffer nor state")


def _tensor_attributes(model: nn.Module) -> list[str]:
    return [
        f"{type(module).__name__}.{key}"
        for module in model.modules()
        for key, value in vars(module).items()
        if isinstance(value, Tensor)
    ]


def works_without_memory(subject: Subject) -> None:
    """A tensor created on a fixed device, which fails on a GPU and on the meta device."""
    for rig in rigs_of(subject):
        model = copy.deepcopy(rig.model).to("meta")
        with attempting(f"{rig.name} on the meta device"):
            output = rig.evaluated(model, rig.x().to("meta"))
        expect(output.device.type == "meta", f"{rig.name}: the output lies on {output.device}")


def _exported(subject: Subject, form: str) -> None:
    rigs = [make_rig(subject, name, dtype=torch.float32) for name in networks_of(subject)]
    of_shapes = {rig.network.input_shape: rig for rig in reversed(rigs)}
    chosen = [rig for rig in rigs if rig is of_shapes[rig.network.input_shape] or rig.name in subject.networks]
    # A file costs seconds, and its operators are those of the capture.
    for rig in chosen[-1:] if form else chosen:
        prove_export(subject, form, rig)


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
        shared = set(one.model.modules()) & set(two.model.modules())
        expect(not shared, f"{name}: two networks share a layer")


CHECKS = (
    evaluation_leaves_buffers,
    training_moves_statistics,
    state_dict_holds_all,
    copies_are_equal,
    settled_network_is_the_evaluated_one,
    way_back_gives_the_weight,
    looking_at_weights_moves_nothing,
    rows_are_independent_in_evaluation,
    strides_do_not_matter,
    no_tensor_is_a_plain_attribute,
    works_without_memory,
    layers_are_owned,
    exports_with_torch_export,
    exports_as_trace,
    exports_to_onnx,
)

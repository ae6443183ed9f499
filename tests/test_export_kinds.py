"""Modules of many kinds: each is exported as it answers or refused in words, and never changed."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from made_kinds import reason_of, rows_of_page, tried
from module_kinds import COMPUTED, REFUSED, ROWS, SOUND, WIDTH, InList, Of, plain, trained
from torch import nn
from torch.nn.utils import parametrize

import regplug
from regplug.bundles.causes import LONGEST, cause, one_line
from regplug.bundles.isolate import isolate, remove_hooks
from regplug.errors import ExportError, RegplugError, RequestError

TORCHSCRIPT = ["torchscript"]


def answers(network, rows):
    """The network's own, in evaluation mode, in the type of its weights."""
    like = next(network.parameters())
    modes = {part: part.training for part in network.modules()}
    given = torch.from_numpy(rows.copy())
    with torch.no_grad():
        output = network.eval()(given.to(like.dtype) if given.is_floating_point() else given)
    for part, mode in modes.items():
        part.training = mode
    return output.float().numpy()


def in_sample(number):
    """One in three is tried with the slow tests, the others with the exhaustive ones."""
    return pytest.mark.full if number % 3 else pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param(name, marks=in_sample(number)) for number, name in enumerate(SOUND)])
def test_a_sound_module_is_exported_as_it_answers(name, tmp_path, capfd):
    make, rows = SOUND[name]
    network = make()
    exported = regplug.export(network, rows, tmp_path / "b")
    assert rows_of_page()[name].startswith(f"| {name} | yes | yes |")
    session = onnxruntime.InferenceSession(str(exported.path / "model.onnx"))
    low = any(value.dtype in (torch.bfloat16, torch.float64) for value in network.parameters()) or "float16" in name
    np.testing.assert_allclose(
        session.run(None, {"input": rows})[0],
        answers(network, rows),
        atol=0.05 if low else 1e-4,
        rtol=0.02 if low else 1e-4,
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_is_refused_in_words(name, tmp_path, capfd):
    make, rows, words = REFUSED[name]
    with pytest.raises(RegplugError) as caught:
        regplug.export(make(), rows, tmp_path / "b")
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert "\x1b" not in message
    assert rows_of_page()[name].endswith(f"| {reason_of(caught.value)} |")
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "formats", "words"),
    [
        ("cache kept as an attribute", TORCHSCRIPT, ["keeps values from one call to the next", "take such values as"]),
        ("packed sequence", TORCHSCRIPT, ["packs sequences at", "module_kinds_more.py:", "Pass padded sequences"]),
        ("custom operator", TORCHSCRIPT, ["regplug_tests::twice, which torch alone", "a torchscript file"]),
        ("custom operator", ["pt2"], ["module_kinds", "could load a pt2 file", "--format onnx"]),
        ("custom operator", ["onnx"], ["ONNX has no operator for regplug_tests.twice", "torch's own operations"]),
        ("deform_conv2d", ["pt2"], ["module 'conv'", "torchvision::deform_conv2d, which torch alone"]),
        ("complex output", TORCHSCRIPT, ["torch.complex64", "torch.view_as_real(output).flatten(1)."]),
        ("None as an output", TORCHSCRIPT, ["The output 'attention' is None"]),
        ("adaptive pooling to 2 x 2, any size", ["onnx"], ["symbolic size to 2 x 2 values", "AdaptiveAvgPool2d(1)"]),
        ("F.rrelu, always on", TORCHSCRIPT, ["aten.rrelu.default in training mode", "Pass training=self.training."]),
    ],
)
def test_a_refusal_says_what_to_do_next(name, formats, words):
    message = str(tried(name, *formats))
    assert [word for word in words if word not in message] == [], message


@pytest.mark.slow
def test_the_tracebacks_of_torchscript_are_left_out():
    error = tried("gradient in forward", *TORCHSCRIPT)
    assert "torchscript.numbers.all.real: the file raises: RuntimeError: " in str(error)
    assert "Traceback" not in str(error)


_OF_PYTHON, _OF_RECURRENT_LAYERS = "__slotnames__", "_flat_weight_refs"
"""Caches that any `copy.deepcopy` writes: Python's of a class, torch's of a recurrent layer."""


class Snapshot:
    """All that a module is: every attribute of every part, by identity and by value.

    Args:
        network: Nothing of it is asked for that computes.
    """

    def __init__(self, network):
        # The objects are kept, so that no new one gets the id of one that is gone.
        self._kept = []
        self._names = [(name, part, type(part)) for name, part in network.named_modules()]
        self.parts = {name: self._of(vars(part)) for name, part, _ in self._names}
        self.classes = {name: (id(kind), set(vars(kind)) - {_OF_PYTHON}) for name, _, kind in self._names}
        self.generator = torch.get_rng_state().tolist()

    def _of(self, value):
        self._kept.append(value)
        if isinstance(value, torch.Tensor):
            return self._of_tensor(value)
        if isinstance(value, dict):
            return [(str(key), self._of(each)) for key, each in value.items() if key != _OF_RECURRENT_LAYERS]
        if isinstance(value, list | tuple | set):
            return [self._of(each) for each in value]
        return value if isinstance(value, int | float | str | None) else id(value)

    @staticmethod
    def _of_tensor(value):
        head = (id(value), value._version, value.requires_grad, id(value.grad_fn), type(value).__name__)
        if nn.parameter.is_lazy(value):
            return head
        gradient = value.grad.tolist() if value.is_leaf and value.grad is not None else None
        plain = value.dequantize() if value.is_quantized else value.to_dense() if value.is_sparse else value
        return (*head, value.dtype, value.device, plain.detach().double().tolist(), gradient)

    def __eq__(self, other):
        return (self.parts, self.classes, self.generator) == (other.parts, other.classes, other.generator)


OFTEN_CHANGED = (
    "batch norm",
    "weight tied to another layer's",
    "layer used twice",
    "hooks that change nothing",
    "loss kept as an attribute",
    "frozen in part",
    "scales its input in place",
    "nn.DataParallel",
    "LSTM, pruned",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMPUTED, *OFTEN_CHANGED, *REFUSED])
def test_a_module_of_any_kind_is_copied_and_never_changed(name, tmp_path):
    make, rows, *_ = SOUND.get(name) or REFUSED[name]
    network = make().train()
    next(network.children(), network).eval()
    before, given = Snapshot(network), rows.copy()
    try:
        regplug.export(network, given, tmp_path / "b", formats=TORCHSCRIPT)
        is_exported = True
    except RegplugError:
        is_exported = False
    assert before == Snapshot(network)
    assert np.array_equal(given, rows)
    assert is_exported or name in REFUSED


@pytest.mark.slow
def test_a_snapshot_sees_what_changes():
    for change in (
        lambda net: net.eval(),
        lambda net: net[1].register_forward_hook(print),
        lambda net: net[0].weight.data.mul_(1.001),
        lambda net: net[0].requires_grad_(False),
        lambda net: setattr(net, "calls", 1),
        lambda net: parametrize.register_parametrization(net[0], "weight", nn.Identity()),
        lambda _: torch.rand(1),
    ):
        network = plain()
        before = Snapshot(network)
        change(network)
        assert before != Snapshot(network)


@pytest.mark.slow
def test_a_module_that_casts_its_input_to_float16_is_told_to_cast_to_the_type_of_its_weights(tmp_path):
    network = Of(lambda self, x: self.head(x.half())).half()
    for asked in ({}, {"outputs": "y"}):
        with pytest.raises(RequestError, match=r"float32 weights: .* x.to\(self.weight.dtype\)"):
            regplug.export(network, ROWS, tmp_path / "b", formats=TORCHSCRIPT, **asked)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPUTED)
def test_computed_weights_are_plain_ones_in_the_copy_and_give_the_same_bits(name):
    network, raw = COMPUTED[name](), torch.from_numpy(ROWS)
    deployed, _ = isolate(nn.Identity(), network, ending="")
    with torch.no_grad():
        before = deployed(raw)
        remove_hooks(deployed, raw)
        assert torch.equal(deployed(raw), before)
    assert {name for name, _ in deployed.network[0].named_parameters()} == {"weight", "bias"}
    assert type(deployed.network[0]) is nn.Linear
    assert not list(deployed.buffers())


class Jitter(nn.Module):
    def forward(self, weight):
        return weight + 0.1 * torch.rand_like(weight)


@pytest.mark.slow
def test_a_random_weight_is_not_baked_but_found(tmp_path):
    network = plain()
    parametrize.register_parametrization(network[0], "weight", Jitter())
    with pytest.raises(ExportError, match="random numbers in evaluation mode"):
        regplug.export(network, ROWS, tmp_path / "b", formats=TORCHSCRIPT)


@pytest.mark.slow
def test_live_dropout_of_a_weight_stays_live(tmp_path):
    network = plain()
    parametrize.register_parametrization(network[0], "weight", nn.Dropout(0.5))
    with pytest.raises(ExportError, match="not drawn separately for each row"):
        regplug.export(network, ROWS, tmp_path / "b", formats=TORCHSCRIPT, stochastic=True)


@pytest.mark.slow
def test_registered_modules_may_stand_in_a_list_too_and_an_unused_one_as_well(tmp_path):
    network = InList()
    network.inner = nn.Linear(WIDTH, WIDTH)
    network.layers = [network.inner]
    network.teacher = [plain()]
    assert regplug.export(network, ROWS, tmp_path / "b", formats=TORCHSCRIPT).verification.passed


@pytest.mark.slow
def test_a_tensor_with_a_history_that_answers_is_refused(tmp_path):
    network = Of(lambda self, x: self.head(x @ self.past))
    network.past = network.head.weight.T @ network.head.weight * 2
    with pytest.raises(ExportError, match="the model: past"):
        regplug.export(network, ROWS, tmp_path / "b", formats=TORCHSCRIPT)


@pytest.mark.slow
def test_a_constant_made_of_a_tensor_is_no_literal(tmp_path):
    network = Of(lambda self, x: self.head(x) + 0 * torch.tensor(self.head.weight.amax().clone().detach()))
    with pytest.warns(UserWarning, match="copy construct"), pytest.raises(ExportError, match="cannot trace this model"):
        regplug.export(network, ROWS, tmp_path / "b", formats=TORCHSCRIPT)


@pytest.mark.slow
def test_the_proof_is_made_on_real_inputs_though_the_network_writes_into_them(tmp_path):
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(WIDTH, 3))
    exported = regplug.export(network, ROWS, tmp_path / "b", formats=TORCHSCRIPT)
    with np.load(exported.path / "sample_input.npz") as samples:
        assert np.array_equal(samples["input"][: len(ROWS)], ROWS)


@pytest.mark.slow
def test_class_names_and_outputs_that_differ_in_number_are_told_apart_from_the_batch(tmp_path):
    with pytest.raises(
        ExportError, match=r"gives 5 outputs for each row, but there are 4 class names: a, b, c, d"
    ) as caught:
        regplug.export(plain(last=5), ROWS, tmp_path / "b", class_names=list("abcd"))
    assert "batch" not in str(caught.value)


@pytest.mark.slow
def test_a_compiled_module_is_exported_as_the_one_that_it_wraps(tmp_path):
    network = trained(plain())
    exported = regplug.export(torch.compile(network), ROWS, tmp_path / "b", formats=TORCHSCRIPT)
    assert exported.verification.passed


@pytest.mark.slow
def test_a_cause_is_whole_in_one_line_without_escape_codes():
    assert cause(ValueError("step \x1b[96m3/3\x1b[0m\nfailed")) == "ValueError: step 3/3 failed"
    assert one_line("x" * 1200) == "x" * 1200
    assert len(one_line("x" * 9000)) == LONGEST + len(" ...")


@pytest.mark.slow
def test_a_bundle_is_replaced_only_where_that_is_asked_for(tmp_path):
    place = tmp_path / "b"
    first = regplug.export(plain(), ROWS, place, formats=TORCHSCRIPT)
    kept = (place / "manifest.json").read_bytes()
    with pytest.raises(
        RequestError, match=r"contains a bundle of a module, with state \w{12}, which was not .*\n.*overwrite=True"
    ):
        regplug.export(plain(), ROWS, place, formats=TORCHSCRIPT)
    assert (place / "manifest.json").read_bytes() == kept
    again = regplug.export(plain(), ROWS, place, formats=TORCHSCRIPT, overwrite=True)
    assert (place / "manifest.json").read_bytes() != kept
    assert (first.path, [path.name for path in tmp_path.iterdir()]) == (again.path, ["b"])
    (place / "manifest.json").write_text("not JSON")
    with pytest.raises(RequestError, match=r"contains a bundle, which was not replaced.\n.*overwrite=True"):
        regplug.export(plain(), ROWS, place, formats=TORCHSCRIPT)

"""Update rules against torch.optim and against their papers, and their stacked form against one run at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from trainings import assembled, assert_same_bits, greatest_difference, stack, toy, trained, trainer, weights

from regplug.config import RunConfig, load_config
from regplug.errors import ParameterError, PluginError, RequestError, UnknownComponentError
from regplug.optimizers import UpdateRule, UpdateStep
from regplug.registry import build, default_registry
from regplug.registry.components import find_components, resolve_config
from regplug.runs.assembly import stackable_numbers

REGISTRY = default_registry()
NAMES = [one.name for one in REGISTRY.components("optimizer") if one.origin.is_first_party]
SHAPES = ((3, 4), (3,), (2, 3, 2))
STEPS = 50
RULES = {
    "sgd": (torch.optim.SGD, {}),
    "sgd:momentum=0.9": (torch.optim.SGD, {"momentum": 0.9}),
    "sgd:momentum=0.9,nesterov=true": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adam:beta1=0.5,beta2=0.9,eps=0.001": (torch.optim.Adam, {"betas": (0.5, 0.9), "eps": 1e-3}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0}),
    "nadam": (torch.optim.NAdam, {}),
    "nadam:beta1=0.5,momentum_decay=0.1": (torch.optim.NAdam, {"betas": (0.5, 0.999), "momentum_decay": 0.1}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "rmsprop:alpha=0.9,eps=0.001": (torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-3}),
    "rmsprop:momentum=0.8": (torch.optim.RMSprop, {"momentum": 0.8}),
    "rmsprop:centered=true,momentum=0.5": (torch.optim.RMSprop, {"centered": True, "momentum": 0.5}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adagrad:initial=0.1,rate_decay=0.01": (
        torch.optim.Adagrad,
        {"initial_accumulator_value": 0.1, "lr_decay": 0.01},
    ),
}
"""How each rule is written, and torch's class with its keywords."""

DIFFERING = {
    "sgd": "momentum",
    "adam": "beta1",
    "adamw": "beta2",
    "nadam": "beta1",
    "rmsprop": "alpha",
    "adagrad": "rate_decay",
    "lion": "beta2",
}
"""A number of each rule in which the runs of a stack differ here."""

SIGNED = '''
import torch
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Ge, Lt
from regplug.api import Stackable
from regplug.optimizers import UpdateRule

@dataclass(frozen=True)
class Params:
    keep: Annotated[float, Ge(0), Lt(1), Stackable()] = 0.5
    "Share of the mean that a step keeps."

class Signed(UpdateRule):
    """Moves against the sign of a mean gradient, as far as the root mean square of the parameter says."""

    Params = Params
    slots = ("mean",)

    def update(self, step, param, grad, state):
        keep = step.settings["keep"]
        mean = keep * state["mean"] + (1 - keep) * grad
        size = param.square().mean().sqrt() + 0.1 / (1 + step.index)
        return param - step.rate * size * mean.sign(), {"mean": mean}
'''


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    """torch.optim keeps its scalars, such as NAdam's product, in the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def start(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def gradients(step, run=0):
    generator = torch.Generator().manual_seed(1000 * (run + 1) + step)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def chosen(text, **fields):
    return find_components(RunConfig(optimizer=text, **fields), REGISTRY).optimizer


def made(text):
    """A rule and its settings."""
    found = chosen(text)
    return build(found.registered, found.spec.values), stackable_numbers(found)


def moved(rule, settings, rate_at, run=0, steps=STEPS):
    """Parameters after all steps of our rule."""
    params = start()
    state = rule.init(params, settings)
    for step in range(steps):
        rule.update_(params, gradients(step, run), state, UpdateStep(rate_at(step), step, settings))
    return params


def assert_close(ours, others, tolerance):
    for own, other in zip(ours, others, strict=True):
        assert float((own - other).abs().max()) <= tolerance * float(other.abs().max())


def test_every_rule_that_ships_is_held_to_another_implementation():
    assert {text.partition(":")[0] for text in (*RULES, "lion")} == set(NAMES) == set(DIFFERING)


@pytest.mark.parametrize("text", RULES)
def test_a_rule_goes_torchs_way_to_1e_12(text):
    cls, keywords = RULES[text]
    params = [p.requires_grad_() for p in start()]
    optimizer = cls(params, lr=0.05, **keywords)
    for step in range(STEPS):
        for param, grad in zip(params, gradients(step), strict=True):
            param.grad = grad
        for group in optimizer.param_groups:
            group["lr"] = 0.05 / (1 + step)
        optimizer.step()
    rule, settings = made(text)
    assert_close(moved(rule, settings, lambda step: 0.05 / (1 + step)), [p.detach() for p in params], 1e-12)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.99), (0.5, 0.8)])
def test_lion_is_algorithm_2_of_its_paper(beta1, beta2):
    params, means = start(), [torch.zeros(shape) for shape in SHAPES]
    for step in range(STEPS):
        rate = 0.05 / (1 + step)
        for number, grad in enumerate(gradients(step)):
            update = beta1 * means[number] + (1 - beta1) * grad
            params[number] = params[number] - rate * torch.sign(update)
            means[number] = beta2 * means[number] + (1 - beta2) * grad
    rule, settings = made(f"lion:beta1={beta1},beta2={beta2}")
    assert_close(moved(rule, settings, lambda step: 0.05 / (1 + step)), params, 1e-12)


@pytest.mark.parametrize("text", [*RULES, "lion"])
def test_a_stack_moves_each_run_at_its_own_rate_and_with_its_own_numbers(text):
    name = text.partition(":")[0]
    rates, values = (0.05, 0.3, 0.0), (0.3, 0.6, 0.9)
    rule, settings = made(text)
    together = {**settings, DIFFERING[name]: torch.tensor(values)}
    params = [torch.stack([p] * len(rates)) for p in start()]
    state = rule.init(params, together)
    for step in range(STEPS):
        grads = [torch.stack(each) for each in zip(*(gradients(step, run) for run in range(3)), strict=True)]
        rule.update_(params, grads, state, UpdateStep(torch.tensor(rates), step, together, 3))
    for run, (rate, value) in enumerate(zip(rates, values, strict=True)):
        alone = moved(made(text)[0], {**settings, DIFFERING[name]: value}, lambda _: rate, run)  # noqa: B023 - called here
        assert_close([param[run] for param in params], alone, 1e-12)
    for own, begin in zip(params, start(), strict=True):
        assert torch.equal(own[2], begin), "a rate of zero must not move anything"


@pytest.mark.parametrize("text", [*RULES, "lion"])
def test_a_rule_changes_no_gradient(text):
    rule, settings = made(text)
    params, grads = start(), gradients(0)
    rule.update_(params, grads, rule.init(params, settings), UpdateStep(0.1, 0, settings))
    assert all(torch.equal(a, b) for a, b in zip(grads, gradients(0), strict=True))


def test_adamw_is_adam_without_a_decay_of_its_own():
    rates = {"rate_at": lambda step: 0.05}
    for one, other in zip(moved(*made("adamw"), **rates), moved(*made("adam"), **rates), strict=True):
        assert torch.equal(one, other)


def test_without_momentum_there_is_no_state_and_one_run_with_momentum_is_enough_for_it():
    rule, settings = made("sgd")
    assert rule.init(start(), settings) == {}
    assert list(rule.init(start(), {"momentum": torch.tensor([0.0, 0.9])})) == ["momentum"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": "sgd:nesterov=true"}, "nesterov=true needs a momentum"),
        ({"text": "sgd", "nesterov": True}, "nesterov=true needs a momentum"),
        ({"text": "adam", "momentum": 0.9}, "momentum is unknown. Known: beta1, beta2, eps"),
        ({"text": "adam:beta1=1"}, "beta1=1 is not allowed: float, at least 0 and less than 1"),
        ({"text": "adam:eps=0"}, "eps=0 is not allowed: float, greater than 0"),
        ({"text": "lion:momentum=0.9"}, "momentum is unknown"),
    ],
)
def test_an_optimizer_that_cannot_be_meant_is_refused(fields, message):
    with pytest.raises(ParameterError, match=message):
        chosen(**fields)


def test_an_unknown_optimizer_gets_a_suggestion():
    with pytest.raises(UnknownComponentError, match="No optimizer is named 'sdg'") as caught:
        chosen("sdg")
    assert "sgd" in caught.value.hint


def test_parameters_are_checked_before_torch_is_imported():
    program = (
        "import sys\nfrom regplug.config import RunConfig\nfrom regplug.errors import ParameterError\n"
        "from regplug.registry import default_registry\nfrom regplug.registry.components import find_components\n"
        "try:\n    find_components(RunConfig(optimizer='adam:beta1=2'), default_registry())\n"
        "except ParameterError:\n    print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Old and new spellings.


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "sgd:momentum=0.9,nesterov=true"},
        {"momentum": 0.9, "nesterov": True},
        {"optimizer": "sgd:nesterov=true", "momentum": 0.9},
        {"optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True}},
        {"optimizer": {"momentum": 0.9}, "nesterov": True},
    ],
)
def test_momentum_is_written_as_a_parameter_or_as_a_field_and_means_the_same(fields):
    config = resolve_config(load_config(None, (), fields), REGISTRY)
    assert config == resolve_config(RunConfig(optimizer="sgd:momentum=0.9,nesterov=true"), REGISTRY)
    assert (config.optimizer, config.momentum) == ("sgd:momentum=0.9,nesterov=true", 0.0)
    assert resolve_config(config, REGISTRY) == config


def test_a_complete_configuration_has_no_shorthand_beside_the_parameter(tmp_path):
    config = resolve_config(RunConfig(momentum=0.9), REGISTRY)
    assert "momentum" not in config.to_dict()
    assert RunConfig(momentum=0.9).to_dict()["momentum"] == 0.9
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    assert load_config(path) == config


def test_a_momentum_that_is_given_twice_is_refused():
    with pytest.raises(RequestError, match="the flags: momentum is given twice, also by optimizer"):
        load_config(None, (), {"optimizer": "sgd:momentum=0.5", "momentum": 0.9})
    with pytest.raises(RequestError, match=r"momentum=0.9 and optimizer=sgd:momentum=0.5 contradict each other"):
        RunConfig(optimizer="sgd:momentum=0.5", momentum=0.9)


@pytest.mark.parametrize(
    ("file", "sets", "flags", "expected"),
    [
        ('optimizer = "sgd:momentum=0.5"', [], {"momentum": 0.9}, 0.9),
        ('optimizer = "sgd:momentum=0.5"', [], {"momentum": 0.0}, 0.0),
        ("momentum = 0.5", [], {"optimizer": "sgd:momentum=0.9"}, 0.9),
        ("momentum = 0.5", ["optimizer.momentum=0.9"], {}, 0.9),
        ("momentum = 0.5", ["momentum=0.7"], {"optimizer": "sgd"}, 0.7),
        ('[optimizer]\nname = "sgd"\nmomentum = 0.5', ["momentum=0.7"], {}, 0.7),
        ("", ["optimizer.momentum=0.3"], {"optimizer": "rmsprop"}, 0.3),
    ],
)
def test_of_two_places_the_later_one_gives_the_momentum(tmp_path, file, sets, flags, expected):
    path = tmp_path / "run.toml"
    path.write_text(file)
    config = load_config(path, sets, flags)
    assert find_components(config, REGISTRY).optimizer.params.momentum == expected


def test_a_configuration_of_an_earlier_version_is_the_same_run(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('optimizer = "adam"\nloss = "auto"\nmomentum = 0.0\nnesterov = false\nschedule = "constant"\n')
    assert resolve_config(load_config(path), REGISTRY) == resolve_config(RunConfig(optimizer="adam"), REGISTRY)


def test_the_same_run_by_the_old_and_the_new_spelling_ends_in_the_same_bits():
    old, new = {"momentum": 0.9, "nesterov": True}, {"optimizer": "sgd:momentum=0.9,nesterov=true"}
    assert_same_bits(weights(trained(**old)[0]), weights(trained(**new)[0]))


# Whole runs.


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_differ_in_a_number_of_the_optimizer_are_the_same_stacked_and_alone(name):
    common = {"dtype": "float64", "lr": 0.01, "reg": ["l2", "dropout", "weight_decay"]}
    runs = [{"optimizer": f"{name}:{DIFFERING[name]}={value}", "seed": int(10 * value)} for value in (0.0, 0.5, 0.9)]
    together, _ = trained(stack(*runs, **common))
    for number, own in enumerate(runs):
        difference = greatest_difference(weights(together, number), weights(trained(**common, **own)[0]), relative=True)
        assert difference < 1e-9


def test_numbers_that_differ_in_a_stack_of_float32_lose_nothing_to_it():
    runs = [{"optimizer": f"adam:beta2={value}", "lr": 0.01} for value in (0.999, 0.9999)]
    together, _ = trained(stack(*runs))
    for number, own in enumerate(runs):
        assert greatest_difference(weights(together, number), weights(trained(**own)[0]), relative=True) < 1e-5


def test_a_rule_of_your_own_is_one_pure_function(tmp_path):
    (tmp_path / "signed.py").write_text(SIGNED)
    common = {"dtype": "float64", "lr": 0.02, "epochs": 2}
    runs = [
        {"optimizer": f"{tmp_path}/signed.py:Signed:keep={keep}", "seed": seed} for seed, keep in enumerate((0.2, 0.7))
    ]
    together, _ = trained(stack(*runs, **common))
    for number, own in enumerate(runs):
        alone, _ = trained(**common, **own)
        assert greatest_difference(weights(together, number), weights(alone), relative=True) < 1e-9
    other, _ = trained(**common, optimizer=f"{tmp_path}/signed.py:Signed:keep=0.2", seed=1)
    assert greatest_difference(weights(other), weights(alone)) > 1e-3


def test_what_is_no_rule_is_refused_by_name(tmp_path):
    (tmp_path / "none.py").write_text("def near(params):\n    return 3\n")
    with pytest.raises(PluginError, match=r"none.py:near is a int") as caught:
        assembled(optimizer=f"{tmp_path}/none.py:near")
    assert "UpdateRule" in caught.value.hint


def test_a_rule_without_an_update_says_so():
    params = start()
    with pytest.raises(NotImplementedError):
        UpdateRule().update_(params, gradients(0), {}, UpdateStep(0.1, 0, {}))


def test_the_optimizer_that_regularizers_hear_of_is_its_name(tmp_path):
    (tmp_path / "hears.py").write_text(
        "from regplug.regularizer import Notice, RegularizerFunctions\n"
        "class Hears(RegularizerFunctions):\n"
        "    def check(self, company):\n"
        "        yield Notice('warn', f'<{company.optimizer}>')\n"
    )
    one = assembled(optimizer="adam:beta1=0.8", reg=[f"{tmp_path}/hears.py:Hears"])
    assert [notice.message for notice in one.network.notices] == ["<adam>"]


def test_the_trainer_restores_the_state_of_the_optimizer():
    whole, _ = trained(optimizer="nadam", epochs=4)
    first = trainer(optimizer="nadam", epochs=4)
    records = first.train()
    next(records)
    next(records)
    saved = first.state.to_dict()
    second = trainer(optimizer="nadam", epochs=4)
    second.state.load_dict(saved)
    assert_same_bits(weights(whole), weights(trained(second)[0]))


def test_a_regression_by_every_optimizer_learns():
    for name in NAMES:
        _, records = trained(dataset=toy("regression"), optimizer=name, lr=0.01, epochs=8, reg=[])
        losses = [record.metrics["train/running_loss"][0] for record in records]
        assert losses[-1] < losses[0], name

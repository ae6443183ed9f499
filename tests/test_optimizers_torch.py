"""Classes of torch.optim by their path: one run at a time, with all that a run can be."""

from __future__ import annotations

import pytest
import torch
from study_runs import Place, by_key
from trainings import assembled, assert_same_bits, greatest_difference, trained, trainer, weights

from regplug.config import RunConfig
from regplug.errors import ParameterError, RequestError
from regplug.optimizers import UpdateStep
from regplug.registry import default_registry
from regplug.registry.components import find_components, resolve_config
from regplug.runs.planning import make_plan
from regplug.runs.request import check_request
from regplug.training.torch_optimizers import TorchRule

MINE = '''
import torch

class Counting(torch.optim.Optimizer):
    """SGD that slows down, and keeps numbers for each parameter and for all."""

    def __init__(self, params, lr, slow=1.0, kept=None):
        super().__init__(params, {"lr": lr, "slow": slow, "pace": 1.0, "kept": kept})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                own = self.state[p]
                own["count"] = own.get("count", 0) + 1
                own["nothing"] = None
                if group["kept"]:
                    own["words"] = ["a list"]
                p.sub_(p.grad, alpha=group["lr"] * group["pace"] / own["count"])
            group["pace"] *= group["slow"]
'''


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return f"{tmp_path}/mine.py:Counting"


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("torch.optim:Adam", "adam"),
        ("torch.optim:NAdam", "nadam"),
        ("torch.optim:SGD:momentum=0.9", "sgd:momentum=0.9"),
    ],
)
def test_a_class_of_torch_trains_as_the_component_of_its_name(path, ours):
    common = {"dtype": "float64", "lr": 0.02, "schedule": "cosine", "reg": ["l2", "weight_decay"]}
    adapted, native = (weights(trained(optimizer=each, **common)[0]) for each in (path, ours))
    assert greatest_difference(adapted, native, relative=True) < 1e-6  # torch keeps NAdam's product in float32


@pytest.mark.parametrize("text", ["torch.optim:ASGD", "torch.optim:Adafactor", "torch.optim:Rprop", "mine:slow=0.9"])
def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(text, mine):
    text = text.replace("mine", mine)
    whole = weights(trained(optimizer=text, epochs=4)[0])
    first = trainer(optimizer=text, epochs=4)
    records = first.train()
    next(records)
    begun = first.state.to_dict()
    next(records)
    second = trainer(optimizer=text, epochs=4)
    second.state.load_dict(begun)
    assert_same_bits(whole, weights(trained(second)[0]))
    first.state.load_dict(begun)
    assert_same_bits(whole, weights(trained(first)[0]))


def test_going_back_to_the_very_start_forgets_all_that_the_optimizer_kept(mine):
    made = trainer(optimizer=mine, epochs=2)
    begun = made.state.to_dict()
    next(made.train())
    made.state.load_dict(begun)
    assert_same_bits(weights(trained(optimizer=mine, epochs=2)[0]), weights(trained(made)[0]))


def test_its_state_can_be_saved_as_tensors_alone(mine, tmp_path):
    made = trainer(optimizer=f"{mine}:slow=0.5")
    next(made.train())
    torch.save(made.state.to_dict(), tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    assert loaded["optimizer"]["0/number/count"] == [torch.tensor(4)]
    assert loaded["optimizer"]["/number/pace"] == [torch.tensor(0.5**4, dtype=torch.float64)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("torch.optim:LBFGS", "cannot train this model: .*closure"),
        ("torch.optim:SparseAdam", "cannot train this model"),
        ("torch.optim:Muon", "cannot train this model: .*2D"),
        ("torch.optim:Adam:eps=-1", "cannot train this model: .*epsilon"),
        ("mine:kept=true", "cannot train this model: it stores a list as words, which a run cannot save"),
    ],
)
def test_what_cannot_train_the_model_is_refused_before_anything_runs(text, message, mine):
    with pytest.raises(RequestError, match=message) as caught:
        assembled(optimizer=text.replace("mine", mine))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("torch.optim:Adamax:lr_decay=0.1", "lr_decay is unknown"),
        ("torch.optim:Adam:bets=[0.9,0.99]", "bets is unknown. Did you mean betas"),
        ("torch.optim:Adam:lr=0.1", "lr cannot be given here. Give the learning rate as --lr"),
        ("torch.optim:Adam:params=3", "params cannot be given here"),
    ],
)
def test_its_keywords_are_checked_with_near_names(text, message):
    with pytest.raises(ParameterError, match=message):
        find_components(RunConfig(optimizer=text), default_registry())


def test_a_class_that_is_not_there_gets_a_suggestion():
    with pytest.raises(RequestError, match=r"torch\.optim has no Adamaks") as caught:
        find_components(RunConfig(optimizer="torch.optim:Adamaks"), default_registry())
    assert "Adamax" in caught.value.hint


def test_momentum_is_short_for_its_keyword_too():
    config = resolve_config(RunConfig(optimizer="torch.optim:SGD", momentum=0.9), default_registry())
    assert config.optimizer == "torch.optim:SGD:momentum=0.9"


def test_it_is_not_stacked_and_the_plan_says_why(tmp_path):
    place = Place(tmp_path)
    result = place.sweep(
        name="adamax", optimizer="torch.optim:Adamax", lr=0.01, grid=["reg.l2.strength=0,0.1"], seeds=2
    )
    (group,) = result.started.stacked
    assert group["sizes"] == [1, 1, 1, 1]
    assert group["why"] == "torch.optim:Adamax is a torch.optim optimizer, with one rate for all runs"
    assert result.failed == ()
    alone = place.run(optimizer="torch.optim:Adamax", lr=0.01, reg=("l2:strength=0.1",), seed=1)
    each = by_key(result)["l2.strength=0.1 | seed 1 data 0"]
    assert each.metrics["test/loss"] == alone.metrics["test/loss"]
    plan = make_plan(
        check_request(
            RunConfig(model="linear", epochs=1, optimizer="torch.optim:Adamax"), default_registry(), writes=False
        )
    )
    assert "torch.optim:Adamax is a torch.optim optimizer" in plan.stacked[0]["why"]
    assert any("torch.optim:Adamax, lr 0.2" in fact for fact in plan.facts)


def test_its_parameters_are_tracked(tmp_path):
    place = Place(tmp_path)
    result = place.run(optimizer="torch.optim:Adamax:eps=0.01", lr=0.01, epochs=1)
    info = place.store.find_run(result.run_id)
    assert (info.params["optimizer"], info.params["optimizer.eps"]) == ("Adamax", "0.01")
    assert info.tags["regplug.component.optimizer.Adamax"]


def test_it_refuses_to_move_a_stack():
    rule = TorchRule(torch.optim.SGD, {}, "torch.optim:SGD")
    with pytest.raises(TypeError, match="cannot train a stack"):
        rule.update_([], [], {}, UpdateStep(0.1, 0, {}, 2))

"""Where layers can be put, the layers that are put there, and their removal."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from trainings import assembled, trained, trainer, weights

from regplug.errors import CompositionError
from regplug.regularization.finding import find_roles, find_sites
from regplug.regularization.layers import Augmented
from regplug.regularization.own_dropout import OwnDropout, has_own_dropout
from regplug.regularization.settling import settle
from regplug.sites import ACTIVATIONS, SiteLayer, Sites, Tap


class Twice(nn.Module):
    """One activation module called twice, as torchvision's ResNet does it."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 6), nn.Linear(6, 5), nn.Linear(5, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.third(self.act(self.second(self.act(self.first(x)))))


class Functional(nn.Module):
    """Activation and dropout as functions."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.second(F.dropout(torch.relu(self.first(x)), 0.5, self.training))


class Plus(SiteLayer):
    """Adds one in training."""

    def forward(self, x):
        return x + 1 if self.training else x


def sites_of(model, owner="mine", features=8):
    return Sites(model, find_sites(model, torch.zeros(2, features)), owner)


def test_sites_stand_in_the_order_of_the_forward_pass_with_their_calls_and_shapes():
    found = find_sites(Twice(), torch.zeros(2, 8))
    assert [site.key for site in found] == ["first#0", "act#0", "second#0", "act#1", "third#0"]
    assert found[0].input_shape == (2, 8)
    assert found[0].output_shape == (2, 6)


def test_activations_are_torchs_and_whatever_is_marked():
    class Mine(nn.Module):
        is_activation = True

        def forward(self, x):
            return x

    model = nn.Sequential(nn.Linear(8, 4), Mine(), nn.Linear(4, 4), nn.GELU(), nn.Softmax(-1))
    assert [site.name for site in sites_of(model).activations()] == ["1", "3"]
    assert nn.ReLU in ACTIVATIONS
    assert nn.Softmax not in ACTIVATIONS


def test_finding_sites_changes_neither_modes_nor_statistics_nor_hooks():
    model = nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    find_sites(model, torch.randn(4, 8))
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_failing_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(5, 3))
    with pytest.raises(RuntimeError):
        find_sites(model, torch.zeros(2, 8))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_acts_at_its_call_only():
    model, x = Twice(), torch.randn(2, 8)
    sites = sites_of(model)
    sites.after(sites.all[3], Plus())
    hidden = torch.relu(model.second(torch.relu(model.first(x))))
    assert torch.equal(model(x), model.third(hidden + 1))
    assert torch.equal(model(x), model.third(hidden + 1))


def test_layers_before_and_after_stand_on_their_sides_in_order():
    model = nn.Sequential(nn.Linear(8, 3), nn.ReLU())
    sites = sites_of(model)
    sites.before(sites.all[1], Plus())
    sites.after(sites.all[1], Plus())
    sites.after(sites.all[1], nn.Tanh())
    x = torch.randn(2, 8)
    assert torch.equal(model(x), torch.tanh(torch.relu(model[0](x) + 1) + 1))
    assert [place.index for place in sites.places] == [0, 1, 2]


def test_a_wrapped_module_still_shows_its_attributes():
    model = nn.Sequential(nn.Linear(8, 3))
    sites = sites_of(model)
    sites.after(sites.all[0], Plus())
    assert model[0].weight.shape == (3, 8)
    with pytest.raises(AttributeError, match="nothing"):
        model[0].nothing  # noqa: B018


def test_a_layer_behind_a_module_changes_no_name_of_the_models_parameters():
    model = nn.Sequential(nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6)), nn.Linear(6, 3))
    names = [list(dict(model.named_parameters())), list(dict(model.named_buffers())), find_roles(model)]
    sites = sites_of(model)
    for site in sites:
        sites.after(site, Plus())
    assert [list(dict(model.named_parameters())), list(dict(model.named_buffers())), find_roles(model)] == names
    sites.after(sites.all[0], nn.Linear(6, 6, bias=False))
    added = [name for name in dict(model.named_parameters()) if name not in names[0]]
    assert added == ["0.0.after.0.1.weight"]
    assert {id(module) for module in model.modules()} >= {id(site.module) for site in sites}


def test_a_settled_model_names_its_tensors_in_one_way():
    model = Twice()
    sites = sites_of(model)
    sites.after(sites.all[1], nn.BatchNorm1d(6))
    clean = settle(model, {})
    named = {**dict(clean.named_parameters()), **dict(clean.named_buffers())}
    assert set(named) == set(clean.state_dict())


def test_an_unknown_glob_names_the_modules_there_are():
    with pytest.raises(CompositionError, match=r"at=conv\*") as caught:
        sites_of(Twice()).matching(["conv*"])
    assert "first, act, second, third" in caught.value.hint


def test_a_regularizer_that_finds_no_place_is_an_error_that_speaks_of_functional_activations():
    with pytest.raises(CompositionError, match="no activation module") as caught:
        assembled(model=Functional(), reg=["dropout"])
    assert "torch.relu in forward" in caught.value.hint


def test_a_trained_model_is_made_of_ordinary_modules_and_computes_the_same():
    model, x = Twice(), torch.randn(2, 8)
    sites = sites_of(model)
    sites.after(sites.all[0], Plus())
    sites.before(sites.all[1], Tap())
    sites.after(sites.all[2], nn.BatchNorm1d(5))
    model.eval()
    before = model(x)
    clean = settle(model, {})
    assert not any(isinstance(module, SiteLayer | Augmented) for module in clean.modules())
    assert isinstance(clean.first, nn.Linear)
    assert isinstance(clean.second[1], nn.BatchNorm1d)
    assert torch.equal(clean(x), before)


def test_a_module_under_two_names_is_wrapped_under_both():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    model.again = model[1]
    sites = sites_of(model)
    sites.after(sites.all[1], Plus())
    assert model.again is model[1]


def test_roles_tell_weights_from_biases_from_normalization():
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.LayerNorm(4), nn.Linear(4, 3))
    assert find_roles(model) == {
        "0.weight": "weight",
        "0.bias": "bias",
        "1.weight": "norm",
        "1.bias": "norm",
        "2.weight": "norm",
        "2.bias": "norm",
        "3.weight": "weight",
        "3.bias": "bias",
    }


def test_a_parametrized_weight_has_a_role_under_its_own_name():
    roles = find_roles(parametrizations.weight_norm(nn.Linear(4, 3)))
    assert roles["weight"] == "weight"
    assert roles["bias"] == "bias"


def test_a_site_layer_outside_the_loop_says_what_to_do():
    made = assembled(reg=["dropout"])
    with pytest.raises(RuntimeError, match=r"dropout at activation1#0 .* ordinary modules"):
        made.network.model(made.data.train.x[:2])


# A module used several times, and dropout that the model brings.


def test_masks_differ_by_the_call_of_a_shared_activation():
    made = assembled(model=Twice(), reg=["dropout"])
    assert [place.key for place in made.network.places["dropout"]] == ["act#0", "act#1"]
    draws = made.program.regularizer.draws(lambda key: _shapes(made.network.places.get(key, ())), made.network.settings)
    assert sorted(draws) == [("dropout", "act#0"), ("dropout", "act#1")]
    first, _ = trained(trainer(model=Twice(), reg=["dropout:drop_probability=[0.5,0]"]))
    second, _ = trained(trainer(model=Twice(), reg=["dropout:drop_probability=[0,0.5]"]))
    assert not torch.equal(weights(first)["first.weight"], weights(second)["first.weight"])


def _shapes(places):
    from regplug.regularizer import Shapes

    return Shapes(x=(2, 8), y=(2,), outputs=(2, 3), weights={}, places=tuple(places), params={}, rows=2)


@pytest.mark.parametrize("layer", [nn.Dropout(0.3), nn.Dropout1d(0.3), nn.AlphaDropout(0.3)], ids=lambda one: str(one))
def test_dropout_of_the_model_itself_is_reproducible_whatever_the_global_generator(layer):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.drop, self.last = nn.Linear(8, 12), layer, nn.Linear(12, 3)

        def forward(self, x):
            hidden = torch.relu(self.first(x))
            return self.last(self.drop(hidden.view(-1, 4, 3)).view(-1, 12))

    results = []
    for seed in (1, 2):
        torch.manual_seed(5)
        model = Own()
        torch.manual_seed(seed)
        results.append(weights(trained(trainer(model=model))[0]))
    assert torch.equal(results[0]["first.weight"], results[1]["first.weight"])
    torch.manual_seed(5)
    without = Own()
    without.drop = nn.Identity()
    assert not torch.equal(weights(trained(trainer(model=without))[0])["first.weight"], results[0]["first.weight"])


def test_the_models_own_dropout_becomes_the_hosts_and_leaves_the_trained_model():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3))
    assert has_own_dropout(model)
    made = assembled(model=model)
    assert not has_own_dropout(made.network.model)
    clean = settle(made.network.model, {}).eval()
    assert [type(module) for module in clean] == [nn.Linear, nn.ReLU, nn.Identity, nn.Linear]


def test_whole_channels_are_dropped_where_the_model_says_so():
    functions = OwnDropout()
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Dropout2d(0.5))
    sites = Sites(model, find_sites(model, torch.zeros(2, 1, 8, 8)), "model")
    functions.restructure(model, sites)
    (draw,) = functions.noise(_shapes(sites.places), {}).values()
    assert draw.shape == (2, 6, 1, 1)


def test_a_glob_finds_the_models_own_dropout_once():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    model.insert(2, nn.Dropout(0.3))
    made = assembled(model=model, reg=["dropout:at=2*"])
    assert [place.key for place in made.network.places["dropout"]] == ["2#0"]


def test_a_regularizer_may_be_called_like_the_models_own_dropout():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3))
    plain = weights(trained(trainer(model=model, reg=["l2:strength=0.0"]))[0])
    named = weights(trained(trainer(model=model, reg=["l2@model:strength=0.0"]))[0])
    assert all(torch.equal(value, named[name]) for name, value in plain.items())


def test_functional_dropout_in_forward_is_reproducible():
    model = Functional()
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(weights(trained(trainer(model=model))[0]))
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())
    other = weights(trained(trainer(model=model, seed=1))[0])
    assert not torch.equal(other["first.weight"], results[0]["first.weight"])


def test_functional_dropout_is_reproducible_when_statistics_are_recomputed_at_the_end():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

        def forward(self, x):
            return self.last(torch.relu(self.norm(F.dropout(self.first(x), 0.3, self.training))))

    model, results = Net(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(weights(trained(trainer(model=model, reg=["swa:start=0.3"]))[0]))
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_training_leaves_the_global_generator_as_it_was():
    model = Functional()
    before = torch.get_rng_state()
    trained(trainer(model=model))
    assert torch.equal(before, torch.get_rng_state())

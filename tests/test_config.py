"""RunConfig: fields, files, overrides, flags, and the complete form."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regplug.config import RunConfig, load_config
from regplug.config.params import describe_params
from regplug.errors import CompositionError, ParameterError, RegplugError, RequestError, UnknownComponentError
from regplug.registry import default_registry
from regplug.registry.components import resolve, resolve_config
from regplug.runs.shown_params import shown_params
from regplug.studies.design.config import StudyConfig, load_study

TOML = """
lr = 0.5
format = []
reg = ["dropout:at=late", {name = "l2@second", strength = 3}]

[model]
name = "mlp"
hidden = [32, 16]
"""

YAML = """
lr: 5e-1
format: []
reg:
  - dropout:at=late
  - {name: l2@second, strength: 3}
model: {name: mlp, hidden: [32, 16]}
"""


def write(tmp_path: Path, name: str, text: str) -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def test_the_defaults_are_those_of_the_manual():
    config = load_config()
    assert config == RunConfig()
    assert (config.model, config.dataset, config.reg, config.epochs, config.lr) == ("mlp", "digits", (), 30, 0.2)


def test_every_field_has_a_line_of_text():
    assert all(info.doc.endswith(".") for info in describe_params(RunConfig))


@pytest.mark.parametrize(("name", "text"), [("run.toml", TOML), ("run.yaml", YAML), ("run.YML".lower(), YAML)])
def test_a_file_may_write_components_as_text_or_as_tables(tmp_path, name, text):
    config = load_config(write(tmp_path, name, text))
    assert config.model == "mlp:hidden=[32,16]"
    assert config.reg == ("dropout:at=late", "l2@second:strength=3")
    assert (config.lr, config.format) == (0.5, ())


def test_a_json_file_is_read_as_well(tmp_path):
    config = RunConfig(model="cnn", lr=1e-5)
    assert load_config(write(tmp_path, "run.json", json.dumps(config.to_dict()))) == config


def test_an_empty_file_changes_nothing(tmp_path):
    assert load_config(write(tmp_path, "run.yaml", "")) == load_config(write(tmp_path, "run.toml", "")) == RunConfig()


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "+1e-3", ".1e-2", "1.0e-3", "0.001"])
def test_yaml_reads_the_numbers_that_people_write(tmp_path, number):
    assert load_config(write(tmp_path, "run.yaml", f"lr: {number}")).lr == 0.001


def test_flags_come_before_overrides_before_the_file_before_the_defaults(tmp_path):
    file = write(tmp_path, "run.toml", "lr = 1\nmomentum = 0.1\nepochs = 1\nseed = 1")
    config = load_config(file, ["momentum=0.2", "epochs=2"], {"epochs": 3, "seed": None})
    assert (config.batch_size, config.lr, config.momentum, config.epochs, config.seed) == (32, 1.0, 0.2, 3, 1)


def test_an_override_of_a_parameter_refines_what_a_flag_chose():
    config = load_config(None, ["model.hidden=[64]", "reg.l2.strength=0.1"], {"model": "mlp", "reg": ("l2", "l1")})
    assert (config.model, config.reg) == ("mlp:hidden=[64]", ("l2:strength=0.1", "l1"))


def test_where_flag_and_override_give_one_parameter_the_flag_counts():
    config = load_config(None, ["reg.l2.strength=0.1"], {"reg": ["l2:strength=3"]})
    assert config.reg == ("l2:strength=3",)


def test_an_override_of_a_parameter_counts_before_the_file(tmp_path):
    config = load_config(write(tmp_path, "run.toml", TOML), ["reg.second.strength=0.1", "model.hidden=[8]"])
    assert (config.reg[1], config.model) == ("l2@second:strength=0.1", "mlp:hidden=[8]")


def test_an_override_of_a_parameter_adds_the_regularizer_where_it_is_absent():
    assert load_config(None, ["reg.l2.strength=0.1"]).reg == ("l2:strength=0.1",)
    assert load_config(None, ["probe.weight_norm.every=2"]).probe == ("weight_norm:every=2",)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("lr=1e-3", "lr", 0.001),
        ("nesterov=true", "nesterov", True),
        ("name=12", "name", "12"),
        ('name="a=b"', "name", "a=b"),
        ("reg=l2:strength=3", "reg", ("l2:strength=3",)),
        ("reg=[l1,l2:strength=3]", "reg", ("l1", "l2:strength=3")),
        ("format=[]", "format", ()),
        ("model=torchvision:name=resnet18", "model", "torchvision:name=resnet18"),
        ("model=./net.py:Net:width=3", "model", "./net.py:Net:width=3"),
        ("schedule.every=5", "schedule", None),
        ("activation=", "activation", ""),
    ],
)
def test_overrides_are_read_as_their_field_wants_them(text, field, value):
    if value is None:
        config = load_config(None, ["schedule=step", text])
        assert config.schedule == "step:every=5"
    else:
        assert getattr(load_config(None, [text]), field) == value


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("epoch=3", "--set epoch=3: epoch is unknown.", "Did you mean epochs?"),
        ("modle.hidden=3", "there is no modle.hidden", "Did you mean model?"),
        ("lr.x=3", "there is no lr.x", "lr"),
        ("reg.l2=3", "there is no reg.l2", "reg.l2.strength"),
        ("model.a.b=3", "there is no model.a.b", "model.hidden"),
        ("lr", "--set lr is not an assignment", "lr=0.1"),
        ("=3", "not an assignment", "lr=0.1"),
        ("lr=fast", "lr='fast' is not allowed: float, at least 0", "run --help"),
        ("lr=-1", "lr=-1 is not allowed: float, at least 0.", "run --help"),
        ("lr=1e39", "lr=1e+39 is not allowed: float, between 0 and 1e+38.", "run --help"),
        ("seed=-1", "seed=-1 is not allowed: int, at least 0.", "run --help"),
        ("seed=9223372036854775808", "is not allowed: int, between 0 and 9223372036854775807.", "run --help"),
        ("momentum=1", "momentum=1 is not allowed: float, at least 0 and less than 1", "run --help"),
        ("batch_size=0", "batch_size=0 is not allowed", "run --help"),
        ("activation.slope=1", "no activation is chosen", "--activation NAME"),
        ("model.hidden=[3", "closing bracket", "name:param=value"),
        ("model=Net", "is not a component", "./file.py:Name"),
        ("model=", "model is empty", "run --help"),
    ],
)
def test_what_is_wrong_is_refused_with_what_is_right(text, told, hint):
    with pytest.raises(RequestError) as caught:
        load_config(None, [text])
    assert told in caught.value.message
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("run.toml", "epoch = 3", "run.toml: epoch is unknown"),
        ("run.toml", "epochs = 3.5", "run.toml: epochs=3.5 is not allowed: int, at least 0"),
        ("run.toml", "epochs = ", "run.toml cannot be read"),
        ("run.yaml", "epochs: [", "run.yaml cannot be read"),
        ("run.yaml", "- 3", "run.yaml holds no fields"),
        ("run.yaml", "model:", "run.yaml: model: None is not a component"),
        ("run.yaml", "model: {name: mlp, hidden: {a: 1}}", "run.yaml: model: {'a': 1} cannot be written"),
        ("run.yaml", "reg: [{strength: 3}]", "run.yaml: reg: the table with strength has no name"),
        ("run.yaml", "reg: [3]", "run.yaml: reg: 3 is not a component"),
        ("run.ini", "a=b", "run.ini is not a configuration file"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_file_and_key(tmp_path, name, text, told):
    with pytest.raises(RequestError) as caught:
        load_config(write(tmp_path, name, text))
    assert told in caught.value.message


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"nowhere\.toml cannot be read"):
        load_config(tmp_path / "nowhere.toml")


def test_a_table_without_a_name_refines_the_default(tmp_path):
    assert load_config(write(tmp_path, "run.toml", "[model]\nhidden = [3]")).model == "mlp:hidden=[3]"


def test_a_table_may_carry_a_parameter_called_name(tmp_path):
    text = '[model]\nname = "torchvision:name=resnet18"\npretrained = false'
    assert load_config(write(tmp_path, "run.toml", text)).model == "torchvision:name=resnet18,pretrained=false"


def test_the_same_regularizer_twice_needs_an_alias():
    with pytest.raises(CompositionError, match="l2@second"):
        RunConfig(reg=("l2:strength=1", "l2:strength=2"))
    assert RunConfig(reg=("l2", "l2@second")).reg == ("l2", "l2@second")


def test_a_configuration_is_checked_however_it_is_made():
    assert RunConfig(reg="l2").reg == ("l2",)  # type: ignore[arg-type]
    assert RunConfig(reg=["l2"]).reg == ("l2",)  # type: ignore[arg-type]
    assert isinstance(RunConfig(lr=1).lr, float)
    with pytest.raises(ParameterError) as caught:
        RunConfig(lr=-1, epochs=-1)
    assert "lr=-1" in caught.value.message
    assert "epochs=-1" in caught.value.message
    with pytest.raises(RequestError):
        dataclasses.replace(RunConfig(), model="Net")


TEXT = st.text(max_size=20)


@pytest.mark.slow
@given(TEXT, TEXT, st.floats(0, 10), st.integers(0, 2**63 - 1), st.booleans())
def test_a_written_configuration_reads_back(name, out, lr, seed, shuffle):
    config = RunConfig(name=name, out=out, lr=lr, seed=seed, shuffle=shuffle, reg=("l2:strength=1e-3",))
    assert RunConfig(**tomllib.loads(config.to_toml())) == config
    assert RunConfig(**json.loads(json.dumps(config.to_dict()))) == config


def test_a_written_configuration_is_a_file_of_the_same_run(tmp_path):
    config = RunConfig(model="mlp:hidden=[3]", reg=("l2@b", "./mine.py:L0:a=1"), format=())
    assert load_config(write(tmp_path, "run.toml", config.to_toml())) == config


@pytest.fixture(scope="module")
def bare() -> RunConfig:
    """A run of components that are there whatever the registry lacks."""
    return RunConfig(model="mlp", dataset="digits", activation="leaky_relu", format=(), probe=())


def test_the_complete_form_spells_out_every_parameter(bare):
    complete = resolve_config(bare, default_registry())
    assert complete.activation.startswith("leaky_relu:negative_slope=")
    assert "hidden=[" in complete.model
    assert "normalize=unit" in complete.dataset
    assert complete.schedule == "constant"


def test_the_complete_form_of_the_complete_form_is_itself(bare, tmp_path):
    registry = default_registry()
    complete = resolve_config(dataclasses.replace(bare, schedule="step"), registry)
    assert resolve_config(complete, registry) == complete
    assert load_config(write(tmp_path, "run.toml", complete.to_toml())) == complete


def test_every_component_that_is_installed_has_a_complete_form():
    registry = default_registry()
    fields = {"model": "model", "dataset": "dataset", "activation": "activation", "init": "initializer"}
    for field, kind in fields.items():
        for one in registry.components(kind):
            config = RunConfig(**{"format": (), "probe": (), field: one.full_name})
            complete = resolve_config(config, registry)
            assert resolve_config(complete, registry) == complete


def test_the_users_own_code_stays_as_it_is(bare):
    config = dataclasses.replace(bare, model="./net.py:Net:width=3", reg=("my.regs:L0",))
    complete = resolve_config(config, default_registry())
    assert (complete.model, complete.reg) == (config.model, config.reg)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": "mlpp"}, UnknownComponentError),
        ({"model": "mlp:hiden=[3]"}, ParameterError),
        ({"dataset": "digits:normalize=maybe"}, ParameterError),
    ],
)
def test_the_complete_form_refuses_what_does_not_exist(bare, change, error):
    with pytest.raises(error) as caught:
        resolve_config(dataclasses.replace(bare, **change), default_registry())
    assert isinstance(caught.value, RegplugError)
    assert caught.value.hint


def suited(flags, overrides=()):
    return load_config(None, overrides, flags, suggest=lambda dataset: ("lr=0.05", "schedule=cosine"))


def test_settings_that_suit_a_dataset_are_the_defaults_of_its_runs():
    config = suited({"dataset": "digits", "epochs": 3})
    assert (config.lr, config.schedule, config.epochs) == (0.05, "cosine", 3)
    assert suited({"schedule": "step"}).schedule == "step"


@pytest.mark.parametrize(("flags", "overrides"), [({"lr": 0.3}, ()), ({}, ["lr=0.3"]), ({"optimizer": "adam"}, ())])
def test_settings_that_suit_a_dataset_give_way_to_any_of_the_update(flags, overrides):
    config = suited(flags, overrides)
    assert (config.lr, config.schedule) == (flags.get("lr", 0.3 if overrides else 0.2), "constant")


def test_what_an_option_or_an_override_gives_is_chosen_also_at_its_default(tmp_path):
    file = write(tmp_path, "run.toml", "batch_size = 32\nseed = 1")
    flags = {"lr": 0.2, "momentum": 0.0, "model": "mlp:hidden=[64]", "reg": ["l2@second:strength=0"], "epochs": None}
    config = load_config(file, ["optimizer=sgd", "dataset.normalize=unit"], flags).replaced(seed=2)
    fields = {"lr", "momentum", "optimizer.momentum", "model", "model.hidden", "reg", "optimizer", "dataset.normalize"}
    assert config.chosen == fields | {"reg.second.strength"}
    assert (config, config.to_dict()) == (again := RunConfig(**config.to_dict()), again.to_dict())
    assert again.chosen == frozenset()


def shown(*overrides, **flags):
    return shown_params(*resolve(load_config(None, overrides, flags), default_registry()))


def test_what_was_chosen_is_shown_also_at_its_default():
    chosen = {"lr": 0.2, "momentum": 0.0, "optimizer": "sgd", "loss": "auto", "model": "mlp:hidden=[64]"}
    more = shown("init.kaiming_normal.nonlinearity=relu", **chosen, init="kaiming_normal", dataset="digits")
    columns = {"lr", "optimizer", "optimizer.momentum", "loss", "model.hidden", "init.nonlinearity"}
    assert more - shown(init="kaiming_normal") == columns
    assert shown(model="mlp") == shown()


def test_a_study_that_is_read_again_knows_what_was_chosen():
    study = load_study(flags={"lr": 0.2, "grid": ("seed=1,2",)})
    read = StudyConfig.from_dict({**study.to_dict(), "chosen": sorted(study.base.chosen)})
    assert read == study
    assert read.base.chosen == study.base.chosen == {"lr"}

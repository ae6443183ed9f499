"""What would run, in which order and why, without running or writing anything."""

from __future__ import annotations

import json

import pytest

from regplug.config import RunConfig
from regplug.errors import CompositionError, DataError
from regplug.registry import default_registry
from regplug.runs.planning import PHASES, make_plan
from regplug.runs.request import check_request


def plan(**fields):
    config = RunConfig(**{"model": "mlp:hidden=[16]", **fields})
    return make_plan(check_request(config, default_registry(), writes=False))


def test_a_plan_lists_the_phases_in_the_order_in_which_a_run_meets_them():
    made = plan(reg=("swa", "dropout", "batchnorm", "l2", "clip_norm", "max_norm", "mixup", "weight_decay"))
    phases = [step.phase for step in made.order]
    assert phases == sorted(phases, key=PHASES.index)
    assert set(phases) == set(PHASES)


def test_within_a_phase_the_declared_order_holds_and_its_reason_is_told():
    made = plan(reg=("label_smoothing", "mixup"))
    data = [step for step in made.order if step.phase == "data"]
    assert [step.name for step in data] == ["mixup", "label_smoothing"]
    assert data[1].why == "must come after mixup (tag: mixing)"


def test_a_plan_says_where_layers_will_stand():
    (structure, noise) = plan(reg=("dropout",)).order
    assert (structure.phase, noise.phase) == ("structure", "noise")
    assert structure.why == "alone in this phase; acts at activation1"


def test_a_plan_tells_rows_numbers_and_steps():
    facts = "\n".join(plan(model="linear", epochs=3, batch_size=100).facts)
    assert "digits, classification, rows: train 1079, valid 359, test 359" in facts
    assert "650 trained numbers" in facts
    assert "3 epochs of 11 steps" in facts


def test_doubts_are_in_the_plan():
    assert any("not the same method" in warning for warning in plan(reg=("l2", "weight_decay")).warnings)
    assert plan(reg=("l2",)).warnings == ()


def test_a_plan_is_a_document_with_the_complete_configuration():
    document = json.loads(json.dumps(plan(reg=("dropout",)).document()))
    assert document["config"]["reg"] == ["dropout:drop_probability=0.5,at=[]"]
    assert document["order"][0].keys() == {"phase", "name", "why"}


def test_a_plan_refuses_what_a_run_would_refuse():
    with pytest.raises(CompositionError, match="early_stopping with swa"):
        plan(reg=("early_stopping", "swa"))
    with pytest.raises(DataError, match="batch_size"):
        plan(batch_size=100_000)


def test_a_plan_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan(reg=("dropout",))
    assert list(tmp_path.iterdir()) == []

"""Plans a run: what would run, in which order and why. Nothing is trained or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regplug.api import Phase
from regplug.config import RunConfig
from regplug.exporting import require_exportable
from regplug.registry.usercode import derive_phases
from regplug.runs.assembly import assemble
from regplug.runs.loading import load_data
from regplug.runs.request import RunRequest

PHASES: tuple[Phase, ...] = (
    "structure",
    "noise",
    "state",
    "data",
    "objective",
    "gradient",
    "optimizer",
    "weights",
    "epoch",
    "finish",
)

_ALONE = "one run trains its own tensors in place"


@dataclass(frozen=True, kw_only=True)
class PlanStep:
    """One regularizer in one phase.

    Args:
        phase: The phase.
        name: The regularizer's key.
        why: What decided its place.
    """

    phase: str
    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would run.

    Args:
        config: The configuration with every parameter spelled out.
        order: Phases in the order in which a run meets them, each with its regularizers in order.
        warnings: What is allowed but doubtful about the run.
        facts: Lines about data, model and training.
        stacked: Groups of runs that would train together.
        duration: The estimated duration of a study in seconds, by part; `None` for one run.
    """

    config: RunConfig
    order: tuple[PlanStep, ...]
    warnings: tuple[str, ...]
    facts: tuple[str, ...]
    stacked: tuple[dict[str, Any], ...]
    duration: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Returns the plan as JSON types."""
        return {
            "config": self.config.to_dict(),
            "order": [{"phase": step.phase, "name": step.name, "why": step.why} for step in self.order],
            "warnings": list(self.warnings),
            "facts": list(self.facts),
            "stacked": list(self.stacked),
            "duration": self.duration,
        }


def make_plan(request: RunRequest, *, is_exported: bool = True) -> Plan:
    """Builds everything that the run would build, on the real data, and says what it would do.

    Args:
        request: The checked run.
        is_exported: Whether the run would be exported, if its configuration says so; a sweep exports none.

    Raises:
        RequestError: What `regplug run` would refuse.
    """
    resolved, components = request.config, request.components
    data = load_data(resolved, components)
    made = assemble(resolved, components, data)
    if is_exported:
        require_exportable(made)
    phases = {part.key: derive_phases(type(part.functions)) for part in made.network.regularizer.members}
    steps = []
    for phase in PHASES:
        acting = [placed for placed in made.network.order if phase in phases[placed.key]]
        for placed in acting:
            why = placed.why if len(acting) > 1 else "alone in this phase"
            steps.append(PlanStep(phase=phase, name=placed.key, why=_why(placed.key, why, made.network.places)))
    rows = [f"{name} {len(split)}" for name, split in data.raw.splits()]
    num_params = sum(param.numel() for param in made.program.params.values())
    steps_per_epoch = -(-len(data.train) // resolved.batch_size)
    facts = (
        f"data: {data.raw.name}, {data.task.kind}, rows: {', '.join(rows)}",
        f"inputs: {data.kept}",
        f"model: {components.model.registered.name}, {num_params:,} trained numbers",
        f"training: {resolved.epochs} epochs of {steps_per_epoch} steps, "
        f"{components.optimizer.changed()}, lr {resolved.lr:g}",
    )
    return Plan(
        config=resolved,
        order=tuple(steps),
        warnings=(*data.raw.notes, *(f"{notice.message} {notice.hint}" for notice in made.network.notices)),
        facts=facts,
        stacked=({"runs": 1, "why": "; ".join(filter(None, (_ALONE, components.why_single())))},),
    )


def _why(key: str, why: str, places: Any) -> str:
    called = [_place_in_words(place.key) for place in places.get(key, ())]
    return f"{why}; acts at {', '.join(called)}" if called else why


def _place_in_words(key: str) -> str:
    """A place as a plan names it: the module, and which call of it if it is called again."""
    name, _, call = key.partition("#")
    return f"{name} (call {int(call) + 1})" if call not in ("", "0") else name

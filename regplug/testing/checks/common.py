"""Checks for components of every kind."""

from __future__ import annotations

import functools
import importlib
import json
import re
import subprocess
import sys

from regplug.api import ModelContext
from regplug.config.params import params_to_dict
from regplug.errors import ParameterError, RegplugError
from regplug.registry.collect import collect
from regplug.registry.heavy import HEAVY_LIBRARIES
from regplug.testing import bench
from regplug.testing.checking import CouldNotRun, NotApplicable, attempting, expect
from regplug.testing.generators import expect_generators, generators_untouched, seeded_globally, state_of_generators
from regplug.testing.subject import Subject
from regplug.testing.tags import meant
from regplug.testing.values import bounds_of

_IMPORT_TIMEOUT_S = 120
_NOT_FOUND = "the descriptor was passed directly and not found in a distribution"


def name_can_be_typed(subject: Subject) -> None:
    """A name with capitals, dashes or dots cannot be written in `--reg name:param=value`."""
    name = subject.component.name
    if subject.registered.is_user_code:
        raise NotApplicable("it is named by its path")
    expect(
        re.fullmatch("[a-z][a-z0-9_]*", name),
        f"{name!r} has characters other than lower case letters, digits and underscores",
    )


def descriptor_imports_nothing_heavy(subject: Subject) -> None:
    """A descriptor module that imports torch delays every command for every user."""
    module, location = subject.registered.origin.module.partition(":")[0], subject.registered.location
    if not module or subject.registered.is_user_code:
        raise NotApplicable(_NOT_FOUND)
    heavy = heavy_imports(module, (*sys.path, location))
    expect(heavy == "[]", f"importing {module} alone imports {heavy}")


@functools.cache
def heavy_imports(module: str, search_path: tuple[str, ...]) -> str:
    """Returns the heavy libraries in a new process after importing a module; one process serves all its components."""
    program = (
        f"import sys; sys.path[:] = {list(search_path)!r}; import importlib; importlib.import_module({module!r}); "
        f"print([name for name in {HEAVY_LIBRARIES!r} if name in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter with our own program
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=_IMPORT_TIMEOUT_S, check=False
    )
    expect(done.returncode == 0, f"importing {module} in a fresh process failed: {done.stderr.strip()[-300:]}")
    return done.stdout.strip().splitlines()[-1]


def target_resolves(subject: Subject) -> None:
    """A wrong target would be noticed only when a user builds the component."""
    with attempting(f"importing {subject.component.target}"):
        target = subject.target
    expect(callable(target), f"{subject.component.target} is a {type(target).__name__} and cannot be called")


def defaults_are_allowed(subject: Subject) -> None:
    """A default outside its own bounds: a user who writes it out, or rereads a run's file, gets an error."""
    plain = subject.at_defaults
    for info in subject.fields:
        with attempting(f"giving {info.name} its own default {info.default!r}"):
            plain.params(**{info.name: params_to_dict(plain.params())[info.name]})


def defaults_build(subject: Subject) -> None:
    """A component that cannot be built with its defaults."""
    with seeded_globally(0):
        _built(subject.at_defaults)


def _built(subject: Subject, **values: object) -> object:
    """Builds the component with the arguments that its kind takes."""
    kind = subject.component.kind
    if kind in ("initializer", "dataset", "schedule", "study", "command"):
        # These do their work when they are called; their own checks call them.
        return subject.target, subject.params(**values)
    if kind == "model":
        return first_network(subject, **values)
    return subject.build(**values)


def first_network(subject: Subject, **values: object) -> object:
    """Returns the model for the first input shape that it accepts; models may refuse one with a `RegplugError`."""
    refusal = ""
    for shape in MODEL_SHAPES:
        try:
            return subject.make(ModelContext(input_shape=shape, task=bench.CLASSES), **values)
        except ParameterError:
            raise
        except RegplugError as error:
            if error.__cause__ is not None:
                raise
            refusal = error.message
    raise CouldNotRun(f"it takes none of the input shapes {MODEL_SHAPES}: {refusal}")


MODEL_SHAPES = ((bench.FEATURES,), (6, 4), (1, 12, 12), (3, 32, 32), (3, 64, 64), (3, 224, 224))
"""Input shapes on which a model is tried: rows, sequences, images."""


def bounds_hold(subject: Subject) -> None:
    """A bound that is declared but not enforced: the value just outside must be refused, naming its field."""
    bounds = list(bounds_of(subject))
    if not bounds:
        raise NotApplicable("no parameter has a bound")
    for bound in bounds:
        try:
            subject.params(**{bound.field: bound.outside})
        except ParameterError as error:
            expect(bound.field in error.message, f"refusing {bound.field}={bound.outside!r} does not name the field")
        else:
            expect(False, f"{bound.field}={bound.outside!r} is accepted although the bound is {bound.text}")
        with attempting(f"taking {bound.field}={bound.edge!r}, which {bound.text} allows"):
            subject.params(**{bound.field: bound.edge})


def unknown_parameter_is_refused(subject: Subject) -> None:
    """A misspelt parameter that is silently ignored, so that the user's setting has no effect."""
    try:
        subject.params(no_such_parameter_=1)
    except RegplugError:
        return
    expect(False, "no_such_parameter_=1 is accepted")


def parameters_survive_json(subject: Subject) -> None:
    """Parameters that cannot be logged and read back, so that a run cannot be repeated from its record."""
    params = subject.params()
    with attempting("writing the parameters as JSON"):
        text = json.dumps(params_to_dict(params), allow_nan=False)
    with attempting("reading the parameters from JSON"):
        again = subject.params(**json.loads(text))
    expect(again == params, f"{params} became {again}")


def building_leaves_generators_alone(subject: Subject) -> None:
    """A component that seeds or draws from a global generator when built changes all later numbers of the run."""
    if subject.component.kind == "model":
        # torch's layers start from the global generator, which the host seeds; reseeding it would undo that.
        ends = []
        for seed in (1, 2):
            with seeded_globally(seed):
                before = state_of_generators()
                _built(subject)
                expect_generators({name: before[name] for name in ("numpy", "random")}, "building it")
                ends.append(state_of_generators()["torch"])
        expect(ends[0] != ends[1], "building it reseeds torch's global generator")
        return
    with generators_untouched("building it"):
        _built(subject)


def hook_is_idempotent(subject: Subject) -> None:
    """A hook whose second call returns something else, for example a generator in a module variable."""
    origin = subject.registered.origin
    if not origin.module or subject.registered.is_user_code:
        raise NotApplicable(_NOT_FOUND)
    module = importlib.import_module(origin.module.partition(":")[0])
    attribute = origin.module.partition(":")[2]
    plugin = getattr(module, attribute) if attribute else module
    once, twice = (collect(origin, plugin).components for _ in range(2))
    expect(once == twice, f"its plugin first offered {len(once)} components, then {len(twice)} or different ones")
    expect(any(one.component == subject.component for one in once), "its plugin no longer offers it")


def plugin_is_whole(subject: Subject) -> None:
    """A plugin with another part that is refused: users would not get that part."""
    origin = subject.registered.origin
    if not origin.module or subject.registered.is_user_code:
        raise NotApplicable(_NOT_FOUND)
    faults = [one for one in subject.registry.problems if one.is_fault and one.distribution == origin.distribution]
    expect(not faults, "; ".join(map(str, faults)))


def name_is_not_reserved(subject: Subject) -> None:
    """The name of one of the host's components: users would get the host's component."""
    origin = subject.registered.origin
    if origin.is_first_party:
        raise NotApplicable("it is one of the host's own components")
    taken = [one.name for one in subject.registry.components(subject.component.kind) if one.origin.is_first_party]
    expect(
        subject.component.name not in taken, f"{subject.component.name} is the name of one of the host's own components"
    )


def tags_are_spelt_as_the_kit_reads_them(subject: Subject) -> None:
    """A misspelt tag, such as `keeps_mean` for `keeps-mean`, which would have no effect."""
    wrong = {tag: meant(tag) for tag in subject.component.tags if meant(tag)}
    expect(not wrong, ", ".join(f"the tag {tag} must be written {right}" for tag, right in wrong.items()))


def summary_is_one_line(subject: Subject) -> None:
    """A missing summary, or one of several lines: every list shows it."""
    summary = subject.component.summary
    expect(summary.strip() and "\n" not in summary, f"the summary is {summary!r}")


CHECKS = (
    name_can_be_typed,
    descriptor_imports_nothing_heavy,
    target_resolves,
    defaults_are_allowed,
    defaults_build,
    bounds_hold,
    unknown_parameter_is_refused,
    parameters_survive_json,
    building_leaves_generators_alone,
    hook_is_idempotent,
    plugin_is_whole,
    name_is_not_reserved,
    tags_are_spelt_as_the_kit_reads_them,
    summary_is_one_line,
)

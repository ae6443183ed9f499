"""One hook for each kind of component, and nothing between them."""

from __future__ import annotations

import inspect
import subprocess
import sys

from regplug import hookspecs
from regplug.api import KINDS
from regplug.hookspecs import HOOK_KINDS

HOOKS = {name: each for name, each in vars(hookspecs).items() if name.startswith("regplug_")}


def test_every_kind_has_one_hook():
    assert sorted(HOOK_KINDS.values()) == sorted(KINDS)
    assert set(HOOK_KINDS) == set(HOOKS)


def test_a_hook_takes_nothing_and_gives_descriptors_of_its_kind():
    for name, function in HOOKS.items():
        signature = inspect.signature(function)
        assert not signature.parameters
        assert signature.return_annotation == f"Iterable[{KINDS[HOOK_KINDS[name]].__name__}]"
        assert function.__doc__


def test_the_face_of_plugin_authors_needs_the_standard_library_and_pluggy_only():
    code = (
        "import sys; before = set(sys.modules); import regplug.api, regplug.hookspecs; "
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    assert {name for name in tops if name not in sys.stdlib_module_names} <= {"regplug", "pluggy"}

"""Studies of the lab."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from regplug.api import NoParams, Study
from regplug.lab import Findings, run
from regplug.registry.studies import typed
from regplug.reports.files import save_figures
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.generators import generators_untouched
from regplug.testing.subject import Subject

LONGEST_QUICK_S = 60.0
"""A study that declares more in quick mode fails; one that declares more than `LONGEST_RUN_S` is not run here."""

LONGEST_RUN_S = 20.0


def asks_a_question(subject: Subject) -> None:
    """A study without a question or duration: a list of studies would not say what it answers and how long it takes."""
    study = subject.descriptor(Study)
    expect(study.question.endswith("?"), f"the question is {study.question!r} and ends with no question mark")
    full, quick = study.seconds
    expect(0 < quick <= LONGEST_QUICK_S, f"the quick mode takes {quick:g} s, and may take {LONGEST_QUICK_S:g}")
    expect(full > 0, f"the full mode takes {full:g} s")
    expect(study.params is NoParams, "it has parameters, which no command can set")


def quick_mode_refutes_nothing(subject: Subject) -> None:
    """A study that fails in quick mode, or whose claims do not hold there although only seeds and epochs are few."""
    study = subject.descriptor(Study)
    if study.seconds[1] > LONGEST_RUN_S:
        raise NotApplicable(f"its quick mode takes {study.seconds[1]:g} s")
    # MLflow draws from Python's generator.
    untouched = generators_untouched("running the study", apart_from=("random",))
    with tempfile.TemporaryDirectory() as place, untouched:
        uri = f"sqlite:///{place}/mlflow.db"
        with attempting("running it in quick mode"):
            result = run(typed(study.name), quick=True, tracking_uri=uri, out=place, registry=subject.registry)
        findings: Findings = result.findings
        with attempting("writing its figures and its document"):
            save_figures(findings.figures, Path(place), ("png",))
            json.dumps(result.document(), allow_nan=False)
    expect(findings.claims, "it makes no claim")
    for claim in findings.claims:
        expect(claim.verdict != "DOES NOT HOLD", f"{claim.name}: {claim.why}")
        expect(claim.source, f"the claim {claim.name} names no source")


CHECKS = (asks_a_question, quick_mode_refutes_nothing)

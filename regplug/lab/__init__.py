"""The lab: studies that reproduce the experiments of a textbook, each with figures and a verdict.

A plugin describes a study by a `regplug.api.Study`, whose target is a function of a `Lab` that returns `Findings`:

```python
from regplug.lab import Findings, Lab, curves, within

def study(lab: Lab) -> Findings:
    runs = lab.sweep(model="linear", dataset="linear_regression", reg=["l2:strength=3"], epochs=100)
    norms = runs.values("norm/weight")
    return Findings(
        claims=[within("norm", "Decay shrinks the weights.", norms, 0.315, 0.421, source="FACTS A2")],
        values={"norm": norms},
        figures=[curves("norm", "Norm", "Mean of the seeds.", {"norm": {"l2": runs.curves("norm/weight")}})],
    )
```
"""

from regplug.lab.claims import Claim, Verdict, bounded, equal, exact, greater, mostly_greater, rate, within
from regplug.lab.figures import Dots, Drawing, curves, functions, histograms, panels, series, spreads
from regplug.lab.findings import Findings
from regplug.lab.laboratory import Lab, Runs
from regplug.lab.results import LabResult
from regplug.lab.studying import run
from regplug.registry.studies import installed_studies
from regplug.reports.plots import Band, Panel

__all__ = [
    "Band",
    "Claim",
    "Dots",
    "Drawing",
    "Findings",
    "Lab",
    "LabResult",
    "Panel",
    "Runs",
    "Verdict",
    "bounded",
    "curves",
    "equal",
    "exact",
    "functions",
    "greater",
    "histograms",
    "installed_studies",
    "mostly_greater",
    "panels",
    "rate",
    "run",
    "series",
    "spreads",
    "within",
]

"""The overhead of composition: run-mlp with 0, 3 and 8 identities, and with l2 + clip_norm + max_norm.

The hand-written loop uses a penalty in the loss, torch's clip_grad_norm_ and torch.renorm. regplug's dropout is cheaper
than nn.Dropout and would hide an overhead, so that pair is also timed without dropout.
"""

from __future__ import annotations

from functools import partial

from benchmarks.by_hand import bound_rows, clip, l2_penalty
from benchmarks.measure import Case, Claim, take_turns
from benchmarks.ours import data_of
from benchmarks.report import Report
from benchmarks.run_mlp import by_hand, config_with, ours

THREE = ("l2:strength=0.0001", "clip_norm:max_norm=1.0", "max_norm:max_norm=2.0")


def bench(repeats: int) -> Report:
    """Times them in turns."""
    data = data_of(config_with())
    parts = {"penalty": l2_penalty(0.0001), "before_step": clip(1.0), "after_step": partial(bound_rows, max_norm=2.0)}
    cases = [
        *(
            Case(name=f"{count} identities", prepare=ours(data, *(f"none@id{n}" for n in range(count))))
            for count in (0, 3, 8)
        ),
        Case(name="l2+clip_norm+max_norm", prepare=ours(data, *THREE)),
        Case(name="the same by hand", prepare=by_hand(data, **parts)),
        Case(name="no dropout", prepare=ours(data, *THREE, drop=False)),
        Case(name="no dropout, by hand", prepare=by_hand(data, drop=False, **parts)),
    ]
    claims = [
        Claim(case="3 identities", over="0 identities", limit=1.05),
        Claim(case="8 identities", over="0 identities", limit=1.05),
        Claim(case="l2+clip_norm+max_norm", over="the same by hand", limit=1.05),
        Claim(case="no dropout", over="no dropout, by hand", limit=1.05),
    ]
    return Report(name="host-overhead", timings=take_turns(cases, repeats), claims=claims)

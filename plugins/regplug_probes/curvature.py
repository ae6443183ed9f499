"""The largest eigenvalue of the Hessian.

Shape letters: P parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from regplug.probes import Probe, ProbeView
from regplug_probes import SharpnessParams
from regplug_probes.layers import finite


class Eigenvalue(NamedTuple):
    """The largest eigenvalue found.

    Args:
        value: The Ritz value.
        residual: ||H v - value * v|| of its unit vector v: an eigenvalue of H is that near.
    """

    value: float
    residual: float


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], start_P: Tensor, *, iterations: int, tolerance: float
) -> Eigenvalue:
    """Returns the largest (not the largest in size) eigenvalue of a symmetric matrix H by the Lanczos method.

    Three vectors are kept, and nothing is made orthogonal again: the copies of an eigenvalue that rounding then
    produces do not change the largest one.

    Args:
        product: v -> H v, both `(P,)`.
        start_P: Where to start, not zero, float64.
        iterations: Most products.
        tolerance: It stops when the residual is at most this fraction of the eigenvalue.

    Source: Lanczos 1950; Golub & Van Loan, Matrix Computations, section 10.1; Paige 1971 for the rounding.
    """
    current_P, last_P = start_P / torch.linalg.vector_norm(start_P), torch.zeros_like(start_P)
    diagonal, beside = [], [0.0]
    found = Eigenvalue(0.0, float("inf"))
    for _ in range(min(iterations, len(start_P))):
        next_P = product(current_P) - beside[-1] * last_P
        diagonal.append(float(next_P @ current_P))
        next_P = next_P - diagonal[-1] * current_P
        beside.append(float(torch.linalg.vector_norm(next_P)))
        matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        off = torch.tensor(beside[1:-1], dtype=torch.float64)
        values, vectors = torch.linalg.eigh(matrix + off.diag(1) + off.diag(-1))
        found = Eigenvalue(float(values[-1]), beside[-1] * abs(float(vectors[-1, -1])))
        if found.residual <= tolerance * abs(found.value):
            break
        last_P, current_P = current_P, next_P / beside[-1]
    return found


class Sharpness(Probe):
    """`sharpness/largest_eigenvalue` of the Hessian of the mean data loss over the sample, and `sharpness/residual`.

    The Hessian is that by all trained parameters, in evaluation mode, without penalties. The residual bounds the
    distance to an eigenvalue; more iterations make it smaller. The start vector is the same at each measurement.
    """

    def __init__(self, params: SharpnessParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the eigenvalue and its residual."""
        values = {name: value.detach().clone().requires_grad_() for name, value in view.trained_params.items()}
        given = list(values.values())
        grads = torch.autograd.grad(view.loss_at(values), given, create_graph=True, materialize_grads=True)
        if not any(grad.requires_grad for grad in grads):
            return {}
        grad_P = torch.cat([grad.flatten() for grad in grads])

        def product(vector_P: Tensor) -> Tensor:
            parts = torch.autograd.grad(
                grad_P, given, vector_P.to(grad_P.dtype), retain_graph=True, materialize_grads=True
            )
            return torch.cat([part.flatten() for part in parts]).double()

        start_P = torch.randn(len(grad_P), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        found = largest_eigenvalue(
            product, start_P.to(grad_P.device), iterations=self.params.iterations, tolerance=self.params.tolerance
        )
        return finite({"sharpness/largest_eigenvalue": found.value, "sharpness/residual": found.residual})

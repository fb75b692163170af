"""What finds the minimum of a cost of least squares: L-BFGS of SciPy, and the iteration of Gauss and Newton; and what
any minimiser is told where a model blows up.

A problem has `cost(z)`, which gives the cost, infinite where the model blows up, and its gradient; and `linearised(z)`,
which gives d and an operator A such that the cost of z + s is about 1/2 |A s - d|^2.
"""

from typing import NamedTuple

import numpy as np

from l96kit.propagators import BlowUpError

BLOW_UPS = BlowUpError, OverflowError  # of a run, of its adjoint
HALVINGS = 30  # of a step that leads up


class Minimum(NamedTuple):
    z: np.ndarray
    cost: float
    iterations: int
    evaluations: int
    converged: bool


def or_infinite(J, *gradients):
    """A cost (...) and its gradients (..., n): an infinite one and zeros where any of them is not finite.

    A line search takes that for a step too long.
    """
    good = np.isfinite(J)
    for gradient in gradients:
        good = good & np.isfinite(gradient).all(axis=-1).reshape(-1, *np.shape(J)).all(axis=0)
    return np.where(good, J, np.inf)[()], *(np.where(good[..., None], g, g.dtype.type(0)) for g in gradients)


def l_bfgs(problem, z, iterations, tolerance) -> Minimum:
    from scipy.optimize import minimize

    costs = []

    def to_minimise(z):
        J, gradient = problem.cost(z)
        costs.append(J)
        if not np.isfinite(J):
            return 10 * costs[0], np.zeros_like(z)  # a trial far off: the line search comes back from it
        return J, gradient

    options = {"maxiter": iterations, "maxfun": 10 * iterations, "ftol": tolerance, "gtol": tolerance}
    found = minimize(to_minimise, z, jac=True, method="L-BFGS-B", options=options)
    if not np.isfinite(found.x).all():  # SciPy lost its way, and does not say so
        return Minimum(z, costs[0], found.nit, found.nfev, False)
    return Minimum(found.x, found.fun, found.nit, found.nfev, found.success)


def gauss_newton(problem, z, iterations, tolerance) -> Minimum:
    """Each step solves the linearised problem by LSMR, that is with conjugate gradients on its normal equations, and is
    halved until the cost falls."""
    from scipy.sparse.linalg import lsmr

    (J, _), evaluations = problem.cost(z), 1
    for iteration in range(1, iterations + 1):
        A, d = problem.linearised(z)
        step, _, inner = lsmr(A, d, atol=tolerance, btol=tolerance, conlim=0, maxiter=10 * z.size)[:3]
        evaluations += 1 + inner
        for _ in range(HALVINGS):
            trial, _ = problem.cost(z + step)
            evaluations += 1
            if trial <= J:
                break
            step = step / 2
        else:
            return Minimum(z, J, iteration, evaluations, False)
        z, fell, J = z + step, J - trial, trial
        if not fell > tolerance * J:
            return Minimum(z, J, iteration, evaluations, True)
    return Minimum(z, J, iterations, evaluations, False)


MINIMISERS = {"L-BFGS": l_bfgs, "Gauss-Newton": gauss_newton}

"""4D-Var from its equations, with explicit matrices."""

import numpy as np

from l96kit.reference.linearize import jacobians


def gauss_newton(background, B, forecast, observe, y, R, iterations):
    """Incremental 4D-Var with one batch of observations at the end of the window (Courtier et al. 1994): the start of
    the window and, by the last increment, its end.

    `forecast` and `observe` are functions of one state that take complex numbers.
    """
    x = background
    for _ in range(iterations):
        later, (M,) = forecast(x), jacobians(forecast, [x])
        H = jacobians(observe, [later])[0] @ M
        hessian = np.linalg.inv(B) + H.T @ np.linalg.inv(R) @ H
        gradient = H.T @ np.linalg.solve(R, y - observe(later)) - np.linalg.solve(B, x - background)
        increment = np.linalg.solve(hessian, gradient)
        x = x + increment
    return x, later + M @ increment

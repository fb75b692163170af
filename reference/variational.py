"""4D-Var from its equations, with explicit matrices."""

import numpy as np


def gauss_newton(background, B, forecast, observe, jacobian, y, R, iterations):
    """Incremental 4D-Var with one batch of observations at the end of the window (Courtier et al. 1994): the start of
    the window and, by the last increment, its end.

    `forecast` and `observe` are functions of one state, `jacobian(function, x)` the matrix of the derivative of one.
    """
    x = background
    for _ in range(iterations):
        later, M = forecast(x), jacobian(forecast, x)
        H = jacobian(observe, later) @ M
        hessian = np.linalg.inv(B) + H.T @ np.linalg.inv(R) @ H
        gradient = H.T @ np.linalg.solve(R, y - observe(later)) - np.linalg.solve(B, x - background)
        increment = np.linalg.solve(hessian, gradient)
        x = x + increment
    return x, later + M @ increment


def cost(x, errors, background, B, Q, forecast, observe, y, R):
    """The cost of the weak constraint (Tremolet 2006, eq. 4): observations y (time, n) at the start of the window and
    after each forecast, to which an error (time - 1, site) is added. No B and no Q stand for no such term."""
    J = 0 if B is None else (x - background) @ np.linalg.solve(B, x - background)
    for t, values in enumerate(y):
        if t:
            x = forecast(x) + errors[t - 1]
            J = J + (errors[t - 1] @ np.linalg.solve(Q, errors[t - 1]) if Q is not None else 0)
        J = J + (observe(x, t) - values) @ np.linalg.solve(R, observe(x, t) - values)
    return J / 2

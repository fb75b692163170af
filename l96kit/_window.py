"""One window of 4D-Var as a problem of least squares."""

import numpy as np

from l96kit._minimisers import BLOW_UPS, or_infinite


class Window:
    """The problem of one window, in coordinates z: those of the start, and behind them those of the model's errors."""

    def __init__(self, method, observations, first_guess, background):
        self.method, self.observations, self.first_guess, self.background = (
            method,
            observations,
            first_guess,
            background,
        )
        self.sites, self.weak = len(first_guess), method.model_cov is not None
        self.prior = slice(
            0 if background is not None else self.sites, None
        )  # coordinates that have a term of their own
        self.begun = False

    def start(self):
        x, root = self.first_guess, self.method._background_cov
        begin = x if root is None else root.solve(x - self.background)
        return np.concatenate([begin, np.zeros(self.weak * (len(self.observations) - 1) * self.sites)]).astype(float)

    def split(self, z):
        """The start of the window and the errors, in the precision of the model."""
        x, errors = self._changes(z)
        return (x if self.background is None else self.background + x).astype(self.first_guess.dtype), errors

    def _changes(self, z):
        """The same of a change of z."""
        root, dtype = self.method._background_cov, self.first_guess.dtype
        x, rest = z[: self.sites], z[self.sites :].reshape(-1, self.sites)
        x = (x if root is None else root.multiply(x)).astype(dtype)
        return x, self.method._model_cov.multiply(rest).astype(dtype) if self.weak else None

    def _gathered(self, x_ad, errors_ad):
        """What comes back to z."""
        root = self.method._background_cov
        own = x_ad if root is None else root.multiply_transposed(x_ad)
        rest = self.method._model_cov.multiply_transposed(errors_ad).ravel() if self.weak else ()
        return np.concatenate([own, rest]).astype(float)

    def cost(self, z):
        x, errors = self.split(z)
        if not np.isfinite(x).all():
            return or_infinite(np.nan, z)
        try:
            J, *back = self.method._misfit(x, errors, self.observations)
        except BLOW_UPS:
            if not self.begun:  # the first guess itself
                raise
            return or_infinite(np.nan, z)
        if not (self.begun or np.isfinite(J)):
            raise ArithmeticError(
                f"first_guess: expected a finite cost, found {J}; observations or background are too far from it"
            )
        self.begun = True
        gradient, prior = self._gathered(*back), z[self.prior]
        gradient[self.prior] += prior
        return or_infinite(float(J) + 0.5 * prior @ prior, gradient)

    def linearised(self, z):
        from scipy.sparse.linalg import LinearOperator

        method, observations, prior = self.method, self.observations, z[self.prior]
        x, errors = self.split(z)
        y = method.trajectory(x, len(observations), errors)
        innovation = observations.weighted(observations.values - observations.of(y))
        seen = innovation.size

        def forward(step):
            y_tl = method._tangent(y, *self._changes(step))
            return np.concatenate([observations.weighted_tl(y, y_tl).ravel(), step[self.prior]])

        def transposed(w):
            own = w[:seen].reshape(innovation.shape).astype(y.dtype)
            found = self._gathered(*method._adjoint(y, observations.weighted_ad(y, own), self.weak))
            found[self.prior] += w[seen:]
            return found

        A = LinearOperator((seen + prior.size, z.size), matvec=forward, rmatvec=transposed, dtype=float)
        return A, np.concatenate([innovation.ravel(), -prior])

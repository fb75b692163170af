"""The tangent of a run as an operator of SciPy's."""

import numpy as np
from scipy.sparse.linalg import LinearOperator


class Tangent(LinearOperator):
    """Products with d x(steps) / d x(0) about a run from x (site,), and with its transpose; no matrix."""

    def __init__(self, propagator, x, steps):
        super().__init__(x.dtype, (len(x), len(x)))
        self.propagator, self.x, self.steps = propagator, x, steps

    def _matmat(self, v):
        return self._of_each_part(self._forward, v)

    def _rmatmat(self, w):
        return self._of_each_part(self._transposed, w)

    def _matvec(self, v):
        return self._matmat(np.ravel(v))

    def _rmatvec(self, w):
        return self._rmatmat(np.ravel(w))

    def _of_each_part(self, product, v):
        if np.iscomplexobj(v):
            return product(v.real) + 1j * product(v.imag)
        return product(v)

    def _forward(self, v):
        v = np.asarray(v, self.dtype)
        return self.propagator.trajectory_tl(self.x, v.T, self.steps, self.steps)[1].T

    def _transposed(self, w):
        w = np.asarray(w, self.dtype)
        y_ad = np.stack([np.zeros_like(w.T), w.T])
        return self.propagator.trajectory_ad(np.broadcast_to(self.x, w.T.shape), y_ad, self.steps)[0].T

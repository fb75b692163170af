"""The tangent of a run as an operator of SciPy's."""

import numpy as np
from scipy.sparse.linalg import LinearOperator

from l96kit import _arrays


class Tangent(LinearOperator):
    """Products with d x(steps) / d x(0) about a run from x (site,), or with its transpose; no matrix."""

    def __init__(self, propagator, x, steps, transposed=False):
        super().__init__(x.dtype, (len(x), len(x)))
        self.propagator, self.x, self.steps, self.transposed = propagator, x, steps, transposed

    def dot(self, v):
        """The product with a vector (site,), a matrix (site, column), another operator or a number."""
        is_plain = isinstance(v, (LinearOperator, int, float, complex, np.number))
        return super().dot(v if is_plain else self._checked(v))

    def __matmul__(self, v):
        return super().__matmul__(v if isinstance(v, LinearOperator) else self._checked(v))

    def _checked(self, v):
        v, sites = _arrays.array(v, "v"), len(self.x)
        if v.ndim not in (1, 2) or len(v) != sites:
            raise ValueError(f"v: expected shape ({sites},) or ({sites}, column), found {v.shape}; give one row a site")
        return v

    def _matmat(self, v):
        return self._of_each_part(self._back if self.transposed else self._forward, v)

    def _matvec(self, v):
        return self._matmat(np.ravel(v))

    def _adjoint(self):
        return Tangent(self.propagator, self.x, self.steps, not self.transposed)

    _transpose = _adjoint  # it is real

    def _rmatvec(self, w):
        return self._adjoint()._matvec(w)

    def _rmatmat(self, w):
        return self._adjoint()._matmat(w)

    def _of_each_part(self, product, v):
        v = _arrays.array(v, "v")
        if v.dtype.kind == "c":
            return product(v.real) + 1j * product(v.imag)
        return product(_arrays.real(v, "v"))

    def _forward(self, v):
        v = _arrays.in_precision(v, "v", self.dtype)
        return self.propagator.trajectory_tl(self.x, v.T, self.steps, self.steps)[1].T

    def _back(self, w):
        w = _arrays.in_precision(w, "v", self.dtype)
        y_ad = np.stack([np.zeros_like(w.T), w.T])
        return self.propagator.trajectory_ad(np.broadcast_to(self.x, w.T.shape), y_ad, self.steps)[0].T

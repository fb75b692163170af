"""Square roots of covariances: what takes uncorrelated numbers of variance one to errors."""

import numpy as np

from l96kit import _arrays


class SquareRoot:
    """cov^(1/2) of variances (site,), or the lower Cholesky factor of a covariance (site, site)."""

    def __init__(self, cov, sites, name):
        cov = _arrays.finite(_arrays.floating(cov, name), name)
        if cov.shape not in ((sites,), (sites, sites)):
            raise ValueError(
                f"{name}: expected shape ({sites},) for variances or ({sites}, {sites}), found {cov.shape}; "
                "give one row a site"
            )
        if cov.ndim == 1 and not (cov > 0).all():
            raise ValueError(f"{name}: expected positive variances, found {cov.min():g}; it must be positive definite")
        self.root = np.sqrt(cov) if cov.ndim == 1 else _arrays.cholesky(cov, sites, name)

    def multiply(self, v):
        """v (..., site)"""
        return self.root * v if self.root.ndim == 1 else v @ self.root.T

    def multiply_transposed(self, x):
        return self.root * x if self.root.ndim == 1 else x @ self.root

    def solve(self, x):
        return self._solved(x, "N")

    def solve_transposed(self, v):
        return self._solved(v, "T")

    def _solved(self, x, which):
        from scipy.linalg import solve_triangular

        if self.root.ndim == 1:
            return x / self.root
        return solve_triangular(self.root, x.reshape(-1, len(self.root)).T, lower=True, trans=which).T.reshape(x.shape)

"""Analyses of ensembles, from the equations of their papers, with explicit matrices and one observation time each.

E (member, site) is the forecast ensemble, Y (member, n) what its members would observe, y (n,) what was observed and
R (n, n) the covariance of its error. All return the analysis ensemble (member, site). Inflation and rotation come
after, as they do in DAPPER.
"""

import numpy as np
from scipy.linalg import sqrtm
from scipy.optimize import minimize_scalar
from scipy.special import ndtr


def anomalies(E):
    return E - E.mean(axis=0)


def kalman(mean, cov, H, R, y):
    """The exact analysis of a Gaussian: mean and covariance (Kalman 1960)."""
    gain = cov @ H.T @ np.linalg.inv(H @ cov @ H.T + R)
    return mean + gain @ (y - H @ mean), (np.eye(len(mean)) - gain @ H) @ cov


def perturbations(normals, R):
    """Draws from N(0, R), (member, n), centred and with the spread that centring took from them."""
    centred = anomalies(normals) * np.sqrt(len(normals) / (len(normals) - 1))
    return centred @ np.linalg.cholesky(R).T


def stochastic(E, Y, y, R, normals):
    """The EnKF with perturbed observations (Burgers et al. 1998; Evensen 2003, eq. 63)."""
    A, B, divisor = anomalies(E), anomalies(Y), len(E) - 1
    gain = (A.T @ B / divisor) @ np.linalg.inv(B.T @ B / divisor + R)
    return E + (y + perturbations(normals, R) - Y) @ gain.T


def transform(B, d, R, variance=1.0):
    """Weights w (member,) of the mean and the symmetric T (member, member) of the anomalies (Hunt et al. 2007, eqs. 21
    and 23), about prior weights of covariance variance / (N - 1)."""
    inverse = np.linalg.inv(R)
    hessian = (len(B) - 1) / variance * np.eye(len(B)) + B @ inverse @ B.T
    return np.linalg.solve(hessian, B @ inverse @ d), np.real(sqrtm((len(B) - 1) * np.linalg.inv(hessian)))


def etkf(E, Y, y, R):
    """The ensemble transform filter with the symmetric square root (Hunt et al. 2007)."""
    w, T = transform(anomalies(Y), y - Y.mean(axis=0), R)
    return E.mean(axis=0) + (w + T) @ anomalies(E)


def letkf(E, Y, y, R, coefficients):
    """One transform for each site; coefficients (site, n) multiply the precision of the observations (Hunt et al. 2007,
    section 2.3). R is diagonal."""
    found = np.empty_like(E)
    for site, own in enumerate(coefficients):
        seen = own > 0
        R_own = np.diag(np.diag(R)[seen] / own[seen])
        w, T = transform(anomalies(Y)[:, seen], (y - Y.mean(axis=0))[seen], R_own)
        found[:, site] = E[:, site].mean() + (w + T) @ anomalies(E)[:, site]
    return found


def serial(E, Y, y, R):
    """The square root filter, one observation after another (Whitaker & Hamill 2002, eqs. 10 to 13). R is diagonal."""
    E, Y, divisor = E.copy(), Y.copy(), len(E) - 1
    for i, (value, variance) in enumerate(zip(y, np.diag(R))):
        joint = np.hstack([E, Y])
        mean, change, own = joint.mean(axis=0), anomalies(joint), anomalies(Y)[:, i]
        total = own @ own / divisor + variance
        gain = change.T @ own / divisor / total
        reduced = gain / (1 + np.sqrt(variance / total))
        joint = mean + gain * (value - Y[:, i].mean()) + change - np.outer(own, reduced)
        E, Y = joint[:, : E.shape[1]], joint[:, E.shape[1] :]
    return E


def finite_size_inflation(Y, y, R, strength=1.0):
    """The factor of the prior anomalies at the lowest minimum of the dual cost of the EnKF-N, in which the covariance
    that an ensemble stands for is uncertain (Bocquet, Raanes & Hannart 2015, eqs. 36 and 38; Raanes, Bocquet & Carrassi
    2019).

    `strength` multiplies both constants, as `xN` does in DAPPER.
    """
    members, root = len(Y), np.linalg.cholesky(R)
    B = np.linalg.solve(root, anomalies(Y).T).T
    d = np.linalg.solve(root, y - Y.mean(axis=0))
    e, c = (members + 1) / members, members / (members - 1)
    correction = np.sqrt((e / c) ** np.mean((members - 1) / ((members - 1) + np.linalg.eigvalsh(B @ B.T))))
    e, c = strength * e / correction, strength * c * correction

    def cost(factor):
        total = (members - 1) * np.eye(len(d)) + factor**2 * B.T @ B
        return d @ np.linalg.solve(total, d) + e / factor**2 + c * np.log(factor**2)

    near = np.geomspace(0.1, 1e4, 400)
    at = np.argmin([cost(factor) for factor in near])
    around = near[max(at - 1, 0)], near[min(at + 1, len(near) - 1)]
    return minimize_scalar(cost, bounds=around, method="bounded", options={"xatol": 1e-10}).x


def finite_size(E, Y, y, R, strength=1.0):
    """The EnKF-N: the symmetric transform of an ensemble whose anomalies were inflated as its innovation asks for."""
    factor = finite_size_inflation(Y, y, R, strength)
    return etkf(*(part.mean(axis=0) + factor * anomalies(part) for part in (E, Y)), y, R)


def iterated(E, forecast, observe, y, R, iterations, tolerance=0.0):
    """The iterative smoother in its transform form, with one batch of observations at the end of the window: the
    ensemble at the start of the window (Bocquet & Sakov 2014, algorithm 1), and that at its end, by the last increment.
    It stops when the change of the weights is at most `tolerance` a member.
    """
    mean, A, divisor = E.mean(axis=0), anomalies(E), len(E) - 1
    w, T = np.zeros(len(E)), np.eye(len(E))
    inverse = np.linalg.inv(R)
    for _ in range(iterations):
        later = forecast(mean + w @ A + T @ A)
        Y = observe(later)
        back = np.linalg.inv(T)
        B, sensitivity = back @ anomalies(Y), back @ anomalies(later)
        hessian = divisor * np.eye(len(E)) + B @ inverse @ B.T
        change = np.linalg.solve(hessian, B @ inverse @ (y - Y.mean(axis=0)) - divisor * w)
        w, T = w + change, np.real(sqrtm(divisor * np.linalg.inv(hessian)))
        if np.linalg.norm(change) <= tolerance * len(E):
            break
    return mean + w @ A + T @ A, later.mean(axis=0) + change @ sensitivity + T @ sensitivity


def resampled(E, Y, y, R, normals, jitter=0.0):
    """The bootstrap filter: systematic draws by likelihood (Kitagawa 1996) and a Gaussian kernel about each (Musso,
    Oudjane & Le Gland 2001). `normals` are one number, and then one for each member and site."""
    members, sites = E.shape
    weights = np.array([np.exp(-0.5 * (y - own) @ np.linalg.solve(R, y - own)) for own in Y])
    weights /= weights.sum()
    places = (ndtr(normals[0]) + np.arange(members)) / members
    drawn = np.searchsorted(np.cumsum(weights), places).clip(max=members - 1)
    cov = (E - weights @ E).T @ np.diag(weights) @ (E - weights @ E)
    bandwidth = (4 / (sites + 2) / members) ** (1 / (sites + 4))
    moves = normals[1:].reshape(members, sites) @ np.linalg.cholesky(cov).T if jitter else 0.0
    return E[drawn] + jitter * bandwidth * moves


def four_d_envar(E, trajectory, observe, y, R, normals, coefficients):
    """4DEnVar with perturbed observations y (time, n), one member at a time: the minimum of its cost, whose background
    covariance is that of the ensemble at all times, localized (Liu et al. 2008; Desroziers et al. 2014).

    `trajectory` gives (time, member, site); `normals` are (time, member, n); `coefficients` (site and observation,
    observation) localize covariances.
    """
    states = trajectory(E)
    Y = np.concatenate([observe(state, t) for t, state in enumerate(states)], axis=1)
    errors = np.concatenate([perturbations(own, R) for own in normals], axis=1)
    joint = anomalies(np.hstack([E, Y]))
    P = coefficients * (joint.T @ anomalies(Y)) / (len(E) - 1)
    sites = E.shape[1]
    gain = P[:sites] @ np.linalg.inv(P[sites:] + np.kron(np.eye(len(y)), R))
    return np.stack([member + gain @ (y.ravel() + error - own) for member, error, own in zip(E, errors, Y)])


def inflated(E, factor):
    return E.mean(axis=0) + factor * anomalies(E)


def rotation(normals):
    """A random orthogonal matrix (member, member) that keeps the mean, from rows of 1, 2, .., member - 1 normal
    numbers: a product of reflections, uniform over all such matrices (Stewart 1980)."""
    members = len(normals) + 1
    Q = np.eye(members)
    for length, row in enumerate(normals, start=1):
        Q = exchange(np.concatenate([np.zeros(members - length), row[:length]]), members - length) @ Q
    basis = exchange(np.ones(members), 0)
    return basis @ Q @ basis


def exchange(v, at):
    """The reflection (n, n) that exchanges the direction of v and the unit vector `at`."""
    normal = -v / np.linalg.norm(v)
    normal[at] += 1
    size = normal @ normal
    return np.eye(len(v)) - 2 * np.outer(normal, normal) / size if size else np.eye(len(v))

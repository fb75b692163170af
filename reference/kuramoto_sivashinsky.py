"""The Kuramoto-Sivashinsky equation in plain NumPy, its operators as dense real matrices over the sites.

    du/dt = -u u_x - u_xx - u_xxxx,    periodic, with a domain of length L

Mode k has the wavenumber q = 2 pi k / L, but that of Nyquist is zero. One step is that of ETD-RK4 (Cox & Matthews 2002,
eqs. 26 to 29; settings of Kassam & Trefethen 2005).
"""

from math import factorial

import numpy as np
from scipy.linalg import circulant


def _wavenumbers(sites, length):
    """Of all modes k = -N/2 + 1 .. N/2."""
    k = np.arange(-(sites // 2) + 1, sites // 2 + 1)
    return k, np.where(k == sites // 2, 0, 2 * np.pi * k / length)


def even(function, sites, length):
    """The symmetric matrix that multiplies each mode by function(wavenumber)."""
    k, q = _wavenumbers(sites, length)
    return circulant(np.cos(2 * np.pi * np.outer(np.arange(sites), k) / sites) @ function(q) / sites)


def odd(function, sites, length):
    """The skew-symmetric matrix that multiplies each mode by i function(wavenumber)."""
    k, q = _wavenumbers(sites, length)
    return circulant(-np.sin(2 * np.pi * np.outer(np.arange(sites), k) / sites) @ function(q) / sites)


def linear(q):
    return q**2 - q**4


def tendency(x, length):
    """Of x (..., site): (..., site). Any dtype, also complex."""
    sites = x.shape[-1]
    return x @ even(linear, sites, length).T + (x * x) @ odd(lambda q: -q / 2, sites, length).T


def _phi(m, z):
    """phi_m(z) = sum_n z^n / (n + m)!, whose recursion loses digits near zero, where the series is short."""
    z = np.asarray(z, np.longdouble)
    small = np.abs(z) < 1
    series = sum(np.where(small, z, 0) ** n / np.longdouble(factorial(n + m)) for n in range(26))
    safe = np.where(small, 1, z)
    closed = np.exp(safe)
    for n in range(m):
        closed = (closed - 1 / np.longdouble(factorial(n))) / safe
    return np.where(small, series, closed).astype(float)


def step(x, length, dt):
    """One step of ETD-RK4: (..., site) to (..., site). Any dtype, also complex."""
    sites = x.shape[-1]

    def along(weight):
        """A function of A dt times dt D, as applied to w(u) = u^2."""
        matrix = odd(lambda q: -q / 2 * dt * weight(dt * linear(q)), sites, length)
        return lambda u: (u * u) @ matrix.T

    half_way = even(lambda q: np.exp(dt / 2 * linear(q)), sites, length)
    whole_way = even(lambda q: np.exp(dt * linear(q)), sites, length)
    Q = along(lambda z: _phi(1, z / 2) / 2)
    first = along(lambda z: _phi(1, z) - 3 * _phi(2, z) + 4 * _phi(3, z))
    middle = along(lambda z: 2 * _phi(2, z) - 4 * _phi(3, z))
    last = along(lambda z: 4 * _phi(3, z) - _phi(2, z))
    a = x @ half_way.T + Q(x)
    b = x @ half_way.T + Q(a)
    c = a @ half_way.T + 2 * Q(b) - Q(x)
    return x @ whole_way.T + first(x) + middle(a) + middle(b) + last(c)

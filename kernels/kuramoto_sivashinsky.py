"""The Kuramoto-Sivashinsky equation, as it is solved in Fourier space.

    du/dt = -u u_x - u_xx - u_xxxx,    periodic in x with a domain of length L,

of the form du/dt = A u + D w(u), with w(u) = u^2 at each site, A = -d^2/dx^2 - d^4/dx^4 and D = -1/2 d/dx. Mode k has
the wavenumber q = 2 pi k / L; A multiplies it by q^2 - q^4 and D by -i q / 2. The Nyquist mode has no derivative and is
given the wavenumber zero, which leaves it as it is, like the mean. The source is Kassam & Trefethen (2005), section 4,
all quantities dimensionless.
"""

import numpy as np

NAME = "kuramoto-sivashinsky"
REACH = 0
PARAMETERS = ()
SPECTRAL = True


def symbols(sites, length):
    """What A and i D multiply the modes by: two arrays (site / 2,), whose first is of Nyquist too."""
    q = 2 * np.pi * np.arange(sites // 2) / length
    return q**2 - q**4, q / 2


def product(u):
    """w(u)."""
    return u * u


def product_tl(u, u_tl):
    return u * u_tl + u_tl * u


def product_ad(u, w_ad):
    return (u + u) * w_ad

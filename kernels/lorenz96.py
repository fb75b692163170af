"""One-level Lorenz-96: tendency, tangent linear and adjoint at one site.

Each function sees a window of the ring: `x[0]` is the value at this site, `x[1]` at its right and `x[-1]` at its left
neighbour, up to `REACH` sites away. `p` holds one such window for each parameter. The source is Lorenz (1996), eq. 1,

    dx_k/dt = (x_{k+1} - x_{k-2}) x_{k-1} - x_k + F_k,        k = 1..K, periodic,

with the state and the forcing dimensionless and one time unit equal to five days of the atmosphere.
"""

NAME = "lorenz96"
REACH = 2
PARAMETERS = ("F",)


def tendency(x, p):
    (F,) = p
    return (x[1] - x[-2]) * x[-1] - x[0] + F[0]


def tendency_tl(x, p, x_tl, p_tl):
    (F_tl,) = p_tl
    return (x_tl[1] - x_tl[-2]) * x[-1] + (x[1] - x[-2]) * x_tl[-1] - x_tl[0] + F_tl[0]


def tendency_ad(x, p, y_ad):
    """What the sites k+1, k+2, k-1 and k, whose tendencies depend on x_k, send back to it; then the same for F_k."""
    x_ad = (x[2] - x[-1]) * y_ad[1] - x[1] * y_ad[2] + x[-2] * y_ad[-1] - y_ad[0]
    return x_ad, (y_ad[0],)

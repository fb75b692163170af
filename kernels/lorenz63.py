"""The three equations of Lorenz (1963): tendency, tangent linear and adjoint.

A ring of one site with three fields, so that a tile is members side by side. The source is Lorenz (1963),
eqs. 25 to 27, all dimensionless,

    dx/dt = sigma (y - x),    dy/dt = rho x - y - x z,    dz/dt = x y - beta z.
"""

NAME = "lorenz63"
FIELDS = 3
REACH = 0
PARAMETERS = ("sigma", "rho", "beta")


def tendency(x, p):
    (x,), (y,), (z,) = x
    (sigma,), (rho,), (beta,) = p
    return sigma * (y - x), rho * x - y - x * z, x * y - beta * z


def tendency_tl(x, p, x_tl, p_tl):
    ((x,), (y,), (z,)), ((x_tl,), (y_tl,), (z_tl,)) = x, x_tl
    ((sigma,), (rho,), (beta,)), ((sigma_tl,), (rho_tl,), (beta_tl,)) = p, p_tl
    return (
        sigma_tl * (y - x) + sigma * (y_tl - x_tl),
        rho_tl * x + rho * x_tl - y_tl - x_tl * z - x * z_tl,
        x_tl * y + x * y_tl - beta_tl * z - beta * z_tl,
    )


def tendency_ad(x, p, y_ad):
    ((x,), (y,), (z,)), ((a,), (b,), (c,)) = x, y_ad
    (sigma,), (rho,), (beta,) = p
    x_ad = (rho - z) * b + y * c - sigma * a
    y_ad = sigma * a - b + x * c
    z_ad = -x * b - beta * c
    return (x_ad, y_ad, z_ad), ((y - x) * a, x * b, -z * c)

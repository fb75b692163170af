"""The Lorenz-96 model with temperature: tendency, tangent linear and adjoint at one site.

As in `kernels.lorenz96`, with two fields: `x` and what comes back are pairs, of the momentum X and the temperature
theta. The source is Vissio & Lucarini (2020), eqs. 3 and 4,

    dX_k/dt     = X_{k-1} (X_{k+1} - X_{k-2}) - alpha theta_k - gamma X_k + F_k,
    dtheta_k/dt = X_{k+1} theta_{k+2} - X_{k-1} theta_{k-2} + alpha X_k - gamma theta_k + G_k,

k = 1..K, periodic, all dimensionless.
"""

NAME = "vissio-lucarini"
FIELDS = 2
REACH = 2
PARAMETERS = ("F", "G", "alpha", "gamma")


def tendency(x, p):
    X, theta = x
    F, G, alpha, gamma = p
    return (
        X[-1] * (X[1] - X[-2]) - alpha[0] * theta[0] - gamma[0] * X[0] + F[0],
        X[1] * theta[2] - X[-1] * theta[-2] + alpha[0] * X[0] - gamma[0] * theta[0] + G[0],
    )


def tendency_tl(x, p, x_tl, p_tl):
    (X, theta), (X_tl, theta_tl) = x, x_tl
    (_, _, alpha, gamma), (F_tl, G_tl, alpha_tl, gamma_tl) = p, p_tl
    advection = X_tl[-1] * (X[1] - X[-2]) + X[-1] * (X_tl[1] - X_tl[-2])
    heating = X_tl[1] * theta[2] + X[1] * theta_tl[2] - X_tl[-1] * theta[-2] - X[-1] * theta_tl[-2]
    exchange = alpha_tl[0] * theta[0] + alpha[0] * theta_tl[0], alpha_tl[0] * X[0] + alpha[0] * X_tl[0]
    friction = gamma_tl[0] * X[0] + gamma[0] * X_tl[0], gamma_tl[0] * theta[0] + gamma[0] * theta_tl[0]
    return advection - exchange[0] - friction[0] + F_tl[0], heating + exchange[1] - friction[1] + G_tl[0]


def tendency_ad(x, p, y_ad):
    """What the sites that depend on X_k and on theta_k send back to them; then what comes back to the parameters."""
    (X, theta), (A, B) = x, y_ad
    _, _, alpha, gamma = p
    advection = A[1] * (X[2] - X[-1]) + A[-1] * X[-2] - A[2] * X[1]
    heating = B[-1] * theta[1] - B[1] * theta[-1]
    X_ad = advection + heating + alpha[0] * B[0] - gamma[0] * A[0]
    theta_ad = B[-2] * X[-1] - B[2] * X[1] - alpha[0] * A[0] - gamma[0] * B[0]
    p_ad = A[0], B[0], X[0] * B[0] - theta[0] * A[0], -X[0] * A[0] - theta[0] * B[0]
    return (X_ad, theta_ad), p_ad

"""Exponential Runge-Kutta schemes for du/dt = A u + D w(u), with A and D diagonal in Fourier space.

A scheme of s stages keeps states u_0 = u, u_1, .., u_s = u' and terms n_i = w(u_i); with hats for spectra,

    u_{i+1} = sum_j P_ij(A dt) u_j + D sum_j Q_ij(A dt) n_j.

P and Q are real and even, hence symmetric; D is imaginary and odd, hence skew-symmetric: its adjoint is -D. So the
adjoint of the scheme is the transposed table, with the sign of every D turned, from the last stage to the first.
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from l96kit.kernels._targets import inline, part, reduction
from l96kit.kernels.tile import U, chain, in_turn


class Exponential(NamedTuple):
    """The table of a scheme: for each u_{i+1}, the terms (name of the coefficient, factor, j) of states and of w."""

    states: tuple
    products: tuple

    @property
    def stages(self):
        return len(self.states)


# Cox & Matthews (2002), eqs. 26 to 29; a = u_1, b = u_2, c = u_3.
SCHEMES = {
    "etdrk4": Exponential(
        states=((("E2", 1, 0),), (("E2", 1, 0),), (("E2", 1, 1),), (("E", 1, 0),)),
        products=(
            (("Q", 1, 0),),
            (("Q", 1, 1),),
            (("Q", 2, 2), ("Q", -1, 0)),
            (("f1", 1, 0), ("f2", 2, 1), ("f2", 2, 2), ("f3", 1, 3)),
        ),
    )
}

NAMES = ("A", "E", "E2", "Q", "f1", "f2", "f3", "1")  # of the coefficients; the last one is 1 for D alone
POINTS = 16


def coefficients(linear, turning, dt):
    """All coefficients (of `NAMES`, one after the other, and of i D last): (9 mode,).

    linear, turning : what A and i D multiply the modes by, (mode,)
    dt : the step; without one, None, those that depend on it are zero

    The quotients are means over points of a circle about A dt, since near zero they are differences of nearly equal
    numbers: Kassam & Trefethen (2005), eq. 2.5.
    """
    found = dict.fromkeys(NAMES, np.zeros_like(linear))
    found["A"], found["1"] = linear, np.ones_like(linear)
    if dt is not None:
        z = dt * linear[:, None] + np.exp(1j * np.pi * (np.arange(POINTS) + 0.5) / POINTS)
        found["E"], found["E2"] = np.exp(dt * linear), np.exp(dt * linear / 2)
        quotients = {
            "Q": (np.exp(z / 2) - 1) / z,
            "f1": (-4 - z + np.exp(z) * (4 - 3 * z + z**2)) / z**3,
            "f2": (2 + z + np.exp(z) * (z - 2)) / z**3,
            "f3": (-4 - 3 * z - z**2 + np.exp(z) * (4 - z)) / z**3,
        }
        found.update({name: dt * quotient.mean(axis=1).real for name, quotient in quotients.items()})
    return np.concatenate([*(found[name] for name in NAMES), turning])


TABLES = U(len(NAMES) + 1)


@inline
def coefficients_before_roots(count):
    """How many of so many numbers, coefficients (9 mode,) and roots of unity (4 mode,), are coefficients."""
    return count // (TABLES + U(4)) * TABLES


def mixing(team, lanes, plain, turned):
    """`mix(arrays, X, numbers)`: X = sum of coefficient * factor * arrays[index] over the terms of `plain`, plus D of
    that over `turned`. X is none of these arrays.
    """
    rows, within, together, sync, width = team.rows, team.within, team.together, team.sync, U(lanes)

    @inline
    def nothing(arrays, numbers, modes, k, j):
        return arrays[0].dtype.type(0)

    def plus(shorter, term):
        name, factor, index = term
        row, has_factor = U(NAMES.index(name)), factor != 1

        @inline
        def longer(arrays, numbers, modes, k, j):
            weight = numbers[row * modes + k]
            if has_factor:
                weight = arrays[0].dtype.type(factor) * weight
            return shorter(arrays, numbers, modes, k, j) + weight * arrays[index][j]

        return longer

    def total(terms):
        return chain(lambda shorter, i: plus(shorter, terms[i]), len(terms), nothing)

    plain_sum, turned_sum = total(plain), total(turned)

    @reduction
    def mix_modes(arrays, X, numbers, modes, begin, count):
        size = U(X.shape[0]) // count  # not a constant, or short loops are written out without vectors
        for i in range(count):
            k, at = begin + U(i), size * U(i)
            q, start = numbers[(TABLES - U(1)) * modes + k], size * k
            for lane in within(size // U(2)):
                lane = U(lane)
                re, im = start + lane, start + width + lane
                plain_a, plain_b = plain_sum(arrays, numbers, modes, k, re), plain_sum(arrays, numbers, modes, k, im)
                X[at + lane] = plain_a + q * turned_sum(arrays, numbers, modes, k, im)
                X[at + width + lane] = plain_b - q * turned_sum(arrays, numbers, modes, k, re)

    @part
    def mix(arrays, X, numbers):
        modes = U(numbers.shape[0]) // TABLES
        count = together(modes)
        for i in rows(U(0), modes // count, width):
            begin, size = i * count, U(2) * width
            mix_modes(arrays, X[size * begin : size * (begin + count)], numbers, modes, begin, count)
        sync()

    return mix


def transposed(scheme, j):
    """The terms of what comes back to u_j and to n_j from the later u_{i+1}, whose adjoints are arrays i."""
    states = [(name, factor, i) for i, terms in enumerate(scheme.states) for name, factor, at in terms if at == j]
    products = [(name, -factor, i) for i, terms in enumerate(scheme.products) for name, factor, at in terms if at == j]
    return states, products


def one_step(f, scheme, team, lanes):
    """As `runge_kutta.one_step`, of a spectral model.

    In the work space, y holds the spectra of u_0 .. u_{s-1}, those of n_0 .. n_{s-1} and a spare array, k the states
    u_1 .. u_{s-1} at the sites. Tangent and adjoint need these states alone, and use y for their own spectra.
    """
    stages, spectral = scheme.stages, f.spectral
    to_spectrum, to_sites = spectral.to_spectrum, spectral.to_sites
    w, w_tl, w_ad = spectral.w, spectral.w_tl, spectral.w_ad
    span, sync = team.span, team.sync

    def state_of(i):
        at_base, place = i == 0, i - 1

        @inline
        def state(x, k):
            return x if at_base else k[place]

        return state

    def stage(i, product):
        """From u_i to u_{i+1}; `product((u_i, args, n_i, n))` gives n_i or its tangent at the sites."""
        mix = mixing(team, lanes, scheme.states[i], [(name, c, stages + j) for name, c, j in scheme.products[i]])
        state, is_first, is_last, own, following = state_of(i), i == 0, i == stages - 1, stages + i, i + 1

        @part
        def one(everything):
            x, x_next, y, k, args, (numbers, transform, _), n = everything
            spare = y[2 * stages]
            if is_first:
                to_spectrum(x, y[0], transform)
            product((state(x, k), args, spare, n))
            to_spectrum(spare, y[own], transform)
            if is_last:
                mix(y, spare, numbers)
                to_sites(spare, x_next, transform)
            else:
                mix(y, y[following], numbers)
                to_sites(y[following], k[i], transform)

        return one

    @inline
    def forward_product(args):
        u, _, product, n = args
        w(u, product, n)

    def tangent_product(i):
        state = state_of(i)

        @inline
        def one(args):
            u_tl, (x, k), product_tl, n = args
            w_tl(state(x, k), u_tl, product_tl, n)

        return one

    whole_step = in_turn([stage(i, forward_product) for i in range(stages)])
    to_last_stage = in_turn([stage(i, forward_product) for i in range(stages - 1)])
    whole_step_tl = in_turn([stage(i, tangent_product(i)) for i in range(stages)])

    @part
    def step(x, x_next, work, dt, n):
        y, k, bound = work
        whole_step((x, x_next, y, k, (), bound, n))

    @part
    def step_tl(x, x_next, x_tl, x_tl_next, work, dt, n):
        y, k, bound, y_tl, k_tl, bound_tl = work
        whole_step((x, x_next, y, k, (), bound, n))
        whole_step_tl((x_tl, x_tl_next, y, k_tl, (x, k), bound, n))

    # adjoint: y holds the spectra of the adjoints of u_1 .. u_s, then three spare arrays

    @part
    def add(x, y, n):
        for j in span(U(0), n):
            y[j] += x[j]
        sync()

    def stage_ad(j):
        states, products = transposed(scheme, j)
        back, back_through_w = mixing(team, lanes, states, []), mixing(team, lanes, [], products)
        state, is_last, has_states, own = state_of(j), j == 0, bool(states), j - 1

        @part
        def one(everything):
            x, x_ad_next, y, k, (numbers, transform, _), n = everything
            spectrum, at_sites, other = y[stages], y[stages + 1], y[stages + 2]
            back_through_w(y, spectrum, numbers)
            to_sites(spectrum, at_sites, transform)
            w_ad(state(x, k), at_sites, other, n)
            if is_last:
                back(y, spectrum, numbers)
                to_sites(spectrum, x_ad_next, transform)
                add(other, x_ad_next, n)
            elif has_states:
                to_spectrum(other, spectrum, transform)
                back(y, y[own], numbers)
                add(spectrum, y[own], n)
            else:
                to_spectrum(other, y[own], transform)

        return one

    all_back = in_turn([stage_ad(j) for j in range(stages - 1, -1, -1)])

    @part
    def step_ad(x, x_ad, x_ad_next, work, dt, n):
        y, k, bound, y_ad, k_ad, bound_ad = work
        to_last_stage((x, x, y, k, (), bound, n))
        to_spectrum(x_ad, y[stages - 1], bound[1])
        all_back((x, x_ad_next, y, k, bound, n))

    spectra = 2 * stages + 1
    return SimpleNamespace(
        step=step,
        step_tl=step_tl,
        step_ad=step_ad,
        layout=(spectra, stages - 1),
        layout_ad=(spectra, stages - 1, 0, 0),
    )

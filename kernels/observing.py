"""What is observed of a state: y_q = h(sum_i weights[q, i] x[indices[q, i]]), forward, tangent linear and adjoint.

h is a function of one number. `indices` and `weights` are (row, observation, part), a row for each `share` of the
members. Of an adjoint, which gathers what comes back to a site, they are given by site as well: (row, site, part) the
observations that the site is part of, and its weights there.
"""

import math
from types import SimpleNamespace

from l96kit.kernels._targets import called, inline, part, site_function
from l96kit.kernels.matrices import add_to_each, copy, fill, inner_product, multiply, row, rows_of, scale, total_of
from l96kit.kernels.tile import U

# Of one number; `like` has its precision, which a bare constant would not keep.


@inline
def _same(x, like):
    return x


@inline
def _one(x, like):
    return like.dtype.type(1)


@inline
def _square(x, like):
    return x * x


@inline
def _square_slope(x, like):
    return like.dtype.type(2) * x


@inline
def _cube(x, like):
    return x * x * x


@inline
def _cube_slope(x, like):
    return like.dtype.type(3) * x * x


@inline
def _absolute(x, like):
    return abs(x)


@inline
def _absolute_slope(x, like):
    return like.dtype.type(1) if x > like.dtype.type(0) else -like.dtype.type(1)


@inline
def _exponential(x, like):
    return math.exp(x)


@inline
def _tanh(x, like):
    return math.tanh(x)


@inline
def _tanh_slope(x, like):
    y = math.tanh(x)
    return like.dtype.type(1) - y * y


FUNCTIONS = {
    "identity": (_same, _one),
    "square": (_square, _square_slope),
    "cube": (_cube, _cube_slope),
    "absolute": (_absolute, _absolute_slope),
    "exponential": (_exponential, _exponential),
    "tanh": (_tanh, _tanh_slope),
}


def of_one_number(function):
    """A user's function in this form."""
    own = site_function(function)

    @inline
    def value(x, like):
        return own(x)

    return value


def functions_of(model):
    """h and its derivative, with which `model` is observed."""
    return getattr(model, "OBSERVED", FUNCTIONS["identity"])


@inline
def total(x, indices, weights, q):
    """The sum that an observation is a function of."""
    found = x.dtype.type(0)
    for i in range(U(indices.shape[1])):
        found += weights[q, i] * x[indices[q, i]]
    return found


def bodies(model, tableau, team, lanes, uniform):
    """Bodies like those of `trajectory`, of which only the function matters. An adjoint works in a row of
    observations."""
    value, slope = functions_of(model)
    span, sync = team.span, team.sync

    @inline
    def used(x, tile):
        """The members of a tile."""
        first = U(tile) * U(lanes)
        return range(first, min(first + U(lanes), U(x.shape[0])))

    @part
    def one(x, indices, weights, y):
        for q in span(U(0), U(y.shape[0])):
            y[q] = value(total(x, indices, weights, q), x)

    @part
    def one_tl(x, x_tl, indices, weights, y_tl):
        for q in span(U(0), U(y_tl.shape[0])):
            y_tl[q] = slope(total(x, indices, weights, q), x) * total(x_tl, indices, weights, q)

    @part
    def one_ad(x, y_ad, by_observation, by_site, back, x_ad):
        indices, weights = by_observation
        observations, weights_back = by_site
        for q in span(U(0), U(y_ad.shape[0])):  # a slope need not be finite where nothing comes back
            own = y_ad[q]
            back[q] = slope(total(x, indices, weights, q), x) * own if own else own
        sync()
        for site in span(U(0), U(x_ad.shape[0])):
            x_ad[site] += total(back, observations, weights_back, site)
        sync()

    @inline
    def forward(tile, data, work):
        x, p, (indices, weights, share), y = data
        for member in used(x, tile):
            turn = member // U(share)
            one(x[member], indices[turn], weights[turn], y[member])

    @inline
    def tl(tile, data, work):
        x, p, x_tl, (indices, weights, share), y_tl = data
        for member in used(x_tl, tile):
            turn = member // U(share)
            one_tl(x[member], x_tl[member], indices[turn], weights[turn], y_tl[member])

    @inline
    def ad(tile, data, work):
        x, p, y_ad, (indices, weights, share), (observations, weights_back), x_ad = data
        for member in used(x, tile):
            turn = member // U(share)
            places, back = (indices[turn], weights[turn]), (observations[turn], weights_back[turn])
            one_ad(x[member], y_ad[member], places, back, work[0], x_ad[member])

    return {
        name: SimpleNamespace(body=body, layout=())
        for name, body in {"observe": forward, "observe_tl": tl, "observe_ad": ad}.items()
    }


# --- an ensemble, in the coordinates of `ensemble` --------------------------------------------------------------------


def observing(model):
    """`observe(x, indices, weights, Y)`: what each member of x would observe, a row for each observation."""
    value, _ = functions_of(model)

    @part
    def add_column(x, site, weight, own):
        for member in range(U(0), U(x.shape[0])):
            own[member] += weight * x[member, U(site)]

    @part
    def apply(own):
        for member in range(U(0), U(own.shape[0])):
            own[member] = value(own[member], own)

    @called
    def observe(x, indices, weights, Y):
        width = Y.shape[0] // rows_of(indices.shape[0])
        for q in range(indices.shape[0]):
            own = row(Y, q, width)[: x.shape[0]]
            fill(own, x.dtype.type(0))
            for i in range(indices.shape[1]):
                add_column(x, indices[q, i], weights[q, i], own)
            apply(own)

    return observe


def observing_tl(model):
    """`observe_tl(x, x_tl, indices, weights, values, Y, d)`: the innovation d = values - H(x), and in Y, a row for each
    observation, its tangents along each x_tl; zero where nothing was observed."""
    value, slope = functions_of(model)

    @called
    def observe_tl(x, x_tl, indices, weights, values, Y, d):
        width = Y.shape[0] // rows_of(indices.shape[0])
        for q in range(indices.shape[0]):
            own, seen = row(Y, q, width), total(x, indices, weights, q)
            for column in range(x_tl.shape[0]):
                own[column] = slope(seen, x) * total(x_tl[column], indices, weights, q)
            d[q] = values[q] - value(seen, x)
            leave_out_missing(values, d, q, own)

    return observe_tl


@inline
def leave_out_missing(values, d, q, own):
    """Nothing is observed where a value is NaN; where d alone is NaN, a run or h blew up: that stays."""
    if values[q] != values[q]:
        d[q] = d.dtype.type(0)
        fill(own, d.dtype.type(0))


@called
def whiten(Y, values, root, d, errors, members):
    """From what the members observe to its anomalies and the innovation d, both in units of the error."""
    observations = values.shape[0]
    width = Y.shape[0] // rows_of(observations)
    for q in range(observations):
        own = row(Y, q, width)
        mean = d.dtype.type(total_of(own) / members)
        d[q] = values[q] - mean
        add_to_each(own[:members], -mean)
        leave_out_missing(values, d, q, own)
    in_units_of_error(Y, d, root, errors, observations)


@called
def in_units_of_error(Y, d, root, room, observations):
    """`room` is as much as Y."""
    width = Y.shape[0] // rows_of(observations)
    if root.shape[0] == 1:
        for q in range(observations):
            d[q] *= root[0, q]
            scale(row(Y, q, width), root[0, q])
    else:
        across = root.shape[1]
        multiply(root.reshape(-1), (across, 1), Y, room, (observations, observations, width))
        copy(room, Y)
        fill(room, d.dtype.type(0))
        for q in range(observations):
            room[q] = inner_product(root[q, :observations], d[:observations])
        copy(room[:observations], d[:observations])

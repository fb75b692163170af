"""What the members of an ensemble observe, in the coordinates of `ensemble`."""

from l96kit.kernels._targets import called, part
from l96kit.kernels.matrices import copy, fill, inner_product, multiply, row, rows_of, scale, sum_of
from l96kit.kernels.tile import U


@called
def observe(x, indices, weights, Y):
    """What each member would observe, a row for each observation: sums of weights times sites, each (observation, part)."""
    width = Y.shape[0] // rows_of(indices.shape[0])
    for q in range(indices.shape[0]):
        own = row(Y, q, width)[: x.shape[0]]
        fill(own, x.dtype.type(0))
        for i in range(indices.shape[1]):
            add_column(x, indices[q, i], weights[q, i], own)


@part
def add_column(x, site, weight, own):
    for member in range(U(0), U(x.shape[0])):
        own[member] += weight * x[member, U(site)]


@called
def whiten(Y, values, root, d, errors, members):
    """From what the members observe to its anomalies and the innovation d, both in units of the error."""
    observations, zero = values.shape[0], d.dtype.type(0)
    width = Y.shape[0] // rows_of(observations)
    for q in range(observations):
        own = row(Y, q, width)
        mean = sum_of(own) / d.dtype.type(members)
        d[q] = values[q] - mean
        if d[q] == d[q]:
            add_number(own[:members], -mean)
        else:  # nothing was observed
            d[q] = zero
            fill(own, zero)
    if root.shape[0] == 1:
        for q in range(observations):
            d[q] *= root[0, q]
            scale(row(Y, q, width), root[0, q])
    else:
        across = root.shape[1]
        multiply(root.reshape(-1), (across, 1), Y, errors, (observations, observations, width))
        copy(errors, Y)
        fill(errors, zero)
        for q in range(observations):
            errors[q] = inner_product(root[q, :observations], d[:observations])
        copy(errors[:observations], d[:observations])


@part
def add_number(x, number):
    for k in range(U(0), U(x.shape[0])):
        x[k] += number

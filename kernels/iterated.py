"""The iterated ensemble smoother: weights of members at the start of a window, found by Gauss and Newton's iteration.

The ensemble at the start of a window has the mean plus w A and the anomalies T A, T = sqrt(N - 1) C^(-1/2) symmetric.
Of the four matrices, the second is C^(-1/2), the third C^(1/2). See `ensemble` for the rest.

Source: Bocquet & Sakov (2014), algorithm 1.
"""

from l96kit.kernels._targets import called
from l96kit.kernels.ensemble import combine_rows, move_mean, precision_of_weights, rotate_observations
from l96kit.kernels.matrices import add_row, add_to_diagonal, copy, fill, inner_product, multiply, row, scale, weigh
from l96kit.kernels.square_roots import inverse_root


@called
def start_iterating(w, room, members):
    """w = 0 and T = 1."""
    _C, inverse, root, _other = room.matrices
    size = root.dtype.type(members - 1) ** root.dtype.type(0.5)
    fill(w, w.dtype.type(0))
    fill(inverse, root.dtype.type(0))
    fill(root, root.dtype.type(0))
    add_to_diagonal(inverse, root.dtype.type(1) / size, members, w.shape[0])
    add_to_diagonal(root, size, members, w.shape[0])


@called
def update_start(mean, A, w, new_mean, new_A, room, shape):
    """The ensemble at the start of the window that w and T stand for."""
    members, _, width = shape
    multiply(room.matrices[1], (width, 1), A, new_A, (members, members, mean.shape[0]))
    scale(new_A, A.dtype.type(members - 1) ** A.dtype.type(0.5))
    copy(mean, new_mean)
    move_mean(new_mean, A, w, room.total, members)


@called
def iterate(w, Y, d, seen, before, room, shape):
    """One step of Gauss and Newton, of w and T; returns the size of the change of w, which stays in `room.b`.

    Y comes from members that T was applied to, which is undone: `seen` is room for that. `before` keeps C^(1/2). As
    seen from w = 0 the innovation is d + Y w, and the new w is that of a transform.
    """
    members, observations, width = shape
    prior = d.dtype.type(members - 1)
    copy(room.matrices[2], before)
    multiply(Y, (width, 1), before, seen, (observations, members, width))
    scale(seen, prior ** d.dtype.type(-0.5))
    for q in range(observations):
        d[q] += inner_product(row(seen, q, width), w)
    weights(seen, d, room, shape)
    copy(room.w, room.b)
    add_row(w, room.b, -d.dtype.type(1))
    copy(room.w, w)
    return inner_product(room.b, room.b) ** d.dtype.type(0.5)


@called
def weights(Y, d, room, shape):
    """w = C^-1 Y^T d, C^(-1/2) and C^(1/2), with C = N - 1 + Y^T Y."""
    C, inverse, root, other = room.matrices
    members, observations, width = shape
    prior = C.dtype.type(members - 1)
    precision_of_weights(Y, C, prior, shape)
    if inverse_root(C, prior, inverse, root, other, (members, width)):
        weigh(Y, d, room.w, observations)
        weigh(inverse, room.w, room.b, members)
        weigh(inverse, room.b, room.w, members)
    else:
        rows = rotate_observations(Y, d, room.w[:1], room, shape)
        weights_of_orthogonal_rows(Y, d, rows, room, members)


@called
def weights_of_orthogonal_rows(Y, d, rows, room, members):
    """The same for orthogonal rows y: a function of C is f(N - 1) + sum_i (f(N - 1 + |y_i|^2) - f(N - 1)) y_i^T y_i /
    |y_i|^2, which is exact in directions that no row has, and is written here such that nothing cancels."""
    _C, inverse, root, _other = room.matrices
    width, one, prior = room.w.shape[0], d.dtype.type(1), d.dtype.type(members - 1)
    least = prior ** d.dtype.type(0.5)
    combine_rows(Y, d, rows, prior, room.w)
    fill(inverse, d.dtype.type(0))
    fill(root, d.dtype.type(0))
    add_to_diagonal(inverse, one / least, members, width)
    add_to_diagonal(root, least, members, width)
    for i in range(rows):
        own = row(Y, i, width)
        size = (prior + inner_product(own, own)) ** d.dtype.type(0.5)
        for member in range(members):
            share = own[member] / (least + size)
            add_row(own, row(root, member, width), share)
            add_row(own, row(inverse, member, width), -share / (least * size))


@called
def update_end(mean, A, before, room, B, shape):
    """The ensemble at the end of the window after the last change, which is not propagated: its sensitivity to the
    weights is that of the members, with T undone."""
    members, _, width = shape
    multiply(before, (width, 1), A, B, (members, members, mean.shape[0]))
    scale(B, mean.dtype.type(members - 1) ** mean.dtype.type(-0.5))
    move_mean(mean, B, room.b, room.total, members)
    multiply(room.matrices[1], (width, 1), B, A, (members, members, mean.shape[0]))
    scale(A, mean.dtype.type(members - 1) ** mean.dtype.type(0.5))

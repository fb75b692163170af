"""Layers of a network in a tile: forward, tangent linear and adjoint, in what comes in and in the weights.

All channels lie in one array, the `room`: channel c begins at c * size, where size is the length of a tile array, and
is laid out as one, halo included. Behind the last channel there are `SPARE` more, for what is computed in vain when a
number of channels is no multiple of four. A layer is a row of numbers (see `Row`), so that one compiled function serves
every network. Adjoints add to what is there.
"""

import math
from typing import NamedTuple

from l96kit.kernels._targets import called, inline, part, reduction
from l96kit.kernels.products import AT_ONCE, row_products
from l96kit.kernels.tile import U, chain

SPARE = AT_ONCE - 1
LEAK = 0.01  # slope of the leaky ReLU below zero
NONE, MORE = -1, -2


class Row(NamedTuple):
    """A layer: what it does, which channels it reads and writes, and where its weights lie.

    A convolution adds to channel write + o, for o < outputs, the sum over i < inputs and t < taps of weights[at + o *
    stride + i * taps + t] times channel read + i, t - left sites to the right. It begins with weights[bias + o], with
    zero if `bias` is NONE, with what is there if it is MORE. A product writes to channel write + o the sum over i <
    inputs and j < others of weights[at + (o * inputs + i) * others + j] times channel read + i times channel other + j.
    A sum adds channel other + i to channel read + i. All others are pointwise, from `inputs` channels to as many, of
    `IN_PLACE` also to the same.
    """

    operation: int
    read: int
    write: int
    inputs: int
    outputs: int
    taps: int = 1
    left: int = 0
    at: int = 0
    stride: int = 0
    bias: int = NONE
    other: int = 0
    others: int = 0


CONVOLUTION, PRODUCT, SUM, RELU, LEAKY_RELU, TANH, SQUARE = range(7)
IN_PLACE = (RELU, LEAKY_RELU, TANH)  # whose slope follows from the result


def vector_of(team, lanes):
    """How many numbers one loop handles at once where that counts: for one member, whose ring is short."""
    return team.vector if lanes == 1 else 1


def tile_size(team, lanes, sites, reach):
    """How long the tile arrays of a network must be."""
    n, vector = sites * lanes, vector_of(team, lanes)
    return reach * lanes + max(-(-n // vector) * vector, n + reach * lanes)


def layers(team, lanes, first, fill):
    """The functions `forward((row, w, room, size, n))`, `tl((row, w, w_tl, room, room_tl, size, n))` and
    `ad((row, w, w_ad, room, room_ad, size, n))`, of which one call is one layer. An empty `w_tl` stands
    for zeros, an empty `w_ad` for gradients that nobody asks for.

    `first` is the index of the first site behind the halo, which `fill` completes; `size` and `n` are signed here, as
    slices need them.
    """
    span, sync, rank = team.span, team.sync, team.rank
    vector = vector_of(team, lanes)
    pass_over = reduction if lanes == 1 else part

    @inline
    def whole(n):
        """Rounded up to whole vectors: what lies behind the sites is room of the same channel."""
        return (n + vector - 1) // vector * vector

    @inline
    def places(n):
        return span(U(0), U(whole(n)))

    @inline
    def sites_of(room, channel, shift, size, n):
        """The sites of a channel, moved by so many places."""
        start = channel * size + first + shift
        return room[start : start + whole(n)]

    # convolution, four channels times four at once

    add_four_products, add_product = row_products(places, pass_over)

    @part
    def input_start(m, read, inputs, taps, shift, step, size):
        """Where channel m // taps begins for tap m % taps, those of the last for m beyond."""
        m = min(m, inputs * taps - 1)
        channel, tap = (m, 0) if taps == 1 else (m // taps, m % taps)  # as slow as ten vectors of products
        return (read + channel) * size + first + shift + tap * step

    @part
    def output_start(o, write, outputs, spare, size):
        """Beyond the last one, a spare channel."""
        return (write + o if o < outputs else spare + o % SPARE) * size + first

    @inline
    def four_rows(room, a, b, c, d, n):
        length = whole(n)
        return room[a : a + length], room[b : b + length], room[c : c + length], room[d : d + length]

    @inline
    def at_tap(channel, tap, channels, weights, shift, step, size):
        """Where an input begins and where its weight lies, for output 0; unsigned, or each index would be tested."""
        read, start, per_input, per_tap = channels[0], weights[0], weights[2], weights[3]
        x = (read + channel) * size + first + shift + tap * step
        return U(x), U(start + channel * per_input + tap * per_tap)

    @reduction
    def sums_of_products(y, x, n):
        """sum_k y_o[k] x_m[k], as a tuple with o before m; one worker goes over all positions."""
        y0, y1, y2, y3 = y
        x0, x1, x2, x3 = x
        zero = y0.dtype.type(0)
        s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
        s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
        for k in range(n):
            a, b, c, d = x0[k], x1[k], x2[k], x3[k]
            s00, s01, s02, s03 = s00 + y0[k] * a, s01 + y0[k] * b, s02 + y0[k] * c, s03 + y0[k] * d
            s10, s11, s12, s13 = s10 + y1[k] * a, s11 + y1[k] * b, s12 + y1[k] * c, s13 + y1[k] * d
            s20, s21, s22, s23 = s20 + y2[k] * a, s21 + y2[k] * b, s22 + y2[k] * c, s23 + y2[k] * d
            s30, s31, s32, s33 = s30 + y3[k] * a, s31 + y3[k] * b, s32 + y3[k] * c, s33 + y3[k] * d
        return s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33

    @inline
    def four_inputs(x, m, read, inputs, taps, shift, step, size, n):
        a = input_start(m, read, inputs, taps, shift, step, size)
        b = input_start(m + 1, read, inputs, taps, shift, step, size)
        c = input_start(m + 2, read, inputs, taps, shift, step, size)
        d = input_start(m + 3, read, inputs, taps, shift, step, size)
        return four_rows(x, a, b, c, d, n)

    @inline
    def four_outputs(y, o, write, outputs, size, n):
        spare = y.shape[0] // size - SPARE
        a = output_start(o, write, outputs, spare, size)
        b = output_start(o + 1, write, outputs, spare, size)
        c = output_start(o + 2, write, outputs, spare, size)
        d = output_start(o + 3, write, outputs, spare, size)
        return four_rows(y, a, b, c, d, n)

    @called
    def add_correlation(x, y, w, channels, weights, shift, step, size, n):
        """y_o += sum_{i,t} w[start + o per_output + i per_input + t per_tap] x_i, shifted by shift + t step places."""
        _, write, inputs, outputs, taps = channels
        _, per_output, per_input, _ = weights
        in_fours = inputs - inputs % AT_ONCE
        for o in range(0, outputs, AT_ONCE):
            ys, last = four_outputs(y, o, write, outputs, size, n), outputs - 1
            o1, o2, o3 = min(o + 1, last), min(o + 2, last), min(o + 3, last)
            rows = U(o * per_output), U(o1 * per_output), U(o2 * per_output), U(o3 * per_output)
            for t in range(taps):
                for m in range(0, in_fours, AT_ONCE):
                    at = at_tap(m, t, channels, weights, shift, step, size)
                    add_four_products(ys, x, w, rows, at, U(size), U(per_input), n)
                for m in range(in_fours, inputs):
                    add_product(ys, x, w, rows, at_tap(m, t, channels, weights, shift, step, size), n)

    @part
    def add_convolution(row, x, y, w, size, n):
        channels, weights = (row.read, row.write, row.inputs, row.outputs, row.taps), (row.at, row.stride, row.taps, 1)
        add_correlation(x, y, w, channels, weights, -row.left * lanes, lanes, size, n)

    @part
    def add_transposed(row, y_ad, x_ad, w, size, n):
        channels, weights = (row.write, row.read, row.outputs, row.inputs, row.taps), (row.at, row.taps, row.stride, 1)
        add_correlation(y_ad, x_ad, w, channels, weights, row.left * lanes, -lanes, size, n)

    @called
    def begin(row, y, w, size, n):
        """The outputs at first: their biases, or zero."""
        if row.bias == MORE:
            return
        for o in range(row.outputs):
            value = w[row.bias + o] if row.bias >= 0 and len(w) else y.dtype.type(0)
            channel = sites_of(y, row.write + o, 0, size, n)
            for k in places(n):
                channel[k] = value

    @called
    def halos(room, channel, count, size, n):
        for c in range(channel, channel + count):
            fill(room[c * size : (c + 1) * size], U(n))

    @called
    def convolution(args):
        row, w, room, size, n = args
        if row.taps > 1:
            halos(room, row.read, row.inputs, size, n)
        begin(row, room, w, size, n)
        add_convolution(row, room, room, w, size, n)

    @called
    def convolution_tl(args):
        row, w, w_tl, room, room_tl, size, n = args
        if row.taps > 1:
            halos(room_tl, row.read, row.inputs, size, n)
        begin(row, room_tl, w_tl, size, n)
        add_convolution(row, room_tl, room_tl, w, size, n)
        if len(w_tl):
            add_convolution(row, room, room_tl, w_tl, size, n)

    @called
    def gather_products(row, w_ad, room, room_ad, size, n):
        """What comes back to the weights; each worker takes its share: all positions of a block of four times four."""
        across = row.inputs * row.taps
        columns = (across + AT_ONCE - 1) // AT_ONCE
        for block in span(U(0), U((row.outputs + AT_ONCE - 1) // AT_ONCE * columns)):
            o, m = int(block) // columns * AT_ONCE, int(block) % columns * AT_ONCE
            ys = four_inputs(room_ad, o, row.write, row.outputs, 1, 0, 0, size, n)
            xs = four_inputs(room, m, row.read, row.inputs, row.taps, -row.left * lanes, lanes, size, n)
            sums = sums_of_products(ys, xs, n)
            for p in range(min(AT_ONCE, row.outputs - o)):
                for q in range(min(AT_ONCE, across - m)):
                    w_ad[row.at + (o + p) * row.stride + m + q] += sums[p * AT_ONCE + q]
        if row.bias >= 0:
            for o in span(U(0), U(row.outputs)):
                y_ad, total = sites_of(room_ad, row.write + int(o), 0, size, n), w_ad.dtype.type(0)
                for k in range(n):
                    total += y_ad[k]
                w_ad[row.bias + int(o)] += total

    @called
    def convolution_ad(args):
        row, w, w_ad, room, room_ad, size, n = args
        if row.taps > 1:
            halos(room_ad, row.write, row.outputs, size, n)
        add_transposed(row, room_ad, room_ad, w, size, n)
        if len(w_ad):
            gather_products(row, w_ad, room, room_ad, size, n)

    # product

    @called
    def add_bilinear(row, w, x, other, y, size, n):
        for o in range(row.outputs):
            for i in range(row.inputs):
                for j in range(row.others):
                    weight = w[row.at + (o * row.inputs + i) * row.others + j]
                    left, right = sites_of(x, row.read + i, 0, size, n), sites_of(other, row.other + j, 0, size, n)
                    result = sites_of(y, row.write + o, 0, size, n)
                    for k in places(n):
                        result[k] += weight * left[k] * right[k]

    @called
    def product(args):
        row, w, room, size, n = args
        begin(row, room, w, size, n)
        add_bilinear(row, w, room, room, room, size, n)

    @called
    def product_tl(args):
        row, w, w_tl, room, room_tl, size, n = args
        begin(row, room_tl, w_tl, size, n)
        add_bilinear(row, w, room_tl, room, room_tl, size, n)
        add_bilinear(row, w, room, room_tl, room_tl, size, n)
        if len(w_tl):
            add_bilinear(row, w_tl, room, room, room_tl, size, n)

    @called
    def product_ad(args):
        row, w, w_ad, room, room_ad, size, n = args
        for o in range(row.outputs):
            y_ad = sites_of(room_ad, row.write + o, 0, size, n)
            for i in range(row.inputs):
                left, left_ad = sites_of(room, row.read + i, 0, size, n), sites_of(room_ad, row.read + i, 0, size, n)
                for j in range(row.others):
                    at = row.at + (o * row.inputs + i) * row.others + j
                    right = sites_of(room, row.other + j, 0, size, n)
                    right_ad = sites_of(room_ad, row.other + j, 0, size, n)
                    for k in places(n):
                        left_ad[k] += w[at] * right[k] * y_ad[k]
                        right_ad[k] += w[at] * left[k] * y_ad[k]
                    if rank() == 0 and len(w_ad):
                        total = w_ad.dtype.type(0)
                        for k in range(n):
                            total += left[k] * right[k] * y_ad[k]
                        w_ad[at] += total

    # pointwise

    @inline
    def both_of(row, room, c, size, n):
        return sites_of(room, row.read + c, 0, size, n), sites_of(room, row.write + c, 0, size, n)

    def pointwise(operation, derivative):
        """From `operation(x, like)` and, of input and output, `derivative(x, y, like)`.

        All act on the output alone, since in a loop that may or may not be in place nothing would be vectorised.
        """

        @called
        def forward(args):
            row, w, room, size, n = args
            for c in range(row.inputs):
                x, y = both_of(row, room, c, size, n)
                if row.read != row.write:
                    for k in places(n):
                        y[k] = x[k]
                for k in places(n):
                    y[k] = operation(y[k], y)

        @called
        def tl(args):
            row, w, w_tl, room, room_tl, size, n = args
            for c in range(row.inputs):
                (x, y), (x_tl, y_tl) = both_of(row, room, c, size, n), both_of(row, room_tl, c, size, n)
                if row.read != row.write:
                    for k in places(n):
                        y_tl[k] = x_tl[k]
                for k in places(n):
                    y_tl[k] = derivative(x[k], y[k], y) * y_tl[k]

        @called
        def ad(args):
            row, w, w_ad, room, room_ad, size, n = args
            for c in range(row.inputs):
                (x, y), (x_ad, y_ad) = both_of(row, room, c, size, n), both_of(row, room_ad, c, size, n)
                for k in places(n):
                    y_ad[k] = derivative(x[k], y[k], y) * y_ad[k]
                if row.read != row.write:
                    for k in places(n):
                        x_ad[k] += y_ad[k]

        return forward, tl, ad

    # a sum, for connections past other layers

    @called
    def add_to(x, y, read, write, count, size, n):
        for c in range(count):
            source, target = sites_of(x, read + c, 0, size, n), sites_of(y, write + c, 0, size, n)
            for k in places(n):
                target[k] += source[k]

    @called
    def sum_(args):
        row, w, room, size, n = args
        begin(row, room, w, size, n)
        add_to(room, room, row.read, row.write, row.inputs, size, n)
        add_to(room, room, row.other, row.write, row.inputs, size, n)

    @inline
    def sum_tl(args):
        row, w, w_tl, room, room_tl, size, n = args
        sum_((row, w_tl, room_tl, size, n))

    @called
    def sum_ad(args):
        row, w, w_ad, room, room_ad, size, n = args
        add_to(room_ad, room_ad, row.write, row.read, row.inputs, size, n)
        add_to(room_ad, room_ad, row.write, row.other, row.inputs, size, n)

    # which of them a row means

    convolutions, products, sums = (
        (convolution, convolution_tl, convolution_ad),
        (product, product_tl, product_ad),
        (sum_, sum_tl, sum_ad),
    )
    every = (convolutions, products, sums, *(pointwise(*both) for both in POINTWISE))
    return tuple(_chosen(actions, sync) for actions in zip(*every))


def _chosen(actions, sync):
    """The function that runs the action of a row's operation; all take a tuple that begins with the row."""

    @inline
    def nothing(args):
        pass

    def unless(others, operation):
        action = actions[operation]

        @inline
        def one(args):
            if args[0].operation == operation:
                action(args)
            else:
                others(args)

        return one

    run = chain(unless, len(actions), nothing)

    @called
    def chosen(args):
        run(args)
        sync()

    return chosen


# Of one number; `like` has its precision, which a bare constant would not keep. NaN passes through.


def _rectifier(leak):
    @inline
    def rectified(x, like):
        return like.dtype.type(leak) * x if x <= like.dtype.type(0) else x

    @inline
    def slope(x, y, like):
        return like.dtype.type(leak) if y <= like.dtype.type(0) else like.dtype.type(1)

    return rectified, slope


@inline
def _tanh(x, like):
    return math.tanh(x)


@inline
def _tanh_slope(x, y, like):
    return like.dtype.type(1) - y * y


@inline
def _square(x, like):
    return x * x


@inline
def _square_slope(x, y, like):
    return like.dtype.type(2) * x


POINTWISE = (_rectifier(0.0), _rectifier(LEAK), (_tanh, _tanh_slope), (_square, _square_slope))  # as operations count

"""A network in a tile: its layers in turn, forward, tangent linear and adjoint.

`program` (layer, number) holds a `layers.Row` for each layer, `weights` (weight,) all weights. The first channel of the
room is the state, the last of the program's is the result.
"""

from functools import cache

import numpy as np

from l96kit.kernels._targets import called, part
from l96kit.kernels.layers import PRODUCT, Row, layers
from l96kit.kernels.tile import U, halo


def channels_of(program):
    """How many channels a room has: up to the last that is written."""
    return int((program[:, 2] + program[:, 4]).max())


def multiplications(program):
    """How many a site takes, about."""
    _, _, _, inputs, outputs, taps, *_, others = program[program[:, 0] <= PRODUCT].T
    return int((inputs * outputs * taps * np.maximum(others, 1)).sum())


@part
def _row(program, r):
    return Row(
        program[r, 0],
        program[r, 1],
        program[r, 2],
        program[r, 3],
        program[r, 4],
        program[r, 5],
        program[r, 6],
        program[r, 7],
        program[r, 8],
        program[r, 9],
        program[r, 10],
        program[r, 11],
    )


@cache
def network(team, lanes, reach):
    """The functions `forward(x, y, program, weights, room, n)`, `tl(x_tl, y_tl, program, weights, weights_tl, room,
    room_tl, n)` and `ad(y_ad, weight, x_ad, program, weights, weights_ad, room, room_ad, n)` of tile arrays x, y, ...

    x comes with its halo, y has none. The length of y, y_tl, x_ad is that of a channel; x may lie on a tape, unpadded.
    They depend on no scheme, so that a process compiles them once.
    """
    span, sync = team.span, team.sync
    layer, layer_tl, layer_ad = layers(team, lanes, reach * lanes, halo(team, reach, lanes))

    @part
    def put(x, room, channel, size, weight):
        start = channel * size
        for k in span(U(0), U(x.shape[0])):
            room[start + k] = weight * x[k]
        sync()

    @part
    def take(room, channel, y):
        start = channel * y.shape[0]
        for k in span(U(0), U(y.shape[0])):
            y[k] = room[start + k]
        sync()

    @called
    def forward(x, y, program, weights, room, n):
        size = y.shape[0]
        put(x, room, 0, size, x.dtype.type(1))
        for r in range(program.shape[0]):
            layer((_row(program, r), weights, room, size, np.intp(n)))
        take(room, program[program.shape[0] - 1, 2], y)

    @called
    def tl(x_tl, y_tl, program, weights, weights_tl, room, room_tl, n):
        size = y_tl.shape[0]
        put(x_tl, room_tl, 0, size, x_tl.dtype.type(1))
        for r in range(program.shape[0]):
            layer_tl((_row(program, r), weights, weights_tl, room, room_tl, size, np.intp(n)))
        take(room_tl, program[program.shape[0] - 1, 2], y_tl)

    @called
    def ad(y_ad, weight, x_ad, program, weights, weights_ad, room, room_ad, n):
        size, last = x_ad.shape[0], program.shape[0] - 1
        for k in span(U(0), U(program[last, 2] * size)):
            room_ad[k] = 0
        put(y_ad, room_ad, program[last, 2], size, weight)
        for r in range(last, -1, -1):
            layer_ad((_row(program, r), weights, weights_ad, room, room_ad, size, np.intp(n)))
        take(room_ad, 0, x_ad)

    return forward, tl, ad

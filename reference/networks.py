"""Networks of layers on a ring: forward, in NumPy, of any dtype and analytic but for kinks, which take the real part.

Arrays are (..., channel, site). A layer is (kind, sources, weights): `sources` are the arrays that it reads.
"""

import numpy as np

LEAK = 0.01


def convolution(x, weights, bias=None):
    """y_o,k = bias_o + sum_{i,t} weights_{o,i,t} x_{i, k + t - width // 2}; weights (out, in, width), periodic."""
    width = weights.shape[-1]
    y = sum(np.einsum("oi,...ik->...ok", weights[..., t], np.roll(x, width // 2 - t, axis=-1)) for t in range(width))
    return y if bias is None else y + bias[:, None]


def product(x, other, weights):
    """y_o = sum_{i,j} weights_{o,i,j} x_i other_j, at each site."""
    return np.einsum("oij,...ik,...jk->...ok", weights, x, other)


def relu(x):
    return np.where(np.real(x) > 0, x, 0 * x)


def leaky_relu(x):
    return np.where(np.real(x) > 0, x, LEAK * x)


def tanh(x):
    return np.tanh(x)


def square(x):
    return x * x


POINTWISE = {"relu": relu, "leaky_relu": leaky_relu, "tanh": tanh, "square": square}


def evaluate(layers, weights, x):
    """The tendency (..., site) that a network of `layers` gives for the states x (..., site).

    layers : sequence of (kind, of, channels, width, bias): `of` is a tuple of (layer, first channel, last + 1), layer 0
        being the state; their channels are concatenated (convolution, pointwise), or they are the factors (product) or
        the terms (sum)
    weights : (weight,), those of a layer after those of the layer before; (out, in, width) before the bias
    """
    outputs, at = [x[..., None, :]], 0
    for kind, of, channels, width, bias in layers:
        sources = [outputs[layer][..., start:stop, :] for layer, start, stop in of]
        if kind == "convolution":
            source = np.concatenate(sources, axis=-2)
            count = channels * source.shape[-2] * width
            w = weights[at : at + count].reshape(channels, source.shape[-2], width)
            at += count
            y = convolution(source, w, weights[at : at + channels] if bias else None)
            at += channels if bias else 0
        elif kind == "product":
            shape = channels, sources[0].shape[-2], sources[1].shape[-2]
            count = int(np.prod(shape))
            y = product(*sources, weights[at : at + count].reshape(shape))
            at += count
        elif kind == "sum":
            y = sources[0] + sources[1]
        else:
            y = POINTWISE[kind](np.concatenate(sources, axis=-2))
        outputs.append(y)
    return outputs[-1][..., 0, :]

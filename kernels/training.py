"""Training networks: the loss of a minibatch of rollouts, its gradient in the weights, and Adam.

One team trains one network, update by update; many networks are trained side by side. The loss of a minibatch is

    J = sum_m sum_t sum_k weight[t - 1, k] (M_t(x_m) - y_{m,t})_k^2,

with M_t the model after t * every steps. `states` (row, site) are those of all trajectories. `samples` (network,
update, sample, 2) are the row of x_m, whose targets y_{m,t} are the rows that follow, and the site where it begins: a
sample is a piece of the ring, as long as `weight` (lead, site) says, that is treated as if it were a ring of its own.
"""

import math
from types import SimpleNamespace

import numpy as np

from l96kit.kernels._targets import inline, part
from l96kit.kernels.dynamics_of_model import dynamics_of
from l96kit.kernels.schemes import one_step
from l96kit.kernels.tile import U

FORGET, FORGET_SQUARE, SMALL = 0.9, 0.999, 1e-8  # beta_1, beta_2 and epsilon of Adam


def bodies(model, tableau, team, lanes, uniform):
    """Bodies like those of `trajectory`; `tile` is the network.

    p is (fields, program). `tape` (network, step, tile array) has room for every state of a rollout, `losses` is
    (network, update, worker) in double precision, all of weights and their gradients are (network, weight).
    """
    first, width = U(model.REACH * lanes), U(lanes)
    span, sync, rank = team.span, team.sync, team.rank
    f = dynamics_of(model, tableau.stages, team, lanes, uniform)
    bind, begin = f.bind, f.begin
    scheme = one_step(model, tableau, f, team, lanes)
    step_kept, back = scheme.step_kept, scheme.back

    @inline
    def place(lane, k):
        return first + U(k) * width + U(lane)

    @part
    def read(states, batch, from_sample, lead, x, sites):
        """Into a tile the states, `lead` rows later, of the samples from `from_sample` on; the last fills it up."""
        for lane in range(lanes):
            sample = min(from_sample + lane, batch.shape[0] - 1)
            row, start = batch[sample, 0] + lead, batch[sample, 1]
            for k in span(U(0), U(sites)):
                x[place(lane, k)] = states[row, (start + np.intp(k)) % states.shape[1]]

    @part
    def add_residual(x, target, weight, used, x_ad):
        """dJ/dx to x_ad, and J of this lead, as much of it as this worker adds up; of `used` lanes."""
        J = x.dtype.type(0)
        for k in span(U(0), U(weight.shape[0])):
            for lane in range(used):
                difference = x[place(lane, k)] - target[place(lane, k)]
                J += weight[k] * difference * difference
                x_ad[place(lane, k)] += x.dtype.type(2) * weight[k] * difference
        return J

    @part
    def set_to_zero(x, start, stop):
        for j in span(start, stop):
            x[j] = 0

    @inline
    def rollouts_ad(args):
        """Forward and back through the rollouts of one tile of samples; returns this worker's share of J."""
        states, dt, every, batch, from_sample, weight, tape, target, (adjoint, adjoint_next), room = args
        sites, steps = weight.shape[1], weight.shape[0] * every
        n, used = U(sites) * width, min(lanes, batch.shape[0] - from_sample)
        read(states, batch, from_sample, 0, tape[0], sites)
        set_to_zero(adjoint, first, first + n)
        J = adjoint.dtype.type(0)
        for i in range(2 * steps):  # forward, then back
            s = min(i, 2 * steps - 1 - i)
            if i != steps:  # the stages of the last step are still there, all others are computed again
                step_kept(tape[s], tape[s + 1], room, dt, n)
            if i >= steps:
                if (s + 1) % every == 0:
                    lead = (s + 1) // every
                    sync()
                    read(states, batch, from_sample, lead, target, sites)
                    sync()
                    J += add_residual(tape[s + 1], target, weight[lead - 1], used, adjoint)
                back(tape[s], adjoint, adjoint_next, room, dt, n)
                adjoint, adjoint_next = adjoint_next, adjoint
        sync()
        return J

    @inline
    def minibatch_ad(tile, update, data, work):
        """J and its gradient, added up over the tiles of samples of one minibatch."""
        states, p, dt, every, samples, weight, tape, own_weights, losses, p_ad = data
        pair, stage_states, kept, tiles, adjoints, stage_adjoints, kept_ad, tiles_ad, rest = work
        batch = samples[tile, update]
        bound = bind(((p[0], p[1], own_weights[tile]), tiles, rest, U(0), U(weight.shape[1]) * width))
        bound_ad = begin((p_ad, tiles_ad, tile, U(0)))
        room = stage_states, kept, bound, stage_adjoints, kept_ad, bound_ad
        for from_sample in range(0, batch.shape[0], lanes):
            J = rollouts_ad((states, dt, every, batch, from_sample, weight, tape[tile], pair[0], adjoints, room))
            losses[tile, update, rank()] += J

    @inline
    def loss_ad(tile, data, work):
        for update in range(data[4].shape[1]):
            minibatch_ad(tile, update, data, work)

    @part
    def adam(weights, gradient, mean, square, rate, done):
        """One update, the one after `done`; the gradient is zero afterwards."""
        like = weights.dtype.type
        step = like(rate / (1.0 - FORGET ** (done + 1.0)))
        spread = like(1.0 / (1.0 - FORGET_SQUARE ** (done + 1.0)))
        for i in span(U(0), U(weights.shape[0])):
            g = gradient[i]
            mean[i] = like(FORGET) * mean[i] + like(1.0 - FORGET) * g
            square[i] = like(FORGET_SQUARE) * square[i] + like(1.0 - FORGET_SQUARE) * g * g
            weights[i] -= step * mean[i] / (math.sqrt(spread * square[i]) + like(SMALL))
            gradient[i] = 0

    @inline
    def training(tile, data, work):
        """As many updates as `samples` holds minibatches, after `done` earlier ones."""
        states, p, dt, every, samples, weight, tape, rates, done, weights, means, squares, losses, p_ad = data
        for update in range(samples.shape[1]):
            minibatch = states, p, dt, every, samples, weight, tape, weights, losses, p_ad
            minibatch_ad(tile, update, minibatch, work)
            sync()
            adam(weights[tile], p_ad[1][tile], means[tile], squares[tile], rates[tile], done + update)
            sync()

    stage_states, kept, stage_adjoints, kept_ad = scheme.layout_ad
    layout = (2, stage_states, kept, f.tiles, 2, stage_adjoints, kept_ad, f.tiles)
    return {
        "loss_ad": SimpleNamespace(body=loss_ad, layout=layout),
        "training": SimpleNamespace(body=training, layout=layout),
    }

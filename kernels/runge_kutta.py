"""Explicit Runge-Kutta schemes as tableaus, and one step with any of them: forward, tangent linear and adjoint.

A step of s stages computes k_i = f(x_i), x_i = x + dt sum_{m<i} a_im k_m, and x' = x + dt sum_i b_i k_i
(Hairer, Norsett & Wanner 1993, eq. II.1.8). Its tangent is the same scheme with the tangent of f. Its adjoint is the
transposed scheme with the stages in reverse order: with w' the adjoint of x',

    g_i = dt b_i w' + dt sum_{m>i} a_mi z_m,     z_i = f'(x_i)^T g_i,     w = w' + sum_i z_i,

the exact derivative of the code (the transposed equations under the forward scheme would not be).
"""

from types import SimpleNamespace
from typing import NamedTuple

from l96kit.kernels._targets import inline, part
from l96kit.kernels.tile import U, chain, for_fields, halo, in_turn, strides


class Tableau(NamedTuple):
    """The numbers of a scheme: `a`, strictly lower triangular, row i with i entries, and `b`, both dimensionless."""

    a: tuple
    b: tuple

    @property
    def stages(self):
        return len(self.b)


SCHEMES = {
    "euler": Tableau(((),), (1.0,)),
    "heun": Tableau(((), (1.0,)), (0.5, 0.5)),
    "rk4": Tableau(((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
    "rk38": Tableau(((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8)),
}


class Sweep(NamedTuple):
    """One pass over the stages, forward or adjoint, as numbers: y_0 = base, result = base, and after stage i

    result += weights[i] k_i  and  y_{i+1} = bases[i] base + sum_{m<=i} rows[i][m] k_m.

    A number is a pair (constant, whether it is multiplied by dt); None stands for what is not computed.
    """

    weights: tuple
    bases: tuple
    rows: tuple


ONE = (1.0, False)


def forward_sweep(tableau):
    return Sweep(
        weights=tuple((b, True) for b in tableau.b),
        bases=(ONE,) * (len(tableau.b) - 1),
        rows=tuple(tuple((a, True) for a in row) for row in tableau.a[1:]),
    )


def stages_sweep(tableau):
    """The forward sweep as the adjoint needs it: the stage states alone."""
    forward = forward_sweep(tableau)
    return forward._replace(weights=(None,) * len(forward.rows))


def adjoint_sweep(tableau):
    """What its first stage reads of base is still to be multiplied by dt b_s."""
    order = range(len(tableau.b) - 1, -1, -1)
    return Sweep(
        weights=(ONE,) * len(tableau.b),
        bases=tuple((tableau.b[i], True) for i in order[1:]),
        rows=tuple(tuple((tableau.a[m][i], True) for m in order if m > i) for i in order[1:]),
    )


def kept(sweep):
    """Which k are needed later than by the next stage state, in the order of the arrays that keep them."""
    return [m for m in range(len(sweep.weights)) if any(len(row) > m + 1 and row[m][0] for row in sweep.rows)]


def number(constant, times_dt):
    """A coefficient in the precision of `like`: a bare constant would drag float32 arithmetic into float64."""

    @inline
    def scaled(like, dt):
        return like.dtype.type(constant * dt)

    @inline
    def plain(like, dt):
        return like.dtype.type(constant)

    return scaled if times_dt else plain


def stage_state(base, row, slots):
    """base x[j] + sum_m row[m] k_m[j], its zeros left out; the last k is at hand, the others were kept."""
    base_weight, last_weight = number(*base), number(*row[-1])

    @inline
    def start(x, k, last, dt, j):
        return base_weight(x, dt) * x[j] + last_weight(x, dt) * last

    def plus(shorter, m):
        if not row[m][0]:
            return shorter
        weight, slot = number(*row[m]), slots[m]

        @inline
        def longer(x, k, last, dt, j):
            return shorter(x, k, last, dt, j) + weight(x, dt) * k[slot][j]

        return longer

    return chain(plus, len(row) - 1, start)


@inline
def _no_sums(args):
    return ()


@inline
def _nothing(args):
    pass


def stages_of(sweep, slope, place, ring, evaluate, start_sums=_no_sums, finish_sums=_nothing):
    """The stages of a sweep, each as functions (halo, evaluate, run) of (base, y, result, k, args, dt, n).

    `halo` completes the stage state, `run` passes over the tile. `evaluate(i)((y_i, args, dt, n))` is what comes in
    between, and `slope(i)` gives k_i at one site from the stage state y_i and what else it needs, `args`, and with it
    the sums that are made over a pass, if any. `place(i)` is where the tuple `y` holds y_i. `base` stays as it is.
    """
    span, fill, first, fields, stride = ring
    slots = {m: slot for slot, m in enumerate(kept(sweep))}

    def stage(i):
        derivative = slope(i)
        is_first, source = i == 0, 0 if i == 0 else place(i)
        has_weight, weight = sweep.weights[i] is not None, number(*(sweep.weights[i] or ONE))
        has_next = i < len(sweep.rows)
        state = stage_state(sweep.bases[i], sweep.rows[i], slots) if has_next else None
        destination = place(i + 1) if has_next else 0
        keep, slot = i in slots, slots.get(i, 0)

        @inline
        def state_of(base, y):
            return base if is_first else y[source]

        @part
        def halo(everything):
            base, y, result, k, args, dt, n = everything
            fill(state_of(base, y), n)

        before = evaluate(i)

        @inline
        def prepare(everything):
            base, y, result, k, args, dt, n = everything
            before((state_of(base, y), args, dt, n))

        @inline
        def advance(everything, value, j):
            base, y, result, k, args, dt, n = everything
            y[destination][j] = state(base, k, value, dt, j)

        @inline
        def add(everything, value, j):
            base, y, result, k, args, dt, n = everything
            before = base[j] if is_first else result[j]
            result[j] = before + weight(base, dt) * value

        @inline
        def remember(everything, value, j):
            base, y, result, k, args, dt, n = everything
            k[slot][j] = value

        uses = [use for use, wanted in ((advance, has_next), (add, has_weight), (remember, keep)) if wanted]
        use_all = for_fields(fields, in_turn_with(uses))

        @part
        def run(everything):
            base, y, result, k, args, dt, n = everything
            sums = start_sums(args)
            for j in span(first, first + n):
                values, sums = derivative(state_of(base, y), args, sums, j)
                use_all(everything, values, (j, stride(n)))
            finish_sums((args, sums))

        return halo, prepare, run

    return [stage(i) for i in range(len(sweep.weights))]


def in_turn_with(uses):
    """One function (everything, value, j) that calls the given ones with the same arguments."""

    def at_once(use):
        @inline
        def one(args):
            everything, value, j = args
            use(everything, value, j)

        return one

    all_of_them = in_turn([at_once(use) for use in uses])

    @inline
    def use_all(everything, value, j):
        all_of_them((everything, value, j))

    return use_all


def one_step(f, tableau, team, lanes, reach, fields):
    """Functions of tile arrays: `step(x, x_next, work, dt, n)`, `step_tl(x, x_next, x_tl, x_tl_next, work, dt, n)` and
    `step_ad(x, x_ad, x_ad_next, work, dt, n)`, which goes back; and the arrays that they work in.

    f is a `dynamics.Dynamics` of so many `fields`, `reach` how far it looks. `work` is (stage states, kept k, what f is
    bound to), and the same again for the tangent or the adjoint; `layout` is how many stage states and k these are. x
    has its halo in step_ad already, from the step forward. `step_kept` is a step that leaves all stages in the work
    space of step_ad; `back`, called as step_ad, then does what is left of it.
    """
    stages = tableau.stages
    fill = halo(team, reach, lanes, fields)
    ring = team.span, fill, U(reach * lanes), fields, strides(reach, lanes)
    forward, adjoint = forward_sweep(tableau), adjoint_sweep(tableau)
    slope_at, slope_tl_at = f.slope, f.slope_tl

    def two_places(i):
        return i % 2

    def all_of(stages):
        return in_turn([action for stage in stages for action in stage])

    # forward

    @inline
    def slope(x, bound, sums, j):
        return slope_at((x, bound), j), sums

    def evaluating(stage):
        prepare = f.prepare(stage)

        @inline
        def evaluate(args):
            x, bound, dt, n = args
            prepare((x, bound, n))

        return evaluate

    forward_stages = stages_of(forward, lambda i: slope, two_places, ring, lambda i: evaluating(0))
    whole_step = all_of(forward_stages)

    @part
    def step(x, x_next, work, dt, n):
        y, k, bound = work
        whole_step((x, y, x_next, k, bound, dt, n))

    # tangent: each stage before the forward stage that overwrites what it reads

    def stage_state_of(i):
        at_base, source = i == 0, two_places(i)

        @inline
        def state(x, y):
            return x if at_base else y[source]

        return state

    def slope_tl(i):
        state = stage_state_of(i)

        @inline
        def at_stage(x_tl, args, sums, j):
            x, y, bound, bound_tl = args
            return slope_tl_at((state(x, y), bound, x_tl, bound_tl), j), sums

        return at_stage

    prepare_tl = f.prepare_tl

    @inline
    def evaluate_tl(args):
        x_tl, (x, y, bound, bound_tl), dt, n = args
        prepare_tl((x_tl, bound, bound_tl, n))

    tangent_stages = stages_of(forward, slope_tl, two_places, ring, lambda i: evaluate_tl)

    def both(i):
        (halo, evaluate, run), (halo_tl, evaluate_tl, run_tl) = forward_stages[i], tangent_stages[i]

        @part
        def pair(args):
            forward_args, tangent_args = args
            halo(forward_args)
            evaluate(forward_args)
            halo_tl(tangent_args)
            evaluate_tl(tangent_args)
            run_tl(tangent_args)
            run(forward_args)

        return pair

    whole_step_tl = in_turn([both(i) for i in range(stages)])

    @part
    def step_tl(x, x_next, x_tl, x_tl_next, work, dt, n):
        y, k, bound, y_tl, k_tl, bound_tl = work
        whole_step_tl(((x, y, x_next, k, bound, dt, n), (x_tl, y_tl, x_tl_next, k_tl, (x, y, bound, bound_tl), dt, n)))

    # adjoint: the stage states once more, then the transposed stages from the last to the first

    last_weight = number(tableau.b[-1], True)

    def slope_ad(i):
        stage = stages - 1 - i
        at_base, source = stage == 0, max(stage - 1, 0)
        slope_at = f.slope_ad(last_weight if i == 0 else None)

        @inline
        def at_stage(y_ad, args, sums, j):
            x, y, bound, bound_ad, dt = args
            return slope_at((x if at_base else y[source], bound, y_ad, bound_ad, dt), sums, j)

        return at_stage

    def evaluating_ad(i):
        prepare = f.prepare_ad(stages - 1 - i)
        weight = last_weight if i == 0 else number(*ONE)

        @inline
        def evaluate(args):
            y_ad, (x, y, bound, bound_ad, _), dt, n = args
            prepare((y_ad, weight(y_ad, dt), bound, bound_ad, n))

        return evaluate

    start, finish = f.start, f.finish

    @inline
    def start_sums(args):
        return start(args[3])

    @inline
    def finish_sums(args_and_sums):
        args, sums = args_and_sums
        finish((args[3], sums))

    stage_states = stages_of(stages_sweep(tableau), lambda i: slope, lambda i: i - 1, ring, evaluating)
    adjoint_stages = stages_of(adjoint, slope_ad, two_places, ring, evaluating_ad, start_sums, finish_sums)
    after_halo = [action for stage in stage_states for action in stage][1:]
    to_last_stage, evaluate_last, all_back = in_turn(after_halo), evaluating(stages - 1), all_of(adjoint_stages)

    @part
    def step_ad(x, x_ad, x_ad_next, work, dt, n):
        y, k, bound, y_ad, k_ad, bound_ad = work
        to_last_stage((x, y, x, k, bound, dt, n))
        if stages > 1:
            fill(y[stages - 2], n)
            evaluate_last((y[stages - 2], bound, dt, n))
        else:
            evaluate_last((x, bound, dt, n))
        all_back((x_ad, y_ad, x_ad_next, k_ad, (x, y, bound, bound_ad, dt), dt, n))

    whole_step_kept = all_of(stages_of(forward, lambda i: slope, lambda i: i - 1, ring, evaluating))

    @part
    def step_kept(x, x_next, work, dt, n):
        y, k, bound, y_ad, k_ad, bound_ad = work
        whole_step_kept((x, y, x_next, k, bound, dt, n))

    @part
    def back(x, x_ad, x_ad_next, work, dt, n):
        y, k, bound, y_ad, k_ad, bound_ad = work
        all_back((x_ad, y_ad, x_ad_next, k_ad, (x, y, bound, bound_ad, dt), dt, n))

    return SimpleNamespace(
        step=step,
        step_tl=step_tl,
        step_ad=step_ad,
        step_kept=step_kept,
        back=back,
        layout=(2, len(kept(forward))),
        layout_ad=(max(2, stages - 1), len(kept(forward)), 2, len(kept(adjoint))),
    )

"""Fourier transforms of the members in a tile.

The spectrum X_k = sum_j x_j exp(-2 pi i j k / N) of N = 2 M sites is a tile array too: the real part of X_k lies at
position 2 k and the imaginary part at 2 k + 1; those of X_0 and X_M are zero, so that X_M, the Nyquist mode, takes the
place of the imaginary part of X_0. The sites of a member are read as M complex numbers z_m = x_{2m} + i x_{2m+1}, whose
transform Z holds that of the even and the odd sites (Press et al. 2007, section 12.3).

`program` (pass, 3) and `roots` (2 site,) are what `plan` and `roots_of_unity` say. Passes are those of Stockham's
algorithm, which sorts as it goes (Van Loan 1992, section 1.7): with a radix r, m = n / r and n s = M,

    y[q + s (r p + k)] = sum_j exp(-2 pi i k (p + m j) / n) x[q + s (p + m j)],    p < m, q < s, k < r.
"""

import numpy as np

from l96kit.kernels._targets import called, inline, part, reduction
from l96kit.kernels.tile import U


def plan(sites):
    """The passes (radix, m, s) over N / 2 complex numbers: radix four as long as it divides, then the primes."""
    left, s, passes = sites // 2, 1, []
    while left > 1:
        radix = next(r for r in (4, *range(2, left + 1)) if left % r == 0)
        left //= radix
        passes.append((radix, left, s))
        s *= radix
    return np.array(passes, np.int64).reshape(-1, 3)


def roots_of_unity(sites):
    """cos 2 pi j / N for all sites j, then sin: (2 N,)."""
    angles = 2 * np.pi * np.arange(sites) / sites
    return np.concatenate([np.cos(angles), np.sin(angles)])


def transforms(team, lanes):
    """The functions `to_spectrum(x, X, bound)` and `to_sites(X, x, bound)`, with bound = (program, roots, two arrays to
    work in). All arrays differ.
    """
    rows, within, together, sync = team.rows, team.within, team.together, team.sync
    width = U(lanes)

    @inline
    def sites_of(roots):
        return U(roots.shape[0]) // U(2)

    @inline
    def place(i):
        """Where complex number i begins."""
        return U(2) * width * U(i)

    @inline
    def part_of(x, i, count):
        """So many numbers as an array of their own: what is written to one is then known not to be in another."""
        return x[place(i) : place(i + count)]

    @inline
    def row(x, i):
        return part_of(x, i, U(1))

    @inline
    def lanes_of(x, count):
        """As a number that the compiler does not know: it would write short loops out instead of using vectors."""
        return U(x.shape[0]) // (U(2) * count)

    def passes(direction):
        """With exp(-2 pi i ...) if the direction is 1, with its conjugate if it is -1."""

        @inline
        def root(roots, exponent):
            return roots[exponent], roots.dtype.type(-direction) * roots[sites_of(roots) + exponent]

        @inline
        def times(a, b, root):
            c, d = root
            return c * a - d * b, c * b + d * a

        @reduction
        def butterflies(x, y, at, apart, w, count):
            y0, y1, y2, y3 = y
            w1, w2, w3 = w
            x0, x1, x2, x3 = at, at + apart, at + U(2) * apart, at + U(3) * apart
            turn = x.dtype.type(direction)
            for q in range(count):
                for lane in within(width):  # too long to be written out
                    re, im = place(q) + U(lane), place(q) + width + U(lane)
                    sum_a, sum_b = x[x0 + re] + x[x2 + re], x[x0 + im] + x[x2 + im]
                    difference_a, difference_b = x[x0 + re] - x[x2 + re], x[x0 + im] - x[x2 + im]
                    sum_c, sum_d = x[x1 + re] + x[x3 + re], x[x1 + im] + x[x3 + im]
                    difference_c, difference_d = turn * (x[x1 + re] - x[x3 + re]), turn * (x[x1 + im] - x[x3 + im])
                    y0[re], y0[im] = sum_a + sum_c, sum_b + sum_d
                    y1[re], y1[im] = times(difference_a + difference_d, difference_b - difference_c, w1)
                    y2[re], y2[im] = times(sum_a - sum_c, sum_b - sum_d, w2)
                    y3[re], y3[im] = times(difference_a - difference_d, difference_b + difference_c, w3)

        @part
        def four(x, y, roots, m, s):
            count = together(s)
            for i in rows(U(0), m * s // count, width):
                begin = i * count
                p = begin // s
                one, out = U(2) * s * p, begin + U(3) * s * p
                w = root(roots, one), root(roots, U(2) * one), root(roots, U(3) * one)
                y0, y1 = part_of(y, out, count), part_of(y, out + s, count)
                y2, y3 = part_of(y, out + U(2) * s, count), part_of(y, out + U(3) * s, count)
                butterflies(x, (y0, y1, y2, y3), place(begin), place(m * s), w, count)

        @called
        def add_rotated(x, y, at, w):
            for lane in within(width):
                re, im = U(lane), width + U(lane)
                a, b = times(x[at + re], x[at + im], w)
                y[re], y[im] = y[re] + a, y[im] + b

        @part
        def any_number(x, y, roots, radix, m, s):
            half = sites_of(roots) // U(2)
            for i in rows(U(0), m * s, width):
                p = i // s
                for k in range(radix):
                    out = row(y, i + (radix - U(1)) * s * p + s * U(k))
                    for lane in within(width):
                        out[U(lane)], out[width + U(lane)] = 0, 0
                    for j in range(radix):
                        w = root(roots, U(2) * (s * U(k) * (p + m * U(j)) % half))
                        add_rotated(x, out, place(i + m * s * U(j)), w)

        @inline
        def all_passes(x, target, spare, bound):
            """From x to the target if the number of passes is odd, else to the spare one."""
            program, roots = bound[0], bound[1]
            for r in range(program.shape[0]):
                radix, m, s = U(program[r, 0]), U(program[r, 1]), U(program[r, 2])
                if radix == 4:
                    four(x, target, roots, m, s)
                else:
                    any_number(x, target, roots, radix, m, s)
                sync()
                x, target, spare = target, spare, target

        return all_passes

    there, back = passes(1), passes(-1)

    @inline
    def untangled(Z, other_Z, root, half):
        """X_k = (Z_k + Z*_{M-k}) / 2 - i exp(-2 pi i k / N) (Z_k - Z*_{M-k}) / 2, and X_{M-k} with it."""
        (a, b), (other_a, other_b), (c, d) = Z, other_Z, root
        even_a, even_b = half * (a + other_a), half * (b - other_b)
        odd_a, odd_b = half * (b + other_b), half * (other_a - a)
        turned_a, turned_b = c * odd_a + d * odd_b, c * odd_b - d * odd_a
        return even_a + turned_a, even_b + turned_b, even_a - turned_a, turned_b - even_b

    @inline
    def tangled(X, other_X, root, share):
        """The inverse, divided by M."""
        (a, b), (other_a, other_b), (c, d) = X, other_X, root
        even_a, even_b = share * (a + other_a), share * (b - other_b)
        a, b = share * (a - other_a), share * (b + other_b)
        odd_a, odd_b = c * a - d * b, c * b + d * a
        return even_a - odd_b, even_b + odd_a, even_a + odd_b, odd_a - even_b

    @reduction
    def sum_and_difference(x, y, weight):
        for lane in within(lanes_of(y, U(1))):
            re, im = U(lane), width + U(lane)
            y[re], y[im] = weight * (x[re] + x[im]), weight * (x[re] - x[im])

    def all_rows(row_and_mirror):
        """Rows k and M - k together; the first one is by itself, and row M / 2 twice, the same to rounding."""

        @reduction
        def pairs_of_rows(x, y, mirrored, roots, k, count, weight):
            N = sites_of(roots)
            for q in range(count):
                at, other, back = place(k + q), place(N // U(2) - k - q), place(count - U(1) - q)
                root = roots[k + q], roots[N + k + q]
                for lane in within(lanes_of(y, count)):
                    re, im = U(lane), width + U(lane)
                    here, there = (x[at + re], x[at + im]), (x[other + re], x[other + im])
                    own_a, own_b, other_a, other_b = row_and_mirror(here, there, root, weight)
                    y[place(q) + re], y[place(q) + im] = own_a, own_b
                    mirrored[back + re], mirrored[back + im] = other_a, other_b

        @part
        def apply(x, y, roots, weight, first):
            M = sites_of(roots) // U(2)
            pairs = M // U(2)
            count = together(pairs)
            for i in rows(U(0), pairs // count + U(1), width):
                if i == 0:
                    sum_and_difference(row(x, i), row(y, i), first)
                else:
                    k = U(1) + (i - U(1)) * count
                    mirrored = part_of(y, M - k - count + U(1), count)
                    pairs_of_rows(x, part_of(y, k, count), mirrored, roots, k, count, weight)

        return apply

    untangle, tangle = all_rows(untangled), all_rows(tangled)

    @called
    def to_spectrum(x, X, bound):
        program, roots, one, other = bound
        sync()
        there(x, one, other, bound)
        untangle(one if program.shape[0] % 2 else other, X, roots, X.dtype.type(0.5), X.dtype.type(1))
        sync()

    @called
    def to_sites(X, x, bound):
        program, roots, one, other = bound
        sync()
        share = x.dtype.type(1.0 / sites_of(roots))
        tangle(X, other, roots, share, share)
        sync()
        if program.shape[0] % 2:
            back(other, x, one, bound)
        else:
            back(other, one, x, bound)

    return to_spectrum, to_sites

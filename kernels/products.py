"""Products of matrices whose rows lie along a vector loop, four rows times four at once.

Then arithmetic hides loads and stores. Rows lie in flat arrays; what a row holds (sites of a tile, members of an
ensemble) is the caller's.
"""

AT_ONCE = 4  # rows in and out in one pass


def row_products(places, compiled):
    """`add_four_products` and `add_product`, compiled in this way, over the `places(n)` of a row."""

    @compiled
    def add_four_products(y, x, w, outputs, at, size, apart, n):
        """y_o += sum_m w_om x_m at every place, for four of each; inputs lie `size`, their weights `apart`."""
        y0, y1, y2, y3 = y
        o0, o1, o2, o3 = outputs
        x0, m0 = at
        x1, x2, x3 = x0 + size, x0 + size + size, x0 + size + size + size
        m1, m2, m3 = m0 + apart, m0 + apart + apart, m0 + apart + apart + apart
        w00, w01, w02, w03 = w[o0 + m0], w[o0 + m1], w[o0 + m2], w[o0 + m3]
        w10, w11, w12, w13 = w[o1 + m0], w[o1 + m1], w[o1 + m2], w[o1 + m3]
        w20, w21, w22, w23 = w[o2 + m0], w[o2 + m1], w[o2 + m2], w[o2 + m3]
        w30, w31, w32, w33 = w[o3 + m0], w[o3 + m1], w[o3 + m2], w[o3 + m3]
        for k in places(n):
            a, b, c, d = x[x0 + k], x[x1 + k], x[x2 + k], x[x3 + k]
            y0[k] += w00 * a + w01 * b + w02 * c + w03 * d
            y1[k] += w10 * a + w11 * b + w12 * c + w13 * d
            y2[k] += w20 * a + w21 * b + w22 * c + w23 * d
            y3[k] += w30 * a + w31 * b + w32 * c + w33 * d

    @compiled
    def add_product(y, x, w, outputs, at, n):
        """The same for one input."""
        y0, y1, y2, y3 = y
        o0, o1, o2, o3 = outputs
        x0, m0 = at
        w0, w1, w2, w3 = w[o0 + m0], w[o1 + m0], w[o2 + m0], w[o3 + m0]
        for k in places(n):
            a = x[x0 + k]
            y0[k] += w0 * a
            y1[k] += w1 * a
            y2[k] += w2 * a
            y3[k] += w3 * a

    return add_four_products, add_product

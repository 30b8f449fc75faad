/* What stands before and behind the tiles of packed weights, in the words of vec_*.h: preparing rows (round_step is the including file's)
 * and finishing sums. */

static void prepare_codes(void *to, const float *const *rows, int m, const struct packed_weight *w)
{
    const int64_t n_steps = packed_steps(w);
    int8_t *x = to;
    float *aux = (void *)(x + n_steps * m * STEP);
    for (int r = 0; r < m; r++)
        for (int64_t s = 0; s < n_steps; s++)
            round_step(x + (s * m + r) * STEP, aux + s * 4 * m + r, m, rows[r] + s * STEP,
                       packed_layouts[w->form].zero, w->form == PACKED_I6);
}

/* Pairs of each row side by side; an odd K's last one has a 0. */
static void prepare_floats(void *to, const float *const *rows, int m, const struct packed_weight *w)
{
    float *x = to;
    for (int64_t p = 0; p < packed_steps(w); p++)
        for (int r = 0; r < m; r++, x += 2) {
            x[0] = rows[r][2 * p];
            x[1] = 2 * p + 1 < w->K ? rows[r][2 * p + 1] : 0;
        }
}

static void prepare(void *to, const float *const *rows, int m, const struct packed_weight *w)
{
    if (packed_layouts[w->form].bits)
        prepare_codes(to, rows, m, w);
    else
        prepare_floats(to, rows, m, w);
}

static void finish(float *y, const float *sums, const float *bias, int n, bool add)
{
    for (int i = 0; i < n; i += LANES) {
        int left = n - i;
        bool whole = left >= LANES;
        vf v = vf_load(sums + i);
        if (bias)
            v = v + (whole ? vf_load(bias + i) : vf_load_some(bias + i, left));
        if (add)
            v = v + (whole ? vf_load(y + i) : vf_load_some(y + i, left));
        if (whole)
            vf_store(y + i, v);
        else
            vf_store_some(y + i, v, left);
    }
}

/* silu(gate)·up */
static void finish_gated(float *y, const float *gate, const float *up, int n, bool add)
{
    float h[PANEL];
    for (int i = 0; i < PANEL; i += LANES) {
        vf g = vf_load(gate + i);
        vf_store(h + i, g * vf_sigmoid(g) * vf_load(up + i));
    }
    finish(y, h, NULL, n, add);
}

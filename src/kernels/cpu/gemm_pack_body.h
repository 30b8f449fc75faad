/* struct gemm_ops' two packers out of an instruction set's four: the file that includes this has defined
 *
 *     pack_rows, pack_panels(to, a, m0, m, k0, k, half)              of A whose numbers lie along k; along m
 *     pack_turned, pack_straight(to, b, n0, n, k0, k, panel, half)   of B whose numbers lie along k; along n
 *
 * which are always inlined, so that half (the operand is bf16, not float32) is a constant of each copy.
 */

static void pack_a(uint32_t *to, const struct gemm_side *a, int64_t m0, int64_t m, int64_t k0,
                   int64_t k)
{
    if (a->k_inner && a->type == DT_BF16)
        pack_rows(to, a, m0, m, k0, k, true);
    else if (a->k_inner)
        pack_rows(to, a, m0, m, k0, k, false);
    else if (a->type == DT_BF16)
        pack_panels(to, a, m0, m, k0, k, true);
    else
        pack_panels(to, a, m0, m, k0, k, false);
}

static void pack_b(uint32_t *to, const struct gemm_side *b, int64_t n0, int64_t n, int64_t k0,
                   int64_t k, int64_t panel)
{
    if (b->k_inner && b->type == DT_BF16)
        pack_turned(to, b, n0, n, k0, k, panel, true);
    else if (b->k_inner)
        pack_turned(to, b, n0, n, k0, k, panel, false);
    else if (b->type == DT_BF16)
        pack_straight(to, b, n0, n, k0, k, panel, true);
    else
        pack_straight(to, b, n0, n, k0, k, panel, false);
}

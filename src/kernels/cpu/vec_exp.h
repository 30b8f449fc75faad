/* exp and the logistic function on vectors: the part that both vec_*.h share.
 *
 * exp(x) = 2^n · exp(r), n = round(x / ln 2), |r| ≤ ln 2 / 2; ln 2 is subtracted in two pieces so that r is exact to the last place.
 * exp(r) is a polynomial with the coefficients of expf in Moshier's Cephes; the whole is within 2 units in the last place.
 * 2^x = 2^n · 2^r, n = round(x); 2^r = 1 + r·P(r) is the polynomial of least relative error over |r| ≤ 1/2 (2e-9; Lawson's iteration).
 */

static inline vf vf_exp(vf x)
{
    x = vf_clamp(x, -104.0f, 89.0f);
    vf n = vf_round(x * vf_set(1.44269504f));
    vf r = vf_fma(n, vf_set(-0.693359375f), x);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    p = vf_fma(p, r * r, r) + vf_set(1);
    return vf_scale2(p, n);
}

/* 2^x for x ≤ 128; 0 far below. */
static inline vf vf_exp2(vf x)
{
    x = vf_max(vf_set(-150.0f), x);
    vf n = vf_round(x), r = x - n;
    vf p = vf_set(1.535336185e-4f);
    p = vf_fma(p, r, vf_set(1.339887445e-3f));
    p = vf_fma(p, r, vf_set(9.618437358e-3f));
    p = vf_fma(p, r, vf_set(5.550332471e-2f));
    p = vf_fma(p, r, vf_set(2.402264791e-1f));
    p = vf_fma(p, r, vf_set(6.931472029e-1f));
    return vf_scale2(vf_fma(p, r, vf_set(1)), n);
}

/* 1 / (1 + exp(−x)) */
static inline vf vf_sigmoid(vf x)
{
    return vf_set(1) / (vf_set(1) + vf_exp(vf_set(0) - x));
}

/* exp and the logistic function on vectors: the part that both vec_*.h share.
 *
 * exp(x) = 2^n · exp(r), n = round(x / ln 2), |r| ≤ ln 2 / 2; ln 2 is subtracted in two pieces so that r is exact to the last place.
 * exp(r) is a polynomial with the coefficients of expf in Moshier's Cephes; the whole is within 2 units in the last place.
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

/* 1 / (1 + exp(−x)) */
static inline vf vf_sigmoid(vf x)
{
    return vf_set(1) / (vf_set(1) + vf_exp(vf_set(0) - x));
}

/* Rows whose length is no whole number of vectors, in the words of vec_avx2.h or vec_avx512.h, one of which is included before this:
 * `left` numbers remain from here on, a whole vector as a rule, and what lies behind the last of them is neither read nor written. */
#ifndef MOE2_KERNELS_CPU_VEC_TAIL_H
#define MOE2_KERNELS_CPU_VEC_TAIL_H

static inline vf get(const float *p, int64_t left)
{
    return __builtin_expect(left >= LANES, 1) ? vf_load(p) : vf_load_some(p, left);
}

static inline void put(float *p, vf v, int64_t left)
{
    if (__builtin_expect(left >= LANES, 1))
        vf_store(p, v);
    else
        vf_store_some(p, v, left);
}

/* v, but other in lanes that lie behind the end. */
static inline vf within(vf v, vf other, int64_t left)
{
    return __builtin_expect(left >= LANES, 1) ? v : vf_first(v, other, left);
}

#endif

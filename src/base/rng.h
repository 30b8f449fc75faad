/* Random numbers that are the same on every machine and after every resume.
 *
 * Two kinds. A stream (xoshiro256**, Blackman & Vigna) has a state of 32 bytes that a checkpoint stores. A hash of a position
 * (rng_at) has none: the number for (seed, step, layer, token) is always the same, however often and in whatever order it is asked.
 */
#ifndef MOE2_BASE_RNG_H
#define MOE2_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
double rng_uniform(struct rng *r);             /* [0, 1), 53 bits */
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 … n − 1 without bias; n ≥ 1 */
double rng_normal(struct rng *r);              /* mean 0, deviation 1; two uniforms a call */

/* A well mixed 64-bit number for a position. */
uint64_t rng_at(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);

/* The top 53 bits of x as a number in [0, 1). */
static inline double rng_to_uniform(uint64_t x)
{
    return (double)(x >> 11) * 0x1p-53;
}

#endif

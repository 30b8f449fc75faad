/* Training the two-layer gate: one step of AdamW on a batch of rows.
 *
 *     z = fc2 · relu(fc1 · x + b1) + b2
 *     sigmoid: the loss is the mean over cells that were run of −[y ln σ(z) + (1 − y) ln(1 − σ(z))]
 *     softmax: the mean over rows with a right expert of −Σ_e t_e ln softmax(z)_e, t even among the right ones
 *
 * Parameters lie in one array, as PyTorch's would one behind the other: fc1.weight [F, D], fc1.bias [F], fc2.weight [N, F], fc2.bias [N],
 * so that one call of AdamW (weight decay on all, as PyTorch's) moves them. Nothing is allocated in a step but the first; the same rows
 * give the same bits at any number of threads. Products, the inner layer and AdamW are the device's; the loss of the few numbers z of a
 * batch is the host's, which on a GPU gets z and gives back its gradient.
 */
#ifndef MOE2_TRAIN_GATE_MLP_STEPS_H
#define MOE2_TRAIN_GATE_MLP_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/lent.h"

struct mlp_steps {
    struct device *dev;
    int64_t T, D, F, N, batch; /* T: rows of x; batch: rows of a step, at most */
    bool softmax;
    enum dtype compute; /* of the products with fc1 */
    float lr, weight_decay;
    int64_t step; /* steps taken */
    int64_t n_parameters;
    float *p, *m, *v, *g; /* [n_parameters] parameters, moments, gradient; device memory */
    float *h, *dh, *z;    /* [batch, F], [batch, F], [batch, N] */
    float *near_z;        /* z where the host reads it, and N numbers more */
    struct lent x, list;  /* the rows, kept on the device; those of a step */
    const float *held;    /* the host's x that lies there */
};

/* Allocates and initialises as torch.nn.Linear does: weights and biases uniform in ±1/√(inputs), drawn from rng. The fields T … and
 * weight_decay are the caller's to fill first. */
int mlp_steps_init(struct mlp_steps *s, struct rng *rng, struct err *err);
void mlp_steps_release(struct mlp_steps *s);

/* One step on rows [n ≤ batch] of x [T, D] and right [T, N] (1, 0, −1 not run), all of the host's memory; *loss is the batch's before
 * it. x stays as it is between steps. Errors: those of the device. */
int mlp_steps_take(double *loss, struct mlp_steps *s, const float *x, const int8_t *right,
                   const int32_t *rows, int64_t n, struct err *err);

/* The numbers of one tensor of p, to the host's memory. */
void mlp_steps_read(float *to, const struct mlp_steps *s, int tensor);

/* Where a tensor begins in p: 0 fc1.weight, 1 fc1.bias, 2 fc2.weight, 3 fc2.bias; 4: the end. */
int64_t mlp_steps_offset(const struct mlp_steps *s, int tensor);

#endif

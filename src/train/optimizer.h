/* AdamW over a list of params, with clipping by the global norm.
 *
 *     optimizer_grad_norm(&norm, opt, err);        NaN: the tensor is named, nothing has moved
 *     optimizer_step(opt, lr, norm);
 *
 * Decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101) acts on matrices: embedding, head,
 * every product's weight and the router's gate. Norms and whatever has one dimension (biases) are
 * never decayed; buffers (e_score_correction_bias, grad NULL) are not in the optimizer at all. An
 * expert without tokens has a gradient of zeros: its moments fade and its weights decay like
 * everybody's, so that what happens to it doesn't depend on which micro-batch left it out.
 *
 * The norm adds the tensors' sums of squares in list order, in double: the same bits whatever the
 * threads.
 */
#ifndef MOE2_TRAIN_OPTIMIZER_H
#define MOE2_TRAIN_OPTIMIZER_H

#include "model/decoder.h"

struct optimizer_config {
    double beta1, beta2, eps, weight_decay;
    double clip; /* largest global norm; 0: no clipping */
    bool
        eight_bits; /* moments of tensors of OPTIMIZER_MIN_8BIT numbers and more in 8 bits, blocks of 256 */
};

enum { OPTIMIZER_MIN_8BIT = 4096 };

struct optimizer;

/* Moments of zero for every param with a gradient. params and dev are borrowed until
 * optimizer_free. Errors: MOE2_ECONFIG for a coefficient out of range, MOE2_ELIMIT. */
int optimizer_new(struct optimizer **out, struct param *params, int64_t n_params,
                  const struct optimizer_config *config, struct device *dev, struct err *err);
void optimizer_free(struct optimizer *opt); /* NULL is fine */

/* √Σ g² over all gradients. MOE2_ENUMERIC names the first tensor with a NaN or infinity in its
 * gradient, and the element. */
int optimizer_grad_norm(double *norm, const struct optimizer *opt, struct err *err);

/* One step with the gradients as they are; norm is what optimizer_grad_norm gave. */
void optimizer_step(struct optimizer *opt, double lr, double norm);

int64_t optimizer_n_steps(const struct optimizer *opt);

/* Bytes of the moments of a tensor of n numbers. */
int64_t optimizer_state_bytes(int64_t n, bool eight_bits);

/* Writes the moments and the step count as safetensors: "m.NAME" and "v.NAME", float32, or their
 * codes (U8) beside "m_absmax.NAME" and "v_absmax.NAME"; and reads them back into an optimizer over the same list. A missing tensor or another shape is MOE2_EFORMAT
 * and leaves the optimizer unusable (open it anew). */
int optimizer_save(const struct optimizer *opt, const char *path, struct err *err);
int optimizer_load(struct optimizer *opt, const char *path, struct err *err);

/* Finds a NaN or infinity in the weights: MOE2_ENUMERIC naming tensor and element, 0 if all are
 * numbers. */
int params_check_finite(const struct param *params, int64_t n_params, struct device *dev,
                        struct err *err);

#endif

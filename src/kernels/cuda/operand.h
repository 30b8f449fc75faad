/* The operands of products, brought into the type that is computed in and to places where 16 bytes can be read at a time.
 *
 * A table function describes its operands, asks once for scratch that holds all which can't be used where they lie, and places them:
 *
 *     struct operand x = {a->x, a->ldx, DT_F32, NULL, a->M, a->K};
 *     char *room = (char *)cuda_scratch(dev, operand_bytes(&x, DT_BF16));
 *     operand_place(dev, &x, DT_BF16, &room);              now x.at and x.ld are bf16
 */
#ifndef MOE2_KERNELS_CUDA_OPERAND_H
#define MOE2_KERNELS_CUDA_OPERAND_H

#include "kernels/cuda/cuda.h"

/* Row-major [n_rows, n_cols] with pitch ld, float32 or bf16; row r is row[r] of the memory where row is not NULL. */
struct operand {
    const void *at;
    int64_t ld;
    enum dtype type;
    const int32_t *row;
    int64_t n_rows, n_cols;
};

/* The pitch of a copy: rows begin at 16 bytes in either type. */
static inline int64_t operand_pitch(int64_t n_cols)
{
    return (n_cols + 7) / 8 * 8;
}

/* What operand_place will take from scratch, a multiple of 256; 0 where the operand can be used as it is. Only bf16 must be
 * aligned and of whole 16 bytes. */
size_t operand_bytes(const struct operand *o, enum dtype compute);

/* Copies o into *room, which moves on, unless it can be used as it is; rows are then in order, zeros behind n_cols. */
void operand_place(struct device *dev, struct operand *o, enum dtype compute, char **room);

/* to [n_rows, n_cols] of that type and a pitch that is a multiple of 8 = o, with zeros behind n_cols; to is 16-byte aligned. */
void operand_copy(struct device *dev, void *to, enum dtype type, int64_t pitch,
                  const struct operand *o);

#endif

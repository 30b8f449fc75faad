/* Descriptions of matrices for the copy engine of Hopper GPUs: see hopper.h. The function that makes them is the driver's, which the
 * runtime finds, so that nothing is linked to it.
 */
#ifndef MOE2_EMULATED
#include "kernels/cuda/hopper.h"

#include <cudaTypedefs.h>

bool tensor_maps_open(struct cuda_state *s)
{
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    void *function = NULL;
#if CUDART_VERSION >= 12050
    cudaError_t e = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                     cudaEnableDefault, &found);
#else
    cudaError_t e =
        cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
    if (e != cudaSuccess)
        cudaGetLastError(); /* the card is then used without */
    s->encode = e == cudaSuccess && found == cudaDriverEntryPointSuccess ? function : NULL;
    return s->encode != NULL;
}

bool tensor_map_make(struct device *dev, tensor_map *m, const void *base, int64_t columns,
                     int64_t rows, int64_t pitch, int box_rows)
{
    PFN_cuTensorMapEncodeTiled_v12000 encode =
        (PFN_cuTensorMapEncodeTiled_v12000)cuda_of(dev)->encode;
    const cuuint64_t sizes[] = {(cuuint64_t)columns, (cuuint64_t)rows},
                     pitches[] = {(cuuint64_t)pitch * 2};
    const cuuint32_t box[] = {PIECE_COLUMNS, (cuuint32_t)box_rows}, each[] = {1, 1};
    CUresult r = encode(m, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, (void *)base, sizes, pitches, box,
                        each, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (r != CUDA_SUCCESS)
        cuda_fail(dev, MOE2_EIO,
                  "%s: describing a matrix %lld x %lld of pitch %lld to the GPU failed with %d",
                  dev->name, (long long)rows, (long long)columns, (long long)pitch, (int)r);
    return r == CUDA_SUCCESS;
}
#endif

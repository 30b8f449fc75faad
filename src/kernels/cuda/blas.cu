/* Products through cuBLASLt: see blas.h.
 *
 * The library is asked once for each distinct product (sizes, pitches, types, alignment) how it would compute it, and the answer is
 * kept. Its ways that add parts of a sum by atomics or in place are not allowed, nor are any that round operands to TF32.
 */
#include "kernels/cuda/blas.h"

#ifdef MOE2_EMULATED

int blas_open(struct blas **out, void *stream, struct err *err)
{
    (void)stream;
    (void)err;
    *out = NULL;
    return 0;
}

void blas_close(struct device *dev)
{
    (void)dev;
}

static float number(const void *x, bool narrow, int64_t at)
{
    return narrow ? bf16_value(((const uint16_t *)x)[at]) : ((const float *)x)[at];
}

void blas_product(struct device *dev, const struct blas_args *p)
{
    (void)dev;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < p->k; l++)
                sum +=
                    (double)number(p->a, p->narrow, p->a_turned ? l * p->lda + i : i * p->lda + l) *
                    number(p->b, p->narrow, p->b_turned ? j * p->ldb + l : l * p->ldb + j);
            float *c = p->c + i * p->ldc + j;
            *c = (float)(p->accumulate ? *c + sum : sum);
        }
}

#else

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdlib.h>

enum { WORKSPACE = 32 << 20, PLANS = 1024, TRIED = 8, ALIGNED = 16 };

/* Each by its name in the library. */
#define FUNCTIONS(F)                                                                               \
    F(cublasLtCreate)                                                                              \
    F(cublasLtDestroy)                                                                             \
    F(cublasLtMatmul)                                                                              \
    F(cublasLtMatmulDescCreate)                                                                    \
    F(cublasLtMatmulDescDestroy)                                                                   \
    F(cublasLtMatmulDescSetAttribute)                                                              \
    F(cublasLtMatrixLayoutCreate)                                                                  \
    F(cublasLtMatrixLayoutDestroy)                                                                 \
    F(cublasLtMatmulPreferenceCreate)                                                              \
    F(cublasLtMatmulPreferenceDestroy)                                                             \
    F(cublasLtMatmulPreferenceSetAttribute)                                                        \
    F(cublasLtMatmulAlgoGetHeuristic)

/* What a product's way depends on, beside the card. Compared byte by byte. */
struct key {
    int64_t m, n, k, ldc, lda, ldb;
    int32_t a_align, b_align, c_align;
    uint8_t a_turned, b_turned, narrow, accumulate;
};

/* How the library will compute products of one key. It computes in column-major order, where a row-major matrix is its transpose:
 * cᵀ = bᵀ · aᵀ, so its first operand is our b. */
struct plan {
    struct key key;
    bool used;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
};

struct blas {
#define MEMBER(name) decltype(&::name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
    void *library;
    cublasLtHandle_t handle;
    cublasLtMatmulPreference_t preference;
    void *workspace;
    int n_plans;
    struct plan plans[PLANS];
};

static void *library_open(void)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                                        /* where NVIDIA's installer puts it */
                                        "/usr/local/cuda/lib64/libcublasLt.so"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

static bool find_functions(struct blas *b, const char **missing)
{
    *missing = NULL;
#define FIND(name)                                                                                 \
    if (!(b->name = (decltype(b->name))dlsym(b->library, #name)))                                  \
        *missing = #name;
    FUNCTIONS(FIND)
#undef FIND
    return *missing == NULL;
}

static void destroy(struct blas *b)
{
    if (b->preference)
        b->cublasLtMatmulPreferenceDestroy(b->preference);
    if (b->handle)
        b->cublasLtDestroy(b->handle);
    if (b->library)
        dlclose(b->library);
    free(b);
}

int blas_open(struct blas **out, void *stream, struct err *err)
{
    const char *missing;
    (void)stream;
    struct blas *b = (struct blas *)calloc(1, sizeof *b);
    if (!b)
        return err_set(err, MOE2_ELIMIT, "device cuda: no memory to open cuBLASLt");
    b->library = library_open();
    int rc = 0;
    if (!b->library)
        rc = err_set(err, MOE2_ECONFIG, "device cuda needs NVIDIA's cuBLASLt: %s", dlerror());
    else if (!find_functions(b, &missing))
        rc = err_set(err, MOE2_ECONFIG, "device cuda: this cuBLASLt has no %s", missing);
    else if (b->cublasLtCreate(&b->handle) != CUBLAS_STATUS_SUCCESS)
        rc = err_set(err, MOE2_ECONFIG, "device cuda: cuBLASLt can't be used with this GPU");
    else if (b->cublasLtMatmulPreferenceCreate(&b->preference) != CUBLAS_STATUS_SUCCESS)
        rc = err_set(err, MOE2_ELIMIT, "device cuda: no memory for cuBLASLt");
    if (rc)
        destroy(b);
    else
        *out = b;
    return rc;
}

/* ---- plans ---- */

static void plan_free(struct blas *b, struct plan *p)
{
    if (p->product)
        b->cublasLtMatmulDescDestroy(p->product);
    if (p->a)
        b->cublasLtMatrixLayoutDestroy(p->a);
    if (p->b)
        b->cublasLtMatrixLayoutDestroy(p->b);
    if (p->c)
        b->cublasLtMatrixLayoutDestroy(p->c);
    memset(p, 0, sizeof *p);
}

static void plans_free(struct blas *b)
{
    for (int i = 0; i < PLANS; i++)
        plan_free(b, &b->plans[i]);
    b->n_plans = 0;
}

void blas_close(struct device *dev)
{
    struct blas *b = cuda_of(dev)->blas;
    if (!b)
        return;
    plans_free(b);
    device_free(dev, b->workspace, WORKSPACE);
    destroy(b);
}

static int32_t alignment(const void *p)
{
    int32_t n = ALIGNED;
    while ((uintptr_t)p % (uintptr_t)n)
        n /= 2;
    return n;
}

static struct key key_of(const struct blas_args *p)
{
    struct key k;
    memset(&k, 0, sizeof k);
    k.m = p->m, k.n = p->n, k.k = p->k;
    k.ldc = p->ldc, k.lda = p->lda, k.ldb = p->ldb;
    k.a_align = alignment(p->a), k.b_align = alignment(p->b), k.c_align = alignment(p->c);
    k.a_turned = p->a_turned, k.b_turned = p->b_turned;
    k.narrow = p->narrow, k.accumulate = p->accumulate;
    return k;
}

/* The place of k among the plans: its plan, or an unused one. */
static struct plan *plan_place(struct blas *b, const struct key *k)
{
    uint64_t hash = 0;
    uint64_t words[sizeof *k / 8];
    memcpy(words, k, sizeof words);
    for (size_t i = 0; i < sizeof *k / 8; i++)
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
    for (uint64_t i = hash % PLANS;; i = (i + 1) % PLANS)
        if (!b->plans[i].used || memcmp(&b->plans[i].key, k, sizeof *k) == 0)
            return &b->plans[i];
}

static cublasStatus_t describe(struct blas *b, struct plan *p)
{
    const struct key *k = &p->key;
    cudaDataType_t type = k->narrow ? CUDA_R_16BF : CUDA_R_32F;
    cublasOperation_t first = k->b_turned ? CUBLAS_OP_T : CUBLAS_OP_N,
                      second = k->a_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint64_t m = (uint64_t)k->m, n = (uint64_t)k->n, inner = (uint64_t)k->k;
    cublasStatus_t s = b->cublasLtMatmulDescCreate(&p->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!s)
        s = b->cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSA, &first,
                                              sizeof first);
    if (!s)
        s = b->cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                                              sizeof second);
    if (!s)
        s = b->cublasLtMatrixLayoutCreate(&p->b, type, k->b_turned ? inner : n,
                                          k->b_turned ? n : inner, k->ldb);
    if (!s)
        s = b->cublasLtMatrixLayoutCreate(&p->a, type, k->a_turned ? m : inner,
                                          k->a_turned ? inner : m, k->lda);
    return s ? s : b->cublasLtMatrixLayoutCreate(&p->c, CUDA_R_32F, n, m, k->ldc);
}

static cublasStatus_t prefer(struct blas *b, cublasLtMatmulPreferenceAttributes_t what,
                             uint32_t value)
{
    return b->cublasLtMatmulPreferenceSetAttribute(b->preference, what, &value, sizeof value);
}

/* Asks the library for its best way whose parts of a sum are added in a fixed order, in float32. */
static cublasStatus_t choose(struct blas *b, struct plan *p)
{
    const struct key *k = &p->key;
    cublasLtMatmulHeuristicResult_t found[TRIED];
    int n = 0;
    uint64_t room = WORKSPACE;
    cublasStatus_t s = b->cublasLtMatmulPreferenceSetAttribute(
        b->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room);
    if (!s)
        s = prefer(b, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                   CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    if (!s)
        s = prefer(b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (uint32_t)k->b_align);
    if (!s)
        s = prefer(b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)k->a_align);
    if (!s)
        s = prefer(b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)k->c_align);
    if (!s)
        s = prefer(b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)k->c_align);
    if (!s)
        s = b->cublasLtMatmulAlgoGetHeuristic(b->handle, p->product, p->b, p->a, p->c, p->c,
                                              b->preference, TRIED, found, &n);
    for (int i = 0; i < n && !s; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS && found[i].workspaceSize <= WORKSPACE) {
            p->algo = found[i].algo;
            return CUBLAS_STATUS_SUCCESS;
        }
    return s ? s : CUBLAS_STATUS_NOT_SUPPORTED;
}

static cublasStatus_t plan_of(struct blas *b, const struct key *k, struct plan **out)
{
    struct plan *p = plan_place(b, k);
    *out = p;
    if (p->used)
        return CUBLAS_STATUS_SUCCESS;
    if (b->n_plans >= PLANS / 2) { /* kept sparse; sizes that come back are planned anew */
        plans_free(b);
        *out = p = plan_place(b, k);
    }
    p->key = *k;
    cublasStatus_t s = describe(b, p);
    if (!s)
        s = choose(b, p);
    if (s) {
        plan_free(b, p);
        return s;
    }
    p->used = true;
    b->n_plans++;
    return s;
}

/* ---- products ---- */

static void zero_product(struct device *dev, const struct blas_args *p)
{
    if (!p->accumulate)
        cudaMemset2DAsync(p->c, (size_t)p->ldc * sizeof *p->c, 0, (size_t)p->n * sizeof *p->c,
                          (size_t)p->m, (cudaStream_t)cuda_of(dev)->stream);
    cuda_launched(dev, "zeroing a product");
}

static void *workspace(struct device *dev)
{
    struct blas *b = cuda_of(dev)->blas;
    struct err err = {0, ""};
    if (!b->workspace)
        b->workspace = device_alloc(dev, WORKSPACE, &err);
    if (!b->workspace)
        cuda_fail(dev, err.code, "%s (for products)", err.msg);
    return b->workspace;
}

void blas_product(struct device *dev, const struct blas_args *p)
{
    struct blas *b = cuda_of(dev)->blas;
    if (!p->m || !p->n)
        return;
    if (!p->k) {
        zero_product(dev, p);
        return;
    }
    void *room = workspace(dev);
    if (!room)
        return;
    const float one = 1, beta = p->accumulate;
    struct key k = key_of(p);
    struct plan *plan;
    cublasStatus_t s = plan_of(b, &k, &plan);
    if (!s)
        s = b->cublasLtMatmul(b->handle, plan->product, &one, p->b, plan->b, p->a, plan->a, &beta,
                              p->c, plan->c, p->c, plan->c, &plan->algo, room, WORKSPACE,
                              (cudaStream_t)cuda_of(dev)->stream);
    if (s)
        cuda_fail(dev, MOE2_EIO,
                  "%s: cuBLASLt failed with status %d on a product %lld x %lld x %lld (%s%s%s)",
                  dev->name, (int)s, (long long)p->m, (long long)p->n, (long long)p->k,
                  p->narrow ? "bf16" : "float32", p->a_turned ? ", left turned" : "",
                  p->b_turned ? ", right turned" : "");
    cuda_launched(dev, "a product");
}

#endif

/* The loops of row_ops_body.h for AVX2. */
#if defined(__x86_64__)
#define ROWS_OPS row_ops_avx2
#define ROWS_NAME "avx2"
#include "route/row_ops_body.h"
#else
typedef int row_ops_avx2_is_not_for_this_machine;
#endif

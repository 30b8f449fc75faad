/* The loops of row_ops_body.h for AVX-512. */
#if defined(__x86_64__)
#define ROWS_OPS row_ops_avx512
#define ROWS_NAME "avx512"
#include "route/row_ops_body.h"
#else
typedef int row_ops_avx512_is_not_for_this_machine;
#endif

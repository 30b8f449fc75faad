/* The loops of the selector with AVX2. */
#if defined(__x86_64__)
#define SELECT_OPS select_ops_avx2
#define SELECT_OPS_NAME "avx2"
#include "route/select_ops_body.h"
#else
typedef int select_ops_avx2_is_not_for_this_machine;
#endif

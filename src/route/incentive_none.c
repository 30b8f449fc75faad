/* No bias: the gate alone decides (none, the baseline of every comparison), or a loss on the gate
 * does the balancing (aux, in aux.c). No state. */
#include "route/incentive.h"

const struct incentive_kind incentive_none = {.name = "none"};
const struct incentive_kind incentive_aux = {.name = "aux"};

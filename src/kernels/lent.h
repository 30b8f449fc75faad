/* Arrays of the host that kernels work on, whatever the device.
 *
 *     struct lent x = {0}, y = {0};
 *     lent_in(&x, dev, rows, n_bytes, err);            x.at: the rows, where kernels can read them
 *     lent_room(&y, dev, result, m_bytes, err);        y.at: where a kernel may write what result shall hold
 *     dev->k->…(dev, y.at, x.at, …);
 *     lent_back(&y, dev, result, m_bytes, err);        waits, and result holds it
 *     lent_end(&x, dev); lent_end(&y, dev);
 *
 * A device whose memory the host reads works on the arrays themselves: nothing is copied or allocated. Any other gets room of its own,
 * counted and refused like all its memory, which is kept for the next array and grows where that is larger.
 */
#ifndef MOE2_KERNELS_LENT_H
#define MOE2_KERNELS_LENT_H

#include "kernels/device.h"

struct lent {
    void *at;
    size_t n_bytes; /* of room on the device; 0: at is the host's array */
};

/* Errors of all: MOE2_ELIMIT as device_alloc tells it; of lent_back what device_check tells. */
int lent_in(struct lent *l, struct device *dev, const void *host, size_t n_bytes, struct err *err);
int lent_room(struct lent *l, struct device *dev, void *host, size_t n_bytes, struct err *err);
int lent_back(struct lent *l, struct device *dev, void *host, size_t n_bytes, struct err *err);
void lent_end(struct lent *l, struct device *dev); /* a zeroed one is fine */

#endif

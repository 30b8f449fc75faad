/* The host's arrays on a device: see lent.h. */
#include "kernels/lent.h"

int lent_room(struct lent *l, struct device *dev, void *host, size_t n_bytes, struct err *err)
{
    if (dev->host_memory) {
        l->at = host;
        return 0;
    }
    if (l->at && l->n_bytes >= n_bytes)
        return 0;
    lent_end(l, dev);
    size_t wanted = n_bytes ? n_bytes : 1;
    l->at = device_alloc(dev, wanted, err);
    l->n_bytes = l->at ? wanted : 0;
    return l->at ? 0 : MOE2_ELIMIT;
}

int lent_in(struct lent *l, struct device *dev, const void *host, size_t n_bytes, struct err *err)
{
    int rc = lent_room(l, dev, (void *)(uintptr_t)host, n_bytes, err);
    if (!rc && !dev->host_memory)
        dev->ops->write(dev, l->at, host, n_bytes);
    return rc;
}

int lent_back(struct lent *l, struct device *dev, void *host, size_t n_bytes, struct err *err)
{
    if (dev->host_memory)
        return 0;
    dev->ops->read(dev, host, l->at, n_bytes);
    return device_check(dev, err);
}

void lent_end(struct lent *l, struct device *dev)
{
    if (l->n_bytes)
        device_free(dev, l->at, l->n_bytes);
    *l = (struct lent){0};
}

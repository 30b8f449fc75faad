/* Memory of devices, counted and refused: what every device has in common. Part of the CUDA library too. */
#include <assert.h>
#include <stdlib.h>

#include "kernels/device.h"

void device_close(struct device *dev)
{
    if (!dev)
        return;
    dev->ops->close(dev);
    free(dev);
}

static void *refuse(struct device *dev, size_t n_bytes, struct err *err)
{
    size_t room = dev->ops->room(dev);
    if (room)
        err_set(err, MOE2_ELIMIT, "%s: no room for %zu more bytes, %zu are in use and %zu free",
                dev->name, n_bytes, dev->used_bytes, room);
    else
        err_set(err, MOE2_ELIMIT, "%s: no room for %zu more bytes, %zu are in use", dev->name,
                n_bytes, dev->used_bytes);
    return NULL;
}

void *device_alloc(struct device *dev, size_t n_bytes, struct err *err)
{
    if (dev->limit_bytes && n_bytes > dev->limit_bytes - dev->used_bytes) {
        err_set(err, MOE2_ELIMIT,
                "%s: no room for %zu more bytes, %zu of the limit of %zu are in use", dev->name,
                n_bytes, dev->used_bytes, dev->limit_bytes);
        return NULL;
    }
    void *p = dev->ops->alloc(dev, n_bytes);
    if (!p)
        return refuse(dev, n_bytes, err);
    dev->used_bytes += n_bytes;
    if (dev->used_bytes > dev->peak_bytes)
        dev->peak_bytes = dev->used_bytes;
    return p;
}

void device_free(struct device *dev, void *p, size_t n_bytes)
{
    if (!p)
        return;
    assert(dev->used_bytes >= n_bytes);
    dev->used_bytes -= n_bytes;
    dev->ops->free(dev, p, n_bytes);
}

/* NVIDIA's management library, opened at run time: names of GPUs, their memory and the energy that they have used.
 *
 *     struct nvml *n;
 *     if (nvml_open(&n, &err) == 0) nvml_energy_j(n, 0);       joules since the driver was loaded; a difference is a meter
 *
 * Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption (Volta and later, millijoules).
 */
#ifndef MOE2_KERNELS_NVML_H
#define MOE2_KERNELS_NVML_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct nvml;

/* MOE2_ECONFIG where there is no driver, or none that answers. */
int nvml_open(struct nvml **out, struct err *err);
void nvml_close(struct nvml *n); /* NULL is fine */

int nvml_n_gpus(const struct nvml *n);
/* "" where it has none. */
void nvml_name(const struct nvml *n, int gpu, char *text, size_t n_text);
/* Joules since the driver was loaded, whole card; NaN where it isn't metered (n may be NULL). */
double nvml_energy_j(const struct nvml *n, int gpu);
/* Bytes in use on the card, by everybody; 0 where it isn't known. */
int64_t nvml_used_bytes(const struct nvml *n, int gpu);

#endif

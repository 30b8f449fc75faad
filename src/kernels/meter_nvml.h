/* NVML as an energy meter (base/meter.h): one card's counter, which its driver renews some ten times a second. */
#ifndef MOE2_KERNELS_METER_NVML_H
#define MOE2_KERNELS_METER_NVML_H

#include "base/meter.h"

extern const struct meter_kind meter_nvml;

#endif

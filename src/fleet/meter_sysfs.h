/* Meters that are files of sysfs: RAPL through powercap and INA3221 through hwmon.
 *
 * A file of sysfs holds one short line. Whoever mounts sysfs elsewhere, or a test that makes a tree of its own, names its root
 * (meter_options.sysfs).
 */
#ifndef MOE2_FLEET_METER_SYSFS_H
#define MOE2_FLEET_METER_SYSFS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/meter.h"

/* Processor packages: energy_uj of each class/powercap/intel-rapl:N whose name begins with "package". AMD's are there, too. */
extern const struct meter_kind meter_rapl;

/* Rails behind an INA3221 (Jetson): volts times amperes, integrated over time by a thread. Where a rail is called VDD_IN, which feeds
 * all others, it alone; otherwise the sum of all that are connected. */
extern const struct meter_kind meter_ina3221;

enum { SYSFS_LINE = 128 };

/* The line of dir/name, without its end. Errors: MOE2_EIO naming the path; errno is kept as the system set it. MOE2_EFORMAT when it
 * is empty or longer. */
int sysfs_line(char out[static SYSFS_LINE], const char *dir, const char *name, struct err *err);

/* A whole number from min to max. */
int sysfs_number(int64_t *out, const char *dir, const char *name, int64_t min, int64_t max,
                 struct err *err);

bool sysfs_has(const char *dir, const char *name);

/* Appends ", part" (no comma at first), as far as it fits. */
void sysfs_name_part(char what[static METER_TEXT], const char *part);

#endif

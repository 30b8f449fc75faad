/* What the kernel says of this machine, in its files of "key : value" lines.
 *
 *     char name[128];
 *     machine_says(name, sizeof name, "/proc/cpuinfo", "model name")      "AMD EPYC"
 */
#ifndef MOE2_BASE_MACHINE_H
#define MOE2_BASE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

/* The value of the first line "key : value" of a file, or its first line without a key (NULL), cut to n bytes with the closing 0;
 * "" and false when there is none. */
bool machine_says(char *out, size_t n, const char *path, const char *key);

/* The name of the first core, "unknown" where /proc/cpuinfo has none. */
void machine_cpu(char *out, size_t n);

#endif

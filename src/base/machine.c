/* Reading /proc and /sys: the first line with a key. */
#include "base/machine.h"

#include <stdio.h>
#include <string.h>

/* Where the value of "key : value" begins, NULL when the line has another key. */
static const char *value_of(const char *line, const char *key)
{
    size_t n = key ? strlen(key) : 0;
    if (!key)
        return line;
    if (strncmp(line, key, n) != 0)
        return NULL;
    line += n + strspn(line + n, " \t");
    return *line == ':' ? line + 1 + strspn(line + 1, " \t") : NULL;
}

bool machine_says(char *out, size_t n, const char *path, const char *key)
{
    char line[4096];
    FILE *f = fopen(path, "re");
    *out = 0;
    while (f && !*out && fgets(line, sizeof line, f)) {
        const char *value = value_of(line, key);
        if (value)
            snprintf(out, n, "%.*s", (int)strcspn(value, "\n"), value);
    }
    if (f)
        fclose(f);
    return *out != 0;
}

void machine_cpu(char *out, size_t n)
{
    if (!machine_says(out, n, "/proc/cpuinfo", "model name"))
        snprintf(out, n, "unknown");
}

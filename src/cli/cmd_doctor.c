/* moe2 doctor: what this machine has, and what moe2 will use of it. */
#include <stdio.h>

#include "cli/cli.h"

static int run(int argc, char **argv)
{
    struct err err = {0};
    if (cli_parse(argc, argv, NULL, 0, NULL, &err))
        return cli_fail("doctor", &err);
    puts("moe2 " MOE2_VERSION);
    return 0;
}

const struct command cmd_doctor = {
    "doctor",
    "what this machine has and which kernels moe2 will use",
    "usage: moe2 doctor\n\nexample:\n  moe2 doctor\n",
    run,
};

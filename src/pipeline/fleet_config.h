/* A fleet as a YAML file: its devices, its experts, on which device each expert runs, whose curve it has, and whose recorded answers
 * stand for it. Lists run in parallel: the i-th of `on`, `curves`, `outcomes` and `bases` belongs to the i-th of `experts`.
 *
 *     struct fleet_config f;
 *     fleet_config_read(&f, "configs/fleet/demo.yaml", err);
 *     fleet_config_release(&f);
 */
#ifndef MOE2_PIPELINE_FLEET_CONFIG_H
#define MOE2_PIPELINE_FLEET_CONFIG_H

#include "base/err.h"
#include "io/yaml.h"

enum { FLEET_MAX_EXPERTS = 64 };

struct fleet_config {
    const char *name;           /* owned by yaml, as all texts */
    struct yaml_texts devices;  /* [n_devices] */
    struct yaml_texts kinds;    /* [n_devices] what each device is */
    struct yaml_texts experts;  /* [n] */
    struct yaml_texts on;       /* [n] names of devices */
    struct yaml_texts curves;   /* [n] names of imported curves */
    struct yaml_texts outcomes; /* [n] columns of the outcomes, or [0]: the experts' own names */
    struct yaml_texts
        bases; /* [n] checkpoint folders that the experts are trained on, or [0]: none are */
    struct yaml_config *yaml; /* owned */
};

/* Reads and checks a fleet. Errors: as yaml_read; MOE2_ECONFIG where lists differ in length, a device is not there or named twice. */
int fleet_config_read(struct fleet_config *f, const char *path, struct err *err);
void fleet_config_release(struct fleet_config *f); /* a zeroed one is fine */

/* The column of the outcomes, and key of the cost files, of expert i. */
const char *fleet_column(const struct fleet_config *f, int64_t i);

#endif

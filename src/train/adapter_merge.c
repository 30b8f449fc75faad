/* Merging: see adapter_merge.h. */
#include "train/adapter_merge.h"

#include <stdlib.h>

#include "base/file.h"
#include "model/decoder.h"
#include "model/router_file.h"
#include "train/checkpoint.h"
#include "train/folder.h"

static enum dtype type_of(const struct adapter_merge *m, const struct decoder *dec)
{
    enum dtype type = m->has_dtype ? m->dtype : decoder_config(dec)->dtype;
    return type == DT_F32 || type == DT_F16 ? type : DT_BF16;
}

/* The routers that trained with the adapters, or the model's own, go along. */
static int write(struct decoder *dec, const char *temp, const struct adapter_merge *m,
                 struct err *err)
{
    char *a = path_join(m->adapter, "router_state.safetensors"),
         *b = path_join(m->model, "router_state.safetensors"),
         *to = path_join(temp, "router_state.safetensors");
    int rc = a && b && to ? decoder_save(dec, temp, type_of(m, dec), err)
                          : err_set(err, MOE2_ELIMIT, "%s: no memory for names", temp);
    if (!rc && (file_exists(a) || file_exists(b)))
        rc = router_file_save(to, dec, err);
    if (!rc)
        rc = checkpoint_copy_tokenizer(temp, m->model, err);
    free(a);
    free(b);
    free(to);
    return rc;
}

int adapter_merge(const struct adapter_merge *m, struct device *dev, struct err *err)
{
    struct decoder *dec = NULL;
    char *temp = NULL;
    if (file_exists(m->out))
        return err_set(err, MOE2_ECONFIG, "%s is there already", m->out);
    struct decoder_options o = {.dir = m->model, .adapter = m->adapter, .log = m->log};
    int rc = decoder_open(&dec, &o, dev, err);
    if (!rc)
        rc = folder_begin(&temp, m->out, err);
    if (!rc) {
        rc = write(dec, temp, m, err);
        if (!rc)
            rc = folder_commit(m->out, err);
        if (rc)
            folder_abort(m->out);
    }
    free(temp);
    decoder_free(dec);
    return rc;
}

/* Chat templates out of folders and GGUF files. A tokenizer_config.json has one template, or a list of named ones of which "default"
 * counts. */
#include "model/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/gguf.h"
#include "io/json_util.h"

enum { MAX_CONFIG_BYTES = 64 << 20 };

static int none(const char *model, struct err *err)
{
    return err_set(err, MOE2_ECONFIG,
                   "%s: has no chat template, wanted a model that was trained to chat", model);
}

static int from_gguf(struct buf *out, const char *model, struct err *err)
{
    struct gguf *g = NULL;
    const char *text = NULL;
    int rc = gguf_open(&g, model, err);
    if (!rc && !gguf_key(g, "tokenizer.chat_template"))
        rc = none(model, err);
    if (!rc)
        rc = gguf_text(&text, g, "tokenizer.chat_template", err);
    if (!rc)
        rc = buf_puts(out, text, err);
    gguf_close(g);
    return rc;
}

static const json_t *template_in(const json_t *config)
{
    const json_t *t = json_object_get(config, "chat_template");
    for (size_t i = 0; i < json_array_size(t); i++) {
        const json_t *one = json_array_get(t, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_object_get(one, "template");
    }
    return t;
}

static int from_config(struct buf *out, const char *path, const char *model, struct err *err)
{
    json_t *config = NULL;
    /* model_max_length is 1000000000000000019884624838656 where transformers knows of none */
    int rc = json_read_file_as_reals(&config, path, MAX_CONFIG_BYTES, err);
    if (rc)
        return rc;
    const char *text = json_string_value(template_in(config));
    rc = text ? buf_puts(out, text, err) : none(model, err);
    json_decref(config);
    return rc;
}

static int from_folder(struct buf *out, const char *model, struct err *err)
{
    char *jinja = path_join(model, "chat_template.jinja"),
         *config = path_join(model, "tokenizer_config.json");
    int rc = 0;
    if (!jinja || !config)
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory for a path", model);
    else if (file_exists(jinja))
        rc = file_read(out, jinja, err);
    else if (file_exists(config))
        rc = from_config(out, config, model, err);
    else
        rc = none(model, err);
    free(jinja);
    free(config);
    return rc;
}

int chat_template_read(struct buf *out, const char *model, struct err *err)
{
    if (file_is_dir(model))
        return from_folder(out, model, err);
    return gguf_is(model) ? from_gguf(out, model, err) : none(model, err);
}

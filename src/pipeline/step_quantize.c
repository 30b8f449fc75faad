/* The experts in 4 bits, and what that costs: see step_experts.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "pipeline/step_answer.h"
#include "pipeline/step_experts.h"
#include "quant/model_write.h"
#include "train/adapter_merge.h"

/* Base and adapter become one folder, which becomes the 4-bit one and goes. */
static int quantize_one(struct quantized_expert *out, const struct experts_step *step, int64_t i,
                        struct device *dev, struct err *err)
{
    struct source *source = NULL;
    struct write_report tensors = {0};
    struct model_write_options o = {.type = WEIGHT_NF4, .log = step->sink, .report = &tensors};
    char *adapter = expert_folder(step, i, false), *folder = expert_folder(step, i, true),
         *merged = NULL;
    int rc = adapter && folder && asprintf(&merged, "%s.merged", adapter) > 0
                 ? file_remove_all(merged, err)
                 : err_set(err, MOE2_ELIMIT, "no memory for names");
    struct adapter_merge m = {
        .model = step->experts[i].base, .adapter = adapter, .out = merged, .log = step->sink};
    if (!rc)
        rc = adapter_merge(&m, dev, err);
    if (!rc)
        rc = source_open(&source, merged, err);
    if (!rc)
        rc = file_remove_all(folder, err);
    if (!rc)
        rc = model_write(folder, source, &o, err);
    for (int64_t t = 0; t < tensors.n && !rc; t++) {
        out->n_bytes[0] += tensors.v[t].bytes_from;
        out->n_bytes[1] += tensors.v[t].bytes_to;
    }
    source_close(source);
    free(tensors.v);
    if (merged)
        file_remove_all(merged, rc ? NULL : err);
    free(adapter);
    free(folder);
    free(merged);
    return rc;
}

/* Both forms of every expert, two columns each. */
static int ask(struct quantized_expert *out, const struct experts_step *step, struct err *err)
{
    struct answer_step answer = answer_step_default();
    struct answer_report report = {0};
    struct answer_expert *experts = calloc((size_t)step->n * 2, sizeof *experts);
    char **texts = calloc((size_t)step->n * 3, sizeof *texts);
    char *dir = path_join(step->out_dir, "quantized");
    int rc = experts && texts && dir ? 0 : err_set(err, MOE2_ELIMIT, "no memory for names");
    for (int64_t i = 0; i < step->n && !rc; i++) {
        const struct expert_spec *e = &step->experts[i];
        texts[3 * i] = expert_folder(step, i, false);
        texts[3 * i + 1] = expert_folder(step, i, true);
        if (!texts[3 * i] || !texts[3 * i + 1] ||
            asprintf(&texts[3 * i + 2], "%s" QUANTIZED_ENDING, e->name) < 0)
            rc = err_set(err, MOE2_ELIMIT, "no memory for names");
        experts[2 * i] = (struct answer_expert){e->name, e->base, texts[3 * i]};
        experts[2 * i + 1] = (struct answer_expert){texts[3 * i + 2], texts[3 * i + 1], NULL};
    }
    answer.questions = step->questions;
    answer.out_dir = dir;
    answer.experts = experts;
    answer.n_experts = (int)(2 * step->n);
    answer.form = step->form;
    answer.limit = step->n_questions;
    answer.threads = step->threads;
    answer.device = step->device;
    answer.sink = step->sink;
    answer.stop = step->stop;
    if (!rc)
        rc = answer_run(&report, &answer, err);
    for (int64_t i = 0; i < step->n && !rc; i++) {
        out[i].n_questions = report.n;
        for (int k = 0; k < 2; k++)
            out[i].n_right[k] = report.experts[2 * i + k].n_right[answer.norm];
    }
    answer_report_release(&report);
    for (int64_t i = 0; texts && i < 3 * step->n; i++)
        free(texts[i]);
    free(texts);
    free(experts);
    free(dir);
    return rc;
}

int experts_quantize(struct quantized_expert *out, const struct experts_step *step, struct err *err)
{
    struct device *dev = NULL;
    struct progress progress;
    const volatile int *stop = step->stop;
    int rc = device_open_choice(&dev, &step->device, (int)step->threads, err);
    progress_begin(&progress, step->sink, "quantising experts", (double)step->n, "experts");
    for (int64_t i = 0; i < step->n && !rc; i++) {
        out[i] = (struct quantized_expert){0};
        rc = stop && *stop ? err_set(err, MOE2_ESTOP, "stopped; the same command goes on")
                           : quantize_one(&out[i], step, i, dev, err);
        progress_set(&progress, (double)i + 1);
    }
    progress_end(&progress);
    device_close(dev);
    return rc ? rc : ask(out, step, err);
}

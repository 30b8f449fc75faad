/* The plan of a fine-tuning run: see finetune_plan.h. Modules of the same name in all layers, and in
 * all experts, are one row. */
#include "pipeline/finetune_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "base/words.h"
#include "model/frozen.h"
#include "train/optimizer.h"

/* ---- the adapters that are asked for ---- */

static int parse_rules(struct lora_rule *out, char **text, const struct yaml_texts *list,
                       const char *key, struct err *err)
{
    for (int64_t i = 0; i < list->n; i++) {
        const char *at = strrchr(list->values[i], '=');
        char *end = NULL;
        double value = at ? strtod(at + 1, &end) : 0;
        if (!at || at == list->values[i] || end == at + 1 || *end)
            return err_set(err, MOE2_ECONFIG, "%s: \"%s\", wanted PATTERN=NUMBER", key,
                           list->values[i]);
        size_t n = (size_t)(at - list->values[i]);
        memcpy(*text, list->values[i], n);
        (*text)[n] = 0;
        out[i] = (struct lora_rule){*text, value};
        *text += n + 1;
    }
    return 0;
}

static size_t text_bytes(const struct yaml_texts *list)
{
    size_t n = 0;
    for (int64_t i = 0; i < list->n; i++)
        n += strlen(list->values[i]) + 1;
    return n;
}

int finetune_lora_make(struct finetune_lora *out, const struct run_config *rc, struct err *err)
{
    const struct run_lora *r = &rc->lora;
    int64_t n_ranks = r->rank_pattern.n, n_alphas = r->alpha_pattern.n;
    struct finetune_lora l = {
        .rules = calloc((size_t)(n_ranks + n_alphas) + 1, sizeof *l.rules),
        .text = calloc(1, text_bytes(&r->rank_pattern) + text_bytes(&r->alpha_pattern) + 1)};
    char *text = l.text;
    int code = l.rules && l.text ? 0 : err_set(err, MOE2_ELIMIT, "no memory for patterns");
    if (!code)
        code = parse_rules(l.rules, &text, &r->rank_pattern, "lora.rank_pattern", err);
    if (!code)
        code = parse_rules(l.rules + n_ranks, &text, &r->alpha_pattern, "lora.alpha_pattern", err);
    l.config = (struct lora_config){.targets = r->target_modules.values,
                                    .n_targets = r->target_modules.n,
                                    .ranks = l.rules,
                                    .n_ranks = n_ranks,
                                    .alphas = l.rules + n_ranks,
                                    .n_alphas = n_alphas,
                                    .r = r->r,
                                    .alpha = r->alpha,
                                    .dropout = r->dropout,
                                    .rslora = r->rslora,
                                    .train_router = r->router == 1,
                                    .seed = (uint64_t)rc->seed};
    if (code)
        finetune_lora_release(&l);
    else
        *out = l;
    return code;
}

void finetune_lora_release(struct finetune_lora *l)
{
    free(l->rules);
    free(l->text);
    *l = (struct finetune_lora){0};
}

/* ---- the table ---- */

enum { MAX_ROWS = 64 };

/* Tensors of one name. */
struct row {
    char name[LORA_MAX_NAME];
    enum base_type type;
    int64_t tensors, numbers, bytes;
    int64_t with_adapter, r_least, r_most, trained, trained_bytes;
};

struct rows {
    struct row list[MAX_ROWS];
    int n;
};

/* The tensor's name without layer, expert and ".weight". */
static void common_name(char out[LORA_MAX_NAME], const struct param *p)
{
    const char *name = p->name;
    char number[32];
    if (p->layer >= 0) {
        snprintf(number, sizeof number, "model.layers.%d.", p->layer);
        name = strncmp(name, number, strlen(number)) == 0 ? name + strlen(number) : name;
    }
    snprintf(out, LORA_MAX_NAME, "%s", name);
    if (p->expert >= 0) {
        snprintf(number, sizeof number, ".experts.%d.", p->expert);
        const char *at = strstr(name, number);
        if (at)
            snprintf(out, LORA_MAX_NAME, "%.*s.experts.*.%s", (int)(at - name), name,
                     at + strlen(number));
    }
    if (words_end_in(out, ".weight"))
        out[strlen(out) - strlen(".weight")] = 0;
}

static struct row *row_of(struct rows *rows, const struct param *p, enum base_type type)
{
    char name[LORA_MAX_NAME];
    common_name(name, p);
    for (int i = 0; i < rows->n; i++)
        if (strcmp(rows->list[i].name, name) == 0)
            return &rows->list[i];
    struct row *row = &rows->list[rows->n < MAX_ROWS ? rows->n++ : MAX_ROWS - 1];
    if (!row->tensors) {
        memcpy(row->name, name, sizeof name);
        row->type = type;
    }
    return row;
}

static void add_trained(struct row *row, struct finetune_memory *m, int64_t n, bool adapter,
                        bool eight_bits)
{
    int64_t states = optimizer_state_bytes(n, eight_bits), size = n * (int64_t)sizeof(float);
    row->trained += n;
    row->trained_bytes += size + states + (adapter ? size : 0);
    m->adapters += adapter ? size : 0;
    m->gradients += size;
    m->optimizer += states;
}

static void count(struct rows *rows, struct finetune_memory *m, struct decoder *dec,
                  const struct run_config *rc)
{
    int64_t n = 0;
    const struct param *params = decoder_params(dec, &n);
    const struct lora *l = decoder_lora(dec);
    bool eight_bits = rc->train.optimizer == 1;
    for (int64_t i = 0, next = 0; i < n; i++) {
        const struct param *p = &params[i];
        enum base_type type = frozen_type(p, (enum base_type)rc->base.dtype);
        struct row *row = row_of(rows, p, type);
        row->tensors++;
        row->numbers += p->n;
        row->bytes += frozen_bytes(p->n, type);
        if (next < l->n && l->adapters[next].base == i) {
            const struct lora_adapter *ad = &l->adapters[next++];
            row->r_least = row->with_adapter && row->r_least < ad->r ? row->r_least : ad->r;
            row->r_most = row->r_most > ad->r ? row->r_most : ad->r;
            row->with_adapter++;
            add_trained(row, m, ad->a->n, true, eight_bits);
            add_trained(row, m, ad->b->n, true, eight_bits);
        }
        if (p->kind == PARAM_ROUTER && rc->lora.router == 1)
            add_trained(row, m, p->n, false, eight_bits);
    }
}

static const char *size_text(char text[32], int64_t n_bytes)
{
    if (n_bytes >= 1 << 30)
        snprintf(text, 32, "%.2f GiB", (double)n_bytes / (1 << 30));
    else if (n_bytes >= 1 << 20)
        snprintf(text, 32, "%.1f MiB", (double)n_bytes / (1 << 20));
    else
        snprintf(text, 32, "%.1f KiB", (double)n_bytes / (1 << 10));
    return text;
}

static void adapter_cell(struct table *t, const struct row *row)
{
    if (!row->with_adapter)
        table_cell(t, "-");
    else if (row->r_least == row->r_most)
        table_cell(t, "r %" PRId64 "%s", row->r_least,
                   row->with_adapter < row->tensors ? " on some" : "");
    else
        table_cell(t, "r %" PRId64 "-%" PRId64, row->r_least, row->r_most);
}

static const char *const type_names[] = {"f32", "bf16", "nf4"};

static void print_row(struct table *t, const struct row *row)
{
    char text[32];
    table_cell(t, "%s", row->name);
    table_cell(t, "%" PRId64, row->tensors);
    table_cell(t, "%" PRId64, row->numbers);
    table_cell(t, "%s", type_names[row->type]);
    table_cell(t, "%s", size_text(text, row->bytes));
    adapter_cell(t, row);
    table_cell(t, row->trained ? "%" PRId64 : "-", row->trained);
    table_cell(t, "%s", row->trained ? size_text(text, row->trained_bytes) : "-");
}

static void print_sum(struct table *t, const struct rows *rows)
{
    char text[32];
    struct row all = {0};
    for (int i = 0; i < rows->n; i++) {
        all.tensors += rows->list[i].tensors;
        all.numbers += rows->list[i].numbers;
        all.bytes += rows->list[i].bytes;
        all.trained += rows->list[i].trained;
        all.trained_bytes += rows->list[i].trained_bytes;
    }
    table_cell(t, "all");
    table_cell(t, "%" PRId64, all.tensors);
    table_cell(t, "%" PRId64, all.numbers);
    table_cell(t, "%.2f bits", 8 * (double)all.bytes / (double)all.numbers);
    table_cell(t, "%s", size_text(text, all.bytes));
    table_cell(t, " ");
    table_cell(t, "%" PRId64, all.trained);
    table_cell(t, "%s", size_text(text, all.trained_bytes));
}

static int print_table(struct buf *out, const struct rows *rows, struct err *err)
{
    static const struct table_column columns[] = {
        {"tensors", TABLE_LEFT},  {"how many", TABLE_RIGHT},
        {"numbers", TABLE_RIGHT}, {"held as", TABLE_LEFT},
        {"bytes", TABLE_RIGHT},   {"adapter", TABLE_LEFT},
        {"trained", TABLE_RIGHT}, {"with gradient and moments", TABLE_RIGHT},
    };
    struct table *t = NULL;
    int rc = table_new(&t, columns, 8, err);
    for (int i = 0; i < rows->n && !rc; i++)
        print_row(t, &rows->list[i]);
    if (!rc) {
        print_sum(t, rows);
        rc = table_text(out, t, err);
    }
    table_free(t);
    return rc;
}

/* ---- memory ---- */

/* A number of the file behind word; 0 where there is none. */
static int64_t number_in(const char *path, const char *word)
{
    char line[256];
    long long found = 0;
    FILE *f = fopen(path, "re");
    size_t n = strlen(word);
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, word, n) == 0) {
            found = strtoll(line + n, NULL, 10);
            break;
        }
    if (f)
        fclose(f);
    return found;
}

/* What the process may still take: the machine's free memory, or less where its group is limited. */
static int64_t available_bytes(void)
{
    int64_t free_bytes = number_in("/proc/meminfo", "MemAvailable:") * 1024;
    int64_t limit = number_in("/sys/fs/cgroup/memory.max", ""),
            used = number_in("/sys/fs/cgroup/memory.current", "");
    if (limit > 0 && limit - used < free_bytes)
        free_bytes = limit - used;
    return free_bytes;
}

static void print_memory(struct buf *out, const struct finetune_memory *m)
{
    const struct {
        const char *what;
        int64_t n_bytes;
    } lines[] = {{"so far: program, tokenizer, data", m->so_far},
                 {"weights, frozen", m->weights},
                 {"weights in the mapped file", m->mapped},
                 {"adapters", m->adapters},
                 {"gradients", m->gradients},
                 {"the optimizer's moments", m->optimizer},
                 {"activations and scratch of a micro-batch", m->batch},
                 {"peak", m->peak},
                 {"available", m->available}};
    char text[32];
    buf_puts(out, "\n", NULL);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        buf_printf(out, NULL, "%-42s %12s\n", lines[i].what, size_text(text, lines[i].n_bytes));
}

int finetune_plan(struct buf *table, struct finetune_memory *m, struct decoder *dec,
                  const struct run_config *rc, struct err *err)
{
    struct rows *rows = calloc(1, sizeof *rows);
    if (!rows)
        return err_set(err, MOE2_ELIMIT, "no memory for a table");
    int64_t window = rc->eval.window > rc->train.sequence ? rc->eval.window : rc->train.sequence,
            T = rc->train.micro_batch * rc->train.sequence, scored = window > 2048 ? window : 2048;
    struct device *dev = decoder_device(dec);
    *m = (struct finetune_memory){.so_far = dev->host_memory ? peak_rss_bytes() : 0};
    count(rows, m, dec, rc);
    decoder_base_bytes(dec, &m->weights, &m->mapped);
    if (rc->base.dtype == BASE_NF4)
        m->weights +=
            decoder_panel_n(dec) * (int64_t)(dev->host_memory ? sizeof(float) : sizeof(uint16_t));
    bool scores_text = !*rc->data.examples && rc->train.eval_every;
    m->batch = (int64_t)decoder_batch_bytes(dec, scores_text && scored > T ? scored : T, window);
    m->peak =
        m->so_far + m->weights + m->mapped + m->adapters + m->gradients + m->optimizer + m->batch;
    m->available = rc->train.memory_gb > 0 ? (int64_t)(rc->train.memory_gb * 1e9)
                   : dev->host_memory      ? m->so_far + available_bytes()
                                           : (int64_t)dev->ops->room(dev);
    int code = print_table(table, rows, err);
    if (!code)
        print_memory(table, m);
    free(rows);
    return code;
}

int finetune_fits(const struct finetune_memory *m, const struct run_config *rc, struct err *err)
{
    struct buf advice = {0};
    char need[32], have[32];
    int64_t wanted = m->peak - m->mapped;
    if (wanted <= m->available)
        return 0;
    if (m->weights > m->batch && rc->base.dtype != BASE_NF4)
        buf_puts(&advice, ", base.dtype nf4", NULL);
    if (!rc->train.checkpoint_activations)
        buf_puts(&advice, ", train.checkpoint_activations true", NULL);
    if (rc->train.micro_batch > 1)
        buf_puts(&advice, ", a smaller train.micro_batch", NULL);
    if (rc->train.optimizer == 0 && m->optimizer > m->batch / 8)
        buf_puts(&advice, ", train.optimizer adamw8bit", NULL);
    buf_puts(&advice, ", a smaller train.sequence or lora.r", NULL);
    int code = err_set(err, MOE2_ELIMIT, "this needs %s of memory and %s are there; try %s",
                       size_text(need, wanted), size_text(have, m->available), advice.bytes + 2);
    buf_release(&advice);
    return code;
}

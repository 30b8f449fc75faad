/* Sections that the pages of a run and of a comparison share. For this room only. */
#ifndef MOE2_REPORT_PAGE_PARTS_H
#define MOE2_REPORT_PAGE_PARTS_H

#include "report/html.h"
#include "report/run_metrics.h"

/* "Machine and versions", from a run's summary. */
void page_machine(struct html *h, const struct run_metrics *m);

/* Text before and after training, when the summary has it. Opens no section. */
void page_sample(struct html *h, const struct run_metrics *m);
bool page_has_sample(const struct run_metrics *m);

/* The resolved configuration and the commands of a run, folded. */
void page_config(struct html *h, const struct run_metrics *m);

/* The size of the model and of the training in a sentence. */
void page_setup(struct html *h, const struct run_metrics *m);

/* dir/figures/name.svg inside the page. */
void page_figure(struct html *h, const char *dir, const char *name, const char *caption);

/* 29500000 as "29.5 million", 120000 as "120,000". Returned. */
char *page_count(char text[48], double n);

/* Appends a JSON value as readable lines: "key: value", nested keys with dots, lists on one line. */
int page_json_lines(struct buf *out, const json_t *v, struct err *err);

#endif

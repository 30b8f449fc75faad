/* The page of a comparison while it is written. For this room only. */
#ifndef MOE2_REPORT_PAGE_COMPARE_H
#define MOE2_REPORT_PAGE_COMPARE_H

#include "report/comparison.h"
#include "report/figures.h"
#include "report/html.h"
#include "report/page_parts.h"

/* What the sections of the page share. */
struct page {
    struct html *h;
    struct figure_set *figures;
    const struct comparison *c;
    const char *dir;
    struct run_group groups[COMPARISON_MAX_ROUTERS];
    int n_groups;
};

/* NAME.svg: the differences of test loss of all entries but `skip` to base, with their intervals and seeds. False when it was not drawn. */
bool page_entries(struct page *p, const struct comparison_entry *list, int n, int skip,
                  const struct comparison_entry *base, const char *title, const char *x_title,
                  const char *name);

/* A section each; nothing when there is no data for it. */
void page_tuning(struct page *p);
void page_ablation(struct page *p);
void page_sweep(struct page *p);

#endif

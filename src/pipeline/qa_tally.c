/* Counts of rows: see qa_tally.h. */
#include "pipeline/qa_tally.h"

void qa_tally_row(struct qa_tally *t, const struct qa_row *row)
{
    t->n_kinds[row->kind]++;
    t->n_listed += row->listed;
    t->n_listed_single += row->listed && row->n_answers == 1;
    t->n_listed_none += row->listed && row->n_answers == 0;
}

int64_t qa_tally_overlap(const struct qa_tally *t)
{
    return t->n_leaks[QA_LEAK_WORDS] + t->n_leaks[QA_LEAK_OPTIONS] + t->n_leaks[QA_LEAK_SRC];
}

void qa_tally_json(struct json_writer *w, const struct qa_tally *t)
{
    jw_int(w, "files", t->n_files);
    jw_int(w, "read", t->n_read);
    jw_int(w, "broken", t->n_broken);
    for (int k = 0; k < QA_N_KINDS; k++)
        jw_int(w, qa_kind_names[k], t->n_kinds[k]);
    jw_int(w, "several_as_list", t->n_listed);
    jw_int(w, "several_as_list_of_one", t->n_listed_single);
    jw_int(w, "several_as_list_of_none", t->n_listed_none);
    jw_object(w, "overlap");
    for (int k = QA_LEAK_NONE + 1; k < QA_N_LEAKS; k++)
        jw_int(w, qa_leak_names[k], t->n_leaks[k]);
    jw_int(w, "all", qa_tally_overlap(t));
    jw_end(w);
    jw_int(w, "repeated", t->n_repeated);
    jw_int(w, "kept", t->n_kept);
}

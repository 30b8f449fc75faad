/* verification.md: the claims of MoE² (arXiv 2501.09410) beside what was found here. See study_report.h. Only what could be read is quoted: the
 * abstract's figure and the setting of its experiments. */
#include "base/file.h"
#include "pipeline/study_report.h"

/* The paper's headline, in per cent over single experts. */
static const double HEADLINE = 14.4;

static const struct study_row *chosen_row(const struct study_result *r)
{
    for (int i = 0; i < r->n_rows; i++)
        if (r->rows[i].is_chosen)
            return &r->rows[i];
    return NULL;
}

static int headline(struct buf *out, const struct study_result *r, struct err *err)
{
    const struct study_row *row = chosen_row(r);
    if (!row)
        return 0;
    double relative = 100 * row->gain.mean / r->single;
    return buf_printf(
        out, err,
        "| up to %.1f %% better accuracy than single experts (MMLU; relative or points "
        "is not known to us) | %.1f %% | %s on MMLU-Pro, without budgets: %+.1f points "
        "(%.1f to %.1f), %+.1f %% relative | %s |\n",
        HEADLINE, HEADLINE, r->fleet.name, 100 * row->gain.mean, 100 * row->gain.low,
        100 * row->gain.high, relative,
        relative >= HEADLINE ? "reached as a relative gain, on other experts and questions"
        : row->gain.low > 0  ? "the same direction, smaller"
                             : "not seen");
}

static int monotone_line(struct buf *out, const struct study_cell *cells, int n, const char *what,
                         struct err *err)
{
    int falls = 0, fits = 0, wins = 0, loses = 0;
    int64_t before = -1;
    for (int i = 0; i < n; i++) {
        if (cells[i].plan.gate < 0)
            continue;
        fits++;
        falls += cells[i].worth.correct[STUDY_TRAIN] < before;
        before = cells[i].worth.correct[STUDY_TRAIN];
        wins += cells[i].worth.correct[1] > cells[i].single_worth.correct[1];
        loses += cells[i].worth.correct[1] < cells[i].single_worth.correct[1];
    }
    int rc = buf_printf(
        out, err,
        "| %s: accuracy grows with the budget | not available | on train %s in the %d of "
        "%d rows where something fits | %s |\n",
        what, falls ? "not always" : "never falls", fits, n,
        falls ? "not confirmed" : "confirmed on train, where it is chosen");
    return rc ? rc
              : buf_printf(
                    out, err,
                    "| %s: the chosen subset beats the best single expert within the budget | "
                    "not available | on test better in %d rows, worse in %d, of %d that fit | %s "
                    "|\n",
                    what, wins, loses, fits, wins > loses ? "mostly confirmed" : "not confirmed");
}

int study_verify(const struct study *s, const char *path, const char *head, struct err *err)
{
    struct buf out = {0};
    int rc = buf_printf(
        &out, err,
        "# Verification\n\n%s\n\nThe paper's tables could not be had, so most of its "
        "values are not available; recorded answers of other models stand for its experts, "
        "fine-tuned from Qwen2.5.\n\n| claim | published | ours | verdict |\n|---|---|---|---|\n",
        head);
    for (int i = 0; i < s->n_results && !rc; i++)
        rc = headline(&out, s->results[i], err);
    if (!rc)
        rc = monotone_line(&out, s->table2, STUDY_N_LATENCIES, "Table II (latency 1, 2, 3 s)", err);
    if (!rc)
        rc = monotone_line(&out, s->table3, STUDY_N_ENERGIES, "Table III (energy 5 to 50 J)", err);
    if (!rc)
        rc = buf_puts(
            &out,
            "| 256 subsets, enumeration suffices | 256 | all 255 non-empty subsets are "
            "solved for each gate and k, with certificates | confirmed |\n"
            "| figures 4 and 5: latency and energy against prompt length | not available | "
            "published and estimated curves, not measured here | cannot be verified here |\n"
            "| fine-tuned 4-bit experts on MMLU | not available | other models stand for "
            "them | not verified |\n",
            err);
    if (!rc)
        rc = file_write(path, out.bytes, out.n, err);
    buf_release(&out);
    return rc;
}

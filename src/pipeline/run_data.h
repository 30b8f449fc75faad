/* The text of a run: three splits as tokens, the tokenizer they were made with, and what scoring
 * needs of it.
 *
 * Either a folder of packed text (io/shards.h), or plain files packed in memory: of each file the
 * first nine tenths are for training, then a twentieth for validation and a twentieth for the test,
 * cut at line ends; each piece is one document and ends with EOS.
 */
#ifndef MOE2_PIPELINE_RUN_DATA_H
#define MOE2_PIPELINE_RUN_DATA_H

#include "eval/tokens.h"
#include "pipeline/run_config.h"

enum { RUN_DATA_MAX_TEXT_BYTES = 1 << 30 }; /* of data.text */

struct run_split {
    struct tokens tokens;
    struct shards *shards; /* owned, or NULL */
    struct ids ids;        /* owned, where there are no shards */
    int64_t text_bytes;
};

struct run_data_set {
    struct run_split train, validation, test;
    struct tokenizer *tokenizer; /* owned */
    char *tokenizer_path;        /* its folder or file, owned; NULL: bytes */
    int32_t bos_id, eos_id, n_vocab;
};

/* Opens what rc.data names. Errors name the file and the key. */
int run_data_open(struct run_data_set *out, const struct run_data *data, struct err *err);
void run_data_close(struct run_data_set *d); /* a zeroed one is fine */

/* Opens "bytes", or a tokenizer.json or its folder. */
int run_tokenizer_open(struct tokenizer **out, const char *path, struct err *err);

/* The tokenizer of a checkpoint folder: path where one is given (as above), else the folder's own, else bytes for a checkpoint of
 * a run on bytes. MOE2_EIO without the folder, MOE2_ECONFIG when it has none. */
int run_model_tokenizer(struct tokenizer **out, const char *dir, const char *path, struct err *err);

/* What stands in front of a text or for an empty context: BOS, else EOS, of the tokenizer, else of config.json; −1: none. */
int32_t run_model_prefix(const struct tokenizer *tok, const struct model_config *c);

#endif

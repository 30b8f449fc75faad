/* config.json from a stranger: parsed, and what was accepted is printed, read back as the same, and
 * its list of tensors made when small. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "model/params.h"
#include "model/rope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_config c = {0}, again = {0};
    struct err err = {0};
    if (model_config_parse(&c, (const char *)data, size, "config.json", &err)) {
        if (!err.msg[0])
            abort();
        return 0;
    }
    struct buf text = {0};
    if (model_config_print(&text, &c, &err) ||
        model_config_parse(&again, text.bytes, text.n, "printed", &err) ||
        memcmp(&c, &again, sizeof c) != 0)
        abort();
    buf_release(&text);
    (void)rope_softmax_scale(&c);
    struct param_list list;
    if (c.num_hidden_layers * c.n_routed_experts < 4096 && !param_list_make(&list, &c, &err))
        param_list_release(&list);
    return 0;
}

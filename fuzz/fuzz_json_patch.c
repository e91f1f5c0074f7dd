/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Patch and JSON Merge Patch: the document, a line end, the patch. What comes out is JSON
 * again, and what failed left nothing behind. */
#include <stdint.h>
#include <stdlib.h>

#include "core/core.h"
#include "schema/schema.h"

static void apply(int (*patch)(mp_str, mp_str, mp__buf *, mp__diag *), mp_str target, mp_str with)
{
    mp__buf out = MP__BUF_INIT, again = MP__BUF_INIT;
    mp__diag diag = {0};
    int rc = patch(target, with, &out, &diag);

    if (rc && out.size)
        abort();
    if (rc && rc != MP_ENOMEM && diag.text[0] == '\0')
        abort();
    /* nothing to do: what was printed must read and print the same */
    if (rc == 0 && (mp__json_patch(mp__buf_str(&out), MP_STR("[]"), &again, &diag) != 0 ||
                    !mp_str_equal(mp__buf_str(&out), mp__buf_str(&again))))
        abort();
    mp__buf_done(&out);
    mp__buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    mp_str target, with;

    if (!line)
        return 0;
    target = mp_str_new(data, (size_t)(line - data));
    with = mp_str_new(line + 1, size - target.size - 1);
    apply(mp__json_patch, target, with);
    apply(mp__merge_patch, target, with);
    return 0;
}

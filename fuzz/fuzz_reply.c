/* SPDX-License-Identifier: Apache-2.0 */
/* RESP replies, as a client gets them, and glob patterns. A reply that is whole is never taken from
 * fewer bytes than it has, and more bytes behind it change nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "protocol/resp.h"

static size_t items_of(const mp__reply *reply)
{
    size_t items = 1, below = reply->type == MP__REPLY_MAP ? reply->count * 2 : reply->count;

    for (size_t i = 0; i < below; i++)
        items += items_of(&reply->items[i]);
    return items;
}

static void parse_reply(const char *data, size_t size)
{
    static const mp__reply_limits limits = {.depth_max = 8, .items_max = 4096, .bulk_max = 4096};
    mp__reply *reply = NULL, *shorter = NULL;
    size_t used = 0, used_shorter = 0;

    if (mp__reply_parse(data, size, &limits, &reply, &used) == 0) {
        if (used == 0 || used > size || items_of(reply) > limits.items_max + 1)
            abort();
        /* the same from exactly its bytes, and not from one less */
        if (mp__reply_parse(data, used, &limits, &shorter, &used_shorter) != 0 ||
            used_shorter != used)
            abort();
        shorter = mp__reply_free(shorter);
        if (mp__reply_parse(data, used - 1, &limits, &shorter, &used_shorter) != MP_EAGAIN)
            abort();
    }
    (void)mp__reply_free(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    size_t cut;

    if (size < 2)
        return 0;
    cut = data[0] < size - 1 ? data[0] : size - 1;
    (void)mp__glob_match(mp_str_new(text + 1, cut), mp_str_new(text + 1 + cut, size - 1 - cut),
                         10000);
    if (!mp__glob_match(MP_STR("*"), mp_str_new(text, size), 10000 + 2 * size))
        abort();
    parse_reply(text, size);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of WebSocket clients: any cut of the input into reads gives the same control frames and
 * the same end. The first byte chooses the cuts. */
#include <stdint.h>
#include <stdlib.h>

#include "protocol/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(const char *data, size_t size, size_t step, mp__buf *out)
{
    mp__ws_parser parser = {0};
    enum mp__ws_opcode opcode;
    enum mp__ws_code code;
    mp_str payload;
    size_t at = 0;

    while (at < size) {
        size_t n = size - at < step ? size - at : step, used = 0;
        int rc = mp__ws_parse(&parser, data + at, n, &used, &opcode, &payload, &code);

        if (rc == MP_EPROTO) {
            (void)mp__buf_printf(out, "!%d", (int)code);
            return;
        }
        if (used > n || (rc == MP_EAGAIN && used != n) || (rc == 0 && used == 0))
            abort();
        at += used;
        if (rc == 0) {
            if (payload.size > MP__WS_CONTROL_MAX)
                abort();
            (void)mp__buf_printf(out, "%d:", (int)opcode);
            (void)mp__buf_add_str(out, payload);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mp__buf whole = MP__BUF_INIT, cut = MP__BUF_INIT;

    if (size < 2 || size > 16384)
        return 0;
    feed((const char *)data + 1, size - 1, size, &whole);
    feed((const char *)data + 1, size - 1, (size_t)data[0] % 13 + 1, &cut);
    if (!mp_str_equal(mp__buf_str(&whole), mp__buf_str(&cut)))
        abort();
    mp__buf_done(&whole);
    mp__buf_done(&cut);
    return 0;
}

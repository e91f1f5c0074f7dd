/* SPDX-License-Identifier: Apache-2.0 */
/* JSON texts: what is only looked at is judged as jansson judges it, but for names and numbers, and
 * zero bytes behind the value, which it takes for the end; what is wrong has a place in the text.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include "core/core.h"
#include "core/json_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mp_str text = mp_str_new(data, size);
    mp__diag diag = {0};
    json_error_t error;
    json_t *tree = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    int rc = mp__json_check(text, &diag);

    if (tree && rc != 0 && !memchr(data, '\0', size))
        abort();
    if (!tree && rc == 0 && json_error_code(&error) != json_error_numeric_overflow &&
        json_error_code(&error) != json_error_null_byte_in_key)
        abort();
    if (rc && (rc != MP_ESYNTAX || diag.line < 1 || diag.column < 1 ||
               (size_t)diag.line > size + 1 || (size_t)diag.column > size + 1 || !diag.text[0]))
        abort();
    json_decref(tree);
    return 0;
}

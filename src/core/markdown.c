/* SPDX-License-Identifier: Apache-2.0 */
#include "core/markdown.h"

#include <string.h>

void mp__markdown_add(mp__buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            (void)mp__buf_add_str(out, MP_STR("&lt;"));
        else if (strchr("|*_[]`\\", *text))
            (void)mp__buf_printf(out, "\\%c", *text);
        else
            (void)mp__buf_add_char(out, *text);
    }
}

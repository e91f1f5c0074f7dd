/* SPDX-License-Identifier: Apache-2.0 */
/* Text for the pages that are made from tables. */
#ifndef MP_CORE_MARKDOWN_H
#define MP_CORE_MARKDOWN_H

#include "core/buf.h"

/* Append @text so that Markdown shows it as it is, in the cell of a table, too. */
void mp__markdown_add(mp__buf *out, const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/yaml_error.h"

#include <stdio.h>

int mp__yaml_error(const yaml_parser_t *parser, mp__diag *diag)
{
    const yaml_mark_t *at = &parser->problem_mark, *from = &parser->context_mark;
    const char *context = parser->context ? parser->context : "";
    char begins[64] = "";

    if (parser->error == YAML_MEMORY_ERROR)
        return MP_ENOMEM;
    if (parser->context && from->line != at->line)
        (void)snprintf(begins, sizeof(begins), " that begins at line %zu, column %zu",
                       from->line + 1, from->column + 1);
    return mp__diag_at(diag, MP_ESYNTAX, (int)at->line + 1, (int)at->column + 1, "%s%s%s%s",
                       parser->problem ? parser->problem : "not YAML", parser->context ? " " : "",
                       context, begins);
}

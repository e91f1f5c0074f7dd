/* SPDX-License-Identifier: Apache-2.0 */
#include "core/yaml_error.h"

#include <stdio.h>

/* Of bytes that are no text libyaml tells the offset alone. Columns count characters, as its own
 * do.
 */
static yaml_mark_t place_of(const yaml_parser_t *parser)
{
    const unsigned char *text = parser->input.string.start;
    size_t size = (size_t)(parser->input.string.end - text);
    yaml_mark_t at = {0};

    for (size_t i = 0; i < parser->problem_offset && i < size; i++) {
        at.column += (text[i] & 0xc0) != 0x80;
        if (text[i] == '\n') {
            at.line++;
            at.column = 0;
        }
    }
    return at;
}

int mp__yaml_error(const yaml_parser_t *parser, mp__diag *diag)
{
    yaml_mark_t bytes =
        parser->error == YAML_READER_ERROR ? place_of(parser) : parser->problem_mark;
    const yaml_mark_t *at = &bytes, *from = &parser->context_mark;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* .env files: NAME=value lines.
 *
 * There is no standard; this reads what the common tools agree on: blank lines and # comments,
 * "export " before a name, single quotes (bytes as they stand), double quotes (\n \r \t \" \\ \$
 * and line breaks inside), unquoted values up to " #" or the end of the line, trimmed. Nothing is
 * interpolated: $NAME stays as it is. All values are text. */
#include <ctype.h>

#include "format/kinds.h"
#include "format/leaves.h"

typedef struct env_reader {
    mp_str text;
    size_t at, line_start;
    int line;
    mp__diag *diag;
} env_reader;

static int env_error(const env_reader *r, size_t at, const char *text)
{
    return mp__diag_at(r->diag, MP_ESYNTAX, r->line, (int)(at - r->line_start) + 1, "%s", text);
}

static int peek(const env_reader *r)
{
    return r->at < r->text.size ? (unsigned char)r->text.data[r->at] : -1;
}

static void newline_passed(env_reader *r)
{
    r->line++;
    r->line_start = r->at;
}

static void skip_blanks(env_reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\t')
        r->at++;
}

static void skip_line(env_reader *r)
{
    while (peek(r) != -1 && peek(r) != '\n')
        r->at++;
    if (peek(r) == '\n') {
        r->at++;
        newline_passed(r);
    }
}

static int read_name(env_reader *r, mp_str *ret_name)
{
    size_t first = r->at;
    int c = peek(r);

    if (!isalpha(c) && c != '_')
        return env_error(r, r->at, "a name (letter or _) is expected here");
    while (isalnum(peek(r)) || peek(r) == '_' || peek(r) == '.' || peek(r) == '-')
        r->at++;
    *ret_name = mp_str_new(r->text.data + first, r->at - first);
    return 0;
}

static char unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

static int read_quoted(env_reader *r, char quote, mp__buf *value)
{
    env_reader begin = *r;

    r->at++;
    for (;;) {
        int c = peek(r);

        if (c == -1)
            return env_error(&begin, begin.at, "this quote is never closed");
        r->at++;
        if (c == quote)
            return value->error;
        if (c == '\\' && quote == '"' && peek(r) != -1 && strchr("nrt\"\\$", peek(r))) {
            c = (unsigned char)unescape(r->text.data[r->at]);
            r->at++;
        } else if (c == '\n') {
            newline_passed(r);
        }
        (void)mp__buf_add_char(value, (char)c);
    }
}

static int read_plain(env_reader *r, mp__buf *value)
{
    while (peek(r) != -1 && peek(r) != '\n') {
        if (peek(r) == '#' && r->at &&
            (r->text.data[r->at - 1] == ' ' || r->text.data[r->at - 1] == '\t'))
            break;
        (void)mp__buf_add_char(value, (char)peek(r));
        r->at++;
    }
    while (value->size && strchr(" \t\r", value->data[value->size - 1]))
        value->size--;
    return value->error;
}

static int read_value(env_reader *r, mp__buf *value)
{
    int rc;

    mp__buf_reset(value);
    skip_blanks(r);
    if (peek(r) != '"' && peek(r) != '\'')
        return read_plain(r, value);
    rc = read_quoted(r, (char)peek(r), value);
    skip_blanks(r);
    if (rc == 0 && peek(r) == '\r')
        r->at++;
    if (rc == 0 && peek(r) != '\n' && peek(r) != '#' && peek(r) != -1)
        return env_error(r, r->at, "nothing but a comment may follow the closing quote");
    return rc;
}

static int read_assignment(env_reader *r, mp__buf *value, mp__leaves *leaves)
{
    size_t name_at = r->at;
    mp_str name = {0};
    int rc = read_name(r, &name);

    if (rc == 0 && mp_str_equal(name, MP_STR("export")) && (peek(r) == ' ' || peek(r) == '\t')) {
        skip_blanks(r);
        name_at = r->at;
        rc = read_name(r, &name);
    }
    if (rc)
        return rc;
    skip_blanks(r);
    if (peek(r) != '=')
        return env_error(r, r->at, "'=' is expected after the name");
    r->at++;
    rc = read_value(r, value);
    if (rc == 0)
        rc = mp__leaves_add(leaves, name, mp__buf_str(value), MP__MEDIA_TEXT);
    if (rc == MP_ELIMIT)
        (void)env_error(r, name_at, "the name or the value is too long");
    return rc;
}

static int env_parse(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag)
{
    env_reader r = {.text = bytes, .line = 1, .diag = diag};
    mp__buf value = {.size_max = MP__FORMAT_VALUE_MAX + 1};
    mp__leaves leaves = {0};
    int rc = 0;

    if (bytes.size >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0)
        r.at = r.line_start = 3;
    while (rc == 0 && peek(&r) != -1) {
        skip_blanks(&r);
        if (peek(&r) != '#' && peek(&r) != '\n' && peek(&r) != '\r' && peek(&r) != -1)
            rc = read_assignment(&r, &value, &leaves);
        if (rc == 0)
            skip_line(&r);
    }
    if (rc == 0)
        rc = mp__leaves_sort(&leaves, diag);
    mp__buf_done(&value);
    if (rc) {
        mp__leaves_done(&leaves);
        return rc;
    }
    *ret_leaves = leaves;
    return 0;
}

static bool is_name(mp_str key)
{
    for (size_t i = 0; i < key.size; i++)
        if (!(isalnum((unsigned char)key.data[i]) || key.data[i] == '_' ||
              (i && (key.data[i] == '.' || key.data[i] == '-'))))
            return false;
    return key.size && !isdigit((unsigned char)key.data[0]);
}

static int env_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag)
{
    for (size_t i = 0; i < leaves->count; i++) {
        const mp__leaf *leaf = &leaves->items[i];

        if (!is_name(leaf->key))
            return mp__diag_set(diag, MP_EINVAL, "'%.*s' cannot be a name in a .env file",
                                (int)leaf->key.size, leaf->key.data);
        (void)mp__buf_add_str(out, leaf->key);
        (void)mp__buf_add(out, "=\"", 2);
        for (size_t k = 0; k < leaf->value.size; k++) {
            char c = leaf->value.data[k];

            if (c == '\n' || c == '\r' || c == '\t' || c == '"' || c == '\\' || c == '$') {
                (void)mp__buf_add_char(out, '\\');
                c = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c;
            }
            (void)mp__buf_add_char(out, c);
        }
        (void)mp__buf_add(out, "\"\n", 2);
    }
    return out->error;
}

static const char *const env_extensions[] = {".env", NULL};

const mp__format mp__format_env = {
    "env", env_extensions, "text/x-shellscript", env_parse, env_print,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* .env files: NAME=value lines.
 *
 * There is no standard; this reads what the common tools agree on: blank lines and # comments,
 * "export " before a name, single quotes (bytes as they stand), double quotes (\n \r \t \" \\ \$ \`
 * and line breaks inside), unquoted values up to " #" or the end of the line, trimmed. Nothing is
 * interpolated: $NAME stays as it is. All values are text, and none holds a zero byte. */
#include <ctype.h>

#include "format/kinds.h"
#include "format/text.h"

static int read_name(mp__text *t, mp_str *ret_name)
{
    size_t first = t->at;
    int c = mp__text_peek(t);

    if (!isalpha(c) && c != '_')
        return mp__text_error(t, t->at, "a name (letter or _) is expected here");
    while (isalnum(mp__text_peek(t)) || mp__text_peek(t) == '_' || mp__text_peek(t) == '.' ||
           mp__text_peek(t) == '-')
        t->at++;
    *ret_name = mp_str_new(t->bytes.data + first, t->at - first);
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

static int zero_byte(mp__text *t)
{
    return mp__text_error(t, t->at, "a zero byte stands here, which no environment can carry");
}

static int read_quoted(mp__text *t, char quote, mp__buf *value)
{
    mp__text begin = *t;

    t->at++;
    for (;;) {
        int c = mp__text_peek(t);

        if (c == -1)
            return mp__text_error(&begin, begin.at, "this quote is never closed");
        if (c == 0)
            return zero_byte(t);
        t->at++;
        if (c == quote)
            return value->error;
        if (c == '\\' && quote == '"' && mp__text_peek(t) > 0 &&
            strchr("nrt\"\\$`", mp__text_peek(t))) {
            c = (unsigned char)unescape(t->bytes.data[t->at]);
            t->at++;
        } else if (c == '\n') {
            mp__text_line(t);
        }
        (void)mp__buf_add_char(value, (char)c);
    }
}

static int read_plain(mp__text *t, mp__buf *value)
{
    while (mp__text_peek(t) != -1 && mp__text_peek(t) != '\n') {
        if (mp__text_peek(t) == '#' && t->at &&
            (t->bytes.data[t->at - 1] == ' ' || t->bytes.data[t->at - 1] == '\t'))
            break;
        if (mp__text_peek(t) == 0)
            return zero_byte(t);
        if (mp__text_is_stray(t))
            return mp__text_stray(t);
        (void)mp__buf_add_char(value, (char)mp__text_peek(t));
        t->at++;
    }
    while (value->size && value->data[value->size - 1] &&
           strchr(" \t\r", value->data[value->size - 1]))
        value->size--;
    return value->error;
}

static int read_value(mp__text *t, mp__buf *value)
{
    int rc;

    mp__buf_reset(value);
    mp__text_skip_blanks(t);
    if (mp__text_peek(t) != '"' && mp__text_peek(t) != '\'')
        return read_plain(t, value);
    rc = read_quoted(t, (char)mp__text_peek(t), value);
    mp__text_skip_blanks(t);
    if (rc == 0 && mp__text_peek(t) == '\r')
        t->at++;
    if (rc == 0 && mp__text_peek(t) != '\n' && mp__text_peek(t) != '#' && mp__text_peek(t) != -1)
        return mp__text_error(t, t->at, "nothing but a comment may follow the closing quote");
    return rc;
}

static int read_assignment(mp__text *t, mp__buf *value, mp__leaves *leaves)
{
    mp__text begin = *t;
    mp_str name = {0};
    int rc = read_name(t, &name);

    if (rc == 0 && mp_str_equal(name, MP_STR("export")) &&
        (mp__text_peek(t) == ' ' || mp__text_peek(t) == '\t')) {
        mp__text_skip_blanks(t);
        begin = *t;
        rc = read_name(t, &name);
    }
    if (rc)
        return rc;
    mp__text_skip_blanks(t);
    if (mp__text_peek(t) != '=')
        return mp__text_error(t, t->at, "'=' is expected after the name");
    t->at++;
    rc = read_value(t, value);
    if (rc == MP_ELIMIT)
        return mp__text_limit(&begin, begin.at);
    if (rc == 0)
        rc = mp__text_add(&begin, begin.at, leaves, name, mp__buf_str(value), MP__MEDIA_TEXT);
    return rc;
}

static int env_parse(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag)
{
    mp__text t = mp__text_begin(bytes, diag);
    mp__buf value = {.size_max = MP__FORMAT_VALUE_MAX + 1};
    mp__leaves leaves = {0};
    int rc = 0;

    while (rc == 0 && mp__text_peek(&t) != -1) {
        int c;

        mp__text_skip_blanks(&t);
        c = mp__text_peek(&t);
        if (c != '#' && c != '\n' && c != '\r' && c != -1)
            rc = read_assignment(&t, &value, &leaves);
        if (rc == 0)
            rc = mp__text_skip_line(&t);
    }
    mp__buf_done(&value);
    return mp__text_end(&t, rc, &leaves, ret_leaves);
}

static bool is_name(mp_str key)
{
    for (size_t i = 0; i < key.size; i++)
        if (!(isalnum((unsigned char)key.data[i]) || key.data[i] == '_' ||
              (i && (key.data[i] == '.' || key.data[i] == '-'))))
            return false;
    return key.size && !isdigit((unsigned char)key.data[0]);
}

static bool has_any(mp_str text, const char *bytes)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] && strchr(bytes, text.data[i]))
            return true;
    return false;
}

/* In quotes, so that shells, which read such files, too, read the same: line breaks and tabs stand
 * as they are (a shell knows no \n in quotes); what a shell would put something else for ($, `)
 * stands in single quotes, in which nothing means anything; what has a single quote besides, and
 * all else, stands in double quotes. */
static void print_value(mp__buf *out, mp_str value)
{
    char quote = has_any(value, "$`") && !has_any(value, "'") ? '\'' : '"';

    (void)mp__buf_add_char(out, quote);
    for (size_t i = 0; i < value.size; i++) {
        if (quote == '"' && value.data[i] && strchr("\"\\$`", value.data[i]))
            (void)mp__buf_add_char(out, '\\');
        (void)mp__buf_add_char(out, value.data[i]);
    }
    (void)mp__buf_add_char(out, quote);
}

static int env_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag)
{
    for (size_t i = 0; i < leaves->count; i++) {
        const mp__leaf *leaf = &leaves->items[i];

        if (!is_name(leaf->key))
            return mp__diag_set(diag, MP_EINVAL, "'%.*s' cannot be a name in a .env file",
                                (int)leaf->key.size, leaf->key.data);
        if (leaf->value.size && memchr(leaf->value.data, '\0', leaf->value.size))
            return mp__diag_set(diag, MP_EINVAL,
                                "'%.*s' holds a zero byte, which no environment can carry",
                                (int)leaf->key.size, leaf->key.data);
        (void)mp__buf_add_str(out, leaf->key);
        (void)mp__buf_add_char(out, '=');
        print_value(out, leaf->value);
        (void)mp__buf_add_char(out, '\n');
    }
    return out->error;
}

static const char *const env_extensions[] = {".env", NULL};

const mp__format mp__format_env = {
    "env", env_extensions, "text/x-shellscript", true, env_parse, env_print,
};

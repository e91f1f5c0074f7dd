/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in: strict, incremental, nothing copied. */
#include "protocol/resp.h"

#include <ctype.h>

#include "core/alloc.h"

void mp__resp_parser_init(mp__resp_parser *parser, const mp__resp_limits *limits)
{
    *parser = (mp__resp_parser){.limits = *limits, .expected = -1, .bulk = -1};
}

void mp__resp_parser_done(mp__resp_parser *parser)
{
    (void)mp__free(parser->arguments);
    *parser = (mp__resp_parser){.limits = parser->limits, .expected = -1, .bulk = -1};
}

static int refuse(mp__resp_parser *parser, const char *error)
{
    parser->error = error;
    return MP_EPROTO;
}

/* Room for one more argument: the array grows with what arrived, never with what was announced. */
static int room_for_argument(mp__resp_parser *parser)
{
    uint32_t capacity;
    mp_str *arguments;

    if (parser->count < parser->capacity)
        return 0;
    capacity = parser->capacity ? parser->capacity * 2 : 8;
    arguments = mp__realloc_array(parser->arguments, capacity, sizeof(*arguments));
    if (!arguments)
        return MP_ENOMEM;
    parser->arguments = arguments;
    parser->capacity = capacity;
    return 0;
}

static int add_argument(mp__resp_parser *parser, const char *data, size_t size)
{
    int rc = room_for_argument(parser);

    if (rc == 0)
        parser->arguments[parser->count++] = mp_str_new(data, size);
    return rc;
}

/* A count or length line "<digits>\r\n" at @p: digits only, no leading zero. 0 with *ret_value and
 * the byte after it, MP_EAGAIN, or MP_EPROTO. */
static inline int number_line(const char *p, const char *end, int64_t *ret_value,
                              const char **ret_next)
{
    const char *first = p;
    int64_t value = 0;

    while (p < end && *p >= '0' && *p <= '9') {
        if (p - first >= 10)
            return MP_EPROTO; /* ten digits are more than every limit of ours */
        value = value * 10 + (*p++ - '0');
    }
    if (p == end)
        return MP_EAGAIN;
    if (*p != '\r' || p == first || (*first == '0' && p - first > 1))
        return MP_EPROTO;
    if (p + 1 == end)
        return MP_EAGAIN;
    if (p[1] != '\n')
        return MP_EPROTO;
    *ret_value = value;
    *ret_next = p + 2;
    return 0;
}

/* ---- inline commands ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char escaped(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* One quoted word, unescaped in place from @p (behind the quote) to @out. NULL when it is not
 * closed or something follows the closing quote. */
static char *unquote(char *p, const char *end, char quote, char **out)
{
    while (p < end && *p != quote) {
        if (*p == '\\' && quote == '"' && p + 3 < end && p[1] == 'x' && hex_digit(p[2]) >= 0 &&
            hex_digit(p[3]) >= 0) {
            *(*out)++ = (char)(hex_digit(p[2]) * 16 + hex_digit(p[3]));
            p += 4;
        } else if (*p == '\\' && p + 1 < end && (quote == '"' || p[1] == '\'')) {
            *(*out)++ = quote == '"' ? escaped(p[1]) : '\'';
            p += 2;
        } else {
            *(*out)++ = *p++;
        }
    }
    if (p >= end)
        return NULL;
    p++;
    return p == end || isspace((unsigned char)*p) ? p : NULL;
}

static int inline_words(mp__resp_parser *parser, char *p, const char *end)
{
    for (;;) {
        char *first, *out;
        int rc;

        while (p < end && isspace((unsigned char)*p))
            p++;
        if (p == end)
            return 0;
        first = out = p;
        while (p && p < end && !isspace((unsigned char)*p)) {
            if (*p == '"' || *p == '\'')
                p = unquote(p + 1, end, *p, &out);
            else
                *out++ = *p++;
        }
        if (!p)
            return refuse(parser, "Protocol error: unbalanced quotes in request");
        if (parser->count >= parser->limits.arguments_max)
            return refuse(parser, "Protocol error: too many arguments");
        rc = add_argument(parser, first, (size_t)(out - first));
        if (rc)
            return rc;
    }
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t' && c != '\r') || c == 0x7f;
}

static int parse_inline(mp__resp_parser *parser, char *data, size_t size, size_t *ret_used)
{
    size_t limit = size < parser->limits.inline_max ? size : parser->limits.inline_max;
    char *newline = parser->position < limit
                        ? memchr(data + parser->position, '\n', limit - parser->position)
                        : NULL;
    char *end = newline ? newline : data + limit;

    /* A TLS hello or other binary noise is told at once rather than waited on. */
    for (char *p = data + parser->position; p < end; p++)
        if (is_control(*p))
            return refuse(parser, "Protocol error: control character in an inline command");
    if (!newline) {
        if (size >= parser->limits.inline_max)
            return refuse(parser, "Protocol error: too big inline request");
        parser->position = size;
        return MP_EAGAIN;
    }
    *ret_used = (size_t)(newline - data) + 1;
    return inline_words(parser, data,
                        newline > data && newline[-1] == '\r' ? newline - 1 : newline);
}

/* ---- arrays of bulk strings ---- */

/* Slices made from an earlier call point into the buffer as it was then. */
static void rebase(mp__resp_parser *parser, const char *data)
{
    if (parser->base && parser->base != data)
        for (uint32_t i = 0; i < parser->count; i++)
            parser->arguments[i].data = data + (parser->arguments[i].data - parser->base);
    parser->base = data;
}

static int begin_array(mp__resp_parser *parser, const char *data, const char *end)
{
    const char *next;
    int rc = number_line(data + 1, end, &parser->expected, &next);

    if (rc)
        parser->expected = -1;
    if (rc == MP_EPROTO)
        return refuse(parser, "Protocol error: invalid multibulk length");
    if (rc)
        return rc;
    if (parser->expected > parser->limits.arguments_max)
        return refuse(parser, "Protocol error: invalid multibulk length: more arguments than this "
                              "server takes (resp.arguments_max)");
    parser->position = (size_t)(next - data);
    return 0;
}

static int begin_bulk(mp__resp_parser *parser, const char *data, const char *end)
{
    const char *p = data + parser->position, *next;
    int rc;

    if (p == end)
        return MP_EAGAIN;
    if (*p != '$')
        return refuse(parser, "Protocol error: expected '$'");
    rc = number_line(p + 1, end, &parser->bulk, &next);
    if (rc)
        parser->bulk = -1;
    if (rc == MP_EPROTO)
        return refuse(parser, "Protocol error: invalid bulk length");
    if (rc)
        return rc;
    if (parser->bulk > parser->limits.bulk_max)
        return refuse(parser, "Protocol error: invalid bulk length: the value is larger than this "
                              "server takes (resp.value_max)");
    parser->position = (size_t)(next - data);
    /* Refused when it is announced, so that nobody makes us keep what we will not take. */
    if (parser->limits.command_max &&
        parser->position + (size_t)parser->bulk + 2 > parser->limits.command_max)
        return refuse(parser, "Protocol error: the command is larger than this server takes");
    return 0;
}

static int end_bulk(mp__resp_parser *parser, const char *data, const char *end)
{
    const char *p = data + parser->position;
    size_t size = (size_t)parser->bulk, have = (size_t)(end - p);
    int rc;

    if (have > size && p[size] != '\r')
        return refuse(parser, "Protocol error: a bulk string is longer than its length");
    if (have < size + 2)
        return MP_EAGAIN;
    if (p[size + 1] != '\n')
        return refuse(parser, "Protocol error: a bulk string is longer than its length");
    rc = add_argument(parser, p, size);
    if (rc)
        return rc;
    parser->position += size + 2;
    parser->bulk = -1;
    return 0;
}

static int parse_array(mp__resp_parser *parser, char *data, size_t size, size_t *ret_used)
{
    const char *end = data + size;
    int rc = 0;

    rebase(parser, data);
    if (parser->expected < 0)
        rc = begin_array(parser, data, end);
    while (rc == 0 && parser->count < parser->expected) {
        if (parser->bulk < 0)
            rc = begin_bulk(parser, data, end);
        if (rc == 0)
            rc = end_bulk(parser, data, end);
    }
    *ret_used = parser->position;
    return rc;
}

size_t mp__resp_parse_get(const mp__resp_parser *parser, const char *data, size_t size,
                          mp_str *ret_key)
{
    static const char head[] = "*2\r\n$3\r\nGET\r\n$";
    const char *p = data + sizeof(head) - 1, *end = data + size;
    size_t length = 0, whole;

    if (parser->position || size < sizeof(head) + 5 || memcmp(data, head, sizeof(head) - 1) != 0 ||
        *p == '0')
        return 0;
    for (int i = 0; i < 3 && *p >= '0' && *p <= '9'; i++) /* within the bytes asked for above */
        length = length * 10 + (size_t)(*p++ - '0');
    if (p[0] != '\r' || p[1] != '\n' || length == 0 || (size_t)(end - p) < length + 4)
        return 0;
    p += 2;
    whole = (size_t)(p - data) + length + 2;
    if (p[length] != '\r' || p[length + 1] != '\n' || length > parser->limits.bulk_max ||
        (parser->limits.command_max && whole > parser->limits.command_max))
        return 0;
    *ret_key = mp_str_new(p, length);
    return whole;
}

int mp__resp_parse(mp__resp_parser *parser, char *data, size_t size, mp__resp_command *ret_command,
                   size_t *ret_used)
{
    size_t used = 0;
    int rc;

    if (size == 0)
        return MP_EAGAIN;
    if (parser->position == 0 && parser->expected < 0) {
        parser->count = 0;
        parser->base = NULL;
    }
    rc = data[0] == '*' ? parse_array(parser, data, size, &used)
                        : parse_inline(parser, data, size, &used);
    if (rc)
        return rc;
    *ret_command = (mp__resp_command){parser->arguments, parser->count};
    *ret_used = used;
    parser->position = 0;
    parser->expected = parser->bulk = -1;
    return 0;
}

size_t mp__resp_wants(const mp__resp_parser *parser, size_t size)
{
    size_t need;

    if (parser->bulk < 0)
        return 1;
    need = parser->position + (size_t)parser->bulk + 2;
    return need > size ? need - size : 1;
}

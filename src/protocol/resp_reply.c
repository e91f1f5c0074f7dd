/* SPDX-License-Identifier: Apache-2.0 */
/* Replies in, RESP2 and RESP3: one whole reply becomes a tree. */
#include "protocol/resp.h"

#include <errno.h>
#include <stdlib.h>

#include "core/alloc.h"

enum { LINE_MAX = 64 * 1024 };

typedef struct reply_reader {
    const char *p, *end;
    const mp__reply_limits *limits;
    size_t items;
} reply_reader;

static void reply_done(mp__reply *reply)
{
    size_t n = reply->items ? reply->count * (reply->type == MP__REPLY_MAP ? 2 : 1) : 0;

    for (size_t i = 0; i < n; i++)
        reply_done(&reply->items[i]);
    (void)mp__free(reply->items);
}

mp__reply *mp__reply_free(mp__reply *reply)
{
    if (!reply)
        return NULL;
    reply_done(reply);
    return mp__free(reply);
}

/* The line at r->p without its end. */
static int read_line(reply_reader *r, mp_str *ret_line)
{
    size_t have = (size_t)(r->end - r->p);
    const char *cr = have ? memchr(r->p, '\r', have) : NULL;

    if (!cr)
        return have > LINE_MAX ? MP_EPROTO : MP_EAGAIN;
    if (cr - r->p > LINE_MAX)
        return MP_EPROTO;
    if (cr + 1 == r->end)
        return MP_EAGAIN;
    if (cr[1] != '\n')
        return MP_EPROTO;
    *ret_line = mp_str_new(r->p, (size_t)(cr - r->p));
    r->p = cr + 2;
    return 0;
}

static int integer_of(mp_str line, int64_t *ret_value)
{
    bool negative = line.size && line.data[0] == '-';
    int64_t value = 0;

    if (line.size == negative || line.size > 20)
        return MP_EPROTO;
    if (line.data[negative] == '0' && line.size > 1)
        return MP_EPROTO; /* "007" and "-0" */
    for (size_t i = negative; i < line.size; i++) {
        int digit = line.data[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return MP_EPROTO;
    }
    /* gathered as a negative, which has one value more */
    if (!negative && value == INT64_MIN)
        return MP_EPROTO;
    *ret_value = negative ? value : -value;
    return 0;
}

static int read_bulk(reply_reader *r, int64_t size, mp__reply *reply)
{
    if (size == -1) {
        reply->type = MP__REPLY_NULL;
        return 0;
    }
    if (size < 0)
        return MP_EPROTO;
    if ((uint64_t)size > r->limits->bulk_max)
        return MP_ELIMIT;
    if (r->end - r->p < size + 2)
        return MP_EAGAIN;
    if (r->p[size] != '\r' || r->p[size + 1] != '\n')
        return MP_EPROTO;
    reply->text = mp_str_new(r->p, (size_t)size);
    r->p += size + 2;
    return 0;
}

static int read_reply(reply_reader *r, mp__reply *reply, uint32_t depth);

static int read_items(reply_reader *r, int64_t count, mp__reply *reply, uint32_t depth)
{
    size_t n, capacity = 0, have = 0;
    int rc = 0;

    if (count == -1) {
        reply->type = MP__REPLY_NULL;
        return 0;
    }
    n = (size_t)count * (reply->type == MP__REPLY_MAP ? 2 : 1);
    if (count < 0)
        return MP_EPROTO;
    if (depth >= r->limits->depth_max || n > r->limits->items_max ||
        (r->items += n) > r->limits->items_max)
        return MP_ELIMIT;
    for (; have < n && rc == 0; have++) {
        if (have == capacity) { /* grows with what arrived, not with what was announced */
            mp__reply *items;

            capacity = capacity ? capacity * 2 : 8;
            capacity = capacity < n ? capacity : n;
            items = mp__realloc_array(reply->items, capacity, sizeof(*items));
            if (!items) {
                rc = MP_ENOMEM;
                break;
            }
            reply->items = items;
        }
        reply->items[have] = (mp__reply){0};
        rc = read_reply(r, &reply->items[have], depth + 1);
    }
    if (rc) { /* free what was read here, so that the caller finds nothing half built */
        for (size_t i = 0; i < have; i++)
            reply_done(&reply->items[i]);
        reply->items = mp__free(reply->items);
        return rc;
    }
    reply->count = (size_t)count;
    return 0;
}

static int read_double(mp_str line, mp__reply *reply)
{
    char text[64], *end;

    if (line.size == 0 || line.size >= sizeof(text))
        return MP_EPROTO;
    memcpy(text, line.data, line.size);
    text[line.size] = '\0';
    reply->real = strtod(text, &end);
    reply->text = line;
    return *end == '\0' && end != text ? 0 : MP_EPROTO;
}

static int read_verbatim(reply_reader *r, int64_t size, mp__reply *reply)
{
    int rc = read_bulk(r, size, reply);

    if (rc || reply->type == MP__REPLY_NULL)
        return rc ? rc : MP_EPROTO;
    if (reply->text.size < 4 || reply->text.data[3] != ':')
        return MP_EPROTO;
    reply->text = mp_str_new(reply->text.data + 4, reply->text.size - 4);
    return 0;
}

static int read_sized(reply_reader *r, char type, mp_str line, mp__reply *reply, uint32_t depth)
{
    int64_t size;

    if (integer_of(line, &size) != 0)
        return MP_EPROTO;
    switch (type) {
    case '$':
        reply->type = MP__REPLY_BULK;
        return read_bulk(r, size, reply);
    case '=':
        reply->type = MP__REPLY_VERBATIM;
        return read_verbatim(r, size, reply);
    case '*':
        reply->type = MP__REPLY_ARRAY;
        return read_items(r, size, reply, depth);
    case '%':
        reply->type = MP__REPLY_MAP;
        return size < 0 ? MP_EPROTO : read_items(r, size, reply, depth);
    case '~':
        reply->type = MP__REPLY_SET;
        return size < 0 ? MP_EPROTO : read_items(r, size, reply, depth);
    default:
        reply->type = MP__REPLY_PUSH;
        return size < 0 ? MP_EPROTO : read_items(r, size, reply, depth);
    }
}

static int read_simple(char type, mp_str line, mp__reply *reply)
{
    switch (type) {
    case '+':
        reply->type = MP__REPLY_SIMPLE;
        reply->text = line;
        return 0;
    case '-':
        reply->type = MP__REPLY_ERROR;
        reply->text = line;
        return 0;
    case ':':
        reply->type = MP__REPLY_INTEGER;
        return integer_of(line, &reply->integer);
    case '_':
        reply->type = MP__REPLY_NULL;
        return line.size ? MP_EPROTO : 0;
    case '#':
        reply->type = MP__REPLY_BOOL;
        reply->integer = line.size == 1 && line.data[0] == 't';
        return line.size == 1 && (line.data[0] == 't' || line.data[0] == 'f') ? 0 : MP_EPROTO;
    case ',':
        reply->type = MP__REPLY_DOUBLE;
        return read_double(line, reply);
    case '(':
        reply->type = MP__REPLY_BIG_NUMBER;
        reply->text = line;
        return line.size ? 0 : MP_EPROTO;
    default:
        return MP_EPROTO;
    }
}

static int read_reply(reply_reader *r, mp__reply *reply, uint32_t depth)
{
    mp_str line;
    char type;
    int rc;

    if (r->p == r->end)
        return MP_EAGAIN;
    type = *r->p;
    if (!type || !strchr("+-:$*_#,(%~>=", type))
        return MP_EPROTO;
    r->p++;
    rc = read_line(r, &line);
    if (rc)
        return rc;
    return strchr("$=*%~>", type) ? read_sized(r, type, line, reply, depth)
                                  : read_simple(type, line, reply);
}

int mp__reply_parse(const char *data, size_t size, const mp__reply_limits *limits,
                    mp__reply **ret_reply, size_t *ret_used)
{
    reply_reader r = {.p = data, .limits = limits};
    mp__reply reply = {0}, *out;
    int rc;

    if (size == 0) /* then it may be nowhere */
        return MP_EAGAIN;
    r.end = data + size;
    rc = read_reply(&r, &reply, 0);
    if (rc)
        return rc;
    out = mp__malloc(sizeof(*out));
    if (!out) {
        reply_done(&reply);
        return MP_ENOMEM;
    }
    *out = reply;
    *ret_reply = out;
    *ret_used = (size_t)(r.p - data);
    return 0;
}

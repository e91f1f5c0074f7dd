/* SPDX-License-Identifier: Apache-2.0 */
/* Our reader of replies against hiredis, on random RESP2 replies and mutations of them.
 *
 * Intended differences: hiredis does not look at the two bytes that end a bulk string, and takes a
 * carriage return inside a line; we refuse both. So where only hiredis accepts, printing what it
 * understood does not give the bytes it read. */
#include "mp_test.h"

#include <hiredis/hiredis.h>

#include "core/core.h"
#include "protocol/resp.h"

enum { ROUNDS = 300000, DEPTH_MAX = 4 };

static const mp__reply_limits limits = {8, 100000, 100000};

static uint32_t seed = 7;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void random_reply(mp__buf *out, unsigned depth)
{
    uint32_t n = next_random(12);

    switch (next_random(depth < DEPTH_MAX ? 7 : 5)) {
    case 0:
        mp__resp_simple(out, n < 6 ? "OK" : "");
        break;
    case 1:
        mp__resp_error(out, "ERR", "no %u", n);
        break;
    case 2:
        mp__resp_integer(out, n == 0 ? INT64_MIN : n == 1 ? INT64_MAX : (int64_t)n - 6);
        break;
    case 3:
        mp__resp_null(out, 2);
        break;
    case 4:
        mp__resp_bulk(out, mp_str_new("a\r\nb$1\r\n*2", n < 10 ? n : 10));
        break;
    case 5:
        mp__resp_null_array(out, 2);
        break;
    default:
        mp__resp_array(out, n % 4);
        for (uint32_t i = 0; i < n % 4; i++)
            random_reply(out, depth + 1);
        break;
    }
}

/* hiredis takes memory for as many elements as a reply only says it has. */
static bool announces_much(const char *data, size_t size)
{
    size_t digits = 0;
    bool counts = false;

    for (size_t i = 0; i < size; i++) {
        bool digit = data[i] >= '0' && data[i] <= '9';

        counts = data[i] == '*' || (counts && digit);
        digits = counts && digit ? digits + 1 : 0;
        if (digits > 3)
            return true;
    }
    return false;
}

static void print(const redisReply *r, mp__buf *out)
{
    switch (r->type) {
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        (void)mp__buf_add_char(out, r->type == REDIS_REPLY_STATUS ? '+' : '-');
        (void)mp__buf_add(out, r->str, r->len);
        if (memchr(r->str, '\r', r->len))
            (void)mp__buf_add_char(out, '!'); /* so that it reads as nothing we accept */
        (void)mp__buf_add(out, "\r\n", 2);
        break;
    case REDIS_REPLY_INTEGER:
        mp__resp_integer(out, r->integer);
        break;
    case REDIS_REPLY_NIL: /* $-1 or *-1: they are the same to a reader */
        (void)mp__buf_add_char(out, '?');
        break;
    case REDIS_REPLY_STRING:
        mp__resp_bulk(out, mp_str_new(r->str, r->len));
        break;
    default:
        mp__resp_array(out, r->elements);
        for (size_t i = 0; i < r->elements; i++)
            print(r->element[i], out);
    }
}

static void print_ours(const mp__reply *r, mp__buf *out)
{
    switch (r->type) {
    case MP__REPLY_SIMPLE:
    case MP__REPLY_ERROR:
        (void)mp__buf_add_char(out, r->type == MP__REPLY_SIMPLE ? '+' : '-');
        (void)mp__buf_add_str(out, r->text);
        (void)mp__buf_add(out, "\r\n", 2);
        break;
    case MP__REPLY_INTEGER:
        mp__resp_integer(out, r->integer);
        break;
    case MP__REPLY_NULL:
        (void)mp__buf_add_char(out, '?');
        break;
    case MP__REPLY_BULK:
        mp__resp_bulk(out, r->text);
        break;
    default:
        assert_int_equal(r->type, MP__REPLY_ARRAY);
        mp__resp_array(out, r->count);
        for (size_t i = 0; i < r->count; i++)
            print_ours(&r->items[i], out);
    }
}

/* The first bytes of @input are what @printed says, nulls of either kind. */
static bool reads_as(const mp__buf *printed, const char *input, size_t size)
{
    size_t at = 0;

    for (size_t i = 0; i < printed->size; i++) {
        if (printed->data[i] == '?') {
            if (size - at < 5 || (input[at] != '$' && input[at] != '*') ||
                memcmp(input + at + 1, "-1\r\n", 4) != 0)
                return false;
            at += 5;
        } else if (at == size || input[at++] != printed->data[i]) {
            return false;
        }
    }
    return true;
}

static size_t agreed[3]; /* accepted, incomplete, refused: all three must come up often */

static void compare(const char *input, size_t size)
{
    mp__buf theirs = MP__BUF_INIT, ours = MP__BUF_INIT;
    redisReader *reader = redisReaderCreate();
    void *their_reply = NULL;
    mp__reply *our_reply = NULL;
    size_t used = 0;
    int their_rc, our_rc = mp__reply_parse(input, size, &limits, &our_reply, &used);

    (void)redisReaderFeed(reader, input, size);
    their_rc = redisReaderGetReply(reader, &their_reply);
    if (their_reply)
        print(their_reply, &theirs);
    if (our_rc == 0) {
        assert_int_equal(their_rc, REDIS_OK);
        assert_non_null(their_reply);
        print_ours(our_reply, &ours);
        assert_true(mp_str_equal(mp__buf_str(&ours), mp__buf_str(&theirs)));
        assert_true(reads_as(&ours, input, used));
        agreed[0]++;
    } else if (their_rc == REDIS_OK && their_reply) {
        if (our_rc != MP_EPROTO || reads_as(&theirs, input, size))
            fail_msg("%d for what hiredis takes: %.*s", our_rc, (int)size, input);
    } else if (their_rc == REDIS_OK) {
        /* it waits for more of a reply whose beginning is already wrong to us, or we wait, too */
        agreed[1] += our_rc == MP_EAGAIN;
        assert_true(our_rc == MP_EAGAIN || our_rc == MP_EPROTO || our_rc == MP_ELIMIT);
    } else {
        assert_true(our_rc == MP_EPROTO || our_rc == MP_ELIMIT);
        agreed[2]++;
    }
    our_reply = mp__reply_free(our_reply);
    if (their_reply)
        freeReplyObject(their_reply);
    redisReaderFree(reader);
    mp__buf_done(&theirs);
    mp__buf_done(&ours);
}

static void what_hiredis_understands_we_understand_the_same(void **state)
{
    static const char pool[] = "\r\n*$:+-0123456789ab";
    mp__buf out = MP__BUF_INIT;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        size_t size;

        mp__buf_reset(&out);
        random_reply(&out, 0);
        for (uint32_t n = next_random(4); n > 1; n--) /* half of them stay as they are */
            out.data[next_random((uint32_t)out.size)] = pool[next_random(sizeof(pool) - 1)];
        size = next_random(4) ? out.size : next_random((uint32_t)out.size) + 1;
        if (!announces_much(out.data, size))
            compare(out.data, size);
    }
    mp__buf_done(&out);
    for (int i = 0; i < 3; i++)
        assert_true(agreed[i] > ROUNDS / 50);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_hiredis_understands_we_understand_the_same),
};

MP_TEST_MAIN(tests)

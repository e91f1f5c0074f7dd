/* SPDX-License-Identifier: Apache-2.0 */
/* However the network cuts the bytes, the same commands come out. */
#include "mp_test.h"

#include "core/core.h"
#include "mp_fail.h"
#include "protocol/resp.h"

enum { INPUT_MAX = 200 };

static mp__resp_limits limits = {16, 100, 120, 0};

/* Feed @input in parts that end at @cuts (ascending, the last is the size), each time from a block
 * of exactly the bytes there are, so that the address sanitizer sees every look beyond. Writes the
 * commands and the error into @out. */
static void feed(const char *input, const size_t *cuts, mp__buf *out)
{
    mp__resp_parser parser;
    mp__resp_command command;
    size_t at = 0, have = *cuts, used = 0;
    char *block = malloc(have);
    int rc;

    memcpy(block, input, have);
    mp__resp_parser_init(&parser, &limits);
    for (;;) {
        rc = mp__resp_parse(&parser, block, have, &command, &used);
        if (rc == 0) {
            char *rest = malloc(have - used);

            (void)mp__buf_printf(out, "%u", command.count);
            for (uint32_t i = 0; i < command.count; i++) {
                (void)mp__buf_printf(out, ":%zu:", command.arguments[i].size);
                (void)mp__buf_add_str(out, command.arguments[i]);
            }
            (void)mp__buf_add_char(out, ';');
            at += used;
            have -= used;
            memcpy(rest, block + used, have);
            free(block);
            block = rest;
        } else if (rc == MP_EAGAIN && cuts[1]) {
            size_t more = cuts[1] - cuts[0];
            char *moved = malloc(have + more);

            memcpy(moved, block, have);
            memcpy(moved + have, input + cuts[0], more);
            free(block);
            block = moved;
            have += more;
            cuts++;
        } else {
            break;
        }
    }
    (void)mp__buf_printf(out, "%d %zu %s", rc, rc == MP_EAGAIN ? at : 0,
                         rc == MP_EPROTO ? parser.error : "");
    mp__resp_parser_done(&parser);
    free(block);
}

static void same(const char *input, size_t size, const size_t *cuts, const mp__buf *whole,
                 mp__buf *parts)
{
    mp__buf_reset(parts);
    feed(input, cuts, parts);
    if (!mp_str_equal(mp__buf_str(parts), mp__buf_str(whole)))
        fail_msg("cut at %zu and %zu of %zu bytes: %.*s\nwhole: %.*s", cuts[0], cuts[1], size,
                 (int)parts->size, parts->data, (int)whole->size, whole->data);
}

/* Every one and two cuts, and every byte alone. */
static void check(const char *input, size_t size, bool pairs)
{
    mp__buf whole = MP__BUF_INIT, parts = MP__BUF_INIT;
    size_t cuts[INPUT_MAX + 2];

    assert_in_range(size, 1, INPUT_MAX);
    cuts[0] = size;
    cuts[1] = 0;
    feed(input, cuts, &whole);
    for (size_t i = 0; i < size; i++)
        cuts[i] = i + 1;
    cuts[size] = 0;
    same(input, size, cuts, &whole, &parts);
    for (size_t first = 1; first < size; first++)
        for (size_t second = pairs ? first + 1 : size; second <= size; second++) {
            cuts[0] = first;
            cuts[1] = second;
            cuts[2] = second < size ? size : 0;
            cuts[3] = 0;
            same(input, size, cuts, &whole, &parts);
        }
    mp__buf_done(&whole);
    mp__buf_done(&parts);
}

static const char *const inputs[] = {
    "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$11\r\nhello\r\nhell\r\n*0\r\n*1\r\n$0\r\n\r\n",
    "PING\r\n\r\n  GET  k  \nSET k \"a \\x41\\\"\\n\" 'it\\'s' \"\"\r\n*1\r\n$4\r\nPING\r\n",
    "SET k \"un\"closed\r\n",
    "SET k \"unclosed\r\nPING\r\n",
    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$"
    "100\r\n0123456789012345678901234567890123456789012345678901234567"
    "89012345678901234567890123456789012345678901\r\nPING\r\n",
    "*2\r\n$3\r\nGET\r\n$101\r\n",
    "*17\r\n$1\r\na\r\n",
    "*2\r\n$3\r\nGET\r\n$-1\r\n",
    "*2\r\n$3\r\nGET\r\n$01\r\nk\r\n",
    "*1\r\n$4\r\nPINGPING\r\n",
    "*1\r\n$4\r\nPING\rx",
    "*1\r\n$4\nPING\r\n",
    "*1\r\n*1\r\n$4\r\nPING\r\n",
    "PING\r\n\x16\x03\x01 hello\r\n",
    ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"),
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\r\n",
    "*11111111111111111111111\r\n",
};

static void any_two_cuts_of_the_input_give_the_same_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++)
        check(inputs[i], strlen(inputs[i]), true);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void any_cut_of_mutated_input_gives_the_same_commands(void **state)
{
    static const char pool[] = "\r\n*$:0123456789-+ \"'\\xaPING\0\x7f";
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        const char *from = inputs[next_random(&seed) % (sizeof(inputs) / sizeof(inputs[0]))];
        char input[INPUT_MAX];
        size_t size = strlen(from);

        memcpy(input, from, size);
        for (uint32_t n = next_random(&seed) % 4; n > 0; n--)
            input[next_random(&seed) % size] = pool[next_random(&seed) % (sizeof(pool) - 1)];
        check(input, size, false);
    }
}

static void a_command_that_is_too_large_in_all_is_refused_when_it_is_announced(void **state)
{
    static const mp__resp_limits small = {16, 100, 120, 60};
    char input[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60\r\n";
    mp__resp_parser parser;
    mp__resp_command command;
    size_t used;

    (void)state;
    mp__resp_parser_init(&parser, &small);
    assert_int_equal(mp__resp_parse(&parser, input, sizeof(input) - 1, &command, &used), MP_EPROTO);
    assert_string_equal(parser.error,
                        "Protocol error: the command is larger than this server takes");
    mp__resp_parser_done(&parser);
}

static void without_memory_for_arguments_it_says_so_and_goes_on_later(void **state)
{
    char input[] = "*9\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7"
                   "\r\n$1\r\n8\r\n$1\r\n9\r\n";
    char words[] = "1 2\r\n";
    mp__resp_parser parser;
    mp__resp_command command;
    size_t used;

    (void)state;
    mp__resp_parser_init(&parser, &limits);
    for (size_t n = 1; n <= 2; n++) {
        mp_fail_begin(n);
        assert_int_equal(mp__resp_parse(&parser, input, sizeof(input) - 1, &command, &used),
                         MP_ENOMEM);
        assert_true(mp_fail_end());
        mp__resp_parser_done(&parser);
    }
    mp_fail_begin(1);
    assert_int_equal(mp__resp_parse(&parser, words, sizeof(words) - 1, &command, &used), MP_ENOMEM);
    assert_true(mp_fail_end());
    mp__resp_parser_done(&parser);
    assert_int_equal(mp__resp_parse(&parser, input, sizeof(input) - 1, &command, &used), 0);
    assert_int_equal(command.count, 9);
    mp__resp_parser_done(&parser);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(any_two_cuts_of_the_input_give_the_same_commands),
    MP_TEST(any_cut_of_mutated_input_gives_the_same_commands),
    MP_TEST(a_command_that_is_too_large_in_all_is_refused_when_it_is_announced),
    MP_TEST(without_memory_for_arguments_it_says_so_and_goes_on_later),
};

MP_TEST_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* RESP requests: any cut of the input into reads, from a buffer that moves in between, gives the
 * same commands and the same error; what came as an array of bulks is printed to the same bytes
 * that were taken. The first byte chooses the cuts, the second the limits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "protocol/resp.h"

enum { INPUT_MAX = 16 * 1024 };

/* Arguments a command takes may not exceed what the parser was told. */
static void check_limits(const mp__resp_limits *limits, const mp__resp_command *command)
{
    if (command->count > limits->arguments_max)
        abort();
    for (uint32_t i = 0; i < command->count; i++)
        if (command->arguments[i].size > limits->bulk_max &&
            command->arguments[i].size > limits->inline_max)
            abort();
}

/* @first: the command's first byte before it was parsed; quotes of inline commands are resolved in
 * place, so that a quoted '*' may have moved there. */
static void check_round_trip(const mp__resp_command *command, char first, const char *taken,
                             size_t used)
{
    mp__buf again = MP__BUF_INIT;

    if (command->count && first == '*') {
        mp__resp_request(&again, command->arguments, command->count);
        if (again.error || !mp_str_equal(mp__buf_str(&again), mp_str_new(taken, used)))
            abort();
    }
    mp__buf_done(&again);
}

static void note(mp__buf *out, const mp__resp_command *command)
{
    (void)mp__buf_printf(out, "%u:", command->count);
    for (uint32_t i = 0; i < command->count; i++) {
        (void)mp__buf_printf(out, "%zu:", command->arguments[i].size);
        (void)mp__buf_add_str(out, command->arguments[i]);
    }
}

/* Feed @size bytes, at first @step of them, then @step more each time more are asked for. */
static void feed(const mp__resp_limits *limits, const char *input, size_t size, size_t step,
                 mp__buf *out)
{
    mp__resp_parser parser;
    mp__resp_command command;
    size_t at = 0, have = step < size ? step : size, used;
    char *buffer = malloc(have + 1);
    int rc;

    memcpy(buffer, input, have);
    buffer[have] = 0;
    mp__resp_parser_init(&parser, limits);
    for (;;) {
        char first = buffer[at];

        rc = mp__resp_parse(&parser, buffer + at, have - at, &command, &used);
        if (rc == 0) {
            if (used == 0 || used > have - at)
                abort();
            check_limits(limits, &command);
            check_round_trip(&command, first, buffer + at, used);
            note(out, &command);
            at += used;
        } else if (rc == MP_EAGAIN && have < size) {
            size_t more = size - have < step ? size - have : step;
            char *moved = malloc(have + more + 1);

            if (mp__resp_wants(&parser, have - at) == 0)
                abort();
            memcpy(moved, buffer, have);
            memcpy(moved + have, input + have, more);
            moved[have + more] = 0;
            free(buffer);
            buffer = moved;
            have += more;
        } else {
            break;
        }
    }
    if (rc == MP_EPROTO)
        (void)mp__buf_printf(out, "!%s", parser.error);
    else if (rc != MP_EAGAIN)
        abort();
    mp__resp_parser_done(&parser);
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mp__resp_limits choices[] = {{1024, 2u << 20, 64u << 10}, {10, 16, 40}};
    mp__buf whole = MP__BUF_INIT, parts = MP__BUF_INIT;
    const mp__resp_limits *limits;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    limits = &choices[data[1] % 2];
    feed(limits, (const char *)data + 2, size - 2, INPUT_MAX, &whole);
    feed(limits, (const char *)data + 2, size - 2, (size_t)data[0] % 64 + 1, &parts);
    if (!mp_str_equal(mp__buf_str(&whole), mp__buf_str(&parts)))
        abort();
    mp__buf_done(&whole);
    mp__buf_done(&parts);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism pin, unpin, pins. */
#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

#include "cli/cli.h"

static int ask(const mp__arguments *arguments, const char *command, const char *done)
{
    mp__buf key = MP__BUF_INIT;
    mp_str words[] = {mp_str_of(command), mp__cli_key(arguments, arguments->words[0], &key)};
    int code = MP__EXIT_ERROR;
    mp__client *client = mp__cli_connect(arguments, &code);
    mp__reply *reply = client ? mp__cli_call(arguments, client, &code, words, 2) : NULL;

    if (reply) {
        int64_t n = mp__reply_integer(reply);

        code = n ? 0 : MP__EXIT_ABSENT;
        (void)printf(mp__flag_given(arguments, "--json") ? "{\"%s\":%" PRId64 "}\n"
                                                         : "%s %" PRId64 "\n",
                     done, n);
    }
    (void)mp__reply_free(reply);
    (void)mp__client_close(client);
    mp__buf_done(&key);
    return code;
}

int mp__verb_pin(const mp__arguments *arguments)
{
    return ask(arguments, "MP.PIN", "pinned");
}

int mp__verb_unpin(const mp__arguments *arguments)
{
    return ask(arguments, "MP.UNPIN", "unpinned");
}

static long long number_of(const json_t *root, const char *name)
{
    return json_integer_value(json_object_get(root, name));
}

static void print_pins(const json_t *root)
{
    const json_t *pins = json_object_get(root, "pins"), *pin;
    const char *trouble = json_string_value(json_object_get(root, "trouble"));
    size_t i;

    json_array_foreach(pins, i, pin)(void)
        printf("%s%s\n", json_string_value(json_object_get(pin, "pin")),
               json_is_true(json_object_get(pin, "configured")) ? "   (cache.pin)" : "");
    (void)printf("%lld of %lld entries, %.1f of %.1f MiB; %lld left out for want of room\n",
                 number_of(root, "entries"), number_of(root, "entries_max"),
                 (double)number_of(root, "bytes") / 1048576,
                 (double)number_of(root, "bytes_max") / 1048576, number_of(root, "left_out"));
    if (trouble && *trouble)
        (void)printf("not written down, so until a restart: %s\n", trouble);
}

int mp__verb_pins(const mp__arguments *arguments)
{
    mp_str words[] = {MP_STR("MP.PINS")};
    int code = MP__EXIT_ERROR;
    mp__client *client = mp__cli_connect(arguments, &code);
    mp__reply *reply = client ? mp__cli_call(arguments, client, &code, words, 1) : NULL;
    json_t *root = NULL;

    if (reply && !mp__flag_given(arguments, "--json"))
        root = json_loadb(mp__reply_text(reply).data, mp__reply_text(reply).size, 0, NULL);
    if (root) {
        print_pins(root);
    } else if (reply) {
        (void)mp__cli_put(mp__reply_text(reply));
        (void)putchar('\n');
    }
    if (reply)
        code = 0;
    json_decref(root);
    (void)mp__reply_free(reply);
    (void)mp__client_close(client);
    return code;
}

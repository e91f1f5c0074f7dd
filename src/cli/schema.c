/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism schema: what values must be, by namespace or beginning of a key. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/files.h"
#include "core/alloc.h"
#include "core/json.h"
#include "schema/schema.h"

const mp__flag mp__schema_flags[] = {
    {"--strict", NULL, NULL, "Set no schema that existing values break."},
    {NULL, NULL, NULL, NULL},
};

#define SCHEMA_MAX ((size_t)2 << 20)

static void stored_name(const char *name, mp__buf *out)
{
    (void)mp__buf_printf(out, "_schema/%s", name);
}

static int read_schema(const mp__arguments *arguments, const char *path, char **ret_text,
                       size_t *ret_size)
{
    int rc = mp__cli_read_input(path, SCHEMA_MAX, ret_text, ret_size);

    return rc ? mp__cli_fail(arguments, MP__EXIT_ERROR, "cannot read %s: %s",
                             mp__cli_input_name(path), mp_strerror(rc))
              : 0;
}

void mp__cli_schema_warn(const mp__arguments *arguments, const char *path,
                         const mp__violations *warnings)
{
    for (size_t i = 0; i < warnings->count && i < warnings->capacity; i++)
        (void)mp__cli_fail(arguments, 0, "%s: %s: %s", mp__cli_input_name(path),
                           warnings->items[i].schema, warnings->items[i].text);
}

/* Whether it is one, before the daemon is asked, who knows no file to name. */
static int examine(const mp__arguments *arguments, const char *path, mp_str text)
{
    static mp__violation items[MP__VIOLATIONS_MAX];
    mp__violations warnings = {.items = items, .capacity = MP__VIOLATIONS_MAX};
    mp__schema *schema = NULL;
    mp__diag diag = {0};
    char said[900];
    int rc = mp__schema_compile(text, &schema, &warnings, &diag);

    (void)mp__schema_free(schema);
    if (rc == 0) {
        mp__cli_schema_warn(arguments, path, &warnings);
        return 0;
    }
    (void)snprintf(diag.file, sizeof(diag.file), "%s", mp__cli_input_name(path));
    if (!diag.text[0])
        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
    return mp__cli_fail(arguments, MP__EXIT_ERROR, "%s",
                        mp__diag_format(&diag, said, sizeof(said)));
}

static int get(const mp__arguments *arguments, mp__client *client, const char *name)
{
    mp__buf key = MP__BUF_INIT;
    mp__reply *reply;
    int code = 0;

    stored_name(name, &key);
    reply = mp__cli_call(arguments, client, &code, (mp_str[]){MP_STR("GET"), mp__buf_str(&key)}, 2);
    if (reply && reply->type == MP__REPLY_NULL)
        code = mp__cli_fail(arguments, MP__EXIT_ABSENT, "%s has no schema in this scope", name);
    else if (reply)
        code = mp__cli_put(mp__reply_text(reply));
    (void)mp__reply_free(reply);
    mp__buf_done(&key);
    return code;
}

static int del(const mp__arguments *arguments, mp__client *client, const char *name)
{
    mp__buf key = MP__BUF_INIT;
    mp__reply *reply;
    int code = 0;

    stored_name(name, &key);
    reply = mp__cli_call(arguments, client, &code, (mp_str[]){MP_STR("DEL"), mp__buf_str(&key)}, 2);
    if (reply && mp__reply_integer(reply) == 0)
        code = mp__cli_fail(arguments, MP__EXIT_ABSENT, "%s has no schema in this layer", name);
    (void)mp__reply_free(reply);
    mp__buf_done(&key);
    return code;
}

static int print_name(void *context, const mp__listed *listed)
{
    mp__buf *json = context;                                              /* NULL: lines */
    mp_str name = mp_str_new(listed->key.data + 8, listed->key.size - 8); /* "_schema/" */

    if (json) {
        mp__json_begin(json, '{');
        mp__json_add_string(json, "name", name);
        mp__json_add_string(json, "layer", listed->layer);
        mp__json_add_i64(json, "revision", listed->revision);
        mp__json_end(json, '}');
        return json->error ? MP__EXIT_ERROR : 0;
    }
    (void)printf("%8" PRId64 "  %-18.*s  %.*s\n", listed->revision, (int)listed->layer.size,
                 listed->layer.data, (int)name.size, name.data);
    return 0;
}

static int list(const mp__arguments *arguments, mp__client *client)
{
    bool as_json = mp__flag_given(arguments, "--json");
    mp__buf json = MP__BUF_INIT;
    int code;

    mp__json_begin(&json, '[');
    code = mp__cli_each(arguments, client, MP_STR("_schema/"), false, print_name,
                        as_json ? &json : NULL);
    mp__json_end(&json, ']');
    (void)mp__buf_add_char(&json, '\n');
    if (json.error)
        code = mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
    if (code == 0 && as_json)
        code = mp__cli_put(mp__buf_str(&json));
    mp__buf_done(&json);
    return code;
}

/* Say what is there and would break it. How many, or -1 with *ret_code. */
static int64_t check(const mp__arguments *arguments, mp__client *client, const char *name,
                     mp_str schema, int *ret_code)
{
    mp__reply *reply =
        mp__cli_call(arguments, client, ret_code,
                     (mp_str[]){MP_STR("MP.SCHEMA"), MP_STR("CHECK"), mp_str_of(name), schema}, 4);
    int64_t found;

    if (!reply || reply->count < 1) {
        (void)mp__reply_free(reply);
        return -1;
    }
    found = mp__reply_integer(&reply->items[0]);
    for (size_t i = 1; i < reply->count; i++) {
        const mp__reply *item = &reply->items[i];
        mp_str part[4] = {{0}};

        for (size_t k = 0; k < 4 && k < item->count; k++)
            part[k] = mp__reply_text(&item->items[k]);
        (void)fprintf(stderr, "%.*s%.*s: %.*s\n", (int)part[0].size, part[0].data,
                      (int)part[1].size, part[1].data, (int)part[3].size, part[3].data);
    }
    if (found > (int64_t)reply->count - 1)
        (void)fprintf(stderr, "and %" PRId64 " more\n", found - ((int64_t)reply->count - 1));
    (void)mp__reply_free(reply);
    return found;
}

static int set(const mp__arguments *arguments, mp__client *client, const char *name,
               const char *path, bool only_check)
{
    mp__buf key = MP__BUF_INIT;
    mp__reply *reply = NULL;
    char *text = NULL;
    size_t size = 0;
    int64_t found;
    int code = read_schema(arguments, path, &text, &size);

    if (code == 0)
        code = examine(arguments, path, mp_str_new(text, size));
    if (code) {
        (void)mp__free(text);
        return code;
    }
    found = check(arguments, client, name, mp_str_new(text, size), &code);
    if (found < 0) {
        code = code ? code : MP__EXIT_ERROR;
    } else if (only_check || (found && mp__flag_given(arguments, "--strict"))) {
        code = found ? MP__EXIT_ERROR : 0;
        if (found && !only_check)
            (void)mp__cli_fail(arguments, code, "not set: existing values break it");
    } else {
        stored_name(name, &key);
        reply = mp__cli_call(arguments, client, &code,
                             (mp_str[]){MP_STR("MP.PUT"), mp__buf_str(&key),
                                        MP_STR("application/schema+json"), mp_str_new(text, size)},
                             4);
        if (reply && found)
            (void)mp__cli_fail(arguments, 0,
                               "set, though existing values break it: their next write must "
                               "mend them");
    }
    (void)mp__reply_free(reply);
    mp__buf_done(&key);
    (void)mp__free(text);
    return code;
}

static int usage(const mp__arguments *arguments)
{
    return mp__cli_fail(arguments, MP__EXIT_USAGE,
                        "set NAME FILE, check NAME FILE, get NAME, del NAME or ls; a NAME is "
                        "NAMESPACE, NAMESPACE/PATH or NAMESPACE/BEGIN/");
}

int mp__verb_schema(const mp__arguments *arguments)
{
    const char *what = arguments->words[0];
    int words = arguments->word_count, code = 0;
    bool sets = strcmp(what, "set") == 0, checks = strcmp(what, "check") == 0;
    bool gets = strcmp(what, "get") == 0, dels = strcmp(what, "del") == 0;
    bool lists = strcmp(what, "ls") == 0;
    mp__client *client;

    if (words != (sets || checks ? 3 : gets || dels ? 2 : lists ? 1 : 0))
        return usage(arguments);
    client = mp__cli_connect(arguments, &code);
    if (!client)
        return code;
    if (lists)
        code = list(arguments, client);
    else if (gets)
        code = get(arguments, client, arguments->words[1]);
    else if (dels)
        code = del(arguments, client, arguments->words[1]);
    else
        code = set(arguments, client, arguments->words[1], arguments->words[2], checks);
    (void)mp__client_close(client);
    return code;
}

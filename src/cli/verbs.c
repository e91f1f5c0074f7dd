/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that ask or change single keys. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/environments.h"
#include "cli/files.h"
#include "core/alloc.h"
#include "core/json.h"
#include "core/record.h"
#include "core/json_read.h"

const mp__flag mp__get_flags[] = {
    {"--level", "-l", "LEVEL", "strong, eventual (default) or weak."},
    {"--meta", "-m", NULL, "Print age, revision, tier, reason and when it ends, too."},
    {"--strict", NULL, NULL, "Rather an error than a stale value."},
    {"--own", NULL, NULL, "Only what this very layer holds, not what it falls back to."},
    {NULL, NULL, NULL, NULL},
};
const mp__flag mp__set_flags[] = {
    {"--ttl", NULL, "TIME",
     "Let the key delete itself after this time: 30s, 5m, 1h, 7d; a plain number is seconds."},
    {"--type", "-t", "MEDIA-TYPE", "Media type of the value, as application/json."},
    {"--if-revision", NULL, "N", "Only if the key still has this revision; 0: does not exist."},
    {NULL, NULL, NULL, NULL},
};
const mp__flag mp__del_flags[] = {
    {"--mask", NULL, NULL, "Rather hide what the layers behind have: readers find none."},
    {NULL, NULL, NULL, NULL},
};
const mp__flag mp__history_flags[] = {
    {"--count", "-c", "N", "At most so many; 20 by default."},
    {"--values", NULL, NULL, "Values, too."},
    {NULL, NULL, NULL, NULL},
};

int64_t mp__cli_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void mp__cli_wait_ms(unsigned ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&time, NULL);
}

static int finish(mp__client *client, mp__reply *reply, mp__buf *buf, int code)
{
    (void)mp__reply_free(reply);
    (void)mp__client_close(client);
    if (buf)
        mp__buf_done(buf);
    return code;
}

static void print_json(mp__buf *json)
{
    (void)mp__buf_add_char(json, '\n');
    (void)mp__cli_put(mp__buf_str(json));
    mp__buf_done(json);
}

/* "NAME_trouble": why what claims to be JSON is none. */
static void add_no_json(mp__buf *json, const char *name, const mp__diag *why)
{
    mp__buf text = MP__BUF_INIT;
    char trouble[64];

    (void)snprintf(trouble, sizeof(trouble), "%s_trouble", name);
    (void)mp__buf_printf(&text, "not the JSON that its media type says: line %d, column %d: %s",
                         why->line, why->column, why->text);
    mp__json_add_string(json, trouble, mp__buf_str(&text));
    mp__buf_done(&text);
}

void mp__cli_add_value(mp__buf *json, const char *name, mp_str value, mp_str media_type)
{
    bool claims = mp_str_equal(media_type, MP_STR("application/json"));
    mp__diag why = {0};

    if (!claims || mp__json_check(value, &why) != 0) {
        mp__json_add_bytes(json, name, value);
        if (claims)
            add_no_json(json, name, &why);
        return;
    }
    mp__json_key(json, name);
    for (size_t i = 0; i < value.size; i++) { /* raw ends of lines are only between tokens */
        char c = value.data[i];

        (void)mp__buf_add_char(json, (char)(c == '\n' || c == '\r' ? ' ' : c));
    }
}

/* ---- get ---- */

static const char *const meta_integers[] = {"revision",   "version",     "age_ms",
                                            "created_ms", "modified_ms", "expires_ms"};
static const char *const meta_texts[] = {"state", "media_type", "reason", "tier", "level", "layer"};

static void get_json(const char *key, const mp__reply *map)
{
    mp__buf json = MP__BUF_INIT;
    const mp__reply *value = mp__reply_member(map, "value");

    mp__json_begin(&json, '{');
    mp__json_add_text(&json, "key", key);
    if (value && value->type != MP__REPLY_NULL)
        mp__cli_add_value(&json, "value", mp__reply_text(value),
                          mp__reply_text(mp__reply_member(map, "media_type")));
    for (size_t i = 0; i < sizeof(meta_texts) / sizeof(meta_texts[0]); i++)
        mp__json_add_string(&json, meta_texts[i],
                            mp__reply_text(mp__reply_member(map, meta_texts[i])));
    for (size_t i = 0; i < sizeof(meta_integers) / sizeof(meta_integers[0]); i++)
        mp__json_add_i64(&json, meta_integers[i],
                         mp__reply_integer(mp__reply_member(map, meta_integers[i])));
    mp__json_add_bool(&json, "stale", mp__reply_integer(mp__reply_member(map, "stale")) != 0);
    mp__json_end(&json, '}');
    print_json(&json);
}

/* What is worth knowing of an answer, on stderr, so that the value alone is on stdout. */
static void get_remarks(const mp__reply *map, bool all)
{
    char age[32];
    mp_str tier = mp__reply_text(mp__reply_member(map, "tier"));
    mp_str reason = mp__reply_text(mp__reply_member(map, "reason"));
    mp_str level = mp__reply_text(mp__reply_member(map, "level"));
    mp_str layer = mp__reply_text(mp__reply_member(map, "layer"));
    int64_t expires_ms = mp__reply_integer(mp__reply_member(map, "expires_ms"));
    bool stale = mp__reply_integer(mp__reply_member(map, "stale")) != 0;

    if (!stale && !all)
        return;
    if (mp__cli_colour(2) && stale)
        mp__cli_own(stderr, "\033[33m");
    (void)fprintf(stderr, "%s: %.*s, revision %" PRId64 ", age %s, from %.*s, level %.*s, %.*s",
                  stale ? "stale" : "current", (int)layer.size, layer.data,
                  mp__reply_integer(mp__reply_member(map, "revision")),
                  mp__cli_ago(mp__reply_integer(mp__reply_member(map, "age_ms")), age, sizeof(age)),
                  (int)tier.size, tier.data, (int)level.size, level.data, (int)reason.size,
                  reason.data);
    if (expires_ms)
        (void)fprintf(stderr, ", ends in %s",
                      mp__cli_ago(expires_ms - mp__cli_now_ms(), age, sizeof(age)));
    if (mp__cli_colour(2) && stale)
        mp__cli_own(stderr, "\033[0m");
    (void)fputc('\n', stderr);
}

static int get_code(const mp__reply *map)
{
    mp_str state = mp__reply_text(mp__reply_member(map, "state"));

    if (mp_str_equal(state, MP_STR("present")))
        return MP__EXIT_FOUND;
    return mp_str_equal(state, MP_STR("absent")) ? MP__EXIT_ABSENT : MP__EXIT_UNKNOWN;
}

/* A search of the keys that begin as one does. */
typedef struct search {
    mp_str key;
    unsigned left; /* of a note no more is to be said than these tell */
    bool found;
} search;

static int is_below(void *context, const mp__listed *listed)
{
    search *s = context;

    s->found = listed->key.size > s->key.size && strchr("./[", listed->key.data[s->key.size]);
    return s->found || --s->left == 0;
}

/* Who names a part of a file or a whole namespace finds no value, but what he looks for is there.
 */
static void note_below(const mp__arguments *arguments, mp__client *client, const mp__buf *key)
{
    search s = {.key = mp__buf_str(key), .left = 1000};

    if (mp__cli_each(arguments, client, s.key, false, is_below, &s) == 1 && s.found)
        (void)mp__cli_fail(arguments, 0, "note: there are keys below it; see marketprism ls %.*s",
                           (int)key->size, key->data);
}

int mp__verb_get(const mp__arguments *arguments)
{
    static const char *const levels[] = {"strong", "eventual", "weak"};
    const char *level = mp__flag_value(arguments, "--level");
    mp_str words[8] = {MP_STR("MP.GET")};
    mp__buf key = MP__BUF_INIT;
    mp__client *client;
    mp__reply *reply;
    size_t n = 1;
    int code = mp__cli_choice(arguments, "--level", levels, 3);

    if (code)
        return code;
    words[n++] = mp__cli_key(arguments, arguments->words[0], &key);
    words[n++] = MP_STR("META");
    if (mp__flag_given(arguments, "--own"))
        words[n++] = MP_STR("OWN");
    if (level) {
        words[n++] = MP_STR("LEVEL");
        words[n++] = mp_str_of(level);
    }
    if (mp__flag_given(arguments, "--strict"))
        words[n++] = MP_STR("STRICT");
    client = mp__cli_connect(arguments, &code);
    reply = client ? mp__cli_call(arguments, client, &code, words, n) : NULL;
    if (!reply)
        return finish(client, NULL, &key, code);
    code = get_code(reply);
    if (mp__flag_given(arguments, "--json")) {
        get_json(arguments->words[0], reply);
    } else if (code == MP__EXIT_FOUND) {
        mp_str value = mp__reply_text(mp__reply_member(reply, "value"));

        (void)mp__cli_put(value);
        if (isatty(1) || value.size == 0 || value.data[value.size - 1] != '\n')
            (void)mp__cli_put(MP_STR("\n"));
        get_remarks(reply, mp__flag_given(arguments, "--meta"));
    } else if (code == MP__EXIT_ABSENT) {
        (void)mp__cli_fail(arguments, code, "%s: absent: the origin says there is none",
                           arguments->words[0]);
        note_below(arguments, client, &key);
        mp__cli_note_environment(arguments, client, mp__flag_value(arguments, "--env"), false);
    } else {
        (void)mp__cli_fail(arguments, code, "%s: unknown: %s; see marketprism status",
                           arguments->words[0],
                           level && strcmp(level, "strong") == 0
                               ? "the origin cannot be asked, and a strong read takes no other "
                                 "answer (--level eventual gives what is kept)"
                               : "nobody can be asked and nothing is kept");
    }
    return finish(client, reply, &key, code);
}

/* ---- set, del, rollback ---- */

/* What is wrong with the flags of set is said before anything is read or sent. */
static int set_flags_check(const mp__arguments *arguments, char ttl_ms[24])
{
    const char *ttl = mp__flag_value(arguments, "--ttl");
    const char *revision = mp__flag_value(arguments, "--if-revision");
    uint64_t number;
    int64_t ms;

    if (ttl && (!mp__duration_ms(mp_str_of(ttl), &ms) || ms == 0))
        return mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "--ttl: '%s' is no time, such as 30s, 5m, 1h or 7d; a plain number is "
                            "seconds",
                            ttl);
    if (ttl)
        (void)snprintf(ttl_ms, 24, "%" PRId64, ms);
    return revision ? mp__cli_number(arguments, "--if-revision", revision, 0, &number) : 0;
}

int mp__verb_set(const mp__arguments *arguments)
{
    const char *ttl = mp__flag_value(arguments, "--ttl"),
               *type = mp__flag_value(arguments, "--type");
    const char *revision = mp__flag_value(arguments, "--if-revision");
    char ttl_ms[24] = "";
    MP__CLEANUP_FREE char *input = NULL;
    size_t input_size;
    mp__buf key = MP__BUF_INIT;
    mp_str name = mp__cli_key(arguments, arguments->words[0], &key), words[7];
    mp_str value = mp_str_of(arguments->words[1]);
    mp__client *client;
    mp__reply *reply;
    size_t n = 0;
    int code = set_flags_check(arguments, ttl_ms);

    if (code) {
        mp__buf_done(&key);
        return code;
    }
    if (strcmp(arguments->words[1], "-") == 0) {
        int rc = mp__cli_read_input("-", MP__CLI_INPUT_MAX, &input, &input_size);

        if (rc) {
            mp__buf_done(&key);
            return mp__cli_fail(arguments, MP__EXIT_ERROR, "cannot read standard input: %s",
                                mp_strerror(rc));
        }
        value = mp_str_new(input, input_size);
    }
    if (revision || (type && ttl)) {
        mp_str cas[] = {MP_STR("MP.CAS"),
                        name,
                        mp_str_of(revision ? revision : "*"),
                        value,
                        mp_str_of(type ? type : ""),
                        MP_STR("PX"),
                        mp_str_of(ttl_ms)};

        memcpy(words, cas, sizeof(cas));
        n = ttl ? 7 : 5;
    } else if (type) {
        mp_str put[] = {MP_STR("MP.PUT"), name, mp_str_of(type), value};

        memcpy(words, put, sizeof(put));
        n = 4;
    } else {
        mp_str set[] = {MP_STR("SET"), name, value, MP_STR("PX"), mp_str_of(ttl_ms)};

        memcpy(words, set, sizeof(set));
        n = ttl ? 5 : 3;
    }
    client = mp__cli_connect(arguments, &code);
    if (client)
        mp__cli_note_environment(arguments, client, mp__flag_value(arguments, "--env"), true);
    reply = client ? mp__cli_call(arguments, client, &code, words, n) : NULL;
    if (reply && mp__flag_given(arguments, "--json"))
        (void)printf("{\"ok\":true}\n");
    return finish(client, reply, &key, reply ? 0 : code);
}

int mp__verb_del(const mp__arguments *arguments)
{
    size_t count = (size_t)arguments->word_count;
    mp_str *words = mp__calloc(count + 1, sizeof(*words));
    mp__buf *keys = mp__calloc(count, sizeof(*keys));
    mp__client *client = NULL;
    mp__reply *reply = NULL;
    bool mask = mp__flag_given(arguments, "--mask");
    int code = MP__EXIT_ERROR;

    if (words && keys) {
        words[0] = mask ? MP_STR("MP.MASK") : MP_STR("DEL");
        for (size_t i = 0; i < count; i++)
            words[i + 1] = mp__cli_key(arguments, arguments->words[i], &keys[i]);
        client = mp__cli_connect(arguments, &code);
        reply = client ? mp__cli_call(arguments, client, &code, words, count + 1) : NULL;
    }
    if (reply) {
        int64_t n = mp__reply_integer(reply);

        code = n || mask ? 0 : MP__EXIT_ABSENT;
        (void)printf(mp__flag_given(arguments, "--json") ? "{\"%s\":%" PRId64 "}\n"
                                                         : "%s %" PRId64 "\n",
                     mask ? "masked" : "deleted", n);
    }
    for (size_t i = 0; keys && i < count; i++)
        mp__buf_done(&keys[i]);
    (void)mp__free(keys);
    (void)mp__free(words);
    return finish(client, reply, NULL, code);
}

int mp__verb_rollback(const mp__arguments *arguments)
{
    mp__buf key = MP__BUF_INIT;
    mp_str words[] = {MP_STR("MP.ROLLBACK"), mp__cli_key(arguments, arguments->words[0], &key),
                      mp_str_of(arguments->words[1])};
    uint64_t revision;
    int code = mp__cli_number(arguments, "REVISION", arguments->words[1], 1, &revision);
    mp__client *client = code == 0 ? mp__cli_connect(arguments, &code) : NULL;
    mp__reply *reply = client ? mp__cli_call(arguments, client, &code, words, 3) : NULL;

    if (reply && mp__flag_given(arguments, "--json"))
        (void)printf("{\"revision\":%" PRId64 "}\n", mp__reply_integer(reply));
    else if (reply)
        (void)printf("%s is as of revision %s again, under revision %" PRId64 "\n",
                     arguments->words[0], arguments->words[1], mp__reply_integer(reply));
    return finish(client, reply, &key, code);
}

/* ---- history ---- */

static void history_json(const mp__reply *reply)
{
    mp__buf json = MP__BUF_INIT;

    mp__json_begin(&json, '[');
    for (size_t i = 0; i < reply->count; i++) {
        const mp__reply *r = &reply->items[i], *value = mp__reply_member(r, "value");

        mp__json_begin(&json, '{');
        mp__json_add_i64(&json, "revision", mp__reply_integer(mp__reply_member(r, "revision")));
        mp__json_add_i64(&json, "version", mp__reply_integer(mp__reply_member(r, "version")));
        mp__json_add_string(&json, "operation", mp__reply_text(mp__reply_member(r, "operation")));
        mp__json_add_i64(&json, "modified_ms",
                         mp__reply_integer(mp__reply_member(r, "modified_ms")));
        mp__json_add_string(&json, "actor", mp__reply_text(mp__reply_member(r, "actor")));
        if (value && value->type == MP__REPLY_BULK)
            mp__cli_add_value(&json, "value", value->text,
                              mp__reply_text(mp__reply_member(r, "media_type")));
        mp__json_end(&json, '}');
    }
    mp__json_end(&json, ']');
    print_json(&json);
}

static void history_text(const mp__reply *reply)
{
    for (size_t i = 0; i < reply->count; i++) {
        const mp__reply *r = &reply->items[i], *value = mp__reply_member(r, "value");
        mp_str operation = mp__reply_text(mp__reply_member(r, "operation"));
        mp_str actor = mp__reply_text(mp__reply_member(r, "actor"));
        mp_str media_type = mp__reply_text(mp__reply_member(r, "media_type"));
        char ago[32];

        if (mp_str_equal(media_type, MP_STR(MP__MEDIA_MASK)))
            operation = MP_STR("mask");

        (void)printf(
            "%8" PRId64 "  %-6.*s  %8s ago  %.*s",
            mp__reply_integer(mp__reply_member(r, "revision")), (int)operation.size, operation.data,
            mp__cli_ago(mp__cli_now_ms() - mp__reply_integer(mp__reply_member(r, "modified_ms")),
                        ago, sizeof(ago)),
            (int)actor.size, actor.data);
        if (value && value->type == MP__REPLY_BULK) {
            (void)printf("  ");
            mp__cli_put_listed(value->text);
        }
        (void)putchar('\n');
    }
}

int mp__verb_history(const mp__arguments *arguments)
{
    const char *count = mp__flag_value(arguments, "--count");
    mp__buf key = MP__BUF_INIT;
    mp_str words[6] = {MP_STR("MP.HISTORY"), mp__cli_key(arguments, arguments->words[0], &key)};
    uint64_t number;
    size_t n = 2;
    int code = count ? mp__cli_number(arguments, "--count", count, 1, &number) : 0;
    mp__client *client = code == 0 ? mp__cli_connect(arguments, &code) : NULL;
    mp__reply *reply;

    if (count) {
        words[n++] = MP_STR("COUNT");
        words[n++] = mp_str_of(count);
    }
    if (mp__flag_given(arguments, "--values"))
        words[n++] = MP_STR("VALUES");
    reply = client ? mp__cli_call(arguments, client, &code, words, n) : NULL;
    if (!reply)
        return finish(client, NULL, &key, code);
    if (mp__flag_given(arguments, "--json"))
        history_json(reply);
    else
        history_text(reply);
    if (reply->count == 0) {
        code = MP__EXIT_ABSENT;
        if (!mp__flag_given(arguments, "--json"))
            (void)mp__cli_fail(arguments, code, "%s never existed", arguments->words[0]);
        mp__cli_note_environment(arguments, client, mp__flag_value(arguments, "--env"), false);
    }
    return finish(client, reply, &key, code);
}

/* ---- explain, status ---- */

static void print_text_json(const mp__reply *reply, bool as_json)
{
    mp_str text = mp__reply_text(reply);
    json_t *parsed = as_json ? NULL : json_loadb(text.data, text.size, 0, NULL);
    char *indented = parsed ? json_dumps(parsed, JSON_INDENT(2)) : NULL;

    if (indented)
        (void)puts(indented);
    else {
        (void)mp__cli_put(text);
        (void)putchar('\n');
    }
    free(indented);
    json_decref(parsed);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static long long number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void print_events(const json_t *root, size_t most)
{
    const json_t *events = json_object_get(root, "events");
    size_t count = json_array_size(events);

    for (size_t i = count > most ? count - most : 0; i < count; i++) {
        const json_t *event = json_array_get(events, i);
        char ago[32];

        (void)printf("  %8s ago  %-16s %s\n",
                     mp__cli_ago(mp__cli_now_ms() - number_of(event, "ms"), ago, sizeof(ago)),
                     text_of(event, "event"), text_of(event, "text"));
    }
}

/* What an origin of files has that is wrong, one a line. */
static void print_troubles(const json_t *origin, size_t most)
{
    const json_t *troubles = json_object_get(origin, "troubles");
    size_t count = json_array_size(troubles);

    for (size_t i = 0; i < count && i < most; i++) {
        const json_t *t = json_array_get(troubles, i);
        const char *file = text_of(t, "file");

        (void)printf("%-10s %s", text_of(t, "severity"), file);
        if (number_of(t, "line"))
            (void)printf(":%lld:%lld", number_of(t, "line"), number_of(t, "column"));
        (void)printf("%s%s\n", *file ? ": " : "", text_of(t, "text"));
    }
    if (count > most)
        (void)printf("           and %zu more; see status --json\n", count - most);
}

/* Where it is looked for, nearest first; the one that answers is marked. */
static void print_layers(const json_t *root)
{
    const json_t *layers = json_object_get(root, "layers");

    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i), *value = json_object_get(layer, "value");

        (void)printf("%-10s %c %-24s %s", i ? "" : "layers",
                     json_is_true(json_object_get(layer, "answers")) ? '>' : ' ',
                     text_of(layer, "scope"), text_of(layer, "state"));
        if (json_object_get(layer, "revision"))
            (void)printf(", revision %lld", number_of(layer, "revision"));
        if (json_is_string(value)) {
            size_t size = json_string_length(value), line = strcspn(json_string_value(value), "\n");

            (void)printf(" = ");
            (void)mp__cli_put(mp_str_new(json_string_value(value), line));
            if (line < size)
                (void)printf(" ...");
        } else if (json_object_get(layer, "size")) {
            (void)printf(", %lld bytes", number_of(layer, "size"));
        }
        (void)putchar('\n');
    }
    (void)printf("why        %s\n", text_of(root, "layer_why"));
}

/* What a read would end with: found, absent (or masked), or unknown because nothing is kept and the
 * origin cannot be asked. Where it can, a read asks it: that is no failure of the explanation. */
static int explain_code(const json_t *root)
{
    const json_t *layers = json_object_get(root, "layers");
    const char *origin = text_of(json_object_get(root, "origin"), "state");
    bool can_ask = strcmp(origin, "live") == 0 || strcmp(origin, "degraded") == 0;

    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);

        if (json_is_true(json_object_get(layer, "answers")))
            return strcmp(text_of(layer, "state"), "value") == 0 ? MP__EXIT_FOUND : MP__EXIT_ABSENT;
        if (strcmp(text_of(layer, "state"), "unknown") == 0)
            return can_ask ? MP__EXIT_FOUND : MP__EXIT_UNKNOWN;
    }
    return MP__EXIT_ABSENT;
}

/* An older daemon does not say by which rule. */
static void print_verify(const json_t *bounds)
{
    char time[32];

    if (*text_of(bounds, "verify_rule"))
        (void)printf("verify     each %s (%s)\n",
                     mp__cli_ago(number_of(bounds, "verify_after_s") * 1000, time, sizeof(time)),
                     text_of(bounds, "verify_rule"));
}

static void explain_people(const json_t *root)
{
    const json_t *origin = json_object_get(root, "origin"),
                 *kept = json_object_get(root, "kept_in");
    char ago[32];

    (void)printf("%s\n%s\n\n", text_of(root, "address"), text_of(root, "summary"));
    (void)printf("kept in    ");
    for (size_t i = 0; i < json_array_size(kept); i++)
        (void)printf("%s%s", i ? ", " : "", json_string_value(json_array_get(kept, i)));
    (void)printf("%s\n", json_array_size(kept) ? "" : "nothing");
    (void)printf("priority   %s\npinned     %s\n", text_of(root, "priority"),
                 text_of(root, "pinned"));
    print_layers(root);
    if (json_object_get(root, "revision")) {
        (void)printf("revision   %lld, version %lld\n", number_of(root, "revision"),
                     number_of(root, "version"));
        (void)printf(
            "modified   %s ago\n",
            mp__cli_ago(mp__cli_now_ms() - number_of(root, "modified_ms"), ago, sizeof(ago)));
        (void)printf(
            "verified   %s ago\n",
            mp__cli_ago(mp__cli_now_ms() - number_of(root, "verified_ms"), ago, sizeof(ago)));
    }
    print_verify(json_object_get(root, "bounds"));
    if (number_of(root, "expires_ms"))
        (void)printf(
            "ends       in %s, and is deleted then\n",
            mp__cli_ago(number_of(root, "expires_ms") - mp__cli_now_ms(), ago, sizeof(ago)));
    (void)printf("origin     %s, %s, revision %lld\n", text_of(origin, "kind"),
                 text_of(origin, "state"), number_of(origin, "revision"));
    if (*text_of(origin, "trouble"))
        (void)printf("trouble    %s\n", text_of(origin, "trouble"));
    if (*text_of(origin, "file"))
        (void)printf("file       %s/%s\n", text_of(origin, "path"), text_of(origin, "file"));
    print_troubles(origin, 10);
    (void)printf("\nlately\n");
    print_events(root, 12);
}

static void print_back(const json_t *back)
{
    long long pending = number_of(back, "pending");
    char ago[32];

    (void)printf("writing    %lld on their way to the origin", pending);
    if (pending)
        (void)printf(", the first since %s",
                     mp__cli_ago(number_of(back, "oldest_ms"), ago, sizeof(ago)));
    (void)printf(", %lld conflicts%s%s\n", number_of(back, "conflicts"),
                 *text_of(back, "trouble") ? ": " : "", text_of(back, "trouble"));
}

/* It is told in whole seconds. */
static const char *up_for(int64_t seconds, char *text, size_t capacity)
{
    return seconds < 1 ? "under 1 s" : mp__cli_ago(seconds * 1000, text, capacity);
}

/* Since when it is silent stands beside it. */
static void print_state(const json_t *origin)
{
    long long since = number_of(json_object_get(origin, "circuit"), "since_ms");
    const char *state = text_of(origin, "state");
    char ago[32];

    (void)printf("origin     %s, %s", text_of(origin, "kind"), state);
    if (strcmp(state, "silent") == 0 && since)
        (void)printf(" for %s", mp__cli_ago(mp__cli_now_ms() - since, ago, sizeof(ago)));
    (void)printf("%s, ", json_is_true(json_object_get(origin, "writable")) ? "" : ", no writes");
}

static void status_people(const json_t *root)
{
    const json_t *origin = json_object_get(root, "origin");
    const json_t *cache = json_object_get(root, "cache");
    const json_t *l1 = json_object_get(cache, "l1"), *l3 = json_object_get(cache, "l3");
    const json_t *reads = json_object_get(root, "reads"), *l4 = json_object_get(cache, "l4");
    const json_t *back = json_object_get(root, "write_back");
    char up[32];

    (void)printf("marketprism %s, up %s, %s\n", text_of(root, "version"),
                 up_for(number_of(root, "uptime_s"), up, sizeof(up)),
                 json_is_true(json_object_get(root, "ready")) ? "ready" : "not ready");
    if (*text_of(root, "trouble"))
        (void)printf("trouble    %s\n", text_of(root, "trouble"));
    print_state(origin);
    if (json_is_false(json_object_get(origin, "known")) && number_of(origin, "revision"))
        (void)printf("not seen since the start: revision %lld or more, keys unknown\n",
                     number_of(origin, "revision"));
    else if (json_is_false(json_object_get(origin, "known")))
        (void)printf("not seen since the start: revision and keys unknown\n");
    else
        (void)printf("revision %lld, %lld key%s\n", number_of(origin, "revision"),
                     number_of(origin, "keys"), number_of(origin, "keys") == 1 ? "" : "s");
    if (json_object_get(origin, "files"))
        (void)printf("files      %lld in %s, %lld in error\n", number_of(origin, "files"),
                     text_of(origin, "path"), number_of(origin, "files_in_error"));
    print_troubles(origin, 5);
    (void)printf("memory     %lld of %lld entries, %.1f of %.1f MiB, hit ratio %.4f\n",
                 number_of(l1, "entries"), number_of(l1, "entries_max"),
                 (double)number_of(l1, "bytes") / 1048576,
                 (double)number_of(l1, "bytes_max") / 1048576,
                 json_number_value(json_object_get(l1, "hit_ratio")));
    (void)printf("disk       %lld entries, %.1f of %.0f MiB, %lld corrupt, %lld forgotten\n",
                 number_of(l3, "entries"), (double)number_of(l3, "bytes") / 1048576,
                 (double)number_of(l3, "bytes_max") / 1048576, number_of(l3, "corrupt"),
                 number_of(l3, "forgotten"));
    if (*text_of(l3, "trouble"))
        (void)printf("           %s\n", text_of(l3, "trouble"));
    if (l4)
        (void)printf("shared     %s, %s, %lld found, %lld not%s%s\n", text_of(l4, "address"),
                     json_is_true(json_object_get(l4, "up")) ? "up" : "down", number_of(l4, "hits"),
                     number_of(l4, "misses"), *text_of(l4, "trouble") ? ": " : "",
                     text_of(l4, "trouble"));
    (void)printf("reads      %lld, %lld of them stale, %lld unknown\n", number_of(reads, "total"),
                 number_of(reads, "stale"), number_of(reads, "unknown"));
    if (back)
        print_back(back);
    (void)printf("data       %s\n\nlately\n", text_of(root, "data_dir"));
    print_events(root, 8);
}

int mp__cli_ask_json(const mp__arguments *arguments, const mp_str *words, size_t count,
                     void (*people)(const json_t *root), int (*code_of)(const json_t *root))
{
    int code = 0;
    mp__client *client = mp__cli_connect(arguments, &code);
    mp__reply *reply = client ? mp__cli_call(arguments, client, &code, words, count) : NULL;
    json_t *root = NULL;

    if (reply)
        root = json_loadb(mp__reply_text(reply).data, mp__reply_text(reply).size, 0, NULL);
    if (root && !mp__flag_given(arguments, "--json"))
        people(root);
    else if (reply)
        print_text_json(reply, true);
    if (root && code_of)
        code = code_of(root);
    json_decref(root);
    return finish(client, reply, NULL, code);
}

static int explain_key(const mp__arguments *arguments)
{
    mp__buf key = MP__BUF_INIT;
    mp_str words[] = {MP_STR("MP.EXPLAIN"), mp__cli_key(arguments, arguments->words[0], &key)};
    int code = mp__cli_ask_json(arguments, words, 2, explain_people, explain_code);

    mp__buf_done(&key);
    return code;
}

static void print_forecasts(const json_t *forecasts, long long entries_now)
{
    for (size_t i = 0; i < json_array_size(forecasts); i++) {
        const json_t *f = json_array_get(forecasts, i);
        double low = json_number_value(json_object_get(f, "low"));
        double high = json_number_value(json_object_get(f, "high"));

        (void)printf("%-12s %10lld ", text_of(f, "policy"), number_of(f, "entries"));
        if (low <= 0 && high >= 1)
            (void)printf("%11s   too little was asked for as yet\n", "unknown");
        else
            (void)printf("%9.1f %%   %5.1f to %5.1f%s\n",
                         100 * json_number_value(json_object_get(f, "hit_ratio")), 100 * low,
                         100 * high,
                         number_of(f, "entries") == entries_now && i == 2 ? "   (now)" : "");
    }
}

static void explain_cache_people(const json_t *root)
{
    (void)printf("%s\n\npolicy     %s", text_of(root, "summary"), text_of(root, "policy"));
    if (json_object_get(root, "follows"))
        (void)printf(", which follows %s", text_of(root, "follows"));
    (void)printf("\nentries    %lld of %lld\nsince the start %lld hits, %lld misses\n",
                 number_of(root, "entries"), number_of(root, "entries_max"),
                 number_of(root, "hits"), number_of(root, "misses"));
    if (json_array_size(json_object_get(root, "sizes")) == 0)
        return;
    (void)printf("\n%-12s %10s %11s   %s\n", "policy", "entries", "would hit", "9 times of 10");
    print_forecasts(json_object_get(root, "sizes"), number_of(root, "entries_max"));
    print_forecasts(json_object_get(root, "policies"), 0);
}

int mp__verb_explain(const mp__arguments *arguments)
{
    if (strcmp(arguments->words[0], "cache") == 0) { /* a key of that name is default/cache */
        mp_str cache[] = {MP_STR("MP.EXPLAIN"), MP_STR("CACHE")};

        return mp__cli_ask_json(arguments, cache, 2, explain_cache_people, NULL);
    }
    return explain_key(arguments);
}

const mp__flag mp__status_flags[] = {
    {"--check", "-c", NULL, "Say in a line and by the exit code whether all is well, for scripts."},
    {NULL, NULL, NULL, NULL},
};

static int check_code(const json_t *root)
{
    if (!json_is_true(json_object_get(root, "ready")))
        return MP__EXIT_UNKNOWN;
    return json_is_true(json_object_get(root, "degraded")) ? MP__EXIT_DEGRADED : 0;
}

static void check_people(const json_t *root)
{
    static const char *const states[] = {[MP__EXIT_FOUND] = "live",
                                         [MP__EXIT_UNKNOWN] = "not ready",
                                         [MP__EXIT_DEGRADED] = "degraded"};
    const char *why = text_of(root, "trouble");

    if (!*why)
        why = text_of(json_object_get(json_object_get(root, "cache"), "l3"), "trouble");
    (void)printf("%s%s%s\n", states[check_code(root)], *why ? ": " : "", why);
}

int mp__verb_status(const mp__arguments *arguments)
{
    mp_str words[] = {MP_STR("MP.STATUS")};
    bool checks = mp__flag_given(arguments, "--check");

    return mp__cli_ask_json(arguments, words, 1, checks ? check_people : status_people,
                            checks ? check_code : NULL);
}

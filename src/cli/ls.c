/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism ls: keys in order, as lines, as a tree, or as JSON. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/environments.h"
#include "core/json.h"

const mp__flag mp__ls_flags[] = {
    {"--long", "-l", NULL, "Revision, age, media type and when it ends, too."},
    {"--values", NULL, NULL, "Values, too."},
    {"--effective", NULL, NULL,
     "What a reader gets: also what region, environment and base have, the nearest of each."},
    {"--tree", NULL, NULL, "Draw namespaces and dotted names as a tree."},
    {"--environments", NULL, NULL, "List the environments instead."},
    {NULL, NULL, NULL, NULL},
};

/* What shows a layer, or writes to it, looks at the layer alone, unless it is told otherwise; the
 * others are readers. */
static bool is_effective(const mp__arguments *arguments)
{
    static const char *const of_a_layer[] = {"ls", "export", "diff", "import", "edit"};

    for (size_t i = 0; i < sizeof(of_a_layer) / sizeof(of_a_layer[0]); i++)
        if (strcmp(arguments->verb, of_a_layer[i]) == 0)
            return mp__flag_given(arguments, "--effective");
    return true;
}

enum { HEAD = 3 }; /* of a page: stale, more, revision */

/* One page of at most the daemon's default, at *revision, which the first page fills in where it is
 * 0; *ret_more says whether another follows after `after`. */
static int page(const mp__arguments *arguments, mp__client *client, mp_str prefix, bool with_values,
                int64_t *revision, mp__buf *after, mp__reply **ret_reply, bool *ret_more)
{
    mp_str words[13] = {MP_STR("MP.LS"), MP_STR("REVISION"), MP_STR("PREFIX"), prefix};
    char at[24];
    size_t n = 4;
    int code = 0;
    mp__reply *reply;

    words[n++] = MP_STR("EXPIRES");
    if (with_values)
        words[n++] = MP_STR("VALUES");
    if (is_effective(arguments))
        words[n++] = MP_STR("EFFECTIVE");
    if (after->size) {
        words[n++] = MP_STR("AFTER");
        words[n++] = mp__buf_str(after);
    }
    if (*revision) {
        words[n++] = MP_STR("AT");
        words[n++] = mp_str_new(at, mp__u64_digits((uint64_t)*revision, at));
    }
    reply = mp__cli_call(arguments, client, &code, words, n);
    if (!reply)
        return code ? code : MP__EXIT_ERROR;
    if (reply->count < HEAD) {
        (void)mp__reply_free(reply);
        return mp__cli_fail(arguments, MP__EXIT_ERROR, "the answer to MP.LS is none");
    }
    if (mp__reply_integer(&reply->items[0]) && !after->size)
        (void)mp__cli_fail(arguments, 0,
                           mp__reply_integer(&reply->items[0]) == 2
                               ? "some of this is stale: what it comes from is broken; see "
                                 "marketprism status"
                               : "the origin cannot be asked; this is what is kept on disk");
    *ret_more = mp__reply_integer(&reply->items[1]);
    if (!*revision)
        *revision = mp__reply_integer(&reply->items[2]);
    *ret_reply = reply;
    return 0;
}

static int each_with(const mp__arguments *arguments, mp__client *client, mp_str prefix,
                     bool with_values, int64_t *revision, bool only_named_namespaces,
                     int (*each)(void *context, const mp__listed *listed), void *context)
{
    mp__buf after = MP__BUF_INIT;
    bool more = true;
    int code = 0;

    while (more && code == 0) {
        mp__reply *reply = NULL;

        code = page(arguments, client, prefix, with_values, revision, &after, &reply, &more);
        if (code || !reply)
            break;
        for (size_t i = HEAD; i < reply->count && code == 0; i++) {
            const mp__reply *item = &reply->items[i];
            mp__listed listed;

            if (item->count < (with_values ? 6 : 5))
                continue;
            listed = (mp__listed){
                .key = mp__reply_text(&item->items[0]),
                .revision = mp__reply_integer(&item->items[1]),
                .modified_ms = mp__reply_integer(&item->items[2]),
                .media_type = mp__reply_text(&item->items[3]),
                .value = with_values ? mp__reply_text(&item->items[4]) : mp_str_new("", 0),
                .expires_ms = mp__reply_integer(&item->items[with_values ? 5 : 4]),
                .layer = is_effective(arguments) ? mp__reply_text(&item->items[item->count - 1])
                                                 : mp_str_new("", 0)};
            if (!only_named_namespaces || memchr(listed.key.data, '/', listed.key.size))
                code = each(context, &listed);
        }
        if (more && reply->count > HEAD) {
            mp__buf_reset(&after);
            (void)mp__buf_add_str(&after, mp__reply_text(&reply->items[reply->count - 1].items[0]));
        }
        (void)mp__reply_free(reply);
    }
    mp__buf_done(&after);
    return code;
}

static int each_at(const mp__arguments *arguments, mp__client *client, mp_str prefix,
                   bool with_values, int64_t revision,
                   int (*each)(void *context, const mp__listed *listed), void *context)
{
    mp__buf in_default = MP__BUF_INIT;
    int code;

    if (!mp__cli_in_default(prefix, &in_default))
        return each_with(arguments, client, prefix, with_values, &revision, false, each, context);
    code = each_with(arguments, client, mp__buf_str(&in_default), with_values, &revision, false,
                     each, context);
    if (code == 0)
        code = each_with(arguments, client, prefix, with_values, &revision, true, each, context);
    mp__buf_done(&in_default);
    return code;
}

int mp__cli_each(const mp__arguments *arguments, mp__client *client, mp_str prefix,
                 bool with_values, int (*each)(void *context, const mp__listed *listed),
                 void *context)
{
    return each_at(arguments, client, prefix, with_values, 0, each, context);
}

int mp__cli_each_at(const mp__arguments *arguments, mp__client *client, mp_str prefix,
                    int64_t revision, int (*each)(void *context, const mp__listed *listed),
                    void *context)
{
    return each_at(arguments, client, prefix, true, revision, each, context);
}

/* ---- lines and JSON ---- */

typedef struct listing {
    const mp__arguments *arguments;
    mp__buf json;     /* with --json */
    mp__buf previous; /* with --tree: the key before */
    size_t count;
} listing;

static int add_json(void *context, const mp__listed *listed)
{
    listing *l = context;

    l->count++;
    mp__json_begin(&l->json, '{');
    mp__json_add_string(&l->json, "key", listed->key);
    mp__json_add_i64(&l->json, "revision", listed->revision);
    mp__json_add_i64(&l->json, "modified_ms", listed->modified_ms);
    mp__json_add_string(&l->json, "media_type", listed->media_type);
    if (listed->expires_ms)
        mp__json_add_i64(&l->json, "expires_ms", listed->expires_ms);
    if (listed->layer.size)
        mp__json_add_string(&l->json, "layer", listed->layer);
    if (mp__flag_given(l->arguments, "--values"))
        mp__cli_add_value(&l->json, "value", listed->value, listed->media_type);
    mp__json_end(&l->json, '}');
    return l->json.error ? MP__EXIT_ERROR : 0;
}

static void print_long(const mp__listed *listed)
{
    char ago[32];

    (void)printf("%8" PRId64 "  %8s ago  %-18.*s  ", listed->revision,
                 mp__cli_ago(mp__cli_now_ms() - listed->modified_ms, ago, sizeof(ago)),
                 (int)listed->media_type.size, listed->media_type.data);
    if (listed->layer.size)
        (void)printf("%-18.*s  ", (int)listed->layer.size, listed->layer.data);
}

static void print_value(const listing *l, const mp__listed *listed)
{
    char left[32];

    if (mp__flag_given(l->arguments, "--long") && listed->expires_ms)
        (void)printf("  (ends in %s)",
                     mp__cli_ago(listed->expires_ms - mp__cli_now_ms(), left, sizeof(left)));
    if (mp__flag_given(l->arguments, "--values")) {
        (void)printf(" = ");
        mp__cli_put_listed(listed->value);
    }
    (void)putchar('\n');
}

static int print_line(void *context, const mp__listed *listed)
{
    listing *l = context;

    l->count++;
    if (mp__flag_given(l->arguments, "--long"))
        print_long(listed);
    mp__cli_put_listed(listed->key);
    print_value(l, listed);
    return 0;
}

/* ---- the tree ---- */

/* Where the part that begins at @at ends: behind the first slash, which ends the namespace, a part
 * ends before a dot, a bracket or a further slash. */
static size_t part_end(mp_str key, size_t at)
{
    bool escaped = false;

    for (size_t i = at; i < key.size; i++) {
        char c = key.data[i];

        if (escaped)
            escaped = false;
        else if (c == '\\')
            escaped = true;
        else if (i > at && (c == '/' || c == '.' || c == '['))
            return i;
    }
    return key.size;
}

/* How many bytes of whole parts the two have in common. */
static size_t common_parts(mp_str a, mp_str b)
{
    size_t at = 0;

    while (at < a.size && at < b.size) {
        size_t end = part_end(a, at);

        if (end == a.size || end != part_end(b, at) ||
            memcmp(a.data + at, b.data + at, end - at) != 0)
            return at;
        at = end;
    }
    return at;
}

static int print_branch(void *context, const mp__listed *listed)
{
    listing *l = context;
    mp_str key = listed->key;
    size_t common = common_parts(mp__buf_str(&l->previous), key), depth = 0;

    for (size_t at = 0; at < key.size; depth++) {
        size_t end = part_end(key, at);
        size_t first = key.data[at] == '.' || key.data[at] == '/' ? at + 1 : at;

        if (at >= common) {
            for (size_t i = 0; i < depth; i++)
                (void)printf("  ");
            mp__cli_put_listed(mp_str_new(key.data + first, end - first));
            if (end < key.size)
                (void)putchar('\n');
        }
        at = end;
    }
    mp__buf_reset(&l->previous);
    (void)mp__buf_add_str(&l->previous, key);
    l->count++;
    print_value(l, listed);
    return 0;
}

/* ---- the verb ---- */

static int list_environments(const mp__arguments *arguments)
{
    mp_str words[] = {MP_STR("MP.ENVS")};
    mp__buf json = MP__BUF_INIT;
    int code = 0;
    mp__client *client = mp__cli_connect(arguments, &code);
    mp__reply *reply = client ? mp__cli_call(arguments, client, &code, words, 1) : NULL;

    mp__json_begin(&json, '[');
    for (size_t i = 0; reply && i < reply->count; i++) {
        if (i)
            (void)mp__buf_add_char(&json, ',');
        mp__json_string(&json, mp__reply_text(&reply->items[i]));
        if (mp__flag_given(arguments, "--json"))
            continue;
        mp__cli_put_listed(mp__reply_text(&reply->items[i]));
        (void)putchar('\n');
    }
    mp__json_end(&json, ']');
    (void)mp__buf_add_char(&json, '\n');
    if (reply && mp__flag_given(arguments, "--json"))
        code = mp__cli_put(mp__buf_str(&json));
    mp__buf_done(&json);
    (void)mp__reply_free(reply);
    (void)mp__client_close(client);
    return code;
}

int mp__verb_ls(const mp__arguments *arguments)
{
    listing l = {.arguments = arguments, .json = MP__BUF_INIT, .previous = MP__BUF_INIT};
    mp__buf prefix = MP__BUF_INIT;
    bool as_json = mp__flag_given(arguments, "--json");
    int code = 0;
    mp__client *client;

    if (mp__flag_given(arguments, "--environments") && arguments->word_count)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "--environments takes no PREFIX");
    if (mp__flag_given(arguments, "--environments"))
        return list_environments(arguments);
    if (mp__flag_given(arguments, "--tree") && (as_json || mp__flag_given(arguments, "--long")))
        return mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "--tree goes with neither --long nor --json");
    client = mp__cli_connect(arguments, &code);
    if (client) {
        (void)mp__cli_key(arguments, arguments->word_count ? arguments->words[0] : "", &prefix);
        mp__json_begin(&l.json, '[');
        code = mp__cli_each(arguments, client, mp__buf_str(&prefix),
                            mp__flag_given(arguments, "--values"),
                            as_json                               ? add_json
                            : mp__flag_given(arguments, "--tree") ? print_branch
                                                                  : print_line,
                            &l);
        mp__json_end(&l.json, ']');
        (void)mp__buf_add_char(&l.json, '\n');
        if (code == 0 && as_json)
            code = mp__cli_put(mp__buf_str(&l.json));
        if (code == 0 && l.count == 0 && arguments->word_count)
            code = as_json
                       ? MP__EXIT_ABSENT
                       : mp__cli_fail(arguments, MP__EXIT_ABSENT,
                                      "there is no key that begins with '%s'", arguments->words[0]);
        if (l.count == 0 && (code == 0 || code == MP__EXIT_ABSENT))
            mp__cli_note_environment(arguments, client, mp__flag_value(arguments, "--env"), false);
    }
    mp__buf_done(&l.json);
    mp__buf_done(&l.previous);
    mp__buf_done(&prefix);
    (void)mp__client_close(client);
    return code;
}

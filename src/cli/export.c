/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism export: keys into files, one a namespace. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/environments.h"
#include "cli/files.h"
#include "core/alloc.h"
#include "core/env.h"
#include "core/json.h"
#include "core/record.h"

const mp__flag mp__export_flags[] = {
    {"--format", "-f", "NAME", MP__FORMAT_NAMES "; else as --out is called, else json."},
    {"--effective", NULL, NULL,
     "What a reader gets: also what region, environment and base have, the nearest of each."},
    {"--out", "-o", "PATH", "A file, or a folder that gets NAMESPACE.json; else standard output."},
    {NULL, NULL, NULL, NULL},
};

typedef struct export
{
    const mp__arguments *arguments;
    const mp__format *format;
    const char *out;
    bool to_folder;
    mp__keyset keys;
    mp__buf json;
    size_t files;
}
export;

static mp_str namespace_of(const mp__key *key)
{
    const char *slash = memchr(key->name.data, '/', key->name.size);

    return mp_str_new(key->name.data, (size_t)(slash - key->name.data));
}

/* A format without types prints 5 and "5" alike; whoever exports shall know. */
static void say_lost_types(const export *e, mp_str namespace_, const mp__leaves *leaves)
{
    size_t lost = 0;

    for (size_t i = 0; i < leaves->count; i++)
        lost += !mp_str_equal(leaves->items[i].media_type, MP_STR("text/plain")) &&
                leaves->items[i].media_type.size;
    if (e->format->is_text_only && lost)
        (void)mp__cli_fail(e->arguments, 0,
                           "%.*s: %zu value%s no text; %s has no types, they will come back as "
                           "text",
                           (int)namespace_.size, namespace_.data, lost, lost == 1 ? " is" : "s are",
                           e->format->name);
}

/* A mask in a file would come back as an empty text, which hides nothing: it is left out and told.
 */
static void leave_out_masks(const export *e, mp_str namespace_, mp__leaves *leaves)
{
    size_t kept = 0, masks;

    for (size_t i = 0; i < leaves->count; i++)
        if (!mp_str_equal(leaves->items[i].media_type, MP_STR(MP__MEDIA_MASK)))
            leaves->items[kept++] = leaves->items[i];
    masks = leaves->count - kept;
    leaves->count = kept;
    if (masks)
        (void)mp__cli_fail(
            e->arguments, 0, "%.*s: %zu mask%s left out: no file can say that a key is hidden",
            (int)namespace_.size, namespace_.data, masks, masks == 1 ? " is" : "s are");
}

static int write_one(export *e, mp_str namespace_, mp_str text, size_t keys)
{
    mp__buf path = MP__BUF_INIT;
    int rc;

    if (!e->out)
        return mp__cli_put(text);
    if (e->to_folder && !mp__cli_is_folder(e->out)) { /* once there is something to put into it */
        rc = mp__env_mkdir(mp__env_real(), e->out);
        if (rc)
            return mp__cli_fail(e->arguments, MP__EXIT_ERROR, "cannot make the folder %s: %s",
                                e->out, mp_strerror(rc));
    }
    if (e->to_folder)
        (void)mp__buf_printf(&path, "%s%s%.*s%s", e->out,
                             e->out[strlen(e->out) - 1] == '/' ? "" : "/", (int)namespace_.size,
                             namespace_.data, e->format->extensions[0]);
    else
        (void)mp__buf_add_str(&path, mp_str_of(e->out));
    rc = mp__buf_add_char(&path, '\0');
    if (rc == 0)
        rc = mp__cli_replace_file(path.data, text, 0644);
    if (rc)
        rc = mp__cli_fail(e->arguments, MP__EXIT_ERROR, "cannot write %s: %s; it is as before",
                          path.data ? path.data : e->out, mp_strerror(rc));
    if (rc == 0 && mp__flag_given(e->arguments, "--json")) {
        mp__json_begin(&e->json, '{');
        mp__json_add_text(&e->json, "file", path.data);
        mp__json_add_string(&e->json, "namespace", namespace_);
        mp__json_add_u64(&e->json, "keys", keys);
        mp__json_end(&e->json, '}');
    } else if (rc == 0) {
        (void)printf("%s: %zu key%s\n", path.data, keys, keys == 1 ? "" : "s");
    }
    mp__buf_done(&path);
    return rc;
}

static int export_namespace(export *e, mp_str namespace_)
{
    mp__buf text = MP__BUF_INIT;
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    int rc = mp__keyset_leaves(&e->keys, namespace_, &leaves), code;

    leave_out_masks(e, namespace_, &leaves);
    if (rc == 0)
        rc = e->format->print(&leaves, &text, &diag);
    if (rc) {
        code = mp__cli_fail(e->arguments, MP__EXIT_ERROR, "%.*s as %s: %s; %s",
                            (int)namespace_.size, namespace_.data, e->format->name,
                            diag.text[0] ? diag.text : mp_strerror(rc),
                            e->to_folder ? "neither it nor what comes behind it was written"
                                         : "nothing was written");
    } else {
        say_lost_types(e, namespace_, &leaves);
        code = write_one(e, namespace_, mp__buf_str(&text), leaves.count);
        e->files++;
    }
    mp__leaves_done(&leaves);
    mp__buf_done(&text);
    return code;
}

static int export_all(export *e, mp__client *client, mp_str prefix)
{
    mp_str last = {0};
    int code = 0;

    if (e->keys.count == 0) {
        code = prefix.size ? mp__cli_fail(e->arguments, MP__EXIT_ABSENT,
                                          "there is no key that begins with '%.*s'",
                                          (int)prefix.size, prefix.data)
                           : mp__cli_fail(e->arguments, MP__EXIT_ABSENT, "there is no key");
        mp__cli_note_environment(e->arguments, client, mp__flag_value(e->arguments, "--env"),
                                 false);
        return code;
    }
    for (size_t i = 1; i < e->keys.count && !e->to_folder; i++)
        if (!mp_str_equal(namespace_of(&e->keys.items[0]), namespace_of(&e->keys.items[i])))
            return mp__cli_fail(e->arguments, MP__EXIT_USAGE,
                                "these keys are of several namespaces; name one (%.*s/), or a "
                                "folder for a file each (--out FOLDER/)",
                                (int)namespace_of(&e->keys.items[0]).size,
                                e->keys.items[0].name.data);
    for (size_t i = 0; i < e->keys.count && code == 0; i++) {
        mp_str here = namespace_of(&e->keys.items[i]);

        if (!mp_str_equal(here, last))
            code = export_namespace(e, here);
        last = here;
    }
    return code;
}

/* The format that is named, or that the file's ending says. */
static int choose_format(export *e)
{
    const char *name = mp__flag_value(e->arguments, "--format");
    size_t size = e->out ? strlen(e->out) : 0;
    int code = 0;

    e->to_folder = size && (e->out[size - 1] == '/' || mp__cli_is_folder(e->out));
    if (name) {
        e->format = mp__cli_format(e->arguments, name, &code);
        return code;
    }
    e->format = e->out && !e->to_folder ? mp__format_of_path(e->out) : mp__format_find("json");
    if (!e->format)
        code = mp__cli_fail(
            e->arguments, MP__EXIT_USAGE,
            "%s: the ending says no format; give --format, one of " MP__FORMAT_NAMES, e->out);
    return code;
}

/* What to export: a word without a slash is a namespace, unless --namespace says it. */
static mp_str wanted(const mp__arguments *arguments, mp__buf *prefix)
{
    const char *word = arguments->word_count ? arguments->words[0] : "";

    (void)mp__cli_key(arguments, word, prefix);
    if (prefix->size && !memchr(prefix->data, '/', prefix->size))
        (void)mp__buf_add_char(prefix, '/');
    return mp__buf_str(prefix);
}

int mp__verb_export(const mp__arguments *arguments)
{
    export e = {.arguments = arguments, .out = mp__flag_value(arguments, "--out")};
    mp__buf prefix = MP__BUF_INIT;
    mp__client *client = NULL;
    int code = choose_format(&e);

    mp__json_begin(&e.json, '[');
    if (code == 0)
        client = mp__cli_connect(arguments, &code);
    if (client)
        code = mp__keyset_fetch(arguments, client, wanted(arguments, &prefix), 0, &e.keys);
    if (code == 0)
        code = export_all(&e, client, mp__buf_str(&prefix));
    mp__json_end(&e.json, ']');
    (void)mp__buf_add_char(&e.json, '\n');
    if (code == 0 && e.out && mp__flag_given(arguments, "--json"))
        code = mp__cli_put(mp__buf_str(&e.json));
    (void)mp__client_close(client);
    mp__keyset_done(&e.keys);
    mp__buf_done(&e.json);
    mp__buf_done(&prefix);
    return code;
}

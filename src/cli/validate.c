/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism validate: files checked without a daemon, against a JSON Schema if one is given. */
#include <stdio.h>

#include "cli/files.h"
#include "core/alloc.h"
#include "core/env.h"
#include "core/json.h"
#include "schema/schema.h"

const mp__flag mp__validate_flags[] = {
    {"--schema", "-s", "FILE", "A JSON Schema (draft 2020-12), in any of our formats that nest."},
    {"--format", "-f", "NAME", MP__FORMAT_NAMES "; whatever the files are called."},
    {"--namespace", "-n", "NAME", "Namespace of all of them; else as each file is called."},
    {"--env", "-e", "NAME", "Environment of all of them."},
    {"--json", NULL, NULL, "Print JSON."},
    {NULL, NULL, NULL, NULL},
};

enum { SCHEMA_FILE_MAX = 1024 * 1024 };

typedef struct validation {
    const mp__arguments *arguments;
    mp__schema *schema;
    const char *schema_path;
    mp__buf json, errors; /* lists: what breaks the schema; what could not be read at all */
    size_t violations;
} validation;

static void say_violation(validation *v, const mp__source *s, const mp__violation *violation)
{
    const mp__leaf *leaf = mp__leaves_at(&s->leaves, violation->instance);
    char place[64] = "";

    if (leaf)
        (void)snprintf(place, sizeof(place), ":%d:%d", leaf->line, leaf->column);
    if (mp__flag_given(v->arguments, "--json")) {
        mp__json_begin(&v->json, '{');
        mp__json_add_text(&v->json, "file", s->path);
        mp__json_add_i64(&v->json, "line", leaf ? leaf->line : 0);
        mp__json_add_i64(&v->json, "column", leaf ? leaf->column : 0);
        mp__json_add_text(&v->json, "path", violation->instance);
        mp__json_add_text(&v->json, "keyword", violation->keyword);
        mp__json_add_text(&v->json, "schema", violation->schema);
        mp__json_add_text(&v->json, "text", violation->text);
        mp__json_end(&v->json, '}');
    } else {
        (void)mp__cli_fail(v->arguments, 0, "%s%s: %s: %s", s->path, place,
                           violation->instance[0] ? violation->instance : "the whole",
                           violation->text);
    }
}

/* ---- checking ---- */

static int check(validation *v, const mp__source *s)
{
    static mp__violation items[MP__VIOLATIONS_MAX];
    mp__violations found = {.items = items, .capacity = MP__VIOLATIONS_MAX};
    mp__buf document = MP__BUF_INIT;
    mp__diag diag = {0};
    int rc = mp__format_find("json")->print(&s->leaves, &document, &diag);

    if (rc == 0)
        rc = mp__schema_check(v->schema, mp__buf_str(&document), &found, &diag);
    mp__buf_done(&document);
    for (size_t i = 0; i < found.count && i < found.capacity; i++)
        say_violation(v, s, &items[i]);
    v->violations += found.count;
    if (rc == 0 || (rc == MP_EINVAL && found.count))
        return rc ? MP__EXIT_ERROR : 0;
    return mp__cli_fail(v->arguments, MP__EXIT_ERROR, "%s: %s", s->path,
                        diag.text[0] ? diag.text : mp_strerror(rc));
}

/* The schema as JSON text, whatever format its file has. */
static int read_schema_text(const validation *v, mp__buf *out)
{
    const mp__format *format = mp__format_of_path(v->schema_path);
    MP__CLEANUP_FREE char *text = NULL;
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    char said[900];
    size_t size;
    int rc = mp__env_read_file(mp__env_real(), v->schema_path, SCHEMA_FILE_MAX, &text, &size);

    if (rc)
        return mp__cli_fail(v->arguments, MP__EXIT_ERROR, "cannot read the schema %s: %s",
                            v->schema_path, mp_strerror(rc));
    if (!format || strcmp(format->name, "json") == 0)
        return mp__buf_add(out, text, size);
    rc = format->parse(mp_str_new(text, size), &leaves, &diag);
    if (rc == 0)
        rc = mp__format_find("json")->print(&leaves, out, &diag);
    mp__leaves_done(&leaves);
    (void)snprintf(diag.file, sizeof(diag.file), "%s", v->schema_path);
    return rc ? mp__cli_fail(v->arguments, MP__EXIT_ERROR, "%s",
                             mp__diag_format(&diag, said, sizeof(said)))
              : 0;
}

static int load_schema(validation *v)
{
    static mp__violation items[MP__VIOLATIONS_MAX];
    mp__violations warnings = {.items = items, .capacity = MP__VIOLATIONS_MAX};
    mp__buf text = MP__BUF_INIT;
    mp__diag diag = {0};
    char said[900];
    int code = read_schema_text(v, &text), rc = 0;

    if (code == 0)
        rc = mp__schema_compile(mp__buf_str(&text), &v->schema, &warnings, &diag);
    mp__buf_done(&text);
    (void)snprintf(diag.file, sizeof(diag.file), "%s", v->schema_path);
    if (rc && !diag.text[0])
        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
    if (rc)
        return mp__cli_fail(v->arguments, MP__EXIT_ERROR, "%s",
                            mp__diag_format(&diag, said, sizeof(said)));
    if (code == 0)
        mp__cli_schema_warn(v->arguments, v->schema_path, &warnings);
    return code;
}

int mp__verb_validate(const mp__arguments *arguments)
{
    validation v = {.arguments = arguments, .schema_path = mp__flag_value(arguments, "--schema")};
    mp__sources sources = {.arguments = arguments, .consequence = "", .go_on = true};
    int code = v.schema_path ? load_schema(&v) : 0;

    mp__json_begin(&v.errors, '[');
    if (mp__flag_given(arguments, "--json"))
        sources.errors = &v.errors;
    if (code == 0)
        code = mp__sources_read(&sources);
    mp__json_begin(&v.json, '[');
    for (size_t i = 0; i < sources.count && v.schema; i++)
        if (check(&v, &sources.items[i]) != 0)
            sources.failed++;
    mp__json_end(&v.json, ']');
    mp__json_end(&v.errors, ']');
    if (code == 0 && mp__flag_given(arguments, "--json"))
        (void)printf(
            "{\"files\":%zu,\"keys\":%zu,\"failed\":%zu,\"errors\":%.*s,\"violations\":%.*s}\n",
            sources.count, sources.keys, sources.failed, (int)v.errors.size, v.errors.data,
            (int)v.json.size, v.json.data);
    else if (code == 0 && sources.failed == 0)
        (void)printf("%zu key%s in %zu file%s: good\n", sources.keys, sources.keys == 1 ? "" : "s",
                     sources.count, sources.count == 1 ? "" : "s");
    if (code == 0 && sources.failed)
        code = MP__EXIT_ERROR;
    (void)mp__schema_free(v.schema);
    mp__buf_done(&v.json);
    mp__buf_done(&v.errors);
    mp__sources_done(&sources);
    return code;
}

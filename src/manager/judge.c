/* SPDX-License-Identifier: Apache-2.0 */
/* Judging what an origin takes over by itself, as the files of a folder, by the same schemas that
 * writes are checked against (see validate.c). The origin says what every layer will hold; it is
 * checked as a reader of the scope that changes will see it, and then as those of the scopes that
 * fall back to it will. There it is to blame only for what is whole without it: if a scope and one
 * behind it change together, each answers for its own. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/format.h"
#include "manager/validate.h"

typedef struct judging {
    const mp__manager *manager;
    mp__proposal *proposal;
    mp_str scope; /* whose readers are asked about */
    bool is_inner;
    mp__leaves names;    /* schemas of the scope, the nearest first; values are their texts */
    size_t own_names;    /* of them in the scope itself */
    mp__leaves standing; /* what the layer that changes holds now */
    mp__leaves layers[MP__LAYERS_MAX];
    size_t layer_count;
    mp__part *parts; /* of all layers */
    size_t part_count;
    mp__part *chosen; /* those that a schema is about */
} judging;

static void say(judging *j, mp_str key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(judging *j, mp_str key, const char *format, ...)
{
    mp__proposal *p = j->proposal;
    va_list args;
    int n = 0;

    (void)snprintf(p->key, sizeof(p->key), "%.*s",
                   (int)(key.size < sizeof(p->key) ? key.size : sizeof(p->key) - 1), key.data);
    if (j->is_inner)
        n = snprintf(p->text, sizeof(p->text), "as seen in %.*s: ", (int)j->scope.size,
                     j->scope.data);
    va_start(args, format);
    if (n >= 0 && (size_t)n < sizeof(p->text))
        (void)vsnprintf(p->text + n, sizeof(p->text) - (size_t)n, format, args);
    va_end(args);
}

/* ---- schemas themselves ---- */

static int judge_schemas(judging *j)
{
    mp__proposal *p = j->proposal;
    int rc = p->keys(p, p->scope, p->namespace_, false, &j->names);

    for (size_t i = 0; i < j->names.count && rc == 0 && !p->text[0]; i++) {
        const mp__leaf *leaf = &j->names.items[i];
        mp__schema *schema = NULL;
        mp__diag diag = {0};

        rc = mp__schema_compile(leaf->value, &schema, NULL, &diag);
        (void)mp__schema_free(schema);
        if (rc && rc != MP_ENOMEM) {
            say(j, leaf->key,
                "the key '%.*s' is no schema: %.200s; a schema is one value, its JSON",
                (int)(leaf->key.size < 100 ? leaf->key.size : 100), leaf->key.data, diag.text);
            rc = 0;
        }
    }
    return rc;
}

/* ---- documents ---- */

/* The key that the JSON Pointer @pointer means in the document of @subject. Numbers in it are
 * @indices of lists, else names. */
static mp_str key_of(const mp__schema_subject *subject, const char *pointer, bool indices,
                     char out[512])
{
    size_t n = 0;

    for (size_t i = 0; i < subject->path.size && n < 500; i++)
        out[n++] = subject->path.data[i];
    for (const char *p = pointer; *p && n < 500; p++) {
        if (*p == '/') {
            size_t digits = indices ? strspn(p + 1, "0123456789") : 0;

            if (digits && (p[1 + digits] == '/' || !p[1 + digits]) && n + digits < 500) {
                out[n++] = '[';
                memcpy(out + n, p + 1, digits);
                n += digits;
                out[n++] = ']';
                p += digits;
            } else if (n) {
                out[n++] = '.';
            }
        } else if (*p == '~' && (p[1] == '0' || p[1] == '1')) {
            out[n++] = *++p == '0' ? '~' : '/';
        } else {
            if (*p == '.' || *p == '[' || *p == ']' || *p == '\\')
                out[n++] = '\\';
            out[n++] = *p;
        }
    }
    out[n] = '\0';
    return mp_str_new(out, n);
}

static bool is_part(const judging *j, mp_str key)
{
    for (size_t i = 0; i < j->part_count; i++)
        if (mp_str_equal(j->parts[i].key, key))
            return true;
    return false;
}

/* Tell the first of what was @found by the schema @name. */
static void tell(judging *j, const char *name, const mp__schema_subject *subject,
                 const mp__write_request *found, const mp__diag *diag)
{
    const mp__broken *broken = found->broken_count ? &found->broken[0] : NULL;
    const char *text = broken ? broken->text : diag->text;
    char made[512], other[512];
    mp_str key = mp_str_new("", 0);

    if (broken && subject->each)
        key = mp_str_of(broken->where + subject->namespace_.size + 1);
    else if (broken)
        key = key_of(subject, broken->instance, true, made);
    if (broken && !is_part(j, key)) { /* a map may have names that are numbers */
        mp_str named = key_of(subject, broken->instance, false, other);

        key = is_part(j, named) ? named : key;
    }
    if (key.size)
        say(j, key, "the key '%.*s' breaks the schema '%.100s': %.200s",
            (int)(key.size < 150 ? key.size : 150), key.data, name, text);
    else
        say(j, key, "breaks the schema '%.100s': %.250s", name, text);
}

static int check(const judging *j, const mp__schema_item *item, const mp__schema_subject *subject,
                 size_t count, bool as_it_stands, mp__write_request *found, mp__diag *diag)
{
    return subject->each
               ? mp__documents_check(found, item, subject, j->chosen, count, false, as_it_stands,
                                     diag)
               : mp__document_check(found, item, subject, j->chosen, count, as_it_stands, diag);
}

/* Whether the document of a schema has to be looked at, of which the scope itself @has_keys. */
static bool is_concerned(const judging *j, bool has_keys, bool is_own_schema)
{
    if (!j->is_inner)
        return has_keys;
    /* without keys or a schema of its own it shows what the scope behind it shows; and of what
     * stands there already its own keys tell, where it has some */
    return j->proposal->changes ? has_keys || is_own_schema : !has_keys && is_own_schema;
}

/* By one schema: what it is about, as a reader will see it. */
static int judge_by(judging *j, const mp__schema_item *item, bool is_own_schema)
{
    mp__write_request after = {0}, before = {0}, found = {0};
    mp__schema_subject subject;
    mp__diag diag = {0}, ignored = {0};
    size_t count = 0;
    bool has_keys = false;
    int rc;

    mp__schema_about(item->name, &subject);
    for (size_t i = 0; i < j->part_count; i++)
        if (mp__schema_fits(&subject, j->proposal->namespace_, j->parts[i].key)) {
            has_keys |= j->parts[i].layer == j->layer_count - 1;
            j->chosen[count++] = j->parts[i];
        }
    if (!is_concerned(j, has_keys, is_own_schema))
        return 0;
    mp__parts_sort(j->chosen, count);
    rc = check(j, item, &subject, count, false, &after, &diag);
    if (rc == 0 && after.broken_count && j->is_inner && j->proposal->changes)
        rc = check(j, item, &subject, count, true, &before, &ignored);
    if (rc == 0)
        rc = mp__violations_add(&found, &after, before.broken_count ? &before : NULL, j->scope);
    if (rc != MP_ENOMEM && (rc || found.broken_count)) {
        tell(j, item->name, &subject, &found, &diag);
        rc = 0;
    }
    (void)mp__free(after.broken);
    (void)mp__free(before.broken);
    (void)mp__free(found.broken);
    return rc;
}

static int judge_by_leaf(judging *j, const mp__leaf *leaf, bool is_own_schema)
{
    mp__schema_item item = {.name = mp__str_dup(leaf->key)};
    mp__schema_subject subject;
    int rc = item.name ? 0 : MP_ENOMEM;

    if (rc == 0) {
        mp__schema_about(item.name, &subject);
        if (mp_str_equal(subject.namespace_, j->proposal->namespace_))
            rc = mp__schema_compile(leaf->value, &item.schema, NULL, &item.trouble);
    }
    if (rc == 0 && item.schema)
        rc = judge_by(j, &item, is_own_schema);
    else if (rc != MP_ENOMEM)
        rc = 0; /* no schema: that is told of the file that gives it */
    (void)mp__schema_free(item.schema);
    (void)mp__free(item.name);
    return rc;
}

/* ---- what there will be ---- */

static bool is_among(const mp__leaves *leaves, size_t count, mp_str key)
{
    for (size_t i = 0; i < count; i++)
        if (mp_str_equal(leaves->items[i].key, key))
            return true;
    return false;
}

static void add_parts(judging *j, const mp__leaves *leaves, size_t layer, unsigned from, bool gone)
{
    for (size_t k = 0; k < leaves->count; k++) {
        const mp__leaf *leaf = &leaves->items[k];

        j->parts[j->part_count++] = (mp__part){.key = leaf->key,
                                               .value = leaf->value,
                                               .media_type = leaf->media_type,
                                               .layer = (unsigned)(j->layer_count - 1 - layer),
                                               .from = from,
                                               .gone = gone};
    }
}

/* What all layers will hold; of the one that changes first what it holds now, then that none of
 * it is left, then what comes. */
static int bring_parts(judging *j)
{
    mp__proposal *p = j->proposal;
    mp_str layers[MP__LAYERS_MAX];
    size_t count = 0;
    int rc = p->keys(p, p->scope, p->namespace_, true, &j->standing);

    j->layer_count = mp__overlay_layers(j->manager, j->scope, p->namespace_, layers);
    for (size_t i = 0; i < j->layer_count && rc == 0; i++) {
        rc = p->keys(p, layers[i], p->namespace_, false, &j->layers[i]);
        count += j->layers[i].count;
    }
    if (rc)
        return rc;
    count += 2 * j->standing.count;
    j->parts = mp__calloc(count + 1, sizeof(*j->parts));
    j->chosen = mp__calloc(count + 1, sizeof(*j->chosen));
    if (!j->parts || !j->chosen)
        return MP_ENOMEM;
    for (size_t i = 0; i < j->layer_count; i++) {
        bool changes = mp_str_equal(layers[i], p->scope);

        if (changes) {
            add_parts(j, &j->standing, i, 0, false);
            add_parts(j, &j->standing, i, 1, true);
        }
        add_parts(j, &j->layers[i], i, changes ? 2 : 0, false);
    }
    return 0;
}

static int bring_names(judging *j)
{
    mp__proposal *p = j->proposal;
    mp_str layers[MP__LAYERS_MAX];
    size_t count = mp__overlay_layers(j->manager, j->scope, MP_STR(MP__SCHEMA_NAMESPACE), layers);
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = p->keys(p, layers[i], MP_STR(MP__SCHEMA_NAMESPACE), false, &j->names);
        if (i == 0)
            j->own_names = j->names.count;
    }
    return rc;
}

/* Whether the scope at work itself will have neither keys of the namespace nor schemas. */
static int is_bare(judging *j, bool *ret_bare)
{
    mp__proposal *p = j->proposal;
    mp__leaves own = {0};
    int rc = p->keys(p, j->scope, MP_STR(MP__SCHEMA_NAMESPACE), false, &own);

    if (rc == 0)
        rc = p->keys(p, j->scope, p->namespace_, false, &own);
    *ret_bare = own.count == 0;
    mp__leaves_done(&own);
    return rc;
}

static int judge_values(judging *j)
{
    bool is_left = false;
    int rc = j->is_inner ? is_bare(j, &is_left) : 0;

    if (rc || is_left)
        return rc;
    rc = bring_names(j);
    if (rc == 0 && j->names.count)
        rc = bring_parts(j);
    for (size_t i = 0; i < j->names.count && rc == 0 && !j->proposal->text[0]; i++)
        if (!is_among(&j->names, i, j->names.items[i].key)) /* a nearer one took its place */
            rc = judge_by_leaf(j, &j->names.items[i], i < j->own_names);
    return rc;
}

static void judging_done(judging *j)
{
    mp__leaves_done(&j->names);
    mp__leaves_done(&j->standing);
    for (size_t i = 0; i < j->layer_count; i++)
        mp__leaves_done(&j->layers[i]);
    (void)mp__free(j->parts);
    (void)mp__free(j->chosen);
}

/* ---- by whom ---- */

static bool falls_back_to(const mp__manager *manager, mp_str scope, const mp__proposal *p)
{
    mp_str layers[MP__LAYERS_MAX];
    size_t count = mp__overlay_layers(manager, scope, p->namespace_, layers);

    for (size_t i = 1; i < count; i++)
        if (mp_str_equal(layers[i], p->scope))
            return true;
    return false;
}

int mp__schemas_judge(void *context, mp__proposal *proposal)
{
    judging j = {.manager = context, .proposal = proposal, .scope = proposal->scope};
    mp_str scope;
    int rc;

    if (mp__schema_is_one(proposal->namespace_)) {
        rc = judge_schemas(&j);
        judging_done(&j);
        return rc;
    }
    rc = judge_values(&j);
    judging_done(&j);
    for (size_t i = 0; rc == 0 && !proposal->text[0]; i++) {
        scope = proposal->scopes(proposal, i);
        if (!scope.size)
            break;
        if (!falls_back_to(context, scope, proposal))
            continue;
        j = (judging){.manager = context, .proposal = proposal, .scope = scope, .is_inner = true};
        rc = judge_values(&j);
        judging_done(&j);
    }
    return rc;
}

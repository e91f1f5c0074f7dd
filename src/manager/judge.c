/* SPDX-License-Identifier: Apache-2.0 */
/* Judging what an origin takes over by itself, as the files of a folder, by the same schemas that
 * writes are checked against (see validate.c). The origin says what every layer will hold; it is
 * checked as a reader of the scope that changes will see it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/format.h"
#include "manager/validate.h"

typedef struct judging {
    mp__proposal *proposal;
    mp__leaves names; /* schemas of the scope, the nearest first; values are their texts */
    mp__leaves layers[MP__LAYERS_MAX];
    size_t layer_count;
    mp__part *parts; /* of all layers */
    size_t part_count;
    mp__part *chosen; /* those that a schema is about */
    mp__write_request found;
} judging;

static void say(judging *j, mp_str key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(judging *j, mp_str key, const char *format, ...)
{
    mp__proposal *p = j->proposal;
    va_list args;

    (void)snprintf(p->key, sizeof(p->key), "%.*s",
                   (int)(key.size < sizeof(p->key) ? key.size : sizeof(p->key) - 1), key.data);
    va_start(args, format);
    (void)vsnprintf(p->text, sizeof(p->text), format, args);
    va_end(args);
}

/* ---- schemas themselves ---- */

static int judge_schemas(judging *j)
{
    mp__proposal *p = j->proposal;
    int rc = p->keys(p, p->scope, p->namespace_, &j->names);

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

/* Tell the first of what was found; @key is the one that was looked at by itself, or "". */
static void tell(judging *j, const char *name, const mp__schema_subject *subject, mp_str key,
                 const mp__diag *diag)
{
    const mp__broken *broken = j->found.broken_count ? &j->found.broken[0] : NULL;
    const char *text = broken ? broken->text : diag->text;
    char made[512], other[512];

    if (!key.size && broken)
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

static int judge_each(judging *j, const mp__schema_item *item, const mp__schema_subject *subject,
                      size_t count)
{
    mp__diag diag = {0};

    for (size_t i = 0; i < count; i++) {
        const mp__part *part = &j->chosen[i];
        int rc;

        if (part->layer != j->layer_count - 1)
            continue; /* of a layer behind, where it was looked at */
        rc = mp__value_check(&j->found, item, item->name, part->value, part->media_type, &diag);
        if (rc == MP_ENOMEM)
            return rc;
        if (rc || j->found.broken_count) {
            tell(j, item->name, subject, part->key, &diag);
            return 0;
        }
    }
    return 0;
}

/* By one schema: what it is about, as a reader will see it. */
static int judge_by(judging *j, const mp__schema_item *item)
{
    mp__schema_subject subject;
    mp__diag diag = {0};
    size_t count = 0;
    bool own = false;
    int rc;

    mp__schema_about(item->name, &subject);
    for (size_t i = 0; i < j->part_count; i++)
        if (mp__schema_fits(&subject, j->proposal->namespace_, j->parts[i].key)) {
            own |= j->parts[i].layer == j->layer_count - 1;
            j->chosen[count++] = j->parts[i];
        }
    if (!own)
        return 0; /* nothing of it is here */
    if (subject.each)
        return judge_each(j, item, &subject, count);
    mp__parts_sort(j->chosen, count);
    rc = mp__document_check(&j->found, item, &subject, j->chosen, count, false, &diag);
    if (rc == MP_ENOMEM)
        return rc;
    if (rc || j->found.broken_count)
        tell(j, item->name, &subject, mp_str_new("", 0), &diag);
    return 0;
}

static int judge_by_leaf(judging *j, const mp__leaf *leaf)
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
        rc = judge_by(j, &item);
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

static int bring_parts(judging *j, const mp__manager *manager)
{
    mp__proposal *p = j->proposal;
    mp_str layers[MP__LAYERS_MAX];
    size_t count = 0;
    int rc = 0;

    j->layer_count = mp__overlay_layers(manager, p->scope, p->namespace_, layers);
    for (size_t i = 0; i < j->layer_count && rc == 0; i++) {
        rc = p->keys(p, layers[i], p->namespace_, &j->layers[i]);
        count += j->layers[i].count;
    }
    if (rc)
        return rc;
    j->parts = mp__calloc(count + 1, sizeof(*j->parts));
    j->chosen = mp__calloc(count + 1, sizeof(*j->chosen));
    if (!j->parts || !j->chosen)
        return MP_ENOMEM;
    for (size_t i = 0; i < j->layer_count; i++)
        for (size_t k = 0; k < j->layers[i].count; k++) {
            const mp__leaf *leaf = &j->layers[i].items[k];

            j->parts[j->part_count++] = (mp__part){.key = leaf->key,
                                                   .value = leaf->value,
                                                   .media_type = leaf->media_type,
                                                   .layer = (unsigned)(j->layer_count - 1 - i)};
        }
    return 0;
}

static int judge_values(judging *j, const mp__manager *manager)
{
    mp__proposal *p = j->proposal;
    mp_str layers[MP__LAYERS_MAX];
    size_t count = mp__overlay_layers(manager, p->scope, MP_STR(MP__SCHEMA_NAMESPACE), layers);
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = p->keys(p, layers[i], MP_STR(MP__SCHEMA_NAMESPACE), &j->names);
    if (rc == 0 && j->names.count)
        rc = bring_parts(j, manager);
    for (size_t i = 0; i < j->names.count && rc == 0 && !p->text[0]; i++)
        if (!is_among(&j->names, i, j->names.items[i].key)) /* a nearer one took its place */
            rc = judge_by_leaf(j, &j->names.items[i]);
    return rc;
}

int mp__schemas_judge(void *context, mp__proposal *proposal)
{
    judging j = {.proposal = proposal};
    int rc;

    if (mp_str_equal(proposal->namespace_, MP_STR(MP__SCHEMA_NAMESPACE)))
        rc = judge_schemas(&j);
    else
        rc = judge_values(&j, context);
    mp__leaves_done(&j.names);
    for (size_t i = 0; i < j.layer_count; i++)
        mp__leaves_done(&j.layers[i]);
    (void)mp__free(j.parts);
    (void)mp__free(j.chosen);
    (void)mp__free(j.found.broken);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of leaf keys, checked against their schemas. Pure: what holds is brought by the caller.
 *
 * A value whose media type nobody told is taken as the JSON scalar that its text is, so that a port
 * set with a plain SET is a number; other text is a string. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "format/format.h"
#include "manager/validate.h"

#define JSON_TYPE "application/json"

static bool is_json(mp_str type)
{
    static const char suffix[] = "+json";
    size_t size = 0;

    while (size < type.size && type.data[size] != ';')
        size++;
    type.size = size;
    return mp_str_equal(type, MP_STR(JSON_TYPE)) ||
           (size > sizeof(suffix) &&
            memcmp(type.data + size - sizeof(suffix) + 1, suffix, sizeof(suffix) - 1) == 0);
}

/* "application/json" or "text/plain": how a leaf is read. */
static const char *reading_of(mp_str value, mp_str type)
{
    json_t *parsed;

    if (type.size)
        return is_json(type) ? JSON_TYPE : "text/plain";
    parsed = json_loadb(value.data ? value.data : "", value.size, JSON_DECODE_ANY, NULL);
    if (!parsed || json_is_string(parsed)) {
        json_decref(parsed);
        return "text/plain";
    }
    json_decref(parsed);
    return JSON_TYPE;
}

/* ---- violations ---- */

_Static_assert(sizeof(((mp__broken *)0)->instance) == sizeof(((mp__violation *)0)->instance) &&
                   sizeof(((mp__broken *)0)->schema) == sizeof(((mp__violation *)0)->schema) &&
                   sizeof(((mp__broken *)0)->text) == sizeof(((mp__violation *)0)->text),
               "one is copied into the other");

static mp__broken *next_broken(mp__write_request *request)
{
    if (!request->broken)
        request->broken = mp__calloc(MP__BROKEN_MAX, sizeof(*request->broken));
    request->broken_count++;
    return request->broken && request->broken_count <= MP__BROKEN_MAX
               ? &request->broken[request->broken_count - 1]
               : NULL;
}

int mp__violation_note(mp__write_request *request, const char *name, const char *keyword,
                       const char *text)
{
    mp__broken *broken = next_broken(request);

    if (!broken)
        return request->broken ? 0 : MP_ENOMEM;
    (void)snprintf(broken->where, sizeof(broken->where), "%s", name);
    broken->keyword = keyword;
    (void)snprintf(broken->text, sizeof(broken->text), "%s", text);
    return 0;
}

static int check_tree(mp__write_request *request, const mp__schema_item *item, const char *where,
                      const json_t *tree, mp__diag *diag)
{
    mp__violation found[MP__BROKEN_MAX];
    mp__violations violations = {.items = found, .capacity = MP__BROKEN_MAX};
    int rc = mp__schema_check_tree(item->schema, tree, &violations, diag);

    if (rc != MP_EINVAL)
        return rc;
    for (size_t i = 0; i < violations.count; i++) {
        mp__broken *broken = next_broken(request);

        if (!request->broken)
            return MP_ENOMEM;
        if (!broken || i >= MP__BROKEN_MAX)
            continue;
        (void)snprintf(broken->where, sizeof(broken->where), "%s", where);
        memcpy(broken->instance, found[i].instance, sizeof(broken->instance));
        memcpy(broken->schema, found[i].schema, sizeof(broken->schema));
        memcpy(broken->text, found[i].text, sizeof(broken->text));
        broken->keyword = found[i].keyword;
    }
    return 0;
}

int mp__value_check(mp__write_request *request, const mp__schema_item *item, const char *where,
                    mp_str value, mp_str media_type, mp__diag *diag)
{
    bool json = strcmp(reading_of(value, media_type), JSON_TYPE) == 0;
    json_error_t error;
    json_t *tree;
    int rc;

    tree = json ? json_loadb(value.data ? value.data : "", value.size,
                             JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error)
                : json_stringn(value.data ? value.data : "", value.size);
    if (!tree)
        return mp__violation_note(request, where, "json",
                                  json ? "the value is not the JSON that its media type says"
                                       : "the value is no UTF-8");
    rc = check_tree(request, item, where, tree, diag);
    json_decref(tree);
    return rc;
}

/* ---- documents of several keys ---- */

static int compare_parts(const void *a, const void *b)
{
    const mp__part *x = a, *y = b;
    int order =
        memcmp(x->key.data, y->key.data, x->key.size < y->key.size ? x->key.size : y->key.size);

    if (order == 0)
        order = (x->key.size > y->key.size) - (x->key.size < y->key.size);
    return order ? order : (x->from > y->from) - (x->from < y->from);
}

/* Of the parts of one key, what a reader will get; NULL: nothing. */
static const mp__part *what_holds(const mp__part *parts, size_t count)
{
    const mp__part *own = NULL, *behind = NULL;

    for (size_t i = 0; i < count; i++)
        if (parts[i].from == 0)
            behind = &parts[i];
        else
            own = parts[i].gone ? NULL : &parts[i];
    if (own)
        return mp_str_equal(own->media_type, MP_STR(MP__MEDIA_MASK)) ? NULL : own;
    return behind;
}

/* The name of a key inside the document of @path: without it and the dot behind it. */
static mp_str inside(mp_str key, mp_str path)
{
    size_t cut = path.size;

    if (cut && key.size > cut && key.data[cut] == '.')
        cut++;
    return mp_str_new(key.data + cut, key.size - cut);
}

int mp__document_check(mp__write_request *request, const mp__schema_item *item,
                       const mp__schema_subject *subject, mp__part *parts, size_t count,
                       mp__diag *diag)
{
    mp__leaves leaves = {0};
    json_t *tree = NULL;
    mp__diag why = {0};
    int rc = 0;

    if (count)
        qsort(parts, count, sizeof(*parts), compare_parts);
    for (size_t i = 0, n; i < count && rc == 0; i += n) {
        const mp__part *part;
        mp_str name;

        for (n = 1; i + n < count && mp_str_equal(parts[i + n].key, parts[i].key); n++)
            ;
        part = what_holds(&parts[i], n);
        if (!part)
            continue;
        name = inside(part->key, subject->path);
        if (name.size == 0) { /* the path itself is a key: its value is the document */
            rc = mp__value_check(request, item, item->name, part->value, part->media_type, diag);
            mp__leaves_done(&leaves);
            return rc;
        }
        rc = mp__leaves_add(&leaves, name, part->value, reading_of(part->value, part->media_type));
    }
    if (rc == 0 && leaves.count) { /* a document without keys is none, and breaks nothing */
        rc = mp__leaves_sort(&leaves, &why);
        if (rc == 0)
            rc = mp__leaves_tree(&leaves, &tree, &why);
        if (rc && rc != MP_ENOMEM)
            rc = mp__violation_note(request, item->name, "leaves", why.text);
        else if (rc == 0)
            rc = check_tree(request, item, item->name, tree, diag);
    }
    json_decref(tree);
    mp__leaves_done(&leaves);
    return rc;
}

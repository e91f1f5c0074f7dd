/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of leaf keys, as the layers of a scope give them, checked against their schemas. Pure:
 * what holds is brought by the caller.
 *
 * A value whose media type nobody told is taken as the JSON scalar that its text is, so that a port
 * set with a plain SET is a number; other text is a string. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "core/json_read.h"
#include "format/format.h"
#include "manager/validate.h"

#define JSON_TYPE "application/json"

bool mp__media_is_json(mp_str type)
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
    json_error_t error;
    bool is_text;
    json_t *parsed;

    if (type.size)
        return mp__media_is_json(type) ? JSON_TYPE : "text/plain";
    parsed = json_loadb(value.data ? value.data : "", value.size, JSON_DECODE_ANY, &error);
    is_text = parsed ? json_is_string(parsed)
                     : json_error_code(&error) != json_error_numeric_overflow; /* a number, too */
    json_decref(parsed);
    return is_text ? "text/plain" : JSON_TYPE;
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
    if (!request->broken)
        return NULL;
    return ++request->broken_count <= MP__BROKEN_MAX ? &request->broken[request->broken_count - 1]
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

void mp__violation_place(mp__write_request *request, const mp__diag *place)
{
    if (request->broken_count > MP__BROKEN_MAX)
        return;
    request->broken[request->broken_count - 1].line = place->line;
    request->broken[request->broken_count - 1].column = place->column;
}

/* The same of a value that is not the JSON it should be: @why says where. */
static int note_no_json(mp__write_request *request, const char *name, const mp__diag *why,
                        bool is_json)
{
    char text[320];
    int rc;

    (void)snprintf(text, sizeof(text), "%sline %d, column %d: %.200s",
                   is_json ? "" : "the value is not the JSON that its media type says: ", why->line,
                   why->column, why->text);
    rc = mp__violation_note(request, name, "json", text);
    if (rc == 0)
        mp__violation_place(request, why);
    return rc;
}

void mp__violations_say(mp__write_request *request)
{
    const mp__broken *first = request->broken;
    bool is_inner = first->scope[0] != '\0';
    int n = snprintf(request->text, sizeof(request->text), "%s%s%s%s%s: %s",
                     is_inner ? "as seen in " : "", first->scope, is_inner ? ": " : "",
                     first->where, first->instance, first->text);

    if (request->broken_count > 1 && n > 0 && (size_t)n < sizeof(request->text))
        (void)snprintf(request->text + n, sizeof(request->text) - (size_t)n, " (and %zu more)",
                       request->broken_count - 1);
}

static bool is_same(const mp__broken *a, const mp__broken *b)
{
    return strcmp(a->where, b->where) == 0 && strcmp(a->instance, b->instance) == 0 &&
           strcmp(a->schema, b->schema) == 0;
}

/* Whether one place breaks one keyword in several ways, which only the text tells apart. Of others
 * the text says the value or how many there are, and what was broken may be so in another way. */
static bool has_several(const mp__broken *broken)
{
    return broken->keyword && (strcmp(broken->keyword, "required") == 0 ||
                               strcmp(broken->keyword, "dependentRequired") == 0);
}

static bool is_told(const mp__broken *broken, const mp__write_request *of, bool by_text)
{
    for (size_t i = 0; of->broken && i < of->broken_count && i < MP__BROKEN_MAX; i++)
        if (is_same(&of->broken[i], broken) &&
            (!by_text || strcmp(of->broken[i].text, broken->text) == 0))
            return true;
    return false;
}

int mp__violations_add(mp__write_request *request, const mp__write_request *after,
                       const mp__write_request *before, mp_str scope, bool is_inner)
{
    size_t told = after->broken_count < MP__BROKEN_MAX ? after->broken_count : MP__BROKEN_MAX;
    size_t more = after->broken_count - told, old = before ? before->broken_count : 0;
    bool is_more = old >= MP__BROKEN_MAX && after->broken_count > old; /* one that is not told */

    if (old > MP__BROKEN_MAX && !is_more)
        return 0; /* not all were told, so that they cannot be compared: there are no more of them
                   */
    for (size_t i = 0; i < told; i++) {
        const mp__broken *found = &after->broken[i];
        mp__broken *broken;

        if ((old && !is_more && is_told(found, before, has_several(found))) ||
            is_told(found, request, true))
            continue;
        broken = next_broken(request);
        if (!request->broken)
            return MP_ENOMEM;
        if (!broken)
            continue;
        *broken = *found;
        (void)snprintf(broken->seen, sizeof(broken->seen), "%.*s", (int)scope.size, scope.data);
        (void)snprintf(broken->scope, sizeof(broken->scope), "%s", is_inner ? broken->seen : "");
    }
    if (!before)
        request->broken_count += more;
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
    json_t *tree = NULL;
    mp__diag why = {0};
    int rc;

    if (!json) {
        if (!mp__is_utf8(value))
            return mp__violation_note(request, where, "json", "the value is no UTF-8");
        tree = json_stringn(value.data ? value.data : "", value.size);
        rc = tree ? 0 : MP_ENOMEM;
    } else {
        rc = mp__json_read(value, true, &tree, &why);
        if (rc && rc != MP_ENOMEM)
            return note_no_json(request, where, &why, rc == -ERANGE);
    }
    if (rc)
        return rc;
    rc = check_tree(request, item, where, tree, diag);
    json_decref(tree);
    return rc;
}

bool mp__change_claims_json(const mp__change *change)
{
    mp_str scope, namespace_, key;

    return change->op == MP__CHANGE_PUT && mp__media_is_json(change->media_type) &&
           mp__address_split(change->address, &scope, &namespace_, &key) == 0 &&
           !mp__schema_is_one(namespace_);
}

int mp__claims_check(mp__write_request *request)
{
    int rc = 0;

    for (size_t i = 0; i < request->count && rc == 0; i++) {
        const mp__change *change = &request->changes[i];
        mp_str scope, namespace_, key;
        mp__diag why = {0};
        char where[200];

        if (!mp__change_claims_json(change) || mp__json_check(change->value, &why) == 0)
            continue;
        (void)mp__address_split(change->address, &scope, &namespace_, &key);
        (void)snprintf(where, sizeof(where), "%.*s/%.*s", (int)namespace_.size, namespace_.data,
                       (int)(key.size < 130 ? key.size : 130), key.data);
        rc = note_no_json(request, where, &why, false);
    }
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
    if (order == 0)
        order = (x->layer > y->layer) - (x->layer < y->layer);
    return order ? order : (x->from > y->from) - (x->from < y->from);
}

void mp__parts_sort(mp__part *parts, size_t count)
{
    if (count)
        qsort(parts, count, sizeof(*parts), compare_parts);
}

/* How many of @parts are of the same key as the first. */
static size_t same_key(const mp__part *parts, size_t count)
{
    size_t n = 1;

    while (n < count && mp_str_equal(parts[n].key, parts[0].key))
        n++;
    return n;
}

/* Of the parts of one key, what a reader gets; NULL: nothing. */
static const mp__part *what_holds(const mp__part *parts, size_t count, bool as_it_stands)
{
    const mp__part *holds = NULL, *last = NULL; /* of all layers so far; of the one at work */

    for (size_t i = 0; i < count; i++) {
        if (as_it_stands && parts[i].from)
            continue;
        if (last && last->layer != parts[i].layer)
            holds = last->gone ? holds : last;
        last = &parts[i];
    }
    if (last && !last->gone)
        holds = last;
    return holds && mp_str_equal(holds->media_type, MP_STR(MP__MEDIA_MASK)) ? NULL : holds;
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
                       const mp__schema_subject *subject, const mp__part *parts, size_t count,
                       bool as_it_stands, mp__diag *diag)
{
    mp__leaves leaves = {0};
    json_t *tree = NULL;
    mp__diag why = {0};
    int rc = 0;

    for (size_t i = 0, n; i < count && rc == 0; i += n) {
        const mp__part *part;
        mp_str name;

        n = same_key(&parts[i], count - i);
        part = what_holds(&parts[i], n, as_it_stands);
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
            rc = mp__leaves_tree_wide(&leaves, &tree, &why);
        if (rc && rc != MP_ENOMEM)
            rc = mp__violation_note(request, item->name, "leaves", why.text);
        else if (rc == 0)
            rc = check_tree(request, item, item->name, tree, diag);
    }
    json_decref(tree);
    mp__leaves_done(&leaves);
    return rc;
}

int mp__documents_check(mp__write_request *request, const mp__schema_item *item,
                        const mp__schema_subject *subject, const mp__part *parts, size_t count,
                        bool all, bool as_it_stands, mp__diag *diag)
{
    int rc = 0;

    for (size_t i = 0, n; i < count && rc == 0; i += n) {
        const mp__part *after, *before, *part;
        char where[200];

        n = same_key(&parts[i], count - i);
        after = what_holds(&parts[i], n, false);
        before = what_holds(&parts[i], n, true);
        part = as_it_stands ? before : after;
        if (!part || (after == before && !all))
            continue;
        (void)snprintf(where, sizeof(where), "%.*s/%.*s", (int)subject->namespace_.size,
                       subject->namespace_.data, (int)(part->key.size < 150 ? part->key.size : 150),
                       part->key.data);
        rc = mp__value_check(request, item, where, part->value, part->media_type, diag);
    }
    return rc;
}

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

/* What the origin said a scope holds; of layers that many scopes have in common it is asked once.
 */
typedef struct told {
    struct told *next;
    mp_str scope;
    bool of_schemas, as_it_stands, is_common;
    mp__leaves leaves;
} told;

typedef struct judging {
    const mp__manager *manager;
    mp__proposal *proposal;
    told *all_told;
    mp_str common[MP__LAYERS_MAX]; /* the scope that changes, and what it falls back to */
    size_t common_count;
    mp_str scope; /* whose readers are asked about */
    bool is_inner;
    const mp__leaves *names[MP__LAYERS_MAX]; /* schemas, the nearest first; their texts */
    size_t name_count;                       /* layers of them */
    const mp__leaves *layers[MP__LAYERS_MAX];
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

/* ---- what the origin says ---- */

static bool is_common(const judging *j, mp_str scope)
{
    for (size_t i = 0; i < j->common_count; i++)
        if (mp_str_equal(j->common[i], scope))
            return true;
    return false;
}

/* What @scope will hold of the namespace, or of schemas, or what it holds. It lives until
 * forget_told(). */
static int hear(judging *j, mp_str scope, bool of_schemas, bool as_it_stands,
                const mp__leaves **ret_leaves)
{
    mp__proposal *p = j->proposal;
    told *t = j->all_told;
    int rc;

    while (t && !(mp_str_equal(t->scope, scope) && t->of_schemas == of_schemas &&
                  t->as_it_stands == as_it_stands))
        t = t->next;
    if (!t) {
        t = mp__calloc(1, sizeof(*t));
        if (!t)
            return MP_ENOMEM;
        *t = (told){.next = j->all_told,
                    .scope = scope,
                    .of_schemas = of_schemas,
                    .as_it_stands = as_it_stands,
                    .is_common = is_common(j, scope)};
        rc = p->keys(p, scope, of_schemas ? MP_STR(MP__SCHEMA_NAMESPACE) : p->namespace_,
                     as_it_stands, &t->leaves);
        if (rc) {
            mp__leaves_done(&t->leaves);
            (void)mp__free(t);
            return rc;
        }
        j->all_told = t;
    }
    *ret_leaves = &t->leaves;
    return 0;
}

/* All of it, or what no other scope will ask for. */
static void forget_told(judging *j, bool all)
{
    told **link = &j->all_told;

    while (*link) {
        told *t = *link;

        if (!all && t->is_common) {
            link = &t->next;
            continue;
        }
        *link = t->next;
        mp__leaves_done(&t->leaves);
        (void)mp__free(t);
    }
}

/* ---- schemas themselves ---- */

static int judge_schemas(judging *j)
{
    mp__proposal *p = j->proposal;
    const mp__leaves *schemas = NULL;
    int rc = hear(j, p->scope, true, false, &schemas);

    for (size_t i = 0; rc == 0 && i < schemas->count && !p->text[0]; i++) {
        const mp__leaf *leaf = &schemas->items[i];
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
    if (rc == 0 && after.broken_count && j->is_inner && j->proposal->changes) {
        rc = check(j, item, &subject, count, true, &before, &ignored);
    } else if (rc == MP_ELIMIT && j->is_inner && j->proposal->changes &&
               check(j, item, &subject, count, true, &before, &ignored) == MP_ELIMIT) {
        after.broken_count = before.broken_count = 0; /* nor could it be judged before */
        rc = 0;
    }
    if (rc == 0)
        rc = mp__violations_add(&found, &after, before.broken_count ? &before : NULL, j->scope,
                                true);
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
    const mp__leaves *standing = NULL;
    size_t count = 0;
    int rc = hear(j, p->scope, false, true, &standing);

    j->layer_count = mp__overlay_layers(j->manager, j->scope, p->namespace_, layers);
    for (size_t i = 0; i < j->layer_count && rc == 0; i++) {
        rc = hear(j, layers[i], false, false, &j->layers[i]);
        count += rc ? 0 : j->layers[i]->count;
    }
    if (rc)
        return rc;
    count += 2 * standing->count;
    j->parts = mp__calloc(count + 1, sizeof(*j->parts));
    j->chosen = mp__calloc(count + 1, sizeof(*j->chosen));
    if (!j->parts || !j->chosen)
        return MP_ENOMEM;
    for (size_t i = 0; i < j->layer_count; i++) {
        bool changes = mp_str_equal(layers[i], p->scope);

        if (changes) {
            add_parts(j, standing, i, 0, false);
            add_parts(j, standing, i, 1, true);
        }
        add_parts(j, j->layers[i], i, changes ? 2 : 0, false);
    }
    return 0;
}

static int bring_names(judging *j)
{
    mp_str layers[MP__LAYERS_MAX];
    int rc = 0;

    j->name_count = mp__overlay_layers(j->manager, j->scope, MP_STR(MP__SCHEMA_NAMESPACE), layers);
    for (size_t i = 0; i < j->name_count && rc == 0; i++)
        rc = hear(j, layers[i], true, false, &j->names[i]);
    return rc;
}

/* Whether the scope at work itself will have neither keys of the namespace nor schemas. */
static int is_bare(judging *j, bool *ret_bare)
{
    const mp__leaves *schemas = NULL, *keys = NULL;
    int rc = hear(j, j->scope, true, false, &schemas);

    if (rc == 0)
        rc = hear(j, j->scope, false, false, &keys);
    *ret_bare = rc == 0 && schemas->count + keys->count == 0;
    return rc;
}

/* Whether a layer before @layer has a schema of that name, which counts instead. */
static bool is_replaced(const judging *j, size_t layer, mp_str name)
{
    for (size_t i = 0; i < layer; i++)
        for (size_t k = 0; k < j->names[i]->count; k++)
            if (mp_str_equal(j->names[i]->items[k].key, name))
                return true;
    return false;
}

static int judge_values(judging *j)
{
    bool is_left = false;
    size_t schemas = 0;
    int rc = j->is_inner ? is_bare(j, &is_left) : 0;

    if (rc || is_left)
        return rc;
    rc = bring_names(j);
    for (size_t i = 0; i < j->name_count && rc == 0; i++)
        schemas += j->names[i]->count;
    if (rc == 0 && schemas)
        rc = bring_parts(j);
    for (size_t i = 0; i < j->name_count && rc == 0; i++)
        for (size_t k = 0; k < j->names[i]->count && rc == 0 && !j->proposal->text[0]; k++)
            if (!is_replaced(j, i, j->names[i]->items[k].key))
                rc = judge_by_leaf(j, &j->names[i]->items[k], i == 0);
    return rc;
}

/* What @scope, which falls back to the one that changes or is it, would see. */
static int judge_for(judging *j, mp_str scope)
{
    int rc;

    j->scope = scope;
    j->is_inner = !mp_str_equal(scope, j->proposal->scope);
    j->parts = j->chosen = NULL;
    j->part_count = 0;
    rc = judge_values(j);
    (void)mp__free(j->parts);
    (void)mp__free(j->chosen);
    forget_told(j, false);
    return rc;
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
    judging j = {.manager = context, .proposal = proposal};
    mp_str scope;
    int rc;

    if (mp__schema_is_one(proposal->namespace_)) {
        rc = judge_schemas(&j);
        forget_told(&j, true);
        return rc;
    }
    j.common_count = mp__overlay_scopes(context, proposal->scope, j.common);
    rc = judge_for(&j, proposal->scope);
    for (size_t i = 0; rc == 0 && !proposal->text[0]; i++) {
        scope = proposal->scopes(proposal, i);
        if (!scope.size)
            break;
        if (falls_back_to(context, scope, proposal))
            rc = judge_for(&j, scope);
    }
    forget_told(&j, true);
    return rc;
}

int mp__manager_judge(const mp__options *options, mp__proposal *proposal)
{
    mp__manager *manager = mp__calloc(1, sizeof(*manager)); /* of which the overlays are asked */
    int rc = manager ? mp__overlay_new(manager, options, NULL) : MP_ENOMEM;

    if (rc == 0)
        rc = mp__schemas_judge(manager, proposal);
    if (manager)
        mp__overlay_free(manager);
    (void)mp__free(manager);
    return rc;
}

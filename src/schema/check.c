/* SPDX-License-Identifier: Apache-2.0 */
/* A value against a node. Everything that lasts is on the stack or the caller's, so that one schema
 * serves any number of threads. Steps and recursion are counted: a schema may refer to itself, and
 * alternatives multiply. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "schema/node.h"

typedef struct run {
    const mp__schema *schema;
    mp__violations *out;
    mp__diag *diag;
    size_t work;
    unsigned depth;
    unsigned quiet;     /* inside a trial, whose failures are no violations */
    unsigned blind;     /* inside a trial that is not even a hint: not, if, contains */
    mp__violation hint; /* of an alternative: what failed deepest */
    size_t hint_depth;  /* its place's depth plus 1; 0: none */
} run;

/* The way from the document to the value. */
typedef struct step {
    const struct step *up;
    mp_str name; /* no data: an index */
    size_t index;
} step;

/* The resources that were entered on the way, for $dynamicRef. */
typedef struct scope {
    const struct scope *up;
    size_t resource;
} scope;

/* Which members or elements of the present value a subschema looked at. */
typedef struct marks {
    unsigned char *bits; /* a byte each; NULL where it is of no interest */
    size_t count;
} marks;

typedef struct frame {
    run *r;
    const mp__node *node;
    const json_t *value;
    const step *at;
    const scope *scope;
    marks *seen;
} frame;

static int check(run *r, const mp__node *node, const json_t *value, const step *at,
                 const scope *scope, marks *seen);

static json_t *mutable(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

static mp_str text_of(const json_t *string)
{
    return mp_str_new(json_string_value(string), json_string_length(string));
}

/* ---- violations ---- */

static size_t depth_of(const step *at)
{
    size_t depth = 0;

    for (; at; at = at->up)
        depth++;
    return depth;
}

/* Recursion keeps the steps in order; what does not fit is cut. */
static void print_steps(const step *at, mp__buf *path)
{
    if (!at)
        return;
    print_steps(at->up, path);
    if (at->name.data)
        (void)mp__pointer_add(path, at->name);
    else
        (void)mp__pointer_add_index(path, at->index);
}

static void print_instance(const step *at, char *out, size_t capacity)
{
    mp__buf path = {.size_max = 4096};
    size_t size;

    print_steps(at, &path);
    size = path.size < capacity ? path.size : capacity - 1;
    while (size && size < path.size && ((unsigned char)path.data[size] & 0xc0) == 0x80)
        size--; /* not in the middle of a character */
    memcpy(out, path.data ? path.data : "", size);
    out[size] = '\0';
    mp__buf_done(&path);
}

/* Always 0, so that a keyword can end with: return violation(...). */
static int violation(const frame *f, const char *keyword, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int violation(const frame *f, const char *keyword, const char *format, ...)
{
    run *r = f->r;
    mp__violation *item = NULL;
    va_list arguments;

    if (!r->quiet) {
        if (r->out && r->out->count < MP__VIOLATIONS_MAX && r->out->count++ < r->out->capacity)
            item = &r->out->items[r->out->count - 1];
    } else if (!r->blind && depth_of(f->at) + 1 > r->hint_depth) {
        item = &r->hint;
        r->hint_depth = depth_of(f->at) + 1;
    }
    if (!item)
        return 0;
    item->keyword = keyword;
    print_instance(f->at, item->instance, sizeof(item->instance));
    (void)snprintf(item->schema, sizeof(item->schema), "%s%s%s", f->node->path,
                   keyword[0] ? "/" : "", keyword);
    va_start(arguments, format);
    (void)vsnprintf(item->text, sizeof(item->text), format, arguments);
    va_end(arguments);
    return 0;
}

/* A value for a message: compact, cut. */
static const char *show(const json_t *value, char *out, size_t capacity)
{
    mp__buf text = {.size_max = capacity - 4};

    (void)mp__tree_print(value, &text);
    (void)snprintf(out, capacity, "%.*s%s", (int)text.size, text.data ? text.data : "",
                   text.error ? "..." : "");
    mp__buf_done(&text);
    return out;
}

/* ---- any value ---- */

static int check_type(const frame *f)
{
    char want[120];

    if (!f->node->types || (f->node->types & mp__type_of(f->value)))
        return 1;
    return violation(f, "type", "it is %s and must be %s", mp__type_name(f->value),
                     json_is_string(f->node->type) ? json_string_value(f->node->type)
                                                   : show(f->node->type, want, sizeof(want)));
}

static int check_enumeration(const frame *f)
{
    char got[80], want[200];
    const json_t *values = f->node->enumeration;

    if (f->node->constant && !mp__tree_equal(f->value, f->node->constant))
        return violation(f, "const", "it is %s and must be %s", show(f->value, got, sizeof(got)),
                         show(f->node->constant, want, sizeof(want)));
    if (!values)
        return 1;
    for (size_t i = 0; i < json_array_size(values); i++, f->r->work++)
        if (mp__tree_equal(f->value, json_array_get(values, i)))
            return 1;
    return violation(f, "enum", "it is %s and must be one of %s", show(f->value, got, sizeof(got)),
                     show(values, want, sizeof(want)));
}

/* ---- numbers and strings ---- */

static int check_limit(const frame *f, const char *keyword, const json_t *limit, int sign,
                       bool exclusive)
{
    char got[40], want[40];
    int order;

    if (!limit)
        return 1;
    order = mp__number_compare(f->value, limit) * sign;
    if (order > 0 || (order == 0 && !exclusive))
        return 1;
    return violation(f, keyword, "%s is too %s: it must be %s %s", show(f->value, got, sizeof(got)),
                     sign > 0 ? "small" : "large",
                     exclusive ? (sign > 0 ? "greater than" : "less than")
                               : (sign > 0 ? "at least" : "at most"),
                     show(limit, want, sizeof(want)));
}

static int check_number(const frame *f)
{
    const mp__node *node = f->node;
    char got[40], want[40];
    int ok = check_limit(f, "minimum", node->minimum, 1, false);

    ok &= check_limit(f, "maximum", node->maximum, -1, false);
    ok &= check_limit(f, "exclusiveMinimum", node->exclusive_minimum, 1, true);
    ok &= check_limit(f, "exclusiveMaximum", node->exclusive_maximum, -1, true);
    if (node->multiple_of && !mp__is_multiple(f->value, node->multiple_of))
        ok = violation(f, "multipleOf", "%s is no multiple of %s", show(f->value, got, sizeof(got)),
                       show(node->multiple_of, want, sizeof(want)));
    return ok;
}

static int too_long(const frame *f, const mp__pattern *pattern)
{
    char path[120];

    print_instance(f->at, path, sizeof(path));
    return mp__diag_set(
        f->r->diag, MP_ELIMIT,
        "the pattern '%.*s' takes too long on the text at '%s'; make it simpler "
        "(no repetition inside a repetition)",
        (int)(mp__pattern_text(pattern).size > 100 ? 100 : mp__pattern_text(pattern).size),
        mp__pattern_text(pattern).data, path);
}

static int match(const frame *f, const mp__pattern *pattern, mp_str text)
{
    int rc = mp__pattern_match(pattern, text);

    f->r->work += 10 + text.size / 16;
    return rc == MP_ELIMIT ? too_long(f, pattern) : rc;
}

static int check_string(const frame *f)
{
    const mp__node *node = f->node;
    mp_str text = text_of(f->value);
    char got[80];
    int ok = 1, rc;

    if (node->min_length >= 0 || node->max_length >= 0) {
        int64_t length = (int64_t)mp__code_points(text);

        if (node->min_length >= 0 && length < node->min_length)
            ok = violation(f, "minLength", "it has %lld characters and must have at least %lld",
                           (long long)length, (long long)node->min_length);
        if (node->max_length >= 0 && length > node->max_length)
            ok = violation(f, "maxLength", "it has %lld characters and may have %lld",
                           (long long)length, (long long)node->max_length);
    }
    if (node->pattern) {
        rc = match(f, node->pattern, text);
        if (rc < 0)
            return rc;
        if (rc == 0)
            ok = violation(f, "pattern", "%s does not match the pattern %.*s",
                           show(f->value, got, sizeof(got)),
                           (int)(mp__pattern_text(node->pattern).size > 120
                                     ? 120
                                     : mp__pattern_text(node->pattern).size),
                           mp__pattern_text(node->pattern).data);
    }
    if (node->format && !node->format->holds(text))
        ok = violation(f, "format", "%s is not %s", show(f->value, got, sizeof(got)),
                       node->format->what);
    return ok;
}

/* ---- arrays ---- */

static void mark(const frame *f, size_t index)
{
    if (f->seen && f->seen->bits && index < f->seen->count)
        f->seen->bits[index] = 1;
}

static int check_element(const frame *f, const mp__node *node, size_t index)
{
    step at = {f->at, {0}, index};

    mark(f, index);
    return check(f->r, node, json_array_get(f->value, index), &at, f->scope, NULL);
}

static int check_elements(const frame *f)
{
    const mp__node *node = f->node;
    size_t count = json_array_size(f->value), listed = node->prefix_items.count;
    int ok = 1;

    for (size_t i = 0; i < count; i++) {
        const mp__node *with = i < listed ? node->prefix_items.items[i] : node->items;
        int rc = with ? check_element(f, with, i) : 1;

        if (rc < 0)
            return rc;
        ok &= rc;
        if (!with || (!ok && f->r->quiet))
            break;
    }
    return ok;
}

static int check_contains(const frame *f)
{
    const mp__node *node = f->node;
    int64_t found = 0, least = node->min_contains >= 0 ? node->min_contains : 1;

    if (!node->contains)
        return 1;
    f->r->quiet++;
    f->r->blind++;
    for (size_t i = 0; i < json_array_size(f->value); i++) {
        step at = {f->at, {0}, i};
        int rc = check(f->r, node->contains, json_array_get(f->value, i), &at, f->scope, NULL);

        if (rc < 0)
            return rc;
        if (rc)
            mark(f, i);
        found += rc;
    }
    f->r->quiet--;
    f->r->blind--;
    if (found < least)
        return violation(f, node->min_contains >= 0 ? "minContains" : "contains",
                         "%lld of its elements are as wanted, and %lld must be", (long long)found,
                         (long long)least);
    if (node->max_contains >= 0 && found > node->max_contains)
        return violation(f, "maxContains", "%lld of its elements are as said, and %lld may be",
                         (long long)found, (long long)node->max_contains);
    return 1;
}

static int check_array(const frame *f)
{
    const mp__node *node = f->node;
    int64_t count = (int64_t)json_array_size(f->value);
    size_t first, second;
    int ok = 1, rc;

    if (node->min_items >= 0 && count < node->min_items)
        ok = violation(f, "minItems", "it has %lld elements and must have at least %lld",
                       (long long)count, (long long)node->min_items);
    if (node->max_items >= 0 && count > node->max_items)
        ok = violation(f, "maxItems", "it has %lld elements and may have %lld", (long long)count,
                       (long long)node->max_items);
    if (node->unique_items) {
        rc = mp__find_twins(f->value, &first, &second, &f->r->work);
        if (rc < 0)
            return rc;
        if (rc)
            ok =
                violation(f, "uniqueItems", "its elements %zu and %zu are the same", first, second);
    }
    rc = ok || !f->r->quiet ? check_elements(f) : 0;
    if (rc < 0)
        return rc;
    ok &= rc;
    rc = ok || !f->r->quiet ? check_contains(f) : 0;
    return rc < 0 ? rc : ok & rc;
}

/* ---- objects ---- */

static const mp__named_node *find_named(const mp__node_map *map, mp_str name)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        mp_str other = map->items[middle].name;
        size_t least = other.size < name.size ? other.size : name.size;
        int order = least ? memcmp(name.data, other.data, least) : 0;

        if (order == 0)
            order = (name.size > other.size) - (name.size < other.size);
        if (order == 0)
            return &map->items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The names that an object may have, for a message. */
static const char *known_names(const mp__node *node, char *out, size_t capacity)
{
    size_t size = 0;

    out[0] = '\0';
    for (size_t i = 0; i < node->properties.count; i++) {
        mp_str name = node->properties.items[i].name;

        if (name.size + size + 8 > capacity) {
            (void)snprintf(out + size, capacity - size, ", ...");
            break;
        }
        size += (size_t)snprintf(out + size, capacity - size, "%s%.*s", i ? ", " : "",
                                 (int)name.size, name.data);
    }
    return out;
}

static int check_additional(const frame *f, mp_str name, const json_t *member, const step *at)
{
    const mp__node *with = f->node->additional_properties;
    char names[160];

    if (!with->never)
        return check(f->r, with, member, at, f->scope, NULL);
    frame here = *f;
    here.at = at;
    if (f->node->properties.count == 0)
        return violation(&here, "additionalProperties", "'%.*s' may not be here",
                         (int)(name.size > 80 ? 80 : name.size), name.data);
    return violation(&here, "additionalProperties", "'%.*s' may not be here; known are %s",
                     (int)(name.size > 80 ? 80 : name.size), name.data,
                     known_names(f->node, names, sizeof(names)));
}

/* One member against properties, patternProperties and additionalProperties. */
static int check_member(const frame *f, mp_str name, const json_t *member, size_t position)
{
    const mp__node *node = f->node;
    const mp__named_node *named = find_named(&node->properties, name);
    step at = {f->at, name, 0};
    bool matched = named != NULL;
    int ok = named ? check(f->r, named->node, member, &at, f->scope, NULL) : 1;

    for (size_t i = 0; i < node->pattern_properties.count && ok >= 0; i++) {
        const mp__named_node *item = &node->pattern_properties.items[i];
        int rc = match(f, item->pattern, name);

        if (rc > 0) {
            matched = true;
            rc = check(f->r, item->node, member, &at, f->scope, NULL);
            ok = rc < 0 ? rc : ok & rc;
        } else if (rc < 0) {
            ok = rc;
        }
    }
    if (ok >= 0 && !matched && node->additional_properties) {
        matched = true;
        ok = check_additional(f, name, member, &at);
    }
    if (matched)
        mark(f, position);
    return ok;
}

static int check_name(const frame *f, mp_str name)
{
    json_t *string = json_stringn_nocheck(name.data ? name.data : "", name.size);
    step at = {f->at, name, 0};
    int rc = string ? check(f->r, f->node->property_names, string, &at, f->scope, NULL) : MP_ENOMEM;

    json_decref(string);
    return rc;
}

static int check_members(const frame *f)
{
    const mp__node *node = f->node;
    json_t *object = mutable(f->value);
    size_t position = 0;
    int ok = 1;

    if (!node->properties.count && !node->pattern_properties.count &&
        !node->additional_properties && !node->property_names)
        return 1;
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
        mp_str name = mp_str_new(json_object_iter_key(i), json_object_iter_key_len(i));
        int rc = check_member(f, name, json_object_iter_value(i), position++);

        if (rc >= 0 && node->property_names) {
            int also = check_name(f, name);

            rc = also < 0 ? also : rc & also;
        }
        if (rc < 0)
            return rc;
        ok &= rc;
        if (!ok && f->r->quiet)
            break;
    }
    return ok;
}

static bool has_member(const json_t *object, const json_t *name)
{
    return json_object_getn(object, json_string_value(name), json_string_length(name)) != NULL;
}

static int check_required(const frame *f)
{
    const mp__node *node = f->node;
    json_t *dependent = mutable(node->dependent_required);
    int ok = 1;

    for (size_t i = 0; i < json_array_size(node->required); i++, f->r->work++)
        if (!has_member(f->value, json_array_get(node->required, i)))
            ok = violation(f, "required", "'%.100s' is missing",
                           json_string_value(json_array_get(node->required, i)));
    for (void *i = json_object_iter(dependent); i; i = json_object_iter_next(dependent, i)) {
        const json_t *names = json_object_iter_value(i);

        if (!json_object_getn(f->value, json_object_iter_key(i), json_object_iter_key_len(i)))
            continue;
        for (size_t j = 0; j < json_array_size(names); j++, f->r->work++)
            if (!has_member(f->value, json_array_get(names, j)))
                ok = violation(
                    f, "dependentRequired", "'%.80s' is missing, which '%.80s' needs beside it",
                    json_string_value(json_array_get(names, j)), json_object_iter_key(i));
    }
    return ok;
}

static int check_object(const frame *f)
{
    const mp__node *node = f->node;
    int64_t count = (int64_t)json_object_size(f->value);
    int ok = check_required(f), rc;

    if (node->min_properties >= 0 && count < node->min_properties)
        ok = violation(f, "minProperties", "it has %lld members and must have at least %lld",
                       (long long)count, (long long)node->min_properties);
    if (node->max_properties >= 0 && count > node->max_properties)
        ok = violation(f, "maxProperties", "it has %lld members and may have %lld",
                       (long long)count, (long long)node->max_properties);
    rc = ok || !f->r->quiet ? check_members(f) : 0;
    return rc < 0 ? rc : ok & rc;
}

/* ---- subschemas of the same value ---- */

static int check_same(const frame *f, const mp__node *node)
{
    return check(f->r, node, f->value, f->at, f->scope, f->seen);
}

static int check_all_of(const frame *f)
{
    int ok = 1;

    for (size_t i = 0; i < f->node->all_of.count; i++) {
        int rc = check_same(f, f->node->all_of.items[i]);

        if (rc < 0)
            return rc;
        ok &= rc;
        if (!ok && f->r->quiet)
            break;
    }
    return ok;
}

static int none_fits(const frame *f, const char *keyword, size_t count)
{
    run *r = f->r;

    if (!r->hint_depth || r->quiet)
        return violation(f, keyword, "it fits none of the %zu alternatives", count);
    r->hint_depth = 0;
    return violation(f, keyword,
                     "it fits none of the %zu alternatives; the nearest fails at '%.80s': %.160s",
                     count, r->hint.instance, r->hint.text);
}

/* How many of @list hold, at most @enough (where nothing must be marked). */
static int count_fitting(const frame *f, const mp__node_list *list, size_t enough)
{
    run *r = f->r;
    int found = 0;

    if (!r->quiet)
        r->hint_depth = 0;
    r->quiet++;
    for (size_t i = 0; i < list->count; i++) {
        int rc = check_same(f, list->items[i]);

        if (rc < 0)
            return rc;
        found += rc;
        if ((size_t)found >= enough && !(f->seen && f->seen->bits))
            break;
    }
    r->quiet--;
    return found;
}

static int check_any_of(const frame *f)
{
    const mp__node_list *list = &f->node->any_of;
    int found = list->count ? count_fitting(f, list, 1) : 1;

    if (found < 0)
        return found;
    return found ? 1 : none_fits(f, "anyOf", list->count);
}

static int check_one_of(const frame *f)
{
    const mp__node_list *list = &f->node->one_of;
    int found = list->count ? count_fitting(f, list, 2) : 1;

    if (found < 0 || found == 1)
        return found;
    return found
               ? violation(f, "oneOf", "it fits more than one of the %zu alternatives", list->count)
               : none_fits(f, "oneOf", list->count);
}

/* Whether @node holds, without telling anybody. */
static int try(const frame *f, const mp__node *node, marks *seen)
{
    int rc;

    f->r->quiet++;
    f->r->blind++;
    rc = check(f->r, node, f->value, f->at, f->scope, seen);
    f->r->quiet--;
    f->r->blind--;
    return rc;
}

static int check_not(const frame *f)
{
    int rc = f->node->not_ ? try(f, f->node->not_, NULL) : 0;

    if (rc < 0)
        return rc;
    return rc ? violation(f, "not", "it is what it must not be") : 1;
}

static int check_if(const frame *f)
{
    const mp__node *node = f->node, *then;
    int rc;

    if (!node->if_)
        return 1;
    rc = try(f, node->if_, f->seen);
    if (rc < 0)
        return rc;
    then = rc ? node->then_ : node->else_;
    return then ? check_same(f, then) : 1;
}

static int check_dependent_schemas(const frame *f)
{
    int ok = 1;

    for (size_t i = 0; i < f->node->dependent_schemas.count && json_is_object(f->value); i++) {
        const mp__named_node *item = &f->node->dependent_schemas.items[i];
        int rc;

        if (!json_object_getn(f->value, item->name.data, item->name.size))
            continue;
        rc = check_same(f, item->node);
        if (rc < 0)
            return rc;
        ok &= rc;
    }
    return ok;
}

static int check_ref(const frame *f)
{
    return f->node->ref ? check_same(f, f->node->ref) : 1;
}

/* The outermost resource that was entered and has a $dynamicAnchor of the name says what it means
 * (JSON Schema core, 8.2.3.2). */
static int check_dynamic_ref(const frame *f)
{
    const mp__node *target = f->node->dynamic_ref;
    const mp__anchor *outermost = NULL;

    if (!target)
        return 1;
    for (const scope *s = f->scope; s && f->node->dynamic_name.data; s = s->up) {
        const mp__anchor *anchor =
            mp__anchor_find(f->r->schema, s->resource, f->node->dynamic_name, true);

        f->r->work++;
        if (anchor)
            outermost = anchor;
    }
    if (outermost)
        target = mp__node_of(f->r->schema, outermost->json);
    return check_same(f, target);
}

/* ---- what nobody looked at ---- */

static int check_unevaluated_items(const frame *f)
{
    int ok = 1;

    if (!f->node->unevaluated_items || !json_is_array(f->value))
        return 1;
    for (size_t i = 0; i < json_array_size(f->value); i++) {
        int rc =
            f->seen->bits && f->seen->bits[i] ? 1 : check_element(f, f->node->unevaluated_items, i);

        if (rc < 0)
            return rc;
        ok &= rc;
    }
    return ok;
}

static int check_unevaluated_properties(const frame *f)
{
    json_t *object = mutable(f->value);
    size_t position = 0;
    int ok = 1;

    if (!f->node->unevaluated_properties || !json_is_object(f->value))
        return 1;
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i), position++) {
        step at = {f->at, mp_str_new(json_object_iter_key(i), json_object_iter_key_len(i)), 0};
        int rc = 1;

        if (!f->seen->bits || !f->seen->bits[position])
            rc = check(f->r, f->node->unevaluated_properties, json_object_iter_value(i), &at,
                       f->scope, NULL);
        if (rc < 0)
            return rc;
        mark(f, position);
        ok &= rc;
    }
    return ok;
}

/* ---- the node ---- */

static int check_kind(const frame *f)
{
    if (json_is_number(f->value))
        return check_number(f);
    if (json_is_string(f->value))
        return check_string(f);
    if (json_is_array(f->value))
        return check_array(f);
    return json_is_object(f->value) ? check_object(f) : 1;
}

static int check_keywords(const frame *f)
{
    static int (*const parts[])(const frame *f) = {
        check_type,
        check_enumeration,
        check_kind,
        check_ref,
        check_dynamic_ref,
        check_all_of,
        check_any_of,
        check_one_of,
        check_not,
        check_if,
        check_dependent_schemas,
        check_unevaluated_items,
        check_unevaluated_properties,
    };
    int ok = 1;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int rc = parts[i](f);

        if (rc < 0)
            return rc;
        ok &= rc;
        if (!ok && (f->r->quiet || i == 0)) /* of the wrong type: no more need be said */
            break;
    }
    return ok;
}

static int count_step(run *r)
{
    if (++r->work > MP__CHECK_WORK_MAX)
        return mp__diag_set(r->diag, MP_ELIMIT,
                            "checking takes too many steps; make the schema simpler or the "
                            "document smaller");
    if (r->depth > MP__SCHEMA_RECURSION_MAX)
        return mp__diag_set(r->diag, MP_ELIMIT,
                            "the schema refers to itself without an end, or deeper than %d",
                            MP__SCHEMA_RECURSION_MAX);
    return 0;
}

/* 1 it holds, 0 it does not, or an error. What was looked at is added to @out when it holds. */
static int check(run *r, const mp__node *node, const json_t *value, const step *at,
                 const scope *outer, marks *out)
{
    scope here = {outer, node->resource};
    marks mine = {NULL, json_is_object(value) ? json_object_size(value) : json_array_size(value)};
    frame f = {r,    node, value, at, outer && outer->resource == node->resource ? outer : &here,
               &mine};
    int rc = count_step(r);

    if (rc)
        return rc;
    if (node->never)
        return violation(&f, "", "nothing may be here");
    if (mine.count && (node->has_unevaluated || (out && out->bits))) {
        mine.bits = mp__calloc(mine.count, 1);
        if (!mine.bits)
            return MP_ENOMEM;
    }
    r->depth++;
    rc = check_keywords(&f);
    r->depth--;
    for (size_t i = 0; rc == 1 && mine.bits && out && out->bits && i < mine.count; i++)
        out->bits[i] |= mine.bits[i];
    (void)mp__free(mine.bits);
    return rc;
}

int mp__schema_check_tree(const mp__schema *schema, const json_t *document,
                          mp__violations *violations, mp__diag *diag)
{
    run r = {.schema = schema, .out = violations, .diag = diag};
    int rc;

    if (violations)
        violations->count = 0;
    rc = check(&r, schema->nodes[0], document, NULL, NULL, NULL);
    return rc < 0 ? rc : rc ? 0 : MP_EINVAL;
}

int mp__schema_check(const mp__schema *schema, mp_str text, mp__violations *violations,
                     mp__diag *diag)
{
    json_t *document = NULL;
    int rc = mp__tree_parse(text, "the document", &document, diag);

    if (violations)
        violations->count = 0;
    if (rc == 0)
        rc = mp__schema_check_tree(schema, document, violations, diag);
    json_decref(document);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A schema's text into nodes: one table says what each keyword wants and where it goes; references
 * are resolved when all nodes and anchors are known, since they may point forward. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/json_read.h"
#include "schema/node.h"

/* A $ref or $dynamicRef that waits for the end. */
typedef struct pending {
    mp__node *node;
    bool dynamic;
    mp_str text;
} pending;

typedef struct compiling {
    mp__schema *schema;
    pending *refs;
    size_t ref_count, ref_capacity;
    mp__violations *warnings;
    mp__diag *diag;
    mp__buf path;  /* of the node being compiled */
    mp__buf wrong; /* where it is none, as a JSON Pointer */
} compiling;

static int compile_node(compiling *c, const json_t *json, size_t resource, mp__node **ret_node);

/* ---- complaints ---- */

static int fail(compiling *c, int error, const char *keyword, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int fail(compiling *c, int error, const char *keyword, const char *format, ...)
{
    char text[400];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    mp__buf_reset(&c->wrong);
    (void)mp__buf_printf(&c->wrong, "%.*s%s%s", (int)c->path.size, c->path.data ? c->path.data : "",
                         keyword[0] ? "/" : "", keyword);
    return mp__diag_set(c->diag, error, "the schema at '%.*s%s%s': %s",
                        (int)(c->path.size > 200 ? 200 : c->path.size),
                        c->path.data ? c->path.data : "", keyword[0] ? "/" : "", keyword, text);
}

static void warn(compiling *c, const char *keyword, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void warn(compiling *c, const char *keyword, const char *format, ...)
{
    mp__violations *warnings = c->warnings;
    mp__violation *item;
    va_list arguments;

    if (!warnings || warnings->count++ >= warnings->capacity)
        return;
    item = &warnings->items[warnings->count - 1];
    *item = (mp__violation){.keyword = "schema"};
    (void)snprintf(item->schema, sizeof(item->schema), "%.*s/%s", (int)c->path.size,
                   c->path.data ? c->path.data : "", keyword);
    va_start(arguments, format);
    (void)vsnprintf(item->text, sizeof(item->text), format, arguments);
    va_end(arguments);
}

/* ---- lists ---- */

static void index_put(mp__schema *schema, mp__node *node)
{
    size_t mask = schema->index_capacity - 1;
    size_t at = ((uintptr_t)node->json >> 4) * 0x9e3779b97f4a7c15u >> 32 & mask;

    while (schema->index[at] && schema->index[at]->json != node->json)
        at = (at + 1) & mask;
    if (!schema->index[at])
        schema->index[at] = node;
}

static int index_add(mp__schema *schema, mp__node *node)
{
    size_t capacity = schema->index_capacity ? 2 * schema->index_capacity : 64;
    mp__node **index;

    if (2 * schema->node_count >= schema->index_capacity) {
        index = mp__calloc(capacity, sizeof(*index));
        if (!index)
            return MP_ENOMEM;
        (void)mp__free(schema->index);
        schema->index = index;
        schema->index_capacity = capacity;
        for (size_t i = 0; i + 1 < schema->node_count; i++)
            index_put(schema, schema->nodes[i]);
    }
    index_put(schema, node);
    return 0;
}

static int node_new(compiling *c, const json_t *json, size_t resource, mp__node **ret_node)
{
    mp__schema *schema = c->schema;
    mp__node *node;
    int rc =
        mp__grow(&schema->nodes, schema->node_count, &schema->node_capacity, sizeof(mp__node *));

    if (schema->node_count >= MP__SCHEMA_NODES_MAX) {
        (void)fail(c, MP_ELIMIT, "", "a schema may have %d subschemas", MP__SCHEMA_NODES_MAX);
        return MP_ELIMIT;
    }
    node = rc ? NULL : mp__calloc(1, sizeof(*node));
    if (!node)
        return MP_ENOMEM;
    schema->nodes[schema->node_count++] = node;
    node->json = json;
    node->resource = resource;
    node->path = mp__str_dup(mp__buf_str(&c->path));
    node->min_length = node->max_length = node->min_items = node->max_items = -1;
    node->min_contains = node->max_contains = node->min_properties = node->max_properties = -1;
    if (!node->path)
        return MP_ENOMEM;
    *ret_node = node;
    return index_add(schema, node);
}

/* ---- one keyword; @field is where it goes in the node ---- */

typedef struct keyword keyword;
typedef int (*read_fn)(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                       void *field);

struct keyword {
    const char *name;
    read_fn read; /* NULL: known, and nothing to do */
    size_t field;
    int more;
};

static int read_number(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                       void *field)
{
    (void)node;
    if (!json_is_number(value) && json_is_boolean(value))
        return fail(c, MP_EINVAL, k->name,
                    "it must be a number (true and false are of draft 4; write the limit here)");
    if (!json_is_number(value))
        return fail(c, MP_EINVAL, k->name, "it must be a number, not %s", mp__type_name(value));
    if (k->more && json_number_value(value) <= 0)
        return fail(c, MP_EINVAL, k->name, "it must be greater than 0");
    memcpy(field, &value, sizeof(value));
    return 0;
}

static int read_count(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                      void *field)
{
    double number = json_number_value(value);
    int64_t count;

    (void)node;
    if (!json_is_number(value) || number < 0 || number != floor(number))
        return fail(c, MP_EINVAL, k->name, "it must be a whole number, 0 or more");
    count = number > 1e15 ? (int64_t)1e15 : (int64_t)number;
    memcpy(field, &count, sizeof(count));
    return 0;
}

static int read_flag(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                     void *field)
{
    bool flag = json_is_true(value);

    (void)node;
    if (!json_is_boolean(value))
        return fail(c, MP_EINVAL, k->name, "it must be true or false");
    memcpy(field, &flag, sizeof(flag));
    return 0;
}

static int read_any(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                    void *field)
{
    (void)node;
    if (k->more && !json_is_array(value))
        return fail(c, MP_EINVAL, k->name, "it must be a list of values");
    memcpy(field, &value, sizeof(value));
    return 0;
}

static bool is_list_of_names(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!json_is_string(json_array_get(value, i)))
            return false;
    return json_is_array(value);
}

static int read_names(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                      void *field)
{
    (void)node;
    if (json_is_boolean(value))
        return fail(c, MP_EINVAL, k->name,
                    "it must be a list of names (true and false are of draft 3; list the names at "
                    "the object)");
    if (!is_list_of_names(value))
        return fail(c, MP_EINVAL, k->name, "it must be a list of names");
    memcpy(field, &value, sizeof(value));
    return 0;
}

static int read_names_map(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                          void *field)
{
    json_t *object = (json_t *)(uintptr_t)value;

    (void)node;
    if (!json_is_object(value))
        return fail(c, MP_EINVAL, k->name, "it must be an object of lists of names");
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
        if (!is_list_of_names(json_object_iter_value(i)))
            return fail(c, MP_EINVAL, k->name, "'%.100s' must have a list of names",
                        json_object_iter_key(i));
    memcpy(field, &value, sizeof(value));
    return 0;
}

static const struct {
    const char *name;
    unsigned mask;
} types[] = {
    {"null", MP__TYPE_NULL},       {"boolean", MP__TYPE_BOOLEAN}, {"object", MP__TYPE_OBJECT},
    {"array", MP__TYPE_ARRAY},     {"number", MP__TYPE_NUMBER},   {"string", MP__TYPE_STRING},
    {"integer", MP__TYPE_INTEGER},
};

static unsigned type_mask(const json_t *name)
{
    for (size_t i = 0; json_is_string(name) && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(json_string_value(name), types[i].name) == 0)
            return types[i].mask;
    return 0;
}

static int read_type(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                     void *field)
{
    size_t count = json_is_array(value) ? json_array_size(value) : 1;

    (void)field;
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_is_array(value) ? json_array_get(value, i) : value;
        unsigned mask = type_mask(name);

        if (!mask)
            return fail(c, MP_EINVAL, k->name,
                        "%s%.40s%s is no type: null, boolean, object, array, number, string, "
                        "integer, or a list of them",
                        json_is_string(name) ? "'" : "",
                        json_is_string(name) ? json_string_value(name) : mp__type_name(name),
                        json_is_string(name) ? "'" : "");
        node->types |= mask;
    }
    node->type = value;
    return count ? 0 : fail(c, MP_EINVAL, k->name, "the list of types is empty");
}

static int pattern_of(compiling *c, const char *name, mp_str text, mp__pattern **ret_pattern)
{
    mp__diag why = {0};
    int rc = mp__pattern_new(text, ret_pattern, &why);

    return rc == 0 || rc == MP_ENOMEM ? rc : fail(c, rc, name, "%s", why.text);
}

static int read_pattern(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                        void *field)
{
    (void)field;
    if (!json_is_string(value))
        return fail(c, MP_EINVAL, k->name, "it must be a regular expression");
    return pattern_of(c, k->name, mp_str_new(json_string_value(value), json_string_length(value)),
                      &node->pattern);
}

static int read_format(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                       void *field)
{
    (void)field;
    if (!json_is_string(value))
        return fail(c, MP_EINVAL, k->name, "it must be the name of a format");
    node->format =
        mp__format_check_find(mp_str_new(json_string_value(value), json_string_length(value)));
    if (!node->format)
        warn(c, k->name, "the format '%.60s' is not checked", json_string_value(value));
    return 0;
}

/* ---- keywords that hold schemas ---- */

/* Compile the schema @value that stands at @token below the present path. */
static int child(compiling *c, mp__node *node, const char *name, mp_str token, const json_t *value,
                 mp__node **ret_node)
{
    size_t before = c->path.size;
    int rc = mp__pointer_add(&c->path, mp_str_of(name));

    if (rc == 0 && token.data)
        rc = mp__pointer_add(&c->path, token);
    if (rc == 0)
        rc = compile_node(c, value, node->resource, ret_node);
    c->path.size = before;
    return rc;
}

static int read_schema(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                       void *field)
{
    mp__node *made = NULL;
    int rc;

    if (json_is_array(value) && strcmp(k->name, "items") == 0)
        return fail(c, MP_EINVAL, k->name,
                    "it must be one schema; a list of them is called 'prefixItems' now");
    rc = child(c, node, k->name, (mp_str){0}, value, &made);
    memcpy(field, &made, sizeof(made));
    if (k->more)
        node->has_unevaluated = c->schema->has_unevaluated = true;
    return rc;
}

static int read_schemas(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                        void *field)
{
    mp__node_list *list = (mp__node_list *)field;
    size_t count = json_array_size(value);
    char digits[24];
    int rc = 0;

    if (count == 0)
        return fail(c, MP_EINVAL, k->name, "it must be a list of at least one schema");
    list->items = mp__calloc(count, sizeof(mp__node *));
    if (!list->items)
        return MP_ENOMEM;
    for (size_t i = 0; i < count && rc == 0; i++) {
        (void)snprintf(digits, sizeof(digits), "%zu", i);
        rc = child(c, node, k->name, mp_str_of(digits), json_array_get(value, i), &list->items[i]);
        list->count = i + 1;
    }
    return rc;
}

static int named_compare(const void *a, const void *b)
{
    const mp__named_node *x = (const mp__named_node *)a, *y = (const mp__named_node *)b;
    size_t least = x->name.size < y->name.size ? x->name.size : y->name.size;
    int order = least ? memcmp(x->name.data, y->name.data, least) : 0;

    return order ? order : (x->name.size > y->name.size) - (x->name.size < y->name.size);
}

static int read_schema_map(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                           void *field)
{
    json_t *object = (json_t *)(uintptr_t)value;
    mp__node_map *map = (mp__node_map *)field;
    bool patterns = k->more;
    int rc = 0;

    if (!json_is_object(value))
        return fail(c, MP_EINVAL, k->name, "it must be an object of schemas, not %s",
                    mp__type_name(value));
    if (json_object_size(value) == 0)
        return 0;
    map->items = mp__calloc(json_object_size(value), sizeof(*map->items));
    if (!map->items)
        return MP_ENOMEM;
    for (void *i = json_object_iter(object); i && rc == 0; i = json_object_iter_next(object, i)) {
        mp__named_node *item = &map->items[map->count++];

        item->name = mp_str_new(json_object_iter_key(i), json_object_iter_key_len(i));
        if (patterns)
            rc = pattern_of(c, k->name, item->name, &item->pattern);
        if (rc == 0)
            rc = child(c, node, k->name, item->name, json_object_iter_value(i), &item->node);
    }
    if (!patterns && map->count)
        qsort(map->items, map->count, sizeof(*map->items), named_compare);
    return rc;
}

/* "$defs": compiled, so that what stands in it is known by name, and else not used. */
static int read_definitions(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                            void *field)
{
    mp__node_map map = {0};
    int rc = read_schema_map(c, node, k, value, &map);

    (void)field;
    (void)mp__free(map.items);
    return rc;
}

static int read_ref(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                    void *field)
{
    (void)field;
    if (!json_is_string(value))
        return fail(c, MP_EINVAL, k->name, "it must be a URI reference as '#/$defs/name'");
    if (mp__grow(&c->refs, c->ref_count, &c->ref_capacity, sizeof(*c->refs)))
        return MP_ENOMEM;
    c->refs[c->ref_count++] =
        (pending){node, k->more, mp_str_new(json_string_value(value), json_string_length(value))};
    return 0;
}

static int read_anchor(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                       void *field)
{
    mp__schema *schema = c->schema;
    mp_str name = mp_str_new(json_string_value(value), json_string_length(value));

    (void)field;
    if (name.size == 0 || strpbrk(name.data, "/#? "))
        return fail(c, MP_EINVAL, k->name, "it must be a plain name");
    if (mp__anchor_find(schema, node->resource, name, false) && !k->more)
        return fail(c, MP_EINVAL, k->name, "the anchor '%.60s' is there twice", name.data);
    if (mp__grow(&schema->anchors, schema->anchor_count, &schema->anchor_capacity,
                 sizeof(*schema->anchors)))
        return MP_ENOMEM;
    schema->anchors[schema->anchor_count++] =
        (mp__anchor){node->resource, name, k->more, node->json};
    return 0;
}

static int read_dialect(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                        void *field)
{
    (void)node;
    (void)field;
    if (!json_is_string(value))
        return fail(c, MP_EINVAL, k->name, "it must be the URI of a dialect");
    if (strncmp(json_string_value(value), "https://json-schema.org/draft/2020-12/schema", 44) != 0)
        warn(c, k->name, "'%.100s' is another dialect; it is read as draft 2020-12",
             json_string_value(value));
    return 0;
}

static int read_older(compiling *c, mp__node *node, const keyword *k, const json_t *value,
                      void *field)
{
    (void)node;
    (void)value;
    (void)field;
    warn(c, k->name, "'%s' is of an older draft and is ignored; use %s", k->name,
         strcmp(k->name, "dependencies") == 0      ? "dependentRequired or dependentSchemas"
         : strcmp(k->name, "additionalItems") == 0 ? "prefixItems and items"
                                                   : "$dynamicRef");
    return 0;
}

#define AT(member) offsetof(mp__node, member)

/* In this order they are read: what names things first. */
static const keyword keywords[] = {
    {"$schema", read_dialect, 0, 0},
    {"$id", NULL, 0, 0}, /* compile_node() */
    {"$anchor", read_anchor, 0, false},
    {"$dynamicAnchor", read_anchor, 0, true},
    {"$defs", read_definitions, 0, 0},
    {"definitions", read_definitions, 0, 0}, /* the older name of $defs */
    {"$ref", read_ref, 0, false},
    {"$dynamicRef", read_ref, 0, true},
    {"type", read_type, 0, 0},
    {"enum", read_any, AT(enumeration), true},
    {"const", read_any, AT(constant), false},
    {"minimum", read_number, AT(minimum), false},
    {"maximum", read_number, AT(maximum), false},
    {"exclusiveMinimum", read_number, AT(exclusive_minimum), false},
    {"exclusiveMaximum", read_number, AT(exclusive_maximum), false},
    {"multipleOf", read_number, AT(multiple_of), true},
    {"minLength", read_count, AT(min_length), 0},
    {"maxLength", read_count, AT(max_length), 0},
    {"pattern", read_pattern, 0, 0},
    {"format", read_format, 0, 0},
    {"minItems", read_count, AT(min_items), 0},
    {"maxItems", read_count, AT(max_items), 0},
    {"uniqueItems", read_flag, AT(unique_items), 0},
    {"minContains", read_count, AT(min_contains), 0},
    {"maxContains", read_count, AT(max_contains), 0},
    {"minProperties", read_count, AT(min_properties), 0},
    {"maxProperties", read_count, AT(max_properties), 0},
    {"required", read_names, AT(required), 0},
    {"dependentRequired", read_names_map, AT(dependent_required), 0},
    {"prefixItems", read_schemas, AT(prefix_items), 0},
    {"items", read_schema, AT(items), false},
    {"contains", read_schema, AT(contains), false},
    {"unevaluatedItems", read_schema, AT(unevaluated_items), true},
    {"properties", read_schema_map, AT(properties), false},
    {"patternProperties", read_schema_map, AT(pattern_properties), true},
    {"additionalProperties", read_schema, AT(additional_properties), false},
    {"unevaluatedProperties", read_schema, AT(unevaluated_properties), true},
    {"propertyNames", read_schema, AT(property_names), false},
    {"dependentSchemas", read_schema_map, AT(dependent_schemas), false},
    {"allOf", read_schemas, AT(all_of), 0},
    {"anyOf", read_schemas, AT(any_of), 0},
    {"oneOf", read_schemas, AT(one_of), 0},
    {"not", read_schema, AT(not_), false},
    {"if", read_schema, AT(if_), false},
    {"then", read_schema, AT(then_), false},
    {"else", read_schema, AT(else_), false},
    {"dependencies", read_older, 0, 0},
    {"additionalItems", read_older, 0, 0},
    {"$recursiveRef", read_older, 0, 0},
    {"$recursiveAnchor", read_older, 0, 0},
    /* said about the schema or the value, never checked */
    {"$comment", NULL, 0, 0},
    {"$vocabulary", NULL, 0, 0},
    {"title", NULL, 0, 0},
    {"description", NULL, 0, 0},
    {"default", NULL, 0, 0},
    {"examples", NULL, 0, 0},
    {"deprecated", NULL, 0, 0},
    {"readOnly", NULL, 0, 0},
    {"writeOnly", NULL, 0, 0},
    {"contentEncoding", NULL, 0, 0},
    {"contentMediaType", NULL, 0, 0},
    {"contentSchema", NULL, 0, 0},
};

enum { KEYWORDS = sizeof(keywords) / sizeof(keywords[0]) };

/* Letters to add, drop, change or swap with their neighbour to make one of the other (optimal
 * string alignment), for words of up to 30 letters. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][32] = {{0}}, n = strlen(a), m = strlen(b);

    if (n > 30 || m > 30)
        return 100;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < now[j])
                now[j] = before[j] + 1;
            if (now[j - 1] + 1 < now[j])
                now[j] = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                earlier[j - 2] + 1 < now[j])
                now[j] = earlier[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

static void look_at_unknown(compiling *c, const char *name)
{
    const char *near = NULL;
    size_t least = 3;

    for (size_t i = 0; i < KEYWORDS; i++) {
        size_t far = distance(name, keywords[i].name);

        if (far == 0)
            return;
        if (far < least && far * 3 <= strlen(keywords[i].name)) {
            least = far;
            near = keywords[i].name;
        }
    }
    if (near)
        warn(c, name, "the unknown keyword '%.60s' is ignored; did you mean '%s'?", name, near);
}

/* An $id makes its subschema a resource of its own. */
static int enter_resource(compiling *c, mp__node *node, const json_t *id)
{
    mp__schema *schema = c->schema;
    mp_str text = mp_str_new(json_string_value(id), json_string_length(id));
    const char *base = schema->resources[node->resource].uri;

    if (!json_is_string(id) ||
        (memchr(text.data, '#', text.size) && text.data[text.size - 1] != '#'))
        return fail(c, MP_EINVAL, "$id", "it must be a URI without a fragment");
    if (mp__grow(&schema->resources, schema->resource_count, &schema->resource_capacity,
                 sizeof(*schema->resources)))
        return MP_ENOMEM;
    schema->resources[schema->resource_count] =
        (mp__resource){mp__uri_resolve(base, text), node->json};
    if (!schema->resources[schema->resource_count].uri)
        return MP_ENOMEM;
    node->resource = schema->resource_count++;
    return 0;
}

static int compile_node(compiling *c, const json_t *json, size_t resource, mp__node **ret_node)
{
    json_t *object = (json_t *)(uintptr_t)json;
    mp__node *node = NULL;
    int rc;

    if (!json_is_object(json) && !json_is_boolean(json))
        return fail(c, MP_EINVAL, "", "a schema is an object, true or false, not %s",
                    mp__type_name(json));
    rc = node_new(c, json, resource, &node);
    if (rc)
        return rc;
    *ret_node = node;
    node->never = json_is_false(json);
    if (json_object_get(json, "$id"))
        rc = enter_resource(c, node, json_object_get(json, "$id"));
    for (size_t i = 0; json_is_object(json) && i < KEYWORDS && rc == 0; i++) {
        const json_t *value = json_object_get(json, keywords[i].name);

        if (value && keywords[i].read)
            rc = keywords[i].read(c, node, &keywords[i], value, (char *)node + keywords[i].field);
    }
    for (void *i = json_object_iter(object); i && rc == 0; i = json_object_iter_next(object, i))
        look_at_unknown(c, json_object_iter_key(i));
    return rc;
}

/* ---- references ---- */

/* What a reference points at may be no known place of a schema: it is compiled where it is. */
static int resolve(compiling *c, const pending *ref)
{
    const char *name = ref->dynamic ? "$dynamicRef" : "$ref";
    const mp__anchor *anchor = NULL;
    mp__buf fragment = MP__BUF_INIT;
    const json_t *json = NULL;
    size_t resource = 0;
    mp__node *target = NULL;
    int rc = mp__ref_find(c->schema, ref->node->resource, ref->text, &json, &resource, &fragment,
                          &anchor);

    mp__buf_reset(&c->path);
    if (mp__buf_add_str(&c->path, mp_str_of(ref->node->path)) != 0 && rc == 0)
        rc = MP_ENOMEM;
    if (rc == MP_EABSENT)
        rc = fail(c, MP_EINVAL, name,
                  "'%.150s' is not in this schema, and nothing is fetched from elsewhere; put it "
                  "into $defs",
                  ref->text.data);
    if (rc == 0 && !(target = mp__node_of(c->schema, json))) {
        mp__buf_reset(&c->path);
        rc = mp__buf_add_str(&c->path, mp__buf_str(&fragment));
        if (rc == 0)
            rc = compile_node(c, json, resource, &target);
    }
    mp__buf_done(&fragment);
    if (rc)
        return rc;
    if (!ref->dynamic) {
        ref->node->ref = target;
    } else {
        ref->node->dynamic_ref = target;
        if (anchor && mp__anchor_find(c->schema, resource, anchor->name, true))
            ref->node->dynamic_name = anchor->name;
    }
    return 0;
}

/* ---- the whole ---- */

static int compile_all(compiling *c)
{
    mp__schema *schema = c->schema;
    mp__node *root;
    int rc =
        mp__grow(&schema->resources, 0, &schema->resource_capacity, sizeof(*schema->resources));

    if (rc)
        return rc;
    schema->resources[0] = (mp__resource){mp__strdup(""), schema->tree};
    schema->resource_count = 1;
    if (!schema->resources[0].uri)
        return MP_ENOMEM;
    rc = compile_node(c, schema->tree, 0, &root);
    for (size_t i = 0; i < c->ref_count && rc == 0; i++) {
        pending ref = c->refs[i]; /* compiling may add to the list, and move it */

        rc = resolve(c, &ref);
    }
    return rc;
}

int mp__schema_compile(mp_str text, mp__schema **ret_schema, mp__violations *warnings,
                       mp__diag *diag)
{
    compiling c = {.warnings = warnings, .diag = diag};
    int rc;

    if (text.size > MP__SCHEMA_BYTES_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "a schema may have %d bytes", MP__SCHEMA_BYTES_MAX);
    if (warnings)
        warnings->count = 0;
    c.schema = mp__calloc(1, sizeof(*c.schema));
    if (!c.schema)
        return MP_ENOMEM;
    rc = mp__tree_parse(text, "the schema", &c.schema->tree, diag);
    if (rc == 0)
        rc = compile_all(&c);
    if (rc == MP_EINVAL && diag && mp__buf_add_char(&c.wrong, '\0') == 0)
        (void)mp__json_place(text, c.wrong.data, &diag->line, &diag->column);
    if (warnings && warnings->count > MP__VIOLATIONS_MAX)
        warnings->count = MP__VIOLATIONS_MAX;
    mp__buf_done(&c.path);
    mp__buf_done(&c.wrong);
    (void)mp__free(c.refs);
    if (rc) {
        (void)mp__schema_free(c.schema);
        return rc;
    }
    *ret_schema = c.schema;
    return 0;
}

static void map_done(mp__node_map *map)
{
    for (size_t i = 0; i < map->count; i++)
        (void)mp__pattern_free(map->items[i].pattern);
    (void)mp__free(map->items);
}

static void node_free(mp__node *node)
{
    (void)mp__free(node->path);
    (void)mp__pattern_free(node->pattern);
    (void)mp__free(node->prefix_items.items);
    (void)mp__free(node->all_of.items);
    (void)mp__free(node->any_of.items);
    (void)mp__free(node->one_of.items);
    map_done(&node->properties);
    map_done(&node->pattern_properties);
    map_done(&node->dependent_schemas);
    (void)mp__free(node);
}

mp__schema *mp__schema_free(mp__schema *schema)
{
    if (!schema)
        return NULL;
    for (size_t i = 0; i < schema->node_count; i++)
        node_free(schema->nodes[i]);
    for (size_t i = 0; i < schema->resource_count; i++)
        (void)mp__free(schema->resources[i].uri);
    (void)mp__free(schema->nodes);
    (void)mp__free(schema->index);
    (void)mp__free(schema->resources);
    (void)mp__free(schema->anchors);
    json_decref(schema->tree);
    return mp__free(schema);
}

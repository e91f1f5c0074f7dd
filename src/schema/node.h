/* SPDX-License-Identifier: Apache-2.0 */
/* A compiled schema, inside: nodes, one a subschema, never changed after mp__schema_compile().
 *
 *   compile.c   a schema's text into nodes
 *   refs.c      $id, $anchor, $ref: which node a reference means
 *   check.c     a value against a node
 *   values.c    the keywords that look at one value: numbers, strings, enum, uniqueItems
 *   formats.c   "format"
 *   pattern.c   regular expressions, through PCRE2, bounded
 */
#ifndef MP_SCHEMA_NODE_H
#define MP_SCHEMA_NODE_H

#include "schema/tree.h"

enum { MP__CHECK_WORK_MAX = 5000000 }; /* steps of one check: about a second */

typedef struct mp__pattern mp__pattern;
typedef struct mp__node mp__node;

/* A part of the schema with an address of its own ($id). */
typedef struct mp__resource {
    char *uri; /* absolute as far as known, without fragment */
    const json_t *root;
} mp__resource;

typedef struct mp__anchor {
    size_t resource;
    mp_str name;
    bool dynamic;
    const json_t *json;
} mp__anchor;

typedef struct mp__node_list {
    mp__node **items;
    size_t count;
} mp__node_list;

typedef struct mp__named_node {
    mp_str name;
    mp__pattern *pattern; /* of patternProperties */
    mp__node *node;
} mp__named_node;

typedef struct mp__node_map {
    mp__named_node *items; /* properties and dependentSchemas: sorted by name */
    size_t count;
} mp__node_map;

typedef struct mp__format_check {
    const char *name, *what; /* "date", "a date as 2026-01-31 (RFC 3339)" */
    bool (*holds)(mp_str text);
} mp__format_check;

enum mp__type {
    MP__TYPE_NULL = 1,
    MP__TYPE_BOOLEAN = 2,
    MP__TYPE_OBJECT = 4,
    MP__TYPE_ARRAY = 8,
    MP__TYPE_NUMBER = 16,
    MP__TYPE_STRING = 32,
    MP__TYPE_INTEGER = 64,
};

/* What has no keyword is NULL, zero or, for counts, -1. JSON is borrowed from the schema's tree. */
struct mp__node {
    const json_t *json;
    size_t resource;
    char *path;           /* JSON Pointer from the schema's root */
    bool never;           /* the schema `false` */
    bool has_unevaluated; /* here: what subschemas looked at must be known */
    unsigned types;       /* mask; 0: any */
    const json_t *type, *enumeration, *constant;
    const json_t *minimum, *maximum, *exclusive_minimum, *exclusive_maximum, *multiple_of;
    int64_t min_length, max_length, min_items, max_items, min_contains, max_contains;
    int64_t min_properties, max_properties;
    bool unique_items;
    mp__pattern *pattern;
    const mp__format_check *format;
    const json_t *required, *dependent_required;
    mp__node *items, *contains, *unevaluated_items;
    mp__node *additional_properties, *unevaluated_properties, *property_names;
    mp__node *not_, *if_, *then_, *else_;
    mp__node_list prefix_items, all_of, any_of, one_of;
    mp__node_map properties, pattern_properties, dependent_schemas;
    mp__node *ref, *dynamic_ref;
    mp_str dynamic_name; /* of a $dynamicRef that looks at where it was called from */
};

struct mp__schema {
    json_t *tree;
    mp__node **nodes; /* nodes[0] is the root */
    size_t node_count, node_capacity;
    mp__node **index; /* open addressing, by the address of the JSON value */
    size_t index_capacity;
    mp__resource *resources; /* [0]: the document */
    size_t resource_count, resource_capacity;
    mp__anchor *anchors;
    size_t anchor_count, anchor_capacity;
    bool has_unevaluated; /* anywhere */
};

/* ---- refs.c ---- */

/* RFC 3986, 5.2: @reference seen from @base, without normalizing case or escapes. A new string or
 * NULL without memory. */
char *mp__uri_resolve(const char *base, mp_str reference);
/* What @reference, seen from @resource, means: the JSON of a subschema and its resource. MP_EABSENT
 * when nothing of that name is in the schema. *ret_dynamic: it is a $dynamicAnchor of that name. */
MP_MUST_USE int mp__ref_find(const struct mp__schema *schema, size_t resource, mp_str reference,
                             const json_t **ret_json, size_t *ret_resource, mp__buf *path,
                             const mp__anchor **ret_anchor);
/* The $dynamicAnchor @name of @resource, or NULL. */
const mp__anchor *mp__anchor_find(const struct mp__schema *schema, size_t resource, mp_str name,
                                  bool dynamic);
mp__node *mp__node_of(const struct mp__schema *schema, const json_t *json);

/* ---- pattern.c ---- */

/* Compile an ECMA-262 pattern as near as PCRE2 comes. MP_EINVAL with its complaint; MP_ENOMEM. */
MP_MUST_USE int mp__pattern_new(mp_str text, mp__pattern **ret_pattern, mp__diag *diag);
mp__pattern *mp__pattern_free(mp__pattern *pattern);
/* Whether it is found in @text: 1, 0; MP_ELIMIT when that would take too long; MP_ENOMEM. Any
 * thread. */
int mp__pattern_match(const mp__pattern *pattern, mp_str text);
mp_str mp__pattern_text(const mp__pattern *pattern);

/* ---- formats.c ---- */

const mp__format_check *mp__format_check_find(mp_str name); /* or NULL */

/* ---- values.c ---- */

unsigned mp__type_of(const json_t *value); /* a mask: 1 and 1.0 are INTEGER and NUMBER */
const char *mp__type_name(const json_t *value);
bool mp__is_multiple(const json_t *value, const json_t *of);
size_t mp__code_points(mp_str text);
/* Two elements of @array that are the same: 1 and which, 0, MP_ENOMEM, MP_ELIMIT. *work is added
 * to. */
int mp__find_twins(const json_t *array, size_t *ret_first, size_t *ret_second, size_t *work);

#endif

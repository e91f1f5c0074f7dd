/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/tree.h"

#include <errno.h>
#include <math.h>

#include "core/json_read.h"
#include "core/json_tree.h"

/* jansson's iterators take a mutable object but do not write to it. */
static json_t *mutable(const json_t *tree)
{
    return (json_t *)(uintptr_t)tree;
}

static void measure(const json_t *tree, size_t here, size_t *nodes, size_t *depth)
{
    ++*nodes;
    if (here > *depth)
        *depth = here;
    for (size_t i = 0; i < json_array_size(tree); i++)
        measure(json_array_get(tree, i), here + 1, nodes, depth);
    for (void *i = json_object_iter(mutable(tree)); i; i = json_object_iter_next(mutable(tree), i))
        measure(json_object_iter_value(i), here + 1, nodes, depth);
}

void mp__tree_measure(const json_t *tree, size_t *nodes, size_t *depth)
{
    *nodes = *depth = 0;
    measure(tree, 1, nodes, depth);
}

int mp__tree_parse(mp_str text, const char *what, json_t **ret_tree, mp__diag *diag)
{
    size_t nodes, depth;
    mp__diag why = {0};
    json_t *tree;
    int rc = mp__json_read(text, false, &tree, &why);

    if (rc == MP_ELIMIT)
        return mp__diag_set(diag, MP_ELIMIT, "%s is nested deeper than %d", what,
                            MP__TREE_DEPTH_MAX);
    if (rc == -ERANGE)
        return mp__diag_at(diag, MP_ESYNTAX, why.line, why.column,
                           "%s has a number that cannot be kept exact: %s; write that number as "
                           "text, or put the whole document",
                           what, why.text);
    if (rc && rc != MP_ENOMEM)
        return mp__diag_at(diag, MP_ESYNTAX, why.line, why.column, "%s is no JSON: %s", what,
                           why.text);
    if (rc)
        return rc;
    mp__tree_measure(tree, &nodes, &depth);
    if (depth > MP__TREE_DEPTH_MAX) {
        json_decref(tree);
        return mp__diag_set(diag, MP_ELIMIT, "%s is nested deeper than %d", what,
                            MP__TREE_DEPTH_MAX);
    }
    *ret_tree = tree;
    return 0;
}

int mp__tree_print(const json_t *tree, mp__buf *out)
{
    return mp__json_tree(tree, 0, out);
}

/* ---- comparing ---- */

/* A double may stand between two integers or outside them all, and converting a large integer to
 * double would round it. */
static int compare_mixed(int64_t integer, double real)
{
    double whole = floor(real);

    if (whole >= 0x1p63)
        return -1;
    if (whole < -0x1p63)
        return 1;
    if (integer != (int64_t)whole)
        return integer < (int64_t)whole ? -1 : 1;
    return real > whole ? -1 : 0;
}

int mp__number_compare(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b))
        return (json_integer_value(a) > json_integer_value(b)) -
               (json_integer_value(a) < json_integer_value(b));
    if (json_is_integer(a))
        return compare_mixed(json_integer_value(a), json_real_value(b));
    if (json_is_integer(b))
        return -compare_mixed(json_integer_value(b), json_real_value(a));
    return (json_real_value(a) > json_real_value(b)) - (json_real_value(a) < json_real_value(b));
}

static bool objects_equal(const json_t *a, const json_t *b)
{
    if (json_object_size(a) != json_object_size(b))
        return false;
    for (void *i = json_object_iter(mutable(a)); i; i = json_object_iter_next(mutable(a), i)) {
        const json_t *other =
            json_object_getn(b, json_object_iter_key(i), json_object_iter_key_len(i));

        if (!other || !mp__tree_equal(json_object_iter_value(i), other))
            return false;
    }
    return true;
}

static bool arrays_equal(const json_t *a, const json_t *b)
{
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!mp__tree_equal(json_array_get(a, i), json_array_get(b, i)))
            return false;
    return true;
}

bool mp__tree_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return mp__number_compare(a, b) == 0;
    if (json_typeof(a) != json_typeof(b))
        return false;
    switch (json_typeof(a)) {
    case JSON_OBJECT:
        return objects_equal(a, b);
    case JSON_ARRAY:
        return arrays_equal(a, b);
    case JSON_STRING:
        return mp_str_equal(mp_str_new(json_string_value(a), json_string_length(a)),
                            mp_str_new(json_string_value(b), json_string_length(b)));
    default:
        return true;
    }
}

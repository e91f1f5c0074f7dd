/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Patch (RFC 6902): a list of operations, applied in order to a copy, so that a failure leaves
 * nothing behind. Copies and moves can make much of little, so their work is counted. */
#include <stdarg.h>
#include <stdio.h>

#include "schema/tree.h"

enum {
    WORK_MAX = 20000000,             /* steps over nodes and array elements: below a second */
    COPIED_MAX = 64 * 1024 * 1024,   /* bytes that the copies may hold, roughly */
    NODE_BYTES = sizeof(void *) * 8, /* of one */
};

typedef struct patching {
    json_t *root;
    size_t work, copied_nodes, copied_bytes;
    mp__diag *diag;
    size_t number; /* of the operation */
    const char *op;
    mp_str path, from;
    json_t *value;
    mp__buf token; /* the last one of a path */
    mp__buf ahead;
} patching;

/* Where a path leads. */
typedef struct place {
    json_t *parent; /* NULL: it is the whole document */
    json_t *value;  /* NULL: not there, but it has a parent */
    size_t depth;   /* number of tokens */
} place;

static int fail(patching *p, int error, mp_str path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int fail(patching *p, int error, mp_str path, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return mp__diag_set(p->diag, error, "operation %zu (%s) at '%.*s%s': %s", p->number, p->op,
                        (int)(path.size > 120 ? 120 : path.size), path.data,
                        path.size > 120 ? "..." : "", text);
}

static int charge(patching *p, size_t work)
{
    p->work += work > WORK_MAX ? WORK_MAX + 1 : work;
    return p->work <= WORK_MAX
               ? 0
               : fail(p, MP_ELIMIT, p->path,
                      "the patch is too much work; split it, or put the whole value");
}

/* ---- places ---- */

static const char *kind(const json_t *tree)
{
    switch (tree ? json_typeof(tree) : JSON_NULL) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

/* Follow @path; all but the last token must be there. The last one is then in p->token. */
static int find(patching *p, mp_str path, place *ret_place)
{
    mp__pointer pointer = {.text = path, .token = p->ahead};
    place here = {NULL, p->root, 0};
    int rc;

    mp__buf_reset(&p->token);
    while ((rc = mp__pointer_next(&pointer)) == 1) {
        mp_str token = mp__buf_str(&pointer.token);

        if (!here.value) {
            p->ahead = pointer.token;
            return fail(p, MP_EABSENT, path, "there is no '%.*s' on the way",
                        (int)(p->token.size > 80 ? 80 : p->token.size), p->token.data);
        }
        here.parent = here.value;
        here.value = mp__pointer_step(here.parent, token);
        here.depth++;
        mp__buf_reset(&p->token);
        rc = mp__buf_add_str(&p->token, token);
        if (rc)
            break;
    }
    p->ahead = pointer.token;
    if (rc == 0)
        *ret_place = here;
    return rc;
}

static int find_existing(patching *p, mp_str path, place *ret_place)
{
    int rc = find(p, path, ret_place);

    if (rc == 0 && !ret_place->value)
        rc = fail(p, MP_EABSENT, path, "there is no such place in %s", kind(ret_place->parent));
    return rc;
}

/* ---- what the operations are made of ---- */

static void set_root(patching *p, json_t *value)
{
    json_decref(p->root);
    p->root = value;
}

static int insert(patching *p, json_t *array, json_t *value)
{
    size_t size = json_array_size(array), index = size;
    mp_str token = mp__buf_str(&p->token);
    int rc;

    if (!mp_str_equal(token, MP_STR("-")) && !mp__pointer_index(token, &index))
        return fail(p, MP_EABSENT, p->path,
                    "'%.*s' is no index of an array: a number without leading zeros, or '-' to "
                    "append",
                    (int)(token.size > 80 ? 80 : token.size), token.data);
    if (index > size)
        return fail(p, MP_EABSENT, p->path, "the array has only %zu elements", size);
    rc = charge(p, size - index);
    if (rc == 0 && json_array_insert(array, index, value) != 0)
        rc = MP_ENOMEM;
    return rc;
}

/* Put @value, whose reference is taken, where p->path says. */
static int add(patching *p, json_t *value)
{
    size_t nodes, depth;
    place at = {0};
    mp_str token;
    int rc = find(p, p->path, &at);

    mp__tree_measure(value, &nodes, &depth);
    if (rc == 0)
        rc = charge(p, nodes);
    if (rc == 0 && at.depth + depth > MP__TREE_DEPTH_MAX)
        rc = fail(p, MP_ELIMIT, p->path, "the document would be nested deeper than %d",
                  MP__TREE_DEPTH_MAX);
    token = mp__buf_str(&p->token);
    if (rc == 0 && !at.parent)
        set_root(p, json_incref(value));
    else if (rc == 0 && json_is_object(at.parent))
        rc = json_object_setn(at.parent, token.data ? token.data : "", token.size, value)
                 ? MP_ENOMEM
                 : 0;
    else if (rc == 0 && json_is_array(at.parent))
        rc = insert(p, at.parent, value);
    else if (rc == 0)
        rc = fail(p, MP_EABSENT, p->path, "it would stand in %s, which has no members",
                  kind(at.parent));
    json_decref(value);
    return rc;
}

static int take_away(patching *p, mp_str path)
{
    size_t index = 0;
    place at = {0};
    int rc = find_existing(p, path, &at);

    if (rc)
        return rc;
    if (!at.parent)
        return fail(p, MP_EINVAL, path,
                    "the whole document cannot be taken away; delete the value instead");
    if (json_is_object(at.parent)) {
        (void)json_object_deln(at.parent, p->token.data ? p->token.data : "", p->token.size);
        return 0;
    }
    (void)mp__pointer_index(mp__buf_str(&p->token), &index);
    rc = charge(p, json_array_size(at.parent) - index);
    if (rc == 0)
        (void)json_array_remove(at.parent, index);
    return rc;
}

/* ---- the operations ---- */

static int op_add(patching *p)
{
    return add(p, json_incref(p->value));
}

static int op_remove(patching *p)
{
    return take_away(p, p->path);
}

/* In place, so that an object keeps its order. */
static int op_replace(patching *p)
{
    size_t nodes, depth, index;
    place at = {0};
    int rc = find_existing(p, p->path, &at);

    if (rc || !at.parent || json_is_object(at.parent))
        return rc ? rc : add(p, json_incref(p->value));
    mp__tree_measure(p->value, &nodes, &depth);
    if (at.depth + depth > MP__TREE_DEPTH_MAX)
        return fail(p, MP_ELIMIT, p->path, "the document would be nested deeper than %d",
                    MP__TREE_DEPTH_MAX);
    (void)mp__pointer_index(mp__buf_str(&p->token), &index);
    return json_array_set(at.parent, index, p->value) ? MP_ENOMEM : 0;
}

static int op_move(patching *p)
{
    place from = {0};
    json_t *value;
    int rc;

    if (p->path.size > p->from.size && memcmp(p->path.data, p->from.data, p->from.size) == 0 &&
        p->path.data[p->from.size] == '/')
        return fail(p, MP_EINVAL, p->from, "a value cannot be moved into itself");
    rc = find_existing(p, p->from, &from);
    if (rc || mp_str_equal(p->from, p->path))
        return rc;
    value = json_incref(from.value);
    rc = take_away(p, p->from);
    if (rc == 0)
        return add(p, value);
    json_decref(value);
    return rc;
}

/* Copy the containers; what cannot be changed in place is shared. */
static json_t *copy_tree(patching *p, json_t *tree)
{
    json_t *copy;

    p->copied_nodes++;
    p->copied_bytes += NODE_BYTES + json_string_length(tree);
    if (p->copied_nodes > MP__PATCH_NODES_MAX || p->copied_bytes > COPIED_MAX)
        return NULL;
    if (json_is_array(tree)) {
        copy = json_array();
        for (size_t i = 0; copy && i < json_array_size(tree); i++)
            if (json_array_append_new(copy, copy_tree(p, json_array_get(tree, i))) != 0) {
                json_decref(copy);
                return NULL;
            }
        return copy;
    }
    if (!json_is_object(tree))
        return json_incref(tree);
    copy = json_object();
    for (void *i = json_object_iter(tree); copy && i; i = json_object_iter_next(tree, i)) {
        p->copied_bytes += json_object_iter_key_len(i);
        if (json_object_setn_new(copy, json_object_iter_key(i), json_object_iter_key_len(i),
                                 copy_tree(p, json_object_iter_value(i))) != 0) {
            json_decref(copy);
            return NULL;
        }
    }
    return copy;
}

static int op_copy(patching *p)
{
    place from = {0};
    json_t *copy;
    int rc = find_existing(p, p->from, &from);

    if (rc)
        return rc;
    copy = copy_tree(p, from.value);
    if (copy)
        return add(p, copy);
    if (p->copied_nodes > MP__PATCH_NODES_MAX || p->copied_bytes > COPIED_MAX)
        return fail(p, MP_ELIMIT, p->from, "the copies of the patch are too large");
    return MP_ENOMEM;
}

static int op_test(patching *p)
{
    mp__buf there = {.size_max = 120};
    place at = {0};
    int rc = find_existing(p, p->path, &at);

    if (rc || mp__tree_equal(p->value, at.value))
        return rc;
    (void)mp__tree_print(at.value, &there);
    rc = fail(p, MP_ECONFLICT, p->path, "the value there is %s%.*s%s",
              there.error ? "another one, which begins " : "", (int)there.size,
              there.data ? there.data : "", there.error ? "..." : "");
    mp__buf_done(&there);
    return rc;
}

static const struct operation {
    const char *name;
    int (*run)(patching *p);
    bool wants_value, wants_from;
} operations[] = {
    {"add", op_add, true, false},   {"remove", op_remove, false, false},
    {"test", op_test, true, false}, {"replace", op_replace, true, false},
    {"move", op_move, false, true}, {"copy", op_copy, false, true},
};

static const struct operation *operation_find(const char *name)
{
    for (size_t i = 0; name && i < sizeof(operations) / sizeof(operations[0]); i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}

/* ---- the patch ---- */

static int read_pointer(patching *p, const json_t *item, const char *name, mp_str *ret_text)
{
    const json_t *value = json_object_get(item, name);

    if (!json_is_string(value))
        return fail(p, MP_EINVAL, p->path, "it has no '%s', a JSON Pointer as text", name);
    *ret_text = mp_str_new(json_string_value(value), json_string_length(value));
    if (!mp__pointer_valid(*ret_text))
        return fail(p, MP_EINVAL, *ret_text,
                    "'%s' is no JSON Pointer: it begins with '/', and '~' is written ~0, '/' ~1",
                    name);
    return 0;
}

static int run_one(patching *p, const json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "op"));
    const struct operation *operation = operation_find(name);
    int rc;

    p->op = operation ? operation->name : "?";
    p->path = p->from = MP_STR("");
    if (!json_is_object(item))
        return fail(p, MP_EINVAL, p->path, "an operation is an object with 'op' and 'path'");
    if (!operation)
        return fail(p, MP_EINVAL, p->path,
                    "'op' is one of add, remove, replace, move, copy, test%s%.40s",
                    name ? ", not " : "", name ? name : "");
    rc = read_pointer(p, item, "path", &p->path);
    if (rc == 0 && operation->wants_from)
        rc = read_pointer(p, item, "from", &p->from);
    p->value = json_object_get(item, "value");
    if (rc == 0 && operation->wants_value && !p->value)
        rc = fail(p, MP_EINVAL, p->path, "it has no 'value'");
    return rc ? rc : operation->run(p);
}

static int run_all(patching *p, const json_t *patch)
{
    int rc = 0;

    if (!json_is_array(patch))
        return mp__diag_set(p->diag, MP_EINVAL, "a JSON Patch is an array of operations, not %s",
                            kind(patch));
    if (json_array_size(patch) > MP__PATCH_OPERATIONS_MAX)
        return mp__diag_set(p->diag, MP_ELIMIT, "a JSON Patch may have %d operations, not %zu",
                            MP__PATCH_OPERATIONS_MAX, json_array_size(patch));
    for (; p->number < json_array_size(patch) && rc == 0; p->number++)
        rc = run_one(p, json_array_get(patch, p->number));
    return rc;
}

int mp__json_patch(mp_str target, mp_str patch, mp__buf *out, mp__diag *diag)
{
    patching p = {.diag = diag};
    size_t before = out->size;
    json_t *tree = NULL;
    int rc = mp__tree_parse(patch, "the patch", &tree, diag);

    if (rc == 0 && !target.data)
        rc = mp__diag_set(diag, MP_EUNSUPPORTED, "there is no value to patch; put one first");
    else if (rc == 0)
        rc = mp__tree_parse(target, "the present value", &p.root, diag);
    if (rc == MP_ESYNTAX && tree)
        rc = MP_EUNSUPPORTED;
    if (rc == 0)
        rc = run_all(&p, tree);
    if (rc == 0) {
        rc = mp__tree_print(p.root, out);
        if (rc == MP_ELIMIT)
            (void)mp__diag_set(diag, rc, "the patched document is larger than %zu bytes",
                               out->size_max);
    }
    if (rc)
        out->size = before;
    json_decref(p.root);
    json_decref(tree);
    mp__buf_done(&p.token);
    mp__buf_done(&p.ahead);
    return rc;
}

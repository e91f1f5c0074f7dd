/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves to a tree, for the formats that nest. */
#include "format/leaves.h"

#include "core/json_read.h"

/* How much of a key a text names. */
#define NAMED(key) (int)((key).size < 120 ? (key).size : 120)

/* A step of a key: a name, or an index of a list. */
typedef struct step {
    mp__buf name;
    long index; /* -1: it is a name */
} step;

typedef struct builder {
    json_t *root;
    json_t *hole; /* stands in a list where an index has not come yet; known by its address */
    json_t *held; /* maps and lists that are values of leaves: nothing may be put into them */
    step steps[2];
    mp__buf again;
    const mp__leaves *leaves;
    size_t done; /* of the leaves, how many stand in the tree */
    bool wide;
    mp__diag *diag;
} builder;

static bool take_index(mp_str key, size_t *at, step *ret_step)
{
    size_t first = *at + 1, i = first;
    long value = 0;

    while (i < key.size && key.data[i] >= '0' && key.data[i] <= '9' && i - first < 7)
        value = value * 10 + (key.data[i++] - '0');
    if (i == first || i >= key.size || key.data[i] != ']' ||
        (key.data[first] == '0' && i - first > 1))
        return false;
    ret_step->index = value;
    *at = i + 1;
    return true;
}

/* The step of @key at *at: 1 found, 0 at the end, MP_EINVAL: not a path of ours, MP_ENOMEM. */
static int step_take(mp_str key, size_t *at, step *ret_step)
{
    size_t i = *at;

    ret_step->index = -1;
    mp__buf_reset(&ret_step->name);
    if (i >= key.size)
        return 0;
    if (key.data[i] == '[')
        return take_index(key, at, ret_step) ? 1 : MP_EINVAL;
    if (i > 0 && key.data[i++] != '.')
        return MP_EINVAL;
    for (; i < key.size && key.data[i] != '.' && key.data[i] != '['; i++) {
        if (key.data[i] == '\\' && ++i >= key.size)
            return MP_EINVAL;
        (void)mp__buf_add_char(&ret_step->name, key.data[i]);
    }
    *at = i;
    if (ret_step->name.error)
        return ret_step->name.error;
    return ret_step->name.size ? 1 : MP_EINVAL;
}

/* Whether a tree with this path would give @key back: each name escaped as it must be, no more. */
static int path_check(builder *b, mp_str key)
{
    size_t at = 0;
    int more;

    mp__buf_reset(&b->again);
    while ((more = step_take(key, &at, &b->steps[0])) == 1) {
        if (b->steps[0].index >= 0)
            (void)mp__path_add_index(&b->again, (size_t)b->steps[0].index);
        else
            (void)mp__path_add_name(&b->again, mp__buf_str(&b->steps[0].name));
    }
    if (more == MP_ENOMEM || b->again.error)
        return MP_ENOMEM;
    if (more == 0 && key.size && mp_str_equal(mp__buf_str(&b->again), key))
        return 0;
    return mp__diag_set(b->diag, MP_EINVAL,
                        "'%.*s' is no path of names and indexes (db.hosts[0]), which this format "
                        "needs; ini and properties can say it",
                        (int)key.size, key.data);
}

/* Whether a step ends before @at in @key, which is a path. */
static bool is_step_end(mp_str key, size_t at)
{
    size_t escapes = 0;

    if (at == 0 || at >= key.size || (key.data[at] != '.' && key.data[at] != '['))
        return at == 0 || at == key.size;
    while (escapes < at && key.data[at - 1 - escapes] == '\\')
        escapes++;
    return escapes % 2 == 0;
}

/* Whether no tree has both keys; *ret_is_below: one of them is the beginning of the other. */
static bool is_rival(mp_str a, mp_str b, bool *ret_is_below)
{
    size_t at = 0;

    while (at < a.size && at < b.size && a.data[at] == b.data[at])
        at++;
    *ret_is_below = at == a.size || at == b.size;
    return is_step_end(a, at) && is_step_end(b, at) &&
           (*ret_is_below || (a.data[at] == '[') != (b.data[at] == '['));
}

/* What is put where another key has no place for it: both are named, with the ways out. */
static int contradiction(const builder *b, mp_str key)
{
    mp_str other = {0};
    bool is_below = false, found = false;

    for (size_t i = 0; i < b->done && !found; i++) {
        other = b->leaves->items[i].key;
        found = is_rival(other, key, &is_below);
    }
    if (!found)
        return mp__diag_set(b->diag, MP_EINVAL, "'%.*s' contradicts another key", NAMED(key),
                            key.data);
    if (is_below && other.size > key.size) {
        mp_str swap = other;

        other = key;
        key = swap;
    }
    return mp__diag_set(b->diag, MP_EINVAL,
                        "'%.*s' %s '%.*s' %s, and this format has no place for both: delete one "
                        "(import --prune deletes what is in no file), or take properties or env",
                        NAMED(other), other.data, is_below ? "is a value and" : "and", NAMED(key),
                        key.data,
                        is_below ? "stands below it" : "are a list and a map in one place");
}

static int hole_error(const builder *b, mp_str key)
{
    return mp__diag_set(b->diag, MP_EINVAL,
                        "'%.*s': the list has a hole; every index from 0 on must be there",
                        (int)key.size, key.data);
}

static int leaf_json(const builder *b, const mp__leaf *leaf, json_t **ret_value)
{
    mp__diag why = {0};
    int rc;

    if (!mp_str_equal(leaf->media_type, MP_STR(MP__MEDIA_JSON))) {
        *ret_value = json_stringn(leaf->value.data ? leaf->value.data : "", leaf->value.size);
        if (*ret_value)
            return 0;
        return mp__is_utf8(leaf->value)
                   ? MP_ENOMEM
                   : mp__diag_set(b->diag, MP_EINVAL, "the value of '%.*s' is no UTF-8",
                                  (int)leaf->key.size, leaf->key.data);
    }
    rc = mp__json_read(leaf->value, b->wide, ret_value, &why);
    if (rc && rc != MP_ENOMEM)
        rc = mp__diag_set(
            b->diag, MP_EINVAL, "the value of '%.*s' is not what its media type says: %.150s",
            (int)(leaf->key.size < 200 ? leaf->key.size : 200), leaf->key.data, why.text);
    return rc;
}

/* The child of @parent at @at; NULL where there is none yet. */
static json_t *child_get(const builder *b, json_t *parent, const step *at)
{
    json_t *child = at->index >= 0 ? json_array_get(parent, (size_t)at->index)
                                   : json_object_getn(parent, at->name.data, at->name.size);

    return child == b->hole ? NULL : child;
}

/* Put @child there; its reference is taken. */
static int child_put(const builder *b, json_t *parent, const step *at, json_t *child)
{
    size_t index = (size_t)at->index;

    if (!child)
        return MP_ENOMEM;
    if (at->index < 0)
        return json_object_setn_new(parent, at->name.data, at->name.size, child) ? MP_ENOMEM : 0;
    if (index < json_array_size(parent))
        return json_array_set_new(parent, index, child) ? MP_ENOMEM : 0;
    while (json_array_size(parent) < index)
        if (json_array_append(parent, b->hole) != 0) {
            json_decref(child);
            return MP_ENOMEM;
        }
    return json_array_append_new(parent, child) ? MP_ENOMEM : 0;
}

/* From *here into its child at @at, which is made if need be: a list when an index follows. */
static int descend(const builder *b, json_t **here, const step *at, bool index_follows, mp_str key)
{
    json_t *child = child_get(b, *here, at);

    if (!child) {
        int rc = child_put(b, *here, at, index_follows ? json_array() : json_object());

        if (rc)
            return rc;
        child = child_get(b, *here, at);
    } else if ((!json_is_object(child) && !json_is_array(child)) || child->refcount > 1) {
        return contradiction(b, key); /* a value, perhaps one that is held */
    }
    *here = child;
    return 0;
}

/* How deep a value goes by itself: 0 where it is no map and no list with something in it. */
static unsigned depth_of(json_t *value)
{
    unsigned deepest = 0, depth;

    if (json_is_object(value))
        for (void *i = json_object_iter(value); i; i = json_object_iter_next(value, i)) {
            depth = 1 + depth_of(json_object_iter_value(i));
            deepest = depth > deepest ? depth : deepest;
        }
    for (size_t i = 0; i < json_array_size(value); i++) {
        depth = 1 + depth_of(json_array_get(value, i));
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

/* What is printed shall be read again. */
static int depth_error(const builder *b, mp_str key)
{
    return mp__diag_set(b->diag, MP_ELIMIT, "'%.*s%s' is nested deeper than %d",
                        (int)(key.size < 80 ? key.size : 80), key.data, key.size > 80 ? "..." : "",
                        MP__FORMAT_DEPTH_MAX);
}

/* Walk along @key, making maps and lists on the way, and put @value at its end. */
static int put(builder *b, mp_str key, json_t *value)
{
    step *now = &b->steps[0], *next = &b->steps[1];
    json_t *here = b->root;
    unsigned depth = depth_of(value);
    size_t at = 0;
    int rc = step_take(key, &at, now);

    while (rc == 1) {
        int more = step_take(key, &at, next);
        step *swap = now;

        if (more < 0)
            return more;
        if (++depth > MP__FORMAT_DEPTH_MAX)
            return depth_error(b, key);
        if ((now->index >= 0) != json_is_array(here))
            return contradiction(b, key);
        if (now->index >= 0 && (size_t)now->index >= b->leaves->count)
            return hole_error(b, key); /* and no list is made longer than there are leaves */
        if (more == 0)
            return child_get(b, here, now) ? contradiction(b, key)
                                           : child_put(b, here, now, json_incref(value));
        rc = descend(b, &here, now, next->index >= 0, key);
        if (rc)
            return rc;
        rc = 1;
        now = next;
        next = swap;
    }
    return rc;
}

static int add_leaf(builder *b, const mp__leaf *leaf)
{
    json_t *value;
    int rc;

    if (!mp__is_utf8(leaf->key))
        return mp__diag_set(b->diag, MP_EINVAL, "the key '%.*s' is no UTF-8 text",
                            (int)leaf->key.size, leaf->key.data);
    rc = path_check(b, leaf->key);
    if (rc)
        return rc;
    rc = leaf_json(b, leaf, &value);
    if (rc)
        return rc;
    if ((json_is_object(value) || json_is_array(value)) && json_array_append(b->held, value))
        rc = MP_ENOMEM;
    if (rc == 0)
        rc = put(b, leaf->key, value);
    json_decref(value);
    return rc;
}

/* Whether any list still waits for an index; @path is where @tree stands. */
static int holes_check(const builder *b, json_t *tree, mp__buf *path)
{
    size_t before = path->size;
    int rc = 0;

    if (tree == b->hole)
        return hole_error(b, mp__buf_str(path));
    if (json_is_object(tree))
        for (void *i = json_object_iter(tree); i && rc == 0; i = json_object_iter_next(tree, i)) {
            (void)mp__path_add_name(path, mp_str_of(json_object_iter_key(i)));
            rc = holes_check(b, json_object_iter_value(i), path);
            path->size = before;
        }
    for (size_t i = 0; i < json_array_size(tree) && rc == 0; i++) {
        (void)mp__path_add_index(path, i);
        rc = holes_check(b, json_array_get(tree, i), path);
        path->size = before;
    }
    return rc;
}

static int make_tree(const mp__leaves *leaves, bool wide, json_t **ret_tree, mp__diag *diag)
{
    bool list = leaves->count && leaves->items[0].key.size && leaves->items[0].key.data[0] == '[';
    builder b = {.root = list ? json_array() : json_object(),
                 .hole = json_string("hole"),
                 .held = json_array(),
                 .leaves = leaves,
                 .wide = wide,
                 .diag = diag};
    int rc = b.root && b.hole && b.held ? 0 : MP_ENOMEM;

    for (; b.done < leaves->count && rc == 0; b.done++)
        rc = add_leaf(&b, &leaves->items[b.done]);
    if (rc == 0) {
        mp__buf_reset(&b.again);
        rc = holes_check(&b, b.root, &b.again);
    }
    mp__buf_done(&b.steps[0].name);
    mp__buf_done(&b.steps[1].name);
    mp__buf_done(&b.again);
    json_decref(b.hole);
    json_decref(b.held);
    if (rc) {
        json_decref(b.root);
        return rc;
    }
    *ret_tree = b.root;
    return 0;
}

int mp__leaves_tree(const mp__leaves *leaves, json_t **ret_tree, mp__diag *diag)
{
    return make_tree(leaves, false, ret_tree, diag);
}

int mp__leaves_tree_wide(const mp__leaves *leaves, json_t **ret_tree, mp__diag *diag)
{
    return make_tree(leaves, true, ret_tree, diag);
}

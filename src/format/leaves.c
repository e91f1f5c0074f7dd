/* SPDX-License-Identifier: Apache-2.0 */
#include "format/leaves.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"

/* Bytes of keys and values live in chunks, so that a million leaves are not two million mallocs. */
struct mp__leaf_chunk {
    struct mp__leaf_chunk *next;
    size_t used, capacity;
    char bytes[];
};

enum { CHUNK_BYTES = 64 * 1024 };

void mp__leaves_done(mp__leaves *leaves)
{
    struct mp__leaf_chunk *chunk = leaves->memory;

    while (chunk) {
        struct mp__leaf_chunk *next = chunk->next;

        (void)mp__free(chunk);
        chunk = next;
    }
    (void)mp__free(leaves->items);
    *leaves = (mp__leaves){0};
}

static char *chunk_take(mp__leaves *leaves, size_t size)
{
    struct mp__leaf_chunk *chunk = leaves->memory;
    size_t capacity = size > CHUNK_BYTES ? size : CHUNK_BYTES;

    if (!chunk || chunk->capacity - chunk->used < size) {
        chunk = mp__malloc(sizeof(*chunk) + capacity);
        if (!chunk)
            return NULL;
        *chunk = (struct mp__leaf_chunk){.next = leaves->memory, .capacity = capacity};
        leaves->memory = chunk;
    }
    chunk->used += size;
    return chunk->bytes + chunk->used - size;
}

int mp__leaves_add(mp__leaves *leaves, mp_str key, mp_str value, const char *media_type)
{
    char *bytes;

    if (leaves->count >= MP__FORMAT_LEAVES_MAX || key.size > MP__FORMAT_KEY_MAX ||
        value.size > MP__FORMAT_VALUE_MAX)
        return MP_ELIMIT;
    if (leaves->count == leaves->capacity) {
        size_t capacity = leaves->capacity ? leaves->capacity * 2 : 64;
        mp__leaf *items = mp__realloc_array(leaves->items, capacity, sizeof(*items));

        if (!items)
            return MP_ENOMEM;
        leaves->items = items;
        leaves->capacity = capacity;
    }
    bytes = chunk_take(leaves, key.size + value.size);
    if (!bytes)
        return MP_ENOMEM;
    memcpy(bytes, key.data, key.size);
    if (value.size)
        memcpy(bytes + key.size, value.data, value.size);
    leaves->items[leaves->count++] = (mp__leaf){
        mp_str_new(bytes, key.size),
        mp_str_new(bytes + key.size, value.size),
        mp_str_of(media_type),
    };
    return 0;
}

static int leaf_compare(const void *a, const void *b)
{
    const mp_str *x = &((const mp__leaf *)a)->key, *y = &((const mp__leaf *)b)->key;
    size_t least = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->data, y->data, least);

    return order ? order : (x->size > y->size) - (x->size < y->size);
}

int mp__leaves_sort(mp__leaves *leaves, mp__diag *diag)
{
    if (leaves->count)
        qsort(leaves->items, leaves->count, sizeof(*leaves->items), leaf_compare);
    for (size_t i = 1; i < leaves->count; i++)
        if (mp_str_equal(leaves->items[i - 1].key, leaves->items[i].key))
            return mp__diag_set(diag, MP_EEXISTS, "the key '%.*s' is there twice",
                                (int)leaves->items[i].key.size, leaves->items[i].key.data);
    return 0;
}

/* ---- paths ---- */

int mp__path_add_name(mp__buf *path, mp_str name)
{
    if (path->size)
        (void)mp__buf_add_char(path, '.');
    for (size_t i = 0; i < name.size; i++) {
        if (strchr(".[]\\", name.data[i]) && name.data[i])
            (void)mp__buf_add_char(path, '\\');
        (void)mp__buf_add_char(path, name.data[i]);
    }
    return path->error;
}

int mp__path_add_index(mp__buf *path, size_t index)
{
    return mp__buf_printf(path, "[%zu]", index);
}

/* ---- tree to leaves ---- */

static int add_scalar(mp__leaves *leaves, mp_str key, const json_t *value)
{
    char text[32];

    switch (json_typeof(value)) {
    case JSON_STRING:
        return mp__leaves_add(leaves, key,
                              mp_str_new(json_string_value(value), json_string_length(value)),
                              MP__MEDIA_TEXT);
    case JSON_INTEGER:
        (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return mp__leaves_add(leaves, key, mp_str_of(text), MP__MEDIA_JSON);
    case JSON_REAL:
        return mp__leaves_add(leaves, key,
                              mp_str_new(text, mp__real_text(json_real_value(value), text)),
                              MP__MEDIA_JSON);
    case JSON_TRUE:
        return mp__leaves_add(leaves, key, MP_STR("true"), MP__MEDIA_JSON);
    case JSON_FALSE:
        return mp__leaves_add(leaves, key, MP_STR("false"), MP__MEDIA_JSON);
    case JSON_OBJECT:
        return mp__leaves_add(leaves, key, MP_STR("{}"), MP__MEDIA_JSON);
    case JSON_ARRAY:
        return mp__leaves_add(leaves, key, MP_STR("[]"), MP__MEDIA_JSON);
    case JSON_NULL:
        break;
    }
    return mp__leaves_add(leaves, key, MP_STR("null"), MP__MEDIA_JSON);
}

static int add_leaf(mp__leaves *leaves, const mp__buf *path, const json_t *value, mp__diag *diag)
{
    mp_str key = mp__buf_str(path);
    int rc;

    if (key.size == 0)
        return mp__diag_set(diag, MP_ESYNTAX,
                            "the top must be a map or a list of values with keys");
    for (size_t i = 0; i < key.size; i++)
        if ((unsigned char)key.data[i] < 0x20 || key.data[i] == 0x7f)
            return mp__diag_set(diag, MP_ESYNTAX, "a name holds a control character");
    rc = add_scalar(leaves, key, value);
    if (rc == MP_ELIMIT)
        return mp__diag_set(diag, rc,
                            "'%.*s': a key may have %d bytes, a value %d, a file %d of them",
                            (int)(key.size > 80 ? 80 : key.size), key.data, MP__FORMAT_KEY_MAX,
                            MP__FORMAT_VALUE_MAX, MP__FORMAT_LEAVES_MAX);
    return rc;
}

static int add_object(mp__leaves *leaves, mp__buf *path, const json_t *tree, int depth,
                      mp__diag *diag)
{
    size_t before = path->size;
    /* jansson's iterators take a mutable object but do not write to it */
    json_t *object = (json_t *)(uintptr_t)tree;
    int rc = 0;

    for (void *i = json_object_iter(object); i && rc == 0; i = json_object_iter_next(object, i)) {
        if (json_object_iter_key(i)[0] == '\0')
            return mp__diag_set(diag, MP_ESYNTAX, "an empty name below '%.*s'", (int)before,
                                path->data ? path->data : "");
        rc = mp__path_add_name(path, mp_str_of(json_object_iter_key(i)));
        if (rc == 0)
            rc = mp__leaves_add_tree(leaves, path, json_object_iter_value(i), depth + 1, diag);
        path->size = before;
    }
    return rc;
}

int mp__leaves_add_tree(mp__leaves *leaves, mp__buf *path, const json_t *tree, int depth,
                        mp__diag *diag)
{
    size_t before = path->size;
    int rc = 0;

    if (depth > MP__FORMAT_DEPTH_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "nested deeper than %d", MP__FORMAT_DEPTH_MAX);
    if (json_is_object(tree) && json_object_size(tree))
        return add_object(leaves, path, tree, depth, diag);
    if (!json_is_array(tree) || json_array_size(tree) == 0)
        return depth == 0 && (json_is_object(tree) || json_is_null(tree))
                   ? 0
                   : add_leaf(leaves, path, tree, diag);
    for (size_t i = 0; i < json_array_size(tree) && rc == 0; i++) {
        rc = mp__path_add_index(path, i);
        if (rc == 0)
            rc = mp__leaves_add_tree(leaves, path, json_array_get(tree, i), depth + 1, diag);
        path->size = before;
    }
    return rc;
}

/* ---- leaves to tree ---- */

/* The next step of a key: a name (unescaped into @name) or an index. 1 found, 0 at the end, -1 not
 * a path of ours (it is then one name as it stands), MP_ENOMEM. */
static int path_step(mp_str key, size_t *at, mp__buf *name, long *index)
{
    size_t i = *at;

    *index = -1;
    mp__buf_reset(name);
    if (i >= key.size)
        return 0;
    if (key.data[i] == '[') {
        long value = 0;
        size_t first = ++i;

        while (i < key.size && key.data[i] >= '0' && key.data[i] <= '9' && i - first < 7)
            value = value * 10 + (key.data[i++] - '0');
        if (i == first || i >= key.size || key.data[i] != ']' ||
            (key.data[first] == '0' && i - first > 1))
            return -1;
        *index = value;
        *at = i + 1;
        return 1;
    }
    if (i > 0 && key.data[i++] != '.')
        return -1;
    for (; i < key.size && key.data[i] != '.' && key.data[i] != '['; i++) {
        if (key.data[i] == '\\' && ++i >= key.size)
            return -1;
        (void)mp__buf_add_char(name, key.data[i]);
    }
    *at = i;
    if (name->error)
        return name->error;
    return name->size ? 1 : -1;
}

/* 0: every step can be taken; -1: it is no path of ours; MP_ENOMEM. */
static int path_check(mp_str key, mp__buf *name)
{
    size_t at = 0;
    long index;
    int step;

    while ((step = path_step(key, &at, name, &index)) == 1)
        ;
    return step;
}

static json_t *leaf_json(const mp__leaf *leaf)
{
    if (mp_str_equal(leaf->media_type, MP_STR(MP__MEDIA_JSON)))
        return json_loadb(leaf->value.data, leaf->value.size,
                          JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    return json_stringn(leaf->value.data, leaf->value.size);
}

/* The child of @parent at a step, or NULL; set puts one there (the reference is taken). */
static json_t *child_get(json_t *parent, const mp__buf *name, long index)
{
    if (index >= 0)
        return json_array_get(parent, (size_t)index);
    return json_object_getn(parent, name->data, name->size);
}

static int child_set(json_t *parent, const mp__buf *name, long index, json_t *child)
{
    if (index >= 0) {
        while (json_array_size(parent) < (size_t)index)
            if (json_array_append_new(parent, json_null()) != 0)
                break;
        return json_array_append_new(parent, child);
    }
    return json_object_setn_new(parent, name->data, name->size, child);
}

static int contradiction(mp_str key, mp__diag *diag)
{
    return mp__diag_set(diag, MP_EINVAL, "'%.*s' contradicts another key, which is a value there",
                        (int)key.size, key.data);
}

/* Walk from *root along the key, making maps and lists on the way, and put @value at its end. */
static int tree_put(json_t **root, mp_str key, json_t *value, mp__buf *scratch, mp__buf *ahead,
                    mp__diag *diag)
{
    json_t *here = *root;
    size_t at = 0;
    long index, next_index;
    int step = path_step(key, &at, scratch, &index);

    if (step != 1)
        return step < -1 ? step : MP_EINVAL;
    for (;;) {
        size_t next_at = at;
        int more = path_step(key, &next_at, ahead, &next_index);
        json_t *child;

        if (more < 0)
            return more < -1 ? more : MP_EINVAL;
        if ((index >= 0) != json_is_array(here))
            return contradiction(key, diag);
        child = child_get(here, scratch, index);
        if (more == 0) {
            if (child && !json_is_null(child))
                return contradiction(key, diag);
            if (child && index >= 0)
                return json_array_set(here, (size_t)index, value) ? MP_ENOMEM : 0;
            return child_set(here, scratch, index, json_incref(value)) ? MP_ENOMEM : 0;
        }
        if (!child || json_is_null(child)) {
            json_t *made = next_index >= 0 ? json_array() : json_object();

            if (child ? json_array_set_new(here, (size_t)index, made)
                      : child_set(here, scratch, index, made))
                return MP_ENOMEM;
            child = made;
        } else if (!json_is_object(child) && !json_is_array(child)) {
            return contradiction(key, diag);
        }
        here = child;
        at = next_at;
        index = next_index;
        { /* what was looked at ahead is the present step now */
            mp__buf swap = *scratch;

            *scratch = *ahead;
            *ahead = swap;
        }
    }
}

static int tree_add_leaf(json_t **root, const mp__leaf *leaf, mp__buf *scratch, mp__buf *ahead,
                         mp__diag *diag)
{
    json_t *value = leaf_json(leaf);
    int rc = path_check(leaf->key, scratch);

    if (!value)
        return mp__diag_set(diag, MP_EINVAL, "the value of '%.*s' is not what its media type says",
                            (int)leaf->key.size, leaf->key.data);
    if (rc == 0)
        rc = tree_put(root, leaf->key, value, scratch, ahead, diag);
    else if (rc == -1 && json_is_object(*root))
        rc = json_object_setn(*root, leaf->key.data, leaf->key.size, value) ? MP_ENOMEM : 0;
    else if (rc == -1)
        rc = contradiction(leaf->key, diag);
    json_decref(value);
    return rc;
}

int mp__leaves_tree(const mp__leaves *leaves, json_t **ret_tree, mp__diag *diag)
{
    mp__buf scratch = MP__BUF_INIT, ahead = MP__BUF_INIT;
    bool list = leaves->count && leaves->items[0].key.size && leaves->items[0].key.data[0] == '[';
    json_t *root = list ? json_array() : json_object();
    int rc = root ? 0 : MP_ENOMEM;

    for (size_t i = 0; i < leaves->count && rc == 0; i++)
        rc = tree_add_leaf(&root, &leaves->items[i], &scratch, &ahead, diag);
    mp__buf_done(&scratch);
    mp__buf_done(&ahead);
    if (rc) {
        json_decref(root);
        return rc;
    }
    *ret_tree = root;
    return 0;
}

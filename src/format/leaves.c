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

int mp__leaves_add_typed(mp__leaves *leaves, mp_str key, mp_str value, mp_str media_type)
{
    char *bytes;

    if (leaves->count >= MP__FORMAT_LEAVES_MAX || key.size > MP__FORMAT_KEY_MAX ||
        value.size > MP__FORMAT_VALUE_MAX)
        return MP_ELIMIT;
    if (mp__grow(&leaves->items, leaves->count, &leaves->capacity, sizeof(*leaves->items)) != 0)
        return MP_ENOMEM;
    bytes = chunk_take(leaves, key.size + value.size);
    if (!bytes)
        return MP_ENOMEM;
    memcpy(bytes, key.data, key.size);
    if (value.size)
        memcpy(bytes + key.size, value.data, value.size);
    leaves->items[leaves->count++] = (mp__leaf){
        mp_str_new(bytes, key.size), mp_str_new(bytes + key.size, value.size), media_type, 0, 0,
    };
    return 0;
}

int mp__leaves_add(mp__leaves *leaves, mp_str key, mp_str value, const char *media_type)
{
    return mp__leaves_add_typed(leaves, key, value, mp_str_of(media_type));
}

void mp__leaves_place(mp__leaves *leaves, int line, int column)
{
    leaves->items[leaves->count - 1].line = line;
    leaves->items[leaves->count - 1].column = column;
}

/* By key; the same key in the order of the file. */
static int leaf_compare(const void *a, const void *b)
{
    const mp__leaf *x = a, *y = b;
    size_t least = x->key.size < y->key.size ? x->key.size : y->key.size;
    int order = memcmp(x->key.data, y->key.data, least);

    if (order == 0)
        order = (x->key.size > y->key.size) - (x->key.size < y->key.size);
    if (order == 0)
        order = (x->line > y->line) - (x->line < y->line);
    return order ? order : (x->column > y->column) - (x->column < y->column);
}

int mp__leaves_sort(mp__leaves *leaves, mp__diag *diag)
{
    if (leaves->count)
        qsort(leaves->items, leaves->count, sizeof(*leaves->items), leaf_compare);
    for (size_t i = 1; i < leaves->count; i++) {
        const mp__leaf *first = &leaves->items[i - 1], *second = &leaves->items[i];

        if (!mp_str_equal(first->key, second->key))
            continue;
        if (first->line)
            return mp__diag_at(diag, MP_EEXISTS, second->line, second->column,
                               "the key '%.*s' is there twice, first in line %d",
                               (int)second->key.size, second->key.data, first->line);
        return mp__diag_set(diag, MP_EEXISTS, "the key '%.*s' is there twice",
                            (int)second->key.size, second->key.data);
    }
    return 0;
}

static int key_compare(const void *key, const void *leaf)
{
    const mp_str *x = key, *y = &((const mp__leaf *)leaf)->key;
    size_t least = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->data, y->data, least);

    return order ? order : (x->size > y->size) - (x->size < y->size);
}

mp__leaf *mp__leaves_find(const mp__leaves *leaves, mp_str key)
{
    return leaves->count && key.size
               ? bsearch(&key, leaves->items, leaves->count, sizeof(*leaves->items), key_compare)
               : NULL;
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

/* Take the next part of both, a name or an index. False: they differ. */
static bool take_part(mp_str key, size_t *at, const char **pointer)
{
    const char *p = *pointer + 1; /* behind the slash */
    bool is_index = key.data[*at] == '[';
    size_t i = *at + (is_index || key.data[*at] == '.');

    for (;;) {
        bool key_ends = i == key.size || key.data[i] == (is_index ? ']' : '.') ||
                        (!is_index && key.data[i] == '[');
        char c = *p;

        if (key_ends || c == '\0' || c == '/') {
            *at = i + (is_index && i < key.size);
            *pointer = p;
            return key_ends && (c == '\0' || c == '/');
        }
        p++;
        if (c == '~' && (*p == '0' || *p == '1'))
            c = *p++ == '0' ? '~' : '/';
        if (!is_index && key.data[i] == '\\' && i + 1 < key.size)
            i++;
        if (key.data[i++] != c)
            return false;
    }
}

bool mp__key_is_at(mp_str key, mp_str path, const char *pointer)
{
    size_t at = path.size;

    if (at && (key.size < at || memcmp(key.data, path.data, at) != 0))
        return false;
    if (at && key.size == at)
        return true;
    if (at && key.data[at] != '.' && key.data[at] != '[')
        return false;
    while (*pointer == '/')
        if (at >= key.size || !take_part(key, &at, &pointer))
            return false;
    return true;
}

const mp__leaf *mp__leaves_at(const mp__leaves *leaves, const char *pointer)
{
    const mp__leaf *first = NULL;

    for (size_t i = 0; i < leaves->count; i++) {
        const mp__leaf *leaf = &leaves->items[i];

        if (leaf->line && mp__key_is_at(leaf->key, mp_str_new("", 0), pointer) &&
            (!first || leaf->line < first->line ||
             (leaf->line == first->line && leaf->column < first->column)))
            first = leaf;
    }
    return first;
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

static int limit_error(mp_str key, mp__diag *diag)
{
    return mp__diag_set(diag, MP_ELIMIT,
                        "'%.*s': a key may have %d bytes, a value %d, a file %d of them",
                        (int)(key.size > 80 ? 80 : key.size), key.data, MP__FORMAT_KEY_MAX,
                        MP__FORMAT_VALUE_MAX, MP__FORMAT_LEAVES_MAX);
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
    return rc == MP_ELIMIT ? limit_error(key, diag) : rc;
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
        if (rc == MP_ELIMIT) /* the path takes no more than a key of good length */
            return limit_error(mp__buf_str(path), diag);
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
        if (rc == MP_ELIMIT)
            return limit_error(mp__buf_str(path), diag);
        if (rc == 0)
            rc = mp__leaves_add_tree(leaves, path, json_array_get(tree, i), depth + 1, diag);
        path->size = before;
    }
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json_tree.h"

#include <jansson.h>

#include "core/json.h"

static void put_line(mp__buf *out, unsigned indent, unsigned depth)
{
    if (indent)
        (void)mp__buf_printf(out, "\n%*s", (int)(indent * depth), "");
}

static void put_scalar(const json_t *value, mp__buf *out)
{
    char text[32];

    switch (json_typeof(value)) {
    case JSON_STRING:
        mp__json_string(out, mp_str_new(json_string_value(value), json_string_length(value)));
        return;
    case JSON_INTEGER:
        (void)mp__buf_add_i64(out, json_integer_value(value));
        return;
    case JSON_REAL:
        (void)mp__buf_add(out, text, mp__real_text(json_real_value(value), text));
        return;
    case JSON_TRUE:
        (void)mp__buf_add_str(out, MP_STR("true"));
        return;
    case JSON_FALSE:
        (void)mp__buf_add_str(out, MP_STR("false"));
        return;
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    (void)mp__buf_add_str(out, MP_STR("null"));
}

static void put(const json_t *value, unsigned indent, unsigned depth, mp__buf *out)
{
    json_t *object = (json_t *)(uintptr_t)value; /* jansson's iterators do not write */
    bool is_object = json_is_object(value);
    size_t count = is_object ? json_object_size(value) : json_array_size(value);
    void *at = json_object_iter(object);

    if (!is_object && !json_is_array(value)) {
        put_scalar(value, out);
        return;
    }
    (void)mp__buf_add_char(out, is_object ? '{' : '[');
    for (size_t i = 0; i < count && !out->error; i++) {
        if (i)
            (void)mp__buf_add_char(out, ',');
        put_line(out, indent, depth + 1);
        if (is_object) {
            mp__json_string(out,
                            mp_str_new(json_object_iter_key(at), json_object_iter_key_len(at)));
            (void)mp__buf_add_str(out, indent ? MP_STR(": ") : MP_STR(":"));
        }
        put(is_object ? json_object_iter_value(at) : json_array_get(value, i), indent, depth + 1,
            out);
        at = is_object ? json_object_iter_next(object, at) : NULL;
    }
    if (count)
        put_line(out, indent, depth);
    (void)mp__buf_add_char(out, is_object ? '}' : ']');
}

int mp__json_tree(const json_t *tree, unsigned indent, mp__buf *out)
{
    put(tree, indent, 0, out);
    return out->error;
}

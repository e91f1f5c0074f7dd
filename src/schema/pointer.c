/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Pointer (RFC 6901): how a place in a document is named. */
#include "schema/tree.h"

bool mp__pointer_valid(mp_str text)
{
    if (text.size && text.data[0] != '/')
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '\0' ||
            (text.data[i] == '~' &&
             (i + 1 >= text.size || (text.data[i + 1] != '0' && text.data[i + 1] != '1'))))
            return false;
    return true;
}

int mp__pointer_next(mp__pointer *pointer)
{
    mp_str text = pointer->text;
    size_t i = pointer->at;

    mp__buf_reset(&pointer->token);
    if (i >= text.size)
        return 0;
    for (i++; i < text.size && text.data[i] != '/'; i++) {
        char c = text.data[i];

        if (c == '~')
            c = text.data[++i] == '0' ? '~' : '/';
        (void)mp__buf_add_char(&pointer->token, c);
    }
    pointer->at = i;
    return pointer->token.error ? pointer->token.error : 1;
}

bool mp__pointer_index(mp_str token, size_t *ret_index)
{
    size_t index = 0;

    if (token.size == 0 || token.size > 9 || (token.data[0] == '0' && token.size > 1))
        return false;
    for (size_t i = 0; i < token.size; i++) {
        if (token.data[i] < '0' || token.data[i] > '9')
            return false;
        index = index * 10 + (size_t)(token.data[i] - '0');
    }
    *ret_index = index;
    return true;
}

json_t *mp__pointer_step(const json_t *parent, mp_str token)
{
    size_t index;

    if (json_is_object(parent))
        return json_object_getn(parent, token.data ? token.data : "", token.size);
    if (json_is_array(parent) && mp__pointer_index(token, &index))
        return json_array_get(parent, index);
    return NULL;
}

int mp__pointer_add(mp__buf *path, mp_str token)
{
    (void)mp__buf_add_char(path, '/');
    for (size_t i = 0; i < token.size; i++) {
        if (token.data[i] == '~')
            (void)mp__buf_add(path, "~0", 2);
        else if (token.data[i] == '/')
            (void)mp__buf_add(path, "~1", 2);
        else
            (void)mp__buf_add_char(path, token.data[i]);
    }
    return path->error;
}

int mp__pointer_add_index(mp__buf *path, size_t index)
{
    (void)mp__buf_add_char(path, '/');
    return mp__buf_add_u64(path, index);
}

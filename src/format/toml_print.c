/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves as TOML: what a table holds itself first, then the tables in it, each below its header. */
#include "format/toml.h"

#include <stdio.h>

typedef struct toml_printer {
    const mp__leaves *leaves;
    mp__buf *out;
    mp__buf path;   /* the key of where we are */
    mp__buf header; /* the same as TOML says it */
    bool has_own;   /* some leaf is of MP__MEDIA_TOML */
    mp__diag *diag;
} toml_printer;

static bool is_bare(mp_str name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return name.size > 0;
}

static void add_text(mp__buf *out, mp_str text)
{
    (void)mp__buf_add_char(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        static const char from[] = "\b\t\n\f\r\"\\", to[] = "btnfr\"\\";
        char c = text.data[i];
        const char *found = c > 0 ? strchr(from, c) : NULL;

        if (found)
            (void)mp__buf_printf(out, "\\%c", to[found - from]);
        else if (c == '\xc2' && i + 1 < text.size && (unsigned char)text.data[i + 1] < 0xa0)
            (void)mp__buf_printf(out, "\\u%04X", (unsigned char)text.data[++i]); /* C1 */
        else if ((unsigned char)c < 0x20 || c == 0x7f)
            (void)mp__buf_printf(out, "\\u%04X", (unsigned)c);
        else
            (void)mp__buf_add_char(out, c);
    }
    (void)mp__buf_add_char(out, '"');
}

static void add_name(mp__buf *out, mp_str name)
{
    if (is_bare(name))
        (void)mp__buf_add_str(out, name);
    else
        add_text(out, name);
}

/* Whether the text where we are is one that only TOML has a type for. */
static bool is_own(const toml_printer *p)
{
    const mp__leaf *leaf = p->has_own ? mp__leaves_find(p->leaves, mp__buf_str(&p->path)) : NULL;

    return leaf && mp_str_equal(leaf->media_type, MP_STR(MP__MEDIA_TOML));
}

static int print_own(toml_printer *p, mp_str text)
{
    mp__buf again = MP__BUF_INIT;
    const char *why;
    bool good = mp__toml_word(text, &again, &why) == MP__TOML_OWN &&
                mp_str_equal(mp__buf_str(&again), text);
    int error = again.error;

    mp__buf_done(&again);
    if (error)
        return error;
    if (!good)
        return mp__diag_set(p->diag, MP_EINVAL,
                            "the value of '%.*s' is not what its media type says",
                            (int)p->path.size, p->path.data);
    return mp__buf_add_str(p->out, text);
}

static int print_value(toml_printer *p, const json_t *value);

static int print_array(toml_printer *p, const json_t *array)
{
    size_t before = p->path.size;
    int rc = mp__buf_add_char(p->out, '[');

    for (size_t i = 0; i < json_array_size(array) && rc == 0; i++) {
        if (i)
            (void)mp__buf_add_str(p->out, MP_STR(", "));
        (void)mp__path_add_index(&p->path, i);
        rc = print_value(p, json_array_get(array, i));
        p->path.size = before;
    }
    return rc ? rc : mp__buf_add_char(p->out, ']');
}

static json_t *iterable(const json_t *object)
{
    return (json_t *)(uintptr_t)object; /* jansson's iterators do not write */
}

static int print_inline(toml_printer *p, const json_t *table)
{
    json_t *object = iterable(table);
    size_t before = p->path.size;
    bool first = true;
    int rc = mp__buf_add_char(p->out, '{');

    for (void *i = json_object_iter(object); i && rc == 0; i = json_object_iter_next(object, i)) {
        mp_str name = mp_str_of(json_object_iter_key(i));

        (void)mp__buf_add_str(p->out, first ? MP_STR(" ") : MP_STR(", "));
        add_name(p->out, name);
        (void)mp__buf_add_str(p->out, MP_STR(" = "));
        (void)mp__path_add_name(&p->path, name);
        rc = print_value(p, json_object_iter_value(i));
        p->path.size = before;
        first = false;
    }
    return rc ? rc : mp__buf_add_str(p->out, first ? MP_STR("}") : MP_STR(" }"));
}

static int print_value(toml_printer *p, const json_t *value)
{
    char text[32];

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return print_inline(p, value);
    case JSON_ARRAY:
        return print_array(p, value);
    case JSON_STRING: {
        mp_str string = mp_str_new(json_string_value(value), json_string_length(value));

        if (is_own(p))
            return print_own(p, string);
        add_text(p->out, string);
        return p->out->error;
    }
    case JSON_INTEGER:
        return mp__buf_add_i64(p->out, json_integer_value(value));
    case JSON_REAL:
        return mp__buf_add(p->out, text, mp__real_text(json_real_value(value), text));
    case JSON_TRUE:
        return mp__buf_add_str(p->out, MP_STR("true"));
    case JSON_FALSE:
        return mp__buf_add_str(p->out, MP_STR("false"));
    case JSON_NULL:
        break;
    }
    return mp__diag_set(p->diag, MP_EINVAL, "'%.*s' is null, which TOML has not", (int)p->path.size,
                        p->path.data);
}

/* Printed below a header of its own. */
static bool is_table(const json_t *value)
{
    return json_is_object(value) && json_object_size(value);
}

/* Printed as [[headers]]. */
static bool is_list_of_tables(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!json_is_object(json_array_get(value, i)))
            return false;
    return json_array_size(value) > 0;
}

/* What a table holds itself; *ret_any: there was something. */
static int print_members(toml_printer *p, const json_t *table, bool only_look, bool *ret_any)
{
    json_t *object = iterable(table);
    size_t before = p->path.size;
    int rc = 0;

    *ret_any = false;
    for (void *i = json_object_iter(object); i && rc == 0; i = json_object_iter_next(object, i)) {
        const json_t *value = json_object_iter_value(i);
        mp_str name = mp_str_of(json_object_iter_key(i));

        if (is_table(value) || is_list_of_tables(value))
            continue;
        *ret_any = true;
        if (only_look)
            break;
        add_name(p->out, name);
        (void)mp__buf_add_str(p->out, MP_STR(" = "));
        (void)mp__path_add_name(&p->path, name);
        rc = print_value(p, value);
        p->path.size = before;
        (void)mp__buf_add_char(p->out, '\n');
    }
    return rc;
}

static void print_header(toml_printer *p, bool is_list)
{
    if (p->out->size)
        (void)mp__buf_add_char(p->out, '\n');
    (void)mp__buf_add_str(p->out, is_list ? MP_STR("[[") : MP_STR("["));
    (void)mp__buf_add_str(p->out, mp__buf_str(&p->header));
    (void)mp__buf_add_str(p->out, is_list ? MP_STR("]]\n") : MP_STR("]\n"));
}

static int print_table(toml_printer *p, const json_t *table);

static int print_list(toml_printer *p, const json_t *list)
{
    size_t before = p->path.size;
    int rc = 0;

    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        (void)mp__path_add_index(&p->path, i);
        print_header(p, true);
        rc = print_table(p, json_array_get(list, i));
        p->path.size = before;
    }
    return rc;
}

/* What stands below the header of @table, and the tables in it. */
static int print_table(toml_printer *p, const json_t *table)
{
    json_t *object = iterable(table);
    size_t path_before = p->path.size, header_before = p->header.size;
    bool any;
    int rc = print_members(p, table, false, &any);

    for (void *i = json_object_iter(object); i && rc == 0; i = json_object_iter_next(object, i)) {
        const json_t *value = json_object_iter_value(i);
        mp_str name = mp_str_of(json_object_iter_key(i));

        if (!is_table(value) && !is_list_of_tables(value))
            continue;
        (void)mp__path_add_name(&p->path, name);
        if (p->header.size)
            (void)mp__buf_add_char(&p->header, '.');
        add_name(&p->header, name);
        if (is_table(value)) {
            (void)print_members(p, value, true, &any);
            if (any) /* else the headers below it make it, too */
                print_header(p, false);
            rc = print_table(p, value);
        } else {
            rc = print_list(p, value);
        }
        p->path.size = path_before;
        p->header.size = header_before;
    }
    return rc;
}

int mp__toml_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag)
{
    toml_printer p = {.leaves = leaves, .out = out, .diag = diag};
    json_t *tree;
    int rc = mp__leaves_tree(leaves, &tree, diag);

    if (rc)
        return rc;
    for (size_t i = 0; i < leaves->count && !p.has_own; i++)
        p.has_own = mp_str_equal(leaves->items[i].media_type, MP_STR(MP__MEDIA_TOML));
    if (json_is_array(tree))
        rc = mp__diag_set(diag, MP_EINVAL, "'%.*s': a TOML file is a table, it cannot be a list",
                          (int)leaves->items[0].key.size, leaves->items[0].key.data);
    else
        rc = print_table(&p, tree);
    json_decref(tree);
    if (rc == 0 && (p.path.error || p.header.error))
        rc = MP_ENOMEM;
    mp__buf_done(&p.path);
    mp__buf_done(&p.header);
    return rc ? rc : out->error;
}

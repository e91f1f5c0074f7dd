/* SPDX-License-Identifier: Apache-2.0 */
#include "format/format.h"

#include <strings.h>

#include "format/kinds.h"

const mp__format *const mp__formats[] = {
    &mp__format_json,
    &mp__format_yaml,
    &mp__format_env,
    &mp__format_ini,
    &mp__format_properties,
    &mp__format_toml,
    NULL,
};

const mp__format *mp__format_find(const char *name)
{
    for (const mp__format *const *f = mp__formats; *f; f++)
        if (strcasecmp((*f)->name, name) == 0)
            return *f;
    return NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_null(mp_str word)
{
    static const char *const words[] = {"null", "Null", "NULL", "~", "---", "...", NULL};

    for (const char *const *w = words; *w; w++)
        if (mp_str_equal(word, mp_str_of(*w)))
            return true;
    return false;
}

static bool has_braces(const mp__format *format)
{
    return format == &mp__format_json || format == &mp__format_yaml;
}

const char *mp__format_no_keys(const mp__format *format)
{
    return has_braces(format) ? "{}" : "# none";
}

bool mp__format_is_blank(const mp__format *format, mp_str bytes)
{
    bool has_null = has_braces(format);
    size_t at = 0, begin;

    if (bytes.size >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0)
        at = 3;
    while (true) {
        while (at < bytes.size && is_space(bytes.data[at]))
            at++;
        if (at == bytes.size)
            return true;
        begin = at;
        while (at < bytes.size && !is_space(bytes.data[at]))
            at++;
        if (!has_null || !is_null(mp_str_new(bytes.data + begin, at - begin)))
            return false;
    }
}

static bool ends_with(const char *path, const char *ending)
{
    size_t size = strlen(path), tail = strlen(ending);

    return size >= tail && strcasecmp(path + size - tail, ending) == 0;
}

const mp__format *mp__format_of_path(const char *path)
{
    for (const mp__format *const *f = mp__formats; *f; f++)
        for (const char *const *e = (*f)->extensions; *e; e++)
            if (ends_with(path, *e))
                return *f;
    return NULL;
}

/* Names that are written for application/yaml, and that RFC 9512 section 2.1 lists as such. */
static const char *const yaml_names[] = {"application/x-yaml", "text/yaml", "text/x-yaml", NULL};

static bool is_called(mp_str type, const char *name)
{
    return type.size == strlen(name) && strncasecmp(type.data, name, type.size) == 0;
}

const mp__format *mp__format_of_media_type(mp_str type)
{
    for (const mp__format *const *f = mp__formats; *f; f++)
        if (is_called(type, (*f)->media_type))
            return *f;
    for (const char *const *name = yaml_names; *name; name++)
        if (is_called(type, *name))
            return &mp__format_yaml;
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which subschema a reference means. Nothing is ever fetched: what is not in the document is not
 * there. */
#include "core/alloc.h"
#include "schema/node.h"

/* ---- RFC 3986: a reference against a base ---- */

typedef struct uri {
    mp_str scheme, authority, path,
        query; /* scheme with ':', authority with "//", query with '?' */
} uri;

static mp_str cut(mp_str *rest, size_t size)
{
    mp_str head = mp_str_new(rest->data, size);

    *rest = mp_str_new(rest->data + size, rest->size - size);
    return head;
}

static size_t span_until(mp_str text, const char *set)
{
    size_t i = 0;

    while (i < text.size && !(text.data[i] && strchr(set, text.data[i])))
        i++;
    return i;
}

/* Split, the fragment left out. */
static uri split(mp_str text)
{
    uri u = {0};
    size_t n;

    text.size = span_until(text, "#");
    n = span_until(text, ":/?");
    if (n && n < text.size && text.data[n] == ':')
        u.scheme = cut(&text, n + 1);
    if (text.size >= 2 && text.data[0] == '/' && text.data[1] == '/') {
        mp_str after = mp_str_new(text.data + 2, text.size - 2);

        u.authority = cut(&text, 2 + span_until(after, "/?"));
    }
    u.path = cut(&text, span_until(text, "?"));
    u.query = text;
    return u;
}

/* 5.2.4: "." and ".." go, in place; @first is where the path begins. */
static void remove_dots(mp__buf *out, size_t first)
{
    size_t from = first, to = first;

    while (from < out->size) {
        mp_str rest = mp_str_new(out->data + from, out->size - from);
        size_t segment = 1 + span_until(mp_str_new(rest.data + 1, rest.size - 1), "/");
        mp_str name = mp_str_new(rest.data, segment);
        bool last = from + segment == out->size;

        if (mp_str_equal(name, MP_STR("/..")) || mp_str_equal(name, MP_STR("/."))) {
            if (name.size == 3)
                while (to > first && out->data[--to] != '/')
                    ;
            if (last)
                out->data[to++] = '/';
        } else {
            memmove(out->data + to, rest.data, segment);
            to += segment;
        }
        from += segment;
    }
    out->size = to;
}

static void add_path(mp__buf *out, const uri *base, const uri *ref)
{
    size_t first = out->size, slash = base->path.size;

    if (ref->path.size == 0) {
        (void)mp__buf_add_str(out, base->path);
        return;
    }
    if (ref->path.data[0] != '/') {
        while (slash && base->path.data[slash - 1] != '/')
            slash--;
        if (slash == 0 && base->authority.size)
            (void)mp__buf_add_char(out, '/');
        (void)mp__buf_add(out, base->path.data, slash);
    }
    (void)mp__buf_add_str(out, ref->path);
    if (!out->error && out->size > first && out->data[first] == '/')
        remove_dots(out, first);
}

char *mp__uri_resolve(const char *base_text, mp_str reference)
{
    uri base = split(mp_str_of(base_text)), ref = split(reference);
    mp__buf out = MP__BUF_INIT;
    char *text = NULL;

    if (ref.scheme.size) {
        (void)mp__buf_add(&out, reference.data, span_until(reference, "#"));
    } else {
        (void)mp__buf_add_str(&out, base.scheme);
        if (ref.authority.size) {
            (void)mp__buf_add_str(&out, ref.authority);
            (void)mp__buf_add_str(&out, ref.path);
            (void)mp__buf_add_str(&out, ref.query);
        } else {
            (void)mp__buf_add_str(&out, base.authority);
            add_path(&out, &base, &ref);
            (void)mp__buf_add_str(&out, ref.query.size || ref.path.size ? ref.query : base.query);
        }
    }
    if (!out.error)
        text = mp__str_dup(mp__buf_str(&out));
    mp__buf_done(&out);
    return text;
}

/* ---- looking up ---- */

const mp__anchor *mp__anchor_find(const mp__schema *schema, size_t resource, mp_str name,
                                  bool dynamic)
{
    for (size_t i = 0; i < schema->anchor_count; i++) {
        const mp__anchor *anchor = &schema->anchors[i];

        if (anchor->resource == resource && (!dynamic || anchor->dynamic) &&
            mp_str_equal(anchor->name, name))
            return anchor;
    }
    return NULL;
}

mp__node *mp__node_of(const mp__schema *schema, const json_t *json)
{
    size_t mask = schema->index_capacity - 1, at;

    if (!schema->index_capacity)
        return NULL;
    at = ((uintptr_t)json >> 4) * 0x9e3779b97f4a7c15u >> 32 & mask;
    for (; schema->index[at]; at = (at + 1) & mask)
        if (schema->index[at]->json == json)
            return schema->index[at];
    return NULL;
}

static bool resource_of(const mp__schema *schema, const char *uri_text, size_t *ret_resource)
{
    for (size_t i = 0; i < schema->resource_count; i++)
        if (strcmp(schema->resources[i].uri, uri_text) == 0) {
            *ret_resource = i;
            return true;
        }
    return false;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A fragment is percent-encoded. */
static int decode(mp_str text, mp__buf *out)
{
    for (size_t i = 0; i < text.size; i++) {
        int high = -1, low = -1;

        if (text.data[i] == '%' && i + 2 < text.size) {
            high = hex_value(text.data[i + 1]);
            low = hex_value(text.data[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            (void)mp__buf_add_char(out, (char)(high * 16 + low));
            i += 2;
        } else {
            (void)mp__buf_add_char(out, text.data[i]);
        }
    }
    return out->error;
}

/* Along a JSON Pointer from the root of *resource; a subschema with an $id of its own on the way
 * is another resource. */
static int find_pointer(const mp__schema *schema, mp_str text, const json_t **json,
                        size_t *resource)
{
    mp__pointer pointer = {.text = text};
    const json_t *here = schema->resources[*resource].root;
    int rc = mp__pointer_valid(text) ? 0 : MP_EABSENT;

    while (rc == 0 && (rc = mp__pointer_next(&pointer)) == 1) {
        const mp__node *node;

        here = mp__pointer_step(here, mp__buf_str(&pointer.token));
        if (!here) {
            rc = MP_EABSENT;
            break;
        }
        node = mp__node_of(schema, here);
        if (node && json_is_object(here))
            *resource = node->resource;
        rc = 0;
    }
    mp__buf_done(&pointer.token);
    if (rc == 0)
        *json = here;
    return rc;
}

int mp__ref_find(const mp__schema *schema, size_t resource, mp_str reference,
                 const json_t **ret_json, size_t *ret_resource, mp__buf *path,
                 const mp__anchor **ret_anchor)
{
    char *whole = mp__uri_resolve(schema->resources[resource].uri, reference);
    size_t hash = span_until(reference, "#");
    mp_str fragment = hash < reference.size
                          ? mp_str_new(reference.data + hash + 1, reference.size - hash - 1)
                          : MP_STR("");
    int rc = whole ? 0 : MP_ENOMEM;

    *ret_anchor = NULL;
    if (rc == 0 && !resource_of(schema, whole, &resource))
        rc = MP_EABSENT;
    (void)mp__free(whole);
    if (rc == 0)
        rc = decode(fragment, path);
    if (rc)
        return rc;
    *ret_resource = resource;
    if (path->size == 0 || path->data[0] == '/')
        return find_pointer(schema, mp__buf_str(path), ret_json, ret_resource);
    *ret_anchor = mp__anchor_find(schema, resource, mp__buf_str(path), false);
    if (!*ret_anchor)
        return MP_EABSENT;
    *ret_json = (*ret_anchor)->json;
    return 0;
}

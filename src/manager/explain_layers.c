/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a key in each layer of its overlay, and which of them a read is answered from. */
#include "manager/internal.h"

enum { SHOWN_MAX = 1024 }; /* bytes of a value that is shown itself */

/* Whoever looks must not change what he looks at: nothing comes up a tier by it. */
static const mp__entry *kept(mp__manager *manager, mp_str address)
{
    uint64_t hash = mp__cache_hash(manager->hasher, address);
    const mp__entry *entry = NULL;

    if (mp__back_may_have(&manager->back_filter, hash))
        entry = mp__back_find(manager->back, address, hash); /* what is on its way is the newest */
    if (entry)
        return entry;
    if (mp_read_begin() == 0) {
        entry = mp__cache_peek(manager->cache, address, hash);
        if (entry)
            (void)mp__entry_ref(entry);
        mp_read_end();
    }
    if (!entry && mp__cache_peek_memory(manager->cache, address, hash, &entry) != 0 &&
        mp__cache_peek_nowait(manager->cache, address, hash, &entry) != 0)
        entry = NULL;
    return entry;
}

void mp__explained_take(mp__manager *manager, mp_str address, mp__explained *ret_explained)
{
    size_t scope = mp__scope_size(address);
    mp_str rest = mp_str_new(address.data + scope, address.size - scope);
    mp__explained *e = ret_explained;
    bool is_known = true;

    *e = (mp__explained){0};
    e->count = mp__overlay_layers_of(manager, address, e->scopes);
    e->winner = e->count;
    for (size_t i = 0; i < e->count; i++) {
        char text[MP__ADDRESS_MAX];

        memcpy(text, e->scopes[i].data, e->scopes[i].size);
        memcpy(text + e->scopes[i].size, rest.data, rest.size);
        e->entries[i] = kept(manager, mp_str_new(text, e->scopes[i].size + rest.size));
        if (!e->entries[i]) {
            const mp__entry *mark = kept(manager, e->scopes[i]);
            uint64_t hash = mp__cache_hash(manager->hasher, e->scopes[i]);

            e->is_empty[i] = mark && mark->kind == MP__RECORD_ABSENT &&
                             !mp__back_may_have(&manager->back_filter, hash);
            (void)mp__entry_unref(mark);
        }
        if (!e->entries[i] && !e->is_empty[i] && e->winner == e->count && is_known) {
            is_known = false;
            e->unknown = i;
        }
        if (is_known && e->winner == e->count && e->entries[i] &&
            e->entries[i]->kind != MP__RECORD_ABSENT)
            e->winner = i;
    }
    e->is_known = is_known || e->winner < e->count;
}

void mp__explained_done(mp__explained *explained)
{
    for (size_t i = 0; i < explained->count; i++)
        explained->entries[i] = mp__entry_unref(explained->entries[i]);
}

static const char *state_of(const mp__explained *e, size_t i)
{
    if (!e->entries[i])
        return e->is_empty[i] ? "no-keys" : "unknown";
    switch (e->entries[i]->kind) {
    case MP__RECORD_VALUE:
        return "value";
    case MP__RECORD_MASK:
        return "masked";
    default:
        return "absent";
    }
}

static void layer_json(const mp__explained *e, size_t i, mp__buf *out)
{
    const mp__entry *entry = e->entries[i];

    mp__json_begin(out, '{');
    mp__json_add_string(out, "scope", e->scopes[i]);
    mp__json_add_text(out, "state", state_of(e, i));
    if (entry) {
        mp_str value = mp_blob_str(&entry->blob.pub);

        mp__json_add_u64(out, "revision", entry->revision);
        if (entry->kind == MP__RECORD_VALUE && value.size <= SHOWN_MAX)
            mp__json_add_bytes(out, "value", value);
        else if (entry->kind == MP__RECORD_VALUE)
            mp__json_add_u64(out, "size", value.size);
    }
    mp__json_add_bool(out, "answers", i == e->winner);
    mp__json_end(out, '}');
}

static void why(const mp__explained *e, mp__buf *out)
{
    mp__buf text = MP__BUF_INIT;

    if (e->winner < e->count && e->entries[e->winner]->kind == MP__RECORD_MASK)
        (void)mp__buf_printf(&text, "%.*s masks it: nothing behind it is looked at",
                             (int)e->scopes[e->winner].size, e->scopes[e->winner].data);
    else if (e->winner < e->count)
        (void)mp__buf_printf(&text, "%.*s is the nearest layer that has a value",
                             (int)e->scopes[e->winner].size, e->scopes[e->winner].data);
    else if (e->is_known)
        (void)mp__buf_printf(&text, "no layer has a value");
    else
        (void)mp__buf_printf(&text,
                             "nothing is kept of it in %.*s, which a read asks the origin for "
                             "before it looks further",
                             (int)e->scopes[e->unknown].size, e->scopes[e->unknown].data);
    mp__json_add_string(out, "layer_why", mp__buf_str(&text));
    mp__buf_done(&text);
}

void mp__explained_json(const mp__explained *explained, mp__buf *out)
{
    mp__json_add_string(out, "layer",
                        explained->winner < explained->count ? explained->scopes[explained->winner]
                                                             : mp_str_new("", 0));
    why(explained, out);
    mp__json_key(out, "layers");
    mp__json_begin(out, '[');
    for (size_t i = 0; i < explained->count; i++)
        layer_json(explained, i, out);
    mp__json_end(out, ']');
}

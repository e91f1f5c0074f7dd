/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/replay.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cache/policy/wtinylfu.h"
#include "core/alloc.h"
#include "core/hash.h"

enum { KEY_MAX = 4096 };

/* ---- traces ---- */

void mp__trace_done(mp__trace *trace)
{
    (void)mp__free(trace->ids);
    (void)mp__free(trace->hashes);
    (void)mp__free(trace->table);
    *trace = (mp__trace){0};
}

/* Two keys of one hash would be one key: of 64 bits and a million keys the chance is 1 in 10^7. */
static int grow_table(mp__trace *t)
{
    size_t size = t->table_size ? t->table_size * 2 : 4096;
    uint32_t *table = mp__calloc(size, sizeof(*table));

    if (!table)
        return MP_ENOMEM;
    for (size_t id = 0; id < t->keys; id++) {
        size_t at = t->hashes[id] & (size - 1);

        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)id + 1;
    }
    (void)mp__free(t->table);
    t->table = table;
    t->table_size = size;
    return 0;
}

static int id_of(mp__trace *t, uint64_t hash, uint32_t *ret_id)
{
    size_t at;

    if (2 * (t->keys + 1) > t->table_size && grow_table(t) != 0)
        return MP_ENOMEM;
    for (at = hash & (t->table_size - 1); t->table[at]; at = (at + 1) & (t->table_size - 1))
        if (t->hashes[t->table[at] - 1] == hash) {
            *ret_id = t->table[at] - 1;
            return 0;
        }
    if (t->keys >= UINT32_MAX / 4)
        return MP_ELIMIT;
    if (t->keys == t->keys_capacity) {
        size_t capacity = t->keys_capacity ? t->keys_capacity * 2 : 4096;
        uint64_t *hashes = mp__realloc_array(t->hashes, capacity, sizeof(*hashes));

        if (!hashes)
            return MP_ENOMEM;
        t->hashes = hashes;
        t->keys_capacity = capacity;
    }
    t->hashes[t->keys] = hash;
    t->table[at] = (uint32_t)t->keys + 1;
    *ret_id = (uint32_t)t->keys++;
    return 0;
}

int mp__trace_add_hash(mp__trace *t, uint64_t hash)
{
    int rc;

    if (t->requests == t->capacity) {
        size_t capacity = t->capacity ? t->capacity * 2 : 65536;
        uint32_t *ids = mp__realloc_array(t->ids, capacity, sizeof(*ids));

        if (!ids)
            return MP_ENOMEM;
        t->ids = ids;
        t->capacity = capacity;
    }
    rc = id_of(t, hash, &t->ids[t->requests]);
    t->requests += rc == 0;
    return rc;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The key of a line, in *ret_key; the rest must be a number or nothing. */
static bool parse_line(mp_str line, mp_str *ret_key)
{
    size_t end, i;

    while (line.size && is_blank(*line.data))
        line = mp_str_new(line.data + 1, line.size - 1);
    for (end = 0; end < line.size && !is_blank(line.data[end]); end++)
        ;
    *ret_key = mp_str_new(line.data, end);
    for (i = end; i < line.size && is_blank(line.data[i]); i++)
        ;
    while (i < line.size && line.data[i] >= '0' && line.data[i] <= '9')
        i++;
    while (i < line.size && is_blank(line.data[i]))
        i++;
    return end > 0 && end <= KEY_MAX && i == line.size;
}

static bool is_empty(mp_str line)
{
    size_t i = 0;

    while (i < line.size && is_blank(line.data[i]))
        i++;
    return i == line.size;
}

static int refuse(const mp__trace *trace, mp_str word, mp__diag *diag)
{
    int line = trace->lines < INT_MAX ? (int)trace->lines : INT_MAX;

    if (word.size > KEY_MAX)
        return mp__diag_at(diag, MP_ESYNTAX, line, 1, "a key of more than %d bytes", KEY_MAX);
    return mp__diag_at(diag, MP_ESYNTAX, line, 1, "neither `key` nor `key size`");
}

/* The first line without the mark that some programs put before UTF-8. */
static mp_str without_mark(mp_str line)
{
    static const char mark[] = "\xef\xbb\xbf";

    if (line.size < 3 || memcmp(line.data, mark, 3) != 0)
        return line;
    return mp_str_new(line.data + 3, line.size - 3);
}

int mp__trace_add(mp__trace *trace, mp_str text, bool is_last, size_t *ret_used, mp__diag *diag)
{
    const mp__hash_key key = {0x6d61726b65747072u ^ trace->seed, 0x69736d2074726163u};
    size_t at = 0;

    while (at < text.size) {
        const char *end = memchr(text.data + at, '\n', text.size - at);
        mp_str line, word;
        int rc;

        if (!end && !is_last)
            break;
        line = mp_str_new(text.data + at, end ? (size_t)(end - text.data) - at : text.size - at);
        at += line.size + (end ? 1 : 0);
        if (trace->lines++ == 0)
            line = without_mark(line);
        if (is_empty(line))
            continue;
        if (!parse_line(line, &word))
            return refuse(trace, word, diag);
        rc = mp__trace_add_hash(trace, mp__hash_str(key, word));
        if (rc)
            return rc;
    }
    *ret_used = at;
    return 0;
}

/* ---- replaying ---- */

/* "w-tinylfu:40" names a window; every other name stands for itself. */
int mp__replay_policy_make(const char *name, size_t capacity, mp__policy **ret_policy)
{
    static const char prefix[] = "w-tinylfu:";
    const mp__policy_ops *ops = mp__policy_find(name);
    char *end;
    unsigned long percent;

    if (ops)
        return ops->make(capacity, ret_policy);
    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return MP_EINVAL;
    percent = strtoul(name + sizeof(prefix) - 1, &end, 10);
    if (*end || percent < 1 || percent > 99)
        return MP_EINVAL;
    return mp__wtinylfu_make(capacity, (unsigned)percent, ret_policy);
}

mp__replay *mp__replay_free(mp__replay *replay)
{
    if (replay) {
        if (replay->policy)
            (void)replay->policy->ops->free(replay->policy);
        (void)mp__free(replay->keys);
    }
    return mp__free(replay);
}

int mp__replay_new(const mp__trace *trace, const char *policy, size_t capacity,
                   mp__replay **ret_replay)
{
    mp__replay *r = mp__calloc(1, sizeof(*r));
    int rc = capacity ? 0 : MP_EINVAL;

    if (!r)
        return MP_ENOMEM;
    r->trace = trace;
    r->capacity = capacity;
    r->keys = mp__calloc(trace->keys + 1, sizeof(*r->keys));
    if (rc == 0 && !r->keys)
        rc = MP_ENOMEM;
    if (rc == 0)
        rc = mp__replay_policy_make(policy, capacity, &r->policy);
    if (rc) {
        (void)mp__replay_free(r);
        return rc;
    }
    *ret_replay = r;
    return 0;
}

static void miss(mp__replay *r, uint32_t id)
{
    const mp__policy_ops *ops = r->policy->ops;
    mp__replay_key *key = &r->keys[id];

    if (ops->coming)
        ops->coming(r->policy, r->trace->hashes[id]);
    if (r->cached == r->capacity) {
        mp__policy_node *victim = ops->evict(r->policy);

        ((mp__replay_key *)((char *)victim - offsetof(mp__replay_key, node)))->is_cached = false;
        r->cached--;
    }
    key->node.hash = r->trace->hashes[id];
    key->node.size = 1;
    mp__policy_uses_are(&key->node, &key->uses);
    ops->insert(r->policy, &key->node);
    key->is_cached = true;
    r->cached++;
}

void mp__replay_run(mp__replay *replay, size_t from, size_t to)
{
    const mp__policy_ops *ops = replay->policy->ops;
    const uint32_t *ids = replay->trace->ids;
    uint64_t hits = 0;

    for (size_t i = from; i < to; i++) {
        uint32_t id = ids[i];

        if (replay->had)
            replay->had[i - from] = replay->keys[id].is_cached;
        if (replay->keys[id].is_cached) {
            hits++;
            ops->hit(replay->policy, &replay->keys[id].node);
        } else {
            miss(replay, id);
        }
    }
    replay->hits += hits;
    replay->requests += to - from;
}

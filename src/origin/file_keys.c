/* SPDX-License-Identifier: Apache-2.0 */
/* From files to keys: what the files of a namespace give together, what of it is new, and the
 * commit of that.
 *
 * A file is taken as a whole or not at all. What gives a key that another file of the namespace
 * gives, too, is not taken: the one that changed; of two the one whose name comes later. It falls
 * back to what was last taken of it. All that was taken once is free of contradictions, so falling
 * back ends. */
#include "core/bytes.h"
#include "origin/file.h"

#include <stdio.h>
#include <stdlib.h>

mp__file_group *mp__file_group_free(mp__file_group *group)
{
    if (!group)
        return NULL;
    (void)mp__free(group->held);
    (void)mp__free(group->bytes);
    (void)mp__free(group->wanted);
    (void)mp__free(group->wanted_bytes);
    (void)mp__free(group->changes);
    (void)mp__free(group->name);
    return mp__free(group);
}

static uint64_t value_hash(mp_str value, mp_str media_type)
{
    return mp__checksum(mp__checksum(0, media_type.data, media_type.size), value.data, value.size);
}

static int compare_address(const void *key, const void *held)
{
    return mp__bytes_order(*(const mp_str *)key, ((const mp__held *)held)->address);
}

const mp__held *mp__held_find(const mp__held *held, size_t count, mp_str address)
{
    return count ? bsearch(&address, held, count, sizeof(*held), compare_address) : NULL;
}

/* By address; those whose source nobody knows last, then by the name of the source. */
static int compare_held(const void *a, const void *b)
{
    const mp__held *x = a, *y = b;
    int order = mp__bytes_order(x->address, y->address);

    if (order || x->source == y->source)
        return order;
    if (!x->source || !y->source)
        return x->source ? -1 : 1;
    return strcmp(x->source->name, y->source->name);
}

/* ---- what is wanted ---- */

/* It may hold keys that were not read, so keys that nobody gives now may be its own. */
static bool may_hold_more(const mp__file_source *source)
{
    return source->listed && !source->fresh && (source->trouble || !source->content);
}

static bool keeps(const mp__held *held, bool keep_unknown)
{
    return held->source ? held->source->listed && !held->source->fresh : keep_unknown;
}

typedef struct wanting {
    size_t count, bytes;
    bool keep_unknown;
} wanting;

static wanting measure(const mp__file_group *group)
{
    wanting w = {0};
    size_t prefix = strlen(group->name) + 1;

    for (const mp__file_source *s = group->sources; s; s = s->next_of_group) {
        w.keep_unknown |= may_hold_more(s);
        for (size_t i = 0; s->fresh && i < s->leaves.count; i++) {
            w.count++;
            w.bytes += prefix + s->leaves.items[i].key.size;
        }
    }
    for (size_t i = 0; i < group->count; i++)
        if (keeps(&group->held[i], w.keep_unknown)) {
            w.count++;
            w.bytes += group->held[i].address.size;
        }
    return w;
}

static void want(mp__file_group *group, char **p, mp__held held, mp_str prefix, mp_str rest)
{
    char *at = *p;

    memcpy(at, prefix.data, prefix.size);
    if (rest.data) {
        at[prefix.size] = '/';
        memcpy(at + prefix.size + 1, rest.data, rest.size);
        prefix.size += 1 + rest.size;
    }
    held.address = mp_str_new(at, prefix.size);
    group->wanted[group->wanted_count++] = held;
    *p = at + prefix.size;
}

static int gather(mp__file_group *group)
{
    wanting w = measure(group);
    char *p;

    group->wanted = mp__free(group->wanted);
    group->wanted_bytes = mp__free(group->wanted_bytes);
    group->wanted_count = 0;
    group->wanted = mp__calloc(w.count ? w.count : 1, sizeof(*group->wanted));
    group->wanted_bytes = p = mp__malloc(w.bytes ? w.bytes : 1);
    if (!group->wanted || !p)
        return MP_ENOMEM;
    for (mp__file_source *s = group->sources; s; s = s->next_of_group)
        for (size_t i = 0; s->fresh && i < s->leaves.count; i++) {
            const mp__leaf *leaf = &s->leaves.items[i];

            want(group, &p,
                 (mp__held){
                     .hash = value_hash(leaf->value, leaf->media_type), .source = s, .leaf = leaf},
                 mp_str_of(group->name), leaf->key);
        }
    for (size_t i = 0; i < group->count; i++)
        if (keeps(&group->held[i], w.keep_unknown))
            want(group, &p, group->held[i], group->held[i].address, (mp_str){NULL, 0});
    if (group->wanted_count)
        qsort(group->wanted, group->wanted_count, sizeof(*group->wanted), compare_held);
    return 0;
}

static void fall_back(mp__file_source *source)
{
    source->fresh = false;
    source->known = false; /* look at it again each time: the other file may be mended */
    mp__leaves_done(&source->leaves);
}

/* @a and @b both give the key of @held: one is not taken. */
static int clash(mp__file_origin *o, const mp__held *held, mp__file_source *a, mp__file_source *b)
{
    mp__file_source *loser = !a->fresh ? b : !b->fresh ? a : strcmp(a->name, b->name) < 0 ? b : a;
    const mp__file_source *other = loser == a ? b : a;
    size_t prefix = strlen(loser->group->name) + 1;
    int rc =
        mp__file_break(loser, "gives the key '%.*s', and so does %s; remove it from one of them",
                       (int)(held->address.size - prefix < 200 ? held->address.size - prefix : 200),
                       held->address.data + prefix, other->name);

    fall_back(loser);
    if (rc == 0)
        mp__file_trouble_note(o, false, loser->trouble);
    return rc;
}

/* The wanted without doubles. MP_EAGAIN: a source fell back, gather again. */
static int settle(mp__file_origin *o, mp__file_group *group)
{
    size_t n = 0;

    for (size_t i = 0; i < group->wanted_count; i++) {
        const mp__held *held = &group->wanted[i], *last = n ? &group->wanted[n - 1] : NULL;

        if (!last || mp__bytes_order(last->address, held->address) != 0) {
            group->wanted[n++] = *held;
        } else if (held->source && last->source) {
            int rc = clash(o, held, last->source, held->source);

            return rc ? rc : MP_EAGAIN;
        } /* else what an earlier run left has found its source */
    }
    group->wanted_count = n;
    return 0;
}

/* One source that made the namespace too large falls back. */
static int check_limit(mp__file_origin *o, mp__file_group *group)
{
    mp__file_source *largest = NULL;
    int rc;

    if (o->key_count - group->count + group->wanted_count <= o->options.keys_max)
        return 0;
    for (mp__file_source *s = group->sources; s; s = s->next_of_group)
        if (s->fresh && (!largest || s->leaves.count > largest->leaves.count))
            largest = s;
    if (!largest)
        return 0;
    rc = mp__file_break(largest, "makes more keys than origin.keys_max (%zu)", o->options.keys_max);
    fall_back(largest);
    if (rc == 0)
        mp__file_trouble_note(o, false, largest->trouble);
    return rc ? rc : MP_EAGAIN;
}

static int want_all(mp__file_origin *o, mp__file_group *group)
{
    int rc;

    do {
        rc = gather(group);
        if (rc == 0)
            rc = settle(o, group);
        if (rc == 0)
            rc = check_limit(o, group);
    } while (rc == MP_EAGAIN);
    return rc;
}

/* ---- the difference ---- */

static void change(mp__file_group *group, enum mp__change_op op, const mp__held *held)
{
    mp__change *c = &group->changes[group->write.count++];

    *c = (mp__change){.op = op, .address = held->address};
    if (op == MP__CHANGE_PUT) {
        c->flags = MP__IF_CHANGED;
        c->value = held->leaf->value;
        c->media_type = held->leaf->media_type;
    }
}

/* Both are in the order of their addresses. What is wanted has been told of as what is held was. */
static void differ(mp__file_group *group, bool distrust)
{
    size_t h = 0, w = 0;

    for (;;) {
        const mp__held *held = h < group->count ? &group->held[h] : NULL;
        mp__held *wanted = w < group->wanted_count ? &group->wanted[w] : NULL;
        int order;

        if (!held && !wanted)
            return;
        order = !held ? 1 : !wanted ? -1 : mp__bytes_order(held->address, wanted->address);
        if (order < 0)
            change(group, MP__CHANGE_DELETE, held);
        else if (wanted->leaf && (order > 0 || distrust || held->hash != wanted->hash))
            change(group, MP__CHANGE_PUT, wanted);
        if (order == 0)
            wanted->in_doubt = held->in_doubt;
        h += order <= 0;
        w += order >= 0;
    }
}

static void name_actor(mp__file_group *group)
{
    const char *first = NULL;
    size_t more = 0;

    for (const mp__file_source *s = group->sources; s; s = s->next_of_group)
        if (s->fresh || !s->listed) {
            more += first != NULL;
            if (!first || strcmp(s->name, first) < 0)
                first = s->name;
        }
    if (more)
        (void)snprintf(group->actor, sizeof(group->actor), "file %.150s and %zu more", first, more);
    else
        (void)snprintf(group->actor, sizeof(group->actor), "file %.180s",
                       first ? first : group->name);
}

static void group_committed(mp__write *write, int status)
{
    mp__file_group *group =
        (mp__file_group *)(void *)((char *)write - offsetof(mp__file_group, write));
    mp__file_origin *o = group->origin;

    group->status = status;
    for (size_t i = 0; i < write->count && status == 0; i++)
        if (write->changes[i].changed && o->options.on_seen)
            o->options.on_seen(o->options.context, &write->changes[i].after);
    if (atomic_fetch_sub(&o->under_way, 1) == 1 && !o->opening)
        mp__loop_post(o->loop, &o->committed_task);
}

int mp__file_prepare(mp__file_origin *o, mp__file_group *group)
{
    int rc = want_all(o, group);

    if (rc)
        return rc;
    group->changes = mp__free(group->changes);
    group->changes = mp__calloc(group->count + group->wanted_count + 1, sizeof(*group->changes));
    if (!group->changes)
        return MP_ENOMEM;
    group->write = (mp__write){.changes = group->changes, .done = group_committed};
    differ(group, o->distrust);
    name_actor(group);
    group->write.actor = mp_str_of(group->actor);
    group->under_way = true;
    group->status = 0;
    group->warned = false;
    return 0;
}

static bool is_due(const mp__file_group *group)
{
    return !group->environment->missing && (group->touched || group->unknown);
}

/* ---- what became of it ---- */

static void is_taken(mp__file_origin *o, mp__file_group *group)
{
    (void)pthread_mutex_lock(&o->lock);
    o->key_count = o->key_count - group->count + group->wanted_count;
    (void)mp__free(group->held);
    (void)mp__free(group->bytes);
    group->held = group->wanted;
    group->count = group->wanted_count;
    group->bytes = group->wanted_bytes;
    group->wanted = NULL;
    group->wanted_bytes = NULL;
    group->unknown = 0;
    for (size_t i = 0; i < group->count; i++) {
        group->held[i].leaf = NULL;
        group->unknown += !group->held[i].source;
    }
    mp__file_doubts_link(group);
    group->touched = false;
    group->differs = true; /* keys may have come from one source to another */
    (void)pthread_mutex_unlock(&o->lock);
}

/* It is compared again at the next look, with what the files hold then. */
static void is_not_taken(mp__file_origin *o, mp__file_group *group)
{
    group->wanted = mp__free(group->wanted);
    group->wanted_bytes = mp__free(group->wanted_bytes);
    for (mp__file_source *s = group->sources; s; s = s->next_of_group)
        if (s->fresh) {
            s->known = false;
            s->content = 0;
        }
    o->failed++;
}

static void finish(mp__file_origin *o, mp__file_group *group)
{
    size_t changed = 0;

    for (size_t i = 0; i < group->write.count; i++)
        changed += group->write.changes[i].changed;
    if (group->status == 0)
        is_taken(o, group);
    else
        is_not_taken(o, group);
    for (mp__file_source *s = group->sources; s; s = s->next_of_group) {
        s->fresh = false;
        mp__leaves_done(&s->leaves);
    }
    if (group->status)
        mp__log(o->options.log, MP__LOG_ERROR, "origin", "files-not-committed", "%s: %s",
                group->actor, mp_strerror(group->status));
    else if (changed)
        mp__log(o->options.log, o->opening ? MP__LOG_DEBUG : MP__LOG_INFO, "origin",
                "files-changed", "%s: %zu key%s changed, %zu in all", group->actor, changed,
                changed == 1 ? "" : "s", group->count);
    group->changes = mp__free(group->changes);
    group->under_way = false;
}

void mp__file_committed(mp__file_origin *o)
{
    for (size_t i = 0; i < o->group_count; i++)
        if (o->groups[i]->under_way)
            finish(o, o->groups[i]);
    o->distrust &= o->failed > 0;
    mp__file_sweep(o);
}

static void unlink_source(mp__file_source *source)
{
    mp__file_source **link = &source->group->sources;

    while (*link != source)
        link = &(*link)->next_of_group;
    *link = source->next_of_group;
}

void mp__file_sweep(mp__file_origin *o)
{
    size_t n = 0;

    (void)pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < o->source_count; i++) {
        mp__file_source *s = o->sources[i];

        if (s->listed || s->group->touched) { /* touched: not committed yet */
            o->sources[n++] = s;
            continue;
        }
        unlink_source(s);
        (void)mp__file_source_free(s);
    }
    o->source_count = n;
    n = 0;
    for (size_t i = 0; i < o->group_count; i++) {
        if (o->groups[i]->sources || o->groups[i]->count)
            o->groups[n++] = o->groups[i];
        else
            (void)mp__file_group_free(o->groups[i]);
    }
    o->group_count = n;
    (void)pthread_mutex_unlock(&o->lock);
}

/* ---- committing ---- */

static void hand_over(mp__file_origin *o, mp__file_group *group)
{
    if (o->opening) { /* the workers stand still */
        group->write.origin = o->inner;
        group->write.task = (mp__task){NULL, NULL};
        mp__sqlite_write_batch(o->inner, &group->write.task);
        return;
    }
    mp__origin_write(o->inner, &group->write);
}

static void give_up(mp__file_origin *o, mp__file_group *group, int status)
{
    group->status = status;
    group->write.count = 0;
    finish(o, group);
}

static bool is_schema(const mp__file_group *group)
{
    return strcmp(group->name + strlen(group->environment->name) + 1, MP__SCHEMA_NAMESPACE) == 0;
}

static bool is_of_base(const mp__file_origin *o, const mp__file_group *group)
{
    return strcmp(group->environment->name, o->options.base) == 0;
}

/* Whether something was held back. */
static bool ask_some(mp__file_origin *o, bool of_schemas, bool of_base)
{
    bool held_back = false;

    for (size_t i = 0; i < o->group_count; i++) {
        mp__file_group *group = o->groups[i];
        int rc = 0;

        if (group->under_way && is_schema(group) == of_schemas && is_of_base(o, group) == of_base)
            rc = mp__file_ask(o, group, &held_back);
        if (rc)
            give_up(o, group, rc);
    }
    return held_back;
}

/* The schemas come first: by what is taken of them the others are judged. Of these outer layers
 * come before inner ones (in the order of names, but for the base), as they may spoil what is seen
 * there. What is held back changes what others were judged with, so they are asked again then. */
static void ask_all(mp__file_origin *o)
{
    bool again;

    (void)ask_some(o, true, true);
    (void)ask_some(o, true, false);
    do {
        again = ask_some(o, false, true);
        again |= ask_some(o, false, false);
    } while (again);
}

bool mp__file_commit(mp__file_origin *o)
{
    size_t due = 0;

    o->failed = 0;
    for (size_t i = 0; i < o->group_count; i++)
        if (is_due(o->groups[i]) && mp__file_prepare(o, o->groups[i]) != 0)
            give_up(o, o->groups[i], MP_ENOMEM);
    if (o->options.on_proposal && mp__file_has_schemas(o))
        ask_all(o);
    for (size_t i = 0; i < o->group_count; i++)
        due += o->groups[i]->under_way && o->groups[i]->write.count > 0;
    if (due)
        atomic_store(&o->under_way, due);
    for (size_t i = 0; i < o->group_count; i++)
        if (o->groups[i]->under_way && o->groups[i]->write.count)
            hand_over(o, o->groups[i]);
    if (due && !o->opening)
        return true;
    mp__file_committed(o);
    return false;
}

/* ---- recalling ---- */

typedef struct recalling {
    mp__list list;
    mp__file_origin *o;
    int rc;
    uint64_t next;
    char **after; /* where the next page begins */
} recalling;

/* Records come by address, so those of a group come one after the other. */
static int recall_group(mp__file_origin *o, const mp__record *records, size_t count, mp_str name)
{
    mp__file_group *group = mp__file_group_of(o, name, true);
    size_t bytes = 0, old = group ? group->count : 0;
    mp__held *held;
    char *more, *p;

    if (!group)
        return MP_ENOMEM;
    for (size_t i = 0; i < old; i++)
        bytes += group->held[i].address.size;
    for (size_t i = 0; i < count; i++)
        bytes += records[i].address.size;
    held = mp__calloc(old + count, sizeof(*held));
    more = mp__malloc(bytes ? bytes : 1);
    if (!held || !more) {
        (void)mp__free(held);
        (void)mp__free(more);
        return MP_ENOMEM;
    }
    p = more;
    for (size_t i = 0; i < old + count; i++) {
        mp_str address = i < old ? group->held[i].address : records[i - old].address;

        memcpy(p, address.data, address.size);
        held[i].address = mp_str_new(p, address.size);
        held[i].hash = i < old ? group->held[i].hash
                               : value_hash(records[i - old].value, records[i - old].media_type);
        p += address.size;
    }
    qsort(held, old + count, sizeof(*held), compare_held); /* in our order, not the database's */
    (void)mp__free(group->held);
    (void)mp__free(group->bytes);
    group->held = held;
    group->bytes = more;
    group->count = group->unknown = old + count;
    o->key_count += count;
    return 0;
}

static mp_str group_name(mp_str address)
{
    const char *first = memchr(address.data, '/', address.size), *second;

    if (!first)
        return mp_str_new("", 0);
    second = memchr(first + 1, '/', address.size - (size_t)(first + 1 - address.data));
    return second ? mp_str_new(address.data, (size_t)(second - address.data)) : mp_str_new("", 0);
}

static void recalled(mp__list *list, int status, const mp__record *records, size_t count,
                     uint64_t next)
{
    recalling *r = (recalling *)list;

    r->rc = status;
    r->next = next;
    for (size_t i = 0, n; i < count && r->rc == 0; i += n) {
        mp_str name = group_name(records[i].address);

        for (n = 1; i + n < count && mp_str_equal(group_name(records[i + n].address), name); n++)
            ;
        if (name.size)
            r->rc = recall_group(r->o, &records[i], n, name);
    }
    if (r->rc == 0 && next &&
        count) { /* go on after the last of them, which is the list's no more */
        (void)mp__free(*r->after);
        *r->after = mp__str_dup(records[count - 1].address);
        r->rc = *r->after ? 0 : MP_ENOMEM;
    }
}

static void environments_recalled(mp__list *list, int status, const mp__record *records,
                                  size_t count, uint64_t next)
{
    recalling *r = (recalling *)list;

    (void)next;
    r->rc = status;
    for (size_t i = 0; i < count && r->rc == 0; i++)
        r->rc = mp__file_env_of(r->o, records[i].address, true) ? 0 : MP_ENOMEM;
}

static int recall_page(recalling *r)
{
    r->list.origin = r->o->inner;
    r->list.task.next = NULL;
    r->list.task.run = mp__sqlite_run_list;
    mp__sqlite_read_batch(r->o->inner, &r->list.task);
    return r->rc;
}

int mp__file_recall(mp__file_origin *o)
{
    char *after = mp__strdup("");
    recalling r = {.o = o, .after = &after};
    int rc = after ? 0 : MP_ENOMEM;

    r.list = (mp__list){.limit = 10000, .done = environments_recalled};
    if (rc == 0)
        rc = recall_page(&r);
    for (size_t i = 0; i < o->env_count && rc == 0; i++) {
        (void)mp__free(after);
        after = mp__strdup("");
        rc = after ? 0 : MP_ENOMEM;
        do {
            r.list = (mp__list){.environment = mp_str_of(o->envs[i]->name),
                                .limit = 10000,
                                .with_values = true,
                                .by_key = true,
                                .after_address = after ? mp_str_of(after) : mp_str_new("", 0),
                                .done = recalled};
            if (rc == 0)
                rc = recall_page(&r);
        } while (rc == 0 && r.next);
    }
    (void)mp__free(after);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Asking whether what the files give may be so, before it is committed.
 *
 * Whoever opened the origin judges (its schemas are configuration, too); what is judged is what
 * there will be once the whole look is committed. A file that breaks a rule is not taken, like one
 * that does not parse. Where there is no earlier version to keep, at the first start, it is taken
 * all the same, and what is wrong with it is a warning. */
#include "origin/file.h"

#include "core/address.h"

#define JSON_TYPE "application/json"

/* ---- the store, waited for ---- */

/* One page of a list of the store. The loop may block: nothing but the folder is on it, and what
 * waits for it waits for the same commit. How long: the reader of the store answers what was asked
 * before, and then this; of a proposal each layer is asked for twice at most, whatever the number
 * of scopes that share it (manager/judge.c), so a change comes later by what it costs to judge. */
typedef struct listing {
    mp__list list; /* first */
    const mp__file_group *group;
    bool all; /* else only what the group keeps of it */
    mp__leaves *leaves;
    char *after;
    bool more;
    int rc;
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool is_done;
} listing;

/* Whether what the store has of @address stays as it is. */
static bool is_kept(const mp__file_group *group, mp_str address)
{
    const mp__held *held = mp__held_find(group->wanted, group->wanted_count, address);

    return held && !held->leaf;
}

static int add(mp__leaves *leaves, mp_str key, mp_str value, mp_str media_type)
{
    bool json = mp_str_equal(media_type, MP_STR(JSON_TYPE));

    return mp__leaves_add(leaves, key, value, json ? JSON_TYPE : "text/plain");
}

static void page_came(mp__list *list, int status, const mp__record *records, size_t count,
                      uint64_t next)
{
    listing *l = (listing *)list;
    size_t prefix = strlen(l->group->name) + 1;

    l->rc = status;
    for (size_t i = 0; i < count && l->rc == 0; i++) {
        mp_str address = records[i].address;

        if (l->all || is_kept(l->group, address))
            l->rc = add(l->leaves, mp_str_new(address.data + prefix, address.size - prefix),
                        records[i].value, records[i].media_type);
    }
    l->more = l->rc == 0 && next && count;
    if (l->more) {
        (void)mp__free(l->after);
        l->after = mp__str_dup(records[count - 1].address);
        l->rc = l->after ? 0 : MP_ENOMEM;
    }
    (void)pthread_mutex_lock(&l->lock);
    l->is_done = true;
    (void)pthread_cond_signal(&l->came);
    (void)pthread_mutex_unlock(&l->lock);
}

static void ask_page(mp__file_origin *o, listing *l)
{
    l->is_done = false;
    if (o->opening) { /* the workers stand still */
        l->list.origin = o->inner;
        l->list.task = (mp__task){NULL, mp__sqlite_run_list};
        mp__sqlite_read_batch(o->inner, &l->list.task);
    } else {
        mp__origin_list(o->inner, &l->list);
        mp__env_release_wakes(o->env); /* which a turn of the loop holds */
    }
    (void)pthread_mutex_lock(&l->lock);
    while (!l->is_done)
        (void)pthread_cond_wait(&l->came, &l->lock);
    (void)pthread_mutex_unlock(&l->lock);
    if (!o->opening)
        mp__env_hold_wakes(o->env);
}

/* What the store has of @group into @leaves: all, or what will stay of it. */
static int from_store(mp__file_origin *o, const mp__file_group *group, bool all, mp__leaves *leaves)
{
    listing l = {.group = group, .all = all, .leaves = leaves};
    mp_str name = mp_str_of(group->name);
    size_t slash = strlen(group->environment->name);
    mp__buf prefix = {0};
    int rc;

    (void)mp__buf_add_str(&prefix, mp_str_new(name.data + slash + 1, name.size - slash - 1));
    rc = mp__buf_add_str(&prefix, MP_STR("/"));
    (void)pthread_mutex_init(&l.lock, NULL);
    (void)pthread_cond_init(&l.came, NULL);
    while (rc == 0) {
        l.list = (mp__list){.environment = mp_str_new(name.data, slash),
                            .prefix = mp__buf_str(&prefix),
                            .limit = 10000,
                            .with_values = true,
                            .by_key = true,
                            .after_address = l.after ? mp_str_of(l.after) : mp_str_new("", 0),
                            .done = page_came};
        ask_page(o, &l);
        rc = l.rc;
        if (!l.more)
            break;
    }
    (void)pthread_cond_destroy(&l.came);
    (void)pthread_mutex_destroy(&l.lock);
    (void)mp__free(l.after);
    mp__buf_done(&prefix);
    return rc;
}

/* ---- what there will be ---- */

typedef struct proposal {
    mp__proposal base; /* first */
    mp__file_origin *o;
} proposal;

static mp__file_group *group_named(mp__file_origin *o, mp_str scope, mp_str namespace_)
{
    char name[MP__ADDRESS_MAX];

    if (scope.size + namespace_.size + 1 > sizeof(name))
        return NULL;
    memcpy(name, scope.data, scope.size);
    name[scope.size] = '/';
    memcpy(name + scope.size + 1, namespace_.data, namespace_.size);
    return mp__file_group_of(o, mp_str_new(name, scope.size + 1 + namespace_.size), false);
}

static mp_str scope_at(mp__proposal *asked, size_t i)
{
    const mp__file_origin *o = ((proposal *)asked)->o;

    return i < o->env_count ? mp_str_of(o->envs[i]->name) : mp_str_new("", 0);
}

static int keys_of(mp__proposal *asked, mp_str scope, mp_str namespace_, bool as_it_stands,
                   mp__leaves *leaves)
{
    mp__file_origin *o = ((proposal *)asked)->o;
    const mp__file_group *group = group_named(o, scope, namespace_);
    bool stays = false;
    size_t prefix;

    if (!group)
        return 0;
    if (!group->under_way || as_it_stands)
        return group->count ? from_store(o, group, true, leaves) : 0;
    prefix = strlen(group->name) + 1;
    for (size_t i = 0; i < group->wanted_count; i++) {
        const mp__held *held = &group->wanted[i];
        int rc = 0;

        if (held->leaf)
            rc = add(leaves, mp_str_new(held->address.data + prefix, held->address.size - prefix),
                     held->leaf->value, held->leaf->media_type);
        else
            stays = true;
        if (rc)
            return rc;
    }
    return stays ? from_store(o, group, false, leaves) : 0;
}

/* ---- what is done about it ---- */

/* Who gives @key, anew; NULL: nobody in particular. */
static const mp__held *giver_of(const mp__file_group *group, const char *key)
{
    size_t prefix = strlen(group->name) + 1;

    for (size_t i = 0; i < group->wanted_count; i++) {
        const mp__held *held = &group->wanted[i];

        if (held->leaf &&
            mp_str_equal(mp_str_new(held->address.data + prefix, held->address.size - prefix),
                         mp_str_of(key)))
            return held;
    }
    return NULL;
}

/* Call @source broken by what was @found, or only say so. */
static int blame(mp__file_source *source, const mp__held *giver, const mp__proposal *found,
                 bool only_warn)
{
    int rc = mp__file_break(source, "%s", found->text);

    if (rc)
        return rc;
    if (giver) {
        source->trouble->line = giver->leaf->line;
        source->trouble->column = giver->leaf->column;
    }
    source->known = false; /* look at it again each time: the rule may be another one */
    if (only_warn) {
        (void)mp__free(source->warning);
        source->warning = source->trouble;
        source->trouble = NULL;
        mp__file_trouble_note(source->group->origin, true, source->warning);
        return 0;
    }
    mp__file_trouble_note(source->group->origin, false, source->trouble);
    source->fresh = false;
    mp__leaves_done(&source->leaves);
    return 0;
}

static int blame_all(mp__file_group *group, const mp__proposal *found, bool only_warn)
{
    const mp__held *giver = giver_of(group, found->key);
    int rc = 0;

    if (giver)
        return blame(giver->source, giver, found, only_warn);
    for (mp__file_source *s = group->sources; s && rc == 0; s = s->next_of_group)
        if (s->fresh)
            rc = blame(s, NULL, found, only_warn);
    return rc;
}

static bool has_fresh(const mp__file_group *group)
{
    for (const mp__file_source *s = group->sources; s; s = s->next_of_group)
        if (s->fresh)
            return true;
    return false;
}

static mp_str namespace_of(const mp__file_group *group)
{
    return mp_str_of(group->name + strlen(group->environment->name) + 1);
}

int mp__file_ask(mp__file_origin *o, mp__file_group *group, bool *held_back)
{
    while (has_fresh(group) && !group->warned) {
        proposal p = {.base = {.scope = mp_str_of(group->environment->name),
                               .namespace_ = namespace_of(group),
                               .changes = group->write.count > 0,
                               .keys = keys_of,
                               .scopes = scope_at},
                      .o = o};
        int rc = o->options.on_proposal(o->options.context, &p.base);
        /* what is there already stays there, and at the first start there is nothing else */
        bool only_warn = group->write.count == 0 || (o->opening && group->count == 0);

        if (rc == 0 && p.base.text[0])
            rc = blame_all(group, &p.base, only_warn);
        group->warned |= p.base.text[0] && only_warn; /* once a look */
        *held_back |= p.base.text[0] && !only_warn;
        if (rc || !p.base.text[0] || only_warn)
            return rc;
        rc = mp__file_prepare(o, group); /* without what was not taken */
        if (rc)
            return rc;
    }
    return 0;
}

bool mp__file_has_schemas(const mp__file_origin *o)
{
    for (size_t i = 0; i < o->group_count; i++)
        if (mp_str_equal(namespace_of(o->groups[i]), MP_STR(MP__SCHEMA_NAMESPACE)) &&
            (o->groups[i]->count || o->groups[i]->wanted_count))
            return true;
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The schemas of each scope, compiled once and kept until one of them changes.
 *
 * They are configuration themselves, in the namespace _schema, and fall back from layer to layer as
 * all of it does: the set of a scope is what a reader of the scope gets there. */
#include "manager/validate.h"

enum { SETS_MAX = 64 };

void mp__schemas_free(mp__manager *manager)
{
    while (manager->schema_sets) {
        mp__schema_set *next = manager->schema_sets->next;

        mp__schema_set_unref(manager->schema_sets);
        manager->schema_sets = next;
    }
}

void mp__schema_set_unref(mp__schema_set *set)
{
    if (!set || atomic_fetch_sub(&set->references, 1) != 1)
        return;
    for (size_t i = 0; i < set->count; i++) {
        (void)mp__free(set->items[i].name);
        (void)mp__schema_free(set->items[i].schema);
    }
    (void)mp__free(set);
}

static bool is_current(const mp__manager *manager, const mp__schema_set *set)
{
    return set->changes == atomic_load(&manager->schema_changes) &&
           set->generation == atomic_load(&manager->generation);
}

mp__schema_set *mp__schemas_now(mp__manager *manager, mp_str scope)
{
    mp__schema_set *found = NULL;

    (void)pthread_mutex_lock(&manager->schema_lock);
    for (mp__schema_set *set = manager->schema_sets; set && !found; set = set->next)
        if (mp_str_equal(mp_str_new(set->scope, set->scope_size), scope) &&
            is_current(manager, set))
            found = set;
    if (found)
        (void)atomic_fetch_add(&found->references, 1);
    (void)pthread_mutex_unlock(&manager->schema_lock);
    return found;
}

void mp__schemas_note(mp__manager *manager, mp_str address)
{
    mp_str scope, namespace_, key;

    if (mp__address_split(address, &scope, &namespace_, &key) == 0 &&
        mp_str_equal(namespace_, MP_STR(MP__SCHEMA_NAMESPACE)))
        (void)atomic_fetch_add(&manager->schema_changes, 1);
}

/* Put @set, with a reference of the list, in the place of what it replaces. */
static void keep(mp__manager *manager, mp__schema_set *set)
{
    mp__schema_set **link = &manager->schema_sets;
    size_t count = 0;

    (void)pthread_mutex_lock(&manager->schema_lock);
    set->next = NULL;
    while (*link) {
        mp__schema_set *old = *link;

        if (!is_current(manager, old) || ++count >= SETS_MAX) {
            *link = old->next;
            mp__schema_set_unref(old);
        } else {
            link = &old->next;
        }
    }
    set->next = manager->schema_sets;
    manager->schema_sets = set;
    (void)pthread_mutex_unlock(&manager->schema_lock);
}

int mp__schemas_make(mp__manager *manager, mp_str scope, uint64_t changes, uint32_t generation,
                     const mp__query *list, mp__schema_set **ret_set)
{
    mp__schema_set *set = mp__calloc(1, sizeof(*set) + list->count * sizeof(mp__schema_item));
    mp_str from, namespace_, key;

    if (!set)
        return MP_ENOMEM;
    atomic_init(&set->references, 2);
    set->changes = changes;
    set->generation = generation;
    memcpy(set->scope, scope.data, scope.size);
    set->scope_size = scope.size;
    for (size_t i = 0; i < list->count; i++) {
        mp__schema_item *item = &set->items[set->count];
        int rc;

        if (mp__address_split(list->items[i].address, &from, &namespace_, &key) != 0)
            continue;
        set->count++;
        item->name = mp__calloc(1, key.size + 1);
        if (!item->name)
            goto out_of_memory;
        memcpy(item->name, key.data, key.size);
        rc = mp__schema_compile(list->items[i].value, &item->schema, NULL, &item->trouble);
        if (rc == MP_ENOMEM)
            goto out_of_memory;
    }
    keep(manager, set);
    *ret_set = set;
    return 0;
out_of_memory:
    atomic_store(&set->references, 1);
    mp__schema_set_unref(set);
    return MP_ENOMEM;
}

/* ---- what a schema is about ---- */

void mp__schema_about(const char *name, mp__schema_subject *ret_subject)
{
    const char *slash = strchr(name, '/');
    mp_str all = mp_str_of(name);

    *ret_subject = (mp__schema_subject){.namespace_ = all, .path = mp_str_new("", 0)};
    if (!slash)
        return;
    ret_subject->namespace_ = mp_str_new(name, (size_t)(slash - name));
    ret_subject->path = mp_str_new(slash + 1, all.size - (size_t)(slash - name) - 1);
    ret_subject->each = all.data[all.size - 1] == '/';
}

bool mp__schema_fits(const mp__schema_subject *subject, mp_str namespace_, mp_str key)
{
    mp_str path = subject->path;

    if (!mp_str_equal(namespace_, subject->namespace_))
        return false;
    if (path.size == 0)
        return true;
    if (key.size < path.size || memcmp(key.data, path.data, path.size) != 0)
        return false;
    return subject->each || key.size == path.size || key.data[path.size] == '.' ||
           key.data[path.size] == '[';
}

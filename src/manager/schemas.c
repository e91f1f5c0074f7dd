/* SPDX-License-Identifier: Apache-2.0 */
/* Which scopes there are, and the schemas that each of them has, compiled once and kept until one
 * of them changes.
 *
 * Schemas are configuration themselves, in the namespace _schema, and fall back from layer to layer
 * as all of it does. What is kept is what each scope itself has; which schemas count in a scope is
 * seen by looking at its layers (scopes.c).
 *
 * A scope that holds no keys needs no place here: its readers see what those of the scope behind it
 * see, by the same schemas. So the scopes that hold keys are all of them, as the origin lists them
 * once a watch, and as writes make new ones. One that loses its last key stays: it costs a look. */
#include "manager/validate.h"

enum { KNOW_ALL_MOST = 16 };

struct mp__schema_scope {
    mp__schema_scope *next; /* of its bucket */
    uint64_t epoch;         /* 0: what it has is not known */
    uint64_t changes;       /* of its schemas, ever */
    uint64_t changes_kept;  /* as it was when what is kept began to be looked at */
    size_t inner;           /* scopes below it: regions of an environment, instances */
    mp__schema_set *set;    /* a reference; NULL: none */
    mp__schema_set *making;
    size_t making_capacity;
    size_t name_size;
    char name[];
};

uint64_t mp__schemas_epoch(const mp__manager *manager)
{
    uint64_t generation = atomic_load(&manager->generation);

    /* without a watch what is kept counts, which may have changed since the watch before */
    return generation ? 2 * generation : 2 * (uint64_t)atomic_load(&manager->generation_last) + 1;
}

/* ---- sets ---- */

static void set_clear(mp__schema_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        (void)mp__free(set->items[i].name);
        (void)mp__schema_free(set->items[i].schema);
    }
    (void)mp__free(set->items);
    (void)mp__free(set);
}

mp__schema_set *mp__schema_set_unref(mp__schema_set *set)
{
    if (set && atomic_fetch_sub(&set->references, 1) == 1)
        set_clear(set);
    return NULL;
}

/* Add what stands in the namespace _schema by the name @key. */
static int set_add(mp__schema_set **set, size_t *capacity, mp_str key, mp_str value, mp_str type)
{
    mp__schema_item item = {.name = mp__str_dup(key),
                            .is_mask = mp_str_equal(type, MP_STR(MP__MEDIA_MASK))};
    int rc = item.name ? 0 : MP_ENOMEM;

    if (rc == 0 && !*set) {
        *set = mp__calloc(1, sizeof(**set));
        if (*set)
            atomic_init(&(*set)->references, 1);
        else
            rc = MP_ENOMEM;
    }
    if (rc == 0)
        rc = mp__grow(&(*set)->items, (*set)->count, capacity, sizeof(item));
    if (rc == 0 && !item.is_mask &&
        mp__schema_compile(value, &item.schema, NULL, &item.trouble) == MP_ENOMEM)
        rc = MP_ENOMEM;
    if (rc) {
        (void)mp__free(item.name);
        return rc;
    }
    (*set)->items[(*set)->count++] = item;
    return 0;
}

/* ---- the table of scopes; under the lock ---- */

static mp__schema_scope **bucket_of(mp__manager *manager, mp_str name)
{
    return &manager->scopes[mp__checksum(0, name.data, name.size) % MP__SCOPE_BUCKETS];
}

static mp_str name_of(const mp__schema_scope *scope)
{
    return mp_str_new(scope->name, scope->name_size);
}

static mp__schema_scope *find(mp__manager *manager, mp_str name)
{
    mp__schema_scope *scope = *bucket_of(manager, name);

    while (scope && !mp_str_equal(name_of(scope), name))
        scope = scope->next;
    return scope;
}

/* That of @name, and of those that it is in, made where it is not there. */
static mp__schema_scope *take(mp__manager *manager, mp_str name)
{
    mp__schema_scope *scope = find(manager, name), **bucket, *outer;
    mp_str up = mp_str_new("", 0);

    if (scope)
        return scope;
    for (up = mp__scope_up(name, up); up.size; up = mp__scope_up(up, mp_str_new("", 0))) {
        outer = take(manager, up);
        if (!outer)
            return NULL;
    }
    scope = mp__calloc(1, sizeof(*scope) + name.size + 1);
    if (!scope)
        return NULL;
    memcpy(scope->name, name.data, name.size);
    scope->name_size = name.size;
    bucket = bucket_of(manager, name);
    scope->next = *bucket;
    *bucket = scope;
    manager->scope_count++;
    manager->none_epoch = 0;
    for (up = mp__scope_up(name, mp_str_new("", 0)); up.size;
         up = mp__scope_up(up, mp_str_new("", 0))) {
        outer = find(manager, up);
        if (outer)
            outer->inner++;
    }
    return scope;
}

/* No more scopes are taken up, but the base. One that is not there may have schemas then. */
static bool is_full(const mp__manager *manager)
{
    return manager->scope_count >= MP__VALIDATED_SCOPES_MAX;
}

static bool has_room(const mp__manager *manager, mp_str name)
{
    return !is_full(manager) || mp_str_equal(name, mp__overlay_base(manager));
}

static mp__schema_scope *first_of(const mp__manager *manager, size_t *bucket)
{
    while (*bucket < MP__SCOPE_BUCKETS && !manager->scopes[*bucket])
        ++*bucket;
    return *bucket < MP__SCOPE_BUCKETS ? manager->scopes[*bucket] : NULL;
}

static mp__schema_scope *next_of(const mp__manager *manager, size_t *bucket,
                                 const mp__schema_scope *scope)
{
    if (scope->next)
        return scope->next;
    ++*bucket;
    return first_of(manager, bucket);
}

void mp__schemas_free(mp__manager *manager)
{
    for (size_t i = 0; i < MP__SCOPE_BUCKETS; i++)
        while (manager->scopes[i]) {
            mp__schema_scope *scope = manager->scopes[i];

            manager->scopes[i] = scope->next;
            (void)mp__schema_set_unref(scope->set);
            (void)mp__schema_set_unref(scope->making);
            (void)mp__free(scope);
        }
}

/* ---- what changes ---- */

int mp__schemas_scope(mp__manager *manager, mp_str name)
{
    int rc = 0;

    (void)pthread_mutex_lock(&manager->schema_lock);
    if (has_room(manager, name) && !find(manager, name) && !take(manager, name))
        rc = MP_ENOMEM;
    (void)pthread_mutex_unlock(&manager->schema_lock);
    return rc;
}

void mp__schemas_note(mp__manager *manager, mp_str address)
{
    mp_str name, namespace_, key;
    mp__schema_scope *scope;
    bool is_new, is_schema;

    if (mp__address_split(address, &name, &namespace_, &key) != 0)
        return;
    is_schema = mp__schema_is_one(namespace_);
    (void)pthread_mutex_lock(&manager->schema_lock);
    scope = find(manager, name);
    is_new = !scope;
    if (is_new && has_room(manager, name)) {
        uint64_t epoch = mp__schemas_epoch(manager);
        bool were_none = manager->none_epoch == epoch;

        scope = take(manager, name);
        /* it was not there, so it had no schemas */
        if (scope && manager->scopes_epoch == epoch && !is_schema) {
            scope->epoch = epoch;
            if (were_none)
                manager->none_epoch = epoch;
        }
    }
    if (is_new && !scope && has_room(manager, name))
        manager->scopes_epoch = 0; /* it is not known of: ask for all of them again */
    if (is_schema) {
        if (scope) {
            scope->epoch = 0;
            scope->changes++;
        }
        manager->none_epoch = 0;
    }
    (void)pthread_mutex_unlock(&manager->schema_lock);
}

void mp__schemas_scopes_are_all(mp__manager *manager, uint64_t epoch)
{
    (void)pthread_mutex_lock(&manager->schema_lock);
    manager->scopes_epoch = epoch;
    (void)pthread_mutex_unlock(&manager->schema_lock);
}

/* ---- what is known ---- */

bool mp__schemas_are_none(const mp__manager *manager)
{
    return manager->none_epoch && manager->none_epoch == mp__schemas_epoch(manager);
}

static int add_near(mp__schema_nears *nears, mp_str name, const mp__schema_scope *scope,
                    uint64_t epoch, bool may_be_unseen)
{
    bool is_known = scope ? scope->epoch == epoch : !may_be_unseen;
    mp__schema_near *near;

    if (nears->only_sets && is_known && !(scope && scope->set))
        return 0;
    if (mp__grow(&nears->items, nears->count, &nears->capacity, sizeof(*near)) != 0)
        return MP_ENOMEM;
    near = &nears->items[nears->count++];
    /* of a scope that is not there it is known that it has none */
    *near = (mp__schema_near){.scope = scope ? name_of(scope) : name, .is_known = is_known};
    if (near->is_known && scope && scope->set) {
        near->set = scope->set;
        (void)atomic_fetch_add(&near->set->references, 1);
    }
    return 0;
}

static bool is_below(mp_str name, mp_str outer)
{
    return name.size > outer.size && name.data[outer.size] == '~' &&
           memcmp(name.data, outer.data, outer.size) == 0;
}

static int add_inner(mp__manager *manager, mp_str outer, uint64_t epoch, mp__schema_nears *nears)
{
    bool is_base = mp_str_equal(outer, mp__overlay_base(manager));
    const mp__schema_scope *scope = find(manager, outer);
    size_t bucket = 0;
    int rc = 0;

    if (!is_base && (!scope || scope->inner == 0))
        return 0;
    for (scope = first_of(manager, &bucket); scope && rc == 0;
         scope = next_of(manager, &bucket, scope))
        if (is_base ? !mp_str_equal(name_of(scope), outer) : is_below(name_of(scope), outer))
            rc = add_near(nears, name_of(scope), scope, epoch, false);
    return rc;
}

int mp__schemas_near(mp__manager *manager, mp_str scope, mp__schema_nears *nears)
{
    uint64_t epoch = mp__schemas_epoch(manager);
    mp_str layers[MP__LAYERS_MAX];
    size_t count = mp__overlay_scopes(manager, scope, layers);
    int rc = 0;

    (void)pthread_mutex_lock(&manager->schema_lock);
    if (manager->scopes_epoch != epoch)
        rc = MP_EUNKNOWN;
    /* all look at it, so what it has is to be known also where it holds no keys */
    else if (is_full(manager) && !take(manager, mp__overlay_base(manager)))
        rc = MP_ENOMEM;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = add_near(nears, layers[i], find(manager, layers[i]), epoch, is_full(manager));
    if (rc == 0)
        rc = add_inner(manager, scope, epoch, nears);
    (void)pthread_mutex_unlock(&manager->schema_lock);
    return rc;
}

void mp__schemas_nears_done(mp__schema_nears *nears)
{
    for (size_t i = 0; i < nears->count; i++)
        (void)mp__schema_set_unref(nears->items[i].set);
    (void)mp__free(nears->items);
    nears->items = NULL;
    nears->count = nears->capacity = 0;
}

mp_str mp__schemas_unknown(mp__manager *manager)
{
    uint64_t epoch = mp__schemas_epoch(manager);
    const mp__schema_scope *scope, *unknown = NULL;
    size_t bucket = 0, schemas = 0;

    (void)pthread_mutex_lock(&manager->schema_lock);
    for (scope = first_of(manager, &bucket); scope && !unknown;
         scope = next_of(manager, &bucket, scope)) {
        if (scope->epoch != epoch)
            unknown = scope;
        else if (scope->set)
            schemas += scope->set->count;
    }
    if (!unknown && !schemas && !is_full(manager) && manager->scopes_epoch == epoch)
        manager->none_epoch = epoch;
    if (manager->scope_count > KNOW_ALL_MOST)
        unknown = NULL;
    (void)pthread_mutex_unlock(&manager->schema_lock);
    return unknown ? name_of(unknown) : mp_str_new("", 0);
}

uint64_t mp__schemas_changes(mp__manager *manager, mp_str name)
{
    const mp__schema_scope *scope;
    uint64_t changes;

    (void)pthread_mutex_lock(&manager->schema_lock);
    scope = find(manager, name);
    changes = scope ? scope->changes : 0;
    (void)pthread_mutex_unlock(&manager->schema_lock);
    return changes;
}

/* @scope has @set, taken over; under the lock. */
static void replace(mp__schema_scope *scope, mp__schema_set *set, uint64_t epoch)
{
    (void)mp__schema_set_unref(scope->set);
    scope->set = set;
    scope->epoch = epoch;
}

int mp__schemas_make(mp__manager *manager, mp_str name, uint64_t changes, uint64_t epoch,
                     const mp__query *list, mp__schema_set **ret_set)
{
    mp__schema_set *set = NULL;
    mp__schema_scope *scope;
    mp_str of, namespace_, key;
    size_t capacity = 0;
    int rc = 0;

    for (size_t i = 0; i < list->count && rc == 0; i++)
        if (mp__address_split(list->items[i].address, &of, &namespace_, &key) == 0)
            rc = set_add(&set, &capacity, key, list->items[i].value, list->items[i].media_type);
    if (rc == 0) {
        (void)pthread_mutex_lock(&manager->schema_lock);
        scope = find(manager, name);
        if (scope && scope->changes == changes) { /* else it is old already */
            replace(scope, set, epoch);
            if (set)
                (void)atomic_fetch_add(&set->references, 1);
        }
        (void)pthread_mutex_unlock(&manager->schema_lock);
        *ret_set = set;
    } else {
        (void)mp__schema_set_unref(set);
    }
    return rc;
}

/* ---- what the disk has kept ---- */

typedef struct keeping {
    mp__manager *manager;
    int64_t now_ms;
} keeping;

static int take_kept(void *context, const mp__record *record)
{
    keeping *k = context;
    mp_str name, namespace_, key;
    mp__schema_scope *scope;
    int rc = 0;

    if (mp__address_split(record->address, &name, &namespace_, &key) != 0)
        return 0; /* a mark */
    (void)pthread_mutex_lock(&k->manager->schema_lock);
    scope = find(k->manager, name);
    if (!scope && has_room(k->manager, name)) {
        scope = take(k->manager, name);
        rc = scope ? 0 : MP_ENOMEM;
    }
    (void)pthread_mutex_unlock(&k->manager->schema_lock);
    if (!scope || !mp__schema_is_one(namespace_) || record->kind != MP__RECORD_VALUE ||
        (record->expires_ms && record->expires_ms <= k->now_ms))
        return rc;
    return set_add(&scope->making, &scope->making_capacity, key, record->value, record->media_type);
}

int mp__schemas_make_kept(mp__manager *manager, uint64_t epoch)
{
    keeping k = {manager, mp__env_wall_ms(manager->env)};
    size_t bucket = 0;
    bool is_current;
    int rc;

    (void)pthread_mutex_lock(&manager->schema_lock);
    for (mp__schema_scope *scope = first_of(manager, &bucket); scope;
         scope = next_of(manager, &bucket, scope))
        scope->changes_kept = scope->changes;
    (void)pthread_mutex_unlock(&manager->schema_lock);
    rc = mp__cache_each_kept(manager->cache, mp_str_new("", 0), take_kept, &k);
    (void)pthread_mutex_lock(&manager->schema_lock);
    is_current =
        rc == 0 && epoch == mp__schemas_epoch(manager); /* else the origin is asked again */
    bucket = 0;
    for (mp__schema_scope *scope = first_of(manager, &bucket); scope;
         scope = next_of(manager, &bucket, scope)) {
        if (is_current && scope->changes == scope->changes_kept)
            replace(scope, scope->making, epoch);
        else
            (void)mp__schema_set_unref(scope->making);
        scope->making = NULL;
        scope->making_capacity = 0;
    }
    if (is_current)
        manager->scopes_epoch = epoch;
    (void)pthread_mutex_unlock(&manager->schema_lock);
    return rc;
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

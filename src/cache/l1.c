/* SPDX-License-Identifier: Apache-2.0 */
/* L1: making, putting, removing, evicting. Reads: l1_read.h; limits and policy at run time:
 * l1_turn.c. */
#include "cache/l1.h"

#include <errno.h>
#include <stddef.h>

#include "cache/l1_internal.h"
#include "cache/l2.h"
#include "cache/l3.h"
#include "core/alloc.h"

static const double PANEL_SHARE = 0.01; /* of the time, until it is said otherwise */

enum {
    NEGATIVE_LEAST = 16, /* entries */
    EVICT_BATCH = 16,    /* victims, or */
    EVICT_BYTES = 16384, /* bytes of them, between two tries to get memory */
};

/* ---- fork ---- */

/* A child must not inherit a lock whose holder does not exist in it. Slabs do the same for theirs;
 * ours are taken first, as always, since we register after the first slab was made. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t all_once = PTHREAD_ONCE_INIT;
static mp__l1 *all_first;

static void before_fork(void)
{
    (void)pthread_mutex_lock(&all_lock);
    for (mp__l1 *l1 = all_first; l1; l1 = l1->next)
        (void)pthread_mutex_lock(&l1->lock);
}

static void after_fork(void)
{
    for (mp__l1 *l1 = all_first; l1; l1 = l1->next)
        (void)pthread_mutex_unlock(&l1->lock);
    (void)pthread_mutex_unlock(&all_lock);
}

static void register_for_fork(void)
{
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}

static void all_add(mp__l1 *l1)
{
    (void)pthread_once(&all_once, register_for_fork);
    (void)pthread_mutex_lock(&all_lock);
    l1->next = all_first;
    l1->from_here = &all_first;
    if (all_first)
        all_first->from_here = &l1->next;
    all_first = l1;
    (void)pthread_mutex_unlock(&all_lock);
}

static void all_remove(mp__l1 *l1)
{
    (void)pthread_mutex_lock(&all_lock);
    *l1->from_here = l1->next;
    if (l1->next)
        l1->next->from_here = l1->from_here;
    (void)pthread_mutex_unlock(&all_lock);
}

/* ---- making ---- */

int mp__l1_slab_bytes(size_t bytes_max, size_t table, size_t policy, size_t *ret_bytes)
{
    size_t fixed;

    if (__builtin_add_overflow(table, policy, &fixed) ||
        __builtin_add_overflow(fixed, sizeof(mp__l1), &fixed) || bytes_max < fixed ||
        bytes_max - fixed < MP__L1_BYTES_LEAST)
        return MP_EINVAL;
    *ret_bytes = bytes_max - fixed;
    return 0;
}

static int l1_fill(mp__l1 *l1, const mp__policy_ops *policy)
{
    mp__l1_class *normal = &l1->classes[MP__PRIORITY_NORMAL];
    mp__l1_table *table = NULL;
    size_t slab_bytes;
    int rc;

    rc = mp__l1_slab_bytes(l1->bytes_max, mp__l1_table_bytes(l1->entries_max), 0, &slab_bytes);
    if (rc == 0)
        rc = mp__l1_table_new(l1->entries_max, &table);
    if (rc)
        return rc;
    mp__l1_table_publish(l1, table);
    normal->capacity = l1->entries_max;
    rc = mp__l1_policy_make(l1, policy, l1->entries_max, &normal->policy);
    if (rc == 0)
        rc = mp__l1_slab_bytes(l1->bytes_max, table->bytes, policy->bytes(normal->policy),
                               &l1->slab_bytes);
    return rc ? rc : mp__slab_new(l1->slab_bytes, &normal->slab);
}

static void classes_done(mp__l1 *l1)
{
    for (int i = 0; i < MP__L1_CLASSES; i++) {
        mp__l1_class *class = &l1->classes[i];

        if (class->policy)
            class->policy = l1->ops->free(class->policy);
        class->slab = mp__slab_close(class->slab);
    }
}

static uint64_t env_now_ns(void *env)
{
    return mp__env_now_ns(env);
}

static uint64_t env_cpu_ns(void *env)
{
    return mp__env_cpu_ns(env);
}

int mp__l1_new(mp_env *env, size_t entries_max, size_t bytes_max, unsigned negative_percent,
               const mp__policy_ops *policy, mp__l1 **ret_l1)
{
    mp__l1 *l1;
    int rc;

    if (entries_max == 0 || entries_max > MP__L1_ENTRIES_MAX)
        return MP_EINVAL;
    l1 = mp__aligned_alloc(128, sizeof(*l1));
    if (!l1)
        return MP_ENOMEM;
    memset(l1, 0, sizeof(*l1));
    l1->front.env = env;
    l1->front.counters = l1->counters;
    l1->front.uses = l1->uses;
    l1->entries_max = entries_max;
    l1->bytes_max = bytes_max;
    l1->negative_percent = negative_percent;
    l1->ops = policy;
    mp__duty_init(&l1->duty, env_now_ns, env_cpu_ns, env, entries_max, PANEL_SHARE);
    rc = l1_fill(l1, policy);
    if (rc == 0)
        rc = pthread_mutex_init(&l1->lock, NULL) ? MP_ENOMEM : 0;
    if (rc) {
        classes_done(l1);
        (void)mp__l1_table_free(mp__l1_table_of(l1));
        (void)mp__free(l1);
        return rc;
    }
    mp__wheel_init(&l1->wheel, mp__env_now_ns(env) / 1000000000u + 1);
    mp__hazard_init(); /* readers and writers agree on who pays for the barrier */
    l1->use_weight = 1;
    mp__l1_curve_renew(l1);
    all_add(l1);
    *ret_l1 = l1;
    return 0;
}

void mp__l1_set_below(mp__l1 *l1, mp__l2 *below)
{
    l1->below = below;
}

void mp__l1_set_behind(mp__l1 *l1, mp__l3 *behind)
{
    l1->behind = behind;
}

static size_t entry_drop(mp__retired *retired)
{
    size_t size = mp__entry_cold_of(retired->pointer)->node.size;

    (void)mp_blob_unref(&((mp__entry *)retired->pointer)->blob.pub);
    return size;
}

/* Unlinked and out of every queue: let the table's reference go when no reader announces it. */
static void retire_entry(mp__l1 *l1, mp__entry *entry)
{
    mp__retired *retired = &mp__entry_cold_of(entry)->retired;
    size_t size = mp__entry_cold_of(entry)->node.size;

    mp__l1_timer_stop(l1, entry);
    retired->pointer = entry;
    retired->free_fn = entry_drop;
    mp__hazard_retire(retired, size);
}

mp__l1 *mp__l1_free(mp__l1 *l1)
{
    mp__l1_table *table;

    if (!l1)
        return NULL;
    all_remove(l1);
    table = mp__l1_table_of(l1);
    for (size_t b = 0; b < table->count; b++)
        for (unsigned way = 0; way < MP__L1_WAYS; way++) {
            mp__entry *entry = atomic_load(&table->buckets[b].entries[way]);

            if (entry)
                (void)mp_blob_unref(&entry->blob.pub);
        }
    (void)mp__hazard_flush(); /* what was retired before; other caches' too, which does no harm */
    (void)mp__l1_table_free(table);
    classes_done(l1);
    mp__l1_uses_done(l1);
    mp__l1_curve_done(l1);
    l1->pins = mp__pins_free(l1->pins);
    (void)pthread_mutex_destroy(&l1->lock);
    return mp__free(l1);
}

/* ---- removing ---- */

/* Under the lock. The entry is in no queue any more; take it out of the table and let it go. */
static void unlink_entry(mp__l1 *l1, mp__l1_place place, mp__entry *entry)
{
    mp__l1_table_remove(mp__l1_table_of(l1), place, mp__entry_cold_of(entry)->node.hash);
    l1->entries--;
    retire_entry(l1, entry);
}

static void order(mp__l1 *l1, mp__entry *entry)
{
    mp__policy_node *node = &mp__entry_cold_of(entry)->node;

    if (entry->kind == MP__RECORD_ABSENT) {
        mp__policy_queue_add(&l1->negatives, node);
        l1->negative_bytes += node->size;
    } else {
        mp__l1_class *class = mp__l1_class_at(l1, node);

        if (class->policy) {
            l1->ops->insert(class->policy, node);
        } else {
            mp__policy_queue_add(&l1->pinned, node);
            l1->pinned_bytes += node->size;
        }
        class->entries++;
    }
}

static void forget_order(mp__l1 *l1, mp__entry *entry)
{
    mp__policy_node *node = &mp__entry_cold_of(entry)->node;

    if (entry->kind == MP__RECORD_ABSENT) {
        mp__policy_queue_remove(&l1->negatives, node);
        l1->negative_bytes -= node->size;
    } else {
        mp__l1_class *class = mp__l1_class_at(l1, node);

        if (class->policy) {
            l1->ops->remove(class->policy, node);
        } else {
            mp__policy_queue_remove(&l1->pinned, node);
            l1->pinned_bytes -= node->size;
        }
        class->entries--;
    }
}

static mp__entry *entry_of_node(mp__policy_node *node)
{
    return (mp__entry *)((mp__entry_cold *)((char *)node - offsetof(mp__entry_cold, node)) + 1);
}

/* Evicted, not removed: what is below may keep it. That copies, so that the entry's memory is free
 * all the same. */
static void let_go(mp__l1 *l1, mp__l1_place place, mp__entry *entry)
{
    mp__l1_class_at(l1, &mp__entry_cold_of(entry)->node)->evictions++;
    if (l1->below && entry->kind == MP__RECORD_VALUE)
        mp__l2_take(l1->below, entry);
    unlink_entry(l1, place, entry);
    l1->evictions++;
}

static void evict_entry(mp__l1 *l1, mp__entry *entry)
{
    mp__l1_place place;

    if (mp__l1_table_find(mp__l1_table_of(l1), mp__entry_address(entry),
                          mp__entry_cold_of(entry)->node.hash, &place))
        let_go(l1, place, entry);
}

static bool evict_negative(mp__l1 *l1)
{
    mp__policy_node *node = l1->negatives.oldest;

    if (!node)
        return false;
    forget_order(l1, entry_of_node(node));
    evict_entry(l1, entry_of_node(node));
    return true;
}

/* The next victim of @class, in no order any more; NULL: it has none. */
static mp__policy_node *take_victim(mp__l1 *l1, mp__l1_class *class)
{
    mp__policy_node *node = l1->ops->evict(class->policy);

    class->entries -= node != NULL;
    return node;
}

/* Take the next victim of @class out, or the oldest ABSENT. Returns its bytes, 0: there is none. */
static size_t evict_next(mp__l1 *l1, mp__l1_class *class)
{
    mp__policy_node *node = class ? take_victim(l1, class) : NULL;
    size_t bytes;

    if (!node) {
        bytes = l1->negatives.oldest ? l1->negatives.oldest->size : 0;
        (void)evict_negative(l1);
        return bytes;
    }
    bytes = node->size;
    evict_entry(l1, entry_of_node(node));
    return bytes;
}

bool mp__l1_evict_one(mp__l1 *l1)
{
    return evict_next(l1, mp__l1_class_to_give(l1, NULL, 0)) != 0;
}

/* What an eviction frees is there only when nobody looks at it, which costs a barrier of all
 * threads: so evict some at once. False: nothing is left. */
static bool evict_some(mp__l1 *l1, mp__l1_class *class)
{
    size_t freed = 0;
    unsigned victims = 0;

    for (; victims < EVICT_BATCH && freed < EVICT_BYTES; victims++) {
        size_t of_one = evict_next(l1, class);

        if (!of_one)
            break;
        freed += of_one;
    }
    if (victims)
        (void)mp__hazard_flush();
    return victims != 0;
}

typedef struct beside {
    mp__l1 *l1;
    mp__entry *victim; /* in no queue any more */
} beside;

/* An object of the slab: in the table, or let go already and only held by somebody. */
static void evict_beside(void *context, void *object)
{
    beside *b = context;
    mp__entry *entry = (mp__entry *)((mp__entry_cold *)object + 1);
    mp__l1_place place;

    if (!mp__l1_table_find(mp__l1_table_of(b->l1), mp__entry_address(entry),
                           mp__entry_cold_of(entry)->node.hash, &place) ||
        mp__l1_entry_at(place) != entry)
        return;
    if (entry != b->victim)
        forget_order(b->l1, entry);
    let_go(b->l1, place, entry);
}

/* Evict the next victim of @class and all that shares its pages. Victims one by one would leave
 * holes everywhere and free no page before nearly all are gone, when what needs room is of another
 * size. False: nothing is left. */
static bool evict_pages(mp__l1 *l1, mp__l1_class *class)
{
    mp__policy_node *node = take_victim(l1, class);
    beside b = {.l1 = l1};

    if (!node)
        return evict_some(l1, class);
    b.victim = entry_of_node(node);
    mp__slab_each_beside(class->slab, mp__entry_cold_of(b.victim), evict_beside, &b);
    (void)mp__hazard_flush();
    return true;
}

void mp__l1_evict(mp__l1 *l1, mp__entry *entry)
{
    forget_order(l1, entry);
    evict_entry(l1, entry);
}

static bool has_too_many_pinned(const mp__l1 *l1)
{
    return l1->pinned.oldest && (mp__slab_pages_bytes(l1->classes[MP__L1_PINNED].slab) >
                                     mp__l1_pinned_most(l1->slab_bytes) ||
                                 l1->pinned.count > mp__l1_pinned_most(l1->entries_max));
}

void mp__l1_pins_shrink(mp__l1 *l1)
{
    uint64_t before = l1->evictions;

    while (has_too_many_pinned(l1)) {
        mp__entry *entry = entry_of_node(l1->pinned.oldest);
        beside b = {.l1 = l1};

        if (l1->pinned.count > mp__l1_pinned_most(l1->entries_max)) {
            mp__l1_evict(l1, entry);
            continue;
        }
        mp__slab_each_beside(l1->classes[MP__L1_PINNED].slab, mp__entry_cold_of(entry),
                             evict_beside, &b);
        if (mp__hazard_flush() != 0 && l1->pinned_bytes <= mp__l1_pinned_most(l1->slab_bytes))
            break;                                              /* readers hold the rest of it */
        mp__slab_limit_set(l1->classes[MP__L1_PINNED].slab, 1); /* idle pages go */
    }
    l1->pins_left_out += l1->evictions - before;
}

void mp__l1_shrink(mp__l1 *l1, size_t slab_bytes)
{
    mp__l1_class *normal = &l1->classes[MP__PRIORITY_NORMAL], *class;

    l1->slab_bytes = slab_bytes;
    mp__l1_pins_shrink(l1);
    if (l1->is_divided)
        mp__l1_class_limit(l1, normal, true);
    else
        mp__slab_limit_set(normal->slab, slab_bytes);
    /* what is left when nothing can be evicted is held by readers and goes with them */
    while (mp__l1_pages_bytes(l1) > slab_bytes &&
           (class = mp__l1_class_to_give(l1, NULL, 1)) != NULL && evict_pages(l1, class))
        mp__l1_class_limit(l1, class, false);
}

static void remove_locked(mp__l1 *l1, mp_str address, uint64_t hash)
{
    mp__l1_place place;

    if (l1->below)
        (void)mp__l2_outdate(l1->below, hash, 0, true);
    if (mp__l1_table_find(mp__l1_table_of(l1), address, hash, &place)) {
        mp__entry *entry = mp__l1_entry_at(place);

        forget_order(l1, entry);
        unlink_entry(l1, place, entry);
    }
}

void mp__l1_remove(mp__l1 *l1, mp_str address, uint64_t hash)
{
    mp__l1_lock(l1);
    remove_locked(l1, address, hash);
    (void)atomic_fetch_add(&l1->removals, 1);
    mp__l1_unlock(l1);
}

uint64_t mp__l1_removals(const mp__l1 *l1)
{
    return atomic_load(&l1->removals);
}

void mp__l1_take_out(mp__l1 *l1, mp__entry *entry)
{
    mp__l1_place place;

    if (!mp__l1_table_find(mp__l1_table_of(l1), mp__entry_address(entry),
                           mp__entry_cold_of(entry)->node.hash, &place) ||
        mp__l1_entry_at(place) != entry)
        return;
    forget_order(l1, entry);
    unlink_entry(l1, place, entry);
    *(entry->kind == MP__RECORD_ABSENT ? &l1->unlearned : &l1->expired) += 1;
}

void mp__l1_drop_expired(mp__l1 *l1, mp__entry *entry)
{
    if (pthread_mutex_trylock(&l1->lock) != 0)
        return;
    mp__l1_take_out(l1, entry);
    (void)pthread_mutex_unlock(&l1->lock); /* and no tidying: the reader does not wait for that */
}

/* ---- putting ---- */

enum put { PUT, FORCE, BRING_UP };

/* Room for @bytes of @own: first a few entries of any size, since mostly they are of the right one;
 * of another class only whole pages help. False: nobody has to give, or nothing is left. */
static bool give_room(mp__l1 *l1, mp__l1_class *own, size_t bytes, unsigned tries)
{
    mp__l1_class *class = mp__l1_class_to_give(l1, own, bytes);
    bool given;

    if (!class || (own == &l1->classes[MP__L1_PINNED] &&
                   mp__slab_pages_bytes(own->slab) + bytes > mp__l1_pinned_most(l1->slab_bytes)))
        return false;
    given = tries == 0 && class == own ? evict_some(l1, class) : evict_pages(l1, class);
    mp__l1_class_limit(l1, own, true);
    return given;
}

mp__entry *mp__l1_make(mp__l1 *l1, mp__l1_class *class, uint64_t hash, const mp__record *record,
                       uint32_t generation, uint32_t verify_by_s)
{
    size_t bytes = mp__slab_round(mp__entry_bytes(record, mp__entry_is_timed(record, verify_by_s)));
    mp__entry *entry;
    unsigned tries = 0;

    if (bytes > l1->slab_bytes)
        return NULL;
    mp__l1_class_limit(l1, class, false);
    do {
        entry = mp__entry_make(class->slab, hash, record, generation, verify_by_s);
    } while (!entry && give_room(l1, class, bytes, tries++));
    if (entry)
        mp__entry_cold_of(entry)->node.kind |= mp__l1_class_number(l1, class);
    return entry;
}

/* ABSENT entries have a share of their own, so that a flood of random keys pushes out only its
 * like. */
static void make_place_for_absent(mp__l1 *l1, const mp__record *record)
{
    size_t bytes_max = l1->bytes_max / 100 * l1->negative_percent;
    size_t bytes = mp__slab_round(mp__entry_bytes(record, true));
    size_t count_max = l1->entries_max / 100 * l1->negative_percent;

    count_max = count_max > NEGATIVE_LEAST ? count_max : NEGATIVE_LEAST;
    if (count_max > l1->entries_max / 2) /* of a tiny cache the smaller half */
        count_max = l1->entries_max / 2 ? l1->entries_max / 2 : 1;
    while ((l1->negatives.count >= count_max || l1->negative_bytes + bytes > bytes_max) &&
           evict_negative(l1))
        ;
}

/* Put @entry where @present stands: it takes over its place in the order, too, since it is the same
 * thing to those who ask for it. */
void mp__l1_replace(mp__l1 *l1, mp__l1_place place, mp__entry *present, mp__entry *entry)
{
    mp__l1_class *class = mp__l1_class_at(l1, &mp__entry_cold_of(entry)->node);

    if (present->kind == MP__RECORD_VALUE && entry->kind == MP__RECORD_VALUE && class->policy &&
        class == mp__l1_class_at(l1, &mp__entry_cold_of(present)->node)) {
        mp__entry_inherit_use(entry, present);
        l1->ops->replace(class->policy, &mp__entry_cold_of(present)->node,
                         &mp__entry_cold_of(entry)->node);
    } else {
        forget_order(l1, present);
        order(l1, entry);
    }
    mp__l1_table_replace(place, entry);
    retire_entry(l1, present);
    mp__l1_timer_set(l1, entry);
}

/* Put @entry in, replacing what is there. */
static int link_entry(mp__l1 *l1, mp__entry *entry, uint64_t hash, mp_str address)
{
    mp__l1_class *class = mp__l1_class_at(l1, &mp__entry_cold_of(entry)->node);
    mp__l1_place place;

    /* making room may have taken what was there: look again */
    if (mp__l1_table_find(mp__l1_table_of(l1), address, hash, &place)) {
        mp__l1_replace(l1, place, mp__l1_entry_at(place), entry);
        return 0;
    }
    while (l1->entries >= l1->entries_max &&
           evict_next(l1, mp__l1_class_to_give(l1, class, 0)) != 0)
        ;
    if (!mp__l1_table_insert(mp__l1_table_of(l1), entry, hash))
        return MP_ENOMEM;
    l1->entries++;
    order(l1, entry);
    mp__l1_timer_set(l1, entry);
    return 0;
}

/* What is there already stays when it is newer, or the same. */
static bool keep_present(const mp__entry *present, const mp__record *record, bool force)
{
    if (force || present->revision < record->revision)
        return false;
    if (present->revision > record->revision)
        return true;
    return (present->kind == MP__RECORD_ABSENT) == (record->kind == MP__RECORD_ABSENT) &&
           mp_str_equal(mp__entry_media_type(present), record->media_type) &&
           present->expires_ms == record->expires_ms &&
           mp_str_equal(mp_blob_str(&present->blob.pub), record->value);
}

/* A value that is not here will come: first what was used until now, then that. */
static void announce(mp__l1 *l1, mp__l1_class *class, uint64_t hash)
{
    mp__l1_uses_report(l1);
    mp__l1_class_fit(l1, class);
    mp__l1_curve_fill(l1, hash);
    if (l1->ops->coming)
        l1->ops->coming(class->policy, hash);
}

/* May @record take the place of what is below? Before it stands in L1, so that nobody who has seen
 * it can be given what was there before. */
static bool agrees_with_below(mp__l1 *l1, uint64_t hash, const mp__record *record, enum put how)
{
    if (!l1->below)
        return true;
    if (how == BRING_UP)
        return mp__l2_goes_up(l1->below, hash, record->revision);
    return mp__l2_outdate(l1->below, hash, record->revision, how == FORCE);
}

/* In the pages of the pinned if it is to be, and there is room for that; else of @class. */
static mp__entry *make(mp__l1 *l1, mp__l1_class *class, uint64_t hash, const mp__record *record,
                       uint32_t generation, uint32_t verify_by_s)
{
    mp__entry *entry = NULL;

    if (l1->pins && record->kind != MP__RECORD_ABSENT &&
        mp__pins_match(l1->pins, record->address)) {
        if (l1->pinned.count < mp__l1_pinned_most(l1->entries_max))
            entry =
                mp__l1_make(l1, &l1->classes[MP__L1_PINNED], hash, record, generation, verify_by_s);
        l1->pins_left_out += entry == NULL;
    }
    return entry ? entry : mp__l1_make(l1, class, hash, record, generation, verify_by_s);
}

static int put_locked(mp__l1 *l1, uint64_t hash, const mp__record *record, enum put how,
                      uint32_t generation, uint32_t verify_by_s, const mp__entry **ret_entry)
{
    mp__l1_class *class = &l1->classes[MP__PRIORITY_NORMAL];
    mp__l1_place place;
    mp__entry *entry = NULL;

    if (record->kind != MP__RECORD_ABSENT)
        class = mp__l1_class_of(l1, record->address);
    if (mp__l1_table_find(mp__l1_table_of(l1), record->address, hash, &place))
        entry = mp__l1_entry_at(place);
    if (entry && keep_present(entry, record, how == FORCE)) {
        mp__entry_verified(entry, record->verified_ms, generation, verify_by_s);
    } else if (!entry && how == PUT && l1->behind &&
               mp__l3_knows_newer(l1->behind, hash, record->revision)) {
        return -ESTALE; /* that was here, and has left */
    } else if (!agrees_with_below(l1, hash, record, how)) {
        return MP_EAGAIN;
    } else {
        if (record->kind == MP__RECORD_ABSENT && !(entry && entry->kind == MP__RECORD_ABSENT))
            make_place_for_absent(l1, record);
        else if (!entry)
            announce(l1, class, hash);
        entry = make(l1, class, hash, record, generation, verify_by_s);
        if (!entry || link_entry(l1, entry, hash, record->address) != 0) {
            (void)mp__entry_unref(entry);
            return MP_ENOMEM;
        }
        l1->inserts++;
    }
    if (ret_entry)
        *ret_entry = mp__entry_ref(entry);
    return 0;
}

/* Who is answered with @record does not read something older after it, from below neither. */
static void drop_older_locked(mp__l1 *l1, const mp__record *record, uint64_t hash)
{
    mp__l1_place place;

    if (l1->below && record->revision)
        (void)mp__l2_outdate(l1->below, hash, record->revision - 1, false);
    if (mp__l1_table_find(mp__l1_table_of(l1), record->address, hash, &place) &&
        mp__l1_entry_at(place)->revision < record->revision)
        remove_locked(l1, record->address, hash);
}

static int put(mp__l1 *l1, uint64_t removals, uint64_t hash, const mp__record *record, enum put how,
               uint32_t generation, uint32_t verify_by_s, const mp__entry **ret_entry)
{
    int rc = -ESTALE;

    mp__l1_lock(l1);
    if (removals == MP__L1_ANY_TIME || removals == atomic_load(&l1->removals)) {
        rc = put_locked(l1, hash, record, how, generation, verify_by_s, ret_entry);
        if (rc && rc != MP_EAGAIN && rc != -ESTALE && how != BRING_UP)
            remove_locked(l1, record->address, hash); /* rather nothing than something older */
    } else {
        drop_older_locked(l1, record, hash);
    }
    mp__l1_unlock(l1);
    if (l1->below)
        mp__l2_wake(l1->below);
    return rc;
}

void mp__l1_drop_older(mp__l1 *l1, uint64_t hash, const mp__record *record)
{
    mp__l1_lock(l1);
    drop_older_locked(l1, record, hash);
    mp__l1_unlock(l1);
}

int mp__l1_put(mp__l1 *l1, uint64_t hash, const mp__record *record, bool force, uint32_t generation,
               uint32_t verify_by_s, const mp__entry **ret_entry)
{
    return put(l1, MP__L1_ANY_TIME, hash, record, force ? FORCE : PUT, generation, verify_by_s,
               ret_entry);
}

int mp__l1_put_since(mp__l1 *l1, uint64_t removals, uint64_t hash, const mp__record *record,
                     bool force, uint32_t generation, uint32_t verify_by_s,
                     const mp__entry **ret_entry)
{
    return put(l1, removals, hash, record, force ? FORCE : PUT, generation, verify_by_s, ret_entry);
}

int mp__l1_bring_up(mp__l1 *l1, uint64_t hash, const mp__record *record, uint32_t generation,
                    uint32_t verify_by_s, const mp__entry **ret_entry)
{
    return put(l1, MP__L1_ANY_TIME, hash, record, BRING_UP, generation, verify_by_s, ret_entry);
}

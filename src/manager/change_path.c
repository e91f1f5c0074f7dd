/* SPDX-License-Identifier: Apache-2.0 */
/* The change path: what the origin tells without being asked.
 *
 *   a change      (an expiry, a salvage) is kept in all tiers and published, like a write of ours
 *   unseen        somebody else changed the origin, or it may have missed something: the watch that
 *                 held entries fresh ends and a new one begins, under a new generation number.
 *                 Entries of the old generation are verified once, when they are next read;
 * watchers are told to look again (RESET) state         live: a new watch. Down or lost: no watch;
 * entries keep what they are, and the time until which the origin vouched for them is remembered,
 * so that their age is honest
 *
 * Freshness is thus one comparison of two numbers on the read path. */
#include <stdio.h>

#include "manager/internal.h"

bool mp__origin_vouches(const mp__manager *manager)
{
    uint8_t state = mp__state_now(&manager->origin->state);

    return state == MP__ORIGIN_LIVE || state == MP__ORIGIN_DEGRADED;
}

/* ---- generations ---- */

static void watch_ends(mp__manager *manager)
{
    if (atomic_exchange(&manager->generation, 0) != 0)
        atomic_store(&manager->vouched_until_ms, mp__manager_wall_ms(manager));
}

static void watch_begins(mp__manager *manager)
{
    uint32_t next = atomic_fetch_add(&manager->generation_last, 1) + 1;

    atomic_store(&manager->generation, next);
}

/* ---- watchers ---- */

enum { QUEUE_MAX = 65536 };

typedef struct queued_event {
    struct queued_event *next;
    mp__event event;
    char address[];
} queued_event;

struct mp__watcher {
    struct mp__watcher *next;
    mp__manager *manager;
    mp__loop *loop;
    void (*fn)(void *context, const mp__event *event);
    void *context;
    mp__task task;
    /* under watch_lock */
    queued_event *first, **last;
    size_t count;
    bool posted, reset, removed;
};

static void queued_free(queued_event *q)
{
    (void)mp__entry_unref(q->event.entry);
    (void)mp__free(q);
}

static void queue_clear(mp__watcher *watcher)
{
    while (watcher->first) {
        queued_event *next = watcher->first->next;

        queued_free(watcher->first);
        watcher->first = next;
    }
    watcher->last = &watcher->first;
    watcher->count = 0;
}

static void watcher_runs(mp__task *task)
{
    mp__watcher *watcher = (mp__watcher *)((char *)task - offsetof(mp__watcher, task));
    mp__manager *manager = watcher->manager;
    queued_event *first;
    bool reset, removed;

    (void)pthread_mutex_lock(&manager->watch_lock);
    first = watcher->first;
    watcher->first = NULL;
    watcher->last = &watcher->first;
    watcher->count = 0;
    reset = watcher->reset;
    watcher->reset = watcher->posted = false;
    removed = watcher->removed;
    (void)pthread_mutex_unlock(&manager->watch_lock);
    if (reset && !removed) {
        mp__event event = {.kind = MP__EVENT_RESET, .address = mp_str_new("", 0)};

        watcher->fn(watcher->context, &event);
    }
    while (first) {
        queued_event *next = first->next;

        if (!removed)
            watcher->fn(watcher->context, &first->event);
        queued_free(first);
        first = next;
    }
    if (removed)
        (void)mp__free(watcher);
}

/* Under watch_lock. */
static void wake(mp__watcher *watcher)
{
    if (watcher->posted)
        return;
    watcher->posted = true;
    watcher->task.run = watcher_runs;
    mp__loop_post(watcher->loop, &watcher->task);
}

static void enqueue(mp__watcher *watcher, const mp__event *event)
{
    queued_event *q = watcher->count < QUEUE_MAX && !watcher->reset
                          ? mp__malloc(sizeof(*q) + event->address.size)
                          : NULL;

    if (!q) { /* what cannot be told one by one is told as "look again" */
        queue_clear(watcher);
        watcher->reset = true;
    } else {
        *q = (queued_event){.event = *event};
        memcpy(q->address, event->address.data, event->address.size);
        q->event.address = mp_str_new(q->address, event->address.size);
        if (event->entry)
            q->event.entry = mp__entry_ref(event->entry);
        *watcher->last = q;
        watcher->last = &q->next;
        watcher->count++;
    }
    wake(watcher);
}

int mp__watch_add(mp__manager *manager, mp__loop *loop,
                  void (*fn)(void *context, const mp__event *event), void *context,
                  mp__watcher **ret_watcher)
{
    mp__watcher *watcher = mp__calloc(1, sizeof(*watcher));

    if (!watcher)
        return MP_ENOMEM;
    watcher->manager = manager;
    watcher->loop = loop;
    watcher->fn = fn;
    watcher->context = context;
    watcher->last = &watcher->first;
    (void)pthread_mutex_lock(&manager->watch_lock);
    watcher->next = manager->watchers;
    manager->watchers = watcher;
    (void)atomic_fetch_add(&manager->watcher_count, 1);
    (void)pthread_mutex_unlock(&manager->watch_lock);
    *ret_watcher = watcher;
    return 0;
}

mp__watcher *mp__watch_remove(mp__watcher *watcher)
{
    mp__manager *manager;
    mp__watcher **link;
    bool posted;

    if (!watcher)
        return NULL;
    manager = watcher->manager;
    (void)pthread_mutex_lock(&manager->watch_lock);
    for (link = &manager->watchers; *link != watcher; link = &(*link)->next)
        ;
    *link = watcher->next;
    queue_clear(watcher);
    watcher->removed = true;
    posted = watcher->posted;
    (void)atomic_fetch_sub(&manager->watcher_count, 1);
    (void)pthread_mutex_unlock(&manager->watch_lock);
    if (!posted)
        (void)mp__free(watcher); /* else its task, which is on its way, frees it */
    return NULL;
}

static void tell_all(mp__manager *manager, const mp__event *event)
{
    if (atomic_load_explicit(&manager->watcher_count, memory_order_acquire) == 0)
        return;
    (void)pthread_mutex_lock(&manager->watch_lock);
    for (mp__watcher *w = manager->watchers; w; w = w->next) {
        if (event->kind == MP__EVENT_RESET) {
            queue_clear(w);
            w->reset = true;
            wake(w);
        } else {
            enqueue(w, event);
        }
    }
    (void)pthread_mutex_unlock(&manager->watch_lock);
}

static void publish(mp__manager *manager, const mp__record *after, const mp__entry *entry,
                    int kind_when_gone)
{
    mp__event event = {
        .kind = after->kind == MP__RECORD_VALUE ? MP__EVENT_PUT : kind_when_gone,
        .address = after->address,
        .revision = after->revision,
        .entry = entry,
    };

    if (!entry) /* there was no memory to keep it, nor to say what it is */
        event = (mp__event){.kind = MP__EVENT_RESET, .address = mp_str_new("", 0)};
    tell_all(manager, &event);
}

void mp__change_publish(mp__manager *manager, const mp__record *after, const mp__entry *entry)
{
    publish(manager, after, entry, MP__EVENT_DELETE);
}

/* ---- keeping ---- */

const mp__entry *mp__change_keep(mp__manager *manager, const mp__record *after, uint32_t generation,
                                 int64_t as_of_ms)
{
    uint64_t hash = mp__cache_hash(manager->hash_key, after->address);
    uint32_t ttl = atomic_load_explicit(after->kind == MP__RECORD_ABSENT ? &manager->negative_ttl_s
                                                                         : &manager->ttl_s,
                                        memory_order_relaxed);
    const mp__entry *entry = NULL;
    mp__record kept = *after;

    if (!atomic_load(&manager->open))
        return NULL; /* an expiry while the cache is being opened; what L3 kept has that expiry, too
                      */
    (void)atomic_fetch_add(&manager->changes_kept, 1);
    mp__flight_dirty(manager, after->address, hash);
    kept.fetched_ms = kept.verified_ms = as_of_ms;
    (void)mp__cache_put_record(manager->cache, &kept, 0, generation,
                               mp__manager_now_s(manager) + ttl, &entry);
    return entry;
}

/* ---- what the origin tells ---- */

void mp__change_own(void *context, const mp__record *after)
{
    mp__manager *manager = context;
    const mp__entry *entry = mp__change_keep(manager, after, atomic_load(&manager->generation),
                                             mp__manager_wall_ms(manager));

    publish(manager, after, entry, MP__EVENT_EXPIRED); /* only its sweep deletes by itself */
    (void)mp__entry_unref(entry);
}

void mp__change_seen(void *context, const mp__record *after)
{
    mp__manager *manager = context;
    const mp__entry *entry;

    if (!atomic_load(&manager->open))
        return; /* nobody has been told of anything yet; what L3 kept is verified when it is read */
    entry = mp__change_keep(manager, after, atomic_load(&manager->generation),
                            mp__manager_wall_ms(manager));
    publish(manager, after, entry, MP__EVENT_DELETE);
    (void)mp__entry_unref(entry);
}

void mp__change_unseen(void *context, const char *cause)
{
    mp__manager *manager = context;
    mp__event reset = {.kind = MP__EVENT_RESET, .address = mp_str_new("", 0)};

    if (atomic_load(&manager->generation) != 0) {
        watch_ends(manager);
        watch_begins(manager);
    }
    mp__event_note(manager, "origin-unseen", "%s", cause);
    mp__log(manager->log, MP__LOG_INFO, "origin", "unseen-change",
            "%s; what is kept is verified when it is next read", cause);
    tell_all(manager, &reset);
}

static const char *const state_notes[] = {"origin-opening", "origin-live", "origin-degraded",
                                          "origin-down", "origin-lost"};

void mp__change_state(void *context, enum mp__origin_state from, enum mp__origin_state to,
                      const char *cause)
{
    mp__manager *manager = context;
    bool was = from == MP__ORIGIN_LIVE || from == MP__ORIGIN_DEGRADED;
    bool is = to == MP__ORIGIN_LIVE || to == MP__ORIGIN_DEGRADED;

    if (was && !is)
        watch_ends(manager);
    if (is && !was)
        watch_begins(manager);
    (void)pthread_mutex_lock(&manager->notable_lock);
    (void)snprintf(manager->trouble, sizeof(manager->trouble), "%s",
                   to == MP__ORIGIN_LIVE ? "" : cause);
    (void)pthread_mutex_unlock(&manager->notable_lock);
    mp__event_note(manager, state_notes[to], "%s", cause);
    if (to == MP__ORIGIN_LIVE)
        mp__preload_again(manager);
    mp__log(manager->log, to == MP__ORIGIN_LIVE ? MP__LOG_INFO : MP__LOG_ERROR, "origin",
            state_notes[to], "%s", cause);
}

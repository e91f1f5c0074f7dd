/* SPDX-License-Identifier: Apache-2.0 */
/* Watchers: one a loop, each with a queue of events that the thread of the commits fills and the
 * loop empties, a few a turn. A queue has a limit of events and of bytes that it keeps alive: past
 * the bytes an event goes without its value, past the count all that is queued is told as RESET. */
#include "manager/internal.h"

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
    void (*fn)(void *context, const mp__event *events, size_t count);
    void *context;
    mp__task task;
    bool told_stale; /* the loop's */
    /* under watch_lock */
    queued_event *first, **last;
    size_t count, bytes;
    uint64_t reset_revision;
    bool posted, reset, removed;
};

/* ---- the queue; under watch_lock ---- */

static size_t value_bytes(const mp__event *event)
{
    return event->entry ? event->entry->blob.pub.size : 0;
}

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
    watcher->count = watcher->bytes = 0;
}

static queued_event *queue_pop(mp__watcher *watcher)
{
    queued_event *q = watcher->first;

    if (!q)
        return NULL;
    watcher->first = q->next;
    if (!q->next)
        watcher->last = &watcher->first;
    watcher->count--;
    watcher->bytes -= value_bytes(&q->event);
    return q;
}

static void wake(mp__watcher *watcher)
{
    if (watcher->posted)
        return;
    watcher->posted = true;
    mp__loop_post(watcher->loop, &watcher->task);
}

/* It stands for all that was published up to now, and no read is answered older than that. */
static void reset(mp__watcher *watcher)
{
    queue_clear(watcher);
    watcher->reset = true;
    watcher->reset_revision = atomic_load(&watcher->manager->published);
}

/* Each watcher's part of what all of them may hold. */
static size_t bytes_max(const mp__watcher *watcher)
{
    size_t all = atomic_load_explicit(&watcher->manager->watch_bytes, memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&watcher->manager->watcher_count, memory_order_relaxed);

    return all / (count ? count : 1);
}

static void enqueue(mp__watcher *watcher, const mp__event *event)
{
    queued_event *q = watcher->count < QUEUE_MAX && !watcher->reset
                          ? mp__malloc(sizeof(*q) + event->address.size)
                          : NULL;

    if (!q) { /* what cannot be told one by one is told as "look again" */
        reset(watcher);
        return;
    }
    *q = (queued_event){.event = *event};
    if (event->address.size)
        memcpy(q->address, event->address.data, event->address.size);
    q->event.address = mp_str_new(q->address, event->address.size);
    if (watcher->bytes + value_bytes(event) > bytes_max(watcher))
        q->event.entry = NULL;
    else if (event->entry)
        q->event.entry = mp__entry_ref(event->entry);
    watcher->bytes += value_bytes(&q->event);
    *watcher->last = q;
    watcher->last = &q->next;
    watcher->count++;
}

static void unlink_from(mp__watcher **link, mp__watcher *watcher)
{
    while (*link != watcher)
        link = &(*link)->next;
    *link = watcher->next;
}

/* ---- on the watcher's loop ---- */

/* Whether it says how the origin as a whole is. */
static bool is_of_origin(const mp__event *event)
{
    return (event->kind == MP__EVENT_STALE || event->kind == MP__EVENT_FRESH) &&
           event->address.size == 0 && !event->is_prefix;
}

static void tell(mp__watcher *watcher, const mp__event *events, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_of_origin(&events[i]))
            watcher->told_stale = events[i].kind == MP__EVENT_STALE;
    watcher->fn(watcher->context, events, count);
}

/* The reset, behind what it swallowed of the origin's state. */
static void tell_reset(mp__watcher *watcher, uint64_t revision)
{
    bool stale = atomic_load(&watcher->manager->told_stale);
    mp__event events[2] = {
        {.kind = stale ? MP__EVENT_STALE : MP__EVENT_FRESH, .address = mp_str_new("", 0)},
        {.kind = MP__EVENT_RESET, .address = mp_str_new("", 0), .revision = revision},
    };

    if (stale == watcher->told_stale)
        tell(watcher, &events[1], 1);
    else
        tell(watcher, events, 2);
}

static void watcher_runs(mp__task *task)
{
    mp__watcher *watcher = (mp__watcher *)((char *)task - offsetof(mp__watcher, task));
    mp__manager *manager = watcher->manager;
    queued_event *taken[MP__EVENTS_TOGETHER];
    mp__event events[MP__EVENTS_TOGETHER];
    uint64_t reset_revision;
    bool is_reset, removed;
    size_t count = 0;

    (void)pthread_mutex_lock(&manager->watch_lock);
    watcher->posted = false;
    removed = watcher->removed;
    is_reset = watcher->reset;
    reset_revision = watcher->reset_revision;
    watcher->reset = false;
    while (!removed && count < MP__EVENTS_TOGETHER && (taken[count] = queue_pop(watcher)) != NULL) {
        events[count] = taken[count]->event;
        count++;
    }
    if (!removed && watcher->first)
        wake(watcher);
    if (removed)
        unlink_from(&manager->watchers_gone, watcher);
    (void)pthread_mutex_unlock(&manager->watch_lock);
    if (removed) {
        (void)mp__free(watcher);
        return;
    }
    if (is_reset)
        tell_reset(watcher, reset_revision);
    if (count)
        tell(watcher, events, count);
    for (size_t i = 0; i < count; i++)
        queued_free(taken[i]);
}

int mp__watch_add(mp__manager *manager, mp__loop *loop,
                  void (*fn)(void *context, const mp__event *events, size_t count), void *context,
                  mp__watch_start *ret_start, mp__watcher **ret_watcher)
{
    mp__watcher *watcher = mp__calloc(1, sizeof(*watcher));

    if (!watcher)
        return MP_ENOMEM;
    watcher->manager = manager;
    watcher->loop = loop;
    watcher->fn = fn;
    watcher->context = context;
    watcher->last = &watcher->first;
    watcher->task.run = watcher_runs;
    (void)pthread_mutex_lock(&manager->watch_lock);
    watcher->next = manager->watchers;
    manager->watchers = watcher;
    /* Counted first: who publishes after this look takes the lock, and who published before it was
     * counted has left its revision here. */
    (void)atomic_fetch_add(&manager->watcher_count, 1);
    ret_start->revision = atomic_load(&manager->published);
    ret_start->stale = watcher->told_stale = atomic_load(&manager->told_stale);
    (void)pthread_mutex_unlock(&manager->watch_lock);
    *ret_watcher = watcher;
    return 0;
}

mp__watcher *mp__watch_remove(mp__watcher *watcher)
{
    mp__manager *manager;
    bool posted;

    if (!watcher)
        return NULL;
    manager = watcher->manager;
    (void)pthread_mutex_lock(&manager->watch_lock);
    unlink_from(&manager->watchers, watcher);
    queue_clear(watcher);
    watcher->removed = true;
    posted = watcher->posted;
    if (posted) { /* its task, which is on its way, frees it; or the end, when the loop had ended */
        watcher->next = manager->watchers_gone;
        manager->watchers_gone = watcher;
    }
    (void)atomic_fetch_sub(&manager->watcher_count, 1);
    (void)pthread_mutex_unlock(&manager->watch_lock);
    if (!posted)
        (void)mp__free(watcher);
    return NULL;
}

void mp__watchers_end(mp__manager *manager)
{
    while (manager->watchers_gone) {
        mp__watcher *next = manager->watchers_gone->next;

        (void)mp__free(manager->watchers_gone);
        manager->watchers_gone = next;
    }
}

/* ---- from the origin's threads ---- */

static void note_published(mp__manager *manager, uint64_t revision)
{
    uint64_t known = atomic_load(&manager->published);

    while (revision > known && !atomic_compare_exchange_weak(&manager->published, &known, revision))
        ;
}

void mp__watchers_begin(mp__manager *manager, uint64_t revision, bool stale)
{
    note_published(manager, revision);
    atomic_store(&manager->told_stale, stale);
}

void mp__watchers_tell(mp__manager *manager, const mp__event *event)
{
    note_published(manager, event->revision);
    if (is_of_origin(event))
        atomic_store(&manager->told_stale, event->kind == MP__EVENT_STALE);
    if (atomic_load(&manager->watcher_count) == 0)
        return;
    (void)pthread_mutex_lock(&manager->watch_lock);
    for (mp__watcher *w = manager->watchers; w; w = w->next) {
        if (event->kind == MP__EVENT_RESET)
            reset(w);
        else
            enqueue(w, event);
        wake(w);
    }
    (void)pthread_mutex_unlock(&manager->watch_lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Whether values that say they are JSON are, before anything else is asked of a write.
 *
 * Small ones are looked at where the write began. A megabyte takes milliseconds, in which a loop
 * would serve nobody, so more than MP__CLAIMS_AT_ONCE in one request go to a thread of the manager.
 * Writes of the same source that come meanwhile line up behind it, since they keep their order;
 * all others pass by. */
#include "manager/validate.h"

/* Bytes of a request that are looked at in its loop: some 100 us. */
enum { MP__CLAIMS_AT_ONCE = 64 * 1024 };

/* Whether there is more to look at than a loop may. */
static bool is_large(const mp__write_request *request)
{
    size_t all = 0, bytes = 0;

    for (size_t i = 0; i < request->count; i++)
        all += request->changes[i].value.size;
    for (size_t i = 0; i < request->count && all > MP__CLAIMS_AT_ONCE; i++)
        if (mp__change_claims_json(&request->changes[i]))
            bytes += request->changes[i].value.size;
    return bytes > MP__CLAIMS_AT_ONCE;
}

/* ---- those that wait ---- */

/* Only a loop's own thread adds its requests and takes them away, so that what it sees of them
 * holds; the lock is for the links between those of several loops. */
static void line_up(mp__manager *manager, mp__write_request *request)
{
    mp__write_request **last;

    (void)pthread_mutex_lock(&manager->claims_lock);
    for (last = &manager->claims; *last; last = &(*last)->claims_next)
        ;
    request->claims_next = NULL;
    *last = request;
    (void)pthread_mutex_unlock(&manager->claims_lock);
    atomic_fetch_add_explicit(&manager->claims_count, 1, memory_order_relaxed);
}

static mp__write_request **first_of(mp__manager *manager, const mp__loop *loop, const void *source)
{
    mp__write_request **link = &manager->claims;

    while (*link && ((*link)->loop != loop || (*link)->source != source))
        link = &(*link)->claims_next;
    return link;
}

/* Whether a request of @source, of @loop, waits. */
static bool any_waits(mp__manager *manager, const mp__loop *loop, const void *source)
{
    bool any;

    /* what this loop added it sees; of others it does not matter */
    if (atomic_load_explicit(&manager->claims_count, memory_order_relaxed) == 0)
        return false;
    (void)pthread_mutex_lock(&manager->claims_lock);
    any = *first_of(manager, loop, source) != NULL;
    (void)pthread_mutex_unlock(&manager->claims_lock);
    return any;
}

/* The first of @source, unless it is still being looked at; NULL then, too. */
static mp__write_request *take_first(mp__manager *manager, const mp__loop *loop, const void *source)
{
    mp__write_request **link, *request;

    (void)pthread_mutex_lock(&manager->claims_lock);
    link = first_of(manager, loop, source);
    request = *link;
    if (request && request->claims_open)
        request = NULL;
    else if (request)
        *link = request->claims_next;
    (void)pthread_mutex_unlock(&manager->claims_lock);
    if (request)
        atomic_fetch_sub_explicit(&manager->claims_count, 1, memory_order_relaxed);
    return request;
}

/* ---- on the other thread, and back ---- */

static void checked(mp__task *task)
{
    mp__write_request *request =
        (mp__write_request *)((char *)task - offsetof(mp__write_request, task));
    mp__manager *manager = request->manager;
    const mp__loop *loop = request->loop;
    const void *source = request->source;

    request->claims_open = false;
    while ((request = take_first(manager, loop, source)) != NULL)
        mp__write_claimed(manager, request, request->claims_status);
}

static void check(mp__task *task)
{
    mp__write_request *request =
        (mp__write_request *)((char *)task - offsetof(mp__write_request, task));

    request->claims_status = mp__claims_check(request);
    request->task.run = checked;
    mp__loop_post(request->loop, &request->task);
}

void mp__claims_start(mp__manager *manager, mp__write_request *request)
{
    bool large = request->loop && is_large(request);

    request->claims_open = large;
    request->claims_status = large ? 0 : mp__claims_check(request);
    if (!large && !(request->loop && any_waits(manager, request->loop, request->source))) {
        mp__write_claimed(manager, request, request->claims_status);
        return;
    }
    line_up(manager, request);
    if (large) {
        request->task.run = check;
        mp__worker_post(manager->slow, &request->task);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Write-back: writes that are answered when they are durable here, and reach the origin later; also
 * when it is down. Which namespaces are written so is configuration (cache.write_modes).
 *
 *      write_start                        worker mp-write-back               origin
 *          | takes it: plain PUT or DELETE       |                             |
 *          +------------------------------------>| journal, synced             |
 *          |<--- reply: durable here ------------|                             |
 *          |      (readers get it at once)       |--- in order, each key's --->| commit
 *          |                                     |      one after the other    |
 *          |                                     |<----- revision -------------|
 *          |                                     | into the cache, to watchers, out of the journal
 *          |                                     |
 *          |                                     |<----- conflict: somebody else changed it
 *          |                                     | into conflicts.jsonl, synced; the origin's value
 *          |                                     | stands. Never silently lost
 *
 * A write is checked against what was known here when it was made: if the origin holds another
 * revision by then, that is a conflict. What depends on the origin (conditions, transactions,
 * rollback, expiry of what is there) goes through as ever, once no write of the same key is on its
 * way any more. Lists and watchers tell what the origin has. */
#ifndef MP_MANAGER_WRITE_BACK_H
#define MP_MANAGER_WRITE_BACK_H

#include <stdatomic.h>

#include "core/json.h"
#include "manager/manager.h"

typedef struct mp__back mp__back;

enum mp__write_mode { MP__WRITE_THROUGH, MP__WRITE_AROUND, MP__WRITE_BACK };

/* ---- modes; fixed at the start ---- */

typedef struct mp__write_modes mp__write_modes;
MP_MUST_USE int mp__write_modes_new(const mp__options *options, mp__write_modes **ret_modes,
                                    mp__diag *diag);
mp__write_modes *mp__write_modes_free(mp__write_modes *modes);
enum mp__write_mode mp__write_mode_of(const mp__write_modes *modes, mp_str address);
bool mp__write_modes_have_back(const mp__write_modes *modes); /* is any namespace written so? */

/* ---- the queue ---- */

/* Read the journal in the data directory: what had not reached the origin is on its way again. The
 * cache and the origin are there. Blocks. */
MP_MUST_USE int mp__back_new(mp__manager *manager, const mp__options *options, mp__diag *diag);
void mp__back_stop(mp__back *back);      /* send no more; before the origin is closed */
mp__back *mp__back_free(mp__back *back); /* after it */

/* See to @request: answer it when it is durable here, or let it go through (mp__write_through), at
 * once or when the writes of its keys have arrived. Any thread. */
void mp__back_start(mp__back *back, mp__write_request *request);
/* Whether it would be answered when it is durable here, as things are now. */
bool mp__back_would_take(const mp__back *back, const mp__write_request *request);
/* A request with `counted` set is about to be answered. */
void mp__back_went_through(mp__back *back, const mp__write_request *request);

/* Whether a write of an address with this hash may be on its way; two loads while there is none. */
enum { MP__BACK_FILTER = 1024 };
typedef struct mp__back_filter {
    _Atomic uint32_t pending;                /* writes on their way */
    _Atomic uint32_t slots[MP__BACK_FILTER]; /* by the low bits of their hashes */
} mp__back_filter;
static inline bool mp__back_may_have(const mp__back_filter *filter, uint64_t hash)
{
    return atomic_load_explicit(&filter->pending, memory_order_relaxed) != 0 &&
           atomic_load_explicit(&filter->slots[hash % MP__BACK_FILTER], memory_order_acquire) != 0;
}

/* The newest write of @address that is on its way, a reference; NULL: there is none. */
const mp__entry *mp__back_find(mp__back *back, mp_str address, uint64_t hash);
/* Let @read (of level strong) wait until no write of its address is on its way, and go on then with
 * mp__read_layer(). False: there is none any more. */
MP_MUST_USE bool mp__back_waits(mp__back *back, mp__read *read);
/* Of those that wait on @loop since before @before_ns: a list by their next, the caller's. */
mp__read *mp__back_late(mp__back *back, const mp__loop *loop, uint64_t before_ns);

/* Members for the status: how many are on their way, since when, conflicts, what is wrong. */
void mp__back_json(mp__back *back, mp__buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* L4: values that several nodes share, in a Redis. Optional, and never needed: whatever it does (it
 * is gone, hangs, was emptied, holds rubbish) costs a reader at most the time-out once, and is
 * never believed for more than what it says of itself: every value carries a checksum over key,
 * value and revision, its age is told like that of any other, and strong reads do not come here.
 *
 * A module of its own, since it speaks RESP and libmarketprism does not. */
#ifndef MP_SHARED_SHARED_H
#define MP_SHARED_SHARED_H

#include "core/buf.h"
#include "core/env.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/record.h"

typedef struct mp__shared mp__shared;

typedef struct mp__shared_options {
    mp_env *env;
    mp__log_sink *log;        /* may be NULL */
    const char *url;          /* redis://[[user]:password@]host[:port][/database] */
    uint64_t timeout_ms;      /* of each request */
    uint64_t ttl_ms;          /* how long Redis keeps what nobody writes again */
    size_t pending_bytes_max; /* of writes under way */
} mp__shared_options;

/* Whether @url can be one of L4. MP_EINVAL with why not in @diag. Pure. */
MP_MUST_USE int mp__shared_url_check(const char *url, mp__diag *diag);
/* Check the options and start the thread "mp-l4". Does not wait for Redis. MP_EINVAL with a text.
 */
MP_MUST_USE int mp__shared_open(const mp__shared_options *options, mp__shared **ret_shared,
                                mp__diag *diag);
/* What is under way is answered with an error. Accepts NULL, returns NULL. */
mp__shared *mp__shared_close(mp__shared *shared);

/* Whose values: the epoch of the origin, so that nodes of different origins, and of different lives
 * of one, do not meet. Until there is one, nothing is asked or written. Any thread. */
void mp__shared_scope(mp__shared *shared, const char *epoch);
/* Worth asking just now. Any thread, no lock; false for NULL. */
bool mp__shared_is_up(const mp__shared *shared);

/* @done comes once, on "mp-l4" or inside the call: 0 with a record (VALUE or ABSENT) that is valid
 * during the call; MP_EUNKNOWN: it is not there; MP_ETIMEOUT, MP_ECLOSED, MP_ECORRUPT. */
typedef struct mp__shared_get {
    mp__task task; /* the module's */
    mp__shared *shared;
    mp_str address; /* the caller's, valid until done */
    void (*done)(struct mp__shared_get *get, int status, const mp__record *record);
} mp__shared_get;
void mp__shared_get_start(mp__shared *shared, mp__shared_get *get);

/* Write @record (copied), unless what is there is newer and not @force; ABSENT only where something
 * is. Never waits: what cannot be written is dropped and counted. Any thread; NULL: nothing. */
void mp__shared_put(mp__shared *shared, const mp__record *record, bool force);

typedef struct mp__shared_stats {
    bool up; /* it can be asked and written to */
    uint64_t hits, misses, timeouts, errors, corrupt, puts, dropped, connects;
    size_t pending_bytes;
    char address[300]; /* without the password */
    char trouble[256]; /* "" while it is up, answers and takes what it is given */
} mp__shared_stats;
void mp__shared_stats_read(mp__shared *shared, mp__shared_stats *ret_stats);

#endif

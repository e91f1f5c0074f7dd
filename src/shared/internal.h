/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of L4 share.
 *
 *   shared.c   the doors: open, close, get, put
 *   link.c     a connection: connect, greet, ask, time out, come back
 *   value.c    addresses, keys and values as bytes, pure
 *
 * Two links, one for reads and one for writes, so that no read stands behind a large write. All of
 * a link belongs to the loop "mp-l4". */
#ifndef MP_SHARED_INTERNAL_H
#define MP_SHARED_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/alloc.h"
#include "shared/shared.h"

enum { MP__SHARED_ASKED_MAX = 10000, MP__SHARED_REVISION_DIGITS = 20, MP__SHARED_SCOPE_MAX = 64 };

/* ---- value.c ---- */

typedef struct mp__shared_address {
    char host[256], user[128], password[256];
    uint16_t port;
    unsigned database;
} mp__shared_address;

MP_MUST_USE int mp__shared_address_parse(const char *url, mp__shared_address *ret_address,
                                         mp__diag *diag);

typedef struct mp__shared_name {
    char scope[MP__SHARED_SCOPE_MAX];
    mp__hash_key secret; /* of the sums; from the scope, so that all who share it have the same */
} mp__shared_name;

void mp__shared_name_set(mp__shared_name *name, const char *scope);
/* "mp:<scope>:<address>" */
MP_MUST_USE int mp__shared_key(const mp__shared_name *name, mp_str address, mp__buf *out);
/* The revision in decimal, for Redis to compare, then the packed record. MP_ELIMIT: too large. */
MP_MUST_USE int mp__shared_value(const mp__shared_name *name, const mp__record *record,
                                 mp__buf *out);
/* Any bytes. MP_ECORRUPT unless they are a value of @address. */
MP_MUST_USE int mp__shared_value_read(const mp__shared_name *name, mp_str address, mp_str value,
                                      mp__record *ret_record);

/* ---- link.c: on the loop ---- */

typedef struct mp__shared_ask {
    struct mp__shared_ask *next;
    enum { MP__ASK_GREET, MP__ASK_GET, MP__ASK_PUT, MP__ASK_FORGET } kind;
    uint64_t deadline_ns;
    size_t bytes;        /* PUT: that count as pending */
    mp__shared_get *get; /* GET */
    mp__shared_name name;
} mp__shared_ask;

enum mp__link_side { MP__LINK_READS, MP__LINK_WRITES };

enum mp__link_state { MP__LINK_DOWN, MP__LINK_CONNECTING, MP__LINK_GREETING, MP__LINK_UP };

typedef struct mp__link {
    mp__shared *shared;
    enum mp__link_state state;
    mp__stream *stream;
    mp__timer *timer; /* of the first deadline, or of the next attempt */
    mp__shared_ask *first, **last;
    size_t asked;
    mp__buf in, out;
    uint64_t pause_ms; /* before the next attempt */
    _Atomic bool up;
} mp__link;

int mp__link_start(mp__link *link, mp__shared *shared);
/* Ask, or MP_EUNKNOWN when the link is not up or has too much to do. The answer comes to
 * mp__shared_answered(). */
int mp__link_ask(mp__link *link, unsigned kind, mp__shared_get *get, size_t bytes,
                 const mp__shared_name *name, const mp_str *words, size_t count);
void mp__link_flush(mp__link *link); /* at the end of a turn */
void mp__link_stop(mp__link *link);

/* ---- shared.c ---- */

typedef struct mp__reply mp__reply;
/* @reply NULL: there is none, for @status. */
void mp__shared_answered(mp__shared *shared, mp__shared_ask *ask, int status,
                         const mp__reply *reply);
void mp__shared_trouble(mp__shared *shared, const char *text); /* "": none any more */
void mp__shared_closed_one(mp__shared *shared);

struct mp__shared {
    mp_env *env;
    mp__log_sink *log;
    mp__loop *loop;
    mp__shared_address address;
    uint64_t timeout_ms, ttl_ms;
    size_t pending_bytes_max;
    mp__link reading, writing;
    mp__task start, stop;
    bool stopping;
    unsigned busy; /* streams and attempts that will still call */

    pthread_mutex_t name_lock; /* over name, has_name and trouble */
    mp__shared_name name;
    bool has_name;
    char trouble[256];
    /* what it said, though it is up, to the last read and the last write; "": it did them; the
     * loop's */
    char refused[2][120];

    _Atomic uint64_t hits, misses, timeouts, errors, corrupt, puts, dropped, connects;
    _Atomic size_t pending_bytes;
};

#endif

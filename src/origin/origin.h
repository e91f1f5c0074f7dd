/* SPDX-License-Identifier: Apache-2.0 */
/* Origins: where configuration comes from and is committed to, behind one interface.
 *
 * Requests are queued to the origin's own threads and end in a callback there; the callback gets
 * records whose slices are valid only while it runs. Requests belong to the caller and must live
 * until their callback. An origin orders its writes: every change has a revision of its own,
 * greater than all before it. */
#ifndef MP_ORIGIN_ORIGIN_H
#define MP_ORIGIN_ORIGIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/buf.h"
#include "core/env.h"
#include "core/log.h"
#include "core/record.h"
#include "core/state.h"
#include "format/format.h"

typedef struct mp__origin mp__origin;

/*                 +-----------------------------+
 *   opening -> live -> degraded (reads, no writes) -> live
 *      |        |          |
 *      +------> down <-----+    down -> live when it is back; lost: its data are gone
 *      +------> lost -> live    when it was put back
 */
enum mp__origin_state {
    MP__ORIGIN_OPENING,
    MP__ORIGIN_LIVE,     /* reads, writes, and every change is seen as it happens */
    MP__ORIGIN_DEGRADED, /* reads work; writes are refused (disk full, failed fsync, read-only) */
    MP__ORIGIN_DOWN,     /* cannot be asked */
    MP__ORIGIN_LOST,     /* had data once and has them no longer (moved away, damaged, deleted) */
};
extern const mp__state_table mp__origin_states;

/* ---- reads ---- */

typedef struct mp__fetch {
    mp__origin *origin; /* the origin's, as is task */
    mp__task task;
    mp_str address;       /* the caller's until done */
    uint64_t if_revision; /* nonzero: `unchanged` instead of the value when it is still this one */
    bool unchanged;       /* result */
    uint64_t as_of;       /* result: the origin's revision when it answered */
    /* status 0: @record is VALUE or ABSENT (never past its expiry). MP_ECORRUPT: it is there and
     * damaged, or cannot be read. MP_EORIGIN, MP_EORIGINLOST, MP_ETIMEOUT, -errno: not known. Then
     * @record may be what the origin remembers of it, verified_ms telling as of when, else it is
     * NULL. On the origin's thread. */
    void (*done)(struct mp__fetch *fetch, int status, const mp__record *record);
} mp__fetch;

/* ---- writes ---- */

enum mp__change_op {
    MP__CHANGE_PUT,
    MP__CHANGE_DELETE,
    MP__CHANGE_EXPIRE,   /* set or clear expires_ms of what is there */
    MP__CHANGE_ROLLBACK, /* make the value of revision `to_revision` the newest again */
    MP__CHANGE_CHECK,    /* nothing: only its conditions count, for the others beside it */
};

enum mp__change_flags {
    MP__IF_ABSENT = 1,   /* NX, If-None-Match: * */
    MP__IF_PRESENT = 2,  /* XX */
    MP__IF_REVISION = 4, /* compare-and-set with `if_revision` */
    MP__KEEP_EXPIRY = 8, /* KEEPTTL */
    MP__WANT_OLD = 16,   /* SET … GET */
    /* a PUT of, or a ROLLBACK to the same value, media type and expiry makes no revision */
    MP__IF_CHANGED = 32,
    /* of an EXPIRE; one whose condition does not hold changes nothing, and is no error */
    MP__IF_NO_EXPIRY = 64,
    MP__IF_EXPIRY = 128,
    MP__IF_LATER = 256, /* than the present one; none is the latest */
    MP__IF_EARLIER = 512,
};

/* One change, and what became of it. */
typedef struct mp__change {
    enum mp__change_op op;
    unsigned flags;
    mp_str address, value, media_type; /* the caller's until done */
    int64_t expires_ms;                /* PUT, EXPIRE: Unix ms, 0: never */
    uint64_t if_revision, to_revision;
    /* results, valid while done() runs */
    int status;       /* 0 done; MP_EABSENT nothing there (DELETE, EXPIRE, ROLLBACK, IF_PRESENT);
                       * MP_ECONFLICT the condition does not hold; MP_EEXISTS with IF_ABSENT */
    bool changed;     /* a new revision was made */
    mp__record after; /* what holds now, ABSENT after a DELETE; revision 0 when not known */
    bool had_old;
    mp__record old; /* with MP__WANT_OLD and had_old */
} mp__change;

/* One or more changes, all or nothing: if one's status is an error none of them happens (a DELETE,
 * EXPIRE of what is not there is no error of the whole), and `status` is the first such error. */
typedef struct mp__write {
    mp__origin *origin; /* the origin's, as is task */
    mp__task task;
    mp__change *changes; /* the caller's until done */
    size_t count;
    mp_str actor; /* who, for the history; "" unknown */
    /* status 0: durable (synced). Errors: a change's status; MP_EDEGRADED, MP_EORIGIN,
     * MP_EORIGINLOST, -ENOSPC, -EIO: nothing happened. On the writer's thread, in commit order,
     * after the commit and before any later write is answered. */
    void (*done)(struct mp__write *write, int status);
} mp__write;

/* ---- lists and history ---- */

typedef struct mp__list {
    mp__origin *origin; /* the origin's, as is task */
    mp__task task;
    mp_str environment; /* "" : the list of environments (records with only an address) */
    mp_str prefix;      /* of the address after "environment/", as "namespace/ke"; "" all */
    uint64_t after;     /* cursor: 0 begins; goes on after this one */
    uint32_t limit;     /* most records in one answer, 1 to 10,000 */
    bool with_values;
    size_t bytes_max; /* by_key: ends after the record that brings it there; 0: no such end */
    bool by_key;      /* ordered by address (cursor then is `after_address`), else by cursor */
    mp_str after_address;
    /* With by_key: as it was when this was the newest revision, but without what has expired since;
     * so that later pages show what the first one saw. 0: as it is. MP_EINVAL: it is not there yet.
     */
    uint64_t at_revision;
    uint64_t as_of;  /* result: the origin's revision when it answered */
    bool remembered; /* result: the origin cannot look, and says what it remembers */
    void *rest;      /* the origin's: how far it is while others have their turn */
    /* @records in the order of the cursor; @next is 0 when it ends. Every key that is there all the
     * time is given exactly once. */
    void (*done)(struct mp__list *list, int status, const mp__record *records, size_t count,
                 uint64_t next);
} mp__list;

typedef struct mp__history {
    mp__origin *origin; /* the origin's, as is task */
    mp__task task;
    mp_str address;
    uint64_t before; /* only revisions below it; 0: from the newest */
    /* From this one down, rather than below @before. 0: no such. MP_EINVAL: it is not there yet. */
    uint64_t at_revision;
    uint32_t limit;
    bool with_values;
    size_t bytes_max; /* ends after the record that brings it there; 0: no such end */
    bool cut;         /* result: it ended so, and there may be more */
    /* Newest first; a deletion is an ABSENT record. actors[i] belongs to records[i]. */
    void (*done)(struct mp__history *history, int status, const mp__record *records,
                 const mp_str *actors, size_t count);
} mp__history;

typedef struct mp__count {
    mp__origin *origin; /* the origin's, as is task */
    mp__task task;
    mp_str environment;
    bool remembered; /* result, as in a list */
    void (*done)(struct mp__count *count, int status, uint64_t keys);
} mp__count;

/* What changed behind a revision: for watchers that come back. */
enum { MP__CHANGED_PREFIXES_MAX = 4 };
typedef struct mp__changed {
    mp__origin *origin; /* the origin's, as is task */
    mp__task task;
    mp_str prefixes[MP__CHANGED_PREFIXES_MAX]; /* of addresses, "environment/namespace/ke" */
    size_t prefix_count;
    uint64_t after;   /* changes above this revision */
    uint32_t limit;   /* most records in one answer, 1 to 10,000 */
    size_t bytes_max; /* ends after the record that brings it there; 0: no such end */
    uint64_t as_of;   /* result: the origin's revision when it answered */
    /* @records in the order of their revisions, each exactly as it was made, a deletion as ABSENT.
     * @through: no change at or below it is missing; it is `as_of` at the end, else go on behind
     * it. MP_EINVAL: `after` is not there yet. MP_EUNSUPPORTED: this origin keeps no history.
     * MP_EUNKNOWN, MP_ECORRUPT: something in between is not known any more. */
    void (*done)(struct mp__changed *changed, int status, const mp__record *records, size_t count,
                 uint64_t through);
} mp__changed;

/* ---- the origin ---- */

enum { MP__ORIGIN_COUNTED_MAX = 16 };

typedef struct mp__origin_stats {
    uint64_t revision; /* newest committed */
    uint64_t keys;
    uint64_t keys_of[MP__ORIGIN_COUNTED_MAX]; /* of the scopes that options.counted names */
    uint64_t fetches, writes, commits, errors, corrupt_rows, salvaged;
    uint64_t size_bytes;
    uint64_t commit_ns_last, batch_last;
    bool behind; /* LOST because its newest commits are missing: mp__origin_salvage() */
} mp__origin_stats;

/* What an origin is about to take over from where it comes from, for whoever judges it. */
typedef struct mp__proposal {
    mp_str scope, namespace_; /* what changes */
    bool changes;             /* false: it stands so already, and only its giver was not known */
    /* Add what a namespace of a scope will hold then, or what it holds. Inside on_proposal() only;
     * may block. */
    int (*keys)(struct mp__proposal *proposal, mp_str scope, mp_str namespace_, bool as_it_stands,
                mp__leaves *leaves);
    /* The scopes that hold something one after the other, in an order of their own; "": no more. */
    mp_str (*scopes)(struct mp__proposal *proposal, size_t i);
    /* results */
    char key[512];  /* the key that breaks a rule; "" none in particular */
    char text[512]; /* what is wrong, "": nothing */
} mp__proposal;
#define MP__SCHEMA_NAMESPACE "_schema" /* where the rules stand */

typedef struct mp__origin_options {
    mp_env *env;
    mp__log_sink *log;     /* may be NULL */
    const char *path;      /* sqlite: the database file; file: the folder */
    const char *state_dir; /* where an origin keeps what it must remember itself; may be NULL */
    bool is_shared;        /* sqlite: other daemons may have the database open, too */
    bool new_origin;       /* begin anew although there was one once (it is moved aside) */
    bool was_there;        /* sqlite: there was one once, whatever its own files say */
    uint64_t probe_ms;     /* how often health is looked at; 0: 1000 */
    uint64_t sweep_ms;     /* how often expired values are deleted; 0: 1000 */
    uint64_t timeout_ms;   /* how long a lock of another program is waited for; 0: 2000 */
    const char *base;      /* file: the scope that all others fall back to; may be NULL */
    /* Scopes whose keys the statistics count one by one, of which those beyond COUNTED_MAX are left
     * out; they outlive the origin. May be NULL. */
    char *const *counted;
    size_t counted_count;
    /* file; 0: the defaults of the options */
    uint64_t rescan_ms;    /* how often it is looked at without an event */
    uint64_t settle_ms;    /* how long a file must be left alone before it is taken */
    size_t file_bytes_max; /* of one file */
    size_t keys_max;       /* of all files */
    void *context;
    /* The state moved; on one of the origin's threads, never two at once. Moves that
     * mp__origin_open() and mp__origin_salvage() make are told on the caller's thread. */
    void (*on_state)(void *context, enum mp__origin_state from, enum mp__origin_state to,
                     const char *cause);
    /* Somebody else than us changed the origin, or it may have missed something: whatever was kept
     * must be verified again before it counts as fresh. */
    void (*on_unseen_change)(void *context, const char *cause);
    /* A change that no mp__write of ours asked for (expiry sweep, salvage); as in mp__write, in the
     * same order. */
    void (*on_change)(void *context, const mp__record *after);
    /* A change that somebody else made at the origin, seen as it happened; as on_change, which
     * tells of expiries. */
    void (*on_seen)(void *context, const mp__record *after);
    /* @begins: it is seen that there is a newer version of @address which cannot be read: what is
     * kept of it is no longer held fresh, and fetches of it fail until that is mended. Else: it is,
     * and what changed by it has been told before. Not @is_named: there are so many at once that
     * this one is among those that on_doubts() tells of next, together. On the origin's thread. */
    void (*on_doubt)(void *context, mp_str address, bool begins, bool is_named);
    void (*on_doubts)(void *context, mp_str prefix, bool begins); /* all of them begin so */
    /* Judge a proposal; what breaks a rule is not taken. 0 or MP_ENOMEM. On the origin's thread, or
     * inside its open. */
    int (*on_proposal)(void *context, mp__proposal *proposal);
} mp__origin_options;

/* A kind of origin: a struct of functions in its own file, listed in origin.c. */
typedef struct mp__origin_ops {
    const char *name; /* "sqlite" */
    int (*open)(const mp__origin_options *options, mp__origin **ret_origin, mp__diag *diag);
    mp__origin *(*close)(mp__origin *origin);
    void (*fetch)(mp__origin *origin, mp__fetch *fetch);
    void (*write)(mp__origin *origin, mp__write *write);
    void (*list)(mp__origin *origin, mp__list *list);
    void (*history)(mp__origin *origin, mp__history *history);
    void (*count)(mp__origin *origin, mp__count *count);
    void (*changed)(mp__origin *origin, mp__changed *changed); /* NULL: it keeps no history */
    void (*stats)(mp__origin *origin, mp__origin_stats *ret_stats);
    /* Give records back to an origin that lost its newest commits: each is committed with its own
     * revision if the origin has nothing as new. One that is LOST only because of them (stats say
     * `behind`) goes LIVE by it, even with @count 0. May be NULL. Blocks; at start only. */
    int (*salvage)(mp__origin *origin, const mp__record *records, size_t count);
    /* Call @each with the addresses that begin with @prefix and are in doubt, until it returns
     * other than 0. Any thread; @each asks the origin nothing. NULL: there never are any. */
    void (*doubts)(mp__origin *origin, mp_str prefix, int (*each)(void *context, mp_str address),
                   void *context);
    /* Add members to a JSON object: about the origin, or about @address where that is not "". Any
     * thread. May be NULL. */
    void (*describe)(mp__origin *origin, mp_str address, mp__buf *json);
    /* What to do about it in a state, one line; NULL, or NULL given back: the usual. */
    const char *(*remedy)(enum mp__origin_state state);
    bool read_only; /* every write is refused with MP_EREADONLY */
} mp__origin_ops;

struct mp__origin { /* first member of each kind's own struct */
    const mp__origin_ops *ops;
    mp__state state; /* readable from any thread */
    /* Names this life of the data; a restore begins a new one. Written once, then known: read it
     * through mp__origin_epoch(). */
    char epoch[33];
    _Atomic bool epoch_known;
    _Atomic bool is_full; /* DOWN for want of room on the disk */
};

/* Its epoch, 32 characters, or "" while it has never been seen (an origin that was lost before it
 * was opened). Any thread; lives as long as the origin. */
static inline const char *mp__origin_epoch(const mp__origin *origin)
{
    return atomic_load_explicit(&origin->epoch_known, memory_order_acquire) ? origin->epoch : "";
}
/* For origins: say it; once. */
static inline void mp__origin_epoch_set(mp__origin *origin, const char epoch[33])
{
    if (atomic_load_explicit(&origin->epoch_known, memory_order_relaxed))
        return;
    memcpy(origin->epoch, epoch, sizeof(origin->epoch));
    atomic_store_explicit(&origin->epoch_known, true, memory_order_release);
}

/* Open an origin of kind @kind. 0 also when its data are lost or it is down: then the state says so
 * and it recovers by itself. MP_EINVAL unknown kind (with did-you-mean); MP_EVERSION. */
MP_MUST_USE int mp__origin_open(const char *kind, const mp__origin_options *options,
                                mp__origin **ret_origin, mp__diag *diag);
/* Finish what is queued, close, free. Accepts NULL, returns NULL. */
mp__origin *mp__origin_close(mp__origin *origin);

/* All six may be called from any thread; the callbacks come on the origin's threads, but for an
 * mp__origin_changed() that is not supported, which is answered inside the call. */
void mp__origin_fetch(mp__origin *origin, mp__fetch *fetch);
void mp__origin_write(mp__origin *origin, mp__write *write);
void mp__origin_list(mp__origin *origin, mp__list *list);
void mp__origin_history(mp__origin *origin, mp__history *history);
void mp__origin_count(mp__origin *origin, mp__count *count);
void mp__origin_changed(mp__origin *origin, mp__changed *changed);
void mp__origin_stats_read(mp__origin *origin, mp__origin_stats *ret_stats);
int mp__origin_salvage(mp__origin *origin, const mp__record *records, size_t count);

/* ---- from outside ---- */

/* What a look at a database of ours found, and at what says that there was one. */
typedef struct mp__origin_examined {
    bool there, was_there; /* the file; one of those that it leaves beside itself */
    bool is_ours;          /* a database of ours, by its header */
    bool has_wal;          /* commits that are not in the file yet */
    bool has_sums;         /* its pages end in checksums */
    bool journal_damaged;  /* the head of its journal */
    int version;           /* of its format */
    uint64_t bytes, pages, pages_read, pages_damaged;
    uint64_t pages_missing; /* that its header counts and the file, though it has no WAL, has not */
    uint64_t first_damaged; /* page */
} mp__origin_examined;
enum { MP__ORIGIN_VERSION = 1 }; /* the newest format of a database that we know */
/* Read the database file at @path, about @bytes_most of it, and check the sum of every page,
 * without opening it as a database: nothing is locked or changed, a daemon may go on writing to it.
 * 0 also where it is not there; -errno where it cannot be read. Blocks. */
MP_MUST_USE int mp__origin_examine(mp_env *env, const char *path, uint64_t bytes_most,
                                   mp__origin_examined *ret_examined);

/* Copy the database at @path to @out, which is not there yet, as it stands at one moment; a daemon
 * may go on writing to it meanwhile. Also one that is none of ours. Not synced. *ret_revision: the
 * newest in the copy, 0 where it is none of ours. Blocks. */
MP_MUST_USE int mp__origin_backup(mp_env *env, const char *path, const char *out,
                                  uint64_t *ret_revision, mp__diag *diag);
/* The database at @path was restored and begins a new life: positions of watches and what was kept
 * elsewhere of the old one mean nothing in it. Nobody has it open. Blocks. */
MP_MUST_USE int mp__origin_renew(mp_env *env, const char *path, mp__diag *diag);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The performance manager: puts cache and origin together. Four flows, each in one file:
 * read_path.c, write_path.c, change_path.c and, once there is an optimizer, tune_loop.c.
 *
 * Requests belong to the caller, live until their done(), which comes on the loop named in them. */
#ifndef MP_MANAGER_MANAGER_H
#define MP_MANAGER_MANAGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "access/access.h"
#include "cache/cache.h"
#include "core/address.h"
#include "core/env.h"
#include "core/log.h"
#include "core/option.h"
#include "monitor/monitor.h"
#include "origin/origin.h"
#include "shared/shared.h"

typedef struct mp__manager mp__manager;

/* ---- lifecycle ---- */

typedef struct mp__manager_config {
    mp_env *env;
    mp__log_sink *log;          /* may be NULL */
    const mp__options *options; /* read during the call, and again by mp__manager_reload */
    mp__monitor *monitor;       /* may be NULL in tests */
    const char *data_dir;       /* made if missing (0700); locked */
    bool new_origin;
    const mp__origin_ops *origin; /* NULL: as origin.type says; tests bring their own */
} mp__manager_config;

/* How memory is divided, of memory.max and what is set by hand. */
typedef struct mp__memory_plan {
    size_t max; /* memory.max; 0: there is none, and each limit is its own */
    size_t l1_bytes, l2_bytes, l1_entries, l2_entries;
    size_t write_back_bytes; /* 0: nothing is written back */
    size_t l3_pending_bytes, watch_bytes;
    size_t sum; /* of all these bytes */
} mp__memory_plan;
/* MP_EINVAL: memory.max is too small, or what is set by hand does not fit in; with the place in the
 * file, as far as known, in @diag (may be NULL). Pure. */
MP_MUST_USE int mp__memory_plan_make(const mp__options *options, mp__memory_plan *ret_plan,
                                     mp__diag *diag);
/* What can be said of options beyond each one alone, before a manager is opened with them. */
MP_MUST_USE int mp__manager_check(const mp__options *options, mp__diag *diag);
/* What an origin that is opened with these options would hear of what it is about to take over, as
 * its on_proposal: for who looks at it beforehand, without a manager. MP_ENOMEM, or what the
 * proposal's keys() give back. */
MP_MUST_USE int mp__manager_judge(const mp__options *options, mp__proposal *proposal);

/* Lock the data directory (MP_ELOCKED names the other process), open cache and origin, repair what
 * a crash left. 0 also when the origin is lost or down: then it serves what it kept and
 * mp__manager_summary() says how to restore. Blocks; at start only. */
MP_MUST_USE int mp__manager_open(const mp__manager_config *config, mp__manager **ret_manager,
                                 mp__diag *diag);
/* Finish writes, flush L3, close. No request may be under way. Accepts NULL, returns NULL. */
mp__manager *mp__manager_close(mp__manager *manager);
/* Which format the text of a data directory's file `format` names; 0: the text is damaged. Pure. */
long mp__dir_format(mp_str text);
/* Apply what of @options is live; others are reported in @diag and left. */
int mp__manager_reload(mp__manager *manager, const mp__options *options, mp__diag *diag);

/* Coarse time, for what a hit looks at: each loop calls it at the beginning of a turn, when the
 * time of its turn changed. Any thread. */
void mp__manager_tick(mp__manager *manager, int64_t wall_ms, uint64_t mono_ns);
/* Answer what waits on @loop longer than origin.timeout; each loop calls it some times a second. */
void mp__manager_deadlines(mp__manager *manager, mp__loop *loop);

/* origin.timeout as it is now: how long the origin is waited for. Any thread. */
int64_t mp__manager_timeout_ms(const mp__manager *manager);

mp_cache *mp__manager_cache(mp__manager *manager);
mp__access *mp__manager_access(mp__manager *manager);
mp__hash_key mp__manager_hash_key(const mp__manager *manager);    /* for tables of one's own */
const mp__hasher *mp__manager_hasher(const mp__manager *manager); /* for addresses */

/* The name of the n-th environment of `resp.databases`, "" when there is none. */
mp_str mp__manager_environment(const mp__manager *manager, unsigned database);
/* How many keys the first of them hold themselves, without what they fall back to, as the origin
 * knew them last; how many of them these are. Any thread, no disk. */
size_t mp__manager_keys_of(mp__manager *manager, uint64_t ret_keys[MP__ORIGIN_COUNTED_MAX]);

/* ---- overlay: overlay.c ----
 *
 * Who reads an address of a scope gets the value of the nearest layer that has one: instance,
 * region, environment, base. A value of MP__MEDIA_MASK ends the search: there is none. Writes go to
 * the layer that is named and to no other. */

/* Whether a value of the media type @type is JSON: application/json, or one that ends in +json,
 * with or without parameters. Pure. */
bool mp__media_is_json(mp_str type);

/* The layers that a read of @namespace_ in @scope looks at, nearest first, @scope itself included:
 * slices of @scope and of the manager's. Their number, at least 1. Any thread, no allocation. */
size_t mp__overlay_layers(const mp__manager *manager, mp_str scope, mp_str namespace_,
                          mp_str ret_layers[MP__LAYERS_MAX]);
/* Whether a change of @address, which is of some layer, can change what a reader of @scope gets,
 * and what it is called there ("namespace/key", a slice of @address). */
bool mp__overlay_sees(const mp__manager *manager, mp_str scope, mp_str address, mp_str *ret_rest);
/* The environment that all fall back to, "" when there is none. */
mp_str mp__overlay_base(const mp__manager *manager);

/* ---- read ---- */

enum mp__level { MP__LEVEL_EVENTUAL, MP__LEVEL_STRONG, MP__LEVEL_WEAK };
const char *mp__level_name(enum mp__level level);
int mp__level_parse(mp_str text, enum mp__level *ret_level); /* any case; MP_EINVAL */

/* Why an answer is as it is; names through mp__reason_name(). */
enum mp__reason {
    MP__REASON_FRESH,        /* held by the watch of a live origin */
    MP__REASON_WITHIN_BOUND, /* verified less than the bound ago */
    MP__REASON_VERIFIED,     /* the origin was asked for this read */
    MP__REASON_REFRESHING,   /* past its bound: served, and being verified behind */
    MP__REASON_WEAK,         /* the reader asked for anything cached */
    MP__REASON_ORIGIN_DOWN,
    MP__REASON_ORIGIN_LOST,
    MP__REASON_ORIGIN_DAMAGED, /* the origin's own copy failed its checksum; this one did not */
    MP__REASON_ORIGIN_SLOW,    /* it did not answer within origin.timeout */
    MP__REASON_PENDING,        /* written here, and still on its way to the origin */
};
const char *mp__reason_name(enum mp__reason reason); /* "fresh" "within-bound" "verified" ... */

typedef struct mp__read {
    /* in */
    mp__loop *loop;
    mp_str address;               /* canonical; the caller's until done */
    uint64_t hash;                /* mp__cache_hash of it */
    const mp__identity *identity; /* the caller's until done */
    enum mp__level level;
    bool strict;           /* MP_ESTALE rather than a value that is past its bound */
    bool stale_if_error;   /* a strong read may answer stale when the origin is gone */
    int64_t age_max_ms;    /* verify when older; -1: as the level says */
    uint64_t revision_min; /* read-your-writes and monotonic reads: not older than this */
    bool own_layer;        /* only what the address itself holds, without those behind it */
    bool is_use;           /* somebody wants the value: it counts as a hit or a miss of L1, as if
                            * mp__read_now() had never been asked for it, and each layer's entry
                            * that it needs for what stays there */
    void (*done)(struct mp__read *read);
    void *context;
    /* out */
    int status;             /* 0; MP_EABSENT; MP_EUNKNOWN; MP_ESTALE; MP_EDENIED; ... */
    const mp__entry *entry; /* a reference for 0 and, where known, MP_EABSENT; the caller's to
                             * give back with mp__entry_unref(). Its address is that of the layer
                             * that the value comes from */
    mp_str layer; /* the scope that answered, a slice of the entry's address: of a value, or of the
                   * mask that hides one; "" when no layer has anything */
    /* Of several layers that were looked at: stale if one is, the age of the oldest, the reason of
     * that one, the tier of the one that answered. */
    enum mp__tier tier; /* where it came from */
    bool stale;
    int64_t age_ms; /* since the origin last said so */
    enum mp__reason reason;
    /* the manager's */
    mp__task task;
    struct mp__read *next;
    uint64_t started_ns;
    mp__manager *manager;
    uint32_t calm_asked, calm_begun; /* overlay.c: since when nobody writes to its layers */
    uint64_t as_of;            /* of what the origin answered: the revision that it stood at */
    bool is_part;              /* of the read of an overlay */
    bool was_near, is_counted; /* L1 had it; that counts already */
} mp__read;

/* The hot path: the entry if it is in L1 and may be answered at level eventual or weak without a
 * further look, else NULL (then mp__read_start). Inside mp_read_begin(); borrowed; VALUE, of
 * whichever layer has one, or else there is none (ABSENT, MASK). Access is checked: with anything
 * but allow-all it answers NULL. A hit of L1 when it gives one; else nothing is counted. */
const mp__entry *mp__read_now(mp__manager *manager, mp_str address, uint64_t hash,
                              enum mp__level level, uint64_t revision_min);
/* The entry that it gave last was of no use, and mp__read_start() will count: take back the hit.
 * Inside the same mp_read_begin(). */
void mp__read_not_now(mp__manager *manager);
/* What memory has of @address's layers even while one of them changes, for who is told of each
 * change by itself; borrowed as from mp__read_now(). NULL: memory does not have all of them. */
const mp__entry *mp__overlay_glance(mp__manager *manager, mp_str address, uint64_t hash);

/* Why @read was answered with MP_EUNKNOWN, or a strong one with an error of the origin, for people,
 * and how to see what is kept. No disk. */
const char *mp__read_unknown(mp__manager *manager, const mp__read *read);

/* True: answered at once, done() is not called. False: done() will be called on read->loop. */
MP_MUST_USE bool mp__read_start(mp__manager *manager, mp__read *read);

/* ---- write ---- */

/* One way in which a write would break a schema, or in which a value is not what its media type
 * says. */
typedef struct mp__broken {
    char scope[MP__SCOPE_MAX + 1]; /* whose readers would see it; "": that which is written to */
    char seen[MP__SCOPE_MAX + 1];  /* the same, also where that is written to; "": not judged by one
                                    */
    char where[200];     /* the schema's subject: "namespace", "namespace/path" or, of values that
                          * are documents each, "namespace/key" */
    char instance[256];  /* JSON Pointer into its document */
    char schema[256];    /* JSON Pointer of the keyword in the schema */
    const char *keyword; /* static: "required"; "schema": it is none; "leaves": keys contradict;
                          * "json": the value is none, and its media type says so */
    int line, column;    /* in the value, from 1; 0: it has no such place, or is not known */
    char text[320];
} mp__broken;
enum { MP__BROKEN_MAX = 20 };

typedef struct mp__write_request {
    /* in */
    mp__loop *loop;
    const mp__identity *identity; /* the caller's until done, as the changes are */
    mp__change *changes;          /* as in origin.h */
    size_t count;
    bool dry_run; /* only ask what a write asks first: access, schemas, whether the origin takes
                   * writes. Conditions are not looked at, and the changes are left as they are */
    /* Answered when the origin has it, whatever the mode of its namespace: who asks is told of
     * revisions that only the origin gives. */
    bool wants_revision;
    /* Whose writes keep the order in which they start; NULL: that of all of its loop without one.
     * Compared only. */
    const void *source;
    void (*done)(struct mp__write_request *request);
    void *context;
    /* out; the `after` and `old` slices in changes are not valid any more, but: */
    int status;          /* as mp__write */
    bool pending;        /* durable here, and on its way to the origin: it has no revision yet; of
                          * a dry run: it would be */
    uint64_t revision;   /* newest revision made, for read-your-writes */
    mp_blob *old_value;  /* of the first change with MP__WANT_OLD, a reference, or NULL */
    char text[640];      /* why not, for the client */
    mp__broken *broken;  /* MP_EINVALID: why, valid while done() runs */
    size_t broken_count; /* found; told are the first MP__BROKEN_MAX */
    /* What schemas among the changes, or the one that is examined, probably do not mean, as a
     * keyword that is nearly a known one: where, schema and text of each, valid while done() runs;
     * none hinders the write. */
    mp__broken *warned;
    size_t warned_count; /* at most MP__BROKEN_MAX */
    /* the manager's */
    mp__write write;
    mp__task task;
    mp__manager *manager;
    uint64_t started_ns;
    int64_t started_ms;
    uint32_t generation; /* of the watch that was live at the start */
    bool counted;        /* write_back.c */
    bool is_gated;       /* validate.c: others wait for its answer; of a dry run: they would */
    bool claims_open;    /* claims.c: another thread looks at the values */
    int claims_status;
    struct mp__write_request *claims_next;
    /* mp__schema_examine() */
    mp_str examine_scope, examine_name, examine_schema;
} mp__write_request;

/* Always answered through done(), those of one source in the order of their starts. MP_EINVALID:
 * what readers of the scope, or of one that falls back to it, would get then breaks a schema that
 * counts there, or a schema is none; or a value to be put is no JSON and its media type says that
 * it is.
 */
void mp__write_start(mp__manager *manager, mp__write_request *request);

/* ---- schemas: validate.c ----
 *
 * A schema is a value in the namespace _schema, by the name of what it is about, and falls back
 * from layer to layer like any other:
 *     _schema/NAMESPACE           the document that the keys of the namespace make
 *     _schema/NAMESPACE/PATH      the document that the keys below the path make, or the value
 * there _schema/NAMESPACE/BEGIN/    each value whose key begins with BEGIN/, a document by itself
 * Every write is checked in the scope that it writes to, and in each scope with keys that falls
 * back to that one, as a reader there will see it. */

/* Check what is there now in request->examine_scope against the schema examine_schema, as if it
 * were there by the name examine_name ("NAMESPACE/PATH"); the changes of @request are not looked
 * at. status: 0, also where something breaks it: see broken_count then; MP_EINVAL or MP_ESYNTAX:
 * it is no schema. */
void mp__schema_examine(mp__manager *manager, mp__write_request *request);

/* ---- list, history, count, changes: on the origin, or from what L3 kept when it is gone ---- */

typedef struct mp__list_item {
    mp_str address, value, media_type;
    mp_str layer; /* of an effective list: the scope that has it; its address is then what a reader
                   * of the query's scope calls it */
    uint64_t revision;
    int64_t modified_ms, expires_ms;
    mp_str actor;
    bool deleted; /* history */
    uint64_t version;
} mp__list_item;

typedef struct mp__query {
    /* in */
    enum {
        MP__QUERY_LIST,
        MP__QUERY_HISTORY,
        MP__QUERY_COUNT,
        MP__QUERY_ENVIRONMENTS,
        MP__QUERY_CHANGED, /* as mp__changed in origin.h; of the origin only */
    } kind;
    mp__loop *loop;
    const mp__identity *identity; /* the caller's until done */
    mp_str environment, prefix;   /* LIST */
    mp_str address;               /* HISTORY */
    uint64_t after;               /* LIST: cursor; HISTORY: before this revision, 0 newest;
                                   * CHANGED: behind this revision */
    mp_str after_address;         /* LIST with by_key */
    uint64_t at_revision;         /* LIST with by_key: as it was then; HISTORY: from this one down
                                   * instead of @after; 0: as it is. Not there yet: MP_EINVAL */
    bool by_key, with_values;
    bool takes_damaged; /* LIST: where there is damage, what can be read is the answer */
    /* LIST: what a reader of the scope `environment` gets, each key once with the value of the
     * nearest layer that has one, and none that is masked. Without by_key a page may be empty and
     * not the last. COUNT: as many as that lists. */
    bool effective;
    bool kept; /* LIST: of what L3 kept, without asking the origin */
    /* LIST: it waits for the origin as long as that takes, and takes no place meanwhile: for who
     * has a deadline of his own and never more than one under way. */
    bool is_patient;
    uint32_t limit;
    /* CHANGED, HISTORY, LIST with by_key: see origin.h; of each layer; of what L3 kept, too */
    size_t bytes_max;
    mp_str prefixes[MP__CHANGED_PREFIXES_MAX]; /* CHANGED, as are: */
    size_t prefix_count;
    size_t value_max; /* a longer value is left out, its data NULL */
    /* Whether nobody wants the answer any more, looked at on its loop before it begins: then it is
     * MP_ECANCELED. NULL: somebody does. */
    const bool *gone;
    void (*done)(struct mp__query *query);
    void *context;
    /* out: items and their bytes belong to the query until mp__query_done() */
    int status;
    mp__list_item *items;
    size_t count;   /* items; or the number of keys */
    uint64_t next;  /* cursor to go on, 0: the end; CHANGED: no change up to here is missing */
    uint64_t as_of; /* LIST, CHANGED: the origin's revision when it answered; 0 when stale */
    bool stale;     /* from L3, the origin being gone */
    bool cut;       /* HISTORY: bytes_max ended it */
    bool damaged;   /* with takes_damaged: the origin could not read all rows */
    /* the manager's */
    void *memory;
    mp__task task, reply_task;
    mp__manager *manager;
    struct mp__query *next_waiting;
    bool has_place; /* among those that are under way */
} mp__query;

/* done() comes later, always, on its loop. A few are under way at once, the others in their order
 * behind them: so work for the origin and the loops comes as fast as it is done, and not for all at
 * once. Only @kept and patient ones are not among them.
 *
 * What the origin has not answered within origin.timeout, or while it is silent, is given up: lists
 * and counts are then of what L3 kept, marked stale, as where it is gone; those of a revision, and
 * all others, are MP_ETIMEOUT. As long as it answers none, the next ones are not asked but given up
 * at once: so an origin that hangs holds up nobody for longer than twice that time, and those
 * behind it share the wait. On query->loop. */
void mp__query_start(mp__manager *manager, mp__query *query);
void mp__query_done(mp__query *query); /* frees the results */

/* ---- change: watchers ---- */

/* What a PUT did to the time at which the key deletes itself. */
enum mp__event_expiry {
    MP__EXPIRY_UNTOLD, /* a change that the origin told: nobody said what it was */
    MP__EXPIRY_KEPT,   /* the value was written, the time is as it was, or there is none */
    MP__EXPIRY_SET,    /* the value was written, with a time */
    MP__EXPIRY_ONLY_SET,
    MP__EXPIRY_ONLY_CLEARED, /* and the value is as it was */
};

typedef struct mp__event {
    enum mp__event_kind {
        MP__EVENT_PUT,
        MP__EVENT_DELETE,
        MP__EVENT_EXPIRED,
        MP__EVENT_RESET, /* anything may have changed: look again */
        MP__EVENT_STALE, /* the origin cannot be asked any more, or has a newer version of this
                          * value which cannot be read: what is kept may become old, or is */
        MP__EVENT_FRESH, /* that is over */
    } kind;
    enum mp__event_expiry expiry; /* of PUT */
    mp_str address; /* "" with RESET, and with STALE and FRESH that are about every key */
    bool is_prefix; /* STALE, FRESH: of so many keys that they are not named; all begin so */
    uint64_t revision;
    const mp__entry *entry; /* of PUT; NULL where it was left out for want of room */
} mp__event;

enum { MP__EVENTS_TOGETHER = 8 };

typedef struct mp__watcher mp__watcher;

/* Where a watcher begins: it hears of every change above @revision, and what a read answers from
 * now on is at least as new as that. */
typedef struct mp__watch_start {
    uint64_t revision;
    bool stale; /* the origin cannot be asked just now */
} mp__watch_start;

/* Call @fn on @loop for every change from now on, in commit order, up to MP__EVENTS_TOGETHER a
 * call, each after the reply to its writer was posted; between two calls the loop does other
 * things. A loop that lags far behind hears RESET instead of what it missed. The events are
 * borrowed for the call. One a loop is the idea: the loop finds its own subscribers. */
MP_MUST_USE int mp__watch_add(mp__manager *manager, mp__loop *loop,
                              void (*fn)(void *context, const mp__event *events, size_t count),
                              void *context, mp__watch_start *ret_start, mp__watcher **ret_watcher);
/* On the watcher's loop, not from inside @fn; no call comes after it returned. */
mp__watcher *mp__watch_remove(mp__watcher *watcher);
/* Call @each with the addresses that begin with @prefix and are STALE by themselves, until it
 * returns other than 0; it asks the manager nothing. Who watches already may hear of one again. */
void mp__manager_doubts(mp__manager *manager, mp_str prefix,
                        int (*each)(void *context, mp_str address), void *context);

/* ---- preload ---- */

/* Bring what @patterns name into L1, behind: "environment/namespace/key", or with a * at the end
 * for all that begin so; at most @budget_percent of L1, 1 to 100, or with 0 cache.preload_budget.
 * @identity, who asks (NULL: the configuration), must be allowed to read them all, and to write
 * them where that is more than cache.preload_budget, since it pushes out what others read.
 * MP_EDENIED, MP_EINVAL, MP_ELIMIT while one is under way, MP_ETIMEOUT while the origin is silent,
 * with a text. Any thread. */
MP_MUST_USE int mp__preload_start(mp__manager *manager, const mp__identity *identity,
                                  const mp_str *patterns, size_t count, unsigned budget_percent,
                                  mp__diag *diag);
/* Bring what is usually read at this hour, as habits have learned (habits.h), behind; at most
 * cache.preload_budget of L1. MP_EDENIED when @identity may not write everything, MP_EINVAL where
 * nothing is learned, with a text. Any thread. */
MP_MUST_USE int mp__preload_habits(mp__manager *manager, const mp__identity *identity,
                                   mp__diag *diag);
/* How far both are, as JSON: {"preload": {...}, "habits": {...}}. A pattern that found nothing is
 * named to an @identity that may read it; NULL: to nobody. Any thread. */
int mp__manager_preload(mp__manager *manager, const mp__identity *identity, mp__buf *out);

/* ---- pins ---- */

/* Keep what @pattern ("environment/namespace/key", or with a * at the end) means in memory, also
 * after a restart: it is written down behind, and the status says if that failed. MP_EINVAL,
 * MP_ELIMIT, with a text. Any thread. */
MP_MUST_USE int mp__manager_pin(mp__manager *manager, mp_str pattern, mp__diag *diag);
/* MP_EABSENT: that very pattern is not pinned. MP_EINVAL: the configuration pins it. */
MP_MUST_USE int mp__manager_unpin(mp__manager *manager, mp_str pattern, mp__diag *diag);
/* What is pinned, and how much that takes, as JSON. */
int mp__manager_pins(mp__manager *manager, mp__buf *out);

/* ---- taps: samples of what a loop's readers ask for, from which habits are learned (habits.h);
 * the loop's ---- */

typedef struct mp__tap {
    uint64_t who;     /* the connection whose reads are gathered; 0: none */
    uint64_t next_ns; /* then the next group begins */
    struct mp__habit_group *group;
} mp__tap;

/* Whether reads of the connection @who (not 0) go into a group now: look once a batch. */
static inline bool mp__tap_wants(const mp__tap *tap, uint64_t who, uint64_t now_ns)
{
    return tap->who == who || now_ns >= tap->next_ns;
}
/* Note a read, after mp__tap_wants(). */
void mp__tap_read(mp__manager *manager, mp__tap *tap, uint64_t who, uint64_t now_ns,
                  mp_str address);
void mp__tap_done(mp__tap *tap);

/* ---- explain and status ---- */

/* What is known of @address and why a read would be answered as it would, as JSON: tiers, revision,
 * age, level, origin's state, what happened to it lately (state moves with times). Any thread. */
int mp__manager_explain(mp__manager *manager, mp_str address, uint64_t hash, mp__buf *out);

/* The cache as JSON: what it hits, and what it would hit with other sizes and policies. Any thread.
 */
int mp__manager_explain_cache(mp__manager *manager, mp__buf *out);

/* The manager's status as JSON: version, uptime, origin, cache, revision, disk, limits, trouble
 * with remedies; of preload what @identity may see, as mp__manager_preload(). Any thread. */
int mp__manager_status(mp__manager *manager, const mp__identity *identity, mp__buf *out);

typedef struct mp__summary {
    enum mp__origin_state origin;
    const char
        *state; /* how that is told: its name, or "silent" where it only says that it lives */
    bool writable, ready;
    bool silent;    /* it says that it is live, and answers nothing in time */
    bool degraded;  /* it serves, but answers may be stale or are not kept: the origin is not live,
                       or silent, or L3 takes no writes */
    char text[512]; /* one line: what is wrong and the remedy; "" when all is well */
    uint64_t revision, keys;
    uint64_t late, opened, refused; /* ever: questions that it did not answer in time, how often it
                                       was silent, reads that did not wait for it then */
    char epoch[33];
} mp__summary;
void mp__manager_summary(mp__manager *manager, mp__summary *ret_summary);
/* Names this life of the origin's data: "" while it was never seen, then one text for good. */
const char *mp__manager_epoch(const mp__manager *manager);

/* ---- L4 ---- */

/* How the shared tier is; false: there is none. Any thread. */
bool mp__manager_shared(mp__manager *manager, mp__shared_stats *ret_stats);

/* The journal of write-back at @path is a copy, made after one of the origin in which @revision is
 * the newest: make it one of that moment. Nobody else has it open. Blocks. */
MP_MUST_USE int mp__back_cut_copy(mp_env *env, const char *path, uint64_t revision, mp__diag *diag);
/* Whether the writes back in the journal at @path can be gone on with: 0, also where there is none,
 * or what mp__journal_open() would say. Changes nothing. Blocks. */
MP_MUST_USE int mp__back_examine(mp_env *env, const char *path, mp__diag *diag);

#endif

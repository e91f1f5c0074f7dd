/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager's files share. Lock order: a flight shard, then nothing of the manager's. */
#ifndef MP_MANAGER_INTERNAL_H
#define MP_MANAGER_INTERNAL_H

#include <pthread.h>

#include "core/address.h"
#include "core/alloc.h"
#include "core/json.h"
#include "core/key_rule.h"
#include "manager/circuit.h"
#include "manager/habits.h"
#include "manager/manager.h"
#include "manager/write_back.h"

enum { MP__OVERLAY_STRIPES = 256, MP__SCOPE_BUCKETS = 256 };

/* Writes to the layers of one key, for reads that look at several of them one after the other: all
 * keys that share the stripe. See overlay.c. */
typedef struct mp__overlay_stripe {
    _Atomic uint32_t asked, answered; /* writes that the origin was asked for */
    _Atomic uint32_t begun, ended;    /* changes being put into the cache */
} mp__overlay_stripe;

enum { MP__FLIGHT_SHARDS = 64, MP__FLIGHT_FAILURES = 4, MP__EVENTS_KEPT = 128 };

/* One request under way at the origin for all that wait for its address. */
typedef struct mp__flight {
    struct mp__flight *next;
    mp__manager *manager;
    mp__fetch fetch;
    mp__list list; /* instead of the fetch, where it asks whether a scope has keys */
    uint64_t hash;
    mp__read *waiters, **last_waiter; /* answered by this flight */
    mp__read *later;        /* came after it began and want a newer look: the next flight's */
    const mp__entry *known; /* what was kept when it began: a reference, or NULL */
    bool is_ahead;          /* nobody waits: the entry's time is about to come */
    bool is_late;           /* it was under way for origin.timeout, and that was counted */
    bool dirty;             /* it was changed meanwhile: the result is not held fresh, */
    uint64_t changed_to;    /* and not kept where it is older than this; 0: nobody knows */
    bool landed_dirty;      /* both as of when the answer came */
    uint64_t landed_changed_to;
    uint64_t started_ns;
    int64_t started_ms;  /* steady: what it brings is true as of then */
    int64_t asked_ms;    /* the same by the clock as it was set, by which values expire */
    uint32_t generation; /* of the watch that was live when it began */
    uint16_t address_size;
    char address[];
} mp__flight;

/* That the origin could not say of an address, of late: flight.c. */
typedef struct mp__flight_failure {
    uint64_t hash, failed_ns;
    uint32_t generation; /* of the watch that was live then; 0: none was */
    int status;          /* 0: this place is free */
} mp__flight_failure;

typedef struct mp__flight_shard {
    pthread_mutex_t lock;
    mp__flight *first;
    struct mp__shared_question *questions; /* to L4: shared_read.c */
    mp__flight_failure failures[MP__FLIGHT_FAILURES];
} mp__flight_shard;

/* One line of the event log. */
typedef struct mp__notable {
    int64_t wall_ms;
    char what[24], text[160]; /* "origin-lost", "moved away: ..." */
} mp__notable;

/* How many keys a reader of a scope got at a revision (0: nothing is known): count.c. */
enum { MP__COUNTED_MAX = 8 };
typedef struct mp__counted {
    uint64_t revision, keys;
    /* As of these it held no masks: then as many keys as the origin has rows of it. */
    bool is_plain;
    uint64_t masks;
    uint32_t generation;
    size_t scope_size;
    char scope[MP__SCOPE_MAX];
} mp__counted;

typedef struct mp__preload mp__preload;       /* preload.c */
typedef struct mp__schema_set mp__schema_set; /* validate.h */
typedef struct mp__schema_scope mp__schema_scope;
typedef struct mp__validation mp__validation;

enum { MP__GATE_SOURCES = 4096 }; /* two that share a count wait for each other: few do */

/* What was said last of the disk under L3: see disk_notes.c. Whoever turns it has the rest. */
typedef struct mp__disk_notes {
    atomic_flag turning;
    bool is_trouble;
    uint64_t damaged;
    uint32_t trouble_after_s, damaged_after_s; /* on the clock of now_s: when more may be said */
} mp__disk_notes;

struct mp__manager {
    mp_env *env;
    mp__log_sink *log;
    mp__monitor *monitor;
    mp__access *access;
    mp_cache *cache;
    mp__shared *shared; /* L4, or NULL */
    mp__origin *origin;
    mp__hash_key hash_key;
    const mp__hasher *hasher; /* of addresses, the cache's */
    char *data_dir;
    mp__file *lock_file;
    /* what takes longer than a loop may: lists of what L3 kept, checks of large values */
    mp__worker *slow;
    _Atomic bool open; /* the cache is there: the origin's callbacks may use it */
    uint64_t started_ns;
    int64_t started_ms;
    bool is_open_to_all; /* mp__access_is_open(), for the hot path */
    char **databases;
    size_t database_count;

    /* freshness: see change_path.c */
    _Atomic uint32_t generation;      /* of the live watch; 0 while there is none */
    _Atomic uint32_t generation_last; /* the last one given out */
    _Atomic int64_t vouched_until_ms; /* wall time until which generation_last held */
    _Atomic uint32_t now_s;           /* coarse monotonic seconds */
    _Atomic int64_t wall_ahead_ms;    /* most that the wall clock stood before the monotonic */

    /* whether the origin is silent: see change_path.c */
    pthread_mutex_t circuit_lock; /* the circuit and the generations move under it */
    mp__circuit circuit;
    _Atomic uint32_t writes_under_way;
    _Atomic uint64_t writes_moved_ns; /* when one was answered last, or the first of them put */
    _Atomic uint64_t scanned_ns;      /* when mp__manager_deadlines() looked last */
    _Atomic uint64_t resumed_ns;      /* when it looked again after nobody had for long */

    /* settings that a reload may change */
    _Atomic uint32_t ttl_s, negative_ttl_s, ttl_jitter_percent;
    pthread_rwlock_t ttl_lock;    /* over the rules */
    mp__key_rules *ttl_rules;     /* or NULL */
    _Atomic uint32_t ttl_least_s; /* of the rules; UINT32_MAX: there are none */
    _Atomic int64_t eventual_bound_ms, hard_bound_ms, timeout_ms;

    /* refresh ahead: see ahead.c */
    _Atomic uint32_t ahead_window_s, ahead_beta_percent, ahead_limit, ahead_under_way;
    _Atomic uint64_t fetch_ns_mean;
    atomic_flag turning;     /* a loop is turning the cache's wheel */
    _Atomic bool turn_again; /* it has not come to the second of now yet */

    mp__disk_notes disk_notes;

    /* pins: see pins.c */
    char **pins_configured;
    size_t pin_count; /* of them */
    mp__task pin_task;
    _Atomic bool pins_wanted; /* pin_task is on its way */
    _Atomic bool pins_changed;
    _Atomic int pin_trouble; /* why they are not written down, or 0 */

    mp__habits *habits; /* NULL: nothing is learned */
    mp__preload *preload;
    _Atomic uint32_t preload_percent; /* of L1 */
    _Atomic uint64_t changes_kept;    /* writes and changes that were kept */

    /* how writes reach the origin: see write_back.h */
    mp__write_modes *write_modes;
    mp__back *back; /* NULL while nothing is written back */
    mp__back_filter back_filter;

    /* overlay: see overlay.c */
    char *overlay_base;
    _Atomic bool may_warm;                 /* the origin is open and repaired */
    char **overlay_only, **overlay_except; /* namespaces; NULL-ended */
    mp__overlay_stripe stripes[MP__OVERLAY_STRIPES];
    _Atomic uint64_t own_from, own_to; /* all revisions from here to there this daemon made */

    /* schemas: see validate.h */
    pthread_mutex_t schema_lock; /* over all of these */
    mp__schema_scope *scopes[MP__SCOPE_BUCKETS];
    size_t scope_count;
    uint64_t scopes_epoch; /* as of which these are all; 0: they may not be */
    uint64_t none_epoch;   /* as of which none has a schema; 0: some may */
    mp__validation *gate_first, **gate_last;
    bool gate_busy;
    /* Of those at the gate, who has it included: how many write schemas, and how many there are of
     * each source, by its hash; and what of these is of who has it. */
    uint32_t gate_schemas, gate_sources[MP__GATE_SOURCES], gate_source;
    bool gate_has_schemas;

    /* writes whose values are looked at elsewhere, and those behind them: see claims.c */
    pthread_mutex_t claims_lock;
    mp__write_request *claims;
    _Atomic size_t claims_count;

    mp__flight_shard flights[MP__FLIGHT_SHARDS];
    _Atomic uint32_t flights_under_way;

    pthread_mutex_t queries_lock;
    unsigned queries_under_way;
    mp__query *queries_first, **queries_last; /* those that wait for a place */
    /* what the origin is asked for, and somebody waits for, the oldest first; how many questions it
     * has that nobody waits for any more; when it answered last; whether it does at all, and since
     * when the first that was given up waits if it does not: asked.c */
    struct mp__asked *asked_first, *asked_last;
    unsigned asked_given_up;
    uint64_t asked_answered_ns;
    bool asked_in_vain;
    uint64_t asked_vain_since_ns;

    pthread_mutex_t counted_lock;
    mp__counted counted[MP__COUNTED_MAX];
    unsigned counted_next;
    _Atomic uint64_t masks; /* put, that were asked for here or seen */

    pthread_mutex_t watch_lock;
    struct mp__watcher *watchers, *watchers_gone; /* gone: their task is on its way still */
    _Atomic size_t watch_bytes; /* of values that only the queues of all watchers may still hold */
    _Atomic uint32_t watcher_count;
    _Atomic uint64_t published; /* newest revision that watchers were told of, or would have been */
    _Atomic bool told_stale;

    pthread_mutex_t notable_lock;
    mp__notable notables[MP__EVENTS_KEPT];
    size_t notable_count; /* ever; the ring holds the last MP__EVENTS_KEPT */
    mp__file *event_file;
    uint64_t event_bytes;
    char trouble[320]; /* of the origin, for people; "" when live */
    bool l3_was_in_trouble;
};

/* ---- time ---- */

static inline uint32_t mp__manager_now_s(const mp__manager *manager)
{
    return atomic_load_explicit(&manager->now_s, memory_order_relaxed);
}

/* Wall time that goes on steadily where the system's clock is set back, so that no age is ever told
 * too small: when something was verified is written and compared by this one. Any thread. */
int64_t mp__manager_wall_ms(mp__manager *manager);

/* ---- flight.c ---- */

static inline mp__flight_shard *mp__flight_shard_of(mp__manager *manager, uint64_t hash)
{
    return &manager->flights[hash >> 58];
}

/* Let @read wait for the origin: for the flight under way if @join, else for one that begins after
 * now. @known (may be NULL) is what is kept. Answers through read->done. */
void mp__flight_wait(mp__manager *manager, mp__read *read, const mp__entry *known, bool join);
/* Verify @entry behind the answer, unless a flight for it is under way: then false. */
bool mp__flight_refresh(mp__manager *manager, const mp__entry *entry, uint64_t hash, bool is_ahead);
/* Ask the origin for @address, for nobody but the cache, which lost its record or shall have it:
 * not one that is silent. Any thread. */
void mp__flight_heal(mp__manager *manager, mp_str address, uint64_t hash);
/* The same whether it is silent or not, and for nothing but its answer. */
void mp__flight_probe(mp__manager *manager, mp_str address, uint64_t hash);
/* @address was changed: what is under way is not held fresh, nor kept where it is older than
 * @revision (0: nobody knows what it was changed to). Any thread. */
void mp__flight_dirty(mp__manager *manager, mp_str address, uint64_t hash, uint64_t revision);

/* ---- ahead.c ---- */

void mp__ahead_init(mp__manager *manager);
void mp__ahead_window(mp__manager *manager); /* anew; some times a second */
/* @entry is fresh and being answered: perhaps verify it behind, before its time comes. */
void mp__ahead_maybe(mp__manager *manager, const mp__entry *entry, uint64_t hash);
/* A fetch took so long; good: the origin answered. */
void mp__ahead_learn(mp__manager *manager, uint64_t took_ns, bool good, bool was_ahead);

/* Say in log and events what befell the disk under L3 since the last time, at most once a minute.
 * Any loop, some times a second; writes to the event file only then. */
void mp__disk_notes_turn(mp__manager *manager, uint32_t now_s);

/* The wheel of the cache goes on to now; what it finds in use is verified. A bounded piece; any
 * loop, each turn. */
void mp__ahead_turn(mp__manager *manager, int64_t wall_ms);
/* When a record of this kind (enum mp__record_kind) that is verified now must be verified again:
 * each a little earlier or later, so that what came together is not verified together. */
uint32_t mp__verify_by(mp__manager *manager, int kind, mp_str address, uint64_t hash);

/* ---- ttl.c ---- */

/* The rules of cache.ttl. MP_EINVAL, MP_ELIMIT with the row in @diag; MP_ENOMEM. */
MP_MUST_USE int mp__ttl_rules_configured(const mp__options *options, mp__key_rules **ret_rules,
                                         mp__diag *diag);
/* From now on these hold, for what is verified from now on; takes them over. */
void mp__ttl_take(mp__manager *manager, mp__key_rules *rules);
/* Seconds after which a record of @kind (enum mp__record_kind) must be verified again, without
 * chance. Any thread. */
uint32_t mp__ttl_s(mp__manager *manager, int kind, mp_str address);
/* "verify_after_s": the same, and "verify_rule": which option, and which pattern of it. */
void mp__ttl_json(mp__manager *manager, int kind, mp_str address, mp__buf *out);

/* Bring what is pinned from the origin, at once or when the preload under way has ended. */
void mp__preload_pins(mp__manager *manager);

/* ---- pins.c ---- */

MP_MUST_USE int mp__pins_open(mp__manager *manager, const mp__options *options, mp__diag *diag);
void mp__pins_free_configured(mp__manager *manager);
/* L1 has more room than before: what had none among the pinned comes up again, as at a start. */
void mp__pins_refill(mp__manager *manager);
/* Copies of all pins; on success the caller's to free. */
MP_MUST_USE int mp__pins_patterns(mp__manager *manager, char ***ret_rows, size_t *ret_count);
void mp__pins_patterns_free(char **rows, size_t count);
void mp__pins_json(mp__manager *manager, mp__buf *out); /* members of an object */

/* ---- memory.c ---- */

/* The classes that the options name. */
MP_MUST_USE int mp__priorities_configured(const mp__options *options,
                                          mp__priorities **ret_priorities, mp__diag *diag);

/* ---- preload.c ---- */

MP_MUST_USE int mp__preload_new(mp__manager *manager);
void mp__preload_stop(mp__manager *manager); /* before the origin is closed */
void mp__preload_free(mp__manager *manager); /* after it */
/* What cache.preload names. */
/* Whether cache.preload names patterns; likewise the two below, of one name. MP_EINVAL. Pure. */
MP_MUST_USE int mp__preload_check(const mp__options *options, mp__diag *diag);
MP_MUST_USE int mp__database_check(const char *name, mp__diag *diag);
MP_MUST_USE int mp__overlay_base_check(const char *base, mp__diag *diag);
MP_MUST_USE int mp__preload_configured(mp__manager *manager, const mp__options *options,
                                       mp__diag *diag);
/* When the page under way was asked for, if that was before @before_ns: then it is told to the
 * circuit as late, once; 0: there is none so late. Any thread, without a lock. */
uint64_t mp__preload_late(mp__manager *manager, uint64_t before_ns);
void mp__preload_again(mp__manager *manager); /* the origin is there: if it failed for want of it */
/* And habits; members of an object, as @identity may see them (mp__manager_preload()). */
void mp__preload_json(mp__manager *manager, const mp__identity *identity, mp__buf *out);

/* ---- overlay.c ---- */

MP_MUST_USE int mp__overlay_new(mp__manager *manager, const mp__options *options, mp__diag *diag);
void mp__overlay_free(mp__manager *manager);
/* Learn whether the base has keys, before the origin may go: it can be asked now. */
void mp__overlay_warm(mp__manager *manager);
/* Whether it is of a region or an instance, where few keys stand. */
static inline bool mp__overlay_is_deep(mp_str address)
{
    return memchr(address.data, '~', mp__scope_size(address)) != NULL;
}
/* Whether @address is no key's, but a scope that is kept as VALUE, there are keys in it, or ABSENT,
 * there are none. */
static inline bool mp__overlay_is_mark(mp_str address)
{
    return mp__scope_size(address) == address.size;
}
/* @after holds in the cache from now on: its scope has keys. As mp__change_keep(). */
void mp__overlay_mark(mp__manager *manager, const mp__record *after, uint32_t generation,
                      int64_t as_of_ms);
/* Before the first layer of @read is looked at. */
void mp__overlay_begins(mp__manager *manager, mp__read *read);
/* Look at the layers of @read, one after the other; as mp__read_start(). */
MP_MUST_USE bool mp__overlay_starts(mp__manager *manager, mp__read *read);
/* The nearest layer of @read was answered: go on to the next ones if there is none. True: @read is
 * answered; false: it will be, and is then finished by mp__read_finish(). */
bool mp__overlay_settles(mp__manager *manager, mp__read *read);
/* The same within a read section, from L1 alone: as mp__read_now(). */
const mp__entry *mp__overlay_now(mp__manager *manager, mp_str address);
/* Around what makes or applies changes of @address: between asking and the answer, between the
 * first entry that changes and the last. */
void mp__overlay_asks(mp__manager *manager, mp_str address);
void mp__overlay_was_answered(mp__manager *manager, mp_str address);
void mp__overlay_applies(mp__manager *manager, mp_str address);
void mp__overlay_applied(mp__manager *manager, mp_str address);
/* The revisions that @count changes made which are committed; before their answer, in the order of
 * the commits, on the origin's writer. */
void mp__overlay_made(mp__manager *manager, const mp__change *changes, size_t count);

/* All that a read in @scope may look at, whatever the namespace, nearest first; their number. */
size_t mp__overlay_scopes(const mp__manager *manager, mp_str scope,
                          mp_str ret_layers[MP__LAYERS_MAX]);
/* Whether keys of the namespace of @address fall back to the next layer. */
bool mp__overlay_has(const mp__manager *manager, mp_str address);
/* Whether it is known, and held so, that there are no keys in @scope. False: perhaps not. */
bool mp__overlay_is_empty(mp__manager *manager, mp_str scope);

/* The layers of @address, as mp__overlay_layers(). */
size_t mp__overlay_layers_of(const mp__manager *manager, mp_str address,
                             mp_str ret_layers[MP__LAYERS_MAX]);

/* ---- explain_layers.c ---- */

typedef struct mp__explained {
    size_t count, winner; /* winner: of count, none */
    bool is_known;        /* else nothing is kept of it in the layer `unknown` */
    size_t unknown;
    mp_str scopes[MP__LAYERS_MAX];
    const mp__entry *entries[MP__LAYERS_MAX]; /* references, or NULL */
    bool is_empty[MP__LAYERS_MAX];            /* the scope has no keys */
} mp__explained;

void mp__explained_take(mp__manager *manager, mp_str address, mp__explained *ret_explained);
void mp__explained_done(mp__explained *explained);
void mp__explained_json(const mp__explained *explained, mp__buf *out); /* members of an object */

/* ---- effective.c, count.c, query.c ---- */

/* Begin a LIST of what a reader of its scope gets. 0: it will be answered. */
MP_MUST_USE int mp__effective_start(mp__query *query);
/* The same of a COUNT: count.c. */
MP_MUST_USE int mp__count_start(mp__query *query);
/* @change is about to be asked for: if it may put a mask, counts of rows are none of keys. */
void mp__count_sees(mp__manager *manager, const mp__change *change);
/* The same of what others changed. */
void mp__count_saw(mp__manager *manager, const mp__record *after);
void mp__query_reply(mp__query *query, int status);
/* Add a copy of @record to the items, of which *capacity have room. MP_ENOMEM. */
MP_MUST_USE int mp__query_add(mp__query *query, size_t *capacity, const mp__record *record,
                              mp_str actor);
/* The origin could not say, as @status tells: what is kept, where that counts, or the error. Any
 * thread. */
void mp__query_fall_back(mp__query *query, int status);
/* The same as mp__query_start() for a part of what has its place already: at once. */
void mp__query_begin(mp__manager *manager, mp__query *query);
/* Add a copy of @item of the layer @layer, with the address that it has in the query's scope. */
MP_MUST_USE int mp__query_add_resolved(mp__query *query, size_t *capacity,
                                       const mp__list_item *item, mp_str layer);

/* ---- asked.c ---- */

/* Ask the origin for @query, whose results are empty; it is answered by mp__query_reply(). On its
 * loop. */
void mp__ask(mp__query *query);
/* Give up what was asked for on @loop before @before_ns and is not answered; where it @counts, that
 * is told to the circuit. On @loop. */
void mp__ask_late(mp__manager *manager, const mp__loop *loop, uint64_t before_ns, bool counts);

/* ---- read_path.c ---- */

/* Whether a live watch holds @entry fresh, and not only up to a moment from now. */
bool mp__read_is_held(const mp__manager *manager, const mp__entry *entry);
/* As mp__read_start(), of one layer and without asking access. */
MP_MUST_USE bool mp__read_layer(mp__manager *manager, mp__read *read);
/* Let a read of several layers count as the hit or miss of L1 that the last of them was. */
void mp__read_counts(mp__manager *manager, mp__read *read, bool is_hit);
/* Count it and call its done. */
void mp__read_finish(mp__manager *manager, mp__read *read);

/* The origin has answered (or has not, status): finish @read. @entry is borrowed, and true as of
 * @as_of_ms; with an error it is what the origin remembers, or NULL. MP_EINVAL: the origin has not
 * reached the revision that the read wants. */
void mp__read_answer(mp__manager *manager, mp__read *read, int status, const mp__entry *entry,
                     int64_t as_of_ms);
/* Whether the expiry of @entry, for which the origin was asked at @asked_ms, has come since: then
 * nobody knows what there is now, for it may have been replaced before. */
bool mp__read_is_outlived(const mp__manager *manager, const mp__entry *entry, int64_t asked_ms);
/* Whether memory has by now what answers @read, which found nothing that does. Takes no lock. */
bool mp__read_is_answered(mp__manager *manager, const mp__read *read);
/* Go on with what a tier gave: a reference, taken over, or NULL. On the read's loop. */
void mp__read_continue(mp__manager *manager, mp__read *read, const mp__entry *entry);
/* Call done on the read's loop. */
void mp__read_post(mp__read *read);
/* Begin again with mp__read_layer(), on the read's loop. */
void mp__read_again(mp__read *read);

/* ---- write_path.c ---- */

void mp__write_prepare(mp__manager *manager, mp__write_request *request);
void mp__write_set_text(mp__write_request *request, int status);
void mp__write_reply(mp__write_request *request);
/* On its way, after access was asked and schemas were checked. */
void mp__write_go(mp__manager *manager, mp__write_request *request);
/* To the origin. */
void mp__write_through(mp__manager *manager, mp__write_request *request);
void mp__write_answer(mp__write_request *request, int status);

/* ---- shared_read.c: L4 ---- */

/* The generation of an entry that another node fetched: no watch of ours held it. */
#define MP__GENERATION_SHARED UINT32_MAX
MP_MUST_USE int mp__shared_configured(mp__manager *manager, const mp__options *options,
                                      mp__diag *diag);
void mp__shared_scope_now(mp__manager *manager); /* the origin may have begun a new life */
/* Ask L4 for @read, which goes on with mp__read_continue(); false: not now. */
bool mp__shared_read(mp__manager *manager, mp__read *read);
void mp__shared_json(mp__manager *manager, mp__buf *out);

/* ---- change_path.c: callbacks of the origin, and publishing ---- */

void mp__change_state(void *manager, enum mp__origin_state from, enum mp__origin_state to,
                      const char *cause);
void mp__change_unseen(void *manager, const char *cause);
void mp__change_own(void *manager, const mp__record *after);
void mp__change_seen(void *manager, const mp__record *after);
void mp__change_doubt(void *manager, mp_str address, bool begins, bool is_named);
void mp__change_doubts(void *manager, mp_str prefix, bool begins);
/* Judge what the origin takes over by itself by the schemas; as its on_proposal. */
int mp__schemas_judge(void *manager, mp__proposal *proposal);
/* Keep what holds as of @as_of_ms, when the watch @generation was live, in all tiers; flights of it
 * are dirty. Returns a reference or NULL. */
const mp__entry *mp__change_keep(mp__manager *manager, const mp__record *after, uint32_t generation,
                                 int64_t as_of_ms);
/* The same for what a write found at the origin that did not change it: on the origin's writer, so
 * that nothing newer has been kept yet. */
void mp__change_found(mp__manager *manager, const mp__record *now, uint32_t generation,
                      int64_t as_of_ms);
void mp__change_publish(mp__manager *manager, const mp__record *after, const mp__entry *entry,
                        enum mp__event_expiry expiry);
bool mp__origin_vouches(const mp__manager *manager); /* it can be asked, by its own account */
/* It can, and is not silent: there is hope for an answer. */
static inline bool mp__origin_answers(const mp__manager *manager)
{
    return !mp__circuit_is_open(&manager->circuit) && mp__origin_vouches(manager);
}
/* It answered something, whatever it said; or not within origin.timeout what it was asked at
 * @asked_ns, each question once. Any thread, without a lock of a shard of the flights. */
void mp__origin_answered(mp__manager *manager);
void mp__origin_is_late(mp__manager *manager, uint64_t asked_ns);
/* Ask whether it is silent still, when it is time; each loop, some times a second. */
void mp__origin_probe(mp__manager *manager);
/* See whether writes wait for it in vain; likewise. */
void mp__origin_writes_stand(mp__manager *manager, uint64_t now_ns);
/* The same for a page of a preload that was asked for at @since_ns. */
void mp__origin_page_stands(mp__manager *manager, uint64_t since_ns, uint64_t now_ns);
/* The same for a list, count or history, behind which none of the others is put. */
void mp__origin_question_stands(mp__manager *manager, uint64_t since_ns, uint64_t now_ns);
/* Whether a write may go out by what is known of others: the origin answers, or it is silent, but
 * none stands unanswered for origin.timeout. Any thread. */
bool mp__origin_takes_writes(const mp__manager *manager);

/* ---- watchers.c ---- */

/* Free those whose task never ran, as its loop had ended. After all loops. */
void mp__watchers_end(mp__manager *manager);
/* Where watching begins while nothing was published yet. */
void mp__watchers_begin(mp__manager *manager, uint64_t revision, bool stale);
/* Queue @event for each watcher; a RESET replaces what is queued. Never two at once but for STALE,
 * FRESH and RESET. */
void mp__watchers_tell(mp__manager *manager, const mp__event *event);

/* ---- claims.c, write_path.c ---- */

/* Look whether values are the JSON that they say they are, here or on another thread, and go on
 * with mp__write_claimed(), in the order of the starts from one loop. */
void mp__claims_start(mp__manager *manager, mp__write_request *request);
/* That has been looked at: to the schemas, or back with what was found. */
void mp__write_claimed(mp__manager *manager, mp__write_request *request, int status);

/* ---- validate.c, schemas.c ---- */

/* True: @request is answered, or goes on by itself when it has been checked. */
MP_MUST_USE bool mp__validate_takes(mp__manager *manager, mp__write_request *request);
/* A request that was let through the gate has been answered: the next one. */
void mp__validate_leaves(mp__manager *manager);
/* @address has changed: if it is a schema's, what is known of schemas is old. */
void mp__schemas_note(mp__manager *manager, mp_str address);
void mp__schemas_free(mp__manager *manager);

/* ---- data_dir.c ---- */

/* "data_dir/name" into @path. -ENAMETOOLONG. */
MP_MUST_USE int mp__dir_path(const mp__manager *manager, const char *name, char *path,
                             size_t capacity);
/* Make the data directory and lock it. At start only, as all of these. */
MP_MUST_USE int mp__dir_lock(mp__manager *manager, mp__diag *diag);
/* MP_EVERSION with a text: a newer version wrote it. */
MP_MUST_USE int mp__dir_check_format(mp__manager *manager, mp__diag *diag);
/* Whether something else than the origin's own files says that there was an origin. */
MP_MUST_USE bool mp__dir_had_origin(mp__manager *manager);
/* Set L3 aside if it is of another life than the origin that was opened. */
MP_MUST_USE int mp__dir_match_epoch(mp__manager *manager, mp__diag *diag);
/* Write into L3's folder whose life it is, once there is one; best effort. */
void mp__dir_name_l3(mp__manager *manager);

/* ---- events.c ---- */

MP_MUST_USE int mp__events_open(mp__manager *manager);
void mp__events_close(mp__manager *manager);
void mp__event_note(mp__manager *manager, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether the same was noted within a minute: what may come each second must not push all else out.
 * Any thread. */
bool mp__event_was_noted(mp__manager *manager, const char *what, const char *text);
/* Those of the last @age_ms as a JSON array, oldest first. */
void mp__events_json(mp__manager *manager, int64_t age_ms, mp__buf *out);

#endif

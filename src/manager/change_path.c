/* SPDX-License-Identifier: Apache-2.0 */
/* The change path: what the origin tells without being asked.
 *
 *   a change      (an expiry, a salvage) is kept in all tiers and published, like a write of ours
 *   unseen        somebody else changed the origin, or it may have missed something: the watch that
 *                 held entries fresh ends and a new one begins, under a new generation number.
 *                 Entries of the old generation are verified once, when they are next read;
 *                 watchers are told to look again (RESET)
 *   doubt         a newer version of one value cannot be read: what is kept of it is verified when
 *                 it is next read; its watchers are told (STALE, and FRESH when that is over)
 *   state         live: a new watch (FRESH). Down or lost: no watch (STALE); entries keep what
 *                 they are, and the time until which the origin vouched for them is remembered,
 *                 so that their age is honest
 *   silence       it says that it is live, and answers nothing any more (circuit.h): no watch, as
 *                 when it is down, until it answers again
 *
 * Freshness is thus one comparison of two numbers on the read path. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "manager/internal.h"

/* Keys in doubt that watchers are told of one by one when the origin is there again: an eighth of
 * what a loop's queue takes. */
enum { DOUBTS_NAMED = 8192 };

bool mp__origin_vouches(const mp__manager *manager)
{
    uint8_t state = mp__state_now(&manager->origin->state);

    return state == MP__ORIGIN_LIVE || state == MP__ORIGIN_DEGRADED;
}

/* ---- generations; all under the circuit's lock ---- */

/* So long ago. */
static void watch_ended(mp__manager *manager, int64_t ago_ms)
{
    if (atomic_exchange(&manager->generation, 0) != 0)
        atomic_store(&manager->vouched_until_ms, mp__manager_wall_ms(manager) - ago_ms);
}

static void watch_ends(mp__manager *manager)
{
    watch_ended(manager, 0);
}

static void watch_begins(mp__manager *manager)
{
    uint32_t next = atomic_fetch_add(&manager->generation_last, 1) + 1;

    atomic_store(&manager->generation, next);
}

/* What is held is verified once, if it is held at all. Takes the lock. */
static void watch_renews(mp__manager *manager)
{
    (void)pthread_mutex_lock(&manager->circuit_lock);
    if (atomic_load(&manager->generation) != 0) {
        watch_ends(manager);
        watch_begins(manager);
    }
    (void)pthread_mutex_unlock(&manager->circuit_lock);
}

/* ---- watchers ---- */

static void publish(mp__manager *manager, const mp__record *after, const mp__entry *entry,
                    int kind_when_gone, enum mp__event_expiry expiry)
{
    mp__event event = {
        .expiry = expiry,
        .kind = after->kind == MP__RECORD_VALUE ? MP__EVENT_PUT : kind_when_gone,
        .address = after->address,
        .revision = after->revision,
        .entry = entry,
    };

    if (!entry) { /* there was no memory to keep it, nor to say what it is */
        event.kind = MP__EVENT_RESET;
        event.address = mp_str_new("", 0);
    }
    mp__watchers_tell(manager, &event);
}

void mp__change_publish(mp__manager *manager, const mp__record *after, const mp__entry *entry,
                        enum mp__event_expiry expiry)
{
    publish(manager, after, entry, MP__EVENT_DELETE, expiry);
}

/* ---- keeping ---- */

const mp__entry *mp__change_keep(mp__manager *manager, const mp__record *after, uint32_t generation,
                                 int64_t as_of_ms)
{
    uint64_t hash = mp__cache_hash(manager->hasher, after->address);
    bool is_around = mp__write_mode_of(manager->write_modes, after->address) == MP__WRITE_AROUND &&
                     !mp__overlay_is_mark(after->address);
    const mp__entry *entry = NULL;
    mp__record kept = *after;
    int rc;

    if (!atomic_load(&manager->open))
        return NULL; /* an expiry while the cache is being opened; what L3 kept has that expiry, too
                      */
    (void)atomic_fetch_add(&manager->changes_kept, 1);
    mp__schemas_note(manager, after->address);
    mp__flight_dirty(manager, after->address, hash, after->revision);
    kept.fetched_ms = kept.verified_ms = as_of_ms;
    /* it may come late, after something newer was read, told and forgotten again */
    rc = mp__cache_put_record(manager->cache, &kept,
                              MP__PUT_NEWEST | (is_around ? MP__PUT_AROUND : 0u), generation,
                              mp__verify_by(manager, after->kind, after->address, hash), &entry);
    if (rc == -ESTALE)
        return mp__cache_entry(manager->cache, &kept); /* watchers are told of each */
    mp__shared_put(manager->shared, &kept, false);
    return entry;
}

/* ---- what the origin tells ---- */

static const mp__entry *keep_as_of(mp__manager *manager, const mp__record *after,
                                   uint32_t generation, int64_t as_of_ms)
{
    const mp__entry *entry;

    mp__overlay_applies(manager, after->address);
    mp__overlay_mark(manager, after, generation, as_of_ms);
    mp__count_saw(manager, after);
    entry = mp__change_keep(manager, after, generation, as_of_ms);
    mp__overlay_applied(manager, after->address);
    return entry;
}

static const mp__entry *keep_what_is_told(mp__manager *manager, const mp__record *after)
{
    return keep_as_of(manager, after, atomic_load(&manager->generation),
                      mp__manager_wall_ms(manager));
}

void mp__change_found(mp__manager *manager, const mp__record *now, uint32_t generation,
                      int64_t as_of_ms)
{
    (void)mp__entry_unref(keep_as_of(manager, now, generation, as_of_ms));
}

void mp__change_own(void *context, const mp__record *after)
{
    mp__manager *manager = context;
    const mp__entry *entry = keep_what_is_told(manager, after);

    publish(manager, after, entry, MP__EVENT_EXPIRED,
            MP__EXPIRY_UNTOLD); /* only its sweep deletes by itself */
    (void)mp__entry_unref(entry);
}

void mp__change_seen(void *context, const mp__record *after)
{
    mp__manager *manager = context;
    const mp__entry *entry;

    if (!atomic_load(&manager->open))
        return; /* nobody has been told of anything yet; what L3 kept is verified when it is read */
    entry = keep_what_is_told(manager, after);
    publish(manager, after, entry, MP__EVENT_DELETE, MP__EXPIRY_UNTOLD);
    (void)mp__entry_unref(entry);
}

void mp__change_unseen(void *context, const char *cause)
{
    mp__manager *manager = context;
    mp__event reset = {.kind = MP__EVENT_RESET, .address = mp_str_new("", 0)};

    watch_renews(manager);
    if (!mp__event_was_noted(manager, "origin-unseen", cause)) {
        mp__event_note(manager, "origin-unseen", "%s", cause);
        mp__log(manager->log, MP__LOG_INFO, "origin", "unseen-change",
                "%s; what is kept is verified when it is next read", cause);
    }
    mp__watchers_tell(manager, &reset);
}

/* What is kept was true until now, and is asked for again before it counts as so. */
static void doubt(mp__manager *manager, mp_str address)
{
    uint64_t hash = mp__cache_hash(manager->hasher, address);
    const mp__entry *entry = NULL;
    int rc = MP_EUNKNOWN;

    mp__flight_dirty(manager, address, hash, 0); /* nobody knows what to */
    if (mp_read_begin() == 0) {
        entry = mp__cache_peek(manager->cache, address, hash);
        if (entry)
            (void)mp__entry_ref(entry);
        mp_read_end();
    }
    if (!entry && mp__cache_peek_memory(manager->cache, address, hash, &entry) != 0)
        rc = mp__cache_load_nowait(manager->cache, address, hash, &entry);
    if (entry)
        mp__cache_verified(manager->cache, entry, mp__manager_wall_ms(manager), 0,
                           mp__manager_now_s(manager));
    (void)mp__entry_unref(entry);
    if (!entry && rc == MP_EAGAIN)
        watch_renews(manager); /* it lies on disk, which is not waited for: all are verified once */
}

static void tell_doubt(mp__manager *manager, mp_str address, bool is_prefix, bool begins)
{
    mp__event event = {.kind = begins ? MP__EVENT_STALE : MP__EVENT_FRESH,
                       .address = address,
                       .is_prefix = is_prefix};

    mp__watchers_tell(manager, &event);
}

void mp__change_doubt(void *context, mp_str address, bool begins, bool is_named)
{
    mp__manager *manager = context;

    if (!atomic_load(&manager->open))
        return; /* what L3 kept is verified when it is read, and nobody watches */
    if (begins)
        doubt(manager, address);
    if (is_named)
        tell_doubt(manager, address, false, begins);
}

void mp__change_doubts(void *context, mp_str prefix, bool begins)
{
    mp__manager *manager = context;

    if (atomic_load(&manager->open))
        tell_doubt(manager, prefix, true, begins);
}

/* What the origin doubts, gathered under its lock to be told without it. */
typedef struct doubts {
    mp__buf names; /* each ended by a zero byte, which none has */
    size_t count;
    bool more;
    size_t size; /* of what those have in common that are not among the names */
    char prefix[MP__ADDRESS_MAX];
} doubts;

static int gather_doubt(void *context, mp_str address)
{
    doubts *d = context;
    size_t size = d->names.size;

    if (d->count < DOUBTS_NAMED && mp__buf_add_str(&d->names, address) == 0 &&
        mp__buf_add_char(&d->names, '\0') == 0) {
        d->count++;
        return 0;
    }
    if (d->count < DOUBTS_NAMED) { /* no memory: half of it is none */
        d->names.size = size;
        d->count = DOUBTS_NAMED;
    }
    if (!d->more) {
        d->more = true;
        d->size = address.size < sizeof(d->prefix) ? address.size : sizeof(d->prefix);
        memcpy(d->prefix, address.data, d->size);
    }
    d->size = mp__common_size(mp_str_new(d->prefix, d->size), address);
    return 0;
}

/* What is in doubt still, when the origin is there again. */
static void tell_doubts(mp__manager *manager)
{
    doubts d = {.names = MP__BUF_INIT};

    mp__manager_doubts(manager, mp_str_new("", 0), gather_doubt, &d);
    for (size_t at = 0; at < d.names.size; at += strlen(d.names.data + at) + 1)
        tell_doubt(manager, mp_str_of(d.names.data + at), false, true);
    if (d.more)
        tell_doubt(manager, mp_str_new(d.prefix, d.size), true, true);
    mp__buf_done(&d.names);
}

void mp__manager_doubts(mp__manager *manager, mp_str prefix,
                        int (*each)(void *context, mp_str address), void *context)
{
    if (manager->origin->ops->doubts)
        manager->origin->ops->doubts(manager->origin, prefix, each, context);
}

static const char *const state_notes[] = {"origin-opening", "origin-live", "origin-degraded",
                                          "origin-down", "origin-lost"};

void mp__change_state(void *context, enum mp__origin_state from, enum mp__origin_state to,
                      const char *cause)
{
    mp__manager *manager = context;
    bool was = from == MP__ORIGIN_LIVE || from == MP__ORIGIN_DEGRADED;
    bool is = to == MP__ORIGIN_LIVE || to == MP__ORIGIN_DEGRADED;
    mp__event event = {.kind = is ? MP__EVENT_FRESH : MP__EVENT_STALE,
                       .address = mp_str_new("", 0)};

    if (is && atomic_load(&manager->open))
        mp__shared_scope_now(manager);
    (void)pthread_mutex_lock(&manager->circuit_lock);
    if (is != was)
        (void)mp__circuit_close(&manager->circuit); /* it said something */
    if (was && !is)
        watch_ends(manager);
    if (is && !was)
        watch_begins(manager);
    if (is != was) /* under the lock, as of silence: who watches hears last what is so */
        mp__watchers_tell(manager, &event);
    (void)pthread_mutex_unlock(&manager->circuit_lock);
    (void)pthread_mutex_lock(&manager->notable_lock);
    (void)snprintf(manager->trouble, sizeof(manager->trouble), "%s",
                   to == MP__ORIGIN_LIVE ? "" : cause);
    (void)pthread_mutex_unlock(&manager->notable_lock);
    mp__event_note(manager, state_notes[to], "%s", cause);
    if (to == MP__ORIGIN_LIVE) {
        mp__preload_again(manager);
        mp__overlay_warm(manager);
    }
    mp__log(manager->log, to == MP__ORIGIN_LIVE ? MP__LOG_INFO : MP__LOG_ERROR, "origin",
            state_notes[to], "%s", cause);
    if (is && !was && atomic_load(&manager->open)) /* what is so still, behind what said that */
        tell_doubts(manager);
}

/* ---- silence ---- */

/* Under the lock: what that means to who holds something fresh or watches. */
static void silence(mp__manager *manager, bool begins, const char *text)
{
    const char *what = begins ? "origin-silent" : "origin-answers";
    mp__event event = {.kind = begins ? MP__EVENT_STALE : MP__EVENT_FRESH,
                       .address = mp_str_new("", 0)};

    if (mp__origin_vouches(manager)) { /* else both are so already */
        if (begins) /* nobody knows when, but that it was silent from the first question on */
            watch_ended(manager, (int64_t)((mp__env_now_ns(manager->env) -
                                            manager->circuit.silent_since_ns) /
                                           1000000u));
        else
            watch_begins(manager);
        mp__watchers_tell(manager, &event);
    }
    mp__event_note(manager, what, "%s", text);
    mp__log(manager->log, begins ? MP__LOG_ERROR : MP__LOG_INFO, "origin", what, "%s", text);
}

static void begin_silence(mp__manager *manager, const char *text)
{
    atomic_store(&manager->circuit.opened_ms, mp__env_wall_ms(manager->env));
    silence(manager, true, text);
}

void mp__origin_answered(mp__manager *manager)
{
    bool was_open;

    if (!mp__circuit_answered(&manager->circuit, mp__env_now_ns(manager->env)))
        return;
    (void)pthread_mutex_lock(&manager->circuit_lock);
    was_open = mp__circuit_close(&manager->circuit);
    if (was_open)
        silence(
            manager, false,
            mp__origin_vouches(manager)
                ? "it answers again; what is kept is verified when it is next read"
                : "it answers again, but only that it cannot be asked; what is kept stays stale");
    (void)pthread_mutex_unlock(&manager->circuit_lock);
    if (!was_open || !mp__origin_vouches(manager) || !atomic_load(&manager->open))
        return;
    tell_doubts(manager);
    mp__preload_again(manager);
    mp__overlay_warm(manager);
}

/* Why it opens at a question put at @asked_ns. */
static void say_late(const mp__manager *manager, uint64_t asked_ns, uint64_t now_ns, char *text,
                     size_t capacity)
{
    int64_t timeout_ms = mp__manager_timeout_ms(manager);
    uint64_t waited_ms = (now_ns - asked_ns) / 1000000u;

    if (waited_ms >= (uint64_t)timeout_ms)
        (void)snprintf(text, capacity,
                       "it answered none of %d questions in a row within origin.timeout (%" PRId64
                       " ms)",
                       (int)MP__CIRCUIT_LATE_MAX, timeout_ms);
    else
        (void)snprintf(
            text, capacity,
            "it answered none of %d questions in a row; to the last it said after %" PRIu64
            " ms that it is busy or locked by another process",
            (int)MP__CIRCUIT_LATE_MAX, waited_ms);
}

void mp__origin_is_late(mp__manager *manager, uint64_t asked_ns)
{
    uint64_t now_ns = mp__env_now_ns(manager->env);
    char text[160];
    uint64_t random;

    mp__env_random(manager->env, &random, sizeof(random));
    say_late(manager, asked_ns, now_ns, text, sizeof(text));
    (void)pthread_mutex_lock(&manager->circuit_lock);
    if (mp__circuit_late(&manager->circuit, asked_ns, now_ns, random))
        begin_silence(manager, text);
    (void)pthread_mutex_unlock(&manager->circuit_lock);
}

/* What alone opens the circuit, and since @since_ns waits for an answer. */
static void stands(mp__manager *manager, uint64_t since_ns, uint64_t now_ns, const char *text)
{
    uint64_t most_ns =
        MP__CIRCUIT_WRITE_TIMES * (uint64_t)mp__manager_timeout_ms(manager) * 1000000u;
    uint64_t random;

    if (mp__circuit_is_open(&manager->circuit) || now_ns < since_ns + most_ns)
        return;
    mp__env_random(manager->env, &random, sizeof(random));
    (void)pthread_mutex_lock(&manager->circuit_lock);
    if (mp__circuit_open(&manager->circuit, since_ns, now_ns, random))
        begin_silence(manager, text);
    (void)pthread_mutex_unlock(&manager->circuit_lock);
}

void mp__origin_writes_stand(mp__manager *manager, uint64_t now_ns)
{
    if (atomic_load_explicit(&manager->writes_under_way, memory_order_acquire) == 0)
        return;
    stands(manager, atomic_load_explicit(&manager->writes_moved_ns, memory_order_relaxed), now_ns,
           "a write waits for its answer for three times origin.timeout, and nothing else was "
           "answered");
}

void mp__origin_page_stands(mp__manager *manager, uint64_t since_ns, uint64_t now_ns)
{
    stands(manager, since_ns, now_ns,
           "a preload waits for its answer for three times origin.timeout, and nothing else was "
           "answered");
}

void mp__origin_question_stands(mp__manager *manager, uint64_t since_ns, uint64_t now_ns)
{
    stands(manager, since_ns, now_ns,
           "a list waits for its answer for three times origin.timeout, and nothing else was "
           "answered");
}

bool mp__origin_takes_writes(const mp__manager *manager)
{
    uint64_t timeout_ns = (uint64_t)mp__manager_timeout_ms(manager) * 1000000u;

    return !mp__circuit_is_open(&manager->circuit) ||
           atomic_load_explicit(&manager->writes_under_way, memory_order_acquire) == 0 ||
           mp__env_now_ns(manager->env) <
               atomic_load_explicit(&manager->writes_moved_ns, memory_order_relaxed) + timeout_ns;
}

/* What is under way still is a probe by itself, at first: perhaps it will never be answered, while
 * others would be. */
static bool has_probe(const mp__manager *manager)
{
    return atomic_load_explicit(&manager->flights_under_way, memory_order_relaxed) != 0 &&
           manager->circuit.pause_ns < MP__CIRCUIT_PAUSE_LAST_MS * (uint64_t)1000000;
}

/* Whether the first environment has keys: one look at an index. */
void mp__origin_probe(mp__manager *manager)
{
    mp_str mark = mp_str_of(manager->databases[0]);
    uint64_t random;
    bool is_due;

    if (!mp__circuit_is_open(&manager->circuit))
        return;
    mp__env_random(manager->env, &random, sizeof(random));
    (void)pthread_mutex_lock(&manager->circuit_lock);
    is_due = mp__circuit_probes(&manager->circuit, mp__env_now_ns(manager->env),
                                (uint64_t)mp__manager_timeout_ms(manager) * 1000000u, random) &&
             !has_probe(manager);
    (void)pthread_mutex_unlock(&manager->circuit_lock);
    if (is_due)
        mp__flight_probe(manager, mark, mp__cache_hash(manager->hasher, mark));
}

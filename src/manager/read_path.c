/* SPDX-License-Identifier: Apache-2.0 */
/* The read path, from top to bottom:
 *
 *   access        may this identity read this address?
 *     |
 *   back          a write of it that is on its way to the origin is the newest there is
 *     |           (write_back.c)
 *   L1            memory; a fresh entry is the answer, and mp__read_now() gives it without leaving
 *     |           the caller's loop
 *   L2            compressed memory: expanded here and now
 *     |
 *   L3            disk: pages the system holds are read here and now, others on L3's reader thread
 *     |
 *   judge         is what is kept good enough for the level that was asked for?
 *     |             fresh, within its bound, or weak  -> answer
 *     |             past its bound                    -> answer, and verify behind
 *     |             unverified, too old, or strong    -> ask first
 *   single flight one request to the origin for all who wait for the address
 *     |
 *   origin        value, absent, or cannot say
 *     |
 *   fill          into L1 and L3, unless a write was committed meanwhile
 *     |
 *   overlay       absent here: the same for the layer behind it (overlay.c)
 *     |
 *   reply         with age, tier and reason; without an origin the last known good, marked stale
 *
 * Absent is what the origin said. Unknown is that nobody could be asked and nothing is kept. */
#include <errno.h>

#include "core/hazard.h"
#include "manager/internal.h"

const char *mp__level_name(enum mp__level level)
{
    static const char *const names[] = {"eventual", "strong", "weak"};

    return names[level];
}

int mp__level_parse(mp_str text, enum mp__level *ret_level)
{
    for (int i = 0; i < 3; i++) {
        const char *name = mp__level_name((enum mp__level)i);

        if (text.size == strlen(name) && strncasecmp(text.data, name, text.size) == 0) {
            *ret_level = (enum mp__level)i;
            return 0;
        }
    }
    return MP_EINVAL;
}

const char *mp__reason_name(enum mp__reason reason)
{
    static const char *const names[] = {
        "fresh",       "within-bound", "verified",       "refreshing",  "weak",
        "origin-down", "origin-lost",  "origin-damaged", "origin-slow", "pending",
    };

    return names[reason];
}

/* ---- how fresh is it ---- */

static bool is_held_fresh(const mp__manager *manager, const mp__entry *entry)
{
    uint32_t live = atomic_load_explicit(&manager->generation, memory_order_relaxed);

    return live != 0 && atomic_load_explicit(&entry->generation, memory_order_relaxed) == live &&
           atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed) >
               mp__manager_now_s(manager);
}

/* When the origin last vouched for @entry: now while its watch is live; until the watch broke for
 * those it held; else when it was last fetched or verified. */
static int64_t vouched_ms(const mp__manager *manager, const mp__entry *entry, int64_t now_ms)
{
    uint32_t generation = atomic_load_explicit(&entry->generation, memory_order_relaxed);
    int64_t until = atomic_load_explicit(&manager->vouched_until_ms, memory_order_relaxed);
    mp__record record;

    if (is_held_fresh(manager, entry))
        return now_ms;
    mp__entry_record(entry, &record);
    if (generation && generation == atomic_load(&manager->generation_last) &&
        atomic_load(&manager->generation) == 0 && until > record.verified_ms)
        return until;
    return record.verified_ms;
}

static enum mp__reason trouble_reason(const mp__manager *manager, int status)
{
    uint8_t state = mp__state_now(&manager->origin->state);

    if (status == MP_ETIMEOUT || mp__circuit_is_open(&manager->circuit))
        return MP__REASON_ORIGIN_SLOW;
    if (status == MP_ECORRUPT)
        return MP__REASON_ORIGIN_DAMAGED;
    return state == MP__ORIGIN_LOST || status == MP_EORIGINLOST ? MP__REASON_ORIGIN_LOST
                                                                : MP__REASON_ORIGIN_DOWN;
}

/* ---- replies ---- */

/* Give @entry as the answer; takes over a reference. */
static void give(mp__manager *manager, mp__read *read, const mp__entry *entry, bool stale,
                 enum mp__reason reason)
{
    int64_t now = mp__manager_wall_ms(manager), age = now - vouched_ms(manager, entry, now);

    read->entry = entry;
    read->stale = stale;
    read->reason = reason;
    read->age_ms = age < 0 ? 0 : age; /* the clock was set back while the daemon did not run */
    read->status = entry->kind == MP__RECORD_VALUE ? 0 : MP_EABSENT;
    read->layer = mp_str_new("", 0);
    if (entry->kind != MP__RECORD_ABSENT)
        read->layer = mp_str_new(entry->address, mp__scope_size(mp__entry_address(entry)));
    if (stale && read->strict) {
        read->entry = mp__entry_unref(entry);
        read->status = MP_ESTALE;
        read->layer = mp_str_new("", 0);
    }
}

static void give_nothing(mp__read *read, int status, enum mp__reason reason)
{
    read->entry = NULL;
    read->stale = false;
    read->age_ms = 0;
    read->tier = MP__TIER_NONE;
    read->reason = reason;
    read->layer = mp_str_new("", 0);
    read->status = status;
}

static void count_answer(mp__manager *manager, const mp__read *read)
{
    uint64_t now = mp__env_now_ns(manager->env);

    if (read->is_part)
        return;
    mp__monitor_record(manager->monitor, MP__OP_GET, read->tier, now - read->started_ns, 1);
    if (read->stale && read->status != MP_ESTALE)
        mp__monitor_count(manager->monitor, MP__EVENT_STALE_SERVED, 1);
    if (read->status == MP_EABSENT)
        mp__monitor_count(manager->monitor, MP__EVENT_ABSENT, 1);
    if (read->status == MP_EUNKNOWN)
        mp__monitor_count(manager->monitor, MP__EVENT_UNKNOWN, 1);
}

void mp__read_finish(mp__manager *manager, mp__read *read)
{
    count_answer(manager, read);
    read->done(read);
}

static void run_done(mp__task *task)
{
    mp__read *read = (mp__read *)((char *)task - offsetof(mp__read, task));
    mp__manager *manager = read->manager;

    if (mp__overlay_settles(manager, read))
        mp__read_finish(manager, read);
}

void mp__read_post(mp__read *read)
{
    read->task.run = run_done;
    mp__loop_post(read->loop, &read->task);
}

/* Past its expiry it is not there any more, whatever the level: the expiry is part of the value. */
static bool is_expired(const mp__manager *manager, const mp__entry *entry)
{
    return entry->expires_ms && entry->expires_ms <= mp__env_wall_ms(manager->env);
}

bool mp__read_is_outlived(const mp__manager *manager, const mp__entry *entry, int64_t asked_ms)
{
    return is_expired(manager, entry) && entry->expires_ms > asked_ms;
}

/* That the value of @read's address has expired: there is none, as of a revision that the origin
 * has yet to give. */
static void give_gone(mp__manager *manager, mp__read *read, enum mp__reason reason)
{
    const mp__record gone = {.address = read->address, .kind = MP__RECORD_ABSENT};
    const mp__entry *entry = mp__cache_entry(manager->cache, &gone);

    if (entry)
        give(manager, read, entry, false, reason);
    else
        give_nothing(read, MP_ENOMEM, reason);
}

void mp__read_answer(mp__manager *manager, mp__read *read, int status, const mp__entry *entry,
                     int64_t as_of_ms)
{
    const mp__entry *kept = read->entry; /* what judge() put by for this case: a reference */
    bool may_be_stale = read->level != MP__LEVEL_STRONG || read->stale_if_error;

    read->entry = NULL;
    if (status && !kept && entry)
        kept = mp__entry_ref(entry); /* what the origin remembers */
    if (kept && is_expired(manager, kept))
        kept = mp__entry_unref(kept);
    if (status == 0) {
        read->tier = MP__TIER_ORIGIN;
        if (is_expired(manager, entry)) /* by our clock, before the origin was asked */
            give_gone(manager, read, MP__REASON_VERIFIED);
        else
            give(manager, read, mp__entry_ref(entry), false, MP__REASON_VERIFIED);
        read->age_ms = mp__manager_wall_ms(manager) - as_of_ms; /* who joined late says so */
        (void)mp__entry_unref(kept);
    } else if (kept && may_be_stale && kept->revision >= read->revision_min) {
        give(manager, read, kept, true, trouble_reason(manager, status));
    } else {
        bool cannot_verify = kept != NULL;

        (void)mp__entry_unref(kept);
        give_nothing(read,
                     status == MP_ENOMEM || status == MP_ELIMIT || status == MP_ECANCELED ||
                             status == MP_EINVAL
                         ? status
                     : cannot_verify ? (status == MP_EORIGINLOST ? status : MP_EORIGIN)
                                     : MP_EUNKNOWN,
                     trouble_reason(manager, status));
    }
}

/* ---- judging what is kept ---- */

enum verdict { SERVE, SERVE_STALE, SERVE_AND_REFRESH, ASK_FIRST };

/* The live watch holds it, and its time to live is over all the same: where that is shorter than
 * the bound, too, it is verified when it says so. */
static bool has_outlasted_its_ttl(const mp__manager *manager, const mp__entry *entry)
{
    uint32_t live = atomic_load_explicit(&manager->generation, memory_order_relaxed);

    return live && atomic_load_explicit(&entry->generation, memory_order_relaxed) == live &&
           atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed) <=
               mp__manager_now_s(manager);
}

/* A watch of ours held it and ended, and another is there: something may have changed between. */
static bool has_lost_its_watch(const mp__manager *manager, const mp__entry *entry)
{
    uint32_t live = atomic_load_explicit(&manager->generation, memory_order_relaxed);
    uint32_t its = atomic_load_explicit(&entry->generation, memory_order_relaxed);

    return live && its != live && its != MP__GENERATION_SHARED;
}

/* How long after it was verified @entry is answered without a question that no watch makes
 * needless: the bound, and its time to live where that is shorter. */
static int64_t bound_ms(mp__manager *manager, const mp__entry *entry)
{
    int64_t bound = atomic_load_explicit(&manager->eventual_bound_ms, memory_order_relaxed);
    int64_t ttl_ms = (int64_t)mp__ttl_s(manager, entry->kind, mp__entry_address(entry)) * 1000;

    return ttl_ms < bound ? ttl_ms : bound;
}

static enum verdict judge_age(mp__manager *manager, const mp__read *read, const mp__entry *entry,
                              enum mp__reason *ret_reason)
{
    int64_t now = mp__manager_wall_ms(manager), age = now - vouched_ms(manager, entry, now);

    if (atomic_load_explicit(&entry->generation, memory_order_relaxed) == 0)
        return ASK_FIRST; /* of an earlier life: a crash may have cost its successor */
    if (read->age_max_ms >= 0 && age > read->age_max_ms)
        return ASK_FIRST;
    if (age < 0 || age > atomic_load_explicit(&manager->hard_bound_ms, memory_order_relaxed))
        return ASK_FIRST;
    *ret_reason = MP__REASON_WITHIN_BOUND;
    if (age <= bound_ms(manager, entry) && !has_outlasted_its_ttl(manager, entry) &&
        !has_lost_its_watch(manager, entry))
        return SERVE;
    *ret_reason = MP__REASON_REFRESHING;
    return SERVE_AND_REFRESH;
}

static enum verdict judge(mp__manager *manager, const mp__read *read, const mp__entry *entry,
                          enum mp__reason *ret_reason)
{
    *ret_reason = MP__REASON_WEAK;
    if (read->level == MP__LEVEL_WEAK)
        return mp__origin_answers(manager) || is_held_fresh(manager, entry) ? SERVE : SERVE_STALE;
    if (read->level == MP__LEVEL_STRONG || entry->revision < read->revision_min)
        return ASK_FIRST;
    *ret_reason = MP__REASON_FRESH;
    if (is_held_fresh(manager, entry))
        return SERVE;
    if (!mp__origin_answers(manager)) {
        *ret_reason = trouble_reason(manager, MP_EORIGIN);
        return SERVE_STALE;
    }
    return judge_age(manager, read, entry, ret_reason);
}

bool mp__read_is_answered(mp__manager *manager, const mp__read *read)
{
    enum mp__reason reason;
    const mp__entry *entry;
    bool is_answered;

    if (read->level == MP__LEVEL_STRONG || mp_read_begin() != 0)
        return false;
    entry = mp__cache_peek(manager->cache, read->address, read->hash);
    is_answered =
        entry && !is_expired(manager, entry) && judge(manager, read, entry, &reason) != ASK_FIRST;
    mp_read_end();
    return is_answered;
}

/* Answer from @entry (a reference, taken over; NULL: nothing is kept) or let the read wait for the
 * origin. True: answered. */
static bool answer_or_ask(mp__manager *manager, mp__read *read, const mp__entry *entry)
{
    enum mp__reason reason = MP__REASON_VERIFIED;
    enum verdict verdict = ASK_FIRST;

    if (entry && is_expired(manager, entry))
        entry = mp__entry_unref(entry);
    if (entry)
        verdict = judge(manager, read, entry, &reason);
    if (verdict == SERVE_AND_REFRESH)
        (void)mp__flight_refresh(manager, entry, read->hash, false);
    if (verdict == SERVE && reason == MP__REASON_FRESH)
        mp__ahead_maybe(manager, entry, read->hash);
    if (verdict != ASK_FIRST) {
        give(manager, read, entry, verdict == SERVE_STALE, reason);
        return true;
    }
    read->entry = entry; /* put by, in case the origin cannot say */
    mp__flight_wait(manager, read, entry, read->level != MP__LEVEL_STRONG && !read->revision_min);
    return false;
}

/* ---- the path ---- */

inline bool mp__read_is_held(const mp__manager *manager, const mp__entry *entry)
{
    /* one whose time is about to come is not: mp__read_start() may verify it ahead */
    return is_held_fresh(manager, entry) &&
           atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed) >
               mp__manager_now_s(manager) +
                   atomic_load_explicit(&manager->ahead_window_s, memory_order_relaxed);
}

/* What the layers give, if they are to be asked, where the address itself gave nothing. That look
 * counted: @found as a hit, else as a miss. Of both looks together one hit remains, or nothing. */
static const mp__entry *not_own(mp__manager *manager, mp_str address, bool found, bool may_be_deep)
{
    const mp__entry *entry = may_be_deep ? mp__overlay_now(manager, address) : NULL;

    mp__cache_count(manager->cache, (entry != NULL) - found, found - 1);
    return entry;
}

const mp__entry *mp__read_now(mp__manager *manager, mp_str address, uint64_t hash,
                              enum mp__level level, uint64_t revision_min)
{
    const mp__entry *entry;

    if (!manager->is_open_to_all || level == MP__LEVEL_STRONG ||
        mp__back_may_have(&manager->back_filter, hash))
        return NULL;
    entry = mp__cache_find(manager->cache, address, hash);
    if (!entry || !mp__read_is_held(manager, entry) || entry->revision < revision_min) {
        if (entry)
            mp__hazard_release_last(mp__hazard_mine);
        return not_own(manager, address, entry != NULL,
                       !entry && !revision_min && mp__overlay_is_deep(address));
    }
    if (__builtin_expect(entry->kind == MP__RECORD_ABSENT, 0)) {
        mp__hazard_release_last(mp__hazard_mine);
        return not_own(manager, address, true, !revision_min);
    }
    return entry;
}

void mp__read_not_now(mp__manager *manager)
{
    mp__cache_count(manager->cache, -1, 0);
}

void mp__read_counts(mp__manager *manager, mp__read *read, bool is_hit)
{
    int hits = is_hit, misses = !is_hit;

    if (read->is_counted) {
        hits -= read->was_near;
        misses -= !read->was_near;
    }
    read->was_near = is_hit;
    if (!read->is_use || read->is_part || !(hits || misses) || mp_read_begin() != 0)
        return;
    read->is_counted = true;
    mp__cache_count(manager->cache, hits, misses);
    mp_read_end();
}

static const mp__entry *from_l1(mp__manager *manager, mp__read *read)
{
    const mp__entry *entry = NULL;

    if (mp_read_begin() != 0)
        return NULL;
    if (!read->is_use) {
        entry = mp__cache_peek(manager->cache, read->address, read->hash);
    } else if (read->is_part || read->is_counted) {
        entry = mp__cache_find_part(manager->cache, read->address, read->hash);
    } else {
        entry = mp__cache_find(manager->cache, read->address, read->hash);
        read->is_counted = true;
    }
    read->was_near = entry != NULL;
    if (entry) {
        (void)mp__entry_ref(entry);
        mp__hazard_release_last(mp__hazard_mine);
    }
    mp_read_end();
    return entry;
}

void mp__read_continue(mp__manager *manager, mp__read *read, const mp__entry *entry)
{
    if (answer_or_ask(manager, read, entry) && mp__overlay_settles(manager, read))
        mp__read_finish(manager, read);
}

/* Nothing is kept here: what another node fetched may do, but for a strong read. */
static bool ask_shared(mp__manager *manager, mp__read *read)
{
    return manager->shared && read->level != MP__LEVEL_STRONG && mp__shared_read(manager, read);
}

static bool miss(mp__manager *manager, mp__read *read)
{
    return ask_shared(manager, read) ? false : answer_or_ask(manager, read, NULL);
}

/* A read that waits for L3's reader thread. */
typedef struct disk_read {
    mp__cache_load load;
    mp__task task;
    mp__manager *manager;
    mp__read *read;
    int status;
    const mp__entry *entry;
} disk_read;

static void disk_read_continues(mp__task *task)
{
    disk_read *d = (disk_read *)((char *)task - offsetof(disk_read, task));
    mp__manager *manager = d->manager;
    mp__read *read = d->read;
    const mp__entry *entry = d->status == 0 ? d->entry : NULL;

    (void)mp__free(d);
    read->tier = MP__TIER_L3;
    if (entry || !ask_shared(manager, read))
        mp__read_continue(manager, read, entry);
}

static void disk_read_done(mp__cache_load *load, int status, const mp__entry *entry)
{
    disk_read *d = (disk_read *)load;

    d->status = status;
    d->entry = entry;
    d->task.run = disk_read_continues;
    mp__loop_post(d->read->loop, &d->task);
}

static bool read_disk(mp__manager *manager, mp__read *read)
{
    disk_read *d = mp__calloc(1, sizeof(*d));

    if (!d)
        return miss(manager, read); /* others may still know */
    d->manager = manager;
    d->read = read;
    d->load.address = read->address;
    d->load.hash = read->hash;
    d->load.done = disk_read_done;
    mp__cache_load_start(manager->cache, &d->load);
    return false;
}

static void run_again(mp__task *task)
{
    mp__read *read = (mp__read *)((char *)task - offsetof(mp__read, task));
    mp__manager *manager = read->manager;

    if (mp__read_layer(manager, read) && mp__overlay_settles(manager, read))
        mp__read_finish(manager, read);
}

void mp__read_again(mp__read *read)
{
    read->task.run = run_again;
    mp__loop_post(read->loop, &read->task);
}

/* A strong read of what is on its way, @entry, whose reference it takes: until it can ask the
 * origin, or at once where that is silent. False: it is there by now. */
static bool waits_for_back(mp__manager *manager, mp__read *read, const mp__entry *entry)
{
    if (!mp__circuit_is_open(&manager->circuit)) {
        (void)mp__entry_unref(entry);
        return mp__back_waits(manager->back, read);
    }
    atomic_fetch_add_explicit(&manager->circuit.refused, 1, memory_order_relaxed);
    read->entry = entry;
    mp__read_answer(manager, read, MP_ETIMEOUT, NULL, 0);
    mp__read_post(read);
    return true;
}

/* What is on its way to the origin is the newest here. It has no revision yet. True: the read is
 * seen to, and answered if *ret_answered. */
static bool from_back(mp__manager *manager, mp__read *read, bool *ret_answered)
{
    bool is_mark = mp__overlay_is_mark(read->address);
    const mp__record mark = {.address = read->address, .kind = MP__RECORD_VALUE};
    const mp__entry *entry = is_mark ? mp__cache_entry(manager->cache, &mark)
                                     : mp__back_find(manager->back, read->address, read->hash);

    *ret_answered = true;
    if (!entry)
        return false;
    if (read->level == MP__LEVEL_STRONG && !is_mark) {
        *ret_answered = false;
        return waits_for_back(manager, read, entry);
    }
    if (is_expired(manager, entry)) {
        (void)mp__entry_unref(entry);
        give_gone(manager, read, MP__REASON_PENDING);
    } else {
        give(manager, read, entry, false, MP__REASON_PENDING);
    }
    return true;
}

bool mp__read_layer(mp__manager *manager, mp__read *read)
{
    const mp__entry *entry = NULL;
    bool answered;
    int rc;

    read->manager = manager;
    read->entry = NULL;
    read->tier = MP__TIER_L1;
    if (mp__back_may_have(&manager->back_filter, read->hash) &&
        from_back(manager, read, &answered)) {
        if (answered)
            mp__read_counts(manager, read, true); /* it is in memory */
        return answered;
    }
    entry = from_l1(manager, read);
    if (entry)
        return answer_or_ask(manager, read, entry);
    read->tier = MP__TIER_L2;
    if (mp__cache_load_memory(manager->cache, read->address, read->hash, &entry) == 0)
        return answer_or_ask(manager, read, entry);
    if (manager->habits)
        mp__habits_missed(manager->habits, read->address);
    read->tier = MP__TIER_L3;
    rc = mp__cache_load_nowait(manager->cache, read->address, read->hash, &entry);
    if (rc == MP_EAGAIN)
        return read_disk(manager, read);
    return rc == 0 ? answer_or_ask(manager, read, entry) : miss(manager, read);
}

bool mp__read_start(mp__manager *manager, mp__read *read)
{
    int rc = mp__access_check(manager->access, read->identity, MP__RIGHT_READ, read->address, NULL);

    read->started_ns = mp__env_now_ns(manager->env);
    read->is_part = read->is_counted = false;
    if (rc)
        give_nothing(read, rc, MP__REASON_FRESH);
    mp__overlay_begins(manager, read);
    if (rc == 0 && !mp__overlay_starts(manager, read))
        return false;
    count_answer(manager, read);
    return true;
}

const char *mp__read_unknown(mp__manager *manager, const mp__read *read)
{
    if (read->level == MP__LEVEL_WEAK)
        return "nothing is kept of this value, and a weak read asks nobody; read it with level "
               "eventual";
    if (read->level != MP__LEVEL_STRONG)
        return "nobody can be asked for this value and nothing is kept; see marketprism status";
    if (mp__cache_where(manager->cache, read->address, read->hash))
        return "the origin cannot be asked, and a strong read takes no other answer; the last "
               "known value is kept: read it with level eventual or weak";
    return "the origin cannot be asked, and a strong read takes no other answer; a read of level "
           "eventual gives what is kept";
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Refresh ahead: a value in use is verified a little before its time comes, behind the answer, so
 * that no reader has to wait for it and not all readers ask at once.
 *
 * When is decided for each read alone, by a throw (XFetch: Vattani, Chierichetti, Lowenstein,
 * "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015): ask when
 *
 *     delta * beta * -ln(random in (0, 1])  >=  time that is left
 *
 * with delta how long the origin takes to answer. A value in use that nobody happens to read just
 * then is found by its timer (cache/l1_due.c). What nobody reads is never asked for.
 *
 * How many at once follows the origin's health, as congestion control does (additive increase,
 * multiplicative decrease; Chiu and Jain 1989): one more after a good answer, half after a failure
 * or an answer that took more than half of origin.timeout. An origin that is down is not asked. */
#include <math.h>

#include "manager/internal.h"

enum { AHEAD_MOST = 64, AHEAD_FIRST = 16, WINDOW_MOST_S = 60, FEW_THROWS = 10 };

void mp__ahead_init(mp__manager *manager)
{
    atomic_store(&manager->ahead_limit, AHEAD_FIRST);
}

/* How long before its time an entry is looked at: further away the throw would fail all but once
 * in e^10 times. Never more than a quarter of the time to live; where cache.ttl has a shorter one
 * a quarter of that, or a second, so that what has it is not verified again as soon as it was. */
void mp__ahead_window(mp__manager *manager)
{
    uint64_t delta_ns = atomic_load_explicit(&manager->fetch_ns_mean, memory_order_relaxed);
    uint32_t beta = atomic_load_explicit(&manager->ahead_beta_percent, memory_order_relaxed);
    uint32_t ttl_s = atomic_load_explicit(&manager->ttl_s, memory_order_relaxed);
    uint32_t least_s = atomic_load_explicit(&manager->ttl_least_s, memory_order_relaxed);
    uint64_t window_s = 1 + delta_ns * beta / 100 * FEW_THROWS / 1000000000u;

    if (window_s > WINDOW_MOST_S)
        window_s = WINDOW_MOST_S;
    if (window_s > least_s / 4)
        window_s = least_s < 8 ? 1 : least_s / 4;
    if (window_s > ttl_s / 4)
        window_s = ttl_s / 4;
    if (beta == 0)
        window_s = 0;
    atomic_store_explicit(&manager->ahead_window_s, (uint32_t)window_s, memory_order_relaxed);
}

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014) */
static uint64_t mix(uint64_t seed)
{
    uint64_t z = seed + 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A number in (0, 1]. */
static double throw_dice(uint64_t seed)
{
    return ((double)(mix(seed) >> 11) + 1) / 9007199254740992.0; /* 2^53 */
}

uint32_t mp__verify_by(mp__manager *manager, int kind, mp_str address, uint64_t hash)
{
    uint32_t ttl = mp__ttl_s(manager, kind, address);
    uint32_t percent = atomic_load_explicit(&manager->ttl_jitter_percent, memory_order_relaxed);
    uint32_t now = mp__manager_now_s(manager);
    uint64_t range = (uint64_t)ttl * percent / 100;

    /* by key and time: the hash has a secret in it, so other nodes throw otherwise */
    if (range)
        ttl += (uint32_t)(mix(hash ^ now) % (2 * range + 1)) - (uint32_t)range;
    return now + ttl;
}

static bool throw_says_now(const mp__manager *manager, const mp__entry *entry, uint64_t hash)
{
    uint64_t now = mp__env_now_ns(manager->env);
    uint64_t end = atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed);
    double delta = (double)atomic_load_explicit(&manager->fetch_ns_mean, memory_order_relaxed);
    double beta = atomic_load_explicit(&manager->ahead_beta_percent, memory_order_relaxed) / 100.0;
    double left;

    end = (end - 1) * 1000000000u; /* coarse seconds begin with 1 */
    left = end > now ? (double)(end - now) : 0;
    return delta * beta * -log(throw_dice(hash ^ now)) >= left;
}

static bool take_place(mp__manager *manager)
{
    uint32_t limit = atomic_load_explicit(&manager->ahead_limit, memory_order_relaxed);

    if (atomic_fetch_add_explicit(&manager->ahead_under_way, 1, memory_order_relaxed) < limit)
        return true;
    (void)atomic_fetch_sub_explicit(&manager->ahead_under_way, 1, memory_order_relaxed);
    return false;
}

/* Within a place that was taken; it is free again at once where there is nothing to do. */
static void refresh(mp__manager *manager, const mp__entry *entry, uint64_t hash)
{
    if (mp__flight_refresh(manager, entry, hash, true))
        mp__monitor_count(manager->monitor, MP__EVENT_REFRESHES_AHEAD, 1);
    else
        (void)atomic_fetch_sub_explicit(&manager->ahead_under_way, 1, memory_order_relaxed);
}

void mp__ahead_maybe(mp__manager *manager, const mp__entry *entry, uint64_t hash)
{
    uint32_t window_s = atomic_load_explicit(&manager->ahead_window_s, memory_order_relaxed);
    uint32_t end = atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed);

    if (window_s == 0 || end > mp__manager_now_s(manager) + window_s ||
        !mp__origin_answers(manager) || !throw_says_now(manager, entry, hash) ||
        !take_place(manager))
        return;
    refresh(manager, entry, hash);
}

/* In use, and its time is about to come or just has: verify it, if that is not done already. */
static void refresh_due(mp__manager *manager, const mp__entry *entry)
{
    uint64_t hash = mp__cache_hash(manager->hasher, mp__entry_address(entry));
    uint32_t live = atomic_load_explicit(&manager->generation, memory_order_relaxed);

    /* what no live watch held is its readers' to judge: it may have been wrong for long */
    if (live == 0 || atomic_load_explicit(&entry->generation, memory_order_relaxed) != live ||
        !take_place(manager))
        return;
    refresh(manager, entry, hash);
}

void mp__ahead_turn(mp__manager *manager, int64_t wall_ms)
{
    const mp__entry *due[MP__CACHE_DUE];
    mp__cache_turn turn = {.now_s = mp__manager_now_s(manager), .wall_ms = wall_ms};
    uint32_t window_s = atomic_load_explicit(&manager->ahead_window_s, memory_order_relaxed);
    size_t count;
    bool more;

    if (!atomic_load_explicit(&manager->turn_again, memory_order_relaxed) ||
        !atomic_load(&manager->open) || atomic_flag_test_and_set(&manager->turning))
        return;
    turn.may_ask = mp__origin_answers(manager);
    turn.refreshes = window_s != 0;
    turn.lead_s = window_s < 2 ? window_s : 1 + window_s / 4;
    count = mp__cache_turn_go(manager->cache, &turn, due, &more);
    atomic_store_explicit(&manager->turn_again, more, memory_order_relaxed);
    for (size_t i = 0; i < count; i++) {
        refresh_due(manager, due[i]);
        (void)mp__entry_unref(due[i]);
    }
    atomic_flag_clear(&manager->turning);
}

void mp__ahead_learn(mp__manager *manager, uint64_t took_ns, bool good, bool was_ahead)
{
    uint64_t mean = atomic_load_explicit(&manager->fetch_ns_mean, memory_order_relaxed);
    uint32_t limit = atomic_load_explicit(&manager->ahead_limit, memory_order_relaxed);
    uint64_t timeout_ms = (uint64_t)atomic_load(&manager->timeout_ms);

    /* lost updates of other threads do no harm: it is a running mean */
    if (good)
        atomic_store_explicit(&manager->fetch_ns_mean,
                              mean ? mean - mean / 8 + took_ns / 8 : took_ns, memory_order_relaxed);
    if (good && took_ns / 1000000u <= timeout_ms / 2)
        limit += limit < AHEAD_MOST;
    else
        limit = limit > 1 ? limit / 2 : 1;
    atomic_store_explicit(&manager->ahead_limit, limit, memory_order_relaxed);
    if (was_ahead)
        (void)atomic_fetch_sub_explicit(&manager->ahead_under_way, 1, memory_order_relaxed);
}

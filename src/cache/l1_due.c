/* SPDX-License-Identifier: Apache-2.0 */
/* What comes with time to the entries of an L1, each with a timer of one wheel (cache/wheel.h):
 *
 *   a value with an expiry of its own     leaves when that has come
 *   a value in use, its time to verify    is given to whoever asks the origin, behind the answers;
 *   is about to come                      one that nobody uses stays, unverified, until it is read
 *   what is known to be absent            is asked for anew while somebody asks for it, else it is
 *                                         forgotten once the origin can tell again
 *
 * A timer is set when an entry comes, and not touched when it is verified, since that takes no
 * lock: when it fires, the entry's own times say what is due, and it is set anew. */
#include "cache/l1_internal.h"

enum {
    STEPS = 512,    /* at a turn, under the lock */
    AGAIN_S = 2,    /* was given away: has that come to something? */
    LATER_S = 300,  /* nobody uses it, or nobody could be asked */
    OVERDUE_S = 60, /* who has waited for so long is left to its readers */
    LEAD_S = 2,
};

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the expiry of @entry comes, in ticks; the wall clock may be set meanwhile, so this is looked
 * at again when it fires. */
static uint64_t expiry_tick(const mp__entry *entry, uint64_t now_s, int64_t wall_ms)
{
    int64_t left_ms = entry->expires_ms - wall_ms;

    return left_ms > 0 ? now_s + (uint64_t)left_ms / 1000 + 1 : now_s + 1;
}

static uint64_t verify_tick(const mp__l1 *l1, const mp__entry *entry)
{
    uint32_t verify_by_s = atomic_load_explicit(&entry->verify_by_s, memory_order_relaxed);
    uint32_t lead_s = entry->kind == MP__RECORD_ABSENT ? 0 : l1->lead_s ? l1->lead_s : LEAD_S;

    if (verify_by_s == 0)
        return UINT64_MAX;
    return verify_by_s > lead_s ? verify_by_s - lead_s : 1;
}

void mp__l1_timer_set(mp__l1 *l1, mp__entry *entry)
{
    mp__wheel_timer *timer = mp__entry_timer_of(entry);
    uint64_t due;

    if (!timer)
        return;
    due = verify_tick(l1, entry);
    if (entry->expires)
        due = sooner(due, expiry_tick(entry, mp__env_now_ns(l1->front.env) / 1000000000u + 1,
                                      mp__env_wall_ms(l1->front.env)));
    mp__wheel_set(&l1->wheel, timer, due);
}

/* Whether anybody used @entry since this was last asked. What readers noted in it goes to the
 * policy, which would have seen it later. */
static bool was_used(mp__l1 *l1, mp__entry *entry)
{
    mp__entry_cold *cold = mp__entry_cold_of(entry);
    mp__policy *policy =
        entry->kind == MP__RECORD_ABSENT ? NULL : mp__l1_class_at(l1, &cold->node)->policy;
    unsigned uses = mp__policy_uses_take(&cold->node);
    bool lately = atomic_exchange_explicit(&cold->was_used_lately, false, memory_order_relaxed);

    if (uses)
        atomic_store_explicit(&cold->was_used, true, memory_order_relaxed);
    for (unsigned i = 0; policy && i < uses; i++)
        l1->ops->hit(policy, &cold->node);
    return uses != 0 || lately;
}

/* That a whole scope has no keys: few such entries save many reads, and looks at them are not noted
 * as uses. */
static bool is_of_no_key(const mp__entry *entry)
{
    return memchr(entry->address, '/', entry->address_size) == NULL;
}

enum fate { STAYS, GOES, IS_ASKED_FOR };

/* What is due with @entry, and when to look again. */
static enum fate fate_of(mp__l1 *l1, mp__entry *entry, const mp__cache_turn *turn,
                         uint64_t *ret_again)
{
    uint64_t now_s = turn->now_s, verify = verify_tick(l1, entry), expiry = UINT64_MAX;
    bool is_absent = entry->kind == MP__RECORD_ABSENT;

    if (entry->expires && entry->expires_ms <= turn->wall_ms)
        return GOES;
    if (entry->expires)
        expiry = expiry_tick(entry, now_s, turn->wall_ms);
    *ret_again = sooner(expiry, now_s + LATER_S);
    if (verify > now_s) {
        *ret_again = sooner(expiry, verify);
        return STAYS;
    }
    if (!turn->may_ask || (!is_absent && verify + OVERDUE_S < now_s))
        return STAYS;
    if (!was_used(l1, entry) || !turn->refreshes)
        return is_absent && !is_of_no_key(entry) ? GOES : STAYS;
    /* until it is verified, or somebody else has used it since */
    atomic_store_explicit(&mp__entry_cold_of(entry)->was_used_lately, true, memory_order_relaxed);
    *ret_again = sooner(expiry, now_s + AGAIN_S);
    return IS_ASKED_FOR;
}

static size_t turn_locked(mp__l1 *l1, const mp__cache_turn *turn, const mp__entry **ret_entries,
                          bool *ret_more)
{
    unsigned steps = STEPS;
    mp__wheel_timer *timer;
    size_t count = 0;

    l1->lead_s = turn->lead_s;
    if (l1->uses_looked_s != turn->now_s) { /* once a second, where no fill does */
        l1->uses_looked_s = turn->now_s;
        mp__l1_uses_catch_up(l1);
    }
    while (count < MP__CACHE_DUE &&
           (timer = mp__wheel_next(&l1->wheel, turn->now_s, &steps)) != NULL) {
        mp__entry *entry = ((mp__entry_timer *)timer)->entry;
        uint64_t again;
        enum fate fate;

        fate = fate_of(l1, entry, turn, &again);
        if (fate == GOES) {
            mp__l1_take_out(l1, entry);
            continue;
        }
        mp__wheel_set(&l1->wheel, timer, again);
        if (fate == IS_ASKED_FOR)
            ret_entries[count++] = mp__entry_ref(entry);
    }
    *ret_more = count == MP__CACHE_DUE || steps == 0;
    return count;
}

size_t mp__l1_turn(mp__l1 *l1, const mp__cache_turn *turn,
                   const mp__entry *ret_entries[MP__CACHE_DUE], bool *ret_more)
{
    size_t count;

    if (pthread_mutex_trylock(&l1->lock) != 0) {
        *ret_more = true;
        return 0;
    }
    count = turn_locked(l1, turn, ret_entries, ret_more);
    mp__l1_unlock(l1);
    return count;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* L1: the memory tier. Lock-free reads, one lock for whoever changes it.
 *
 * A table of 64-byte buckets: one word of seven 7-bit tags and an overflow count, and seven entry
 * pointers, so that a hit touches one line of the table and the entry. Entries never move;
 * replacing one is a single store. Readers announce the entry in a hazard slot (core/hazard.h). */
#ifndef MP_CACHE_L1_H
#define MP_CACHE_L1_H

#include "cache/cache.h"
#include "cache/policy/policy.h"
#include "core/hazard.h"

typedef struct mp__l1 mp__l1;
struct mp__l2;
struct mp__l3;

#define MP__L1_ENTRIES_MAX ((size_t)1 << 36)

typedef struct mp__l1_stats {
    uint64_t hits, misses, inserts, evictions, expired, unlearned, timers;
    uint64_t entries, entries_max, bytes, bytes_max, negative_bytes;
} mp__l1_stats;

/* @l1 hands down to @below what it evicts, and tells it of every change. Before its first use; the
 * L2 must outlive it. */
void mp__l1_set_below(mp__l1 *l1, struct mp__l2 *below);
/* What is put where there is nothing here goes in only if nobody behind @l1 knows of a newer one:
 * else -ESTALE. Asked under @l1's lock. Before its first use. */
void mp__l1_set_behind(mp__l1 *l1, struct mp__l3 *behind);
/* MP_EINVAL: no entries, too few bytes for the table and one span; MP_ENOMEM. */
MP_MUST_USE int mp__l1_new(mp_env *env, size_t entries_max, size_t bytes_max,
                           unsigned negative_percent, const mp__policy_ops *policy,
                           mp__l1 **ret_l1);
mp__l1 *mp__l1_free(mp__l1 *l1);
/* Divide it between the classes in use, before its first use; @priorities must outlive it. As
 * mp__l1_new(); after an error it can only be freed. */
MP_MUST_USE int mp__l1_divide(mp__l1 *l1, const mp__priorities *priorities);
/* See mp__cache_pin() and its neighbours. */
MP_MUST_USE int mp__l1_pin(mp__l1 *l1, mp_str pattern, mp__diag *diag);
MP_MUST_USE int mp__l1_unpin(mp__l1 *l1, mp_str pattern);
void mp__l1_pins_fill(mp__l1 *l1);
void mp__l1_pins_read(mp__l1 *l1, mp__cache_pins *ret_pins);
MP_MUST_USE int mp__l1_pins_each(mp__l1 *l1, int (*each)(void *context, mp_str pattern),
                                 void *context);
enum mp__pinned mp__l1_pinned(mp__l1 *l1, mp_str address, uint64_t hash);
/* See mp__cache_classes_read(). */
void mp__l1_classes_read(mp__l1 *l1, mp__cache_class ret_classes[MP__PRIORITIES]);

/* Bring the bucket of @hash near. Any thread, any time. */
void mp__l1_prefetch(const mp__l1 *l1, uint64_t hash);
/* Bring near the entries of these hashes, their values with them up to a length. The buckets should
 * be near, mp__l1_prefetch(). Inside a read section. */
void mp__l1_prefetch_many(const mp__l1 *l1, const uint64_t *hashes, size_t count);
/* Inside a read section: NULL or a borrowed entry; notes the use and counts hit or miss. NULL
 * without a look when the section holds its maximum (mp__hazard_used()). cache/l1_read.h has
 * the same inline. */
const mp__entry *mp__l1_find(mp__l1 *l1, mp_str address, uint64_t hash);
/* The same, noting and counting nothing. */
const mp__entry *mp__l1_peek(mp__l1 *l1, mp_str address, uint64_t hash);
/* Noting the use, counting nothing. */
const mp__entry *mp__l1_find_part(mp__l1 *l1, mp_str address, uint64_t hash);
/* Count that many more hits and misses, or less. Inside mp_read_begin(). */
void mp__l1_count(mp__l1 *l1, int hits, int misses);

/* Keep a copy of @record unless a newer revision is there; see mp__cache_put_record(). MP_EAGAIN:
 * a newer one is in the L2 below, and nothing was changed. */
MP_MUST_USE int mp__l1_put(mp__l1 *l1, uint64_t hash, const mp__record *record, bool force,
                           uint32_t generation, uint32_t verify_by_s, const mp__entry **ret_entry);
/* The same for what was read from the L2 below. MP_EAGAIN: it is no longer what L2 keeps. */
MP_MUST_USE int mp__l1_bring_up(mp__l1 *l1, uint64_t hash, const mp__record *record,
                                uint32_t generation, uint32_t verify_by_s,
                                const mp__entry **ret_entry);
void mp__l1_remove(mp__l1 *l1, mp_str address, uint64_t hash);
/* Remove what is older than @record, in the L2 below, too. */
void mp__l1_drop_older(mp__l1 *l1, uint64_t hash, const mp__record *record);
/* For what was read elsewhere while others may remove: note this before, and put it only if nothing
 * was removed since. -ESTALE: something was, and at most what is older than @record is gone. */
#define MP__L1_ANY_TIME UINT64_MAX /* or this: whatever was removed */
uint64_t mp__l1_removals(const mp__l1 *l1);
MP_MUST_USE int mp__l1_put_since(mp__l1 *l1, uint64_t removals, uint64_t hash,
                                 const mp__record *record, bool force, uint32_t generation,
                                 uint32_t verify_by_s, const mp__entry **ret_entry);
/* For a reader that found @entry, which it announces, past its expiry: take it out if nobody is
 * changing this L1 just now. Never waits. */
void mp__l1_drop_expired(mp__l1 *l1, mp__entry *entry);
void mp__l1_tick(mp__l1 *l1, int64_t wall_ms);
/* See mp__cache_turn_go(). */
size_t mp__l1_turn(mp__l1 *l1, const mp__cache_turn *turn,
                   const mp__entry *ret_entries[MP__CACHE_DUE], bool *ret_more);
/* Note with the entries what readers noted and no fill has reported yet; those reports still come.
 */
void mp__l1_uses_settle(mp__l1 *l1);
/* See mp__cache_expect(). */
int mp__l1_expect(mp__l1 *l1, mp_str address, uint64_t hash, unsigned uses);

MP_MUST_USE int mp__l1_set_entries(mp__l1 *l1, size_t entries_max);
MP_MUST_USE int mp__l1_set_bytes(mp__l1 *l1, size_t bytes_max);
MP_MUST_USE int mp__l1_set_policy(mp__l1 *l1, const mp__policy_ops *policy);
/* The share of the time that the policy's panel and the curve may take, 0: they see nothing, 1: all
 * requests. */
void mp__l1_set_panel_share(mp__l1 *l1, double share);
const char *mp__l1_policy_name(mp__l1 *l1);
struct mp__panel_view;
/* Of the class with the most entries. False: the policy is not adaptive. */
bool mp__l1_panel_look(mp__l1 *l1, struct mp__panel_view *ret_view);
/* See mp__cache_forecasts() and mp__cache_predict(). */
size_t mp__l1_forecasts(mp__l1 *l1, mp__cache_forecast *ret_forecasts);
MP_MUST_USE int mp__l1_predict(mp__l1 *l1, const char *policy, size_t entries,
                               mp__cache_forecast *ret_forecast);
void mp__l1_stats_read(mp__l1 *l1, mp__l1_stats *ret_stats);

#endif

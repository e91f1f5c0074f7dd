/* SPDX-License-Identifier: Apache-2.0 */
/* The config cache behind its public face: what the manager and the server use.
 *
 * Tiers: L1 (memory, lock-free reads, cache/l1.h), L2 (compressed memory, cache/l2.h) and L3 (disk,
 * cache/l3.h); L4 will slip in between behind the same calls. An entry is one revision of one
 * address, or the knowledge that there is none. Freshness (when it must be verified again) and
 * retention (when it is thrown away) are two things: the cache never throws away for age, only for
 * want of space, and for an expiry that is part of the value. */
#ifndef MP_CACHE_CACHE_H
#define MP_CACHE_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <marketprism/cache.h>

#include "cache/priority.h"
#include "core/blob.h"
#include "core/env.h"
#include "core/hasher.h"
#include "core/knob.h"
#include "core/record.h"

/* What a read found, or what a put made: immutable but for the atomics. Borrowed within a read
 * section, or held by a reference (mp__entry_ref). The value and all that a look-up compares begin
 * a cache line, so that a hit on a short address touches that one alone; what a server asks of a
 * hit is in the line before. */
typedef struct mp__entry {
    int64_t created_ms, modified_ms, fetched_ms;
    int64_t expires_ms; /* Unix ms; 0: never */
    uint64_t revision;
    _Atomic uint32_t generation;  /* of freshness: equal to the manager's while a watch holds it */
    _Atomic uint32_t verify_by_s; /* coarse monotonic seconds when it must be verified again */
    mp__blob blob; /* its public part, the value, begins the line; size 0 for ABSENT */
    uint16_t address_size;
    uint8_t kind; /* enum mp__record_kind, with MASK told from VALUE */
    uint8_t media_type_size;
    _Atomic uint8_t frequency; /* of use, 2 bits, saturating */
    bool expires;              /* expires_ms is not 0 */
    uint16_t plain_size;       /* address_size of a value that never expires, else 0 */
    char address[];            /* then media type, then value */
} __attribute__((aligned(64))) mp__entry;

mp_str mp__entry_address(const mp__entry *entry);
mp_str mp__entry_media_type(const mp__entry *entry);
/* All of it as a record whose slices live as long as the entry. */
void mp__entry_record(const mp__entry *entry, mp__record *ret_record);

static inline const mp__entry *mp__entry_ref(const mp__entry *entry)
{
    (void)mp_blob_ref(&entry->blob.pub);
    return entry;
}
/* Accepts NULL, returns NULL. */
const mp__entry *mp__entry_unref(const mp__entry *entry);

enum mp__tier {
    MP__TIER_NONE,
    MP__TIER_L1,
    MP__TIER_L2,
    MP__TIER_L3,
    MP__TIER_L4, /* shared between nodes; not this module's */
    MP__TIER_ORIGIN
};
const char *mp__tier_name(enum mp__tier tier); /* "none" "L1" "L2" "L3" "L4" "origin" */

typedef struct mp__cache_options {
    mp_env *env;
    size_t l1_entries, l1_bytes;       /* 0: default */
    const char *policy;                /* NULL: default */
    unsigned negative_percent;         /* most bytes of L1 for ABSENT entries; 0: 10 */
    struct mp__priorities *priorities; /* NULL: all are normal; taken over, also on failure */
    size_t l2_entries, l2_bytes;       /* 0 entries: no L2; 0 bytes: default */
    unsigned l2_level;                 /* of zstd; 0: default */
    size_t l2_dictionary_bytes;        /* 0: default */
    bool l2_no_dictionaries;
    const char *l3_dir;                  /* NULL: no L3 */
    uint64_t l3_bytes, l3_segment_bytes; /* 0: default 1000 MiB, 16 MiB */
    uint64_t l3_sync_ms;                 /* 0: default 1000 */
    uint64_t l3_pending_bytes;           /* most bytes queued for the disk; 0: default 64 MiB */
    mp_str l3_keys;         /* text as mp__l3_keys_parse() takes it, for the call; "": no sealing */
    uint64_t l3_scrub_rate; /* bytes of L3 a second that are read again to find damage; 0: none */
    /* May be NULL: the record of @address was found damaged on disk and L1 does not have it either;
     * put it again if the origin has it. On a thread of L3's, until mp__cache_scrub_stop(). */
    void (*on_damaged)(void *context, mp_str address, uint64_t hash);
    void *context;
} mp__cache_options;

/* As mp_cache_new(), in an env. An unusable L3 folder (EIO, read-only, ENOSPC) is no error: the
 * cache works without L3, says why in @diag and tries again by itself; MP_ELOCKED and MP_EVERSION
 * are errors. */
MP_MUST_USE int mp__cache_open(const mp__cache_options *options, mp_cache **ret_cache,
                               mp__diag *diag);

/* The fewest bytes with which an L1 of @entries, with @policy and @priorities (may be NULL), can be
 * opened. Where @bytes are plenty, and where they are fewer than the table of some millions of
 * entries takes, without what the policy takes. Any thread; makes such an L1 where it must know, as
 * slow as that. */
size_t mp__cache_l1_bytes_least(size_t entries, size_t bytes, const char *policy,
                                const struct mp__priorities *priorities);
/* The same of an L2. Pure. */
size_t mp__cache_l2_bytes_least(size_t entries);

/* The secret of this cache's table: hash an address once, pass the hash along. */
mp__hash_key mp__cache_hash_key(const mp_cache *cache);
/* What hashes with it; as long as the cache is there. */
const mp__hasher *mp__cache_hasher(const mp_cache *cache);
static inline uint64_t mp__cache_hash(const mp__hasher *hasher, mp_str address)
{
    return mp__hasher_hash(hasher, address);
}

/* Whether anybody has used @entry since it is there. What readers of L1 noted lately counts once
 * mp__cache_uses_settle() was called; any thread. */
bool mp__entry_was_used(const mp__entry *entry);
/* The same beyond the @uses, 0 to 3, that stood in the entry at some time. */
bool mp__entry_was_used_more(const mp__entry *entry, int uses);
void mp__cache_uses_settle(mp_cache *cache);
/* The policy of L1 sees @uses of what is in memory under @address, as it is expected to be read: it
 * is no hit, and nothing that mp__cache_was_read() would take for one. Returns the uses that stand
 * in the entry then, 0 to 3; -1: it is not in memory. Any thread; takes L1's lock if it is. */
int mp__cache_expect(mp_cache *cache, mp_str address, uint64_t hash, unsigned uses);
/* Whether what is in memory under @address was read since it came or, with @uses as
 * mp__cache_expect() told, since then; as far as mp__cache_uses_settle() saw. Any thread. */
bool mp__cache_was_read(mp_cache *cache, mp_str address, uint64_t hash, int uses);

/* The class of @address. Any thread. */
enum mp__priority mp__cache_priority(const mp_cache *cache, mp_str address);
/* What the classes hold of L1, and what they own of it, which nobody can take. */
typedef struct mp__cache_class {
    uint64_t entries, entries_owned, bytes, bytes_owned, evictions;
} mp__cache_class;
/* All zero: nothing is of that class. Any thread. */
void mp__cache_classes_read(mp_cache *cache, mp__cache_class ret_classes[MP__PRIORITIES]);

/* ---- pins: what stays in L1, at most half of it ---- */

/* Pin what @pattern means: "environment/namespace/key", or with a * at the end for all that begin
 * so; what is in L1 at once, the rest when it comes. MP_EINVAL: it is none; MP_ELIMIT: too many
 * pins, or what is in L1 already would be more than half of it; then nothing is changed. 0 also
 * when it is pinned already. Any thread; walks L1 under the writers' lock. */
MP_MUST_USE int mp__cache_pin(mp_cache *cache, mp_str pattern, mp__diag *diag);
MP_MUST_USE int mp__cache_pin_check(mp_str pattern, mp__diag *diag); /* whether it is one. Pure */
/* Take that very pin away: what no other pins may be evicted again. MP_EABSENT: there is none. */
MP_MUST_USE int mp__cache_unpin(mp_cache *cache, mp_str pattern);
/* What is in L1 and was left out takes the room that there is among the pinned by now. Any thread;
 * walks L1 under the writers' lock. */
void mp__cache_pins_fill(mp_cache *cache);
typedef struct mp__cache_pins {
    size_t pins;
    uint64_t entries, bytes, entries_max, bytes_max;
    uint64_t left_out; /* entries that should have been pinned and had no room, ever */
} mp__cache_pins;
void mp__cache_pins_read(mp_cache *cache, mp__cache_pins *ret_pins);
/* Each pin, under the writers' lock: @each must not come back to the cache. A nonzero return ends
 * it and is returned. */
MP_MUST_USE int mp__cache_pins_each(mp_cache *cache, int (*each)(void *context, mp_str pattern),
                                    void *context);
enum mp__pinned {
    MP__PINNED_NOT,
    MP__PINNED,
    MP__PINNED_WHEN_READ, /* a pin fits, but it is not in L1, or had no room among the pinned */
};
enum mp__pinned mp__cache_pinned(mp_cache *cache, mp_str address, uint64_t hash);

/* Bring the bucket of @hash near: as soon as the hash is known. Any thread, any time. */
void mp__cache_prefetch(const mp_cache *cache, uint64_t hash);
/* Bring near what finds of all these hashes will touch, entries and values too: before the first of
 * them. Inside mp_read_begin(); does nothing elsewhere. */
void mp__cache_prefetch_many(const mp_cache *cache, const uint64_t *hashes, size_t count);

/* L1 only. The entry (VALUE or ABSENT, perhaps no longer fresh, never past its expires_ms),
 * borrowed until mp_read_end(), or NULL. Inside mp_read_begin(). Never blocks. */
const mp__entry *mp__cache_find(mp_cache *cache, mp_str address, uint64_t hash);

/* The same, without counting a use or a hit (EXPLAIN, EXISTS by an operator). */
const mp__entry *mp__cache_peek(mp_cache *cache, mp_str address, uint64_t hash);

/* The same for who needs several entries for one read: counts as a use and not as a hit or a miss,
 * which the read counts once, by mp__cache_count(). */
const mp__entry *mp__cache_find_part(mp_cache *cache, mp_str address, uint64_t hash);
/* Count that many more hits and misses of L1, or less. Inside mp_read_begin(). */
void mp__cache_count(mp_cache *cache, int hits, int misses);

/* L2. 0: *ret_entry is a reference, also brought into L1. MP_EUNKNOWN: not there. MP_ECORRUPT: it
 * was there and failed its checksum (now left out, counted). MP_ENOMEM. Any thread; takes about as
 * long as to expand the value. */
MP_MUST_USE int mp__cache_load_memory(mp_cache *cache, mp_str address, uint64_t hash,
                                      const mp__entry **ret_entry);

/* The same without counting it as a use of L1 or bringing it there (EXPLAIN). */
MP_MUST_USE int mp__cache_peek_memory(mp_cache *cache, mp_str address, uint64_t hash,
                                      const mp__entry **ret_entry);
/* Wait until L2 has compressed what it was given. Blocks; not in the simulator. */
void mp__cache_settle(mp_cache *cache);

/* L3 without touching the disk (pages that the system holds in memory). 0: *ret_entry is a
 * reference, also brought into L1. MP_EUNKNOWN: not there. MP_EAGAIN: it needs the disk; use
 * mp__cache_load_start(). MP_ECORRUPT: it was there and failed its checksum (now left out,
 * counted). Any thread. */
MP_MUST_USE int mp__cache_load_nowait(mp_cache *cache, mp_str address, uint64_t hash,
                                      const mp__entry **ret_entry);

/* The same without bringing it into L1 (EXPLAIN). */
MP_MUST_USE int mp__cache_peek_nowait(mp_cache *cache, mp_str address, uint64_t hash,
                                      const mp__entry **ret_entry);

/* L3 on its reader thread; @done there, with a reference that @done takes over, or an error. */
typedef struct mp__cache_load {
    mp__task task; /* the cache's */
    mp_cache *cache;
    mp_str address; /* the caller's, valid until done */
    uint64_t hash;
    void (*done)(struct mp__cache_load *load, int status, const mp__entry *entry);
} mp__cache_load;
void mp__cache_load_start(mp_cache *cache, mp__cache_load *load);

enum mp__put_flags {
    MP__PUT_L1_ONLY = 1, /* do not append to L3 (it came from there, or it is a negative fill) */
    MP__PUT_FILL = 4,    /* it was only fetched: L3 may leave it out where it has hardly room */
    MP__PUT_FORCE = 2,   /* replace a newer revision too (the origin began a new epoch) */
    MP__PUT_NEWEST = 8,  /* it may come late: nothing where L3 knows of a newer one, or knew of
                          * one that no tier has any more: -ESTALE, and no entry. What is not kept is
                          * remembered by a revision that addresses share, so it may err */
    MP__PUT_AROUND = 16, /* to disk only: not into memory, and what is there of it goes */
};
/* Keep @record: in L1, and appended to L3 at once (which readers of L3 see from this moment on,
 * before it is on disk). An entry of a newer revision is never replaced by an older: then, and when
 * the same revision is there, 0 with that newer entry and its verified time moved on; nor does an
 * older one go into memory when only L3 has the newer: 0, and *ret_entry is one that nobody keeps.
 * ABSENT goes to L3 as a tombstone when L3 holds the address, or the record is worth keeping.
 * @generation and @verify_by_s as in mp__entry. *ret_entry (may be NULL) is a reference. MP_ENOMEM:
 * nothing is kept, and an older entry of the address is removed rather than left to lie; also where
 * NEWEST errs. Any thread. */
MP_MUST_USE int mp__cache_put_record(mp_cache *cache, const mp__record *record, unsigned flags,
                                     uint32_t generation, uint32_t verify_by_s,
                                     const mp__entry **ret_entry);

/* The same for a record that was asked for elsewhere: it goes into memory only if nothing was taken
 * out of there since @removals was noted, which was before it was known that no newer one was being
 * put around memory. *ret_entry (not NULL) is a reference in any case. */
uint64_t mp__cache_removals(const mp_cache *cache);
MP_MUST_USE int mp__cache_fill_record(mp_cache *cache, uint64_t removals, const mp__record *record,
                                      unsigned flags, uint32_t generation, uint32_t verify_by_s,
                                      const mp__entry **ret_entry);

/* An entry of @record that no tier keeps, with one reference; NULL without memory. Any thread. */
const mp__entry *mp__cache_entry(mp_cache *cache, const mp__record *record);

/* The origin said that @entry is still so: note the time. Any thread, entry held or borrowed. */
void mp__cache_verified(mp_cache *cache, const mp__entry *entry, int64_t verified_ms,
                        uint32_t generation, uint32_t verify_by_s);

/* Remove from L1 and L2 (L3 keeps its last known good). Any thread. */
void mp__cache_forget_l1(mp_cache *cache, mp_str address, uint64_t hash);

/* Coarse time for expiry on hits; each loop calls it once a turn. */
void mp__cache_tick(mp_cache *cache, int64_t wall_ms);

/* What comes with time (cache/l1_due.c): take out of L1 what has expired by itself, forget what was
 * known to be absent and nobody asks for, and find what is in use and must be verified soon. */
typedef struct mp__cache_turn {
    uint32_t now_s; /* coarse monotonic seconds, as verify_by_s */
    int64_t wall_ms;
    uint32_t lead_s; /* how long before its verify_by_s an entry is found; 0: 2 */
    bool may_ask;    /* the origin can be asked; else nothing is forgotten that it would be */
    bool refreshes;  /* what is found will be verified */
} mp__cache_turn;
enum { MP__CACHE_DUE = 32 };
/* At most some hundred entries are looked at, and nothing waits. Returns how many references are in
 * @ret_entries: those to verify. *ret_more: there is more to do, so come again soon. Any thread. */
size_t mp__cache_turn_go(mp_cache *cache, const mp__cache_turn *turn,
                         const mp__entry *ret_entries[MP__CACHE_DUE], bool *ret_more);

/* How L1 stands with it. Any thread. */
typedef struct mp__cache_timely {
    uint64_t timers;                    /* entries to which something comes with time */
    uint64_t expired, absent_forgotten; /* ever */
    uint64_t absent_bytes;
} mp__cache_timely;
void mp__cache_timely_read(mp_cache *cache, mp__cache_timely *ret_timely);

/* Where the address is now, for EXPLAIN: bit set of 1 << enum mp__tier. Any thread, no disk. */
unsigned mp__cache_where(mp_cache *cache, mp_str address, uint64_t hash);

/* Every record that L3 keeps (newest of each address; VALUE only), in no order; a nonzero return
 * ends it and is returned. Blocks on the disk: from a worker or at start. @prefix "" for all. */
MP_MUST_USE int mp__cache_each_kept(mp_cache *cache, mp_str prefix,
                                    int (*each)(void *context, const mp__record *record),
                                    void *context);
/* Highest revision that L3 holds, 0 when none; tombstones count. */
uint64_t mp__cache_kept_revision(mp_cache *cache);

/* Write what L3 has queued and sync it. Blocks. 0 or the disk's error. */
MP_MUST_USE int mp__cache_flush(mp_cache *cache);

/* A record as bytes for a place outside of this process, with checksums over all of it that begin
 * with @secret: pack_size() of them, 0 when it is too large for a record. Unpack takes any bytes:
 * MP_ECORRUPT; the slices of *ret_record stand in @data. Pure. */
size_t mp__cache_pack_size(const mp__record *record);
void mp__cache_pack(const mp__record *record, mp__hash_key secret, unsigned char *out);
MP_MUST_USE int mp__cache_unpack(const unsigned char *data, size_t size, mp__hash_key secret,
                                 mp__record *ret_record);

/* How L3 is kept sound. Any thread. */
typedef struct mp__cache_soundness {
    uint64_t scrubbed_bytes, passes; /* read again; how often all of it was */
    uint64_t damaged;                /* records that this found */
    uint64_t healed;                 /* values that came again after their record was lost */
    int64_t passed_ms;               /* Unix ms when the last whole pass ended; 0: none has */
    uint64_t to_rewrite;             /* as of L3 */
    bool is_sealed;                  /* with a key */
    uint64_t expired, not_admitted;  /* room taken back; fills for which there was hardly room */
} mp__cache_soundness;
void mp__cache_soundness_read(mp_cache *cache, mp__cache_soundness *ret_soundness);
/* No call of on_damaged comes after it returns: before what that uses is closed. */
void mp__cache_scrub_stop(mp_cache *cache);

/* 0, or why L3 does not take writes just now (-ENOSPC, -EIO, ...), with a text. Any thread. */
int mp__cache_l3_trouble(mp_cache *cache, mp__diag *diag);
/* How many damaged records of L3 were found since it was opened. Any thread, one load. */
uint64_t mp__cache_l3_damaged(const mp_cache *cache);

/* Turn at run time: knobs and a reload use these. */
MP_MUST_USE int mp__cache_set_l1_entries(mp_cache *cache, size_t entries);
MP_MUST_USE int mp__cache_set_l1_bytes(mp_cache *cache, size_t bytes);
/* The share of the time, 0 to 1, that the panel of the adaptive policy and the curve may take
 * (cache/duty.h). 0: both stand still; 1: they see every request. */
void mp__cache_set_panel_share(mp_cache *cache, double share);
MP_MUST_USE int mp__cache_set_l2_entries(mp_cache *cache, size_t entries); /* EINVAL: no L2 */
MP_MUST_USE int mp__cache_set_l2_bytes(mp_cache *cache, size_t bytes);
/* Fewer are given up soon after, by L3's own thread, as for want of room. MP_EINVAL: not even four
 * of its segments. Without an L3 nothing. */
MP_MUST_USE int mp__cache_set_l3_bytes(mp_cache *cache, uint64_t bytes);
MP_MUST_USE int mp__cache_set_policy(mp_cache *cache, const char *policy); /* keeps the contents */
/* What the adaptive policy's panel shows: how each policy would have hit lately, by name, and which
 * one the cache follows. Any thread. */
typedef struct mp__cache_panel {
    const char *policy; /* of the cache; the rest is zero unless it is "adaptive" */
    const char *leader;
    size_t count;
    struct {
        const char *name;
        double hit_ratio;
    } members[8];
    double sample;   /* share of the keys that the panel sees */
    double seen;     /* share of the requests that it saw lately: cache.panel_share */
    double requests; /* sampled, that the ratios stand on */
    uint64_t changes;
} mp__cache_panel;
void mp__cache_panel_read(mp_cache *cache, mp__cache_panel *ret_panel);
/* What L1 would hit lately, were it otherwise: of miniatures that see a sample of the same requests
 * (cache/curve.h). Lately: the last 16 to 32 times as many requests as it has entries. */
typedef struct mp__cache_forecast {
    const char *policy;
    size_t entries;
    double hit_ratio, low, high; /* nine times out of ten the truth lies between low and high */
    size_t sampled_entries;      /* of the miniature; below 100 do not show a number */
    uint64_t sampled_requests;
} mp__cache_forecast;
enum { MP__CACHE_FORECASTS = 10 };
/* First a quarter, half, once, twice and four times the entries under the policy of now, then other
 * policies with the entries of now. Returns how many; 0: no model is kept, since it would take more
 * than a hundredth of cache.l1_bytes. Any thread. */
size_t mp__cache_forecasts(mp_cache *cache, mp__cache_forecast ret_forecasts[MP__CACHE_FORECASTS]);
/* Another policy (NULL: that of now) or another size (0: that of now), not both. MP_EUNKNOWN: there
 * is no model of that, or it has seen nothing yet. MP_EINVAL: more than four times the entries, or
 * fewer than a quarter. Any thread. */
MP_MUST_USE int mp__cache_predict(mp_cache *cache, const char *policy, size_t entries,
                                  mp__cache_forecast *ret_forecast);
/* The i-th policy's name and what it does, or NULL behind the last. */
const char *mp__cache_policy_at(size_t i, const char **ret_text);
/* The metric that the knobs' predict() tells of. */
#define MP__CACHE_METRIC_L1_HIT_RATIO "cache_l1_hit_ratio"
extern const mp__knob_table mp__cache_knobs; /* module = mp_cache */

/* What follows the last whole record of a segment that was not sealed: a start cuts it off. */
typedef struct mp__cache_tail {
    char name[64]; /* "": there is none */
    uint64_t bytes, records_kept;
} mp__cache_tail;

/* What a look at a folder of L3 from outside found. */
typedef struct mp__cache_examined {
    size_t segments, set_aside; /* set aside: quarantined for damage, *.seg.bad */
    size_t segments_read, damaged_segments;
    uint64_t bytes_read, records, damaged_records;
    bool newer; /* a segment was written by a newer version */
    char first_damaged[64];
    mp__cache_tail torn;   /* of the newest, if it ends within a record, as a crash leaves it */
    mp__cache_tail spoilt; /* of the newest with one that no crash leaves so */
    char headless[64];     /* the newest that is shorter than its head */
} mp__cache_examined;
/* Read the newest segments in @l3_dir, about @bytes_most of them, and check every sum. Changes
 * nothing and needs no lock. Blocks. -ENOENT: there is none. */
MP_MUST_USE int mp__cache_examine(mp_env *env, const char *l3_dir, uint64_t bytes_most,
                                  mp__cache_examined *ret_examined);

#endif

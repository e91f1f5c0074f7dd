/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of L3 share: one on a disk in memory, with puts and gets of plain strings. */
#ifndef L3_TEST_H
#define L3_TEST_H

#include "mp_test.h"

#include "cache/l3.h"
#include "cache/l3_internal.h"
#include "core/core.h"
#include "mp_platter.h"

#define L3_DIR "/data/l3"

static uint64_t l3_scrub_rate;              /* of those opened from now on */
static const mp__l3_keys *l3_keys;          /* the same */
static bool l3_is_lazy;                     /* the same */
static const mp__priorities *l3_priorities; /* the same */
static bool l3_hashes_plainly;              /* the same */

static inline int l3_try_open(mp_env *env, const char *dir, uint64_t bytes_max,
                              uint64_t segment_bytes, mp__l3 **ret_l3, mp__diag *diag)
{
    mp__l3_options options = {.env = env,
                              .dir = dir,
                              .bytes_max = bytes_max,
                              .segment_bytes = segment_bytes,
                              .sync_ms = 1000,
                              .pending_bytes_max = 1u << 20,
                              .keys = l3_keys,
                              .priorities = l3_priorities,
                              .scrub_rate = l3_scrub_rate,
                              .is_lazy = l3_is_lazy,
                              .hashes_plainly = l3_hashes_plainly};

    return mp__l3_open(&options, ret_l3, diag);
}

static inline mp__l3 *l3_open(mp_platter *disk, uint64_t bytes_max, uint64_t segment_bytes)
{
    mp__l3 *l3 = NULL;
    mp__diag diag = {0};
    int rc = l3_try_open(mp_platter_env(disk), L3_DIR, bytes_max, segment_bytes, &l3, &diag);

    if (rc)
        fail_msg("open: %s %s", mp_error_name(rc), diag.text);
    return l3;
}

static inline uint64_t l3_hash(mp__l3 *l3, const char *address)
{
    return mp__hasher_hash(mp__l3_hasher(l3), mp_str_of(address));
}

/* @value NULL: ABSENT. */
static inline int l3_put_as(mp__l3 *l3, const char *address, const char *value, uint64_t revision,
                            bool force)
{
    mp__record record = {.address = mp_str_of(address),
                         .value = value ? mp_str_of(value) : mp_str_new("", 0),
                         .media_type = MP_STR("text/plain"),
                         .kind = value ? MP__RECORD_VALUE : MP__RECORD_ABSENT,
                         .revision = revision,
                         .created_revision = 3,
                         .version = 4,
                         .created_ms = 5,
                         .modified_ms = 6,
                         .fetched_ms = 7,
                         .verified_ms = 8};

    return mp__l3_put(l3, l3_hash(l3, address), &record, force, 0, 0);
}

static inline int l3_put(mp__l3 *l3, const char *address, const char *value, uint64_t revision)
{
    return l3_put_as(l3, address, value, revision, false);
}

/* The value; "-" for a tombstone; the error's name otherwise. Valid until the next call. */
static inline const char *l3_get_as(mp__l3 *l3, const char *address, uint64_t *ret_revision,
                                    bool nowait)
{
    static char text[4096];
    uint32_t generation, verify_by_s;
    mp__record record;
    void *memory = NULL;
    int rc = mp__l3_get(l3, mp_str_of(address), l3_hash(l3, address), nowait, &record, &memory,
                        &generation, &verify_by_s);

    if (rc)
        return mp_error_name(rc);
    *ret_revision = record.revision;
    if (record.kind == MP__RECORD_ABSENT)
        snprintf(text, sizeof(text), "-");
    else
        snprintf(text, sizeof(text), "%.*s", (int)record.value.size, record.value.data);
    mp__free(memory);
    return text;
}

static inline const char *l3_get(mp__l3 *l3, const char *address)
{
    uint64_t revision;

    return l3_get_as(l3, address, &revision, false);
}

static inline mp__l3_stats l3_stats(mp__l3 *l3)
{
    mp__l3_stats stats;

    mp__l3_stats_read(l3, &stats);
    return stats;
}

#define L3_SEGMENT_1 L3_DIR "/l3-0000000001.seg"

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One revision of one value with all that is known of it: what origins give, the cache keeps and L3
 * stores. Slices are borrowed; who keeps a record copies it. */
#ifndef MP_CORE_RECORD_H
#define MP_CORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include <marketprism/str.h>

enum mp__record_kind {
    MP__RECORD_VALUE = 1,
    MP__RECORD_ABSENT = 2, /* the origin said that there is none (or: it was deleted) */
    /* What the cache makes of a VALUE of MP__MEDIA_MASK; of entries alone, in no record. */
    MP__RECORD_MASK = 3,
};

typedef struct mp__record {
    mp_str address; /* canonical, core/address.h */
    mp_str value;
    mp_str media_type; /* "" when nobody said; at most MP__MEDIA_TYPE_MAX bytes */
    enum mp__record_kind kind;
    uint64_t revision;         /* of the origin (or the daemon's count): when this value was made;
                                * for ABSENT the revision as of which it is absent */
    uint64_t created_revision; /* when the key last came into being */
    uint64_t version;          /* 1 for the first value since then */
    int64_t created_ms, modified_ms; /* Unix ms */
    int64_t expires_ms;  /* Unix ms when it deletes itself; 0: never. Part of the value */
    int64_t fetched_ms;  /* Unix ms when this daemon got it */
    int64_t verified_ms; /* Unix ms when the origin last said that it is still so */
    /* Of ABSENT: readers go on from here to another layer, which without this knowledge they could
     * not, so that L3 keeps it although it holds nothing that it would hide. Not stored itself. */
    bool is_worth_keeping;
} mp__record;

#define MP__MEDIA_TYPE_MAX 127u /* bytes */

/* A value of this type says: here is none, and the layers behind this one are not looked at
 * (manager/overlay.c). Readers of a scope are told that there is none; lists and the history of the
 * layer itself show it. */
#define MP__MEDIA_MASK "application/vnd.marketprism.mask"

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Priorities: which class an entry belongs to, found from its address alone, so that every tier and
 * a restart come to the same answer. */
#ifndef MP_CACHE_PRIORITY_H
#define MP_CACHE_PRIORITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* The more important, the smaller. */
enum mp__priority {
    MP__PRIORITY_CRITICAL,
    MP__PRIORITY_HIGH,
    MP__PRIORITY_NORMAL, /* what no pattern names */
    MP__PRIORITY_LOW,
    MP__PRIORITIES
};

/* Immutable once it is parsed: any thread. */
typedef struct mp__priorities mp__priorities;

const char *mp__priority_name(enum mp__priority priority); /* "critical" "high" "normal" "low" */
/* MP_EINVAL: it is none of these names. */
MP_MUST_USE int mp__priority_parse(mp_str text, enum mp__priority *ret_priority);

/* The rows of cache.priorities, "NAMESPACE/KEY=CLASS" or "NAMESPACE/KE*=CLASS" for all keys that
 * begin so, in every environment, and those of cache.priority_shares, "CLASS=PERCENT". MP_EINVAL,
 * MP_ELIMIT with the row in @diag (may be NULL); MP_ENOMEM. */
MP_MUST_USE int mp__priorities_new(const mp_str *rows, size_t row_count, const mp_str *shares,
                                   size_t share_count, mp__priorities **ret_priorities,
                                   mp__diag *diag);
/* Accepts NULL, returns NULL. */
mp__priorities *mp__priorities_free(mp__priorities *priorities);

/* The class of @address ("environment/namespace/key"): that of the longest pattern that fits, the
 * exact one before the beginning. NULL: all are normal. Takes a comparison a pattern. */
enum mp__priority mp__priority_of(const mp__priorities *priorities, mp_str address);

/* Whether any pattern makes something of this class; normal always is. */
bool mp__priority_is_used(const mp__priorities *priorities, enum mp__priority priority);

/* Parts of 1,000 that the class owns of a budget, whatever the others want; those of the classes in
 * use are 1,000 together, and what one leaves idle the others use. */
unsigned mp__priority_share(const mp__priorities *priorities, enum mp__priority priority);

#endif

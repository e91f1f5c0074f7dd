/* SPDX-License-Identifier: Apache-2.0 */
/* The subscriptions of one connection: a list of each kind, in the order in which they came, and
 * all of them by their text. They belong to the connection's loop. */
#ifndef MP_SERVER_RESP_SUBSCRIPTIONS_H
#define MP_SERVER_RESP_SUBSCRIPTIONS_H

#include "server/resp/channels.h"
#include "server/watch.h"

typedef struct mp__subscription {
    struct mp__subscription *next, *previous; /* of its kind */
    struct mp__subscription *next_in_bucket;
    mp__watch_points points;
    mp__channel *channel; /* it is one of its subscribers */
    mp_str text;          /* of channel */
    enum mp__subscription_kind kind;
    uint32_t head; /* of a glob: its place among the heads */
} mp__subscription;

/* What all that a glob fits begins with, as far as it takes to see that a text does not. */
typedef struct mp__glob_head {
    uint64_t end;           /* its last bytes, 8 if there are */
    uint32_t size;          /* of it; UINT32_MAX: the glob was taken out */
    mp__subscription *glob; /* whose it is */
} mp__glob_head;

/* Zeroed: none. */
typedef struct mp__subscriptions {
    mp__subscription *first[MP__SUBSCRIPTION_KINDS], *last[MP__SUBSCRIPTION_KINDS];
    mp__subscription **buckets; /* NULL: there are few, or no memory */
    uint32_t bucket_count, count;
    mp__glob_head *heads; /* of all globs, in their order; NULL: there are none, or no memory */
    uint32_t head_count, head_capacity, heads_taken;
} mp__subscriptions;

/* The one to @text, or NULL. */
mp__subscription *mp__subscriptions_find(const mp__subscriptions *set, const mp__channels *channels,
                                         enum mp__subscription_kind kind, mp_str text);
/* The next glob after @s (NULL: the first) that may fit @text: those whose head is another are
 * passed over, at a step each. NULL: there is none, or no step left. */
const mp__subscription *mp__subscriptions_next_glob(const mp__subscriptions *set,
                                                    const mp__subscription *s, mp_str text,
                                                    size_t *steps);
/* What @glob says literally before its first wildcard. */
mp_str mp__glob_literal(mp_str glob);
/* Put @s, whose channel, text and kind are there, behind the others of its kind. */
void mp__subscriptions_add(mp__subscriptions *set, mp__subscription *s);
/* Take it out; it is the caller's then. */
void mp__subscriptions_take(mp__subscriptions *set, mp__subscription *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that may come twice: the answers to those that bear an Idempotency-Key, kept so that a
 * repeat is answered as the first was and does nothing.
 *
 *     begin: key is new ----> RUN ----> the handler ----> end: kept (any answer below 500)
 *            key is known                            \--> forget: a repeat runs again
 *              the same request, answered   REPLAY
 *              the same request, under way  BUSY
 *              another request              OTHER
 *
 * In memory, of bounded size: what is oldest goes first. Any thread; one lock, never held across
 * anything that waits. */
#ifndef MP_SERVER_HTTP_REPEAT_H
#define MP_SERVER_HTTP_REPEAT_H

#include <marketprism/blob.h>

#include "core/error.h"
#include "core/hash.h"

typedef struct mp__repeats mp__repeats;
typedef struct mp__repeat mp__repeat; /* one request with such a key */

enum { MP__REPEAT_KEY_MAX = 255 };

enum mp__repeat_kind {
    MP__REPEAT_RUN,
    MP__REPEAT_REPLAY,
    MP__REPEAT_BUSY,
    MP__REPEAT_OTHER,
    MP__REPEAT_NO_MEMORY,
};

MP_MUST_USE int mp__repeats_new(mp__hash_key hash_key, mp__repeats **ret_repeats);
mp__repeats *mp__repeats_free(mp__repeats *repeats); /* accepts NULL, returns NULL */
/* How much is kept, and how long. */
void mp__repeats_limit(mp__repeats *repeats, size_t bytes_max, uint64_t keep_ns);

/* @fingerprint stands for all of the request. RUN: *ret_repeat is the caller's until end or forget.
 * REPLAY: *ret_status and *ret_answer, a reference of the caller's. */
enum mp__repeat_kind mp__repeats_begin(mp__repeats *repeats, mp_str identity, mp_str key,
                                       uint64_t fingerprint, uint64_t now_ns,
                                       mp__repeat **ret_repeat, int *ret_status,
                                       mp_blob **ret_answer);
void mp__repeats_end(mp__repeats *repeats, mp__repeat *repeat, int status, mp_str answer,
                     uint64_t now_ns);
void mp__repeats_forget(mp__repeats *repeats, mp__repeat *repeat);

/* How many are kept or under way. */
size_t mp__repeats_count(mp__repeats *repeats);

#endif

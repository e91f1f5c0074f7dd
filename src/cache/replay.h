/* SPDX-License-Identifier: Apache-2.0 */
/* Replaying a trace of requests against an eviction policy, the same code as in the live cache:
 * object counts, cold start, every miss fills. Pure: reads and writes no file, tells no time. */
#ifndef MP_CACHE_REPLAY_H
#define MP_CACHE_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/policy/policy.h"
#include "core/error.h"

/* Requests, keys made dense: the i-th asks for key ids[i] of 0 to keys - 1. */
typedef struct mp__trace {
    uint32_t *ids;
    size_t requests, capacity;
    uint64_t *hashes; /* of the keys, by id */
    size_t keys, keys_capacity;
    uint32_t *table; /* of ids + 1, by hash */
    size_t table_size;
    size_t lines;  /* read of what is being added; 0 begins another file */
    uint64_t seed; /* of the hashes of text keys: another one, another sample of them */
} mp__trace;

/* Add the requests of @text, one a line: `key` or `key size`; the key is any bytes without white
 * space, 1 to 4,096 of them, the size is not looked at. Lines of nothing but white space are none.
 * What is cut off at the end is left: *ret_used. MP_ESYNTAX with the line; MP_ELIMIT; MP_ENOMEM. */
int mp__trace_add(mp__trace *trace, mp_str text, bool is_last, size_t *ret_used, mp__diag *diag);
/* Add a request for the key of @hash. MP_ELIMIT; MP_ENOMEM. */
int mp__trace_add_hash(mp__trace *trace, uint64_t hash);
void mp__trace_done(mp__trace *trace);

typedef struct mp__replay_key {
    mp__policy_node node;
    _Atomic uint8_t uses;
    bool is_cached;
} mp__replay_key;

typedef struct mp__replay {
    mp__policy *policy;
    const mp__trace *trace;
    size_t capacity, cached;
    mp__replay_key *keys; /* by id */
    uint64_t hits, requests;
    bool *had; /* or NULL: by request of a run, whether it was a hit; the caller's */
} mp__replay;

/* A policy by its name: as in mp__policies, or "w-tinylfu:n". MP_EINVAL: there is none.
 * MP_ENOMEM. */
MP_MUST_USE int mp__replay_policy_make(const char *name, size_t capacity, mp__policy **ret_policy);

/* Make one for @trace with room for @capacity entries; @policy as in mp__policies, a W-TinyLFU with
 * a window of n percent is "w-tinylfu:n". MP_EINVAL: no such policy, or capacity 0. MP_ENOMEM. */
MP_MUST_USE int mp__replay_new(const mp__trace *trace, const char *policy, size_t capacity,
                               mp__replay **ret_replay);
mp__replay *mp__replay_free(mp__replay *replay); /* accepts NULL, returns NULL */
/* Run the requests from @from to before @to. */
void mp__replay_run(mp__replay *replay, size_t from, size_t to);

#endif

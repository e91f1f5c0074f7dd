/* SPDX-License-Identifier: Apache-2.0 */
/* What the benches ask for: keys, a value for each, and a long sequence of requests. From a seed,
 * so that a run can be repeated. */
#ifndef MP_BENCH_WORKLOAD_H
#define MP_BENCH_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

#include <marketprism/str.h>

enum { MP__WORKLOAD_KEY_BYTES = 30, MP__WORKLOAD_KEY_STRIDE = 32, MP__WORKLOAD_VALUE_BYTES = 200 };

typedef struct mp__workload {
    size_t keys;
    size_t requests;    /* a power of two */
    char *key_bytes;    /* MP__WORKLOAD_KEY_STRIDE apart */
    uint32_t *sequence; /* index of a key, by Zipf's law with exponent 1 */
} mp__workload;

/* 0 or MP_ENOMEM. */
int mp__workload_init(mp__workload *workload, size_t keys, size_t requests, uint64_t seed);
void mp__workload_done(mp__workload *workload);

static inline mp_str mp__workload_key(const mp__workload *workload, size_t index)
{
    return mp_str_new(workload->key_bytes + index * MP__WORKLOAD_KEY_STRIDE,
                      MP__WORKLOAD_KEY_BYTES);
}

/* The value of key @index, written into @bytes: printable, and its ninth byte is '0', which the
 * benches use to make one request depend on the answer before. */
mp_str mp__workload_value(size_t index, char bytes[MP__WORKLOAD_VALUE_BYTES]);

/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
uint64_t mp__workload_random(uint64_t *state);

#endif

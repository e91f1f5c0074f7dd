/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workload.h"

#include <stdio.h>

#include <marketprism/error.h>

#include "core/alloc.h"

uint64_t mp__workload_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void make_keys(mp__workload *w)
{
    char text[64];

    for (size_t i = 0; i < w->keys; i++) {
        /* Like the names in a real tree: much in common, the difference late. */
        (void)snprintf(text, sizeof(text), "production/exchange/k%09zu-------", i);
        memcpy(w->key_bytes + i * MP__WORKLOAD_KEY_STRIDE, text, MP__WORKLOAD_KEY_BYTES);
    }
}

/* The key of each rank is chosen at random, so that rank and place in memory have nothing to do
 * with each other. */
static void shuffle(uint32_t *order, size_t count, uint64_t *random)
{
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    for (size_t left = count; left > 1; left--) {
        size_t j = mp__workload_random(random) % left;
        uint32_t swap = order[left - 1];

        order[left - 1] = order[j];
        order[j] = swap;
    }
}

static size_t rank_of(const double *sums, size_t count, double at)
{
    size_t low = 0, high = count - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (sums[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int make_sequence(mp__workload *w, uint64_t *random)
{
    MP__CLEANUP_FREE double *sums = mp__realloc_array(NULL, w->keys, sizeof(*sums));
    MP__CLEANUP_FREE uint32_t *order = mp__realloc_array(NULL, w->keys, sizeof(*order));
    double sum = 0;

    if (!sums || !order)
        return MP_ENOMEM;
    shuffle(order, w->keys, random);
    for (size_t i = 0; i < w->keys; i++)
        sums[i] = sum += 1.0 / (double)(i + 1);
    for (size_t i = 0; i < w->requests; i++) {
        double at = (double)(mp__workload_random(random) >> 11) * 0x1p-53 * sum;

        w->sequence[i] = order[rank_of(sums, w->keys, at)];
    }
    return 0;
}

int mp__workload_init(mp__workload *workload, size_t keys, size_t requests, uint64_t seed)
{
    *workload = (mp__workload){.keys = keys, .requests = requests};
    workload->key_bytes = mp__aligned_alloc(64, keys * MP__WORKLOAD_KEY_STRIDE);
    workload->sequence = mp__realloc_array(NULL, requests, sizeof(*workload->sequence));
    if (!workload->key_bytes || !workload->sequence || make_sequence(workload, &seed) != 0) {
        mp__workload_done(workload);
        return MP_ENOMEM;
    }
    make_keys(workload);
    return 0;
}

void mp__workload_done(mp__workload *workload)
{
    workload->key_bytes = mp__free(workload->key_bytes);
    workload->sequence = mp__free(workload->sequence);
}

mp_str mp__workload_value(size_t index, char bytes[MP__WORKLOAD_VALUE_BYTES])
{
    uint64_t random = index + 1;

    for (size_t i = 0; i < MP__WORKLOAD_VALUE_BYTES; i++)
        bytes[i] = (char)('a' + mp__workload_random(&random) % 26);
    bytes[8] = '0';
    return mp_str_new(bytes, MP__WORKLOAD_VALUE_BYTES);
}

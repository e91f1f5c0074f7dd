/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads that handle orders and read a limit for each, from a cache in their own process:
 *
 *     cc orders.c -o orders $(pkg-config --cflags --libs marketprism) -pthread
 *     ./orders
 *
 * Where the value comes from is the program's own affair. Here a function stands for it; it might
 * ask a daemon (any client of Redis or HTTP), read a file, or be called when a watch says so. */
#include <marketprism/marketprism.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ORDERS = 1000000 };

static const char limit_key[] = "production/orders/limits.per_account";

/* The slow way: called when memory and disk know nothing, and when the value is too old. */
static int load_limit(mp_cache *cache)
{
    /* For a minute. What is past its time is not given any more, and is loaded again. */
    return mp_cache_put(cache, MP_STR(limit_key), MP_STR("250"), 60 * 1000);
}

/* In the hot loop: no lock, no allocation, nothing is copied. -1: unknown. */
static long limit(mp_cache *cache)
{
    const mp_blob *value;
    long number = -1;

    if (mp_read_begin() != 0)
        return -1;
    if (mp_cache_get(cache, MP_STR(limit_key), &value) == 0) {
        /* borrowed until mp_read_end(); bytes, so not ended by a 0 */
        number = 0;
        for (size_t i = 0; i < value->size; i++)
            number = number * 10 + (((const char *)value->data)[i] - '0');
    }
    mp_read_end();
    return number;
}

static void *handle_orders(void *context)
{
    mp_cache *cache = context;
    long allowed = 0;

    for (int i = 0; i < ORDERS; i++) {
        long most = limit(cache);

        if (most < 0) { /* once a minute, or after the cache had to let it go */
            int rc = load_limit(cache);

            if (rc != 0)
                (void)fprintf(stderr, "the limit: %s; %s\n", mp_strerror(rc), mp_error_remedy(rc));
            most = rc == 0 ? limit(cache) : 0; /* without a limit nothing is allowed */
        }
        allowed += i % 1000 < most;
    }
    return (void *)allowed;
}

int main(void)
{
    /* .data_dir names a folder that makes it survive a restart; NULL is memory alone */
    const mp_cache_config config = {.l1_entries = 10000, .l1_bytes = (size_t)16 << 20};
    mp_cache *cache;
    mp_cache_stats stats;
    pthread_t threads[2];
    int rc = mp_cache_new(&config, &cache);

    if (rc != 0) {
        (void)fprintf(stderr, "no cache: %s; %s\n", mp_strerror(rc), mp_error_remedy(rc));
        return EXIT_FAILURE;
    }
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, handle_orders, cache) != 0)
            return EXIT_FAILURE;
    for (int i = 0; i < 2; i++) {
        void *allowed;

        (void)pthread_join(threads[i], &allowed);
        (void)printf("thread %d: %ld of %d orders within the limit\n", i + 1, (long)allowed,
                     ORDERS);
    }
    mp_cache_stats_read(cache, &stats);
    (void)printf("%llu of %llu reads were answered from memory\n",
                 (unsigned long long)stats.l1_hits,
                 (unsigned long long)(stats.l1_hits + stats.l1_misses));
    cache = mp_cache_free(cache);
    return EXIT_SUCCESS;
}

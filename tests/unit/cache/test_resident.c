/* SPDX-License-Identifier: Apache-2.0 */
/* What the limit in bytes says is what the process weighs: resident memory follows cache.l1_bytes
 * under values of many sizes that come, grow, shrink and go. */
#include "mp_test.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include <marketprism/marketprism.h>

enum {
    LIMIT = 64 << 20,
    KEYS = 400000,
    ENTRIES = 50000,
    VALUE_MAX = 64 << 10,
    PHASES = 4,
    LARGE = 60000, /* operations with large values in each phase: they fill the limit three times */
};

static uint64_t seed = 88172645463325252u;

/* xorshift64 (Marsaglia, "Xorshift RNGs", 2003). */
static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static size_t resident(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    char line[128] = "", *end;

    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    (void)fclose(f);
    (void)strtoul(line, &end, 10); /* the first is the address space */
    return strtoul(end, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Most are small, as configuration is; @bias turns to larger or smaller ones for a while. */
static size_t size_of_value(unsigned bias)
{
    unsigned bits = 4 + (unsigned)(next() % (6 + bias));

    return (size_t)(next() % (2u << bits)) + 1;
}

static void operate(mp_cache *cache, const char *bytes, unsigned bias)
{
    uint64_t key = next() % KEYS, what = next() % 10;
    mp_str name = mp_str_new((const char *)&key, sizeof(key));
    size_t size = 0;

    if (what == 0) {
        assert_int_equal(mp_cache_delete(cache, name), 0);
    } else if (what < 4) {
        char copy[16];
        int rc = mp_cache_copy(cache, name, copy, sizeof(copy), &size);

        assert_true(rc == 0 || rc == MP_ELIMIT || rc == MP_EUNKNOWN || rc == MP_EABSENT);
    } else {
        size = size_of_value(bias);
        assert_int_equal(
            mp_cache_put(cache, name, mp_str_new(bytes, size < VALUE_MAX ? size : VALUE_MAX), 0),
            0);
    }
}

/* Of what size the values of this operation are: each phase begins with large ones, which push out
 * the many small; then small ones come back, and those in between. */
static unsigned bias_of(size_t operation, size_t operations)
{
    size_t phase = operations / PHASES, at = operation % phase;

    if (at < LARGE)
        return 6;
    return at < phase / 2 ? 1 : 3;
}

/* @bytes are what values are made of, VALUE_MAX of them. @is_filled: they fill the limit, whatever
 * their sizes. */
static void run(const mp_cache_config *config, size_t operations, const char *bytes, bool is_filled)
{
    size_t before = resident();
    double limit = (double)(config->l1_bytes + config->l2_bytes);
    double highest = 0, off = 0, least = 1;
    mp_cache_stats stats;
    mp_cache *cache;

    assert_int_equal(mp_cache_new(config, &cache), 0);
    for (size_t i = 0; i < operations; i++) {
        operate(cache, bytes, bias_of(i, operations));
        if (i % 10000 == 0 && i > LARGE) { /* it has been full once */
            double is = (double)(resident() - before);

            mp_cache_stats_read(cache, &stats);
            highest = fmax(highest, is / limit);
            least = fmin(least, is / limit);
            off = fmax(off, fabs(is - (double)(stats.l1_bytes + stats.l2_bytes)) / limit);
        }
    }
    print_message("# resident: %.3f to %.3f of the limit, at most %.3f of it beside what is said\n",
                  least, highest, off);
    if (!getenv("MP_SANITIZER")) { /* whose own memory is counted, too */
        assert_true(highest <= 1.10);
        assert_true(!is_filled || least >= 0.90);
        assert_true(off <= 0.10);
    }
    cache = mp_cache_free(cache);
}

static void resident_memory_follows_the_limit(void **state)
{
    mp_cache_config config = {.l1_entries = ENTRIES, .l1_bytes = LIMIT};
    char *bytes = malloc(VALUE_MAX);

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'v', VALUE_MAX);
    run(&config, getenv("MP_THOROUGH") ? 10000000 : 1000000, bytes, false);
    free(bytes);
}

/* With values that compress badly, so that L2 is full of bytes and not of entries. */
static void resident_memory_follows_the_limits_of_l1_and_l2_together(void **state)
{
    mp_cache_config config = {.l1_entries = (size_t)3 * ENTRIES,
                              .l1_bytes = LIMIT * 3 / 4,
                              .policy = "lru", /* whose memory is all used from the beginning */
                              .l2_entries = (size_t)4 * ENTRIES,
                              .l2_bytes = LIMIT / 4};
    char *bytes = malloc(VALUE_MAX);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < VALUE_MAX; i++)
        bytes[i] = (char)next();
    run(&config, getenv("MP_SOAK") ? 10000000 : 1000000, bytes, true);
    free(bytes);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(resident_memory_follows_the_limit),
    MP_TEST(resident_memory_follows_the_limits_of_l1_and_l2_together),
};
MP_TEST_MAIN(tests)

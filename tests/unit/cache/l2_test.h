/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of L2 share: one below a small L1, and values of two schemas. */
#ifndef L2_TEST_H
#define L2_TEST_H

#include "mp_test.h"

#include "cache/l1.h"
#include "cache/l2.h"
#include "cache/l2_internal.h"
#include "core/core.h"

enum { L1_ENTRIES = 64, L1_BYTES = 2 << 20, L2_ENTRIES = 4000, L2_BYTES = 8 << 20, TEXT = 4096 };

/* An L1 above an L2, as the cache joins them. */
typedef struct tiers {
    mp__l1 *l1;
    mp__l2 *l2;
    mp__hash_key key;
} tiers;

static const mp__priorities *priorities; /* of those made from now on */

static inline tiers tiers_new(size_t l2_entries, size_t l2_bytes)
{
    mp__l2_options options = {.env = mp__env_real(),
                              .entries_max = l2_entries,
                              .bytes_max = l2_bytes,
                              .level = 1,
                              .dictionary_bytes = 16384,
                              .priorities = priorities};
    tiers t = {.key = {1, 2}};

    assert_int_equal(mp__l2_new(&options, &t.l2), 0);
    assert_int_equal(
        mp__l1_new(mp__env_real(), L1_ENTRIES, L1_BYTES, 10, mp__policy_find("fifo"), &t.l1), 0);
    mp__l1_set_below(t.l1, t.l2);
    return t;
}

static inline void tiers_free(tiers *t)
{
    t->l1 = mp__l1_free(t->l1);
    t->l2 = mp__l2_free(t->l2);
}

static inline mp__l2_stats stats_of(const tiers *t)
{
    mp__l2_stats s;

    mp__l2_stats_read(t->l2, &s);
    return s;
}

/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
static inline uint64_t random_of(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static inline mp_str address_of(size_t i, char *text)
{
    int size = snprintf(text, 64, "production/feeds/exchange.%zu.stream", i);

    return mp_str_new(text, (size_t)size);
}

/* A value of one of two schemas, different for each @i and @version. */
static inline mp_str value_of(size_t i, unsigned version, unsigned schema, char *text)
{
    uint64_t seed = i * 1000 + version, r = random_of(&seed), q = random_of(&seed);
    int size;

    if (schema == 0)
        size = snprintf(text, TEXT,
                        "{\"endpoint\": \"wss://stream-%zu.example.com:9443/ws\", \"enabled\": %s, "
                        "\"timeout_ms\": %u, \"symbols\": [\"BTC-USDT\", \"ETH-USDT\"], "
                        "\"retry\": {\"max\": %u, \"backoff_ms\": %u, \"jitter\": 0.%u}, "
                        "\"version\": %u, \"owner\": \"team-%u@example.com\"}",
                        i, r & 1 ? "true" : "false", (unsigned)(r >> 8) % 9000,
                        (unsigned)(r >> 30) % 9, (unsigned)(q >> 3) % 5000,
                        (unsigned)(q >> 40) % 100, version, (unsigned)(q >> 50) % 7);
    else
        size = snprintf(text, TEXT,
                        "<limits exchange='%zu'><order rate='%u' burst='%u' unit='second'/>"
                        "<position maximum='%u' currency='USD' hedged='%s'/><margin ratio='0.%u' "
                        "call='e-mail, pager' grace='PT%uM'/><revision>%u</revision></limits>",
                        i, (unsigned)r % 5000, (unsigned)(r >> 20) % 900, (unsigned)q % 1000000,
                        q & 1 << 30 ? "no" : "yes", (unsigned)(q >> 40) % 100,
                        (unsigned)(r >> 50) % 60, version);
    return mp_str_new(text, (size_t)size);
}

static inline uint64_t hash_of(const tiers *t, mp_str address)
{
    return mp__hash_str(t->key, address);
}

static inline int put_bytes(const tiers *t, mp_str address, mp_str value, uint64_t revision,
                            bool force)
{
    mp__record record = {.address = address,
                         .value = value,
                         .media_type = MP_STR("application/json"),
                         .kind = MP__RECORD_VALUE,
                         .revision = revision,
                         .created_revision = revision - 1,
                         .version = 2,
                         .created_ms = 1700000000000,
                         .modified_ms = 1700000001000,
                         .fetched_ms = 1700000002000,
                         .verified_ms = 1700000003000};

    return mp__l1_put(t->l1, hash_of(t, address), &record, force, 7, 8, NULL);
}

static inline int put(const tiers *t, size_t i, unsigned version, unsigned schema)
{
    char name[64], text[TEXT];

    return put_bytes(t, address_of(i, name), value_of(i, version, schema, text), version, false);
}

/* Read @i from L2 alone; on 0 it must be @version of @schema. */
static inline int get(const tiers *t, size_t i, unsigned version, unsigned schema)
{
    char name[64], text[TEXT];
    mp_str address = address_of(i, name);
    uint32_t generation, verify_by_s;
    mp__l2_scratch scratch;
    mp__record record;
    int rc;

    mp__l2_scratch_init(&scratch);
    rc = mp__l2_get(t->l2, address, hash_of(t, address), &scratch, &record, &generation,
                    &verify_by_s);
    if (rc == 0) {
        assert_true(mp_str_equal(record.address, address));
        assert_true(mp_str_equal(record.value, value_of(i, version, schema, text)));
        assert_true(mp_str_equal(record.media_type, MP_STR("application/json")));
        assert_int_equal(record.revision, version);
        assert_int_equal(record.created_revision, version - 1);
        assert_int_equal(record.version, 2);
        assert_int_equal(record.created_ms, 1700000000000);
        assert_int_equal(record.modified_ms, 1700000001000);
        assert_int_equal(record.fetched_ms, 1700000002000);
        assert_int_equal(record.verified_ms, 1700000003000);
        assert_int_equal(record.expires_ms, 0);
        assert_int_equal(generation, 7);
        assert_int_equal(verify_by_s, 8);
    }
    mp__l2_scratch_done(&scratch);
    return rc;
}

/* Put @first to @end; all but what L1 keeps comes down. In steps, so that nothing is dropped. */
static inline void fill(const tiers *t, size_t first, size_t end, unsigned version, unsigned schema)
{
    for (size_t i = first; i < end; i++) {
        assert_int_equal(put(t, i, version, schema), 0);
        if (i % 256 == 0)
            mp__l2_settle(t->l2);
    }
    mp__l2_settle(t->l2);
}

#endif

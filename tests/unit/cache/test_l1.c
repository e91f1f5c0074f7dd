/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "cache/l1.h"
#include "core/core.h"

static const mp__hash_key key = {1, 2};
static mp_env *env;

static mp__l1 *l1_new(size_t entries, const char *policy)
{
    mp__l1 *l1 = NULL;

    env = mp__env_real();
    assert_int_equal(mp__l1_new(env, entries, 8u << 20, 10, mp__policy_find(policy), &l1), 0);
    return l1;
}

static uint64_t hash_of(const char *address)
{
    return mp__hash_str(key, mp_str_of(address));
}

static int put(mp__l1 *l1, const char *address, const char *value, uint64_t revision)
{
    mp__record record = {.address = mp_str_of(address),
                         .value = mp_str_of(value),
                         .kind = value ? MP__RECORD_VALUE : MP__RECORD_ABSENT,
                         .revision = revision};

    return mp__l1_put(l1, hash_of(address), &record, false, 1, 1, NULL);
}

/* The value, "-" when it is absent, NULL when not cached. */
static const char *get(mp__l1 *l1, const char *address)
{
    static char text[256];
    const mp__entry *entry;

    assert_int_equal(mp_read_begin(), 0);
    entry = mp__l1_find(l1, mp_str_of(address), hash_of(address));
    if (entry && entry->kind == MP__RECORD_ABSENT)
        snprintf(text, sizeof(text), "-");
    else if (entry)
        snprintf(text, sizeof(text), "%.*s", (int)entry->blob.pub.size, entry->blob.pub.data);
    mp_read_end();
    return entry ? text : NULL;
}

static void what_was_put_is_found_and_what_was_removed_is_not(void **state)
{
    mp__l1 *l1 = l1_new(100, "s3-fifo");

    (void)state;
    assert_int_equal(put(l1, "e/n/a", "1", 1), 0);
    assert_int_equal(put(l1, "e/n/b", NULL, 2), 0);
    assert_string_equal(get(l1, "e/n/a"), "1");
    assert_string_equal(get(l1, "e/n/b"), "-");
    assert_null(get(l1, "e/n/c"));
    mp__l1_remove(l1, mp_str_of("e/n/a"), hash_of("e/n/a"));
    assert_null(get(l1, "e/n/a"));
    l1 = mp__l1_free(l1);
}

static void an_older_revision_never_replaces_a_newer_one(void **state)
{
    mp__l1 *l1 = l1_new(100, "lru");

    (void)state;
    assert_int_equal(put(l1, "e/n/a", "new", 7), 0);
    assert_int_equal(put(l1, "e/n/a", "old", 6), 0);
    assert_string_equal(get(l1, "e/n/a"), "new");
    assert_int_equal(put(l1, "e/n/a", NULL, 8), 0);
    assert_string_equal(get(l1, "e/n/a"), "-");
    l1 = mp__l1_free(l1);
}

static void the_limits_hold_whatever_is_put(void **state)
{
    static const char *const policies[] = {"lru", "s3-fifo"};
    char address[64], value[3000];
    mp__l1_stats stats;

    (void)state;
    memset(value, 'v', sizeof(value));
    for (int p = 0; p < 2; p++) {
        mp__l1 *l1 = l1_new(5000, policies[p]);

        for (int i = 0; i < 20000; i++) {
            value[i % 2999 + 1] = '\0';
            snprintf(address, sizeof(address), "e/n/key-%d", i);
            assert_int_equal(put(l1, address, value, (uint64_t)i), 0);
            value[i % 2999 + 1] = 'v';
            assert_non_null(get(l1, address));
            mp__l1_stats_read(l1, &stats);
            assert_true(stats.entries <= 5000);
            assert_true(stats.bytes <= stats.bytes_max);
        }
        assert_true(stats.evictions > 0);
        assert_true(stats.entries > 1000);
        l1 = mp__l1_free(l1);
    }
}

static void absent_entries_do_not_push_out_values(void **state)
{
    mp__l1 *l1 = l1_new(1000, "s3-fifo");
    char address[64];
    int found = 0;

    (void)state;
    for (int i = 0; i < 500; i++) {
        snprintf(address, sizeof(address), "e/n/good-%d", i);
        assert_int_equal(put(l1, address, "v", 1), 0);
    }
    for (int i = 0; i < 100000; i++) {
        snprintf(address, sizeof(address), "e/n/random-%d", i);
        assert_int_equal(put(l1, address, NULL, 1), 0);
    }
    for (int i = 0; i < 500; i++) {
        snprintf(address, sizeof(address), "e/n/good-%d", i);
        found += get(l1, address) != NULL;
    }
    assert_int_equal(found, 500);
    l1 = mp__l1_free(l1);
}

static void an_entry_past_its_expiry_is_not_found(void **state)
{
    mp__l1 *l1 = l1_new(100, "s3-fifo");
    mp__record record = {.address = mp_str_of("e/n/a"),
                         .value = mp_str_of("v"),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1,
                         .expires_ms = 1000};

    (void)state;
    mp__l1_tick(l1, 999);
    assert_int_equal(mp__l1_put(l1, hash_of("e/n/a"), &record, false, 1, 1, NULL), 0);
    assert_non_null(get(l1, "e/n/a"));
    mp__l1_tick(l1, 1000);
    assert_null(get(l1, "e/n/a"));
    l1 = mp__l1_free(l1);
}

static void a_held_value_outlives_its_cache(void **state)
{
    mp__l1 *l1 = l1_new(100, "s3-fifo");
    mp_blob *blob;

    (void)state;
    assert_int_equal(put(l1, "e/n/a", "kept", 1), 0);
    assert_int_equal(mp_read_begin(), 0);
    blob = mp_blob_ref(&mp__l1_find(l1, mp_str_of("e/n/a"), hash_of("e/n/a"))->blob.pub);
    mp_read_end();
    assert_int_equal(put(l1, "e/n/a", "other", 2), 0);
    l1 = mp__l1_free(l1);
    mp_assert_str(mp_blob_str(blob), "kept");
    blob = mp_blob_unref(blob);
}

static void a_section_lends_at_most_its_maximum(void **state)
{
    mp__l1 *l1 = l1_new(100, "s3-fifo");

    (void)state;
    assert_int_equal(put(l1, "e/n/a", "1", 1), 0);
    assert_int_equal(mp_read_begin(), 0);
    for (unsigned i = 0; i < MP_READ_HELD_MAX; i++)
        assert_non_null(mp__l1_find(l1, mp_str_of("e/n/a"), hash_of("e/n/a")));
    assert_null(mp__l1_find(l1, mp_str_of("e/n/a"), hash_of("e/n/a")));
    mp_read_end();
    l1 = mp__l1_free(l1);
}

static void size_and_policy_change_while_contents_stay(void **state)
{
    mp__l1 *l1 = l1_new(1000, "s3-fifo");
    char address[64];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(l1, address, "v", 1), 0);
    }
    assert_int_equal(mp__l1_set_policy(l1, mp__policy_find("lru")), 0);
    assert_int_equal(mp__l1_set_entries(l1, 4000), 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_non_null(get(l1, address));
    }
    assert_int_equal(mp__l1_set_entries(l1, 10), 0);
    mp__l1_stats stats;
    mp__l1_stats_read(l1, &stats);
    assert_int_equal(stats.entries, 10);
    l1 = mp__l1_free(l1);
}

/* ---- many threads ---- */

enum { KEYS = 200, READS = 100000 };

static mp__l1 *shared;
static atomic_bool stop_writing;

static void *reader_main(void *context)
{
    char address[32], want[32];
    long wrong = 0;

    for (int i = 0; i < READS; i++) {
        const mp__entry *entry;

        snprintf(address, sizeof(address), "e/n/%d", i % KEYS);
        snprintf(want, sizeof(want), "e/n/%d:", i % KEYS);
        wrong += mp_read_begin() != 0;
        entry = mp__l1_find(shared, mp_str_of(address), hash_of(address));
        if (entry)
            wrong += memcmp(entry->blob.pub.data, want, strlen(want)) != 0;
        mp_read_end();
    }
    *(long *)context = wrong;
    return NULL;
}

static void *writer_main(void *context)
{
    char address[32], value[64];
    uint64_t revision = 1;

    (void)context;
    while (!atomic_load(&stop_writing)) {
        int k = (int)(revision * 7919 % KEYS);

        snprintf(address, sizeof(address), "e/n/%d", k);
        snprintf(value, sizeof(value), "e/n/%d:%llu", k, (unsigned long long)revision);
        assert_int_equal(put(shared, address, value, revision++), 0);
        if (revision % 1000 == 0)
            assert_int_equal(mp__l1_set_entries(shared, 100 + revision % 300), 0);
        if (revision % 5 == 0)
            mp__l1_remove(shared, mp_str_of(address), hash_of(address));
    }
    return NULL;
}

static void readers_never_see_another_keys_value(void **state)
{
    pthread_t readers[3], writer;
    long wrong[3];

    (void)state;
    shared = l1_new(300, "s3-fifo");
    pthread_create(&writer, NULL, writer_main, NULL);
    for (int i = 0; i < 3; i++)
        pthread_create(&readers[i], NULL, reader_main, &wrong[i]);
    for (int i = 0; i < 3; i++) {
        pthread_join(readers[i], NULL);
        assert_int_equal(wrong[i], 0);
    }
    atomic_store(&stop_writing, true);
    pthread_join(writer, NULL);
    shared = mp__l1_free(shared);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_was_put_is_found_and_what_was_removed_is_not),
    MP_TEST(an_older_revision_never_replaces_a_newer_one),
    MP_TEST(the_limits_hold_whatever_is_put),
    MP_TEST(absent_entries_do_not_push_out_values),
    MP_TEST(an_entry_past_its_expiry_is_not_found),
    MP_TEST(a_held_value_outlives_its_cache),
    MP_TEST(a_section_lends_at_most_its_maximum),
    MP_TEST(size_and_policy_change_while_contents_stay),
    MP_TEST(readers_never_see_another_keys_value),
};

MP_TEST_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <errno.h>
#include <limits.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* 1: found, 0: not; for threads other than the test's own. */
static int get_on_any_thread(mp__l1 *l1, const char *address)
{
    int found = 0;

    if (mp_read_begin() != 0)
        return -1;
    found = mp__l1_find(l1, mp_str_of(address), hash_of(address)) != NULL;
    mp_read_end();
    return found;
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

static void what_came_too_late_is_not_put_and_leaves_nothing_older(void **state)
{
    mp__l1 *l1 = l1_new(100, "s3-fifo");
    mp__record late = {.address = MP_STR("e/n/a"),
                       .value = MP_STR("late"),
                       .kind = MP__RECORD_VALUE,
                       .revision = 5};
    uint64_t removals = mp__l1_removals(l1);

    (void)state;
    assert_int_equal(put(l1, "e/n/a", "older", 3), 0);
    assert_int_equal(put(l1, "e/n/b", "other", 4), 0);
    mp__l1_remove(l1, MP_STR("e/n/b"), hash_of("e/n/b"));
    assert_int_equal(mp__l1_put_since(l1, removals, hash_of("e/n/a"), &late, false, 1, 1, NULL),
                     -ESTALE);
    assert_null(get(l1, "e/n/a"));
    assert_int_equal(put(l1, "e/n/a", "newer", 6), 0);
    assert_int_equal(mp__l1_put_since(l1, removals, hash_of("e/n/a"), &late, false, 1, 1, NULL),
                     -ESTALE);
    assert_string_equal(get(l1, "e/n/a"), "newer");
    removals = mp__l1_removals(l1);
    late.revision = 7;
    assert_int_equal(mp__l1_put_since(l1, removals, hash_of("e/n/a"), &late, false, 1, 1, NULL), 0);
    assert_string_equal(get(l1, "e/n/a"), "late");
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

static void flood_with_absent_keys(const char *policy)
{
    mp__l1 *l1 = l1_new(1000, policy);
    char address[64];
    int found = 0;

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

static void absent_entries_do_not_push_out_values(void **state)
{
    (void)state;
    flood_with_absent_keys("s3-fifo");
    flood_with_absent_keys("adaptive");
    flood_with_absent_keys("w-tinylfu");
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

/* ---- what is kept, and where ---- */

static void an_updated_entry_keeps_its_place_and_its_use(void **state)
{
    static const char *const policies[] = {"lru", "s3-fifo"};
    char address[64];

    (void)state;
    for (int p = 0; p < 2; p++) {
        mp__l1 *l1 = l1_new(100, policies[p]);

        assert_int_equal(put(l1, "e/n/hot", "1", 1), 0);
        for (int i = 0; i < 3; i++)
            assert_string_equal(get(l1, "e/n/hot"), "1");
        assert_int_equal(put(l1, "e/n/hot", "2", 2), 0);
        for (int i = 0; i < 150; i++) { /* seen once each */
            snprintf(address, sizeof(address), "e/n/%d", i);
            assert_int_equal(put(l1, address, "v", 1), 0);
        }
        assert_string_equal(get(l1, "e/n/hot"), "2");
        l1 = mp__l1_free(l1);
    }
}

static void what_is_too_large_evicts_nothing_and_leaves_no_older_value(void **state)
{
    mp__l1 *l1 = l1_new(100, "s3-fifo");
    char *large = mp__malloc(16u << 20), address[64];
    mp__record record = {.address = mp_str_of("e/n/large"),
                         .value = mp_str_new(large, 16u << 20),
                         .kind = MP__RECORD_VALUE,
                         .revision = 2};
    const mp__entry *entry = NULL;

    (void)state;
    memset(large, 'x', 16u << 20);
    for (int i = 0; i < 50; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(l1, address, "v", 1), 0);
    }
    assert_int_equal(put(l1, "e/n/large", "small", 1), 0);
    assert_int_equal(mp__l1_put(l1, hash_of("e/n/large"), &record, false, 0, 0, &entry), MP_ENOMEM);
    assert_null(entry);
    assert_null(get(l1, "e/n/large"));
    for (int i = 0; i < 50; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_non_null(get(l1, address));
    }
    l1 = mp__l1_free(l1);
    (void)mp__free(large);
}

static void a_large_value_makes_room_for_itself(void **state)
{
    mp__l1 *l1 = l1_new(10000, "s3-fifo");
    char *large = mp__malloc(4u << 20), address[64];
    mp__record record = {.address = mp_str_of("e/n/large"),
                         .value = mp_str_new(large, 4u << 20),
                         .kind = MP__RECORD_VALUE,
                         .revision = 2};
    mp__l1_stats stats;

    (void)state;
    memset(large, 'x', 4u << 20);
    for (int i = 0; i < 10000; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(l1, address, "small", 1), 0);
    }
    assert_int_equal(mp__l1_put(l1, hash_of("e/n/large"), &record, false, 0, 0, NULL), 0);
    mp__l1_stats_read(l1, &stats);
    assert_true(stats.bytes <= stats.bytes_max);
    l1 = mp__l1_free(l1);
    (void)mp__free(large);
}

/* Entries that are freed one by one all over the memory free no page for another size. */
static void one_value_of_another_size_evicts_only_a_few(void **state)
{
    mp__l1 *l1 = l1_new(100000, "lru"); /* which has no memory of its own to pay for */
    char address[64], value[3000];
    uint64_t random = 1;
    mp__l1_stats before, after;

    (void)state;
    memset(value, 'v', sizeof(value));
    value[150] = '\0';
    for (int i = 0; i < 60000; i++) { /* twice as many as fit, in no order */
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        snprintf(address, sizeof(address), "e/n/%d", (int)(random >> 33) % 40000);
        assert_int_equal(put(l1, address, value, 1), 0);
        (void)get(l1, address);
    }
    mp__l1_stats_read(l1, &before);
    value[150] = 'v';
    value[2999] = '\0';
    assert_int_equal(put(l1, "e/n/large", value, 1), 0);
    mp__l1_stats_read(l1, &after);
    assert_true(before.entries > 10000);
    assert_true(before.entries - after.entries < 1000);
    /* and a lower limit takes its share, not everything */
    assert_int_equal(mp__l1_set_bytes(l1, after.bytes_max / 4 * 3), 0);
    mp__l1_stats_read(l1, &after);
    assert_true(after.bytes <= after.bytes_max);
    assert_true(after.entries > before.entries / 2);
    l1 = mp__l1_free(l1);
}

static unsigned hot_ones(mp__l1 *l1, int rounds)
{
    char address[32];
    unsigned found = 0;

    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < 500; i++) {
            snprintf(address, sizeof(address), "e/n/hot%d", i);
            found += get(l1, address) != NULL;
        }
    return found;
}

static void flood(mp__l1 *l1, const char *name, int count, bool absent)
{
    char address[32];

    for (int i = 0; i < count; i++) {
        snprintf(address, sizeof(address), "e/n/%s%d", name, i);
        assert_int_equal(put(l1, address, absent ? NULL : "v", 1), 0);
    }
}

/* They take a tenth of the places: a policy that kept shares of all of them would have none left
 * that something new may take, and lose what is used for what is not. */
static void after_absent_keys_a_scan_still_pushes_out_nothing_that_is_used(void **state)
{
    static const char *const policies[] = {"lirs", "adaptive", "s3-fifo", "w-tinylfu", "arc"};

    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        mp__l1 *l1 = l1_new(1000, policies[i]);

        flood(l1, "hot", 500, false);
        (void)hot_ones(l1, 20);
        flood(l1, "absent", 1000, true);
        flood(l1, "old", 2000, false);
        (void)hot_ones(l1, 20);
        flood(l1, "scan", 5000, false);
        if (hot_ones(l1, 1) < 490)
            fail_msg("%s kept %u of 500", policies[i], hot_ones(l1, 1));
        l1 = mp__l1_free(l1);
    }
}

static void absent_entries_stay_within_their_bytes(void **state)
{
    mp__l1 *l1 = l1_new(100000, "s3-fifo");
    char address[MP_CACHE_KEY_MAX + 1];
    mp__l1_stats stats;

    (void)state;
    memset(address, 'a', sizeof(address));
    for (int i = 0; i < 3000; i++) {
        snprintf(address, 12, "e/n/%07d", i);
        address[11] = 'a';
        address[2000] = '\0';
        assert_int_equal(put(l1, address, NULL, 1), 0);
        mp__l1_stats_read(l1, &stats);
        assert_true(stats.negative_bytes <= stats.bytes_max / 10);
    }
    assert_true(stats.negative_bytes > stats.bytes_max / 20);
    /* what was a value and is deleted counts there, too */
    for (int i = 0; i < 3000; i++) {
        snprintf(address, 12, "e/m/%07d", i);
        address[11] = 'a';
        assert_int_equal(put(l1, address, "v", 1), 0);
        assert_int_equal(put(l1, address, NULL, 2), 0);
        mp__l1_stats_read(l1, &stats);
        assert_true(stats.negative_bytes <= stats.bytes_max / 10);
    }
    l1 = mp__l1_free(l1);
}

static void a_tiny_cache_keeps_values_through_a_flood_of_absent_keys(void **state)
{
    mp__l1 *l1 = l1_new(4, "s3-fifo");
    char address[64];

    (void)state;
    assert_int_equal(put(l1, "e/n/a", "1", 1), 0);
    assert_int_equal(put(l1, "e/n/b", "2", 1), 0);
    for (int i = 0; i < 100; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(l1, address, NULL, 1), 0);
    }
    assert_non_null(get(l1, "e/n/a"));
    assert_non_null(get(l1, "e/n/b"));
    l1 = mp__l1_free(l1);
}

static void an_expired_entry_is_taken_out_by_whoever_finds_it(void **state)
{
    mp__l1 *l1 = l1_new(100, "s3-fifo");
    mp__record record = {.address = mp_str_of("e/n/a"),
                         .value = mp_str_of("v"),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1,
                         .expires_ms = 1000};
    mp__l1_stats stats;

    (void)state;
    assert_int_equal(mp__l1_put(l1, hash_of("e/n/a"), &record, false, 1, 1, NULL), 0);
    assert_null(get(l1, "e/n/a")); /* nobody ticks: the clock is asked, and it is past 1970 */
    mp__l1_stats_read(l1, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.expired, 1);
    assert_int_equal(stats.misses, 1);
    l1 = mp__l1_free(l1);
}

static void hits_and_misses_are_counted_exactly(void **state)
{
    mp__l1 *a = l1_new(100, "s3-fifo"), *b = l1_new(100, "s3-fifo");
    mp__l1_stats stats;

    (void)state;
    assert_int_equal(put(a, "e/n/k", "1", 1), 0);
    assert_int_equal(put(b, "e/n/k", "1", 1), 0);
    assert_int_equal(mp_read_begin(), 0);
    for (int i = 0; i < 10; i++) {
        (void)get(a, "e/n/k"); /* a section within */
        (void)get(a, "e/n/none");
        (void)get(b, "e/n/k"); /* another cache within the section */
        (void)mp__l1_peek(a, mp_str_of("e/n/k"), hash_of("e/n/k"));
        (void)mp__l1_peek(a, mp_str_of("e/n/none"), hash_of("e/n/none"));
    }
    mp_read_end();
    mp__l1_stats_read(a, &stats);
    assert_int_equal(stats.hits, 10);
    assert_int_equal(stats.misses, 10);
    mp__l1_stats_read(b, &stats);
    assert_int_equal(stats.hits, 10);
    assert_int_equal(stats.misses, 0);
    a = mp__l1_free(a);
    b = mp__l1_free(b);
}

static void a_section_that_stays_open_counts_billions(void **state)
{
    mp__l1 *l1 = l1_new(100, "s3-fifo");
    mp__l1_stats stats;

    (void)state;
    assert_int_equal(mp_read_begin(), 0);
    for (int i = 0; i < 4; i++)
        mp__l1_count(l1, INT_MAX, INT_MAX);
    mp__l1_count(l1, -1, -2);
    mp_read_end();
    mp__l1_stats_read(l1, &stats);
    assert_true(stats.hits == 4 * (uint64_t)INT_MAX - 1);
    assert_true(stats.misses == 4 * (uint64_t)INT_MAX - 2);
    l1 = mp__l1_free(l1);
}

static void limits_that_cannot_work_are_refused(void **state)
{
    mp__l1 *l1 = NULL;
    const mp__policy_ops *lru = mp__policy_find("lru");

    (void)state;
    env = mp__env_real();
    assert_int_equal(mp__l1_new(env, 0, 8u << 20, 10, lru, &l1), MP_EINVAL);
    assert_int_equal(mp__l1_new(env, SIZE_MAX, 8u << 20, 10, lru, &l1), MP_EINVAL);
    assert_int_equal(mp__l1_new(env, 1000000, 8u << 20, 10, lru, &l1), MP_EINVAL);
    assert_int_equal(mp__l1_new(env, 10, 1000, 10, lru, &l1), MP_EINVAL);
    assert_null(l1);
    l1 = l1_new(100, "lru");
    assert_int_equal(put(l1, "e/n/a", "1", 1), 0);
    assert_int_equal(mp__l1_set_entries(l1, 0), MP_EINVAL);
    assert_int_equal(mp__l1_set_entries(l1, 10000000), MP_EINVAL);
    assert_int_equal(mp__l1_set_bytes(l1, 1000), MP_EINVAL);
    assert_non_null(get(l1, "e/n/a"));
    l1 = mp__l1_free(l1);
}

static void fewer_bytes_evict_at_once(void **state)
{
    mp__l1 *l1 = l1_new(20000, "s3-fifo");
    char address[64];
    mp__l1_stats stats;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(l1, address, address, 1), 0);
    }
    assert_int_equal(mp__l1_set_bytes(l1, 2u << 20), 0);
    mp__l1_stats_read(l1, &stats);
    assert_true(stats.bytes <= 2u << 20);
    assert_true(stats.entries > 1000);
    assert_int_equal(mp__l1_set_bytes(l1, 16u << 20), 0);
    assert_int_equal(put(l1, "e/n/more", "v", 1), 0);
    l1 = mp__l1_free(l1);
}

/* ---- without memory ---- */

static long fail_at;

static bool fail_nth(size_t size)
{
    (void)size;
    return --fail_at == 0;
}

/* Everything that allocates, once; returns the first error. */
static int everything(mp__l1 **ret_l1)
{
    int rc = mp__l1_new(mp__env_real(), 100, 8u << 20, 10, mp__policy_find("s3-fifo"), ret_l1);
    char address[32];

    for (int i = 0; i < 150 && rc == 0; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        rc = put(*ret_l1, address, i % 3 ? address : NULL, 1);
    }
    if (rc == 0)
        rc = mp__l1_set_entries(*ret_l1, 300);
    if (rc == 0)
        rc = mp__l1_set_policy(*ret_l1, mp__policy_find("lru"));
    if (rc == 0)
        rc = mp__l1_set_policy(*ret_l1, mp__policy_find("s3-fifo"));
    return rc;
}

static void every_failing_allocation_is_reported_and_leaves_a_whole_cache(void **state)
{
    int rc = MP_ENOMEM, failures = 0;

    (void)state;
    assert_int_equal(mp_read_begin(), 0); /* the thread's record is there */
    mp_read_end();
    for (long n = 1; rc != 0; n++) {
        mp__l1 *l1 = NULL;

        fail_at = n;
        mp__alloc_fail_hook = fail_nth;
        rc = everything(&l1);
        mp__alloc_fail_hook = NULL;
        if (fail_at > 0)
            break; /* it never came to that many */
        failures += rc == MP_ENOMEM;
        if (l1) {
            assert_int_equal(put(l1, "e/n/after", "v", 9), 0);
            assert_string_equal(get(l1, "e/n/after"), "v");
        }
        l1 = mp__l1_free(l1);
        rc = MP_ENOMEM;
        assert_true(n < 300); /* or it never ends */
    }
    assert_true(failures >= 8);
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
    shared = l1_new(300, "adaptive");
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

/* ---- readers while things change ---- */

static void *find_always(void *context)
{
    char address[32];
    long lost = 0;

    for (int i = 0; !atomic_load_explicit(&stop_writing, memory_order_relaxed); i++) {
        snprintf(address, sizeof(address), "e/n/%d", i % 100);
        lost += get_on_any_thread(shared, address) == 0;
    }
    *(long *)context = lost;
    return NULL;
}

static void a_reader_misses_nothing_while_the_index_and_the_values_change(void **state)
{
    pthread_t readers[2];
    long lost[2];
    char address[32];

    (void)state;
    atomic_store(&stop_writing, false);
    shared = l1_new(300, "adaptive");
    for (int i = 0; i < 100; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(shared, address, "v", 1), 0);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, find_always, &lost[i]), 0);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(address, sizeof(address), "e/n/%u", i % 100);
        assert_int_equal(put(shared, address, "w", i + 2), 0);
        assert_int_equal(mp__l1_set_entries(shared, i % 2 ? 3000 : 200), 0);
    }
    atomic_store(&stop_writing, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
        assert_int_equal(lost[i], 0);
    }
    shared = mp__l1_free(shared);
}

static void what_a_sleeping_reader_borrowed_costs_no_more_than_itself(void **state)
{
    mp__l1 *l1 = l1_new(1000, "s3-fifo");
    const mp__entry *held[MP_READ_HELD_MAX];
    char address[32], value[200];
    mp__l1_stats stats;

    (void)state;
    memset(value, 'v', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    for (size_t i = 0; i < MP_READ_HELD_MAX; i++) {
        snprintf(address, sizeof(address), "e/n/%zu", i);
        assert_int_equal(put(l1, address, address, 1), 0);
    }
    assert_int_equal(mp_read_begin(), 0);
    for (size_t i = 0; i < MP_READ_HELD_MAX; i++) {
        snprintf(address, sizeof(address), "e/n/%zu", i);
        held[i] = mp__l1_find(l1, mp_str_of(address), hash_of(address));
        assert_non_null(held[i]);
    }
    for (size_t i = 0; i < 30000; i++) { /* far more than the limit if nothing were freed */
        snprintf(address, sizeof(address), "e/n/%zu", i % 500);
        assert_int_equal(put(l1, address, value, i + 2), 0);
    }
    mp__l1_stats_read(l1, &stats);
    assert_true(stats.bytes < 2u << 20);
    for (size_t i = 0; i < MP_READ_HELD_MAX; i++) {
        snprintf(address, sizeof(address), "e/n/%zu", i);
        mp_assert_str(mp_blob_str(&held[i]->blob.pub), address);
    }
    mp_read_end();
    l1 = mp__l1_free(l1);
}

static void *put_without_end(void *context)
{
    char address[32];

    (void)context;
    for (uint64_t i = 0; !atomic_load_explicit(&stop_writing, memory_order_relaxed); i++) {
        snprintf(address, sizeof(address), "e/n/%d", (int)(i % 500));
        (void)put(shared, address, "v", i);
    }
    return NULL;
}

static int child_uses(mp__l1 *l1)
{
    int bad = put(l1, "e/n/child", "mine", 1) != 0;

    return bad + (get_on_any_thread(l1, "e/n/child") != 1) +
           (get_on_any_thread(l1, "e/n/kept") != 1);
}

static void a_child_can_use_its_copy_whatever_others_were_doing_at_the_fork(void **state)
{
    pthread_t writer;

    (void)state;
    atomic_store(&stop_writing, false);
    shared = l1_new(1000, "lru"); /* so that nothing is evicted */
    assert_int_equal(pthread_create(&writer, NULL, put_without_end, NULL), 0);
    for (int i = 0; i < 30; i++) {
        int status = -1;
        pid_t pid;

        assert_int_equal(put(shared, "e/n/kept", "v", (uint64_t)i + 1), 0);
        pid = fork();
        if (pid == 0) {
            (void)alarm(20); /* a lock inherited for ever ends the child, not the test */
            _exit(child_uses(shared));
        }
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    atomic_store(&stop_writing, true);
    assert_int_equal(pthread_join(writer, NULL), 0);
    shared = mp__l1_free(shared);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_was_put_is_found_and_what_was_removed_is_not),
    MP_TEST(an_older_revision_never_replaces_a_newer_one),
    MP_TEST(what_came_too_late_is_not_put_and_leaves_nothing_older),
    MP_TEST(the_limits_hold_whatever_is_put),
    MP_TEST(absent_entries_do_not_push_out_values),
    MP_TEST(an_entry_past_its_expiry_is_not_found),
    MP_TEST(a_held_value_outlives_its_cache),
    MP_TEST(a_section_lends_at_most_its_maximum),
    MP_TEST(size_and_policy_change_while_contents_stay),
    MP_TEST(an_updated_entry_keeps_its_place_and_its_use),
    MP_TEST(what_is_too_large_evicts_nothing_and_leaves_no_older_value),
    MP_TEST(a_large_value_makes_room_for_itself),
    MP_TEST(one_value_of_another_size_evicts_only_a_few),
    MP_TEST(after_absent_keys_a_scan_still_pushes_out_nothing_that_is_used),
    MP_TEST(absent_entries_stay_within_their_bytes),
    MP_TEST(a_tiny_cache_keeps_values_through_a_flood_of_absent_keys),
    MP_TEST(an_expired_entry_is_taken_out_by_whoever_finds_it),
    MP_TEST(hits_and_misses_are_counted_exactly),
    MP_TEST(a_section_that_stays_open_counts_billions),
    MP_TEST(limits_that_cannot_work_are_refused),
    MP_TEST(fewer_bytes_evict_at_once),
    MP_TEST(every_failing_allocation_is_reported_and_leaves_a_whole_cache),
    MP_TEST(readers_never_see_another_keys_value),
    MP_TEST(a_reader_misses_nothing_while_the_index_and_the_values_change),
    MP_TEST(what_a_sleeping_reader_borrowed_costs_no_more_than_itself),
    MP_TEST(a_child_can_use_its_copy_whatever_others_were_doing_at_the_fork),
};

MP_TEST_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* The public face of the cache, as a program would use it; memory only. */
#include "mp_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <marketprism/marketprism.h>

#include "cache/cache.h"
#include "cache/priority.h"
#include "core/alloc.h"
#include "core/hazard.h"

static mp_cache *cache_new(size_t entries)
{
    mp_cache_config config = {.l1_entries = entries};
    mp_cache *cache = NULL;

    assert_int_equal(mp_cache_new(&config, &cache), 0);
    return cache;
}

static void put(mp_cache *cache, const char *key, const char *value)
{
    assert_int_equal(mp_cache_put(cache, mp_str_of(key), mp_str_of(value), 0), 0);
}

/* The result of a get; the value, if there is one, must be @want. */
static int get(mp_cache *cache, const char *key, const char *want)
{
    const mp_blob *value = NULL;
    int rc;

    assert_int_equal(mp_read_begin(), 0);
    rc = mp_cache_get(cache, mp_str_of(key), &value);
    if (rc == 0)
        mp_assert_str(mp_blob_str(value), want);
    mp_read_end();
    return rc;
}

static void a_value_is_got_replaced_and_deleted(void **state)
{
    mp_cache *cache = cache_new(0);

    (void)state;
    assert_int_equal(get(cache, "a", ""), MP_EUNKNOWN);
    put(cache, "a", "1");
    assert_int_equal(get(cache, "a", "1"), 0);
    put(cache, "a", "2");
    assert_int_equal(get(cache, "a", "2"), 0);
    put(cache, "empty", "");
    assert_int_equal(get(cache, "empty", ""), 0);
    assert_int_equal(mp_cache_delete(cache, MP_STR("a")), 0);
    assert_int_equal(get(cache, "a", ""), MP_EABSENT);
    assert_int_equal(mp_cache_delete(cache, MP_STR("never")), 0);
    assert_int_equal(get(cache, "never", ""), MP_EABSENT);
    put(cache, "a", "3");
    assert_int_equal(get(cache, "a", "3"), 0);
    cache = mp_cache_free(cache);
    assert_null(mp_cache_free(NULL));
}

static double panel_ratio(const mp__cache_panel *panel, const char *name)
{
    for (size_t i = 0; i < panel->count; i++)
        if (strcmp(panel->members[i].name, name) == 0)
            return panel->members[i].hit_ratio;
    fail_msg("no %s", name);
    return 0;
}

static void a_loop_larger_than_the_cache_hits_by_default_and_the_panel_says_why(void **state)
{
    mp_cache *cache = cache_new(100);
    mp__cache_panel panel;
    unsigned hits = 0;
    char key[16];

    (void)state;
    for (unsigned i = 0; i < 30000; i++) {
        (void)snprintf(key, sizeof(key), "%u", i % 150);
        if (get(cache, key, "v") == 0)
            hits++;
        else
            put(cache, key, "v");
    }
    assert_true(hits > 10000); /* of 20,000 at best; LRU would hit none */
    mp__cache_panel_read(cache, &panel);
    mp_assert_str(mp_str_of(panel.policy), "adaptive");
    assert_non_null(panel.leader);
    assert_true(panel_ratio(&panel, "lru") < panel_ratio(&panel, "lirs"));
    assert_int_equal(mp__cache_set_policy(cache, "lru"), 0);
    mp__cache_panel_read(cache, &panel);
    mp_assert_str(mp_str_of(panel.policy), "lru");
    assert_int_equal(panel.count, 0);
    cache = mp_cache_free(cache);
}

static void keys_of_every_length_are_kept_apart(void **state)
{
    char key[MP_CACHE_KEY_MAX], other[MP_CACHE_KEY_MAX];
    mp_cache *cache = cache_new(10000);
    const mp_blob *value;
    uint32_t number;

    (void)state;
    memset(key, 'k', sizeof(key));
    for (uint32_t size = 1; size <= sizeof(key); size += size < 200 ? 1 : 97)
        assert_int_equal(
            mp_cache_put(cache, mp_str_new(key, size), mp_str_new(&size, sizeof(size)), 0), 0);
    for (uint32_t size = 1; size <= sizeof(key); size += size < 200 ? 1 : 97) {
        assert_int_equal(mp_read_begin(), 0);
        assert_int_equal(mp_cache_get(cache, mp_str_new(key, size), &value), 0);
        memcpy(&number, value->data, sizeof(number));
        assert_int_equal(number, size);
        memcpy(other, key, size); /* one byte differs, wherever it is */
        for (uint32_t at = 0; at < size; at += size < 70 ? 1 : 61) {
            other[at] = 'x';
            assert_int_equal(mp_cache_get(cache, mp_str_new(other, size), &value), MP_EUNKNOWN);
            other[at] = 'k';
        }
        mp_read_end();
    }
    cache = mp_cache_free(cache);
}

static void what_cannot_be_is_refused(void **state)
{
    static const mp_cache_config unknown = {.policy = "no such"}, tiny = {.l1_bytes = 1000};
    static char large[MP_CACHE_VALUE_MAX + 1], key[MP_CACHE_KEY_MAX + 1];
    mp_cache *cache = NULL;
    const mp_blob *value;

    (void)state;
    assert_int_equal(mp_cache_new(&unknown, &cache), MP_EINVAL);
    assert_int_equal(mp_cache_new(&tiny, &cache), MP_EINVAL);
    assert_int_equal(mp_cache_new(NULL, NULL), MP_EINVAL);
    assert_null(cache);
    cache = cache_new(10);
    assert_int_equal(mp_cache_put(cache, MP_STR(""), MP_STR("v"), 0), MP_EINVAL);
    assert_int_equal(mp_cache_put(cache, mp_str_new(key, sizeof(key)), MP_STR("v"), 0), MP_EINVAL);
    assert_int_equal(mp_cache_put(cache, MP_STR("k"), mp_str_new(large, sizeof(large)), 0),
                     MP_ELIMIT);
    assert_int_equal(mp_cache_put(cache, MP_STR("k"), mp_str_new(NULL, 1), 0), MP_EINVAL);
    assert_int_equal(mp_cache_put(cache, MP_STR("k"), MP_STR("v"), UINT64_MAX), MP_EINVAL);
    assert_int_equal(mp_cache_put(NULL, MP_STR("k"), MP_STR("v"), 0), MP_EINVAL);
    assert_int_equal(mp_cache_delete(cache, MP_STR("")), MP_EINVAL);
    assert_int_equal(mp_cache_get(cache, MP_STR("k"), &value), MP_EINVAL); /* in no section */
    assert_int_equal(mp_read_begin(), 0);
    assert_int_equal(mp_cache_get(cache, MP_STR(""), &value), MP_EINVAL);
    assert_int_equal(mp_cache_get(cache, mp_str_new(key, sizeof(key)), &value), MP_EINVAL);
    mp_read_end();
    cache = mp_cache_free(cache);
}

static void many_keys_at_once_are_as_one_by_one(void **state)
{
    mp_str keys[MP_READ_HELD_MAX + 1];
    const mp_blob *values[MP_READ_HELD_MAX + 1];
    int errors[MP_READ_HELD_MAX];
    char text[MP_READ_HELD_MAX + 1][16];
    mp_cache *cache = cache_new(1000);

    (void)state;
    for (size_t i = 0; i <= MP_READ_HELD_MAX; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "key-%zu", i);
        keys[i] = mp_str_of(text[i]);
        if (i % 3 == 0)
            put(cache, text[i], text[i]);
    }
    keys[1] = MP_STR("");
    assert_int_equal(mp_cache_delete(cache, keys[2]), 0);
    assert_int_equal(mp_cache_get_many(cache, keys, 3, values, errors), MP_EINVAL);
    assert_int_equal(mp_read_begin(), 0);
    assert_int_equal(mp_cache_get_many(cache, keys, 0, values, errors), 0);
    assert_int_equal(mp_cache_get_many(cache, keys, MP_READ_HELD_MAX + 1, values, NULL), MP_EINVAL);
    assert_int_equal(mp_cache_get_many(cache, keys, MP_READ_HELD_MAX, values, errors), 22);
    for (size_t i = 0; i < MP_READ_HELD_MAX; i++) {
        assert_int_equal(errors[i], i % 3 == 0 ? 0
                                    : i == 1   ? MP_EINVAL
                                    : i == 2   ? MP_EABSENT
                                               : MP_EUNKNOWN);
        if (i % 3 == 0)
            mp_assert_str(mp_blob_str(values[i]), text[i]);
        else
            assert_null(values[i]);
    }
    mp_read_end();
    cache = mp_cache_free(cache);
}

/* Keys of middle sizes have a path of their own; two of a size differ in one byte only. */
static void keys_of_every_size_are_told_apart_one_by_one_and_together(void **state)
{
    enum { SIZES = 70 };
    mp_cache *cache = cache_new(4 * SIZES);
    char bytes[SIZES + 1];
    int errors[3];

    (void)state;
    memset(bytes, 'k', sizeof(bytes));
    for (size_t size = 1; size <= SIZES; size++)
        for (size_t at = 0; at<size; at += size> 1 ? size - 1 : 1) {
            bytes[at] = 'x';
            assert_int_equal(
                mp_cache_put(cache, mp_str_new(bytes, size), mp_str_new(bytes, size), 0), 0);
            bytes[at] = 'k';
        }
    for (size_t size = 1; size <= SIZES; size++)
        for (size_t at = 0; at < size; at++) {
            bool kept = at == 0 || at == size - 1;
            char other[SIZES];
            const mp_blob *values[3];
            mp_str keys[3] = {mp_str_new(bytes, size), mp_str_new(other, size), MP_STR("")};

            memset(other, 'k', sizeof(other));
            other[at] = 'x';
            assert_int_equal(mp_read_begin(), 0);
            assert_int_equal(mp_cache_get(cache, keys[0], &values[0]), MP_EUNKNOWN);
            assert_int_equal(mp_cache_get(cache, keys[1], &values[1]), kept ? 0 : MP_EUNKNOWN);
            if (kept)
                assert_memory_equal(values[1]->data, other, size);
            /* with a bad one among them, and without */
            for (size_t count = 2; count <= 3; count++) {
                assert_int_equal(mp_cache_get_many(cache, keys, count, values, errors), kept);
                assert_int_equal(errors[0], MP_EUNKNOWN);
                assert_int_equal(errors[1], kept ? 0 : MP_EUNKNOWN);
                if (kept)
                    assert_memory_equal(values[1]->data, other, size);
                else
                    assert_null(values[1]);
            }
            assert_int_equal(errors[2], MP_EINVAL);
            mp_read_end();
        }
    cache = mp_cache_free(cache);
}

static void a_full_section_lends_no_more_but_can_still_copy(void **state)
{
    mp_cache *cache = cache_new(10);
    const mp_blob *value, *many[2];
    mp_str keys[2] = {MP_STR("a"), MP_STR("a")};
    mp_blob *loaded;
    char buffer[8];
    int errors[2];
    size_t size;

    (void)state;
    put(cache, "a", "value");
    assert_int_equal(mp_read_begin(), 0);
    for (size_t i = 0; i < MP_READ_HELD_MAX - 1; i++)
        assert_int_equal(mp_cache_get(cache, MP_STR("a"), &value), 0);
    assert_int_equal(mp_cache_get_many(cache, keys, 2, many, errors), 1);
    assert_int_equal(errors[1], MP_ELIMIT);
    assert_int_equal(mp_cache_get(cache, MP_STR("a"), &value), MP_ELIMIT);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mp_cache_copy(cache, MP_STR("a"), buffer, sizeof(buffer), &size), 0);
        assert_int_equal(size, 5);
        assert_memory_equal(buffer, "value", 5);
        assert_int_equal(mp_cache_load(cache, MP_STR("a"), &loaded), 0);
        loaded = mp_blob_unref(loaded);
    }
    mp_read_end();
    assert_int_equal(get(cache, "a", "value"), 0);
    cache = mp_cache_free(cache);
}

static void a_copy_within_a_section_borrows_nothing(void **state)
{
    mp_cache *cache = cache_new(10);
    mp_cache_stats stats;
    const mp_blob *value;
    char buffer[8];
    size_t size;

    (void)state;
    put(cache, "a", "value");
    assert_int_equal(mp_cache_delete(cache, MP_STR("gone")), 0);
    assert_int_equal(mp_read_begin(), 0);
    for (size_t i = 0; i < MP_READ_HELD_MAX; i++) {
        assert_int_equal(mp_cache_copy(cache, MP_STR("a"), buffer, sizeof(buffer), &size), 0);
        assert_int_equal(mp_cache_copy(cache, MP_STR("a"), buffer, 1, &size), MP_ELIMIT);
        assert_int_equal(mp_cache_copy(cache, MP_STR("gone"), buffer, sizeof(buffer), &size),
                         MP_EABSENT);
        assert_int_equal(mp_cache_copy(cache, MP_STR(""), buffer, sizeof(buffer), &size),
                         MP_EINVAL);
        assert_int_equal(mp_cache_get(cache, MP_STR("a"), &value), 0);
        assert_int_equal(mp__hazard_used(mp__hazard_mine), i + 1);
    }
    assert_int_equal(mp_cache_copy(cache, MP_STR(""), buffer, sizeof(buffer), &size), MP_EINVAL);
    mp_read_end();
    mp_cache_stats_read(cache, &stats);
    assert_int_equal(stats.l1_hits, 4 * MP_READ_HELD_MAX);
    cache = mp_cache_free(cache);
}

static void *find_without_a_section(void *context)
{
    mp_read_end(); /* of a thread that never began one */
    assert_int_equal(mp_cache_error(mp_cache_find(context, MP_STR("a"))), MP_EINVAL);
    return NULL;
}

static void a_value_or_why_there_is_none_comes_in_one_word(void **state)
{
    static const char *const keys[] = {"a", "a key of middle size",
                                       "a key longer than those of middle size"};
    mp_cache *cache = cache_new(10);
    pthread_t thread;

    (void)state;
    put(cache, "a", "1");
    for (size_t i = 0; i < 3; i++)
        put(cache, keys[i], keys[i]);
    assert_int_equal(mp_cache_delete(cache, MP_STR("gone")), 0);
    assert_int_equal(mp_cache_error(mp_cache_find(cache, MP_STR("a"))), MP_EINVAL);
    assert_int_equal(pthread_create(&thread, NULL, find_without_a_section, cache), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mp_read_begin(), 0);
    for (size_t i = 0; i < MP_READ_HELD_MAX - 1; i++) {
        const mp_blob *found = mp_cache_find(cache, mp_str_of(keys[i % 3]));

        assert_int_equal(mp_cache_error(found), 0);
        mp_assert_str(mp_blob_str(found), keys[i % 3]);
        assert_int_equal(mp_cache_error(mp_cache_find(cache, MP_STR("none"))), MP_EUNKNOWN);
    }
    assert_int_equal(mp_cache_error(mp_cache_find(cache, MP_STR(""))), MP_EINVAL);
    assert_int_equal(mp_cache_error(mp_cache_find(cache, mp_str_new(NULL, 20))), MP_EINVAL);
    assert_int_equal(mp_cache_error(mp_cache_find(cache, MP_STR("gone"))), MP_EABSENT);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(mp_cache_error(mp_cache_find(cache, mp_str_of(keys[i]))), MP_ELIMIT);
    mp_read_end();
    cache = mp_cache_free(cache);
}

/* Leaving out what a section knows to be nothing must not outlive the reason. */
static void
a_section_looks_plainly_only_into_the_table_it_announced_and_without_a_fence(void **state)
{
    mp_cache *a = cache_new(10), *b = cache_new(10);
    const void *plain;
    mp_cache_stats stats;

    (void)state;
    put(a, "k", "of a");
    put(b, "k", "of b");
    for (int fence = 0; fence < 2; fence++) {
        assert_int_equal(mp_read_begin(), 0);
        mp__hazard_mine->fence |= fence;
        for (int i = 0; i < 15; i++) {
            mp_assert_str(mp_blob_str(mp_cache_find(a, MP_STR("k"))), "of a");
            if (i % 3 == 2)
                mp_assert_str(mp_blob_str(mp_cache_find(b, MP_STR("k"))), "of b");
            plain = mp__hazard_mine->plain_table;
            if (fence && MP__HAZARD_MEMBARRIER)
                assert_null(plain);
            else
                assert_ptr_equal(plain, atomic_load(&mp__hazard_mine->table));
        }
        mp_read_end();
        assert_null(atomic_load(&mp__hazard_mine->table));
    }
    mp__hazard_mine->fence = false;
    mp_cache_stats_read(a, &stats);
    assert_int_equal(stats.l1_hits, 30);
    mp_cache_stats_read(b, &stats);
    assert_int_equal(stats.l1_hits, 10);
    a = mp_cache_free(a);
    b = mp_cache_free(b);
}

static void a_copy_says_how_much_room_it_needs(void **state)
{
    mp_cache *cache = cache_new(10);
    char buffer[4] = "old";
    size_t size = 0;

    (void)state;
    put(cache, "a", "value");
    assert_int_equal(mp_cache_copy(cache, MP_STR("a"), buffer, 4, &size), MP_ELIMIT);
    assert_int_equal(size, 5);
    assert_string_equal(buffer, "old");
    assert_int_equal(mp_cache_copy(cache, MP_STR("a"), NULL, 0, &size), MP_ELIMIT);
    assert_int_equal(mp_cache_copy(cache, MP_STR("b"), buffer, 4, &size), MP_EUNKNOWN);
    assert_int_equal(mp_cache_copy(cache, MP_STR("a"), NULL, 1, &size), MP_EINVAL);
    assert_int_equal(mp_cache_delete(cache, MP_STR("a")), 0);
    assert_int_equal(mp_cache_copy(cache, MP_STR("a"), buffer, 4, &size), MP_EABSENT);
    cache = mp_cache_free(cache);
}

static void a_borrowed_value_stays_while_the_section_is_open(void **state)
{
    mp_cache *cache = cache_new(10);
    const mp_blob *first, *second;
    char key[16];

    (void)state;
    put(cache, "a", "first");
    assert_int_equal(mp_read_begin(), 0);
    assert_int_equal(mp_cache_get(cache, MP_STR("a"), &first), 0);
    put(cache, "a", "second");
    assert_int_equal(mp_cache_get(cache, MP_STR("a"), &second), 0);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "%d", i);
        put(cache, key, "x");
    }
    mp_assert_str(mp_blob_str(first), "first");
    mp_assert_str(mp_blob_str(second), "second");
    mp_read_end();
    cache = mp_cache_free(cache);
}

static void a_reference_outlives_its_cache_and_can_be_given_back_anywhere(void **state)
{
    mp_cache *cache = cache_new(10);
    mp_blob *held[3];
    const mp_blob *value;

    (void)state;
    put(cache, "a", "kept");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mp_read_begin(), 0);
        assert_int_equal(mp_cache_get(cache, MP_STR("a"), &value), 0);
        held[i] = mp_blob_ref(value);
        mp_read_end();
    }
    held[0] = mp_blob_unref(held[0]);
    cache = mp_cache_free(cache);
    mp_assert_str(mp_blob_str(held[1]), "kept");
    held[1] = mp_blob_unref(held[1]);
    mp_assert_str(mp_blob_str(held[2]), "kept");
    held[2] = mp_blob_unref(held[2]);
}

static void a_value_with_a_time_to_live_is_gone_after_it(void **state)
{
    mp_cache *cache = cache_new(10);
    mp_cache_stats stats;

    (void)state;
    assert_int_equal(mp_cache_put(cache, MP_STR("long"), MP_STR("v"), 3600000), 0);
    assert_int_equal(get(cache, "long", "v"), 0);
    assert_int_equal(mp_cache_put(cache, MP_STR("short"), MP_STR("v"), 1), 0);
    while (get(cache, "short", "v") == 0)
        ; /* at most the millisecond that it lives */
    assert_int_equal(get(cache, "short", "v"), MP_EUNKNOWN);
    mp_cache_stats_read(cache, &stats);
    assert_int_equal(stats.l1_expired, 1);
    assert_int_equal(stats.l1_entries, 1);
    cache = mp_cache_free(cache);
}

static void one_section_reads_several_caches_and_each_counts_its_own(void **state)
{
    mp_cache *a = cache_new(10), *b = cache_new(20);
    const mp_blob *of_a, *of_b;
    mp_cache_stats stats;

    (void)state;
    put(a, "k", "of a");
    put(b, "k", "of b");
    assert_int_equal(mp_read_begin(), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(mp_cache_get(a, MP_STR("k"), &of_a), 0);
        assert_int_equal(mp_cache_get(b, MP_STR("k"), &of_b), 0);
        assert_int_equal(mp_cache_get(b, MP_STR("none"), &of_b), MP_EUNKNOWN);
    }
    mp_assert_str(mp_blob_str(of_a), "of a");
    mp_read_end();
    mp_cache_stats_read(a, &stats);
    assert_int_equal(stats.l1_hits, 5);
    assert_int_equal(stats.l1_misses, 0);
    assert_int_equal(stats.l1_entries_max, 10);
    mp_cache_stats_read(b, &stats);
    assert_int_equal(stats.l1_hits, 5);
    assert_int_equal(stats.l1_misses, 5);
    a = mp_cache_free(a);
    b = mp_cache_free(b);
}

static const mp__knob *knob(const char *name)
{
    const mp__knob *found = mp__knob_find(&mp__cache_knobs, name);

    assert_non_null(found);
    return found;
}

/* What a thread remembers from section to section holds nothing back while it is in none, and is no
 * section. */
static void between_sections_a_thread_holds_no_table_and_finds_nothing(void **state)
{
    mp_cache *cache = cache_new(10);
    mp__diag diag = {0};

    (void)state;
    put(cache, "k", "v");
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 3; i++)
            assert_int_equal(get(cache, "k", "v"), 0);
        if (MP__HAZARD_MEMBARRIER)
            assert_non_null(mp__hazard_mine->plain_table);
        assert_int_equal(mp_cache_error(mp_cache_find(cache, MP_STR("k"))), MP_EINVAL);
        assert_null(atomic_load(&mp__hazard_mine->table));
        for (size_t i = 0; i < MP__HAZARD_SLOTS; i++)
            assert_null(atomic_load(&mp__hazard_mine->slots[i]));
        assert_int_equal(mp__knob_set(knob("cache.l1_size"), cache, round % 2 ? 1000 : 5000, &diag),
                         0);
        assert_int_equal(mp__hazard_flush(), 0);
        assert_int_equal(get(cache, "k", "v"), 0);
    }
    cache = mp_cache_free(cache);
}

/* A cache that takes the place of a freed one must not inherit what a thread remembers of it. */
static void caches_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        mp_cache *cache = cache_new(10);
        mp_cache_stats stats;

        put(cache, "k", "v");
        assert_int_equal(get(cache, "k", "v"), 0);
        mp_cache_stats_read(cache, &stats);
        assert_int_equal(stats.l1_hits, 1);
        cache = mp_cache_free(cache);
    }
}

/* ---- what the manager and the server use ---- */

static void knobs_turn_limits_and_policy_and_the_contents_stay(void **state)
{
    mp_cache *cache = cache_new(100);
    mp__diag diag = {0};

    (void)state;
    put(cache, "a", "1");
    for (size_t i = 0; i < mp__cache_knobs.count; i++) {
        const mp__knob *k = &mp__cache_knobs.knobs[i];
        double now = k->get(cache);

        assert_true(now >= k->low && now <= k->high);
        assert_int_equal(mp__knob_set(k, cache, now, &diag), 0);
    }
    assert_int_equal(mp__knob_set(knob("cache.l1_size"), cache, 5000, &diag), 0);
    assert_true(knob("cache.l1_size")->get(cache) == 5000);
    assert_int_equal(mp__knob_set(knob("cache.l1_bytes"), cache, 4 << 20, &diag), 0);
    assert_int_equal(mp__knob_set(knob("cache.policy"), cache, 1, &diag), 0);
    assert_true(knob("cache.policy")->get(cache) == 1);
    /* an index that does not fit into the bytes is refused with a reason, and changes nothing */
    assert_int_equal(mp__knob_set(knob("cache.l1_size"), cache, 1e8, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "cache.l1_bytes"));
    assert_true(knob("cache.l1_size")->get(cache) == 5000);
    assert_int_equal(get(cache, "a", "1"), 0);
    cache = mp_cache_free(cache);
}

static void an_entry_tells_its_record_and_how_fresh_it_is(void **state)
{
    static const mp__record record = {.address = {"e/n/k", 5},
                                      .value = {"{}", 2},
                                      .media_type = {"application/json", 16},
                                      .kind = MP__RECORD_VALUE,
                                      .revision = 7,
                                      .created_revision = 3,
                                      .version = 2,
                                      .created_ms = 10,
                                      .modified_ms = 20,
                                      .expires_ms = 0,
                                      .fetched_ms = 30,
                                      .verified_ms = 40};
    mp_cache *cache = cache_new(100);
    uint64_t hash = mp__cache_hash(mp__cache_hasher(cache), record.address);
    const mp__entry *held = NULL, *found;
    mp__record got;

    (void)state;
    assert_int_equal(mp__cache_put_record(cache, &record, 0, 5, 6, &held), 0);
    mp__cache_prefetch(cache, hash);
    mp__cache_prefetch_many(cache, &hash, 1); /* outside a section: nothing */
    assert_int_equal(mp_read_begin(), 0);
    mp__cache_prefetch_many(cache, &hash, 1);
    found = mp__cache_find(cache, record.address, hash);
    assert_ptr_equal(found, held);
    assert_ptr_equal(mp__cache_peek(cache, record.address, hash), held);
    mp_read_end();
    assert_int_equal(mp__cache_where(cache, record.address, hash), 1u << MP__TIER_L1);
    mp__entry_record(held, &got);
    mp_assert_str(got.address, "e/n/k");
    mp_assert_str(got.value, "{}");
    mp_assert_str(got.media_type, "application/json");
    assert_int_equal(got.revision, 7);
    assert_int_equal(got.created_revision, 3);
    assert_int_equal(got.version, 2);
    assert_int_equal(got.created_ms, 10);
    assert_int_equal(got.modified_ms, 20);
    assert_int_equal(got.fetched_ms, 30);
    assert_int_equal(got.verified_ms, 40);
    assert_int_equal(held->generation, 5);
    assert_int_equal(held->verify_by_s, 6);
    mp__cache_verified(cache, held, 50, 8, 9);
    mp__entry_record(held, &got);
    assert_int_equal(got.verified_ms, 50);
    assert_int_equal(held->generation, 8);
    mp__cache_forget_l1(cache, record.address, hash);
    assert_int_equal(mp__cache_where(cache, record.address, hash), 0);
    mp_assert_str(mp__entry_address(held), "e/n/k"); /* still held */
    held = mp__entry_unref(held);
    cache = mp_cache_free(cache);
}

static void what_l1_cannot_keep_is_still_given_to_who_asked(void **state)
{
    static char large[2 << 20];
    mp_cache_config config = {.l1_entries = 10, .l1_bytes = 1 << 20};
    mp__record record = {.address = MP_STR("e/n/k"),
                         .value = mp_str_new(large, sizeof(large)),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1};
    mp_cache *cache = NULL;
    const mp__entry *held = NULL;

    (void)state;
    assert_int_equal(mp_cache_new(&config, &cache), 0);
    assert_int_equal(mp__cache_put_record(cache, &record, 0, 0, 0, &held), 0);
    assert_int_equal(held->blob.pub.size, sizeof(large));
    assert_int_equal(get(cache, "e/n/k", ""), MP_EUNKNOWN);
    cache = mp_cache_free(cache);
    held = mp__entry_unref(held); /* it outlives the cache, too */
}

static int put_revision(mp_cache *cache, mp_str address, uint64_t revision, unsigned flags)
{
    mp__record record = {.address = address,
                         .value = MP_STR("value"),
                         .kind = MP__RECORD_VALUE,
                         .revision = revision};

    return mp__cache_put_record(cache, &record, flags, 1, 1, NULL);
}

/* What reads of memory find, of L2 where L1 has none; 0: nothing. */
static uint64_t revision_in_memory(mp_cache *cache, mp_str address)
{
    uint64_t hash = mp__cache_hash(mp__cache_hasher(cache), address), revision = 0;
    const mp__entry *entry;

    assert_int_equal(mp_read_begin(), 0);
    entry = mp__cache_peek(cache, address, hash);
    revision = entry ? entry->revision : 0;
    mp_read_end();
    if (!revision && mp__cache_peek_memory(cache, address, hash, &entry) == 0) {
        revision = entry->revision;
        (void)mp__entry_unref(entry);
    }
    return revision;
}

/* An address of which L3 remembers what it does of @address: the same shard, the same low bits. */
static void find_companion(mp_cache *cache, mp_str address, char *ret_companion, size_t size)
{
    const mp__hasher *hasher = mp__cache_hasher(cache);
    uint64_t hash = mp__cache_hash(hasher, address), other;
    unsigned i = 0;

    do {
        snprintf(ret_companion, size, "e/n/companion-%u", i++);
        other = mp__cache_hash(hasher, mp_str_of(ret_companion));
    } while (other >> 56 != hash >> 56 || ((other ^ hash) & 0xfff) != 0);
}

/* Revisions that L3 remembers are of several addresses. A change that it takes for outdated since
 * another address is newer is not kept; but nor is what it replaced. */
static void a_change_that_is_not_kept_leaves_nothing_older(void **state)
{
    char folder[] = "/tmp/mp-late-XXXXXX", command[64], companion[32];
    mp__cache_options options = {.env = mp__env_real(), .l3_dir = folder};
    mp_str address = MP_STR("e/n/a");
    mp_cache *cache = NULL;
    mp__record absent = {.kind = MP__RECORD_ABSENT, .revision = 9};

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mp__cache_open(&options, &cache, NULL), 0);
    find_companion(cache, address, companion, sizeof(companion));
    absent.address = mp_str_of(companion);
    assert_int_equal(put_revision(cache, address, 5, MP__PUT_L1_ONLY), 0);
    assert_int_equal(mp__cache_put_record(cache, &absent, 0, 1, 1, NULL), 0);
    assert_int_equal(put_revision(cache, address, 7, MP__PUT_NEWEST), -ESTALE);
    assert_int_equal(revision_in_memory(cache, address), 0);
    assert_int_equal(put_revision(cache, address, 9, MP__PUT_NEWEST), 0);
    assert_int_equal(put_revision(cache, address, 8, MP__PUT_NEWEST), -ESTALE);
    assert_int_equal(revision_in_memory(cache, address), 9);
    cache = mp_cache_free(cache);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

/* What L1 does not take, since something was removed while it was asked for, was told all the same:
 * what L2 has of before goes. */
static void a_fill_beside_a_removal_leaves_nothing_older_in_l2(void **state)
{
    mp_cache_config config = {.l1_entries = 1, .l2_entries = 100, .policy = "lru"};
    mp__record newer = {.address = MP_STR("e/n/a"),
                        .value = MP_STR("newer"),
                        .kind = MP__RECORD_VALUE,
                        .revision = 2};
    const mp__entry *told = NULL;
    mp_cache *cache = NULL;
    uint64_t removals;

    (void)state;
    assert_int_equal(mp_cache_new(&config, &cache), 0);
    assert_int_equal(put_revision(cache, newer.address, 1, 0), 0);
    assert_int_equal(put_revision(cache, MP_STR("e/n/b"), 1, 0), 0);
    mp__cache_settle(cache);
    assert_int_equal(revision_in_memory(cache, newer.address), 1);
    removals = mp__cache_removals(cache);
    mp__cache_forget_l1(cache, MP_STR("e/n/b"),
                        mp__cache_hash(mp__cache_hasher(cache), MP_STR("e/n/b")));
    assert_int_equal(mp__cache_fill_record(cache, removals, &newer, MP__PUT_FILL, 1, 1, &told), 0);
    assert_int_equal(told->revision, 2);
    assert_int_equal(revision_in_memory(cache, newer.address), 0);
    told = mp__entry_unref(told);
    cache = mp_cache_free(cache);
}

static long fail_at;

static bool fail_nth(size_t size)
{
    (void)size;
    return --fail_at == 0;
}

static void every_failing_allocation_is_an_error_and_not_a_crash(void **state)
{
    int failures = 0;

    (void)state;
    assert_int_equal(mp_read_begin(), 0);
    mp_read_end();
    for (long n = 1;; n++) {
        mp_cache *cache = NULL;
        int rc;

        fail_at = n;
        mp__alloc_fail_hook = fail_nth;
        rc = mp_cache_new(NULL, &cache);
        if (rc == 0)
            rc = mp_cache_put(cache, MP_STR("k"), MP_STR("v"), 0);
        mp__alloc_fail_hook = NULL;
        assert_true(rc == 0 || rc == MP_ENOMEM);
        failures += rc != 0;
        cache = mp_cache_free(cache);
        if (fail_at > 0)
            break;
        assert_true(n < 1000); /* it comes to an end */
    }
    assert_true(failures >= 6);
}

/* ---- written around memory ---- */

enum { AROUND_ROUNDS = 200, AROUND_WRITES = 20 };

typedef struct around {
    mp_cache *cache;
    mp_str address;
    uint64_t hash;
    _Atomic bool is_over;
} around;

static void *load_on_and_on(void *context)
{
    around *a = context;

    while (!atomic_load(&a->is_over)) {
        const mp__entry *entry = NULL;

        if (mp__cache_load_nowait(a->cache, a->address, a->hash, &entry) == 0)
            (void)mp__entry_unref(entry);
    }
    return NULL;
}

static void put_around(const around *a, uint64_t revision)
{
    mp__record record = {.address = a->address,
                         .value = MP_STR("v"),
                         .kind = MP__RECORD_VALUE,
                         .revision = revision,
                         .created_revision = 1,
                         .version = revision};

    assert_int_equal(mp__cache_put_record(a->cache, &record, MP__PUT_AROUND, 1, 1, NULL), 0);
}

/* One thread brings the value up from disk while another replaces it there. */
static void what_is_written_around_memory_leaves_nothing_older_there(void **state)
{
    char folder[] = "/tmp/mp-around-XXXXXX", command[64];
    mp__cache_options options = {.env = mp__env_real(), .l3_dir = folder};
    around a = {.address = MP_STR("production/default/a")};
    const mp__entry *entry;
    uint64_t revision = 0;
    pthread_t thread;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mp__cache_open(&options, &a.cache, NULL), 0);
    a.hash = mp__cache_hash(mp__cache_hasher(a.cache), a.address);
    for (int round = 0; round < AROUND_ROUNDS; round++) {
        atomic_store(&a.is_over, false);
        assert_int_equal(pthread_create(&thread, NULL, load_on_and_on, &a), 0);
        for (int i = 0; i < AROUND_WRITES; i++)
            put_around(&a, ++revision);
        atomic_store(&a.is_over, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(mp_read_begin(), 0);
        entry = mp__cache_peek(a.cache, a.address, a.hash);
        assert_true(!entry || entry->revision == revision);
        mp_read_end();
    }
    a.cache = mp_cache_free(a.cache);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static int open_with(size_t entries, size_t bytes, const char *policy, mp__priorities *priorities)
{
    mp__cache_options options = {.env = mp__env_real(),
                                 .l1_entries = entries,
                                 .l1_bytes = bytes,
                                 .policy = policy,
                                 .priorities = priorities};
    mp_cache *cache = NULL;
    int rc = mp__cache_open(&options, &cache, NULL);

    cache = mp_cache_free(cache);
    return rc;
}

static mp__priorities *three_classes(void)
{
    mp_str rows[] = {MP_STR("a/*=critical"), MP_STR("b/*=low")};
    mp__priorities *priorities = NULL;

    assert_int_equal(mp__priorities_new(rows, 2, NULL, 0, &priorities, NULL), 0);
    return priorities;
}

static void the_least_bytes_that_are_told_are_enough_and_fewer_are_not(void **state)
{
    static const char *const policies[] = {"adaptive", "lru", "w-tinylfu", "lirs", "arc"};
    static const size_t entries[] = {1, 500, 30000};

    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
        for (size_t k = 0; k < sizeof(entries) / sizeof(entries[0]); k++)
            for (int divided = 0; divided <= 1; divided++) {
                mp__priorities *asked = divided ? three_classes() : NULL;
                size_t least = mp__cache_l1_bytes_least(entries[k], 1, policies[i], asked);

                asked = mp__priorities_free(asked);
                assert_int_equal(
                    open_with(entries[k], least, policies[i], divided ? three_classes() : NULL), 0);
                assert_int_equal(
                    open_with(entries[k], least - 1, policies[i], divided ? three_classes() : NULL),
                    MP_EINVAL);
            }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(the_least_bytes_that_are_told_are_enough_and_fewer_are_not),
    MP_TEST(a_value_is_got_replaced_and_deleted),
    MP_TEST(a_loop_larger_than_the_cache_hits_by_default_and_the_panel_says_why),
    MP_TEST(keys_of_every_length_are_kept_apart),
    MP_TEST(what_cannot_be_is_refused),
    MP_TEST(many_keys_at_once_are_as_one_by_one),
    MP_TEST(keys_of_every_size_are_told_apart_one_by_one_and_together),
    MP_TEST(a_full_section_lends_no_more_but_can_still_copy),
    MP_TEST(a_copy_within_a_section_borrows_nothing),
    MP_TEST(a_value_or_why_there_is_none_comes_in_one_word),
    MP_TEST(a_section_looks_plainly_only_into_the_table_it_announced_and_without_a_fence),
    MP_TEST(a_copy_says_how_much_room_it_needs),
    MP_TEST(a_borrowed_value_stays_while_the_section_is_open),
    MP_TEST(a_reference_outlives_its_cache_and_can_be_given_back_anywhere),
    MP_TEST(a_value_with_a_time_to_live_is_gone_after_it),
    MP_TEST(one_section_reads_several_caches_and_each_counts_its_own),
    MP_TEST(between_sections_a_thread_holds_no_table_and_finds_nothing),
    MP_TEST(caches_come_and_go),
    MP_TEST(knobs_turn_limits_and_policy_and_the_contents_stay),
    MP_TEST(an_entry_tells_its_record_and_how_fresh_it_is),
    MP_TEST(what_l1_cannot_keep_is_still_given_to_who_asked),
    MP_TEST(what_is_written_around_memory_leaves_nothing_older_there),
    MP_TEST(a_change_that_is_not_kept_leaves_nothing_older),
    MP_TEST(a_fill_beside_a_removal_leaves_nothing_older_in_l2),
    MP_TEST(every_failing_allocation_is_an_error_and_not_a_crash),
};

MP_TEST_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <stddef.h>

#include "cache/l1_read.h"
#include "core/core.h"

enum { BUCKETS_ENTRIES = 28 }; /* makes eight buckets */

static mp__slab *slab;
static mp__l1_table *table;

static int table_setup(void **state)
{
    (void)state;
    assert_int_equal(mp__slab_new(0, &slab), 0);
    assert_int_equal(mp__l1_table_new(BUCKETS_ENTRIES, &table), 0);
    assert_int_equal(table->count, 8);
    return 0;
}

static int table_teardown(void **state)
{
    (void)state;
    for (size_t b = 0; b < table->count; b++)
        for (unsigned way = 0; way < MP__L1_WAYS; way++)
            (void)mp__entry_unref(table->buckets[b].entries[way]);
    table = mp__l1_table_free(table);
    slab = mp__slab_close(slab);
    return 0;
}

static uint64_t hash_of(size_t home, unsigned tag)
{
    return (uint64_t)tag << 57 | home * sizeof(mp__l1_bucket);
}

static mp_str name_of(int i, char text[16])
{
    (void)snprintf(text, 16, "key-%d", i);
    return mp_str_of(text);
}

static bool insert(int i, uint64_t hash)
{
    char text[16];
    mp__record record = {.address = name_of(i, text), .kind = MP__RECORD_VALUE};
    mp__entry *entry = mp__entry_make(slab, hash, &record, 0, 0);

    assert_non_null(entry);
    if (mp__l1_table_insert(table, entry, hash))
        return true;
    (void)mp__entry_unref(entry);
    return false;
}

static bool find(int i, uint64_t hash, mp__l1_place *ret_place)
{
    char text[16];
    mp__l1_place place;

    return mp__l1_table_find(table, name_of(i, text), hash, ret_place ? ret_place : &place);
}

static void take_out(int i, uint64_t hash)
{
    mp__l1_place place;
    mp__entry *entry;

    assert_true(find(i, hash, &place));
    entry = place.bucket->entries[place.way];
    mp__l1_table_remove(table, place, hash);
    (void)mp__entry_unref(entry);
}

static void assert_nothing_passed_over(void)
{
    for (size_t b = 0; b < table->count; b++)
        assert_false(mp__l1_passed_over(table->buckets[b].tags));
}

static void entries_of_one_hash_are_told_apart_by_their_address(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        assert_true(insert(i, hash_of(3, 5)));
    for (int i = 0; i < 20; i++)
        assert_true(find(i, hash_of(3, 5), NULL));
    assert_false(find(20, hash_of(3, 5), NULL));
}

static void entries_that_overflow_their_bucket_are_found_around_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++)
        assert_true(insert(i, hash_of(6, (unsigned)i)));
    for (int i = 0; i < 30; i++)
        assert_true(find(i, hash_of(6, (unsigned)i), NULL));
    assert_true(table->buckets[0].entries[0] != NULL); /* it did go around */
}

/* A miss looks at one line: marks of overflow go with the entries that left them. */
static void marks_of_overflow_go_when_those_who_made_them_go(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 30; i++)
            assert_true(insert(i, hash_of((size_t)i % 3, (unsigned)i)));
        assert_true(mp__l1_passed_over(table->buckets[0].tags));
        for (int i = 29; i >= 0; i--) /* not in the order in which they came */
            take_out(i * 7 % 30, hash_of((size_t)(i * 7 % 30) % 3, (unsigned)(i * 7 % 30)));
        assert_nothing_passed_over();
    }
}

static void what_stands_after_a_hole_is_still_found(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++)
        assert_true(insert(i, hash_of(1, (unsigned)i)));
    for (int i = 0; i < 7; i++)
        take_out(i, hash_of(1, (unsigned)i));
    for (int i = 0; i < 16; i++)
        assert_int_equal(find(i, hash_of(1, (unsigned)i), NULL), i >= 7);
}

static void a_full_table_refuses_and_stays_as_it_was(void **state)
{
    (void)state;
    for (int i = 0; i < 56; i++)
        assert_true(insert(i, hash_of((size_t)i % 8, (unsigned)i)));
    assert_nothing_passed_over();
    assert_false(insert(56, hash_of(2, 1)));
    assert_nothing_passed_over();
    for (int i = 0; i < 56; i++)
        assert_true(find(i, hash_of((size_t)i % 8, (unsigned)i), NULL));
    assert_false(find(56, hash_of(2, 1), NULL));
}

static void the_index_is_sized_for_home_hits(void **state)
{
    (void)state;
    for (size_t entries = 1; entries < 200000; entries = entries * 3 / 2 + 1) {
        size_t buckets = mp__l1_table_bytes(entries) / 64;

        assert_true(buckets * MP__L1_WAYS >= entries * 2); /* at most half full */
        assert_true(entries < 16 || buckets * MP__L1_WAYS <= entries * 5);
    }
}

static void every_tag_matches_itself_and_no_empty_place(void **state)
{
    (void)state;
    for (uint64_t t = 0; t < 128; t++) {
        uint64_t tag = mp__l1_tag(t << 57);

        for (unsigned way = 0; way < MP__L1_WAYS; way++) {
            uint64_t match = mp__l1_match(tag << (way * 8) | 0xffULL << 56, tag);

            assert_int_equal(__builtin_ctzl(match) >> 3, way);
        }
        assert_int_equal(mp__l1_match(0, tag), 0);
        assert_int_equal(mp__l1_match(0xffULL << 56, tag), 0);
        for (uint64_t other = 1; other < 128; other++)
            assert_int_equal(mp__l1_match(other << 48, tag) != 0, other == tag);
    }
}

#define TABLE_TEST(f) cmocka_unit_test_setup_teardown(f, table_setup, table_teardown)

static const struct CMUnitTest tests[] = {
    TABLE_TEST(entries_of_one_hash_are_told_apart_by_their_address),
    TABLE_TEST(entries_that_overflow_their_bucket_are_found_around_the_end),
    TABLE_TEST(marks_of_overflow_go_when_those_who_made_them_go),
    TABLE_TEST(what_stands_after_a_hole_is_still_found),
    TABLE_TEST(a_full_table_refuses_and_stays_as_it_was),
    MP_TEST(the_index_is_sized_for_home_hits),
    MP_TEST(every_tag_matches_itself_and_no_empty_place),
};

MP_TEST_MAIN(tests)

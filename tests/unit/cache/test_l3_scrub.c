/* SPDX-License-Identifier: Apache-2.0 */
/* Scrubbing L3, taking back the room of what expired, and who is kept when there is hardly room. */
#include "l3_test.h"

#include <errno.h>
#include <inttypes.h>

#include "cache/cache.h"

enum { SEGMENT = 64 << 10, RECORDS = 300 };
#define ROOMY ((uint64_t)SEGMENT * 1000)
#define TIGHT ((uint64_t)SEGMENT * 8)

/* ---- what is told ---- */

typedef struct told {
    unsigned count;
    char address[64];
    uint64_t hash, revision;
} told;

static void note_damaged(void *context, mp_str address, uint64_t hash, uint64_t revision)
{
    told *t = context;

    t->count++;
    t->hash = hash;
    t->revision = revision;
    snprintf(t->address, sizeof(t->address), "%.*s", (int)address.size, address.data);
}

static mp__l3 *scrubbing(mp_platter *disk, uint64_t bytes_max, uint64_t rate, told *t)
{
    mp__l3_options options = {.env = mp_platter_env(disk),
                              .dir = L3_DIR,
                              .bytes_max = bytes_max,
                              .segment_bytes = SEGMENT,
                              .sync_ms = 1000,
                              .pending_bytes_max = 1u << 20,
                              .scrub_rate = rate,
                              .on_damaged = t ? note_damaged : NULL,
                              .context = t};
    mp__l3 *l3 = NULL;
    mp__diag diag = {0};

    if (mp__l3_open(&options, &l3, &diag) != 0)
        fail_msg("%s", diag.text);
    return l3;
}

static void name_of(unsigned i, char address[32])
{
    snprintf(address, 32, "e/n/%u", i);
}

static void value_of(unsigned i, char value[400])
{
    memset(value, 'v', 399);
    value[399] = '\0';
    for (size_t at = 398; i; i /= 10)
        value[at--] = (char)('0' + i % 10);
}

static void put_all(mp__l3 *l3)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        char address[32], value[400];

        name_of(i, address);
        value_of(i, value);
        assert_int_equal(l3_put(l3, address, value, i + 1), 0);
    }
    assert_int_equal(mp__l3_flush(l3), 0);
}

/* Turn the clock until @passes whole passes are done. */
static void scrub_until(mp_platter *disk, mp__l3 *l3, uint64_t passes)
{
    for (unsigned seconds = 0; l3_stats(l3).scrub_passes < passes; seconds++) {
        assert_true(seconds < 10000);
        mp_platter_turn(disk, 1000);
        mp_platter_run(disk, true);
    }
}

/* Where on the disk the record of @address stands. */
static unsigned char *record_of(mp_platter *disk, mp__l3 *l3, const char *address)
{
    uint64_t hash = l3_hash(l3, address);
    mp__l3_slot *slot = mp__l3_shard_find(mp__l3_index_shard(&l3->index, hash), hash);
    mp__l3_place place = mp__l3_slot_place(slot);
    char path[MP__L3_PATH_MAX];
    unsigned char *bytes;
    size_t size;

    assert_true(place != 0);
    mp__l3_segment_path(l3, l3->index.segments[mp__l3_place_id(place)]->seed.number, path);
    bytes = mp_platter_bytes(disk, path, &size);
    assert_non_null(bytes);
    return bytes + mp__l3_place_offset(place);
}

/* ---- scrubbing ---- */

static void every_record_is_read_again(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    told t = {0};
    mp__l3 *l3 = scrubbing(disk, ROOMY, 64 << 10, &t);
    uint64_t before;

    (void)state;
    put_all(l3);
    scrub_until(disk, l3, 1);
    before = l3_stats(l3).scrubbed_bytes;
    assert_true(before >= RECORDS * 500);
    scrub_until(disk, l3, 2);
    assert_in_range(l3_stats(l3).scrubbed_bytes - before, RECORDS * 500, RECORDS * 540);
    assert_true(l3_stats(l3).scrub_passed_ms != 0);
    assert_int_equal(t.count, 0);
    assert_int_equal(l3_stats(l3).scrub_damaged, 0);
    mp__l3_free(l3);
    mp_platter_free(disk);
}

static void no_more_is_read_than_the_rate_allows(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = scrubbing(disk, ROOMY, 2000, NULL);
    uint64_t read = 0;

    (void)state;
    put_all(l3);
    mp_platter_turn(disk, 3600 * 1000); /* an hour in which nobody ran is not made up for */
    for (unsigned s = 1; s <= 60; s++) {
        mp_platter_run(disk, true);
        read = l3_stats(l3).scrubbed_bytes;
        assert_true(read <= s * 2000 + 600);
        mp_platter_turn(disk, 1000);
    }
    assert_true(read >= 50 * 2000);
    mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_flipped_bit_is_found_told_and_not_there_after_a_restart(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    told t = {0};
    mp__l3 *l3 = scrubbing(disk, ROOMY, 64 << 10, &t);

    (void)state;
    put_all(l3);
    record_of(disk, l3, "e/n/77")[MP__L3_RECORD_HEAD + 100] ^= 4;
    scrub_until(disk, l3, 1);
    assert_int_equal(t.count, 1);
    assert_string_equal(t.address, "e/n/77");
    assert_true(t.hash == l3_hash(l3, "e/n/77") && t.revision == 78);
    assert_int_equal(l3_stats(l3).scrub_damaged, 1);
    assert_int_equal(l3_stats(l3).corrupt, 1);
    assert_string_equal(l3_get(l3, "e/n/77"), "MP_EUNKNOWN");
    scrub_until(disk, l3, 3); /* it is told once */
    assert_int_equal(t.count, 1);
    l3 = mp__l3_free(l3);
    l3 = scrubbing(disk, ROOMY, 0, NULL);
    assert_string_equal(l3_get(l3, "e/n/77"), "MP_EUNKNOWN");
    assert_int_equal(l3_put(l3, "e/n/77", "again", 78), 0); /* the same revision heals it */
    assert_string_equal(l3_get(l3, "e/n/77"), "again");
    assert_int_equal(l3_stats(l3).healed, 1);
    mp__l3_free(l3);
    mp_platter_free(disk);
}

/* Whose it was cannot be told, but its hash is known: nothing older is given. */
static void a_record_whose_head_is_damaged_is_left_out(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    told t = {0};
    mp__l3 *l3 = scrubbing(disk, ROOMY, 64 << 10, &t);

    (void)state;
    put_all(l3);
    record_of(disk, l3, "e/n/5")[MP__L3_RECORD_HEAD] ^= 1;
    scrub_until(disk, l3, 1);
    assert_int_equal(t.count, 0);
    assert_int_equal(l3_stats(l3).scrub_damaged, 1);
    assert_string_equal(l3_get(l3, "e/n/5"), "MP_EUNKNOWN");
    mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_disk_error_while_scrubbing_loses_nothing(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    told t = {0};
    mp__l3 *l3 = scrubbing(disk, ROOMY, 64 << 10, &t);
    char value[400];

    (void)state;
    put_all(l3);
    mp_platter_fail(disk, MP_PLATTER_READ, 1, RECORDS, -EIO);
    scrub_until(disk, l3, 1);
    mp_platter_fail(disk, 0, 0, 0, 0);
    assert_int_equal(t.count, 0);
    assert_true(l3_stats(l3).errors > 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        char address[32];

        name_of(i, address);
        value_of(i, value);
        assert_string_equal(l3_get(l3, address), value);
    }
    mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- healing through the cache ---- */

static unsigned asked;

static void ask_origin(void *context, mp_str address, uint64_t hash)
{
    (void)context;
    (void)hash;
    asked += mp_str_equal(address, MP_STR("e/n/gone"));
}

static void put_value(mp_cache *cache, const char *address, const char *value)
{
    mp__record record = {.address = mp_str_of(address),
                         .value = mp_str_of(value),
                         .kind = MP__RECORD_VALUE,
                         .revision = 7};

    assert_int_equal(mp__cache_put_record(cache, &record, 0, 3, 4, NULL), 0);
}

static void what_is_lost_on_disk_comes_back_from_l1_or_the_origin_is_asked(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__cache_options options = {.env = mp_platter_env(disk),
                                 .l3_dir = L3_DIR,
                                 .l3_bytes = ROOMY,
                                 .l3_segment_bytes = SEGMENT,
                                 .l3_scrub_rate = 64 << 10,
                                 .on_damaged = ask_origin};
    mp__cache_soundness soundness = {0};
    mp_cache *cache = NULL;
    unsigned char *bytes;
    size_t size;

    (void)state;
    asked = 0;
    assert_int_equal(mp__cache_open(&options, &cache, NULL), 0);
    put_value(cache, "e/n/kept", "the value of kept");
    put_value(cache, "e/n/gone", "the value of gone");
    assert_int_equal(mp__cache_flush(cache), 0);
    mp__cache_forget_l1(cache, MP_STR("e/n/gone"),
                        mp__cache_hash(mp__cache_hasher(cache), MP_STR("e/n/gone")));
    bytes = mp_platter_bytes(disk, L3_SEGMENT_1, &size);
    for (size_t i = 0; i + 12 < size; i++)
        if (memcmp(bytes + i, "the value of", 12) == 0)
            bytes[i] = 'T';
    for (unsigned s = 0; soundness.passes < 1; s++) {
        assert_true(s < 1000);
        mp_platter_turn(disk, 1000);
        mp_platter_run(disk, true);
        mp__cache_soundness_read(cache, &soundness);
    }
    assert_int_equal(soundness.damaged, 2);
    assert_int_equal(soundness.healed, 1);
    assert_int_equal(asked, 1);
    mp__cache_scrub_stop(cache);
    cache = mp_cache_free(cache);
    assert_int_equal(mp__cache_open(&options, &cache, NULL), 0);
    {
        mp_blob *value = NULL;

        assert_int_equal(mp_cache_load(cache, MP_STR("e/n/kept"), &value), 0);
        assert_memory_equal(value->data, "the value of kept", 17);
        mp_blob_unref(value);
        assert_int_equal(mp_cache_load(cache, MP_STR("e/n/gone"), &value), MP_EUNKNOWN);
    }
    mp_cache_free(cache);
    mp_platter_free(disk);
}

/* ---- room ---- */

static void put_expiring(mp__l3 *l3, const char *address, const char *value, uint64_t revision,
                         int64_t expires_ms)
{
    mp__record record = {.address = mp_str_of(address),
                         .value = mp_str_of(value),
                         .kind = MP__RECORD_VALUE,
                         .revision = revision,
                         .expires_ms = expires_ms};

    assert_int_equal(mp__l3_put(l3, l3_hash(l3, address), &record, false, 0, 0), 0);
}

/* Also where a reader still wants them: without their room the others could not all stay. */
static void the_room_of_expired_values_is_taken_back(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = scrubbing(disk, TIGHT, 0, NULL);
    int64_t soon = mp__env_wall_ms(mp_platter_env(disk)) + 1000;
    char address[32], value[400];

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/x", "of old", 1), 0);
    put_expiring(l3, "e/n/x", "for a second", 2, soon);
    assert_string_equal(l3_get(l3, "e/n/x"), "for a second");
    for (unsigned i = 0; i < 300; i++) {
        name_of(i, address);
        value_of(i, value);
        put_expiring(l3, address, value, i + 3, soon);
        assert_string_equal(l3_get(l3, address), value);
    }
    mp_platter_run(disk, false);
    mp_platter_turn(disk, 2000);
    for (unsigned i = 0; i < 4000; i++) {
        name_of(1000 + i % 500, address);
        value_of(i, value);
        assert_int_equal(l3_put(l3, address, value, 1000 + i), 0);
        if (i % 20 == 0)
            mp_platter_run(disk, false);
    }
    assert_true(l3_stats(l3).expired > 200);
    assert_int_equal(l3_stats(l3).forgotten, 0);
    l3 = mp__l3_free(l3);
    l3 = scrubbing(disk, TIGHT, 0, NULL);
    assert_string_equal(l3_get(l3, "e/n/x"), "MP_EUNKNOWN"); /* and nothing older in its place */
    for (unsigned i = 0; i < 500; i++) {
        name_of(1000 + i, address);
        value_of(3500 + i, value);
        assert_string_equal(l3_get(l3, address), value);
    }
    mp__l3_free(l3);
    mp_platter_free(disk);
}

static void everything_is_admitted_while_there_is_room(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = scrubbing(disk, ROOMY, 0, NULL);

    (void)state;
    put_all(l3);
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(mp__l3_admits(l3, i * 0x9e3779b97f4a7c15u));
    mp__l3_free(l3);
    mp_platter_free(disk);
}

static void when_nearly_full_a_fill_is_admitted_the_second_time(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = scrubbing(disk, TIGHT, 0, NULL);
    unsigned admitted = 0;
    char address[32], value[400];

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        name_of(i, address);
        value_of(i, value);
        assert_int_equal(l3_put(l3, address, value, i + 1), 0);
        if (i % 20 == 0)
            mp_platter_run(disk, false);
    }
    mp_platter_run(disk, true);
    for (unsigned i = 0; i < 500; i++) {
        name_of(10000 + i, address);
        admitted += mp__l3_admits(l3, l3_hash(l3, address));
    }
    assert_true(admitted < 25); /* where both of its counters are shared */
    assert_int_equal(l3_stats(l3).not_admitted, 500 - admitted);
    for (unsigned i = 0; i < 500; i++) {
        name_of(10000 + i, address);
        assert_true(mp__l3_admits(l3, l3_hash(l3, address)));
    }
    assert_true(mp__l3_admits(l3, l3_hash(l3, "e/n/1999"))); /* it is kept: it must not grow old */
    mp__l3_free(l3);
    mp_platter_free(disk);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(every_record_is_read_again),
    MP_TEST(no_more_is_read_than_the_rate_allows),
    MP_TEST(a_flipped_bit_is_found_told_and_not_there_after_a_restart),
    MP_TEST(a_record_whose_head_is_damaged_is_left_out),
    MP_TEST(a_disk_error_while_scrubbing_loses_nothing),
    MP_TEST(what_is_lost_on_disk_comes_back_from_l1_or_the_origin_is_asked),
    MP_TEST(the_room_of_expired_values_is_taken_back),
    MP_TEST(everything_is_admitted_while_there_is_room),
    MP_TEST(when_nearly_full_a_fill_is_admitted_the_second_time),
};

MP_TEST_MAIN(tests)

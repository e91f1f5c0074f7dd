/* SPDX-License-Identifier: Apache-2.0 */
/* L3 while its index is brought in: what is on disk is never taken for unknown, and what is put
 * meanwhile stands where it would have stood. */
#include "l3_test.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "mp_fail.h"

enum { SEGMENT = 64 << 10, COUNT = 400 };
#define BYTES_MAX ((uint64_t)SEGMENT * 1000)

static const char *value_of(unsigned i)
{
    static char value[400];

    snprintf(value, sizeof(value), "%-300u", i);
    return value;
}

static void put_all(mp__l3 *l3)
{
    for (unsigned i = 0; i < COUNT; i++) {
        char address[64];

        snprintf(address, sizeof(address), "env/space/%u", i);
        assert_int_equal(l3_put(l3, address, value_of(i), 100 + i), 0);
    }
}

static void check_all(mp__l3 *l3)
{
    for (unsigned i = 0; i < COUNT; i++) {
        char address[64];

        snprintf(address, sizeof(address), "env/space/%u", i);
        assert_string_equal(l3_get(l3, address), value_of(i));
    }
}

/* A disk with several sealed segments and one that is not. */
static mp_platter *filled_disk(void)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3;

    l3_is_lazy = false;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    put_all(l3);
    assert_int_equal(mp__l3_flush(l3), 0);
    l3 = mp__l3_free(l3);
    assert_true(mp_platter_count(disk, ".seg") >= 3);
    l3_is_lazy = true;
    return disk;
}

static mp_platter *disk_done(mp_platter *disk)
{
    l3_is_lazy = false;
    return mp_platter_free(disk);
}

static bool index_is_whole(mp__l3 *l3)
{
    return mp__l3_is_loaded(l3);
}

static void a_value_on_disk_is_found_before_the_index_is_whole(void **state)
{
    mp_platter *disk = filled_disk();
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    uint64_t revision;

    (void)state;
    assert_false(index_is_whole(l3));
    assert_string_equal(l3_get_as(l3, "env/space/7", &revision, true), "MP_EAGAIN");
    assert_string_equal(l3_get(l3, "env/space/7"), value_of(7));
    assert_string_equal(l3_get_as(l3, "env/space/7", &revision, true), value_of(7));
    assert_false(index_is_whole(l3));
    assert_int_equal(l3_stats(l3).recovered, COUNT);
    assert_int_equal(mp__l3_revision_max(l3), 100 + COUNT - 1);
    check_all(l3);
    mp_platter_run(disk, true);
    assert_true(index_is_whole(l3));
    assert_int_equal(l3_stats(l3).entries, COUNT);
    check_all(l3);
    l3 = mp__l3_free(l3);
    disk_done(disk);
}

static void what_is_not_on_disk_is_unknown_only_once_that_was_looked_at(void **state)
{
    mp_platter *disk = filled_disk();
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    uint64_t revision;

    (void)state;
    assert_string_equal(l3_get_as(l3, "env/space/none", &revision, true), "MP_EAGAIN");
    assert_string_equal(l3_get(l3, "env/space/none"), "MP_EUNKNOWN");
    assert_string_equal(l3_get_as(l3, "env/space/none", &revision, true), "MP_EUNKNOWN");
    l3 = mp__l3_free(l3);
    disk_done(disk);
}

static void the_writer_brings_in_what_nobody_asks_for(void **state)
{
    mp_platter *disk = filled_disk();
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    (void)state;
    mp_platter_run(disk, false);
    assert_true(index_is_whole(l3));
    check_all(l3);
    l3 = mp__l3_free(l3);
    disk_done(disk);
}

/* Of each sort one is put before the index is there, then read and settled, and read after a
 * restart: the outcome is that of a whole index. */
static void check_early(mp__l3 *l3, mp_platter *disk)
{
    uint64_t revision;

    assert_string_equal(l3_get_as(l3, "env/space/1", &revision, false), "newer");
    assert_int_equal(revision, 5000);
    assert_string_equal(l3_get_as(l3, "env/space/2", &revision, false), value_of(2));
    assert_int_equal(revision, 102);
    assert_string_equal(l3_get_as(l3, "env/space/3", &revision, false), "forced");
    assert_int_equal(revision, 1);
    assert_string_equal(l3_get(l3, "env/space/4"), "-");
    assert_string_equal(l3_get(l3, "env/space/5"), value_of(5));
    assert_string_equal(l3_get(l3, "env/space/new"), "new");
    (void)disk;
}

static void what_is_put_before_the_index_is_whole_stands_as_if_it_were(void **state)
{
    mp_platter *disk = filled_disk();
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    (void)state;
    assert_int_equal(l3_put(l3, "env/space/1", "newer", 5000), 0);
    assert_int_equal(l3_put(l3, "env/space/2", "late", 2), 0);
    assert_int_equal(l3_put_as(l3, "env/space/3", "forced", 1, true), 0);
    assert_int_equal(l3_put(l3, "env/space/4", NULL, 5001), 0);
    assert_int_equal(l3_put(l3, "env/space/5", value_of(5), 105), 0);
    assert_int_equal(l3_put(l3, "env/space/new", "new", 5002), 0);
    assert_false(index_is_whole(l3));
    check_early(l3, disk);
    assert_int_equal(mp__l3_flush(l3), 0);
    check_early(l3, disk);
    assert_int_equal(l3_stats(l3).entries, COUNT + 1);
    assert_int_equal(l3_stats(l3).pending_bytes, 0);
    mp_platter_power_off(disk, MP_PLATTER_LOSE);
    l3 = mp__l3_free(l3);
    mp_platter_power_on(disk);
    for (int lazy = 0; lazy < 2; lazy++) {
        l3_is_lazy = lazy;
        l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        check_early(l3, disk);
        l3 = mp__l3_free(l3);
    }
    disk_done(disk);
}

static void what_cannot_be_taken_early_hides_what_is_on_disk(void **state)
{
    mp_platter *disk = filled_disk();
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    char address[64];
    int rc = 0;

    (void)state;
    for (unsigned i = 0; rc == 0; i++) { /* until the queue is full */
        snprintf(address, sizeof(address), "env/other/%u", i);
        rc = l3_put(l3, address, value_of(i), 6000 + i);
    }
    assert_int_equal(rc, MP_ELIMIT);
    assert_int_equal(l3_put(l3, "env/space/1", value_of(999), 90000), MP_ELIMIT);
    assert_string_equal(l3_get(l3, "env/space/1"), "MP_EUNKNOWN");
    assert_int_equal(l3_put(l3, "env/space/2", value_of(999), 2), MP_ELIMIT); /* is older */
    assert_string_equal(l3_get(l3, "env/space/2"), value_of(2));
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_string_equal(l3_get(l3, "env/space/1"), "MP_EUNKNOWN");
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_equal(l3_get(l3, "env/space/1"), "MP_EUNKNOWN");
    assert_string_equal(l3_get(l3, "env/space/2"), value_of(2));
    l3 = mp__l3_free(l3);
    disk_done(disk);
}

static void a_closed_l3_that_was_not_asked_for_anything_is_as_it_was(void **state)
{
    mp_platter *disk = filled_disk();
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    (void)state;
    assert_string_equal(l3_get(l3, "env/space/9"), value_of(9));
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(l3_put(l3, "env/space/9", "put and closed at once", 7000), 0);
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_equal(l3_get(l3, "env/space/9"), "put and closed at once");
    assert_string_equal(l3_get(l3, "env/space/10"), value_of(10));
    l3 = mp__l3_free(l3);
    disk_done(disk);
}

/* An error that does not go away is no answer of "unknown", and one that does loses nothing. */
static void a_disk_error_while_a_shard_is_read_is_told_and_forgotten(void **state)
{
    mp_platter *disk = filled_disk();
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    (void)state;
    mp_platter_fail(disk, MP_PLATTER_READ, 1, 1000000, -ENXIO);
    assert_string_equal(l3_get(l3, "env/space/7"), "MP_ECORRUPT");
    assert_true(l3_stats(l3).errors > 0);
    mp_platter_fail(disk, 0, 0, 0, 0);
    assert_string_equal(l3_get(l3, "env/space/7"), value_of(7));
    check_all(l3);
    l3 = mp__l3_free(l3);
    disk_done(disk);
}

static void any_one_allocation_while_a_shard_is_read_may_fail(void **state)
{
    bool failed = true;

    (void)state;
    for (size_t n = 1; failed; n++) {
        mp_platter *disk = filled_disk();
        mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        const char *got;

        mp_fail_begin(n);
        got = l3_get(l3, "env/space/7");
        failed = mp_fail_end();
        if (failed)
            assert_true(strncmp(got, "MP_E", 4) == 0 && strcmp(got, "MP_EUNKNOWN") != 0);
        check_all(l3);
        l3 = mp__l3_free(l3);
        disk_done(disk);
    }
}

/* ---- a segment without a footer ---- */

/* Larger than the pieces it is read in, with records on their borders and one larger than they. */
static void a_large_segment_that_was_not_sealed_is_found_whole(void **state)
{
    enum { LARGE = 8 << 20, RECORDS = 900, HUGE = 450, HUGE_SIZE = 700 * 1024 };
    mp_platter *disk = mp_platter_new(1);
    char *value = malloc(HUGE_SIZE + 1), address[64];
    mp__l3 *l3 = l3_open(disk, (uint64_t)LARGE * 8, LARGE);

    (void)state;
    assert_non_null(value);
    for (unsigned i = 0; i < RECORDS; i++) {
        size_t size = i == HUGE ? HUGE_SIZE : i * 7919u % 3000;

        memset(value, 'a' + (int)(i % 26), size);
        value[size] = '\0';
        snprintf(address, sizeof(address), "env/space/%u", i);
        assert_int_equal(l3_put(l3, address, value, i + 1), 0);
        if (i % 100 == 99)
            assert_int_equal(mp__l3_flush(l3), 0);
    }
    mp_platter_power_off(disk, MP_PLATTER_KILL);
    l3 = mp__l3_free(l3);
    mp_platter_power_on(disk);
    l3 = l3_open(disk, (uint64_t)LARGE * 8, LARGE);
    assert_int_equal(mp_platter_count(disk, ".seg"), 1);
    assert_int_equal(l3_stats(l3).recovered, RECORDS);
    assert_int_equal(l3_stats(l3).corrupt, 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        uint32_t generation, verify_by_s;
        mp__record record;
        void *memory;

        snprintf(address, sizeof(address), "env/space/%u", i);
        assert_int_equal(mp__l3_get(l3, mp_str_of(address), l3_hash(l3, address), false, &record,
                                    &memory, &generation, &verify_by_s),
                         0);
        assert_int_equal(record.value.size, i == HUGE ? HUGE_SIZE : i * 7919u % 3000);
        assert_true(record.value.size == 0 || record.value.data[0] == (char)('a' + i % 26));
        mp__free(memory);
    }
    l3 = mp__l3_free(l3);
    free(value);
    mp_platter_free(disk);
}

/* ---- footers of before ---- */

static uint64_t seed_for(const mp__l3_seed *seed, uint64_t count, uint64_t what)
{
    uint64_t place[3] = {htole64(seed->number), htole64(count), htole64(what)};

    return mp__siphash13(seed->footer, place, sizeof(place));
}

static void put_le64(unsigned char *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, 8);
}

/* The footer of @file as it was written before footers had a directory: rows in the order of the
 * log. Returns the size of the file. */
static size_t make_old(unsigned char *file, size_t size, const mp__l3_seed *seed)
{
    unsigned char *trailer = file + size - MP__L3_TRAILER;
    mp__l3_row *rows;
    mp__l3_footer footer;

    assert_int_equal(mp__l3_trailer_read(trailer, size, seed, &footer), 0);
    assert_true(footer.directory_at != 0);
    rows = calloc(footer.count, sizeof(*rows));
    assert_non_null(rows);
    assert_int_equal(mp__l3_rows_read(file + footer.rows_at, &footer, seed, rows), 0);
    /* the same as the new one at another place: parts instead of the log's order do no harm */
    memmove(file + footer.directory_at, file + footer.rows_at, footer.count * MP__L3_ROW);
    trailer = file + footer.directory_at + footer.count * MP__L3_ROW;
    memset(trailer, 0, MP__L3_TRAILER);
    memcpy(trailer, "MPL3END", 8);
    put_le64(trailer + 8, footer.count);
    put_le64(trailer + 16, mp__checksum(seed_for(seed, footer.count, MP__L3_ROW),
                                        file + footer.directory_at, footer.count * MP__L3_ROW));
    put_le64(trailer + 56, mp__checksum(seed_for(seed, footer.count, MP__L3_TRAILER), trailer, 56));
    free(rows);
    return (size_t)footer.directory_at + footer.count * MP__L3_ROW + MP__L3_TRAILER;
}

static void a_footer_without_a_directory_is_read_as_before(void **state)
{
    mp_platter *disk = filled_disk();
    unsigned char *copy;
    size_t size;
    mp__l3_segment_head head;
    mp__l3_seed seed;
    mp__l3 *l3;

    (void)state;
    copy = mp_platter_bytes(disk, L3_SEGMENT_1, &size);
    assert_int_equal(mp__l3_head_read(copy, size, &head), 0);
    seed = (mp__l3_seed){head.secret, head.number, NULL, head.made_of};
    copy = memcpy(malloc(size), copy, size);
    size = make_old(copy, size, &seed);
    mp_platter_put(disk, L3_SEGMENT_1, copy, size);
    free(copy);
    for (int lazy = 0; lazy < 2; lazy++) {
        l3_is_lazy = lazy;
        l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        assert_int_equal(l3_stats(l3).recovered, COUNT);
        assert_true(l3->segments->has_footer);
        check_all(l3);
        assert_int_equal(l3_stats(l3).corrupt, 0);
        l3 = mp__l3_free(l3);
    }
    disk_done(disk);
}

/* A part of a footer that is damaged is found when it is read: a scan takes its place, and the
 * footer is made anew. */
static void a_damaged_part_of_a_footer_costs_nothing(void **state)
{
    mp_platter *disk = filled_disk();
    mp__l3_segment_head head;
    mp__l3_footer footer;
    unsigned char *file;
    mp__l3_seed seed;
    mp__l3 *l3;
    size_t size;

    (void)state;
    file = mp_platter_bytes(disk, L3_SEGMENT_1, &size);
    assert_int_equal(mp__l3_head_read(file, size, &head), 0);
    seed = (mp__l3_seed){head.secret, head.number, NULL, head.made_of};
    assert_int_equal(mp__l3_trailer_read(file + size - MP__L3_TRAILER, size, &seed, &footer), 0);
    file[footer.rows_at + 8] ^= 1;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_true(l3->segments->has_footer); /* it is not looked at yet */
    check_all(l3);
    assert_false(l3->segments->has_footer);
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_true(l3->segments->has_footer);
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    check_all(l3);
    assert_true(l3->segments->has_footer);
    l3 = mp__l3_free(l3);
    disk_done(disk);
}

/* ---- with real threads ---- */

enum { MANY = 150000, READERS = 2, EVERY = 7 };

typedef struct race {
    mp__l3 *l3;
    _Atomic unsigned number;
} race;

static void many_address(unsigned i, char address[32])
{
    snprintf(address, 32, "e/n/key-%u", i);
}

/* Each reads its share; what is a multiple of EVERY it replaces before. */
static void *read_and_replace(void *context)
{
    race *r = context;
    unsigned number = atomic_fetch_add(&r->number, 1);

    for (unsigned i = number; i < MANY; i += READERS) {
        mp__record record = {.kind = MP__RECORD_VALUE, .revision = MANY + 1u + i};
        char address[32], value[32];
        uint32_t generation, verify_by_s;
        void *memory = NULL;
        uint64_t hash;
        int rc;

        many_address(i, address);
        record.address = mp_str_of(address);
        record.value = mp_str_of(address);
        hash = mp__hasher_hash(mp__l3_hasher(r->l3), record.address);
        if (i % EVERY == 0)
            assert_int_equal(mp__l3_put(r->l3, hash, &record, false, 0, 0), 0);
        rc = mp__l3_get(r->l3, mp_str_of(address), hash, i % 3 == 0, &record, &memory, &generation,
                        &verify_by_s);
        if (rc == MP_EAGAIN)
            rc = mp__l3_get(r->l3, mp_str_of(address), hash, false, &record, &memory, &generation,
                            &verify_by_s);
        assert_int_equal(rc, 0);
        snprintf(value, sizeof(value), "%u", i);
        assert_true(mp_str_equal(record.value, mp_str_of(i % EVERY ? value : address)));
        assert_int_equal(record.revision, (i % EVERY ? 1u : MANY + 1u) + i);
        mp__free(memory);
    }
    return NULL;
}

static void readers_and_writers_may_come_while_the_index_is_brought_in(void **state)
{
    char folder[] = "/tmp/mp-l3-load-XXXXXX", command[64];
    mp__l3_options options = {mp__env_real(), folder, 256u << 20, 1u << 20, 50, 64u << 20};
    pthread_t threads[READERS];
    mp__diag diag = {0};
    race r = {0};

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mp__l3_open(&options, &r.l3, &diag), 0);
    for (unsigned i = 0; i < MANY; i++) {
        char address[32], value[32];

        many_address(i, address);
        snprintf(value, sizeof(value), "%u", i);
        assert_int_equal(l3_put(r.l3, address, value, i + 1), 0);
    }
    r.l3 = mp__l3_free(r.l3);
    assert_int_equal(mp__l3_open(&options, &r.l3, &diag), 0);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_and_replace, &r), 0);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(mp__l3_flush(r.l3), 0);
    assert_int_equal(l3_stats(r.l3).entries, MANY);
    assert_int_equal(l3_stats(r.l3).corrupt, 0);
    r.l3 = mp__l3_free(r.l3);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_value_on_disk_is_found_before_the_index_is_whole),
    MP_TEST(what_is_not_on_disk_is_unknown_only_once_that_was_looked_at),
    MP_TEST(the_writer_brings_in_what_nobody_asks_for),
    MP_TEST(what_is_put_before_the_index_is_whole_stands_as_if_it_were),
    MP_TEST(what_cannot_be_taken_early_hides_what_is_on_disk),
    MP_TEST(a_closed_l3_that_was_not_asked_for_anything_is_as_it_was),
    MP_TEST(a_disk_error_while_a_shard_is_read_is_told_and_forgotten),
    MP_TEST(any_one_allocation_while_a_shard_is_read_may_fail),
    MP_TEST(a_large_segment_that_was_not_sealed_is_found_whole),
    MP_TEST(a_footer_without_a_directory_is_read_as_before),
    MP_TEST(a_damaged_part_of_a_footer_costs_nothing),
    MP_TEST(readers_and_writers_may_come_while_the_index_is_brought_in),
};

MP_TEST_MAIN(tests)

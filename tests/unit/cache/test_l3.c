/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <inttypes.h>
#include <unistd.h>

#include "cache/l3.h"
#include "cache/l3_format.h"
#include "core/core.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "%s/mp-l3-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static mp__l3 *l3_open(uint64_t bytes_max, uint64_t segment_bytes)
{
    mp__l3_options options = {mp__env_real(), folder, bytes_max, segment_bytes, 1000, 64u << 20};
    mp__l3 *l3 = NULL;
    mp__diag diag = {0};

    if (mp__l3_open(&options, &l3, &diag) != 0)
        fail_msg("%s", diag.text);
    return l3;
}

static int put(mp__l3 *l3, const char *address, const char *value, uint64_t revision)
{
    mp__record record = {.address = mp_str_of(address),
                         .value = mp_str_of(value),
                         .media_type = MP_STR("text/plain"),
                         .kind = value ? MP__RECORD_VALUE : MP__RECORD_ABSENT,
                         .revision = revision,
                         .created_ms = 5,
                         .verified_ms = 7};

    return mp__l3_put(l3, mp__hash_str(mp__l3_hash_key(l3), record.address), &record, false, 0, 0);
}

/* The value; "-" for a tombstone; the error's name otherwise. */
static const char *get(mp__l3 *l3, const char *address)
{
    static char text[512];
    mp__record record;
    void *memory = NULL;
    uint32_t generation, verify_by_s;
    int rc =
        mp__l3_get(l3, mp_str_of(address), mp__hash_str(mp__l3_hash_key(l3), mp_str_of(address)),
                   false, &record, &memory, &generation, &verify_by_s);

    if (rc)
        return mp_error_name(rc);
    if (record.kind == MP__RECORD_ABSENT)
        snprintf(text, sizeof(text), "-");
    else
        snprintf(text, sizeof(text), "%.*s", (int)record.value.size, record.value.data);
    mp__free(memory);
    return text;
}

static void what_was_put_is_read_at_once_and_after_a_restart(void **state)
{
    mp__l3 *l3 = l3_open(64u << 20, 1u << 20);

    (void)state;
    assert_int_equal(put(l3, "e/n/a", "one", 1), 0);
    assert_int_equal(put(l3, "e/n/b", "two", 2), 0);
    assert_int_equal(put(l3, "e/n/b", NULL, 3), 0);
    assert_string_equal(get(l3, "e/n/a"), "one");
    assert_string_equal(get(l3, "e/n/b"), "-");
    for (int round = 0; round < 3; round++) {
        l3 = mp__l3_free(l3);
        l3 = l3_open(64u << 20, 1u << 20);
        assert_string_equal(get(l3, "e/n/a"), "one");
        assert_string_equal(get(l3, "e/n/b"), "-");
        assert_string_equal(get(l3, "e/n/c"), "MP_EUNKNOWN");
        assert_true(mp__l3_revision_max(l3) == 3);
    }
    l3 = mp__l3_free(l3);
}

static void an_older_revision_does_not_replace_a_newer(void **state)
{
    mp__l3 *l3 = l3_open(64u << 20, 1u << 20);

    (void)state;
    assert_int_equal(put(l3, "e/n/a", "new", 5), 0);
    assert_int_equal(put(l3, "e/n/a", "old", 4), 0);
    assert_string_equal(get(l3, "e/n/a"), "new");
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(put(l3, "e/n/a", "old", 4), 0);
    assert_string_equal(get(l3, "e/n/a"), "new");
    l3 = mp__l3_free(l3);
}

static void a_tombstone_for_what_was_never_kept_is_not_stored(void **state)
{
    mp__l3 *l3 = l3_open(64u << 20, 1u << 20);
    mp__l3_stats stats;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char address[32];

        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(l3, address, NULL, 1), 0);
    }
    mp__l3_stats_read(l3, &stats);
    assert_int_equal(stats.entries, 0);
    l3 = mp__l3_free(l3);
}

static void a_second_opener_is_refused(void **state)
{
    mp__l3 *l3 = l3_open(64u << 20, 1u << 20), *second = NULL;
    mp__l3_options options = {mp__env_real(), folder, 64u << 20, 1u << 20, 1000, 64u << 20};
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__l3_open(&options, &second, &diag), MP_ELOCKED);
    assert_true(diag.text[0] != '\0');
    l3 = mp__l3_free(l3);
}

static void the_folder_stays_within_its_bound_and_the_newest_is_kept(void **state)
{
    mp__l3 *l3 = l3_open(1u << 20, 128u << 10);
    mp__l3_stats stats;
    char address[32], value[300];
    int kept = 0;

    (void)state;
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < 20000; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(l3, address, value, (uint64_t)i + 1), 0);
        if (i % 100 == 0) {
            assert_int_equal(mp__l3_flush(l3), 0);
            mp__l3_stats_read(l3, &stats);
            assert_true(stats.bytes <= 1u << 20);
        }
    }
    assert_string_equal(get(l3, "e/n/19999"), value);
    assert_string_equal(get(l3, "e/n/0"), "MP_EUNKNOWN");
    mp__l3_stats_read(l3, &stats);
    assert_true(stats.forgotten > 0);
    l3 = mp__l3_free(l3);
    l3 = l3_open(1u << 20, 128u << 10);
    for (int i = 0; i < 20000; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        kept += strcmp(get(l3, address), value) == 0;
    }
    assert_true(kept > 1500 && kept < 3000);
    l3 = mp__l3_free(l3);
}

static void what_is_used_survives_its_segment(void **state)
{
    mp__l3 *l3 = l3_open(1u << 20, 128u << 10);
    char address[32], value[300];

    (void)state;
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    assert_int_equal(put(l3, "e/n/hot", "hot", 1), 0);
    for (int i = 0; i < 20000; i++) {
        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(put(l3, address, value, (uint64_t)i + 2), 0);
        if (i % 100 == 0) {
            assert_string_equal(get(l3, "e/n/hot"), "hot");
            assert_int_equal(mp__l3_flush(l3), 0);
        }
    }
    l3 = mp__l3_free(l3);
}

/* ---- damage ---- */

enum { RECORDS = 8 };

static void write_small_segment(char *path, size_t capacity, bool sealed)
{
    mp__l3 *l3 = l3_open(64u << 20, sealed ? 64u << 10 : 1u << 20);

    for (int i = 0; i < RECORDS; i++) {
        char address[32], value[32];

        snprintf(address, sizeof(address), "e/n/%d", i);
        snprintf(value, sizeof(value), "value-%d", i);
        assert_int_equal(put(l3, address, value, (uint64_t)i + 1), 0);
    }
    l3 = mp__l3_free(l3);
    snprintf(path, capacity, "%s/l3-0000000001.seg", folder);
}

/* Every value is right or not there; returns how many are there. */
static int right_values(void)
{
    mp__l3 *l3 = l3_open(64u << 20, 1u << 20);
    int right = 0;

    for (int i = 0; i < RECORDS; i++) {
        char address[32], value[32];
        const char *got;

        snprintf(address, sizeof(address), "e/n/%d", i);
        snprintf(value, sizeof(value), "value-%d", i);
        got = get(l3, address);
        if (strcmp(got, value) == 0)
            right++;
        else
            assert_true(strncmp(got, "MP_E", 4) == 0);
    }
    l3 = mp__l3_free(l3);
    return right;
}

static void file_write(const char *path, const char *data, size_t size)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static void clean_folder(void)
{
    char command[256];

    snprintf(command, sizeof(command), "rm -f %s/*.seg %s/*.bad", folder, folder);
    assert_int_equal(system(command), 0);
}

static void one_flipped_bit_costs_one_record_at_most(void **state)
{
    char path[128], *data;
    size_t size;

    (void)state;
    write_small_segment(path, sizeof(path), false);
    assert_int_equal(mp__env_read_file(mp__env_real(), path, 1u << 20, &data, &size), 0);
    for (size_t bit = 0; bit < size * 8; bit += 11) {
        int right;

        clean_folder();
        data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
        file_write(path, data, size);
        right = right_values();
        /* the segment's own header condemns all of it; a record's bit, that record */
        assert_true(right >= (bit / 8 < MP__L3_SEGMENT_HEAD ? 0 : RECORDS - 1));
        data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
    }
    mp__free(data);
}

static void a_cut_file_keeps_what_stands_before_the_cut(void **state)
{
    char path[128], *data;
    size_t size;

    (void)state;
    clean_folder();
    write_small_segment(path, sizeof(path), false);
    assert_int_equal(mp__env_read_file(mp__env_real(), path, 1u << 20, &data, &size), 0);
    for (size_t cut = 0; cut < size; cut += 5) {
        size_t record = (size - MP__L3_SEGMENT_HEAD) / RECORDS;
        int want = cut < MP__L3_SEGMENT_HEAD ? 0 : (int)((cut - MP__L3_SEGMENT_HEAD) / record);

        clean_folder();
        file_write(path, data, cut);
        assert_int_equal(right_values(), want);
    }
    mp__free(data);
}

static void a_newer_format_is_refused_and_left_alone(void **state)
{
    char path[128], *data;
    size_t size;
    uint64_t sum;
    mp__l3_options options = {mp__env_real(), folder, 64u << 20, 1u << 20, 1000, 64u << 20};
    mp__l3 *l3 = NULL;
    mp__diag diag = {0};

    (void)state;
    clean_folder();
    write_small_segment(path, sizeof(path), false);
    assert_int_equal(mp__env_read_file(mp__env_real(), path, 1u << 20, &data, &size), 0);
    data[8] = 99;
    sum = mp__checksum(0, data, MP__L3_SEGMENT_HEAD - 8);
    memcpy(data + MP__L3_SEGMENT_HEAD - 8, &sum, 8);
    file_write(path, data, size);
    assert_int_equal(mp__l3_open(&options, &l3, &diag), MP_EVERSION);
    assert_non_null(strstr(diag.text, "newer"));
    mp__free(data);
}

static void a_hundred_thousand_records_are_recovered_from_footers(void **state)
{
    mp__l3 *l3;
    mp__l3_stats stats;
    char address[32], value[200];

    (void)state;
    clean_folder();
    l3 = l3_open(256u << 20, 4u << 20);
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < 100000; i++) {
        snprintf(address, sizeof(address), "e/n/key-%d", i);
        assert_int_equal(put(l3, address, value, (uint64_t)i + 1), 0);
        if (i % 10000 == 0)
            assert_int_equal(mp__l3_flush(l3), 0);
    }
    l3 = mp__l3_free(l3);
    l3 = l3_open(256u << 20, 4u << 20);
    mp__l3_stats_read(l3, &stats);
    assert_int_equal(stats.entries, 100000);
    assert_string_equal(get(l3, "e/n/key-77777"), value);
    print_message("# recovered 100,000 records of 300 bytes in %.1f ms\n",
                  (double)stats.recovery_ns / 1e6);
    l3 = mp__l3_free(l3);
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
static const struct CMUnitTest tests[] = {
    WITH_FOLDER(what_was_put_is_read_at_once_and_after_a_restart),
    WITH_FOLDER(an_older_revision_does_not_replace_a_newer),
    WITH_FOLDER(a_tombstone_for_what_was_never_kept_is_not_stored),
    WITH_FOLDER(a_second_opener_is_refused),
    WITH_FOLDER(the_folder_stays_within_its_bound_and_the_newest_is_kept),
    WITH_FOLDER(what_is_used_survives_its_segment),
    WITH_FOLDER(one_flipped_bit_costs_one_record_at_most),
    WITH_FOLDER(a_cut_file_keeps_what_stands_before_the_cut),
    WITH_FOLDER(a_newer_format_is_refused_and_left_alone),
    WITH_FOLDER(a_hundred_thousand_records_are_recovered_from_footers),
};

MP_TEST_MAIN(tests)

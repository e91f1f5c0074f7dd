/* SPDX-License-Identifier: Apache-2.0 */
/* L3 sealed with keys: nothing of it can be read on disk, nothing is believed that was not sealed
 * with a key of ours, and without the right key nothing is touched. */
#include "l3_test.h"

#include <errno.h>

enum { SEGMENT = 64 << 10, RECORDS = 120 };
#define ROOMY ((uint64_t)SEGMENT * 100)

#define KEY_1 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_2 "102132435465768798a9bacbdcedfe0f00112233445566778899aabbccddeeff"

static mp__l3_keys *keys_of(const char *text)
{
    mp__l3_keys *keys = NULL;
    mp__diag diag = {0};

    if (mp__l3_keys_parse(mp_str_of(text), &keys, &diag) != 0)
        fail_msg("%s", diag.text);
    return keys;
}

static mp__l3 *open_with(mp_platter *disk, const mp__l3_keys *keys)
{
    l3_keys = keys;
    return l3_open(disk, ROOMY, SEGMENT);
}

static void value_of(unsigned i, char value[900])
{
    (void)snprintf(value, 900, "%u ", i);
    memset(value + strlen(value), 'v', 850);
    value[850] = '\0';
}

static void put_all(mp__l3 *l3)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        char address[40], value[900];

        (void)snprintf(address, sizeof(address), "env/space/secret-name-%u", i);
        value_of(i, value);
        assert_int_equal(l3_put(l3, address, value, i + 1), 0);
    }
    assert_int_equal(mp__l3_flush(l3), 0);
}

static void check_all(mp__l3 *l3)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        char address[40], value[900];

        (void)snprintf(address, sizeof(address), "env/space/secret-name-%u", i);
        value_of(i, value);
        assert_string_equal(l3_get(l3, address), value);
    }
}

static bool is_on_disk(mp_platter *disk, const char *text)
{
    size_t size, length = strlen(text);
    bool found = false;

    for (unsigned number = 1; number < 20; number++) {
        char path[64];
        const unsigned char *bytes;

        (void)snprintf(path, sizeof(path), L3_DIR "/l3-%010u.seg", number);
        bytes = mp_platter_bytes(disk, path, &size);
        found |= bytes && memmem(bytes, size, text, length);
    }
    return found;
}

/* ---- keys ---- */

static void keys_are_lines_of_hexadecimal_digits(void **state)
{
    static const char *const bad[] = {"",
                                      "# nothing",
                                      "00",
                                      KEY_1 "0",
                                      "x" KEY_1,
                                      KEY_1 "\nzz112233445566778899aabbccddeeff00112233445566778899"
                                            "aabbccddeeff"};
    mp__l3_keys *keys = keys_of("# the newest\n\n  " KEY_1 " \r\n" KEY_2 "\n");
    mp__l3_keys *listed = keys_of(KEY_1 "," KEY_2);

    (void)state;
    assert_ptr_equal(mp__l3_keys_find(keys, mp__l3_key_id(mp__l3_keys_first(keys))),
                     mp__l3_keys_first(keys));
    assert_true(mp__l3_key_id(mp__l3_keys_first(keys)) == mp__l3_key_id(mp__l3_keys_first(listed)));
    assert_null(mp__l3_keys_find(keys, 12345));
    keys = mp__l3_keys_free(keys);
    listed = mp__l3_keys_free(listed);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mp__diag diag = {0};

        assert_int_equal(mp__l3_keys_parse(mp_str_of(bad[i]), &keys, &diag), MP_EINVAL);
        assert_true(diag.text[0] != '\0');
        assert_null(strstr(diag.text, "0011"));
        assert_null(keys);
        if (i == 5)
            assert_int_equal(diag.line, 2);
    }
}

/* ---- sealing ---- */

static void nothing_of_addresses_and_values_stands_on_disk(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3_keys *keys = keys_of(KEY_1);
    mp__l3 *l3 = open_with(disk, NULL);

    (void)state;
    put_all(l3);
    l3 = mp__l3_free(l3);
    assert_true(is_on_disk(disk, "secret-name-7") && is_on_disk(disk, "vvvvvvvv"));
    mp_platter_free(disk);

    disk = mp_platter_new(1);
    l3 = open_with(disk, keys);
    put_all(l3);
    check_all(l3);
    l3 = mp__l3_free(l3);
    assert_false(is_on_disk(disk, "secret-name-") || is_on_disk(disk, "vvvvvvvv"));
    assert_false(is_on_disk(disk, "text/plain"));
    l3 = open_with(disk, keys);
    check_all(l3);
    assert_int_equal(l3_stats(l3).corrupt, 0);
    mp__l3_free(l3);
    mp__l3_keys_free(keys);
    mp_platter_free(disk);
}

static void without_the_right_key_it_is_refused_and_nothing_is_touched(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3_keys *keys = keys_of(KEY_1), *wrong = keys_of(KEY_2);
    mp__l3 *l3 = open_with(disk, keys);
    const mp__l3_keys *tries[] = {NULL, wrong};
    unsigned char *copy, *now;
    size_t size, size_now;

    (void)state;
    put_all(l3);
    l3 = mp__l3_free(l3);
    now = mp_platter_bytes(disk, L3_SEGMENT_1, &size);
    copy = malloc(size);
    memcpy(copy, now, size);
    for (size_t i = 0; i < 2; i++) {
        mp__diag diag = {0};

        l3_keys = tries[i];
        assert_int_equal(l3_try_open(mp_platter_env(disk), L3_DIR, ROOMY, SEGMENT, &l3, &diag),
                         MP_EINVAL);
        assert_non_null(strstr(diag.text, "cache.l3_key_file"));
        assert_int_equal(mp_platter_count(disk, ".bad"), 0);
        now = mp_platter_bytes(disk, L3_SEGMENT_1, &size_now);
        assert_int_equal(size_now, size);
        assert_memory_equal(now, copy, size);
    }
    l3 = open_with(disk, keys);
    check_all(l3);
    mp__l3_free(l3);
    free(copy);
    mp__l3_keys_free(keys);
    mp__l3_keys_free(wrong);
    mp_platter_free(disk);
}

/* Who can write to the disk knows the folder's secret and can make sums, but no seals. */
static void a_record_with_right_sums_and_a_wrong_seal_is_not_believed(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3_keys *keys = keys_of(KEY_1), *other = keys_of(KEY_2);
    mp__l3 *l3 = open_with(disk, keys);
    mp__l3_seed forging = {.number = 1, .key = mp__l3_keys_first(other)};
    unsigned char *bytes, forged[1024];
    mp__record record = {.address = MP_STR("e/n/victim"),
                         .value = MP_STR("forged"),
                         .kind = MP__RECORD_VALUE,
                         .revision = 99};
    uint32_t at = MP__L3_SEGMENT_HEAD;
    size_t size;

    (void)state;
    forging.secret = mp__l3_hash_key(l3);
    assert_int_equal(l3_put(l3, "e/n/victim", "right", 1), 0);
    assert_int_equal(mp__l3_flush(l3), 0);
    l3 = mp__l3_free(l3);
    mp__l3_record_write(&record, MP__RECORD_VALUE, 0, forged);
    size = mp__l3_record_make_room(forged);
    mp__l3_record_seal(forged, &forging, at, 0);
    bytes = mp_platter_bytes(disk, L3_SEGMENT_1, &(size_t){0});
    memcpy(bytes + at, forged, size);
    l3 = open_with(disk, keys);
    assert_string_not_equal(l3_get(l3, "e/n/victim"), "forged");
    assert_true(l3_stats(l3).corrupt > 0);
    mp__l3_free(l3);
    mp__l3_keys_free(keys);
    mp__l3_keys_free(other);
    mp_platter_free(disk);
}

static void no_flipped_bit_brings_a_wrong_value(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3_keys *keys = keys_of(KEY_1);
    mp__l3 *l3 = open_with(disk, keys);
    size_t size;

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", "value of a", 1), 0);
    assert_int_equal(l3_put(l3, "e/n/b", "value of b", 2), 0);
    assert_int_equal(mp__l3_flush(l3), 0);
    (void)mp_platter_bytes(disk, L3_SEGMENT_1, &size);
    l3 = mp__l3_free(l3);
    for (size_t bit = (size_t)MP__L3_SEGMENT_HEAD * 8; bit < size * 8; bit += 3) {
        unsigned char *bytes;
        const char *got;

        (void)mp_platter_bytes(disk, L3_SEGMENT_1, &size);
        bytes = malloc(size);
        memcpy(bytes, mp_platter_bytes(disk, L3_SEGMENT_1, &size), size);
        if (bit / 8 >= size) {
            free(bytes);
            break;
        }
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
        {
            mp_platter *other = mp_platter_new(7);
            size_t id_size;
            const unsigned char *id = mp_platter_bytes(disk, L3_DIR "/l3.id", &id_size);

            mp_platter_put(other, L3_DIR "/l3.id", id, id_size);
            mp_platter_put(other, L3_SEGMENT_1, bytes, size);
            l3 = open_with(other, keys);
            got = l3_get(l3, "e/n/a");
            assert_true(strcmp(got, "value of a") == 0 || strncmp(got, "MP_E", 4) == 0);
            got = l3_get(l3, "e/n/b");
            assert_true(strcmp(got, "value of b") == 0 || strncmp(got, "MP_E", 4) == 0);
            l3 = mp__l3_free(l3);
            mp_platter_free(other);
        }
        free(bytes);
    }
    mp__l3_keys_free(keys);
    mp_platter_free(disk);
}

/* ---- other keys ---- */

static void run_until_rewritten(mp_platter *disk, mp__l3 *l3)
{
    for (unsigned i = 0; i < 3 || l3_stats(l3).to_rewrite; i++) {
        assert_true(i < 100);
        mp_platter_turn(disk, 1000);
        mp_platter_run(disk, true);
    }
}

/* From nothing to a first key, and from that to a second: afterwards the last one is enough. */
static void segments_are_rewritten_under_a_new_key(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3_keys *first = keys_of(KEY_1), *both = keys_of(KEY_2 "\n" KEY_1);
    mp__l3_keys *second = keys_of(KEY_2);
    mp__l3 *l3 = open_with(disk, NULL);

    (void)state;
    put_all(l3);
    assert_int_equal(l3_put(l3, "env/space/secret-name-gone", "vvvv", 500), 0);
    assert_int_equal(l3_put(l3, "env/space/secret-name-gone", NULL, 501), 0);
    l3 = mp__l3_free(l3);
    l3 = open_with(disk, first);
    check_all(l3);
    run_until_rewritten(disk, l3);
    check_all(l3);
    l3 = mp__l3_free(l3);
    assert_false(is_on_disk(disk, "secret-name-") || is_on_disk(disk, "vvvvvvvv"));
    l3 = open_with(disk, both);
    run_until_rewritten(disk, l3);
    check_all(l3);
    assert_int_equal(l3_stats(l3).forgotten, 0);
    l3 = mp__l3_free(l3);
    l3 = open_with(disk, second);
    check_all(l3);
    assert_string_not_equal(l3_get(l3, "env/space/secret-name-gone"), "vvvv");
    assert_int_equal(l3_stats(l3).corrupt, 0);
    mp__l3_free(l3);
    mp__l3_keys_free(first);
    mp__l3_keys_free(both);
    mp__l3_keys_free(second);
    mp_platter_free(disk);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(keys_are_lines_of_hexadecimal_digits),
    MP_TEST(nothing_of_addresses_and_values_stands_on_disk),
    MP_TEST(without_the_right_key_it_is_refused_and_nothing_is_touched),
    MP_TEST(a_record_with_right_sums_and_a_wrong_seal_is_not_believed),
    MP_TEST(no_flipped_bit_brings_a_wrong_value),
    MP_TEST(segments_are_rewritten_under_a_new_key),
};

MP_TEST_MAIN(tests)

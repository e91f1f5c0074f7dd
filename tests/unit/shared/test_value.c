/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, keys and values of L4 as bytes. */
#include "mp_test.h"

#include "core/core.h"
#include "shared/internal.h"

static void an_address_has_its_parts_or_is_refused(void **state)
{
    static const struct {
        const char *url, *host, *user, *password;
        unsigned port, database;
    } good[] = {
        {"redis://host", "host", "", "", 6379, 0},
        {"redis://127.0.0.1:1", "127.0.0.1", "", "", 1, 0},
        {"redis://[::1]/7", "::1", "", "", 6379, 7},
        {"redis://[::1]:65535/", "::1", "", "", 65535, 0},
        {"redis://:p@ss:word@host:5/15", "host", "", "p@ss:word", 5, 15},
        {"redis://me:word@host", "host", "me", "word", 6379, 0},
        {"redis://m%65:%2fa%40%3A%25b@host/2", "host", "me", "/a@:%b", 6379, 2},
    };
    static const char *const bad[] = {"",
                                      "redis:/",
                                      "http://host",
                                      "redis://",
                                      "redis:///1",
                                      "redis://me@host",
                                      "redis://me:@host",
                                      "redis://host/-1",
                                      "redis://host/1x",
                                      "redis://host/70000",
                                      "redis://host:0",
                                      "redis://host:70000",
                                      "redis://a:b@",
                                      "redis://:100%@host",
                                      "redis://:a%4@host",
                                      "redis://:a%4g@host",
                                      "redis://a%00:b@host"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        mp__shared_address address;
        mp__diag diag = {0};

        if (mp__shared_address_parse(good[i].url, &address, &diag) != 0)
            fail_msg("%s: %s", good[i].url, diag.text);
        assert_string_equal(address.host, good[i].host);
        assert_string_equal(address.user, good[i].user);
        assert_string_equal(address.password, good[i].password);
        assert_int_equal(address.port, good[i].port);
        assert_int_equal(address.database, good[i].database);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mp__shared_address address = {.port = 77};
        mp__diag diag = {0};

        if (mp__shared_address_parse(bad[i], &address, &diag) != MP_EINVAL)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(diag.text[0] != '\0');
        assert_int_equal(address.port, 77);
    }
}

static const mp__record sample = {.address = MP_STR("production/app/key"),
                                  .value = MP_STR("a value of some length"),
                                  .media_type = MP_STR("text/plain"),
                                  .kind = MP__RECORD_VALUE,
                                  .revision = 18446744073709551615u,
                                  .version = 3,
                                  .verified_ms = 12345};

static void a_value_comes_back_as_it_was(void **state)
{
    mp__shared_name name = {0};
    mp__buf bytes = MP__BUF_INIT;
    mp__record record;

    (void)state;
    mp__shared_name_set(&name, "0123456789abcdef");
    assert_int_equal(mp__shared_value(&name, &sample, &bytes), 0);
    assert_memory_equal(bytes.data, "18446744073709551615", 20);
    assert_int_equal(mp__shared_value_read(&name, sample.address, mp__buf_str(&bytes), &record), 0);
    assert_true(mp_str_equal(record.value, sample.value));
    assert_true(mp_str_equal(record.media_type, sample.media_type));
    assert_true(record.revision == sample.revision && record.version == 3);
    assert_true(record.verified_ms == 12345 && record.kind == MP__RECORD_VALUE);
    mp__buf_done(&bytes);
}

static void no_flipped_bit_no_cut_and_no_other_key_or_life_is_believed(void **state)
{
    mp__shared_name name = {0}, other = {0};
    mp__buf bytes = MP__BUF_INIT;
    mp__record record;

    (void)state;
    mp__shared_name_set(&name, "0123456789abcdef");
    mp__shared_name_set(&other, "0123456789abcdee");
    assert_int_equal(mp__shared_value(&name, &sample, &bytes), 0);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(mp__shared_value_read(&name, sample.address, mp__buf_str(&bytes), &record),
                         MP_ECORRUPT);
        bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t size = 0; size < bytes.size; size++) {
        char *exact = malloc(size + 1); /* so that a sanitizer sees a look behind its end */

        memcpy(exact, bytes.data, size);
        assert_int_equal(
            mp__shared_value_read(&name, sample.address, mp_str_new(exact, size), &record),
            MP_ECORRUPT);
        free(exact);
    }
    assert_int_equal(mp__buf_add_char(&bytes, 'x'), 0);
    assert_int_equal(mp__shared_value_read(&name, sample.address, mp__buf_str(&bytes), &record),
                     MP_ECORRUPT);
    bytes.size--;
    assert_int_equal(
        mp__shared_value_read(&name, MP_STR("production/app/kex"), mp__buf_str(&bytes), &record),
        MP_ECORRUPT);
    assert_int_equal(mp__shared_value_read(&other, sample.address, mp__buf_str(&bytes), &record),
                     MP_ECORRUPT);
    mp__buf_done(&bytes);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(an_address_has_its_parts_or_is_refused),
    MP_TEST(a_value_comes_back_as_it_was),
    MP_TEST(no_flipped_bit_no_cut_and_no_other_key_or_life_is_believed),
};

MP_TEST_MAIN(tests)

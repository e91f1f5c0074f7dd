/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <marketprism/blob.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/core.h"

static void siphash13_matches_the_reference_vectors(void **state)
{
    /* Vectors of SipHash-1-3 for key 00..0f and input 00..(n-1), as in the Rust core library. */
    static const struct {
        size_t size;
        uint64_t want;
    } vectors[] = {{0, 0xabac0158050fc4dcULL}, {1, 0xc9f49bf37d57ca93ULL}};
    unsigned char input[64];
    mp__hash_key key;

    (void)state;
    for (int i = 0; i < 64; i++)
        input[i] = (unsigned char)i;
    key = (mp__hash_key){mp__load_le64(input), mp__load_le64(input + 8)};
    for (size_t i = 0; i < 2; i++)
        assert_true(mp__siphash13(key, input, vectors[i].size) == vectors[i].want);
}

/* As the paper says it: whole words, then the bytes that are left one by one. */
static uint64_t siphash13_plainly(mp__hash_key key, const unsigned char *input, size_t size)
{
    mp__hash_state v = mp__hash_state_of(key);

    for (size_t word = 0; word <= size / 8; word++) {
        uint64_t m = word == size / 8 ? (uint64_t)size << 56 : 0;

        for (size_t i = word * 8; i < size && i < word * 8 + 8; i++)
            m |= (uint64_t)input[i] << (i % 8 * 8);
        v.v3 ^= m;
        MP__SIP_ROUND(v.v0, v.v1, v.v2, v.v3);
        v.v0 ^= m;
    }
    v.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        MP__SIP_ROUND(v.v0, v.v1, v.v2, v.v3);
    return v.v0 ^ v.v1 ^ v.v2 ^ v.v3;
}

static void siphash13_is_the_same_by_every_way_and_reads_nothing_beyond_its_input(void **state)
{
    const mp__hash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

    (void)state;
    for (size_t size = 0; size <= 300; size++) {
        unsigned char *input = mp__realloc_array(NULL, size + 1, 1);

        assert_non_null(input);
        for (size_t i = 0; i <= size; i++)
            input[i] = (unsigned char)(i * 151 + size);
        /* it ends where the memory ends, which the address sanitizer watches */
        assert_true(mp__siphash13(key, input + 1, size) == siphash13_plainly(key, input + 1, size));
        (void)mp__free(input);
    }
}

static void bytes_are_equal_only_if_each_of_them_is(void **state)
{
    unsigned char a[96], b[96];

    (void)state;
    for (size_t size = 0; size <= 80; size++)
        for (size_t from = 0; from < 16; from += 5) { /* neither side need be aligned */
            for (size_t i = 0; i < sizeof(a); i++)
                a[i] = (unsigned char)(i * 7);
            memset(b, 0x5a, sizeof(b));
            memcpy(b + from, a + 1, size);
            assert_true(mp__bytes_equal(a + 1, b + from, size));
            if (mp__bytes_are_middle(size)) /* also as machines without vectors do it */
                assert_true(mp__words_equal_middle(a + 1, b + from, size));
            for (size_t i = 0; i < size; i++) {
                b[from + i] ^= 0x10;
                assert_false(mp__bytes_equal(a + 1, b + from, size));
                if (mp__bytes_are_middle(size))
                    assert_false(mp__words_equal_middle(a + 1, b + from, size));
                b[from + i] ^= 0x10;
            }
        }
}

static void address_of_a_name_without_slash_is_in_the_default_namespace(void **state)
{
    char out[MP__ADDRESS_MAX];
    int size = mp__address_from_name(MP_STR("production"), MP_STR("db:host"), out, NULL);

    (void)state;
    assert_true(size > 0);
    mp_assert_str(mp_str_new(out, (size_t)size), "production/default/db:host");
    mp_assert_str(mp__address_name(mp_str_new(out, (size_t)size)), "db:host");
}

static void address_round_trips_through_its_name(void **state)
{
    static const char *const names[] = {"a", "ns/a", "ns/a/b/c", "default/x/y"};
    char out[MP__ADDRESS_MAX];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        int size = mp__address_from_name(MP_STR("e"), mp_str_of(names[i]), out, NULL);

        assert_true(size > 0);
        mp_assert_str(mp__address_name(mp_str_new(out, (size_t)size)), names[i]);
    }
}

static void address_refuses_empty_parts_and_control_characters(void **state)
{
    static const char *const names[] = {"", "/x", "x/", "a\nb", "a\x7f"};
    char out[MP__ADDRESS_MAX];
    mp__diag diag;

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        diag.text[0] = '\0';
        assert_int_equal(mp__address_from_name(MP_STR("e"), mp_str_of(names[i]), out, &diag),
                         MP_EINVAL);
        assert_true(diag.text[0] != '\0');
    }
}

static void a_control_character_is_found_wherever_it_stands(void **state)
{
    char key[24], out[MP__ADDRESS_MAX];

    (void)state;
    for (size_t size = 1; size < sizeof(key); size++)
        for (size_t at = 0; at < size; at++)
            for (int byte = 0; byte < 256; byte++) {
                bool control = byte < 0x20 || byte == 0x7f;

                memset(key, at % 2 ? '\xff' : ' ', sizeof(key));
                key[at] = (char)byte;
                assert_int_equal(mp__address_join(MP_STR("e"), MP_STR("n"), mp_str_new(key, size),
                                                  out, NULL) == MP_EINVAL,
                                 control);
            }
}

static void every_error_has_a_name_and_a_text(void **state)
{
    (void)state;
#define X(name, number, text, remedy)                                                              \
    assert_string_equal(mp_error_name(name), #name);                                               \
    assert_string_equal(mp_strerror(name), text);
    MP_ERROR_TABLE(X)
#undef X
    assert_string_equal(mp_error_name(-2), "ENOENT");
    assert_string_equal(mp_strerror(0), "success");
}

static void buffer_stops_at_its_limit_and_keeps_the_error(void **state)
{
    mp__buf buf = {.size_max = 8};

    (void)state;
    assert_int_equal(mp__buf_add(&buf, "12345678", 8), 0);
    assert_int_equal(mp__buf_add_char(&buf, '9'), MP_ELIMIT);
    assert_int_equal(mp__buf_add(&buf, "", 0), MP_ELIMIT);
    assert_int_equal(buf.size, 8);
    mp__buf_done(&buf);
}

static void blob_is_freed_with_its_last_reference(void **state)
{
    mp_blob *blob = NULL;

    (void)state;
    assert_int_equal(mp_blob_new("abc", 3, &blob), 0);
    assert_ptr_equal(mp_blob_ref(blob), blob);
    assert_null(mp_blob_unref(blob));
    mp_assert_str(mp_blob_str(blob), "abc");
    assert_null(mp_blob_unref(blob)); /* the leak sanitizer sees it if this does not free */
}

static const struct CMUnitTest tests[] = {
    MP_TEST(siphash13_matches_the_reference_vectors),
    MP_TEST(siphash13_is_the_same_by_every_way_and_reads_nothing_beyond_its_input),
    MP_TEST(bytes_are_equal_only_if_each_of_them_is),
    MP_TEST(address_of_a_name_without_slash_is_in_the_default_namespace),
    MP_TEST(address_round_trips_through_its_name),
    MP_TEST(address_refuses_empty_parts_and_control_characters),
    MP_TEST(a_control_character_is_found_wherever_it_stands),
    MP_TEST(every_error_has_a_name_and_a_text),
    MP_TEST(buffer_stops_at_its_limit_and_keeps_the_error),
    MP_TEST(blob_is_freed_with_its_last_reference),
};

MP_TEST_MAIN(tests)

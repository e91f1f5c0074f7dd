/* SPDX-License-Identifier: Apache-2.0 */
/* What is packed without zstd is what zstd reads: each body here comes back through its decoder,
 * which knows the dictionary alone. */
#include "l2_pack_test.h"
#include "mp_fail.h"

#include "cache/l2_tables.h"

/* True: zstd makes @size bytes of what is packed, those of the body. */
static bool zstd_reads(size_t packed_size, size_t size)
{
    ZSTD_DDict *expand = ZSTD_createDDict_byReference(dictionary, dictionary_size);
    size_t made = 0;

    if (expand && !ZSTD_isError(ZSTD_decompressBegin_usingDDict(dctx, expand)))
        made = ZSTD_decompressBlock(dctx, back, sizeof(back), packed, packed_size);
    (void)ZSTD_freeDDict(expand);
    return made == size && memcmp(back, body, size) == 0;
}

/* As @packer, but as on a processor that has only what each has. */
static mp__l2_packer *plain;
static mp__l2_unpacker *unpackers[2]; /* and what reads again, both ways */

static int make_all(void **state)
{
    int rc = make_dictionary(state);

    plain = rc == 0 ? mp__l2_packer_new(dictionary, dictionary_size) : NULL;
    for (unsigned i = 0; i < 2 && rc == 0; i++)
        unpackers[i] = mp__l2_unpacker_new(dictionary, dictionary_size);
    if (!plain || !unpackers[0] || !unpackers[1])
        return -1;
    mp__l2_packer_be_plain(plain);
    mp__l2_unpacker_be_plain(unpackers[1]);
    return 0;
}

static int drop_all(void **state)
{
    plain = mp__l2_packer_free(plain);
    for (unsigned i = 0; i < 2; i++)
        unpackers[i] = mp__l2_unpacker_free(unpackers[i]);
    return drop_dictionary(state);
}

/* Returns what @size bytes of the body are packed to. */
static size_t pack_and_read(const mp__l2_packer *packer, size_t size)
{
    unsigned char *exact = malloc(size); /* so that a sanitizer sees what is read outside */
    size_t packed_size;

    assert_non_null(exact);
    memcpy(exact, body, size);
    packed_size = mp__l2_packer_pack(packer, &room, exact, size, packed, ZSTD_compressBound(size));
    free(exact);
    if (packed_size)
        assert_true(zstd_reads(packed_size, size));
    return packed_size;
}

static mp__l2_packer *packer_new(void)
{
    mp__l2_packer *packer = mp__l2_packer_new(dictionary, dictionary_size);

    assert_non_null(packer);
    return packer;
}

static void every_body_comes_back_through_zstd(void **state)
{
    mp__l2_packer *packer = packer_new();
    size_t sizes[] = {8, 9, 15, 16, 17, 31, 32, 33, 100, 377, 2485, 8192, 30000, BODY - 1, BODY};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t strange = 0; strange <= 100; strange += 4) {
            make_body(sizes[i], strange);
            (void)pack_and_read(packer, sizes[i]);
        }
    for (unsigned i = 0; i < 4000; i++) {
        size_t size = 8 + random_below(i % 16 ? 800 : 5000);

        make_body(size, random_below(30));
        (void)pack_and_read(packer, size);
    }
    (void)mp__l2_packer_free(packer);
}

/* All lengths of runs and matches, whose codes differ, far and near. */
static void lengths_and_offsets_of_all_sizes_come_back(void **state)
{
    mp__l2_packer *packer = packer_new();

    (void)state;
    for (size_t length = 4; length < BODY / 2; length += length < 300 ? 1 : length / 7) {
        for (size_t run = 0; run < 200; run += run < 20 ? 1 : 37) {
            size_t size = run + 2 * length;

            for (size_t i = 0; i < run + length; i++)
                body[i] = (unsigned char)random_below(256);
            memcpy(body + run + length, body + run, length);
            (void)pack_and_read(packer, size);
        }
        memset(body, 'x', length); /* a match that goes on into what it makes */
        assert_true(length < 32 || pack_and_read(packer, length) < 32);
    }
    (void)mp__l2_packer_free(packer);
}

/* Of each pair of loops the one that runs is chosen by the processor, and zstd sees its blocks
 * above; the other one's are no others. */
static void what_is_packed_and_read_does_not_hang_on_the_processor(void **state)
{
    static unsigned char others[PACKED];
    mp__l2_packer *packer = packer_new();

    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        size_t size = i % 400 ? 8 + random_below(i % 16 ? 800 : 5000) : BODY - random_below(200);
        size_t packed_size, other_size, capacity = 16 + random_below(PACKED - 16);

        make_body(size, random_below(40));
        memset(packed, 0, PACKED);
        memset(others, 0, sizeof(others));
        packed_size = mp__l2_packer_pack(packer, &room, body, size, packed, capacity);
        other_size = mp__l2_packer_pack(plain, &room, body, size, others, capacity);
        assert_int_equal(packed_size, other_size);
        assert_memory_equal(packed, others, packed_size);
        for (unsigned k = 0; k < 2 && packed_size; k++) {
            memset(back, 0, size);
            assert_true(mp__l2_unpacker_read(unpackers[k], packed, packed_size, back, size));
            assert_memory_equal(back, body, size);
        }
    }
    (void)mp__l2_packer_free(packer);
}

static void many_literals_are_four_streams_that_come_back(void **state)
{
    mp__l2_packer *packer = packer_new();
    size_t smaller = 0;

    (void)state;
    for (size_t size = 900; size < BODY; size += size < 1200 ? 1 : size / 9) {
        for (size_t i = 0; i < size; i++) /* letters and digits, in no order */
            body[i] = (unsigned char)("etaoinshr0123456 .:"[random_below(19)]);
        smaller += pack_and_read(packer, size) < size;
    }
    assert_true(smaller > 300);
    (void)mp__l2_packer_free(packer);
}

static void what_does_not_get_smaller_writes_nothing_behind_its_room(void **state)
{
    mp__l2_packer *packer = packer_new();

    (void)state;
    for (size_t capacity = 0; capacity < 600; capacity++) {
        unsigned char *small = malloc(capacity + 1);
        size_t size = 8 + random_below(1000);

        assert_non_null(small);
        make_body(size, random_below(100));
        small[capacity] = 0xa5;
        assert_true(mp__l2_packer_pack(packer, &room, body, size, small, capacity) <= capacity);
        assert_int_equal(small[capacity], 0xa5);
        free(small);
    }
    for (size_t i = 0; i < BODY; i++)
        body[i] = (unsigned char)random_below(256);
    assert_int_equal(mp__l2_packer_pack(packer, &room, body, BODY, packed, BODY / 2), 0);
    assert_int_equal(mp__l2_packer_pack(packer, &room, body, (size_t)BODY + 1, packed, BODY), 0);
    (void)mp__l2_packer_free(packer);
}

/* Through L2's own door, beside zstd over the same bodies. */
static void bodies_are_no_larger_than_zstd_makes_them_at_its_first_level(void **state)
{
    mp__l2_packer *packer = packer_new();
    ZSTD_CDict *cdict = ZSTD_createCDict(dictionary, dictionary_size, 1);
    mp__l2_with ours = {.packer = packer, .room = &room};
    mp__l2_with zstd = {.cctx = mp__l2_cctx_new(1), .dictionary = cdict};
    size_t sum = 0, sum_zstd = 0;

    (void)state;
    assert_true(cdict && zstd.cctx && !ZSTD_isError(ZSTD_CCtx_refCDict(zstd.cctx, cdict)));
    for (unsigned i = 0; i < 2000; i++) {
        size_t size = 100 + random_below(3000);

        make_body(size, 1);
        sum += mp__l2_pack(&ours, body, size, packed, PACKED);
        sum_zstd += mp__l2_pack(&zstd, body, size, packed, PACKED);
    }
    print_message("# %zu bytes, zstd %zu\n", sum, sum_zstd);
    assert_true(sum && sum <= sum_zstd);
    assert_int_equal(mp__l2_pack(&ours, body, MP__L2_BODY_LEAST - 1, packed, PACKED), 0);
    (void)ZSTD_freeCCtx(zstd.cctx);
    (void)ZSTD_freeCDict(cdict);
    (void)mp__l2_packer_free(packer);
}

static void what_is_no_dictionary_with_all_codes_is_left_to_zstd(void **state)
{
    mp__l2_tables tables;

    (void)state;
    for (size_t size = 0; size < 256; size++) /* cut anywhere in the tables */
        if (!mp__l2_tables_read(dictionary, size, &tables))
            assert_null(mp__l2_packer_new(dictionary, size));
    assert_true(mp__l2_tables_read(dictionary, dictionary_size, &tables));
    assert_int_equal(tables.size, ZDICT_getDictHeaderSize(dictionary, dictionary_size));
    assert_null(mp__l2_packer_new(dictionary, tables.size + MP__L2_MATCH_CONTENT - 1));
    assert_null(mp__l2_packer_new(dictionary + 8, dictionary_size - 8));
    assert_int_equal(mp__l2_packer_bytes(NULL), 0);
    assert_null(mp__l2_packer_free(NULL));
}

/* Where both take one that is damaged, they take it for the same. */
static void a_damaged_dictionary_is_refused_or_means_what_it_means_to_zstd(void **state)
{
    size_t head = ZDICT_getDictHeaderSize(dictionary, dictionary_size), same = 0;

    (void)state;
    for (size_t at = 0; at < head; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            mp__l2_packer *packer;
            ZSTD_DDict *expand;

            dictionary[at] ^= (unsigned char)(1u << bit);
            packer = mp__l2_packer_new(dictionary, dictionary_size);
            expand = ZSTD_createDDict_byReference(dictionary, dictionary_size);
            make_body(500, 2);
            if (packer && expand && pack_and_read(packer, 500))
                same++;
            (void)ZSTD_freeDDict(expand);
            (void)mp__l2_packer_free(packer);
            dictionary[at] ^= (unsigned char)(1u << bit);
        }
    assert_true(same > 0);
}

static void without_memory_there_is_no_packer_and_nothing_is_packed(void **state)
{
    mp__l2_packer *packer = packer_new();
    mp__l2_pack_room none = {0};

    (void)state;
    make_body(500, 0);
    mp_fail_begin(1);
    assert_null(mp__l2_packer_new(dictionary, dictionary_size));
    assert_true(mp_fail_end());
    mp_fail_begin(1);
    assert_int_equal(mp__l2_packer_pack(packer, &none, body, 500, packed, PACKED), 0);
    assert_true(mp_fail_end());
    assert_true(mp__l2_packer_pack(packer, &none, body, 500, packed, PACKED) > 0);
    mp__l2_pack_room_done(&none);
    (void)mp__l2_packer_free(packer);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(every_body_comes_back_through_zstd),
    MP_TEST(lengths_and_offsets_of_all_sizes_come_back),
    MP_TEST(what_is_packed_and_read_does_not_hang_on_the_processor),
    MP_TEST(many_literals_are_four_streams_that_come_back),
    MP_TEST(what_does_not_get_smaller_writes_nothing_behind_its_room),
    MP_TEST(bodies_are_no_larger_than_zstd_makes_them_at_its_first_level),
    MP_TEST(what_is_no_dictionary_with_all_codes_is_left_to_zstd),
    MP_TEST(a_damaged_dictionary_is_refused_or_means_what_it_means_to_zstd),
    MP_TEST(without_memory_there_is_no_packer_and_nothing_is_packed),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    cmocka_set_test_filter(getenv("MP_TEST"));
    return cmocka_run_group_tests(tests, make_all, drop_all);
}

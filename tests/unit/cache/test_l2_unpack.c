/* SPDX-License-Identifier: Apache-2.0 */
/* What L2 packed comes back without zstd, too, wherever the body is made; and of what was damaged
 * nothing is read or written outside. */
#include "l2_pack_test.h"
#include "mp_fail.h"

static mp__l2_packer *packer;
static mp__l2_unpacker *unpacker, *plain; /* the latter as where a processor has no more */

static int make_both(void **state)
{
    int rc = make_dictionary(state);

    packer = rc == 0 ? mp__l2_packer_new(dictionary, dictionary_size) : NULL;
    unpacker = rc == 0 ? mp__l2_unpacker_new(dictionary, dictionary_size) : NULL;
    plain = rc == 0 ? mp__l2_unpacker_new(dictionary, dictionary_size) : NULL;
    if (!packer || !unpacker || !plain)
        return -1;
    mp__l2_unpacker_be_plain(plain);
    return 0;
}

static int drop_both(void **state)
{
    packer = mp__l2_packer_free(packer);
    unpacker = mp__l2_unpacker_free(unpacker);
    plain = mp__l2_unpacker_free(plain);
    return drop_dictionary(state);
}

/* A copy of @size bytes with as much behind it as may be read, and nothing else. */
static unsigned char *exactly(const unsigned char *bytes, size_t size, size_t slack)
{
    unsigned char *copy = malloc(size + slack);

    assert_non_null(copy);
    memcpy(copy, bytes, size);
    memset(copy + size, 0xa5, slack);
    return copy;
}

/* A block with as much before it and behind it as may be read, and nothing else; to be freed by
 * block_free(). */
static unsigned char *block_of(size_t size)
{
    static unsigned char all[MP__L2_BLOCK_BEFORE + PACKED];

    memset(all, 0x5a, MP__L2_BLOCK_BEFORE);
    memcpy(all + MP__L2_BLOCK_BEFORE, packed, size);
    return exactly(all, MP__L2_BLOCK_BEFORE + size, MP__L2_BLOCK_SLACK) + MP__L2_BLOCK_BEFORE;
}

static void block_free(unsigned char *block)
{
    free(block - MP__L2_BLOCK_BEFORE);
}

/* Right behind the dictionary, in whose copy nothing is before and behind it. */
static void read_behind(const unsigned char *block, size_t packed_size, size_t size)
{
    size_t whole = dictionary_size + size + MP__L2_BODY_SLACK;
    unsigned char *copy = exactly(dictionary, whole, 0);
    mp__l2_unpacker *of_copy = mp__l2_unpacker_new(copy, dictionary_size);

    assert_non_null(of_copy);
    memset(copy + dictionary_size, 0, size);
    assert_true(mp__l2_unpacker_read(of_copy, block, packed_size, copy + dictionary_size, size));
    assert_memory_equal(copy + dictionary_size, body, size);
    assert_memory_equal(copy, dictionary, dictionary_size);
    (void)mp__l2_unpacker_free(of_copy);
    free(copy);
}

static void pack_and_read(size_t size)
{
    size_t packed_size =
        mp__l2_packer_pack(packer, &room, body, size, packed, ZSTD_compressBound(size));
    unsigned char *block, *afar;

    if (!packed_size)
        return;
    block = block_of(packed_size);
    afar = malloc(size + MP__L2_BODY_SLACK);
    assert_non_null(afar);
    assert_true(mp__l2_unpacker_read(unpacker, block, packed_size, afar, size));
    assert_memory_equal(afar, body, size);
    read_behind(block, packed_size, size);
    if (size > 8) { /* a body of another size is none */
        assert_false(mp__l2_unpacker_read(unpacker, block, packed_size, afar, size - 1));
        assert_false(mp__l2_unpacker_read(unpacker, block, packed_size - 1, afar, size));
    }
    free(afar);
    block_free(block);
}

static void every_body_comes_back_behind_its_dictionary_and_elsewhere(void **state)
{
    static const size_t sizes[] = {8,  9,   15,   16,   17,    31,       32,
                                   33, 377, 2485, 8192, 30000, BODY - 1, BODY};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t strange = 0; strange <= 100; strange += 4) {
            make_body(sizes[i], strange);
            pack_and_read(sizes[i]);
        }
    for (unsigned i = 0; i < 1500; i++) {
        size_t size = 8 + random_below(i % 16 ? 800 : 5000);

        make_body(size, random_below(30));
        pack_and_read(size);
    }
}

static void lengths_and_offsets_of_all_sizes_come_back(void **state)
{
    (void)state;
    for (size_t length = 4; length < BODY / 2; length += length < 300 ? 1 : length / 5) {
        for (size_t run = 0; run < 200; run += run < 20 ? 3 : 37) {
            for (size_t i = 0; i < run + length; i++)
                body[i] = (unsigned char)random_below(256);
            memcpy(body + run + length, body + run, length);
            pack_and_read(run + 2 * length);
        }
        for (size_t period = 1; period < 40; period += 3) { /* it goes on into what it makes */
            for (size_t i = 0; i < length + period; i++)
                body[i] = i < period ? (unsigned char)random_below(256) : body[i - period];
            pack_and_read(length + period);
        }
    }
}

/* Of one such the reader does not see all bits at once: those of the run, the length and the
 * offset, and of the states of the match behind it. */
static void a_match_with_the_longest_of_all_numbers_comes_back(void **state)
{
    (void)state;
    for (size_t run = 9000; run < 20000; run += 500) {
        size_t size = 2 * run + 3 * LINE;

        make_body(size, 0); /* so that others follow */
        for (size_t i = 0; i < run; i++)
            body[i] = (unsigned char)random_below(256);
        memcpy(body + run, body, run);
        pack_and_read(size);
    }
}

static void many_literals_in_four_streams_come_back(void **state)
{
    (void)state;
    for (size_t size = 900; size < BODY; size += size < 1200 ? 1 : size / 9) {
        for (size_t i = 0; i < size; i++) /* letters and digits, in no order */
            body[i] = (unsigned char)("etaoinshr0123456 .:"[random_below(19)]);
        pack_and_read(size);
    }
}

/* A sanitizer sees what is outside; without one, what is written there. */
static void of_what_is_damaged_nothing_outside_is_touched(void **state)
{
    size_t wrong = 0, right = 0;

    (void)state;
    for (unsigned i = 0; i < 40000; i++) {
        size_t size = 33 + random_below(i % 8 ? 600 : 4000), packed_size;
        const mp__l2_unpacker *reader = i % 2 ? unpacker : plain;
        unsigned char *block, *made;

        make_body(size, random_below(40));
        packed_size = mp__l2_packer_pack(packer, &room, body, size, packed, PACKED);
        if (!packed_size)
            continue;
        for (size_t n = 1 + random_below(4); n; n--)
            packed[i % 3 ? random_below(packed_size) : random_below(8)] ^=
                (unsigned char)(1u << random_below(8));
        packed_size -= i % 5 ? 0 : random_below(packed_size + 1);
        block = block_of(packed_size);
        made = exactly(body, size, MP__L2_BODY_SLACK + 1);
        if (mp__l2_unpacker_read(reader, block, packed_size, made, size))
            right++;
        else
            wrong++;
        assert_int_equal(made[size + MP__L2_BODY_SLACK], 0xa5);
        (void)mp__l2_unpacker_read(reader, block, packed_size, dictionary + dictionary_size, size);
        free(made);
        block_free(block);
    }
    print_message("# of those that were damaged %zu were seen to be, %zu made a body\n", wrong,
                  right);
    assert_true(wrong > 10000 && right > 0); /* for these there is the sum */
}

/* Other kinds of blocks are zstd's to read. */
static void what_our_packer_does_not_write_is_refused(void **state)
{
    ZSTD_CCtx *cctx = mp__l2_cctx_new(1);
    mp__l2_with zstd = {.cctx = cctx};
    size_t packed_size;

    (void)state;
    assert_non_null(cctx);
    make_body(3000, 0);
    packed_size = mp__l2_pack(&zstd, body, 3000, packed, PACKED); /* with its own tables */
    assert_true(packed_size > 0);
    assert_false(mp__l2_unpacker_read(unpacker, packed, packed_size, back, 3000));
    assert_false(mp__l2_unpacker_read(unpacker, packed, 0, back, 3000));
    (void)ZSTD_freeCCtx(cctx);
    assert_null(mp__l2_unpacker_new(dictionary + 8, dictionary_size - 8));
    assert_null(mp__l2_unpacker_new(dictionary, 100));
    assert_int_equal(mp__l2_unpacker_bytes(NULL), 0);
    assert_null(mp__l2_unpacker_free(NULL));
    mp_fail_begin(1);
    assert_null(mp__l2_unpacker_new(dictionary, dictionary_size));
    assert_true(mp_fail_end());
}

static const struct CMUnitTest tests[] = {
    MP_TEST(every_body_comes_back_behind_its_dictionary_and_elsewhere),
    MP_TEST(lengths_and_offsets_of_all_sizes_come_back),
    MP_TEST(a_match_with_the_longest_of_all_numbers_comes_back),
    MP_TEST(many_literals_in_four_streams_come_back),
    MP_TEST(of_what_is_damaged_nothing_outside_is_touched),
    MP_TEST(what_our_packer_does_not_write_is_refused),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    cmocka_set_test_filter(getenv("MP_TEST"));
    return cmocka_run_group_tests(tests, make_both, drop_both);
}

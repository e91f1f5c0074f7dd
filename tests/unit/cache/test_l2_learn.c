/* SPDX-License-Identifier: Apache-2.0 */
/* What L2 learned of its values, and keeps in a file. */
#include "l2_test.h"

#include <unistd.h>

static char keep_folder[64], keep_path[128];
static const mp__l3_keys *keep_keys;

static int make_folder(void **state)
{
    (void)state;
    keep_keys = NULL;
    snprintf(keep_folder, sizeof(keep_folder), "/tmp/mp-l2-XXXXXX");
    if (!mkdtemp(keep_folder))
        return -1;
    snprintf(keep_path, sizeof(keep_path), "%s/l2.dictionaries", keep_folder);
    return 0;
}

static int drop_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", keep_folder);
    return system(command);
}

static tiers tiers_kept(void)
{
    mp__l2_options options = {.env = mp__env_real(),
                              .entries_max = L2_ENTRIES,
                              .bytes_max = L2_BYTES,
                              .level = 1,
                              .dictionary_bytes = 32768,
                              .keep_path = keep_path,
                              .keys = keep_keys};
    tiers t = {.key = {1, 2}};

    assert_int_equal(mp__l2_new(&options, &t.l2), 0);
    assert_int_equal(mp__l1_new(mp__env_real(), 1, L1_BYTES, 10, mp__policy_find("fifo"), &t.l1),
                     0);
    mp__l1_set_below(t.l1, t.l2);
    return t;
}

static char *kept_bytes(size_t *ret_size)
{
    char *bytes = NULL;

    assert_int_equal(mp__env_read_file(mp__env_real(), keep_path, 1 << 20, &bytes, ret_size), 0);
    return bytes;
}

/* How much smaller ten values become, from @first on, before anything can have been trained. */
static double first_ratio(const tiers *t, size_t first)
{
    mp__l2_stats s;

    fill(t, first, first + 11, 1, 0);
    for (size_t i = first; i < first + 10; i++)
        assert_int_equal(get(t, i, 1, 0), 0);
    s = stats_of(t);
    return (double)s.body_bytes / (double)s.stored_bytes;
}

static void few_values_earn_a_dictionary(void **state)
{
    tiers t = tiers_kept();
    mp__l2_stats s;

    (void)state;
    fill(&t, 0, 60, 1, 0); /* 15 KB */
    s = stats_of(&t);
    assert_int_equal(s.dictionaries, 1);
    assert_true(s.body_bytes > 4 * s.stored_bytes);
    tiers_free(&t);
}

/* Bytes of which nothing can be learned are tried less and less often. */
static void what_cannot_be_learned_from_is_not_tried_again_and_again(void **state)
{
    tiers t = tiers_kept();
    char name[64], text[512];
    uint64_t random = 1;

    (void)state;
    for (size_t i = 0; i < 300; i++) {
        for (size_t j = 0; j < sizeof(text); j += 8) {
            uint64_t r = random_of(&random);

            memcpy(text + j, &r, 8);
        }
        assert_int_equal(
            put_bytes(&t, address_of(i, name), mp_str_new(text, sizeof(text)), 1, false), 0);
        if (i % 8 == 0)
            mp__l2_settle(t.l2);
    }
    mp__l2_settle(t.l2);
    assert_in_range(stats_of(&t).trainings, 1, 8);
    tiers_free(&t);
}

/* A few values can be set aside so unluckily that the dictionary of the others is of no use to
 * them; the process after this one shall not go without for that. */
static void what_was_tried_in_vain_is_tried_once_more_at_the_end(void **state)
{
    tiers t = tiers_kept();

    (void)state;
    mp__l2_set_dictionary(t.l2, 0);
    fill(&t, 0, 60, 1, 0);
    assert_int_equal(stats_of(&t).trainings, 0);
    t.l2->groups[0].trained_from = t.l2->entries; /* what a training in vain leaves */
    mp__l2_set_dictionary(t.l2, 32768);
    assert_int_equal(stats_of(&t).dictionaries, 0);
    tiers_free(&t);
    t = tiers_kept();
    assert_int_equal(stats_of(&t).dictionaries, 1);
    tiers_free(&t);
}

static void what_was_learned_outlives_the_process(void **state)
{
    tiers t = tiers_kept();
    double before = first_ratio(&t, 5000), after;

    (void)state;
    fill(&t, 0, 200, 1, 0);
    tiers_free(&t);
    t = tiers_kept();
    assert_int_equal(stats_of(&t).dictionaries, 1);
    after = first_ratio(&t, 6000);
    assert_int_equal(stats_of(&t).trainings, 0);
    print_message("# the first ten %.2f times smaller, after a restart %.2f\n", before, after);
    assert_true(after > 4 && after > 2 * before);
    tiers_free(&t);
}

static void a_damaged_file_of_dictionaries_is_as_good_as_none(void **state)
{
    MP__CLEANUP_FREE char *bytes = NULL;
    tiers t = tiers_kept();
    size_t size;

    (void)state;
    fill(&t, 0, 60, 1, 0);
    tiers_free(&t);
    bytes = kept_bytes(&size);
    for (size_t at = 0; at < size; at += at < 110 ? 1 : 997) {
        bytes[at] = (char)(bytes[at] ^ 4);
        assert_int_equal(mp__env_write_file_atomic(mp__env_real(), keep_path, bytes, size), 0);
        bytes[at] = (char)(bytes[at] ^ 4);
        t = tiers_kept();
        assert_int_equal(stats_of(&t).dictionaries, 0);
        tiers_free(&t);
    }
    for (size_t cut = 0; cut < size; cut += cut < 110 ? 1 : 997) {
        assert_int_equal(mp__env_write_file_atomic(mp__env_real(), keep_path, bytes, cut), 0);
        t = tiers_kept();
        assert_int_equal(stats_of(&t).dictionaries, 0);
        tiers_free(&t);
    }
}

#define KEY_1 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_2 "a0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void with_keys_no_value_stands_in_the_file_of_dictionaries(void **state)
{
    MP__CLEANUP_FREE char *open_bytes = NULL, *sealed = NULL;
    mp__l3_keys *one = NULL, *two = NULL, *both = NULL;
    size_t size;
    tiers t;

    (void)state;
    assert_int_equal(mp__l3_keys_parse(MP_STR(KEY_1), &one, NULL), 0);
    assert_int_equal(mp__l3_keys_parse(MP_STR(KEY_2), &two, NULL), 0);
    assert_int_equal(mp__l3_keys_parse(MP_STR(KEY_2 "\n" KEY_1), &both, NULL), 0);
    t = tiers_kept();
    fill(&t, 0, 60, 1, 0);
    tiers_free(&t);
    open_bytes = kept_bytes(&size);
    assert_non_null(memmem(open_bytes, size, "timeout_ms", 10));
    assert_int_equal(mp__env_unlink(mp__env_real(), keep_path), 0);
    keep_keys = one;
    t = tiers_kept();
    fill(&t, 0, 60, 1, 0);
    tiers_free(&t);
    sealed = kept_bytes(&size);
    assert_null(memmem(sealed, size, "timeout_ms", 10));
    keep_keys = two; /* another key does not open it */
    t = tiers_kept();
    assert_int_equal(stats_of(&t).dictionaries, 0);
    tiers_free(&t);
    keep_keys = both;
    t = tiers_kept();
    assert_int_equal(stats_of(&t).dictionaries, 1);
    tiers_free(&t);
    keep_keys = NULL;
    mp__l3_keys_free(one);
    mp__l3_keys_free(two);
    mp__l3_keys_free(both);
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
static const struct CMUnitTest tests[] = {
    WITH_FOLDER(few_values_earn_a_dictionary),
    WITH_FOLDER(what_cannot_be_learned_from_is_not_tried_again_and_again),
    WITH_FOLDER(what_was_tried_in_vain_is_tried_once_more_at_the_end),
    WITH_FOLDER(what_was_learned_outlives_the_process),
    WITH_FOLDER(a_damaged_file_of_dictionaries_is_as_good_as_none),
    WITH_FOLDER(with_keys_no_value_stands_in_the_file_of_dictionaries),
};
MP_TEST_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* Damage to the files of the origin: an answer may then be unknown, never wrong, and never "there
 * is none" where there is one. */
#include "mp_origin.h"

#include <sys/stat.h>

#include "core/core.h"
#include "origin/sqlite.h"

enum { KEYS = 400 };

static char folder[32], path[64];
static mp__origin *origin;
static unsigned seed = 20260101;

static unsigned pick(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)seed * below >> 32);
}

static void open_again(void)
{
    mp__diag diag = {0};
    mp__origin_options options = {.env = mp__env_real(), .path = path, .probe_ms = 3600000};
    int rc = mp__origin_open("sqlite", &options, &origin, &diag);

    if (rc)
        print_error("%s\n", diag.text);
    assert_int_equal(rc, 0);
}

static void key_of(int i, char *address)
{
    snprintf(address, 64, "dev/service%d/key/%d", i % 7, i);
}

static void value_of(int i, int version, char *value, size_t capacity)
{
    size_t size = (size_t)snprintf(value, capacity, "value %d of %d:", version, i);

    /* some need overflow pages */
    for (int n = i % 40 ? i % 100 : 9000; n > 0 && size + 1 < capacity; n--)
        value[size++] = (char)('a' + n % 26);
    value[size] = '\0';
}

static void write_keys(int version, int from, int to)
{
    char address[64];
    static char value[10000];

    for (int i = from; i < to; i++) {
        key_of(i, address);
        value_of(i, version, value, sizeof(value));
        assert_int_equal(mp_set(origin, address, value), 0);
    }
}

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 16];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t n;

    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0)
        assert_int_equal(fwrite(bytes, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static long size_of(const char *file)
{
    struct stat st;

    return stat(file, &st) == 0 ? (long)st.st_size : -1;
}

static void flip_bit(const char *file, long at, int bit)
{
    FILE *f = fopen(file, "r+b");
    int byte;

    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    byte = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_not_equal(fputc(byte ^ (1 << bit), f), EOF);
    assert_int_equal(fclose(f), 0);
}

typedef struct tally {
    int right, unknown, wrong, absent;
} tally;

/* All keys are asked for at once, and each answer is judged where it arrives. */
typedef struct question {
    mp__fetch fetch;
    char address[64];
    int number, version;
} question;

static question questions[KEYS];
static tally answers;
static mp_wait answered;

static void judge(mp__fetch *fetch, int status, const mp__record *record)
{
    const question *q = (const question *)fetch;
    static char value[10000];

    value_of(q->number, q->version, value, sizeof(value));
    if (status)
        answers.unknown++;
    else if (record->kind == MP__RECORD_ABSENT)
        answers.absent++;
    else if (!mp_str_equal(record->value, mp_str_of(value)))
        answers.wrong++;
    else
        answers.right++;
    mp_wait_signal(&answered);
}

static tally read_keys(int version, int odd_version)
{
    answered = (mp_wait)MP_WAIT_INIT;
    answers = (tally){0};
    for (int i = 0; i < KEYS; i++) {
        question *q = &questions[i];

        *q = (question){.number = i, .version = i % 2 ? odd_version : version};
        key_of(i, q->address);
        q->fetch.address = mp_str_of(q->address);
        q->fetch.done = judge;
        mp__origin_fetch(origin, &q->fetch);
    }
    mp_wait_for(&answered, KEYS);
    return answers;
}

static void remove_database(void)
{
    char name[96];

    snprintf(name, sizeof(name), "%s-wal", path);
    (void)unlink(name);
    snprintf(name, sizeof(name), "%s-shm", path);
    (void)unlink(name);
    (void)unlink(path);
}

/* A closed database with KEYS keys, of which the odd ones were written twice, in folder/good. */
static int set_up(void **state)
{
    char good[80];

    (void)state;
    mp_folder_new(folder);
    snprintf(path, sizeof(path), "%s/origin.db", folder);
    open_again();
    write_keys(1, 0, KEYS);
    for (int i = 1; i < KEYS; i += 2)
        write_keys(2, i, i + 1);
    origin = mp__origin_close(origin);
    snprintf(good, sizeof(good), "%s/good", folder);
    copy_file(path, good);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    origin = mp__origin_close(origin);
    mp_folder_remove(folder);
    return 0;
}

static void put_back(void)
{
    char good[80];

    remove_database();
    snprintf(good, sizeof(good), "%s/good", folder);
    copy_file(good, path);
}

static void single_flipped_bits_in_the_database_are_set_right(void **state)
{
    tally t = {0};

    (void)state;
    for (int i = 0; i < 300; i++) {
        tally one;

        put_back();
        flip_bit(path, (long)pick((unsigned)size_of(path)), (int)pick(8));
        open_again();
        one = read_keys(1, 2);
        t.right += one.right;
        t.unknown += one.unknown;
        t.wrong += one.wrong;
        t.absent += one.absent;
        origin = mp__origin_close(origin);
    }
    print_message("# 300 flips: %d right, %d unknown, %d wrong, %d absent\n", t.right, t.unknown,
                  t.wrong, t.absent);
    assert_int_equal(t.wrong, 0);
    assert_int_equal(t.absent, 0);
    assert_int_equal(t.unknown, 0);
    assert_int_equal(t.right, 300 * KEYS);
}

static void larger_damage_makes_answers_unknown_and_nothing_else(void **state)
{
    tally t = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        long at = (long)pick((unsigned)size_of(path));
        tally one;

        put_back();
        for (int k = 0; k < 16; k++)
            flip_bit(path, (at + k * 37) % size_of(path), (int)pick(8));
        open_again();
        one = read_keys(1, 2);
        t.right += one.right;
        t.unknown += one.unknown;
        t.wrong += one.wrong;
        t.absent += one.absent;
        origin = mp__origin_close(origin);
    }
    print_message("# 100 times 16 flips: %d right, %d unknown, %d wrong, %d absent\n", t.right,
                  t.unknown, t.wrong, t.absent);
    assert_int_equal(t.wrong, 0);
    assert_int_equal(t.absent, 0);
    assert_true(t.unknown > 0);
    assert_true(t.right > t.unknown);
}

static void cut_empty_and_foreign_files_are_lost_and_left_alone(void **state)
{
    char garbage[80];
    long sizes[] = {0, 1, 100, 4095, 4096, 8192, 50000};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        tally t;

        put_back();
        assert_int_equal(truncate(path, sizes[i]), 0);
        open_again();
        t = read_keys(1, 2);
        assert_int_equal(t.wrong + t.absent, 0);
        assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LOST);
        assert_int_equal(mp_set(origin, "dev/default/a", "x"), MP_EORIGINLOST);
        origin = mp__origin_close(origin);
        assert_int_equal(size_of(path), sizes[i]);
    }
    remove_database();
    snprintf(garbage, sizeof(garbage), "%s/garbage", folder);
    {
        FILE *f = fopen(path, "wb");

        for (int i = 0; i < 30000; i++)
            fputc((int)pick(256), f);
        fclose(f);
    }
    open_again();
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LOST);
    origin = mp__origin_close(origin);
    assert_int_equal(size_of(path), 30000);
}

/* Damage most pages of the file, and find a batch in which some writes fail and others do not. */
static void of_writes_committed_together_only_those_on_damage_fail(void **state)
{
    static mp_put puts[40];
    int good = 0, bad = 0, after_good = 0;

    (void)state;
    for (int round = 0; round < 10 && !(good && bad); round++) {
        char addresses[40][64];

        put_back();
        good = bad = after_good = 0;
        /* not the first pages, without which nothing can be opened */
        for (long at = 8 * 4096 + (long)round * 4096; at < size_of(path); at += 5 * 4096)
            for (int k = 0; k < 8; k++)
                flip_bit(path, at + 100 + 411 * k, (int)pick(8));
        open_again();
        for (int i = 0; i < 40; i++) {
            snprintf(addresses[i], 64, "dev/service%d/key/%d", i * 9 % 7, i * 9);
            mp_put_begin(&puts[i]);
            (void)mp_put_add(&puts[i], MP__CHANGE_PUT, addresses[i], "new", MP__IF_PRESENT);
        }
        if (mp__state_now(&origin->state) == MP__ORIGIN_LIVE) {
            for (int i = 0; i < 40; i++)
                mp__origin_write(origin, &puts[i].write);
            for (int i = 0; i < 40; i++) {
                static mp_got got;

                mp_wait_for(&puts[i].wait, 1);
                good += puts[i].status == 0;
                bad += puts[i].status == MP_ECORRUPT;
                assert_true(puts[i].status == 0 || puts[i].status == MP_ECORRUPT);
                if (puts[i].status == 0 && mp_get(origin, addresses[i], &got) == 0) {
                    assert_string_equal(got.value, "new");
                    after_good++;
                }
            }
        }
        origin = mp__origin_close(origin);
    }
    print_message("# %d written, %d refused\n", good, bad);
    assert_true(good > 0);
    assert_true(bad > 0);
    assert_int_equal(after_good, good);
}

/* The last pages of the file, for good. */
static void damage_the_last(int pages)
{
    for (long at = size_of(path) - pages * 4096; at < size_of(path); at += 4096)
        for (int k = 0; k < 8; k++)
            flip_bit(path, at + 100 + 411 * k, (int)pick(8));
}

/* That takes some 10 ms, and who reads many keys comes back to each of the pages again and again.
 */
static void a_damaged_page_is_looked_through_for_a_flipped_bit_once(void **state)
{
    enum { PAGES = 20 };
    uint64_t opened;
    tally t;

    (void)state;
    damage_the_last(PAGES);
    open_again();
    opened = mp__vfs_stats_read(((mp__sqlite *)origin)->vfs).searched;
    for (int i = 0; i < 2; i++) {
        t = read_keys(1, 2);
        assert_int_equal(t.wrong + t.absent, 0);
        assert_true(t.right > 0);
    }
    assert_true(mp__vfs_stats_read(((mp__sqlite *)origin)->vfs).searched - opened <= PAGES);
}

/* A database whose pages are damaged for good: lives, says what it does not know, and goes on. */
static void damage_that_cannot_be_mended_is_lived_with(void **state)
{
    mp__origin_options options = {.env = mp__env_real(), .path = path, .probe_ms = 2};
    tally t;

    (void)state;
    damage_the_last(20);
    assert_int_equal(mp__origin_open("sqlite", &options, &origin, NULL), 0);
    for (int i = 0; i < 20; i++) {
        t = read_keys(1, 2);
        assert_int_equal(t.wrong + t.absent, 0);
        assert_true(t.right > 0);
        (void)mp_set(origin, "dev/default/new", "1"); /* a turn of the writer, to look around */
    }
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    FRESH(single_flipped_bits_in_the_database_are_set_right),
    FRESH(larger_damage_makes_answers_unknown_and_nothing_else),
    FRESH(of_writes_committed_together_only_those_on_damage_fail),
    FRESH(a_damaged_page_is_looked_through_for_a_flipped_bit_once),
    FRESH(damage_that_cannot_be_mended_is_lived_with),
    FRESH(cut_empty_and_foreign_files_are_lost_and_left_alone),
};
MP_TEST_MAIN(tests)

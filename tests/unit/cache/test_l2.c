/* SPDX-License-Identifier: Apache-2.0 */
#include "l2_test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mp_fail.h"

#include "cache/cache.h"
#include "cache/entry.h"

/* ---- what it keeps ---- */

static void what_l1_evicts_is_kept_whole_and_much_smaller(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    mp__l2_stats s;
    size_t found = 0;

    (void)state;
    fill(&t, 0, 3000, 1, 0);
    for (size_t i = 0; i < 3000; i++)
        found += get(&t, i, 1, 0) == 0;
    assert_int_equal(found, 3000 - L1_ENTRIES);
    s = stats_of(&t);
    assert_int_equal(s.entries, found);
    assert_true(s.dictionaries >= 1);
    print_message("# %.2f times smaller, %zu dictionaries of %zu bytes, %zu bytes in all\n",
                  (double)s.body_bytes / (double)s.stored_bytes, (size_t)s.dictionaries,
                  (size_t)s.dictionary_bytes, (size_t)s.bytes);
    assert_true(s.body_bytes > s.stored_bytes * 4);
    tiers_free(&t);
}

enum { FILLINGS = 8 };

/* The sum of several: which values a dictionary is trained of is chance, and moves a single
 * filling by some per cent. */
static mp__l2_stats filled_at(unsigned level)
{
    mp__l2_stats sum = {0};

    for (size_t i = 0; i < FILLINGS; i++) {
        tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
        mp__l2_stats s;

        mp__l2_set_level(t.l2, level);
        fill(&t, 0, 3000, 1, 0);
        s = stats_of(&t);
        assert_int_equal(s.dictionaries, 1);
        sum.body_bytes += s.body_bytes;
        sum.stored_bytes += s.stored_bytes;
        sum.dictionary_bytes += s.dictionary_bytes;
        tiers_free(&t);
    }
    return sum;
}

/* One table of 7 bytes and more beside the content, instead of two. */
static void the_lowest_level_takes_less_memory_and_leaves_values_hardly_larger(void **state)
{
    mp__l2_stats one = filled_at(1), two = filled_at(2);

    (void)state;
    print_message("# of %zu bytes %zu with %zu of dictionary, %zu with %zu\n",
                  (size_t)one.body_bytes, (size_t)one.stored_bytes, (size_t)one.dictionary_bytes,
                  (size_t)two.stored_bytes, (size_t)two.dictionary_bytes);
    assert_true(one.dictionary_bytes + FILLINGS * 15000 < two.dictionary_bytes);
    assert_true((double)one.stored_bytes < 1.06 * (double)two.stored_bytes);
}

enum { FEW = 60 };

static void what_waits_to_be_compressed_can_be_read(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);

    (void)state;
    for (size_t i = 0; i < L1_ENTRIES + FEW; i++) /* to wake the thread */
        assert_int_equal(put(&t, i, 1, 0), 0);
    assert_int_equal(t.l2->queue.count, FEW);
    for (size_t i = 0; i < FEW; i++)
        assert_int_equal(get(&t, i, 1, 0), 0);
    tiers_free(&t);
}

static void what_waits_is_packed_in_the_end_though_nothing_more_comes(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    mp__l2_stats s;
    uint64_t raw;

    (void)state;
    for (size_t i = 0; i < L1_ENTRIES + FEW; i++)
        assert_int_equal(put(&t, i, 1, 0), 0);
    raw = stats_of(&t).stored_bytes;
    mp__l2_flush(t.l2);
    do
        s = stats_of(&t);
    while (s.stored_bytes > raw * 3 / 4 && sched_yield() == 0);
    assert_int_equal(s.entries, FEW);
    tiers_free(&t);
}

/* They would fill what may wait before there are many. */
static void a_few_large_values_are_packed_at_once(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    char *bytes = calloc(1, 30000), name[64];
    mp__l2_stats s;

    (void)state;
    for (size_t i = 0; i < L1_ENTRIES + 4; i++) {
        size_t size = i < 4 ? 30000 : 1;

        assert_int_equal(put_bytes(&t, address_of(i, name), mp_str_new(bytes, size), 1, false), 0);
    }
    do
        s = stats_of(&t);
    while (s.stored_bytes > s.body_bytes / 2 && sched_yield() == 0);
    assert_int_equal(s.entries, 4);
    assert_int_equal(s.dropped, 0);
    tiers_free(&t);
    free(bytes);
}

static void small_and_dense_values_stay_as_they_are(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    mp_str small = mp_str_new("b/n/small", 9), dense = mp_str_new("b/n/dense", 9);
    uint64_t seed = 1;
    char bytes[1000];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)random_of(&seed);
    assert_int_equal(put_bytes(&t, small,
                               MP_STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                               1, false),
                     0);
    assert_int_equal(put_bytes(&t, dense, mp_str_new(bytes, sizeof(bytes)), 1, false), 0);
    fill(&t, 0, L1_ENTRIES, 1, 0);
    assert_true(mp__l2_find(t.l2, hash_of(&t, small))->item->form.raw);
    assert_true(mp__l2_find(t.l2, hash_of(&t, dense))->item->form.raw);
    fill(&t, 100, 100 + L1_ENTRIES, 1, 0);
    assert_false(mp__l2_find(t.l2, hash_of(&t, address_of(0, bytes)))->item->form.raw);
    tiers_free(&t);
}

/* Where the first is read right behind the dictionary, and both are looked at at once. */
static void two_that_are_read_at_once_are_each_what_was_written(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    char name[64], text[TEXT];
    uint32_t generation, verify_by_s;
    mp__l2_scratch scratch[2];
    mp__record record[2];

    (void)state;
    fill(&t, 0, 2000, 1, 0);
    assert_true(stats_of(&t).dictionaries > 0);
    for (size_t i = 0; i < 1000; i++) {
        for (size_t k = 0; k < 2; k++) {
            mp_str address = address_of(i + k * 500, name);

            mp__l2_scratch_init(&scratch[k]);
            assert_int_equal(mp__l2_get(t.l2, address, hash_of(&t, address), &scratch[k],
                                        &record[k], &generation, &verify_by_s),
                             0);
            assert_int_equal(scratch[k].window_of != NULL, k == 0);
        }
        for (size_t k = 0; k < 2; k++) {
            assert_true(mp_str_equal(record[k].value, value_of(i + k * 500, 1, 0, text)));
            mp__l2_scratch_done(&scratch[k]);
        }
    }
    tiers_free(&t);
}

/* One of @size bytes, of what the dictionary knows. */
static mp_str long_value(size_t size, char *bytes)
{
    char text[TEXT];

    for (size_t at = 0, i = 0; at < size; i++) {
        mp_str part = value_of(i, 1, 0, text);
        size_t n = part.size < size - at ? part.size : size - at;

        memcpy(bytes + at, part.data, n);
        at += n;
    }
    return mp_str_new(bytes, size);
}

/* And elsewhere from there on. */
static void a_body_is_read_behind_its_dictionary_as_far_as_it_fits_there(void **state)
{
    static const size_t around[] = {3700, MP__L2_WINDOW - MP__L2_BODY_SLACK, MP__L2_WINDOW, 16000};
    char name[64];
    static char bytes[32768];
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    uint32_t generation, verify_by_s;
    mp__l2_scratch scratch;
    mp__record record;

    (void)state;
    fill(&t, 0, 2000, 1, 0);
    for (size_t i = 0; i < 4; i++)
        for (size_t size = around[i] - 3; size <= around[i] + 3; size++) {
            mp_str address = address_of(5000 + size, name);

            assert_int_equal(put_bytes(&t, address, long_value(size, bytes), 1, false), 0);
            fill(&t, 0, L1_ENTRIES, (unsigned)(size + 2), 0);
            mp__l2_scratch_init(&scratch);
            assert_int_equal(mp__l2_get(t.l2, address, hash_of(&t, address), &scratch, &record,
                                        &generation, &verify_by_s),
                             0);
            assert_true(mp_str_equal(record.value, long_value(size, bytes)));
            assert_int_equal(scratch.window_of != NULL, size + MP__L2_BODY_SLACK <= MP__L2_WINDOW);
            mp__l2_scratch_done(&scratch);
        }
    tiers_free(&t);
}

/* Fills, reads the first into *ret_record, and returns in whose window that lies. */
static mp__l2_dictionary *read_in_window(tiers *t, mp__l2_scratch *scratch, mp__record *ret_record)
{
    uint32_t generation, verify_by_s;
    char name[64];
    mp_str address = address_of(0, name);

    fill(t, 0, 2000, 1, 0);
    mp__l2_scratch_init(scratch);
    assert_int_equal(mp__l2_get(t->l2, address, hash_of(t, address), scratch, ret_record,
                                &generation, &verify_by_s),
                     0);
    assert_non_null(scratch->window_of);
    return scratch->window_of;
}

/* Who has the window gives it back with the next read, not with the last. */
static void a_reader_that_goes_on_keeps_no_dictionary_of_before(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    mp__l2_dictionary *first;
    uint32_t generation, verify_by_s;
    mp__l2_scratch scratch;
    mp__record record;
    char name[64];
    mp_str address;

    (void)state;
    first = read_in_window(&t, &scratch, &record);
    address = address_of(2000000, name); /* not here */
    assert_int_equal(mp__l2_get(t.l2, address, hash_of(&t, address), &scratch, &record, &generation,
                                &verify_by_s),
                     MP_EUNKNOWN);
    assert_false(atomic_load(&first->window_taken));
    mp__l2_scratch_done(&scratch);
    tiers_free(&t);
}

static bool has_dictionary(const tiers *t, const mp__l2_dictionary *d)
{
    bool has = false;

    mp__l2_lock(t->l2);
    for (size_t i = 0; i < MP__L2_DICTIONARIES; i++)
        has |= t->l2->dictionaries[i] == d;
    mp__l2_unlock(t->l2);
    return has;
}

/* The window is no reference; the dictionary stays all the same, and not for ever. */
static void a_dictionary_that_nobody_needs_stays_until_its_window_is_given_back(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    const mp__l2_dictionary *first;
    mp__l2_scratch scratch;
    mp__record record;
    char name[64], text[TEXT];

    (void)state;
    first = read_in_window(&t, &scratch, &record);
    mp__l2_set_dictionary(t.l2, 0);
    fill(&t, 2000, 3000, 1, 0); /* no group has one any more */
    for (size_t i = 0; i < 3000; i++)
        (void)mp__l2_outdate(t.l2, hash_of(&t, address_of(i, name)), UINT64_MAX, true);
    fill(&t, 3000, 3000 + 2 * L1_ENTRIES, 1, 0);
    assert_int_equal(atomic_load(&first->refs), 0);
    assert_true(has_dictionary(&t, first));
    assert_int_equal(t.l2->leaving, 1);
    assert_true(mp_str_equal(record.value, value_of(0, 1, 0, text)));
    mp__l2_scratch_done(&scratch);
    fill(&t, 4000, 4000 + 2 * L1_ENTRIES, 1, 0);
    assert_false(has_dictionary(&t, first));
    assert_int_equal(t.l2->leaving, 0);
    tiers_free(&t);
}

static _Atomic int reading; /* 1: there is a record in the window; 2: it may go */

static int get_first(const tiers *t, mp__l2_scratch *scratch)
{
    char name[64];
    mp_str address = address_of(0, name);
    uint32_t generation, verify_by_s;
    mp__record record;

    return mp__l2_get(t->l2, address, hash_of(t, address), scratch, &record, &generation,
                      &verify_by_s);
}

static void *read_until_told(void *context)
{
    mp__l2_scratch scratch;

    mp__l2_scratch_init(&scratch);
    assert_int_equal(get_first(context, &scratch), 0);
    assert_non_null(scratch.window_of);
    atomic_store(&reading, 1);
    while (atomic_load(&reading) == 1)
        (void)sched_yield();
    mp__l2_scratch_done(&scratch);
    return NULL;
}

/* In the child: whether it has what another thread of its parent had. */
static bool child_has_window(const tiers *t)
{
    mp__l2_scratch scratch;
    bool has;

    (void)alarm(20); /* a lock inherited for ever ends the child, not the test */
    mp__l2_scratch_init(&scratch);
    has = get_first(t, &scratch) == 0 && scratch.window_of;
    mp__l2_scratch_done(&scratch);
    return has;
}

static void a_child_reads_behind_dictionaries_whoever_did_so_at_the_fork(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    pthread_t reader;
    int status = -1;
    pid_t pid;

    (void)state;
    fill(&t, 0, 2000, 1, 0);
    atomic_store(&reading, 0);
    assert_int_equal(pthread_create(&reader, NULL, read_until_told, &t), 0);
    while (atomic_load(&reading) == 0)
        (void)sched_yield();
    pid = fork();
    if (pid == 0)
        _exit(child_has_window(&t) ? 0 : 1);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    atomic_store(&reading, 2);
    assert_int_equal(pthread_join(reader, NULL), 0);
    tiers_free(&t);
}

static void the_address_is_not_kept_and_no_other_of_its_hash_is_taken_for_it(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    mp_str mine = mp_str_of("production/one/of/a/long/name"),
           other = mp_str_of("production/another");
    uint64_t hash = hash_of(&t, mine);
    mp__l2_scratch scratch;
    mp__record record;
    uint32_t generation, verify_by_s;

    (void)state;
    assert_int_equal(put_bytes(&t, mine, mp_str_of("true"), 1, false), 0);
    fill(&t, 0, L1_ENTRIES, 1, 0);
    assert_int_equal(stats_of(&t).stored_bytes, 4);
    mp__l2_scratch_init(&scratch);
    assert_int_equal(mp__l2_get(t.l2, other, hash, &scratch, &record, &generation, &verify_by_s),
                     MP_EUNKNOWN);
    assert_int_equal(mp__l2_get(t.l2, mine, hash, &scratch, &record, &generation, &verify_by_s), 0);
    mp_assert_str(record.address, "production/one/of/a/long/name");
    mp_assert_str(record.value, "true");
    mp__l2_scratch_done(&scratch);
    tiers_free(&t);
}

static void every_media_type_comes_back(void **state)
{
    static const char *const types[] = {"",
                                        "text/plain",
                                        "application/json",
                                        "application/yaml",
                                        "application/x-of-nobody",
                                        "t",
                                        "text/plain; charset=utf-8"};
    unsigned char meta[MP__L2_META_MAX], body[256];

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        mp__record record = {.address = MP_STR("b/n/a"),
                             .media_type = mp_str_of(types[i]),
                             .value = MP_STR("value"),
                             .kind = MP__RECORD_VALUE,
                             .revision = 9,
                             .created_revision = 3,
                             .version = 2},
                   got = {0};
        mp__l2_form form;

        mp__l2_meta_write(&record, meta, &form);
        assert_int_equal(form.body_size, mp__l2_body_size(&record));
        mp__l2_body_write(&record, meta, body, &form);
        assert_int_equal(mp__l2_whole_size(&form), 5 + strlen(types[i]) + 5);
        assert_int_equal(mp__l2_read(&form, meta, body, NULL, NULL, &got), 0);
        mp_assert_str(got.media_type, types[i]);
        mp_assert_str(got.value, "value");
        form.left_out++; /* and nothing of the form can be another */
        assert_int_equal(mp__l2_read(&form, meta, body, NULL, NULL, &got), MP_ECORRUPT);
        form.left_out--;
        form.check ^= 1;
        assert_int_equal(mp__l2_read(&form, meta, body, NULL, NULL, &got), MP_ECORRUPT);
    }
}

static void a_value_that_would_take_long_to_expand_does_not_enter(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    char *bytes = calloc(1, MP__L2_BODY_MAX + 1);
    mp_str large = mp_str_new("b/n/large", 9), fits = mp_str_new("b/n/fits", 8);

    (void)state;
    assert_int_equal(put_bytes(&t, large, mp_str_new(bytes, MP__L2_BODY_MAX + 1), 1, false), 0);
    assert_int_equal(put_bytes(&t, fits, mp_str_new(bytes, MP__L2_BODY_MAX), 1, false), 0);
    fill(&t, 0, L1_ENTRIES, 1, 0);
    assert_false(mp__l2_has(t.l2, hash_of(&t, large)));
    assert_true(mp__l2_has(t.l2, hash_of(&t, fits)));
    assert_int_equal(stats_of(&t).refused, 1);
    tiers_free(&t);
    free(bytes);
}

/* Words in an order that no dictionary knows, and more of them than it is worth to learn. */
static size_t make_strange(char *text, size_t size)
{
    uint64_t random = 7;
    size_t n = 0;

    while (n + 32 < size) {
        unsigned word = (unsigned)(random_of(&random) % 1500);

        n += (size_t)snprintf(text + n, size - n, "%c%x%c%o ", 'a' + (int)(word % 26), word * word,
                              'A' + (int)(word % 23), word * 7919);
    }
    return n;
}

static void a_large_value_that_no_dictionary_knows_is_as_small_as_zstd_alone_makes_it(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    mp_str address = mp_str_new("b/n/strange", 11), value;
    char *text = malloc(40000), *frame = malloc(ZSTD_compressBound(40000));
    uint32_t generation, verify_by_s;
    mp__l2_scratch scratch;
    mp__record record;
    mp__l2_slot *slot;
    size_t alone;

    (void)state;
    assert_true(text && frame);
    fill(&t, 0, 1000, 1, 0);
    assert_true(stats_of(&t).dictionaries > 0);
    value = mp_str_new(text, make_strange(text, 40000));
    alone = ZSTD_compress(frame, ZSTD_compressBound(40000), value.data, value.size, 1);
    assert_int_equal(put_bytes(&t, address, value, 1, false), 0);
    fill(&t, 1000, 1000 + L1_ENTRIES + 1, 1, 0);
    slot = mp__l2_find(t.l2, hash_of(&t, address));
    assert_non_null(slot);
    print_message("# %zu bytes, zstd alone %zu, kept %u\n", value.size, alone,
                  slot->item->form.stored_size);
    assert_false(slot->item->form.raw);
    assert_true(slot->item->form.stored_size <= alone);
    mp__l2_scratch_init(&scratch);
    assert_int_equal(mp__l2_get(t.l2, address, hash_of(&t, address), &scratch, &record, &generation,
                                &verify_by_s),
                     0);
    assert_true(mp_str_equal(record.value, value));
    mp__l2_scratch_done(&scratch);
    tiers_free(&t);
    free(frame);
    free(text);
}

static void absence_does_not_enter(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    mp__record absent = {.address = MP_STR("b/n/absent"), .kind = MP__RECORD_ABSENT, .revision = 1};

    (void)state;
    assert_int_equal(mp__l1_put(t.l1, hash_of(&t, absent.address), &absent, false, 0, 0, NULL), 0);
    for (size_t i = 0; i < 1000; i++) {
        char name[64];

        absent.address = address_of(i, name);
        assert_int_equal(mp__l1_put(t.l1, hash_of(&t, absent.address), &absent, false, 0, 0, NULL),
                         0);
    }
    assert_int_equal(stats_of(&t).inserts, 0);
    tiers_free(&t);
}

/* ---- never the past ---- */

static void a_newer_write_takes_the_older_copy_out_at_once(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);

    (void)state;
    for (unsigned settled = 0; settled < 2; settled++) {
        size_t first = settled ? 10000 : 0;

        for (size_t i = 0; i < L1_ENTRIES + 8; i++)
            assert_int_equal(put(&t, first + i, 1, 0), 0);
        if (settled)
            mp__l2_settle(t.l2);
        assert_int_equal(get(&t, first, 1, 0), 0);
        assert_int_equal(put(&t, first, 2, 0), 0);
        assert_int_equal(get(&t, first, 1, 0), MP_EUNKNOWN);
        mp__l2_settle(t.l2); /* nor does it come back when its compression ends */
        assert_int_equal(get(&t, first, 1, 0), MP_EUNKNOWN);
    }
    tiers_free(&t);
}

static void an_older_write_does_not_pass_a_newer_copy(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    char name[64];

    (void)state;
    assert_int_equal(put(&t, 0, 5, 0), 0);
    fill(&t, 1, 1 + L1_ENTRIES, 5, 0);
    assert_int_equal(put(&t, 0, 4, 0), MP_EAGAIN);
    assert_int_equal(get(&t, 0, 5, 0), 0);
    assert_int_equal(put_bytes(&t, address_of(0, name), MP_STR("a new epoch"), 1, true), 0);
    assert_false(mp__l2_has(t.l2, hash_of(&t, address_of(0, name))));
    tiers_free(&t);
}

static void the_cache_answers_an_older_write_with_the_newer_copy(void **state)
{
    mp__cache_options options = {
        .env = mp__env_real(), .policy = "fifo", .l1_entries = 16, .l2_entries = 1000};
    const mp__entry *entry;
    mp__record record = {.address = MP_STR("e/n/k"),
                         .value = MP_STR("newer"),
                         .kind = MP__RECORD_VALUE,
                         .revision = 9};
    mp_cache *cache;
    uint64_t hash;

    (void)state;
    assert_int_equal(mp__cache_open(&options, &cache, NULL), 0);
    hash = mp__cache_hash(mp__cache_hasher(cache), record.address);
    assert_int_equal(mp__cache_put_record(cache, &record, 0, 1, 1, NULL), 0);
    for (int i = 0; i < 100; i++) {
        char name[16];

        assert_int_equal(mp_cache_put(cache, mp_str_new(name, (size_t)snprintf(name, 16, "%d", i)),
                                      MP_STR("value"), 0),
                         0);
    }
    assert_int_equal(mp__cache_where(cache, record.address, hash), 1u << MP__TIER_L2);
    record.value = MP_STR("older");
    record.revision = 8;
    assert_int_equal(mp__cache_put_record(cache, &record, 0, 3, 4, &entry), 0);
    assert_int_equal(entry->revision, 9);
    assert_int_equal(entry->verify_by_s, 4);
    mp_assert_str(mp_blob_str(&entry->blob.pub), "newer");
    entry = mp__entry_unref(entry);
    mp__cache_forget_l1(cache, record.address, hash);
    assert_int_equal(mp__cache_where(cache, record.address, hash), 0);
    cache = mp_cache_free(cache);
}

static void what_went_up_comes_down_again_without_being_compressed(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    char name[64], text[TEXT];
    mp_str address = address_of(0, name);
    mp__record record = {.address = address,
                         .value = value_of(0, 1, 0, text),
                         .media_type = MP_STR("application/json"),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1,
                         .verified_ms = 1};
    uint64_t inserts;

    (void)state;
    fill(&t, 0, 1 + L1_ENTRIES, 1, 0);
    inserts = stats_of(&t).inserts;
    assert_int_equal(mp__l1_bring_up(t.l1, hash_of(&t, address), &record, 70, 80, NULL), 0);
    assert_true(mp__l2_find(t.l2, hash_of(&t, address))->item->flags & MP__L2_WENT_UP);
    fill(&t, 200, 200 + L1_ENTRIES, 1, 0);
    assert_false(mp__l2_find(t.l2, hash_of(&t, address))->item->flags & MP__L2_WENT_UP);
    assert_int_equal(mp__l2_find(t.l2, hash_of(&t, address))->item->verify_by_s, 80);
    assert_int_equal(stats_of(&t).inserts, inserts + L1_ENTRIES);
    record.revision = 3; /* what L2 does not keep does not go up */
    assert_int_equal(mp__l1_bring_up(t.l1, hash_of(&t, address), &record, 0, 0, NULL), MP_EAGAIN);
    tiers_free(&t);
}

static void an_expired_copy_is_not_served(void **state)
{
    int64_t later = mp__env_wall_ms(mp__env_real()) + 600000;
    mp__record lives = {.address = MP_STR("e/n/lives"),
                        .value = MP_STR("v"),
                        .kind = MP__RECORD_VALUE,
                        .revision = 1,
                        .expires_ms = later};
    mp__record past = lives, record;
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    uint32_t generation, verify_by_s;
    mp__l2_scratch scratch;
    uint64_t hash;

    (void)state;
    past.address = MP_STR("e/n/past");
    past.expires_ms = 1000;
    hash = hash_of(&t, past.address);
    mp__l2_scratch_init(&scratch);
    assert_int_equal(mp__l1_put(t.l1, hash_of(&t, lives.address), &lives, false, 0, 0, NULL), 0);
    assert_int_equal(mp__l1_put(t.l1, hash, &past, false, 0, 0, NULL), 0);
    fill(&t, 0, L1_ENTRIES, 1, 0);
    assert_int_equal(mp__l2_get(t.l2, lives.address, hash_of(&t, lives.address), &scratch, &record,
                                &generation, &verify_by_s),
                     0);
    assert_int_equal(record.expires_ms, later);
    assert_true(mp__l2_has(t.l2, hash));
    assert_int_equal(
        mp__l2_get(t.l2, past.address, hash, &scratch, &record, &generation, &verify_by_s),
        MP_EUNKNOWN);
    assert_false(mp__l2_has(t.l2, hash));
    tiers_free(&t);
}

static void a_verification_reaches_the_copy(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    char name[64];
    uint64_t hash = hash_of(&t, address_of(0, name));

    (void)state;
    fill(&t, 0, 1 + L1_ENTRIES, 3, 0);
    mp__l2_verified(t.l2, hash, 2, 1, 1, 1); /* another revision's is not its own */
    assert_int_equal(mp__l2_find(t.l2, hash)->item->verify_by_s, 8);
    mp__l2_verified(t.l2, hash, 3, 11, 12, 13);
    assert_int_equal(mp__l2_find(t.l2, hash)->item->verified_ms, 11);
    assert_int_equal(mp__l2_find(t.l2, hash)->item->generation, 12);
    assert_int_equal(mp__l2_find(t.l2, hash)->item->verify_by_s, 13);
    tiers_free(&t);
}

/* ---- damage ---- */

static void damage_is_unknown_and_never_wrong(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, L2_BYTES);
    char name[64];
    size_t bits = 0, corrupt = 0;
    uint64_t hash = hash_of(&t, address_of(5, name));

    (void)state;
    fill(&t, 0, 500, 1, 0);
    for (size_t bit = 0;; bit++) {
        mp__l2_slot *slot = mp__l2_find(t.l2, hash);
        mp__l2_item *item;
        int rc;

        if (!slot) { /* the last damage threw it out: bring it down anew */
            assert_int_equal(put(&t, 5, 1, 0), 0);
            fill(&t, 10000 + bit % 2 * 100, 10000 + bit % 2 * 100 + L1_ENTRIES, 1, 0);
            slot = mp__l2_find(t.l2, hash);
            assert_non_null(slot);
        }
        item = slot->item;
        bits = 8 * (item->form.meta_size + (size_t)item->form.stored_size);
        if (bit * 7 >= bits) /* every seventh, for time */
            break;
        item->bytes[bit * 7 / 8] ^= (unsigned char)(1u << bit * 7 % 8);
        rc = get(&t, 5, 1, 0); /* checks what it gets */
        assert_true(rc == MP_ECORRUPT || rc == 0);
        corrupt += rc == MP_ECORRUPT;
        assert_int_equal(get(&t, 5, 1, 0), rc == 0 ? 0 : MP_EUNKNOWN);
        if (rc == 0) /* a bit that says nothing: padding of the frame */
            item->bytes[bit * 7 / 8] ^= (unsigned char)(1u << bit * 7 % 8);
    }
    assert_true(corrupt * 7 > bits * 9 / 10);
    assert_int_equal(stats_of(&t).corrupt, corrupt);
    tiers_free(&t);
}

/* ---- limits ---- */

static void entries_and_bytes_stay_within_their_limits(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, (size_t)5 << 20);
    char *text = malloc(70000), name[64];
    uint64_t seed = 3;
    mp__l2_stats s;

    (void)state;
    for (size_t i = 0; i < 30000; i++) {
        size_t size = (size_t)(random_of(&seed) % (i % 100 ? 2000 : 60000)) + 1;

        for (size_t at = 0; at + 8 <= size; at += 8) { /* compresses by half */
            uint64_t r = random_of(&seed) & 0x0f0f0f0f0f0f0f0f;

            memcpy(text + at, &r, 8);
        }
        assert_int_equal(
            put_bytes(&t, address_of(i % 4500, name), mp_str_new(text, size), i + 1, false), 0);
        if (i % 64 == 0) {
            if (i % 128 == 0)
                mp__l2_settle(t.l2);
            s = stats_of(&t);
            assert_true(s.entries <= L2_ENTRIES);
            assert_true(s.bytes <= s.bytes_max);
        }
    }
    mp__l2_settle(t.l2);
    s = stats_of(&t);
    assert_true(s.evictions > 0 && s.entries > 500);
    assert_true(s.stored_bytes > s.bytes / 3);
    tiers_free(&t);
    free(text);
}

static void what_comes_once_does_not_push_out_when_it_is_nearly_full(void **state)
{
    tiers t = tiers_new(1000, L2_BYTES);
    size_t kept = 0, second = 0;

    (void)state;
    fill(&t, 0, 900, 1, 0);
    for (size_t i = 0; i < 800; i++)
        assert_int_equal(get(&t, i, 1, 0), 0);
    fill(&t, 10000, 14000, 1, 0); /* a scan */
    for (size_t i = 0; i < 800; i++)
        kept += get(&t, i, 1, 0) == 0;
    assert_true(kept > 750);
    assert_true(stats_of(&t).refused > 3000);
    fill(&t, 13900, 14000, 2, 0); /* the same again: the second time it comes in */
    fill(&t, 20000, 20000 + L1_ENTRIES, 1, 0);
    for (size_t i = 13900; i < 14000; i++)
        second += get(&t, i, 2, 0) == 0;
    assert_true(second > 90);
    assert_true(stats_of(&t).entries <= 1000);
    tiers_free(&t);
}

static void the_class_low_leaves_first_and_pushes_nothing_out(void **state)
{
    enum { ROOM = 400 };
    static const mp_str rows[] = {MP_STR("logs/l*=low")};
    mp__priorities *classes = NULL;
    char name[64], text[TEXT];
    size_t low = 0;
    tiers t;

    (void)state;
    assert_int_equal(mp__priorities_new(rows, 1, NULL, 0, &classes, NULL), 0);
    priorities = classes;
    t = tiers_new(ROOM, L2_BYTES);
    for (int life = 0; life < 2; life++) { /* before the others come, and after */
        for (size_t i = 0; i < 300; i++) {
            snprintf(name, sizeof(name), "production/logs/l%zu", i);
            assert_int_equal(
                put_bytes(&t, mp_str_of(name), value_of(i, 1, 0, text), (uint64_t)life + 1, false),
                0);
            if (i % 64 == 0)
                mp__l2_settle(t.l2);
        }
        for (size_t i = 0; i < 340 && life == 0; i++) {
            assert_int_equal(put(&t, i, 1, 0), 0);
            if (i % 64 == 0)
                mp__l2_settle(t.l2);
        }
    }
    fill(&t, 1000, 1000 + L1_ENTRIES, 1, 0); /* all before come down */
    for (size_t i = 0; i < 340; i++)
        assert_int_equal(get(&t, i, 1, 0), 0);
    for (size_t i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "production/logs/l%zu", i);
        low += mp__l2_has(t.l2, hash_of(&t, mp_str_of(name)));
    }
    assert_in_range(low, 1, ROOM - 340);
    tiers_free(&t);
    priorities = NULL;
    mp__priorities_free(classes);
}

static void limits_can_be_lowered_and_raised_while_it_is_used(void **state)
{
    tiers t = tiers_new(L2_ENTRIES, (size_t)32 << 20);
    size_t found = 0;
    mp__l2_stats s;

    (void)state;
    fill(&t, 0, 3500, 1, 0);
    assert_int_equal(mp__l2_set_bytes(t.l2, 1000), MP_EINVAL);
    assert_int_equal(mp__l2_set_entries(t.l2, 0), MP_EINVAL);
    assert_int_equal(mp__l2_set_entries(t.l2, 500), 0);
    assert_int_equal(mp__l2_set_bytes(t.l2, (size_t)5 << 20), 0);
    s = stats_of(&t);
    assert_int_equal(s.entries, 500);
    assert_true(s.bytes <= s.bytes_max);
    for (size_t i = 0; i < 3500; i++)
        found += get(&t, i, 1, 0) == 0;
    assert_int_equal(found, 500);
    assert_int_equal(mp__l2_set_entries(t.l2, 6000), 0);
    assert_int_equal(mp__l2_set_bytes(t.l2, (size_t)16 << 20), 0);
    fill(&t, 0, 3500, 2, 0);
    found = 0;
    for (size_t i = 0; i < 3500; i++)
        found += get(&t, i, 2, 0) == 0;
    assert_int_equal(found, 3500 - L1_ENTRIES);
    mp__l2_set_dictionary(t.l2, 0);
    mp__l2_settle(t.l2);
    fill(&t, 0, 3500, 3, 0); /* what named the dictionaries is gone, and so are they */
    fill(&t, 9000, 9000 + L1_ENTRIES, 1, 0);
    assert_int_equal(stats_of(&t).dictionaries, 0);
    assert_int_equal(stats_of(&t).dictionary_bytes, 0);
    assert_int_equal(get(&t, 0, 3, 0), 0);
    tiers_free(&t);
}

/* ---- dictionaries ---- */

static void a_dictionary_follows_the_values_and_goes_with_its_last_entry(void **state)
{
    tiers t = tiers_new(2000, L2_BYTES);
    uint64_t trained;
    size_t found = 0;
    double first;
    mp__l2_stats s;

    (void)state;
    fill(&t, 0, 2000, 1, 0);
    s = stats_of(&t);
    first = (double)s.body_bytes / (double)s.stored_bytes;
    trained = s.trainings;
    assert_true(trained >= 1);
    /* the schema changes: new values of all keys, twice over */
    for (unsigned version = 2; version < 8; version++)
        fill(&t, 0, 2000, version, 1);
    s = stats_of(&t);
    print_message("# first %.2f, then %.2f, %zu trainings, %zu dictionaries\n", first,
                  (double)s.body_bytes / (double)s.stored_bytes, (size_t)s.trainings,
                  (size_t)s.dictionaries);
    assert_true(s.trainings > trained);
    assert_true((double)s.body_bytes > 3.5 * (double)s.stored_bytes);
    assert_true(s.dictionaries <= 3);
    for (size_t i = 0; i < 2000 - L1_ENTRIES; i++)
        found += get(&t, i, 7, 1) == 0;
    assert_true(found > 1800); /* nearly full: one in sixteen may wait for its second time */
    tiers_free(&t);
}

/* Of long values a sample has few: that is no reason to try again. */
static void no_training_comes_of_time_alone(void **state)
{
    enum { LONG = 3000, COUNT = 600 };
    tiers t = tiers_new(1000, L2_BYTES);
    char name[64], text[LONG + TEXT];
    uint64_t trainings = 0;

    (void)state;
    for (unsigned version = 1; version <= 8; version++) {
        for (size_t i = 0; i < COUNT; i++) {
            size_t size = 0;

            for (unsigned part = 0; size < LONG; part++)
                size += value_of(i * 100 + part, version, 0, text + size).size;
            assert_int_equal(
                put_bytes(&t, address_of(i, name), mp_str_new(text, size), version, false), 0);
            if (i % 32 == 0)
                mp__l2_settle(t.l2);
        }
        mp__l2_settle(t.l2);
        if (version == 2)
            trainings = stats_of(&t).trainings;
    }
    assert_int_equal(stats_of(&t).dictionaries, 1);
    assert_in_range(stats_of(&t).trainings, trainings, trainings + 2);
    tiers_free(&t);
}

/* ---- memory that fails ---- */

static void no_failing_allocation_makes_it_wrong(void **state)
{
    size_t n, failed = 0;

    (void)state;
    for (n = 1; n < 400; n += n < 40 ? 1 : 7) {
        mp__l2_options options = {.env = mp__env_real(),
                                  .entries_max = 500,
                                  .bytes_max = L2_BYTES,
                                  .level = 1,
                                  .dictionary_bytes = 8192};
        tiers t = {.key = {1, 2}};
        int rc;

        assert_int_equal(
            mp__l1_new(mp__env_real(), L1_ENTRIES, L1_BYTES, 10, mp__policy_find("fifo"), &t.l1),
            0);
        mp_fail_begin(n);
        rc = mp__l2_new(&options, &t.l2);
        if (rc == 0) {
            mp__l1_set_below(t.l1, t.l2);
            for (size_t i = 0; i < 300; i++)
                (void)put(&t, i, 1, 0);
            mp__l2_settle(t.l2);
            for (size_t i = 0; i < 300; i++) {
                rc = get(&t, i, 1, 0);
                assert_true(rc == 0 || rc == MP_EUNKNOWN || rc == MP_ENOMEM);
            }
        } else {
            assert_int_equal(rc, MP_ENOMEM);
            assert_null(t.l2);
        }
        failed += mp_fail_end();
        tiers_free(&t);
    }
    assert_true(failed > 20);
}

/* ---- many threads ---- */

enum { KEYS = 600, READERS = 3 };
static tiers shared;
static _Atomic unsigned newest[KEYS];
static _Atomic bool ended;

static void *write_versions(void *context)
{
    uint64_t seed = 5;

    (void)context;
    for (unsigned i = 0; i < 60000 || stats_of(&shared).hits <= 100; i++) {
        size_t key = (size_t)(random_of(&seed) % KEYS);
        unsigned version = atomic_load(&newest[key]) + 1;

        if (i % 4096 == 0) /* also while some are being packed */
            assert_int_equal(mp__l2_set_entries(shared.l2, i / 4096 % 2 ? KEYS / 8 : KEYS), 0);

        if (put(&shared, key, version, version / 8 % 2) == 0)
            atomic_store(&newest[key], version);
    }
    atomic_store(&ended, true);
    return NULL;
}

/* What L1 has not, L2 may have: never a revision older than was the newest before we looked. */
static void *read_versions(void *context)
{
    size_t *wrong = context;
    uint64_t seed = (uint64_t)(uintptr_t)context;
    mp__l2_scratch scratch;

    mp__l2_scratch_init(&scratch);
    while (!atomic_load(&ended)) {
        size_t key = (size_t)(random_of(&seed) % KEYS);
        unsigned least = atomic_load(&newest[key]);
        char name[64], text[TEXT];
        mp_str address = address_of(key, name);
        uint32_t generation, verify_by_s;
        mp__record record;
        int rc = mp__l2_get(shared.l2, address, hash_of(&shared, address), &scratch, &record,
                            &generation, &verify_by_s);

        if (rc == MP_EUNKNOWN)
            continue;
        if (rc || record.revision < least ||
            !mp_str_equal(record.value, value_of(key, (unsigned)record.revision,
                                                 (unsigned)record.revision / 8 % 2, text)))
            ++*wrong;
        else
            (void)mp__l1_bring_up(shared.l1, hash_of(&shared, address), &record, generation,
                                  verify_by_s, NULL);
    }
    mp__l2_scratch_done(&scratch);
    return NULL;
}

static void threads_never_read_the_past(void **state)
{
    pthread_t readers[READERS], writer;
    size_t wrong[READERS] = {0};

    (void)state;
    shared = tiers_new(KEYS, L2_BYTES);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_versions, &wrong[i]), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_versions, NULL), 0);
    assert_int_equal(pthread_join(writer, NULL), 0);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
    assert_true(stats_of(&shared).hits > 100);
    assert_int_equal(stats_of(&shared).corrupt, 0);
    for (size_t i = 0; i < KEYS; i++) { /* and L1 holds nothing older than L2 said */
        char name[64];
        mp_str address = address_of(i, name);
        const mp__entry *entry;

        assert_int_equal(mp_read_begin(), 0);
        entry = mp__l1_peek(shared.l1, address, hash_of(&shared, address));
        assert_true(!entry || entry->revision == atomic_load(&newest[i]));
        mp_read_end();
    }
    tiers_free(&shared);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_l1_evicts_is_kept_whole_and_much_smaller),
    MP_TEST(the_lowest_level_takes_less_memory_and_leaves_values_hardly_larger),
    MP_TEST(what_waits_to_be_compressed_can_be_read),
    MP_TEST(what_waits_is_packed_in_the_end_though_nothing_more_comes),
    MP_TEST(a_few_large_values_are_packed_at_once),
    MP_TEST(small_and_dense_values_stay_as_they_are),
    MP_TEST(two_that_are_read_at_once_are_each_what_was_written),
    MP_TEST(a_body_is_read_behind_its_dictionary_as_far_as_it_fits_there),
    MP_TEST(a_reader_that_goes_on_keeps_no_dictionary_of_before),
    MP_TEST(a_dictionary_that_nobody_needs_stays_until_its_window_is_given_back),
    MP_TEST(a_child_reads_behind_dictionaries_whoever_did_so_at_the_fork),
    MP_TEST(the_address_is_not_kept_and_no_other_of_its_hash_is_taken_for_it),
    MP_TEST(every_media_type_comes_back),
    MP_TEST(a_value_that_would_take_long_to_expand_does_not_enter),
    MP_TEST(a_large_value_that_no_dictionary_knows_is_as_small_as_zstd_alone_makes_it),
    MP_TEST(absence_does_not_enter),
    MP_TEST(a_newer_write_takes_the_older_copy_out_at_once),
    MP_TEST(an_older_write_does_not_pass_a_newer_copy),
    MP_TEST(the_cache_answers_an_older_write_with_the_newer_copy),
    MP_TEST(what_went_up_comes_down_again_without_being_compressed),
    MP_TEST(an_expired_copy_is_not_served),
    MP_TEST(a_verification_reaches_the_copy),
    MP_TEST(damage_is_unknown_and_never_wrong),
    MP_TEST(entries_and_bytes_stay_within_their_limits),
    MP_TEST(what_comes_once_does_not_push_out_when_it_is_nearly_full),
    MP_TEST(the_class_low_leaves_first_and_pushes_nothing_out),
    MP_TEST(limits_can_be_lowered_and_raised_while_it_is_used),
    MP_TEST(a_dictionary_follows_the_values_and_goes_with_its_last_entry),
    MP_TEST(no_training_comes_of_time_alone),
    MP_TEST(no_failing_allocation_makes_it_wrong),
    MP_TEST(threads_never_read_the_past),
};
MP_TEST_MAIN(tests)

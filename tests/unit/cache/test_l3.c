/* SPDX-License-Identifier: Apache-2.0 */
#include "l3_test.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

enum { SEGMENT = 64 << 10 };
#define ROOMY ((uint64_t)SEGMENT * 1000)
#define TIGHT ((uint64_t)SEGMENT * 8)

/* ---- keeping ---- */

static void what_was_put_is_read_at_once_and_after_a_restart(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", "one", 1), 0);
    assert_int_equal(l3_put(l3, "e/n/b", "two", 2), 0);
    assert_int_equal(l3_put(l3, "e/n/b", NULL, 3), 0);
    assert_int_equal(l3_put(l3, "e/n/empty", "", 4), 0);
    for (int round = 0; round < 3; round++) {
        assert_string_equal(l3_get(l3, "e/n/a"), "one");
        assert_string_equal(l3_get(l3, "e/n/b"), "-");
        assert_string_equal(l3_get(l3, "e/n/empty"), "");
        assert_string_equal(l3_get(l3, "e/n/c"), "MP_EUNKNOWN");
        assert_int_equal(mp__l3_revision_max(l3), 4);
        l3 = mp__l3_free(l3);
        l3 = l3_open(disk, ROOMY, SEGMENT);
    }
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void every_field_of_a_record_comes_back(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    mp__record record = {.address = MP_STR("e/n/a"),
                         .value = MP_STR("va\0lue"),
                         .media_type = MP_STR("application/json"),
                         .kind = MP__RECORD_VALUE,
                         .revision = UINT64_MAX,
                         .created_revision = 2,
                         .version = 3,
                         .created_ms = -4,
                         .modified_ms = 5,
                         .expires_ms = 6,
                         .fetched_ms = 7,
                         .verified_ms = INT64_MAX};
    uint64_t hash = l3_hash(l3, "e/n/a");

    (void)state;
    assert_int_equal(mp__l3_put(l3, hash, &record, false, 8, 9), 0);
    for (int round = 0; round < 2; round++) {
        uint32_t generation, verify_by_s;
        void *memory = NULL;
        mp__record got;

        assert_int_equal(
            mp__l3_get(l3, record.address, hash, false, &got, &memory, &generation, &verify_by_s),
            0);
        assert_true(mp_str_equal(got.address, record.address));
        assert_true(mp_str_equal(got.value, record.value));
        assert_true(mp_str_equal(got.media_type, record.media_type));
        assert_true(got.kind == record.kind && got.revision == record.revision);
        assert_true(got.created_revision == 2 && got.version == 3 && got.created_ms == -4);
        assert_true(got.modified_ms == 5 && got.expires_ms == 6 && got.fetched_ms == 7);
        assert_true(got.verified_ms == INT64_MAX);
        /* how fresh it is, only this process knows */
        assert_int_equal(generation, round == 0 ? 8 : 0);
        assert_int_equal(verify_by_s, round == 0 ? 9 : 0);
        mp__free(memory);
        l3 = mp__l3_free(l3);
        l3 = l3_open(disk, ROOMY, SEGMENT);
    }
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void an_older_revision_does_not_replace_a_newer(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", "new", 5), 0);
    assert_int_equal(l3_put(l3, "e/n/a", "old", 4), 0);
    assert_string_equal(l3_get(l3, "e/n/a"), "new");
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(l3_put(l3, "e/n/a", "old", 4), 0);
    assert_int_equal(l3_put(l3, "e/n/a", NULL, 4), 0);
    assert_string_equal(l3_get(l3, "e/n/a"), "new");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static int put_if_newest(mp__l3 *l3, const char *address, uint64_t revision, bool fill)
{
    mp__record record = {.address = mp_str_of(address),
                         .value = MP_STR("late"),
                         .kind = MP__RECORD_VALUE,
                         .revision = revision};

    return mp__l3_put(l3, l3_hash(l3, address), &record,
                      MP__L3_PUT_NEWEST | (fill ? MP__L3_PUT_FILL : 0u), 0, 0);
}

/* That there is none is not kept where nothing is, but remembered. */
static void what_comes_late_is_not_kept_where_something_newer_was_known(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    uint64_t hash = l3_hash(l3, "e/n/kept");

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/kept", "new", 8), 0);
    assert_int_equal(put_if_newest(l3, "e/n/kept", 7, false), -ESTALE);
    assert_string_equal(l3_get(l3, "e/n/kept"), "new");
    assert_true(mp__l3_knows_newer(l3, hash, 7));
    assert_false(mp__l3_knows_newer(l3, hash, 8));
    assert_int_equal(put_if_newest(l3, "e/n/kept", 8, false), 0); /* the same once more */
    assert_int_equal(put_if_newest(l3, "e/n/kept", 9, false), 0);
    assert_string_equal(l3_get(l3, "e/n/kept"), "late");

    assert_int_equal(l3_put(l3, "e/n/absent", NULL, 8), 0);
    assert_string_equal(l3_get(l3, "e/n/absent"), "MP_EUNKNOWN");
    assert_int_equal(put_if_newest(l3, "e/n/absent", 7, true), -ESTALE);
    assert_string_equal(l3_get(l3, "e/n/absent"), "MP_EUNKNOWN");
    assert_int_equal(l3_put(l3, "e/n/absent", "from the origin", 7), 0); /* who was asked knows */
    assert_string_equal(l3_get(l3, "e/n/absent"), "from the origin");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void what_was_forgotten_or_could_not_be_kept_is_not_followed_by_something_older(void **state)
{
    static char large[SEGMENT];
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, 4 * SEGMENT, SEGMENT);
    char address[32];

    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    assert_int_equal(l3_put(l3, "e/n/large", large, 8), MP_ELIMIT);
    assert_int_equal(put_if_newest(l3, "e/n/large", 7, false), -ESTALE);
    assert_int_equal(put_if_newest(l3, "e/n/large", 9, false), 0);
    large[SEGMENT / 8] = '\0';
    assert_int_equal(l3_put(l3, "e/n/first", "value", 8), 0);
    for (unsigned i = 0; i < 64; i++) {
        snprintf(address, sizeof(address), "e/n/%u", i);
        assert_int_equal(l3_put(l3, address, large, 1), 0);
        assert_int_equal(mp__l3_flush(l3), 0);
    }
    assert_string_equal(l3_get(l3, "e/n/first"), "MP_EUNKNOWN");
    assert_int_equal(put_if_newest(l3, "e/n/first", 7, true), -ESTALE);
    assert_int_equal(put_if_newest(l3, "e/n/first", 8, true), 0);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* An origin that was set back begins at low revisions again. */
static void a_forced_record_ends_what_was_remembered(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", NULL, 800), 0);
    assert_int_equal(put_if_newest(l3, "e/n/a", 7, false), -ESTALE);
    assert_int_equal(l3_put_as(l3, "e/n/a", "of the new origin", 6, true), 0);
    assert_int_equal(put_if_newest(l3, "e/n/a", 7, false), 0);
    assert_string_equal(l3_get(l3, "e/n/a"), "late");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* So does a forced absence, of which no slot is made. */
static void a_forced_absence_ends_what_was_remembered(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", NULL, 800), 0);
    assert_int_equal(l3_put_as(l3, "e/n/a", NULL, 6, true), 0);
    assert_int_equal(put_if_newest(l3, "e/n/a", 5, false), -ESTALE);
    assert_int_equal(put_if_newest(l3, "e/n/a", 7, false), 0);
    assert_string_equal(l3_get(l3, "e/n/a"), "late");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void the_same_revision_is_not_written_twice(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(l3_put(l3, "e/n/a", "value", 5), 0);
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(l3_stats(l3).appends, 1);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_forced_record_replaces_a_newer_one_for_good(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", "of the old origin", 500), 0);
    assert_int_equal(l3_put(l3, "e/n/b", "of the old origin", 501), 0);
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(l3_put_as(l3, "e/n/a", "of the new origin", 1, true), 0);
    assert_int_equal(l3_put_as(l3, "e/n/b", "of the new origin", 2, true), 0);
    assert_int_equal(l3_put(l3, "e/n/b", "newer", 3), 0); /* inherits it */
    for (int round = 0; round < 3; round++) {
        assert_string_equal(l3_get(l3, "e/n/a"), "of the new origin");
        assert_string_equal(l3_get(l3, "e/n/b"), "newer");
        l3 = mp__l3_free(l3);
        l3 = l3_open(disk, ROOMY, SEGMENT);
    }
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_tombstone_for_what_was_never_kept_is_not_stored(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char address[32];

        snprintf(address, sizeof(address), "e/n/%d", i);
        assert_int_equal(l3_put(l3, address, NULL, 1), 0);
    }
    assert_int_equal(l3_stats(l3).entries, 0);
    assert_int_equal(l3_stats(l3).pending_bytes, 0);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_late_fill_does_not_raise_what_was_found_absent_since(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    uint64_t revision;

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", "value", 5), 0);
    assert_int_equal(l3_put(l3, "e/n/a", NULL, 7), 0);
    assert_int_equal(l3_put(l3, "e/n/a", NULL, 20), 0); /* still absent: not written again */
    assert_int_equal(l3_put(l3, "e/n/a", "late", 12), 0);
    assert_string_equal(l3_get_as(l3, "e/n/a", &revision, false), "-");
    assert_int_equal(revision, 20);
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_string_equal(l3_get_as(l3, "e/n/a", &revision, false), "-");
    assert_int_equal(l3_put(l3, "e/n/a", "late", 12), 0);
    assert_string_equal(l3_get(l3, "e/n/a"), "-");
    assert_int_equal(l3_put(l3, "e/n/a", "again", 21), 0);
    assert_string_equal(l3_get(l3, "e/n/a"), "again");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void two_addresses_of_one_hash_are_not_taken_for_each_other(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    mp__record record = {
        .address = MP_STR("e/n/a"), .value = MP_STR("a"), .kind = MP__RECORD_VALUE, .revision = 1};
    uint32_t generation, verify_by_s;
    void *memory = NULL;
    mp__record got;

    (void)state;
    assert_int_equal(mp__l3_put(l3, 12345, &record, false, 0, 0), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(
            mp__l3_get(l3, MP_STR("e/n/b"), 12345, false, &got, &memory, &generation, &verify_by_s),
            MP_EUNKNOWN);
        assert_int_equal(mp__l3_flush(l3), 0);
    }
    assert_int_equal(l3_stats(l3).corrupt, 0);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void freshness_is_noted_for_the_revision_it_was_found_for(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    uint64_t hash = l3_hash(l3, "e/n/a");
    uint32_t generation, verify_by_s;
    void *memory = NULL;
    mp__record got;

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", "value", 5), 0);
    mp__l3_verified(l3, hash, 4, 70, 80);
    mp__l3_verified(l3, hash, 5, 7, 8);
    mp__l3_verified(l3, hash, 6, 71, 81);
    assert_int_equal(
        mp__l3_get(l3, MP_STR("e/n/a"), hash, false, &got, &memory, &generation, &verify_by_s), 0);
    assert_int_equal(generation, 7);
    assert_int_equal(verify_by_s, 8);
    mp__free(memory);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- reading ---- */

static void a_read_that_would_wait_for_the_disk_says_so(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    uint64_t revision;

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", "value", 5), 0);
    mp_platter_set_cached(disk, false);
    assert_string_equal(l3_get_as(l3, "e/n/a", &revision, true), "value"); /* in the queue */
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_string_equal(l3_get_as(l3, "e/n/a", &revision, true), "MP_EAGAIN");
    assert_string_equal(l3_get_as(l3, "e/n/b", &revision, true), "MP_EUNKNOWN");
    assert_string_equal(l3_get_as(l3, "e/n/a", &revision, false), "value");
    mp_platter_set_cached(disk, true);
    assert_string_equal(l3_get_as(l3, "e/n/a", &revision, true), "value");
    assert_int_equal(l3_stats(l3).hits, 3);
    assert_int_equal(l3_stats(l3).misses, 1);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_disk_error_of_a_read_is_counted_and_nothing_is_left_out(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/a", "value", 5), 0);
    assert_int_equal(mp__l3_flush(l3), 0);
    mp_platter_fail(disk, MP_PLATTER_READ, 1, 1, -EIO);
    assert_string_equal(l3_get(l3, "e/n/a"), "MP_ECORRUPT");
    assert_string_equal(l3_get(l3, "e/n/a"), "value");
    assert_int_equal(l3_stats(l3).errors, 1);
    assert_int_equal(l3_stats(l3).corrupt, 0);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

typedef struct seen {
    unsigned count, right;
    unsigned stop_at;
} seen;

static int see(void *context, const mp__record *record)
{
    seen *s = context;

    s->count++;
    s->right += record->value.size > 4 && memcmp(record->value.data, "new-", 4) == 0;
    return s->count == s->stop_at ? -EINTR : 0;
}

static void each_gives_the_newest_value_of_each_address_with_the_prefix(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    seen all = {0}, some = {0}, stopped = {.stop_at = 3};

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        char address[32], value[32];

        snprintf(address, sizeof(address), "e/%c/%u", i % 4 ? 'n' : 'm', i);
        assert_int_equal(l3_put(l3, address, "old", i + 1), 0);
        snprintf(value, sizeof(value), "new-%u", i);
        if (i % 3 == 0)
            assert_int_equal(mp__l3_flush(l3), 0);
        assert_int_equal(l3_put(l3, address, i == 7 ? NULL : value, i + 1000), 0);
    }
    assert_int_equal(mp__l3_each(l3, MP_STR(""), see, &all), 0);
    assert_int_equal(all.count, 199);
    assert_int_equal(all.right, 199);
    assert_int_equal(mp__l3_each(l3, MP_STR("e/m/"), see, &some), 0);
    assert_int_equal(some.count, 50);
    assert_int_equal(mp__l3_each(l3, MP_STR(""), see, &stopped), -EINTR);
    assert_int_equal(stopped.count, 3);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- room ---- */

static const char *large_value(void)
{
    static char value[301];

    memset(value, 'x', 300);
    return value;
}

static void the_folder_stays_within_its_bound_and_the_newest_is_kept(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, TIGHT, SEGMENT);
    char address[32];
    unsigned kept = 0;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(address, sizeof(address), "e/n/%u", i);
        assert_int_equal(l3_put(l3, address, large_value(), i + 1), 0);
        if (i % 20 == 0) {
            mp_platter_run(disk, false);
            assert_true(l3_stats(l3).bytes <= TIGHT);
            /* the id is 64 bytes, the lock none */
            assert_int_equal(mp_platter_used(disk), l3_stats(l3).bytes + 64);
        }
    }
    assert_true(l3_stats(l3).forgotten > 3000);
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, TIGHT, SEGMENT);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(address, sizeof(address), "e/n/%u", i);
        if (strcmp(l3_get(l3, address), large_value()) == 0)
            kept++;
        else
            assert_true(i < 4500);
    }
    assert_in_range(kept, 600, 1200);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void what_is_read_survives_its_segment(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, TIGHT, SEGMENT);
    char address[32];

    (void)state;
    assert_int_equal(l3_put(l3, "e/n/hot", "hot", 1), 0);
    assert_int_equal(l3_put(l3, "e/n/cold", "cold", 2), 0);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(address, sizeof(address), "e/n/%u", i);
        assert_int_equal(l3_put(l3, address, large_value(), i + 3), 0);
        if (i % 100 == 0) {
            assert_string_equal(l3_get(l3, "e/n/hot"), "hot");
            mp_platter_run(disk, false);
        }
    }
    assert_string_equal(l3_get(l3, "e/n/cold"), "MP_EUNKNOWN");
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, TIGHT, SEGMENT);
    assert_string_equal(l3_get(l3, "e/n/hot"), "hot");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* Nobody reads them, and far more is written than there is room for. */
static void what_is_critical_or_high_survives_its_segment_unread(void **state)
{
    static const mp_str rows[] = {MP_STR("space/critical-*=critical"), MP_STR("space/high-*=high"),
                                  MP_STR("space/low-*=low")};
    static const char *const classes[] = {"critical", "high", "low", "normal"};
    mp_platter *disk = mp_platter_new(1);
    mp__priorities *priorities = NULL;
    char address[64], value[1000];
    mp__l3 *l3;

    (void)state;
    assert_int_equal(mp__priorities_new(rows, 3, NULL, 0, &priorities, NULL), 0);
    l3_priorities = priorities;
    l3 = l3_open(disk, (uint64_t)SEGMENT * 6, SEGMENT);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(address, sizeof(address), "env/space/%s-%u", classes[i % 4], i);
        assert_int_equal(l3_put(l3, address, address, i + 1), 0);
    }
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(address, sizeof(address), "env/space/flood-%u", i);
        assert_int_equal(l3_put(l3, address, value, i + 100), 0);
        if (i % 50 == 0)
            assert_int_equal(mp__l3_flush(l3), 0);
    }
    for (int life = 0; life < 2; life++) {
        for (unsigned i = 0; i < 40; i++) {
            snprintf(address, sizeof(address), "env/space/%s-%u", classes[i % 4], i);
            assert_string_equal(l3_get(l3, address), i % 4 < 2 ? address : "MP_EUNKNOWN");
        }
        l3 = mp__l3_free(l3);
        l3 = l3_open(disk, (uint64_t)SEGMENT * 6, SEGMENT);
    }
    assert_true(l3_stats(l3).bytes <= (uint64_t)SEGMENT * 6);
    l3 = mp__l3_free(l3);
    l3_priorities = NULL;
    mp__priorities_free(priorities);
    mp_platter_free(disk);
}

/* Where everything is critical it is as if nothing were: the bound holds, and the newest stay. */
static void classes_do_not_stop_the_log(void **state)
{
    static const mp_str rows[] = {MP_STR("space/*=critical")};
    mp_platter *disk = mp_platter_new(1);
    mp__priorities *priorities = NULL;
    char address[64], value[1000];
    mp__l3 *l3;

    (void)state;
    assert_int_equal(mp__priorities_new(rows, 1, NULL, 0, &priorities, NULL), 0);
    l3_priorities = priorities;
    l3 = l3_open(disk, (uint64_t)SEGMENT * 6, SEGMENT);
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(address, sizeof(address), "env/space/%u", i);
        assert_int_equal(l3_put(l3, address, value, i + 1), 0);
        if (i % 50 == 0)
            assert_int_equal(mp__l3_flush(l3), 0);
    }
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_true(l3_stats(l3).bytes <= (uint64_t)SEGMENT * 6);
    for (unsigned i = 1960; i < 2000; i++) {
        snprintf(address, sizeof(address), "env/space/%u", i);
        assert_string_equal(l3_get(l3, address), value);
    }
    l3 = mp__l3_free(l3);
    l3_priorities = NULL;
    mp__priorities_free(priorities);
    mp_platter_free(disk);
}

static void overwriting_forgets_nothing(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, TIGHT, SEGMENT);
    char address[32];

    (void)state;
    for (unsigned i = 0; i < 100; i++) { /* 40 of the 400 KB that stay */
        snprintf(address, sizeof(address), "e/n/still-%u", i);
        assert_int_equal(l3_put(l3, address, large_value(), 1), 0);
    }
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(address, sizeof(address), "e/n/busy-%u", i % 50);
        assert_int_equal(l3_put(l3, address, large_value(), i + 1), 0);
        if (i % 20 == 0)
            mp_platter_run(disk, false);
    }
    assert_int_equal(l3_stats(l3).forgotten, 0);
    assert_true(l3_stats(l3).bytes <= TIGHT);
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, TIGHT, SEGMENT);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(address, sizeof(address), "e/n/still-%u", i);
        assert_string_equal(l3_get(l3, address), large_value());
    }
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_lower_bound_is_kept_from_the_next_start_on(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    char address[32];

    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(address, sizeof(address), "e/n/%u", i);
        assert_int_equal(l3_put(l3, address, large_value(), i + 1), 0);
        if (i % 100 == 0)
            mp_platter_run(disk, false);
    }
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, TIGHT, SEGMENT);
    mp_platter_run(disk, true);
    assert_true(mp_platter_used(disk) <= TIGHT + 64);
    assert_string_equal(l3_get(l3, "e/n/2999"), large_value());
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_bound_is_lowered_and_raised_while_it_is_used(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, ROOMY, SEGMENT);
    char address[32];

    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        snprintf(address, sizeof(address), "e/n/%u", i);
        assert_int_equal(l3_put(l3, address, large_value(), i + 1), 0);
        if (i % 100 == 0)
            mp_platter_run(disk, false);
        if (i == 2999) {
            assert_int_equal(mp__l3_set_bytes(l3, 3 * SEGMENT), MP_EINVAL);
            assert_int_equal(mp__l3_set_bytes(l3, TIGHT), 0);
            mp_platter_run(disk, true);
            assert_true(mp_platter_used(disk) <= TIGHT + 64);
            assert_int_equal(l3_stats(l3).bytes_max, TIGHT);
            assert_string_equal(l3_get(l3, "e/n/2999"), large_value());
            assert_string_equal(l3_get(l3, "e/n/0"), "MP_EUNKNOWN");
            assert_int_equal(mp__l3_set_bytes(l3, ROOMY), 0);
        }
    }
    assert_int_equal(mp__l3_flush(l3), 0);
    for (unsigned i = 2999; i < 4000; i++) { /* nothing more had to go */
        snprintf(address, sizeof(address), "e/n/%u", i);
        assert_string_equal(l3_get(l3, address), large_value());
    }
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* Where the bound is lowered to less than a half, the oldest of which are the critical ones. */
static void what_is_critical_survives_a_lower_bound(void **state)
{
    static const mp_str rows[] = {MP_STR("space/critical-*=critical")};
    mp_platter *disk = mp_platter_new(1);
    mp__priorities *priorities = NULL;
    char address[64];
    mp__l3 *l3;

    (void)state;
    assert_int_equal(mp__priorities_new(rows, 1, NULL, 0, &priorities, NULL), 0);
    l3_priorities = priorities;
    l3 = l3_open(disk, ROOMY, SEGMENT);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(address, sizeof(address), "env/space/%s-%u", i < 40 ? "critical" : "flood", i);
        assert_int_equal(l3_put(l3, address, large_value(), i + 1), 0);
        if (i % 100 == 0)
            assert_int_equal(mp__l3_flush(l3), 0);
    }
    assert_true(l3_stats(l3).bytes > 2 * (uint64_t)TIGHT);
    for (int life = 0; life < 2; life++) {
        l3 = mp__l3_free(l3);
        l3 = l3_open(disk, TIGHT, SEGMENT);
        assert_int_equal(l3_put(l3, "env/space/after", "1", 4000 + (uint64_t)life), 0);
        assert_int_equal(mp__l3_flush(l3), 0);
        assert_true(l3_stats(l3).bytes <= TIGHT);
        assert_string_equal(l3_get(l3, "env/space/flood-40"), "MP_EUNKNOWN");
        for (unsigned i = 0; i < 40; i++) {
            snprintf(address, sizeof(address), "env/space/critical-%u", i);
            assert_string_equal(l3_get(l3, address), large_value());
        }
        assert_string_equal(l3_get(l3, "env/space/flood-2999"), large_value());
    }
    l3 = mp__l3_free(l3);
    l3_priorities = NULL;
    mp__priorities_free(priorities);
    mp_platter_free(disk);
}

static void settings_that_cannot_work_are_refused(void **state)
{
    static const struct {
        uint64_t bytes_max, segment_bytes;
    } bad[] = {{1 << 20, 1 << 10}, {(uint64_t)1 << 32, (uint64_t)1 << 30}, {3 * SEGMENT, SEGMENT}};
    mp_platter *disk = mp_platter_new(1);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        mp__diag diag = {0};
        mp__l3 *l3 = NULL;

        assert_int_equal(l3_try_open(mp_platter_env(disk), L3_DIR, bad[i].bytes_max,
                                     bad[i].segment_bytes, &l3, &diag),
                         MP_EINVAL);
        assert_non_null(strstr(diag.text, "l3_size_mb"));
    }
    mp_platter_free(disk);
}

/* ---- on a real disk, with real threads ---- */

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

static mp__l3 *real_open(uint64_t bytes_max, uint64_t segment_bytes)
{
    mp__l3_options options = {mp__env_real(), folder, bytes_max, segment_bytes, 50, 64u << 20};
    mp__l3 *l3 = NULL;
    mp__diag diag = {0};

    if (mp__l3_open(&options, &l3, &diag) != 0)
        fail_msg("%s", diag.text);
    return l3;
}

static void a_second_opener_is_refused(void **state)
{
    mp__l3 *l3 = real_open(ROOMY, SEGMENT), *second = NULL;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(l3_try_open(mp__env_real(), folder, ROOMY, SEGMENT, &second, &diag),
                     MP_ELOCKED);
    assert_non_null(strstr(diag.text, folder));
    l3 = mp__l3_free(l3);
    l3 = real_open(ROOMY, SEGMENT);
    l3 = mp__l3_free(l3);
}

static void a_hundred_thousand_records_are_recovered_from_footers(void **state)
{
    mp__l3 *l3 = real_open(256u << 20, 4u << 20);
    char address[32], value[200];

    (void)state;
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(address, sizeof(address), "e/n/key-%u", i);
        assert_int_equal(l3_put(l3, address, value, i + 1), 0);
        if (i % 10000 == 0)
            assert_int_equal(mp__l3_flush(l3), 0);
    }
    l3 = mp__l3_free(l3);
    l3 = real_open(256u << 20, 4u << 20);
    assert_int_equal(l3_stats(l3).entries, 100000);
    assert_string_equal(l3_get(l3, "e/n/key-77777"), value);
    print_message("# recovered 100,000 records of 300 bytes in %.1f ms\n",
                  (double)l3_stats(l3).recovery_ns / 1e6);
    l3 = mp__l3_free(l3);
}

enum { RACE_ADDRESSES = 64, RACE_PUTS = 4000, RACERS = 2 };

typedef struct race {
    mp__l3 *l3;
    _Atomic uint64_t put[RACE_ADDRESSES]; /* revision that is put for sure */
    _Atomic unsigned running;
    unsigned number;
} race;

static void race_address(unsigned i, char address[32])
{
    snprintf(address, 32, "e/n/%u", i);
}

/* Each putter has the addresses of its own parity. */
static void *race_put(void *context)
{
    race *r = context;
    unsigned number = atomic_fetch_add(&r->running, 1);

    for (uint64_t revision = 1; revision <= RACE_PUTS; revision++) {
        unsigned i = (unsigned)(revision * 7919 % (RACE_ADDRESSES / RACERS)) * RACERS + number;
        char address[32], value[600];
        int size;

        race_address(i, address);
        size = snprintf(value, sizeof(value), "%u %" PRIu64 " ", i, revision);
        memset(value + size, 'v', sizeof(value) - (size_t)size - 1);
        value[sizeof(value) - 1] = '\0';
        assert_int_equal(l3_put(r->l3, address, value, revision), 0);
        atomic_store(&r->put[i], revision);
    }
    atomic_fetch_sub(&r->running, 1);
    return NULL;
}

static void race_get(race *r, unsigned i)
{
    uint64_t least = atomic_load(&r->put[i]);
    uint32_t generation, verify_by_s;
    char address[32], want[64];
    void *memory = NULL;
    mp__record record;
    int rc;

    race_address(i, address);
    rc = mp__l3_get(r->l3, mp_str_of(address), l3_hash(r->l3, address), i % 3 == 0, &record,
                    &memory, &generation, &verify_by_s);
    if (rc == 0) {
        assert_true(record.revision >= least);
        snprintf(want, sizeof(want), "%u %" PRIu64 " ", i, record.revision);
        assert_memory_equal(record.value.data, want, strlen(want));
        mp__free(memory);
    } else if (rc != MP_EAGAIN) {
        assert_int_equal(rc, MP_EUNKNOWN);
        assert_true(least == 0); /* what is read stays: nothing was forgotten */
    }
}

static void readers_writers_and_reclaim_may_meet(void **state)
{
    pthread_t putters[RACERS];
    race r = {.l3 = real_open((uint64_t)SEGMENT * 12, SEGMENT)};
    seen all = {0};
    unsigned i = 0;

    (void)state;
    for (unsigned p = 0; p < RACERS; p++)
        assert_int_equal(pthread_create(&putters[p], NULL, race_put, &r), 0);
    do {
        race_get(&r, i++ % RACE_ADDRESSES);
        if (i % 500 == 0)
            assert_int_equal(mp__l3_flush(r.l3), 0);
        if (i % 700 == 0)
            assert_int_equal(mp__l3_each(r.l3, MP_STR(""), see, &all), 0);
    } while (atomic_load(&r.running) || i < 2000);
    for (unsigned p = 0; p < RACERS; p++)
        assert_int_equal(pthread_join(putters[p], NULL), 0);
    assert_int_equal(l3_stats(r.l3).forgotten, 0);
    assert_int_equal(l3_stats(r.l3).corrupt, 0);
    assert_int_equal(l3_stats(r.l3).errors, 0);
    r.l3 = mp__l3_free(r.l3);
    r.l3 = real_open((uint64_t)SEGMENT * 12, SEGMENT);
    for (i = 0; i < RACE_ADDRESSES; i++)
        race_get(&r, i);
    r.l3 = mp__l3_free(r.l3);
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
static const struct CMUnitTest tests[] = {
    MP_TEST(what_was_put_is_read_at_once_and_after_a_restart),
    MP_TEST(every_field_of_a_record_comes_back),
    MP_TEST(an_older_revision_does_not_replace_a_newer),
    MP_TEST(what_comes_late_is_not_kept_where_something_newer_was_known),
    MP_TEST(what_was_forgotten_or_could_not_be_kept_is_not_followed_by_something_older),
    MP_TEST(a_forced_record_ends_what_was_remembered),
    MP_TEST(a_forced_absence_ends_what_was_remembered),
    MP_TEST(the_same_revision_is_not_written_twice),
    MP_TEST(a_forced_record_replaces_a_newer_one_for_good),
    MP_TEST(a_tombstone_for_what_was_never_kept_is_not_stored),
    MP_TEST(a_late_fill_does_not_raise_what_was_found_absent_since),
    MP_TEST(two_addresses_of_one_hash_are_not_taken_for_each_other),
    MP_TEST(freshness_is_noted_for_the_revision_it_was_found_for),
    MP_TEST(a_read_that_would_wait_for_the_disk_says_so),
    MP_TEST(a_disk_error_of_a_read_is_counted_and_nothing_is_left_out),
    MP_TEST(each_gives_the_newest_value_of_each_address_with_the_prefix),
    MP_TEST(the_folder_stays_within_its_bound_and_the_newest_is_kept),
    MP_TEST(what_is_read_survives_its_segment),
    MP_TEST(what_is_critical_or_high_survives_its_segment_unread),
    MP_TEST(classes_do_not_stop_the_log),
    MP_TEST(overwriting_forgets_nothing),
    MP_TEST(a_lower_bound_is_kept_from_the_next_start_on),
    MP_TEST(a_bound_is_lowered_and_raised_while_it_is_used),
    MP_TEST(what_is_critical_survives_a_lower_bound),
    MP_TEST(settings_that_cannot_work_are_refused),
    WITH_FOLDER(a_second_opener_is_refused),
    WITH_FOLDER(a_hundred_thousand_records_are_recovered_from_footers),
    WITH_FOLDER(readers_writers_and_reclaim_may_meet),
};

MP_TEST_MAIN(tests)

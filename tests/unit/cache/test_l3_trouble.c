/* SPDX-License-Identifier: Apache-2.0 */
/* L3 when the disk is full, fails, cannot be written or opened, and when memory is short. */
#include "l3_test.h"

#include <errno.h>

#include "mp_fail.h"

enum { SEGMENT = 64 << 10, VALUE = 1000 };
#define BYTES_MAX ((uint64_t)SEGMENT * 16)

static const char *filled(char letter)
{
    static char value[VALUE + 1];

    memset(value, letter, VALUE);
    return value;
}

static void put_numbered(mp__l3 *l3, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char address[64];

        snprintf(address, sizeof(address), "env/space/%u", i);
        assert_int_equal(l3_put(l3, address, filled((char)('a' + i % 26)), i + 1), 0);
    }
}

static unsigned count_numbered(mp__l3 *l3, unsigned from, unsigned to)
{
    unsigned count = 0;

    for (unsigned i = from; i < to; i++) {
        char address[64];
        const char *got;

        snprintf(address, sizeof(address), "env/space/%u", i);
        got = l3_get(l3, address);
        if (strncmp(got, "MP_E", 4) == 0)
            continue;
        assert_string_equal(got, filled((char)('a' + i % 26)));
        count++;
    }
    return count;
}

/* ---- a full disk ---- */

static void a_full_disk_keeps_new_values_in_memory_and_recovers_by_itself(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    mp__diag diag = {0};

    (void)state;
    put_numbered(l3, 0, 10);
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(mp__l3_trouble(l3, &diag), 0);
    mp_platter_set_capacity(disk, mp_platter_used(disk) + 100);
    put_numbered(l3, 10, 30);
    mp_platter_run(disk, false);
    assert_int_equal(mp__l3_trouble(l3, &diag), -ENOSPC);
    assert_non_null(strstr(diag.text, "No space left"));
    assert_int_equal(count_numbered(l3, 0, 30), 30);
    /* nothing is tried before its time, then it is */
    mp_platter_set_capacity(disk, UINT64_MAX);
    mp_platter_run(disk, true);
    assert_int_equal(mp__l3_trouble(l3, &diag), -ENOSPC);
    mp_platter_turn(disk, 1001);
    mp_platter_run(disk, true);
    assert_int_equal(mp__l3_trouble(l3, &diag), 0);
    mp_platter_power_off(disk, MP_PLATTER_KILL);
    l3 = mp__l3_free(l3);
    mp_platter_power_on(disk);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(count_numbered(l3, 0, 30), 30);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void on_a_full_disk_the_oldest_make_room_for_the_newest(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    (void)state;
    put_numbered(l3, 0, 300);
    assert_int_equal(mp__l3_flush(l3), 0);
    mp_platter_set_capacity(disk, mp_platter_used(disk) + 100);
    for (unsigned i = 300; i < 900; i += 10) {
        put_numbered(l3, i, i + 10);
        mp_platter_run(disk, false);
        mp_platter_turn(disk, 40000); /* it may wait a while after each refusal */
        mp_platter_run(disk, true);
    }
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_true(l3_stats(l3).forgotten >= 550);
    mp_platter_power_off(disk, MP_PLATTER_LOSE);
    l3 = mp__l3_free(l3);
    mp_platter_power_on(disk);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(count_numbered(l3, 0, 100), 0);
    assert_int_equal(count_numbered(l3, 800, 900), 100);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* However full the active segment is, into which what is critical would be moved. */
static void lower_the_bound_under_what_is_critical(uint64_t room_on_disk)
{
    static const mp_str rows[] = {MP_STR("space/*=critical")};
    mp__priorities *priorities = NULL;

    assert_int_equal(mp__priorities_new(rows, 1, NULL, 0, &priorities, NULL), 0);
    l3_priorities = priorities;
    for (unsigned count = 600; count < 660; count += 10) {
        mp_platter *disk = mp_platter_new(1);
        mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        mp__diag diag = {0};

        put_numbered(l3, 0, count);
        assert_int_equal(mp__l3_flush(l3), 0);
        assert_true(l3_stats(l3).bytes > (uint64_t)SEGMENT * 8);
        mp_platter_set_capacity(disk, mp_platter_used(disk) + room_on_disk);
        assert_int_equal(mp__l3_set_bytes(l3, (uint64_t)SEGMENT * 4), 0);
        mp_platter_run(disk, true);
        assert_true(l3_stats(l3).bytes <= (uint64_t)SEGMENT * 4);
        assert_int_equal(mp__l3_trouble(l3, &diag), 0);
        assert_true(count_numbered(l3, 0, count) >= 60);
        l3 = mp__l3_free(l3);
        mp_platter_free(disk);
    }
    l3_priorities = NULL;
    mp__priorities_free(priorities);
}

static void a_bound_below_all_that_is_critical_is_kept(void **state)
{
    (void)state;
    lower_the_bound_under_what_is_critical((uint64_t)1 << 30);
}

static void a_bound_lowered_on_a_full_disk_is_kept(void **state)
{
    (void)state;
    lower_the_bound_under_what_is_critical(100);
}

static void room_that_another_takes_is_made_only_once(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    uint64_t segments;

    (void)state;
    put_numbered(l3, 0, 400);
    assert_int_equal(mp__l3_flush(l3), 0);
    segments = l3_stats(l3).segments;
    mp_platter_set_capacity(disk, 1); /* somebody writes faster than we make room */
    put_numbered(l3, 400, 410);
    for (int i = 0; i < 50; i++) {
        mp_platter_turn(disk, 40000);
        mp_platter_run(disk, true);
    }
    assert_int_equal(l3_stats(l3).segments, segments - 1);
    assert_int_equal(count_numbered(l3, 400, 410), 10);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- failing calls ---- */

static void a_failed_sync_is_answered_by_writing_everything_again_elsewhere(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    (void)state;
    put_numbered(l3, 0, 5);
    assert_int_equal(mp__l3_flush(l3), 0);
    put_numbered(l3, 5, 20);
    mp_platter_fail(disk, MP_PLATTER_SYNC, 1, 1, -EIO);
    assert_int_equal(mp__l3_flush(l3), -EIO);
    assert_int_equal(mp__l3_trouble(l3, NULL), -EIO);
    assert_int_equal(count_numbered(l3, 0, 20), 20);
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(mp__l3_trouble(l3, NULL), 0);
    mp_platter_power_off(disk, MP_PLATTER_LOSE);
    l3 = mp__l3_free(l3);
    mp_platter_power_on(disk);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(count_numbered(l3, 0, 20), 20);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* Enough for several segments, overwritten, deleted, with a restart in the middle. */
static mp__l3 *script(mp_platter *disk, mp__l3 *l3, bool may_forget)
{
    for (int round = 0; round < 3; round++) {
        put_numbered(l3, 0, 60);
        mp_platter_run(disk, false);
        mp_platter_turn(disk, 1100);
        mp_platter_run(disk, true);
        (void)l3_put(l3, "env/space/x", round == 1 ? NULL : "x", 100 + (uint64_t)round);
        put_numbered(l3, 60, 120);
        mp_platter_turn(disk, 2200);
        mp_platter_run(disk, true);
        assert_true(count_numbered(l3, 0, 120) == 120 || may_forget);
        if (round == 1) {
            mp__l3_free(l3);
            l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        }
    }
    return l3;
}

/* For each n: the n-th call fails; nothing is wrong meanwhile, and all is well afterwards. */
static void each_call_fails_once(unsigned calls, int error)
{
    for (size_t n = 1;; n++) {
        mp_platter *disk = mp_platter_new(n);
        mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        unsigned kept;
        bool failed;

        mp_platter_fail(disk, calls, n, 1, error);
        l3 = script(disk, l3, error == -ENOSPC);
        failed = mp_platter_failures(disk) != 0;
        mp_platter_fail(disk, 0, 0, 0, 0);
        mp_platter_turn(disk, 40000);
        mp_platter_run(disk, true);
        assert_int_equal(mp__l3_flush(l3), 0);
        assert_int_equal(mp__l3_trouble(l3, NULL), 0);
        kept = count_numbered(l3, 0, 120);
        assert_true(kept == 120 || (error == -ENOSPC && kept >= 60));
        mp_platter_power_off(disk, MP_PLATTER_LOSE);
        l3 = mp__l3_free(l3);
        mp_platter_power_on(disk);
        l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        /* what was forgotten may be there again, since its end was not synced */
        assert_true(count_numbered(l3, 0, 120) >= kept);
        if (error != -ENOSPC)
            assert_string_equal(l3_get(l3, "env/space/x"), "x");
        l3 = mp__l3_free(l3);
        mp_platter_free(disk);
        if (!failed)
            return;
    }
}

static void any_one_write_may_fail(void **state)
{
    (void)state;
    each_call_fails_once(MP_PLATTER_WRITE, -EIO);
    each_call_fails_once(MP_PLATTER_WRITE, -ENOSPC);
}

static void any_one_sync_may_fail(void **state)
{
    (void)state;
    each_call_fails_once(MP_PLATTER_SYNC, -EIO);
    each_call_fails_once(MP_PLATTER_SYNC_DIR, -EIO);
}

static void any_one_change_of_a_name_or_size_may_fail(void **state)
{
    (void)state;
    each_call_fails_once(MP_PLATTER_NAME, -EIO);
    each_call_fails_once(MP_PLATTER_TRUNCATE, -EIO);
}

static void any_one_open_or_look_may_fail(void **state)
{
    (void)state;
    each_call_fails_once(MP_PLATTER_OPEN, -EMFILE);
    each_call_fails_once(MP_PLATTER_LOOK, -EIO);
}

/* ---- a folder whose hashes are made otherwise ---- */

/* How many segments have footers with hashes that are not ours. */
static unsigned not_ours(const mp__l3 *l3)
{
    unsigned count = 0;

    for (const mp__l3_segment *s = l3->segments; s; s = s->next)
        count += !s->is_ours;
    return count;
}

/* There and back again: from a processor with AES, or a version that did not use it. */
static void a_folder_with_other_hashes_is_read_whole_once_and_then_has_ours(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3;

    (void)state;
    if (!mp__hasher_may_be_fast())
        skip();
    for (unsigned turn = 0; turn < 3; turn++) {
        l3_hashes_plainly = turn != 1;
        l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        assert_int_equal(not_ours(l3) > 0, turn > 0);
        assert_int_equal(count_numbered(l3, 0, turn * 100), turn * 100);
        put_numbered(l3, turn * 100, (turn + 1) * 100);
        for (unsigned i = 0; i < 3 || l3_stats(l3).to_rewrite; i++) {
            assert_true(i < 100);
            mp_platter_turn(disk, 1000);
            mp_platter_run(disk, true);
        }
        assert_int_equal(not_ours(l3), 0);
        l3 = mp__l3_free(l3);
        l3 = l3_open(disk, BYTES_MAX, SEGMENT); /* now by footers */
        assert_int_equal(not_ours(l3), 0);
        assert_int_equal(count_numbered(l3, 0, (turn + 1) * 100), (turn + 1) * 100);
        assert_int_equal(l3_stats(l3).corrupt, 0);
        l3 = mp__l3_free(l3);
    }
    l3_hashes_plainly = false;
    mp_platter_free(disk);
}

/* An older version that finds no id takes the secret in the youngest head for the folder's. */
static void
a_secret_made_for_other_hashes_that_became_the_folders_is_not_taken_for_ours(void **state)
{
    enum { KEPT = 300 };
    mp_platter *disk = mp_platter_new(1);
    unsigned char id[64];
    const unsigned char *bytes;
    mp__hash_key key;
    uint64_t sum;
    size_t size;
    mp__l3 *l3;

    (void)state;
    if (!mp__hasher_may_be_fast())
        skip();
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    put_numbered(l3, 0, KEPT);
    key = mp__l3_hash_key(l3);
    l3 = mp__l3_free(l3);
    bytes = mp_platter_bytes(disk, L3_DIR "/l3.id", &size);
    assert_int_equal(size, sizeof(id));
    memcpy(id, bytes, sizeof(id));
    memcpy(id + 32, &key, sizeof(key));
    sum = mp__checksum(0, id, 56);
    memcpy(id + 56, &sum, sizeof(sum));
    mp_platter_put(disk, L3_DIR "/l3.id", id, sizeof(id));
    l3_hashes_plainly = true;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(count_numbered(l3, 0, KEPT), KEPT);
    l3 = mp__l3_free(l3);
    l3_hashes_plainly = false;
    mp_platter_free(disk);
}

/* What the process before had written and not synced may be gone after all: what it replaced stays
 * until it is written again. */
static void lose_power_after(unsigned seconds)
{
    enum { KEPT = 300 };
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3;

    l3_hashes_plainly = true;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    put_numbered(l3, 0, KEPT);
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(l3_put(l3, "env/space/0", "newer", KEPT + 1), 0);
    mp_platter_run(disk, false);
    mp_platter_power_off(disk, MP_PLATTER_KILL);
    l3 = mp__l3_free(l3);
    mp_platter_power_on(disk);
    l3_hashes_plainly = false;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_equal(l3_get(l3, "env/space/0"), "newer");
    for (unsigned i = 0; i < seconds; i++) {
        mp_platter_turn(disk, 1000);
        mp_platter_run(disk, true);
    }
    mp_platter_power_off(disk, MP_PLATTER_LOSE);
    l3 = mp__l3_free(l3);
    mp_platter_power_on(disk);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_not_equal(l3_get(l3, "env/space/0"), "MP_EUNKNOWN");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void what_is_not_synced_in_a_folder_with_other_hashes_costs_no_older_value(void **state)
{
    (void)state;
    if (!mp__hasher_may_be_fast())
        skip();
    for (unsigned seconds = 0; seconds < 10; seconds++)
        lose_power_after(seconds);
}

/* The writer is never idle: each second something is written. */
static void a_folder_with_other_hashes_has_ours_in_the_end_though_it_is_written_to(void **state)
{
    enum { KEPT = 300 };
    mp_platter *disk = mp_platter_new(1);
    unsigned i = KEPT;
    mp__l3 *l3;

    (void)state;
    if (!mp__hasher_may_be_fast())
        skip();
    l3_hashes_plainly = true;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    put_numbered(l3, 0, KEPT);
    l3 = mp__l3_free(l3);
    l3_hashes_plainly = false;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    for (; i < KEPT + 3 || l3_stats(l3).to_rewrite; i++) {
        assert_true(i < KEPT + 100);
        mp_platter_turn(disk, 1000);
        put_numbered(l3, i, i + 1);
        mp_platter_run(disk, false);
    }
    assert_int_equal(not_ours(l3), 0);
    assert_int_equal(count_numbered(l3, 0, i), i);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* As long as there is room for one segment more, as there is where nothing was written since. */
static void a_full_folder_with_other_hashes_forgets_nothing_for_ours(void **state)
{
    enum { PUTS = 2000 };
    mp_platter *disk = mp_platter_new(1);
    unsigned kept, first;
    mp__l3 *l3;

    (void)state;
    if (!mp__hasher_may_be_fast())
        skip();
    l3_hashes_plainly = true;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    for (unsigned i = 0; i < PUTS; i += 100) {
        put_numbered(l3, i, i + 100);
        assert_int_equal(mp__l3_flush(l3), 0);
    }
    kept = (unsigned)l3_stats(l3).entries;
    assert_true(kept < PUTS); /* it is full */
    first = PUTS - kept;
    l3 = mp__l3_free(l3);
    l3_hashes_plainly = false;
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    for (unsigned i = 0; i < 3 || l3_stats(l3).to_rewrite; i++) {
        assert_true(i < 1000);
        mp_platter_turn(disk, 1000);
        mp_platter_run(disk, true);
        assert_true(l3_stats(l3).bytes <= BYTES_MAX);
    }
    assert_int_equal(l3_stats(l3).forgotten, 0);
    assert_int_equal(count_numbered(l3, first, PUTS), kept);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- a folder that cannot be opened ---- */

static void a_folder_that_cannot_be_opened_is_opened_later(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    mp__hash_key key = mp__l3_hash_key(l3);
    mp__hash_key other;
    mp__diag diag = {0};

    (void)state;
    put_numbered(l3, 0, 100); /* two segments: one with a footer */
    assert_int_equal(l3_put(l3, "env/space/both", "kept", 1000), 0);
    assert_int_equal(l3_put(l3, "env/space/newer", "kept", 3000), 0);
    l3 = mp__l3_free(l3);
    mp_platter_fail(disk, MP_PLATTER_OPEN, 1, SIZE_MAX, -EMFILE);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(mp__l3_trouble(l3, &diag), -EMFILE);
    assert_non_null(strstr(diag.text, L3_DIR));
    other = mp__l3_hash_key(l3);
    assert_memory_not_equal(&key, &other, sizeof(key));
    /* what comes meanwhile is in memory */
    assert_string_equal(l3_get(l3, "env/space/1"), "MP_EUNKNOWN");
    assert_int_equal(l3_put(l3, "env/space/both", "new", 2000), 0);
    assert_int_equal(l3_put(l3, "env/space/newer", "old", 2500), 0);
    assert_int_equal(mp__l3_flush(l3), -EMFILE);
    assert_string_equal(l3_get(l3, "env/space/both"), "new");
    mp_platter_fail(disk, 0, 0, 0, 0);
    mp_platter_turn(disk, 60000);
    mp_platter_run(disk, true);
    assert_int_equal(mp__l3_trouble(l3, &diag), 0);
    assert_int_equal(count_numbered(l3, 0, 100), 100);
    assert_string_equal(l3_get(l3, "env/space/both"), "new");
    assert_string_equal(l3_get(l3, "env/space/newer"), "kept");
    l3 = mp__l3_free(l3);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(count_numbered(l3, 0, 100), 100);
    assert_string_equal(l3_get(l3, "env/space/both"), "new");
    assert_string_equal(l3_get(l3, "env/space/newer"), "kept");
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_disk_that_can_only_be_read_is_read(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    (void)state;
    put_numbered(l3, 0, 100);
    l3 = mp__l3_free(l3);
    mp_platter_set_read_only(disk, true);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(mp__l3_trouble(l3, NULL), 0);
    assert_int_equal(count_numbered(l3, 0, 100), 100);
    put_numbered(l3, 100, 110);
    mp_platter_run(disk, true);
    assert_int_equal(mp__l3_trouble(l3, NULL), -EROFS);
    assert_int_equal(count_numbered(l3, 0, 110), 110);
    l3 = mp__l3_free(l3);
    mp_platter_set_read_only(disk, false);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_int_equal(count_numbered(l3, 0, 110), 100);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- the queue is full ---- */

static void what_does_not_fit_into_the_queue_hides_what_is_older_for_good(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    char address[64];
    unsigned taken = 0;

    (void)state;
    assert_int_equal(l3_put(l3, "env/space/a", "old", 1), 0);
    assert_int_equal(mp__l3_flush(l3), 0);
    for (int rc = 0; rc == 0; taken++) {
        snprintf(address, sizeof(address), "env/space/%u", taken);
        rc = l3_put(l3, address, filled('f'), taken + 10);
        assert_true(rc == 0 || rc == MP_ELIMIT);
    }
    assert_in_range(taken, 800, 1000); /* of 1 MiB */
    assert_int_equal(l3_put(l3, "env/space/a", filled('n'), 5000), MP_ELIMIT);
    assert_string_equal(l3_get(l3, "env/space/a"), "MP_EUNKNOWN");
    assert_string_equal(l3_get(l3, "env/space/0"), filled('f'));
    assert_int_equal(l3_stats(l3).dropped, 2);
    assert_true(l3_stats(l3).pending_bytes <= (1 << 20) + 200);
    /* what is there may still be replaced, and an old one does not come back */
    assert_int_equal(l3_put(l3, "env/space/0", filled('g'), 5001), 0);
    assert_int_equal(l3_put(l3, "env/space/a", "old", 1), 0);
    assert_string_equal(l3_get(l3, "env/space/a"), "MP_EUNKNOWN");
    assert_int_equal(mp__l3_flush(l3), 0);
    assert_int_equal(l3_stats(l3).pending_bytes, 0);
    mp_platter_power_off(disk, MP_PLATTER_LOSE);
    l3 = mp__l3_free(l3);
    mp_platter_power_on(disk);
    l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    assert_string_equal(l3_get(l3, "env/space/a"), "MP_EUNKNOWN");
    assert_string_equal(l3_get(l3, "env/space/0"), filled('g'));
    assert_int_equal(l3_put(l3, "env/space/a", filled('n'), 5000), 0);
    assert_string_equal(l3_get(l3, "env/space/a"), filled('n'));
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_key_that_is_written_often_does_not_fill_the_queue(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);

    (void)state;
    mp_platter_fail(disk, MP_PLATTER_WRITE, 1, SIZE_MAX, -EIO);
    for (unsigned i = 1; i < 5000; i++) {
        assert_int_equal(l3_put(l3, "env/space/a", filled((char)('a' + i % 26)), i), 0);
        if (i % 100 == 0)
            mp_platter_run(disk, true);
    }
    assert_true(l3_stats(l3).pending_bytes < 5000);
    assert_string_equal(l3_get(l3, "env/space/a"), filled((char)('a' + 4999 % 26)));
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

static void a_value_larger_than_half_a_segment_is_refused_and_hides_what_is_older(void **state)
{
    mp_platter *disk = mp_platter_new(1);
    mp__l3 *l3 = l3_open(disk, BYTES_MAX, SEGMENT);
    char *large = calloc(1, SEGMENT);

    (void)state;
    memset(large, 'x', SEGMENT / 2 - 200);
    assert_int_equal(l3_put(l3, "env/space/a", large, 1), 0);
    memset(large, 'x', SEGMENT - 1);
    assert_int_equal(l3_put(l3, "env/space/a", large, 2), MP_ELIMIT);
    assert_string_equal(l3_get(l3, "env/space/a"), "MP_EUNKNOWN");
    free(large);
    l3 = mp__l3_free(l3);
    mp_platter_free(disk);
}

/* ---- short memory ---- */

static void any_one_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        mp_platter *disk = mp_platter_new(n);
        mp__l3 *l3 = NULL;
        mp__diag diag = {0};
        unsigned right = 0;
        bool failed;
        int rc;

        l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        put_numbered(l3, 0, 90);
        l3 = mp__l3_free(l3);
        mp_fail_begin(n);
        rc = l3_try_open(mp_platter_env(disk), L3_DIR, BYTES_MAX, SEGMENT, &l3, &diag);
        if (rc) {
            assert_int_equal(rc, MP_ENOMEM);
        } else {
            for (unsigned i = 0; i < 150; i++) {
                char address[64];
                const char *want = filled((char)('A' + i % 26)), *got;

                snprintf(address, sizeof(address), "env/space/%u", i);
                rc = l3_put(l3, address, want, i + 1000);
                assert_true(rc == 0 || rc == MP_ENOMEM);
                got = l3_get(l3, address);
                if (rc) /* lost, and nothing older in its place */
                    assert_true(strncmp(got, "MP_E", 4) == 0);
                else if (strncmp(got, "MP_E", 4) != 0)
                    assert_string_equal(got, filled((char)('A' + i % 26)));
                right += strcmp(got, filled((char)('A' + i % 26))) == 0;
            }
            assert_true(right >= 148);
            (void)mp__l3_flush(l3);
        }
        failed = mp_fail_end();
        if (l3) {
            mp_platter_turn(disk, 40000);
            mp_platter_run(disk, true);
            assert_int_equal(mp__l3_flush(l3), 0);
            l3 = mp__l3_free(l3);
        }
        l3 = l3_open(disk, BYTES_MAX, SEGMENT);
        for (unsigned i = 0; i < 90; i++) {
            char address[64];
            const char *got;

            snprintf(address, sizeof(address), "env/space/%u", i);
            got = l3_get(l3, address);
            if (rc != MP_ENOMEM && strncmp(got, "MP_E", 4) != 0)
                assert_true(got[0] == 'A' + (char)(i % 26) || got[0] == 'a' + (char)(i % 26));
        }
        l3 = mp__l3_free(l3);
        mp_platter_free(disk);
        if (!failed)
            return;
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_full_disk_keeps_new_values_in_memory_and_recovers_by_itself),
    MP_TEST(on_a_full_disk_the_oldest_make_room_for_the_newest),
    MP_TEST(a_bound_below_all_that_is_critical_is_kept),
    MP_TEST(a_bound_lowered_on_a_full_disk_is_kept),
    MP_TEST(room_that_another_takes_is_made_only_once),
    MP_TEST(a_failed_sync_is_answered_by_writing_everything_again_elsewhere),
    MP_TEST(any_one_write_may_fail),
    MP_TEST(any_one_sync_may_fail),
    MP_TEST(any_one_change_of_a_name_or_size_may_fail),
    MP_TEST(any_one_open_or_look_may_fail),
    MP_TEST(a_folder_with_other_hashes_is_read_whole_once_and_then_has_ours),
    MP_TEST(what_is_not_synced_in_a_folder_with_other_hashes_costs_no_older_value),
    MP_TEST(a_secret_made_for_other_hashes_that_became_the_folders_is_not_taken_for_ours),
    MP_TEST(a_folder_with_other_hashes_has_ours_in_the_end_though_it_is_written_to),
    MP_TEST(a_full_folder_with_other_hashes_forgets_nothing_for_ours),
    MP_TEST(a_folder_that_cannot_be_opened_is_opened_later),
    MP_TEST(a_disk_that_can_only_be_read_is_read),
    MP_TEST(what_does_not_fit_into_the_queue_hides_what_is_older_for_good),
    MP_TEST(a_key_that_is_written_often_does_not_fill_the_queue),
    MP_TEST(a_value_larger_than_half_a_segment_is_refused_and_hides_what_is_older),
    MP_TEST(any_one_allocation_may_fail),
};

MP_TEST_MAIN(tests)

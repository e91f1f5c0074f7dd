/* SPDX-License-Identifier: Apache-2.0 */
/* The journal on a disk that loses power, tears, flips bits and fails. */
#include "mp_test.h"

#include <endian.h>
#include <errno.h>

#include "core/hash.h"
#include "core/journal.h"
#include "mp_fail.h"
#include "mp_platter.h"

enum { KIND = 7, RECORDS = 12 };
#define PATH "/data/test.log"

static mp_platter *disk;
static mp__journal *journal;
static mp__journal_found found;
static mp__diag diag;
enum { SEEN = 128 };
static char seen[SEEN][64]; /* records that an open gave */
static size_t seen_count;
static size_t seen_most = SEEN;  /* of them are kept */
static size_t seen_longest = 63; /* longer ones are not expected; of such 63 bytes are kept */
static size_t room;              /* that each journal is given */

static int set_up(void **state)
{
    (void)state;
    disk = mp_platter_new(42);
    room = 0;
    seen_most = SEEN;
    seen_longest = sizeof(seen[0]) - 1;
    assert_int_equal(mp__env_mkdir(mp_platter_env(disk), "/data"), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    journal = mp__journal_close(journal);
    disk = mp_platter_free(disk);
    return 0;
}

static int see(void *context, mp_str record)
{
    (void)context;
    assert_true(record.size <= seen_longest);
    if (seen_count == seen_most)
        return 0;
    assert_true(seen_count < SEEN);
    record.size = record.size < sizeof(seen[0]) ? record.size : sizeof(seen[0]) - 1;
    memcpy(seen[seen_count], record.data, record.size);
    seen[seen_count++][record.size] = '\0';
    return 0;
}

static int open_kind(uint32_t kind)
{
    int rc;

    seen_count = 0;
    diag = (mp__diag){0};
    found = (mp__journal_found){0};
    rc = mp__journal_open(mp_platter_env(disk), PATH, kind, see, NULL, &journal, &found, &diag);
    if (rc == 0)
        mp__journal_set_room(journal, room);
    return rc;
}

static void open_again(void)
{
    journal = mp__journal_close(journal);
    assert_int_equal(open_kind(KIND), 0);
}

static const char *text_of(unsigned i)
{
    static char text[64];

    snprintf(text, sizeof(text), "record %u %.*s", i, (int)(i * 3 % 20), "abcdefghijklmnopqrstu");
    return text;
}

static mp_str no_record(void *context)
{
    (void)context;
    return mp_str_new(NULL, 0);
}

static int add(unsigned i)
{
    return mp__journal_add(journal, mp_str_of(text_of(i)));
}

static void fill(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        assert_int_equal(add(i), 0);
        assert_int_equal(mp__journal_sync(journal), 0);
    }
}

static void power_cut(enum mp_platter_crash crash)
{
    mp_platter_power_off(disk, crash);
    journal = mp__journal_close(journal);
    mp_platter_power_on(disk);
}

/* ---- promises ---- */

static void survive_power_cuts(void)
{
    open_again();
    for (unsigned n = 0; n < RECORDS; n++) {
        fill(n, n + 1);
        assert_int_equal(add(99), 0); /* not synced */
        power_cut(n % 2 ? MP_PLATTER_LOSE : MP_PLATTER_TEAR);
        assert_int_equal(open_kind(KIND), 0);
        assert_int_equal(seen_count, n + 1);
        for (unsigned i = 0; i <= n; i++)
            assert_string_equal(seen[i], text_of(i));
    }
}

static void what_was_synced_survives_power_cuts_in_order(void **state)
{
    (void)state;
    survive_power_cuts();
}

static const enum mp_platter_direct directs[] = {MP_PLATTER_DIRECT, MP_PLATTER_NOT_OPENED,
                                                 MP_PLATTER_NOT_WRITTEN};
enum { DIRECTS = sizeof(directs) / sizeof(*directs) };

static void begin_on(enum mp_platter_direct direct)
{
    journal = mp__journal_close(journal);
    (void)mp__env_unlink(mp_platter_env(disk), PATH);
    mp_platter_set_direct(disk, direct);
    open_again();
}

static void with_room_too(void **state)
{
    static const size_t rooms[] = {8, 200, 513, 4096};

    (void)state;
    for (size_t i = 0; i < DIRECTS * sizeof(rooms) / sizeof(*rooms); i++) {
        room = rooms[i / DIRECTS];
        begin_on(directs[i % DIRECTS]);
        survive_power_cuts();
    }
}

/* Those that were acknowledged: what was refused begins with a z, and may be there whole. */
static void expect_acknowledged(unsigned count)
{
    unsigned next = 0;

    for (size_t i = 0; i < seen_count; i++) {
        if (seen[i][0] != 'z')
            assert_string_equal(seen[i], text_of(next++));
    }
    assert_int_equal(next, count);
    assert_int_equal(found.damaged, 0);
}

/* Each write repeats the block in which the one before ended; one that is cut leaves some of its
 * sectors as they were. */
static void a_block_that_is_written_again_keeps_what_it_held(void **state)
{
    char refused[1500];

    (void)state;
    memset(refused, 'z', sizeof(refused));
    room = 3 * MP__DIRECT_BLOCK;
    seen_longest = sizeof(refused);
    begin_on(MP_PLATTER_DIRECT);
    for (unsigned n = 0; n < 60; n++) {
        assert_true(mp__journal_is_direct(journal));
        fill(n, n + 1);
        assert_int_equal(mp__journal_add(journal, mp_str_new(refused, sizeof(refused))), 0);
        mp_platter_fail(disk, n % 2 ? MP_PLATTER_SYNC : MP_PLATTER_WRITE, 1, 1, -EIO);
        assert_int_equal(mp__journal_sync(journal), -EIO);
        mp_platter_fail(disk, 0, 0, 0, 0);
        assert_true(mp__journal_is_broken(journal));
        power_cut(MP_PLATTER_TEAR);
        assert_int_equal(open_kind(KIND), 0);
        expect_acknowledged(n + 1);
    }
}

static void records_of_many_blocks_come_back(void **state)
{
    char record[63];
    size_t bytes = 0;

    (void)state;
    for (size_t k = 0; k < DIRECTS; k++) {
        room = 5000;
        begin_on(directs[k]);
        for (unsigned i = 0; i < 63; i++) { /* of 1 to 63 at a time: ends all over the blocks */
            memset(record, 'a' + (int)(i % 26), sizeof(record));
            for (unsigned n = 0; n < i; n++)
                assert_int_equal(mp__journal_add(journal, mp_str_new(record, i % 60)), 0);
            assert_int_equal(mp__journal_sync(journal), 0);
            bytes = mp__journal_bytes(journal);
        }
        assert_true(bytes > 20 * MP__DIRECT_BLOCK);
        assert_int_equal(mp__journal_is_direct(journal), directs[k] == MP_PLATTER_DIRECT);
        power_cut(MP_PLATTER_LOSE);
        seen_most = 8;
        assert_int_equal(open_kind(KIND), 0);
        seen_most = SEEN;
        assert_int_equal(found.records, 63 * 62 / 2);
        assert_int_equal(found.damaged, 0);
        assert_int_equal(mp__journal_bytes(journal), bytes);
    }
}

/* As soon as the file system said so, and what was being written is not lost for it. */
static void a_file_system_without_direct_writes_is_written_through_its_cache(void **state)
{
    (void)state;
    room = 1000;
    begin_on(MP_PLATTER_NOT_OPENED);
    assert_false(mp__journal_is_direct(journal));
    begin_on(MP_PLATTER_NOT_WRITTEN);
    assert_true(mp__journal_is_direct(journal));
    fill(0, 1);
    assert_false(mp__journal_is_direct(journal));
    mp_platter_set_direct(disk, MP_PLATTER_DIRECT);
    fill(1, 2);
    assert_false(mp__journal_is_direct(journal));
    open_again();
    assert_true(mp__journal_is_direct(journal));
    assert_int_equal(seen_count, 2);
    room = 0; /* what is made longer each time gains nothing */
    open_again();
    assert_false(mp__journal_is_direct(journal));
}

/* Through the page cache as without whole blocks, and back to them. */
static void what_finds_no_room_or_memory_for_whole_blocks_is_written_all_the_same(void **state)
{
    (void)state;
    room = 1000;
    begin_on(MP_PLATTER_DIRECT);
    fill(0, 1);
    mp_platter_fail(disk, MP_PLATTER_WRITE, 1, 1, -ENOSPC);
    fill(1, 2);
    assert_int_equal(mp_platter_failures(disk), 1);
    mp_platter_fail(disk, 0, 0, 0, 0);
    fill(2, 4);
    assert_true(mp__journal_is_direct(journal));
    open_again();
    assert_int_equal(add(4), 0);
    mp_fail_begin(1);
    assert_int_equal(mp__journal_sync(journal), 0);
    assert_true(mp_fail_end());
    fill(5, 6);
    power_cut(MP_PLATTER_LOSE);
    assert_int_equal(open_kind(KIND), 0);
    assert_int_equal(seen_count, 6);
    for (unsigned i = 0; i < 6; i++)
        assert_string_equal(seen[i], text_of(i));
}

static size_t file_size(void)
{
    size_t size;

    (void)mp_platter_bytes(disk, PATH, &size);
    return size;
}

static void with_room_most_syncs_leave_the_size_of_the_file(void **state)
{
    size_t size, longer = 0;

    (void)state;
    room = 1000;
    begin_on(MP_PLATTER_NOT_OPENED);
    size = file_size();
    for (unsigned i = 0; i < 60; i++) {
        fill(i, i + 1);
        assert_true(mp__journal_bytes(journal) <= file_size());
        longer += file_size() != size;
        size = file_size();
    }
    assert_in_range(longer, 2, 4); /* 60 records of some 40 bytes */
    open_again();
    assert_int_equal(seen_count, 60);
    assert_int_equal(found.damaged, 0);
    begin_on(MP_PLATTER_DIRECT);
    fill(0, 1);
    assert_int_equal(file_size(), MP__DIRECT_BLOCK); /* 1,000 and a record, in whole blocks */
    fill(1, 60);
    assert_int_equal(file_size(), MP__DIRECT_BLOCK);
}

static void a_disk_without_space_for_the_room_takes_the_records(void **state)
{
    (void)state;
    room = 4096;
    open_again();
    mp_platter_set_capacity(disk, mp_platter_used(disk) + 1024);
    fill(0, RECORDS);
    assert_true(mp__journal_bytes(journal) < 1024);
    power_cut(MP_PLATTER_LOSE);
    assert_int_equal(open_kind(KIND), 0);
    assert_int_equal(seen_count, RECORDS);
}

static void begun_anew_in_place_it_has_only_what_came_then(void **state)
{
    size_t size;

    (void)state;
    room = 1000;
    open_again();
    fill(0, RECORDS);
    size = file_size();
    assert_int_equal(mp__journal_restart(journal), 0);
    assert_int_equal(mp__journal_bytes(journal), MP__JOURNAL_HEAD);
    fill(20, 23);
    assert_int_equal(file_size(), size); /* written over */
    power_cut(MP_PLATTER_LOSE);
    assert_int_equal(open_kind(KIND), 0);
    assert_int_equal(seen_count, 3);
    assert_int_equal(found.damaged, 0);
    assert_string_equal(seen[0], text_of(20));
    assert_int_equal(mp__journal_restart(journal), 0);
    open_again();
    assert_int_equal(seen_count, 0);
}

static void a_file_that_a_renewal_has_replaced_is_not_cleared_and_used(void **state)
{
    (void)state;
    open_again();
    fill(0, RECORDS);
    mp_platter_fail(disk, MP_PLATTER_SYNC_DIR, 1, 1, -EIO);
    assert_int_not_equal(mp__journal_renew(journal, no_record, NULL), 0);
    mp_platter_fail(disk, 0, 0, 0, 0);
    assert_int_equal(mp__journal_clear(journal), MP_EDEGRADED);
    assert_true(mp__journal_is_broken(journal));
    assert_int_equal(mp__journal_renew(journal, no_record, NULL), 0);
    fill(20, 22);
    open_again();
    assert_int_equal(seen_count, 2);
}

static void cleared_it_gives_its_room_back_and_needs_none(void **state)
{
    size_t all = 0, nothing = 0;

    (void)state;
    for (int i = 0; i < 40; i++) {
        int rc;

        (void)mp__env_unlink(mp_platter_env(disk), PATH);
        room = i % 2 ? 1000 : 0;
        open_again();
        fill(0, RECORDS);
        mp_platter_set_capacity(disk, mp_platter_used(disk));
        mp_platter_fail(disk, MP_PLATTER_TRUNCATE | MP_PLATTER_SYNC, i % 4 < 2 ? 1 : 2, 1, -EIO);
        rc = mp__journal_clear(journal);
        mp_platter_fail(disk, 0, 0, 0, 0);
        assert_int_equal(rc, -EIO);
        assert_true(mp__journal_is_broken(journal));
        if (i % 8 == 0) {
            assert_int_equal(mp__journal_clear(journal), 0);
            assert_int_equal(file_size(), MP__JOURNAL_HEAD);
            fill(20, 22);
        }
        power_cut(MP_PLATTER_TEAR);
        assert_int_equal(open_kind(KIND), 0);
        assert_int_equal(found.damaged, 0);
        assert_true(seen_count == RECORDS || seen_count == (i % 8 ? 0 : 2));
        all += seen_count == RECORDS;
        nothing += seen_count != RECORDS;
        mp_platter_set_capacity(disk, UINT64_MAX);
    }
    assert_true(all && nothing);
}

/* The head is written within one sector, which a disk writes whole or not at all; a write that
 * fails may have done half of it, and then the head says so. */
static uint32_t mark_of_the_first_record(void)
{
    size_t size;
    unsigned char *bytes = mp_platter_bytes(disk, PATH, &size);
    uint32_t mark;

    assert_true(size >= MP__JOURNAL_HEAD + 16);
    memcpy(&mark, bytes + MP__JOURNAL_HEAD + 12, 4);
    return mark;
}

/* Else the search behind the last record would sum up whatever a value says is one, 8 MiB at a
 * time: a start that takes minutes. */
static void nobody_knows_how_the_records_of_the_next_life_are_marked(void **state)
{
    uint32_t seen_marks[16];

    (void)state;
    open_again();
    for (unsigned i = 0; i < 16; i++) {
        fill(i, i + 1);
        seen_marks[i] = mark_of_the_first_record();
        for (unsigned k = 0; k < i; k++)
            assert_int_not_equal(seen_marks[i], seen_marks[k]);
        if (i % 2)
            assert_int_equal(mp__journal_restart(journal), 0);
        else
            assert_int_equal(mp__journal_renew(journal, no_record, NULL), 0);
    }
}

/* A file of version 1: its records have the mark that all files had. */
static void put_version_1(unsigned char *bytes)
{
    static const char text[] = "of old!!"; /* 8 bytes */
    uint64_t seed[3] = {htole64(77), htole64(78), htole64(MP__JOURNAL_HEAD)};
    uint32_t numbers[2] = {htole32(1), htole32(KIND)},
             record[2] = {htole32(8), htole32(0x4c4e524a)};
    uint64_t sum;

    memcpy(bytes, "MPJOURNL", 8);
    memcpy(bytes + 8, numbers, 8);
    memcpy(bytes + 16, seed, 16);
    sum = htole64(mp__checksum(0, bytes, 32));
    memcpy(bytes + 32, &sum, 8);
    memcpy(bytes + 48, record, 8);
    memcpy(bytes + 56, text, 8);
    sum = htole64(mp__checksum(mp__checksum(0, seed, sizeof(seed)), bytes + 48, 16));
    memcpy(bytes + 40, &sum, 8);
    mp_platter_put(disk, PATH, bytes, 64);
}

static void a_file_of_version_1_is_read_and_gone_on_with(void **state)
{
    unsigned char bytes[64];

    (void)state;
    put_version_1(bytes);
    open_again();
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen[0], "of old!!");
    fill(1, 3);
    open_again();
    assert_int_equal(seen_count, 3);
    assert_int_equal(found.damaged, 0);
    assert_int_equal(mark_of_the_first_record(), 0x4c4e524a);
    assert_int_equal(mp__journal_restart(journal), 0);
    fill(5, 6);
    assert_int_not_equal(mark_of_the_first_record(), 0x4c4e524a);
    open_again();
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen[0], text_of(5));
}

static void a_power_cut_while_it_begins_anew_in_place_leaves_all_or_nothing(void **state)
{
    static const unsigned calls[] = {MP_PLATTER_WRITE, MP_PLATTER_SYNC};
    size_t all = 0, nothing = 0, damaged = 0;

    (void)state;
    room = 1000;
    for (unsigned i = 0; i < 40; i++) {
        int rc;

        (void)mp__env_unlink(mp_platter_env(disk), PATH);
        open_again();
        fill(0, 3);
        mp_platter_fail(disk, calls[i % 2], 1, 1, -EIO);
        assert_int_equal(mp__journal_restart(journal), -EIO);
        mp_platter_fail(disk, 0, 0, 0, 0);
        assert_true(mp__journal_is_broken(journal));
        assert_int_equal(add(4), MP_EDEGRADED);
        assert_int_equal(mp__journal_restart(journal), MP_EDEGRADED);
        power_cut(MP_PLATTER_TEAR);
        rc = open_kind(KIND);
        assert_true(rc == 0 || (rc == MP_ECORRUPT && calls[i % 2] == MP_PLATTER_WRITE));
        assert_true(seen_count == 0 || seen_count == 3);
        damaged += rc != 0;
        all += seen_count == 3;
        nothing += rc == 0 && seen_count == 0;
    }
    assert_true(all > 0 && nothing > 0 && damaged > 0);
}

static void a_cut_at_any_byte_leaves_the_records_before_it(void **state)
{
    unsigned char *bytes, whole[4096];
    size_t size;

    (void)state;
    open_again();
    fill(0, RECORDS);
    bytes = mp_platter_bytes(disk, PATH, &size);
    assert_true(size < sizeof(whole));
    memcpy(whole, bytes, size);
    for (size_t cut = 0; cut < size; cut++) {
        journal = mp__journal_close(journal);
        mp_platter_put(disk, PATH, whole, cut);
        assert_int_equal(open_kind(KIND), 0);
        assert_true(seen_count < RECORDS);
        for (unsigned i = 0; i < seen_count; i++)
            assert_string_equal(seen[i], text_of(i));
        assert_int_equal(found.damaged, 0);
        fill(40, 41); /* and goes on */
        open_again();
        assert_string_equal(seen[seen_count - 1], text_of(40));
    }
}

static void a_flipped_bit_costs_one_record_and_is_counted(void **state)
{
    unsigned char *bytes, whole[4096];
    size_t size, head_size = 40, lost = 0;

    (void)state;
    open_again();
    fill(0, RECORDS);
    bytes = mp_platter_bytes(disk, PATH, &size);
    memcpy(whole, bytes, size);
    for (size_t at = head_size; at < size; at++) {
        unsigned next = 0;

        journal = mp__journal_close(journal);
        whole[at] ^= (unsigned char)(1u << (at % 8));
        mp_platter_put(disk, PATH, whole, size);
        whole[at] ^= (unsigned char)(1u << (at % 8));
        assert_int_equal(open_kind(KIND), 0);
        assert_in_range(seen_count, RECORDS - 1, RECORDS); /* padding is no one's */
        for (unsigned i = 0; i < seen_count; i++) {
            if (strcmp(seen[i], text_of(next)) != 0)
                next++;
            assert_string_equal(seen[i], text_of(next));
            next++;
        }
        if (seen_count < RECORDS) {
            lost++;
            assert_true(found.damaged == 1 || (found.damaged == 0 && found.cut > 0));
        }
        assert_int_equal(mp_platter_count(disk, ".bad") > 0, lost > 0);
    }
    assert_true(lost > size / 2);
}

static void a_damaged_head_another_kind_and_a_newer_version_are_refused_and_left_alone(void **state)
{
    unsigned char *bytes, whole[4096];
    size_t size;

    (void)state;
    open_again();
    fill(0, 3);
    journal = mp__journal_close(journal);
    assert_int_equal(open_kind(KIND + 1), MP_ECORRUPT);
    assert_non_null(strstr(diag.text, PATH));
    bytes = mp_platter_bytes(disk, PATH, &size);
    memcpy(whole, bytes, size);
    for (size_t at = 0; at < 40; at++) {
        whole[at] ^= 0x41;
        mp_platter_put(disk, PATH, whole, size);
        whole[at] ^= 0x41;
        assert_int_equal(open_kind(KIND), at >= 8 && at < 12 ? MP_EVERSION : MP_ECORRUPT);
        bytes = mp_platter_bytes(disk, PATH, &size);
        whole[at] ^= 0x41;
        assert_memory_equal(bytes, whole, size);
        whole[at] ^= 0x41;
    }
}

static void a_sync_that_failed_is_never_taken_for_one_that_worked(void **state)
{
    static const unsigned calls[] = {MP_PLATTER_WRITE, MP_PLATTER_SYNC};

    (void)state;
    for (int i = 0; i < 2; i++) {
        open_again();
        fill(0, 1);
        mp_platter_fail(disk, calls[i], 1, 1, i ? -EIO : -ENOSPC);
        assert_int_equal(add(1), 0);
        assert_int_equal(mp__journal_sync(journal), i ? -EIO : -ENOSPC);
        mp_platter_fail(disk, 0, 0, 0, 0);
        assert_true(mp__journal_is_broken(journal));
        assert_int_equal(add(2), MP_EDEGRADED);
        assert_int_equal(mp__env_unlink(mp_platter_env(disk), PATH), 0);
    }
}

static unsigned renewing;

static mp_str next_of_three(void *context)
{
    unsigned *i = context;

    return *i < renewing + 3 ? mp_str_of(text_of((*i)++)) : mp_str_new(NULL, 0);
}

static void renewing_keeps_what_it_is_given_whatever_fails(void **state)
{
    bool failed = true;

    (void)state;
    for (size_t nth = 1; failed; nth++) {
        unsigned i = renewing = 20;
        int rc;

        (void)mp__env_unlink(mp_platter_env(disk), PATH);
        open_again();
        fill(0, 2);
        mp_platter_fail(disk, MP_PLATTER_ANY, nth, 1, -EIO);
        rc = mp__journal_renew(journal, next_of_three, &i);
        failed = mp_platter_failures(disk) > 0;
        mp_platter_fail(disk, 0, 0, 0, 0);
        assert_int_equal(rc != 0, mp__journal_is_broken(journal));
        if (rc) {
            i = renewing;
            assert_int_equal(mp__journal_renew(journal, next_of_three, &i), 0);
        }
        fill(23, 24);
        power_cut(MP_PLATTER_LOSE);
        assert_int_equal(open_kind(KIND), 0);
        assert_int_equal(seen_count, 4);
        for (unsigned k = 0; k < 4; k++)
            assert_string_equal(seen[k], text_of(20 + k));
    }
}

static void a_journal_that_was_renewed_goes_on_in_whole_blocks(void **state)
{
    unsigned i = renewing = 20;

    (void)state;
    room = 1000;
    begin_on(MP_PLATTER_DIRECT);
    fill(0, 3);
    assert_int_equal(mp__journal_renew(journal, next_of_three, &i), 0);
    assert_true(mp__journal_is_direct(journal));
    fill(23, 24);
    assert_int_equal(file_size() % MP__DIRECT_BLOCK, 0);
    power_cut(MP_PLATTER_LOSE);
    assert_int_equal(open_kind(KIND), 0);
    assert_int_equal(seen_count, 4);
    for (unsigned k = 0; k < 4; k++)
        assert_string_equal(seen[k], text_of(20 + k));
}

static void a_record_inside_a_record_is_not_found_behind_damage(void **state)
{
    unsigned char *bytes, inner[512];
    size_t size, begin = 40;

    (void)state;
    open_again();
    fill(0, 1);
    bytes = mp_platter_bytes(disk, PATH, &size);
    memcpy(inner, bytes + begin, size - begin); /* a whole record, as bytes of a value */
    assert_int_equal(mp__journal_add(journal, mp_str_new((char *)inner, size - begin)), 0);
    assert_int_equal(mp__journal_sync(journal), 0);
    bytes = mp_platter_bytes(disk, PATH, &size);
    bytes[size - 1 - 8] ^= 1; /* damages the outer one */
    open_again();
    assert_int_equal(seen_count, 1);
}

static void too_long_records_and_missing_memory_are_errors_that_cost_nothing(void **state)
{
    static char data[MP__JOURNAL_RECORD_MAX + 1];
    int rc;

    (void)state;
    open_again();
    fill(0, 2);
    assert_int_equal(mp__journal_add(journal, mp_str_new(data, sizeof(data))), MP_ELIMIT);
    for (size_t n = 1;; n++) {
        journal = mp__journal_close(journal);
        mp_fail_begin(n);
        rc = open_kind(KIND);
        if (rc == 0)
            rc = add(2);
        if (rc == 0)
            rc = mp__journal_sync(journal);
        if (!mp_fail_end())
            break;
        assert_int_equal(rc, MP_ENOMEM);
    }
    assert_int_equal(rc, 0);
    open_again();
    assert_int_equal(seen_count, 3);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    T(what_was_synced_survives_power_cuts_in_order),
    T(with_room_too),
    T(a_block_that_is_written_again_keeps_what_it_held),
    T(records_of_many_blocks_come_back),
    T(a_file_system_without_direct_writes_is_written_through_its_cache),
    T(what_finds_no_room_or_memory_for_whole_blocks_is_written_all_the_same),
    T(a_journal_that_was_renewed_goes_on_in_whole_blocks),
    T(with_room_most_syncs_leave_the_size_of_the_file),
    T(a_disk_without_space_for_the_room_takes_the_records),
    T(begun_anew_in_place_it_has_only_what_came_then),
    T(cleared_it_gives_its_room_back_and_needs_none),
    T(a_file_that_a_renewal_has_replaced_is_not_cleared_and_used),
    T(nobody_knows_how_the_records_of_the_next_life_are_marked),
    T(a_file_of_version_1_is_read_and_gone_on_with),
    T(a_power_cut_while_it_begins_anew_in_place_leaves_all_or_nothing),
    T(a_cut_at_any_byte_leaves_the_records_before_it),
    T(a_flipped_bit_costs_one_record_and_is_counted),
    T(a_damaged_head_another_kind_and_a_newer_version_are_refused_and_left_alone),
    T(a_sync_that_failed_is_never_taken_for_one_that_worked),
    T(renewing_keeps_what_it_is_given_whatever_fails),
    T(a_record_inside_a_record_is_not_found_behind_damage),
    T(too_long_records_and_missing_memory_are_errors_that_cost_nothing),
};

MP_TEST_MAIN(tests)

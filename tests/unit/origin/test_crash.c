/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that are killed, and damage to the WAL that they leave: what was acknowledged is there,
 * or the origin says that it is not. */
#include "mp_origin.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/core.h"

enum { KEYS = 150 };

static char folder[32], path[64];
static mp__origin *origin;
static unsigned seed = 4711;

static unsigned pick(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)seed * below >> 32);
}

static mp__origin *open_here(void)
{
    mp__origin_options options = {.env = mp__env_real(), .path = path, .probe_ms = 3600000};
    mp__origin *opened = NULL;
    mp__diag diag = {0};
    int rc = mp__origin_open("sqlite", &options, &opened, &diag);

    if (rc)
        print_error("%s\n", diag.text);
    assert_int_equal(rc, 0);
    return opened;
}

static int set_up(void **state)
{
    (void)state;
    mp_folder_new(folder);
    snprintf(path, sizeof(path), "%s/origin.db", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    origin = mp__origin_close(origin);
    mp_folder_remove(folder);
    return 0;
}

/* ---- killed at any moment ---- */

/* The child: writes count up per key; each acknowledgement is a byte in the pipe. */
static void write_until_killed(int ack, unsigned from)
{
    mp__origin *mine = open_here();
    char address[64], value[64];

    for (unsigned i = from;; i++) {
        snprintf(address, sizeof(address), "dev/default/k%u", i % 7);
        snprintf(value, sizeof(value), "%u", i);
        if (mp_set(mine, address, value) != 0 || write(ack, "x", 1) != 1)
            _exit(1);
    }
}

/* How many writes the child acknowledged before it was killed after @enough of them. */
static unsigned let_write_and_kill(unsigned from, unsigned enough)
{
    unsigned acknowledged = 0;
    int ends[2], status;
    char bytes[256];
    ssize_t n;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        write_until_killed(ends[1], from);
    }
    close(ends[1]);
    while (acknowledged < enough && (n = read(ends[0], bytes, sizeof(bytes))) > 0)
        acknowledged += (unsigned)n;
    assert_int_equal(kill(child, SIGKILL), 0);
    while ((n = read(ends[0], bytes, sizeof(bytes))) > 0)
        acknowledged += (unsigned)n;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return acknowledged;
}

static void acknowledged_writes_survive_kill_9(void **state)
{
    unsigned next = 1;

    (void)state;
    for (int round = 0; round < 12; round++) {
        unsigned acknowledged = let_write_and_kill(next, 1 + pick(120)), newest = 0;
        char address[64];
        mp_got got;

        origin = open_here();
        assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
        for (unsigned k = 0; k < 7; k++) {
            unsigned value;

            snprintf(address, sizeof(address), "dev/default/k%u", k);
            assert_int_equal(mp_get(origin, address, &got), 0);
            value = (unsigned)strtoul(got.value, NULL, 10);
            if (got.record.kind == MP__RECORD_VALUE)
                assert_int_equal(value % 7, k);
            newest = value > newest ? value : newest;
            /* every revision is one write: nothing was lost on the way, nothing invented */
            if (got.record.kind == MP__RECORD_VALUE)
                assert_int_equal(got.record.revision, value);
        }
        /* one more may have been committed and not yet said */
        assert_in_range(newest, next + acknowledged - 1, next + acknowledged);
        next = newest + 1;
        origin = mp__origin_close(origin);
    }
}

/* ---- the WAL that is left behind ---- */

static void leave_a_wal(void)
{
    pid_t child;
    int status;

    origin = mp__origin_close(open_here()); /* the file itself is an empty database */
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static mp_got got;
        mp__origin *mine = open_here();
        char address[64], value[64];

        for (int i = 0; i < 2 * KEYS; i++) {
            snprintf(address, sizeof(address), "dev/default/k%d", i % KEYS);
            snprintf(value, sizeof(value), "%d", i);
            if (mp_set(mine, address, value) != 0)
                _exit(1);
        }
        /* what is read has come into the database, by way of the WAL; the last one has not */
        if (mp_get(mine, "dev/default/k0", &got) != 0 ||
            mp_set(mine, "dev/default/last", "of all") != 0)
            _exit(1);
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 20];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t n;

    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0)
        assert_int_equal(fwrite(bytes, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static const char *in_folder(const char *name)
{
    static char names[4][96];
    static int next;
    char *at = names[next++ % 4];

    snprintf(at, 96, "%s/%s", folder, name);
    return at;
}

static void keep_copies(void)
{
    copy_file(path, in_folder("db"));
    copy_file(in_folder("origin.db-wal"), in_folder("wal"));
    copy_file(in_folder("origin.mark"), in_folder("mark"));
    copy_file(in_folder("origin.journal"), in_folder("journal"));
}

/* Without the journal the WAL alone has what was acknowledged, but for the last write. */
static long put_back(bool with_journal)
{
    struct stat st;

    (void)unlink(in_folder("origin.db-shm"));
    copy_file(in_folder("db"), path);
    copy_file(in_folder("wal"), in_folder("origin.db-wal"));
    copy_file(in_folder("mark"), in_folder("origin.mark"));
    (void)unlink(in_folder("origin.journal"));
    if (with_journal)
        copy_file(in_folder("journal"), in_folder("origin.journal"));
    assert_int_equal(stat(in_folder("origin.db-wal"), &st), 0);
    return (long)st.st_size;
}

static void flip_bits(const char *file, long at, int count)
{
    FILE *f = fopen(file, "r+b");

    assert_non_null(f);
    for (int i = 0; i < count; i++) {
        int byte;

        assert_int_equal(fseek(f, at + 13l * i, SEEK_SET), 0);
        byte = fgetc(f);
        if (byte == EOF)
            break;
        assert_int_equal(fseek(f, at + 13l * i, SEEK_SET), 0);
        assert_int_not_equal(fputc(byte ^ (1 << pick(8)), f), EOF);
    }
    assert_int_equal(fclose(f), 0);
}

typedef struct tally {
    int right, unknown, wrong, absent;
} tally;

static tally read_all(void)
{
    tally t = {0};
    char address[64];
    mp_got got;

    for (int i = 0; i < KEYS; i++) {
        snprintf(address, sizeof(address), "dev/default/k%d", i);
        if (mp_get(origin, address, &got) != 0)
            t.unknown++;
        else if (got.record.kind == MP__RECORD_ABSENT)
            t.absent++;
        else if (strtol(got.value, NULL, 10) != KEYS + i)
            t.wrong++;
        else
            t.right++;
    }
    return t;
}

/* SQLite's sum over a frame does not always tell which bit it was; then it is noticed. */
static void single_flipped_bits_in_the_wal_are_set_right_or_noticed(void **state)
{
    int right = 0;

    (void)state;
    leave_a_wal();
    keep_copies();
    for (int i = 0; i < 40; i++) {
        long size = put_back(false);
        mp__origin_stats stats;
        tally t;

        flip_bits(in_folder("origin.db-wal"), i < 8 ? i * 4 : (long)pick((unsigned)size), 1);
        origin = open_here();
        mp__origin_stats_read(origin, &stats);
        assert_true(stats.behind); /* of the last write, in any case */
        assert_int_equal(mp__origin_salvage(origin, NULL, 0), 0);
        t = read_all();
        right += t.right == KEYS;
        origin = mp__origin_close(origin);
    }
    assert_true(right >= 20);
}

static void larger_damage_to_the_wal_is_noticed(void **state)
{
    (void)state;
    leave_a_wal();
    keep_copies();
    for (int i = 0; i < 40; i++) {
        long size = put_back(false), at = (long)pick((unsigned)size);
        mp__origin_stats stats;
        tally t;

        if (i % 2)
            flip_bits(in_folder("origin.db-wal"), at, 20);
        else
            assert_int_equal(truncate(in_folder("origin.db-wal"), i ? at : 0), 0);
        origin = open_here();
        t = read_all();
        mp__origin_stats_read(origin, &stats);
        assert_true(stats.behind || mp__state_now(&origin->state) == MP__ORIGIN_LOST);
        assert_int_equal(t.unknown, KEYS);
        origin = mp__origin_close(origin);
    }
}

/* Whatever of the WAL is gone: the journal has all of it. */
static void damage_to_the_wal_costs_nothing_while_the_journal_is_whole(void **state)
{
    (void)state;
    leave_a_wal();
    keep_copies();
    for (int i = 0; i < 40; i++) {
        long size = put_back(true), at = (long)pick((unsigned)size);
        mp_got got;

        if (i % 2)
            flip_bits(in_folder("origin.db-wal"), at, 20);
        else
            assert_int_equal(truncate(in_folder("origin.db-wal"), i ? at : size), 0);
        origin = open_here();
        assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
        assert_int_equal(read_all().right, KEYS);
        assert_int_equal(mp_get(origin, "dev/default/last", &got), 0);
        assert_string_equal(got.value, "of all");
        origin = mp__origin_close(origin);
    }
}

/* ---- the journal that is left behind ---- */

/* Cut anywhere, or damaged anywhere: what it had is there, or it is said that something is missing;
 * and what is said to be there is right. */
static void a_journal_is_whole_or_noticed(bool cut)
{
    int whole = 0, noticed = 0;

    leave_a_wal();
    keep_copies();
    for (int i = 0; i < 60; i++) {
        mp__origin_stats stats;
        mp_got got;
        size_t used;
        long at;

        (void)put_back(true);
        assert_int_equal(truncate(in_folder("origin.db-wal"), 0), 0);
        if (i == 0)
            copy_file(in_folder("wal"), in_folder("origin.db-wal"));
        used = mp_used(in_folder("origin.journal"));
        at = i == 1 ? (long)used : (long)pick((unsigned)used);
        if (cut)
            assert_int_equal(truncate(in_folder("origin.journal"), at), 0);
        else
            flip_bits(in_folder("origin.journal"), at, 1 + i % 20);
        origin = open_here();
        mp__origin_stats_read(origin, &stats);
        if (mp__state_now(&origin->state) == MP__ORIGIN_LIVE) {
            assert_int_equal(stats.revision, 2 * KEYS + 1);
            assert_int_equal(read_all().right, KEYS);
            assert_int_equal(mp_get(origin, "dev/default/last", &got), 0);
            assert_string_equal(got.value, "of all");
            whole++;
        } else {
            assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LOST);
            assert_int_equal(read_all().unknown, KEYS);
            noticed++;
        }
        origin = mp__origin_close(origin);
    }
    print_message("# %d whole, %d noticed\n", whole, noticed);
    assert_true(whole > 0);
    assert_true(noticed > 0);
}

static void a_journal_that_was_cut_is_noticed(void **state)
{
    (void)state;
    a_journal_is_whole_or_noticed(true);
}

static void a_damaged_journal_is_noticed(void **state)
{
    (void)state;
    a_journal_is_whole_or_noticed(false);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    FRESH(acknowledged_writes_survive_kill_9),
    FRESH(single_flipped_bits_in_the_wal_are_set_right_or_noticed),
    FRESH(larger_damage_to_the_wal_is_noticed),
    FRESH(damage_to_the_wal_costs_nothing_while_the_journal_is_whole),
    FRESH(a_journal_that_was_cut_is_noticed),
    FRESH(a_damaged_journal_is_noticed),
};
MP_TEST_MAIN(tests)

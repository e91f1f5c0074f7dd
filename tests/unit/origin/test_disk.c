/* SPDX-License-Identifier: Apache-2.0 */
/* Disks that fail and lose power at every single call of a short script. What was acknowledged is
 * there afterwards; what was refused is not; the origin comes back by itself. */
#include "mp_origin.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/core.h"
#include "mp_disk.h"
#include "origin/sqlite.h"

enum { WRITES = 10, KEYS = 4 };

static mp__origin *origin;
static mp__log_sink *logged; /* or NULL */

/* What the script was told. */
typedef struct told {
    int acknowledged[KEYS]; /* newest number, -1 none */
    int refused[KEYS];      /* a newer one that was refused, -1 none */
} told;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum mp__origin_state state;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_state(void *context, enum mp__origin_state from, enum mp__origin_state to,
                     const char *cause)
{
    (void)context;
    (void)from;
    (void)cause;
    pthread_mutex_lock(&seen.lock);
    seen.state = to;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void wait_live(void)
{
    struct timespec end;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    pthread_mutex_lock(&seen.lock);
    while (seen.state != MP__ORIGIN_LIVE && rc == 0)
        rc = pthread_cond_timedwait(&seen.changed, &seen.lock, &end);
    pthread_mutex_unlock(&seen.lock);
    assert_int_equal(rc, 0);
}

static int open_on(mp_disk *disk)
{
    mp__origin_options options = {.env = &disk->env,
                                  .path = "/data/origin.db",
                                  .probe_ms = 1,
                                  .sweep_ms = 3600000,
                                  .on_state = on_state,
                                  .log = logged};
    mp__diag diag = {0};
    int rc;

    seen.state = MP__ORIGIN_OPENING;
    origin = NULL;
    rc = mp__origin_open("sqlite", &options, &origin, &diag);
    if (rc == 0)
        ((mp__sqlite *)origin)->checkpoint_pages = 12; /* so that the script meets some */
    return rc;
}

static void address_of(int key, char *address)
{
    snprintf(address, 32, "dev/default/k%d", key);
}

/* Values grow, so that pages split and overflow. */
static void write_script(told *t, int from)
{
    static char value[12000];
    char address[32];

    for (int i = from; i < from + WRITES; i++) {
        int size = snprintf(value, sizeof(value), "%d:", i);
        int key = i % KEYS;

        memset(value + size, 'v', (size_t)(i * 700 % 9000));
        value[size + i * 700 % 9000] = '\0';
        address_of(key, address);
        if (mp_set(origin, address, value) == 0) {
            t->acknowledged[key] = i;
            t->refused[key] = -1;
        } else {
            t->refused[key] = i;
        }
    }
}

/* Each key holds what was acknowledged; with @or_refused it may hold the refused one instead. */
static void check_script(const told *t, bool or_refused)
{
    static mp_got got;
    char address[32];

    for (int key = 0; key < KEYS; key++) {
        int value = -1;

        address_of(key, address);
        assert_int_equal(mp_get(origin, address, &got), 0);
        if (got.record.kind == MP__RECORD_VALUE)
            value = (int)strtol(got.value, NULL, 10);
        if (or_refused && t->refused[key] >= 0 && value == t->refused[key])
            continue;
        assert_int_equal(value, t->acknowledged[key]);
    }
}

/* Every call when MP_THOROUGH is set, as the suite integration does; else every other one. */
static uint64_t step(void)
{
    return getenv("MP_THOROUGH") ? 1 : 2;
}

static told nothing_told(void)
{
    told t;

    memset(&t, 0xff, sizeof(t));
    return t;
}

static void power_cuts_at_every_call_lose_nothing_acknowledged(void **state)
{
    int cuts = 0;

    (void)state;
    for (uint64_t n = 1;; n += step()) {
        mp_disk *disk = mp_disk_new((unsigned)n);
        told t = nothing_told();
        bool over;

        mp_disk_fail(disk, MP_DISK_ALL & ~(unsigned)MP_DISK_READ, n, true, -EIO);
        if (open_on(disk) == 0)
            write_script(&t, 0);
        mp_disk_power(disk, false);
        origin = mp__origin_close(origin);
        over = mp_disk_calls(disk) < n;
        mp_disk_crash(disk);
        assert_int_equal(open_on(disk), 0);
        assert_int_equal(seen.state, MP__ORIGIN_LIVE);
        check_script(&t, true);
        origin = mp__origin_close(origin);
        disk = mp_disk_free(disk);
        if (over)
            break;
        cuts++;
    }
    print_message("# %d power cuts\n", cuts);
    assert_true(cuts > 30);
}

/* One fault at every call: nothing that was refused happened, and it comes back by itself. */
static void faults_at_every_call(unsigned mask, bool torn, bool on, int error)
{
    int faults = 0;

    for (uint64_t n = 1;; n += mask == MP_DISK_SYNC ? 1 : step()) {
        mp_disk *disk = mp_disk_new((unsigned)n);
        told t = nothing_told();
        bool over;

        assert_int_equal(open_on(disk), 0);
        write_script(&t, 0);
        disk->torn = torn;
        mp_disk_fail(disk, mask, n, on, error);
        write_script(&t, WRITES);
        over = mp_disk_calls(disk) < n;
        check_script(&t, false); /* reads go on, and show nothing that was refused */
        mp_disk_fail(disk, 0, 0, false, -EIO);
        wait_live();
        check_script(&t, false);
        write_script(&t, 2 * WRITES);
        for (int key = 0; key < KEYS; key++)
            assert_int_equal(t.refused[key], -1);
        /* and all of it is on the platter */
        mp_disk_power(disk, false);
        origin = mp__origin_close(origin);
        mp_disk_crash(disk);
        assert_int_equal(open_on(disk), 0);
        assert_int_equal(seen.state, MP__ORIGIN_LIVE);
        check_script(&t, false);
        origin = mp__origin_close(origin);
        disk = mp_disk_free(disk);
        if (over)
            break;
        faults++;
    }
    print_message("# %d faults\n", faults);
    assert_true(faults > 5);
}

static void a_failed_sync_is_never_taken_for_one_that_worked(void **state)
{
    (void)state;
    faults_at_every_call(MP_DISK_SYNC, false, false, -EIO);
}

static void syncs_that_go_on_failing_leave_what_was_acknowledged(void **state)
{
    (void)state;
    faults_at_every_call(MP_DISK_SYNC, false, true, -EIO);
}

static void a_torn_write_is_refused_and_undone(void **state)
{
    (void)state;
    faults_at_every_call(MP_DISK_WRITE, true, false, -EIO);
}

/* What a checkpoint that was cut short in the first page leaves: half of it is of another time. */
static void tear_first_page(mp_disk *disk)
{
    mp_disk_node *node = mp_disk_find(disk, "/data/origin.db");

    assert_non_null(node);
    assert_true(node->seen_size >= MP__VFS_PAGE);
    memset(node->seen + 40, 0x5a, MP__VFS_PAGE / 2);
}

static void a_first_page_torn_by_a_checkpoint_is_read_from_the_wal(void **state)
{
    mp_disk *disk = mp_disk_new(1);
    mp__sqlite_db db, other;
    char epoch[33];
    mp__vfs *vfs;

    (void)state;
    assert_int_equal(mp__vfs_new(&disk->env, &vfs), 0);
    assert_int_equal(mp__sqlite_db_open(&db, &disk->env, vfs, "/data/origin.db", 100, true, NULL),
                     0);
    /* the header counts the pages: it is in the WAL when there are more */
    assert_int_equal(mp__sqlite_exec(&db, "CREATE TABLE more(x); DROP TABLE more"), 0);
    tear_first_page(disk);
    assert_int_equal(
        mp__sqlite_db_open(&other, &disk->env, vfs, "/data/origin.db", 100, false, NULL), 0);
    assert_int_equal(mp__sqlite_meta_text(&other, "epoch", epoch, sizeof(epoch)), 0);
    assert_int_equal(
        sqlite3_wal_checkpoint_v2(other.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
        SQLITE_OK);
    mp__sqlite_db_close(&other);
    mp__sqlite_db_close(&db);
    tear_first_page(disk); /* and now it stands nowhere else */
    assert_int_equal(
        mp__sqlite_db_open(&other, &disk->env, vfs, "/data/origin.db", 100, false, NULL),
        MP_ECORRUPT);
    vfs = mp__vfs_free(vfs);
    disk = mp_disk_free(disk);
}

static void writes_that_find_no_room_leave_what_was_acknowledged(void **state)
{
    (void)state;
    faults_at_every_call(MP_DISK_WRITE, false, true, -ENOSPC);
}

static void any_call_may_fail_once(void **state)
{
    (void)state;
    faults_at_every_call(MP_DISK_WRITE | MP_DISK_SYNC | MP_DISK_META, false, false, -EIO);
}

/* Until the origin looked at its files again and again. */
static void wait_probes(mp_disk *disk)
{
    uint64_t before = mp_disk_calls(disk);
    const struct timespec moment = {.tv_nsec = 200000};

    for (int i = 0; i < 100000 && mp_disk_calls(disk) < before + 20; i++)
        (void)nanosleep(&moment, NULL);
    assert_true(mp_disk_calls(disk) >= before + 20);
}

/* A crash left everything in the WAL, and then the disk fails from the n-th call of the start on.
 */
static void a_start_on_a_failing_disk_loses_nothing_acknowledged(void **state)
{
    static const unsigned masks[] = {MP_DISK_READ, MP_DISK_WRITE | MP_DISK_SYNC, MP_DISK_ALL};
    int down = 0;

    (void)state;
    for (size_t m = 0; m < 3; m++)
        for (uint64_t n = 1; n < 60; n += step()) {
            mp_disk *disk = mp_disk_new((unsigned)n);
            told t = nothing_told();

            assert_int_equal(open_on(disk), 0);
            ((mp__sqlite *)origin)->checkpoint_pages = 1000;
            write_script(&t, 0);
            mp_disk_power(disk, false);
            origin = mp__origin_close(origin);
            mp_disk_crash(disk);
            mp_disk_fail(disk, masks[m], n, true, -EIO);
            if (open_on(disk) == 0 && seen.state == MP__ORIGIN_DOWN) {
                down++;
                wait_probes(disk);
            }
            mp_disk_fail(disk, 0, 0, false, -EIO);
            if (!origin)
                assert_int_equal(open_on(disk), 0);
            wait_live();
            check_script(&t, false);
            origin = mp__origin_close(origin);
            disk = mp_disk_free(disk);
        }
    print_message("# %d starts found the origin down\n", down);
    assert_true(down > 5);
}

static void a_full_disk_is_said_and_survived(void **state)
{
    static char large[300000]; /* more than the room that the journal keeps */
    mp_disk *disk = mp_disk_new(1);
    told t = nothing_told();
    mp_got got;
    int rc;

    (void)state;
    assert_int_equal(open_on(disk), 0);
    write_script(&t, 0);
    memset(large, 'x', sizeof(large) - 1);
    check_script(&t, false); /* which brings all of it into the database */
    pthread_mutex_lock(&disk->lock);
    disk->space = mp_disk_used(disk) + 20000;
    pthread_mutex_unlock(&disk->lock);
    rc = mp_set(origin, "dev/default/large", large);
    assert_true(rc == -ENOSPC || rc == MP_EDEGRADED); /* a sweep that was due found it first */
    check_script(&t, false);
    assert_int_equal(mp_get(origin, "dev/default/large", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    mp_disk_space(disk, 0);
    wait_live();
    assert_int_equal(mp_set(origin, "dev/default/large", large), 0);
    origin = mp__origin_close(origin);
    mp_disk_crash(disk);
    assert_int_equal(open_on(disk), 0);
    check_script(&t, false);
    origin = mp__origin_close(origin);
    mp_disk_free(disk);
}

/* How often @text is in what was logged to @fd. */
static int times_logged(int fd, const char *text)
{
    static char log[1 << 20];
    ssize_t size = pread(fd, log, sizeof(log) - 1, 0);
    int times = 0;

    assert_true(size >= 0);
    log[size] = '\0';
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        times++;
    return times;
}

/* Its journal alone has the newest commits, and there is no room to bring them into the database:
 * each attempt reads the same out of it. */
static void what_a_full_disk_keeps_out_of_the_database_is_counted_and_told_once(void **state)
{
    enum { MANY = 100, ROOM = 100000, CALLS = 5000 };
    static char value[8000];
    mp_disk *disk = mp_disk_new(1);
    int fd = memfd_create("log", MFD_CLOEXEC);
    mp__origin_stats stats;
    char address[32];

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(mp__log_new(mp__env_real(), fd, MP__LOG_JSON, &logged), 0);
    assert_int_equal(open_on(disk), 0);
    origin = mp__origin_close(origin); /* from here on the WAL has nothing that was synced */
    assert_int_equal(open_on(disk), 0);
    ((mp__sqlite *)origin)->checkpoint_pages = 1 << 20;
    memset(value, 'x', sizeof(value) - 1);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(address, sizeof(address), "dev/default/m%d", i);
        assert_int_equal(mp_set(origin, address, value), 0);
    }
    mp_disk_power(disk, false);
    origin = mp__origin_close(origin);
    mp_disk_crash(disk);
    (void)mp__env_unlink(&disk->env, "/data/origin.db-wal");
    mp_disk_space(disk, mp_disk_used(disk) + ROOM);
    mp_disk_fail(disk, MP_DISK_ALL, 0, false, 0); /* they are counted */
    assert_int_equal(open_on(disk), 0);
    assert_int_equal(seen.state, MP__ORIGIN_DEGRADED);
    for (uint64_t end = mp_disk_calls(disk) + CALLS; mp_disk_calls(disk) < end; sched_yield()) {
        mp__origin_stats_read(origin, &stats);
        assert_int_equal(stats.revision, MANY);
        assert_int_equal(stats.keys, MANY);
    }
    assert_int_equal(seen.state, MP__ORIGIN_DEGRADED);
    assert_int_equal(times_logged(fd, "\"replayed\""), 1);
    mp_disk_space(disk, 0);
    wait_live();
    mp__origin_stats_read(origin, &stats);
    assert_int_equal(stats.revision, MANY);
    assert_int_equal(stats.keys, MANY);
    origin = mp__origin_close(origin);
    logged = mp__log_free(logged);
    (void)close(fd);
    mp_disk_free(disk);
}

static void writes_to_a_disk_that_fails_are_refused_as_degraded(void **state)
{
    mp_disk *disk = mp_disk_new(1);
    mp_got got;

    (void)state;
    assert_int_equal(open_on(disk), 0);
    ((mp__sqlite *)origin)->checkpoint_pages = 1000; /* or that finds the fault first */
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    mp_disk_fail(disk, MP_DISK_SYNC, 1, true, -EIO);
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), -EIO);
    assert_int_equal(mp_set(origin, "dev/default/a", "3"), MP_EDEGRADED);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "1");
    mp_disk_fail(disk, 0, 0, false, -EIO);
    wait_live();
    assert_int_equal(mp_set(origin, "dev/default/a", "4"), 0);
    origin = mp__origin_close(origin);
    mp_disk_free(disk);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(power_cuts_at_every_call_lose_nothing_acknowledged),
    MP_TEST(a_failed_sync_is_never_taken_for_one_that_worked),
    MP_TEST(syncs_that_go_on_failing_leave_what_was_acknowledged),
    MP_TEST(a_torn_write_is_refused_and_undone),
    MP_TEST(a_first_page_torn_by_a_checkpoint_is_read_from_the_wal),
    MP_TEST(writes_that_find_no_room_leave_what_was_acknowledged),
    MP_TEST(any_call_may_fail_once),
    MP_TEST(a_start_on_a_failing_disk_loses_nothing_acknowledged),
    MP_TEST(a_full_disk_is_said_and_survived),
    MP_TEST(what_a_full_disk_keeps_out_of_the_database_is_counted_and_told_once),
    MP_TEST(writes_to_a_disk_that_fails_are_refused_as_degraded),
};
MP_TEST_MAIN(tests)

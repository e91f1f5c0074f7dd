/* SPDX-License-Identifier: Apache-2.0 */
/* What is acknowledged and not in the database yet: it is there after any end, it is seen at once,
 * and a journal that does not belong to its database is never mixed into it. */
#include "mp_origin.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/core.h"
#include "mp_disk.h"
#include "origin/sqlite_group.h"

static char folder[32], path[64];
static mp__origin *origin;

static mp__origin *open_at(mp_env *env, const char *database)
{
    mp__origin_options options = {
        .env = env, .path = database, .probe_ms = 3600000, .sweep_ms = 3600000};
    mp__origin *opened = NULL;
    mp__diag diag = {0};

    if (mp__origin_open("sqlite", &options, &opened, &diag) != 0)
        fail_msg("%s", diag.text);
    return opened;
}

static void open_here(void)
{
    origin = open_at(mp__env_real(), path);
}

static int set_up(void **state)
{
    (void)state;
    mp_folder_new(folder);
    snprintf(path, sizeof(path), "%s/origin.db", folder);
    open_here();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    origin = mp__origin_close(origin);
    mp_folder_remove(folder);
    return 0;
}

static size_t size_of(const char *file)
{
    struct stat st;

    return stat(file, &st) == 0 ? (size_t)st.st_size : 0;
}

static void copy_file(const char *from, const char *to, size_t size_most)
{
    static char bytes[1 << 22];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t n;

    assert_non_null(in);
    assert_non_null(out);
    n = fread(bytes, 1, sizeof(bytes), in);
    assert_true(n < sizeof(bytes));
    n = n < size_most ? n : size_most;
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* A child writes @count values, "dev/default/kI" = I, and is killed before they leave the journal.
 */
static void write_and_be_killed(int count)
{
    pid_t child;
    int status;

    origin = mp__origin_close(origin);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char address[64], value[16];

        open_here();
        for (int i = 0; i < count; i++) {
            snprintf(address, sizeof(address), "dev/default/k%d", i);
            snprintf(value, sizeof(value), "%d", i);
            if (mp_set(origin, address, value) != 0)
                _exit(1);
        }
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

/* How many of the values, from the first one on, are there; none behind one that is not. */
static int values_there(void)
{
    char address[64];
    mp_got got;
    int there = 0;

    for (int i = 0; i < 6; i++) {
        snprintf(address, sizeof(address), "dev/default/k%d", i);
        assert_int_equal(mp_get(origin, address, &got), 0);
        if (got.record.kind != MP__RECORD_VALUE)
            continue;
        assert_int_equal(strtol(got.value, NULL, 10), i);
        assert_int_equal(there, i);
        there++;
    }
    return there;
}

static void what_waits_is_found_by_every_kind_of_read_at_once(void **state)
{
    static mp_listed l;
    mp_got got;
    char value[16];

    (void)state;
    for (int i = 1; i <= 60; i++) {
        snprintf(value, sizeof(value), "%d", i);
        assert_int_equal(mp_set(origin, "dev/default/a", value), 0);
        switch (i % 6) {
        case 0:
            assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
            assert_string_equal(got.value, value);
            break;
        case 1:
            assert_int_equal(mp_hist(origin, "dev/default/a", 0, 100, &l), 0);
            assert_int_equal(l.count, i);
            break;
        case 2:
            assert_int_equal(mp_changes(origin, "dev/default/", 0, 100, &l), 0);
            assert_int_equal(l.count, i);
            break;
        case 3:
            assert_int_equal(mp_ls(origin, "dev", "", 10, true, &l), 0);
            assert_int_equal(l.count, 1);
            break;
        case 4:
            assert_int_equal(mp_keys(origin, "dev"), 1);
            break;
        default: /* and so do several together */
            break;
        }
    }
}

static void conditions_are_judged_by_what_waits(void **state)
{
    mp_put put;
    mp__change *change;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "2", MP__IF_ABSENT);
    assert_int_equal(mp_put_run(origin, &put), MP_EEXISTS);
    mp_put_begin(&put);
    change = mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "2", MP__IF_REVISION);
    change->if_revision = 1;
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_int_equal(mp_del(origin, "dev/default/a"), 0);
    assert_int_equal(mp_del(origin, "dev/default/a"), 0); /* nothing there: no revision */
    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "3", MP__IF_PRESENT);
    assert_int_equal(mp_put_run(origin, &put), MP_EABSENT);
    mp_put_begin(&put);
    change = mp_put_add(&put, MP__CHANGE_ROLLBACK, "dev/default/a", NULL, 0);
    change->to_revision = 1;
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_int_equal(mp_keys(origin, "dev"), 1);
    /* all or nothing, also of what waits together */
    mp_put_begin(&put);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/default/b", "1", 0);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/default/a", "4", 0);
    (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/default/b", "2", MP__IF_ABSENT);
    assert_int_equal(mp_put_run(origin, &put), MP_EEXISTS);
    assert_int_equal(mp_set(origin, "dev/default/c", "1"), 0);
    assert_int_equal(mp_keys(origin, "dev"), 2);
    {
        mp_got got;

        assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
        assert_string_equal(got.value, "1");
        assert_int_equal(got.record.revision, 4);
        assert_int_equal(mp_get(origin, "dev/default/b", &got), 0);
        assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    }
}

/* The first @size bytes of @bytes as a file of the disk. */
static void put_file(mp_disk *disk, const char *name, const char *bytes, size_t size)
{
    mp__file *file = NULL;

    assert_int_equal(mp__file_open(&disk->env, name, MP__OPEN_WRITE | MP__OPEN_CREATE, &file), 0);
    assert_int_equal(mp__file_pwrite(file, bytes, size, 0), 0);
    mp__file_close(file);
}

/* Each record that is whole, and none behind the cut; nothing else says how far it went. On a disk
 * in memory, for there are a thousand cuts. */
static void a_journal_cut_at_any_byte_gives_the_writes_before_the_cut(void **state)
{
    char *database, *journal;
    size_t database_size, journal_size, size;
    int before = 0;

    (void)state;
    write_and_be_killed(6);
    size = mp_used(mp_beside(folder, "origin.journal"));
    assert_true(size > 6 * 100);
    assert_int_equal(mp__env_read_file(mp__env_real(), path, 1 << 22, &database, &database_size),
                     0);
    assert_int_equal(mp__env_read_file(mp__env_real(), mp_beside(folder, "origin.journal"), 1 << 22,
                                       &journal, &journal_size),
                     0);
    for (size_t cut = 0; cut <= size; cut++) {
        mp_disk *disk = mp_disk_new(1);
        int there;

        put_file(disk, "/data/origin.db", database, database_size);
        put_file(disk, "/data/origin.journal", journal, cut);
        origin = open_at(&disk->env, "/data/origin.db");
        assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
        there = values_there();
        assert_in_range(there, before, before + 1);
        before = there;
        origin = mp__origin_close(origin);
        (void)mp_disk_free(disk);
    }
    assert_int_equal(before, 6);
    (void)mp__free(database);
    (void)mp__free(journal);
    open_here();
}

/* Then all of it stands in the WAL, page 1 too. */
static void a_database_cut_before_anything_was_copied_into_it_opens_at_once(void **state)
{
    static const char *const files[] = {"origin.db",   "origin.db-wal", "origin.db-shm",
                                        "origin.mark", "origin.id",     "origin.journal"};
    static const int cuts[] = {100, 2000, 4095};

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
        origin = mp__origin_close(origin);
        for (size_t f = 0; f < sizeof(files) / sizeof(*files); f++)
            (void)unlink(mp_beside(folder, files[f]));
        write_and_be_killed(6);
        assert_int_equal(size_of(path), 4096);
        assert_int_equal(truncate(path, cuts[i]), 0);
        open_here();
        assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
        assert_int_equal(values_there(), 6);
    }
}

/* As a crash leaves it between the database's sync and the journal's new beginning. */
static void a_journal_that_the_database_has_already_changes_nothing(void **state)
{
    static mp_listed l;
    mp__origin_stats stats;

    (void)state;
    write_and_be_killed(6);
    copy_file(mp_beside(folder, "origin.journal"), mp_beside(folder, "journal"), SIZE_MAX);
    open_here();
    assert_int_equal(values_there(), 6);
    origin = mp__origin_close(origin);
    assert_true(size_of(mp_beside(folder, "origin.journal")) <
                size_of(mp_beside(folder, "journal")));
    copy_file(mp_beside(folder, "journal"), mp_beside(folder, "origin.journal"), SIZE_MAX);
    open_here();
    assert_int_equal(values_there(), 6);
    mp__origin_stats_read(origin, &stats);
    assert_int_equal(stats.revision, 6);
    assert_int_equal(stats.keys, 6);
    assert_int_equal(mp_changes(origin, "dev/default/", 0, 100, &l), 0);
    assert_int_equal(l.count, 6);
}

static int count_set_aside(void)
{
    int count = 0;
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while ((entry = readdir(dir)) != NULL)
        count += strncmp(entry->d_name, "origin.journal.old-", 19) == 0;
    closedir(dir);
    return count;
}

static void a_journal_of_another_life_is_set_aside(void **state)
{
    (void)state;
    write_and_be_killed(6);
    copy_file(mp_beside(folder, "origin.journal"), mp_beside(folder, "journal"), SIZE_MAX);
    assert_int_equal(unlink(path), 0);
    (void)unlink(mp_beside(folder, "origin.db-wal"));
    (void)unlink(mp_beside(folder, "origin.db-shm"));
    (void)unlink(mp_beside(folder, "origin.mark"));
    (void)unlink(mp_beside(folder, "origin.id"));
    (void)unlink(mp_beside(folder, "origin.journal"));
    open_here();
    origin = mp__origin_close(origin);
    copy_file(mp_beside(folder, "journal"), mp_beside(folder, "origin.journal"), SIZE_MAX);
    open_here();
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
    assert_int_equal(values_there(), 0);
    assert_int_equal(count_set_aside(), 1);
    assert_int_equal(mp_set(origin, "dev/default/k0", "0"), 0);
    assert_int_equal(values_there(), 1);
}

/* An older copy of the database, and a journal that goes on from a later one. */
static void a_journal_that_does_not_follow_on_its_database_is_not_mixed_into_it(void **state)
{
    mp__origin_stats stats;

    (void)state;
    origin = mp__origin_close(origin);
    copy_file(path, mp_beside(folder, "db"), SIZE_MAX);
    open_here();
    assert_int_equal(mp_set(origin, "dev/default/earlier", "1"), 0);
    write_and_be_killed(6);
    (void)unlink(mp_beside(folder, "origin.db-wal"));
    (void)unlink(mp_beside(folder, "origin.db-shm"));
    copy_file(mp_beside(folder, "db"), path, SIZE_MAX);
    open_here();
    mp__origin_stats_read(origin, &stats);
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LOST);
    assert_true(stats.behind);
    assert_int_equal(stats.revision, 0);
    assert_int_equal(count_set_aside(), 1);
}

static void a_journal_that_cannot_be_read_is_not_done_without(void **state)
{
    mp_got got;

    (void)state;
    write_and_be_killed(6);
    assert_int_equal(rename(mp_beside(folder, "origin.journal"), mp_beside(folder, "journal")), 0);
    assert_int_equal(mkdir(mp_beside(folder, "origin.journal"), 0700), 0);
    open_here();
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_DOWN);
    assert_int_equal(mp_get(origin, "dev/default/k0", &got), MP_EORIGIN);
    origin = mp__origin_close(origin);
    assert_int_equal(rmdir(mp_beside(folder, "origin.journal")), 0);
    assert_int_equal(rename(mp_beside(folder, "journal"), mp_beside(folder, "origin.journal")), 0);
    open_here();
    assert_int_equal(values_there(), 6);
}

static void what_is_too_large_for_the_journal_is_durable_in_the_database(void **state)
{
    static char large[3 << 20];
    static mp_put put;
    pid_t child;
    int status;

    (void)state;
    origin = mp__origin_close(origin);
    memset(large, 'x', sizeof(large) - 1);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        open_here();
        mp_put_begin(&put);
        (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/default/k0", "0", 0);
        (void)mp_put_add(&put, MP__CHANGE_PUT, "dev/default/large", large, 0);
        if (mp_put_run(origin, &put) != 0 || mp_set(origin, "dev/default/k1", "1") != 0)
            _exit(1);
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_true(size_of(mp_beside(folder, "origin.journal")) < sizeof(large));
    open_here();
    assert_int_equal(values_there(), 2);
    assert_int_equal(mp_keys(origin, "dev"), 3);
}

static void another_program_reads_whole_commits_while_writes_go_on(void **state)
{
    static const char question[] =
        "SELECT (SELECT value FROM meta WHERE name = 'revision')"
        " - (SELECT coalesce(max(revision), 0) FROM history),"
        " (SELECT count(*) FROM entries) - (SELECT coalesce(sum(keys), 0) FROM environments)";
    sqlite3 *other;
    sqlite3_stmt *statement;
    char address[64];

    (void)state;
    assert_int_equal(sqlite3_open_v2(path, &other, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(other, question, -1, &statement, NULL), SQLITE_OK);
    for (int i = 0; i < 600; i++) {
        snprintf(address, sizeof(address), "dev/default/k%d", i % 50);
        assert_int_equal(mp_set(origin, address, "value"), 0);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(statement, 0), 0);
        assert_int_equal(sqlite3_column_int(statement, 1), 0);
        assert_int_equal(sqlite3_reset(statement), SQLITE_OK);
    }
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

static void a_backup_has_what_waits(void **state)
{
    mp__diag diag = {0};
    uint64_t revision = 0;
    mp_got got;

    (void)state;
    write_and_be_killed(6);
    assert_int_equal(
        mp__origin_backup(mp__env_real(), path, mp_beside(folder, "copy.db"), &revision, &diag), 0);
    assert_int_equal(revision, 6);
    assert_int_not_equal(access(mp_beside(folder, "copy.journal"), F_OK), 0);
    origin = open_at(mp__env_real(), mp_beside(folder, "copy.db"));
    assert_int_equal(values_there(), 6);
    assert_int_equal(mp_get(origin, "dev/default/k5", &got), 0);
    assert_int_equal(got.record.revision, 6);
    origin = mp__origin_close(origin);
    open_here();
    assert_int_equal(values_there(), 6);
}

static struct told {
    pthread_mutex_t lock;
    pthread_cond_t came;
    enum mp__origin_state state;
    char cause[512];
} was_told = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

static void told_state(void *context, enum mp__origin_state from, enum mp__origin_state to,
                       const char *cause)
{
    struct told *told = context;

    (void)from;
    (void)pthread_mutex_lock(&told->lock);
    told->state = to;
    (void)snprintf(told->cause, sizeof(told->cause), "%s", cause);
    (void)pthread_cond_broadcast(&told->came);
    (void)pthread_mutex_unlock(&told->lock);
}

/* At most 30 s. */
static void wait_for_state(enum mp__origin_state state)
{
    struct timespec end;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    (void)pthread_mutex_lock(&was_told.lock);
    while (was_told.state != state && rc == 0)
        rc = pthread_cond_timedwait(&was_told.came, &was_told.lock, &end);
    (void)pthread_mutex_unlock(&was_told.lock);
    assert_int_equal(rc, 0);
}

/* Two daemons on one database: nothing may wait where only one of them sees it. */
static void another_daemon_on_the_database_sees_each_write_at_once(void **state)
{
    mp__origin_options options = {.env = mp__env_real(),
                                  .path = path,
                                  .is_shared = true,
                                  .probe_ms = 3600000,
                                  .sweep_ms = 3600000};
    mp__origin *other = NULL;
    char value[16];
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "waits"), 0);
    assert_int_equal(mp__origin_open("sqlite", &options, &other, NULL), 0);
    assert_int_equal(mp_get(other, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "waits");
    for (int i = 0; i < 40; i++) {
        snprintf(value, sizeof(value), "%d", i);
        assert_int_equal(mp_set(i % 2 ? other : origin, "dev/default/a", value), 0);
        assert_int_equal(mp_get(i % 2 ? origin : other, "dev/default/a", &got), 0);
        assert_string_equal(got.value, value);
        assert_int_equal(got.record.version, i + 2);
    }
    other = mp__origin_close(other);
    origin = mp__origin_close(origin);
    open_here();
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "39");
}

static void damage_the_journal(void)
{
    FILE *file = fopen(mp_beside(folder, "origin.journal"), "r+");

    assert_non_null(file);
    assert_int_equal(fputc('X', file), 'X');
    assert_int_equal(fclose(file), 0);
}

/* All pages but the first, which says that it is one of ours. */
static void damage_the_database(void)
{
    static char rubbish[4096];
    size_t pages = size_of(path) / sizeof(rubbish);
    FILE *file = fopen(path, "r+");

    assert_true(file && pages > 1);
    memset(rubbish, 'X', sizeof(rubbish));
    assert_int_equal(fseek(file, sizeof(rubbish), SEEK_SET), 0);
    while (pages-- > 1)
        assert_int_equal(fwrite(rubbish, sizeof(rubbish), 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

/* One value, and a shared database whose journal was damaged since; told_state() hears of it. */
static mp__origin *open_shared_beside_damage(void)
{
    mp__origin_options options = {.env = mp__env_real(),
                                  .path = path,
                                  .is_shared = true,
                                  .probe_ms = 10,
                                  .sweep_ms = 3600000,
                                  .context = &was_told,
                                  .on_state = told_state};
    mp__origin *shared = NULL;

    assert_int_equal(mp_set(origin, "dev/default/k0", "0"), 0);
    origin = mp__origin_close(origin);
    damage_the_journal();
    assert_int_equal(mp__origin_open("sqlite", &options, &shared, NULL), 0);
    return shared;
}

/* What cannot be read is not done without unasked, where others may write to the database. */
static void a_damaged_journal_beside_a_shared_database_is_named_until_it_is_gone(void **state)
{
    mp__origin *other = open_shared_beside_damage();

    (void)state;
    assert_int_equal(mp__state_now(&other->state), MP__ORIGIN_DOWN);
    assert_non_null(strstr(was_told.cause, "origin.journal is no journal; move it away, to go on"));
    assert_null(strstr(was_told.cause, "the database is damaged"));
    assert_int_equal(unlink(mp_beside(folder, "origin.journal")), 0);
    wait_for_state(MP__ORIGIN_LIVE);
    other = mp__origin_close(other);
    open_here();
    assert_int_equal(values_there(), 1);
}

/* It is the database that is told of then: the journal alone would be of no use. */
static void a_database_that_is_damaged_beside_a_damaged_journal_is_lost(void **state)
{
    mp__origin *other = open_shared_beside_damage();

    (void)state;
    wait_for_state(MP__ORIGIN_DOWN);
    damage_the_database();
    wait_for_state(MP__ORIGIN_LOST);
    assert_non_null(strstr(was_told.cause, "the database is damaged"));
    other = mp__origin_close(other);
    for (size_t i = 0; i < 4; i++)
        (void)unlink(mp_beside(folder, (const char *const[]){"origin.db", "origin.db-wal",
                                                             "origin.id", "origin.journal"}[i]));
    (void)unlink(mp_beside(folder, "origin.mark"));
    open_here();
}

/* ---- disks that fail ---- */

static void a_group_whose_sync_failed_is_not_there_after_a_crash(void **state)
{
    mp_disk *disk = mp_disk_new(7);

    (void)state;
    origin = mp__origin_close(origin);
    origin = open_at(&disk->env, "/data/origin.db");
    assert_int_equal(mp_set(origin, "dev/default/k0", "0"), 0);
    mp_disk_fail(disk, MP_DISK_SYNC, 1, true, -EIO);
    assert_int_equal(mp_set(origin, "dev/default/k1", "1"), -EIO);
    assert_int_equal(values_there(), 1);
    mp_disk_fail(disk, 0, 0, false, -EIO);
    mp_disk_power(disk, false);
    origin = mp__origin_close(origin);
    mp_disk_crash(disk);
    origin = open_at(&disk->env, "/data/origin.db");
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
    assert_int_equal(values_there(), 1);
    origin = mp__origin_close(origin);
    (void)mp_disk_free(disk);
    open_here();
}

/* Nothing but the journal was synced. */
static void what_only_the_journal_has_survives_a_power_cut(void **state)
{
    (void)state;
    origin = mp__origin_close(origin);
    for (unsigned seed = 1; seed <= 20; seed++) {
        mp_disk *disk = mp_disk_new(seed);
        char address[64], value[16];

        origin = open_at(&disk->env, "/data/origin.db");
        for (int i = 0; i < 6; i++) {
            snprintf(address, sizeof(address), "dev/default/k%d", i);
            snprintf(value, sizeof(value), "%d", i);
            assert_int_equal(mp_set(origin, address, value), 0);
            if (i == 3) /* these are in the WAL, and that is not synced */
                assert_int_equal(values_there(), 4);
        }
        mp_disk_power(disk, false);
        origin = mp__origin_close(origin);
        mp_disk_crash(disk);
        origin = open_at(&disk->env, "/data/origin.db");
        assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
        assert_int_equal(values_there(), 6);
        origin = mp__origin_close(origin);
        (void)mp_disk_free(disk);
    }
    open_here();
}

/* ---- records ---- */

static void a_group_is_read_as_it_was_written_and_no_part_of_one_is(void **state)
{
    mp__sqlite_staged staged[3] = {
        {.row = {.op = MP__OP_PUT,
                 .at_ms = 5,
                 .actor = MP_STR("me"),
                 .record = {.address = MP_STR("dev/default/a"),
                            .value = MP_STR("value"),
                            .media_type = MP_STR("text/plain"),
                            .revision = 11,
                            .created_revision = 2,
                            .version = 3,
                            .created_ms = 4,
                            .modified_ms = 5,
                            .expires_ms = 6}}},
        {.row = {.op = MP__OP_DELETE,
                 .record = {.address = MP_STR("dev/default/b"), .revision = 12}}},
        {.row = {.op = MP__OP_PUT, .record = {.address = MP_STR("dev/default/c"), .revision = 13}}},
    };
    static const char epoch[] = "0123456789abcdef0123456789abcdef";
    size_t size = mp__sqlite_group_size(staged, 3);
    mp__sqlite_group group;
    mp__sqlite_row row;
    char *bytes = malloc(size);

    (void)state;
    assert_non_null(bytes);
    mp__sqlite_group_encode(epoch, 10, 13, staged, 3, bytes);
    assert_int_equal(mp__sqlite_group_decode(mp_str_new(bytes, size), &group), 0);
    assert_memory_equal(group.epoch.data, epoch, 32);
    assert_int_equal(group.base, 10);
    assert_int_equal(group.revision, 13);
    assert_int_equal(mp__sqlite_group_next(&group, &row), 1);
    assert_true(mp_str_equal(row.record.address, MP_STR("dev/default/a")));
    assert_true(mp_str_equal(row.record.value, MP_STR("value")));
    assert_true(mp_str_equal(row.record.media_type, MP_STR("text/plain")));
    assert_true(mp_str_equal(row.actor, MP_STR("me")));
    assert_int_equal(row.record.kind, MP__RECORD_VALUE);
    assert_int_equal(row.record.expires_ms, 6);
    assert_int_equal(mp__sqlite_group_next(&group, &row), 1);
    assert_int_equal(row.record.kind, MP__RECORD_ABSENT);
    assert_int_equal(mp__sqlite_group_next(&group, &row), 1);
    assert_int_equal(mp__sqlite_group_next(&group, &row), 0);
    for (size_t cut = 0; cut < size; cut++) {
        int rc = mp__sqlite_group_decode(mp_str_new(bytes, cut), &group);

        while (rc >= 0 && (rc = mp__sqlite_group_next(&group, &row)) == 1)
            ;
        assert_int_equal(rc, MP_ECORRUPT);
    }
    free(bytes);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    FRESH(what_waits_is_found_by_every_kind_of_read_at_once),
    FRESH(conditions_are_judged_by_what_waits),
    FRESH(a_journal_cut_at_any_byte_gives_the_writes_before_the_cut),
    FRESH(a_database_cut_before_anything_was_copied_into_it_opens_at_once),
    FRESH(a_journal_that_the_database_has_already_changes_nothing),
    FRESH(a_journal_of_another_life_is_set_aside),
    FRESH(a_journal_that_does_not_follow_on_its_database_is_not_mixed_into_it),
    FRESH(a_journal_that_cannot_be_read_is_not_done_without),
    FRESH(what_is_too_large_for_the_journal_is_durable_in_the_database),
    FRESH(another_program_reads_whole_commits_while_writes_go_on),
    FRESH(a_backup_has_what_waits),
    FRESH(another_daemon_on_the_database_sees_each_write_at_once),
    FRESH(a_damaged_journal_beside_a_shared_database_is_named_until_it_is_gone),
    FRESH(a_database_that_is_damaged_beside_a_damaged_journal_is_lost),
    FRESH(a_group_whose_sync_failed_is_not_there_after_a_crash),
    FRESH(what_only_the_journal_has_survives_a_power_cut),
    MP_TEST(a_group_is_read_as_it_was_written_and_no_part_of_one_is),
};
MP_TEST_MAIN(tests)

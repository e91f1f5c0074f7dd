/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to the origin from outside while it runs: moved, put back, changed by other
 * programs, locked; and what comes back by itself. */
#include "mp_origin.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "core/core.h"
#include "origin/sqlite.h"

static char folder[32], path[64];
static mp__origin *origin;

/* What the origin told without being asked. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum mp__origin_state state;
    int moves, unseen, changes;
    char cause[256], changed_address[64];
    mp__record change;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_state(void *context, enum mp__origin_state from, enum mp__origin_state to,
                     const char *cause)
{
    (void)context;
    (void)from;
    pthread_mutex_lock(&told.lock);
    told.state = to;
    told.moves++;
    snprintf(told.cause, sizeof(told.cause), "%s", cause);
    pthread_cond_broadcast(&told.changed);
    pthread_mutex_unlock(&told.lock);
}

static void on_unseen(void *context, const char *cause)
{
    (void)context;
    (void)cause;
    pthread_mutex_lock(&told.lock);
    told.unseen++;
    pthread_cond_broadcast(&told.changed);
    pthread_mutex_unlock(&told.lock);
}

static void on_change(void *context, const mp__record *after)
{
    (void)context;
    pthread_mutex_lock(&told.lock);
    told.changes++;
    told.change = *after;
    snprintf(told.changed_address, sizeof(told.changed_address), "%.*s", (int)after->address.size,
             after->address.data);
    pthread_cond_broadcast(&told.changed);
    pthread_mutex_unlock(&told.lock);
}

#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        struct timespec end_;                                                                      \
        int rc_ = 0;                                                                               \
        clock_gettime(CLOCK_REALTIME, &end_);                                                      \
        end_.tv_sec += 20;                                                                         \
        pthread_mutex_lock(&told.lock);                                                            \
        while (!(condition) && rc_ == 0)                                                           \
            rc_ = pthread_cond_timedwait(&told.changed, &told.lock, &end_);                        \
        pthread_mutex_unlock(&told.lock);                                                          \
        assert_int_equal(rc_, 0);                                                                  \
    } while (0)

static void open_origin(void)
{
    mp__origin_options options = {.env = mp__env_real(),
                                  .path = path,
                                  .probe_ms = 5,
                                  .sweep_ms = 5,
                                  .timeout_ms = 50,
                                  .on_state = on_state,
                                  .on_unseen_change = on_unseen,
                                  .on_change = on_change};
    mp__diag diag = {0};
    int rc;

    told.moves = told.unseen = told.changes = 0;
    rc = mp__origin_open("sqlite", &options, &origin, &diag);
    if (rc)
        print_error("%s\n", diag.text);
    assert_int_equal(rc, 0);
}

static int set_up(void **state)
{
    (void)state;
    mp_folder_new(folder);
    snprintf(path, sizeof(path), "%s/origin.db", folder);
    open_origin();
    assert_int_equal(told.state, MP__ORIGIN_LIVE); /* the state that open ends in is told, too */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    origin = mp__origin_close(origin);
    mp_folder_remove(folder);
    return 0;
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

/* ---- moved, put back ---- */

static void a_database_that_is_moved_away_is_lost_and_live_when_it_is_back(void **state)
{
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(rename(path, mp_beside(folder, "elsewhere")), 0);
    WAIT_UNTIL(told.state == MP__ORIGIN_LOST);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), MP_EORIGINLOST);
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), MP_EORIGINLOST);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(rename(mp_beside(folder, "elsewhere"), path), 0);
    WAIT_UNTIL(told.unseen == 1);
    assert_int_equal(told.state, MP__ORIGIN_LIVE);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "1");
    assert_int_equal(mp_set(origin, "dev/default/a", "3"), 0);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_int_equal(got.record.revision, 2);
}

static void an_older_copy_that_is_put_back_counts_as_a_new_change_of_everything(void **state)
{
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "old"), 0);
    assert_int_equal(mp_set(origin, "dev/default/b", "old"), 0);
    origin = mp__origin_close(origin);
    copy_file(path, mp_beside(folder, "backup"));
    open_origin();
    for (int i = 0; i < 5; i++)
        assert_int_equal(mp_set(origin, "dev/default/a", "newer"), 0);
    assert_int_equal(mp_set(origin, "dev/default/c", "only here"), 0);
    assert_int_equal(unlink(path), 0);
    WAIT_UNTIL(told.state == MP__ORIGIN_LOST);
    copy_file(mp_beside(folder, "backup"), mp_beside(folder, "whole"));
    assert_int_equal(rename(mp_beside(folder, "whole"), path), 0);
    WAIT_UNTIL(told.unseen == 1);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "old");
    assert_true(got.record.revision > 8); /* newer than all that anybody saw */
    assert_int_equal(mp_get(origin, "dev/default/c", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    assert_int_equal(mp_keys(origin, "dev"), 2);
}

static void a_backup_is_not_mixed_with_a_wal_that_is_not_its_own(void **state)
{
    mp_got got;
    char address[64];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(address, sizeof(address), "dev/default/old%d", i);
        assert_int_equal(mp_set(origin, address, "backup"), 0);
    }
    origin = mp__origin_close(origin);
    copy_file(path, mp_beside(folder, "backup"));
    open_origin();
    for (int i = 0; i < 300; i++) {
        snprintf(address, sizeof(address), "dev/default/new%d", i);
        assert_int_equal(mp_set(origin, address, "later"), 0);
    }
    assert_int_equal(mp_keys(origin, "dev"), 400); /* all of it is in the WAL now */
    copy_file(mp_beside(folder, "origin.db-wal"), mp_beside(folder, "foreign-wal"));
    assert_int_equal(unlink(path), 0);
    WAIT_UNTIL(told.state == MP__ORIGIN_LOST);
    copy_file(mp_beside(folder, "foreign-wal"), mp_beside(folder, "origin.db-wal"));
    copy_file(mp_beside(folder, "backup"), mp_beside(folder, "whole"));
    assert_int_equal(rename(mp_beside(folder, "whole"), path), 0);
    WAIT_UNTIL(told.state == MP__ORIGIN_LIVE);
    for (int i = 0; i < 100; i++) {
        snprintf(address, sizeof(address), "dev/default/old%d", i);
        assert_int_equal(mp_get(origin, address, &got), 0);
        assert_string_equal(got.value, "backup");
    }
    /* either all of the WAL fits, or none of it is there */
    assert_int_equal(mp_get(origin, "dev/default/new0", &got), 0);
    if (got.record.kind == MP__RECORD_ABSENT)
        assert_int_equal(mp_keys(origin, "dev"), 100);
    else
        assert_int_equal(mp_keys(origin, "dev"), 400);
    assert_int_equal(mp_set(origin, "dev/default/after", "1"), 0);
}

static void another_programs_database_in_its_place_is_not_touched(void **state)
{
    sqlite3 *other;
    struct stat before, after;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(sqlite3_open(mp_beside(folder, "theirs"), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(stat(mp_beside(folder, "theirs"), &before), 0);
    origin = mp__origin_close(origin);
    assert_int_equal(rename(path, mp_beside(folder, "ours")), 0);
    assert_int_equal(rename(mp_beside(folder, "theirs"), path), 0);
    open_origin();
    assert_int_equal(told.state, MP__ORIGIN_LOST);
    assert_non_null(strstr(told.cause, "another program"));
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), MP_EORIGINLOST);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    assert_int_equal(rename(mp_beside(folder, "ours"), path), 0);
    WAIT_UNTIL(told.state == MP__ORIGIN_LIVE);
}

/* ---- other programs ---- */

static void others_do(const char *sql)
{
    sqlite3 *other;
    char *error = NULL;

    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    sqlite3_busy_timeout(other, 5000);
    if (sqlite3_exec(other, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s", error);
    sqlite3_close(other);
}

static void what_another_program_deleted_is_absent_and_the_change_is_told(void **state)
{
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/default/b", "1"), 0);
    others_do("DELETE FROM entries WHERE address = 'dev/default/a'");
    WAIT_UNTIL(told.unseen == 1);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    assert_int_equal(mp_keys(origin, "dev"), 1);
    assert_int_equal(mp_set(origin, "dev/default/c", "1"), 0);
    assert_int_equal(mp_keys(origin, "dev"), 2);
}

static void a_value_edited_behind_its_checksum_is_not_believed(void **state)
{
    mp__origin_stats stats;
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "right"), 0);
    others_do("UPDATE entries SET value = 'edited'");
    WAIT_UNTIL(told.unseen == 1);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "right"); /* from its history */
    mp__origin_stats_read(origin, &stats);
    assert_int_equal(stats.corrupt_rows, 1);
    assert_int_equal(stats.salvaged, 1);
    others_do("UPDATE history SET value = 'edited'");
    WAIT_UNTIL(told.unseen == 2);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), MP_ECORRUPT);
    assert_int_equal(mp_set(origin, "dev/default/a", "new"), 0); /* heals it */
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "new");
}

static void a_list_with_a_damaged_row_says_that_it_is_not_complete(void **state)
{
    static mp_listed l;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(mp_set(origin,
                                i == 0   ? "dev/d/a"
                                : i == 1 ? "dev/d/b"
                                         : "dev/d/c",
                                "1"),
                         0);
    others_do("UPDATE entries SET value = 'edited' WHERE address = 'dev/d/b';"
              "UPDATE history SET value = 'edited' WHERE address = 'dev/d/b'");
    for (int by_key = 0; by_key < 2; by_key++) {
        assert_int_equal(mp_ls(origin, "dev", "", 100, by_key, &l), MP_ECORRUPT);
        assert_int_equal(l.count, 2);
        assert_string_equal(l.addresses[1], "dev/d/c");
    }
    assert_int_equal(mp_hist(origin, "dev/d/b", 0, 10, &l), MP_ECORRUPT);
    assert_int_equal(l.count, 0);
}

static void what_another_program_wrote_while_we_were_away_is_taken_over(void **state)
{
    mp_got got;
    char address[64];

    (void)state;
    for (int i = 0; i < 300; i++) {
        snprintf(address, sizeof(address), "dev/default/key%d", i);
        assert_int_equal(mp_set(origin, address, "1"), 0);
    }
    origin = mp__origin_close(origin);
    /* without our layer below it, so that no page it writes has a right checksum */
    others_do("DELETE FROM entries WHERE address = 'dev/default/key7'; VACUUM");
    open_origin();
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
    assert_int_equal(mp_get(origin, "dev/default/key7", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    assert_int_equal(mp_get(origin, "dev/default/key8", &got), 0);
    assert_string_equal(got.value, "1");
    assert_int_equal(mp_set(origin, "dev/default/key7", "2"), 0);
}

static void a_lock_of_another_program_is_waited_for_and_then_said(void **state)
{
    sqlite3 *other;
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    sqlite3_busy_timeout(other, 5000); /* what was just written may still be on its way */
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), MP_ETIMEOUT);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "1");
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LIVE);
    sqlite3_close(other);
    assert_int_equal(mp_set(origin, "dev/default/a", "3"), 0);
}

/* A value's page does not fit its seal, or, for a moment, those without which nothing is read. */
static bool is_unknown(int rc)
{
    return rc == MP_ECORRUPT || rc == MP_EORIGINLOST;
}

static void pages_that_another_program_wrote_while_we_run_are_taken_over(void **state)
{
    mp_got got;
    char address[64];
    int rc;

    (void)state;
    for (int i = 0; i < 50; i++) {
        snprintf(address, sizeof(address), "dev/default/key%d", i);
        assert_int_equal(mp_set(origin, address, "v"), 0);
    }
    /* it copies the WAL into the database, and knows nothing of our seals */
    others_do("DELETE FROM entries WHERE address = 'dev/default/key7';"
              "CREATE TABLE theirs(x); INSERT INTO theirs VALUES(randomblob(3000000));"
              "DROP TABLE theirs; PRAGMA wal_checkpoint(TRUNCATE)");
    WAIT_UNTIL(told.unseen >= 1); /* each of their commits may be seen by itself */
    /* until that is found out the answer is unknown */
    do {
        rc = mp_get(origin, "dev/default/key8", &got);
        assert_true(rc == 0 || is_unknown(rc));
    } while (rc);
    assert_string_equal(got.value, "v");
    do {
        rc = mp_get(origin, "dev/default/key7", &got);
        assert_true(rc == 0 || is_unknown(rc));
    } while (rc || got.record.kind == MP__RECORD_VALUE);
    WAIT_UNTIL(mp__state_now(&origin->state) == MP__ORIGIN_LIVE);
    assert_int_equal(mp_set(origin, "dev/default/key7", "2"), 0);
}

static void a_file_that_comes_back_as_it_was_is_taken_up_again(void **state)
{
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    /* opened anew, so that not a byte of it is written before it goes */
    origin = mp__origin_close(origin);
    open_origin();
    assert_int_equal(rename(path, mp_beside(folder, "elsewhere")), 0);
    WAIT_UNTIL(told.state == MP__ORIGIN_LOST);
    assert_int_equal(rename(mp_beside(folder, "elsewhere"), path), 0);
    WAIT_UNTIL(told.state == MP__ORIGIN_LIVE);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "1");
}

/* ---- origin.id ---- */

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(mp_beside(folder, name), "wb");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void an_unreadable_id_is_not_taken_for_a_first_start(void **state)
{
    static const char *const bad[] = {
        "", "nonsense", "marketprism-origin 1\nepoch 12\n",
        "marketprism-origin 1\nepoch 0123456789abcdef0123456789abcdef\npath x\nchecksum 12\n"};
    mp_got got;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        origin = mp__origin_close(origin);
        write_text("origin.id", bad[i]);
        assert_int_equal(rename(path, mp_beside(folder, "elsewhere")), 0);
        open_origin();
        assert_int_equal(told.state, MP__ORIGIN_LOST);
        assert_int_equal(rename(mp_beside(folder, "elsewhere"), path), 0);
        WAIT_UNTIL(told.state == MP__ORIGIN_LIVE); /* which writes it anew */
        assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
        assert_string_equal(got.value, "1");
    }
    origin = mp__origin_close(origin);
    assert_int_equal(rename(path, mp_beside(folder, "elsewhere")), 0);
    open_origin();
    assert_int_equal(told.state, MP__ORIGIN_LOST);
}

static void an_id_of_a_newer_version_is_refused(void **state)
{
    static const char text[] =
        "marketprism-origin 2\nepoch 0123456789abcdef0123456789abcdef\npath x\n";
    mp__origin_options options = {.env = mp__env_real(), .path = path};
    char whole[256];
    mp__diag diag = {0};

    (void)state;
    origin = mp__origin_close(origin);
    snprintf(whole, sizeof(whole), "%schecksum %016llx\n", text,
             (unsigned long long)mp__checksum(0, text, strlen(text)));
    write_text("origin.id", whole);
    assert_int_equal(mp__origin_open("sqlite", &options, &origin, &diag), MP_EVERSION);
    assert_non_null(strstr(diag.text, "origin.id"));
    assert_int_equal(unlink(mp_beside(folder, "origin.id")), 0);
    open_origin(); /* a database without its id gets one */
    assert_int_equal(access(mp_beside(folder, "origin.id"), F_OK), 0);
}

static void a_path_without_a_folder_is_in_this_one(void **state)
{
    char here[200];

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    origin = mp__origin_close(origin);
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    snprintf(path, sizeof(path), "origin.db");
    open_origin();
    assert_int_equal(mp_keys(origin, "dev"), 1);
    origin = mp__origin_close(origin);
    assert_int_equal(chdir(here), 0);
    snprintf(path, sizeof(path), "%s/origin.db", folder);
    open_origin();
}

/* ---- a bit that flips while it runs ---- */

static void a_flipped_bit_is_set_right_on_disk(void **state)
{
    mp__log_sink *log;
    mp__origin_options options = {
        .env = mp__env_real(), .path = path, .probe_ms = 5, .sweep_ms = 3600000};
    mp__origin_stats stats;
    char line[512], good[4096], now[4096], address[64];
    mp_got got;
    int ends[2];
    FILE *f;

    (void)state;
    for (int i = 0; i < 50; i++) {
        snprintf(address, sizeof(address), "dev/default/key%d", i);
        assert_int_equal(mp_set(origin, address, "v"), 0);
    }
    origin = mp__origin_close(origin);
    f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 4096, SEEK_SET), 0);
    assert_int_equal(fread(good, 1, sizeof(good), f), sizeof(good));
    good[1000] = (char)(good[1000] ^ 4);
    assert_int_equal(fseek(f, 4096, SEEK_SET), 0);
    assert_int_equal(fwrite(good, 1, sizeof(good), f), sizeof(good));
    assert_int_equal(fclose(f), 0);
    good[1000] = (char)(good[1000] ^ 4);

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(mp__log_new(mp__env_real(), ends[1], MP__LOG_JSON, &log), 0);
    options.log = log;
    assert_int_equal(mp__origin_open("sqlite", &options, &origin, NULL), 0);
    assert_int_equal(mp_get(origin, "dev/default/key7", &got), 0);
    assert_string_equal(got.value, "v");
    assert_true(read(ends[0], line, sizeof(line)) > 0); /* waits for the probe to say so */
    assert_non_null(strstr(line, "mended"));
    f = fopen(path, "rb");
    assert_int_equal(fseek(f, 4096, SEEK_SET), 0);
    assert_int_equal(fread(now, 1, sizeof(now), f), sizeof(now));
    fclose(f);
    assert_memory_equal(now, good, sizeof(now));
    mp__origin_stats_read(origin, &stats);
    assert_true(stats.salvaged > 0);
    origin = mp__origin_close(origin);
    mp__log_free(log);
    close(ends[0]);
    close(ends[1]);
}

/* ---- expiry ---- */

static int put_expiring(const char *address, int64_t expires_ms, unsigned flags, mp_put *put)
{
    mp_put_begin(put);
    mp_put_add(put, MP__CHANGE_PUT, address, "v", flags)->expires_ms = expires_ms;
    return mp_put_run(origin, put);
}

static void an_expired_value_is_never_served_and_its_deletion_is_told(void **state)
{
    int64_t now = mp__env_wall_ms(mp__env_real());
    static mp_listed l;
    mp_got got;
    mp_put put;

    (void)state;
    assert_int_equal(put_expiring("dev/default/a", now + 3600000, 0, &put), 0);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_int_equal(got.record.expires_ms, now + 3600000);
    assert_int_equal(put_expiring("dev/default/b", now - 1, 0, &put), 0);
    assert_int_equal(mp_get(origin, "dev/default/b", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    WAIT_UNTIL(told.changes == 1);
    assert_string_equal(told.changed_address, "dev/default/b");
    assert_int_equal(told.change.kind, MP__RECORD_ABSENT);
    assert_int_equal(told.change.revision, 3);
    assert_int_equal(mp_keys(origin, "dev"), 1);
    assert_int_equal(mp_hist(origin, "dev/default/b", 0, 10, &l), 0);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.records[0].kind, MP__RECORD_ABSENT);
}

static void an_expiry_is_kept_set_and_cleared_as_asked(void **state)
{
    int64_t later = mp__env_wall_ms(mp__env_real()) + 3600000;
    mp_got got;
    mp_put put;

    (void)state;
    assert_int_equal(put_expiring("dev/default/a", later, 0, &put), 0);
    assert_int_equal(put_expiring("dev/default/a", 0, MP__KEEP_EXPIRY, &put), 0);
    assert_int_equal(put.changes[0].after.expires_ms, later);
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_EXPIRE, "dev/default/a", NULL, 0)->expires_ms = later + 1;
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_true(put.changes[0].changed);
    assert_string_equal(put.after, "v");
    assert_int_equal(put.changes[0].after.version, 2); /* it is the same value */
    mp_put_begin(&put);
    mp_put_add(&put, MP__CHANGE_EXPIRE, "dev/default/a", NULL, 0)->expires_ms = later + 1;
    assert_int_equal(mp_put_run(origin, &put), 0);
    assert_false(put.changes[0].changed);
    assert_int_equal(put_expiring("dev/default/a", 0, 0, &put), 0);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_int_equal(got.record.expires_ms, 0);
}

static void an_expired_value_counts_as_absent_for_conditions(void **state)
{
    mp_put first, second;

    (void)state;
    mp_put_begin(&first);
    mp_put_add(&first, MP__CHANGE_PUT, "dev/default/a", "old", 0)->expires_ms = 1;
    mp_put_begin(&second);
    mp_put_add(&second, MP__CHANGE_PUT, "dev/default/a", "new", MP__IF_ABSENT | MP__WANT_OLD);
    mp__origin_write(origin, &first.write);
    mp__origin_write(origin, &second.write);
    mp_wait_for(&second.wait, 1);
    assert_int_equal(second.status, 0);
    assert_false(second.changes[0].had_old);
    assert_int_equal(second.changes[0].after.version, 1);
    WAIT_UNTIL(told.changes == 1); /* its end was told, too */
    assert_int_equal(mp_keys(origin, "dev"), 1);
}

static void what_a_write_finds_expired_is_told_before_it_and_is_older_than_all_of_it(void **state)
{
    mp_put first, second;

    (void)state;
    mp_put_begin(&first);
    mp_put_add(&first, MP__CHANGE_PUT, "dev/default/c", "old", 0)->expires_ms = 1;
    mp_put_begin(&second);
    mp_put_add(&second, MP__CHANGE_PUT, "dev/default/a", "new", 0);
    mp_put_add(&second, MP__CHANGE_PUT, "dev/default/b", "new", 0);
    mp_put_add(&second, MP__CHANGE_PUT, "dev/default/c", "new", MP__IF_ABSENT);
    mp__origin_write(origin, &first.write);
    mp__origin_write(origin, &second.write);
    mp_wait_for(&second.wait, 1);
    assert_int_equal(second.status, 0);
    WAIT_UNTIL(told.changes == 1);
    assert_string_equal(told.changed_address, "dev/default/c");
    assert_int_equal(told.change.revision, 2);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(second.changes[i].after.revision, 3 + i);
    assert_int_equal(second.changes[2].after.version, 1);
}

static void a_write_that_is_refused_ends_nothing_that_it_found_expired(void **state)
{
    mp_put first, second;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/d", "there"), 0);
    mp_put_begin(&first);
    mp_put_add(&first, MP__CHANGE_PUT, "dev/default/c", "old", 0)->expires_ms = 1;
    mp_put_begin(&second);
    mp_put_add(&second, MP__CHANGE_PUT, "dev/default/a", "new", 0);
    mp_put_add(&second, MP__CHANGE_PUT, "dev/default/c", "new", 0);
    mp_put_add(&second, MP__CHANGE_PUT, "dev/default/d", "new", MP__IF_ABSENT);
    mp__origin_write(origin, &first.write);
    mp__origin_write(origin, &second.write);
    mp_wait_for(&second.wait, 1);
    assert_int_equal(second.status, MP_EEXISTS);
    WAIT_UNTIL(told.changes == 1); /* by the sweep */
    assert_int_equal(told.change.revision, 3);
    assert_int_equal(mp_keys(origin, "dev"), 1);
}

/* ---- lost commits ---- */

static void a_database_behind_what_was_acknowledged_is_lost_until_salvaged(void **state)
{
    static mp_listed listed;
    mp__origin_stats stats;
    mp_got got;
    mp__record given[3] = {
        {.address = MP_STR("dev/default/a"),
         .value = MP_STR("kept"),
         .kind = MP__RECORD_VALUE,
         .revision = 5,
         .created_revision = 1,
         .version = 3,
         .created_ms = 1,
         .modified_ms = 2},
        {.address = MP_STR("dev/default/b"), .kind = MP__RECORD_ABSENT, .revision = 4},
        {.address = MP_STR("dev/default/c"),
         .value = MP_STR("older"),
         .kind = MP__RECORD_VALUE,
         .revision = 1},
    };

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/default/b", "1"), 0);
    origin = mp__origin_close(origin);
    copy_file(path, mp_beside(folder, "backup"));
    open_origin();
    assert_int_equal(mp_set(origin, "dev/default/a", "2"), 0);
    assert_int_equal(mp_del(origin, "dev/default/b"), 0);
    assert_int_equal(mp_set(origin, "dev/default/a", "3"), 0);
    assert_int_equal(mp_set(origin, "dev/default/d", "nobody kept it"), 0);
    origin = mp__origin_close(origin);
    copy_file(mp_beside(folder, "backup"), path);
    open_origin();
    assert_int_equal(mp__state_now(&origin->state), MP__ORIGIN_LOST);
    mp__origin_stats_read(origin, &stats);
    assert_true(stats.behind);
    assert_int_equal(stats.revision, 2);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), MP_EORIGINLOST);

    assert_int_equal(mp__origin_salvage(origin, given, 3), 0);
    assert_int_equal(told.state, MP__ORIGIN_LIVE);
    mp__origin_stats_read(origin, &stats);
    assert_false(stats.behind);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_string_equal(got.value, "kept");
    assert_int_equal(got.record.revision, 5);
    assert_int_equal(got.record.version, 3);
    assert_int_equal(mp_get(origin, "dev/default/b", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    assert_int_equal(mp_get(origin, "dev/default/c", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT); /* it was not lost, but deleted before */
    assert_int_equal(mp_set(origin, "dev/default/a", "4"), 0);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_int_equal(got.record.revision, 7);
    /* nobody knows all that happened in between, and nobody is told that he knows it */
    assert_int_equal(mp_changes(origin, "dev/default/", 2, 100, &listed), MP_EUNKNOWN);
    assert_int_equal(mp_changes(origin, "dev/default/", 5, 100, &listed), MP_EUNKNOWN);
    assert_int_equal(listed.count, 0);
    assert_int_equal(mp_changes(origin, "dev/default/", 6, 100, &listed), 0);
    assert_int_equal(listed.count, 1);
}

static void beginning_anew_moves_the_remains_aside(void **state)
{
    mp__origin_options options = {.env = mp__env_real(), .path = path, .new_origin = true};
    mp_got got;
    char epoch[33];
    int old = 0;
    DIR *dir;
    struct dirent *entry;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    (void)snprintf(epoch, sizeof(epoch), "%s", mp__origin_epoch(origin));
    assert_int_equal(strlen(epoch), 32);
    origin = mp__origin_close(origin);
    assert_int_equal(mp__origin_open("sqlite", &options, &origin, NULL), 0);
    assert_int_equal(mp_get(origin, "dev/default/a", &got), 0);
    assert_int_equal(got.record.kind, MP__RECORD_ABSENT);
    assert_string_not_equal(mp__origin_epoch(origin), epoch);
    dir = opendir(folder);
    while ((entry = readdir(dir)) != NULL)
        old += strncmp(entry->d_name, "origin.db.old-", 14) == 0;
    closedir(dir);
    assert_int_equal(old, 1);
}

/* ---- versions ---- */

/* SQL through our own layer, as another version of ours would do it. */
static void we_do(const char *sql)
{
    mp__vfs *vfs;
    sqlite3 *db;

    assert_int_equal(mp__vfs_new(mp__env_real(), &vfs), 0);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, mp__vfs_name(vfs)),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    mp__vfs_free(vfs);
}

static void a_newer_format_is_refused_with_a_text(void **state)
{
    mp__origin_options options = {.env = mp__env_real(), .path = path};
    mp__diag diag = {0};

    (void)state;
    origin = mp__origin_close(origin);
    we_do("PRAGMA user_version = 99");
    assert_int_equal(mp__origin_open("sqlite", &options, &origin, &diag), MP_EVERSION);
    assert_non_null(strstr(diag.text, "99"));
    assert_null(origin);
    we_do("PRAGMA user_version = 1");
    open_origin();
}

static void an_older_format_is_migrated_after_a_copy(void **state)
{
    static const mp__sqlite_migration steps[] = {
        {1, "CREATE TABLE added(x); INSERT INTO added VALUES(1)"},
        {2, "INSERT INTO added VALUES(2)"},
    };
    static const mp__sqlite_migration broken[] = {{1, "INSERT INTO nothing VALUES(1)"}};
    mp__vfs *vfs;
    mp__sqlite_db db;
    mp__diag diag = {0};
    int64_t rows = 0;

    (void)state;
    assert_int_equal(mp_set(origin, "dev/default/a", "1"), 0);
    origin = mp__origin_close(origin);
    assert_int_equal(mp__vfs_new(mp__env_real(), &vfs), 0);
    assert_int_equal(mp__sqlite_db_open(&db, mp__env_real(), vfs, path, 100, false, NULL), 0);
    assert_int_not_equal(mp__sqlite_migrate(&db, path, 1, 2, broken, 1, &diag), 0);
    assert_true(diag.text[0]);
    assert_int_equal(unlink(mp_beside(folder, "origin.db.v1")), 0);
    assert_int_equal(mp__sqlite_migrate(&db, path, 1, 3, steps, 2, &diag), 0);
    assert_int_equal(access(mp_beside(folder, "origin.db.v1"), F_OK), 0);
    /* a copy that is there already is never written over */
    assert_int_not_equal(mp__sqlite_migrate(&db, path, 1, 3, steps, 2, &diag), 0);
    assert_non_null(strstr(diag.text, "origin.db.v1"));
    assert_int_equal(mp__sqlite_number(&db, MP__SQL_COUNT_ALL, &rows), 0);
    assert_int_equal(rows, 1);
    mp__sqlite_db_close(&db);
    mp__vfs_free(vfs);
    we_do("PRAGMA user_version = 1");
    open_origin();
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    FRESH(a_database_that_is_moved_away_is_lost_and_live_when_it_is_back),
    FRESH(an_older_copy_that_is_put_back_counts_as_a_new_change_of_everything),
    FRESH(a_backup_is_not_mixed_with_a_wal_that_is_not_its_own),
    FRESH(another_programs_database_in_its_place_is_not_touched),
    FRESH(what_another_program_deleted_is_absent_and_the_change_is_told),
    FRESH(a_value_edited_behind_its_checksum_is_not_believed),
    FRESH(a_list_with_a_damaged_row_says_that_it_is_not_complete),
    FRESH(what_another_program_wrote_while_we_were_away_is_taken_over),
    FRESH(a_lock_of_another_program_is_waited_for_and_then_said),
    FRESH(pages_that_another_program_wrote_while_we_run_are_taken_over),
    FRESH(a_file_that_comes_back_as_it_was_is_taken_up_again),
    FRESH(an_unreadable_id_is_not_taken_for_a_first_start),
    FRESH(an_id_of_a_newer_version_is_refused),
    FRESH(a_path_without_a_folder_is_in_this_one),
    FRESH(a_flipped_bit_is_set_right_on_disk),
    FRESH(an_expired_value_is_never_served_and_its_deletion_is_told),
    FRESH(an_expiry_is_kept_set_and_cleared_as_asked),
    FRESH(an_expired_value_counts_as_absent_for_conditions),
    FRESH(what_a_write_finds_expired_is_told_before_it_and_is_older_than_all_of_it),
    FRESH(a_write_that_is_refused_ends_nothing_that_it_found_expired),
    FRESH(a_database_behind_what_was_acknowledged_is_lost_until_salvaged),
    FRESH(beginning_anew_moves_the_remains_aside),
    FRESH(a_newer_format_is_refused_with_a_text),
    FRESH(an_older_format_is_migrated_after_a_copy),
};
MP_TEST_MAIN(tests)

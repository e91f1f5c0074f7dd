/* SPDX-License-Identifier: Apache-2.0 */
/* origin.journal: what is acknowledged and perhaps not in the database on the disk yet.
 *
 * The database is committed to without a sync: after a power cut it stands where some commit left
 * it, not before the last sync of its WAL. The journal has every group since then, so that the two
 * together are always all that was acknowledged. It is begun anew only when the WAL was synced and
 * nothing waits.
 *
 * Each record says over which revision of which epoch it stands. So what does not follow on the
 * database that is found beside it (an older copy that was put back, one of another life) is never
 * mixed into it: the file is moved aside, and whether something is missing the mark says. */
#include "origin/sqlite_group.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { JOURNAL_KIND = 0x4e47524f /* "ORGN" */, ROOM = 256 * 1024 };

/* ---- into it ---- */

static void log_cached(const mp__sqlite *s)
{
    mp__log(s->options.log, MP__LOG_DEBUG, "origin", "journal-cached",
            "the file system of %s takes no writes past the page cache (O_DIRECT): each sync of it "
            "takes a little longer",
            s->journal_path);
}

int mp__sqlite_journal_write(mp__sqlite *s, size_t first, uint64_t base, uint64_t revision)
{
    mp__sqlite_pending *p = &s->pending;
    mp__sqlite_staged *staged = p->rows + first;
    size_t count = p->count - first, size = mp__sqlite_group_size(staged, count);
    bool direct = s->journal && mp__journal_is_direct(s->journal);
    char *block;
    int rc;

    if (!s->journal)
        return MP_EDEGRADED;
    if (size > MP__JOURNAL_RECORD_MAX)
        return MP_ELIMIT;
    rc = mp__sqlite_pending_reserve(p);
    if (rc)
        return rc;
    block = mp__malloc(size);
    if (!block)
        return MP_ENOMEM;
    mp__sqlite_group_encode(mp__origin_epoch(&s->base), base, revision, staged, count, block);
    mp__sqlite_pending_own(p, block, size);
    rc = mp__journal_add(s->journal, mp_str_new(block, size));
    if (rc == 0)
        rc = mp__journal_sync(s->journal);
    if (direct && !mp__journal_is_direct(s->journal))
        log_cached(s);
    return rc;
}

static mp_str nothing(void *context)
{
    (void)context;
    return (mp_str){NULL, 0};
}

int mp__sqlite_journal_renew(mp__sqlite *s)
{
    return s->journal ? mp__journal_renew(s->journal, nothing, NULL) : 0;
}

int mp__sqlite_journal_restart(mp__sqlite *s)
{
    return mp__journal_restart(s->journal);
}

/* ---- out of it ---- */

typedef struct replay {
    mp__sqlite *s;
    mp__sqlite_batch batch; /* from the first group on that is new */
    int failed;             /* in bringing one in */
    uint64_t revision;      /* as far as the database and the groups so far go */
    uint64_t most;          /* nothing above it was acknowledged */
    uint64_t groups;
    bool is_foreign; /* of another epoch */
    bool has_gap;    /* groups between the database and it are missing */
} replay;

static int replay_changes(replay *r, mp__sqlite_group *group)
{
    mp__sqlite_row row;
    uint64_t ignored;
    int rc;

    while ((rc = mp__sqlite_group_next(group, &row)) == 1) {
        if (row.record.revision <= r->revision)
            continue;
        rc = mp__sqlite_change_find(&r->batch, &row, &ignored);
        if (rc == 0)
            rc = mp__sqlite_pending_add(&r->s->pending, &row);
        if (rc)
            return rc;
    }
    return rc;
}

/* A group that follows on what there is. */
static int replay_group(replay *r, mp_str record)
{
    mp__sqlite_pending *p = &r->s->pending;
    mp__sqlite_group group;
    char *copy = NULL;
    int rc = 0;

    if (r->groups == 0) {
        rc = mp__sqlite_batch_begin(&r->batch, r->s, false);
        if (rc == 0 && r->revision < r->batch.revision) { /* another daemon was first */
            r->revision = r->batch.revision;
            mp__sqlite_batch_rollback(&r->batch);
            return 0;
        }
    }
    if (rc == 0)
        rc = mp__sqlite_pending_reserve(p);
    if (rc == 0 && !(copy = mp__str_dup(record)))
        rc = MP_ENOMEM;
    if (rc)
        return rc;
    mp__sqlite_pending_own(p, copy, record.size);
    rc = mp__sqlite_group_decode(mp_str_new(copy, record.size), &group);
    if (rc == 0)
        rc = replay_changes(r, &group);
    if (rc == 0) {
        r->revision = p->revision = group.revision;
        r->groups++;
    }
    return rc;
}

/* One record of the journal. */
static int replay_record(void *context, mp_str record)
{
    replay *r = context;
    mp__sqlite_group group;

    if (mp__sqlite_group_decode(record, &group) != 0) {
        r->has_gap = true; /* whole by its sum, and yet nothing that we would write */
        return 0;
    }
    r->is_foreign |= memcmp(group.epoch.data, mp__origin_epoch(&r->s->base), 32) != 0;
    if (r->is_foreign || r->has_gap || group.revision <= r->revision || group.revision > r->most)
        return 0;
    r->has_gap = group.base > r->revision;
    if (!r->has_gap)
        r->failed = replay_group(r, record);
    return r->failed;
}

static int open_file(mp__sqlite *s, replay *r, mp__diag *diag)
{
    int rc = mp__journal_open(s->env, s->journal_path, JOURNAL_KIND, replay_record, r, &s->journal,
                              NULL, diag);

    if (rc == 0)
        mp__journal_set_room(s->journal, ROOM);
    if (rc == 0 && !mp__journal_is_direct(s->journal))
        log_cached(s);
    return rc;
}

static replay replay_begin(mp__sqlite *s, uint64_t most)
{
    return (replay){.s = s, .most = most, .revision = s->stored};
}

/* While the disk is full the same comes out of it at each attempt: that is told once. */
static void log_replayed(mp__sqlite *s, const replay *r)
{
    if (s->replayed.changes == s->pending.count && s->replayed.revision == r->revision)
        return;
    s->replayed.changes = s->pending.count;
    s->replayed.revision = r->revision;
    mp__log(s->options.log, MP__LOG_INFO, "origin", "replayed",
            "%zu changes of %" PRIu64 " commits came out of %s, up to revision %" PRIu64,
            s->pending.count, r->groups, s->journal_path, r->revision);
}

static int replay_end(replay *r, int rc)
{
    mp__sqlite *s = r->s;

    if (rc == 0 && s->pending.count) {
        log_replayed(s, r);
        atomic_store_explicit(&s->unflushed, true, memory_order_release);
    } else {
        mp__sqlite_pending_clear(&s->pending);
        mp__sqlite_transaction_end(s);
    }
    mp__sqlite_batch_done(&r->batch);
    return rc;
}

int mp__sqlite_journal_merge(mp__sqlite *s, mp__diag *diag)
{
    replay r = replay_begin(s, UINT64_MAX);
    int rc = mp__journal_read(s->env, s->journal_path, JOURNAL_KIND, replay_record, &r, diag);

    if (rc == MP_EABSENT)
        rc = 0;
    s->journal_damaged = rc == MP_ECORRUPT && !r.failed;
    rc = replay_end(&r, rc);
    if (s->journal_damaged && diag) {
        mp__diag why = *diag;

        (void)mp__diag_set(diag, rc,
                           "acknowledged writes may be in a journal that cannot be read: %s, to go "
                           "on with what the database has",
                           why.text);
    }
    return rc;
}

static int leave_record(void *context, mp_str record)
{
    (void)context;
    (void)record;
    return 0;
}

bool mp__sqlite_journal_is_damaged(mp_env *env, const char *path)
{
    return mp__journal_read(env, path, JOURNAL_KIND, leave_record, NULL, NULL) == MP_ECORRUPT;
}

int mp__sqlite_share(mp__sqlite *s, mp__diag *diag)
{
    int64_t revision = 0;
    /* who has a journal brings all of it into the database before he lets us have the lock */
    int rc = mp__sqlite_exec(&s->write_db, "INSERT OR REPLACE INTO meta VALUES('shared', 1)");

    s->journal = mp__journal_close(s->journal);
    s->shared = rc == 0;
    if (rc == 0)
        rc = mp__sqlite_number(&s->write_db, MP__SQL_REVISION, &revision);
    if (rc == 0)
        s->stored = (uint64_t)revision;
    return rc ? rc : mp__sqlite_journal_merge(s, diag);
}

/* A journal that cannot be begun, for want of room or rights, is done without: each commit then is
 * one of the database. One that is there and cannot be read may hold what was acknowledged. */
static bool may_do_without(mp__sqlite *s)
{
    mp__stat stat;
    int rc = mp__env_stat(s->env, s->journal_path, &stat);

    return rc == -ENOENT || (rc == 0 && stat.size == 0);
}

static int begin_anew(mp__sqlite *s, const char *cause, mp__diag *diag)
{
    int rc;

    s->journal = mp__journal_close(s->journal);
    rc = mp__sqlite_journal_aside(s);
    if (rc)
        return mp__diag_set(diag, rc, "'%s' %s, and cannot be moved aside: %s", s->journal_path,
                            cause, mp_strerror(rc));
    mp__log(s->options.log, MP__LOG_WARN, "origin", "journal-aside",
            "%s %s; it was moved aside and is not used", s->journal_path, cause);
    return open_file(s, NULL, diag);
}

/* What the journal beside a database has that makes it unfit to be gone on with; NULL: nothing. */
static const char *why_unfit(const replay *r, int rc)
{
    if (rc == MP_ECORRUPT && !r->failed)
        return "is damaged";
    if (rc == 0 && r->is_foreign)
        return "belongs to another life of the database";
    return rc == 0 && r->has_gap ? "does not go on from where the database is" : NULL;
}

int mp__sqlite_journal_open(mp__sqlite *s, uint64_t most, mp__diag *diag)
{
    replay r = replay_begin(s, most);
    const char *unfit;
    int rc;

    s->journal = mp__journal_close(s->journal);
    rc = open_file(s, &r, diag);
    unfit = why_unfit(&r, rc);
    rc = replay_end(&r, unfit ? 0 : rc);
    if (rc == 0 && unfit)
        rc = mp__sqlite_flush(s); /* else what was good of it would stand nowhere */
    if (rc == 0 && unfit)
        rc = begin_anew(s, unfit, diag);
    if (rc && rc != MP_ENOMEM && rc != MP_EVERSION && s->pending.count == 0 && may_do_without(s))
        rc = 0;
    if (rc == 0)
        *diag = (mp__diag){0};
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A group of changes: what becomes of it, and how it is committed. By way of the journal: its
 * changes are written and synced there as one record, and wait to go into the database with others
 * (sqlite_pending.c). Or, when it is large, to the database itself. */
#include "origin/sqlite.h"

#include <errno.h>

#include "core/address.h"

/* ---- the batch and what its results point into ---- */

int mp__sqlite_batch_add(mp__sqlite_batch *batch, mp__write *write, const mp__record *record)
{
    if (mp__grow(&batch->outcomes, batch->count, &batch->capacity, sizeof(*batch->outcomes)) != 0)
        return MP_ENOMEM;
    batch->outcomes[batch->count] = (mp__sqlite_outcome){.write = write};
    if (record)
        batch->outcomes[batch->count].record = *record;
    batch->count++;
    return 0;
}

int mp__sqlite_keep_str(mp__sqlite_batch *batch, mp_str *text)
{
    char *copy;

    if (mp__grow(&batch->kept, batch->kept_count, &batch->kept_capacity, sizeof(*batch->kept)) != 0)
        return MP_ENOMEM;
    copy = mp__str_dup(*text);
    if (!copy)
        return MP_ENOMEM;
    batch->kept[batch->kept_count++] = copy;
    text->data = copy;
    return 0;
}

int mp__sqlite_keep_record(mp__sqlite_batch *batch, mp__record *record)
{
    int rc = mp__sqlite_keep_str(batch, &record->address);

    if (rc == 0)
        rc = mp__sqlite_keep_str(batch, &record->media_type);
    return rc ? rc : mp__sqlite_keep_str(batch, &record->value);
}

static void forget_results(mp__sqlite_batch *batch)
{
    for (size_t i = 0; i < batch->kept_count; i++)
        (void)mp__free(batch->kept[i]);
    batch->kept_count = batch->count = 0;
}

void mp__sqlite_batch_done(mp__sqlite_batch *batch)
{
    forget_results(batch);
    (void)mp__free(batch->kept);
    (void)mp__free(batch->outcomes);
}

/* ---- the commit ---- */

static int begin_direct(mp__sqlite *s)
{
    int rc = mp__sqlite_flush(s);

    if (rc == 0)
        rc = mp__sqlite_sync_commits(&s->write_db, true);
    return rc ? rc : mp__sqlite_transaction_begin(s);
}

/* Where other daemons have the database open nothing may wait: they are to read it, too. One says
 * so in the database itself (mp__sqlite_share()), which is seen when a transaction begins. */
int mp__sqlite_batch_begin(mp__sqlite_batch *batch, mp__sqlite *s, bool direct)
{
    int rc;

    direct |= s->shared || !s->journal;
    rc = direct ? begin_direct(s) : mp__sqlite_transaction_begin(s);
    if (rc == 0 && s->shared && !direct) {
        direct = true;
        rc = begin_direct(s);
    }
    *batch = (mp__sqlite_batch){
        .s = s, .db = &s->write_db, .now_ms = mp__env_wall_ms(s->env), .is_direct = direct};
    batch->revision = batch->first_revision = s->pending.revision;
    batch->first = s->pending.count;
    if (rc)
        mp__sqlite_batch_rollback(batch);
    return rc;
}

/* The transaction goes on as long as others wait to be written in it. */
static void leave(mp__sqlite_batch *batch)
{
    mp__sqlite *s = batch->s;

    if (s->pending.count == 0)
        mp__sqlite_transaction_end(s);
    if (batch->is_direct && s->write_db.db && !s->shared)
        (void)mp__sqlite_sync_commits(&s->write_db, false);
    batch->is_direct = false;
}

void mp__sqlite_batch_rollback(mp__sqlite_batch *batch)
{
    mp__sqlite_pending_cut(&batch->s->pending, batch->first);
    leave(batch);
}

static int commit(mp__sqlite_batch *batch)
{
    mp__sqlite *s = batch->s;
    int rc;

    if (!batch->is_direct && s->journal) {
        rc = mp__sqlite_journal_write(s, batch->first, batch->first_revision, batch->revision);
        if (rc == 0)
            s->pending.revision = batch->revision;
        return rc;
    }
    s->pending.revision = batch->revision;
    rc = mp__sqlite_apply(s);
    if (rc)
        s->pending.revision = batch->first_revision;
    return rc;
}

static void note_key(mp__sqlite *s, mp_str address, int64_t more)
{
    mp_str scope = mp_str_new(address.data, mp__scope_size(address));

    mp__sqlite_count(&s->keys, (uint64_t)more);
    for (size_t i = 0; i < s->options.counted_count; i++)
        if (mp_str_equal(scope, mp_str_of(s->options.counted[i])))
            mp__sqlite_count(&s->keys_of[i], (uint64_t)more);
}

static void note_keys(mp__sqlite *s, size_t first)
{
    const mp__sqlite_pending *p = &s->pending;

    for (size_t i = first; i < p->count; i++)
        if (p->rows[i].keys)
            note_key(s, p->rows[i].row.record.address, p->rows[i].keys);
}

void mp__sqlite_count_pending(mp__sqlite *s)
{
    note_keys(s, 0);
}

/* How many keys there were, to be said again when a commit fails. */
typedef struct counts {
    uint64_t keys, of[MP__ORIGIN_COUNTED_MAX];
} counts;

static counts counts_take(const mp__sqlite *s)
{
    counts c = {.keys = mp__sqlite_get(&s->keys)};

    for (size_t i = 0; i < s->options.counted_count; i++)
        c.of[i] = mp__sqlite_get(&s->keys_of[i]);
    return c;
}

static void counts_restore(mp__sqlite *s, const counts *c)
{
    mp__sqlite_set(&s->keys, c->keys);
    for (size_t i = 0; i < s->options.counted_count; i++)
        mp__sqlite_set(&s->keys_of[i], c->of[i]);
}

int mp__sqlite_batch_commit(mp__sqlite_batch *batch)
{
    mp__sqlite *s = batch->s;
    uint64_t began = mp__env_now_ns(s->env);
    counts before = counts_take(s);
    int rc;

    if (batch->revision == batch->first_revision && s->pending.count == batch->first) {
        mp__sqlite_batch_rollback(batch); /* nothing was changed: nothing to sync */
        return 0;
    }
    note_keys(s, batch->first);
    rc = commit(batch);
    if (rc) {
        counts_restore(s, &before);
        mp__sqlite_batch_rollback(batch);
        return rc;
    }
    if (s->pending.count)
        atomic_store_explicit(&s->unflushed, true, memory_order_release);
    leave(batch);
    if (s->acknowledged < batch->revision) /* else commits are being given back */
        s->acknowledged = batch->revision;
    mp__sqlite_mark_write(s, s->acknowledged);
    mp__sqlite_set(&s->revision, batch->revision);
    mp__sqlite_count(&s->commits, 1);
    mp__sqlite_set(&s->commit_ns, mp__env_now_ns(s->env) - began);
    return 0;
}

void mp__sqlite_batch_deliver(mp__sqlite_batch *batch)
{
    const mp__origin_options *options = &batch->s->options;

    mp__env_hold_wakes(batch->s->env); /* of loops and of L3: once for all of them */
    for (size_t i = 0; i < batch->count; i++) {
        mp__sqlite_outcome *outcome = &batch->outcomes[i];

        if (outcome->write)
            outcome->write->done(outcome->write, outcome->status);
        else if (options->on_change)
            options->on_change(options->context, &outcome->record);
    }
    mp__env_release_wakes(batch->s->env);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* conflicts.jsonl in the data directory: writes that were answered here and that the origin will
 * not have, a line each. Synced before the write leaves the queue. */
#include <inttypes.h>
#include <stdio.h>

#include "manager/write_back_internal.h"

enum { FILE_MAX = 64 * 1024 * 1024 };

static void add_line(const mp__pending *p, int64_t now_ms, mp__buf *out)
{
    mp__json_begin(out, '{');
    mp__json_add_i64(out, "ms", now_ms);
    mp__json_add_bytes(out, "address", mp__entry_address(p->entry));
    mp__json_add_text(out, "operation", p->entry->kind == MP__RECORD_VALUE ? "put" : "delete");
    if (p->entry->kind == MP__RECORD_VALUE) {
        mp__json_add_bytes(out, "value", mp_blob_str(&p->entry->blob.pub));
        mp__json_add_bytes(out, "media_type", mp__entry_media_type(p->entry));
    }
    if (p->entry->expires_ms)
        mp__json_add_i64(out, "expires_ms", p->entry->expires_ms);
    mp__json_add_bytes(out, "actor", mp_str_of(p->identity.name));
    mp__json_add_i64(out, "accepted_ms", p->accepted_ms);
    if (p->base_known)
        mp__json_add_u64(out, "over_revision", p->base);
    mp__json_add_u64(out, "found_revision", p->revision);
    mp__json_add_text(out, "cause", mp_strerror(p->status));
    mp__json_end(out, '}');
    (void)mp__buf_add_char(out, '\n');
}

static int open_file(mp__back_conflicts *conflicts, const mp__manager *manager)
{
    char path[4200];
    mp__stat stat;
    int rc;

    if (conflicts->file)
        return 0;
    (void)snprintf(path, sizeof(path), "%s/conflicts.jsonl", manager->data_dir);
    rc = mp__file_open(manager->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE, &conflicts->file);
    if (rc == 0)
        rc = mp__file_stat(conflicts->file, &stat);
    if (rc == 0)
        conflicts->bytes = stat.size;
    if (rc == 0)
        rc = mp__env_sync_dir(manager->env, manager->data_dir);
    return rc;
}

int mp__back_conflict_keep(mp__back_conflicts *conflicts, const mp__manager *manager,
                           const mp__pending *p)
{
    mp__buf line = MP__BUF_INIT;
    int rc = open_file(conflicts, manager);

    add_line(p, mp__env_wall_ms(manager->env), &line);
    if (rc == 0)
        rc = line.error;
    if (rc == 0 && conflicts->bytes + line.size > FILE_MAX)
        rc = MP_ELIMIT;
    if (rc == 0)
        rc = mp__file_pwrite(conflicts->file, line.data, line.size, conflicts->bytes);
    if (rc == 0)
        rc = mp__file_sync(conflicts->file);
    if (rc == 0)
        conflicts->bytes += line.size;
    else
        mp__back_conflicts_done(conflicts); /* begin again with the file as it is */
    mp__buf_done(&line);
    return rc;
}

void mp__back_conflict_tell(mp__manager *manager, const mp__pending *p)
{
    mp_str address = mp__entry_address(p->entry);

    mp__event_note(manager, "write-conflict", "%.*s: %s; the write is kept in conflicts.jsonl",
                   address.size > 80 ? 80 : (int)address.size, address.data,
                   mp_strerror(p->status));
    mp__log(manager->log, MP__LOG_WARN, "manager", "write-conflict",
            "%.*s: %s (over revision %" PRIu64 ", found %" PRIu64
            "); the write is kept in conflicts.jsonl",
            (int)address.size, address.data, mp_strerror(p->status), p->base, p->revision);
}

void mp__back_conflicts_done(mp__back_conflicts *conflicts)
{
    mp__file_close(conflicts->file);
    conflicts->file = NULL;
}

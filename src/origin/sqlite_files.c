/* SPDX-License-Identifier: Apache-2.0 */
/* The two small files beside the database, and moving remains aside.
 *
 * origin.id says that there was a database once, and which: without it nobody could tell a lost one
 * from a first start. origin.mark holds the newest revision that was acknowledged. It is written
 * after each commit and never synced, so that it can be behind the database but not ahead of it: a
 * database that is behind its mark has lost commits, whatever its own WAL says. */
#include "origin/sqlite.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>

#include "core/hash.h"

#define ID_FIRST "marketprism-origin "
enum { ID_VERSION = 1, ID_SIZE_MAX = 8192 };

/* ---- origin.id ---- */

/* The bytes after @name and a space up to the end of the line. */
static mp_str line_of(const char *text, const char *name)
{
    size_t size = strlen(name);

    while (text) {
        if (strncmp(text, name, size) == 0 && text[size] == ' ')
            return mp_str_new(text + size + 1, strcspn(text + size + 1, "\n"));
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    return (mp_str){NULL, 0};
}

static int id_parse(const char *text, size_t size, mp__sqlite_id *ret_id)
{
    mp_str version = line_of(text, "marketprism-origin"), epoch = line_of(text, "epoch");
    const char *last = strstr(text, "checksum ");
    char sum[17];

    if (version.size == 0 || strlen(text) != size || !last || epoch.size != 32)
        return MP_ECORRUPT;
    (void)snprintf(sum, sizeof(sum), "%016llx",
                   (unsigned long long)mp__checksum(0, text, (size_t)(last - text)));
    if (!mp_str_equal(line_of(last, "checksum"), mp_str_of(sum)))
        return MP_ECORRUPT;
    if (!mp_str_equal(version, MP_STR("1")))
        return MP_EVERSION;
    memcpy(ret_id->epoch, epoch.data, 32);
    ret_id->epoch[32] = '\0';
    return 0;
}

int mp__sqlite_id_read(mp__sqlite *s, mp__sqlite_id *ret_id)
{
    MP__CLEANUP_FREE char *text = NULL;
    size_t size = 0;
    int rc = mp__env_read_file(s->env, s->id_path, ID_SIZE_MAX, &text, &size);

    if (rc == -ENOENT)
        return MP_EABSENT;
    if (rc == MP_ENOMEM)
        return rc;
    /* unreadable is not absent: there was one */
    return rc ? MP_ECORRUPT : id_parse(text, size, ret_id);
}

int mp__sqlite_id_write(mp__sqlite *s, const char *epoch)
{
    size_t capacity = strlen(s->path) + 160;
    MP__CLEANUP_FREE char *text = mp__malloc(capacity);
    int size;

    if (!text)
        return MP_ENOMEM;
    size = snprintf(text, capacity, ID_FIRST "%d\nepoch %s\npath %s\n", ID_VERSION, epoch, s->path);
    size += snprintf(text + size, capacity - (size_t)size, "checksum %016llx\n",
                     (unsigned long long)mp__checksum(0, text, (size_t)size));
    return mp__env_write_file_atomic(s->env, s->id_path, text, (size_t)size);
}

/* ---- origin.mark ---- */

typedef struct mark {
    char magic[8];
    uint64_t revision, epoch, checksum; /* little endian */
} mark;

static mark mark_make(const char *epoch, uint64_t revision)
{
    mark m = {.magic = "MPMARK1",
              .revision = htole64(revision),
              .epoch = htole64(mp__checksum(0, epoch, strlen(epoch)))};

    m.checksum = htole64(mp__checksum(0, &m, offsetof(mark, checksum)));
    return m;
}

static int mark_open(mp__sqlite *s)
{
    return s->mark
               ? 0
               : mp__file_open(s->env, s->mark_path, MP__OPEN_WRITE | MP__OPEN_CREATE, &s->mark);
}

uint64_t mp__sqlite_mark_read(mp__sqlite *s, const char *epoch)
{
    mark m, same;

    if (mark_open(s) != 0 || mp__file_pread(s->mark, &m, sizeof(m), 0) != sizeof(m))
        return 0;
    same = mark_make(epoch, le64toh(m.revision));
    return memcmp(&m, &same, sizeof(m)) == 0 ? le64toh(m.revision) : 0;
}

void mp__sqlite_mark_write(mp__sqlite *s, uint64_t revision)
{
    mark m = mark_make(mp__origin_epoch(&s->base), revision);

    /* A mark that cannot be written guards less, and harms nobody. */
    if (mark_open(s) == 0)
        (void)mp__file_pwrite(s->mark, &m, sizeof(m), 0);
}

bool mp__sqlite_left_beside(mp__sqlite *s)
{
    mp__stat stat;

    return mp__env_stat(s->env, s->mark_path, &stat) == 0 ||
           mp__env_stat(s->env, s->journal_path, &stat) == 0;
}

/* ---- beginning anew ---- */

static int aside(mp__sqlite *s, const char *path, const char *ending, int64_t now_ms)
{
    size_t capacity = strlen(path) + strlen(ending) + 64;
    MP__CLEANUP_FREE char *from = mp__malloc(capacity), *to = mp__malloc(capacity);
    int rc;

    if (!from || !to)
        return MP_ENOMEM;
    (void)snprintf(from, capacity, "%s%s", path, ending);
    (void)snprintf(to, capacity, "%s.old-%lld%s", path, (long long)now_ms, ending);
    rc = mp__env_rename(s->env, from, to);
    return rc == -ENOENT ? 0 : rc;
}

int mp__sqlite_wal_aside(mp__sqlite *s)
{
    int64_t now = mp__env_wall_ms(s->env);
    int rc = aside(s, s->path, "-wal", now);

    return rc ? rc : aside(s, s->path, "-shm", now);
}

int mp__sqlite_journal_aside(mp__sqlite *s)
{
    int rc = aside(s, s->journal_path, "", mp__env_wall_ms(s->env));

    return rc ? rc : mp__env_sync_dir(s->env, s->folder);
}

int mp__sqlite_move_aside(mp__sqlite *s)
{
    int64_t now = mp__env_wall_ms(s->env);
    int rc = aside(s, s->path, "", now);

    /* "-wal" stays beside its database's new name, so that the old one can still be opened */
    if (rc == 0)
        rc = aside(s, s->path, "-wal", now);
    if (rc == 0)
        rc = aside(s, s->path, "-shm", now);
    if (rc == 0)
        rc = aside(s, s->id_path, "", now);
    if (rc == 0)
        rc = aside(s, s->mark_path, "", now);
    if (rc == 0)
        rc = aside(s, s->journal_path, "", now);
    return rc ? rc : mp__env_sync_dir(s->env, s->folder);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a database file from outside: its header, and the sum at the end of each page. See
 * the SQLite file format (sqlite.org/fileformat2.html, 1.3) for where things are in the header. */
#include <errno.h>
#include <stdio.h>

#include "origin/sqlite.h"

enum { TRIES = 3, RESERVED_AT = 20, PAGES_AT = 28, VERSION_AT = 60, APPLICATION_AT = 68 };

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A page that is being written just now holds at the next try. */
static bool page_holds(mp__file *file, uint64_t number)
{
    unsigned char page[MP__VFS_PAGE];

    for (int i = 0; i < TRIES; i++) {
        int64_t n = mp__file_pread(file, page, sizeof(page), (number - 1) * MP__VFS_PAGE);

        if (n == 0)
            return true; /* the file became shorter */
        if (n == MP__VFS_PAGE && mp__vfs_page_holds(page, number))
            return true;
    }
    return false;
}

static int examine_header(mp__file *file, mp__origin_examined *found)
{
    unsigned char head[100] = {0};
    int64_t n = mp__file_pread(file, head, sizeof(head), 0);

    if (n < 0)
        return (int)n;
    found->is_ours = n == sizeof(head) && memcmp(head, "SQLite format 3", 16) == 0 &&
                     big_endian(head + APPLICATION_AT) == MP__SQLITE_APPLICATION;
    found->version = (int)big_endian(head + VERSION_AT);
    if (found->is_ours && !found->has_wal && big_endian(head + PAGES_AT) > found->pages)
        found->pages_missing = big_endian(head + PAGES_AT) - found->pages;
    found->has_sums = head[RESERVED_AT] == MP__VFS_RESERVED;
    /* made, and not yet brought up to what was committed: all of it is in the WAL */
    if (!found->is_ours && found->has_wal &&
        (found->bytes == 0 || (big_endian(head + APPLICATION_AT) == 0 && found->version == 0))) {
        found->is_ours = true;
        found->version = MP__SQLITE_FORMAT;
    }
    return 0;
}

static void examine_pages(mp__file *file, uint64_t bytes_most, mp__origin_examined *found)
{
    uint64_t most = bytes_most / MP__VFS_PAGE;
    /* from the beginning, and where there are too many every so many-th of them */
    uint64_t step = most && found->pages > most ? (found->pages + most - 1) / most : 1;

    for (uint64_t number = 1; number <= found->pages; number += step) {
        found->pages_read++;
        if (page_holds(file, number))
            continue;
        if (!found->pages_damaged++)
            found->first_damaged = number;
    }
}

/* The name beside @path: "folder/origin.db", with @cut bytes less and @ending. NULL: no memory. */
static char *name_beside(const char *path, size_t cut, const char *ending)
{
    size_t size = strlen(path), capacity = size + strlen(ending) + 1;
    char *name = mp__malloc(capacity);

    if (name)
        (void)snprintf(name, capacity, "%.*s%s", (int)(size - cut), path, ending);
    return name;
}

/* Whether there is a file of that name. */
static bool is_beside(mp_env *env, const char *path, size_t cut, const char *ending)
{
    MP__CLEANUP_FREE char *name = name_beside(path, cut, ending);
    mp__stat stat;

    return name && mp__env_stat(env, name, &stat) == 0;
}

/* The bytes of ".db" at the end. */
static size_t ending_size(const char *path)
{
    size_t size = strlen(path);

    return size > 3 && strcmp(path + size - 3, ".db") == 0 ? 3 : 0;
}

static bool is_journal_damaged(mp_env *env, const char *path)
{
    MP__CLEANUP_FREE char *name = name_beside(path, ending_size(path), ".journal");

    return name && mp__sqlite_journal_is_damaged(env, name);
}

static bool left_something(mp_env *env, const char *path)
{
    size_t cut = ending_size(path);

    return is_beside(env, path, cut, ".id") || is_beside(env, path, cut, ".mark") ||
           is_beside(env, path, cut, ".journal");
}

int mp__origin_examine(mp_env *env, const char *path, uint64_t bytes_most,
                       mp__origin_examined *ret_examined)
{
    mp__origin_examined found = {.was_there = left_something(env, path),
                                 .has_wal = is_beside(env, path, 0, "-wal"),
                                 .journal_damaged = is_journal_damaged(env, path)};
    mp__file *file;
    mp__stat stat;
    int rc = mp__file_open(env, path, MP__OPEN_READ, &file);

    if (rc == -ENOENT) {
        *ret_examined = found;
        return 0;
    }
    if (rc)
        return rc;
    rc = mp__file_stat(file, &stat);
    if (rc == 0) {
        found.there = true;
        found.bytes = stat.size;
        found.pages = stat.size / MP__VFS_PAGE;
        rc = examine_header(file, &found);
    }
    if (rc == 0 && found.is_ours && found.has_sums)
        examine_pages(file, bytes_most, &found);
    mp__file_close(file);
    if (rc == 0)
        *ret_examined = found;
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* L3's folder: its lock, its id and secret, its files.
 *
 * The id tells our segments from those of another folder that somebody copied here; the secret keys
 * hashes and sums. Both stand in l3.id and again in the head of every segment, so that a damaged
 * l3.id costs nothing. */
#include "cache/l3_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ID_BYTES = 64, ID_VERSION = 1 };
static const char id_magic[8] = "MPL3ID";

/* ---- the lock ---- */

/* On a disk that can only be read the lock file is opened so, too; where there is none, nobody else
 * can make one. */
static int lock_open(mp__l3 *l3, const char *path)
{
    int rc = mp__file_open(l3->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE, &l3->lock_file);

    if (rc == -EROFS || rc == -EACCES) {
        rc = mp__file_open(l3->env, path, MP__OPEN_READ, &l3->lock_file);
        if (rc == -ENOENT)
            return 0;
    }
    return rc;
}

int mp__l3_folder_lock(mp__l3 *l3, mp__diag *diag)
{
    char path[MP__L3_PATH_MAX];
    int rc = mp__env_mkdir(l3->env, l3->dir);

    (void)snprintf(path, sizeof(path), "%s/l3.lock", l3->dir);
    if (rc == 0 && !l3->lock_file)
        rc = lock_open(l3, path);
    if (rc == 0 && l3->lock_file)
        rc = mp__file_lock(l3->lock_file);
    if (rc && l3->lock_file) {
        mp__file_close(l3->lock_file);
        l3->lock_file = NULL;
    }
    return rc == MP_ELOCKED
               ? mp__diag_set(diag, rc,
                              "%s belongs to another process; stop that or use another folder",
                              l3->dir)
               : rc;
}

/* ---- the files ---- */

static int numbers_add(mp__l3_numbers *list, uint64_t number)
{
    if (mp__grow(&list->items, list->count, &list->capacity, sizeof(*list->items)) != 0)
        return MP_ENOMEM;
    list->items[list->count++] = number;
    return 0;
}

/* "l3-<digits><ending>" */
static bool name_is(const char *name, const char *ending, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *p = name + 3;

    if (strncmp(name, "l3-", 3) != 0)
        return false;
    while (*p >= '0' && *p <= '9' && p - name < 18)
        number = number * 10 + (uint64_t)(*p++ - '0');
    if (p == name + 3 || strcmp(p, ending) != 0)
        return false;
    *ret_number = number;
    return true;
}

typedef struct listing {
    mp__l3_numbers segments, bad;
} listing;

static int note_name(void *context, const char *name)
{
    listing *l = context;
    uint64_t number;

    if (name_is(name, ".seg", &number))
        return numbers_add(&l->segments, number);
    if (name_is(name, ".seg.bad", &number))
        return numbers_add(&l->bad, number);
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return (x > y) - (x < y);
}

static void sort_numbers(mp__l3_numbers *list)
{
    if (list->count)
        qsort(list->items, list->count, sizeof(*list->items), compare_numbers);
}

/* Files that were set aside count as bytes of the folder. They wait for somebody who wants to look
 * at them, but not at the cost of what is kept: past an eighth of the bound the oldest go. */
static void count_bad(mp__l3 *l3, const mp__l3_numbers *bad)
{
    char path[MP__L3_PATH_MAX], aside[MP__L3_PATH_MAX + 8];
    uint64_t sum = 0;
    mp__stat stat;

    for (size_t i = bad->count; i-- > 0;) {
        mp__l3_segment_path(l3, bad->items[i], path);
        (void)snprintf(aside, sizeof(aside), "%s.bad", path);
        if (mp__env_stat(l3->env, aside, &stat) != 0)
            continue;
        if (sum + stat.size > l3->bytes_max / 8 && mp__env_unlink(l3->env, aside) == 0) {
            mp__l3_count(&l3->forgotten, 1);
            continue;
        }
        sum += stat.size;
    }
    mp__l3_count(&l3->bytes, sum);
}

int mp__l3_folder_list(mp__l3 *l3, mp__l3_numbers *ret_numbers)
{
    listing l = {0};
    int rc = mp__env_list(l3->env, l3->dir, note_name, &l);

    if (rc == 0) {
        sort_numbers(&l.segments);
        sort_numbers(&l.bad);
        l3->next_number = 1;
        if (l.segments.count)
            l3->next_number = l.segments.items[l.segments.count - 1] + 1;
        if (l.bad.count && l.bad.items[l.bad.count - 1] >= l3->next_number)
            l3->next_number = l.bad.items[l.bad.count - 1] + 1;
        count_bad(l3, &l.bad);
        *ret_numbers = l.segments;
    } else {
        (void)mp__free(l.segments.items);
    }
    (void)mp__free(l.bad.items);
    return rc;
}

void mp__l3_folder_set_aside(mp__l3 *l3, uint64_t number)
{
    char path[MP__L3_PATH_MAX], aside[MP__L3_PATH_MAX + 8];
    mp__stat stat;

    mp__l3_segment_path(l3, number, path);
    (void)snprintf(aside, sizeof(aside), "%s.bad", path);
    if (mp__env_stat(l3->env, path, &stat) == 0)
        mp__l3_count(&l3->bytes, stat.size);
    (void)mp__env_rename(l3->env, path, aside);
    mp__l3_count(&l3->corrupt, 1);
}

/* ---- id and secret ---- */

typedef struct identity {
    unsigned char folder[16];
    mp__hash_key secret;
} identity;

static int id_write(mp__l3 *l3, const char *path, const identity *id)
{
    unsigned char bytes[ID_BYTES] = {0};
    uint64_t sum;

    memcpy(bytes, id_magic, 8);
    bytes[8] = ID_VERSION;
    memcpy(bytes + 16, id->folder, 16);
    memcpy(bytes + 32, &id->secret, 16);
    sum = mp__checksum(0, bytes, 56);
    memcpy(bytes + 56, &sum, 8);
    return mp__env_write_file_atomic(l3->env, path, bytes, sizeof(bytes));
}

/* 0; MP_ECORRUPT; MP_EVERSION; -ENOENT and other errors of the disk. */
static int id_read(mp__l3 *l3, const char *path, identity *ret_id)
{
    MP__CLEANUP_FREE char *data = NULL;
    size_t size = 0;
    uint64_t sum;
    int rc = mp__env_read_file(l3->env, path, 4096, &data, &size);

    if (rc)
        return rc == MP_ELIMIT ? MP_ECORRUPT : rc;
    if (size != ID_BYTES || memcmp(data, id_magic, 8) != 0)
        return MP_ECORRUPT;
    memcpy(&sum, data + 56, 8);
    if (sum != mp__checksum(0, data, 56))
        return MP_ECORRUPT;
    if ((unsigned char)data[8] > ID_VERSION)
        return MP_EVERSION;
    memcpy(ret_id->folder, data + 16, 16);
    memcpy(&ret_id->secret, data + 32, 16);
    return 0;
}

/* The youngest segment that has a head says who we are. */
static int id_from_segments(mp__l3 *l3, const mp__l3_numbers *numbers, identity *ret_id)
{
    for (size_t i = numbers->count; i-- > 0;) {
        unsigned char bytes[MP__L3_SEGMENT_HEAD];
        char path[MP__L3_PATH_MAX];
        mp__l3_segment_head head;
        mp__file *file;
        int64_t n;

        mp__l3_segment_path(l3, numbers->items[i], path);
        if (mp__file_open(l3->env, path, MP__OPEN_READ, &file) != 0)
            continue;
        n = mp__file_pread(file, bytes, sizeof(bytes), 0);
        mp__file_close(file);
        if (n > 0 && mp__l3_head_read(bytes, (size_t)n, &head) == 0) {
            memcpy(ret_id->folder, head.folder, 16);
            ret_id->secret = head.made_of;
            return 0;
        }
    }
    return MP_EUNKNOWN;
}

void mp__l3_set_secret(mp__l3 *l3, mp__hash_key secret)
{
    l3->secret = secret;
    l3->hash_key = mp__hasher_secret(secret, l3->hashes_fast);
    mp__hasher_init(&l3->hasher, l3->hash_key, l3->hashes_fast);
}

int mp__l3_folder_again(mp__l3 *l3)
{
    char path[MP__L3_PATH_MAX];
    identity id = {.secret = l3->secret};
    int rc;

    mp__file_close(l3->lock_file); /* of a file that has no name any more */
    l3->lock_file = NULL;
    rc = mp__l3_folder_lock(l3, NULL);
    if (rc)
        return rc;
    memcpy(id.folder, l3->folder, sizeof(id.folder));
    (void)snprintf(path, sizeof(path), "%s/l3.id", l3->dir);
    (void)id_write(l3, path, &id); /* every segment carries it, too */
    return 0;
}

int mp__l3_folder_id(mp__l3 *l3, const mp__l3_numbers *numbers, mp__diag *diag)
{
    static const mp__hash_key none;
    char path[MP__L3_PATH_MAX];
    identity id;
    int rc;

    (void)snprintf(path, sizeof(path), "%s/l3.id", l3->dir);
    rc = id_read(l3, path, &id);
    if (rc == MP_EVERSION)
        return mp__diag_set(diag, rc,
                            "%s was written by a newer version of marketprism; start that version, "
                            "or move the folder away to begin with an empty cache",
                            path);
    if (rc == MP_ENOMEM)
        return rc;
    if (rc == MP_ECORRUPT)
        mp__l3_count(&l3->corrupt, 1);
    if (rc) {
        if (id_from_segments(l3, numbers, &id) != 0) {
            mp__env_random(l3->env, id.folder, sizeof(id.folder));
            mp__env_random(l3->env, &id.secret, sizeof(id.secret));
        }
        (void)id_write(l3, path, &id); /* every segment carries it, too */
    }
    memcpy(l3->folder, id.folder, sizeof(l3->folder));
    if (memcmp(&l3->secret, &none, sizeof(none)) == 0)
        mp__l3_set_secret(l3, id.secret);
    return 0;
}

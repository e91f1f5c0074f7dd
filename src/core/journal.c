/* SPDX-License-Identifier: Apache-2.0 */
#include "core/journal.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

enum { HEAD = MP__JOURNAL_HEAD, RECORD_HEAD = 16, MARK = 0x4c4e524a /* "JRNL" */ };
enum { KEPT_MAX = 1024 * 1024 }; /* bytes of memory that a journal keeps for the next records */
#define FILE_MAX ((size_t)1 << 30)

static const char magic[8] = {'M', 'P', 'J', 'O', 'U', 'R', 'N', 'L'};

typedef struct head {
    char magic[8];
    uint32_t version, kind;
    uint64_t secret[2];
    uint64_t sum;
} head;
_Static_assert(sizeof(head) == HEAD, "as it is on disk");

struct mp__journal {
    mp_env *env;
    char *path;
    mp__file *file;
    uint32_t kind;
    mp__hash_key secret;
    uint64_t size;    /* synced bytes of the file */
    uint64_t written; /* so far the file has bytes: at least @size */
    size_t room;      /* a step in which it is written ahead; 0: it is not */
    mp__buf added;
    bool broken;
};

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* ---- bytes ---- */

static uint64_t sum_of(mp__hash_key secret, uint64_t at, const char *record, size_t size)
{
    uint64_t place[3] = {htole64(secret.k0), htole64(secret.k1), htole64(at)};

    return mp__checksum(mp__checksum(0, place, sizeof(place)), record + 8, RECORD_HEAD - 8 + size);
}

/* The size of the record at @at, or -1 when there is none that holds. */
static int64_t record_at(mp__hash_key secret, const char *data, size_t size, size_t at)
{
    uint64_t sum;
    uint32_t bytes, mark;

    if (size - at < RECORD_HEAD)
        return -1;
    memcpy(&sum, data + at, 8);
    memcpy(&bytes, data + at + 8, 4);
    memcpy(&mark, data + at + 12, 4);
    bytes = le32toh(bytes);
    if (le32toh(mark) != MARK || bytes > MP__JOURNAL_RECORD_MAX ||
        padded(bytes) > size - at - RECORD_HEAD ||
        le64toh(sum) != sum_of(secret, at, data + at, bytes))
        return -1;
    return (int64_t)bytes;
}

static int add_record(mp__buf *out, mp__hash_key secret, uint64_t at, mp_str record)
{
    static const char zeros[8];
    uint32_t size = htole32((uint32_t)record.size), mark = htole32(MARK);
    size_t begin = out->size;
    uint64_t sum;

    if (record.size > MP__JOURNAL_RECORD_MAX)
        return MP_ELIMIT;
    (void)mp__buf_add(out, zeros, 8);
    (void)mp__buf_add(out, &size, 4);
    (void)mp__buf_add(out, &mark, 4);
    (void)mp__buf_add_str(out, record);
    (void)mp__buf_add(out, zeros, padded(record.size) - record.size);
    if (out->error) { /* what was there before stays whole */
        out->size = begin;
        out->error = 0;
        return MP_ENOMEM;
    }
    sum = htole64(sum_of(secret, at, out->data + begin, record.size));
    memcpy(out->data + begin, &sum, 8);
    return 0;
}

static void head_make(mp_env *env, uint32_t kind, head *h, mp__hash_key *ret_secret)
{
    memcpy(h->magic, magic, sizeof(magic));
    h->version = htole32(MP__JOURNAL_VERSION);
    h->kind = htole32(kind);
    mp__env_random(env, h->secret, sizeof(h->secret));
    h->sum = htole64(mp__checksum(0, h, offsetof(head, sum)));
    *ret_secret = (mp__hash_key){le64toh(h->secret[0]), le64toh(h->secret[1])};
}

/* ---- opening ---- */

static int head_read(const char *path, const char *data, size_t size, uint32_t kind,
                     mp__hash_key *ret_secret, mp__diag *diag)
{
    head h;

    if (size < HEAD)
        return MP_EAGAIN; /* the first write was not finished */
    memcpy(&h, data, HEAD);
    if (memcmp(h.magic, magic, sizeof(magic)) != 0)
        return mp__diag_set(diag, MP_ECORRUPT, "%s is no journal; move it away", path);
    if (le32toh(h.version) > MP__JOURNAL_VERSION)
        return mp__diag_set(diag, MP_EVERSION,
                            "%s was written by a newer version of marketprism (format %u, this "
                            "one knows %d)",
                            path, le32toh(h.version), MP__JOURNAL_VERSION);
    if (le64toh(h.sum) != mp__checksum(0, &h, offsetof(head, sum)) || le32toh(h.kind) != kind)
        return mp__diag_set(diag, MP_ECORRUPT,
                            "the head of %s is damaged, or it is of another kind; move it away",
                            path);
    *ret_secret = (mp__hash_key){le64toh(h.secret[0]), le64toh(h.secret[1])};
    return 0;
}

static int records_read(mp__journal *journal, const char *data, size_t size,
                        int (*each)(void *context, mp_str record), void *context,
                        mp__journal_found *found)
{
    size_t at = HEAD, bad_from = 0;
    int rc = 0;

    journal->size = HEAD;
    while (at < size && rc == 0) {
        int64_t bytes = record_at(journal->secret, data, size, at);

        if (bytes < 0) {
            if (!bad_from)
                bad_from = at;
            at += 8;
            continue;
        }
        found->damaged += bad_from != 0;
        bad_from = 0;
        found->records++;
        rc = each(context, mp_str_new(data + at + RECORD_HEAD, (size_t)bytes));
        at += RECORD_HEAD + padded((size_t)bytes);
        journal->size = at;
    }
    found->cut = size - journal->size;
    journal->written = size;
    return rc;
}

static int begin_file(mp__journal *journal, mp__file *file)
{
    head h;
    int rc;

    head_make(journal->env, journal->kind, &h, &journal->secret);
    rc = mp__file_truncate(file, 0);
    if (rc == 0)
        rc = mp__file_pwrite(file, &h, HEAD, 0);
    if (rc == 0)
        rc = mp__file_sync(file);
    journal->size = journal->written = HEAD;
    return rc;
}

static int sync_parent(mp_env *env, const char *path)
{
    const char *slash = strrchr(path, '/');
    MP__CLEANUP_FREE char *parent = mp__str_dup(
        slash ? mp_str_new(path, slash == path ? 1 : (size_t)(slash - path)) : MP_STR("."));

    return parent ? mp__env_sync_dir(env, parent) : MP_ENOMEM;
}

static int keep_evidence(mp__journal *journal, const char *data, size_t size)
{
    size_t capacity = strlen(journal->path) + 8;
    MP__CLEANUP_FREE char *aside = mp__malloc(capacity);

    if (!aside)
        return MP_ENOMEM;
    (void)snprintf(aside, capacity, "%s.bad", journal->path);
    return mp__env_write_file_atomic(journal->env, aside, data, size);
}

static int take_up(mp__journal *journal, int (*each)(void *context, mp_str record), void *context,
                   mp__journal_found *found, mp__diag *diag)
{
    MP__CLEANUP_FREE char *data = NULL;
    size_t size = 0;
    int rc = mp__env_read_file(journal->env, journal->path, FILE_MAX, &data, &size);

    if (rc == 0)
        rc = head_read(journal->path, data, size, journal->kind, &journal->secret, diag);
    else if (rc == -ENOENT)
        rc = MP_EAGAIN;
    if (rc == 0)
        rc = records_read(journal, data, size, each, context, found);
    if (rc == 0 && found->damaged)
        rc = keep_evidence(journal, data, size);
    if (rc && rc != MP_EAGAIN)
        return rc;
    if (rc == 0)
        return mp__file_open(journal->env, journal->path, MP__OPEN_WRITE, &journal->file);
    rc = mp__file_open(journal->env, journal->path, MP__OPEN_WRITE | MP__OPEN_CREATE,
                       &journal->file);
    if (rc == 0)
        rc = begin_file(journal, journal->file);
    return rc ? rc : sync_parent(journal->env, journal->path);
}

static int cut_behind(mp__journal *journal)
{
    journal->written = journal->size;
    return mp__file_truncate(journal->file, journal->size);
}

int mp__journal_open(mp_env *env, const char *path, uint32_t kind,
                     int (*each)(void *context, mp_str record), void *context,
                     mp__journal **ret_journal, mp__journal_found *ret_found, mp__diag *diag)
{
    mp__journal *journal = mp__calloc(1, sizeof(*journal));
    mp__journal_found found = {0};
    int rc = MP_ENOMEM;

    if (!journal)
        return rc;
    journal->env = env;
    journal->kind = kind;
    journal->path = mp__strdup(path);
    if (journal->path)
        rc = take_up(journal, each, context, &found, diag);
    if (rc == 0 && found.cut) /* else what is written next would stand behind rubble */
        rc = cut_behind(journal);
    if (rc) {
        (void)mp__journal_close(journal);
        return diag && diag->text[0]
                   ? rc
                   : mp__diag_set(diag, rc, "cannot use %s: %s", path, mp_strerror(rc));
    }
    if (ret_found)
        *ret_found = found;
    *ret_journal = journal;
    return 0;
}

int mp__journal_read(mp_env *env, const char *path, uint32_t kind,
                     int (*each)(void *context, mp_str record), void *context, mp__diag *diag)
{
    MP__CLEANUP_FREE char *data = NULL;
    mp__journal reading = {.env = env, .kind = kind};
    mp__journal_found found = {0};
    size_t size = 0;
    int rc = mp__env_read_file(env, path, FILE_MAX, &data, &size);

    if (rc == 0)
        rc = head_read(path, data, size, kind, &reading.secret, diag);
    else if (rc == -ENOENT)
        rc = MP_EAGAIN;
    if (rc == 0)
        rc = records_read(&reading, data, size, each, context, &found);
    return rc == MP_EAGAIN ? MP_EABSENT : rc;
}

mp__journal *mp__journal_close(mp__journal *journal)
{
    if (!journal)
        return NULL;
    mp__file_close(journal->file);
    mp__buf_done(&journal->added);
    (void)mp__free(journal->path);
    return mp__free(journal);
}

/* ---- writing ---- */

int mp__journal_add(mp__journal *journal, mp_str record)
{
    if (journal->broken)
        return MP_EDEGRADED;
    return add_record(&journal->added, journal->secret, journal->size + journal->added.size,
                      record);
}

void mp__journal_drop(mp__journal *journal)
{
    mp__buf_reset(&journal->added);
}

void mp__journal_set_room(mp__journal *journal, size_t bytes)
{
    journal->room = bytes;
}

/* What was added, and zeros behind it. Where there is no place for them, or no memory, without. */
static int write_ahead(mp__journal *journal)
{
    size_t size = journal->added.size, ahead = journal->room;
    int rc = -ENOSPC;

    if (ahead && mp__buf_reserve(&journal->added, ahead) == 0) {
        memset(journal->added.data + size, 0, ahead);
        rc = mp__file_pwrite(journal->file, journal->added.data, size + ahead, journal->size);
    }
    if (rc == -ENOSPC || rc == -EDQUOT) {
        ahead = 0;
        journal->added.error = 0;
        rc = mp__file_pwrite(journal->file, journal->added.data, size, journal->size);
    }
    journal->written = journal->size + size + ahead;
    return rc;
}

int mp__journal_sync(mp__journal *journal)
{
    size_t size = journal->added.size;
    int rc;

    if (size == 0)
        return 0;
    if (journal->size + size > journal->written)
        rc = write_ahead(journal);
    else
        rc = mp__file_pwrite(journal->file, journal->added.data, size, journal->size);
    if (rc == 0)
        rc = mp__file_sync(journal->file);
    if (rc) {
        journal->broken = true;
        /* or the next start would take for done what was refused; one that cannot be cut off now
         * is left out by mp__journal_renew() */
        (void)cut_behind(journal);
    } else {
        journal->size += size;
    }
    if (journal->added.capacity > KEPT_MAX + journal->room)
        mp__buf_done(&journal->added);
    mp__journal_drop(journal);
    return rc;
}

int mp__journal_restart(mp__journal *journal)
{
    mp__hash_key secret;
    head h;
    int rc;

    if (journal->broken)
        return MP_EDEGRADED;
    mp__journal_drop(journal);
    head_make(journal->env, journal->kind, &h, &secret);
    rc = mp__file_pwrite(journal->file, &h, HEAD, 0);
    if (rc == 0)
        rc = mp__file_sync(journal->file);
    if (rc) {
        journal->broken = true; /* which of the two heads is there is not certain */
        return rc;
    }
    journal->secret = secret;
    journal->size = HEAD;
    return 0;
}

/* All of a new file's bytes. */
static int renewed_bytes(mp__journal *journal, mp_str (*next)(void *context), void *context,
                         mp__buf *bytes, mp__hash_key *ret_secret)
{
    head h;
    int rc;

    head_make(journal->env, journal->kind, &h, ret_secret);
    rc = mp__buf_add(bytes, &h, HEAD);
    for (mp_str record = next(context); rc == 0 && record.data; record = next(context))
        rc = add_record(bytes, *ret_secret, bytes->size, record);
    return rc;
}

int mp__journal_renew(mp__journal *journal, mp_str (*next)(void *context), void *context)
{
    mp__buf bytes = MP__BUF_INIT;
    mp__file *file = NULL;
    mp__hash_key secret;
    int rc = renewed_bytes(journal, next, context, &bytes, &secret);

    if (rc == 0)
        rc = mp__env_write_file_atomic(journal->env, journal->path, bytes.data, bytes.size);
    if (rc == 0)
        rc = mp__file_open(journal->env, journal->path, MP__OPEN_WRITE, &file);
    if (rc == 0) {
        mp__file_close(journal->file);
        journal->file = file;
        journal->secret = secret;
        journal->size = journal->written = bytes.size;
        journal->broken = false;
        mp__journal_drop(journal);
    } else {
        journal->broken = true; /* which of the two files is there is not certain */
    }
    mp__buf_done(&bytes);
    return rc;
}

uint64_t mp__journal_bytes(const mp__journal *journal)
{
    return journal->size;
}

bool mp__journal_is_broken(const mp__journal *journal)
{
    return journal->broken;
}

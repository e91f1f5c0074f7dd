/* SPDX-License-Identifier: Apache-2.0 */
#include "core/journal.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

enum { HEAD = MP__JOURNAL_HEAD, RECORD_HEAD = 16, MARK_1 = 0x4c4e524a /* of version 1 */ };
enum {
    KEPT_MAX = 1024 * 1024, /* bytes of memory that a journal keeps for the next records */
    WINDOW = 256 * 1024,    /* through which one is read */
    BLOCK = MP__DIRECT_BLOCK,
};
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
    uint32_t mark;    /* in front of its records */
    uint64_t size;    /* synced bytes of the file */
    uint64_t written; /* so far the file has bytes: at least @size */
    size_t room;      /* a step in which it is written ahead; 0: it is not */
    mp__buf added;
    bool broken;
    mp__file *direct; /* the same file past the page cache; NULL: it is written through that */
    struct {
        char *data; /* aligned, begins with the block in which the synced bytes end */
        size_t capacity;
        bool is_known; /* that block; else it is to be read */
    } tail;
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

/* What records of a file begin with comes from its secret, so that neither what is left of an
 * earlier life of the file nor a value that somebody wrote looks like one and is summed up in vain.
 */
static uint32_t mark_of(mp__hash_key secret, uint32_t version)
{
    const uint64_t parts[2] = {htole64(secret.k0), htole64(secret.k1)};

    return version == 1 ? MARK_1 : (uint32_t)mp__checksum(1, parts, sizeof(parts));
}

static int add_record(mp__buf *out, mp__hash_key secret, uint32_t with_mark, uint64_t at,
                      mp_str record)
{
    static const char zeros[8];
    uint32_t size = htole32((uint32_t)record.size), mark = htole32(with_mark);
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

/* A file that is read from its beginning to its end through a window, whose memory is used again:
 * to touch as much new memory as a long journal has takes longer than reading it. */
typedef struct reader {
    mp__file *file;
    char *data;      /* the window */
    uint64_t size;   /* of the file */
    uint64_t begins; /* the window, in the file */
    size_t have, capacity;
} reader;

static int reader_open(mp_env *env, const char *path, reader *r)
{
    mp__stat stat;
    int rc = mp__file_open(env, path, MP__OPEN_READ, &r->file);

    if (rc)
        return rc;
    rc = mp__file_stat(r->file, &stat);
    if (rc == 0 && stat.is_dir)
        rc = -EISDIR;
    if (rc == 0 && stat.size > FILE_MAX)
        rc = MP_ELIMIT;
    if (rc == 0)
        r->size = stat.size;
    return rc;
}

static void reader_close(reader *r)
{
    mp__file_close(r->file);
    (void)mp__free(r->data);
    *r = (reader){0};
}

static int move_window(reader *r, uint64_t at, size_t size)
{
    int64_t n;

    if (size > r->capacity) {
        (void)mp__free(r->data);
        r->capacity = size > WINDOW ? size : WINDOW;
        r->data = mp__malloc(r->capacity);
        if (!r->data)
            r->capacity = 0;
    }
    r->have = 0;
    r->begins = at;
    if (!r->data)
        return MP_ENOMEM;
    n = mp__file_pread(r->file, r->data, r->capacity, at);
    if (n < 0)
        return (int)n;
    r->have = (size_t)n;
    if (r->have >= size)
        return 0;
    r->size = at + r->have; /* somebody cut it meanwhile */
    return MP_EAGAIN;
}

/* The @size bytes at @at. MP_EAGAIN: the file has not so many. */
static inline int see(reader *r, uint64_t at, size_t size, const char **ret_data)
{
    int rc = 0;

    if (at + size > r->size)
        return MP_EAGAIN;
    if (at < r->begins || at + size > r->begins + r->have)
        rc = move_window(r, at, size);
    if (rc == 0)
        *ret_data = r->data + (at - r->begins);
    return rc;
}

/* 1: there is a record at @at, and it holds; 0: there is none. */
static int record_at(reader *r, const mp__journal *journal, uint64_t at, mp_str *ret_record)
{
    const char *data;
    uint64_t sum;
    uint32_t bytes, mark;
    int rc = see(r, at, RECORD_HEAD, &data);

    if (rc)
        return rc == MP_EAGAIN ? 0 : rc;
    memcpy(&bytes, data + 8, 4);
    memcpy(&mark, data + 12, 4);
    bytes = le32toh(bytes);
    if (le32toh(mark) != journal->mark || bytes > MP__JOURNAL_RECORD_MAX)
        return 0;
    rc = see(r, at, RECORD_HEAD + padded(bytes), &data);
    if (rc)
        return rc == MP_EAGAIN ? 0 : rc;
    memcpy(&sum, data, 8);
    *ret_record = mp_str_new(data + RECORD_HEAD, bytes);
    return le64toh(sum) == sum_of(journal->secret, at, data, bytes);
}

static int head_read(mp__journal *journal, reader *r, mp__diag *diag)
{
    const char *path = journal->path;
    const char *data;
    head h;
    int rc = see(r, 0, HEAD, &data);

    if (rc)
        return rc; /* MP_EAGAIN: the first write was not finished */
    memcpy(&h, data, HEAD);
    if (memcmp(h.magic, magic, sizeof(magic)) != 0)
        return mp__diag_set(diag, MP_ECORRUPT, "%s is no journal; move it away", path);
    if (le32toh(h.version) > MP__JOURNAL_VERSION)
        return mp__diag_set(diag, MP_EVERSION,
                            "%s was written by a newer version of marketprism (format %u, this "
                            "one knows %d)",
                            path, le32toh(h.version), MP__JOURNAL_VERSION);
    if (le64toh(h.sum) != mp__checksum(0, &h, offsetof(head, sum)) ||
        le32toh(h.kind) != journal->kind)
        return mp__diag_set(diag, MP_ECORRUPT,
                            "the head of %s is damaged, or it is of another kind; move it away",
                            path);
    journal->secret = (mp__hash_key){le64toh(h.secret[0]), le64toh(h.secret[1])};
    journal->mark = mark_of(journal->secret, le32toh(h.version));
    return 0;
}

static int records_read(mp__journal *journal, reader *r, int (*each)(void *context, mp_str record),
                        void *context, mp__journal_found *found)
{
    uint64_t at = HEAD, bad_from = 0;
    int rc = 0;

    journal->size = HEAD;
    while (at < r->size && rc == 0) {
        mp_str record = {0};
        int is_there = record_at(r, journal, at, &record);

        if (is_there < 0) {
            rc = is_there;
        } else if (!is_there) {
            if (!bad_from)
                bad_from = at;
            at += 8;
        } else {
            found->damaged += bad_from != 0;
            bad_from = 0;
            found->records++;
            at += RECORD_HEAD + padded(record.size);
            rc = each(context, record);
            journal->size = at;
        }
    }
    found->cut = r->size - journal->size;
    journal->written = r->size;
    return rc;
}

static int begin_file(mp__journal *journal, mp__file *file)
{
    head h;
    int rc;

    head_make(journal->env, journal->kind, &h, &journal->secret);
    journal->mark = mark_of(journal->secret, MP__JOURNAL_VERSION);
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

static int keep_evidence(const mp__journal *journal)
{
    size_t size = 0, capacity = strlen(journal->path) + 8;
    MP__CLEANUP_FREE char *aside = mp__malloc(capacity);
    MP__CLEANUP_FREE char *data = NULL;
    int rc = mp__env_read_file(journal->env, journal->path, FILE_MAX, &data, &size);

    if (rc == 0 && !aside)
        rc = MP_ENOMEM;
    if (rc)
        return rc;
    (void)snprintf(aside, capacity, "%s.bad", journal->path);
    return mp__env_write_file_atomic(journal->env, aside, data, size);
}

/* The file as it is. MP_EAGAIN: there is none, or only its beginning. */
static int read_all(mp__journal *journal, int (*each)(void *context, mp_str record), void *context,
                    mp__journal_found *found, mp__diag *diag)
{
    reader r = {0};
    int rc = reader_open(journal->env, journal->path, &r);

    if (rc == 0)
        rc = head_read(journal, &r, diag);
    else if (rc == -ENOENT)
        rc = MP_EAGAIN;
    if (rc == 0)
        rc = records_read(journal, &r, each, context, found);
    reader_close(&r);
    return rc;
}

static int take_up(mp__journal *journal, int (*each)(void *context, mp_str record), void *context,
                   mp__journal_found *found, mp__diag *diag)
{
    int rc = read_all(journal, each, context, found, diag);

    if (rc == 0 && found->damaged)
        rc = keep_evidence(journal);
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
    mp__journal reading = {.env = env, .kind = kind, .path = mp__strdup(path)};
    mp__journal_found found = {0};
    int rc = reading.path ? read_all(&reading, each, context, &found, diag) : MP_ENOMEM;

    (void)mp__free(reading.path);
    return rc == MP_EAGAIN ? MP_EABSENT : rc;
}

mp__journal *mp__journal_close(mp__journal *journal)
{
    if (!journal)
        return NULL;
    mp__file_close(journal->direct);
    mp__file_close(journal->file);
    mp__buf_done(&journal->added);
    (void)mp__free(journal->tail.data);
    (void)mp__free(journal->path);
    return mp__free(journal);
}

/* ---- writing ---- */

int mp__journal_add(mp__journal *journal, mp_str record)
{
    if (journal->broken)
        return MP_EDEGRADED;
    return add_record(&journal->added, journal->secret, journal->mark,
                      journal->size + journal->added.size, record);
}

void mp__journal_drop(mp__journal *journal)
{
    mp__buf_reset(&journal->added);
}

/* A second descriptor, since what is cut off and what begins anew are no whole blocks. */
static void open_direct(mp__journal *journal)
{
    mp__file_close(journal->direct);
    journal->direct = NULL;
    journal->tail.is_known = false;
    if (journal->room && mp__file_open(journal->env, journal->path,
                                       MP__OPEN_WRITE | MP__OPEN_DIRECT, &journal->direct) != 0)
        journal->direct = NULL;
}

void mp__journal_set_room(mp__journal *journal, size_t bytes)
{
    journal->room = bytes;
    open_direct(journal);
}

bool mp__journal_is_direct(const mp__journal *journal)
{
    return journal->direct != NULL;
}

static uint64_t block_of(uint64_t at)
{
    return at - at % BLOCK;
}

static void tail_forget(mp__journal *journal)
{
    journal->tail.data = mp__free(journal->tail.data);
    journal->tail.capacity = 0;
    journal->tail.is_known = false;
}

/* Memory for @size bytes, with what it has of the last block. */
static int tail_reserve(mp__journal *journal, size_t size)
{
    char *data;

    if (size <= journal->tail.capacity)
        return 0;
    data = mp__aligned_alloc(BLOCK, size);
    if (!data)
        return MP_ENOMEM;
    if (journal->tail.data)
        memcpy(data, journal->tail.data, BLOCK);
    (void)mp__free(journal->tail.data);
    journal->tail.data = data;
    journal->tail.capacity = size;
    return 0;
}

/* Have the bytes in front of what is added that share its first block. */
static int tail_load(mp__journal *journal)
{
    size_t size = journal->size % BLOCK;
    int64_t n = 0;

    if (journal->tail.is_known)
        return 0;
    if (size)
        n = mp__file_pread(journal->file, journal->tail.data, size, block_of(journal->size));
    if (n < 0)
        return (int)n;
    if ((size_t)n < size)
        return -EIO; /* somebody cut it */
    journal->tail.is_known = true;
    return 0;
}

/* What was added, on the disk, in whole blocks. The first holds synced records as a rule, which are
 * written again as they are: a sector of it has them whichever of the two writes it is from. */
static int write_direct(mp__journal *journal)
{
    size_t kept = journal->size % BLOCK, filled = kept + journal->added.size, size = filled;
    uint64_t begin = journal->size - kept;
    char *data;
    int rc;

    if (begin + filled > journal->written)
        size += journal->room;
    size = (size + BLOCK - 1) / BLOCK * BLOCK;
    rc = tail_reserve(journal, size);
    if (rc == 0)
        rc = tail_load(journal);
    if (rc)
        return rc;
    data = journal->tail.data;
    memcpy(data + kept, journal->added.data, journal->added.size);
    memset(data + filled, 0, size - filled);
    rc = mp__file_pwrite(journal->direct, data, size, begin);
    if (rc) {
        journal->tail.is_known = false;
        return rc;
    }
    if (begin + size > journal->written)
        journal->written = begin + size;
    memmove(data, data + block_of(filled), filled % BLOCK);
    return 0;
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

static int write_cached(mp__journal *journal)
{
    size_t size = journal->added.size;
    int rc;

    journal->tail.is_known = false;
    if (journal->size + size > journal->written)
        rc = write_ahead(journal);
    else
        rc = mp__file_pwrite(journal->file, journal->added.data, size, journal->size);
    return rc ? rc : mp__file_sync(journal->file);
}

/* Whole blocks, unless there is no room or no memory for that now, or the file system never takes
 * them. */
static int write_and_sync(mp__journal *journal)
{
    int rc = write_direct(journal);

    if (rc == -EINVAL || rc == -EOPNOTSUPP) {
        mp__file_close(journal->direct);
        journal->direct = NULL;
    } else if (rc != -ENOSPC && rc != -EDQUOT && rc != MP_ENOMEM) {
        return rc;
    }
    return write_cached(journal);
}

int mp__journal_sync(mp__journal *journal)
{
    size_t size = journal->added.size;
    int rc;

    if (size == 0)
        return 0;
    rc = journal->direct ? write_and_sync(journal) : write_cached(journal);
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
    if (journal->tail.capacity > KEPT_MAX + journal->room + BLOCK)
        tail_forget(journal);
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
    journal->mark = mark_of(secret, MP__JOURNAL_VERSION);
    journal->size = HEAD;
    journal->tail.is_known = false;
    return 0;
}

/* Whether the path still names the file that is written: a renewal that failed late may have put
 * another there. */
static bool is_at_path(const mp__journal *journal)
{
    mp__stat mine, there;

    return mp__file_stat(journal->file, &mine) == 0 &&
           mp__env_stat(journal->env, journal->path, &there) == 0 && mine.device == there.device &&
           mine.inode == there.inode;
}

int mp__journal_clear(mp__journal *journal)
{
    int rc;

    if (!is_at_path(journal)) {
        journal->broken = true;
        return MP_EDEGRADED;
    }
    mp__journal_drop(journal);
    journal->size = HEAD;
    journal->tail.is_known = false;
    rc = cut_behind(journal);
    if (rc == 0)
        rc = mp__file_sync(journal->file);
    journal->broken = rc != 0;
    return rc;
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
        rc = add_record(bytes, *ret_secret, mark_of(*ret_secret, MP__JOURNAL_VERSION), bytes->size,
                        record);
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
        journal->mark = mark_of(secret, MP__JOURNAL_VERSION);
        journal->size = journal->written = bytes.size;
        journal->broken = false;
        open_direct(journal);
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

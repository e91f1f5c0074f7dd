/* SPDX-License-Identifier: Apache-2.0 */
/* The small files of a data directory: whose it is now, how it is laid out, and what it tells of
 * the origin that belongs to it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/hash.h"
#include "manager/internal.h"

enum { FORMAT = 1 };

int mp__dir_path(const mp__manager *manager, const char *name, char *path, size_t capacity)
{
    int n = snprintf(path, capacity, "%s/%s", manager->data_dir, name);

    return n > 0 && (size_t)n < capacity ? 0 : -ENAMETOOLONG;
}

int mp__dir_lock(mp__manager *manager, mp__diag *diag)
{
    char path[4200], text[64] = "";
    int rc = mp__dir_path(manager, "lock", path, sizeof(path));

    if (rc == 0)
        rc = mp__env_mkdir(manager->env, manager->data_dir);
    if (rc == 0)
        rc = mp__file_open(manager->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE,
                           &manager->lock_file);
    if (rc)
        return mp__diag_set(diag, rc,
                            "cannot use the data directory %s: %s; choose another with "
                            "--data-dir",
                            manager->data_dir, mp_strerror(rc));
    rc = mp__file_lock(manager->lock_file);
    if (rc == MP_ELOCKED) {
        int64_t n = mp__file_pread(manager->lock_file, text, sizeof(text) - 1, 0);

        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        return mp__diag_set(diag, rc,
                            "%s is in use by process %s; stop it or choose another with "
                            "--data-dir",
                            manager->data_dir, text[0] ? text : "?");
    }
    if (rc == 0) {
        int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

        (void)mp__file_truncate(manager->lock_file, 0);
        (void)mp__file_pwrite(manager->lock_file, text, (size_t)n,
                              0); /* only for the message above */
    }
    return rc;
}

/* ---- the layout ---- */

/* "FORMAT SUM\n", and its size. */
static size_t format_text(long format, char text[64])
{
    int n = snprintf(text, 64, "%ld ", format);

    n += snprintf(text + n, 64 - (size_t)n, "%016" PRIx64 "\n", mp__checksum(0, text, (size_t)n));
    return (size_t)n;
}

/* Formats before the sum was added were 1 alone, as "1\n", so that a bare 3, 5 or 9
 * is a 1 of which a bit has turned. */
long mp__dir_format(mp_str text)
{
    char want[64] = "";
    long format = 0;
    int n;

    for (size_t i = 0; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
        if (format > 9999)
            return 0;
        format = format * 10 + (text.data[i] - '0');
    }
    n = snprintf(want, sizeof(want), "%ld\n", format);
    if (mp_str_equal(text, mp_str_new(want, (size_t)n)))
        return format == 3 || format == 5 || format == 9 ? 0 : format;
    return mp_str_equal(text, mp_str_new(want, format_text(format, want))) ? format : 0;
}

static int format_write(mp__manager *manager, const char *path)
{
    char text[64];
    size_t size = format_text(FORMAT, text);

    return mp__env_write_file_atomic(manager->env, path, text, size);
}

/* The format of the directory as a whole; each file has its own version besides, but for those of
 * one word (l3.epoch) and of lines that say themselves what they are (events.jsonl). That is why
 * what is damaged here can be written anew: it keeps no start from happening. */
int mp__dir_check_format(mp__manager *manager, mp__diag *diag)
{
    enum { BARE_SIZE = 2 };
    char path[4200], *text = NULL;
    size_t size = 0;
    long format;
    int rc = mp__dir_path(manager, "format", path, sizeof(path));

    if (rc)
        return rc;
    rc = mp__env_read_file(manager->env, path, 64, &text, &size);
    if (rc == -ENOENT) {
        rc = format_write(manager, path);
        return rc == -ENOSPC || rc == -EROFS ? 0 : rc; /* to serve what is kept needs none */
    }
    if (rc && rc != MP_ELIMIT)
        return mp__diag_set(diag, rc, "cannot read %s: %s", path, mp_strerror(rc));
    format = rc ? 0 : mp__dir_format(mp_str_new(text, size));
    (void)mp__free(text);
    if (format > FORMAT)
        return mp__diag_set(
            diag, MP_EVERSION,
            "%s was written by a newer version of marketprism (format %ld, this one "
            "knows %d)",
            manager->data_dir, format, FORMAT);
    if (format == 0)
        mp__log(manager->log, MP__LOG_WARN, "manager", "format-damaged",
                "%s is damaged and is written anew; look at the disk", path);
    if (format == 0 || size == BARE_SIZE)
        (void)format_write(manager, path); /* tried again at the next start */
    return 0;
}

/* ---- the origin that belongs to it ---- */

static int meets_segment(void *context, const char *name)
{
    size_t size = strlen(name);

    (void)context;
    return size > 4 && strcmp(name + size - 4, ".seg") == 0;
}

/* L3 and the name of its origin's life come after the first opening of an origin: where there is
 * one of them there was one, also when all files of its own are gone. */
bool mp__dir_had_origin(mp__manager *manager)
{
    char path[4200];
    mp__stat stat;

    if (mp__dir_path(manager, "l3.epoch", path, sizeof(path)) == 0 &&
        mp__env_stat(manager->env, path, &stat) == 0)
        return true;
    return mp__dir_path(manager, "l3", path, sizeof(path)) == 0 &&
           mp__env_list(manager->env, path, meets_segment, NULL) == 1;
}

/* What was read is 32 hexadecimal digits, as each life's name is. */
static bool is_epoch(const char *text, size_t size)
{
    return size == 32 && strspn(text, "0123456789abcdef") == 32;
}

/* The names of two lives are random, and alike in some 2 of their 32 digits; half of them and more
 * are alike only when it is one name, of which a part was damaged. */
static bool is_same_life(const char *text, const char *now)
{
    int alike = 0;

    for (int i = 0; i < 32; i++)
        alike += text[i] == now[i];
    return alike >= 16;
}

enum { ASIDE_MAX = 99 }; /* of one life */

static int set_l3_aside(mp__manager *manager, const char *epoch, mp__diag *diag)
{
    char l3[4200], aside[4300];
    int rc = mp__dir_path(manager, "l3", l3, sizeof(l3));

    if (rc)
        return rc;
    (void)snprintf(aside, sizeof(aside), "%s.of-%.32s", l3, epoch);
    rc = mp__env_rename(manager->env, l3, aside);
    for (int i = 2; (rc == -ENOTEMPTY || rc == -EEXIST) && i <= ASIDE_MAX; i++) {
        (void)snprintf(aside, sizeof(aside), "%s.of-%.32s.%d", l3, epoch, i); /* one more of it */
        rc = mp__env_rename(manager->env, l3, aside);
    }
    if (rc && rc != -ENOENT) /* nothing of another life may be served as of this one */
        return mp__diag_set(diag, rc,
                            "%s belongs to another life of the origin and cannot be moved "
                            "aside: %s; move it away yourself",
                            l3, mp_strerror(rc));
    mp__event_note(manager, "l3-set-aside", "it belongs to another life of the origin: %s", aside);
    mp__log(manager->log, MP__LOG_WARN, "cache", "l3-set-aside",
            "the origin began a new life, or L3 was brought from elsewhere; what it kept is in %s",
            aside);
    return 0;
}

/* The folder says it, too, since it may have been copied from where another origin is. */
static int match_folder(mp__manager *manager, const char *life, mp__diag *diag)
{
    MP__CLEANUP_FREE char *its = NULL;
    char path[4200];
    size_t size = 0;
    int rc = mp__dir_path(manager, "l3/l3.life", path, sizeof(path));

    if (rc || mp__env_read_file(manager->env, path, 64, &its, &size) != 0)
        return rc;
    return is_epoch(its, size) && !is_same_life(its, life) ? set_l3_aside(manager, its, diag) : 0;
}

void mp__dir_name_l3(mp__manager *manager)
{
    const char *now = mp__origin_epoch(manager->origin);
    MP__CLEANUP_FREE char *its = NULL;
    char path[4200];
    size_t size = 0;

    if (!now[0] || mp__dir_path(manager, "l3/l3.life", path, sizeof(path)) != 0 ||
        (mp__env_read_file(manager->env, path, 64, &its, &size) == 0 && strcmp(its, now) == 0))
        return;
    (void)mp__env_write_file_atomic(manager->env, path, now, strlen(now)); /* or the next start */
}

/* Which life of the origin L3's records belong to. Another life's revisions mean nothing here, so
 * its L3 is set aside before it is opened. A damaged name tells of no other life. */
int mp__dir_match_epoch(mp__manager *manager, mp__diag *diag)
{
    MP__CLEANUP_FREE char *epoch = NULL;
    const char *now = mp__origin_epoch(manager->origin);
    char path[4200];
    size_t size = 0;
    int rc = mp__dir_path(manager, "l3.epoch", path, sizeof(path));

    if (rc)
        return rc;
    rc = mp__env_read_file(manager->env, path, 64, &epoch, &size);
    if (!now[0]) /* it is not there: then it is the one that was */
        return rc == 0 && is_epoch(epoch, size) ? match_folder(manager, epoch, diag) : 0;
    if (rc == 0 && strcmp(epoch, now) == 0)
        return match_folder(manager, now, diag);
    if (rc == 0 && is_epoch(epoch, size) && !is_same_life(epoch, now)) {
        rc = set_l3_aside(manager, epoch, diag);
        if (rc)
            return rc;
    } else if (rc == 0 || rc == MP_ELIMIT) {
        mp__log(manager->log, MP__LOG_WARN, "cache", "l3-epoch-damaged",
                "%s is damaged and is written anew; L3 is kept. Look at the disk", path);
    } else if (rc != -ENOENT) {
        return rc == MP_ENOMEM ? rc : 0;
    }
    rc = match_folder(manager, now, diag);
    if (rc)
        return rc;
    rc = mp__env_write_file_atomic(manager->env, path, now, strlen(now));
    return rc == MP_ENOMEM ? rc : 0;
}

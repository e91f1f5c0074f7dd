/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor's checks of configuration, data directory, daemon, origin and cache. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cache.h"
#include "cli/doctor.h"
#include "core/alloc.h"
#include "format/format.h"
#include "manager/manager.h"
#include "origin/origin.h"

enum { EXAMINE_BYTES = 256 << 20, FORMAT = 1, FILE_MOST = 64 << 20, FILES_NAMED = 10 };

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static long long number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* ---- config ---- */

/* Who can read the keys of L3 can read what they seal. A pipe has no mode that says anything. */
static void say_key_file(mp__doctor *d)
{
    const char *path = mp__options_text(d->options, "cache.l3_key_file");
    struct stat st;

    if (path[0] && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
        (st.st_mode & (S_IRWXG | S_IRWXO)))
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "chmod 600 it, and change the keys if somebody may have read them",
                       "cache.l3_key_file: %s is open to others (mode %04o)", path,
                       st.st_mode & 07777);
}

void mp__check_config(mp__doctor *d)
{
    struct stat st;
    char text[900];

    if (d->config_error.text[0])
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "mend the place that is named; `marketprism check-config FILE` says more",
                       "%.390s", mp__diag_format(&d->config_error, text, sizeof(text)));
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "%s",
                       d->config ? d->config : "no file, all defaults");
    say_key_file(d);
    if (!d->config || stat(d->config, &st) != 0)
        return;
    if (st.st_mode & S_IWOTH)
        mp__doctor_say(d, MP__FINDING_TROUBLE, "chmod o-w, or anybody here can turn the daemon",
                       "%s can be written by everybody", d->config);
}

/* ---- the data directory ---- */

static bool database_path(const mp__doctor *d, char *path, size_t capacity)
{
    const char *given = mp__options_text(d->options, "origin.path");
    bool is_sqlite = strcmp(mp__options_text(d->options, "origin.type"), "sqlite") == 0;

    if (is_sqlite && given[0])
        return (size_t)snprintf(path, capacity, "%s", given) < capacity;
    return mp__doctor_path(d, is_sqlite ? "origin.db" : "files.db", path, capacity) == 0;
}

static void say_missing(mp__doctor *d)
{
    char parent[4300];
    char *slash;

    (void)snprintf(parent, sizeof(parent), "%s", d->data_dir);
    /* the nearest that is there must let us make one */
    while ((slash = strrchr(parent, '/')) != NULL && slash > parent) {
        *slash = '\0';
        if (access(parent, F_OK) == 0)
            break;
    }
    if (!strchr(d->data_dir, '/') || access(parent, F_OK) != 0)
        (void)snprintf(parent, sizeof(parent), "%s", d->data_dir[0] == '/' ? "/" : ".");
    if (access(parent, W_OK | X_OK) == 0)
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "it is made at the first start; if there was one, name it with --data-dir",
                       "there is no %s yet", d->data_dir);
    else
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "make it, owned by who runs the daemon, or choose another with --data-dir",
                       "there is no %s, and it cannot be made in %s: %s", d->data_dir, parent,
                       mp_strerror(-errno));
}

static void say_mode(mp__doctor *d, const struct stat *st)
{
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "chmod 700 it: whoever writes there can forge values",
                       "%s can be written by others (mode %04o)", d->data_dir, st->st_mode & 07777);
    else if (st->st_mode & (S_IRGRP | S_IROTH | S_IXGRP | S_IXOTH))
        mp__doctor_say(d, MP__FINDING_WARNING, "chmod 700 it, if values are not for everybody",
                       "%s can be read by others (mode %04o)", d->data_dir, st->st_mode & 07777);
}

/* What holds values stands with our user alone, also in a folder that others may enter. */
static void say_file_modes(mp__doctor *d)
{
    static const char *const names[] = {"origin.db",       "files.db",     "write-back.log",
                                        "conflicts.jsonl", "events.jsonl", "l3"};
    char path[4300];
    struct stat st;

    for (size_t i = 0; i <= sizeof(names) / sizeof(names[0]); i++) {
        bool is_named = i < sizeof(names) / sizeof(names[0]), is_folder;

        if (is_named ? mp__doctor_path(d, names[i], path, sizeof(path)) != 0
                     : !database_path(d, path, sizeof(path)) || path[0] != '/' ||
                           strncmp(path, d->data_dir, strlen(d->data_dir)) == 0)
            continue;
        is_folder = is_named && strcmp(names[i], "l3") == 0;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode) == is_folder &&
            (st.st_mode & (S_IRWXG | S_IRWXO)))
            mp__doctor_say(d, MP__FINDING_WARNING,
                           is_folder ? "chmod 700 it: configuration is in it"
                                     : "chmod 600 it: configuration is in it",
                           "%s is open to others (mode %04o)", path, st.st_mode & 07777);
    }
}

/* Whether the daemon that answers runs on our folder, whatever both call it: a relative name is one
 * in the folder that the process of the lock is in. */
static bool is_its_folder(const mp__doctor *d)
{
    const char *its = text_of(d->status, "data_dir");
    char path[4300];
    struct stat a, b;
    int n;

    if (strcmp(its, d->data_dir) == 0)
        return true;
    n = its[0] == '/' ? snprintf(path, sizeof(path), "%s", its)
                      : snprintf(path, sizeof(path), "%s/proc/%ld/cwd/%s", d->world->root,
                                 mp__doctor_pid(d), its);
    return its[0] && n > 0 && (size_t)n < sizeof(path) && stat(path, &a) == 0 &&
           stat(d->data_dir, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void say_lock(mp__doctor *d)
{
    long pid = mp__doctor_pid(d);
    bool is_ours = d->status && is_its_folder(d);

    if (pid && !is_ours)
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "give --resp HOST:PORT of that daemon; a second one cannot start on it",
                       "%s is in use by process %ld, which does not answer at %s", d->data_dir, pid,
                       d->resp);
    else if (pid)
        mp__doctor_say(d, MP__FINDING_OK, "", "%s, in use by process %ld", d->data_dir, pid);
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "%s, no daemon runs on it", d->data_dir);
}

/* Permission bits do not say it all: a file system can be mounted read-only. */
static void say_writable(mp__doctor *d)
{
    int error = access(d->data_dir, R_OK | W_OK | X_OK) == 0 ? 0 : errno;

    if (error == EROFS)
        mp__doctor_say(
            d, MP__FINDING_TROUBLE,
            "mend the disk and mount it writable (dmesg says why it is not); what is kept "
            "is served meanwhile",
            "%s is on a file system that is mounted read-only", d->data_dir);
    else if (error)
        mp__doctor_say(d, MP__FINDING_TROUBLE, "chown and chmod 700 it to who runs the daemon",
                       "%s cannot be read and written by user %u: %s", d->data_dir, d->world->uid,
                       mp_strerror(-error));
}

void mp__check_data_dir(mp__doctor *d)
{
    struct stat st;

    if (stat(d->data_dir, &st) != 0) {
        if (errno == ENOENT)
            say_missing(d);
        else
            mp__doctor_say(d, MP__FINDING_TROUBLE, "let who runs the daemon reach it", "%s: %s",
                           d->data_dir, mp_strerror(-errno));
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        mp__doctor_say(d, MP__FINDING_TROUBLE, "choose another with --data-dir",
                       "%s is not a folder", d->data_dir);
        return;
    }
    say_lock(d);
    say_mode(d, &st);
    say_file_modes(d);
    say_writable(d);
}

/* ---- versions ---- */

void mp__check_versions(mp__doctor *d)
{
    char path[4300];
    MP__CLEANUP_FREE char *text = NULL;
    mp__origin_examined found;
    size_t size;
    long format = FORMAT;
    bool told = false;
    int rc = mp__doctor_path(d, "format", path, sizeof(path));

    if (rc == 0)
        rc = mp__env_read_file(d->env, path, 64, &text, &size);
    if (rc == 0)
        format = mp__dir_format(mp_str_new(text, size));
    if (format == 0 || rc == MP_ELIMIT) {
        told = true;
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "look at the disk (smartctl, dmesg); it is written anew at the next start, "
                       "and the files beside it say themselves which version they are of",
                       "%s is damaged: it does not say which version wrote the folder", path);
    }
    if (format > FORMAT) {
        told = true;
        mp__doctor_say(d, MP__FINDING_TROUBLE, "run the version that wrote it, or a newer one",
                       "%s is of format %ld, this version knows %d", d->data_dir, format, FORMAT);
    }
    if (database_path(d, path, sizeof(path)) && mp__origin_examine(d->env, path, 0, &found) == 0 &&
        found.is_ours && found.version > MP__ORIGIN_VERSION) {
        told = true;
        mp__doctor_say(d, MP__FINDING_TROUBLE, "run the version that wrote it, or a newer one",
                       "%s is of format %d, this version knows %d", path, found.version,
                       MP__ORIGIN_VERSION);
    }
    if (!told)
        mp__doctor_say(d, MP__FINDING_OK, "", "nothing was written by a newer version");
}

/* ---- the daemon ---- */

void mp__check_daemon(mp__doctor *d)
{
    const char *trouble = text_of(d->status, "trouble");

    if (!d->status) {
        mp__doctor_say(d, MP__FINDING_OK, "", "none answers: %.300s", d->no_answer);
        return;
    }
    if (!is_its_folder(d))
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "name that one with --data-dir, or its port with --resp",
                       "the daemon at %s runs on %s", d->resp, text_of(d->status, "data_dir"));
    if (!json_is_true(json_object_get(d->status, "ready")))
        mp__doctor_say(d, MP__FINDING_TROUBLE, "see the origin below", "the daemon is not ready");
    if (*trouble)
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "as it says; `marketprism status` shows when it went", "%.390s", trouble);
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "version %s answers at %s, up %lld s",
                       text_of(d->status, "version"), d->resp, number_of(d->status, "uptime_s"));
}

/* ---- the origin ---- */

static void say_counts(mp__doctor *d)
{
    const json_t *origin = json_object_get(d->status, "origin");

    if (number_of(origin, "corrupt_rows") > 0)
        mp__doctor_say(
            d, MP__FINDING_WARNING,
            "look at the disk (smartctl, dmesg); what was not salvaged must be set again",
            "the daemon met damaged rows %lld times and salvaged %lld",
            number_of(origin, "corrupt_rows"), number_of(origin, "salvaged"));
}

/* A file of sums that do not hold is damaged, or another program wrote it. */
static void say_pages(mp__doctor *d, const char *path, const mp__origin_examined *found)
{
    char size[32];

    if (!found->has_sums)
        mp__doctor_say(d, MP__FINDING_OK, "", "%s, %s, without checksums of pages", path,
                       mp__doctor_bytes(found->bytes, size, sizeof(size)));
    else if (found->pages_damaged)
        mp__doctor_say(
            d, MP__FINDING_TROUBLE,
            mp__doctor_pid(d)
                ? "look again in a minute: the daemon sets right what it can; what stays "
                  "can be mended by a backup alone (marketprism restore)"
                : "start the daemon: it sets right what history and cache still know; "
                  "or restore a backup (marketprism restore)",
            "%" PRIu64 " of %" PRIu64 " pages of %s fail their checksum, page %" PRIu64
            " first: damaged, or written by another program",
            found->pages_damaged, found->pages_read, path, found->first_damaged);
    else
        mp__doctor_say(d, MP__FINDING_OK, "",
                       "%s, %s, all %" PRIu64 " pages read hold their checksum", path,
                       mp__doctor_bytes(found->bytes, size, sizeof(size)), found->pages_read);
}

/* What the cache keeps on disk comes after the first opening of an origin. */
static bool has_kept(mp__doctor *d)
{
    char path[4300];
    mp__stat stat;

    return mp__doctor_path(d, "l3.epoch", path, sizeof(path)) == 0 &&
           mp__env_stat(d->env, path, &stat) == 0;
}

/* The daemon that runs on the folder has its origin open, which then is not in it. */
static bool is_elsewhere(const mp__doctor *d)
{
    const char *state = text_of(json_object_get(d->status, "origin"), "state");

    return d->status && is_its_folder(d) &&
           (strcmp(state, "live") == 0 || strcmp(state, "silent") == 0);
}

static void check_database(mp__doctor *d, const char *path, bool is_store)
{
    mp__origin_examined found;
    int rc = mp__origin_examine(d->env, path, EXAMINE_BYTES, &found);

    if (rc)
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       rc == -EACCES ? "chown it to who runs the daemon"
                                     : "look at the disk (smartctl, dmesg)",
                       "%s cannot be read: %s", path, mp_strerror(rc));
    else if (!found.there && !is_store && !found.was_there && is_elsewhere(d))
        mp__doctor_say(d, MP__FINDING_WARNING, "give the daemon's own --config or --set here",
                       "the daemon's origin is %s, and is not %s: it is not looked at",
                       text_of(json_object_get(d->status, "origin"), "state"), path);
    else if (!found.there && !is_store && (found.was_there || has_kept(d)))
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "put it back (noticed within a second), restore a backup (marketprism "
                       "restore), or begin anew with "
                       "`serve --new-origin`",
                       "%s is gone, and there was one", path);
    else if (!found.there && found.was_there)
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "nothing: it is made anew from the files at the start",
                       "%s is gone: the history ends", path);
    else if (!found.there)
        mp__doctor_say(d, MP__FINDING_OK, "", "there is no %s yet", path);
    else if (!found.is_ours)
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "put the right file there, restore a backup (marketprism restore), or begin "
                       "anew with `serve "
                       "--new-origin`",
                       "%s is no database of marketprism", path);
    else if (found.pages_missing && !mp__doctor_pid(d))
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "restore a backup (marketprism restore), or begin anew with `serve "
                       "--new-origin`; what the cache kept is served until then",
                       "%s was cut: %" PRIu64 " pages are missing at its end", path,
                       found.pages_missing);
    else
        say_pages(d, path, &found);
    if (rc == 0 && found.journal_damaged && !mp__doctor_pid(d))
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "start the daemon: it moves it aside; of what was written right before a "
                       "crash it then knows what the cache kept",
                       "the journal beside %s is damaged", path);
}

/* Whether mp__check_folder() has told of the file, which is named from the folder on. */
static bool was_told(const mp__doctor *d, const char *name)
{
    const mp__format *format = mp__format_of_path(name);
    MP__CLEANUP_FREE char *text = NULL;
    mp__leaves leaves = {0};
    char path[4300];
    size_t size;
    int rc;

    if (!format || strcmp(mp__options_text(d->options, "origin.type"), "file") != 0)
        return false;
    (void)snprintf(path, sizeof(path), "%.3900s/%.300s",
                   mp__options_text(d->options, "origin.path"), name);
    rc = mp__env_read_file(d->env, path, FILE_MOST, &text, &size);
    if (rc == 0)
        rc = format->parse(mp_str_new(text, size), &leaves, NULL);
    mp__leaves_done(&leaves);
    return rc != 0;
}

/* What the daemon says of its files beyond that they parse: which break a schema, for one. */
static void say_file_troubles(mp__doctor *d)
{
    const json_t *troubles = json_object_get(json_object_get(d->status, "origin"), "troubles");
    size_t count = json_array_size(troubles);
    char place[32] = "", remedy[200];

    for (size_t i = 0; i < count && i < FILES_NAMED; i++) {
        const json_t *trouble = json_array_get(troubles, i);
        bool is_error = strcmp(text_of(trouble, "severity"), "error") == 0;
        long long keys = number_of(trouble, "keys_kept");

        if (was_told(d, text_of(trouble, "file")))
            continue;
        place[0] = '\0';
        if (number_of(trouble, "line") > 0)
            (void)snprintf(place, sizeof(place), "%lld:%lld:", number_of(trouble, "line"),
                           number_of(trouble, "column"));
        (void)snprintf(remedy, sizeof(remedy),
                       "mend the file (or, if the rule is wrong, its schema): it is taken at once; "
                       "until then %lld key%s of its last good version %s served",
                       keys, keys == 1 ? "" : "s", keys == 1 ? "is" : "are");
        mp__doctor_say(
            d, is_error ? MP__FINDING_TROUBLE : MP__FINDING_WARNING,
            is_error ? remedy : "mend it when you can: what is read of it is served as it is",
            "%.200s:%s %.300s", text_of(trouble, "file"), place, text_of(trouble, "text"));
    }
    if (count > FILES_NAMED)
        mp__doctor_say(d, MP__FINDING_TROUBLE, "`marketprism status` names them",
                       "%zu more files are in error, or to be mended", count - FILES_NAMED);
}

void mp__check_origin(mp__doctor *d)
{
    bool is_file = strcmp(mp__options_text(d->options, "origin.type"), "file") == 0;
    char path[4300];

    /* a daemon that answers knows best what its origin is */
    if (d->status)
        is_file = strcmp(text_of(json_object_get(d->status, "origin"), "kind"), "file") == 0;
    if (is_file && strcmp(mp__options_text(d->options, "origin.type"), "file") == 0)
        mp__check_folder(d);
    if (is_file)
        say_file_troubles(d);
    if (database_path(d, path, sizeof(path)) &&
        is_file == (strcmp(mp__options_text(d->options, "origin.type"), "file") == 0))
        check_database(d, path, is_file);
    else if (mp__doctor_path(d, is_file ? "files.db" : "origin.db", path, sizeof(path)) == 0)
        check_database(d, path, is_file);
    if (d->status)
        say_counts(d);
}

/* ---- what the cache keeps on disk ---- */

/* What the daemon's own reading again has found since it was started. */
static void scrub_findings(mp__doctor *d, const json_t *l3)
{
    long long damaged = number_of(json_object_get(l3, "scrub"), "damaged");

    if (damaged > 0)
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "look at the disk (smartctl, dmesg): it gives back what was not written",
                       "the scrubber found %lld damaged records of the cache on disk since the "
                       "daemon was started; %lld values came again from memory or the origin",
                       damaged, number_of(l3, "healed"));
}

/* What a daemon would say at its start, which it refuses then; one that runs has read it. */
static void check_write_back(mp__doctor *d)
{
    mp__diag diag = {0};
    char path[4300], text[900];
    int rc = mp__doctor_path(d, "write-back.log", path, sizeof(path));

    if (rc == 0 && !mp__doctor_pid(d))
        rc = mp__back_examine(d->env, path, &diag);
    if (rc && diag.text[0])
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "keep it elsewhere for looking at: the daemon does not start before it is "
                       "moved away; writes in it that had not reached the origin are to be made "
                       "again",
                       "%.390s", mp__diag_format(&diag, text, sizeof(text)));
}

/* What is torn beside a daemon is what it writes at this moment. */
static void say_tails(mp__doctor *d, const mp__cache_examined *found)
{
    static const char remedy[] = "nothing where the power failed; else look at the disk (smartctl, "
                                 "dmesg): what is lost is fetched again";
    const mp__cache_tail *torn = &found->torn, *spoilt = &found->spoilt;

    if (torn->name[0] && !mp__doctor_pid(d))
        mp__doctor_say(d, MP__FINDING_OK, "",
                       "%s ends within a record, as a crash leaves it: its last %" PRIu64
                       " bytes are cut off at the next start, its %" PRIu64 " records stay",
                       torn->name, torn->bytes, torn->records_kept);
    if (spoilt->name[0])
        mp__doctor_say(d, MP__FINDING_WARNING, remedy,
                       "the last %" PRIu64 " bytes of %s are no whole record: they are cut off at "
                       "the next start, its %" PRIu64 " records stay",
                       spoilt->bytes, spoilt->name, spoilt->records_kept);
    if (found->headless[0] && !mp__doctor_pid(d))
        mp__doctor_say(d, MP__FINDING_WARNING, remedy,
                       "%s is shorter than its head: it is set aside at the next start",
                       found->headless);
}

void mp__check_damage(mp__doctor *d)
{
    mp__cache_examined found;
    char path[4300], size[32];
    const json_t *l3 = json_object_get(json_object_get(d->status, "cache"), "l3");
    int rc = mp__doctor_path(d, "l3", path, sizeof(path));

    check_write_back(d);
    if (rc == 0)
        rc = mp__cache_examine(d->env, path, EXAMINE_BYTES, &found);
    if (rc == -ENOENT) {
        mp__doctor_say(d, MP__FINDING_OK, "", "nothing is kept on disk yet");
        return;
    }
    if (rc == -ENOTDIR) {
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "move it away: the folder is made in its place, also while a daemon runs",
                       "%s is a file: it stands where the folder of the cache belongs, and nothing "
                       "is kept on disk",
                       path);
        return;
    }
    if (rc) {
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "look at the disk (smartctl, dmesg) and at who owns it",
                       "%s cannot be read: %s", path, mp_strerror(rc));
        return;
    }
    if (found.newer)
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "run the version that wrote it, or move the folder away: it is a cache",
                       "%s was written by a newer version", path);
    if (found.damaged_segments)
        mp__doctor_say(
            d, MP__FINDING_TROUBLE,
            "look at the disk (smartctl, dmesg); damaged records are left out and fetched "
            "again, nothing wrong is served",
            "%zu of %zu segments read are damaged (%" PRIu64 " places), %s first",
            found.damaged_segments, found.segments_read, found.damaged_records,
            found.first_damaged);
    say_tails(d, &found);
    if (found.set_aside)
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "they are for looking at; remove l3/*.seg.bad when you have",
                       "%zu damaged segments were set aside", found.set_aside);
    scrub_findings(d, l3);
    if (*text_of(l3, "trouble"))
        mp__doctor_say(d, MP__FINDING_TROUBLE, "make room or mend the disk; it recovers by itself",
                       "the cache on disk: %.300s", text_of(l3, "trouble"));
    if (!found.newer && !found.damaged_segments)
        mp__doctor_say(d, MP__FINDING_OK, "",
                       "%" PRIu64 " records in %zu of %zu segments (%s) hold their checksum",
                       found.records, found.segments_read, found.segments,
                       mp__doctor_bytes(found.bytes_read, size, sizeof(size)));
}

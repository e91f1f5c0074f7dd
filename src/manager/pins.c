/* SPDX-License-Identifier: Apache-2.0 */
/* Pins: those of cache.pin and those that were asked for, which stand in the file "pins" of the
 * data directory, one a line behind a first line with format and checksum, so that they survive a
 * restart. What they name is brought into memory
 * from L3, which needs no origin, and then from the origin, as a preload. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "manager/internal.h"

enum { FILE_MAX = 4 * 1024 * 1024, VERSION = 1 };
static const char first_word[] = "marketprism-pins "; /* no pin: those have a slash */

static int path_of(const mp__manager *manager, char *path, size_t capacity)
{
    int n = snprintf(path, capacity, "%s/pins", manager->data_dir);

    return n > 0 && (size_t)n < capacity ? 0 : -ENAMETOOLONG;
}

static bool is_configured(const mp__manager *manager, mp_str pattern)
{
    for (size_t i = 0; i < manager->pin_count; i++)
        if (mp_str_equal(mp_str_of(manager->pins_configured[i]), pattern))
            return true;
    return false;
}

/* ---- the file ---- */

typedef struct listing {
    const mp__manager *manager;
    mp__buf *out;
} listing;

static int add_line(void *context, mp_str pattern)
{
    const listing *l = context;

    if (is_configured(l->manager, pattern))
        return 0;
    (void)mp__buf_add(l->out, pattern.data, pattern.size);
    return mp__buf_add_char(l->out, '\n');
}

static int head_print(mp__buf *out, int version, mp_str lines)
{
    return mp__buf_printf(out, "%s%d %016" PRIx64 "\n", first_word, version,
                          mp__checksum((uint64_t)version, lines.data, lines.size));
}

static int save(mp__manager *manager)
{
    mp__buf lines = MP__BUF_INIT, text = MP__BUF_INIT;
    listing l = {manager, &lines};
    char path[4200];
    int rc = path_of(manager, path, sizeof(path));

    if (rc == 0)
        rc = mp__cache_pins_each(manager->cache, add_line, &l);
    if (rc == 0)
        rc = lines.error;
    if (rc == 0)
        rc = head_print(&text, VERSION, mp__buf_str(&lines));
    if (rc == 0)
        rc = mp__buf_add(&text, lines.data, lines.size);
    if (rc == 0)
        rc = mp__env_write_file_atomic(manager->env, path, text.data, text.size);
    mp__buf_done(&lines);
    mp__buf_done(&text);
    return rc;
}

/* A line that is none any more, or has no room, is told and left out: better than no start. */
static void take_line(mp__manager *manager, mp_str line)
{
    mp__diag diag = {0};
    int rc = line.size ? mp__cache_pin(manager->cache, line, &diag) : 0;

    if (rc) {
        mp__event_note(manager, "pin-left-out", "%.*s: %.60s",
                       (int)(line.size < 60 ? line.size : 60), line.data,
                       diag.text[0] ? diag.text : mp_strerror(rc));
        mp__log(manager->log, MP__LOG_WARN, "cache", "pin-left-out", "the pin %.*s is left out: %s",
                (int)(line.size < 200 ? line.size : 200), line.data,
                diag.text[0] ? diag.text : mp_strerror(rc));
    }
}

/* The first line off @rest, without its end. */
static mp_str take_text(mp_str *rest)
{
    const char *newline = memchr(rest->data, '\n', rest->size);
    mp_str line = mp_str_new(rest->data, newline ? (size_t)(newline - rest->data) : rest->size);
    size_t used = line.size + (newline != NULL);

    *rest = mp_str_new(rest->data + used, rest->size - used);
    return line;
}

/* Take the head off @rest; files from before there was one have version 0. MP_EVERSION: it is of a
 * newer one, which may have another sum, or none: a digit that was damaged reads as that, too, and
 * is not written over. MP_ECORRUPT: the sum is not that of the lines behind it. */
static int take_head(mp_str *rest, int *ret_version)
{
    enum { HEAD = sizeof(first_word) - 1, DIGITS_MAX = 4 };
    mp__buf want = MP__BUF_INIT;
    mp_str line, lines = *rest;
    int version = 0, rc;

    *ret_version = 0;
    if (lines.size < HEAD || memcmp(lines.data, first_word, HEAD) != 0)
        return 0;
    line = take_text(&lines);
    for (size_t i = HEAD;
         i < line.size && i < HEAD + DIGITS_MAX && line.data[i] >= '0' && line.data[i] <= '9'; i++)
        version = version * 10 + (line.data[i] - '0');
    *ret_version = version;
    if (version > VERSION)
        return MP_EVERSION;
    rc = head_print(&want, version, lines);
    if (rc == 0 && !mp_str_equal(mp_str_new(want.data, want.size - 1), line))
        rc = MP_ECORRUPT;
    mp__buf_done(&want);
    *rest = lines;
    return rc;
}

static int read_file(mp__manager *manager, mp__diag *diag)
{
    char path[4200], *text = NULL;
    size_t size = 0;
    mp_str rest;
    int version = 0, rc = path_of(manager, path, sizeof(path));

    if (rc == 0)
        rc = mp__env_read_file(manager->env, path, FILE_MAX, &text, &size);
    if (rc == -ENOENT)
        return 0;
    if (rc)
        return mp__diag_set(diag, rc, "cannot read %s: %s; mend it or move it away", path,
                            mp_strerror(rc));
    rest = mp_str_new(text, size);
    rc = take_head(&rest, &version);
    if (rc == MP_EVERSION)
        rc = mp__diag_set(diag, rc,
                          "%s was written by a newer version of marketprism (format %d, this one "
                          "knows %d); run that one, or move the file away and pin anew",
                          path, version, VERSION);
    if (rc == MP_ECORRUPT)
        mp__log(manager->log, MP__LOG_WARN, "cache", "pins-damaged",
                "%s is damaged; what is readable of it is taken. Look at the disk", path);
    while (rest.size && (rc == 0 || rc == MP_ECORRUPT))
        take_line(manager, take_text(&rest));
    (void)mp__free(text);
    return rc == MP_ECORRUPT ? 0 : rc;
}

/* ---- into memory ---- */

typedef struct patterns {
    char **rows;
    size_t count, capacity;
} patterns;

static int take_pattern(void *context, mp_str pattern)
{
    patterns *p = context;

    if (p->count == p->capacity)
        return 0; /* pinned since it was counted: its own turn comes */
    p->rows[p->count] = mp__str_dup(pattern);
    return p->rows[p->count] ? (p->count++, 0) : MP_ENOMEM;
}

int mp__pins_patterns(mp__manager *manager, char ***ret_rows, size_t *ret_count)
{
    mp__cache_pins pins;
    patterns p = {0};
    int rc;

    mp__cache_pins_read(manager->cache, &pins);
    p.capacity = pins.pins;
    p.rows = mp__calloc(p.capacity ? p.capacity : 1, sizeof(*p.rows));
    if (!p.rows)
        return MP_ENOMEM;
    rc = mp__cache_pins_each(manager->cache, take_pattern, &p);
    *ret_rows = p.rows;
    *ret_count = p.count;
    if (rc)
        mp__pins_patterns_free(p.rows, p.count);
    return rc;
}

void mp__pins_patterns_free(char **rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)mp__free(rows[i]);
    (void)mp__free(rows);
}

/* What L3 keeps of an earlier life is unverified: it is there, and the first read asks. */
static int bring_up(void *context, const mp__record *record)
{
    mp__manager *manager = context;
    uint64_t hash = mp__cache_hash(manager->hasher, record->address);

    if (!(mp__cache_where(manager->cache, record->address, hash) & 1u << MP__TIER_L1))
        (void)mp__cache_put_record(manager->cache, record, MP__PUT_L1_ONLY, 0, 0, NULL);
    return 0;
}

static void load_from_disk(mp__manager *manager, mp_str pattern)
{
    mp_blob *value = NULL;

    if (pattern.data[pattern.size - 1] == '*')
        (void)mp__cache_each_kept(manager->cache, mp_str_new(pattern.data, pattern.size - 1),
                                  bring_up, manager);
    else if (mp_cache_load(manager->cache, pattern, &value) == 0)
        (void)mp_blob_unref(value);
}

static void save_or_tell(mp__manager *manager)
{
    int rc = save(manager), was = atomic_exchange(&manager->pin_trouble, rc);

    if (rc && rc != was) {
        mp__event_note(manager, "pins-not-saved", "they hold until a restart: %s", mp_strerror(rc));
        mp__log(manager->log, MP__LOG_ERROR, "cache", "pins-not-saved",
                "what is pinned cannot be written to %s/pins, and holds until a restart: %s",
                manager->data_dir, mp_strerror(rc));
    }
}

/* On the worker for what takes long. */
static void task_runs(mp__task *task)
{
    mp__manager *manager = (mp__manager *)((char *)task - offsetof(mp__manager, pin_task));
    char **rows;
    size_t count;

    atomic_store(&manager->pins_wanted, false); /* before the look: who pins from now on, posts */
    if (atomic_exchange(&manager->pins_changed, false))
        save_or_tell(manager);
    if (mp__pins_patterns(manager, &rows, &count) != 0)
        return;
    mp__cache_pins_fill(manager->cache);
    for (size_t i = 0; i < count; i++)
        load_from_disk(manager, mp_str_of(rows[i]));
    mp__pins_patterns_free(rows, count);
    mp__preload_pins(manager);
}

static void load(mp__manager *manager)
{
    if (atomic_exchange(&manager->pins_wanted, true))
        return;
    manager->pin_task.run = task_runs;
    mp__worker_post(manager->slow, &manager->pin_task);
}

static void save_and_load(mp__manager *manager)
{
    atomic_store(&manager->pins_changed, true);
    load(manager);
}

/* ---- opening and closing ---- */

int mp__pins_open(mp__manager *manager, const mp__options *options, mp__diag *diag)
{
    size_t count = mp__options_list_count(options, "cache.pin");
    mp__cache_pins pins;
    int rc = 0;

    manager->pins_configured = mp__calloc(count ? count : 1, sizeof(*manager->pins_configured));
    if (!manager->pins_configured)
        return MP_ENOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const char *pattern = mp__options_list_at(options, "cache.pin", i);

        manager->pins_configured[i] = mp__strdup(pattern);
        manager->pin_count += manager->pins_configured[i] != NULL;
        rc = manager->pins_configured[i] ? mp__cache_pin(manager->cache, mp_str_of(pattern), diag)
                                         : MP_ENOMEM;
        if (mp__diag_row(diag, rc, i))
            mp__options_blame(options, "cache.pin", diag);
    }
    if (rc == 0)
        rc = read_file(manager, diag);
    mp__cache_pins_read(manager->cache, &pins);
    if (rc == 0 && pins.pins)
        load(manager);
    return rc;
}

void mp__pins_refill(mp__manager *manager)
{
    mp__cache_pins pins;

    mp__cache_pins_read(manager->cache, &pins);
    if (pins.pins && pins.left_out)
        load(manager);
}

void mp__pins_free_configured(mp__manager *manager)
{
    for (size_t i = 0; i < manager->pin_count; i++)
        (void)mp__free(manager->pins_configured[i]);
    manager->pins_configured = mp__free(manager->pins_configured);
    manager->pin_count = 0;
}

/* ---- asked for ---- */

int mp__manager_pin(mp__manager *manager, mp_str pattern, mp__diag *diag)
{
    int rc = mp__cache_pin(manager->cache, pattern, diag);

    if (rc)
        return rc;
    mp__event_note(manager, "pin", "%.*s", (int)(pattern.size < 150 ? pattern.size : 150),
                   pattern.data);
    save_and_load(manager);
    return 0;
}

int mp__manager_unpin(mp__manager *manager, mp_str pattern, mp__diag *diag)
{
    int rc;

    if (is_configured(manager, pattern))
        return mp__diag_set(diag, MP_EINVAL,
                            "it is pinned by cache.pin; take it out of the configuration");
    rc = mp__cache_unpin(manager->cache, pattern);
    if (rc)
        return rc;
    mp__event_note(manager, "unpin", "%.*s", (int)(pattern.size < 150 ? pattern.size : 150),
                   pattern.data);
    save_and_load(manager);
    return 0;
}

/* ---- telling ---- */

static int add_json(void *context, mp_str pattern)
{
    const listing *l = context;

    if (l->out->data[l->out->size - 1] != '[')
        (void)mp__buf_add_char(l->out, ',');
    mp__json_begin(l->out, '{');
    mp__json_add_string(l->out, "pin", pattern);
    mp__json_add_bool(l->out, "configured", is_configured(l->manager, pattern));
    mp__json_end(l->out, '}');
    return l->out->error;
}

void mp__pins_json(mp__manager *manager, mp__buf *out)
{
    mp__cache_pins pins;

    mp__cache_pins_read(manager->cache, &pins);
    mp__json_add_u64(out, "count", pins.pins);
    mp__json_add_u64(out, "entries", pins.entries);
    mp__json_add_u64(out, "entries_max", pins.entries_max);
    mp__json_add_u64(out, "bytes", pins.bytes);
    mp__json_add_u64(out, "bytes_max", pins.bytes_max);
    mp__json_add_u64(out, "left_out", pins.left_out);
    mp__json_add_text(
        out, "trouble",
        atomic_load(&manager->pin_trouble) ? mp_strerror(atomic_load(&manager->pin_trouble)) : "");
}

int mp__manager_pins(mp__manager *manager, mp__buf *out)
{
    listing l = {manager, out};

    mp__json_begin(out, '{');
    mp__pins_json(manager, out);
    mp__json_key(out, "pins");
    mp__json_begin(out, '[');
    (void)mp__cache_pins_each(manager->cache, add_json, &l);
    mp__json_end(out, ']');
    mp__json_end(out, '}');
    return out->error;
}

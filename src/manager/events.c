/* SPDX-License-Identifier: Apache-2.0 */
/* The event log: what happened to origin and cache, a JSON line each, so that a question about last
 * night has an answer after a restart, too. Bounded: at 1 MiB the file begins anew and the older
 * half is kept as events.jsonl.1. */
#include <stdarg.h>
#include <stdio.h>

#include <jansson.h>

#include "manager/internal.h"

enum { FILE_MAX = 1024 * 1024, AGAIN_MS = 60000 };

static void keep(mp__manager *manager, const mp__notable *notable)
{
    manager->notables[manager->notable_count++ % MP__EVENTS_KEPT] = *notable;
}

static void load_line(mp__manager *manager, const char *line, size_t size)
{
    json_t *object = json_loadb(line, size, 0, NULL);
    mp__notable notable = {0};

    if (!object)
        return; /* a torn line of a crash */
    notable.wall_ms = json_integer_value(json_object_get(object, "ms"));
    (void)snprintf(notable.what, sizeof(notable.what), "%s",
                   json_string_value(json_object_get(object, "event")) ?: "");
    (void)snprintf(notable.text, sizeof(notable.text), "%s",
                   json_string_value(json_object_get(object, "text")) ?: "");
    json_decref(object);
    keep(manager, &notable);
}

static void event_path(const mp__manager *manager, const char *ending, char *path, size_t capacity)
{
    (void)snprintf(path, capacity, "%s/events.jsonl%s", manager->data_dir, ending);
}

static void load_file(mp__manager *manager, const char *ending)
{
    char path[4200], *data, *end;
    size_t size;

    event_path(manager, ending, path, sizeof(path));
    if (mp__env_read_file(manager->env, path, 2 * FILE_MAX, &data, &size) != 0)
        return;
    for (char *line = data; line < data + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(data + size - line));
        if (!end)
            break;
        load_line(manager, line, (size_t)(end - line));
    }
    (void)mp__free(data);
}

int mp__events_open(mp__manager *manager)
{
    char path[4200];
    mp__stat stat;
    int rc;

    load_file(manager, ".1");
    load_file(manager, "");
    event_path(manager, "", path, sizeof(path));
    rc = mp__file_open(manager->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE, &manager->event_file);
    if (rc == 0 && mp__file_stat(manager->event_file, &stat) == 0)
        manager->event_bytes = stat.size;
    return rc == MP_ENOMEM ? rc : 0; /* on a full or broken disk the log is in memory only */
}

void mp__events_close(mp__manager *manager)
{
    mp__file_close(manager->event_file);
    manager->event_file = NULL;
}

static void rotate(mp__manager *manager)
{
    char path[4200], old[4200];

    event_path(manager, "", path, sizeof(path));
    event_path(manager, ".1", old, sizeof(old));
    mp__file_close(manager->event_file);
    manager->event_file = NULL;
    (void)mp__env_rename(manager->env, path, old);
    if (mp__file_open(manager->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE | MP__OPEN_TRUNCATE,
                      &manager->event_file) != 0)
        manager->event_file = NULL;
    manager->event_bytes = 0;
}

static void notable_json(const mp__notable *notable, mp__buf *out)
{
    mp__json_begin(out, '{');
    mp__json_add_i64(out, "ms", notable->wall_ms);
    mp__json_add_text(out, "event", notable->what);
    mp__json_add_text(out, "text", notable->text);
    mp__json_end(out, '}');
}

void mp__event_note(mp__manager *manager, const char *what, const char *format, ...)
{
    mp__notable notable = {.wall_ms = mp__env_wall_ms(manager->env)};
    mp__buf line = MP__BUF_INIT;
    va_list args;

    (void)snprintf(notable.what, sizeof(notable.what), "%s", what);
    va_start(args, format);
    (void)vsnprintf(notable.text, sizeof(notable.text), format, args);
    va_end(args);
    notable_json(&notable, &line);
    (void)mp__buf_add_char(&line, '\n');
    (void)pthread_mutex_lock(&manager->notable_lock);
    keep(manager, &notable);
    if (manager->event_bytes + line.size > FILE_MAX)
        rotate(manager);
    if (manager->event_file && line.error == 0 &&
        mp__file_pwrite(manager->event_file, line.data, line.size, manager->event_bytes) == 0)
        manager->event_bytes += line.size;
    (void)pthread_mutex_unlock(&manager->notable_lock);
    mp__buf_done(&line);
}

bool mp__event_was_noted(mp__manager *manager, const char *what, const char *text)
{
    int64_t now = mp__env_wall_ms(manager->env);
    size_t first;
    bool found = false;

    (void)pthread_mutex_lock(&manager->notable_lock);
    first = manager->notable_count > MP__EVENTS_KEPT ? manager->notable_count - MP__EVENTS_KEPT : 0;
    for (size_t i = manager->notable_count; i > first && !found; i--) {
        const mp__notable *notable = &manager->notables[(i - 1) % MP__EVENTS_KEPT];

        if (notable->wall_ms > now || now - notable->wall_ms >= AGAIN_MS)
            break;
        found = strcmp(notable->what, what) == 0 && strcmp(notable->text, text) == 0;
    }
    (void)pthread_mutex_unlock(&manager->notable_lock);
    return found;
}

void mp__events_json(mp__manager *manager, int64_t age_ms, mp__buf *out)
{
    int64_t since = mp__env_wall_ms(manager->env) - age_ms;
    size_t first;

    mp__json_begin(out, '[');
    (void)pthread_mutex_lock(&manager->notable_lock);
    first = manager->notable_count > MP__EVENTS_KEPT ? manager->notable_count - MP__EVENTS_KEPT : 0;
    for (size_t i = first; i < manager->notable_count; i++) {
        const mp__notable *notable = &manager->notables[i % MP__EVENTS_KEPT];

        if (notable->wall_ms >= since)
            notable_json(notable, out);
    }
    (void)pthread_mutex_unlock(&manager->notable_lock);
    mp__json_end(out, ']');
}

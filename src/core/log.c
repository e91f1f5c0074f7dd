/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/buf.h"
#include "core/json.h"
#include "core/option.h"

enum { COMPONENTS_MAX = 32, NAME_MAX_ = 24, PLACES = 64, BURST = 20, LINE_MAX_ = 4096 };

typedef struct place { /* a component and event, by the hash of their names */
    uint64_t hash, second;
    unsigned lines, held;
} place;

struct mp__log_sink {
    mp_env *env;
    int fd;
    enum mp__log_format format;
    _Atomic int level;
    pthread_mutex_t lock; /* over what follows, and the writing */
    _Atomic int component_count;
    struct {
        char name[NAME_MAX_];
        _Atomic int level;
    } components[COMPONENTS_MAX];
    place places[PLACES];
    mp__buf line;
};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

int mp__log_new(mp_env *env, int fd, enum mp__log_format format, mp__log_sink **ret_log)
{
    mp__log_sink *log = mp__calloc(1, sizeof(*log));

    if (!log)
        return MP_ENOMEM;
    log->env = env;
    log->fd = fd;
    log->format = format;
    log->line.size_max = LINE_MAX_;
    atomic_init(&log->level, MP__LOG_INFO);
    (void)pthread_mutex_init(&log->lock, NULL);
    *ret_log = log;
    return 0;
}

mp__log_sink *mp__log_free(mp__log_sink *log)
{
    if (!log)
        return NULL;
    mp__buf_done(&log->line);
    (void)pthread_mutex_destroy(&log->lock);
    return mp__free(log);
}

static int component_find(const mp__log_sink *log, const char *component)
{
    int count = atomic_load_explicit(&log->component_count, memory_order_acquire);

    for (int i = 0; i < count; i++)
        if (strcmp(log->components[i].name, component) == 0)
            return i;
    return -1;
}

static int component_level_set(mp__log_sink *log, const char *component, int level)
{
    int i, rc = 0;

    (void)pthread_mutex_lock(&log->lock);
    i = component_find(log, component);
    if (i < 0 && atomic_load(&log->component_count) == COMPONENTS_MAX) {
        rc = MP_ELIMIT;
    } else if (i < 0) {
        i = atomic_load(&log->component_count);
        (void)snprintf(log->components[i].name, NAME_MAX_, "%s", component);
        atomic_store(&log->components[i].level, level);
        atomic_store_explicit(&log->component_count, i + 1, memory_order_release);
    } else {
        atomic_store(&log->components[i].level, level);
    }
    (void)pthread_mutex_unlock(&log->lock);
    return rc;
}

static void all_levels_set(mp__log_sink *log, int level)
{
    (void)pthread_mutex_lock(&log->lock);
    atomic_store(&log->level, level);
    for (int i = 0; i < atomic_load(&log->component_count); i++)
        atomic_store(&log->components[i].level, level);
    (void)pthread_mutex_unlock(&log->lock);
}

int mp__log_level_set(mp__log_sink *log, const char *component, const char *level)
{
    for (int i = 0; i <= MP__LOG_OFF; i++) {
        if (strcmp(level_names[i], level) != 0)
            continue;
        if (component[0] && strcmp(component, "*") != 0)
            return component_level_set(log, component, i);
        all_levels_set(log, i);
        return 0;
    }
    return MP_EINVAL;
}

/* @word must be one of @names. */
static int check_word(const char *word, const char *what, const char *const *names, size_t count,
                      mp__diag *diag)
{
    const char *meant = mp__did_you_mean(word, names, count);
    mp__buf all = MP__BUF_INIT;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], word) == 0) {
            mp__buf_done(&all);
            return 0;
        }
        (void)mp__buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
    }
    (void)mp__buf_add_char(&all, '\0');
    (void)mp__diag_set(diag, MP_EINVAL, "there is no %s '%s'%s%s%s; there are %s", what, word,
                       meant ? ", did you mean '" : "", meant ? meant : "", meant ? "'" : "",
                       all.error ? "others" : all.data);
    mp__buf_done(&all);
    return MP_EINVAL;
}

int mp__log_level_check(const char *item, mp__diag *diag)
{
    static const char *const components[] = {"cache", "daemon", "manager", "origin", "server"};
    const char *equals = strchr(item, '=');
    char component[NAME_MAX_];
    int rc;

    if (!equals)
        return mp__diag_set(diag, MP_EINVAL, "'%s' is not COMPONENT=LEVEL, such as origin=debug",
                            item);
    (void)snprintf(component, sizeof(component), "%.*s", (int)(equals - item), item);
    rc = check_word(component, "component", components, sizeof(components) / sizeof(*components),
                    diag);
    return rc ? rc
              : check_word(equals + 1, "level", level_names,
                           sizeof(level_names) / sizeof(*level_names), diag);
}

bool mp__log_enabled(const mp__log_sink *log, const char *component, enum mp__log_level level)
{
    int i;

    if (!log)
        return false;
    i = component_find(log, component);
    return (int)level >= atomic_load_explicit(i < 0 ? &log->level : &log->components[i].level,
                                              memory_order_relaxed);
}

/* FNV-1a (Fowler, Noll, Vo); names in our code, not input. */
static uint64_t place_hash(const char *component, const char *event)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (const char *p = component; *p; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    h = (h ^ '/') * 0x100000001b3u;
    for (const char *p = event; *p; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    return h;
}

/* Whether the place may write now; *ret_held is how many it had to hold back before. */
static bool rate_allows(mp__log_sink *log, const char *component, const char *event,
                        unsigned *ret_held)
{
    uint64_t hash = place_hash(component, event), second = mp__env_now_ns(log->env) / 1000000000u;
    place *p = &log->places[hash % PLACES];

    if (p->hash != hash)
        *p = (place){.hash = hash, .second = second};
    if (p->second != second) {
        p->second = second;
        p->lines = 0;
    }
    if (p->lines >= BURST) {
        p->held++;
        return false;
    }
    p->lines++;
    *ret_held = p->held;
    p->held = 0;
    return true;
}

static void time_add(mp__buf *line, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[32];

    (void)gmtime_r(&seconds, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)mp__buf_printf(line, "%s.%03dZ", text, (int)(wall_ms % 1000));
}

static void line_for_machines(mp__log_sink *log, int level, const char *component,
                              const char *event, mp_str message)
{
    mp__buf *line = &log->line;

    (void)mp__buf_add_str(line, MP_STR("{\"time\":\""));
    time_add(line, mp__env_wall_ms(log->env));
    (void)mp__buf_printf(line,
                         "\",\"level\":\"%s\",\"component\":\"%s\",\"event\":\"%s\",\"message\":",
                         level_names[level], component, event);
    mp__json_string(line, message);
    (void)mp__buf_add_str(line, MP_STR("}\n"));
}

static void line_for_people(mp__log_sink *log, int level, const char *component, const char *event,
                            mp_str message)
{
    mp__buf *line = &log->line;
    size_t begin;

    time_add(line, mp__env_wall_ms(log->env));
    (void)mp__buf_printf(line, " %-5s %s: %s", level_names[level], component, event);
    if (message.size)
        (void)mp__buf_add_char(line, ' ');
    begin = line->size;
    mp__shown_add(line, message);
    for (size_t i = begin; i < line->size; i++)
        if (line->data[i] == '\n' || line->data[i] == '\t')
            line->data[i] = ' '; /* an entry is one line */
    (void)mp__buf_add_char(line, '\n');
}

void mp__log_write(mp__log_sink *log, enum mp__log_level level, const char *component,
                   const char *event, const char *format, ...)
{
    char message[1024];
    size_t size = 0;
    unsigned held = 0;
    va_list args;
    int n;

    if (!log)
        return;
    va_start(args, format);
    n = vsnprintf(message, sizeof(message) - 32, format, args);
    va_end(args);
    if (n > 0)
        size = (size_t)n < sizeof(message) - 32 ? (size_t)n : sizeof(message) - 33;
    (void)pthread_mutex_lock(&log->lock);
    if (rate_allows(log, component, event, &held)) {
        if (held)
            size += (size_t)snprintf(message + size, 32, " (held back %u)", held);
        mp__buf_reset(&log->line);
        (log->format == MP__LOG_JSON ? line_for_machines : line_for_people)(
            log, level, component, event, mp_str_new(message, size));
        if (write(log->fd, log->line.data, log->line.size) < 0)
            (void)0; /* nobody to tell */
    }
    (void)pthread_mutex_unlock(&log->lock);
}

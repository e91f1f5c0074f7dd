/* SPDX-License-Identifier: Apache-2.0 */
/* Logging: JSON lines or for people, a level a component, a rate limit a place.
 *
 * Only the daemon and the CLI log; the library's functions return errors. Call through the macro:
 *     mp__log(log, MP__LOG_WARN, "origin", "lost", "path=%s cause=%s", path, mp_strerror(rc));
 * gives {"time":"...","level":"warn","component":"origin","event":"lost","message":"path=..."}. */
#ifndef MP_CORE_LOG_H
#define MP_CORE_LOG_H

#include <stdbool.h>

#include "core/env.h"

typedef struct mp__log_sink mp__log_sink;

enum mp__log_level { MP__LOG_DEBUG, MP__LOG_INFO, MP__LOG_WARN, MP__LOG_ERROR, MP__LOG_OFF };
enum mp__log_format { MP__LOG_PEOPLE, MP__LOG_JSON };

/* A sink that writes whole lines to descriptor @fd (not closed by it). At most 20 lines a second of
 * one component and event go through; how many were held back is said with the next. MP_ENOMEM. */
MP_MUST_USE int mp__log_new(mp_env *env, int fd, enum mp__log_format format,
                            mp__log_sink **ret_log);
mp__log_sink *mp__log_free(mp__log_sink *log);

/* Least level that is written: for everything (component "" or "*"; what was said of single ones is
 * forgotten), or for one component. "debug", "info", "warn", "error", "off". MP_EINVAL: no such
 * level; MP_ELIMIT: above 32 components. Any thread. */
int mp__log_level_set(mp__log_sink *log, const char *component, const char *level);
/* Whether @item is "component=level" of a component and a level that there are: 0, or MP_EINVAL
 * with what was perhaps meant. Pure. */
int mp__log_level_check(const char *item, mp__diag *diag);
/* Whether a line would be written; false for NULL. Any thread; a few loads. */
bool mp__log_enabled(const mp__log_sink *log, const char *component, enum mp__log_level level);

/* Write one line. Any thread; never fails visibly. */
void mp__log_write(mp__log_sink *log, enum mp__log_level level, const char *component,
                   const char *event, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#define mp__log(log, level, component, event, ...)                                                 \
    do {                                                                                           \
        if (mp__log_enabled(log, component, level))                                                \
            mp__log_write(log, level, component, event, __VA_ARGS__);                              \
    } while (0)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism doctor: a table of checks, one function a check. A check looks at one thing and says
 * what it found, with a remedy where something is to be done. */
#ifndef MP_CLI_DOCTOR_H
#define MP_CLI_DOCTOR_H

#include <jansson.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "cli/cli.h"
#include "core/env.h"
#include "core/option.h"

enum mp__severity { MP__FINDING_OK, MP__FINDING_WARNING, MP__FINDING_TROUBLE };

typedef struct mp__finding {
    const char *check;
    enum mp__severity severity;
    char what[400], remedy[300]; /* one line each; remedy "" with OK */
} mp__finding;

/* What the checks ask of the system beside mp_env, so that tests can answer. */
typedef struct mp__doctor_world {
    const char *root; /* before /proc and /sys */
    int (*statvfs)(const char *path, struct statvfs *ret_stat);
    int (*nofile)(struct rlimit *ret_limit);
    int (*clock_status)(void); /* as adjtimex: TIME_ERROR when it is not synchronised */
    bool (*has_membarrier)(void);
    unsigned uid; /* of who runs the doctor; 0 in mp__doctor_real_world, which is a constant */
} mp__doctor_world;
extern const mp__doctor_world mp__doctor_real_world;

typedef struct mp__doctor {
    mp_env *env;
    const mp__doctor_world *world;
    const char *config;         /* the file, or NULL */
    const mp__options *options; /* with the defaults where the file is wrong */
    mp__diag config_error;      /* text "": it is right */
    const char *data_dir;
    const char *resp;     /* address that is asked */
    const json_t *status; /* of the daemon that answers there, or NULL */
    char no_answer[300];  /* why not */
    const char *check;    /* that runs */
    mp__finding *findings;
    size_t count, capacity;
} mp__doctor;

/* Note a finding of the check that runs. */
void mp__doctor_say(mp__doctor *d, enum mp__severity severity, const char *remedy,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

typedef struct mp__check {
    const char *name, *looks_at;
    void (*run)(mp__doctor *d);
} mp__check;
extern const mp__check mp__checks[]; /* ended by a NULL name */

/* Run the one named, or all when @name is NULL. */
void mp__doctor_run(mp__doctor *d, const char *name);
void mp__doctor_done(mp__doctor *d);

/* For the checks. A whole small file below root, terminated; NULL when it cannot be read; the
 * caller's to mp__free(). */
char *mp__doctor_read(const mp__doctor *d, const char *path);
/* The first number in it, or @other. */
long long mp__doctor_number(const mp__doctor *d, const char *path, long long other);
/* "1.5 GiB" */
const char *mp__doctor_bytes(uint64_t bytes, char *text, size_t capacity);
long mp__doctor_pid(const mp__doctor *d); /* of the daemon that has the data directory; 0: none */
int mp__doctor_path(const mp__doctor *d, const char *name, char *path, size_t capacity);

/* doctor_data.c */
void mp__check_config(mp__doctor *d);
void mp__check_data_dir(mp__doctor *d);
void mp__check_versions(mp__doctor *d);
void mp__check_daemon(mp__doctor *d);
void mp__check_origin(mp__doctor *d);
void mp__check_damage(mp__doctor *d);
/* doctor_files.c */
void mp__check_folder(mp__doctor *d); /* of the origin file */
/* doctor_machine.c */
void mp__check_disk(mp__doctor *d);
void mp__check_limits(mp__doctor *d);
void mp__check_memory(mp__doctor *d);
void mp__check_clock(mp__doctor *d);
void mp__check_ports(mp__doctor *d);
void mp__check_kernel(mp__doctor *d);
void mp__check_service(mp__doctor *d);

#endif

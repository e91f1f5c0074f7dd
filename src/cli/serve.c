/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism serve: options, manager, server, signals. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <marketprism/version.h>

#include "cli/cli.h"
#include "core/alloc.h"
#include "core/env_notify.h"
#include "core/json.h"
#include "core/log.h"
#include "core/option.h"
#include "manager/manager.h"
#include "monitor/monitor.h"
#include "server/server.h"

const mp__flag mp__serve_flags[] = {
    {"--config", "-c", "FILE", "Configuration in YAML; docs/configuration.md lists the options."},
    {"--data-dir", "-d", "DIR", "Folder of the database and the cache on disk (data_dir)."},
    {"--resp", NULL, "HOST:PORT", "Address of the RESP port (resp.listen)."},
    {"--http", NULL, "HOST:PORT", "Address of the HTTP port (http.listen)."},
    {"--set", NULL, "KEY=VALUE", "Set any option; may be given many times."},
    {"--new-origin", NULL, NULL,
     "Begin a new database although there was one; the old one is moved aside."},
    {"--log-level", NULL, "LEVEL", "debug, info, warn, error or off (log.level)."},
    {NULL, NULL, NULL, NULL},
};

enum {
    CONFIG_MAX = 1024 * 1024,
    OTHER_WAIT_MS = 2000, /* for a daemon before this one to end */
    OTHER_SAID_MS = 100,  /* and that it waits is said from here on */
    OTHER_STEP_MS = 5,
};

typedef struct daemon_state {
    const mp__arguments *arguments;
    mp__options *options;
    mp__log_sink *log;
    mp__monitor *monitor;
    mp__manager *manager;
    mp__server *server;
    mp__loop *loop;
} daemon_state;

/* ---- options ---- */

static int set_flag(mp__options *options, const mp__arguments *arguments, const char *flag,
                    const char *path, mp__diag *diag)
{
    const char *value = mp__flag_value(arguments, flag);

    return value ? mp__options_set(options, path, value, diag) : 0;
}

static int set_pairs(mp__options *options, const mp__arguments *arguments, mp__diag *diag)
{
    int rc = 0;

    for (int i = 0; i < arguments->set_count && rc == 0; i++) {
        const char *pair = arguments->sets[i], *equals = strchr(pair, '=');
        MP__CLEANUP_FREE char *path = NULL;

        if (!equals)
            return mp__diag_set(diag, MP_EINVAL, "--set %s: write KEY=VALUE", pair);
        path = mp__str_dup(mp_str_new(pair, (size_t)(equals - pair)));
        rc = path ? mp__options_set(options, path, equals + 1, diag) : MP_ENOMEM;
    }
    return rc;
}

static int read_config(mp__options *options, const char *path, mp__diag *diag)
{
    char *text;
    size_t size;
    int rc = mp__env_read_file(mp__env_real(), path, CONFIG_MAX, &text, &size);

    if (rc)
        return mp__diag_set(diag, rc, "cannot read %s: %s", path, mp_strerror(rc));
    rc = mp__options_parse(options, path, mp_str_new(text, size), diag);
    (void)mp__free(text);
    return rc;
}

int mp__cli_options(const mp__arguments *arguments, mp__options **ret_options, mp__diag *diag)
{
    const char *config = mp__flag_value(arguments, "--config");
    mp__options *options;
    int rc = mp__options_new(&options);

    if (rc)
        return rc;
    if (config)
        rc = read_config(options, config, diag);
    if (rc == 0) {
        diag->file[0] = '\0';
        rc = set_flag(options, arguments, "--data-dir", "data_dir", diag);
    }
    if (rc == 0)
        rc = set_flag(options, arguments, "--resp", "resp.listen", diag);
    if (rc == 0)
        rc = set_flag(options, arguments, "--http", "http.listen", diag);
    if (rc == 0)
        rc = set_flag(options, arguments, "--log-level", "log.level", diag);
    if (rc == 0)
        rc = set_pairs(options, arguments, diag);
    if (rc) {
        (void)mp__options_free(options);
        return rc;
    }
    *ret_options = options;
    return 0;
}

static int check_log_levels(const mp__options *options, mp__diag *diag)
{
    int rc = 0;

    for (size_t i = 0; i < mp__options_list_count(options, "log.levels") && rc == 0; i++)
        rc = mp__diag_row(
            diag, mp__log_level_check(mp__options_list_at(options, "log.levels", i), diag), i);
    if (rc)
        mp__options_blame(options, "log.levels", diag);
    return rc;
}

static void set_log_levels(mp__log_sink *log, const mp__options *options)
{
    (void)mp__log_level_set(log, "", mp__options_text(options, "log.level"));
    for (size_t i = 0; i < mp__options_list_count(options, "log.levels"); i++) {
        char component[64];
        const char *item = mp__options_list_at(options, "log.levels", i),
                   *equals = strchr(item, '=');

        if (!equals || (size_t)(equals - item) >= sizeof(component))
            continue;
        (void)snprintf(component, sizeof(component), "%.*s", (int)(equals - item), item);
        (void)mp__log_level_set(log, component, equals + 1);
    }
}

static int open_log(daemon_state *d)
{
    const char *format = mp__options_text(d->options, "log.format");
    bool people = strcmp(format, "people") == 0 || (strcmp(format, "auto") == 0 && isatty(2));
    int rc = mp__log_new(mp__env_real(), 2, people ? MP__LOG_PEOPLE : MP__LOG_JSON, &d->log);

    if (rc == 0)
        set_log_levels(d->log, d->options);
    return rc;
}

/* ---- the service manager ---- */

/* Where it started us it waits for this; elsewhere nothing happens. */
static void tell_manager(const daemon_state *d, const char *state)
{
    int rc = mp__service_notify(state);

    if (rc)
        mp__log(d->log, MP__LOG_WARN, "daemon", "not-notified",
                "the service manager at NOTIFY_SOCKET cannot be told: %s", mp_strerror(rc));
}

static void tell_reloading(const daemon_state *d)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
                   (unsigned long long)(mp__env_now_ns(mp__env_real()) / 1000));
    tell_manager(d, text);
}

static void tell_ready(const daemon_state *d)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "READY=1\nSTATUS=RESP at %s, HTTP at %s",
                   mp__server_resp_address(d->server), mp__server_http_address(d->server));
    tell_manager(d, text);
}

/* ---- signals ---- */

static void stop_signal(void *context, int signal)
{
    daemon_state *d = context;

    mp__log(d->log, MP__LOG_INFO, "daemon", "stopping", "signal %d", signal);
    tell_manager(d, "STOPPING=1\nSTATUS=answering what is under way");
    mp__loop_stop(d->loop);
}

static void say_change(void *context, const mp__option *option)
{
    daemon_state *d = context;

    if (!option->live)
        mp__log(d->log, MP__LOG_WARN, "daemon", "needs-restart", "%s is read at start only",
                option->path);
}

static void reload(daemon_state *d)
{
    mp__options *options = NULL;
    mp__diag diag = {0};
    char text[900];
    int rc = mp__cli_options(d->arguments, &options, &diag);

    if (rc == 0)
        rc = check_log_levels(options, &diag);
    if (rc == 0)
        rc = mp__server_check(options, &diag);
    if (rc == 0)
        rc = mp__manager_reload(d->manager, options, &diag);
    if (rc == 0)
        rc = mp__server_reload(d->server, options, &diag);
    if (rc) {
        mp__log(d->log, MP__LOG_ERROR, "daemon", "reload-refused",
                "%s; the old configuration stays", mp__diag_format(&diag, text, sizeof(text)));
        (void)mp__options_free(options);
        return;
    }
    mp__options_diff(d->options, options, say_change, d);
    set_log_levels(d->log, options);
    mp__options_swap(d->options, options);
    (void)mp__options_free(options);
    mp__log(d->log, MP__LOG_INFO, "daemon", "reloaded", "%s",
            mp__flag_given(d->arguments, "--config") ? mp__flag_value(d->arguments, "--config")
                                                     : "command line");
}

/* Refused or not, what serves after it is ready. */
static void reload_signal(void *context, int signal)
{
    daemon_state *d = context;

    (void)signal;
    tell_reloading(d);
    reload(d);
    tell_ready(d);
}

/* ---- the daemon ---- */

static void say_ready(const daemon_state *d, uint64_t started_ns)
{
    mp__buf line = MP__BUF_INIT;
    mp__summary summary;

    mp__manager_summary(d->manager, &summary);
    mp__json_begin(&line, '{');
    mp__json_add_text(&line, "event", "ready");
    mp__json_add_text(&line, "resp", mp__server_resp_address(d->server));
    mp__json_add_text(&line, "http", mp__server_http_address(d->server));
    mp__json_add_u64(&line, "startup_ms", (mp__env_now_ns(mp__env_real()) - started_ns) / 1000000u);
    mp__json_add_text(&line, "version", MP_VERSION);
    mp__json_add_i64(&line, "pid", getpid());
    mp__json_add_text(&line, "trouble", summary.text);
    mp__json_end(&line, '}');
    (void)mp__buf_add_char(&line, '\n');
    (void)fwrite(line.data, 1, line.size, stdout);
    (void)fflush(stdout);
    if (summary.text[0])
        mp__log(d->log, MP__LOG_ERROR, "daemon", "degraded", "%s", summary.text);
    mp__buf_done(&line);
}

/* A taken port refuses the start before anything is made on disk. Where there is a data directory
 * nothing new is made, and its lock tells better who is in the way: it knows the process. */
static int check_ports(const daemon_state *d, mp__diag *diag)
{
    char path[4200];
    mp__stat stat;

    (void)snprintf(path, sizeof(path), "%s/lock", mp__options_text(d->options, "data_dir"));
    return mp__env_stat(mp__env_real(), path, &stat) == 0
               ? 0
               : mp__server_probe(mp__env_real(), d->options, diag);
}

/* Whether what was refused as taken, until @until_ns, shall be tried again; sleeps a little. Says
 * once that it waits, so that who looks on knows why nothing comes. */
static bool wait_for_other(const daemon_state *d, uint64_t began_ns, const mp__diag *refused,
                           bool *said)
{
    uint64_t waited_ms = (mp__env_now_ns(mp__env_real()) - began_ns) / 1000000u;

    if (waited_ms >= OTHER_WAIT_MS)
        return false;
    if (waited_ms >= OTHER_SAID_MS && !*said) {
        *said = true;
        mp__log(d->log, MP__LOG_WARN, "daemon", "waiting", "%s; waiting up to %d s for its end",
                refused->text, OTHER_WAIT_MS / 1000);
    }
    mp__cli_wait_ms(OTHER_STEP_MS);
    return true;
}

/* A daemon that was killed just now, or is stopping, still has its folder and its ports for a
 * moment, while the system takes its memory back: that moment is waited for. A port is waited for
 * only behind a folder that was: elsewhere another program has it, and will not go. */
static int open_manager(daemon_state *d, const mp__manager_config *config, mp__diag *diag)
{
    uint64_t began_ns = mp__env_now_ns(mp__env_real());
    bool said = false, waited = false;
    int rc;

    while ((rc = mp__manager_open(config, &d->manager, diag)) == MP_ELOCKED &&
           wait_for_other(d, began_ns, diag, &said)) {
        *diag = (mp__diag){0};
        waited = true;
    }
    while (rc == 0 && waited &&
           (rc = mp__server_probe(mp__env_real(), d->options, diag)) == -EADDRINUSE &&
           wait_for_other(d, began_ns, diag, &said)) {
        *diag = (mp__diag){0};
        rc = 0;
    }
    return rc;
}

static int start(daemon_state *d, mp__diag *diag)
{
    mp__manager_config manager = {
        .env = mp__env_real(),
        .log = d->log,
        .options = d->options,
        .monitor = d->monitor,
        .data_dir = mp__options_text(d->options, "data_dir"),
        .new_origin = mp__flag_given(d->arguments, "--new-origin"),
    };
    mp__server_config server = {mp__env_real(), d->log, d->options, NULL, d->monitor};
    int rc = mp__manager_check(d->options, diag);

    if (rc == 0) /* before anything is made on disk */
        rc = mp__server_check(d->options, diag);
    if (rc == 0)
        rc = check_ports(d, diag);
    if (rc == 0)
        rc = mp__loop_new(mp__env_real(), "mp-main", &d->loop);
    if (rc == 0)
        rc = open_manager(d, &manager, diag);
    server.manager = d->manager;
    if (rc == 0)
        rc = mp__server_start(&server, &d->server, diag);
    if (rc == 0)
        rc = mp__loop_on_signal(d->loop, SIGTERM, stop_signal, d);
    if (rc == 0)
        rc = mp__loop_on_signal(d->loop, SIGINT, stop_signal, d);
    if (rc == 0)
        rc = mp__loop_on_signal(d->loop, SIGHUP, reload_signal, d);
    return rc;
}

static int end(daemon_state *d, int code)
{
    uint64_t drain = d->options ? (uint64_t)mp__options_int(d->options, "server.drain") : 0;

    mp__server_stop(d->server, drain);
    d->manager = mp__manager_close(d->manager); /* what it still works at is posted to the loops */
    d->server = mp__server_free(d->server);
    d->loop = mp__loop_free(d->loop);
    d->monitor = mp__monitor_free(d->monitor);
    d->log = mp__log_free(d->log);
    d->options = mp__options_free(d->options);
    return code;
}

int mp__verb_serve(const mp__arguments *arguments)
{
    daemon_state d = {.arguments = arguments};
    uint64_t started_ns = mp__env_now_ns(mp__env_real());
    mp__diag diag = {0};
    char text[900];
    int rc;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* LimitFSIZE= then is an error of the write, as a full disk */
    /* Large buffers are mapped and given back, whatever size was freed before: glibc raises this
     * threshold by itself otherwise, and memory that a storm of clients took would stay. */
    (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    rc = mp__cli_options(arguments, &d.options, &diag);
    if (rc == 0)
        rc = check_log_levels(d.options, &diag);
    if (rc == 0)
        rc = open_log(&d);
    if (rc == 0)
        rc = mp__monitor_new(&d.monitor);
    if (rc == 0)
        rc = start(&d, &diag);
    if (rc) {
        if (!diag.text[0])
            (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
        return end(
            &d, mp__cli_fail(arguments,
                             rc == MP_EINVAL || rc == MP_ESYNTAX ? MP__EXIT_USAGE : MP__EXIT_ERROR,
                             "%s", mp__diag_format(&diag, text, sizeof(text))));
    }
    say_ready(&d, started_ns);
    tell_ready(&d);
    (void)mp__loop_run(d.loop);
    return end(&d, 0);
}

/* What became of the check of @file as JSON; @diag NULL: it is good. */
static int print_check(const char *file, const mp__diag *diag)
{
    mp__buf json = MP__BUF_INIT;
    int code;

    mp__json_begin(&json, '{');
    mp__json_add_text(&json, "file", file);
    mp__json_add_bool(&json, "good", !diag);
    if (diag) {
        mp__json_add_i64(&json, "line", diag->line);
        mp__json_add_i64(&json, "column", diag->column);
        mp__json_add_text(&json, "text", diag->text);
    }
    mp__json_end(&json, '}');
    (void)mp__buf_add_char(&json, '\n');
    code = json.error ? MP__EXIT_ERROR : mp__cli_put(mp__buf_str(&json));
    mp__buf_done(&json);
    return diag ? MP__EXIT_ERROR : code;
}

int mp__verb_check_config(const mp__arguments *arguments)
{
    bool as_json = mp__flag_given(arguments, "--json");
    mp__options *options = NULL;
    mp__diag diag = {0};
    char text[900];
    int rc = mp__options_new(&options);

    if (rc == 0)
        rc = read_config(options, arguments->words[0], &diag);
    if (rc == 0)
        rc = check_log_levels(options, &diag);
    if (rc == 0)
        rc = mp__manager_check(options, &diag);
    if (rc == 0)
        rc = mp__server_check(options, &diag);
    options = mp__options_free(options);
    if (rc && !diag.text[0])
        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
    if (as_json)
        return print_check(arguments->words[0], rc ? &diag : NULL);
    if (rc)
        return mp__cli_fail(arguments, MP__EXIT_ERROR, "%s",
                            mp__diag_format(&diag, text, sizeof(text)));
    (void)printf("%s: good\n", arguments->words[0]);
    return 0;
}

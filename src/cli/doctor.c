/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism doctor: the table, what the checks share, and how findings are told. */
#include "cli/doctor.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/json.h"
#include "manager/manager.h"

const mp__flag mp__doctor_flags[] = {
    {"--config", "-c", "FILE", "The configuration file of the daemon."},
    {"--data-dir", "-d", "DIR", "The data directory; else that of the daemon that answers."},
    {"--resp", NULL, "HOST:PORT",
     "Where to ask for a daemon; else resp.listen if it is set, else $MARKETPRISM_ADDR."},
    {"--set", NULL, "KEY=VALUE", "Set any option, as for serve."},
    {"--json", NULL, NULL, "Print JSON."},
    {NULL, NULL, NULL, NULL},
};

const mp__check mp__checks[] = {
    {"config", "the configuration file", mp__check_config},
    {"data-dir", "the data directory, its permissions and its lock", mp__check_data_dir},
    {"versions", "the formats of the files in it", mp__check_versions},
    {"daemon", "the daemon that answers, or that none does", mp__check_daemon},
    {"origin", "where configuration comes from", mp__check_origin},
    {"damage", "what the cache keeps on disk, and writes back", mp__check_damage},
    {"disk", "room, inodes, and how long a synced write takes", mp__check_disk},
    {"limits", "descriptors against the clients that are allowed", mp__check_limits},
    {"memory", "memory against what the cache may take", mp__check_memory},
    {"clock", "jumps and synchronisation", mp__check_clock},
    {"ports", "who has the ports", mp__check_ports},
    {"kernel", "membarrier, watches of folders, huge pages, queue of connections",
     mp__check_kernel},
    {"service", "as whom the daemon runs, and how shut in", mp__check_service},
    {NULL, NULL, NULL},
};

/* ---- findings ---- */

void mp__doctor_say(mp__doctor *d, enum mp__severity severity, const char *remedy,
                    const char *format, ...)
{
    mp__finding *f;
    va_list args;

    if (d->count == d->capacity) {
        size_t capacity = d->capacity ? 2 * d->capacity : 32;
        mp__finding *more = mp__realloc_array(d->findings, capacity, sizeof(*more));

        if (!more)
            return; /* who has no memory for a line has been told so */
        d->findings = more;
        d->capacity = capacity;
    }
    f = &d->findings[d->count++];
    *f = (mp__finding){.check = d->check, .severity = severity};
    va_start(args, format);
    (void)vsnprintf(f->what, sizeof(f->what), format, args);
    va_end(args);
    (void)snprintf(f->remedy, sizeof(f->remedy), "%s", remedy);
}

void mp__doctor_run(mp__doctor *d, const char *name)
{
    for (const mp__check *c = mp__checks; c->name; c++)
        if (!name || strcmp(c->name, name) == 0) {
            d->check = c->name;
            c->run(d);
        }
}

void mp__doctor_done(mp__doctor *d)
{
    d->findings = mp__free(d->findings);
    d->count = d->capacity = 0;
}

/* ---- for the checks ---- */

/* Not through mp_env: files of /proc have no size, and are never simulated. */
char *mp__doctor_read(const mp__doctor *d, const char *path)
{
    enum { MOST = 1 << 20 };
    char name[4400];
    mp__buf text = MP__BUF_INIT;
    ssize_t n = 0;
    int fd;

    (void)snprintf(name, sizeof(name), "%s%s", d->world->root, path);
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    while (text.size < MOST && mp__buf_reserve(&text, 4096) == 0 &&
           (n = read(fd, text.data + text.size, 4096)) > 0)
        text.size += (size_t)n;
    (void)close(fd);
    if (n < 0 || mp__buf_add_char(&text, '\0') != 0) {
        mp__buf_done(&text);
        return NULL;
    }
    return text.data;
}

long long mp__doctor_number(const mp__doctor *d, const char *path, long long other)
{
    MP__CLEANUP_FREE char *text = mp__doctor_read(d, path);
    char *end;
    long long number;

    if (!text)
        return other;
    number = strtoll(text, &end, 10);
    return end == text ? other : number;
}

const char *mp__doctor_bytes(uint64_t bytes, char *text, size_t capacity)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;

    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    (void)snprintf(text, capacity, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

int mp__doctor_path(const mp__doctor *d, const char *name, char *path, size_t capacity)
{
    int n = snprintf(path, capacity, "%s/%s", d->data_dir, name);

    return n > 0 && (size_t)n < capacity ? 0 : MP_ELIMIT;
}

long mp__doctor_pid(const mp__doctor *d)
{
    char path[4300];
    MP__CLEANUP_FREE char *text = NULL;
    mp__file *file;
    size_t size;
    int rc;

    if (mp__doctor_path(d, "lock", path, sizeof(path)) != 0 ||
        mp__file_open(d->env, path, MP__OPEN_READ, &file) != 0)
        return 0;
    rc = mp__file_lock(
        file); /* held for a moment at most: a daemon that starts just now tries once */
    mp__file_close(file);
    if (rc != MP_ELOCKED || mp__env_read_file(d->env, path, 64, &text, &size) != 0)
        return 0;
    return strtol(text, NULL, 10);
}

/* ---- telling ---- */

static const char *const severities[] = {"ok", "warning", "trouble"};

static size_t count_of(const mp__doctor *d, enum mp__severity severity)
{
    size_t n = 0;

    for (size_t i = 0; i < d->count; i++)
        n += d->findings[i].severity == severity;
    return n;
}

static void tell_people(const mp__doctor *d)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    bool colour = mp__cli_colour(1);
    size_t warnings = count_of(d, MP__FINDING_WARNING), troubles = count_of(d, MP__FINDING_TROUBLE);

    for (size_t i = 0; i < d->count; i++) {
        const mp__finding *f = &d->findings[i];

        if (colour)
            mp__cli_own(stdout, colours[f->severity]);
        (void)printf("%-8s", severities[f->severity]);
        if (colour)
            mp__cli_own(stdout, "\033[0m");
        (void)printf(" %-9s %s\n", f->check, f->what);
        if (f->remedy[0])
            (void)printf("%18s -> %s\n", "", f->remedy);
    }
    (void)printf("\n%zu trouble%s, %zu warning%s\n", troubles, troubles == 1 ? "" : "s", warnings,
                 warnings == 1 ? "" : "s");
}

static int tell_json(const mp__doctor *d)
{
    mp__buf out = MP__BUF_INIT;
    int code;

    mp__json_begin(&out, '{');
    mp__json_add_bool(&out, "well", count_of(d, MP__FINDING_TROUBLE) == 0);
    mp__json_add_u64(&out, "troubles", count_of(d, MP__FINDING_TROUBLE));
    mp__json_add_u64(&out, "warnings", count_of(d, MP__FINDING_WARNING));
    mp__json_add_text(&out, "data_dir", d->data_dir);
    mp__json_key(&out, "findings");
    mp__json_begin(&out, '[');
    for (size_t i = 0; i < d->count; i++) {
        mp__json_begin(&out, '{');
        mp__json_add_text(&out, "check", d->findings[i].check);
        mp__json_add_text(&out, "severity", severities[d->findings[i].severity]);
        mp__json_add_text(&out, "what", d->findings[i].what);
        mp__json_add_text(&out, "remedy", d->findings[i].remedy);
        mp__json_end(&out, '}');
    }
    mp__json_end(&out, ']');
    mp__json_end(&out, '}');
    (void)mp__buf_add_char(&out, '\n');
    code = out.error ? MP__EXIT_ERROR : mp__cli_put(mp__buf_str(&out));
    mp__buf_done(&out);
    return code;
}

/* ---- the verb ---- */

/* As every server of RESP but ours says of a command of ours. */
static bool is_unknown_command(mp_str error)
{
    mp_str begins = MP_STR("ERR unknown command");

    return error.size >= begins.size && memcmp(error.data, begins.data, begins.size) == 0;
}

/* The status of the daemon at d->resp, or NULL and why not. */
static json_t *ask_status(mp__doctor *d)
{
    mp_str words[] = {MP_STR("MP.STATUS")};
    mp__client *client = NULL;
    mp__reply *reply = NULL;
    mp__diag diag = {0};
    json_t *status = NULL;
    int rc = mp__client_open(d->resp, 2000, &client, &diag);

    if (rc == 0)
        rc = mp__client_call(client, words, 1, &reply, &diag);
    if (rc == 0 && reply->type == MP__REPLY_ERROR && !is_unknown_command(reply->text))
        (void)snprintf(diag.text, sizeof(diag.text), "%.*s", (int)reply->text.size,
                       reply->text.data);
    else if (rc == 0 && reply->type == MP__REPLY_ERROR)
        (void)snprintf(diag.text, sizeof(diag.text),
                       "what listens at %.100s is no daemon: it says '%.*s'", d->resp,
                       (int)(reply->text.size < 120 ? reply->text.size : 120), reply->text.data);
    else if (rc == MP_EPROTO)
        (void)snprintf(diag.text, sizeof(diag.text),
                       "what listens at %.100s is no daemon: it does not speak RESP", d->resp);
    else if (rc == 0)
        status = json_loadb(mp__reply_text(reply).data, mp__reply_text(reply).size, 0, NULL);
    if (!status)
        (void)snprintf(d->no_answer, sizeof(d->no_answer), "%.290s",
                       diag.text[0] ? diag.text : "it answers something else than a daemon would");
    (void)mp__reply_free(reply);
    (void)mp__client_close(client);
    return status;
}

/* The options as serve would have them; where that is an error, the defaults, so that the rest can
 * be looked at. */
static int take_options(const mp__arguments *arguments, mp__doctor *d, mp__options **ret_options)
{
    int rc = mp__cli_options(arguments, ret_options, &d->config_error);

    if (rc == 0) {
        (void)mp__manager_check(*ret_options, &d->config_error);
        return 0;
    }
    if (!d->config_error.text[0])
        (void)mp__diag_set(&d->config_error, rc, "%s", mp_strerror(rc));
    return mp__options_new(ret_options);
}

/* Where the daemon is asked for: a configuration that says where it listens is its own, else the
 * address is that of the other verbs. */
static const char *address_of(const mp__arguments *arguments, const mp__options *options)
{
    const char *address = mp__flag_value(arguments, "--resp");

    if (!address && !mp__options_is_set(options, "resp.listen"))
        address = getenv("MARKETPRISM_ADDR");
    return address && *address ? address : mp__options_text(options, "resp.listen");
}

int mp__verb_doctor(const mp__arguments *arguments)
{
    mp__doctor_world world = mp__doctor_real_world;
    mp__doctor d = {.env = mp__env_real(), .world = &world};
    const char *data_dir = mp__flag_value(arguments, "--data-dir");
    mp__options *options = NULL;
    json_t *status;
    int code;

    if (take_options(arguments, &d, &options) != 0)
        return mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
    world.uid = geteuid();
    d.options = options;
    d.config = mp__flag_value(arguments, "--config");
    d.resp = address_of(arguments, options);
    d.status = status = ask_status(&d);
    d.data_dir = json_string_value(json_object_get(status, "data_dir"));
    if (data_dir || !d.data_dir || mp__options_is_set(options, "data_dir"))
        d.data_dir = data_dir ? data_dir : mp__options_text(options, "data_dir");
    mp__doctor_run(&d, NULL);
    code = mp__flag_given(arguments, "--json") ? tell_json(&d) : (tell_people(&d), 0);
    if (code == 0 && count_of(&d, MP__FINDING_TROUBLE))
        code = MP__EXIT_ERROR;
    mp__doctor_done(&d);
    json_decref(status);
    options = mp__options_free(options);
    return code;
}

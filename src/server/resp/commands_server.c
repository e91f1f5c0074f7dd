/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on the daemon. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <marketprism/version.h>

#include "server/resp/commands.h"

enum { GLOB_STEPS = 100000 }; /* for one name; what takes longer does not match */

/* ---- INFO ---- */

static uint64_t uptime_s(const mp__server *server)
{
    return (mp__env_now_ns(server->env) - server->started_ns) / 1000000000u;
}

static void info_server(mp__connection *c, mp__buf *text)
{
    mp__server *s = c->worker->server;

    (void)mp__buf_printf(text,
                         "# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\n"
                         "marketprism_version:%s\r\nos:Linux\r\narch_bits:%zu\r\n"
                         "multiplexing_api:epoll%s\r\nprocess_id:%ld\r\n"
                         "tcp_port:%u\r\nuptime_in_seconds:%" PRIu64 "\r\nuptime_in_days:%" PRIu64
                         "\r\n",
                         c->worker->limits.version_reported, MP_VERSION, sizeof(void *) * 8,
                         mp__loop_has_ring(c->worker->loop) ? " and io_uring" : "", (long)getpid(),
                         s->resp_port, uptime_s(s), uptime_s(s) / 86400);
}

static void info_clients(mp__connection *c, mp__buf *text)
{
    (void)mp__buf_printf(
        text,
        "# Clients\r\nconnected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:0\r\n"
        "marketprism_http_clients:%u\r\n",
        atomic_load(&c->worker->server->resp_clients), c->worker->limits.resp_clients_max,
        atomic_load(&c->worker->server->http_clients));
}

static void info_memory(mp__connection *c, mp__buf *text)
{
    mp_cache_stats s;
    long rss = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    char line[128] = "";

    if (file) {
        if (fgets(line, sizeof(line), file)) {
            char *end;

            (void)strtol(line, &end, 10);
            rss = strtol(end, NULL, 10) * sysconf(_SC_PAGESIZE);
        }
        (void)fclose(file);
    }
    mp_cache_stats_read(mp__manager_cache(c->worker->server->manager), &s);
    (void)mp__buf_printf(text,
                         "# Memory\r\nused_memory:%" PRIu64
                         "\r\nused_memory_rss:%ld\r\nmaxmemory:%" PRIu64
                         "\r\nmaxmemory_policy:noeviction\r\n",
                         s.l1_bytes, rss, s.l1_bytes_max);
}

static void info_stats(mp__connection *c, mp__buf *text)
{
    mp__server *s = c->worker->server;
    mp_cache_stats cache;

    mp_cache_stats_read(mp__manager_cache(s->manager), &cache);
    (void)mp__buf_printf(
        text,
        "# Stats\r\ntotal_connections_received:%" PRIu64 "\r\ntotal_commands_processed:%" PRIu64
        "\r\nrejected_connections:%" PRIu64 "\r\nkeyspace_hits:%" PRIu64
        "\r\nkeyspace_misses:%" PRIu64 "\r\nevicted_keys:%" PRIu64
        "\r\ntotal_net_input_bytes:%" PRIu64 "\r\ntotal_net_output_bytes:%" PRIu64 "\r\n",
        mp__monitor_events(s->monitor, MP__EVENT_CONNECTIONS), atomic_load(&s->commands),
        mp__monitor_events(s->monitor, MP__EVENT_CONNECTIONS_REFUSED), cache.l1_hits,
        cache.l1_misses, cache.l1_evictions, mp__monitor_events(s->monitor, MP__EVENT_BYTES_IN),
        mp__monitor_events(s->monitor, MP__EVENT_BYTES_OUT));
}

static void info_persistence(mp__connection *c, mp__buf *text)
{
    mp__summary s;

    mp__manager_summary(c->worker->server->manager, &s);
    (void)mp__buf_printf(text,
                         "# Persistence\r\nloading:0\r\nasync_loading:0\r\naof_enabled:1\r\n"
                         "aof_last_write_status:%s\r\nrdb_bgsave_in_progress:0\r\n",
                         s.writable ? "ok" : "err");
}

static void info_replication(mp__connection *c, mp__buf *text)
{
    (void)c;
    (void)mp__buf_printf(text, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
}

static void info_cpu(mp__connection *c, mp__buf *text)
{
    struct rusage u;

    (void)c;
    (void)getrusage(RUSAGE_SELF, &u);
    (void)mp__buf_printf(text, "# CPU\r\nused_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n",
                         u.ru_stime.tv_sec, (long)u.ru_stime.tv_usec, u.ru_utime.tv_sec,
                         (long)u.ru_utime.tv_usec);
}

static void info_keyspace(mp__connection *c, mp__buf *text)
{
    uint64_t keys[MP__ORIGIN_COUNTED_MAX];
    size_t count = mp__manager_keys_of(c->worker->server->manager, keys);

    (void)mp__buf_printf(text, "# Keyspace\r\n");
    for (size_t i = 0; i < count; i++)
        if (keys[i]) /* as Redis: those that are empty are left out */
            (void)mp__buf_printf(text, "db%zu:keys=%" PRIu64 ",expires=0,avg_ttl=0\r\n", i,
                                 keys[i]);
}

static void info_marketprism(mp__connection *c, mp__buf *text)
{
    mp__server *server = c->worker->server;
    mp_cache_stats cache;
    mp__summary s;

    mp__manager_summary(server->manager, &s);
    mp_cache_stats_read(mp__manager_cache(server->manager), &cache);
    (void)mp__buf_printf(
        text,
        "# Marketprism\r\nversion:%s\r\norigin_state:%s\r\norigin_writable:%d\r\n"
        "revision:%" PRIu64 "\r\nepoch:%s\r\nready:%d\r\ntrouble:%s\r\n"
        "l1_entries:%" PRIu64 "\r\nl2_entries:%" PRIu64 "\r\nl3_entries:%" PRIu64
        "\r\nl3_bytes:%" PRIu64 "\r\nl3_corrupt:%" PRIu64 "\r\nstale_served:%" PRIu64
        "\r\nunknown:%" PRIu64 "\r\nhttp_address:%s\r\n",
        MP_VERSION, s.state, s.writable, s.revision, s.epoch, s.ready, s.text, cache.l1_entries,
        cache.l2_entries, cache.l3_entries, cache.l3_bytes, cache.l3_corrupt,
        mp__monitor_events(server->monitor, MP__EVENT_STALE_SERVED),
        mp__monitor_events(server->monitor, MP__EVENT_UNKNOWN), server->http_address);
}

static const struct {
    const char *name;
    void (*write)(mp__connection *c, mp__buf *text);
} sections[] = {
    {"SERVER", info_server},     {"CLIENTS", info_clients},
    {"MEMORY", info_memory},     {"PERSISTENCE", info_persistence},
    {"STATS", info_stats},       {"REPLICATION", info_replication},
    {"CPU", info_cpu},           {"MARKETPRISM", info_marketprism},
    {"KEYSPACE", info_keyspace},
};

static bool wants_section(const mp_str *arguments, uint32_t count, const char *name)
{
    for (uint32_t i = 1; i < count; i++)
        if (mp__word_is(arguments[i], name) || mp__word_is(arguments[i], "ALL") ||
            mp__word_is(arguments[i], "DEFAULT") || mp__word_is(arguments[i], "EVERYTHING"))
            return true;
    return count == 1;
}

void mp__cmd_info(MP__COMMAND_ARGS)
{
    mp__buf text = MP__BUF_INIT;

    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!wants_section(arguments, count, sections[i].name))
            continue;
        if (text.size)
            (void)mp__buf_add(&text, "\r\n", 2);
        sections[i].write(c, &text);
    }
    if (text.error)
        mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
    else
        mp__resp_verbatim(mp__connection_out(c), "txt", mp__buf_str(&text), c->version);
    mp__buf_done(&text);
}

/* ---- COMMAND ---- */

static mp_str lower(const char *name, char out[24])
{
    size_t n = 0;

    for (; n < 23 && name[n]; n++)
        out[n] = (char)tolower((unsigned char)name[n]);
    return mp_str_new(out, n);
}

static void command_info(mp__connection *c, mp__buf *out, const mp__command *command)
{
    char name[24];
    bool write = (command->flags & MP__COMMAND_WRITE) != 0;
    bool read = (command->flags & MP__COMMAND_READ) != 0;

    mp__resp_array(out, 10);
    mp__resp_bulk(out, lower(command->name, name));
    mp__resp_integer(out, command->arity);
    mp__resp_set(out, (size_t)write + read, c->version);
    if (write)
        mp__resp_simple(out, "write");
    if (read)
        mp__resp_simple(out, "readonly");
    mp__resp_integer(out, command->first_key);
    mp__resp_integer(out, command->last_key);
    mp__resp_integer(out, command->key_step);
    mp__resp_set(out, 0, c->version);
    mp__resp_array(out, 0);
    mp__resp_array(out, 0);
    mp__resp_array(out, 0);
}

static void command_docs(mp__connection *c, mp__buf *out, const mp__command *command)
{
    char name[24];

    mp__resp_bulk(out, lower(command->name, name));
    mp__resp_map(out, 3, c->version);
    mp__resp_bulk(out, MP_STR("summary"));
    mp__resp_bulk(out, mp_str_of(command->summary));
    mp__resp_bulk(out, MP_STR("since"));
    mp__resp_bulk(out, mp_str_of(command->since));
    mp__resp_bulk(out, MP_STR("group"));
    mp__resp_bulk(out, mp_str_of(command->group));
}

static void all_docs(mp__connection *c, const mp_str *names, uint32_t count)
{
    mp__buf *out = mp__connection_out(c);
    size_t known = 0;

    for (uint32_t i = 0; i < count; i++)
        known += mp__command_find(names[i]) != NULL;
    mp__resp_map(out, count ? known : mp__command_count, c->version);
    for (size_t i = 0; i < mp__command_count && count == 0; i++)
        command_docs(c, out, &mp__commands[i]);
    for (uint32_t i = 0; i < count; i++)
        if (mp__command_find(names[i]))
            command_docs(c, out, mp__command_find(names[i]));
}

static void all_infos(mp__connection *c, const mp_str *names, uint32_t count)
{
    mp__buf *out = mp__connection_out(c);

    mp__resp_array(out, count ? count : mp__command_count);
    for (size_t i = 0; i < mp__command_count && count == 0; i++)
        command_info(c, out, &mp__commands[i]);
    for (uint32_t i = 0; i < count; i++)
        if (mp__command_find(names[i]))
            command_info(c, out, mp__command_find(names[i]));
        else
            mp__resp_null_array(out, c->version);
}

static void get_keys(mp__connection *c, const mp_str *arguments, uint32_t count)
{
    const mp__command *command = mp__command_find(arguments[0]);
    mp__buf *out = mp__connection_out(c);
    int last, keys;

    if (!command || command->first_key == 0 || (int)count <= command->first_key) {
        mp__resp_error(out, "ERR",
                       command ? "The command has no key arguments" : "Invalid command specified");
        return;
    }
    last = command->last_key < 0 ? (int)count + command->last_key : command->last_key;
    keys = (last - command->first_key) / command->key_step + 1;
    mp__resp_array(out, (size_t)keys);
    for (int i = command->first_key; i <= last; i += command->key_step)
        mp__resp_bulk(out, arguments[i]);
}

/* LIST [FILTERBY PATTERN glob] */
static void list_names(mp__connection *c, const mp_str *words, uint32_t count)
{
    mp__buf *out = mp__connection_out(c);
    mp_str pattern = MP_STR("*");
    size_t fitting = 0;
    char name[24];

    if (count == 3 && mp__word_is(words[0], "FILTERBY") && mp__word_is(words[1], "PATTERN")) {
        pattern = words[2];
    } else if (count) {
        mp__reply_syntax(c);
        return;
    }
    for (size_t i = 0; i < mp__command_count; i++)
        fitting += mp__glob_match(pattern, lower(mp__commands[i].name, name), GLOB_STEPS);
    mp__resp_array(out, fitting);
    for (size_t i = 0; i < mp__command_count; i++)
        if (mp__glob_match(pattern, lower(mp__commands[i].name, name), GLOB_STEPS))
            mp__resp_bulk(out, mp_str_new(name, strlen(mp__commands[i].name)));
}

void mp__cmd_command(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);

    if (count == 1)
        all_infos(c, arguments, 0);
    else if (mp__word_is(arguments[1], "COUNT"))
        mp__resp_integer(out, (int64_t)mp__command_count);
    else if (mp__word_is(arguments[1], "DOCS"))
        all_docs(c, arguments + 2, count - 2);
    else if (mp__word_is(arguments[1], "INFO"))
        all_infos(c, arguments + 2, count - 2);
    else if (mp__word_is(arguments[1], "GETKEYS") && count > 2)
        get_keys(c, arguments + 2, count - 2);
    else if (mp__word_is(arguments[1], "LIST"))
        list_names(c, arguments + 2, count - 2);
    else
        mp__resp_error(out, "ERR",
                       "unknown subcommand '%.*s'. Try COMMAND COUNT, DOCS, INFO, LIST or GETKEYS.",
                       (int)(arguments[1].size > 64 ? 64 : arguments[1].size), arguments[1].data);
}

/* ---- CONFIG ---- */

/* What clients of Redis ask for; our own options go by their own names. */
static const char *const redis_options[][2] = {
    {"save", ""},
    {"appendonly", "yes"},
    {"appendfsync", "always"},
    {"maxmemory-policy", "noeviction"},
    {"databases", ""},
    {"maxclients", ""},
    {"maxmemory", ""},
    {"timeout", "0"},
    {"notify-keyspace-events", "KEA"},
};

static void redis_option_value(mp__connection *c, const char *name, const char *standard,
                               mp__buf *value)
{
    const mp__options *o = c->worker->server->options;

    if (strcmp(name, "databases") == 0)
        (void)mp__buf_add_u64(value, mp__options_list_count(o, "resp.databases"));
    else if (strcmp(name, "maxclients") == 0)
        (void)mp__buf_add_u64(value, c->worker->limits.resp_clients_max);
    else if (strcmp(name, "maxmemory") == 0)
        (void)mp__buf_add_i64(value, mp__options_int(o, "cache.l1_bytes"));
    else
        (void)mp__buf_add_str(value, mp_str_of(standard));
}

static bool any_matches(const mp_str *patterns, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        char pattern[128];
        size_t n = patterns[i].size < sizeof(pattern) ? patterns[i].size : sizeof(pattern);

        for (size_t k = 0; k < n; k++)
            pattern[k] = (char)tolower((unsigned char)patterns[i].data[k]);
        if (mp__glob_match(mp_str_new(pattern, n), mp_str_of(name), GLOB_STEPS))
            return true;
    }
    return false;
}

static void config_get(mp__connection *c, const mp_str *patterns, uint32_t count)
{
    enum { REDIS = sizeof(redis_options) / sizeof(redis_options[0]) };
    mp__buf *out = mp__connection_out(c), value = MP__BUF_INIT;
    size_t n = 0;

    for (size_t i = 0; i < REDIS; i++)
        n += any_matches(patterns, count, redis_options[i][0]);
    for (size_t i = 0; i < mp__option_count; i++)
        n += any_matches(patterns, count, mp__option_table[i].path);
    mp__resp_map(out, n, c->version);
    for (size_t i = 0; i < REDIS; i++) {
        if (!any_matches(patterns, count, redis_options[i][0]))
            continue;
        mp__buf_reset(&value);
        redis_option_value(c, redis_options[i][0], redis_options[i][1], &value);
        mp__resp_bulk(out, mp_str_of(redis_options[i][0]));
        mp__resp_bulk(out, mp__buf_str(&value));
    }
    for (size_t i = 0; i < mp__option_count; i++) {
        if (!any_matches(patterns, count, mp__option_table[i].path))
            continue;
        mp__buf_reset(&value);
        (void)mp__options_print(c->worker->server->options, &mp__option_table[i], &value);
        mp__resp_bulk(out, mp_str_of(mp__option_table[i].path));
        mp__resp_bulk(out, mp__buf_str(&value));
    }
    mp__buf_done(&value);
}

void mp__cmd_config(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);

    if (mp__word_is(arguments[1], "GET") && count >= 3)
        config_get(c, arguments + 2, count - 2);
    else if (mp__word_is(arguments[1], "RESETSTAT"))
        mp__resp_error(out, "ERR", "figures are never reset; take differences");
    else if (mp__word_is(arguments[1], "SET"))
        mp__resp_error(out, "ERR",
                       "options stand in the configuration file; change it and send SIGHUP");
    else
        mp__resp_error(out, "ERR",
                       "unknown subcommand or wrong number of arguments for 'config'. Try "
                       "CONFIG GET pattern.");
}

/* ---- small ones ---- */

void mp__cmd_time(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);
    int64_t now = mp__env_wall_ms(c->worker->server->env);
    char digits[20];

    (void)arguments;
    (void)count;
    mp__resp_array(out, 2);
    mp__resp_bulk(out, mp_str_new(digits, mp__u64_digits((uint64_t)(now / 1000), digits)));
    mp__resp_bulk(out, mp_str_new(digits, mp__u64_digits((uint64_t)(now % 1000) * 1000, digits)));
}

static void format_usage(mp__slot *slot, mp__buf *out)
{
    const mp__read *read = &slot->reads[0];

    if (read->status == 0)
        mp__resp_integer(out, (int64_t)(read->entry->blob.pub.size + read->address.size + 256));
    else if (read->status == MP_EABSENT)
        mp__resp_null(out, slot->version);
    else
        mp__reply_read_error(slot->connection, out, read);
}

void mp__cmd_memory(MP__COMMAND_ARGS)
{
    mp__slot *slot;

    if (!mp__word_is(arguments[1], "USAGE") || count < 3) {
        mp__resp_error(mp__connection_out(c), "ERR", "unknown subcommand. Try MEMORY USAGE key.");
        return;
    }
    slot = mp__slot_reads(c, arguments + 2, 1, format_usage);
    if (slot)
        mp__slot_reads_start(slot);
}

void mp__cmd_wait(MP__COMMAND_ARGS)
{
    (void)arguments;
    (void)count;
    mp__resp_integer(mp__connection_out(c), 0);
}

void mp__cmd_lastsave(MP__COMMAND_ARGS)
{
    (void)arguments;
    (void)count;
    mp__resp_integer(mp__connection_out(c), mp__env_wall_ms(c->worker->server->env) / 1000);
}

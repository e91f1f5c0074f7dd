/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on the connection itself. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <marketprism/version.h>

#include "server/resp/commands.h"

void mp__cmd_ping(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);

    if (count > 2) {
        mp__resp_error(out, "ERR", "wrong number of arguments for 'ping' command");
    } else if (c->subscription_count && c->version == 2) {
        mp__resp_array(out, 2);
        mp__resp_bulk(out, MP_STR("pong"));
        mp__resp_bulk(out, count == 2 ? arguments[1] : mp_str_new("", 0));
    } else if (count == 2) {
        mp__resp_bulk(out, arguments[1]);
    } else {
        mp__resp_simple(out, "PONG");
    }
}

void mp__cmd_echo(MP__COMMAND_ARGS)
{
    mp__resp_bulk(mp__connection_out(c), arguments[count - 1]);
}

void mp__cmd_quit(MP__COMMAND_ARGS)
{
    (void)arguments;
    (void)count;
    mp__resp_simple(mp__connection_out(c), "OK");
    mp__connection_finish(c);
}

static void use_database(mp__connection *c, unsigned database)
{
    mp_str name = mp__manager_environment(c->worker->server->manager, database);

    c->database = database;
    memcpy(c->environment, name.data, name.size);
    c->environment_size = name.size;
    c->named_environment = false;
}

void mp__cmd_reset(MP__COMMAND_ARGS)
{
    (void)arguments;
    (void)count;
    mp__subscriptions_clear(c);
    mp__stage_clear(c);
    c->version = 2;
    c->level = MP__LEVEL_EVENTUAL;
    c->strict = false;
    (void)pthread_mutex_lock(&c->worker->list_lock);
    c->name[0] = '\0';
    (void)pthread_mutex_unlock(&c->worker->list_lock);
    use_database(c, 0);
    mp__resp_simple(mp__connection_out(c), "RESET");
}

/* A number of resp.databases, or the name of one of them. */
void mp__cmd_select(MP__COMMAND_ARGS)
{
    mp__manager *manager = c->worker->server->manager;
    mp_str which = arguments[count - 1];
    int64_t number = -1;

    if (!mp__integer_parse(which, &number)) {
        for (unsigned n = 0; mp__manager_environment(manager, n).size; n++)
            if (mp_str_equal(mp__manager_environment(manager, n), which))
                number = n;
        if (number < 0) {
            mp__resp_error(mp__connection_out(c), "ERR",
                           "invalid DB index; MP.ENV takes any environment's name");
            return;
        }
    }
    if (number < 0 || number > 65535 ||
        mp__manager_environment(manager, (unsigned)number).size == 0) {
        mp__resp_error(mp__connection_out(c), "ERR", "DB index is out of range");
        return;
    }
    use_database(c, (unsigned)number);
    mp__resp_simple(mp__connection_out(c), "OK");
}

/* ---- AUTH, HELLO ---- */

void mp__cmd_auth(MP__COMMAND_ARGS)
{
    mp__diag diag = {0};
    mp_str user = count == 3 ? arguments[1] : MP_STR("default");

    if (count > 3) {
        mp__reply_syntax(c);
        return;
    }
    if (mp__access_login(mp__manager_access(c->worker->server->manager), user, arguments[count - 1],
                         &c->identity, &diag) == 0)
        mp__resp_simple(mp__connection_out(c), "OK");
    else
        mp__resp_error(mp__connection_out(c), "ERR", "%s", diag.text);
}

static bool is_name(mp_str text, size_t capacity)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] <= 0x20 || (unsigned char)text.data[i] > 0x7e)
            return false;
    return text.size < capacity;
}

static void name_set(char *to, size_t capacity, mp_str text)
{
    (void)snprintf(to, capacity, "%.*s", (int)text.size, text.data ? text.data : "");
}

static void hello_reply(mp__connection *c)
{
    mp__buf *out = mp__connection_out(c);
    int v = c->version;

    mp__resp_map(out, 9, v);
    mp__resp_bulk(out, MP_STR("server"));
    mp__resp_bulk(out, MP_STR("redis"));
    mp__resp_bulk(out, MP_STR("version"));
    mp__resp_bulk(out, mp_str_of(c->worker->limits.version_reported));
    mp__resp_bulk(out, MP_STR("marketprism"));
    mp__resp_bulk(out, MP_STR(MP_VERSION));
    mp__resp_bulk(out, MP_STR("proto"));
    mp__resp_integer(out, v);
    mp__resp_bulk(out, MP_STR("id"));
    mp__resp_integer(out, (int64_t)c->id);
    mp__resp_bulk(out, MP_STR("mode"));
    mp__resp_bulk(out, MP_STR("standalone"));
    mp__resp_bulk(out, MP_STR("role"));
    mp__resp_bulk(out, MP_STR("master"));
    mp__resp_bulk(out, MP_STR("modules"));
    mp__resp_array(out, 0);
    mp__resp_bulk(out, MP_STR("scope"));
    mp__resp_bulk(out, mp__connection_environment(c));
}

void mp__cmd_hello(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);
    int64_t version = c->version;
    mp_str name = {0};
    mp__diag diag = {0};

    if (count > 1 && !mp__integer_parse(arguments[1], &version)) {
        mp__resp_error(out, "ERR", "Protocol version is not an integer or out of range");
        return;
    }
    if (version < 2 || version > 3) {
        mp__resp_error(out, "NOPROTO", "unsupported protocol version");
        return;
    }
    for (uint32_t i = 2; i < count; i++) {
        if (mp__word_is(arguments[i], "AUTH") && i + 2 < count) {
            if (mp__access_login(mp__manager_access(c->worker->server->manager), arguments[i + 1],
                                 arguments[i + 2], &c->identity, &diag) != 0) {
                mp__resp_error(out, "WRONGPASS",
                               "invalid username-password pair or user is disabled.");
                return;
            }
            i += 2;
        } else if (mp__word_is(arguments[i], "SETNAME") && i + 1 < count) {
            name = arguments[++i];
        } else {
            mp__resp_error(out, "ERR", "Syntax error in HELLO option '%.*s'",
                           (int)(arguments[i].size > 64 ? 64 : arguments[i].size),
                           arguments[i].data);
            return;
        }
    }
    if (name.data && !is_name(name, sizeof(c->name))) {
        mp__resp_error(out, "ERR",
                       "Client names cannot contain spaces, newlines or special characters.");
        return;
    }
    if (name.data) {
        (void)pthread_mutex_lock(&c->worker->list_lock);
        name_set(c->name, sizeof(c->name), name);
        (void)pthread_mutex_unlock(&c->worker->list_lock);
    }
    c->version = (int)version;
    hello_reply(c);
}

/* ---- CLIENT ---- */

static void client_setname(mp__connection *c, mp_str name)
{
    if (!is_name(name, sizeof(c->name))) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "Client names cannot contain spaces, newlines or special characters.");
        return;
    }
    (void)pthread_mutex_lock(&c->worker->list_lock);
    name_set(c->name, sizeof(c->name), name);
    (void)pthread_mutex_unlock(&c->worker->list_lock);
    mp__resp_simple(mp__connection_out(c), "OK");
}

static void client_setinfo(mp__connection *c, mp_str what, mp_str value)
{
    bool library = mp__word_is(what, "LIB-NAME"), version = mp__word_is(what, "LIB-VER");

    if (!library && !version) {
        mp__resp_error(mp__connection_out(c), "ERR", "Unrecognized option '%.*s'",
                       (int)(what.size > 64 ? 64 : what.size), what.data);
        return;
    }
    if (!is_name(value, library ? sizeof(c->library) : sizeof(c->library_version))) {
        mp__resp_error(
            mp__connection_out(c), "ERR",
            "lib-name and lib-ver cannot contain spaces, newlines or special characters.");
        return;
    }
    (void)pthread_mutex_lock(&c->worker->list_lock);
    if (library)
        name_set(c->library, sizeof(c->library), value);
    else
        name_set(c->library_version, sizeof(c->library_version), value);
    (void)pthread_mutex_unlock(&c->worker->list_lock);
    mp__resp_simple(mp__connection_out(c), "OK");
}

/* The line of this connection, or of all. */
/* Only the lines of @text that say @flag. */
static void keep_lines(mp__buf *text, const char *flag)
{
    size_t kept = 0;

    for (size_t at = 0; at < text->size;) {
        size_t size = strcspn(text->data + at, "\n") + 1;

        if (memmem(text->data + at, size, flag, strlen(flag))) {
            memmove(text->data + kept, text->data + at, size);
            kept += size;
        }
        at += size;
    }
    text->size = kept;
}

/* CLIENT LIST TYPE: nobody is a replica here. */
static void client_list_type(mp__connection *c, mp_str type)
{
    bool is_pubsub = mp__word_is(type, "PUBSUB");
    mp__buf text = MP__BUF_INIT;

    if (!is_pubsub && !mp__word_is(type, "NORMAL") && !mp__word_is(type, "MASTER") &&
        !mp__word_is(type, "REPLICA") && !mp__word_is(type, "SLAVE")) {
        mp__resp_error(mp__connection_out(c), "ERR", "Unknown client type '%.*s'",
                       (int)(type.size < 64 ? type.size : 64), type.data);
        return;
    }
    mp__connection_show(c);
    mp__connections_list(c->worker->server, &text);
    (void)mp__buf_add_char(&text, '\0');
    if (text.error) {
        mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
    } else {
        text.size--;
        keep_lines(&text, is_pubsub                     ? " flags=P "
                          : mp__word_is(type, "NORMAL") ? " flags=N "
                                                        : " flags=S ");
        mp__resp_verbatim(mp__connection_out(c), "txt", mp__buf_str(&text), c->version);
    }
    mp__buf_done(&text);
}

static void client_list(mp__connection *c, bool only_me)
{
    mp__buf text = MP__BUF_INIT;
    char mine[32];
    const char *at;

    mp__connection_show(c);
    mp__connections_list(c->worker->server, &text);
    (void)mp__buf_add_char(&text, '\0');
    if (text.error) {
        mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
    } else if (only_me) {
        (void)snprintf(mine, sizeof(mine), "id=%" PRIu64 " ", c->id);
        at = strstr(text.data, mine);
        at = at ? at : text.data;
        mp__resp_verbatim(mp__connection_out(c), "txt", mp_str_new(at, strcspn(at, "\n") + 1),
                          c->version);
    } else {
        mp__resp_verbatim(mp__connection_out(c), "txt", mp_str_new(text.data, text.size - 1),
                          c->version);
    }
    mp__buf_done(&text);
}

/* The id of the connection from @address, 0: nobody. */
static uint64_t id_of_address(mp__server *server, mp_str address)
{
    mp__buf text = MP__BUF_INIT;
    uint64_t id = 0;
    char want[96];
    const char *at;

    mp__connections_list(server, &text);
    (void)mp__buf_add_char(&text, '\0');
    (void)snprintf(want, sizeof(want), " addr=%.*s ", (int)(address.size > 80 ? 80 : address.size),
                   address.data);
    at = text.error ? NULL : strstr(text.data, want);
    if (at) {
        while (at > text.data && at[-1] != '\n')
            at--;
        id = strtoull(at + 3, NULL, 10);
    }
    mp__buf_done(&text);
    return id;
}

static void client_kill(mp__connection *c, const mp_str *arguments, uint32_t count)
{
    mp__buf *out = mp__connection_out(c);
    bool filtered = count == 4;
    int64_t id = 0;

    if (count == 3)
        id = (int64_t)id_of_address(c->worker->server, arguments[2]);
    else if (filtered && mp__word_is(arguments[2], "ID") && mp__integer_parse(arguments[3], &id))
        ;
    else if (filtered && mp__word_is(arguments[2], "ADDR"))
        id = (int64_t)id_of_address(c->worker->server, arguments[3]);
    else {
        mp__reply_syntax(c);
        return;
    }
    if (id > 0 && mp__connection_kill(c->worker->server, (uint64_t)id)) {
        if (filtered)
            mp__resp_integer(out, 1);
        else
            mp__resp_simple(out, "OK");
    } else if (filtered) {
        mp__resp_integer(out, 0);
    } else {
        mp__resp_error(out, "ERR", "No such client");
    }
}

void mp__cmd_client(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);
    mp_str what = arguments[1];

    if (mp__word_is(what, "ID") && count == 2)
        mp__resp_integer(out, (int64_t)c->id);
    else if (mp__word_is(what, "GETNAME") && count == 2) {
        if (c->name[0])
            mp__resp_bulk(out, mp_str_of(c->name));
        else
            mp__resp_null(out, c->version);
    } else if (mp__word_is(what, "SETNAME") && count == 3)
        client_setname(c, arguments[2]);
    else if (mp__word_is(what, "SETINFO") && count == 4)
        client_setinfo(c, arguments[2], arguments[3]);
    else if (mp__word_is(what, "INFO") && count == 2)
        client_list(c, true);
    else if (mp__word_is(what, "LIST") && count == 2)
        client_list(c, false);
    else if (mp__word_is(what, "LIST") && count == 4 && mp__word_is(arguments[2], "TYPE"))
        client_list_type(c, arguments[3]);
    else if (mp__word_is(what, "LIST"))
        mp__reply_syntax(c);
    else if (mp__word_is(what, "KILL") && count >= 3)
        client_kill(c, arguments, count);
    else if ((mp__word_is(what, "NO-EVICT") || mp__word_is(what, "NO-TOUCH")) && count == 3)
        mp__resp_simple(out, "OK");
    else if (mp__word_is(what, "TRACKING") && count >= 3 && mp__word_is(arguments[2], "OFF"))
        mp__resp_simple(out, "OK");
    else if (mp__word_is(what, "TRACKING"))
        mp__resp_error(out, "ERR",
                       "client-side caching is not in this version; subscribe to "
                       "__keyspace@0__:key instead");
    else if (mp__word_is(what, "ID") || mp__word_is(what, "GETNAME") ||
             mp__word_is(what, "SETNAME") || mp__word_is(what, "SETINFO") ||
             mp__word_is(what, "INFO") || mp__word_is(what, "KILL"))
        mp__resp_error(out, "ERR", "wrong number of arguments for 'client|%.*s' command",
                       (int)what.size, what.data);
    else
        mp__resp_error(out, "ERR",
                       "unknown subcommand '%.*s'. Try CLIENT ID, INFO, LIST, SETNAME, "
                       "GETNAME, SETINFO or KILL.",
                       (int)(what.size > 64 ? 64 : what.size), what.data);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on the connection itself. */
#include <marketprism/version.h>

#include "server/resp/commands.h"

void mp__cmd_ping(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);

    if (count > 2) {
        mp__resp_error(out, "ERR", "wrong number of arguments for 'ping' command");
    } else if (c->subscriptions.count && c->version == 2) {
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
    mp__connection_show(c);
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

/* False: it was refused, and answered so. */
static bool login(mp__connection *c, mp_str user, mp_str password)
{
    mp__diag diag = {0};
    int rc = mp__access_login(mp__manager_access(c->worker->server->manager), user, password,
                              &c->identity, &diag);

    if (rc) {
        mp__resp_error(mp__connection_out(c), rc == MP_EDENIED ? "WRONGPASS" : "ERR", "%s",
                       diag.text);
        return false;
    }
    mp__connection_show(c); /* CLIENT KILL USER of others chooses by it from now on */
    return true;
}

/* AUTH [user] password */
void mp__cmd_auth(MP__COMMAND_ARGS)
{
    if (count > 3)
        mp__reply_syntax(c);
    else if (login(c, count == 3 ? arguments[1] : mp_str_new("", 0), arguments[count - 1]))
        mp__resp_simple(mp__connection_out(c), "OK");
}

bool mp__connection_note(mp__connection *c, const char *what, char *to, size_t capacity,
                         mp_str text)
{
    if (text.size >= capacity) {
        mp__resp_error(mp__connection_out(c), "ERR", "%s cannot be longer than %zu bytes.", what,
                       capacity - 1);
        return false;
    }
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] <= 0x20 || (unsigned char)text.data[i] > 0x7e) {
            mp__resp_error(mp__connection_out(c), "ERR",
                           "%s cannot contain spaces, newlines or special characters.", what);
            return false;
        }
    (void)pthread_mutex_lock(&c->worker->list_lock);
    if (text.size)
        memcpy(to, text.data, text.size);
    to[text.size] = '\0';
    (void)pthread_mutex_unlock(&c->worker->list_lock);
    return true;
}

bool mp__connection_name(mp__connection *c, mp_str name)
{
    return mp__connection_note(c, "Client names", c->name, sizeof(c->name), name);
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
            if (!login(c, arguments[i + 1], arguments[i + 2]))
                return;
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
    if (name.data && !mp__connection_name(c, name))
        return;
    c->version = (int)version;
    hello_reply(c);
}

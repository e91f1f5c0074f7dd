/* SPDX-License-Identifier: Apache-2.0 */
/* CLIENT: who is connected, what they call themselves, and how to end them.
 *
 * Connections belong to the loops of all workers; what is known of them is the text of
 * mp__connections_list(), a line each, and both LIST and KILL choose among those lines. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/resp/commands.h"

/* ---- lines ---- */

/* Of which clients LIST and KILL speak: those of whom everything holds that is set here. */
typedef struct filter {
    const mp_str *ids; /* any of them; NULL: whoever */
    uint32_t id_count;
    mp_str address, local_address, user, flags; /* data NULL: whatever */
    uint64_t not_id;                            /* 0: nobody */
} filter;

/* The text up to @end, which is taken off @rest with it. */
static mp_str take_until(mp_str *rest, char end)
{
    const char *at = memchr(rest->data, end, rest->size);
    size_t size = at ? (size_t)(at - rest->data) : rest->size;
    mp_str taken = mp_str_new(rest->data, size);

    *rest = mp_str_new(rest->data + size + (at != NULL), rest->size - size - (at != NULL));
    return taken;
}

/* What @line says of @name: the value of its word "name=value". */
static mp_str value_of(mp_str line, const char *name)
{
    while (line.size) {
        mp_str word = take_until(&line, ' ');

        if (mp_str_equal(take_until(&word, '='), mp_str_of(name)))
            return word;
    }
    return (mp_str){0};
}

static uint64_t id_of(mp_str line)
{
    int64_t id = 0;

    (void)mp__integer_parse(value_of(line, "id"), &id);
    return (uint64_t)id;
}

static bool says(mp_str line, const char *name, mp_str wanted)
{
    return !wanted.data || mp_str_equal(value_of(line, name), wanted);
}

static bool has_id(mp_str line, const filter *f)
{
    uint64_t id = id_of(line);
    int64_t wanted = 0;

    for (uint32_t i = 0; i < f->id_count; i++)
        if (mp__integer_parse(f->ids[i], &wanted) && (uint64_t)wanted == id)
            return true;
    return !f->ids;
}

static bool fits(mp_str line, const filter *f)
{
    return has_id(line, f) && says(line, "addr", f->address) &&
           says(line, "laddr", f->local_address) && says(line, "user", f->user) &&
           says(line, "flags", f->flags) && (!f->not_id || id_of(line) != f->not_id);
}

/* The clients that fit, a line each, into @out; its error is set without memory. */
static void list_fitting(mp__connection *c, const filter *f, mp__buf *out)
{
    mp__buf all = MP__BUF_INIT;
    mp_str rest, line;

    mp__connection_show(c);
    mp__connections_list(c->worker->server, &all);
    rest = mp__buf_str(&all);
    while (rest.size && !all.error) {
        line = take_until(&rest, '\n');
        if (fits(line, f))
            (void)mp__buf_add(out, line.data, line.size + 1);
    }
    if (all.error)
        out->error = all.error;
    mp__buf_done(&all);
}

/* ---- words ---- */

static bool are_ids(mp__connection *c, const mp_str *ids, uint32_t count, const char *refusal)
{
    int64_t id;

    for (uint32_t i = 0; i < count; i++)
        if (!mp__integer_parse(ids[i], &id) || id <= 0) {
            mp__resp_error(mp__connection_out(c), "ERR", "%s", refusal);
            return false;
        }
    return true;
}

/* The flags that clients of @type have. Nobody is a replica here, nor a master. */
static bool take_type(mp__connection *c, mp_str type, filter *f)
{
    if (mp__word_is(type, "NORMAL")) {
        f->flags = MP_STR("N");
    } else if (mp__word_is(type, "PUBSUB")) {
        f->flags = MP_STR("P");
    } else if (mp__word_is(type, "MASTER") || mp__word_is(type, "REPLICA") ||
               mp__word_is(type, "SLAVE")) {
        f->flags = MP_STR("S");
    } else {
        mp__resp_error(mp__connection_out(c), "ERR", "Unknown client type '%.*s'",
                       (int)(type.size < 64 ? type.size : 64), type.data);
        return false;
    }
    return true;
}

/* LIST [TYPE type] [ID id ...] */
static bool list_words(mp__connection *c, const mp_str *words, uint32_t count, filter *f)
{
    for (uint32_t i = 0; i < count; i++) {
        if (mp__word_is(words[i], "TYPE") && i + 1 < count) {
            if (!take_type(c, words[++i], f))
                return false;
        } else if (mp__word_is(words[i], "ID") && i + 1 < count) {
            f->ids = words + i + 1;
            f->id_count = count - i - 1;
            return are_ids(c, f->ids, f->id_count, "Invalid client ID");
        } else {
            mp__reply_syntax(c);
            return false;
        }
    }
    return true;
}

/* KILL [ID id] [TYPE type] [ADDR a] [LADDR a] [USER name] [SKIPME yes|no] */
static bool kill_words(mp__connection *c, const mp_str *words, uint32_t count, filter *f)
{
    f->not_id = c->id;
    for (uint32_t i = 0; i + 1 < count; i += 2) {
        mp_str value = words[i + 1];

        if (mp__word_is(words[i], "ID")) {
            f->ids = &words[i + 1];
            f->id_count = 1;
            if (!are_ids(c, f->ids, 1, "client-id should be greater than 0"))
                return false;
        } else if (mp__word_is(words[i], "TYPE")) {
            if (!take_type(c, value, f))
                return false;
        } else if (mp__word_is(words[i], "ADDR")) {
            f->address = value;
        } else if (mp__word_is(words[i], "LADDR")) {
            f->local_address = value;
        } else if (mp__word_is(words[i], "USER")) {
            f->user = value;
        } else if (mp__word_is(words[i], "SKIPME") && mp__word_is(value, "NO")) {
            f->not_id = 0;
        } else if (!mp__word_is(words[i], "SKIPME") || !mp__word_is(value, "YES")) {
            mp__reply_syntax(c);
            return false;
        }
    }
    if (count % 2) {
        mp__reply_syntax(c);
        return false;
    }
    return true;
}

/* ---- subcommands; @words are those behind its name ---- */

static void client_id(mp__connection *c, const mp_str *words, uint32_t count)
{
    (void)words;
    (void)count;
    mp__resp_integer(mp__connection_out(c), (int64_t)c->id);
}

static void client_getname(mp__connection *c, const mp_str *words, uint32_t count)
{
    (void)words;
    (void)count;
    if (c->name[0])
        mp__resp_bulk(mp__connection_out(c), mp_str_of(c->name));
    else
        mp__resp_null(mp__connection_out(c), c->version);
}

static void client_setname(mp__connection *c, const mp_str *words, uint32_t count)
{
    (void)count;
    if (mp__connection_name(c, words[0]))
        mp__resp_simple(mp__connection_out(c), "OK");
}

static void client_setinfo(mp__connection *c, const mp_str *words, uint32_t count)
{
    bool library = mp__word_is(words[0], "LIB-NAME"), version = mp__word_is(words[0], "LIB-VER");
    char *to = library ? c->library : c->library_version;
    size_t capacity = library ? sizeof(c->library) : sizeof(c->library_version);

    (void)count;
    if (!library && !version)
        mp__resp_error(mp__connection_out(c), "ERR", "Unrecognized option '%.*s'",
                       (int)(words[0].size > 64 ? 64 : words[0].size), words[0].data);
    else if (mp__connection_note(c, library ? "lib-name" : "lib-ver", to, capacity, words[1]))
        mp__resp_simple(mp__connection_out(c), "OK");
}

static void reply_list(mp__connection *c, const filter *f)
{
    mp__buf text = MP__BUF_INIT;

    list_fitting(c, f, &text);
    if (text.error)
        mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
    else
        mp__resp_verbatim(mp__connection_out(c), "txt", mp__buf_str(&text), c->version);
    mp__buf_done(&text);
}

static void client_info(mp__connection *c, const mp_str *words, uint32_t count)
{
    char digits[20];
    mp_str me = mp_str_new(digits, mp__u64_digits(c->id, digits));

    (void)words;
    (void)count;
    reply_list(c, &(filter){.ids = &me, .id_count = 1});
}

static void client_list(mp__connection *c, const mp_str *words, uint32_t count)
{
    filter f = {0};

    if (list_words(c, words, count, &f))
        reply_list(c, &f);
}

static void client_kill(mp__connection *c, const mp_str *words, uint32_t count)
{
    bool old_form = count == 1; /* KILL addr: exactly one, or an error */
    mp__buf text = MP__BUF_INIT, *out = mp__connection_out(c);
    filter f = {0};
    mp_str rest;
    int64_t killed = 0;

    if (old_form)
        f.address = words[0];
    else if (!kill_words(c, words, count, &f))
        return;
    list_fitting(c, &f, &text);
    rest = mp__buf_str(&text);
    while (rest.size && !text.error)
        killed += mp__connection_kill(c->worker->server, id_of(take_until(&rest, '\n')));
    if (text.error)
        mp__resp_error(out, "OOM", "out of memory");
    else if (!old_form)
        mp__resp_integer(out, killed);
    else if (killed)
        mp__resp_simple(out, "OK");
    else
        mp__resp_error(out, "ERR", "No such client");
    mp__buf_done(&text);
}

/* Nothing is evicted from under a client, and no use of it is ever left out. */
static void client_switch(mp__connection *c, const mp_str *words, uint32_t count)
{
    (void)count;
    if (mp__word_is(words[0], "ON") || mp__word_is(words[0], "OFF"))
        mp__resp_simple(mp__connection_out(c), "OK");
    else
        mp__reply_syntax(c);
}

static void client_tracking(mp__connection *c, const mp_str *words, uint32_t count)
{
    (void)count;
    if (mp__word_is(words[0], "OFF"))
        mp__resp_simple(mp__connection_out(c), "OK");
    else
        mp__resp_error(mp__connection_out(c), "ERR",
                       "client-side caching is not in this version; subscribe to "
                       "__keyspace@0__:key instead");
}

static const struct {
    const char *name;
    uint32_t least, most; /* words behind the name */
    void (*run)(mp__connection *c, const mp_str *words, uint32_t count);
} subcommands[] = {
    {"ID", 0, 0, client_id},
    {"INFO", 0, 0, client_info},
    {"LIST", 0, UINT32_MAX, client_list},
    {"GETNAME", 0, 0, client_getname},
    {"SETNAME", 1, 1, client_setname},
    {"SETINFO", 2, 2, client_setinfo},
    {"KILL", 1, UINT32_MAX, client_kill},
    {"NO-EVICT", 1, 1, client_switch},
    {"NO-TOUCH", 1, 1, client_switch},
    {"TRACKING", 1, UINT32_MAX, client_tracking},
};

void mp__cmd_client(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);
    mp_str what = arguments[1];
    char lower[16] = "";

    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
        if (!mp__word_is(what, subcommands[i].name))
            continue;
        if (count - 2 >= subcommands[i].least && count - 2 <= subcommands[i].most) {
            subcommands[i].run(c, arguments + 2, count - 2);
            return;
        }
        for (size_t k = 0; k < what.size && k < sizeof(lower) - 1; k++)
            lower[k] = (char)tolower((unsigned char)what.data[k]);
        mp__resp_error(out, "ERR", "wrong number of arguments for 'client|%s' command", lower);
        return;
    }
    mp__resp_error(out, "ERR",
                   "unknown subcommand '%.*s'. Try CLIENT ID, INFO, LIST, SETNAME, GETNAME, "
                   "SETINFO or KILL.",
                   (int)(what.size > 64 ? 64 : what.size), what.data);
}

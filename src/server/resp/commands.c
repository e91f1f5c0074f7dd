/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of commands: dispatch, COMMAND, and docs/commands.md are made from it. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "server/resp/commands.h"

#define R  MP__COMMAND_READ
#define W  MP__COMMAND_WRITE
#define A  MP__COMMAND_ALONE
#define PS MP__COMMAND_PUBSUB

const mp__command mp__commands[] = {
    {"AUTH", -2, 0, 0, 0, 0, "connection", "1.0.0", "Log in.", mp__cmd_auth},
    {"CLIENT", -2, 0, 0, 0, 0, "connection", "2.4.0",
     "Ask about and name connections: ID, INFO, LIST, SETNAME, GETNAME, SETINFO, KILL.",
     mp__cmd_client},
    {"COMMAND", -1, 0, 0, 0, 0, "server", "2.8.13",
     "Describe the commands: COUNT, DOCS, INFO, LIST, GETKEYS.", mp__cmd_command},
    {"CONFIG", -2, 0, 0, 0, 0, "server", "2.0.0", "Read options: GET pattern.", mp__cmd_config},
    {"DBSIZE", 1, R, 0, 0, 0, "server", "1.0.0", "Number of keys that SCAN lists.", mp__cmd_dbsize},
    {"DEL", -2, W, 1, -1, 1, "generic", "1.0.0",
     "Delete keys, all or none, durable before the reply.", mp__cmd_del},
    {"ECHO", 2, 0, 0, 0, 0, "connection", "1.0.0", "Give the argument back.", mp__cmd_echo},
    {"EXISTS", -2, R, 1, -1, 1, "generic", "1.0.0", "How many of the keys exist.", mp__cmd_exists},
    {"EXPIRE", -3, W, 1, 1, 1, "generic", "1.0.0", "Let a key delete itself in so many seconds.",
     mp__cmd_expire},
    {"EXPIREAT", -3, W, 1, 1, 1, "generic", "1.2.0", "Let a key delete itself at a Unix time.",
     mp__cmd_expire},
    {"EXPIRETIME", 2, R, 1, 1, 1, "generic", "7.0.0",
     "The Unix time at which a key deletes itself.", mp__cmd_ttl},
    {"GET", 2, R, 1, 1, 1, "string", "1.0.0", "The value of a key.", mp__cmd_get},
    {"GETDEL", 2, W, 1, 1, 1, "string", "6.2.0", "The value of a key, which is then deleted.",
     mp__cmd_getdel},
    {"HELLO", -1, 0, 0, 0, 0, "connection", "6.0.0", "Choose the protocol version, 2 or 3.",
     mp__cmd_hello},
    {"INFO", -1, 0, 0, 0, 0, "server", "1.0.0", "State and figures of the daemon.", mp__cmd_info},
    {"KEYS", 2, R, 0, 0, 0, "generic", "1.0.0",
     "Keys that match a glob, at most 10,000; SCAN has no limit.", mp__cmd_keys},
    {"LASTSAVE", 1, 0, 0, 0, 0, "server", "1.0.0", "Now: every write is durable before its reply.",
     mp__cmd_lastsave},
    {"MEMORY", -2, 0, 0, 0, 0, "server", "4.0.0", "USAGE key: bytes that a value takes in memory.",
     mp__cmd_memory},
    {"MGET", -2, R, 1, -1, 1, "string", "1.0.0", "The values of keys.", mp__cmd_mget},
    {"MP.CAS", -4, W, 1, 1, 1, "marketprism", "0.1.0",
     "MP.CAS key revision value [media-type [PX milliseconds]]: set if the key still has that "
     "revision (0: does not exist; *: whatever it has); with PX it deletes itself then.",
     mp__cmd_mp_cas},
    {"MP.CHANGES", -1, R, 0, 0, 0, "marketprism", "0.1.0",
     "MP.CHANGES [FROM position] [PREFIX p] [COUNT n]: where the data are now, or what changed "
     "since they were at a position.",
     mp__cmd_mp_changes},
    {"MP.CONSUMERS", -1, R, 0, 0, 0, "marketprism", "0.1.0",
     "MP.CONSUMERS [COUNT n]: who watches what, and how far each was told, as JSON.",
     mp__cmd_mp_consumers},
    {"MP.ENV", -1, A, 0, 0, 0, "marketprism", "0.1.0",
     "Choose the environment by name, or say which it is. Its first key makes one: MP.ENVS.",
     mp__cmd_mp_env},
    {"MP.ENVS", 1, R, 0, 0, 0, "marketprism", "0.1.0", "Names of the environments that hold keys.",
     mp__cmd_mp_envs},
    {"MP.EXPLAIN", 2, R, 1, 1, 1, "marketprism", "0.1.0",
     "Why a read of the key is answered as it is, as JSON; CACHE: what another size or policy "
     "would "
     "hit.",
     mp__cmd_mp_explain},
    {"MP.GET", -2, R, 1, 1, 1, "marketprism", "0.1.0",
     "MP.GET key [LEVEL strong|eventual|weak] [MAXAGE ms] [MINREV n] [STRICT] [STALEOK] [META] "
     "[OWN]. MINREV is an error with weak.",
     mp__cmd_mp_get},
    {"MP.HISTORY", -2, R, 1, 1, 1, "marketprism", "0.1.0",
     "MP.HISTORY key [COUNT n] [BEFORE revision] [VALUES]: newest first.", mp__cmd_mp_history},
    {"MP.LEVEL", -1, A, 0, 0, 0, "marketprism", "0.1.0",
     "MP.LEVEL [strong|eventual|weak [STRICT]]: how this connection reads.", mp__cmd_mp_level},
    {"MP.LS", -1, R, 0, 0, 0, "marketprism", "0.1.0",
     "MP.LS [PREFIX p] [AFTER name] [COUNT n] [AT revision] [VALUES] [EXPIRES] [EFFECTIVE] "
     "[REVISION]: keys in order; REVISION says which one is shown, for AT of the next page.",
     mp__cmd_mp_ls},
    {"MP.MASK", -2, W, 1, -1, 1, "marketprism", "0.1.0",
     "MP.MASK key [...]: hide what the layers behind this one have; DEL takes the mask away.",
     mp__cmd_mp_mask},
    {"MP.PIN", 2, R, 1, 1, 1, "marketprism", "0.1.0",
     "MP.PIN pattern: keep a key in memory whatever comes, also after a restart; a * at the end "
     "names all that begin so. At most half of the memory can be pinned.",
     mp__cmd_mp_pin},
    {"MP.PINS", 1, R, 0, 0, 0, "marketprism", "0.1.0",
     "What is pinned, and how much memory that takes, as JSON.", mp__cmd_mp_pins},
    {"MP.PRELOAD", -2, R, 1, -1, 1, "marketprism", "0.1.0",
     "MP.PRELOAD [BUDGET percent] [HABITS] [pattern ...]: bring keys into memory, behind; a * at "
     "the end names all that begin so, HABITS what is usually read at this hour. HABITS, "
     "and a budget above cache.preload_budget, are for those who may write. MP.STATUS tells how "
     "far it is.",
     mp__cmd_mp_preload},
    {"MP.PUT", -4, W, 1, -1, 3, "marketprism", "0.1.0",
     "MP.PUT key media-type value [...]: set all or none; unchanged values make no revision.",
     mp__cmd_mp_put},
    {"MP.REV", -1, R, 1, 1, 1, "marketprism", "0.1.0", "Revision of a key, or the newest of all.",
     mp__cmd_mp_rev},
    {"MP.ROLLBACK", 3, W, 1, 1, 1, "marketprism", "0.1.0",
     "MP.ROLLBACK key revision: make an earlier value the newest again.", mp__cmd_mp_rollback},
    {"MP.SCHEMA", 4, R, 0, 0, 0, "marketprism", "0.1.0",
     "MP.SCHEMA CHECK name schema: what is there now and would break that schema of NAMESPACE, "
     "NAMESPACE/PATH or NAMESPACE/BEGIN/. WARNINGS: what the schema itself probably does not mean, "
     "as a mistyped keyword.",
     mp__cmd_mp_schema},
    {"MP.SCOPE", -1, A, 0, 0, 0, "marketprism", "0.1.0",
     "MP.SCOPE [region [instance]]: choose the region and instance of the environment, \"\" for "
     "none; or say which.",
     mp__cmd_mp_scope},
    {"MP.STAGE", -2, W, 0, 0, 0, "marketprism", "0.1.0",
     "MP.STAGE PUT key media-type value [...] | CAS key revision media-type value [...] | EDIT, "
     "the same, and when the value ends stays | DEL key "
     "revision [...]: gather changes on this connection; COMMIT makes them all or none, DISCARD "
     "forgets them, CHECK too, and is refused where schemas or the origin would refuse them. "
     "COMMIT WHY and CHECK WHY answer what breaks schemas as how many there are and at most 20 "
     "times scope (empty: one that is written to), scope, schema's subject, JSON Pointer, text.",
     mp__cmd_mp_stage},
    {"MP.STATUS", 1, 0, 0, 0, 0, "marketprism", "0.1.0", "Status of the daemon, as JSON.",
     mp__cmd_mp_status},
    {"MP.UNPIN", 2, R, 1, 1, 1, "marketprism", "0.1.0",
     "MP.UNPIN pattern: take that very pin away. 0: there was none.", mp__cmd_mp_unpin},
    {"MP.UNWATCH", 1, PS | A, 0, 0, 0, "marketprism", "0.1.0",
     "End every MP.WATCH of this connection.", mp__cmd_mp_unwatch},
    {"MP.WATCH", -1, PS | A, 0, 0, 0, "marketprism", "0.1.0",
     "MP.WATCH [PREFIX p]: be told name, event and revision of every change in the environment.",
     mp__cmd_mp_watch},
    {"MSET", -3, W, 1, -1, 2, "string", "1.0.1", "Set keys, all or none.", mp__cmd_mset},
    {"PERSIST", 2, W, 1, 1, 1, "generic", "2.2.0", "Let a key stay.", mp__cmd_persist},
    {"PEXPIRE", -3, W, 1, 1, 1, "generic", "2.6.0",
     "Let a key delete itself in so many milliseconds.", mp__cmd_expire},
    {"PEXPIREAT", -3, W, 1, 1, 1, "generic", "2.6.0",
     "Let a key delete itself at a Unix time in milliseconds.", mp__cmd_expire},
    {"PEXPIRETIME", 2, R, 1, 1, 1, "generic", "7.0.0", "As EXPIRETIME, in milliseconds.",
     mp__cmd_ttl},
    {"PING", -1, PS, 0, 0, 0, "connection", "1.0.0", "PONG, or the argument.", mp__cmd_ping},
    {"PSETEX", 4, W, 1, 1, 1, "string", "2.6.0", "SET with an expiry in milliseconds.",
     mp__cmd_setex},
    {"PSUBSCRIBE", -2, PS | A, 0, 0, 0, "pubsub", "2.0.0", "Listen to channels that match globs.",
     mp__cmd_subscribe},
    {"PTTL", 2, R, 1, 1, 1, "generic", "2.6.0", "As TTL, in milliseconds.", mp__cmd_ttl},
    {"PUBSUB", -2, 0, 0, 0, 0, "pubsub", "2.8.0", "CHANNELS, NUMSUB, NUMPAT.", mp__cmd_pubsub},
    {"PUNSUBSCRIBE", -1, PS | A, 0, 0, 0, "pubsub", "2.0.0", "Stop listening to globs.",
     mp__cmd_unsubscribe},
    {"QUIT", -1, PS, 0, 0, 0, "connection", "1.0.0", "Close the connection.", mp__cmd_quit},
    {"RESET", 1, PS | A, 0, 0, 0, "connection", "6.2.0", "Make the connection as new.",
     mp__cmd_reset},
    {"SCAN", -2, R, 0, 0, 0, "generic", "2.8.0",
     "SCAN cursor [MATCH glob] [COUNT n] [TYPE string].", mp__cmd_scan},
    {"SELECT", 2, A, 0, 0, 0, "connection", "1.0.0",
     "Choose the environment by its number in resp.databases, or by name.", mp__cmd_select},
    {"SET", -3, W, 1, 1, 1, "string", "1.0.0",
     "SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL], durable before the reply.",
     mp__cmd_set},
    {"SETEX", 4, W, 1, 1, 1, "string", "2.0.0", "SET with an expiry in seconds.", mp__cmd_setex},
    {"SETNX", 3, W, 1, 1, 1, "string", "1.0.0", "Set a key that does not exist.", mp__cmd_setnx},
    {"STRLEN", 2, R, 1, 1, 1, "string", "2.2.0", "Bytes of a value.", mp__cmd_strlen},
    {"SUBSCRIBE", -2, PS | A, 0, 0, 0, "pubsub", "2.0.0",
     "Listen to channels: __keyspace@N__:key, __keyevent@N__:set|del|expire|persist|expired.",
     mp__cmd_subscribe},
    {"TIME", 1, 0, 0, 0, 0, "server", "2.6.0", "The daemon's clock.", mp__cmd_time},
    {"TOUCH", -2, R, 1, -1, 1, "generic", "3.2.1",
     "As EXISTS, and a use of the keys: they stay in memory longer.", mp__cmd_exists},
    {"TTL", 2, R, 1, 1, 1, "generic", "1.0.0",
     "Seconds until a key deletes itself; -1: it stays; -2: it does not exist.", mp__cmd_ttl},
    {"TYPE", 2, R, 1, 1, 1, "generic", "1.0.0", "string, or none.", mp__cmd_type},
    {"UNLINK", -2, W, 1, -1, 1, "generic", "4.0.0", "As DEL.", mp__cmd_del},
    {"UNSUBSCRIBE", -1, PS | A, 0, 0, 0, "pubsub", "2.0.0", "Stop listening to channels.",
     mp__cmd_unsubscribe},
    {"WAIT", 3, 0, 0, 0, 0, "generic", "3.0.0", "0: there are no replicas.", mp__cmd_wait},
};
const size_t mp__command_count = sizeof(mp__commands) / sizeof(mp__commands[0]);

/* Commands of Redis for which there is nothing in configuration, each between two spaces. */
static const char foreign[] =
    " acl append asking bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove"
    " blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin cluster copy debug decr decrby"
    " discard dump eval eval_ro evalsha evalsha_ro exec failover fcall fcall_ro flushall"
    " flushdb function geoadd geodist geohash geopos georadius georadius_ro georadiusbymember"
    " georadiusbymember_ro geosearch geosearchstore getbit getex getrange getset hdel hexists"
    " hexpire hexpireat hexpiretime hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset"
    " hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset hsetnx hstrlen"
    " httl hvals incr incrby incrbyfloat latency lcs lindex linsert llen lmove lmpop lolwut"
    " lpop lpos lpush lpushx lrange lrem lset ltrim migrate module monitor move msetnx multi"
    " object pfadd pfcount pfdebug pfmerge pfselftest psync publish randomkey readonly"
    " readwrite rename renamenx replconf replicaof restore restore-asking role rpop rpoplpush"
    " rpush rpushx sadd save scard script sdiff sdiffstore setbit setrange shutdown sinter"
    " sintercard sinterstore sismember slaveof slowlog smembers smismember smove sort sort_ro"
    " spop spublish srandmember srem sscan ssubscribe substr sunion sunionstore sunsubscribe"
    " swapdb sync unwatch waitaof watch xack xadd xautoclaim xclaim xdel xgroup xinfo xlen"
    " xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff"
    " zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin"
    " zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex"
    " zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank"
    " zscan zscore zunion zunionstore ";

bool mp__word_is(mp_str a, const char *word)
{
    return a.size == strlen(word) && strncasecmp(a.data, word, a.size) == 0;
}

const mp__command *mp__command_find(mp_str name)
{
    size_t low = 0, high = mp__command_count;

    while (low < high) { /* the table is in order */
        size_t middle = (low + high) / 2;
        const char *at = mp__commands[middle].name;
        int order = strncasecmp(name.data, at, name.size);

        if (order == 0) /* a zero in the name ends the comparison, not the name */
            order = strnlen(at, name.size) < name.size ? 1 : at[name.size] ? -1 : 0;
        if (order == 0)
            return &mp__commands[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static void lower_name(const mp_str name, char *out, size_t capacity)
{
    size_t n = name.size < capacity - 1 ? name.size : capacity - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = (char)tolower((unsigned char)name.data[i]);
    out[n] = '\0';
}

static bool fits(const mp__command *command, uint32_t count)
{
    return command->arity > 0 ? count == (uint32_t)command->arity
                              : count >= (uint32_t)-command->arity;
}

static bool is_subscriber_only(const mp__connection *c, const mp__command *command)
{
    return c->subscriptions.count && c->version == 2 && !(command->flags & MP__COMMAND_PUBSUB);
}

void mp__command_run(mp__connection *c, const mp__command *command, const mp_str *arguments,
                     uint32_t count)
{
    mp__buf *out = mp__connection_out(c);

    lower_name(mp_str_of(command->name), c->last_command, sizeof(c->last_command));
    if (!fits(command, count)) {
        mp__resp_error(out, "ERR", "wrong number of arguments for '%s' command", c->last_command);
    } else if (is_subscriber_only(c, command)) {
        mp__resp_error(
            out, "ERR",
            "Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
            "are allowed in this context",
            c->last_command);
    } else {
        command->run(c, arguments, count);
        return;
    }
    mp__monitor_count(c->worker->server->monitor, MP__EVENT_ERRORS, 1);
}

/* "POST / HTTP/1.1" and "Host:" are a browser tricked into talking to us; end it at once. */
static bool is_http(mp_str word)
{
    return mp__word_is(word, "POST") || mp__word_is(word, "HOST:");
}

static bool is_foreign(mp_str name)
{
    char word[64] = " ";

    if (name.size > sizeof(word) - 3 || memchr(name.data, ' ', name.size) ||
        memchr(name.data, '\0', name.size))
        return false;
    lower_name(name, word + 1, sizeof(word) - 2);
    word[name.size + 1] = ' ';
    word[name.size + 2] = '\0';
    return strstr(foreign, word) != NULL;
}

void mp__command_unknown(mp__connection *c, const mp_str *arguments, uint32_t count)
{
    char name[64], text[200] = "";
    size_t n = 0;

    mp__monitor_count(c->worker->server->monitor, MP__EVENT_ERRORS, 1);
    if (is_http(arguments[0])) {
        mp__resp_error(mp__connection_out(c), "ERR", "this is the RESP port; HTTP is on another");
        mp__connection_refuse(c);
        return;
    }
    if (is_foreign(arguments[0])) {
        lower_name(arguments[0], name, sizeof(name));
        mp__resp_error(mp__connection_out(c), "ERR",
                       "'%s' is not a configuration operation here: a key holds one value. COMMAND "
                       "lists what there is",
                       name);
        return;
    }
    for (uint32_t i = 1; i < count && n < 128; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "'%.*s' ",
                              (int)(arguments[i].size > 32 ? 32 : arguments[i].size),
                              arguments[i].data);
    mp__resp_error(
        mp__connection_out(c), "ERR", "unknown command '%.*s', with args beginning with: %s",
        (int)(arguments[0].size > 128 ? 128 : arguments[0].size), arguments[0].data, text);
}

/* ---- replies that many have ---- */

void mp__reply_address_error(mp__buf *out, const mp__diag *diag)
{
    mp__resp_error(out, "ERR", "%s", diag->text);
}

void mp__reply_status(mp__connection *c, mp__buf *out, int status, const char *text)
{
    const char *code = "ERR";

    if (c)
        mp__monitor_count(c->worker->server->monitor, MP__EVENT_ERRORS, 1);
    switch (status) {
    case MP_EUNKNOWN:
        code = "UNKNOWN";
        break;
    case MP_ESTALE:
        code = "STALE";
        text = "only a stale value is kept and this connection is strict";
        break;
    case MP_EORIGIN:
    case MP_EORIGINLOST:
    case MP_ETIMEOUT:
        code = "ORIGIN";
        break;
    case MP_EDEGRADED:
    case -ENOSPC:
    case -EIO:
        code = "MISCONF";
        break;
    case MP_EINVALID:
        code = "INVALID";
        break;
    case MP_EREADONLY:
        code = "READONLY";
        break;
    case MP_ECORRUPT:
        code = "CORRUPT";
        break;
    case MP_EDENIED:
        code = "NOPERM";
        break;
    case MP_ENOMEM:
        code = "OOM";
        break;
    default:
        break;
    }
    mp__resp_error(out, code, "%s", text && text[0] ? text : mp_strerror(status));
}

void mp__reply_read_error(mp__connection *c, mp__buf *out, const mp__read *read)
{
    bool is_unknown = read->status == MP_EUNKNOWN ||
                      (read->level == MP__LEVEL_STRONG &&
                       (read->status == MP_EORIGIN || read->status == MP_EORIGINLOST));

    if (read->status == MP_EINVAL)
        mp__reply_status(c, out, read->status,
                         "the revision of MINREV is not there yet: the origin has not reached it");
    else
        mp__reply_status(c, out, read->status,
                         is_unknown && c ? mp__read_unknown(c->worker->server->manager, read)
                                         : NULL);
}

void mp__reply_syntax(mp__connection *c)
{
    mp__resp_error(mp__connection_out(c), "ERR", "syntax error");
}

void mp__reply_not_integer(mp__connection *c)
{
    mp__resp_error(mp__connection_out(c), "ERR", "value is not an integer or out of range");
}

bool mp__integer_parse(mp_str text, int64_t *ret_value)
{
    bool negative = text.size && text.data[0] == '-';
    int64_t value = 0;

    if (text.size == negative || text.size > 20)
        return false;
    for (size_t i = negative; i < text.size; i++) {
        int digit = text.data[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            (negative ? __builtin_sub_overflow(value, digit, &value)
                      : __builtin_add_overflow(value, digit, &value)))
            return false;
    }
    *ret_value = value;
    return true;
}

/* ---- slots of keys ---- */

int mp__key_address(mp__connection *c, mp_str key, char out[MP__ADDRESS_MAX])
{
    mp__diag diag = {0};
    int size = mp__address_from_name(mp__connection_environment(c), key, out, &diag);

    if (size <= 0)
        mp__reply_address_error(mp__connection_out(c), &diag);
    return size;
}

/* Bytes that the addresses of @keys take at the most. */
static size_t address_bytes(const mp__connection *c, const mp_str *keys, uint32_t step,
                            uint32_t count)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < count; i++)
        bytes += c->environment_size + keys[(size_t)i * step].size + sizeof("/default/");
    return bytes;
}

/* Every key must be good before a slot is taken, so that an error is answered in its place. */
static bool keys_are_good(mp__connection *c, const mp_str *keys, uint32_t step, uint32_t count)
{
    char address[MP__ADDRESS_MAX];

    for (uint32_t i = 0; i < count; i++)
        if (mp__key_address(c, keys[(size_t)i * step], address) <= 0)
            return false;
    return true;
}

static mp_str take_address(const mp__connection *c, mp_str key, char **at)
{
    char address[MP__ADDRESS_MAX], *to = *at;
    int size = mp__address_from_name(mp__connection_environment(c), key, address, NULL);

    memcpy(to, address, (size_t)size);
    *at += size;
    return mp_str_new(to, (size_t)size);
}

mp__slot *mp__slot_reads(mp__connection *c, const mp_str *keys, uint32_t count,
                         void (*format)(mp__slot *slot, mp__buf *out))
{
    mp__slot *slot;
    char *at;

    if (!keys_are_good(c, keys, 1, count))
        return NULL;
    slot = mp__slot_new(c, MP__SLOT_READ, count, address_bytes(c, keys, 1, count), format);
    if (!slot)
        return NULL;
    at = slot->memory;
    for (uint32_t i = 0; i < count; i++) {
        mp__read *read = &slot->reads[i];

        read->address = take_address(c, keys[i], &at);
        read->hash = mp__cache_hash(c->worker->hasher, read->address);
        read->level = c->level;
        read->strict = c->strict;
        read->age_max_ms = -1;
    }
    return slot;
}

mp__slot *mp__slot_changes(mp__connection *c, const mp_str *keys, uint32_t step, uint32_t count,
                           size_t more_bytes, void (*format)(mp__slot *slot, mp__buf *out),
                           mp__change **ret_changes, char **ret_more)
{
    mp__slot *slot;
    char *at;

    if (!keys_are_good(c, keys, step, count))
        return NULL;
    slot = mp__slot_new(
        c, MP__SLOT_WRITE, 0,
        count * sizeof(mp__change) + address_bytes(c, keys, step, count) + more_bytes, format);
    if (!slot)
        return NULL;
    *ret_changes = (mp__change *)slot->memory;
    at = slot->memory + count * sizeof(mp__change);
    for (uint32_t i = 0; i < count; i++)
        (*ret_changes)[i].address = take_address(c, keys[(size_t)i * step], &at);
    *ret_more = at;
    return slot;
}

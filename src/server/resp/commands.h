/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, by the file that holds them. Each gets its arguments with the name first. */
#ifndef MP_SERVER_RESP_COMMANDS_H
#define MP_SERVER_RESP_COMMANDS_H

#include "server/resp/connection.h"

#define MP__COMMAND_ARGS mp__connection *c, const mp_str *arguments, uint32_t count

/* commands_keys.c */
void mp__cmd_get(MP__COMMAND_ARGS);
void mp__cmd_mget(MP__COMMAND_ARGS);
void mp__cmd_set(MP__COMMAND_ARGS);
void mp__cmd_setnx(MP__COMMAND_ARGS);
void mp__cmd_setex(MP__COMMAND_ARGS);
void mp__cmd_mset(MP__COMMAND_ARGS);
void mp__cmd_del(MP__COMMAND_ARGS);
void mp__cmd_getdel(MP__COMMAND_ARGS);
void mp__cmd_exists(MP__COMMAND_ARGS);
void mp__cmd_ttl(MP__COMMAND_ARGS);
void mp__cmd_expire(MP__COMMAND_ARGS);
void mp__cmd_persist(MP__COMMAND_ARGS);
void mp__cmd_type(MP__COMMAND_ARGS);
void mp__cmd_strlen(MP__COMMAND_ARGS);
/* commands_list.c */
void mp__cmd_scan(MP__COMMAND_ARGS);
void mp__cmd_keys(MP__COMMAND_ARGS);
void mp__cmd_dbsize(MP__COMMAND_ARGS);
void mp__cmd_mp_changes(MP__COMMAND_ARGS);
void mp__cmd_mp_ls(MP__COMMAND_ARGS);
void mp__cmd_mp_envs(MP__COMMAND_ARGS);
void mp__cmd_mp_history(MP__COMMAND_ARGS);
/* commands_consumers.c */
void mp__cmd_mp_consumers(MP__COMMAND_ARGS);
/* commands_own.c */
void mp__cmd_mp_get(MP__COMMAND_ARGS);
void mp__cmd_mp_put(MP__COMMAND_ARGS);
void mp__cmd_mp_cas(MP__COMMAND_ARGS);
void mp__cmd_mp_level(MP__COMMAND_ARGS);
void mp__cmd_mp_rev(MP__COMMAND_ARGS);
void mp__cmd_mp_env(MP__COMMAND_ARGS);
void mp__cmd_mp_rollback(MP__COMMAND_ARGS);
void mp__cmd_mp_explain(MP__COMMAND_ARGS);
void mp__cmd_mp_pin(MP__COMMAND_ARGS);
void mp__cmd_mp_pins(MP__COMMAND_ARGS);
void mp__cmd_mp_unpin(MP__COMMAND_ARGS);
void mp__cmd_mp_preload(MP__COMMAND_ARGS);
void mp__cmd_mp_status(MP__COMMAND_ARGS);
void mp__cmd_mp_unwatch(MP__COMMAND_ARGS);
void mp__cmd_mp_watch(MP__COMMAND_ARGS);
/* commands_schema.c */
void mp__cmd_mp_schema(MP__COMMAND_ARGS);
/* commands_overlay.c */
void mp__cmd_mp_mask(MP__COMMAND_ARGS);
void mp__cmd_mp_scope(MP__COMMAND_ARGS);
/* commands_stage.c */
void mp__cmd_mp_stage(MP__COMMAND_ARGS);
/* commands_connection.c */
void mp__cmd_ping(MP__COMMAND_ARGS);
void mp__cmd_echo(MP__COMMAND_ARGS);
void mp__cmd_hello(MP__COMMAND_ARGS);
void mp__cmd_auth(MP__COMMAND_ARGS);
void mp__cmd_select(MP__COMMAND_ARGS);
void mp__cmd_quit(MP__COMMAND_ARGS);
void mp__cmd_reset(MP__COMMAND_ARGS);
/* commands_client.c */
void mp__cmd_client(MP__COMMAND_ARGS);
/* commands_server.c */
void mp__cmd_info(MP__COMMAND_ARGS);
void mp__cmd_command(MP__COMMAND_ARGS);
void mp__cmd_config(MP__COMMAND_ARGS);
void mp__cmd_time(MP__COMMAND_ARGS);
void mp__cmd_memory(MP__COMMAND_ARGS);
void mp__cmd_wait(MP__COMMAND_ARGS);
void mp__cmd_lastsave(MP__COMMAND_ARGS);
/* subscribe.c */
void mp__cmd_subscribe(MP__COMMAND_ARGS);
void mp__cmd_unsubscribe(MP__COMMAND_ARGS);
void mp__cmd_pubsub(MP__COMMAND_ARGS);

/* ---- helpers ---- */

/* @a equals the upper-case literal @word in any case. */
bool mp__word_is(mp_str a, const char *word);
/* A decimal integer, the whole of @text. */
bool mp__integer_parse(mp_str text, int64_t *ret_value);
/* The canonical address of a key argument into @out; <= 0: an error was answered. */
int mp__key_address(mp__connection *c, mp_str key, char out[MP__ADDRESS_MAX]);
/* Else an error was answered. */
bool mp__media_type_is_good(mp__connection *c, mp_str type);
void mp__reply_syntax(mp__connection *c);
/* Call the connection @name from now on; false: it is none, and an error was answered. */
bool mp__connection_name(mp__connection *c, mp_str name);
/* Copy @text into @to, one of the texts of the connection that CLIENT LIST shows; false: it is too
 * long, or has what would break a line of that list, and an error was answered that calls it @what.
 */
bool mp__connection_note(mp__connection *c, const char *what, char *to, size_t capacity,
                         mp_str text);
void mp__reply_not_integer(mp__connection *c);
void mp__reply_bad_expiry(mp__connection *c, const char *command);
/* The time of an expiry as Unix ms; false when it is none. */
bool mp__expiry_of(const mp__connection *c, mp_str text, bool seconds, bool absolute,
                   int64_t *ret_ms);

/* A slot of @count reads of the keys @keys (each @step arguments apart), addresses prepared; NULL:
 * an error was answered. */
mp__slot *mp__slot_reads(mp__connection *c, const mp_str *keys, uint32_t count,
                         void (*format)(mp__slot *slot, mp__buf *out));
/* A slot of @count changes; their addresses are made of @keys, @step arguments apart; values and
 * media types are copied from what prepare filled in. */
mp__slot *mp__slot_changes(mp__connection *c, const mp_str *keys, uint32_t step, uint32_t count,
                           size_t more_bytes, void (*format)(mp__slot *slot, mp__buf *out),
                           mp__change **ret_changes, char **ret_more);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking RESP client: what the CLI's verbs and the tests speak to a daemon with. */
#ifndef MP_CLIENT_CLIENT_H
#define MP_CLIENT_CLIENT_H

#include "core/buf.h"
#include "core/error.h"
#include "protocol/resp.h"

typedef struct mp__client mp__client;

/* Connect to "host:port" within @timeout_ms, which also bounds each answer; 0: 5,000. Refusals come
 * with a text that says what to start or check. */
MP_MUST_USE int mp__client_open(const char *address, uint64_t timeout_ms, mp__client **ret_client,
                                mp__diag *diag);
mp__client *mp__client_close(mp__client *client);
/* From now on an answer may take so long; 0: 5,000. */
void mp__client_set_timeout(mp__client *client, uint64_t timeout_ms);

/* Queue a command; nothing is sent before flush or read. */
MP_MUST_USE int mp__client_send(mp__client *client, const mp_str *arguments, size_t count);
/* The next answer; the caller's to mp__reply_free(). Its texts stand in the client's buffer, until
 * the next read or send. An error answer is 0 with type ERROR. MP_ETIMEOUT, MP_ECLOSED, MP_EPROTO,
 * -errno with a text. */
MP_MUST_USE int mp__client_read(mp__client *client, mp__reply **ret_reply, mp__diag *diag);
/* send + read. */
MP_MUST_USE int mp__client_call(mp__client *client, const mp_str *arguments, size_t count,
                                mp__reply **ret_reply, mp__diag *diag);

#endif

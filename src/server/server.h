/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's face: N worker loops that speak RESP and HTTP over one manager. */
#ifndef MP_SERVER_SERVER_H
#define MP_SERVER_SERVER_H

#include "core/buf.h"
#include "core/log.h"
#include "core/option.h"
#include "manager/manager.h"
#include "monitor/monitor.h"

typedef struct mp__server mp__server;

typedef struct mp__server_config {
    mp_env *env;
    mp__log_sink *log;
    const mp__options *options;
    mp__manager *manager;
    mp__monitor *monitor;
} mp__server_config;

/* Whether it could listen where the options say, before there is one. As the two first errors of
 * mp__server_start(), and MP_EINVAL. Pure. */
MP_MUST_USE int mp__server_check(const mp__options *options, mp__diag *diag);
/* Whether somebody listens there already: -EADDRINUSE with the port in @diag. */
MP_MUST_USE int mp__server_probe(mp_env *env, const mp__options *options, mp__diag *diag);
/* Listen on resp.listen and http.listen and start the workers. MP_EDENIED: a non-loopback address
 * without authentication; -EADDRINUSE with the port in @diag. */
MP_MUST_USE int mp__server_start(const mp__server_config *config, mp__server **ret_server,
                                 mp__diag *diag);
/* "127.0.0.1:7480" as really bound; valid as long as the server. */
const char *mp__server_resp_address(const mp__server *server);
const char *mp__server_http_address(const mp__server *server);
/* Stop accepting, let commands under way be answered (at most @grace_ms), close, join. What the
 * manager still works at may be answered to the loops afterwards, where nobody hears it: free the
 * server only once the manager is closed. NULL: nothing. */
void mp__server_stop(mp__server *server, uint64_t grace_ms);
/* Of a server that is stopped. Accepts NULL, returns NULL. */
mp__server *mp__server_free(mp__server *server);
int mp__server_reload(mp__server *server, const mp__options *options, mp__diag *diag);

/* What the server shows in /metrics besides the monitor's own. */
extern const mp__metric mp__server_metrics[];
extern const size_t mp__server_metric_count;

/* Append the sections of docs/commands.md on RESP and HTTP, from their tables. MP_ENOMEM. */
MP_MUST_USE int mp__server_pages(mp__buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the routes, by file. Each gets an exchange and sees to its end. */
#ifndef MP_SERVER_HTTP_HANDLERS_H
#define MP_SERVER_HTTP_HANDLERS_H

#include "server/http/http.h"

/* operations.c */
void mp__http_root(mp__exchange *x);
void mp__http_health(mp__exchange *x);
void mp__http_ready(mp__exchange *x);
void mp__http_metrics(mp__exchange *x);
void mp__http_status(mp__exchange *x);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* How the daemon tells the service manager that it is ready, reloads or stops: the protocol of
 * sd_notify(3), a datagram to the socket that NOTIFY_SOCKET names. */
#ifndef MP_CORE_ENV_NOTIFY_H
#define MP_CORE_ENV_NOTIFY_H

#include "core/error.h"

/* Send @state ("READY=1", several lines are one message) to who started us. 0 when it was sent or
 * nobody asked for it; MP_EINVAL when NOTIFY_SOCKET is no address; -errno. Never blocks. */
MP_MUST_USE int mp__service_notify(const char *state);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Every error that a function of the library can return.
 *
 * 0 is success; a negative number is an error. System errors come as -errno (so -4095 to -1); the
 * numbers below are ours and never change their meaning. */
#ifndef MARKETPRISM_ERROR_H
#define MARKETPRISM_ERROR_H

#include <marketprism/export.h>

MP_BEGIN_DECLS

/* X(name, number, text, remedy) */
#define MP_ERROR_TABLE(X)                                                                          \
    X(MP_EABSENT, -5001, "absent", "the origin said that there is no such value")                  \
    X(MP_EUNKNOWN, -5002, "unknown",                                                               \
      "nobody could be asked and nothing is kept; bring the origin back")                          \
    X(MP_EINVAL, -5003, "invalid argument", "see the function's contract")                         \
    X(MP_ENOMEM, -5004, "out of memory", "raise memory.max or give the machine more memory")       \
    X(MP_ELIMIT, -5005, "over a limit", "make it smaller or raise the limit that is named")        \
    X(MP_ECONFLICT, -5006, "the condition does not hold",                                          \
      "read the present revision and try again")                                                   \
    X(MP_ECORRUPT, -5007, "damaged data",                                                          \
      "see the log and marketprism status for what was salvaged")                                  \
    X(MP_EVERSION, -5008, "written by a newer version", "use the version that wrote it, or newer") \
    X(MP_ELOCKED, -5009, "in use by another process", "stop the other one or use another path")    \
    X(MP_EORIGIN, -5010, "the origin cannot be reached", "see marketprism status")                 \
    X(MP_ESTALE, -5011, "only a stale value is kept",                                              \
      "read with level weak, or repair the origin")                                                \
    X(MP_EDEGRADED, -5012, "writes are refused while degraded", "see marketprism status")          \
    X(MP_EPROTO, -5013, "protocol violated", "check what the client sends")                        \
    X(MP_EAGAIN, -5014, "not now", "more input, or an answer that is still on its way, is needed") \
    X(MP_ETIMEOUT, -5015, "timed out", "try again, or allow more time")                            \
    X(MP_ECANCELED, -5016, "cancelled", "")                                                        \
    X(MP_EDENIED, -5017, "not allowed", "use an identity that has the right")                      \
    X(MP_EUNSUPPORTED, -5018, "not supported", "")                                                 \
    X(MP_ESYNTAX, -5019, "cannot be parsed", "mend the place that is named")                       \
    X(MP_ECLOSED, -5020, "closed", "")                                                             \
    X(MP_EEXISTS, -5021, "exists already", "")                                                     \
    X(MP_EORIGINLOST, -5022, "the origin's data is gone",                                          \
      "put its file back, or begin anew (serve --new-origin)")                                     \
    X(MP_EREADONLY, -5023, "the origin is read-only",                                              \
      "change it where it comes from; marketprism explain KEY names the file")                     \
    X(MP_EINVALID, -5024, "the value breaks its schema",                                           \
      "mend what is named; marketprism schema get shows the schema")

enum mp_error {
#define MP_ERROR_X(name, number, text, remedy) name = number,
    MP_ERROR_TABLE(MP_ERROR_X)
#undef MP_ERROR_X
};

/* The text of @error: one of ours, or the system's for -errno. Never NULL; static or thread-local
 * storage, valid until the thread's next call. Any thread. */
MP_API const char *mp_strerror(int error);

/* The name of @error, such as "MP_EABSENT" or "ENOENT"; "OK" for 0. Static storage. Any thread. */
MP_API const char *mp_error_name(int error);

/* What can be done about @error; "" where there is nothing to say. Static storage. Any thread. */
MP_API const char *mp_error_remedy(int error);

MP_END_DECLS

#endif

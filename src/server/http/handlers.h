/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the routes, by file, and what they share. Each handler gets an exchange and sees
 * to its end; a helper that answered an error itself says so with false. */
#ifndef MP_SERVER_HTTP_HANDLERS_H
#define MP_SERVER_HTTP_HANDLERS_H

#include "format/format.h"
#include "server/http/http.h"

/* ---- request.c ---- */

typedef struct mp__parameter {
    const char *name;
    mp_str value; /* data NULL: not given */
} mp__parameter;

/* Where in the overlay: the first three parameters of all that name keys. */
enum { MP__PLACE_ENV, MP__PLACE_REGION, MP__PLACE_INSTANCE, MP__PLACE_COUNT };
#define MP__PLACE_PARAMETERS                                                                       \
    {"env"}, {"region"},                                                                           \
    {                                                                                              \
        "instance"                                                                                 \
    }

/* Fill in the values of the query. A name that is none of them, or is there twice, is refused: a
 * mistyped ?enviroment= shall not read from production. False: answered. */
bool mp__http_parameters(mp__exchange *x, mp__parameter *parameters, size_t count);
/* Of a parameter that was given; one that was not leaves the result alone. False: answered. */
bool mp__http_number_of(mp__exchange *x, const mp__parameter *parameter, uint64_t low,
                        uint64_t high, uint64_t *ret_value);
bool mp__http_duration_of(mp__exchange *x, const mp__parameter *parameter, int64_t *ret_ms);
/* The same of how long a value lives: 0 ms, which would be none or for ever, is refused. */
bool mp__http_ttl_of(mp__exchange *x, const mp__parameter *parameter, int64_t *ret_ms);
bool mp__http_flag_of(mp__exchange *x, const mp__parameter *parameter, bool *ret_value);

/* The scope that the place names (the first environment of resp.databases without env). */
bool mp__http_scope(mp__exchange *x, const mp__parameter *place, char out[MP__SCOPE_MAX],
                    mp_str *ret_scope);
bool mp__http_address(mp__exchange *x, mp_str scope, mp_str namespace_, mp_str key,
                      char out[MP__ADDRESS_MAX], mp_str *ret_address);

/* The next item of a comma-separated header value; false at its end. */
bool mp__http_list_next(mp_str *list, mp_str *ret_item);

/* A hash of value and revision: the same on every node (RFC 9110 section 8.8.3). */
enum { MP__ETAG_SIZE = 18 };
typedef struct mp__etag {
    char text[MP__ETAG_SIZE]; /* with its quotes, not terminated */
} mp__etag;
void mp__etag_make(uint64_t revision, mp_str value, mp__etag *ret_etag);
/* Whether @list, as of If-Match or If-None-Match, names @etag (NULL: there is no value). */
bool mp__etag_matches(mp_str list, const mp__etag *etag, bool weak);
/* Whether @list is "*" or entity tags with commas between them. */
bool mp__etags_are_sound(mp_str list);
/* The lines of the header @name, whose value is a list, as one (RFC 9110 section 5.3); data NULL:
 * there is none. Lives as long as the exchange. False: no memory, answered. */
bool mp__http_list_of(mp__exchange *x, const char *name, mp_str *ret_list);
/* The lines of If-Match or If-None-Match as one list (RFC 9110 section 5.3); data NULL: there is
 * none. One that is not sound is refused, since a condition that was not understood must not be
 * taken for one that holds. False: answered. */
bool mp__http_etags_of(mp__exchange *x, const char *name, mp_str *ret_list);

/* ---- config_read.c ---- */

/* A value and all that an answer says of it. */
typedef struct mp__value_answer {
    mp_str value, media_type;
    const mp_blob *kept; /* that holds the value, so that it need not be copied; may be NULL */
    mp_str layer;        /* that has it, where it is not the one that was asked for */
    uint64_t revision;
    int64_t age_ms, expires_ms;
    enum mp__level level;
    enum mp__tier tier;
    bool stale, past; /* past: of a revision that was, which never changes */
    enum mp__reason reason;
} mp__value_answer;

/* Answer a GET or HEAD, or 304 or 412 where its conditions say so. */
void mp__http_answer_value(mp__exchange *x, const mp__value_answer *value);
/* What an error of a read is answered with. */
void mp__http_answer_read_error(mp__exchange *x, const mp__read *read);

void mp__http_config_get(mp__exchange *x);

/* ---- config_write.c ---- */

void mp__http_config_put(mp__exchange *x);
void mp__http_config_patch(mp__exchange *x);
void mp__http_config_delete(mp__exchange *x);
/* The media type of the body as it is kept: without spaces, "" where it says nothing. */
bool mp__http_media_type(mp__exchange *x, mp_str *ret_type);
/* What stands in the layer that @read names, a mask included; NULL: nothing, or another layer has
 * it. */
const mp__entry *mp__http_own(const mp__read *read);
/* "create", "change", "delete" or "nothing": what @change would do to @own. */
const char *mp__http_would(const mp__change *change, const mp__entry *own);
/* "warnings": what schemas that were put probably do not mean, if there is any; while done() of the
 * write runs. */
void mp__http_add_warnings(mp__buf *body, const mp__write_request *request);
/* What a refused write is answered with. */
void mp__http_answer_write_error(mp__exchange *x, const mp__write_request *request);

/* ---- list.c ---- */

void mp__http_namespaces(mp__exchange *x);
void mp__http_list(mp__exchange *x);
void mp__http_environments(mp__exchange *x);

/* ---- transfer.c ---- */

/* How much @accept wants @media_type, in thousandths: the most special range that takes it counts;
 * -1: none does. */
int mp__http_weight(mp_str accept, const char *media_type);
/* Whether @accept says @media_type itself, and not only a range that takes it. */
bool mp__http_names_type(mp_str accept, const char *media_type);
/* What Accept wants of the formats; NULL: a list, where @listing. False: answered (406). */
bool mp__http_negotiate(mp__exchange *x, bool listing, const mp__format **ret_format);
void mp__http_export_as(mp__exchange *x, const mp__format *format, const mp__parameter *place,
                        const mp__parameter *prefix, const mp__parameter *at,
                        const mp__parameter *effective);
void mp__http_export(mp__exchange *x);
void mp__http_import(mp__exchange *x);

/* ---- diff.c ---- */

void mp__http_diff_key(mp__exchange *x);
void mp__http_diff_prefix(mp__exchange *x);

/* ---- batch.c ---- */

void mp__http_batch_get(mp__exchange *x);

/* ---- txn.c ---- */

void mp__http_txn(mp__exchange *x);

/* ---- history.c ---- */

void mp__http_history(mp__exchange *x);
void mp__http_rollback(mp__exchange *x);
void mp__http_explain(mp__exchange *x);

/* ---- pins.c ---- */

void mp__http_pins(mp__exchange *x);
void mp__http_pin(mp__exchange *x);
void mp__http_unpin(mp__exchange *x);

/* ---- preload.c ---- */

void mp__http_preload_get(mp__exchange *x);
void mp__http_preload_post(mp__exchange *x);

/* ---- consumers.c ---- */

void mp__http_consumers(mp__exchange *x);

/* ---- watch.c ---- */

void mp__http_watch(mp__exchange *x);

/* ---- openapi.c ---- */

void mp__http_openapi(mp__exchange *x);

/* ---- page.c ---- */

void mp__http_root(mp__exchange *x);

/* ---- operations.c ---- */

void mp__http_health(mp__exchange *x);
void mp__http_metrics(mp__exchange *x);
void mp__http_status(mp__exchange *x);
void mp__http_explain_cache(mp__exchange *x);

/* ---- ready.c ---- */

void mp__http_ready(mp__exchange *x);

#endif

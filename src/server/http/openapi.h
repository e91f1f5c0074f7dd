/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document of the HTTP interface, made from the routes and what stands beside them.
 */
#ifndef MP_SERVER_HTTP_OPENAPI_H
#define MP_SERVER_HTTP_OPENAPI_H

#include "server/http/http.h"

typedef struct mp__route_parameter {
    const char *name, *kind; /* "text" "revision" "duration" …; with ! it must be there */
    const char *help;
} mp__route_parameter;

typedef struct mp__route_answer {
    int status;             /* 0: the end */
    const char *media_type; /* NULL: no body; "*" each of the formats */
    const char *schema;     /* of components.schemas */
} mp__route_answer;

typedef struct mp__route_doc {
    const char *method, *pattern; /* as in the route */
    const char *operation;
    const mp__route_parameter *parameters; /* of the query, NULL-ended; NULL: none */
    const char *headers;                   /* names with spaces between; NULL or "": none */
    const char *body;                      /* schema of components.schemas; NULL: none */
    const mp__route_answer *answers;
} mp__route_doc;

extern const mp__route_doc mp__route_docs[];
extern const size_t mp__route_doc_count;
const mp__route_doc *mp__route_doc_find(const mp__route *route); /* NULL: nobody described it */

/* The whole document. out->error. */
int mp__openapi_print(mp__buf *out, const char *version);

#endif

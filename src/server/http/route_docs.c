/* SPDX-License-Identifier: Apache-2.0 */
/* What the OpenAPI document says of each route beyond its row in route.c: parameters, headers,
 * bodies, answers. tests/e2e/test_openapi.py holds both against the running server. */
#include "server/http/openapi.h"

/* ---- parameters ---- */

#define PLACE                                                                                      \
    {"env", "text", "Environment; the first of resp.databases when it is not given."},             \
        {"region", "text", "Region, the layer above the environment."},                            \
    {                                                                                              \
        "instance", "text", "Instance, the layer above the region."                                \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, NULL                                                                           \
    }

static const mp__route_parameter place[] = {PLACE, END};
static const mp__route_parameter read_one[] = {
    PLACE,
    {"at", "revision", "The value that held at this revision."},
    {"level", "level", "How certain the answer must be."},
    {"max_age", "duration", "Verify at the origin what was verified longer ago."},
    {"min_rev", "revision",
     "Nothing older than this revision: read your writes. Not with level weak."},
    {"strict", "flag", "An error rather than a value that is past its bound."},
    {"effective", "yes", "What a reader of the scope gets; false: only what the layer itself has."},
    END};
static const mp__route_parameter write_one[] = {
    PLACE,
    {"ttl", "duration", "The value deletes itself after this time."},
    {"dry_run", "flag", "Say what would happen and change nothing."},
    END};
static const mp__route_parameter delete_one[] = {
    PLACE,
    {"ttl", "duration", "Of a mask: it ends after this time."},
    {"dry_run", "flag", "Say what would happen and change nothing."},
    {"mask", "flag", "Rather hide what the layers behind have: readers find none."},
    END};
static const mp__route_parameter list[] = {
    PLACE,
    {"prefix", "text", "Only keys that begin so."},
    {"limit", "limit", "Most keys and groups in a page."},
    {"after", "token", "`next` of the page before."},
    {"at", "revision", "As it was at this revision."},
    {"delimiter", "text", "Group the keys that have it behind the prefix; at most 8 bytes."},
    {"keys_only", "flag", "Leave the values out."},
    {"effective", "flag",
     "What a reader gets: also what the layers behind have, the nearest of each."},
    END};
static const mp__route_parameter namespaces[] = {
    PLACE,
    {"prefix", "text", "Only namespaces that begin so."},
    {"limit", "limit", "Most namespaces in a page."},
    {"after", "token", "`next` of the page before."},
    {"at", "revision", "As it was at this revision."},
    {"effective", "flag", "Also those that only layers behind have."},
    END};
static const mp__route_parameter environments[] = {
    {"limit", "limit", "Most environments in a page."},
    {"after", "text", "`next` of the page before."},
    END};
static const mp__route_parameter ready[] = {
    {"strict", "flag", "Answer 503 also while it serves what is kept, without its origin or disk."},
    END};
static const mp__route_parameter dry_run[] = {
    PLACE, {"dry_run", "flag", "Say what would happen and change nothing."}, END};
#define OTHER_PLACE                                                                                \
    {"from", "revision", "The first side as it was then; not given: as it is."},                   \
        {"to", "revision", "The second side as it was then; not given: as it is."},                \
        {"to_env", "text", "Environment of the second side; not given: the same."},                \
        {"to_region", "text", "Region of the second side; not given: the same."},                  \
        {"to_instance", "text", "Instance of the second side; not given: the same."},              \
    {                                                                                              \
        "effective", "flag", "What readers of both sides get, not what stands in the layers."      \
    }
static const mp__route_parameter diff_key[] = {PLACE, OTHER_PLACE, END};
static const mp__route_parameter diff_prefix[] = {PLACE,
                                                  OTHER_PLACE,
                                                  {"prefix", "text", "Only keys that begin so."},
                                                  {"keys_only", "flag", "Leave the values out."},
                                                  END};
static const mp__route_parameter export_[] = {
    PLACE,
    {"prefix", "text", "Only keys that begin so."},
    {"at", "revision", "As it was at this revision."},
    {"effective", "flag", "What a reader gets, not what stands in the layer."},
    END};
static const mp__route_parameter import[] = {
    PLACE,
    {"prefix", "text", "Put before every key of the file."},
    {"prune", "flag",
     "Delete the keys of the namespace, or those that begin with the prefix, that the file has "
     "not."},
    {"dry_run", "flag", "Answer what would differ and change nothing."},
    END};
static const mp__route_parameter history[] = {
    PLACE,
    {"limit", "limit", "Most revisions in a page."},
    {"before", "revision", "Only revisions below it: `next_before` of the page before."},
    {"values", "flag", "With the values."},
    END};
static const mp__route_parameter rollback[] = {
    PLACE,
    {"to", "revision!", "The revision whose value shall be the newest again."},
    {"dry_run", "flag", "Say what would happen and change nothing."},
    END};

static const mp__route_parameter consumers[] = {{"limit", "limit", "Most consumers that are told."},
                                                END};
static const mp__route_parameter watch[] = {
    PLACE,
    {"prefix", "text", "Only keys of which namespace/key begins so."},
    {"from", "text", "Go on behind this position, as an event's id; not given: from now on."},
    {"rev", "text", "The same, of a long poll."},
    {"wait", "duration",
     "Long poll: answer with the first change, at the latest after this time; at most 10m."},
    END};

/* ---- headers ---- */

#define CACHING    "If-None-Match Accept-Encoding"
#define CONDITIONS "If-Match If-None-Match"
#define ONCE       "Idempotency-Key"

/* ---- answers ---- */

#define PROBLEM_ROWS(status)                                                                       \
    {                                                                                              \
        status, "application/problem+json", "Problem"                                              \
    }
#define LAST                                                                                       \
    {                                                                                              \
        0, NULL, NULL                                                                              \
    }

static const mp__route_answer text_answer[] = {{200, "text/plain", "Text"}, LAST};
static const mp__route_answer root_answer[] = {
    {200, "text/plain", "Text"}, {200, "text/html", "Text"}, PROBLEM_ROWS(400), LAST};
static const mp__route_answer ready_answer[] = {{200, "application/json", "Ready"},
                                                PROBLEM_ROWS(400),
                                                {503, "application/json", "Ready"},
                                                LAST};
static const mp__route_answer value_answer[] = {
    {200, "*/*", "Bytes"}, {304, NULL, NULL}, PROBLEM_ROWS(400), PROBLEM_ROWS(404),
    PROBLEM_ROWS(412),     PROBLEM_ROWS(503), PROBLEM_ROWS(504), LAST};
static const mp__route_answer write_answer[] = {{200, "application/json", "Written"},
                                                {201, "application/json", "Written"},
                                                {202, "application/json", "Pending"},
                                                PROBLEM_ROWS(400),
                                                PROBLEM_ROWS(403),
                                                PROBLEM_ROWS(404),
                                                PROBLEM_ROWS(409),
                                                PROBLEM_ROWS(412),
                                                PROBLEM_ROWS(413),
                                                PROBLEM_ROWS(415),
                                                PROBLEM_ROWS(422),
                                                PROBLEM_ROWS(503),
                                                PROBLEM_ROWS(504),
                                                LAST};
#define ASKED(schema)                                                                              \
    {                                                                                              \
        {200, "application/json", schema}, {304, NULL, NULL}, PROBLEM_ROWS(400),                   \
            PROBLEM_ROWS(503), LAST                                                                \
    }
static const mp__route_answer environments_answer[] = ASKED("Environments");
static const mp__route_answer namespaces_answer[] = ASKED("Namespaces");
static const mp__route_answer list_answer[] = {{200, "application/json", "List"},
                                               {200, "*", "File"},
                                               {304, NULL, NULL},
                                               PROBLEM_ROWS(400),
                                               PROBLEM_ROWS(406),
                                               PROBLEM_ROWS(413),
                                               PROBLEM_ROWS(422),
                                               PROBLEM_ROWS(503),
                                               PROBLEM_ROWS(504),
                                               LAST};
static const mp__route_answer export_answer[] = {
    {200, "*", "File"}, {304, NULL, NULL}, PROBLEM_ROWS(400),
    PROBLEM_ROWS(406),  PROBLEM_ROWS(413), PROBLEM_ROWS(422),
    PROBLEM_ROWS(503),  PROBLEM_ROWS(504), LAST};
static const mp__route_answer batch_answer[] = {
    {200, "application/json", "Batch"}, PROBLEM_ROWS(400), PROBLEM_ROWS(413), LAST};
static const mp__route_answer txn_answer[] = {{200, "application/json", "TransactionDone"},
                                              PROBLEM_ROWS(400),
                                              PROBLEM_ROWS(403),
                                              PROBLEM_ROWS(409),
                                              PROBLEM_ROWS(412),
                                              PROBLEM_ROWS(413),
                                              PROBLEM_ROWS(422),
                                              PROBLEM_ROWS(503),
                                              PROBLEM_ROWS(504),
                                              LAST};
static const mp__route_answer import_answer[] = {{200, "application/json", "Imported"},
                                                 PROBLEM_ROWS(400),
                                                 PROBLEM_ROWS(403),
                                                 PROBLEM_ROWS(409),
                                                 PROBLEM_ROWS(413),
                                                 PROBLEM_ROWS(415),
                                                 PROBLEM_ROWS(422),
                                                 PROBLEM_ROWS(503),
                                                 PROBLEM_ROWS(504),
                                                 LAST};
static const mp__route_answer diff_key_answer[] = {{200, "application/json", "KeyDifference"},
                                                   PROBLEM_ROWS(400),
                                                   PROBLEM_ROWS(404),
                                                   PROBLEM_ROWS(503),
                                                   LAST};
static const mp__route_answer diff_answer[] = {{200, "application/json", "Difference"},
                                               PROBLEM_ROWS(400),
                                               PROBLEM_ROWS(413),
                                               PROBLEM_ROWS(503),
                                               LAST};
static const mp__route_answer history_answer[] = {{200, "application/json", "History"},
                                                  {304, NULL, NULL},
                                                  PROBLEM_ROWS(400),
                                                  PROBLEM_ROWS(404),
                                                  PROBLEM_ROWS(503),
                                                  PROBLEM_ROWS(504),
                                                  LAST};
static const mp__route_answer watch_answer[] = {{200, "text/event-stream", "Events"},
                                                {200, "application/x-ndjson", "Events"},
                                                {200, "application/json", "Object"},
                                                PROBLEM_ROWS(400),
                                                PROBLEM_ROWS(406),
                                                PROBLEM_ROWS(503),
                                                LAST};
static const mp__route_answer rollback_answer[] = {{200, "application/json", "RolledBack"},
                                                   PROBLEM_ROWS(400),
                                                   PROBLEM_ROWS(403),
                                                   PROBLEM_ROWS(404),
                                                   PROBLEM_ROWS(409),
                                                   PROBLEM_ROWS(412),
                                                   PROBLEM_ROWS(422),
                                                   PROBLEM_ROWS(503),
                                                   PROBLEM_ROWS(504),
                                                   LAST};
static const mp__route_answer object_answer[] = {
    {200, "application/json", "Object"}, PROBLEM_ROWS(400), LAST};

static const mp__route_answer consumers_answer[] = {
    {200, "application/json", "Consumers"}, PROBLEM_ROWS(400), PROBLEM_ROWS(403), LAST};

static const mp__route_answer pin_answer[] = {{200, "application/json", "Object"},
                                              PROBLEM_ROWS(400),
                                              PROBLEM_ROWS(403),
                                              PROBLEM_ROWS(404),
                                              PROBLEM_ROWS(413),
                                              LAST};

static const mp__route_answer preload_answer[] = {
    {200, "application/json", "Preloaded"}, PROBLEM_ROWS(400), LAST};
static const mp__route_answer preloading_answer[] = {{202, "application/json", "Preloaded"},
                                                     PROBLEM_ROWS(400),
                                                     PROBLEM_ROWS(403),
                                                     PROBLEM_ROWS(409),
                                                     PROBLEM_ROWS(413),
                                                     PROBLEM_ROWS(504),
                                                     LAST};

/* ---- the table ---- */

const mp__route_doc mp__route_docs[] = {
    {"GET", "/", "root", NULL, "Accept", NULL, root_answer},
    {"GET", "/healthz", "health", NULL, NULL, NULL, text_answer},
    {"GET", "/readyz", "ready", ready, NULL, NULL, ready_answer},
    {"GET", "/metrics", "metrics", NULL, "Accept-Encoding", NULL, text_answer},
    {"GET", "/v1/config/", "listNamespaces", namespaces, CACHING, NULL, namespaces_answer},
    {"GET", "/v1/config/{namespace}/", "listKeys", list, CACHING " Accept", NULL, list_answer},
    {"GET", "/v1/config/{namespace}/{key...}", "getValue", read_one,
     CACHING " If-Match Cache-Control", NULL, value_answer},
    {"PUT", "/v1/config/{namespace}/{key...}", "putValue", write_one, CONDITIONS " " ONCE, "Bytes",
     write_answer},
    {"PATCH", "/v1/config/{namespace}/{key...}", "patchValue", write_one, CONDITIONS " " ONCE,
     "Patch", write_answer},
    {"DELETE", "/v1/config/{namespace}/{key...}", "deleteValue", delete_one, CONDITIONS " " ONCE,
     NULL, write_answer},
    {"GET", "/v1/environments", "listEnvironments", environments, CACHING, NULL,
     environments_answer},
    {"POST", "/v1/batch-get", "getValues", place, "", "BatchGet", batch_answer},
    {"POST", "/v1/txn", "transact", dry_run, ONCE, "Transaction", txn_answer},
    {"GET", "/v1/diff/{namespace}/", "diffKeys", diff_prefix, "", NULL, diff_answer},
    {"GET", "/v1/diff/{namespace}/{key...}", "diffValue", diff_key, "", NULL, diff_key_answer},
    {"GET", "/v1/export/{namespace}", "exportFile", export_, CACHING " Accept", NULL,
     export_answer},
    {"POST", "/v1/import/{namespace}", "importFile", import, ONCE, "File", import_answer},
    {"GET", "/v1/history/{namespace}/{key...}", "listRevisions", history, CACHING, NULL,
     history_answer},
    {"POST", "/v1/rollback/{namespace}/{key...}", "rollBack", rollback, "If-Match " ONCE, NULL,
     rollback_answer},
    {"GET", "/v1/explain/{namespace}/{key...}", "explain", place, "", NULL, object_answer},
    {"GET", "/v1/explain-cache", "explainCache", NULL, "", NULL, object_answer},
    {"GET", "/v1/pins", "listPins", NULL, "", NULL, object_answer},
    {"PUT", "/v1/pins/{namespace}/{key...}", "pin", place, "", NULL, pin_answer},
    {"DELETE", "/v1/pins/{namespace}/{key...}", "unpin", place, "", NULL, pin_answer},
    {"GET", "/v1/preload", "getPreload", NULL, "", NULL, preload_answer},
    {"POST", "/v1/preload", "preload", place, "", "Preload", preloading_answer},
    {"GET", "/v1/status", "status", NULL, "", NULL, object_answer},
    {"GET", "/v1/consumers", "listConsumers", consumers, "", NULL, consumers_answer},
    {"GET", "/v1/watch", "watch", watch, "Last-Event-ID Accept", NULL, watch_answer},
    {"GET", "/v1/openapi.json", "describe", NULL, CACHING, NULL, object_answer},
};
const size_t mp__route_doc_count = sizeof(mp__route_docs) / sizeof(mp__route_docs[0]);

const mp__route_doc *mp__route_doc_find(const mp__route *route)
{
    for (size_t i = 0; i < mp__route_doc_count; i++)
        if (strcmp(mp__route_docs[i].method, route->method) == 0 &&
            strcmp(mp__route_docs[i].pattern, route->pattern) == 0)
            return &mp__route_docs[i];
    return NULL;
}

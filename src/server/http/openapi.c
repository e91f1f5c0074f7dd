/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/openapi.json. The paths are those of the route table, so a route that nobody described is
 * seen in the document, and missed by the test. */
#include "server/http/openapi.h"

#include <stdio.h>

#include <marketprism/version.h>

#include "server/http/collect.h"

/* components.schemas, openapi_schemas.json as it stands beside this file. */
extern const char mp__openapi_schemas[];
extern const size_t mp__openapi_schemas_size;

/* ---- parameters ---- */

typedef struct kind {
    const char *name, *schema;
} kind;

static const kind kinds[] = {
    {"text", "{\"type\":\"string\"}"},
    {"token", "{\"type\":\"string\"}"},
    {"flag", "{\"type\":\"boolean\",\"default\":false}"},
    {"yes", "{\"type\":\"boolean\",\"default\":true}"},
    {"revision", "{\"type\":\"integer\",\"minimum\":1}"},
    {"limit", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000}"},
    {"duration", "{\"$ref\":\"#/components/schemas/Duration\"}"},
    {"level", "{\"$ref\":\"#/components/schemas/Level\",\"default\":\"eventual\"}"},
};

static void add_raw(mp__buf *out, const char *name, const char *json)
{
    mp__json_key(out, name);
    (void)mp__buf_add_str(out, mp_str_of(json));
}

static void add_kind(mp__buf *out, const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strlen(kinds[i].name) == size && memcmp(kinds[i].name, name, size) == 0)
            add_raw(out, "schema", kinds[i].schema);
}

static void add_parameter(mp__buf *out, const char *in, mp_str name, bool required,
                          const char *help)
{
    mp__json_begin(out, '{');
    mp__json_add_string(out, "name", name);
    mp__json_add_text(out, "in", in);
    mp__json_add_bool(out, "required", required);
    if (help)
        mp__json_add_text(out, "description", help);
}

/* What stands in braces; {key...} may have slashes, which the description says. */
static void add_path_parameters(mp__buf *out, const char *pattern)
{
    for (const char *p = strchr(pattern, '{'); p; p = strchr(p + 1, '{')) {
        size_t size = strcspn(p + 1, ".}");
        bool rest = p[1 + size] == '.';

        add_parameter(out, "path", mp_str_new(p + 1, size), true,
                      rest ? "May have slashes, which are left as they are." : NULL);
        add_raw(out, "schema", "{\"type\":\"string\",\"minLength\":1}");
        mp__json_end(out, '}');
    }
}

static void add_headers(mp__buf *out, const char *headers)
{
    while (headers && *headers) {
        size_t size = strcspn(headers, " ");

        add_parameter(out, "header", mp_str_new(headers, size), false, NULL);
        add_raw(out, "schema", "{\"type\":\"string\"}");
        mp__json_end(out, '}');
        headers += size + (headers[size] == ' ');
    }
}

static void add_parameters(mp__buf *out, const mp__route *route, const mp__route_doc *doc)
{
    mp__json_key(out, "parameters");
    mp__json_begin(out, '[');
    add_path_parameters(out, route->pattern);
    for (const mp__route_parameter *p = doc ? doc->parameters : NULL; p && p->name; p++) {
        size_t size = strcspn(p->kind, "!");

        add_parameter(out, "query", mp_str_of(p->name), p->kind[size] == '!', p->help);
        add_kind(out, p->kind, size);
        mp__json_end(out, '}');
    }
    if (doc)
        add_headers(out, doc->headers);
    mp__json_end(out, ']');
}

/* ---- bodies ---- */

static void add_media(mp__buf *out, const char *media_type, const char *schema)
{
    mp__json_key(out, media_type);
    (void)mp__buf_printf(out, "{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}", schema);
}

/* @media_type "*": each of the formats, except those that @but names. */
static void add_content(mp__buf *out, const char *media_type, const char *schema, const char *but)
{
    if (strcmp(media_type, "*") != 0) {
        add_media(out, media_type, schema);
        return;
    }
    for (const mp__format *const *f = mp__formats; *f; f++)
        if (!but || strcmp((*f)->media_type, but) != 0)
            add_media(out, (*f)->media_type, schema);
}

static void add_body(mp__buf *out, const char *schema)
{
    bool patch = strcmp(schema, "Patch") == 0;

    mp__json_key(out, "requestBody");
    mp__json_begin(out, '{');
    mp__json_add_bool(out, "required", true);
    mp__json_key(out, "content");
    mp__json_begin(out, '{');
    if (patch) {
        add_media(out, "application/merge-patch+json", schema);
        add_media(out, "application/json-patch+json", schema);
    } else {
        add_content(out,
                    strcmp(schema, "File") == 0    ? "*"
                    : strcmp(schema, "Bytes") == 0 ? "*/*"
                                                   : "application/json",
                    schema, NULL);
    }
    mp__json_end(out, '}');
    mp__json_end(out, '}');
}

/* The rows of one status become one answer. */
static const mp__route_answer *add_answer(mp__buf *out, const mp__route_answer *rows)
{
    const mp__route_answer *row = rows;
    char status[16];

    (void)snprintf(status, sizeof(status), "%d", rows->status);
    mp__json_key(out, status);
    mp__json_begin(out, '{');
    mp__json_add_text(out, "description", mp__http_status_text(rows->status));
    if (rows->media_type) {
        mp__json_key(out, "content");
        mp__json_begin(out, '{');
        for (; row->status == rows->status; row++)
            add_content(out, row->media_type, row->schema, row > rows ? rows->media_type : NULL);
        mp__json_end(out, '}');
    } else {
        row++;
    }
    mp__json_end(out, '}');
    return row;
}

static void add_answers(mp__buf *out, const mp__route_doc *doc)
{
    mp__json_key(out, "responses");
    mp__json_begin(out, '{');
    for (const mp__route_answer *row = doc ? doc->answers : NULL; row && row->status;)
        row = add_answer(out, row);
    mp__json_key(out, "default");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "description", "What went wrong and what to do");
    mp__json_key(out, "content");
    mp__json_begin(out, '{');
    add_media(out, "application/problem+json", "Problem");
    mp__json_end(out, '}');
    mp__json_end(out, '}');
    mp__json_end(out, '}');
}

/* ---- paths ---- */

static void add_operation(mp__buf *out, const mp__route *route)
{
    const mp__route_doc *doc = mp__route_doc_find(route);
    char method[16] = "";

    for (size_t i = 0; route->method[i] && i + 1 < sizeof(method); i++)
        method[i] = (char)(route->method[i] | 0x20);
    mp__json_key(out, method);
    mp__json_begin(out, '{');
    if (doc)
        mp__json_add_text(out, "operationId", doc->operation);
    mp__json_add_text(out, "summary", route->summary);
    add_parameters(out, route, doc);
    if (doc && doc->body)
        add_body(out, doc->body);
    add_answers(out, doc);
    mp__json_end(out, '}');
}

/* "/v1/config/{namespace}/{key...}" -> "/v1/config/{namespace}/{key}" */
static void add_path(mp__buf *out, const char *pattern)
{
    char path[128];
    size_t n = 0;

    for (const char *p = pattern; *p && n + 1 < sizeof(path); p++)
        if (p[0] != '.' || p[1] == 'j') /* of "openapi.json" */
            path[n++] = *p;
    path[n] = '\0';
    mp__json_key(out, path);
}

static bool came_before(size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(mp__routes[i].pattern, mp__routes[at].pattern) == 0)
            return true;
    return false;
}

static void add_paths(mp__buf *out)
{
    mp__json_key(out, "paths");
    mp__json_begin(out, '{');
    for (size_t i = 0; i < mp__route_count; i++) {
        if (came_before(i))
            continue;
        add_path(out, mp__routes[i].pattern);
        mp__json_begin(out, '{');
        for (size_t k = i; k < mp__route_count; k++)
            if (strcmp(mp__routes[k].pattern, mp__routes[i].pattern) == 0)
                add_operation(out, &mp__routes[k]);
        mp__json_end(out, '}');
    }
    mp__json_end(out, '}');
}

int mp__openapi_print(mp__buf *out, const char *version)
{
    mp__json_begin(out, '{');
    mp__json_add_text(out, "openapi", "3.1.0");
    mp__json_key(out, "info");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "title", "MarketPrism");
    mp__json_add_text(out, "version", version);
    mp__json_add_text(out, "description",
                      "Configuration at memory speed, with its age and certainty. Every GET "
                      "answers HEAD as well.");
    mp__json_end(out, '}');
    add_paths(out);
    mp__json_key(out, "components");
    mp__json_begin(out, '{');
    mp__json_key(out, "schemas");
    (void)mp__buf_add(out, mp__openapi_schemas, mp__openapi_schemas_size);
    mp__json_end(out, '}');
    mp__json_end(out, '}');
    (void)mp__buf_add_char(out, '\n');
    return out->error;
}

static int print_own(mp__buf *out)
{
    return mp__openapi_print(out, MP_VERSION);
}

void mp__http_openapi(mp__exchange *x)
{
    mp__fixed *document = &x->worker->server->openapi;

    if (mp__http_parameters(x, NULL, 0) && mp__http_fixed(x, document, print_own))
        mp__http_answer_tagged_text(x, MP_STR("application/json"), mp__buf_str(&document->text), 0,
                                    NULL, document->tag);
}

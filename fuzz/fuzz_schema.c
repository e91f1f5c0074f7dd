/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema: the schema, a line end, the document. Checking twice says the same, and a document
 * that breaks its schema always has a violation. */
#include <stdint.h>
#include <stdlib.h>

#include "core/core.h"
#include "schema/schema.h"

static void check(const mp__schema *schema, mp_str document)
{
    mp__violation items[4];
    mp__violations found = {items, 4, 0};
    mp__diag diag = {0};
    int rc = mp__schema_check(schema, document, &found, &diag);

    if (rc == MP_EINVAL && (found.count == 0 || items[0].text[0] == '\0'))
        abort();
    if (rc == 0 && found.count)
        abort();
    if (mp__schema_check(schema, document, NULL, NULL) != rc)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    mp__violation items[4];
    mp__violations warnings = {items, 4, 0};
    mp__schema *schema = NULL;
    mp__diag diag = {0};
    size_t first;
    int rc;

    if (!line)
        return 0;
    first = (size_t)(line - data);
    rc = mp__schema_compile(mp_str_new(data, first), &schema, &warnings, &diag);
    if (rc && diag.text[0] == '\0')
        abort();
    if (rc == 0)
        check(schema, mp_str_new(line + 1, size - first - 1));
    (void)mp__schema_free(schema);
    return 0;
}

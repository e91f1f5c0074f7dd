/* SPDX-License-Identifier: Apache-2.0 */
/* schema_check < PAIRS: each line is {"schema": …, "document": …}. Prints a line for each: "ok", or
 * what the document breaks. For tests that are not in C. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "schema/schema.h"

static void check(const json_t *pair)
{
    char *text = json_dumps(json_object_get(pair, "schema"), JSON_ENCODE_ANY);
    const json_t *document = json_object_get(pair, "document");
    mp__violation first = {0};
    mp__violations violations = {&first, 1, 0};
    mp__schema *schema = NULL;
    mp__diag diag = {0};
    int rc = text ? mp__schema_compile(mp_str_of(text), &schema, NULL, &diag) : MP_ESYNTAX;

    if (rc == 0)
        rc = mp__schema_check_tree(schema, document, &violations, &diag);
    if (rc == 0)
        (void)puts("ok");
    else if (violations.count)
        (void)printf("%s: %s\n", first.instance, first.text);
    else
        (void)printf("%s: %s\n", mp_strerror(rc), diag.text);
    (void)mp__schema_free(schema);
    free(text);
}

int main(void)
{
    for (;;) {
        json_error_t error;
        json_t *pair = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, &error);

        if (!pair)
            break;
        check(pair);
        json_decref(pair);
    }
    return 0;
}

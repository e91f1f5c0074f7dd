/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the leaf keys of a configuration file as the import sees them: key, media type and value,
 * each ended by a zero byte. For tests that are not written in C. */
#include <stdio.h>

#include "core/core.h"
#include "format/format.h"

static void print_field(mp_str text)
{
    (void)fwrite(text.data, 1, text.size, stdout);
    (void)putchar('\0');
}

int main(int argc, char **argv)
{
    MP__CLEANUP_FREE char *data = NULL;
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    char text[1024];
    size_t size;
    const mp__format *format = argc == 2 ? mp__format_of_path(argv[1]) : NULL;
    int rc;

    if (!format) {
        (void)fprintf(stderr, "usage: leaves FILE.json|FILE.yaml|FILE.env\n");
        return 2;
    }
    (void)snprintf(diag.file, sizeof(diag.file), "%s", argv[1]);
    rc = mp__env_read_file(mp__env_real(), argv[1], 64 * 1024 * 1024, &data, &size);
    if (rc == 0)
        rc = format->parse(mp_str_new(data, size), &leaves, &diag);
    else
        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
    if (rc) {
        (void)fprintf(stderr, "%s\n", mp__diag_format(&diag, text, sizeof(text)));
        return 1;
    }
    for (size_t i = 0; i < leaves.count; i++) {
        print_field(leaves.items[i].key);
        print_field(leaves.items[i].media_type);
        print_field(leaves.items[i].value);
    }
    mp__leaves_done(&leaves);
    return 0;
}

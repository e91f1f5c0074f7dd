/* SPDX-License-Identifier: Apache-2.0 */
/* put_unchecked DATABASE ADDRESS MEDIA-TYPE < VALUE: put a value where no daemon is, as an origin
 * takes it, without any of the checks that a daemon does first. For tests of stores that hold what
 * would be refused today. */
#include <stdio.h>

#include "mp_origin.h"

int main(int argc, char **argv)
{
    static char value[65536];
    mp__origin_options options = {.env = mp__env_real()};
    mp__origin *origin = NULL;
    mp__diag diag = {0};
    mp_put put;
    int rc;

    if (argc != 4) {
        (void)fprintf(stderr, "usage: put_unchecked DATABASE ADDRESS MEDIA-TYPE < VALUE\n");
        return 2;
    }
    options.path = argv[1];
    rc = mp__origin_open("sqlite", &options, &origin, &diag);
    if (rc == 0) {
        mp_put_begin(&put);
        mp_put_add(&put, MP__CHANGE_PUT, argv[2], NULL, 0)->media_type = mp_str_of(argv[3]);
        put.changes[0].value = mp_str_new(value, fread(value, 1, sizeof(value), stdin));
        rc = mp_put_run(origin, &put);
        (void)mp__origin_close(origin);
    }
    if (rc)
        (void)fprintf(stderr, "%s: %s\n", argv[1], diag.text[0] ? diag.text : mp_strerror(rc));
    return rc != 0;
}

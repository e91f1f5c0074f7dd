/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of the error table in marketprism/error.h. */
#include <marketprism/error.h>

#include <string.h>

#include "core/error.h"

static const struct {
    int number;
    const char *name, *text, *remedy;
} error_table[] = {
#define MP_ERROR_X(name, number, text, remedy) {number, #name, text, remedy},
    MP_ERROR_TABLE(MP_ERROR_X)
#undef MP_ERROR_X
};

enum { ERROR_COUNT = sizeof(error_table) / sizeof(error_table[0]) };

/* The numbers are dense from MP_EABSENT downward; returns -1 for a number that is not ours. */
static int error_row(int error)
{
    int row = MP_EABSENT - error;

    return row >= 0 && row < ERROR_COUNT ? row : -1;
}

MP_API const char *mp_strerror(int error)
{
    static _Thread_local char text[128];
    int row = error_row(error);

    if (error == 0)
        return "success";
    if (row >= 0)
        return error_table[row].text;
    return strerror_r(error < 0 ? -error : error, text, sizeof(text));
}

MP_API const char *mp_error_name(int error)
{
    int row = error_row(error);
    const char *name;

    if (error == 0)
        return "OK";
    if (row >= 0)
        return error_table[row].name;
    name = strerrorname_np(error < 0 ? -error : error);
    return name ? name : "UNKNOWN";
}

MP_API const char *mp_error_remedy(int error)
{
    int row = error_row(error);

    return row >= 0 ? error_table[row].remedy : "";
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>

static void diag_write(mp__diag *diag, int line, int column, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));

static void diag_write(mp__diag *diag, int line, int column, const char *format, va_list args)
{
    if (!diag)
        return;
    diag->line = line;
    diag->column = column;
    diag->row = 0;
    (void)vsnprintf(diag->text, sizeof(diag->text), format, args);
}

int mp__diag_set(mp__diag *diag, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    diag_write(diag, 0, 0, format, args);
    va_end(args);
    return error;
}

int mp__diag_at(mp__diag *diag, int error, int line, int column, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    diag_write(diag, line, column, format, args);
    va_end(args);
    return error;
}

int mp__diag_row(mp__diag *diag, int error, size_t i)
{
    if (diag && error)
        diag->row = (int)i + 1;
    return error;
}

int mp__diag_shown(mp_str text)
{
    enum { MOST = 80, CHARACTER_MOST = 4 };
    size_t size = MOST;

    if (text.size <= MOST)
        return (int)text.size;
    while (size > MOST - CHARACTER_MOST && ((unsigned char)text.data[size] & 0xc0) == 0x80)
        size--;
    return (int)size;
}

const char *mp__diag_format(const mp__diag *diag, char *buffer, size_t capacity)
{
    if (diag->file[0] && diag->line > 0)
        (void)snprintf(buffer, capacity, "%s:%d:%d: %s", diag->file, diag->line, diag->column,
                       diag->text);
    else if (diag->file[0])
        (void)snprintf(buffer, capacity, "%s: %s", diag->file, diag->text);
    else if (diag->line > 0)
        (void)snprintf(buffer, capacity, "%d:%d: %s", diag->line, diag->column, diag->text);
    else
        (void)snprintf(buffer, capacity, "%s", diag->text);
    return buffer;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to a terminal, for all verbs at one place: names, values and messages are what others
 * chose, and none of their bytes may move the cursor, ring, clear or answer. Files and pipes get
 * every byte as it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/alloc.h"
#include "core/json.h"

typedef struct guard {
    int fd;
    bool is_on, passes; /* passes: what comes now is ours */
    unsigned char kept[4];
    size_t kept_size; /* of a character that was cut by the end of a buffer */
} guard;

static guard guards[] = {{.fd = STDOUT_FILENO}, {.fd = STDERR_FILENO}};

int mp__cli_write_all(int fd, mp_str text)
{
    while (text.size) {
        ssize_t n = write(fd, text.data, text.size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text = mp_str_new(text.data + n, text.size - (size_t)n);
    }
    return 0;
}

/* Bytes at the end of @text that begin a character whose rest is not there. */
static size_t cut_size(mp_str text)
{
    for (size_t n = 1; n < 4 && n <= text.size; n++) {
        unsigned char c = (unsigned char)text.data[text.size - n];

        if ((c & 0xc0) != 0x80)
            return n < (c >= 0xf0 ? 4u : c >= 0xe0 ? 3u : c >= 0xc0 ? 2u : 1u) ? n : 0;
    }
    return 0;
}

/* Everything was taken, or nothing: what stdio is told. */
static ssize_t guard_write(void *cookie, const char *data, size_t size)
{
    guard *g = cookie;
    mp__buf text = MP__BUF_INIT, shown = MP__BUF_INIT;
    size_t cut;
    int rc;

    (void)mp__buf_add(&text, g->kept, g->kept_size);
    (void)mp__buf_add(&text, data, size);
    if (text.error == 0 && !g->passes) {
        cut = size ? cut_size(mp__buf_str(&text)) : 0;
        mp__shown_add(&shown, mp_str_new(text.data, text.size - cut));
        g->kept_size = cut;
        if (cut)
            memcpy(g->kept, text.data + text.size - cut, cut);
    }
    rc = text.error | shown.error
             ? -ENOMEM
             : mp__cli_write_all(g->fd, mp__buf_str(g->passes ? &text : &shown));
    mp__buf_done(&text);
    mp__buf_done(&shown);
    if (rc) {
        errno = -rc;
        return 0;
    }
    return (ssize_t)size;
}

/* stdout and stderr are variables here (glibc), so that each print of each verb comes by. */
void mp__terminal_begin(void)
{
    static const cookie_io_functions_t functions = {.write = guard_write};
    FILE **streams[] = {&stdout, &stderr};

    for (size_t i = 0; i < 2; i++) {
        FILE *stream = isatty(guards[i].fd) ? fopencookie(&guards[i], "w", functions) : NULL;

        if (!stream)
            continue;
        (void)setvbuf(stream, NULL, i == 0 ? _IOLBF : _IONBF, 0);
        guards[i].is_on = true;
        *streams[i] = stream;
    }
}

int mp__terminal_end(void)
{
    int rc = fflush(stdout);

    for (size_t i = 0; i < 2; i++)
        if (guards[i].kept_size)
            (void)guard_write(&guards[i], NULL, 0);
    return rc;
}

void mp__cli_own(FILE *to, const char *sequence)
{
    guard *g = to == stdout && guards[0].is_on   ? &guards[0]
               : to == stderr && guards[1].is_on ? &guards[1]
                                                 : NULL;

    flockfile(to);
    if (g) {
        (void)fflush(to);
        g->passes = true;
    }
    (void)fputs(sequence, to);
    if (g) {
        (void)fflush(to);
        g->passes = false;
    }
    funlockfile(to);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

enum { BAR_WIDTH = 30, BAR_SHORTEST = 5 };

/* How long a bar of at most BAR_WIDTH leaves room for @rest characters in a line of the terminal,
 * which would go on in the next at its edge; where that is not known, in 80. */
static size_t bar_width(size_t rest)
{
    struct winsize size = {0};
    size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;

    return columns <= rest ? 0 : columns - rest > BAR_WIDTH ? BAR_WIDTH : columns - rest;
}

void mp__bar_draw(const char *doing, size_t done, const char *of, size_t total, const char *unit)
{
    char numbers[96];
    size_t width, full;

    (void)snprintf(numbers, sizeof(numbers), "] %zu %s %zu %s ", done, of, total, unit);
    width = bar_width(strlen(doing) + strlen(" [") + strlen(numbers) + 1);
    full = total ? done * width / total : width;
    mp__cli_own(stderr, "\r");
    if (width < BAR_SHORTEST) {
        (void)fprintf(stderr, "%3zu %%", total ? done * 100 / total : 100);
    } else {
        (void)fprintf(stderr, "%s [", doing);
        for (size_t i = 0; i < width; i++)
            (void)fputc(i < full ? '#' : ' ', stderr);
        (void)fputs(numbers, stderr);
    }
    (void)fflush(stderr);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what is made from tables: `gen-docs configuration` docs/configuration.md, `man` the page
 * marketprism.conf(5), `example` a configuration file, `commands` docs/commands.md, `metrics`
 * docs/metrics.md, `grafana` a dashboard; `make docs` puts them in their places. The
 * build asks for `verb-man NAME` and `completion SHELL`. */
#include <stdio.h>
#include <string.h>

#include "cli/pages.h"
#include "core/option.h"

int main(int argc, char **argv)
{
    mp__buf out = MP__BUF_INIT;
    int rc = MP_EINVAL;

    if (argc == 2 && strcmp(argv[1], "configuration") == 0)
        rc = mp__options_markdown(&out);
    else if (argc == 2 && strcmp(argv[1], "man") == 0)
        rc = mp__options_man(&out);
    else if (argc == 2 && strcmp(argv[1], "example") == 0)
        rc = mp__options_example(&out);
    else if (argc == 2 && strcmp(argv[1], "commands") == 0)
        rc = mp__cli_commands_page(&out);
    else if (argc == 2 && strcmp(argv[1], "metrics") == 0)
        rc = mp__cli_metrics_page(&out);
    else if (argc == 2 && strcmp(argv[1], "grafana") == 0)
        rc = mp__cli_grafana(&out);
    else if (argc == 3 && strcmp(argv[1], "verb-man") == 0)
        rc = mp__cli_man(argv[2], &out);
    else if (argc == 3 && strcmp(argv[1], "completion") == 0)
        rc = mp__cli_completion(argv[2], &out);
    if (rc) {
        (void)fprintf(stderr, "usage: gen-docs "
                              "configuration|man|example|commands|metrics|grafana|verb-man "
                              "[NAME]|completion SHELL\n");
        return 2;
    }
    rc = fwrite(out.data, 1, out.size, stdout) == out.size && fflush(stdout) == 0 ? 0 : 1;
    mp__buf_done(&out);
    return rc;
}

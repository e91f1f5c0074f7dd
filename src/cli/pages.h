/* SPDX-License-Identifier: Apache-2.0 */
/* Manual pages, shell completions and pages of docs/, made from tables. */
#ifndef MP_CLI_PAGES_H
#define MP_CLI_PAGES_H

#include "cli/cli.h"

/* The manual page of @verb as troff with man(7)'s macros, of the program where it is "". MP_EINVAL:
 * no such verb. MP_ENOMEM. */
MP_MUST_USE int mp__cli_man(const char *verb, mp__buf *out);

/* The completion script for "bash", "zsh" or "fish"; MP_EINVAL for others. MP_ENOMEM. */
MP_MUST_USE int mp__cli_completion(const char *shell, mp__buf *out);

/* docs/commands.md: the verbs, the commands of RESP, the paths of HTTP; and docs/metrics.md.
 * MP_ENOMEM. */
MP_MUST_USE int mp__cli_commands_page(mp__buf *out);
MP_MUST_USE int mp__cli_metrics_page(mp__buf *out);
/* A dashboard of Grafana with a panel for every metric, as JSON. MP_ENOMEM. */
MP_MUST_USE int mp__cli_grafana(mp__buf *out);

#endif

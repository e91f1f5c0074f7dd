/* SPDX-License-Identifier: Apache-2.0 */
#include "core/knob.h"

#include <string.h>

const mp__knob *mp__knob_find(const mp__knob_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->knobs[i].name, name) == 0)
            return &table->knobs[i];
    return NULL;
}

int mp__knob_set(const mp__knob *knob, void *module, double value, mp__diag *diag)
{
    if (!(value >= knob->low && value <= knob->high))
        return mp__diag_set(diag, MP_EINVAL,
                            "%s: %.15g is out of range; %.15g to %.15g %s are possible", knob->name,
                            value, knob->low, knob->high, knob->unit);
    return knob->set(module, value, diag);
}

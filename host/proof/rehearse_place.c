/* SPDX-License-Identifier: MIT
 *
 * A backup that never becomes one: the store's lock and its sweep are what is needed here.
 */
#include "host/proof/rehearse_place.h"

#include <stdlib.h>

#include "host/base/memory.h"
#include "host/base/path.h"

bool neap_rehearse_place_begin(const struct neap_session *target, const char *what,
                               struct neap_rehearse_place *out, struct neap_error *err)
{
    char *dir = neap_path_join(target->project->state_dir, "rehearsals");
    char *id = neap_format("%s-%s", neap_loop_run(target->loop)->id, what);
    bool begun = backup_part_begin(dir, id, &out->part, err);
    free(dir);
    free(id);
    return begun;
}

char *neap_rehearse_path(const struct neap_rehearse_place *place, const char *name)
{
    return neap_path_join(place->part.path, name);
}

void neap_rehearse_place_end(struct neap_rehearse_place *place)
{
    backup_part_clear(&place->part);
}

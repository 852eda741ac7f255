/* SPDX-License-Identifier: MIT
 *
 * What a restore would take away, asked while somebody waits for the answer: a question
 * that fails is told, and keeps nobody from the command.
 */
#include <stdlib.h>
#include <string.h>

#include "bindings/backup/backup_loss.h"
#include "host/base/clock.h"
#include "host/base/memory.h"
#include "host/change/unit.h"

#define LINES_MAX 20

static bool read_loss(struct neap_change *change, json_t **out, struct neap_error *err)
{
    struct backup backup = {0};
    const char *dir = change->env->backup_dir;
    neap_way_back_arm(change);
    bool read = backup_find(dir == NULL ? "" : dir, change->backup_id, NULL, &backup, err) &&
                neap_tx_session(change, change->env->lock_timeout_ms, err) &&
                backup_loss_read(change->target->work, &backup, out, err);
    neap_target_drop_work(change->target); /* it may be in the middle of what failed */
    backup_clear(&backup);
    return read;
}

/* Cut where nobody reads on. */
static char *first_lines(char *text)
{
    char *at = text;
    for (int i = 0; i < LINES_MAX && at != NULL; i++) {
        at = strchr(at, '\n');
        at = at == NULL ? NULL : at + 1;
    }
    if (at == NULL || *at == '\0')
        return text;
    char *cut = neap_format("%.*s…\n", (int)(at - text), text);
    free(text);
    return cut;
}

static char *describe(const json_t *loss)
{
    char age[NEAP_DURATION_SIZE];
    size_t tables = json_array_size(json_object_get(loss, "tables"));
    bool exact = json_is_true(json_object_get(loss, "exact"));
    neap_duration_text(json_integer_value(json_object_get(loss, "age_ms")), age);
    if (tables == 0)
        return neap_format("It was made %s ago, and the rows are the same since%s.", age,
                           exact ? "" : ", as far as counting shows");
    return neap_format("It was made %s ago; since then %zu %s changed (%s).", age, tables,
                       tables == 1 ? "table was" : "tables were",
                       exact ? "compared by digests"
                             : "small ones counted, large ones estimated by the server");
}

void neap_way_back_losses(struct neap_change *change, char **sentence, char **lines)
{
    struct neap_error err = {0};
    json_t *loss = NULL;
    *lines = NULL;
    if (!read_loss(change, &loss, &err)) {
        *sentence = neap_format("What it would lose could not be found out: %s.", err.message);
        neap_error_clear(&err);
        return;
    }
    *sentence = describe(loss);
    if (json_array_size(json_object_get(loss, "tables")) > 0)
        *lines = first_lines(backup_loss_text(loss));
    json_decref(loss);
}

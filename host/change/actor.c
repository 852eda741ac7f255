/* SPDX-License-Identifier: MIT
 *
 * The actor, from the kernel: real and effective uid, login uid, terminal.
 * SUDO_USER and SSH_CLIENT come from the environment and are kept under
 * "claimed", since anyone can set them.
 */
#include "host/change/actor.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/json.h"
#include "host/base/memory.h"

#define LOGIN_UID_UNSET 4294967295UL /* (uid_t)-1: no login session, see loginuid in proc(5) */

static char *user_of(uid_t uid)
{
    struct passwd entry;
    struct passwd *found = NULL;
    char buffer[4096];
    if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != NULL)
        return neap_strdup(found->pw_name);
    return neap_format("uid %lu", (unsigned long)uid);
}

/* False when the kernel keeps none (containers, daemons). */
static bool login_uid(uid_t *out)
{
    FILE *file = fopen("/proc/self/loginuid", "re");
    if (file == NULL)
        return false;
    char text[32] = "";
    bool got = fgets(text, sizeof text, file) != NULL;
    (void)fclose(file); /* only read */
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (!got || errno != 0 || end == text || value >= LOGIN_UID_UNSET)
        return false;
    *out = (uid_t)value;
    return true;
}

static void add_claims(json_t *fields, const char *sudo_user)
{
    json_t *claimed = json_object();
    if (sudo_user != NULL)
        neap_json_set(claimed, "sudo_user", neap_json_text(sudo_user));
    if (getenv("SSH_CLIENT") != NULL)
        neap_json_set(claimed, "ssh_client", neap_json_text(getenv("SSH_CLIENT")));
    neap_json_set(fields, "claimed", claimed);
}

void neap_actor_open(struct neap_actor *actor)
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    actor->host = neap_strdup(host[0] == '\0' ? "unknown" : host);
    char *user = user_of(getuid());
    uid_t login = 0;
    bool has_login = login_uid(&login);
    char *login_user = has_login ? user_of(login) : NULL;
    const char *sudo_user = getenv("SUDO_USER");
    const char *behind = login_user != NULL ? login_user : sudo_user;
    actor->name = behind != NULL && strcmp(behind, user) != 0 ? neap_format("%s (%s)", user, behind)
                                                              : neap_strdup(user);
    actor->fields = json_object();
    neap_json_set(actor->fields, "uid", json_integer((json_int_t)getuid()));
    neap_json_set(actor->fields, "euid", json_integer((json_int_t)geteuid()));
    neap_json_set(actor->fields, "user", neap_json_text(user));
    neap_json_set(actor->fields, "host", neap_json_text(actor->host));
    if (has_login)
        neap_json_set(actor->fields, "login_user", neap_json_text(login_user));
    char tty[128];
    if (ttyname_r(STDIN_FILENO, tty, sizeof tty) == 0)
        neap_json_set(actor->fields, "tty", neap_json_text(tty));
    add_claims(actor->fields, sudo_user);
    free(user);
    free(login_user);
}

void neap_actor_clear(struct neap_actor *actor)
{
    free(actor->name);
    free(actor->host);
    json_decref(actor->fields);
    memset(actor, 0, sizeof *actor);
}

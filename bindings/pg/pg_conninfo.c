/* SPDX-License-Identifier: MIT
 *
 * PQconninfoParse's messages quote the text they could not parse, password and
 * all; so they are never shown.
 */
#include "bindings/pg/pg_conninfo.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/log.h"
#include "host/base/memory.h"

static PQconninfoOption *parse(const char *conninfo)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    PQfreemem(message);
    return options;
}

/* libpq marks secrets with a dispchar of "*". */
static bool is_secret(const PQconninfoOption *option)
{
    return option->dispchar && option->dispchar[0] == '*';
}

bool pg_conninfo_check(const char *conninfo, struct neap_error *err)
{
    PQconninfoOption *options = parse(conninfo);
    if (!options) {
        neap_error_set(err, NEAP_ERR_CONFIG_INVALID, "libpq cannot parse the url");
        neap_error_detail(err, "It is postgresql://user@host:port/database, or keywords such as "
                               "`host=… dbname=…`. Special characters in a password are written "
                               "as %%XX in a URL.");
        return false;
    }
    PQconninfoFree(options);
    return true;
}

char *pg_conninfo_redacted(const char *conninfo)
{
    struct neap_buffer text = {0};
    PQconninfoOption *options = parse(conninfo);
    if (!options)
        return neap_strdup("(not valid)");
    for (PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val || option->val[0] == '\0')
            continue;
        neap_buffer_add_format(&text, "%s%s=%s", text.length ? " " : "", option->keyword,
                               is_secret(option) ? "***" : option->val);
    }
    PQconninfoFree(options);
    return neap_buffer_take(&text);
}

char *pg_conninfo_password(const char *conninfo)
{
    char *password = NULL;
    PQconninfoOption *options = parse(conninfo);
    for (PQconninfoOption *option = options; option && option->keyword; option++)
        if (strcmp(option->keyword, "password") == 0 && option->val && option->val[0] != '\0')
            password = neap_strdup(option->val);
    PQconninfoFree(options);
    return password;
}

void pg_conninfo_redact(const char *conninfo)
{
    PQconninfoOption *options = parse(conninfo);
    for (PQconninfoOption *option = options; option && option->keyword; option++)
        if (is_secret(option) && option->val && option->val[0] != '\0')
            neap_redact_add(option->val);
    PQconninfoFree(options);
}

int pg_library_version(void)
{
    return PQlibVersion();
}

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

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options != NULL && options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0 && options->val && options->val[0] != '\0')
            return options->val;
    return NULL;
}

char *pg_conninfo_database(const char *conninfo)
{
    PQconninfoOption *given = conninfo == NULL ? NULL : parse(conninfo);
    PQconninfoOption *defaults = PQconndefaults();
    const char *name = value_of(given, "dbname");
    /* A service says it in a file of its own. */
    bool told = name != NULL || (value_of(given, "service") == NULL && !getenv("PGSERVICE"));
    if (name == NULL)
        name = getenv("PGDATABASE");
    if (name == NULL)
        name = value_of(given, "user");
    if (name == NULL)
        name = value_of(defaults, "dbname");
    char *found = told ? neap_strdup(name) : NULL;
    PQconninfoFree(given);
    PQconninfoFree(defaults);
    return found;
}

/* ` keyword='value'`, as libpq quotes. */
static void add_keyword(struct neap_buffer *text, const char *keyword, const char *value)
{
    neap_buffer_add_format(text, "%s%s='", text->length > 0 ? " " : "", keyword);
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            neap_buffer_add_char(text, '\\');
        neap_buffer_add_char(text, *value);
    }
    neap_buffer_add_char(text, '\'');
}

char *pg_conninfo_on(const char *conninfo, const char *database, const char *options)
{
    struct neap_buffer text = {0}, all = {0};
    PQconninfoOption *given = conninfo == NULL ? NULL : parse(conninfo);
    if (conninfo != NULL && given == NULL)
        return NULL;
    const char *own = getenv("PGOPTIONS"); /* libpq's, unless the text has some */
    for (PQconninfoOption *option = given; option && option->keyword; option++) {
        if (strcmp(option->keyword, "options") == 0)
            own = option->val == NULL ? own : option->val;
        else if (strcmp(option->keyword, "dbname") != 0 && option->val != NULL)
            add_keyword(&text, option->keyword, option->val);
    }
    neap_buffer_add_format(&all, "%s%s", own == NULL ? "" : own, options == NULL ? "" : options);
    if (all.length > 0)
        add_keyword(&text, "options", neap_buffer_text(&all));
    add_keyword(&text, "dbname", database);
    PQconninfoFree(given);
    neap_buffer_clear(&all);
    return neap_buffer_take(&text);
}

void pg_conninfo_free(char *conninfo)
{
    if (conninfo != NULL)
        explicit_bzero(conninfo, strlen(conninfo));
    free(conninfo);
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

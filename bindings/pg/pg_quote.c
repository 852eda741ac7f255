/* SPDX-License-Identifier: MIT
 *
 * Identifiers and literals, quoted by libpq. What is not text is refused before
 * libpq sees it: its escaping of broken UTF-8 was a hole once (CVE-2025-1094).
 */
#include "bindings/pg/pg_internal.h"

#include <string.h>

#include "host/base/memory.h"
#include "host/base/text.h"

static bool check(const char *what, const char *text, size_t length, struct neap_error *err)
{
    if (memchr(text, '\0', length)) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "%s holds a NUL byte", what);
        return false;
    }
    if (!neap_text_is_utf8(text, length)) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "%s is not valid UTF-8", what);
        return false;
    }
    return true;
}

static bool quoted(struct pg_client *client, char *text, char **out, struct neap_error *err)
{
    if (!text) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "libpq cannot quote the text");
        neap_error_detail(err, "%s", PQerrorMessage(client->conn));
        return false;
    }
    *out = neap_strdup(text);
    PQfreemem(text);
    return true;
}

bool pg_ident(struct pg_client *client, const char *name, size_t length, char **out,
              struct neap_error *err)
{
    *out = NULL;
    if (length == 0) {
        neap_error_set(err, NEAP_ERR_DB_ARGUMENT, "an identifier is empty");
        return false;
    }
    return check("an identifier", name, length, err) &&
           quoted(client, PQescapeIdentifier(client->conn, name, length), out, err);
}

bool pg_literal(struct pg_client *client, const char *text, size_t length, char **out,
                struct neap_error *err)
{
    *out = NULL;
    return check("a literal", text, length, err) &&
           quoted(client, PQescapeLiteral(client->conn, text, length), out, err);
}

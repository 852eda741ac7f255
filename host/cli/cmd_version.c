/* SPDX-License-Identifier: MIT
 *
 * neap version: this neap and the libraries it runs with now (not those it was
 * built with).
 */
#include "host/cli/cli_versions.h"

#include <sodium.h>
#include <stdio.h>
#include <uv.h>
#include <zlib.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/json.h"
#include "host/cli/cli.h"
#include "host/script/script_version.h"

json_t *cli_versions(void)
{
    json_t *libraries = json_object();
    int pq = pg_library_version();
    char text[32];
    snprintf(text, sizeof text, "%d.%d", pq / 10000, pq % 10000);
    neap_json_set(libraries, "libpq", json_string(text));
    neap_json_set(libraries, "lua", json_string(neap_script_lua_version()));
    neap_json_set(libraries, "libuv", json_string(uv_version_string()));
    neap_json_set(libraries, "libsodium", json_string(sodium_version_string()));
    neap_json_set(libraries, "jansson", json_string(jansson_version_str()));
    neap_json_set(libraries, "zlib", json_string(zlibVersion()));
    return libraries;
}

int cmd_version(struct neap_cli *cli)
{
    struct neap_error err = {0};
    if (!cli_arguments(cli, 0, 0, &err))
        return cli_fail(cli, &err);
    json_t *libraries = cli_versions();
    const char *name;
    json_t *version;
    cli_print(cli, "neap %s", NEAP_VERSION);
    json_object_foreach(libraries, name, version)
        cli_print(cli, "  %-10s %s", name, json_string_value(version));
    json_t *body = json_object();
    neap_json_set(body, "neap", json_string(NEAP_VERSION));
    neap_json_set(body, "libraries", libraries);
    cli_json(cli, 0, body);
    return 0;
}

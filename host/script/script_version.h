/* SPDX-License-Identifier: MIT
 *
 * The Lua that neap was built with, for floors that never see lua.h.
 */
#ifndef NEAP_SCRIPT_SCRIPT_VERSION_H
#define NEAP_SCRIPT_SCRIPT_VERSION_H

const char *neap_script_lua_version(void); /* "5.4.4"; static */

#endif

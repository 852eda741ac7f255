/* SPDX-License-Identifier: MIT
 *
 * The Lua that neap was built with, for floors that never see lua.h.
 */
#ifndef NEAP_BINDINGS_GLUE_GLUE_VERSION_H
#define NEAP_BINDINGS_GLUE_GLUE_VERSION_H

const char *glue_lua_version(void); /* "5.4.4"; static */

#endif

/* SPDX-License-Identifier: MIT
 *
 * The list of every class and module that scripts see: help, editor types and
 * tests walk it. It stands on this floor because only here all bindings and the
 * sandbox's own module are known.
 */
#include "bindings/pg/pg_lua.h"
#include "host/script/script_state.h"

const struct glue_class *const glue_classes[] = {&neap_script_module, &pg_lua_module, &pg_lua_conn,
                                                 &pg_lua_rows, NULL};

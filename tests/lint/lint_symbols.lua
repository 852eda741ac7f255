-- SPDX-License-Identifier: MIT
--
-- External names of the library carry their module's prefix, and the binary
-- exports nothing.
package.path = "tests/lint/?.lua;" .. package.path
local lint = require "lint"

local build = os.getenv "NEAP_BUILD_DIR" or "build"
local prefixes = { "neap_", "pg_", "lease_", "scratch_", "glue_", "cli_", "cmd_" }

-- Shared by the files of one module only: begins like the file, source_hash_all
-- in source_hash.c. Never like a library's own names.
local function is_of_module(name, object)
  local module = object:match "^[%a]+" .. "_"
  return module ~= "lua_" and module ~= "uv_" and name:sub(1, #module) == module
end

local function is_ours(name)
  for _, prefix in ipairs(prefixes) do
    if name:sub(1, #prefix) == prefix then
      return true
    end
  end
  -- The compiler's own: coverage counters, sanitizer descriptors.
  return name:find "^__" or name:find "^_GLOBAL_" or name:find "^asan%." or name:find "%.asan_gen"
end

local listing, ok = lint.capture(("nm -A -g --defined-only %s/libneap_core.a 2>/dev/null")
  :format(lint.quote(build)))
lint.case(ok and listing ~= "" and {} or { build .. "/libneap_core.a: not built" })
local strangers = {}
for line in listing:gmatch "[^\n]+" do
  local object, name = line:match ":([%w_]+)%.c%.o:%x+ %a ([%w_.$]+)$"
  if name then
    if not is_ours(name) and not is_of_module(name, object) then
      strangers[#strangers + 1] = "external name without a module's prefix: " .. name
    end
  end
end
lint.case(strangers)

local dynamic = lint.capture(("nm -D --defined-only %s/neap 2>/dev/null"):format(
  lint.quote(build)))
for line in dynamic:gmatch "[^\n]+" do
  local name = line:match "^%x+ %a ([%w_.@]+)$"
  -- Copies of the libraries' and the C library's variables are not our exports.
  if name and (name:find "^neap_" or name:find "^pg_" or name:find "^glue_") then
    lint.case { "the binary exports " .. name }
  end
end
lint.finish()

-- SPDX-License-Identifier: MIT
--
-- Every header compiles alone, and is guarded by the name of its path.
package.path = "tests/lint/?.lua;" .. package.path
local lint = require "lint"

local cc = os.getenv "CC" or "cc"
local flags = lint.capture(
  "pkg-config --cflags lua5.4 libpq libuv libsodium jansson 2>/dev/null"):gsub("\n", " ")

-- All in one compiler call each would be slow; one file that fails tells its name.
for _, path in ipairs(lint.files "^[hb][oi]%w+/.*%.h$") do
  local findings = {}
  local output, ok = lint.capture(("echo '#include \"%s\"' | %s -std=c11 -D_GNU_SOURCE -Wall "
    .. "-Wextra -Werror -I. %s -fsyntax-only -x c - 2>&1"):format(path, lint.quote(cc), flags))
  if not ok then
    findings[1] = output
  end
  local guard = "NEAP_" .. path:gsub("^host/", ""):upper():gsub("[^%w]", "_")
  local name = path:match "([^/]+)%.h$":upper()
  local text = lint.read(path)
  local found = text:match "#ifndef ([%w_]+)\n#define"
  if not found or not found:find("^NEAP_") or not found:find(name .. "_H$") then
    findings[#findings + 1] = ("%s: no include guard like %s"):format(path, guard)
  end
  lint.case(findings)
end
lint.finish()

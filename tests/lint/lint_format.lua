-- SPDX-License-Identifier: MIT
--
-- clang-format for the C. Versions differ in what they make of one style: only the
-- reference system's judges, elsewhere it is passed over, saying so.
package.path = "tests/lint/?.lua;" .. package.path
local lint = require "lint"

local reference = "version 14."
local version, found = lint.capture "clang-format --version 2>&1"
if not found or not version:find(reference, 1, true) then
  print("clang-format " .. reference .. " is not installed: passed over")
  lint.finish()
  return
end
for _, path in ipairs(lint.files "%.[ch]$") do
  local output, ok = lint.capture("clang-format --dry-run -Werror " .. lint.quote(path) .. " 2>&1")
  lint.case(ok and {} or { output })
end
lint.finish()

-- SPDX-License-Identifier: MIT
--
-- shellcheck for the shell scripts, luacheck for Lua; each is skipped, saying so,
-- where it is not installed (bootstrap installs both).
package.path = "tests/lint/?.lua;" .. package.path
local lint = require "lint"

local function installed(program)
  return select(2, lint.capture("command -v " .. program))
end

local function check(program, paths)
  if not installed(program) then
    print(program .. " is not installed: passed over")
    return
  end
  for _, path in ipairs(paths) do
    local output, ok = lint.capture(("%s %s 2>&1"):format(program, lint.quote(path)))
    lint.case(ok and {} or { output })
  end
end

local scripts = lint.files "%.sh$"
for _, path in ipairs { "bootstrap", ".ci/run" } do
  scripts[#scripts + 1] = path
end
check("shellcheck", scripts)

if installed "luacheck" then
  local output, ok = lint.capture "luacheck --no-color -q . 2>&1"
  lint.case(ok and {} or { output })
else
  print "luacheck is not installed: passed over"
end
lint.finish()

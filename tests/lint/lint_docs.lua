-- SPDX-License-Identifier: MIT
--
-- Nothing written by hand may contradict the lists: the README's tables of commands
-- and packages are what commands.def and bootstrap give (--write renews them), its
-- exit codes hold every status of error.def, and the man page and completions that
-- the binary prints are accepted by the programs that read them.
package.path = "tests/lint/?.lua;" .. package.path
local lint = require "lint"

local BEGIN = "<!-- %s: written by lua5.4 tests/lint/lint_docs.lua --write -->\n"
local END = "<!-- end -->"

local function rows_of(path, pattern)
  local rows = {}
  for a, b, c, d in lint.read(path):gmatch(pattern) do
    rows[#rows + 1] = { a, b, c, d }
  end
  return rows
end

local commands = rows_of("host/cli/commands.def",
  'NEAP_COMMAND%((cmd_[%w_]+), "([^"]*)", "([^"]*)", "[^"]*",%s*"([^"]*)"%)')

local function command_table()
  local lines = { "| command | what it does |", "|---|---|" }
  for _, row in ipairs(commands) do
    local usage = "neap " .. row[2] .. (row[3] ~= "" and " " .. row[3] or "")
    lines[#lines + 1] = ("| `%s` | %s |"):format(usage:gsub("|", "\\|"), row[4])
  end
  return table.concat(lines, "\n") .. "\n"
end

local function package_table()
  local lines = { "| to | Debian package | why |", "|---|---|---|" }
  for line in lint.read("bootstrap"):match("cat <<'EOF'\n(build .-)EOF\n"):gmatch "[^\n]+" do
    lines[#lines + 1] = "| " .. line:gsub("^(%S+) (%S+): (.*)$", "%1 | `%2` | %3") .. " |"
  end
  return table.concat(lines, "\n") .. "\n"
end

local readme = lint.read "README.md" or ""

-- The README with one table as the list says; nil where it has no place for it.
local function with(text, name, rows)
  local first = select(2, text:find(BEGIN:format(name), 1, true))
  local last = first and text:find(END, first, true)
  return last and text:sub(1, first) .. rows .. text:sub(last)
end

local renewed = with(readme, "commands", command_table())
renewed = renewed and with(renewed, "packages", package_table())
if arg[1] == "--write" then
  assert(renewed, "README.md: a table has no place")
  local file = assert(io.open("README.md", "wb"))
  file:write(renewed)
  file:close()
  return
end

lint.case(#commands > 20 and {} or { "lint_docs: cannot read commands.def" })
lint.case(renewed == readme and {} or { "README.md: its commands or packages are not those of"
  .. " commands.def and bootstrap: lua5.4 tests/lint/lint_docs.lua --write" })

local statuses = {}
local error_row = 'NEAP_ERROR%(([%w_]+), "([%w_.]+)", (%d+),()'
for _, row in ipairs(rows_of("host/base/error.def", error_row)) do
  statuses[row[3]] = row[2]
end
for status, code in pairs(statuses) do
  local found = false
  for _, form in ipairs { "\n| %s |", "\n| %s, ", ", %s |" } do
    found = found or readme:find(form:format(status), 1, true)
  end
  lint.case(found and {} or { ("README.md: no exit %s (%s) in its table"):format(status, code) })
end

-- Every command that a text names exists.
local known = { help = true }
for _, row in ipairs(commands) do
  known[row[2]:match "%S+"] = true
end
local texts = lint.files "^stdlib/help/.*%.md$"
texts[#texts + 1] = "README.md"
for _, path in ipairs(texts) do
  local findings = {}
  for rest in lint.read(path):gmatch "`neap ([^`\n]+)`" do
    local word = rest:gsub("^%-[Ce] %S+ ", ""):match "^%l[%w-]*"
    if word and not known[word] then
      findings[#findings + 1] = ("%s: no such command: neap %s"):format(path, rest)
    end
  end
  lint.case(findings)
end

local bin = os.getenv "NEAP_BIN" or "build/neap"

local function accepted(what, command)
  local output, ok = lint.capture(command .. " 2>&1")
  lint.case(ok and output == "" and {} or { what .. ": " .. output })
end

local function installed(program)
  return select(2, lint.capture("command -v " .. program))
end

if lint.read(bin) then
  local neap = lint.quote(bin)
  accepted("man page is not empty", neap .. " help man | grep -q '^.TH NEAP 1' || echo no .TH")
  if installed "groff" then
    accepted("man page", neap .. " help man | groff -man -Tutf8 -ww -z")
  end
  for _, shell in ipairs { "bash", "zsh", "fish" } do
    if installed(shell) then
      accepted(shell .. " completion", ("%s completion %s | %s -n"):format(neap, shell, shell))
    else
      accepted(shell .. " completion", ("%s completion %s | grep -q neap || echo empty"):format(
        neap, shell))
    end
  end
else
  lint.case { bin .. ": not built" }
end
lint.finish()

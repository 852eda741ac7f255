-- SPDX-License-Identifier: MIT
--
-- Budgets: functions up to 60 lines, files up to 600, lines up to 100 columns
-- (characters, not bytes), no trailing blanks, no tabs, a newline at the end,
-- and an SPDX line at the head of every source. Prints median and p95 as well.
package.path = "tests/lint/?.lua;" .. package.path
local lint = require "lint"
local waivers = require "waivers"

local COLUMN_MAX = 100
-- A test may be a long table of cases.
local FILE_MAX, TEST_FILE_MAX = 600, 800
local FUNCTION_MAX, TEST_FUNCTION_MAX = 60, 100
local used, lengths = {}, {}

local function over(key, size, max, text, findings)
  local waiver = waivers[key]
  if waiver and size > max and size <= waiver.lines then
    used[key] = size
  elseif size > max then
    findings[#findings + 1] = text
  end
end

-- A C function's body lines: from a "{" in the first column to its "}".
local function check_functions(path, code, findings)
  local name, from
  for number, line in ipairs(lint.lines(code)) do
    if line:find "^{" then
      from = number
    elseif line:find "^}" and from then
      local size = number - from - 1
      lengths[#lengths + 1] = size
      local max = path:find "^tests/" and TEST_FUNCTION_MAX or FUNCTION_MAX
      over(path .. ":" .. (name or "?"), size, max,
        ("%s:%d: %s has %d lines (%d)"):format(path, from, name or "?", size, max),
        findings)
      from = nil
    elseif not from then
      name = line:match "^[%a_].-([%w_]+)%(" or name
    end
  end
end

local function check_lines(path, text, findings)
  for number, line in ipairs(lint.lines(text)) do
    local where = ("%s:%d: "):format(path, number)
    if (utf8.len(line) or #line) > COLUMN_MAX and not path:find "%.def$"
      and not path:find "%.md$" then
      findings[#findings + 1] = where .. "over 100 columns"
    end
    if line:find "[ \t\r]$" then
      findings[#findings + 1] = where .. "blanks at the end"
    end
    if line:find "\t" then
      findings[#findings + 1] = where .. "a tab"
    end
  end
  if text ~= "" and text:sub(-1) ~= "\n" then
    findings[#findings + 1] = path .. ": no newline at the end"
  end
end

local function is_source(path)
  return path:find "%.[ch]$" or path:find "%.def$" or path:find "%.lua$" or path:find "%.sh$"
    or path:find "%.cmake$"
end

for _, path in ipairs(lint.files "") do
  local text = lint.read(path)
  -- A fuzz corpus is bytes, of which some are text.
  if not text:find "\0" and not path:find "^tests/fuzz/corpus/" then
    local findings = {}
    check_lines(path, text, findings)
    if is_source(path) then
      local size, max = #lint.lines(text), path:find "^tests/" and TEST_FILE_MAX or FILE_MAX
      over(path, size, max, ("%s: %d lines (%d)"):format(path, size, max), findings)
      if not text:sub(1, 400):find("SPDX-License-Identifier: MIT", 1, true)
        and not path:find "^migrations/" and not path:find "^runbooks/"
        and not path:find "^lib/" and not path:find "^%." then
        findings[#findings + 1] = path .. ": no SPDX line"
      end
    end
    if path:find "%.c$" then
      check_functions(path, lint.code_of(text), findings)
    end
    lint.case(findings)
  end
end

local stale = {}
for key, waiver in pairs(waivers) do
  if used[key] ~= waiver.lines then
    stale[#stale + 1] = ("waivers.lua: %s: %s, waived %d; the list may only shrink"):format(key,
      used[key] and "needs " .. used[key] or "not needed", waiver.lines)
  end
end
lint.case(stale)

table.sort(lengths)
if #lengths > 0 then
  print(("functions: %d, median %d lines, p95 %d"):format(#lengths,
    lengths[(#lengths + 1) // 2], lengths[math.max(1, #lengths * 95 // 100)]))
end
lint.finish()

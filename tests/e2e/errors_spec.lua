-- SPDX-License-Identifier: MIT
--
-- Every row of error.def, provoked in the built binary: exit status, cause, place
-- (script and line, position in the SQL) and the next command. A row that nothing
-- provokes fails here. The provocations stand in support/provoke_*.lua:
--   code = { { run = function(p) return result end, says = text or list in message
--     or detail, hint = text, at = "file:line" or false where there is no script,
--     position = character in the SQL } }
-- where `result` is of a neap with --json. `pooled`: a project behind PgBouncer. Or
-- { seen = function(p) end }, which checks all itself: a script sees the error, and
-- neap ends with another.
local e2e = require "harness"

local parts = { "provoke_backup", "provoke_restore",
  "provoke_project", "provoke_script", "provoke_statement", "provoke_server" }

local function rows()
  local list, text = {}, e2e.process.read(e2e.root .. "/host/base/error.def")
  for code, status in text:gmatch '\nNEAP_ERROR%([%u_]+, "([%l_.]+)", (%d+)' do
    list[#list + 1] = { code = code, status = tonumber(status) }
  end
  local _, written = text:gsub("\nNEAP_ERROR%(", "")
  assert(#list == written and #list > 40, "error.def was not read whole")
  return list
end

local function provocations()
  local all = {}
  for _, part in ipairs(parts) do
    for code, cases in pairs(require(part)) do
      all[code] = all[code] or {}
      table.move(cases, 1, #cases, #all[code] + 1, all[code])
    end
  end
  return all
end

local function has(text, part, r)
  assert.truthy((text or ""):find(part, 1, true), ("%q lacks %q\n%s"):format(text or "", part,
    r.out .. r.err))
end

-- What the person sees and what a program reads say the same.
local function check_text(error, r)
  has(r.err, error.message:match "^[^\n]*", r)
  has(r.err, "code " .. error.code, r)
  has(r.err, "hint: " .. error.hint:match "^[^\n]*", r)
  if error.file then
    has(r.err, "at " .. error.file .. (error.line and ":" .. error.line or ""), r)
  end
  if error.position then
    assert.truthy(r.err:match "\n  line %d+: [^\n]*\n +%^\n", r.err)
  end
end

local function check(row, case)
  if case.seen then
    return case.seen(e2e.project())
  end
  assert(case.at ~= nil and case.hint, row.code .. ": a case names its place and its hint")
  local p = e2e.project { pooled = case.pooled }
  local r = case.run(p)
  assert.equal(row.status, r.status, r.out .. r.err)
  local error = e2e.decode(r.out).error
  assert.equal(row.code, error.code, r.err)
  for _, part in ipairs(type(case.says) == "table" and case.says or { case.says }) do
    has(error.message .. "\n" .. (error.detail or ""), part, r)
  end
  local place = error.file and error.file .. (error.line and ":" .. error.line or "")
  assert.equal(case.at, place or false, r.err)
  assert.equal(case.position, error.position, r.err)
  has(error.hint, case.hint, r)
  check_text(error, r)
  return r
end

describe("the error", function()
  after_each(e2e.clean)

  local all, known = provocations(), {}
  for _, row in ipairs(rows()) do
    known[row.code] = true
    it(row.code .. " is provoked and says what to do", function()
      assert(all[row.code], row.code .. ": nothing provokes it; add it to support/provoke_*.lua")
      for _, case in ipairs(all[row.code]) do
        check(row, case)
      end
    end)
  end

  it("that is provoked has a row", function()
    for code in pairs(all) do
      assert.is_true(known[code], code)
    end
  end)
end)

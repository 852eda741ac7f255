-- SPDX-License-Identifier: MIT
--
-- The way back of a step that failed after it committed: its down, the comparison of the
-- schema, and what is said where a person has to decide.
local e2e = require "harness"

-- One step without a transaction that makes a table and fails.
local function step(down, before)
  return ([=[
return migration { summary = "One step", transaction = false, steps = {
  %s
  { name = "make", up = function(db)
      db:exec "create table made (id int)"
      db:exec "alter table base add column more int"
      error "broken"
    end,
    verify = unverified "not needed", down = %s },
} }]=]):format(before or "", down)
end

local RIGHT = [=[function(db)
  db:exec "drop table made" db:exec "alter table base drop column more" end]=]
local LEAVES = [=[function(db) db:exec "drop table made" end]=]

local function project(down, before)
  local p = e2e.project()
  p:query "create table base (id int); insert into base select generate_series(1, 100)"
  p:write("neap.lua", ([=[return { environments = {
    live = { url = %q, protected = true, gates = {}, allow_superuser = true },
    free = { url = %q } } }]=]):format(p.url, p.url))
  p:write("migrations/0001_one.lua", step(down, before))
  return p
end

local function turns(p, env)
  local list = {}
  local report = p:json({ "-e", env or "live", "report" }).report
  for _, turn in ipairs(report.way_back or {}) do
    list[#list + 1] = turn.turn .. " " .. turn.result
  end
  return list, report
end

describe("the way back", function()
  after_each(e2e.clean)

  it("of a step whose down is right is undone: compared, and said", function()
    local p = project(RIGHT)
    local r = p:expect("-e live up", 1)
    assert.truthy(r.err:find("compare: the schema is as it was before", 1, true), r.err)
    local list, report = turns(p)
    assert.same({ "down undone", "compare equal" }, list)
    assert.equal("failed", report.result)
    assert.equal(0, p:json({ "-e", "live", "status" }).partial)
    p:expect "-e live audit verify"
  end)

  it("of a step whose down leaves a column stops with the difference", function()
    local p = project(LEAVES)
    local r = p:expect("-e live up", 9)
    for _, words in ipairs { "the schema is not as it was before",
      "+ column public.base.more: integer", "This run has no backup to go back to" } do
      assert.truthy(r.err:find(words, 1, true), words .. "\n" .. r.err)
    end
    assert.same({ "down undone", "compare different", "stop partial" }, (turns(p)))
    local text = p:expect("-e live report").out
    for _, words in ipairs { "Way back", "1. down  0001, step make: undone",
      "+ column public.base.more", "STOPPED HALFWAY" } do
      assert.truthy(text:find(words, 1, true), words .. "\n" .. text)
    end
    assert.equal(1, p:json({ "-e", "live", "status" }).partial)
    -- and it can be gone on from there
    p:query "alter table base drop column more"
    p:write("migrations/0001_one.lua", (step(RIGHT):gsub('error "broken"', "")))
    p:expect("-e live repair 1 --mark pending --reason test --confirm " .. p.database)
    p:expect "-e live up"
    p:expect "-e live audit verify"
  end)

  it("of a step whose down fails says both errors", function()
    local p = project [=[function(db) db:exec "drop table no_such" end]=]
    local r = p:expect("-e live up", 9)
    for _, words in ipairs { "broken", 'Undoing it failed too: table "no_such" does not exist',
      "This run has no backup" } do
      assert.truthy(r.err:find(words, 1, true), words .. "\n" .. r.err)
    end
    assert.same({ "down failed", "stop partial" }, (turns(p)))
  end)

  it("of an irreversible step stops", function()
    local p = project 'irreversible "the rows are gone"'
    local r = p:expect("-e live up", 9)
    assert.truthy(r.err:find("There is no way back", 1, true), r.err)
    assert.same({ "down none", "stop partial" }, (turns(p)))
    assert.truthy(p:expect("-e live report").out:find("the rows are gone", 1, true))
  end)

  it("compares with what was before the step, and not before those that stand", function()
    local p = project(RIGHT, [=[{ name = "first",
      up = function(db) db:exec "create table first (id int)" end,
      verify = function(_, expect) expect.table "public.first" end,
      down = function(db) db:exec "drop table first" end },]=])
    p:expect("-e live up", 9)
    assert.same({ "down undone", "compare equal" }, (turns(p)))
  end)

  it("does not compare what an earlier attempt may have left", function()
    local p = project(LEAVES)
    p:write("migrations/0001_one.lua", (step(LEAVES):gsub("add column more",
      "add column if not exists more"):gsub('error "broken"', ""):gsub('unverified "not needed"',
      "function() return false end")))
    p:expect("-e live up", 9) -- the column stays, and the step is in doubt
    assert.same({ "down undone", "compare different", "stop partial" }, (turns(p)))
    p:expect("-e live resume", 8) -- nobody knows what was before
    assert.same({ "down undone" }, (turns(p)))
  end)

  it("reads no schema where nothing asks for it", function()
    local p = project(LEAVES)
    local r = p:expect("-e free up", 1)
    assert.is_nil(r.err:find("compare", 1, true), r.err)
    assert.same({ "down undone" }, (turns(p, "free")))
    assert.is_nil(p.query(p, "select query from pg_stat_activity"):find("fingerprint", 1, true))
  end)

  it("of a step whose down makes something stops", function()
    local p = project [=[function(db)
      db:exec "drop table made" db:exec "alter table base drop column more"
      db:exec "create table theirs (id int)" end]=]
    local r = p:expect("-e live up", 9)
    assert.truthy(r.err:find("+ table public.theirs", 1, true), r.err)
  end)
end)

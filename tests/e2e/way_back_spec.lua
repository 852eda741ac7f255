-- SPDX-License-Identifier: MIT
--
-- The way back of a step that failed after it committed: its down, the comparison of the
-- schema, and what is said where a person has to decide.
local e2e = require "harness"

-- One step without a transaction that makes a table and fails.
local function step(down, before)
  return ([=[
return migration { summary = "One step", transaction = false, lock_timeout = "20s", steps = {
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

  local function guarded(down, up)
    local p = project(down)
    p:write("neap.lua", ([=[return { environments = { live = { url = %q, protected = true,
      gates = { "backup" }, allow_superuser = true } } }]=]):format(p.url))
    if up then
      p:write("migrations/0001_one.lua", (step(down):gsub('error "broken"', up)))
    end
    return p
  end

  it("names the backup, and what a restore would lose", function()
    local p = guarded(LEAVES, [[
      db:exec "insert into base select generate_series(101, 105)"
      for i = 1, 25 do db:exec("create table kept_" .. i .. " (id int)") end
      error "broken"]])
    p:query "create table same as select 1 as x"
    local r = p:expect("-e live up", 9)
    local id = p:json("backup list").backups[1].id
    for _, words in ipairs { "`neap -e live restore " .. id .. " --swap --reason TEXT`",
      "since then 26 tables were changed (compared by digests)",
      "public.base: 100 rows in the backup, 105 rows now", "…", "+ column public.base.more" } do
      assert.truthy(r.err:find(words, 1, true), words .. "\n" .. r.err)
    end
    assert.is_nil(r.err:find("public.same", 1, true), r.err)
    local _, report = turns(p)
    assert.equal("neap -e live restore " .. id .. " --swap --reason TEXT",
      report.undo[#report.undo].command)
    p:expect "-e live audit verify"
  end)

  it("says so when nothing would be lost", function()
    local p = guarded(LEAVES)
    p:write("migrations/0001_one.lua", (step(LEAVES):gsub("alter table base add column more int",
      "create function more() returns int language sql as 'select 1'")))
    local r = p:expect("-e live up", 9)
    assert.truthy(r.err:find("the rows are the same since", 1, true), r.err)
    assert.truthy(r.err:find("+ function public.more", 1, true), r.err)
  end)

  it("says that the schema could not be read", function()
    local p = guarded(RIGHT, [[db:exec "alter table busy add column x int" error "broken"]])
    p:query "create table busy (id int)"
    local session = p:session "lock table busy in access share mode"
    local run = p:start "-e live up"
    assert.truthy(e2e.process.await(30, function()
      return p:value "select to_regclass('made') is not null" == "t"
    end))
    local reader = p:session "lock table pg_transform in access exclusive mode"
    session:close()
    run:wait(30)
    reader:close()
    assert.truthy(run:err():find("compare: canceling statement due to lock timeout", 1, true),
      run:err())
    assert.same({ "down undone", "compare failed", "stop partial" }, (turns(p)))
  end)

  -- A verify that holds in the transaction alone: what is applied does not hold.
  local function lies(p, id, down)
    p:write_sql(id .. "_lies.sql",
      "create table lies (id int); alter table base add column lie int",
      "select pg_current_xact_id_if_assigned() is not null", down)
  end

  it("of what does not hold after its COMMIT undoes the run, and compares", function()
    local p = guarded(RIGHT)
    p:delete "migrations/0001_one.lua"
    p:write_table("0001", "a")
    lies(p, "0002", "drop table lies; alter table base drop column lie")
    local r = p:expect("-e live up", 8)
    assert.truthy(r.err:find("What this run had applied was undone, and the schema is as it was",
      1, true), r.err)
    local list, report = turns(p)
    assert.same({ "down undone", "down undone", "compare equal" }, list)
    assert.equal(2, report.metrics.rollbacks_total)
    assert.same({}, report.undo)
    p:expect "-e live audit verify"
  end)

  it("of what does not hold and leaves something stops", function()
    local p = guarded(RIGHT)
    p:delete "migrations/0001_one.lua"
    lies(p, "0001", "drop table lies")
    local r = p:expect("-e live up", 9)
    for _, words in ipairs { "migration 0001 stopped after it was applied",
      "Undoing what was applied failed: the schema is not as it was before",
      "+ column public.base.lie", "--swap --reason TEXT`" } do
      assert.truthy(r.err:find(words, 1, true), words .. "\n" .. r.err)
    end
    local list, report = turns(p)
    assert.same({ "down undone", "compare different", "stop partial" }, list)
    assert.truthy(report.undo[1].command:find("restore", 1, true))
  end)

  it("of what does not hold and has no way back stops", function()
    local p = guarded(RIGHT)
    p:delete "migrations/0001_one.lua"
    lies(p, "0001", "drop table no_such_table")
    local r = p:expect("-e live up", 9)
    assert.truthy(r.err:find('Undoing what was applied failed: table "no_such_table" does not',
      1, true), r.err)
    assert.same({ "down failed", "stop partial" }, (turns(p)))
  end)

  it("restores by itself only where the environment says so", function()
    local p = guarded(LEAVES, [[db:exec "insert into base values (0)" error "broken"]])
    p:write("neap.lua", ([=[return { environments = { live = { url = %q, protected = true,
      gates = { "backup" }, allow_superuser = true, auto_restore = true } } }]=]):format(p.url))
    local r = p:expect("-e live up", 8)
    for _, words in ipairs { "auto_restore: run 20", "put back backup 20", "is kept as",
      "+ column public.base.more" } do
      assert.truthy(r.err:find(words, 1, true), words .. "\n" .. r.err)
    end
    assert.equal("100 f", p:value [[select count(*) || ' ' || exists (select from pg_attribute
      where attrelid = 'base'::regclass and attname = 'more')::text::char(1) from base]])
    assert.equal(1, p:json({ "-e", "live", "status" }).pending)
    local first = r.err:match "reports/(%S+)/report"
    local report = p:json({ "-e", "live", "report", first }).report
    assert.equal("restore", report.way_back[4].turn)
    assert.equal("partial", report.result)
    report = p:json({ "-e", "live", "report" }).report
    assert.equal("restore", report.command)
    assert.equal("auto_restore after run " .. first, report.reason)
    assert.is_true(report.restore.swapped)
    local text = p:expect("-e live report").out
    assert.truthy(text:find("the one before is kept as", 1, true), text)
    p:expect "-e live audit verify"
  end)

  it("gives the command where it could not restore by itself", function()
    local p = guarded(LEAVES, [[db:exec "alter table busy add column x int" error "broken"]])
    p:write("neap.lua", ([=[return { environments = { live = { url = %q, protected = true,
      gates = { "backup" }, allow_superuser = true, auto_restore = true } } }]=]):format(p.url))
    p:query "create table busy (id int)"
    local session = p:session "lock table busy in access share mode"
    local run = p:start "-e live up"
    assert.truthy(e2e.process.await(30, function()
      return p:value "select to_regclass('made') is not null" == "t"
    end))
    os.execute("rm -r " .. e2e.process.quote(p.state .. "/backups"))
    session:close()
    local r = run:wait(30)
    assert.equal(9, r.status, r.err)
    for _, words in ipairs { "could not put back backup", "--swap --reason TEXT`",
      "What it would lose could not be found out: there is no backup" } do
      assert.truthy(r.err:find(words, 1, true), words .. "\n" .. r.err)
    end
  end)
end)

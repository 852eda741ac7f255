-- SPDX-License-Identifier: MIT
--
-- Files against history: late, edited, missing, renamed, duplicated; and the
-- words by which a person settles it: accept, repair, baseline, resume.
local e2e = require "harness"

local function has(text, part)
  assert.truthy(text:find(part, 1, true), text)
end

describe("files against history", function()
  local p

  before_each(function()
    p = e2e.project()
  end)
  after_each(e2e.clean)

  local function problem(id)
    for _, entry in ipairs(p:json("status").migrations) do
      if entry.id == id then
        return entry.problem or "none", entry.state
      end
    end
    return "unknown"
  end

  local function actions()
    return p:value [[
      select string_agg(id || ':' || action, ' ' order by seq) from neap.history]]
  end

  local function exists(name)
    return p:value(("select to_regclass('public.%s') is not null"):format(name)) == "t"
  end

  describe("a late file", function()
    before_each(function()
      p:write_table("0001", "a")
      p:write_table("0003", "c")
      p:expect "up"
      p:write_table("0002", "b")
    end)

    it("stops with exit 4 and its remedies", function()
      local r = p:expect("up", 4)
      has(r.err, "migrations/0002_b.lua")
      has(r.err, "neap up --only 0002")
      has(r.err, "history.order")
      assert.is_false(exists "b")
      assert.equal("order", problem "0002")
      has(p:expect("status").out, "neap up")
    end)

    it("holds up what comes after it as well", function()
      p:write_table("0004", "d")
      p:expect("up", 4)
      assert.is_false(exists "d")
      p:expect "up --only 4"
    end)

    it("is applied by --only", function()
      p:expect "up --only 0002"
      assert.is_true(exists "b")
      assert.equal("none", problem "0002")
      assert.equal("nothing", p:json("up").status)
    end)
  end)

  describe("an edited file", function()
    local file = "migrations/0001_a.lua"

    before_each(function()
      p:write_table("0001", "a")
      p:expect "up"
    end)

    it("warns when only comments, spaces or line ends changed", function()
      p:write(file, "\xef\xbb\xbf-- a remark\n" .. p:read(file):gsub("\n", "\r\n"):gsub("  ", " "))
      local document, r = p:json "up"
      assert.equal("nothing", document.status)
      has(r.err, "comments or spaces changed")
      has(document.warnings[1], file)
      assert.equal("cosmetic", problem "0001")
      p:write_table("0002", "b")
      p:expect "up"
      p:expect "down --only 1"
    end)

    it("stops with exit 5 and a diff when its meaning changed", function()
      p:write(file, (p:read(file):gsub("bigint", "int")))
      p:write_table("0002", "b")
      local r = p:expect("up", 5)
      has(r.err, '-  up = function(db) db:exec "create table a (id bigint primary key)" end,')
      has(r.err, '+  up = function(db) db:exec "create table a (id int primary key)" end,')
      has(r.err, "neap accept 0001 --reason TEXT")
      assert.is_false(exists "b")
      assert.equal("changed", problem "0001")
      has(p:json("up", 5).error.detail, "create table a (id int primary key)")
    end)

    it("is accepted with a reason, which history keeps", function()
      p:write(file, (p:read(file):gsub("Make a", "Make the a")))
      has(p:expect("accept 1", 2).err, "--reason")
      local document = p:json { "accept", "1", "--reason", "a word only" }
      assert.same({ { id = "0001", name = "a", action = "accept" } }, document.recorded)
      assert.equal("0001:apply 0001:accept", actions())
      assert.equal("a word only", p:value "select reason from neap.history where action = 'accept'")
      assert.equal("none", problem "0001")
      p:expect "up"
      has(p:expect("accept 1 --reason again", 2).err, "no changed file")
      p:expect "down"
    end)

    it("is undone with the copy that was applied, when told so", function()
      p:write(file, (p:read(file):gsub("drop table a", "drop table nowhere")))
      local r = p:expect("down", 5)
      has(r.err, "neap down --only 0001 --stored")
      assert.is_true(exists "a")
      has(p:expect("down --stored").err, "copy stored in history")
      assert.is_false(exists "a")
      assert.equal("none", problem "0001")
    end)

    it("is verified by the copy that was applied", function()
      p:write(file, (p:read(file):gsub("public%.a", "public.nowhere")))
      assert.equal("ok", p:json("verify").verified[1].result)
    end)
  end)

  describe("a missing file", function()
    before_each(function()
      p:write_table("0001", "a")
      p:write_table("0002", "b")
      p:expect "up"
      p:delete "migrations/0001_a.lua"
    end)

    it("stops with exit 5", function()
      p:write_table("0003", "c")
      local r = p:expect("up", 5)
      has(r.err, "0001 a")
      has(r.err, "neap down --only 0001")
      assert.equal("missing", problem "0001")
      assert.is_false(exists "c")
    end)

    it("is undone with the stored copy", function()
      has(p:expect("down --to 0").err, "copy stored in history")
      assert.is_false(exists "a")
      assert.equal("unknown", problem "0001")
      assert.equal("0001:apply 0002:apply 0002:undo 0001:undo", actions())
      p:expect "up"
      p:expect "verify"
    end)

    it("cannot be accepted, and says what can be done", function()
      local r = p:expect("accept 1 --reason x", 2)
      has(r.err, "its file is missing")
      has(r.err, "neap down --only 0001")
    end)
  end)

  it("keeps the identity of a renamed file, in any width", function()
    p:write_table("0001", "a")
    p:expect "up"
    p:rename("migrations/0001_a.lua", "migrations/00001_better_name.lua")
    assert.equal("nothing", p:json("up").status)
    assert.equal("none", problem "00001")
    p:expect "down 1"
    assert.is_false(exists "a")
  end)

  it("refuses two files of one id, before anything is sent", function()
    p:write_table("0001", "a")
    p:write_table("01", "b")
    for _, command in ipairs { "up", "status", "down" } do
      local r = p:expect(command, 4)
      has(r.err, "0001_a.lua")
      has(r.err, "01_b.lua")
    end
    assert.equal("project.duplicate", p:json("up", 4).error.code)
    assert.equal("f", p:value "select to_regclass('neap.history') is not null")
  end)

  it("refuses names that are not a migration's", function()
    p:write_table("0001", "a")
    p:write("migrations/later_on.lua", "")
    local r = p:expect("up", 2)
    has(r.err, "migrations/later_on.lua")
    assert.is_false(exists "a")
  end)

  it("takes a changed module of lib/ as a change of what required it", function()
    p:write("lib/names.lua", 'return { one = "a" }')
    p:write("migrations/0001_a.lua", [[
local names = require "names"
return migration {
  summary = "a",
  up = function(db) db:exec("create table " .. db:ident(names.one) .. " (id int)") end,
  verify = function(_, expect) expect.table(names.one) end,
  down = function(db) db:exec("drop table " .. db:ident(names.one)) end,
}]])
    p:expect "up"
    p:write("lib/names.lua", '-- only a remark\nreturn { one = "a" }')
    assert.equal("cosmetic", problem "0001")
    p:write("lib/names.lua", 'return { one = "z" }')
    local r = p:expect("up", 5)
    has(r.err, "lib/names.lua")
    has(r.err, '+return { one = "z" }')
    p:expect "down --stored"
    assert.is_false(exists "a")
  end)

  it("reads files and history without a script that does not run", function()
    p:write_table("0001", "a")
    p:expect "up"
    p:write("migrations/0002_broken.lua", "return 7 7")
    assert.equal("pending", select(2, problem "0002"))
    assert.equal("nothing", p:json("up --to 1").status)
    has(p:expect("up", 1).err, "migrations/0002_broken.lua:1")
  end)
end)

describe("settling by hand", function()
  local p

  before_each(function()
    p = e2e.project()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    p:write_table("0003", "c")
  end)
  after_each(e2e.clean)

  local function applied()
    local list = {}
    for _, entry in ipairs(p:json("status").migrations) do
      list[#list + 1] = entry.state == "applied" and entry.id or nil
    end
    return table.concat(list, " ")
  end

  it("takes a baseline without running anything", function()
    p:query "create table a (id bigint primary key); create table b (id bigint primary key)"
    has(p:expect("baseline 2", 2).err, "--reason")
    local document = p:json { "baseline", "2", "--reason", "was made by hand", "--ticket", "T-9" }
    assert.equal(2, #document.recorded)
    assert.equal("baseline", document.recorded[2].action)
    assert.equal("0001 0002", applied())
    assert.equal("was made by hand|T-9", p:value [[
      select distinct reason || '|' || ticket from neap.history]])
    p:expect "up"
    p:expect "verify"
    p:expect("baseline 2 --reason again", 2)
    p:expect("baseline 77 --reason x", 2)
    p:expect "down --to 0"
    p:expect "audit verify"
  end)

  it("marks applied and pending, without running anything", function()
    p:query "create table a (id bigint primary key)"
    has(p:expect("repair 1 --reason x", 2).err, "--mark applied")
    has(p:expect("repair 1 --mark done --reason x", 2).err, "--mark applied")
    has(p:expect("repair 1 --mark applied", 2).err, "--reason")
    p:expect("repair 9 --mark applied --reason x", 2)
    p:expect { "repair", "1", "--mark", "applied", "--reason", "it is there" }
    assert.equal("0001", applied())
    has(p:expect("repair 1 --mark applied --reason x", 2).err, "applied already")
    p:expect { "repair", "1", "--mark", "pending", "--reason", "dropped by hand" }
    assert.equal("", applied())
    p:query "drop table a"
    assert.equal(3, #p:json("up").applied)
    assert.equal("repair.applied repair.pending apply", p:value [[
      select string_agg(action, ' ' order by seq) from neap.history where id = '0001']])
  end)

  it("has nothing to resume", function()
    assert.equal("nothing", p:json("resume").status)
    p:expect "up"
    has(p:expect("resume").out, "nothing to do")
  end)

  it("settles a migration that stopped halfway, by resume or by repair", function()
    p:query "create table t (id int, value int); insert into t values (1, 1), (1, 2)"
    local steps = [[
return migration {
  summary = "i", transaction = false,
  steps = {
    { name = "first", up = function(db) db:exec "create table first (id int)" end,
      verify = function(_, expect) expect.table "public.first" end,
      down = function(db) db:exec "drop table first" end },
    { name = "unique", up = function(db) db:exec "create unique index concurrently u on t (id)" end,
      verify = function(_, expect) expect.index("u", { valid = true }) end,
      down = function(db) db:exec "drop index concurrently if exists u" end },
  },
}]]
    p:write("migrations/0004_i.lua", steps)
    local document = p:json("up", 9)
    assert.equal("step.partial", document.error.code)
    assert.equal("0004", document.failed.id)
    has(document.error.hint, "neap resume")
    has(document.error.hint, "neap repair 0004")
    assert.equal(1, p:json("status").partial)
    has(p:expect("status").out, "neap resume")
    p:expect("status --exit-code", 3)
    p:query "delete from t where value = 2"
    document = p:json "resume"
    assert.equal("resume", document.plan[1].action)
    assert.equal("0004", document.applied[1].id)
    assert.equal(0, p:json("status").partial)
    assert.equal("t", p:value "select indisvalid from pg_index where indexrelid = 'u'::regclass")
    p:expect "down"
    p:query "insert into t values (1, 3)"
    p:expect("up", 9)
    p:expect "repair 4 --mark pending --reason undone"
    assert.equal("0001 0002 0003", applied())
    p:expect "audit verify"
  end)

  local function protect()
    p:write("neap.lua", ([[
return { environments = { production = { url = %q, protected = true,
  allow_superuser = true } }, default = "production" }]]):format(p.url))
    p.env.DATABASE_URL = nil
    p:expect "up"
  end

  it("asks on a terminal, and takes the database's name only", function()
    protect()
    local function answer(text)
      local argv = { "script", "-qefc", e2e.process.quote(e2e.bin) .. " down", "/dev/null" }
      return e2e.process.run(argv, p.temp .. "/terminal", { cwd = p.dir, env = p.env,
        stdin = text .. "\n", timeout = 60 })
    end
    local r = answer "yes"
    assert.equal(12, r.status, r.out)
    has(r.out, "undoing migrations on production")
    has(r.out, "Type the database's name to go on:")
    assert.equal("0001 0002 0003", applied())
    r = answer(p.database)
    assert.equal(0, r.status, r.out)
    assert.equal("0001 0002", applied())
  end)

  it("asks for the database's name on a protected environment", function()
    protect()
    for _, command in ipairs { "down", "redo", "repair 1 --mark pending --reason x" } do
      local document = p:json(command, 12)
      assert.equal("approval.missing", document.error.code)
      has(document.error.hint, "--confirm " .. p.database)
      assert.equal(12, p:neap(command .. " --confirm wrong").status)
    end
    assert.equal("0001 0002 0003", applied())
    p:expect("down --confirm " .. p.database)
    p:expect("repair 3 --mark applied --reason x --confirm " .. p.database)
    assert.equal("0001 0002 0003", applied())
  end)
end)

describe("looking back", function()
  local p

  before_each(function()
    p = e2e.project()
    p:write_table("0001", "a")
  end)
  after_each(e2e.clean)

  it("exits 3 with pending migrations, when asked to", function()
    p:expect "status"
    local document = p:json("status --exit-code", 3)
    assert.equal("pending", document.status)
    assert.equal(1, document.pending)
    assert.is_false(document.installed)
    p:expect "up"
    assert.equal("ok", p:json("status --exit-code").status)
  end)

  it("shows history and the events of runs", function()
    local run = p:json({ "up", "--ticket", "T-1", "--reason", "because" }).run_id
    p:expect "down"
    p:expect "up"
    local document = p:json "history"
    assert.equal(3, #document.history)
    local first = document.history[1]
    assert.equal("0001 a apply T-1 because " .. run, table.concat({ first.id, first.name,
      first.action, first.ticket, first.reason, first.run_id }, " "))
    assert.truthy(first.at:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d+Z$")
    assert.equal(64, #first.exact)
    assert.is_nil(document.events)
    assert.equal(1, #p:json("history --run " .. run).history)
    local events = p:json("history --events --run " .. run).events
    local names = {}
    for i, event in ipairs(events) do
      names[i] = event.event
      assert.equal(run, event.run)
    end
    names = " " .. table.concat(names, " ") .. " "
    has(names, " run.begin ")
    has(names, " run.plan ")
    has(names, " step.committed ")
    has(names, " run.end ")
    has(p:expect("history").out, "because")
    assert.equal(3, #p:json("history 1").history)
    has(p:expect("history 77", 2).err, "no migration 77")
    p:delete "migrations/0001_a.lua"
    p:neap "down"
    assert.equal(4, #p:json("history 1").history)
  end)

  it("shows the events of runs that were made on another machine", function()
    local function runs(command, env)
      local seen = {}
      for _, event in ipairs(p:json(command, 0, { env = env }).events) do
        if event.event == "run.begin" then
          seen[#seen + 1] = event.run
        end
      end
      return table.concat(seen, " ")
    end
    local elsewhere = { NEAP_STATE_DIR = p.temp .. "/elsewhere" }
    local first = p:json("up").run_id
    local second = p:json("down", 0, { env = elsewhere }).run_id
    local third = p:json("up").run_id
    local all = table.concat({ first, second, third }, " ")
    assert.equal(all, runs "history --events")
    assert.equal(all, runs("audit show", elsewhere))
    assert.equal(all, runs("audit show", { NEAP_STATE_DIR = p.temp .. "/nowhere" }))
    assert.equal(second, runs("audit show --run " .. second))
    has(p:expect("audit export").out, second)
    p:expect "audit verify"
  end)

  it("goes on verifying after one that fails, and exits 8", function()
    p:write_table("0002", "b")
    p:write_table("0003", "c")
    p:expect "up"
    p:query "drop table b"
    local document, r = p:json("verify", 8)
    assert.equal("ok failed ok", table.concat({ document.verified[1].result,
      document.verified[2].result, document.verified[3].result }, " "))
    has(document.verified[2].error.message, "public.b")
    assert.is_nil(r.err:find("cut short", 1, true), r.err)
    p:expect "verify 1 3"
    has(p:expect("verify 9", 2).err, "not applied")
    p:query "create table b (id bigint primary key)"
    p:expect "verify"
  end)

  it("verifies read-only, and says nothing of it in the next run", function()
    p:write("migrations/0002_w.lua", [[
return migration {
  summary = "w",
  up = function(db) db:exec "create table w (id int)" end,
  verify = function(db) if db:value "select count(*) from w" > 0 then
    db:exec "delete from w" end end,
  down = function(db) db:exec "drop table w" end,
}]])
    p:expect "up"
    p:query "insert into w values (1)"
    p:neap "verify"
    assert.equal("1", p:value "select count(*) from w")
    -- Nothing but what every change by a superuser is told.
    assert.equal("", (p:expect("down").err:gsub("^warning: postgres is a superuser[^\n]*\n", "")
      :gsub("report: [^\n]*/report%.txt\n$", "")))
    p:expect "audit verify"
  end)
end)

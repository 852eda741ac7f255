-- SPDX-License-Identifier: MIT
--
-- The gates of a protected environment: passed, taken again, skipped with a reason, failed
-- before anything was changed, and killed in the middle. Servers and backups are real.
local e2e = require "harness"

local process = e2e.process
local quote = process.quote

local function has(text, part)
  assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

-- A project with a protected environment production, and one pending migration.
local function project(lines)
  local p = e2e.project()
  p:write("neap.lua", ([[return { environments = { production = { url = %q, protected = true,
    allow_superuser = true, %s } } }]]):format(p.url, lines or "gates = { 'preflight', 'backup' }"))
  p.env.DATABASE_URL = nil
  p:write_table("0001", "a")
  return p
end

local function gates_of(document)
  local words = {}
  for i, gate in ipairs(document.gates) do
    words[i] = gate.gate .. " " .. gate.result .. (gate.by and " " .. gate.by or "")
  end
  return table.concat(words, ", ")
end

local function backups(p)
  return p:json("-e production backup list").backups
end

-- What the events of gates say, oldest first.
local function recorded(p)
  local words = {}
  for line in p:expect("-e production audit export").out:gmatch "[^\n]+" do
    local event = e2e.decode(line)
    event = event.body or event
    if event.event == "gate" then
      local data = event.data
      words[#words + 1] = ("%s %s %s"):format(data.gate, data.result, data.reason or "-")
    end
  end
  return words
end

local function untouched(p)
  return p:value "select to_regclass('a') is null" == "t"
end

describe("neap up on a protected environment", function()
  after_each(e2e.clean)

  it("passes the gates, and takes a young backup of the same state again", function()
    local p = project()
    local document = p:json "-e production up"
    assert.equal("preflight passed, backup passed, verify passed, validate passed",
      gates_of(document))
    local made = backups(p)
    assert.equal(1, #made)
    assert.same({ "pre_migration", "production", true }, { made[1].tag, made[1].environment,
      made[1].verified.ok })
    assert.equal(made[1].id, document.gates[2].backup)
    -- Nothing pending: no gates, no backup.
    assert.equal("", gates_of(p:json "-e production up"))
    assert.equal(1, #backups(p))
    -- The migration itself came after that backup: another is made.
    p:write_table("0002", "b")
    p:expect "-e production up"
    assert.equal(2, #backups(p))
    -- A failed one changes nothing, so that the next try takes its backup again.
    p:write_sql("0003_bad.sql", "select 1/0", "select true", "select 1")
    p:expect("-e production up", 1)
    assert.equal(3, #backups(p))
    document = p:json("-e production up", 1)
    assert.equal("preflight passed, backup reused, verify reused", gates_of(document))
    assert.equal(3, #backups(p))
    -- Somebody else's DDL, and a damaged file, end that.
    p:query "create table other (id int)"
    p:expect("-e production up", 1)
    made = backups(p)
    assert.equal(4, #made)
    local file = made[1].path .. "/dump"
    assert(os.execute("printf x >> " .. quote(file)))
    document = p:json("-e production up", 11)
    assert.equal("backup.damaged", document.error.code)
    has(document.error.hint, "--skip-backup")
    -- What was found is kept: it is not taken again.
    document = p:json("-e production up", 1)
    assert.equal("preflight passed, backup passed, verify passed", gates_of(document))
    p:expect "-e production audit verify"
  end)

  it("takes none again that is too old, or of the future", function()
    local p = project "gates = { 'backup' }, backup_max_age = '1ms'"
    p:delete "migrations/0001_a.lua"
    p:write_sql("0001_bad.sql", "select 1/0", "select true", "select 1")
    for _ = 1, 2 do
      assert.equal("backup passed, verify passed", gates_of(p:json("-e production up", 1)))
    end
    -- The clock was put back since: who knows how old it is.
    local path = backups(p)[1].path
    local function sha256()
      return process.capture(("sha256sum %s/manifest.json"):format(quote(path))):match "^%x+"
    end
    local before = sha256()
    local text, count = process.read(path .. "/manifest.json"):gsub('("started_at": ")%d+',
      "%12999")
    assert.equal(1, count)
    process.write(path .. "/manifest.json", text)
    text, count = process.read(path .. "/verified.json"):gsub(before, (sha256()))
    assert.equal(1, count)
    process.write(path .. "/verified.json", text)
    p:write("neap.lua", (p:read("neap.lua"):gsub("'1ms'", "'1h'")))
    local document = p:json("-e production up", 1)
    assert.equal("backup reused, verify reused", gates_of(document))
    assert.falsy(path:find(document.gates[1].backup, 1, true))
  end)

  it("stops before anything is changed, and says how to go on", function()
    local p = project "preflight = { disk_state = { error = 1e15 } }, gates = { 'preflight' }"
    local document = p:json("-e production up", 10)
    assert.equal("preflight.failed", document.error.code)
    has(document.error.detail, "disk_state: ")
    has(document.error.hint, "`neap up --force --reason TEXT`")
    assert.same({ "0001" }, { document.gates[1].result == "failed" and "0001" })
    assert.equal("t", p:value "select to_regnamespace('neap') is null")
    document = p:json { "-e", "production", "up", "--force", "--reason", "INC-7" }
    assert.equal("preflight failed --force, validate passed", gates_of(document))
    assert.same({ "preflight failed INC-7", "validate passed -" }, recorded(p))

    p = project()
    local blocker = p:session "create table x (id int)"
    p:query "create table t (id int)"
    local locker = p:session "lock table t in access exclusive mode"
    document = p:json("-e production up --lock-budget 300ms", 11)
    assert.equal("backup.locked", document.error.code)
    has(document.error.hint, "Nothing of the plan was begun")
    has(document.error.hint, "`neap up --skip-backup --reason TEXT`")
    assert.same({ "0001" }, document.remaining)
    assert.equal("failed", document.gates[#document.gates].result)
    assert.is_true(untouched(p))
    assert.equal("backup failed -", recorded(p)[2])
    locker:close()
    blocker:close()
    p:expect "-e production up"
    p:expect "-e production audit verify"
  end)

  it("skips with a reason alone, and records it", function()
    local p = project()
    for _, flag in ipairs { "--skip-backup", "--skip-rehearsal", "--force" } do
      local document = p:json({ "-e", "production", "up", flag }, 2)
      has(document.error.message, flag .. " needs a reason")
      p:json({ "-e", "production", "up", flag, "--reason", "" }, 2)
    end
    assert.is_true(untouched(p))
    local r = p:expect { "-e", "production", "up", "--skip-backup", "--reason", "disk is small" }
    has(r.out, "skipped backup")
    assert.equal(0, #backups(p))
    assert.equal("backup skipped disk is small", recorded(p)[2])
  end)

  it("rehearses on the copy that proved the backup, and applies what worked", function()
    local p = project "backup_max_age = '1h'"
    p:query "create table t (id int); insert into t values (1)"
    p:write_sql("0002_wrong.sql", "alter table t add column a int", "select true", "select 1")
    local document = p:json("-e production up", 10)
    assert.equal("rehearsal.down", document.error.code)
    has(document.error.detail, "+ column public.t.a")
    has(document.error.hint, "`neap up --skip-rehearsal --reason TEXT`")
    assert.equal("preflight passed, backup passed, verify passed, rehearsal failed",
      gates_of(document))
    assert.is_false(document.rehearsal.ok)
    assert.is_true(untouched(p))
    p:write_sql("0002_wrong.sql", "alter table t add column a int", "select true",
      "alter table t drop column a")
    document = p:json "-e production up"
    assert.equal("preflight passed, backup reused, verify reused, rehearsal passed, "
      .. "validate passed", gates_of(document))
    assert.equal(2, #document.rehearsal.units)
    assert.equal(document.gates[2].backup, document.rehearsal.from)
    p:write_sql("0003_b.sql", "alter table t add column b int", "select true", "select 1")
    document = p:json { "-e", "production", "up", "--skip-rehearsal", "--reason", "INC-7" }
    has(gates_of(document), "rehearsal skipped --skip-rehearsal, validate passed")
    -- Without a backup there is the schema alone.
    p:write_sql("0004_c.sql", "alter table t add column c int", "select true",
      "alter table t drop column c")
    document = p:json { "-e", "production", "up", "--skip-backup", "--reason", "INC-8" }
    has(gates_of(document), "backup skipped --skip-backup, rehearsal passed, validate passed")
    assert.equal("live-schema", document.rehearsal.from)
    assert.same({}, { document.applied[2] })
    p:expect "-e production audit verify"
  end)

  it("finds a schema that did not change as it did in the rehearsal", function()
    local p = project "gates = { 'backup', 'rehearsal' }"
    p:write("migrations/0001_a.lua", ([[
return migration {
  summary = "another one on each server",
  up = function(db)
    db:exec "create table a (id int)"
    if db:value "select system_identifier::text from pg_control_system()" == %q then
      db:exec "alter table a add column only_here int"
    end
  end,
  verify = function(_, expect) expect.table "public.a" end,
  down = function(db) db:exec "drop table a" end,
}]]):format(p:value "select system_identifier from pg_control_system()"))
    local document = p:json("-e production up", 8)
    assert.equal("validation.failed", document.error.code)
    has(document.error.detail, "Here:")
    has(document.error.detail, "+ column public.a.only_here")
    assert.equal("backup passed, verify passed, rehearsal passed, validate failed",
      gates_of(document))
    has(document.error.detail, "the schema is as it was before")
    assert.is_true(untouched(p))
    -- Where there is no way back, a person decides, and is told of the backup.
    p:write("migrations/0001_a.lua", (p:read "migrations/0001_a.lua":gsub("down = .*$",
      'down = irreversible "gone is gone",\n}')))
    document = p:json("-e production up", 9)
    assert.equal("step.partial", document.error.code)
    has(document.error.hint, "restore " .. document.gates[1].backup .. " --swap")
    assert.is_false(untouched(p))
  end)

  it("stops when somebody changes the schema behind the gates", function()
    local p = project "gates = { 'backup', 'rehearsal' }"
    p:write_sql("0002_slow.sql", "select pg_sleep(1.5)", "select true", "select 1")
    local run = p:start "-e production up --json"
    assert(process.await(20, function() return run:out():find "verify" or #backups(p) > 0
      and backups(p)[1].verified end), run:err())
    p:query "create table other (id int)"
    local r = run:wait()
    assert.equal(11, r.status, r.out .. r.err)
    assert.equal("backup.changed", e2e.decode(r.out).error.code)
    assert.is_true(untouched(p))
  end)

  it("asks down and redo for a backup, resume for preflight, and others for none", function()
    local p = project()
    p:expect "-e production up"
    local document = p:json("-e production down --confirm " .. p.database)
    assert.equal("preflight passed, backup passed, verify passed", gates_of(document))
    p:expect { "-e", "production", "up", "--skip-backup", "--reason", "test" }
    document = p:json("-e production redo --confirm " .. p.database)
    assert.equal("preflight passed, backup passed, verify passed, validate passed",
      gates_of(document))
    p:write("migrations/0002_two.lua", [[
return migration {
  summary = "two steps", transaction = false, timeout = "60s",
  steps = {
    { name = "one", up = function(db) db:exec "create table one (id int)" end,
      verify = function(_, expect) expect.table "public.one" end,
      down = function(db) db:exec "drop table one" end },
    { name = "two",
      up = function(db)
        db:exec "select case when to_regclass('hold') is not null then pg_sleep(50) end"
        db:exec "create table two (id int)"
      end,
      verify = function(_, expect) expect.table "public.two" end,
      down = function(db) db:exec "drop table if exists two" end },
  },
}]])
    p:query "create table hold ()"
    local run = p:start "-e production up"
    assert(process.await(20, function()
      return p:value "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" == "1"
    end), run:err())
    run:signal "KILL"
    run:wait()
    p:query "drop table hold"
    -- Its way back is the backup from before it began.
    local before = backups(p)[1].id
    document = p:json "-e production resume"
    assert.equal("preflight passed, backup reused, validate passed", gates_of(document))
    assert.equal(before, document.gates[2].backup)
    p:write("neap.lua", ("return { environments = { dev = { url = %q } } }"):format(p.url))
    p:write_table("0003", "c")
    p:query "update neap.meta set environment = 'dev'"
    assert.equal("", gates_of(p:json "-e dev up"))
    p:write("neap.lua", ([[return { environments = { dev = { url = %q, protected = true,
      allow_superuser = true, gates = {} } } }]]):format(p.url))
    p:write_table("0004", "d")
    assert.equal("", gates_of(p:json "-e dev up"))
    has(p:expect("-e dev doctor").out, "asks for no preflight, backup, rehearsal here")
  end)

  it("undoes what does not hold after its COMMIT, and begins nothing more", function()
    local p = project "gates = { 'preflight' }"
    -- True in the transaction that made it, and to nobody else.
    p:write_sql("0002_mine.sql", "create table g (id int)",
      "select pg_current_xact_id_if_assigned() is not null", "drop table g")
    p:write_table("0003", "c")
    local document, r = p:json("-e production up", 8)
    assert.equal("validation.failed", document.error.code)
    has(document.error.message, "0002 mine is applied")
    assert.equal("migrations/0002_mine.sql", document.error.file)
    assert.same({ "0003" }, document.remaining)
    assert.same({ "0001", "0002" }, { document.applied[1].id, document.applied[2].id })
    assert.equal("0002", document.failed.id, r.out)
    assert.same({ "0002", "0001" }, { document.undone[1].id, document.undone[2].id })
    assert.is_true(untouched(p))
    assert.equal("preflight passed, validate failed", gates_of(document))
    assert.equal("f", p:value "select to_regclass('c') is not null")
  end)

  it("works with three roles, none of which may do all", function()
    local p = e2e.project()
    p:write("roles.sql", p:expect({ "help", "roles" }).out)
    local r = process.run({ e2e.cluster().bin .. "/psql", "-X", "-q", "-d", p.url, "-f",
      p:path "roles.sql" }, p.temp .. "/roles", { cwd = "/", env = { PATH = os.getenv "PATH" } })
    assert.equal(0, r.status, r.err)
    local function as(role)
      return (p.url:gsub("user=postgres", "user=" .. role))
    end
    p:write("neap.lua", ([[return { environments = { production = { url = %q, control = %q,
      backup = %q, protected = true } } }]]):format(
      as "neap_migrator", as "neap_host", as "neap_backup"))
    p.env.DATABASE_URL = nil
    p:write_table("0001", "a")
    assert.equal("preflight passed, backup passed, verify passed, rehearsal passed, "
      .. "validate passed", gates_of(p:json "-e production up"))
    p:write_table("0002", "b")
    p:expect { "-e", "production", "up", "--skip-backup", "--reason", "INC-7" }
  end)

  it("backs up past a transaction pooler, by an address of its own", function()
    local p = e2e.project { pooled = true }
    local function configure(more)
      p:write("neap.lua", ([[return { environments = { production = { url = %q,
        pooler = "transaction", protected = true, allow_superuser = true%s } } }]]):format(p.url,
        more))
    end
    p.env.DATABASE_URL = nil
    p:write_table("0001", "a")
    configure ""
    local document = p:json("-e production up", 13)
    assert.equal("db.pooler", document.error.code)
    has(document.error.hint, "Set `backup` in the environment")
    assert.is_true(untouched(p))
    configure((", backup = %q"):format(e2e.url(p.database)))
    assert.equal("preflight passed, backup passed, verify passed, rehearsal passed, "
      .. "validate passed", gates_of(p:json "-e production up"))
  end)

  it("leaves nothing when it is killed at a gate, and the next run goes through", function()
    local p = project()
    p:query "create table big as select md5(i::text) a from generate_series(1, 200000) i"
    local scratch = p.temp .. "/s"
    p.env.NEAP_SCRATCH_DIR = scratch
    assert(os.execute("chmod 711 " .. quote(p.temp)))
    for i = 1, 3 do
      local run = p:start "-e production up"
      process.await(0.1 + i * 0.25, function() return false end)
      run:signal "KILL"
      run:wait()
      assert.is_true(untouched(p))
    end
    local run = p:start "-e production up"
    assert(process.await(20, function() return #backups(p) > 0 end), run:err())
    run:signal "TERM"
    assert.equal(143, run:wait().status)
    assert.is_true(untouched(p))
    p:expect "-e production up"
    p:expect "-e production audit verify"
    assert.equal("", process.capture(("find %s/backups -name '*.part'; ls -d %s/pg/p-* %s/p-* "
      .. "2>/dev/null || :"):format(p.state, scratch, scratch)))
  end)
end)

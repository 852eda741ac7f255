-- SPDX-License-Identifier: MIT
--
-- Points in time: the restore point of a run, and the whole server's backups by a real
-- pgBackRest: made, verified, found damaged, killed in the middle, and gone back to by the
-- very line that neap prints.
local archive = require "archive"
local e2e = require "harness"

local process = e2e.process
local quote = process.quote

local function has(text, part)
  assert.truthy(text:find(part, 1, true), text)
end

-- The data of the run's event of that name, and its run.
local function event_of(p, name, run)
  local found
  for _, event in ipairs(p:json("audit show" .. (run and " --run " .. run or "")).events) do
    if event.event == name then
      found = event
    end
  end
  return found and found.data, found and found.run
end

describe("a restore point", function()
  after_each(e2e.clean)

  -- An environment of these rules on the project's database, as `user`.
  local function environment(p, rules, user)
    local url = p.url:gsub("user=postgres", "user=" .. (user or "postgres"))
    p:write("neap.lua", ([[
return { default = "shop", environments = { shop = { url = %q, %s } } }]]):format(url, rules))
    p.env.DATABASE_URL = nil
  end

  local gated = "gates = { 'preflight' }, preflight = { disk_state = false, disk_data = false }"

  it("is made before the first migration of a run where there are gates", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    environment(p, gated)
    local run = p:json("up").run_id
    local point = event_of(p, "restore_point", run)
    assert.same({ "neap_" .. run, 1 }, { point.name, point.timeline })
    assert.equal("2|t|1", p:value(("select count(*), bool_and(lsn > '%s'), min(timeline)"
      .. " from neap.history"):format(point.lsn)))
    run = p:json("redo").run_id
    local count = 0
    for _, event in ipairs(p:json({ "audit", "show", "--run", run }).events) do
      count = count + (event.event == "restore_point" and 1 or 0)
    end
    assert.equal(1, count)
    p:expect "audit verify"
  end)

  it("is an LSN alone for a role that may make none, and nothing without gates", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    environment(p, "")
    assert.is_nil(event_of(p, "restore_point", p:json("up").run_id))
    p:expect "down"
    p:query "drop schema neap cascade"
    p:query(("create role archive_weak login; grant create on database %s to archive_weak;"
      .. " grant create on schema public to archive_weak"):format(p.database))
    environment(p, gated, "archive_weak")
    local document, r = p:json "up -v"
    local point = event_of(p, "restore_point", document.run_id)
    assert.is_nil(point.name)
    has(point.why, "archive_weak may not execute pg_create_restore_point")
    has(r.err, "no restore point: archive_weak may not")
    assert.equal("t", p:value(("select '%s'::pg_lsn < max(lsn) from neap.history")
      :format(point.lsn)))
    p:query "drop owned by archive_weak; drop role archive_weak"
  end)
end)

-- Migrations of which the second is what somebody wants to be back before.
local function shop(p)
  p:write_table("0001", "a")
  p:write("migrations/0002_gone.sql", [[
-- why: test
-- risk: none
-- locks: none
-- neap: up
delete from a;
-- neap: verify
select not exists (select from a);
-- neap: irreversible the rows are gone
]])
end

-- Processes whose command names something of the server's directory, but for the server.
local function at_work(s)
  return process.capture(("ps -eo pid,args | grep -F %s | grep backup | grep -v grep || :")
    :format(quote(s.dir)))
end

describe("an archive", function()
  local p, s

  lazy_setup(function()
    p = e2e.project()
    s = archive.new(p)
  end)
  lazy_teardown(e2e.clean)
  before_each(function()
    archive.configure(p, s)
  end)

  -- A program that runs pgBackRest, with what a shell does before and behind it.
  local function tool(name, behind, before)
    p:write(name, ('#!/bin/sh\n%s\n%s "$@" %s\n'):format(before or "",
      table.concat(s.command, " "), behind))
    assert(os.execute("chmod 755 " .. quote(p:path(name))))
    return p:path(name)
  end

  it("makes, shows and verifies backups of the whole server, and says what that proves", function()
    shop(p)
    p:expect "up 1"
    s:query "insert into a values (1)"
    local seen = p.temp .. "/seen"
    archive.configure(p, s, { command = { tool("seeing", "", ('{ env; echo "$@"; } >>%s'):format(
      seen)) } })
    p.env.PGPASSWORD = "hunter22"
    local backup = p:json("backup create --tag weekly --reason why").backup
    p.env.PGPASSWORD = nil
    has(process.read(seen), "--stanza=shop")
    assert.falsy(process.read(seen):find("hunter22", 1, true))
    assert.same({ "archive", "weekly", "why" }, { backup.kind, backup.tag, backup.reason })
    assert.same({ "pgbackrest", "shop", "full", 1 }, { backup.archive.tool,
      backup.archive.server, backup.archive.type, backup.archive.timeline })
    has(archive.run(s, "--stanza=shop info"), backup.archive.label)
    assert.is_true(backup.bytes > 0 and backup.database_bytes >= backup.bytes)
    has(p:expect("backup list").out, "archive")
    has(p:expect("backup list").out, "not yet")
    local shown = p:expect({ "backup", "show", backup.id }).out
    has(shown, backup.archive.label)
    has(shown, "the files, which the tool keeps and expires")
    has(p:expect("backup verify --quick").out, "still has " .. backup.archive.label)
    has(p:expect("backup verify").out, "This is no proof: nothing was restored")
    assert.same({ "archive", true }, { p:json("backup list").backups[1].verified.level,
      p:json("backup list").backups[1].verified.ok })
    has(p:expect("backup list").out, "checked")
    p:expect "backup verify --quick"
    assert.equal("archive", p:json("backup list").backups[1].verified.level)
    has(p:expect("rehearse --from " .. backup.id, 11).err, "rehearse")
    has(p:expect("backup verify --on target", 11).err, "of the whole server")
    p:expect "audit verify"
    -- Who names a kind means pg_dump.
    local dump = p:json("backup create --kind full").backup
    assert.is_nil(dump.archive)
    p:expect "backup verify"
  end)

  it("prints the very line that goes back to right before a run", function()
    local run = p:json("up").run_id
    assert.equal("0", s:query "select count(*) from a")
    s:query "insert into a values (2), (3)"
    local backup = p:json("backup list").backups[2]
    local document = p:json({ "restore", backup.id })
    assert.same({ run, "neap_" .. run, 1 },
      { document.target.run, document.target.name, document.target.timeline })
    local r = p:expect { "restore", backup.id, "--run", run }
    has(r.out, document.line)
    has(r.out, "is lost, in ALL databases of the server")
    has(p:expect({ "restore", backup.id, "--swap", "--reason", "x" }, 2).err,
      "is of the whole server")
    has(p:expect({ "restore", backup.id, "--run", "nobody" }, 2).err, "no restore point of run")
    s:stop "INT"
    local said = process.capture(("cd / && { %s; } 2>&1; echo rc=$?"):format(document.line))
    assert.equal("rc=0", said)
    s:start()
    assert(process.await(30, function()
      return s:query "select pg_is_in_recovery()" == "f"
    end), process.read(s.dir .. "/log"))
    assert.equal("1", s:query "select string_agg(id::text, ',') from a")
    assert.equal("0001", s:query "select string_agg(id, ',') from neap.history")
    assert.equal(1, p:json("status").applied)
    -- On the new timeline neap goes on: it applies what is pending again.
    p:expect "up"
    assert.equal(2, event_of(p, "restore_point").timeline)
    assert.equal("0", s:query "select count(*) from a")
  end)

  it("goes back to an LSN where the role may make no restore point", function()
    local backup = p:json("backup create").backup
    assert.equal(2, backup.archive.timeline)
    s:query [[create role weak login; grant all on schema public, neap to weak;
      grant all on all tables in schema public, neap to weak;
      grant all on all sequences in schema neap to weak;
      grant all on all functions in schema neap to weak]]
    p:write_sql("0003_c.sql", "create table c (id int); insert into c values (1)")
    archive.configure(p, s, { user = "weak" })
    p:expect "up"
    local document = p:json({ "restore", backup.id })
    assert.is_nil(document.target.name)
    s:stop "INT"
    assert.equal("rc=0", process.capture(("cd / && { %s; } 2>&1; echo rc=$?"):format(
      document.line)))
    s:start()
    assert(process.await(30, function()
      return s:query "select pg_is_in_recovery()" == "f"
    end), process.read(s.dir .. "/log"))
    assert.equal("t", s:query "select to_regclass('c') is null")
    archive.configure(p, s)
    p:expect "up"
  end)

  it("says what is wrong: the tool, the stanza, the server, the archive", function()
    local function fails(opts, code, words, hint, status)
      archive.configure(p, s, opts)
      local document = p:json("backup create", status or 11)
      assert.equal(code, document.error.code)
      has(document.error.message .. (document.error.detail or ""), words)
      has(document.error.hint, hint)
    end
    fails({ command = { "/nowhere/pgbackrest" } }, "archive.failed", "cannot start", "Install")
    fails({ stanza = "wrong" }, "archive.failed", "no stanza wrong", "stanza-create")
    -- Another server's: copies of one template have the same identifier.
    fails({ command = { tool("other", [[| sed 's/"system-id":[0-9]*/"system-id":77/']]) } },
      "target.wrong", "keeps server 77", "neap.lua", 12)
    fails({ command = { "false" } }, "archive.failed", "failed with status 1", "neap help backups")
    fails({ command = { "echo" } }, "archive.failed", "does not understand", "version")
    s:query "alter system set archive_command = 'pgbackrest --config=/nowhere archive-push %p'"
    s:query "select pg_reload_conf()"
    fails({}, "archive.failed", "check failed with status 82", "archives no WAL")
    archive.configure(p, s)
    assert(process.await(20, function()
      return s:query "select failed_count > 0 from pg_stat_archiver" == "t"
    end))
    for _, row in ipairs(p:json("preflight", 10).checks) do
      assert.equal(row.check == "archiving" or nil, row.level == "error" or nil, row.check)
    end
    s:query "alter system reset archive_command"
    s:query "select pg_reload_conf()"
    for _, backup in ipairs(p:json("backup list").backups) do
      assert.is_nil(backup.problem)
    end
  end)

  it("ends with its deadline, at a signal and when killed, and the tool with it", function()
    archive.configure(p, s, { more = "type = 'full'" })
    s:query "create table big as select md5(i::text) a from generate_series(1, 400000) i"
    local before = #p:json("backup list").backups
    p:expect("backup create --timeout 300ms", 124)
    for _, signal in ipairs { "INT", "KILL" } do
      local run = p:start "backup create"
      assert(process.await(20, function() return at_work(s):find("type=full", 1, true) end))
      run:signal(signal)
      assert.equal(signal == "INT" and 130 or 137, run:wait().status)
      assert(process.await(20, function() return at_work(s) == "" end), at_work(s))
    end
    assert.equal(before, #p:json("backup list").backups)
    p:expect "backup create"
    assert.equal("", process.capture(("find %s/backups -name '*.part'"):format(p.state)))
  end)

  it("is the gate of a protected environment, and the way back of what stops halfway", function()
    archive.configure(p, s, { rules = [[protected = true, allow_superuser = true, preflight = {
      disk_state = false, disk_data = false, pin = false },]] })
    p:write_table("0004", "d")
    local function gates_of(document)
      local said = {}
      for _, gate in ipairs(document.gates) do
        said[#said + 1] = gate.gate .. " " .. gate.result
      end
      return table.concat(said, ", ")
    end
    local document = p:json "up"
    assert.equal("preflight passed, backup passed, verify passed, rehearsal passed, "
      .. "validation passed", (gates_of(document):gsub("validate", "validation")))
    local backup = p:json("backup list").backups[1]
    assert.same({ "archive", "pre_migration", document.run_id },
      { backup.kind, backup.tag, backup.run_id })
    assert.equal("live-schema", event_of(p, "rehearsal.end", document.run_id).from)
    assert.equal("neap_" .. document.run_id, p:json({ "restore", backup.id }).target.name)
    p:write("migrations/0005_half.lua", [[
return migration {
  summary = "half", transaction = false,
  steps = {
    { name = "one",
      up = function(db) db:exec "create table if not exists e (id int)" error "no" end,
      verify = function() return false end, down = function() error "never" end },
  },
}]])
    document = p:json({ "up", "--skip-rehearsal", "--reason", "x" }, 9)
    has(gates_of(document), "backup reused, verify reused, rehearsal skipped")
    local line = ("neap -e production restore %s --run %s"):format(backup.id, document.run_id)
    has(document.error.hint, line)
    has(p:expect("report").out, line)
    document = p:json("resume", 9) -- before the run that began it, and not this one
    has(document.error.hint, line)
    has(p:expect("report").out, line)
  end)

  it("finds a backup that was damaged, and one that expired", function()
    local backup = p:json("backup list").backups[1]
    local file = archive.file(s, backup.archive.label .. "/bundle/1")
    assert(os.execute(("printf x | dd of=%s bs=1 seek=100 conv=notrunc status=none"):format(
      quote(file))))
    local document = p:json("backup verify", 11)
    assert.equal("backup.damaged", document.error.code)
    has(document.error.detail, "status: invalid")
    has(p:expect("backup list").out, "FAILED")
    archive.run(s, ("--stanza=shop --set=%s --log-level-console=off expire"):format(
      backup.archive.label))
    document = p:json("backup verify --quick", 11)
    assert.equal("backup.damaged", document.error.code)
    has(document.error.message, "any more")
  end)
end)

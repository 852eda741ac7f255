-- SPDX-License-Identifier: MIT
--
-- --json of every command of commands.def: one document on stdout whether it
-- succeeds or fails, with the fields that every document has.
local e2e = require "harness"

-- They print what is their own when they succeed (stdlib/help/json.md).
local RAW = { ["audit export"] = true, ["completion"] = true, ["scratch psql"] = true }

local function commands()
  local list = {}
  local text = e2e.process.read(e2e.root .. "/host/cli/commands.def")
  for name in text:gmatch 'NEAP_COMMAND%([%w_]+, "([^"]+)"' do
    list[#list + 1] = name
  end
  assert(#list > 20, "commands.def was not read")
  return list
end

--- The only document on stdout.
local function document_of(r, what)
  local value, past, why = require("dkjson").decode(r.out, 1, nil)
  assert.truthy(value, what .. ": " .. tostring(why) .. "\n" .. r.out .. r.err)
  assert.equal("", (r.out:sub(past):gsub("%s", "")), what .. ": something is after the document")
  return value
end

local function check_envelope(r, command)
  local document = document_of(r, command)
  assert.equal(1, document.schema_version, command)
  assert.truthy(document.run_id:find "^%d+T%d+%-%w+$", document.run_id)
  assert.equal(command, document.command)
  assert.equal(r.status, document.exit_status, command)
  assert.equal(r.status ~= 0 and r.status ~= 3, document.status == "failed", command)
  if document.status == "failed" and command ~= "check" then
    assert.truthy(document.error.code and document.error.message, command .. r.out)
    assert.truthy(r.err:find(document.error.message, 1, true), command .. ": stderr: " .. r.err)
  end
  assert.is_nil(r.out:find("\27", 1, true))
  return document
end

--- Each command once with success, in an order in which each can. The rest of the
--- row: its fields beside those of every document.
local function succeeding(p)
  local function edit()
    local text = p:read "migrations/0003_c.lua"
    p:write("migrations/0003_c.lua", (text:gsub("Make c", "Build c")))
  end
  return {
    { "init", { "init", p.temp .. "/other" }, { "project", "created" } },
    { "new", { "new", "third" }, { "path", "id" },
      after = function() p:delete "migrations/0003_third.lua" end },
    { "check", { "check" }, { "checked", "findings" } },
    { "status", { "status" }, { "migrations", "pending" } },
    { "up", { "up", "--dry-run" }, { "dry_run" } },
    { "up", { "up" }, { "applied", "plan" } },
    { "up", { "up" }, { "applied" } },
    { "status", { "status" }, { "migrations", "applied" } },
    { "verify", { "verify" }, { "database" } },
    { "redo", { "redo" }, { "applied", "undone" } },
    { "down", { "down" }, { "undone" } },
    { "resume", { "resume" }, {} },
    { "repair", { "repair", "2", "--mark", "applied", "--reason", "test" }, {} },
    { "repair", { "repair", "2", "--mark", "pending", "--reason", "test" }, {} },
    { "baseline", { "baseline", "2", "--reason", "test" }, {} },
    { "history", { "history" }, {} },
    { "history", { "history", "--events" }, { "events" } },
    { "up", { "up" }, { "applied" }, after = edit,
      before = function() p:write_table("0003", "c") end },
    { "accept", { "accept", "3", "--reason", "test" }, {} },
    { "lease show", { "lease", "show" }, {} },
    { "lease break", { "lease", "break", "--reason", "test" }, {} },
    { "report", { "report" }, { "report", "dir" } },
    { "audit verify", { "audit", "verify" }, { "runs", "events", "head", "findings" } },
    { "audit show", { "audit", "show" }, { "events" } },
    { "audit keygen", { "audit", "keygen", p.temp .. "/key" }, { "secret_key", "public_key" } },
    { "doctor", { "doctor" }, { "settings", "checks" } },
    { "backup create", { "backup", "create" }, { "backup", "database" } },
    { "backup list", { "backup", "list" }, { "dir", "backups" } },
    { "backup show", { "backup", "show", "latest" }, { "backup" } },
    { "backup verify", { "backup", "verify" }, { "backup" } },
    { "backup prune", { "backup", "prune" }, { "dir", "removed", "kept" } },
    { "rehearse", { "rehearse" }, { "rehearsal", "database" },
      before = function() p:write_table("0009", "z") end,
      after = function() p:delete "migrations/0009_z.lua" end },
    { "restore", { "restore", "latest", "--into", p.database .. "_again" },
      { "database", "backup", "server", "duration_ms" } },
    { "restore", { "restore", "latest", "--table", "public.a" },
      { "table", "restored", "rows", "compare", "drop" } },
    { "restore", { "restore", "--list" }, { "databases" } },
    { "preflight", { "preflight" }, { "checks", "warnings", "errors" } },
    { "selftest limits", { "selftest", "limits", "--only", "tx.spelling-01" },
      { "limits", "held", "failed", "seconds" } },
    { "help", { "help", "json" }, { "topic", "text" } },
    { "version", { "version" }, { "neap", "libraries" } },
    { "scratch start", { "scratch", "start" }, { "running", "url" } },
    { "scratch status", { "scratch", "status" }, { "running" } },
    { "scratch url", { "scratch", "url" }, { "url" } },
    { "scratch stop", { "scratch", "stop" }, { "running" } },
  }
end

describe("--json", function()
  after_each(e2e.clean)

  it("gives one document for each command that succeeds", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    local seen = {}
    for _, row in ipairs(succeeding(p)) do
      local command, args, fields = row[1], row[2], row[3]
      if row.before then
        row.before()
      end
      args[#args + 1] = "--json"
      local r = p:expect(args)
      local document = check_envelope(r, command)
      for _, field in ipairs(fields) do
        assert.truthy(document[field] ~= nil, command .. " has no " .. field .. ": " .. r.out)
      end
      if row.after then
        row.after()
      end
      seen[command] = true
    end
    for _, command in ipairs(commands()) do
      assert.truthy(seen[command] or RAW[command], command .. " was not tried")
    end
  end)

  it("gives one document for each command that fails", function()
    local p = e2e.project { database = false }
    local words = { ["audit keygen"] = { "/nowhere/key" }, ["help"] = { "nothing-like-it" },
      ["completion"] = { "tcsh" }, ["version"] = { "more" }, ["init"] = { "/dev/null/x" },
      ["scratch psql"] = {} }
    for _, command in ipairs(commands()) do
      local args = {}
      for word in command:gmatch "%S+" do
        args[#args + 1] = word
      end
      table.move(words[command] or { "a", "b", "c" }, 1, 3, #args + 1, args)
      args[#args + 1] = "--json"
      local r = p:neap(args, { cwd = p.temp })
      assert.truthy(r.status ~= 0, command .. r.out)
      check_envelope(r, command)
    end
  end)

  it("gives one document for what is no command, no option and no value", function()
    local p = e2e.project()
    for _, args in ipairs { { "upp" }, { "up", "--no-such" }, { "up", "--timeout", "soon" },
      { "up", "--to" }, { "lease", "sho" }, { "up", "-Z" }, { "status", "--to", "3" } } do
      args[#args + 1] = "--json"
      local r = p:neap(args)
      local document = document_of(r, table.concat(args, " "))
      assert.equal(2, r.status)
      assert.equal(2, document.exit_status)
      assert.equal(1, document.schema_version)
      assert.equal("usage.arguments", document.error.code)
    end
    local r = p:neap({ "up", "--no-such" }, { env = { NEAP_JSON = "1" } })
    assert.truthy(check_envelope(r, "up").error.hint:find("neap help up", 1, true), r.out)
  end)

  it("gives one document for what fails on the way", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write_sql("0002_broken.sql", "select * from nowhere")
    local failed = check_envelope(p:neap { "up", "--json" }, "up")
    assert.equal("42P01", failed.error.sqlstate)
    assert.equal("migrations/0002_broken.sql", failed.error.file)
    assert.equal("0002", failed.failed.id)
    assert.equal(1, #failed.applied)
    local unreachable = { env = { DATABASE_URL = "postgresql://127.0.0.1:1/x" } }
    for _, command in ipairs { "up", "down", "redo", "status", "verify", "history", "resume" } do
      local r = p:neap({ command, "--json" }, unreachable)
      assert.equal(13, r.status, r.err)
      assert.equal("db.connect", check_envelope(r, command).error.code)
    end
    p:write("migrations/0002_broken.sql", "-- neap: nonsense\n")
    assert.equal(10, p:neap({ "check", "--json" }).status)
    check_envelope(p:neap { "check", "--json" }, "check")
  end)

  it("gives the document also when interrupted", function()
    local p = e2e.project()
    p:write_sql("0001_slow.sql", "select pg_sleep(60)")
    local run = p:start { "up", "--json" }
    assert(e2e.process.await(20, function()
      return p:value("select count(*) from pg_stat_activity where datname = current_database()"
        .. " and wait_event = 'PgSleep'") == "1"
    end))
    run:signal "TERM"
    local r = run:wait(20)
    assert.equal(143, r.status, r.err)
    assert.equal("run.terminated", check_envelope(r, "up").error.code)
  end)
end)

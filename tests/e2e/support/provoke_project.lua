-- SPDX-License-Identifier: MIT
--
-- errors_spec: the command line, configuration, files, history and the audit.
local e2e = require "harness"
local network = require "network"

local process = e2e.process
local quote = process.quote

local function environment(p, keys)
  p:write("neap.lua", ("return { environments = { production = { url = %q, %s } } }"):format(
    p.url, keys))
end

local function applied_two(p)
  p:write_table("0001", "a")
  p:write_table("0002", "b")
  p:expect "up"
end

local function requiring(p)
  p:write_table("0001", "a")
  p:write("migrations/0002_b.lua", [[
return migration { summary = "b", requires = { "1" },
  up = function(db) db:exec "create table b (id int)" end,
  verify = function() end,
  down = function(db) db:exec "drop table b" end,
}]])
end

local function journal_of(p)
  return process.capture(("ls %s/journal/*.jsonl"):format(quote(p.state)))
end

return {
  ["selftest.failed"] = {
    { run = function(p)
        p:write("corpus/own.lua", "return { { id = 'a', attempt = 'x', expect = '0', brief = true, "
          .. "up = 'error [[x]]' } }")
        return p:neap({ "selftest", "limits", "--corpus", p:path "corpus", "--json" })
      end, at = false, says = "1 of 1 limits did not hold", hint = "neap doctor" },
  },
  ["usage.arguments"] = {
    { run = function(p) return p:neap "up --drry-run --json" end, at = false,
      says = "unknown option --drry-run", hint = "Did you mean --dry-run?" },
    { run = function(p) return p:neap "statsu --json" end, at = false,
      says = "unknown command `statsu`", hint = "status" },
    { run = function(p) return p:neap "up --to --json" end, at = false,
      says = "--to needs a value: --to ID", hint = "neap help up" },
    { run = function(p) return p:neap "repair 1 --reason x --json" end, at = false,
      says = "--mark applied", hint = "neap help repair" },
    { run = function(p) return p:neap("up --json", { env = { NEAP_TIMEOUT = "30" } }) end,
      at = false, says = "NEAP_TIMEOUT is not a duration", hint = "30s" },
  },
  ["config.invalid"] = {
    { run = function(p)
      environment(p, 'tiemout = "30s"')
      return p:neap "-e production up --json"
    end, at = "neap.lua", says = "environments.production.tiemout is not a known key",
      hint = "Did you mean timeout?" },
    { run = function(p)
      environment(p, "")
      return p:neap "-e prodution status --json"
    end, at = false, says = { "no environment is named `prodution`", "-e" }, hint = "production" },
    { run = function(p)
      p:write("neap.lua", "return { environments = { far = { url = env \"FAR_AWAY_URL\" } } }")
      return p:neap "-e far status --json"
    end, at = "neap.lua", says = { "environment far has no url", "FAR_AWAY_URL" },
      hint = "FAR_AWAY_URL" },
    { run = function(p)
      p:write("neap.lua", "return {\n  environments = {,}\n}")
      return p:neap "status --json"
    end, at = "neap.lua:2", says = "unexpected symbol", hint = "neap help environments" },
    { run = function(p) return p:neap("status --json", { cwd = p.temp }) end, at = false,
      says = "no project in", hint = "neap init" },
  },
  ["config.target"] = {
    { run = function(p) return p:neap("status --json", { env = { DATABASE_URL = false } }) end,
      at = false, says = "no target is named", hint = "DATABASE_URL" },
  },
  ["file.io"] = {
    { run = function(p) return p:neap "audit keygen /nowhere/key --json" end, at = false,
      says = { "/nowhere/key", "No such file or directory" }, hint = "its rights" },
  },
  ["file.refused"] = {
    { run = function(p)
      p:write("migrations/0001_a.lua/x", "")
      return p:neap "up --json"
    end, at = false, says = "migrations/0001_a.lua is not a regular file", hint = "ls -ld" },
    { run = function(p)
      environment(p, "")
      assert(os.execute("chmod 666 " .. quote(p:path "neap.lua")))
      return p:neap "-e production up --json"
    end, at = false, says = "anybody may write to", hint = "chmod o-w" },
    { run = function(p)
      p:write("neap.lua", "return { environments = { x = { url = "
        .. '"postgresql://u:secret@localhost/x" } } }')
      assert(os.execute("chmod 644 " .. quote(p:path "neap.lua")))
      return p:neap "-e x up --json"
    end, at = false, says = "holds a password and others may read it", hint = "chmod 600" },
  },
  ["project.name"] = {
    { run = function(p)
      p:write("migrations/later_on.lua", "")
      return p:neap "up --json"
    end, at = false, says = "migrations/later_on.lua", hint = "NNNN_name.lua" },
  },
  ["project.duplicate"] = {
    { run = function(p)
      p:write_table("0001", "a")
      p:write_table("01", "b")
      return p:neap "up --json"
    end, at = false, says = { "0001_a.lua", "01_b.lua", "same id 1" }, hint = "neap new" },
  },
  ["history.order"] = {
    { run = function(p)
      p:write_table("0003", "c")
      p:expect "up"
      p:write_table("0002", "b")
      return p:neap "up --json"
    end, at = false, says = "migrations/0002_b.lua is pending", hint = "neap up --only 0002" },
  },
  ["history.requires"] = {
    { run = function(p)
      requiring(p)
      return p:neap "up --only 2 --json"
    end, at = "migrations/0002_b.lua", says = "migration 0002 requires 1, which is not applied",
      hint = "neap up --only 1" },
    { run = function(p)
      requiring(p)
      p:expect "up"
      return p:neap "down --only 1 --json"
    end, at = "migrations/0002_b.lua",
      says = "migration 0002 b is applied, and requires 0001",
      hint = "neap down --only 0002" },
  },
  ["history.changed"] = {
    { run = function(p)
      applied_two(p)
      p:write("migrations/0001_a.lua", (p:read "migrations/0001_a.lua":gsub("bigint", "int")))
      return p:neap "up --json"
    end, at = "migrations/0001_a.lua:1", says = { "0001_a.lua was changed", "+  up = function" },
      hint = "neap accept 0001 --reason TEXT" },
    { run = function(p)
      applied_two(p)
      p:write("migrations/0002_b.lua", (p:read "migrations/0002_b.lua":gsub("bigint", "int")))
      return p:neap "down --json"
    end, at = "migrations/0002_b.lua:1", says = "its down may not fit",
      hint = "neap down --only 0002 --stored" },
  },
  ["history.missing"] = {
    { run = function(p)
      applied_two(p)
      p:delete "migrations/0001_a.lua"
      p:write_table("0003", "c")
      return p:neap "up --json"
    end, at = false, says = "migration 0001 a is applied, and its file is missing",
      hint = "neap down --only 0001" },
  },
  ["history.unknown"] = {
    { run = function(p)
      p:write_table("0001", "a")
      return p:neap "up --to 17 --json"
    end, at = false, says = "there is no migration 17", hint = "neap status" },
    { run = function(p)
      p:write_table("0001", "a")
      return p:neap "verify 1 --json"
    end, at = false, says = "migration 1 is not applied", hint = "neap status" },
  },
  ["history.version"] = {
    { run = function(p)
      applied_two(p)
      p:query "update neap.meta set version = 99"
      return p:neap "status --json"
    end, at = false, says = "version 99", hint = "Use the newer neap that wrote it" },
    { run = function(p)
      applied_two(p)
      p:query "delete from neap.meta"
      return p:neap "up --json"
    end, at = false, says = "has no version", hint = "neap.meta" },
  },
  ["history.forged"] = {
    { run = function(p)
      applied_two(p)
      p:write_table("0003", "c")
      p:query [[insert into neap.history (attempt, id, name, action, run_id, xid, system_identifier)
        values (gen_random_uuid(), '0003', 'c', 'apply', 'forged', '1', '1')]]
      return p:neap "up --json"
    end, at = false, says = "the record that migration 0003 is applied was not written by neap",
      hint = "neap repair 0003 --mark" },
  },
  ["lint.found"] = {
    { run = function(p)
      p:write("migrations/0001_a.sql", "-- neap: nonsense\n")
      local r = p:neap "check --json"
      local finding = e2e.decode(r.out).findings[1]
      assert(finding.file == "migrations/0001_a.sql" and finding.line == 1, r.out)
      return r
    end, at = false, says = "in the scripts", hint = "neap check" },
  },
  ["approval.missing"] = {
    { run = function(p)
      p:write_table("0001", "a")
      environment(p, "protected = true, allow_superuser = true")
      p:expect "-e production up"
      return p:neap "-e production down --json"
    end, at = false, says = "undoing migrations on the protected environment production was not",
      hint = "--confirm e2e_" },
    { run = function(p)
      p:write_table("0001", "a")
      environment(p, "protected = true, allow_superuser = true")
      return p:neap "-e production repair 1 --mark applied --reason x --confirm other --json"
    end, at = false, says = "was confirmed for another database", hint = "--confirm e2e_" },
  },
  ["preflight.failed"] = {
    { run = function(p)
      environment(p, "preflight = { disk_state = { error = 1e15 } }")
      return p:neap "-e production preflight --json"
    end, at = false, says = "not fit for a change now: disk_state", hint = "neap help preflight" },
  },
  ["validation.failed"] = {
    { run = function(p)
      p:write_sql("0001_mine.sql", "create table g (id int)",
        "select pg_current_xact_id_if_assigned() is not null", "drop table g")
      environment(p, "gates = { 'preflight' }")
      return p:neap "-e production up --json"
    end, at = "migrations/0001_mine.sql:7", says = "does not hold after the COMMIT",
      hint = "neap up" },
  },
  ["policy.refused"] = {
    { run = function(p)
      p:write_table("0001", "a")
      environment(p, "protected = true, allow_superuser = true")
      return p:neap "-e production up --dry-run --json"
    end, at = false, says = "environment production is protected", hint = "-e scratch" },
    { run = function(p)
      p:write_table("0001", "a")
      environment(p, "protected = true")
      return p:neap "-e production up --json"
    end, at = false, says = "postgres is a superuser", hint = "allow_superuser" },
    { run = function(p)
      p:write("migrations/0001_a.lua", [[
return migration { summary = "a", up = function(db) db:exec "create table a (id int)" end,
  verify = unverified "looked at", down = irreversible "the rows are gone" }]])
      p:expect "up"
      return p:neap "down --json"
    end, at = "migrations/0001_a.lua", says = "the rows are gone", hint = "Write a new migration" },
  },
  ["target.wrong"] = {
    { run = function(p)
      p:write_table("0001", "a")
      environment(p, 'database = "shop"')
      return p:neap "-e production up --json"
    end, at = false, says = "pinned to database shop", hint = "neap.lua" },
  },
  ["output.lost"] = {
    { seen = function(p)
      p:write_table("0001", "a")
      p:write_table("0002", "b")
      for _, command in ipairs { "up --json", "down" } do
        local r = process.run({ "bash", "-c", quote(e2e.bin) .. " " .. command .. " >/dev/full" },
          p.temp .. "/full", { cwd = p.dir, env = p.env })
        assert(r.status == 16, r.err)
        assert(r.err:find("done, but the result cannot be written to stdout: No space left", 1,
          true), r.err)
        assert(r.err:find("code output.lost", 1, true) and r.err:find("hint: See `neap status`", 1,
          true), r.err)
      end
      assert(p:value "select to_regclass('public.a') is not null" == "t", "it is not applied")
    end },
  },
  ["audit.journal"] = {
    { run = function(p)
      p:write_table("0001", "a")
      assert(os.execute(("mkdir -p -m 700 %s && : >%s/journal"):format(quote(p.state),
        quote(p.state))))
      return p:neap "up --json"
    end, at = false, says = "journal", hint = "is not sent: make room" },
  },
  ["audit.broken"] = {
    { run = function(p)
      applied_two(p)
      local path = journal_of(p)
      local text = process.read(path)
      process.write(path, (text:gsub('"event":"step.commit"', '"event":"step.commix"', 1)))
      local r = p:neap "audit verify --json"
      assert(e2e.decode(r.out).findings[1].message, r.out)
      return r
    end, at = false, says = "the audit chain has", hint = "neap help audit" },
  },
  ["audit.incomplete"] = {
    { run = function(p)
      p:write_table("0001", "a")
      local proxy = network.open(p, "late", 2, "commit+0")
      local run = p:start("up --json", { env = proxy.env })
      assert(proxy:says("fired", 20), run:err())
      local path = journal_of(p)
      assert(os.execute(("mv %s %s.away && mkdir %s"):format(quote(path), quote(path),
        quote(path))))
      proxy:signal "USR1"
      local r = run:wait(30)
      assert(os.execute(("rmdir %s && mv %s.away %s"):format(quote(path), quote(path),
        quote(path))))
      assert(p:value "select to_regclass('public.a') is not null" == "t", r.out .. r.err)
      p:expect "up"
      p:expect "audit verify"
      return r
    end, at = false, says = "done, but the journal lacks the outcome", hint = "the next run" },
  },
}

-- SPDX-License-Identifier: MIT
--
-- errors_spec: servers that are away, in the way or wrong; waits that end; what
-- only another session, a signal or a broken network provokes.
local e2e = require "harness"
local network = require "network"

local process = e2e.process
local quote = process.quote
local file = "migrations/0001_t.lua"

local function write_waiting(p, rest)
  p:write(file, ([=[
return migration { summary = "t",
  up = function(db)
    db:exec "create table t (id int)"
    db:query "select pg_sleep(%s)" %s end,
  verify = unverified "a test", down = irreversible "a test" }]=]):format(
    rest and "1" or "60", rest or ""))
end

local function await_sleep(p)
  assert(process.await(20, function()
    return p:value("select count(*) from pg_stat_activity where datname = current_database()"
      .. " and wait_event = 'PgSleep' and application_name like 'neap:%'") == "1"
  end), "the script did not come to its wait")
end

local function signalled(name)
  return function(p)
    write_waiting(p)
    local run = p:start "up --json"
    await_sleep(p)
    run:signal(name)
    return run:wait(20)
  end
end

local function blocked(options)
  return function(p)
    p:query "create table base (id int)"
    p:write(file, [[
return migration { summary = "t",
  up = function(db)

    db:exec "alter table base add column x int" end,
  verify = unverified "a test", down = irreversible "a test" }]])
    local blocker = p:session "lock table base"
    local r = p:neap(options)
    blocker:close()
    local error = e2e.decode(r.out).error
    assert(error.detail:find(blocker.name, 1, true), error.detail)
    return r
  end
end

-- neap is the victim: the other session does not look for deadlocks.
local function deadlock(p)
  p:query "create table a (id int); create table b (id int)"
  p:query(("alter database %s set deadlock_timeout = '100ms'"):format(p.database))
  p:write(file, [[
return migration { summary = "t", lock_timeout = "20s",
  up = function(db) db:query "lock table a" db:query "select pg_sleep(2)"

    db:query "lock table b" end,
  verify = unverified "a test", down = irreversible "a test" }]])
  local run = p:start "up --lock-budget 1s --json"
  await_sleep(p)
  local other = p:start_psql("set deadlock_timeout = '1h'; begin; lock table b; lock table a;"
    .. " commit")
  local r = run:wait(40)
  other:wait(10)
  return r
end

local function held(p)
  write_waiting(p)
  local first = p:start "up --timeout 60s"
  await_sleep(p)
  local r = p:neap "up --lease-wait 500ms --json"
  local error = e2e.decode(r.out).error
  assert(error.detail:find("Its server process is", 1, true), r.err)
  first:stop()
  return r
end

-- Between attempts no transaction holds the fence, so that the lease can be broken.
local function lost_lease(p)
  p:query "create table base (id int)"
  p:write(file, [[
return migration { summary = "t",
  up = function(db)

    db:exec "alter table base add column x int" end,
  verify = unverified "a test", down = irreversible "a test" }]])
  local blocker = p:session "lock table base"
  local run = p:start "up --lock-timeout 50ms --lock-budget 1min --json"
  assert(run:says("trying again", 20), run:err())
  p:expect { "lease", "break", "--reason", "test" }
  local r = run:wait(30)
  blocker:close()
  return r
end

local function partial(p)
  p:write(file, [[
return migration { summary = "t", transaction = false, steps = {
  { name = "one", up = function(db) db:exec "create table one (id int)" end,
    verify = function(_, expect) expect.table "public.one" end,
    down = function(db) db:exec "drop table one" end },
  { name = "two", up = function(db) db:exec "select nothing" end,
    verify = unverified "a test", down = function() end } } }]])
  return p:neap "up --json"
end

local function doubt(p)
  p:write(file, [[
return migration { summary = "t", transaction = false, steps = { { name = "one",
  up = function(db) db:exec "create table t (id int)" db:query "select pg_sleep(60)" end,
  verify = unverified "a test", down = function() end } } }]])
  local run = p:start "up --timeout 60s"
  await_sleep(p)
  run:signal "KILL"
  run:wait(10)
  return p:neap "up --json"
end

local function unknown_commit(p)
  p:write_table("0001", "t1")
  p:expect "up"
  p:write_table("0002", "t2")
  local proxy = network.open(p, "dead", 2, "commit+5")
  local run = p:start("up --json", { env = proxy.env })
  assert(run:says("lost during COMMIT", 20), run:err())
  run:signal "INT"
  local r = run:wait(30)
  p:expect "up"
  return r
end

-- The whole server waits for a standby that is not there, so it is the test's own.
local function unreplicated(p)
  write_waiting(p, "")
  p.env.NEAP_SCRATCH_DIR = p.temp .. "-scratch"
  p:expect "scratch start"
  local function psql(...)
    local argv = { e2e.bin, "-C", p.dir, "scratch", "psql", "--", "-XAtqc", "set"
      .. " synchronous_commit = local" }
    for _, sql in ipairs { ... } do
      table.move({ "-c", sql }, 1, 2, #argv + 1, argv)
    end
    return (process.run(argv, p.temp .. "/psql", { cwd = "/", env = p.env }).out:gsub("\n$", ""))
  end
  psql "alter system set synchronous_commit = on"
  psql "select pg_reload_conf()"
  local run = p:start { "-e", "scratch", "up", "--timeout", "3s", "--json" }
  local asleep = process.await(20, function()
    return psql "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" == "1"
  end)
  psql("alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()")
  local r = run:wait(60)
  local applied = psql "select count(*) from neap.history where action = 'apply'"
  p:neap "scratch stop"
  os.execute("rm -rf " .. quote(p.env.NEAP_SCRATCH_DIR))
  assert(asleep and applied == "1", applied)
  return r
end

-- A libpq that breaks its contract: no server that can be had does what these rows are for.
local function broken_libpq(source)
  return function(p)
    p:write_table("0001", "t")
    process.write(p.temp .. "/broken.c", source)
    assert(os.execute(("cc -shared -fPIC -o %s/broken.so %s/broken.c"):format(quote(p.temp),
      quote(p.temp))))
    return p:neap("up --json", { env = { LD_PRELOAD = p.temp .. "/broken.so",
      ASAN_OPTIONS = "verify_asan_link_order=0:detect_leaks=0" } })
  end
end

local never_leaves_pipeline = [[
int PQexitPipelineMode(void *conn) { (void)conn; return 0; }
]]

local rolls_back_at_commit = [[
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
char *PQcmdStatus(void *result)
{
    char *(*real)(void *) = (char *(*)(void *))dlsym(RTLD_NEXT, "PQcmdStatus");
    static char rollback[] = "ROLLBACK";
    return strcmp(real(result), "COMMIT") == 0 ? rollback : real(result);
}
]]

local function unreachable(url, keys)
  return function(p)
    p:write_table("0001", "t")
    p:write("neap.lua", ("return { environments = { far = { url = %q, %s } } }"):format(url, keys
      or ""))
    return p:neap "-e far up --json"
  end
end

local function silent(p)
  local proxy = network.open(p, "hole", 1, 0)
  return unreachable(proxy.url, 'connect_timeout = "1s"')(p)
end

return {
  ["internal.bug"] = {
    { run = broken_libpq(never_leaves_pipeline), at = false, says = "pipeline",
      hint = "neap doctor" },
  },
  ["db.aborted"] = {
    { run = broken_libpq(rolls_back_at_commit), at = false,
      says = "the server answered COMMIT with ROLLBACK", hint = "neap up" },
  },
  ["db.connect"] = {
    { run = unreachable "postgresql://127.0.0.1:1/x", at = false,
      says = { "127.0.0.1", "refused" }, hint = "neap doctor" },
    { run = unreachable "postgresql:///x?host=/nowhere&user=u", at = false, says = "/nowhere",
      hint = "neap doctor" },
    { run = silent, at = false, says = "no answer in 1.0 s", hint = "connect_timeout" },
  },
  ["db.pooler"] = {
    { pooled = true, run = function(p)
      p:write_table("0001", "t")
      return p:neap "up --json"
    end, at = false, says = "pooler", hint = 'pooler = "transaction"' },
  },
  ["target.standby"] = {
    { run = function(p)
      p:write_table("0001", "t")
      p:expect "up"
      p:query(("alter database %s set default_transaction_read_only = on"):format(p.database))
      return p:neap "down --json"
    end, at = false, says = "read-only", hint = "primary" },
  },
  ["lease.held"] = {
    { run = held, at = false, says = "holds the lease", hint = "neap lease show" },
  },
  ["lease.lost"] = {
    { run = lost_lease, at = false, says = "took the lease", hint = "neap lease show" },
  },
  ["lock.timeout"] = {
    { run = blocked "up --lock-timeout 300ms --lock-budget 1s --json", at = file .. ":4",
      says = { "lock timeout", "attempts" }, hint = "blocker" },
  },
  ["lock.deadlock"] = {
    { run = deadlock, at = file .. ":4", says = "deadlock detected", hint = "Run it again" },
  },
  ["step.partial"] = {
    { run = partial, at = file .. ":5", position = 8,
      says = { "migration 0001 stopped", 'column "nothing" does not exist' },
      hint = "neap resume" },
  },
  ["step.doubt"] = {
    { run = doubt, at = file, says = "step one of migration 0001 was interrupted",
      hint = "neap repair 0001 --mark applied" },
  },
  ["db.lost"] = {
    { run = function(p)
      p:write(file, [[
return migration { summary = "t",
  up = function(db)

    db:exec "select pg_terminate_backend(pg_backend_pid())" end,
  verify = unverified "a test", down = irreversible "a test" }]])
      return p:neap "up --json"
    end, at = file .. ":4", says = "by an administrator or a shutdown", hint = "again" },
  },
  ["commit.unknown"] = {
    { run = unknown_commit, at = false, says = { "lost during COMMIT", "cannot be asked" },
      hint = "Run it again when the server answers" },
  },
  ["commit.unreplicated"] = {
    { run = unreplicated, at = false, says = "done, but no synchronous standby confirmed it",
      hint = "pg_stat_replication" },
  },
  ["run.deadline"] = {
    { run = function(p)
      write_waiting(p)
      return p:neap "up --timeout 500ms --json"
    end, at = file .. ":4", says = "deadline", hint = "timeout" },
  },
  ["run.interrupted"] = {
    { run = signalled "INT", at = file .. ":4", says = "interrupted", hint = "again" },
  },
  ["run.terminated"] = {
    { run = signalled "TERM", at = file .. ":4", says = "terminated", hint = "again" },
  },
}

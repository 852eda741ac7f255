-- SPDX-License-Identifier: MIT
--
-- What an e2e spec works with: a fresh database and a fresh project for each
-- test, the neap binary run on them, and psql to look behind its back. One
-- PostgreSQL serves one busted process (services.sh ends it with that process).
--
--   local e2e = require "harness"
--   describe("up", function()
--     after_each(e2e.clean)
--     it("applies", function()
--       local p = e2e.project()
--       p:write("migrations/0001_a.sql", "-- neap: up\n…")
--       local r = p:neap { "up" }
--       assert.equal(0, r.status, r.err)
--       assert.equal("1", p:value "select count(*) from neap.history")
--     end)
--   end)
local dkjson = require "dkjson"
local process = require "process"

local e2e = {
  process = process,
  build = os.getenv "NEAP_BUILD_DIR" or process.capture "pwd" .. "/build",
  root = process.capture "pwd",
}
e2e.bin = os.getenv "NEAP_BIN" or e2e.build .. "/neap"
e2e.sanitized = (os.getenv "NEAP_SANITIZE" or "") ~= ""
e2e.covered = os.getenv "NEAP_PRESET" == "coverage" -- its lines are counted

local quote = process.quote
local services = e2e.root .. "/tests/e2e/support/services.sh"
local cluster -- of this busted process: { dir, socket, bin }
local open = {} -- projects to clean
local serial = 0

local function serve(what, dir, ready, more)
  local log = dir .. "/" .. what .. ".start"
  local failed = log .. ".failed"
  assert(os.execute(("{ setsid -w %s %s %s %s %s >%s 2>&1 </dev/null || : >%s; } 2>/dev/null &")
    :format(quote(services), what, quote(dir), process.own_pid(), more or "", quote(log),
      quote(failed))))
  process.await(60, function()
    return process.read(dir .. "/" .. ready) or process.read(failed)
  end)
  local text = process.read(dir .. "/" .. ready)
  return text or error("no " .. what .. ": " .. (process.read(log) or "?"), 0)
end

--- The cluster: dir, socket (the directory), bin (of psql and friends), log. The first
--- call starts it, with `settings` ("fsync=on", …) on top of the tests' own.
function e2e.cluster(settings)
  if not cluster then
    local dir = process.capture "mktemp -d /tmp/neap-e2e-XXXXXX"
    local more = quote(e2e.build .. "/pg-template.tar")
    for _, setting in ipairs(settings or {}) do
      more = more .. " -c " .. quote(setting)
    end
    local bin = serve("postgres", dir, "ready", more)
    cluster = { dir = dir, socket = dir .. "/pg", log = dir .. "/postgres.log" }
    cluster.bin = bin:gsub("\n", "")
  end
  return cluster
end

--- A transaction pooler with its files in `dir`, in front of the server whose socket is
--- in `host`: the directory of its own socket, port 6432.
function e2e.pooler(dir, host, size)
  assert(os.execute("mkdir -p " .. quote(dir)))
  serve("pgbouncer", dir, "ready-pgbouncer", quote(host) .. " " .. size)
  return dir .. "/bouncer"
end

--- A libpq URI of such a pooler.
function e2e.pooled_url(database, socket)
  return ("postgresql:///%s?host=%s&port=6432&user=postgres"):format(database,
    (socket:gsub("/", "%%2F")))
end

--- A libpq URI; through PgBouncer (transaction mode, pool of 1) when `pooled`.
function e2e.url(database, pooled)
  local socket = e2e.cluster().socket
  if not pooled then
    return ("postgresql:///%s?host=%s&user=postgres"):format(database, (socket:gsub("/", "%%2F")))
  end
  if not cluster.pooler then
    cluster.pooler = e2e.pooler(cluster.dir, socket, 1)
  end
  return e2e.pooled_url(database, cluster.pooler)
end

local Project = {}
Project.__index = Project

-- Each further argument is one query message.
local function psql_argv(url, ...)
  local argv = { e2e.cluster().bin .. "/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url }
  for _, sql in ipairs { ... } do
    argv[#argv + 1] = "-c"
    argv[#argv + 1] = sql
  end
  return argv
end

--- Runs SQL by psql; the output's text. An error of the server is an error here.
function e2e.psql(database, sql)
  serial = serial + 1
  local files = ("%s/psql-%d"):format(e2e.cluster().dir, serial)
  local r = process.run(psql_argv(e2e.url(database), sql), files,
    { cwd = "/", env = { PATH = os.getenv "PATH", PGAPPNAME = "e2e" } })
  os.remove(files .. ".out")
  os.remove(files .. ".err")
  if r.status ~= 0 then
    error(("psql: exit %d: %s\n%s"):format(r.status, r.err, sql), 2)
  end
  return (r.out:gsub("\n$", ""))
end

--- An empty database of the cluster; its name.
function e2e.database()
  serial = serial + 1
  local name = ("e2e_%d"):format(serial)
  e2e.psql("postgres", "create database " .. name)
  return name
end

--- A fresh project directory with migrations/ and, unless opts.database is false,
--- a fresh database as its DATABASE_URL. opts.pooled: through PgBouncer.
function e2e.project(opts)
  opts = opts or {}
  local p = setmetatable({ processes = {}, serial = 0 }, Project)
  p.temp = process.capture "mktemp -d /tmp/neap-e2e-XXXXXX"
  p.dir = p.temp .. "/project"
  p.state = p.temp .. "/state"
  assert(os.execute(("mkdir -p %s %s/home"):format(quote(p.dir .. "/migrations"), quote(p.temp))))
  p.env = {
    PATH = os.getenv "PATH",
    HOME = p.temp .. "/home",
    LANG = "C.UTF-8",
    NEAP_STATE_DIR = p.state,
    ASAN_OPTIONS = os.getenv "ASAN_OPTIONS",
    NEAP_PG_BINDIR = os.getenv "NEAP_PG_BINDIR",
  }
  if opts.database ~= false then
    p.database = opts.database or e2e.database()
    p.url = e2e.url(p.database, opts.pooled)
    p.env.DATABASE_URL = p.url
  end
  open[#open + 1] = p
  return p
end

function Project:path(path)
  return self.dir .. "/" .. path
end

--- Writes a file of the project; makes its directory.
function Project:write(path, text)
  local dir = path:match "^(.*)/[^/]*$"
  if dir then
    assert(os.execute("mkdir -p " .. quote(self:path(dir))))
  end
  process.write(self:path(path), text)
end

function Project:read(path)
  return process.read(self:path(path))
end

function Project:delete(path)
  assert(os.remove(self:path(path)))
end

function Project:rename(from, to)
  assert(os.rename(self:path(from), self:path(to)))
end

--- A SQL migration of three statements.
function Project:write_sql(name, up, verify, down)
  self:write("migrations/" .. name, ("-- why: test\n-- risk: none\n-- locks: none\n"
    .. "-- neap: up\n%s;\n-- neap: verify\n%s;\n-- neap: down\n%s;\n"):format(up,
    verify or "select true", down or "select 1"))
end

--- A Lua migration that makes and drops one table.
function Project:write_table(id, table_name)
  self:write(("migrations/%s_%s.lua"):format(id, table_name), ([=[
return migration {
  summary = "Make %s",
  up = function(db) db:exec "create table %s (id bigint primary key)" end,
  verify = function(_, expect) expect.table "public.%s" end,
  down = function(db) db:exec "drop table %s" end,
}
]=]):format(table_name, table_name, table_name, table_name))
end

local function options(self, opts)
  opts = opts or {}
  self.serial = self.serial + 1
  local env = {}
  for name, value in pairs(self.env) do
    env[name] = value
  end
  for name, value in pairs(opts.env or {}) do
    env[name] = value or nil -- false takes a variable away
  end
  return ("%s/run-%d"):format(self.temp, self.serial), {
    env = env,
    cwd = opts.cwd or self.dir,
    stdin = opts.stdin,
    timeout = opts.timeout or (e2e.sanitized and 120 or 60),
  }
end

local function neap_argv(args, opts)
  local argv = { table.unpack(opts and opts.under or {}) }
  argv[#argv + 1] = e2e.bin
  if type(args) == "string" then
    for word in args:gmatch "%S+" do
      argv[#argv + 1] = word
    end
  else
    table.move(args, 1, #args, #argv + 1, argv)
  end
  return argv
end

--- Runs neap to its end: { status, out, err }; args: "up --to 3" or { "up", "--to", "3" }.
--- opts: env (false removes), cwd, stdin, timeout in seconds, under (a program and its
--- arguments that run neap).
function Project:neap(args, opts)
  local files, run_opts = options(self, opts)
  return process.run(neap_argv(args, opts), files, run_opts)
end

--- The same, which must exit with `status` (0 when nil); the result.
function Project:expect(args, status, opts)
  local r = self:neap(args, opts)
  if r.status ~= (status or 0) then
    error(("neap %s: exit %d, expected %d\nstdout: %s\nstderr: %s"):format(
      type(args) == "table" and table.concat(args, " ") or args, r.status, status or 0, r.out,
      r.err), 2)
  end
  return r
end

--- With --json: the decoded document, and the result.
function Project:json(args, status, opts)
  local argv = neap_argv(args)
  table.remove(argv, 1)
  argv[#argv + 1] = "--json"
  local r = self:expect(argv, status, opts)
  return e2e.decode(r.out), r
end

function e2e.decode(text)
  local value, _, why = dkjson.decode(text, 1, nil)
  if value == nil then
    error("not JSON: " .. tostring(why) .. "\n" .. text, 2)
  end
  return value
end

--- Starts neap in the background: pid, :signal(name), :wait(seconds), :says(text), :stop().
function Project:start(args, opts)
  local files, run_opts = options(self, opts)
  local started = process.start(neap_argv(args, opts), files, run_opts)
  self.processes[#self.processes + 1] = started
  return started
end

--- psql's output for SQL on the project's database.
function Project:query(sql)
  return e2e.psql(self.database, sql)
end

Project.value = Project.query

--- A psql session in the background that runs `sql` and then keeps its transaction
--- open for `seconds` (60): a blocker. :close() ends it.
function Project:session(sql, seconds)
  local files, run_opts = options(self)
  local name = ("%s-session-%d"):format(self.database, self.serial)
  run_opts.env.PGAPPNAME = name
  local argv = psql_argv(e2e.url(self.database), "begin; " .. sql,
    ("select pg_sleep(%g)"):format(seconds or 60))
  local session = process.start(argv, files, run_opts)
  self.processes[#self.processes + 1] = session
  function session.close(this)
    e2e.psql("postgres",
      ("select pg_terminate_backend(pid) from pg_stat_activity where application_name = '%s'")
      :format(name))
    this:wait(10)
  end
  session.name = name
  local asleep = process.await(10, function()
    return e2e.psql("postgres", ("select 1 from pg_stat_activity where application_name = '%s' "
      .. "and query like 'select pg_sleep%%'"):format(name)) == "1"
  end)
  assert(asleep, "the session did not begin: " .. session:err())
  return session
end

--- psql in the background, running `sql` in one message.
function Project:start_psql(sql)
  local files, run_opts = options(self)
  local started = process.start(psql_argv(e2e.url(self.database), sql), files, run_opts)
  self.processes[#self.processes + 1] = started
  return started
end

--- Ends what the tests started; for after_each.
function e2e.clean()
  for _, p in ipairs(open) do
    for _, started in ipairs(p.processes) do
      started:stop()
    end
    os.execute("rm -rf " .. quote(p.temp))
  end
  open = {}
end

return e2e

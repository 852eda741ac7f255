-- SPDX-License-Identifier: MIT
--
-- A PostgreSQL server of a test's own, which may be stopped, killed, started again
-- and followed by a standby. Ended with its project, or when busted ends.
local e2e = require "harness"
local process = e2e.process
local quote = process.quote

local Server = {}
Server.__index = Server

local services = e2e.root .. "/tests/e2e/support/services.sh"

local function place(p, name)
  local dir = ("%s/%s"):format(p.temp, name)
  assert(os.execute(("chmod 0711 %s && mkdir %s && chmod 0711 %s && if [ $(id -u) = 0 ]; then "
    .. "chown postgres %s; fi"):format(quote(p.temp), quote(dir), quote(dir), quote(dir))))
  return setmetatable({ project = p, dir = dir }, Server)
end

local server = {}

--- A fresh server, started. The options after `p` are lines of postgresql.conf.
function server.new(p, name, ...)
  e2e.cluster() -- makes the template
  local s = place(p, name)
  assert(os.execute(("tar -xf %s -C %s"):format(quote(e2e.build .. "/pg-template.tar"),
    quote(s.dir))))
  s:configure("max_connections = 40", "shared_buffers = 16MB", "wal_level = replica", ...)
  s:start()
  return s
end

--- A streaming standby of it, started.
function Server:standby(name)
  local s = place(self.project, name)
  local errors = self.project.temp .. "/basebackup.err"
  local as_server = "setpriv --reuid=postgres --regid=postgres --init-groups"
  assert(os.execute(("cd / && %s %s/pg_basebackup -h %s -U postgres -D %s -R -c fast >%s 2>&1")
    :format(as_server, e2e.cluster().bin, quote(self.dir), quote(s.dir .. "/data"),
    quote(errors))), process.read(errors))
  s:start()
  return s
end

function Server:configure(...)
  local file = assert(io.open(self.dir .. "/data/postgresql.conf", "a"))
  for _, line in ipairs { ... } do
    file:write(line, "\n")
  end
  file:close()
end

function Server:start()
  local argv = { services, "server", self.dir, process.own_pid() }
  self.starts = (self.starts or 0) + 1 -- each has its own files: it is known by its end
  self.process = process.start(argv, ("%s-start-%d"):format(self.dir, self.starts), { cwd = "/",
    env = { PATH = os.getenv "PATH", NEAP_PG_BINDIR = os.getenv "NEAP_PG_BINDIR" } })
  self.project.processes[#self.project.processes + 1] = self.process
  local ready = process.await(60, function()
    return (process.read(self.dir .. "/data/postmaster.pid") or ""):find "ready"
  end)
  assert(ready, process.read(self.dir .. "/log"))
end

--- how: "INT" (fast) or "QUIT" (immediate: a crash).
function Server:stop(how)
  local pid = (process.read(self.dir .. "/data/postmaster.pid") or ""):match "^(%d+)"
  if pid then
    assert(os.execute(("kill -s %s %s"):format(how, pid)))
  end
  self.process:wait(60)
end

function Server:url(database)
  return ("postgresql:///%s?host=%s&user=postgres"):format(database or "postgres",
    (self.dir:gsub("/", "%%2F")))
end

--- psql's output; nil and its words when it failed.
function Server:query(sql)
  local argv = { e2e.cluster().bin .. "/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self:url(),
    "-c", sql }
  local r = process.run(argv, self.dir .. "-psql", { cwd = "/", env = { PGAPPNAME = "e2e" } })
  if r.status ~= 0 then
    return nil, r.err
  end
  return (r.out:gsub("\n$", ""))
end

return server

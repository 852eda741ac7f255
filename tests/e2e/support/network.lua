-- SPDX-License-Identifier: MIT
--
-- A bad network between neap and the cluster: proxy.c, compiled once per busted
-- process, one proxy for one break.
local e2e = require "harness"
local process = e2e.process
local quote = process.quote

local network = {}
local program, serial = nil, 0

local function proxy_program()
  if not program then
    program = e2e.cluster().dir .. "/proxy"
    assert(os.execute(("%s -O1 -o %s %s"):format(os.getenv "CC" or "cc", quote(program),
      quote(e2e.root .. "/tests/e2e/support/proxy.c"))))
  end
  return program
end

--- Starts a proxy for the project's database: `how`, `connection`, `at` as proxy.c
--- says. The process, with `url` and `env` (DATABASE_URL through it) besides, and the
--- `dir` of its socket. It leads to `target` (a socket), or to the server.
function network.open(p, how, connection, at, target)
  serial = serial + 1
  local dir = ("%s/network-%d"):format(p.temp, serial)
  assert(os.execute("mkdir -p " .. quote(dir)))
  target = target or e2e.cluster().socket .. "/.s.PGSQL.5432"
  local argv = { proxy_program(), dir .. "/.s.PGSQL.5432", target, how,
    tostring(connection or 0), tostring(at or 0) }
  local proxy = process.start(argv, dir .. "/proxy", { cwd = "/", env = {} })
  p.processes[#p.processes + 1] = proxy
  assert(proxy:says("ready", 10), proxy:err())
  proxy.dir = dir
  proxy.url = ("postgresql:///%s?host=%s&user=postgres"):format(p.database,
    (dir:gsub("/", "%%2F")))
  proxy.env = { DATABASE_URL = proxy.url }
  return proxy
end

return network

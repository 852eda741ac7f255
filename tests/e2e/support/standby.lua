-- SPDX-License-Identifier: MIT
--
-- A standby of the cluster, which can be promoted: a physical copy.
local e2e = require "harness"

local process = e2e.process
local quote = process.quote

--- A streaming copy of the tests' own server, and its URL for the project's database.
--- Its process is the postmaster.
return function(p)
  local cluster = e2e.cluster()
  local dir = p.temp .. "/standby"
  local quoted = quote(dir)
  local as = {}
  if process.capture "id -u" == "0" then
    as = { "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups" }
    assert(os.execute("chmod 711 " .. quote(p.temp)))
  end
  assert(os.execute(("mkdir -m 700 %s && { [ $(id -u) != 0 ] || chown postgres %s; }"):format(
    quoted, quoted)))
  local env = { PATH = os.getenv "PATH", LANG = "C.UTF-8" }
  local function run(starts, argv)
    local full = table.move(as, 1, #as, 1, {})
    table.move(argv, 1, #argv, #full + 1, full)
    return starts(full, p.temp .. "/standby-" .. argv[1]:match "[^/]*$",
      { env = env, cwd = "/" })
  end
  local r = run(process.run, { cluster.bin .. "/pg_basebackup", "-D", dir .. "/data", "-h",
    cluster.socket, "-U", "postgres", "-R", "-c", "fast", "--no-sync" })
  assert(r.status == 0, r.err)
  local server = run(process.start, { cluster.bin .. "/postgres", "-D", dir .. "/data", "-c",
    "unix_socket_directories=" .. dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c",
    "max_connections=200", "-c", "max_prepared_transactions=10", "-c", "shared_buffers=16MB" })
  p.processes[#p.processes + 1] = server
  local url = ("postgresql:///%s?host=%s&user=postgres"):format(p.database,
    (dir:gsub("/", "%%2F")))
  assert(process.await(20, function()
    return p:neap("history", { env = { DATABASE_URL = url } }).status == 0
  end), "no standby")
  return server, url
end

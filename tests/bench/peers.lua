-- SPDX-License-Identifier: MIT
--
-- Other tools at the same work, for those that are found on PATH: dbmate, sqitch and
-- knex (which finds `pg` by NODE_PATH). Each gets the same statements, in its own
-- kind of files, on databases of its own.
local e2e = require "harness"
local process = e2e.process

local peers = {}

local function url_parts(url)
  return url:match "^postgresql:///([^?]+)%?host=([^&]+)", (url:match "host=([^&]+)"
    :gsub("%%2F", "/"))
end

local function environment(url, more)
  local database, host = url_parts(url)
  local env = { PATH = os.getenv "PATH", HOME = os.getenv "HOME", PGHOST = host,
    PGUSER = "postgres", PGDATABASE = database, NODE_PATH = os.getenv "NODE_PATH" }
  for name, value in pairs(more or {}) do
    env[name] = value
  end
  return env
end

-- write: the files of `list` below `dir` of the project. argv: what applies them.
local tools = {
  dbmate = {
    write = function(p, dir, list)
      for _, one in ipairs(list) do
        p:write(("%s/%s_small.sql"):format(dir, one.id), "-- migrate:up\n"
          .. table.concat(one.up, ";\n") .. ";\n-- migrate:down\n"
          .. table.concat(one.down, ";\n") .. ";\n")
      end
    end,
    argv = function(url, path)
      local database, host = url_parts(url)
      local where = host:find "^/" and ("/%s?socket=%s&"):format(database, host)
        or ("%s/%s?"):format(host, database)
      return { "dbmate", "--url", "postgres://postgres@" .. where .. "sslmode=disable",
        "--migrations-dir", path, "--no-dump-schema", "up" }
    end,
  },
  sqitch = {
    write = function(p, dir, list)
      local plan = { "%syntax-version=1.0.0\n%project=bench\n\n" }
      for _, one in ipairs(list) do
        plan[#plan + 1] = ("small%s 2026-01-01T00:00:00Z bench <bench@localhost> # small\n")
          :format(one.id)
        p:write(("%s/deploy/small%s.sql"):format(dir, one.id), "BEGIN;\n"
          .. table.concat(one.up, ";\n") .. ";\nCOMMIT;\n")
      end
      p:write(dir .. "/sqitch.plan", table.concat(plan))
      p:write(dir .. "/sqitch.conf", "[core]\n\tengine = pg\n[user]\n\tname = bench\n"
        .. "\temail = bench@localhost\n")
    end,
    argv = function(url)
      return { "sqitch", "--quiet", "deploy", "db:pg:" .. url_parts(url) }
    end,
  },
  knex = {
    write = function(p, dir, list)
      for _, one in ipairs(list) do
        local calls = {}
        for i, sql in ipairs(one.up) do
          calls[i] = ("  await knex.raw(%q);\n"):format(sql)
        end
        p:write(("%s/knex/%s_small.js"):format(dir, one.id), "exports.up = async (knex) => {\n"
          .. table.concat(calls) .. "};\nexports.down = async () => {};\n")
      end
      p:write(dir .. "/knexfile.js", "module.exports = { client: 'pg', connection: {"
        .. " host: process.env.PGHOST, user: 'postgres', database: process.env.PGDATABASE },"
        .. " migrations: { directory: './knex' } };\n")
    end,
    argv = function()
      return { "knex", "migrate:latest" }
    end,
  },
}
local order = { "dbmate", "sqitch", "knex" }

local function is_found(name)
  return os.execute(("command -v %s >/dev/null 2>&1"):format(name)) == true
end

--- Those that are found, in order.
function peers.names()
  local found = {}
  for _, name in ipairs(order) do
    if is_found(name) then
      found[#found + 1] = name
    end
  end
  return found
end

local function maker(p, name, dir)
  return function(url)
    local path = p:path(dir)
    return { argv = tools[name].argv(url, path), cwd = path, env = environment(url) }
  end
end

--- Adds a runner for each that is found. kind: "apply" on a fresh database, "one" with
--- the first of `all` applied before, "nothing" on a database where everything is.
function peers.add(runners, kind, all, p, make, through)
  for _, name in ipairs(peers.names()) do
    local dir = "peer-" .. name
    tools[name].write(p, dir, all)
    local command = maker(p, name, dir)
    if kind == "apply" then
      runners[#runners + 1] = make(name, through, command)
    elseif kind == "one" then
      tools[name].write(p, dir .. "-first", { all[1] })
      runners[#runners + 1] = make(name, through, command, maker(p, name, dir .. "-first"))
    else
      local database = e2e.database()
      local prepared = command(e2e.url(database))
      local r = process.run(prepared.argv, p.temp .. "/" .. name, { env = prepared.env,
        cwd = prepared.cwd, timeout = 900 })
      assert(r.status == 0, name .. ": " .. r.err)
      runners[#runners + 1] = make(name, database, command)
    end
  end
end

return peers

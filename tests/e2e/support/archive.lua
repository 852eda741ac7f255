-- SPDX-License-Identifier: MIT
--
-- A server of a test's own (server.lua) whose WAL pgBackRest archives into a repository
-- beside its data, with the configuration of both.
local e2e = require "harness"
local server = require "server"

local process = e2e.process
local quote = process.quote

local archive = {}

--- The server, of `p`, and more lines of its postgresql.conf; `command` is pgBackRest with
--- its configuration, a list, and `stanza` its stanza, "shop".
function archive.new(p, ...)
  local dir = p.temp .. "/archived"
  local s = server.new(p, "archived", "archive_mode = on", "archive_timeout = 0", "fsync = off",
    ("archive_command = 'pgbackrest --config=%s/pgbackrest.conf --stanza=shop archive-push %%p'")
      :format(dir), ...)
  process.write(dir .. "/pgbackrest.conf", ([[
[global]
repo1-path=%s/repo
repo1-retention-full=9
repo1-bundle=y
compress-type=none
log-level-file=off
lock-path=%s/lock
start-fast=y
archive-timeout=2
[shop]
pg1-path=%s/data
pg1-socket-path=%s
]]):format(dir, dir, dir, dir))
  s.stanza = "shop"
  s.command = { "pgbackrest", "--config=" .. dir .. "/pgbackrest.conf" }
  if process.capture "id -u" == "0" then
    s.command = { "runuser", "-u", "postgres", "--", table.unpack(s.command) }
  end
  archive.run(s, "--stanza=shop --log-level-console=off stanza-create")
  return s
end

--- Runs pgBackRest on it; what it said, which must be no error.
function archive.run(s, words)
  local line = ("cd / && %s %s 2>&1; echo rc=$?"):format(table.concat(s.command, " "), words)
  local said, status = process.capture(line):match "^(.-)\n?rc=(%d+)$"
  assert(status == "0", said)
  return said
end

--- neap.lua with the environment production, whose server it is. opts: user (the role),
--- url, rules (more keys of the environment), command, stanza, more (keys of `archive`).
function archive.configure(p, s, opts)
  opts = opts or {}
  local words = {}
  for _, word in ipairs(opts.command or s.command) do
    words[#words + 1] = ("%q"):format(word)
  end
  local url = (opts.url or s:url()):gsub("user=postgres", "user=" .. (opts.user or "postgres"))
  p:write("neap.lua", ([[return { default = "production", environments = { production = {
    url = %q, %s archive = { tool = "pgbackrest", stanza = %q, command = { %s }, %s } } } }]])
    :format(url, opts.rules or "", opts.stanza or s.stanza, table.concat(words, ", "),
    opts.more or ""))
  p.env.DATABASE_URL = nil
end

--- The path of a file of the repository whose name has `part`.
function archive.file(s, part)
  return process.capture(("find %s -path %s | sort | head -n 1"):format(quote(s.dir .. "/repo"),
    quote("*" .. part .. "*")))
end

return archive

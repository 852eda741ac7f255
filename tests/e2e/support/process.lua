-- SPDX-License-Identifier: MIT
--
-- Runs programs for the tests: a clean environment, output in files, a time
-- limit, and processes that are known by their pid alone.
local system = require "system"

local process = {}

function process.quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local quote = process.quote

function process.read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read "a"
  file:close()
  return text
end

function process.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

function process.own_pid()
  return assert(process.read "/proc/self/stat"):match "^(%d+)"
end

--- A line of output of a shell command; for the harness itself.
function process.capture(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read "a"
  pipe:close()
  return (text:gsub("\n$", ""))
end

--- Polls until `done` gives a true value, which it returns; nil after `limit` seconds.
function process.await(limit, done)
  local deadline = system.monotime() + limit
  repeat
    local value = done()
    if value then
      return value
    end
    system.sleep(0.02)
  until system.monotime() > deadline
  return nil
end

-- "env -i A='1' … 'program' 'argument' …"
local function command_line(argv, env)
  local words = { "env", "-i", "--default-signal=INT,QUIT,PIPE" }
  local names = {}
  for name in pairs(env) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    words[#words + 1] = quote(name .. "=" .. env[name])
  end
  for _, word in ipairs(argv) do
    words[#words + 1] = quote(word)
  end
  return table.concat(words, " ")
end

local function redirect(files, opts)
  local stdin = "/dev/null"
  if opts.stdin then
    stdin = files .. ".in"
    process.write(stdin, opts.stdin)
  end
  return (" <%s >%s 2>%s"):format(quote(stdin), quote(files .. ".out"), quote(files .. ".err"))
end

local function result(files, status)
  return {
    status = status,
    out = process.read(files .. ".out") or "",
    err = process.read(files .. ".err") or "",
  }
end

--- Runs to the end. `files` is a path prefix for its output.
--- opts: env, cwd, stdin, timeout (seconds, default 60; status 124 with KILL after 5 more).
function process.run(argv, files, opts)
  local limited = { "timeout", "-k", "5", tostring(opts.timeout or 60), table.unpack(argv) }
  local line = ("cd %s && exec %s%s"):format(quote(opts.cwd), command_line(limited, opts.env),
    redirect(files, opts))
  local _, kind, status = os.execute(line)
  return result(files, kind == "signal" and 128 + status or status)
end

local Process = {}
Process.__index = Process

--- Starts it in the background; its pid is the program's own.
function process.start(argv, files, opts)
  os.remove(files .. ".status")
  os.remove(files .. ".pid") -- of an earlier one of that name
  local line = ("cd %s && { %s%s & echo $! >%s; wait $!; echo $? >%s; } 2>/dev/null &"):format(
    quote(opts.cwd), command_line(argv, opts.env), redirect(files, opts), quote(files .. ".pid"),
    quote(files .. ".status.half") .. " && mv " .. quote(files .. ".status.half") .. " "
      .. quote(files .. ".status"))
  assert(os.execute(line))
  local pid = process.await(10, function()
    return (process.read(files .. ".pid") or ""):match "^(%d+)\n"
  end)
  local started = setmetatable({ pid = assert(pid, "no pid"), files = files }, Process)
  -- Until then it is the shell or env, where INT is still ignored.
  local name = argv[1]:match("[^/]*$"):sub(1, 15)
  process.await(5, function()
    return (process.read("/proc/" .. pid .. "/comm") or "") == name .. "\n"
      or not started:running()
  end)
  return started
end

function Process:running()
  return process.read(self.files .. ".status") == nil
end

--- name: "INT", "TERM", "KILL", "STOP", "CONT".
function Process:signal(name)
  if self:running() then
    os.execute(("kill -s %s %s 2>/dev/null"):format(name, self.pid))
  end
end

--- Waits for its end: {status, out, err}; an error after `limit` seconds (30).
function Process:wait(limit)
  local status = process.await(limit or 30, function()
    return (process.read(self.files .. ".status") or ""):match "^(%d+)"
  end)
  if not status then
    self:signal "KILL"
    error(("process %s did not end; stderr: %s"):format(self.pid, self:err()), 2)
  end
  return result(self.files, math.tointeger(tonumber(status)))
end

--- What it wrote so far.
function Process:out()
  return process.read(self.files .. ".out") or ""
end

function Process:err()
  return process.read(self.files .. ".err") or ""
end

--- Waits until stdout or stderr contains `text`; true, or false after `limit` seconds (10).
function Process:says(text, limit)
  return process.await(limit or 10, function()
    return self:out():find(text, 1, true) or self:err():find(text, 1, true)
      or (not self:running() and "ended")
  end) ~= nil and (self:out() .. self:err()):find(text, 1, true) ~= nil
end

function Process:stop()
  if self:running() then
    self:signal "KILL"
    self:wait(10)
  end
end

return process

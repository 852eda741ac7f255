-- SPDX-License-Identifier: MIT
--
-- errors_spec: what the script itself does wrong. Line 4 is what `up` does, line 5
-- what `verify` does.
local file = "migrations/0001_t.lua"
local line = { up = file .. ":4", verify = file .. ":5" }

local function script(up, verify, head)
  return ([=[
%s
return migration { summary = "t",
  up = function(db)
    %s end,
  verify = function(db, expect) %s end,
  down = function(db) end,
}]=]):format(head or "local kept", up or 'db:exec "create table t (id int)"', verify or "")
end

local function up(body, verify, opts)
  return function(p)
    p:write(file, script(body, verify))
    return p:neap(opts or "up --json")
  end
end

local function whole(text, path)
  return function(p)
    p:write(path or file, text)
    return p:neap "up --json"
  end
end

return {
  ["verify.failed"] = {
    { run = up(nil, "return false"), at = file .. ":5", says = "verify returned false",
      hint = "neap up" },
    { run = up(nil, 'expect.table "public.nowhere"'), at = line.verify, says = "nowhere",
      hint = "neap up" },
    { run = whole("-- neap: up\ncreate table t (id int);\n-- neap: verify\n"
      .. "select count(*) = 1 from t;\n-- neap: down\ndrop table t;\n", "migrations/0001_t.sql"),
      at = "migrations/0001_t.sql:4", says = "verify", hint = "neap up" },
  },
  ["expect.failed"] = {
    { run = up('require "neap.expect"(db).table "public.nowhere"'), at = line.up, says = "nowhere",
      hint = "neap up" },
  },
  ["gate.refused"] = {
    { run = up "db:connect()", at = line.up, says = "db:connect is refused in a transaction",
      hint = "neap up" },
  },
  ["handle.closed"] = {
    { run = whole [[
return migration { summary = "t", transaction = false, steps = { { name = "one",
  up = function(db)
    local other = db:connect()
    other:close()
    other:exec "create table t (id int)" end,
  verify = unverified "a test", down = function() end } } }]], at = file .. ":5",
      says = "the connection", hint = "neap up" },
  },
  ["script.syntax"] = {
    { run = whole "return migration {\n  summary = = 1\n}", at = file .. ":2",
      says = "unexpected symbol", hint = "neap check" },
    { run = whole("-- neap: up\nselect 'a;\n", "migrations/0001_t.sql"),
      at = "migrations/0001_t.sql:2", says = "has no end", hint = "neap check" },
  },
  ["script.contract"] = {
    { run = whole 'return migration { sumary = "x" }', at = file .. ":1",
      says = { "no key \"sumary\"", "summary" }, hint = "neap help migrations" },
    { run = whole "return 7", at = file .. ":1", says = "must return migration { … }",
      hint = "neap help migrations" },
    { run = whole("-- neap: nonsense\n", "migrations/0001_t.sql"),
      at = "migrations/0001_t.sql:1", says = "nonsense", hint = "neap help migrations" },
  },
  ["script.argument"] = {
    { run = up "db:ident(nil)", at = line.up, says = "an identifier must be a string",
      hint = "neap up" },
    { run = up 'neap.duration "30"', at = line.up, says = "30", hint = "30s" },
  },
  ["script.error"] = {
    { run = up 'error "no users to move"', at = line.up, says = "no users to move",
      hint = "neap up" },
    { run = up "local x = nothing", at = line.up, says = 'undefined variable "nothing"',
      hint = "neap up" },
  },
  ["script.memory"] = {
    { run = up("kept = {} for i = 1, 1e9 do kept[i] = i end", nil, "up --memory 16MB --json"),
      at = line.up, says = "16 MB", hint = "--memory" },
    { run = up('kept = ("x"):rep(1e9)', nil, "up --memory 16MB --json"), at = line.up,
      says = "string.rep", hint = "--memory" },
  },
  ["script.require"] = {
    { run = whole 'local x = require "names"\nreturn x', at = file .. ":1",
      says = 'module "names"', hint = "lib/" },
  },
}

-- SPDX-License-Identifier: MIT
--
-- What a script can reach in the built binary, and what becomes of its mistakes.
-- Each script makes a table first: whatever happens, that table may not stay.
local e2e = require "harness"

local function script(up)
  return ([=[
return migration {
  summary = "a test",
  up = function(db)
    db:exec "create table left_over (id int)"
    %s
  end,
  verify = unverified "a test",
  down = irreversible "a test",
}
]=]):format(up)
end

local UP_LINE = 5 -- of what `script` is given

local function project(up, files)
  local p = e2e.project()
  p:write("migrations/0001_x.lua", script(up))
  for path, text in pairs(files or {}) do
    p:write(path, text)
  end
  return p
end

local function check_nothing_stays(p)
  assert.equal("f", p:value "select to_regclass('public.left_over') is not null")
  assert.equal("0", p:value "select coalesce((select count(*) from neap.history), 0)")
end

--- The error document of an `up` that must fail with code; nothing of it may stay.
local function refused(up, code, more)
  local p = project(up, more and more.files)
  local args = { "up" }
  table.move(more and more.args or {}, 1, #(more and more.args or {}), 2, args)
  local document, r = p:json(args, more and more.status or 1)
  assert.equal(code, document.error.code, r.err)
  check_nothing_stays(p)
  return document.error, r
end

local function says(text, part)
  assert.truthy(text:find(part, 1, true), ("%q is not in: %s"):format(part, text))
end

local WALK = [[
    local names, seen = {}, {}
    local function walk(value, prefix)
      if seen[value] then return end
      seen[value] = true
      for key, below in pairs(value) do
        names[#names + 1] = prefix .. tostring(key)
        if type(below) == "table" then walk(below, prefix .. tostring(key) .. ".") end
      end
      assert(next(value) == nil, prefix .. " holds more than its pairs")
    end
    walk(_ENV, "")
    table.sort(names)
    for _, name in ipairs(names) do neap.log("name " .. name) end
]]

describe("the sandbox", function()
  after_each(e2e.clean)

  it("has exactly the globals of the list", function()
    local p = project(WALK)
    local r = p:expect { "up" }
    local names = {}
    for name in r.err:gmatch "name ([^\n]+)" do
      names[#names + 1] = name
    end
    local golden = e2e.process.read(e2e.root .. "/tests/spec/globals.txt")
    assert.equal(golden, table.concat(names, "\n") .. "\n")
  end)

  it("has nothing that reaches a file, a process or the host", function()
    for _, name in ipairs { "io", "os", "debug", "package", "load", "loadstring", "loadfile",
      "dofile", "collectgarbage", "_G" } do
      local p = e2e.project()
      p:write("migrations/0001_x.lua", ("return { %s }"):format(name))
      local r = p:neap { "up" }
      assert.equal(1, r.status, name .. r.out .. r.err)
      says(r.err, ('undefined variable "%s"'):format(name))
      e2e.clean()
    end
    local err = refused("string.dump(function() end)", "script.error")
    assert.equal(UP_LINE, err.line)
  end)

  it("names the nearest of an undefined global", function()
    says(refused("tabel.insert({}, 1)", "script.error").message,
      'undefined variable "tabel"; did you mean "table"?')
  end)

  it("refuses a new global, also by rawset and by _ENV", function()
    says(refused("oops = 1", "script.error").message, 'assignment to the global "oops"')
    refused("_ENV.oops = 1", "script.error")
    refused('rawset(_ENV, "oops", 1)', "script.argument")
  end)

  it("has libraries and a string metatable that nobody changes", function()
    refused("string.rep = nil", "script.argument")
    refused('rawset(string, "rep", nil)', "script.argument")
    refused("setmetatable(table, {})", "script.error")
    refused('getmetatable("").__index = {}', "script.error")
    refused("neap.null = 1", "script.argument")
    refused("setmetatable({}, { __gc = function() end })", "script.argument")
  end)

  it("is a new one for each migration", function()
    local p = e2e.project()
    p:write("lib/shared.lua", "return { count = 0 }")
    for id = 1, 2 do
      p:write(("migrations/000%d_x.lua"):format(id), script(([[
        db:exec "alter table left_over rename to kept_%d"
        local shared = require "shared"
        shared.count = shared.count + 1
        assert(shared.count == 1, "the module is another migration's")]]):format(id)))
    end
    p:expect { "up" }
    assert.equal("2", p:value "select count(*) from neap.history")
  end)
end)

describe("the memory cap", function()
  after_each(e2e.clean)
  local cap = { args = { "--memory", "16MB" } }

  it("ends a table that grows, at the size that was asked for", function()
    local err = refused('local t = {} for i = 1, 1e9 do t[i] = i .. "" end', "script.memory", cap)
    says(err.message, "16 MB")
    assert.equal(UP_LINE, err.line)
  end)

  it("ends a string that grows and a string.rep", function()
    refused('local s = "x" while true do s = s .. s end', "script.memory", cap)
    refused('return ("x"):rep(1 << 30)', "script.memory", cap)
    refused('return ("x"):rep(1 << 20, ("y"):rep(1 << 10))', "script.memory", cap)
  end)

  it("counts results, and says so instead of a cancelled statement", function()
    local err = refused(
      'db:query "select repeat(md5(i::text), 100) from generate_series(1, 100000) i"', "db.rows",
      cap)
    says(err.hint, "db:rows")
    assert.equal(UP_LINE, err.line)
  end)

  it("streams what would not fit", function()
    local p = project [[
    local count = 0
    for row in db:rows "select repeat(md5(i::text), 100) as x from generate_series(1, 10000) i" do
      count = count + #row.x
    end
    assert(count == 32000000, count)]]
    p:expect { "up", "--memory", "16MB" }
    assert.equal("1", p:value "select count(*) from neap.history")
  end)
end)

describe("the deadline", function()
  after_each(e2e.clean)
  local short = { args = { "--timeout", "300ms" }, status = 124 }

  for what, code in pairs {
    ["a loop"] = "while true do end",
    ["a pcall in a loop"] = "while true do pcall(function() while true do end end) end",
    ["a coroutine"] = "pcall(coroutine.wrap(function() while true do end end))",
    ["a comparison in a sort"] = "table.sort({ 2, 1 }, function() while true do end end)",
    ["a pattern that never matches"] = 'local _ = ("a"):rep(200000):find ".-.-.-.-b"',
    ["a __tostring"] =
      "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
    ["a handler of xpcall"] = "xpcall(error, function() while true do end end)",
    ["a swallowed wait"] =
      'pcall(db.query, db, "select pg_sleep(60)") db:exec "create table late ()"',
  } do
    it("ends " .. what, function()
      assert.equal("migrations/0001_x.lua", refused(code, "run.deadline", short).file)
    end)
  end

  it("is not needed where Lua itself gives up", function()
    refused("local function f() return f() + 1 end f()", "script.error")
    refused("local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) "
      .. "print(t[1])", "script.error")
    refused("print(table.unpack({}, 1, 1e8))", "script.error")
  end)
end)

describe("an error", function()
  after_each(e2e.clean)

  it("may be nil, a table, a number, a function", function()
    for value, word in pairs { ["nil"] = "a nil value", ["{}"] = "a table value", ["42"] = "42",
      ["print"] = "a function value" } do
      says(refused(("error(%s)"):format(value), "script.error").message, word)
    end
    assert.equal("mine", refused('error { message = "mine" }', "script.error").message)
  end)

  it("may have a metatable that means harm", function()
    refused('error(setmetatable({}, { __tostring = function() error "again" end }))',
      "script.error")
    refused("error(setmetatable({}, { __tostring = function() return {} end }))", "script.error")
    refused('error(setmetatable({}, { __name = ("x"):rep(1 << 20) }))', "script.error")
    refused("error(setmetatable({}, { __index = function() error 'no' end }))", "script.error")
    refused("error(setmetatable({}, { __tostring = function() while true do end end }))",
      "run.deadline", { args = { "--timeout", "1s" }, status = 124 })
  end)

  it("may be 10 MB long, and is cut", function()
    local _, r = refused('error(("x"):rep(10000000))', "script.error")
    assert.truthy(#r.err < 40000, #r.err)
    assert.truthy(#r.out < 60000, #r.out)
  end)

  it("is shown past a NUL, and cannot paint the terminal", function()
    local err, r = refused([[error("before\0after\27[31m")]], "script.error")
    says(err.message, "before")
    says(err.message, "after")
    assert.is_nil(r.err:find("\27", 1, true))
  end)

  it("has a traceback of script lines only", function()
    local err = refused([[local function outer() require("deep").fail(db) end
    outer()]], "db.query", { files = { ["lib/deep.lua"] = [[
local deep = {}
function deep.fail(db)
  db:query "select * from nowhere"
end
return deep
]] } })
    assert.equal("lib/deep.lua", err.file)
    assert.equal(3, err.line)
    local lines = 0
    for line in err.traceback:gmatch "[^\n]+" do
      lines = lines + 1
      local file = line:match "^%s*([^:]+):%d+:"
      assert.truthy(file == "lib/deep.lua" or file == "migrations/0001_x.lua", line)
    end
    assert.truthy(lines >= 3, err.traceback)
  end)

  it("shows the SQL with a caret under the place", function()
    local p = project "db:exec [[\nselect 1,\n  nothing_like_it\n  from left_over]]"
    local r = p:neap { "up" }
    assert.equal(1, r.status)
    local column = r.err:match "\n(  line 2: +)nothing_like_it"
    assert.truthy(column, r.err)
    says(r.err, "\n" .. (" "):rep(#column) .. "^")
    says(r.err, "SQLSTATE 42703")
    says(r.err, "at migrations/0001_x.lua:" .. UP_LINE)
    check_nothing_stays(p)
  end)

  it("of a NUL byte in SQL or text is found before it is sent", function()
    refused([[db:exec("select 1 \0 as x")]], "script.argument")
    says(refused([[db:exec("select $1::text", "a\0b")]], "db.argument").message, "$1")
  end)
end)

describe("a script", function()
  after_each(e2e.clean)

  local function fails(text, part, files)
    local p = e2e.project()
    p:write("migrations/0001_x.lua", text)
    for path, content in pairs(files or {}) do
      p:write(path, content)
    end
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.out .. r.err)
    says(r.err, part)
    says(r.err, "migrations/0001_x.lua:")
  end

  it("is never bytecode, nor is a module", function()
    local code = string.dump(load "return 1")
    fails(code, "bytecode")
    local p = project('require "code"', { ["lib/code.lua"] = code })
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.err)
    says(r.err, "bytecode")
  end)

  it("has only the keys there are, and all it needs", function()
    fails('return migration { sumary = "x" }', 'no key "sumary"; did you mean "summary"?')
    fails('return migration { summary = "x", up = print, verify = unverified "x" }',
      "down is missing")
    fails('return migration { summary = "x", up = 1, verify = print, down = print }', "up ")
    fails('return migration { summary = "x", up = print, verify = unverified "", down = print }',
      "unverified")
    fails("return 42", "must return migration")
    fails("return migration {\n up = function(", "expected near <eof>")
  end)

  it("keeps no handle after the function it was given to", function()
    local function keeps(use)
      local p = e2e.project()
      p:write("lib/kept.lua", "return {}")
      p:write("migrations/0001_x.lua", ([[
local kept = require "kept"
local here
return migration {
  summary = "x",
  up = function(db)
    here, kept.db, kept.rows = db, db, db:rows "select generate_series(1, 9) as i"
    db:exec "create table left_over (id int)"
  end,
  verify = function() %s end,
  down = irreversible "x",
}]]):format(use))
      local r = p:neap { "up" }
      assert.equal(8, r.status, use .. r.out .. r.err)
      says(r.err, "has ended")
      check_nothing_stays(p)
    end
    keeps 'here:exec "drop table left_over"'
    keeps 'kept.db:value "select 1"'
    keeps "for _ in kept.rows do end"
  end)
end)

describe("require", function()
  after_each(e2e.clean)

  local function with(name, prepare)
    local p = project(('neap.log("got " .. tostring(require(%q)))'):format(name))
    if prepare then
      assert(os.execute(("cd %s && mkdir -p lib && %s"):format(e2e.process.quote(p.dir), prepare)))
    end
    return p:neap { "up" }
  end

  it("finds modules of lib, of directories and of the stdlib", function()
    says(with("one", "echo 'return 7' >lib/one.lua").err, "got 7")
    says(with("a.b", "mkdir lib/a; echo 'return 8' >lib/a/b.lua").err, "got 8")
    says(with("a", "mkdir lib/a; echo 'return 9' >lib/a/init.lua").err, "got 9")
    says(with("here", "echo 'return 6' >lib/real.lua; ln -s real.lua lib/here.lua").err, "got 6")
  end)

  it("stays in the project", function()
    local away = "echo 'return 1' >../away.lua; "
    for name, prepare in pairs {
      ["../away"] = away,
      ["...away"] = away,
      ["/etc/hostname"] = "true",
      ["a/../../away"] = away .. "mkdir lib/a",
      ["link"] = away .. "ln -s ../../away.lua lib/link.lua",
      ["dir.away"] = away .. "ln -s ../.. lib/dir",
      ["nothing"] = "true",
      ["neap.nothing"] = "true",
    } do
      local r = with(name, prepare)
      assert.equal(1, r.status, name .. r.out .. r.err)
      says(r.err, "script.require")
      says(r.err, "migrations/0001_x.lua:" .. UP_LINE)
    end
  end)
end)

describe("a name in migrations/", function()
  after_each(e2e.clean)

  local function found(name, status, part, content)
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write("migrations/" .. name, content or "-- neap: up\nselect 1;\n")
    for command, expected in pairs { up = status, status = status, check = 10 } do
      local r = p:neap { command }
      assert.equal(expected, r.status, command .. r.out .. r.err)
      says(r.out .. r.err, "migrations/" .. name)
      says(r.out .. r.err, part)
    end
    assert.equal("f", p:value "select to_regclass('public.a') is not null")
  end

  it("that is no migration's is told", function()
    found("0002-bad.lua", 2, "project.name")
    found("0002_bad.txt", 2, "project.name")
    found("bad.sql", 2, "project.name")
    found("0002_big.sql", 2, "over 1 MB", "-- " .. ("x"):rep(1 << 20))
  end)

  it("twice is told with both", function()
    found("0001_b.sql", 4, "migrations/0001_a.lua")
    found("00001_b.sql", 4, "migrations/0001_a.lua")
  end)

  it("of an editor's backup is told, hidden ones are passed over", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write("migrations/.0001_a.lua.swp", "x")
    p:write("migrations/.DS_Store", "x")
    p:expect { "up" }
    p:write("migrations/0001_a.lua~", "x")
    says(p:expect({ "up" }, 2).err, "migrations/0001_a.lua~: a backup file")
  end)
end)

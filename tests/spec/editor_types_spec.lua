-- SPDX-License-Identifier: MIT
--
-- The editor types against what is there, both ways: the sandbox's globals, the keys
-- of every table that a script or neap.lua gives, the fields of an error. Methods and
-- functions of the classes: tests/unit/pg_lua/editor_types.lua.
local e2e = require "harness"

local read = function(path)
  return assert(e2e.process.read(path), path)
end

local types = {}
for _, name in ipairs { "neap", "pg", "expect", "config" } do
  types[name] = read("stdlib/neap/_meta/" .. name .. ".lua")
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do
    list[#list + 1] = name
  end
  table.sort(list)
  return table.concat(list, " ")
end

-- The fields of an annotated class, as "a b c".
local function fields(text, class)
  local block = ("\n" .. text .. "\n\n"):match("\n%-%-%-@class " .. class:gsub("%.", "%%.")
    .. "[^\n]*\n(.-)\n\n")
  assert(block, class .. " is not annotated")
  local set = {}
  for name in (block .. "\n"):gmatch "@field ([%w_]+)%??" do
    set[name] = true
  end
  return sorted(set)
end

-- Words in quotes of what `pattern` captures in a source, as "a b c".
local function words(path, pattern)
  local block = assert(read(path):match(pattern), path .. " has no " .. pattern)
  local set = {}
  for name in block:gmatch '"([%w_]+)"' do
    set[name] = true
  end
  return sorted(set)
end

describe("the editor types have", function()
  after_each(e2e.clean)

  it("the sandbox's globals, and no others", function()
    local real, written = {}, {}
    for name in read("tests/spec/globals.txt"):gmatch "[^\n]+" do
      local top = name:match "^[^.]+"
      if top == "neap" or not _G[top] and top ~= "require" then
        real[name] = true
      end
    end
    for name in types.neap:gmatch "\nfunction ([%w_.]+)%(" do
      written[name] = true
    end
    for name in types.neap:gmatch "\n(%l+) = {}" do
      written[name] = true
    end
    for name in fields(types.neap, "neap"):gmatch "%S+" do
      written["neap." .. name] = true
    end
    assert.equal(sorted(real), sorted(written))
  end)

  it("none of Lua's libraries that the sandbox lacks", function()
    local p = e2e.project { database = false }
    p:expect "init fresh"
    local luarc = e2e.decode(p:read "fresh/.luarc.json")
    local golden = "\n" .. read "tests/spec/globals.txt"
    for _, name in ipairs { "coroutine", "debug", "io", "math", "os", "package", "string", "table",
      "utf8" } do
      assert.equal(golden:find("\n" .. name .. "\n", 1, true) == nil,
        luarc["runtime.builtin"][name] == "disable", name)
    end
    assert.equal("Lua 5.4", luarc["runtime.version"])
    for name in e2e.process.capture("ls stdlib/neap/_meta"):gmatch "[^\n]+" do
      assert.equal(read("stdlib/neap/_meta/" .. name), p:read("fresh/.neap/types/" .. name), name)
    end
  end)

  it("the keys of a migration and of a step", function()
    local path = "host/script/script_contract.c"
    assert.equal(words(path, "int contract_migration%(.-keys%[%] = {(.-)};"),
      fields(types.neap, "neap.MigrationOpts"))
    assert.equal(words(path, "keys%[%] = {(.-)};"), fields(types.neap, "neap.Step"))
  end)

  it("the keys of neap.lua", function()
    local path = "host/project/project_config.c"
    assert.equal(words(path, "top_keys%[%] = {(.-)};"), fields(types.config, "neap.Config"))
    assert.equal(words(path, "environment_keys%[%] = {(.-)};"),
      fields(types.config, "neap.Environment"))
    local function rows(file, more)
      local set = more or {}
      for name in read("host/change/" .. file):gmatch '\nNEAP_%u+%([%u_]+, "([%l_]+)"' do
        set[name] = true
      end
      return sorted(set)
    end
    assert.equal(rows "preflight.def", fields(types.config, "neap.Preflight"))
    assert.equal(rows("retention.def", { keep = true }), fields(types.config, "neap.Retention"))
    local gates = {}
    for name in types.config:match "@alias neap.Gate ([^\n]+)":gmatch '"([%l_]+)"' do
      gates[name] = true
    end
    assert.equal(rows "gates.def", sorted(gates))
  end)

  it("the options of db's methods", function()
    for class, place in pairs {
      ["neap.pg.JsonOpts"] = { "pg_lua_json.c", "GLUE_OPT_BOOL" },
      ["neap.pg.WaitOpts"] = { "pg_lua_session.c", "{5000}" },
      ["neap.pg.ConnectOpts"] = { "pg_lua_session.c", "{10000}" },
    } do
      local text = read("bindings/pg/" .. place[1])
      local at = assert(text:find(place[2], 1, true), class)
      local last
      for rows in text:sub(1, at + 40):gmatch "glue_opt rows%[%] = {([^\n]*)" do
        last = rows
      end
      assert.equal(fields(types.pg, class), last:match '"([%w_]+)"', class)
    end
    local count = 0
    for path in e2e.process.capture("ls bindings/*/*_lua*.c host/script/*.c"):gmatch "[^\n]+" do
      count = count + select(2, read(path):gsub("glue_opt rows%[%]", ""))
    end
    assert.equal(3, count, "a table of options that this test does not know")
  end)

  it("the options of expect", function()
    local checked = 0
    for path in e2e.process.capture("ls stdlib/neap/expect_*.lua"):gmatch "[^\n]+" do
      for name, body in read(path):gmatch "\n  function expect%.([%w_]+)(.-)\n  end" do
        local known = body:match 'text%.options%([%w"]+, %w+, {(.-)}%)'
        local at = types.expect:find("\nfunction expect." .. name .. "(", 1, true) or 0
        local class = types.expect:sub(1, at):match ".*\n\n(.*)":match "neap%.expect%.%w+"
        if known then
          local set = {}
          local list = known:match "table%.unpack%(([%w_]+)%)" -- of a list by its name
          known = known .. (list and read(path):match("local " .. list .. " = {(.-)}") or "")
          for word in known:gmatch '"([%w_]+)"' do
            set[word] = true
          end
          assert.truthy(class, name .. " takes options and its types have none")
          assert.equal(sorted(set), fields(types.expect, class), name)
          checked = checked + 1
        end
      end
    end
    local _, all = e2e.process.capture("cat stdlib/neap/expect_*.lua")
      :gsub("= text%.options%(", "")
    assert.equal(all, checked)
  end)

  it("the fields of an error", function()
    local index = read("bindings/glue/glue_error.c"):match "\nstatic int error_index.-\n}\n"
    local real = {}
    for _, pattern in ipairs { '{"(%l+)", ', 'key, "(%l+)"' } do
      for name in index:gmatch(pattern) do
        real[name] = true
      end
    end
    assert.equal(sorted(real), fields(types.neap, "neap.Error"))
  end)
end)

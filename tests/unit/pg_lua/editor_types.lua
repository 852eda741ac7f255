-- SPDX-License-Identifier: MIT
-- The editor types and the functions that exist agree, both ways.
local cases = {}

-- Functions of an annotation file by the name of their local: name -> parameters.
local function annotated(path)
  local found = {}
  local text = assert(embedded(path), path .. " is not in the binary")
  for owner, name, arguments in text:gmatch "\nfunction (%w+)[.:](%w+_?[%w_]*)%(([^)]*)%)" do
    found[owner] = found[owner] or {}
    found[owner][name] = arguments
  end
  return found
end

-- "sql: string, fn: fun(a: b, c: d), opts?: table" -> "sql, fn, opts"
local function names_of(arguments)
  local names = {}
  local flat = arguments:gsub("%b()", ""):gsub("%b{}", "")
  for part in (flat .. ","):gmatch "%s*([^,]-)%s*," do
    local name = part:match "^[%w_%.]+"
    names[#names + 1] = name
  end
  return table.concat(names, ", ")
end

local function agree(what, real, types)
  for name, arguments in pairs(real) do
    assert(types[name], ("%s.%s is not annotated"):format(what, name))
    if type(arguments) == "string" and names_of(arguments) ~= types[name] then
      error(("%s.%s: annotated (%s), is (%s)"):format(what, name, types[name], names_of(arguments)))
    end
  end
  for name in pairs(types) do
    assert(real[name], ("%s.%s is annotated and does not exist"):format(what, name))
  end
end

cases[1] = { "editor types agree with the classes", "tx", function()
  local pg, neap_types = annotated "neap/_meta/pg.lua", annotated "neap/_meta/neap.lua"
  agree("neap.pg.Conn", classes["neap.pg.Conn"], pg.Conn)
  agree("neap.pg.Rows", classes["neap.pg.Rows"], pg.Rows)
  agree("neap.pg", classes["neap.pg"], pg.pg)
  agree("neap", classes["neap"], neap_types.neap)
end }

cases[2] = { "editor types agree with expect", "tx", function(_, expect)
  local types = annotated("neap/_meta/expect.lua").expect
  local real = {}
  assert(not pcall(function() return expect.what_no_part_has end)) -- now all are loaded
  for name in pairs(debug.getmetatable(expect).__index) do
    real[name] = true
  end
  real["function"] = nil -- a word of Lua: annotated as function_
  agree("expect", real, types)
end }

cases[3] = { "editor types are not run", "tx", function()
  for _, name in ipairs { "pg", "neap", "expect", "config" } do
    local text = embedded("neap/_meta/" .. name .. ".lua")
    assert(text:find "^%-%-%-@meta", name)
    local chunk = assert(load(text, name))
    local ok, err = pcall(chunk)
    assert(not ok and tostring(err):find "for editors", name)
  end
end }

cases[4] = { "every error code that is named exists", "tx", function()
  local known = {}
  for line in io.lines "host/base/error.def" do
    local code = line:match '^NEAP_ERROR%([%w_]+, "([%w_.]+)"'
    if code then
      known[code] = true
    end
  end
  for _, name in ipairs { "pg", "neap", "expect", "config" } do
    for codes in embedded("neap/_meta/" .. name .. ".lua"):gmatch "Raises: ([^\n]*)" do
      for code in codes:gmatch "%l+%.[%l_]+" do
        assert(known[code], code)
      end
    end
  end
end }

return cases

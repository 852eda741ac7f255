-- SPDX-License-Identifier: MIT
local stdlib = require "stdlib"
local text = stdlib.require "neap.expect_text"

describe("neap.expect_text", function()
  local function fails(message, f, ...)
    local ok, why = pcall(f, ...)
    assert.is_false(ok)
    assert.equal(message, why)
  end

  it("shows values as people read them", function()
    assert.equal("NULL", text.show(nil))
    assert.equal("NULL", text.show(stdlib.null))
    assert.equal('"a"', text.show "a")
    assert.equal("1", text.show(1))
    assert.equal("true", text.show(true))
    assert.equal("{}", text.show {})
    assert.equal('{ 1, "b", c = { 2 } }', text.show { 1, "b", c = { 2 } })
  end)

  it("cuts long text between characters", function()
    local shown = text.show(("é"):rep(500))
    assert.is_true(#shown < 210)
    assert.truthy(utf8.len(shown))
    assert.truthy(shown:find "…$")
  end)

  it("ends on a table that contains itself", function()
    local loop = {}
    loop.loop = loop
    assert.truthy(text.show(loop):find "…")
  end)

  it("suggests the nearest name only when it is near", function()
    assert.equal("; did you mean users?", text.suggest("usres", { "products", "users" }))
    assert.equal("", text.suggest("orders", { "products", "users" }))
    assert.equal("; did you mean Users?", text.suggest("users", { "Users" }))
  end)

  it("finds no difference between equal values", function()
    assert.is_nil(text.difference(1, 1))
    assert.is_nil(text.difference(nil, stdlib.null))
    assert.is_nil(text.difference({ 1, { a = "x" } }, { 1, { a = "x" } }))
    assert.is_nil(text.difference(0 / 0, 0 / 0))
  end)

  it("names where and how values differ", function()
    assert.equal("expected 2, found 1", text.difference(1, 2))
    assert.equal('expected 1, found "1" (number, found string)', text.difference("1", 1))
    assert.equal('[2].a: expected "y", found "x"',
      text.difference({ 1, { a = "x" } }, { 1, { a = "y" } }))
    assert.equal("[2]: expected NULL, found 2", text.difference({ 1, 2 }, { 1 }))
  end)

  it("refuses options that it does not know", function()
    assert.same({}, text.options("index", nil, { "unique" }))
    fails('index: unknown option "uniqe"; did you mean unique?', text.options, "index",
      { uniqe = true }, { "unique", "valid" })
    fails("index: options must be a table, got boolean", text.options, "index", true, {})
  end)

  it("refuses a name that is none", function()
    assert.equal("t", text.name("table", "t"))
    fails("table: a name must be a string, got NULL", text.name, "table", nil)
    fails('table: a name must be a string, got ""', text.name, "table", "")
  end)

  it("compares definitions without regard to spaces and case", function()
    assert.equal("create index i on t (a)", text.normal " CREATE  INDEX i\n ON t (a) ; ")
  end)
end)

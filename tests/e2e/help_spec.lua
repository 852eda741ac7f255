-- SPDX-License-Identifier: MIT
--
-- neap help: a topic for each word and subject, every topic that any text points to,
-- and every command that a text shows is one that neap takes. What only looks is run.
local e2e = require "harness"

local process = e2e.process

-- The words of the design, then subjects.
local SUBJECTS = { "project", "target", "environment", "script", "step", "run", "event", "history",
  "lease", "scratch", "rehearsal", "exit-codes", "locks", "timeouts", "recovery", "poolers",
  "errors", "security", "report", "migrations", "steps", "sql-files" }

local LOOKS = { status = true, history = true, check = true, doctor = true, help = true,
  preflight = true, report = true,
  ["lease show"] = true, ["audit verify"] = true, ["audit show"] = true, ["audit export"] = true }

local function texts()
  local list = { "README.md", "host/base/error.def" }
  for path in process.capture("ls stdlib/help/*.md host/*/*.c bindings/*/*.c"):gmatch "[^\n]+" do
    list[#list + 1] = path
  end
  return list
end

-- Commands as an author wrote them: lines of code that begin with neap, and `neap …`.
local function commands(path)
  local found, seen = {}, {}
  local text = "\n" .. process.read(path)
  local function add(line)
    line = line:gsub("  .*$", ""):gsub("%s*#.*$", ""):gsub("%%", ""):gsub(" [|>] .*$", "")
    if line:find "^neap %S" and not seen[line] then
      seen[line] = true
      found[#found + 1] = line
    end
  end
  for line in text:gmatch "\n    +(neap [^\n]+)" do
    add(line)
  end
  for block in text:gmatch "\n```sh\n(.-)```" do
    for line in ("\n" .. block):gmatch "\n(neap [^\n]+)" do
      add(line)
    end
  end
  for inline in text:gsub("\n    [^\n]*", ""):gmatch "`(neap [^`]+)`" do
    add((inline:gsub("%s+", " ")))
  end
  return found
end

-- "neap -e ENV repair ID --mark applied|pending --reason TEXT" -> words that neap takes.
local function words_of(line)
  local words = {}
  line = line:gsub("[%[%]]", ""):gsub("(%l)|[%l|]+", "%1"):gsub('"[^"]*"', "TEXT"):gsub("…", "")
  for word in line:gmatch "%S+" do
    words[#words + 1] = word
  end
  table.remove(words, 1)
  return words
end

describe("neap help", function()
  after_each(e2e.clean)

  it("has a topic for each word and subject, and lists it", function()
    local p = e2e.project { database = false }
    local list = p:expect("help topics").out
    for _, name in ipairs(SUBJECTS) do
      local r = p:expect { "help", name }
      assert.truthy(#r.out > 150, name .. ": " .. r.out)
      assert.truthy(list:find("neap help " .. name .. "\n", 1, true), name)
    end
  end)

  it("has every topic that a text or a message points to", function()
    local p = e2e.project { database = false }
    local checked = 0
    for _, path in ipairs(texts()) do
      for name in process.read(path):gmatch "neap help ([%l][%l%-]*)" do
        assert.equal(0, p:neap({ "help", name }).status, path .. ": neap help " .. name)
        checked = checked + 1
      end
    end
    assert.truthy(checked > 50, checked)
  end)

  it("shows commands that neap takes", function()
    local p = e2e.project { database = false }
    local checked = 0
    for _, path in ipairs(texts()) do
      for _, line in ipairs(path:find "%.md$" and commands(path) or {}) do
        local words = words_of(line)
        if words[1] and not words[1]:find "^%u+$" then
          table.insert(words, 1, "--help") -- parses the whole line, and does nothing
          local r = p:neap(words)
          assert.equal(0, r.status, path .. ": " .. line .. "\n" .. r.err)
          checked = checked + 1
        end
      end
    end
    assert.truthy(checked > 60, checked)
  end)

  it("shows commands that work, where they only look", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write("neap.lua", ("return { environments = { ENV = { url = %q } } }"):format(p.url))
    p:expect "-e ENV up"
    local run_id = p:value "select run_id from neap.history"
    local head = p:json("-e ENV audit verify").head
    local ran = 0
    for path in process.capture("ls stdlib/help/*.md"):gmatch "[^\n]+" do
      for _, line in ipairs(commands(path)) do
        local words = words_of(line:gsub("RUN", run_id):gsub("HASH", head):gsub("%-e %S+", "")
          :gsub("FILE", p.temp .. "/key"))
        local name = LOOKS[words[1]] and words[1] or words[1] .. " " .. (words[2] or "")
        if LOOKS[name] and not line:find("COMMAND", 1, true) and not line:find("-key", 1, true) then
          table.insert(words, 1, "--env=ENV")
          p:expect(words)
          ran = ran + 1
        end
      end
    end
    assert.truthy(ran > 10, ran)
  end)
end)

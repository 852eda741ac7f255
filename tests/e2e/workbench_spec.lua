-- SPDX-License-Identifier: MIT
--
-- What an author uses before anything is applied: init, new, check, doctor,
-- scratch, help, completion. Only scratch starts a server.
local e2e = require "harness"

describe("the workbench", function()
  local p

  before_each(function()
    p = e2e.project { database = false }
  end)
  after_each(e2e.clean)

  describe("init", function()
    it("keeps what exists and says so", function()
      p:write("neap.lua", "return {}\n")
      local first = p:json "init"
      local kept = table.concat(first.kept, " ")
      assert.truthy(kept:find("neap.lua", 1, true), kept)
      assert.equal("return {}\n", p:read "neap.lua")
      assert.truthy(p:read ".luarc.json")
      local second = p:json "init"
      assert.equal(0, #second.created, table.concat(second.created, " "))
    end)

    it("writes a neap.lua that loads", function()
      p:expect "init"
      p:expect "doctor"
    end)
  end)

  describe("new", function()
    it("takes the next number and makes a safe name", function()
      p:write_table("0041", "last")
      local document = p:json { "new", "Add e-mail; to 'Users'!" }
      assert.equal("migrations/0042_add_e_mail_to_users.lua", document.path)
      assert.equal("0042", document.id)
    end)

    it("survives any words in the summary", function()
      for _, flags in ipairs { {}, { "--sql" }, { "--no-transaction" },
        { "--sql", "--no-transaction" } } do
        local argv = { "new", 'quotes "x" and \\ and\nlines', "--ticket", 'T-"1"' }
        table.move(flags, 1, #flags, #argv + 1, argv)
        p:expect(argv)
      end
      p:expect "check"
    end)
  end)

  describe("check", function()
    it("names file and line, and exits 10", function()
      p:write("migrations/0001_typo.lua", 'return migration {\n  sumary = "x",\n}\n')
      local r = p:expect("check", 10)
      assert.truthy(r.out:find("migrations/0001_typo.lua:", 1, true), r.out)
      assert.truthy(r.out:find("summary", 1, true), r.out)
      local document = p:json("check", 10)
      assert.equal("failed", document.status)
      assert.equal("lint.found", document.error.code)
      assert.equal("script.contract", document.findings[1].code)
    end)

    it("finds passwords, later requirements and duplicates", function()
      p:write("migrations/0001_role.lua", [[
return migration {
  summary = "role", requires = { "0002", "0009" },
  up = function(db)
    db:exec "CREATE ROLE x PASSWORD 'nEaP-CaNaRy'"
  end,
  verify = unverified "test", down = irreversible "test",
}]])
      p:write_table("0002", "later")
      local codes = {}
      for _, finding in ipairs(p:json("check", 10).findings) do
        codes[#codes + 1] = finding.code .. ":" .. tostring(finding.line)
      end
      assert.equal("lint.password:4 history.requires:nil history.requires:nil",
        table.concat(codes, " "))
      p:write_table("02", "twin")
      assert.equal("project.duplicate", p:json("check", 10).findings[1].code)
    end)

    it("warns without failing", function()
      p:write("migrations/0001_index.sql", "-- neap: summary x\n-- neap: transaction false\n"
        .. "-- neap: step a\n-- neap: up\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a);\n"
        .. "-- neap: unverified test\n-- neap: irreversible test\n")
      local document = p:json "check"
      assert.equal("warning", document.findings[1].level)
      assert.equal(5, document.findings[1].line)
    end)

    it("checks only the ids it is given", function()
      p:write_table("0001", "good")
      p:write("migrations/0002_bad.lua", "return 7\n")
      assert.equal(1, p:json("check 1").checked)
      p:expect("check 0007", 2)
    end)
  end)

  it("check tells every fault, whichever comes first", function()
    p:write_table("0001", "a")
    p:write("migrations/0002_b.sql", "-- neap: nonsense\n")
    p:write("migrations/0003_c.lua~", "")
    p:write("migrations/notes.txt", "")
    p:write_table("0004", "d")
    p:write_sql("4_twin.sql", "select 1", "select true", "select 1")
    assert(os.execute("mkfifo " .. e2e.process.quote(p:path "migrations/0005_e.lua")))
    local document = p:json("check", 10)
    local files = {}
    for _, finding in ipairs(document.findings) do
      if finding.level == "error" then
        files[#files + 1] = finding.message:match "[%w_]+%.%w+~?" or finding.file
      end
    end
    table.sort(files)
    assert.same({ "0003_c.lua~", "0004_d.lua", "0005_e.lua", "migrations/0002_b.sql",
      "notes.txt" }, files)
    assert.equal(4, document.checked)
  end)

  describe("doctor", function()
    local canary = "nEaP-CaNaRy-7"

    it("shows values with their origin and no secret", function()
      p:write("neap.lua", 'return { environments = { prod = { url = env "SHOP_URL", '
        .. 'lock_timeout = "250ms" } } }')
      local opts = { env = { SHOP_URL = "postgresql://u:" .. canary .. "@127.0.0.1:1/shop",
        NEAP_TIMEOUT = "9s" } }
      local r = p:expect("doctor -e prod --lock-budget 7s --json", 13, opts)
      assert.is_nil((r.out .. r.err):find(canary, 1, true))
      local origins = {}
      for _, setting in ipairs(e2e.decode(r.out).settings) do
        origins[setting.name] = setting.value .. " " .. setting.origin
      end
      assert.equal("9s NEAP_TIMEOUT", origins.timeout)
      assert.equal("250ms neap.lua", origins.lock_timeout)
      assert.equal("7s --lock-budget", origins.lock_budget)
      assert.equal("30s default", origins.lease_wait)
    end)

    it("refuses a password that others can read", function()
      p:write("neap.lua", 'return { environments = { prod = { url = "postgresql://u:' .. canary
        .. '@db/shop" } } }')
      assert(os.execute("chmod 644 " .. e2e.process.quote(p:path "neap.lua")))
      local r = p:expect("doctor", 2)
      assert.truthy(r.err:find("chmod 600", 1, true), r.err)
      assert.is_nil((r.out .. r.err):find(canary, 1, true))
      assert(os.execute("chmod 600 " .. e2e.process.quote(p:path "neap.lua")))
      p:expect "doctor"
    end)
  end)

  it("finds the project from a directory inside it", function()
    p:write("lib/deep/x.lua", "return {}\n")
    local document = p:json("doctor", 0, { cwd = p:path "lib/deep" })
    assert.equal(e2e.process.capture("realpath " .. e2e.process.quote(p.dir)), document.project)
    local r = p:expect("doctor", 2, { cwd = "/" })
    assert.truthy(r.err:find("neap init", 1, true), r.err)
  end)

  it("starts, asks and stops scratch", function()
    local ok, why = pcall(function()
      assert.is_false(p:json("scratch status").running)
      p:expect("scratch url", 2)
      local started = p:json "scratch start"
      assert.is_true(started.running)
      assert.equal(started.url .. "\n", p:expect("scratch url").out)
      local r = p:expect({ "scratch", "psql", "--", "-XAtc", "select 6 * 7" })
      assert.equal("42\n", r.out)
      p:write("bad.sql", "select 1/0;\n")
      p:expect({ "scratch", "psql", "--", "-X", "-v", "ON_ERROR_STOP=1", "-f", "bad.sql" }, 3)
      assert.equal("ok", p:json("doctor -e scratch").status)
    end)
    p:expect "scratch stop"
    assert(ok, why)
    assert.is_false(p:json("scratch status").running)
  end)

  it("completes environments, words and options in bash", function()
    p:write("neap.lua", 'return { environments = { prod = { url = "service=x" } } }')
    assert.equal("prod\nscratch\n", p:expect("completion environments").out)
    local script = ([[PATH=%s:$PATH; source <(neap completion bash)
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); COMPREPLY=(); _neap; echo "${COMPREPLY[*]}"; }
try neap lease s; try neap -e prod up --lock-t; try neap -e p; try neap --json audit ex
]]):format(e2e.process.quote(e2e.bin:match "^(.*)/[^/]*$"))
    local r = e2e.process.run({ "bash", "-c", script }, p.temp .. "/bash",
      { cwd = p.dir, env = p.env })
    assert.equal("show\n--lock-timeout\nprod\nexport\n", r.out, r.err)
  end)

  it("helps with errors, exit codes and words, and names the nearest topic", function()
    assert.truthy(p:expect("help errors").out:find("lock.timeout", 1, true))
    assert.truthy(p:expect("help exit-codes").out:find("| 124 |", 1, true))
    assert.truthy(p:expect("help target").out:find("environment", 1, true))
    assert.equal("locks", p:json("help locks").topic)
    local r = p:expect("help lcks", 2)
    assert.truthy(r.err:find("neap help locks", 1, true), r.err)
  end)
end)

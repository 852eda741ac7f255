-- SPDX-License-Identifier: MIT
--
-- The completions in the shells themselves: bash by its completion function, zsh by
-- keys typed on a terminal of its own (zpty), fish by `complete -C`. And the man page
-- in the programs that show it.
local e2e = require "harness"

local process = e2e.process
local quote = process.quote

-- What the cursor stands behind; `only` is the whole answer, `has` and `lacks` parts of it.
local CASES = {
  { "neap re", only = "redo rehearse repair report restore resume" },
  { "neap -C project ", has = "up status lease help", lacks = "shop project" },
  { "neap -C project -e ", only = "scratch shop staging" },
  { "neap -C project --env sh", only = "shop" },
  { "neap -e shop ", has = "up down lease audit", lacks = "shop staging" },
  { "neap -e shop le", only = "lease" },
  { "neap lease ", only = "break show" },
  { "neap -e shop lease b", only = "break" },
  { "neap up --lo", only = "--lock-budget --lock-timeout --log-json" },
  { "neap -C project up --to 0002 --dr", only = "--dry-run" },
  { "neap status --", has = "--exit-code --env --json", lacks = "--only --mark" },
  { "neap -C project down --only ", only = "0001 0002" },
  { "neap -C project repair ", only = "0001 0002" },
  { "neap repair 0001 --mark ", only = "applied pending" },
  { "neap audit export --format ", only = "csv jsonl" },
  { "neap lease break --t", only = "--terminate" },
  { "neap help exi", only = "exit-codes" },
  { "neap help ", has = "recovery timeouts up lease" },
  { "neap completion ", only = "bash fish zsh" },
  { "neap init proj", only = "project" },
  { "neap -C proj", only = "project" },
}

local ZSH = [=[
zmodload zsh/zpty
zpty z 'zsh -f -i'
answer() { # types $1; waits for the line that ends the answer
  local chunk
  local -i before=$(wc -l <$OUT) n=0
  zpty -w -n z "$1"
  while (( n++ < 200 )) && [[ $(tail -n +$((before + 1)) $OUT) != *"$2"* ]]; do
    zpty -r -t z chunk 2>/dev/null || sleep 0.05
  done
}
answer "PS1= ; source $SETUP"$'\n' ready
while IFS= read -r line; do
  answer $'\x15'"$line"$'\t\x18' end.
done <$LINES_FILE
zpty -d z
]=]

local SETUP = [=[
unsetopt beep
autoload -Uz compinit && compinit -D -u
source $SCRIPT
compadd() {
  local -a hits
  builtin compadd -A hits "$@"
  print -rl -- "hit "${^hits} >>$OUT
  builtin compadd "$@"
}
said() { print -r -- "buffer $BUFFER" >>$OUT; print -r -- end. >>$OUT; BUFFER= }
zle -N said
bindkey '^X' said '^U' kill-whole-line
print ready >>$OUT
]=]

local BASH = [=[
source "$SCRIPT"
complete -p neap | grep -q -- '-F _neap neap' || exit 9
while IFS= read -r line; do
  read -ra COMP_WORDS <<<"$line"
  case $line in *" ") COMP_WORDS+=("") ;; esac
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  _neap
  printf 'hit %s\n' "${COMPREPLY[@]}" >>"$OUT"
  echo end. >>"$OUT"
done <"$LINES_FILE"
]=]

local FISH = [=[
source $SCRIPT
while read -l line
  for hit in (complete -C "$line")
    echo hit (string split \t -- $hit)[1] | string trim -c / >>$OUT
  end
  echo end. >>$OUT
end <$LINES_FILE
]=]

local function sorted(set)
  local list = {}
  for word in pairs(set) do
    list[#list + 1] = word
  end
  table.sort(list)
  return table.concat(list, " ")
end

describe("completion in", function()
  local p

  before_each(function()
    p = e2e.project { database = false }
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    p:write("neap.lua", [[return { environments = {
      shop = { url = "postgresql:///shop" }, staging = { url = "postgresql:///staging" } } }]])
    assert(os.execute(("mkdir %s/bin && ln -s %s %s/bin/neap"):format(quote(p.temp),
      quote(e2e.bin), quote(p.temp))))
    local lines = {}
    for i, case in ipairs(CASES) do
      lines[i] = case[1]
    end
    process.write(p.temp .. "/lines", table.concat(lines, "\n") .. "\n")
    process.write(p.temp .. "/out", "")
  end)
  after_each(e2e.clean)

  -- The answers to CASES, in order: sets of words.
  local function answers(shell, driver, argv)
    assert.truthy(os.execute("command -v " .. shell .. " >/dev/null"), shell .. " is not installed")
    process.write(p.temp .. "/script", p:expect("completion " .. shell).out)
    process.write(p.temp .. "/driver", driver)
    process.write(p.temp .. "/setup", SETUP)
    argv[#argv + 1] = p.temp .. "/driver"
    local r = process.run(argv, p.temp .. "/shell", { cwd = p.temp, timeout = 120, env = {
      PATH = p.temp .. "/bin:" .. os.getenv "PATH", HOME = p.temp .. "/home", TERM = "dumb",
      LANG = "C.UTF-8", OUT = p.temp .. "/out", SCRIPT = p.temp .. "/script",
      SETUP = p.temp .. "/setup", LINES_FILE = p.temp .. "/lines" } })
    assert.equal(0, r.status, r.out .. r.err)
    local list = {}
    for part in process.read(p.temp .. "/out"):gmatch "(.-)end%.\n" do
      local set = {}
      for word in part:gmatch "hit ([^\n]+)" do
        set[word] = true
      end
      list[#list + 1] = set
    end
    assert.equal(#CASES, #list, r.err .. process.read(p.temp .. "/out"))
    return list, r.err
  end

  local function check(shell, driver, argv)
    local list, err = answers(shell, driver, argv)
    for i, case in ipairs(CASES) do
      local what = ("%s: %q gave %q\n%s"):format(shell, case[1], sorted(list[i]), err)
      if case.only then
        assert.equal(case.only, sorted(list[i]), what)
      end
      for word in (case.has or ""):gmatch "%S+" do
        assert.is_true(list[i][word], what .. " lacks " .. word)
      end
      for word in (case.lacks or ""):gmatch "%S+" do
        assert.is_nil(list[i][word], what .. " has " .. word)
      end
    end
  end

  it("bash", function() check("bash", BASH, { "bash", "--norc" }) end)
  it("fish", function() check("fish", FISH, { "fish", "--no-config" }) end)
  it("zsh", function() check("zsh", ZSH, { "zsh", "-f" }) end)
end)

describe("the man page", function()
  after_each(e2e.clean)

  local function shown(argv)
    local p = e2e.project { database = false }
    process.write(p.temp .. "/neap.1", p:expect("help man").out)
    argv[#argv + 1] = p.temp .. "/neap.1"
    local r = process.run(argv, p.temp .. "/man", { cwd = p.temp, env = { PATH = os.getenv "PATH",
      LANG = "C.UTF-8", MANWIDTH = "200" } })
    return r, (r.out:gsub("\27%[[%d;]*m", ""):gsub(".\b", ""))
  end

  it("is clean to man and to mandoc", function()
    local r = shown { "man", "--warnings", "-l" }
    assert.equal("0 ", r.status .. " " .. r.err)
    r = shown { "mandoc", "-T", "lint", "-W", "warning" }
    -- A page that is made when it is installed has no date that could not be wrong.
    local findings = (r.out .. r.err):gsub('[^\n]*WARNING: missing date, using "": TH\n', "")
    assert.equal("", findings)
  end)

  it("shows every command and every option, and what each takes", function()
    local _, text = shown { "man", "-l" }
    local flat = text:gsub("%s+", " ")
    local count = 0
    for name, args, summary in process.read(e2e.root .. "/host/cli/commands.def")
      :gmatch 'NEAP_COMMAND%([%w_]+, "([^"]+)", "([^"]*)", "[^"]*", "([^"]+)"' do
      local usage = (name .. " " .. args):gsub("…", "..."):gsub(" $", "")
      assert.truthy(flat:find(" " .. usage .. " " .. summary, 1, true), usage)
      count = count + 1
    end
    assert.truthy(count > 20, count)
    count = 0
    for row in process.read(e2e.root .. "/host/cli/options.def"):gmatch "\nNEAP_OPTION_([^\n]+)" do
      local long = row:match ', "([%w-]+)"'
      local env = row:match '"(NEAP_[%u_]+)"'
      assert.truthy(flat:find("--" .. long, 1, true), long)
      assert.truthy(not env or flat:find("[" .. env .. "]", 1, true), env)
      count = count + 1
    end
    assert.truthy(count > 25, count)
  end)
end)

-- SPDX-License-Identifier: MIT
--
-- What the lints share: the tree's files, findings, and the dated waivers.
-- A lint is a program: `lua5.4 tests/lint/lint_sizes.lua` in the source
-- directory; its last line is "N passed, N failed", one case per file or rule.
package.path = "tests/lint/?.lua;" .. package.path

local lint = { passed = 0, failed = 0 }

function lint.read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read "a"
  file:close()
  return text
end

function lint.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- stdout of a shell command, and whether it succeeded.
function lint.capture(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read "a"
  local ok = pipe:close()
  return text, ok == true
end

--- Paths that git knows or would add, sorted; without git, all outside build*/.
function lint.files(pattern)
  local text, ok = lint.capture "git ls-files -co --exclude-standard 2>/dev/null"
  if not ok or text == "" then
    text = lint.capture [[find . -name 'build*' -prune -o -name .git -prune -o -type f -print \
      | sed 's|^\./||']]
  end
  local paths = {}
  for path in text:gmatch "[^\n]+" do
    if path:find(pattern) and lint.read(path) then
      paths[#paths + 1] = path
    end
  end
  table.sort(paths)
  return paths
end

function lint.lines(text)
  local lines = {}
  for line in (text .. (text:sub(-1) == "\n" and "" or "\n")):gmatch "(.-)\n" do
    lines[#lines + 1] = line
  end
  return lines
end

--- One case: no findings is a pass; each finding is printed.
function lint.case(findings)
  if #findings == 0 then
    lint.passed = lint.passed + 1
    return
  end
  lint.failed = lint.failed + 1
  for _, finding in ipairs(findings) do
    print(finding)
  end
end

function lint.finish()
  print(("%d passed, %d failed"):format(lint.passed, lint.failed))
  os.exit(lint.failed == 0)
end

--- C without comments and without the text of strings; lines stay where they are.
function lint.code_of(text)
  local out, i = {}, 1
  local function keep_lines(part)
    return (part:gsub("[^\n]", " "))
  end
  while i <= #text do
    local two, one = text:sub(i, i + 1), text:sub(i, i)
    local last
    if two == "/*" then
      last = select(2, text:find("*/", i + 2, true)) or #text
    elseif two == "//" then
      last = (text:find("\n", i, true) or #text + 1) - 1
    elseif one == '"' or one == "'" then
      last = i + 1
      while last < #text and text:sub(last, last) ~= one do
        last = last + (text:sub(last, last) == "\\" and 2 or 1)
      end
    end
    if last then
      local part = text:sub(i, last)
      out[#out + 1] = (one == '"' or one == "'") and one .. keep_lines(part:sub(2, -2)) .. one
        or keep_lines(part)
      i = last + 1
    else
      local stop = text:find("[/\"']", i + 1) or #text + 1
      out[#out + 1] = text:sub(i, stop - 1)
      i = stop
    end
  end
  return table.concat(out)
end

return lint

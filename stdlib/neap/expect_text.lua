-- SPDX-License-Identifier: MIT
--
-- Words of expectations: values as people read them, the nearest known name,
-- where two values differ, options that must be known. It asks no server.
local pg = require "neap.pg"

local text = {}

local SHOWN_MAX = 200 -- bytes of one value in a message

function text.fail(format, ...)
  local message = select("#", ...) > 0 and format:format(...) or format
  pg.expectation_failed(message)
end

local function is_null(value)
  return value == nil or value == neap.null
end

local function key_order(a, b)
  if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
    return a < b
  end
  return type(a) < type(b)
end

function text.keys(value)
  local keys = {}
  for key in next, value do
    keys[#keys + 1] = key
  end
  table.sort(keys, key_order)
  return keys
end

local function show_table(value, depth)
  if depth > 4 then
    return "{…}"
  end
  local parts, list = {}, rawlen(value)
  for _, key in ipairs(text.keys(value)) do
    local shown = text.show(rawget(value, key), depth + 1)
    local in_list = math.type(key) == "integer" and key >= 1 and key <= list
    local name = type(key) == "string" and key or "[" .. tostring(key) .. "]"
    parts[#parts + 1] = in_list and shown or name .. " = " .. shown
    if #parts > 50 then
      parts[#parts] = "…"
      break
    end
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local function cut(shown)
  if #shown <= SHOWN_MAX then
    return shown
  end
  local stop = SHOWN_MAX
  while stop > 1 and (shown:byte(stop + 1) or 0) & 0xC0 == 0x80 do
    stop = stop - 1
  end
  return shown:sub(1, stop) .. "…"
end

--- The value as a message shows it: text in quotes, NULL by its name.
function text.show(value, depth)
  if is_null(value) then
    return "NULL"
  elseif type(value) == "string" then
    return cut('"' .. value .. '"')
  elseif type(value) == "table" then
    return cut(show_table(value, depth or 1))
  end
  return tostring(value)
end

local function distance(a, b, limit)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal, best = row[0], i
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      best = math.min(best, row[j])
    end
    if best > limit then
      return limit + 1
    end
  end
  return row[#b]
end

--- "; did you mean x?", or "" when nothing is near enough to be what was meant.
function text.suggest(word, names)
  local limit = #word < 4 and 1 or math.max(2, #word // 3)
  local nearest, found = limit + 1, nil
  for _, name in ipairs(names) do
    local steps = math.abs(#name - #word) <= limit and distance(word:lower(), name:lower(), limit)
    if steps and (steps < nearest or steps == nearest and found and name < found) then
      nearest, found = steps, name
    end
  end
  return found and "; did you mean " .. found .. "?" or ""
end

--- Fails for an option that `known` does not list; gives {} for nil.
function text.options(what, opts, known)
  if opts == nil then
    return {}
  elseif type(opts) ~= "table" then
    text.fail("%s: options must be a table, got %s", what, type(opts))
  end
  for key in pairs(opts) do
    local is_known = false
    for _, name in ipairs(known) do
      is_known = is_known or name == key
    end
    if not is_known then
      text.fail("%s: unknown option %s%s", what, text.show(key), text.suggest(tostring(key), known))
    end
  end
  return opts
end

function text.name(what, value)
  if type(value) ~= "string" or value == "" then
    text.fail("%s: a name must be a string, got %s", what, text.show(value))
  end
  return value
end

local function same_scalar(a, b)
  if is_null(a) or is_null(b) then
    return is_null(a) and is_null(b)
  end
  return a == b or a ~= a and b ~= b
end

local function describe(path, actual, expected)
  local kind = ""
  if type(actual) ~= type(expected) and not is_null(actual) and not is_null(expected) then
    kind = " (" .. type(expected) .. ", found " .. type(actual) .. ")"
  end
  local at = path == "" and "" or path .. ": "
  return at .. "expected " .. text.show(expected) .. ", found " .. text.show(actual) .. kind
end

local function compare(path, actual, expected, found)
  if #found >= 5 then
    return
  elseif type(actual) ~= "table" or type(expected) ~= "table" then
    if not same_scalar(actual, expected) then
      found[#found + 1] = describe(path, actual, expected)
    end
    return
  end
  local keys = text.keys(expected)
  for _, key in ipairs(text.keys(actual)) do
    if rawget(expected, key) == nil then
      keys[#keys + 1] = key
    end
  end
  for _, key in ipairs(keys) do
    local name = type(key) == "string" and "." .. key or "[" .. tostring(key) .. "]"
    compare(path .. name, rawget(actual, key), rawget(expected, key), found)
  end
end

--- What differs, in words, or nil when nothing does.
function text.difference(actual, expected)
  local found = {}
  compare("", actual, expected, found)
  if #found == 0 then
    return nil
  end
  return table.concat(found, "; ")
end

--- Lower case, single spaces: for comparing definitions.
function text.normal(definition)
  local plain = definition:gsub("%s+", " "):gsub("^ ", ""):gsub("[ ;]+$", "")
  return plain:lower()
end

return text

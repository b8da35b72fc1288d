-- The same rename as the lens does, as a script of Envoy's Lua filter: decode, rename, encode, in request and answer.
-- Written for LuaJIT: bytes are compared as numbers and strings found plainly, so that loops can be compiled.
local byte, char, find, sub = string.byte, string.char, string.find, string.sub
local concat, tonumber, type = table.concat, tonumber, type

local ARRAY, NULL = {}, {}
local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function skip(s, i)
  local c = byte(s, i)
  while c == 32 or c == 10 or c == 13 or c == 9 do
    i = i + 1
    c = byte(s, i)
  end
  return i, c
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + math.floor(code / 64), 0x80 + code % 64) end
  return char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function unescape(raw)
  raw = raw:gsub("\\u(%x%x%x%x)", function(hex) return utf8(tonumber(hex, 16)) end)
  return (raw:gsub("\\(.)", function(c) return ESCAPES[c] or c end))
end

local function text(s, i)
  local stop, escaped = find(s, '"', i, true), false
  while true do
    local slashes, at = 0, stop - 1
    while byte(s, at) == 92 do
      slashes, at = slashes + 1, at - 1
    end
    if slashes % 2 == 0 then break end
    stop = find(s, '"', stop + 1, true)
  end
  local raw = sub(s, i, stop - 1)
  if find(raw, "\\", 1, true) then raw = unescape(raw) end
  return raw, stop + 1
end

local value

local function object(s, i)
  local result, c = {}, nil
  i, c = skip(s, i)
  if c == 125 then return result, i + 1 end
  while true do
    i = skip(s, i)
    local key
    key, i = text(s, i + 1)
    i = skip(s, i)
    result[key], i = value(s, i + 1)
    i, c = skip(s, i)
    if c == 125 then return result, i + 1 end
    i = i + 1
  end
end

local function array(s, i)
  local result, n, c = setmetatable({}, ARRAY), 0, nil
  i, c = skip(s, i)
  if c == 93 then return result, i + 1 end
  while true do
    n = n + 1
    result[n], i = value(s, i)
    i, c = skip(s, i)
    if c == 93 then return result, i + 1 end
    i = i + 1
  end
end

function value(s, i)
  local c
  i, c = skip(s, i)
  if c == 34 then return text(s, i + 1) end
  if c == 123 then return object(s, i + 1) end
  if c == 91 then return array(s, i + 1) end
  if c == 116 then return true, i + 4 end
  if c == 102 then return false, i + 5 end
  if c == 110 then return NULL, i + 4 end
  local stop = i
  repeat
    stop = stop + 1
    c = byte(s, stop)
  until c == nil or c == 44 or c == 125 or c == 93 or c <= 32
  return tonumber(sub(s, i, stop - 1)), stop
end

local function quoted(s)
  for i = 1, #s do
    local c = byte(s, i)
    if c < 32 or c == 34 or c == 92 then
      return '"' .. s:gsub('[%c"\\]', function(one) return string.format("\\u%04x", byte(one)) end) .. '"'
    end
  end
  return '"' .. s .. '"'
end

local function write(v, out, n)
  local kind = type(v)
  if kind == "string" then
    out[n] = quoted(v)
  elseif kind == "number" then
    out[n] = v
  elseif kind == "boolean" then
    out[n] = v and "true" or "false"
  elseif v == NULL then
    out[n] = "null"
  elseif getmetatable(v) == ARRAY then
    out[n] = "["
    for i = 1, #v do
      if i > 1 then
        n = n + 1
        out[n] = ","
      end
      n = write(v[i], out, n + 1)
    end
    n = n + 1
    out[n] = "]"
  else
    out[n] = "{"
    local first = true
    for key, inner in pairs(v) do
      if not first then
        n = n + 1
        out[n] = ","
      end
      first = false
      out[n + 1] = quoted(key)
      out[n + 2] = ":"
      n = write(inner, out, n + 3)
    end
    n = n + 1
    out[n] = "}"
  end
  return n
end

local function renamed(handle, from, to)
  local body = handle:body()
  if body == nil then return end
  local item = value(body:getBytes(0, body:length()), 1)
  item[to], item[from] = item[from], nil
  local out = {}
  write(item, out, 1)
  handle:headers():replace("content-length", body:setBytes(concat(out)))
end

function envoy_on_request(handle)
  renamed(handle, "OLD", "NEW")
end

function envoy_on_response(handle)
  renamed(handle, "NEW", "OLD")
end

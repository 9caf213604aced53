-- The whole job in nginx: verify the JWT (HS256), fetch the user's token from Redis, set it. What came of a JWT is kept for
-- 30 seconds, so that a hot call costs one look-up. Tokens lie in Redis in the clear; nothing is refreshed.

local cjson = require "cjson.safe"
local ffi = require "ffi"
local base64 = require "ngx.base64"
local lrucache = require "resty.lrucache"

-- nginx brings libcrypto along.
ffi.cdef [[
  const void *EVP_sha256(void);
  unsigned char *HMAC(const void *md, const void *key, int key_len, const unsigned char *d, size_t n,
                      unsigned char *out, unsigned int *out_len);
]]

local _M = {}
local HOT = 30
local settings
local cache = assert(lrucache.new(20000))
local sha256, digest = ffi.C.EVP_sha256(), ffi.new("unsigned char[32]")

function _M.setup(given)
  settings = given
end

local function hmac(text)
  ffi.C.HMAC(sha256, settings.secret, #settings.secret, text, #text, digest, nil)
  return ffi.string(digest, 32)
end

local function json(part)
  local text = part and base64.decode_base64url(part)
  return text and cjson.decode(text)
end

-- Compares without telling by the time it takes where two texts differ.
local function same(a, b)
  if not a or #a ~= #b then return false end
  local difference = 0
  for i = 1, #a do difference = bit.bor(difference, bit.bxor(a:byte(i), b:byte(i))) end
  return difference == 0
end

-- The JWT's claims, if it is good.
local function verify(jwt)
  local head, payload, signature = jwt:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  local header = json(head)
  if type(header) ~= "table" or header.alg ~= "HS256" then return end
  if not same(base64.decode_base64url(signature), hmac(head .. "." .. payload)) then return end
  local claims = json(payload)
  if type(claims) ~= "table" or claims.iss ~= settings.issuer or claims.aud ~= settings.audience then return end
  local now = ngx.time()
  if type(claims.sub) ~= "string" or type(claims.exp) ~= "number" or claims.exp <= now then return end
  if claims.nbf and (type(claims.nbf) ~= "number" or claims.nbf > now) then return end
  return claims
end

local function command(socket, ...)
  local count = select("#", ...)
  local parts = { "*" .. count .. "\r\n" }
  for i = 1, count do
    local part = select(i, ...)
    parts[#parts + 1] = "$" .. #part .. "\r\n" .. part .. "\r\n"
  end
  local sent, problem = socket:send(parts)
  if not sent then return nil, problem end
  local line, failure = socket:receive()
  if not line then return nil, failure end
  if line:sub(1, 1) == "+" then return line:sub(2) end
  if line:sub(1, 1) ~= "$" then return nil, line end
  local length = tonumber(line:sub(2))
  if length < 0 then return false end
  local text = socket:receive(length)
  socket:receive(2)
  return text
end

-- The user's token, false if there is none, nil and why if Redis is away.
local function fetch(user)
  local redis = settings.redis
  local socket = ngx.socket.tcp()
  socket:settimeout(1000)
  local connected, problem = socket:connect(redis.host, redis.port)
  if not connected then return nil, problem end
  if socket:getreusedtimes() == 0 then
    local welcome, refusal = command(socket, "AUTH", redis.password)
    if not welcome then return nil, refusal end
  end
  local token, failure = command(socket, "GET", redis.prefix .. user)
  if token == nil then return nil, failure end
  socket:setkeepalive(60000, 128)
  return token
end

function _M.run()
  local authorization = ngx.var.http_authorization
  local credential = authorization and cache:get(authorization)
  if not credential then
    local jwt = authorization and authorization:match("^[Bb]earer (.+)$")
    local claims = jwt and verify(jwt)
    if not claims then return ngx.exit(401) end
    local token, problem = fetch(claims.sub)
    if token == nil then
      ngx.log(ngx.ERR, "Redis: ", problem)
      return ngx.exit(503)
    end
    if not token then return ngx.exit(401) end
    credential = "Bearer " .. token
    cache:set(authorization, credential, math.min(HOT, claims.exp - ngx.time()))
  end
  ngx.var.credential = credential
end

return _M

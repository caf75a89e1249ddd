/**
 * The directory's rules as Lua, of which the engine runs each as one step. They answer in JSON, take time from the engine alone, and
 * use nothing that Redis 7.0 has not. Keys: `hosts` and `born` of the fleet, the record of a session.
 */
import { createHash } from "node:crypto";

export interface Script {
  readonly lua: string;
  readonly sha: string;
}

/** Hosts that have been gone for so long are taken off the list when one comes. */
const GONE_MS = 86_400_000;

const COMMON = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local whole = function(number) return string.format('%.0f', number) end
local alive = function(id)
  local text = id and redis.call('HGET', KEYS[1], id)
  local host = text and cjson.decode(text)
  if host and host['until'] > now then return host end
end
local record = function(key)
  local flat, entry = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do entry[flat[i]] = flat[i + 1] end
  return entry
end
`;

const script = (lua: string): Script => {
  const whole = `${COMMON}${lua}`;
  return { lua: whole, sha: createHash("sha1").update(whole).digest("hex") };
};

/** KEYS hosts, born; ARGV host, nonce, since, lease, fields, name of a lease that begins. */
export const BEAT = script(`
local before = alive(ARGV[1])
if before and (before.nonce ~= ARGV[2] or before.since > tonumber(ARGV[3])) then
  return cjson.encode({kind = 'rival', addr = before.addr})
end
if not before then
  local flat = redis.call('HGETALL', KEYS[1])
  for i = 1, #flat, 2 do
    if cjson.decode(flat[i + 1])['until'] < now - ${GONE_MS} then redis.call('HDEL', KEYS[1], flat[i]) end
  end
end
local host = cjson.decode(ARGV[5])
host.nonce, host.since, host['until'] = ARGV[2], tonumber(ARGV[3]), now + tonumber(ARGV[4])
host.joined = before and before.joined or ARGV[6]
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(host))
redis.call('SET', KEYS[2], whole(now), 'NX')
return cjson.encode({kind = 'renewed', joined = host.joined, now = now})
`);

/** KEYS hosts; no arguments. */
export const HOSTS = script(`
local flat, found = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #flat, 2 do
  local host = cjson.decode(flat[i + 1])
  host.id = flat[i]
  if host['until'] > now then found[#found + 1] = host end
end
return cjson.encode({hosts = #found > 0 and found or cjson.null})
`);

/** KEYS hosts, born, record; ARGV candidate (empty: none), hold, lifetime of the record. */
export const ROUTE = script(`
local entry = record(KEYS[3])
local answer = function(kind, id, host, epoch)
  return cjson.encode({kind = kind, ready = entry.state ~= 'claimed', home = id, addr = host.addr, cert = host.cert, epoch = tonumber(epoch),
    ckpt = entry.ckpt or cjson.null, why = entry.why or cjson.null})
end
local home = alive(entry.home)
if home then
  if entry.state == 'moving' then return cjson.encode({kind = 'wait', home = entry.home}) end
  if entry.home == ARGV[1] and entry.state == 'claimed' then return answer('claimed', entry.home, home, entry.epoch) end
  if entry.home == ARGV[1] and entry.state == 'idle' then redis.call('HSET', KEYS[3], 'state', 'live') end
  return answer('own', entry.home, home, entry.epoch)
end
local born = tonumber(redis.call('GET', KEYS[2]) or 0)
if not entry.epoch and now < born + tonumber(ARGV[2]) then
  return cjson.encode({kind = 'hold', ms = born + tonumber(ARGV[2]) - now})
end
local taker = alive(ARGV[1])
if not taker or taker.state ~= 'up' then return cjson.encode({kind = 'fenced'}) end
local epoch = whole(math.max(tonumber(entry.epoch or 0) + 1, now))
entry.why = nil
if not entry.epoch then entry.why = 'unknown'
elseif entry.state ~= 'forgotten' then entry.why = entry.home and 'host_lost' or 'moved' end
redis.call('HDEL', KEYS[3], 'why')
redis.call('HSET', KEYS[3], 'home', ARGV[1], 'epoch', epoch, 'state', 'claimed')
if entry.why then redis.call('HSET', KEYS[3], 'why', entry.why) end
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return answer('claimed', ARGV[1], taker, epoch)
`);

/** KEYS record; ARGV host, epoch, state, checkpoint, its bytes, lifetime of the record. 2: there is no record. */
export const SETTLE = script(`
local entry = record(KEYS[1])
local leaves = ARGV[3] == 'parked' or ARGV[3] == 'forgotten'
if not entry.epoch then return 2 end
if entry.epoch ~= ARGV[2] then return 0 end
if entry.home ~= ARGV[1] then return leaves and not entry.home and entry.state == ARGV[3] and 1 or 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[3])
redis.call('HDEL', KEYS[1], 'why')
if leaves then redis.call('HDEL', KEYS[1], 'home') end
if ARGV[3] == 'forgotten' then redis.call('HDEL', KEYS[1], 'ckpt', 'ckpt_bytes') end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'ckpt', ARGV[4], 'ckpt_bytes', ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
`);

/** KEYS record; ARGV host, epoch, checkpoint, its bytes. */
export const CKPT = script(`
local entry = record(KEYS[1])
if not entry.epoch then return cjson.encode({kind = 'lost'}) end
if entry.home ~= ARGV[1] or entry.epoch ~= ARGV[2] then return cjson.encode({kind = 'fenced'}) end
redis.call('HSET', KEYS[1], 'ckpt', ARGV[3], 'ckpt_bytes', ARGV[4])
local former = entry.ckpt and entry.ckpt ~= ARGV[3] and entry.ckpt or cjson.null
return cjson.encode({kind = 'set', former = former})
`);

/** KEYS hosts, record; ARGV host, epoch, state, lifetime of the record, checkpoint (empty: none is known), its bytes. */
export const RECLAIM = script(`
if not alive(ARGV[1]) then return 0 end
local entry = record(KEYS[2])
local point = function()
  if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'ckpt', ARGV[5], 'ckpt_bytes', ARGV[6]) end
  return 1
end
if entry.home == ARGV[1] and entry.epoch == ARGV[2] then return point() end
if entry.epoch and tonumber(entry.epoch) >= tonumber(ARGV[2]) then return 0 end
if entry.home and entry.home ~= ARGV[1] and alive(entry.home) then return 0 end
redis.call('HDEL', KEYS[2], 'why')
redis.call('HSET', KEYS[2], 'home', ARGV[1], 'epoch', ARGV[2], 'state', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return point()
`);

/** KEYS hosts; ARGV host, nonce, since. */
export const LEAVE = script(`
local text = redis.call('HGET', KEYS[1], ARGV[1])
local host = text and cjson.decode(text)
if host and host.nonce == ARGV[2] and host.since == tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
`);

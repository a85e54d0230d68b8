"""Buckets of tokens that all processes share."""

from datetime import timedelta

from adapters.redis.link import Away, RedisLink, Script
from domain.ports.limits import Rate, RateLimits, Taken

TAKE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local burst, refill, tokens = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local size = burst * refill
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
full_at = math.min(math.max(full_at, now), now + size)
local after = full_at + tokens * refill
local wait = after - size - now
if wait > 0 then
    return {0, math.floor((size - (full_at - now)) / refill), wait}
end
local lives_ms = math.ceil((after - now) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', lives_ms)
return {1, math.floor((size - (after - now)) / refill), 0}
""")
# A bucket is the microsecond at which it will be full; a full one is no key at all. The server's
# clock decides. Numbers in Lua are exact up to 2^53, which microseconds reach in the year 2255.
_US = timedelta(microseconds=1)


class RedisRateLimits:
    """One bucket for all processes; while Redis is away this one counts for itself."""

    def __init__(self, link: RedisLink, meanwhile: RateLimits) -> None:
        self._link = link
        self._meanwhile = meanwhile

    async def take(self, key: str, rate: Rate, tokens: int = 1) -> Taken:
        if tokens > rate.burst:
            raise ValueError(tokens)
        try:
            allowed, remaining, wait = await self._link.run(
                TAKE, (self._link.key(f"bucket:{key}"),), (rate.burst, rate.refill // _US, tokens)
            )
        except Away:
            return await self._meanwhile.take(key, rate, tokens)
        return Taken(allowed=bool(allowed), remaining=remaining, retry_after=wait * _US)

// ioredis with its defaults: what an application does with Redis, through the sidecar.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { closing, eventually, key, library, port, sleep } from './help.js';

const { default: Redis } = await import(library);

function connect(t, options = {}) {
  return closing(t, new Redis(port, options), (redis) => redis.disconnect());
}

test('strings', async (t) => {
  const redis = connect(t);
  const [name, count, other] = [key(), key(), key()];
  assert.equal(await redis.get(name), null);
  assert.equal(await redis.set(name, 'value'), 'OK');
  assert.equal(await redis.get(name), 'value');
  assert.equal(await redis.get(name), 'value');
  assert.equal(await redis.append(name, '!'), 6);
  assert.equal(await redis.get(name), 'value!');
  assert.equal(await redis.strlen(name), 6);
  assert.equal(await redis.set(name, 'new', 'NX'), null);
  assert.equal(await redis.set(name, 'new', 'EX', 100), 'OK');
  assert.equal(await redis.get(name), 'new');
  assert.ok(await redis.ttl(name) > 90);
  assert.equal(await redis.incr(count), 1);
  assert.equal(await redis.incrby(count, 41), 42);
  assert.equal(await redis.get(count), '42');
  assert.equal(await redis.mset({ [name]: 'a', [other]: 'b' }), 'OK');
  assert.deepEqual(await redis.mget(name, other, key()), ['a', 'b', null]);
  assert.deepEqual(await redis.mget(name, other), ['a', 'b']);
  assert.equal(await redis.getdel(name), 'a');
  assert.equal(await redis.get(name), null);
  assert.equal(await redis.del(name, other), 1);
  assert.equal(await redis.exists(other), 0);
});

test('bytes that are no text', async (t) => {
  const redis = connect(t);
  const name = Buffer.from([0, 255, 13, 10, 128]);
  const value = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  await redis.set(name, value);
  for (let turn = 0; turn < 3; turn += 1) {
    assert.deepEqual(await redis.getBuffer(name), value);
  }
  assert.equal(await redis.del(name), 1);
});

test('hashes', async (t) => {
  const redis = connect(t);
  const name = key();
  assert.equal(await redis.hset(name, { a: 1, b: 'two' }), 2);
  for (let turn = 0; turn < 3; turn += 1) {
    assert.deepEqual(await redis.hgetall(name), { a: '1', b: 'two' });
    assert.equal(await redis.hget(name, 'b'), 'two');
    assert.deepEqual(await redis.hmget(name, 'a', 'none'), ['1', null]);
  }
  assert.equal(await redis.hincrby(name, 'a', 5), 6);
  assert.deepEqual(await redis.hgetall(name), { a: '6', b: 'two' });
  assert.equal(await redis.hdel(name, 'a', 'b'), 2);
  assert.deepEqual(await redis.hgetall(name), {});
  assert.deepEqual(await redis.hkeys(name), []);
});

test('lists', async (t) => {
  const redis = connect(t);
  const [name, other] = [key(), key()];
  assert.equal(await redis.rpush(name, 'a', 'b', 'c'), 3);
  assert.deepEqual(await redis.lrange(name, 0, -1), ['a', 'b', 'c']);
  assert.equal(await redis.lpush(name, 'z'), 4);
  assert.deepEqual(await redis.lrange(name, 0, -1), ['z', 'a', 'b', 'c']);
  assert.equal(await redis.lindex(name, 1), 'a');
  assert.equal(await redis.lmove(name, other, 'LEFT', 'RIGHT'), 'z');
  assert.deepEqual(await redis.lrange(other, 0, -1), ['z']);
  assert.equal(await redis.rpop(name), 'c');
  assert.deepEqual(await redis.lpop(name, 5), ['a', 'b']);
  assert.equal(await redis.llen(name), 0);
});

test('sets', async (t) => {
  const redis = connect(t);
  const [name, other] = [key(), key()];
  assert.equal(await redis.sadd(name, 'a', 'b', 'c'), 3);
  assert.equal(await redis.sadd(other, 'b', 'c', 'd'), 3);
  assert.deepEqual((await redis.smembers(name)).sort(), ['a', 'b', 'c']);
  assert.deepEqual((await redis.sinter(name, other)).sort(), ['b', 'c']);
  assert.equal(await redis.sismember(name, 'a'), 1);
  assert.equal(await redis.srem(name, 'a'), 1);
  assert.equal(await redis.sismember(name, 'a'), 0);
  assert.deepEqual((await redis.smembers(name)).sort(), ['b', 'c']);
  assert.equal(await redis.scard(name), 2);
  assert.deepEqual(await redis.smismember(name, 'b', 'x'), [1, 0]);
});

test('sorted sets', async (t) => {
  const redis = connect(t);
  const name = key();
  assert.equal(await redis.zadd(name, 1, 'a', 2.5, 'b', '+inf', 'c'), 3);
  assert.deepEqual(await redis.zrange(name, 0, -1), ['a', 'b', 'c']);
  // ioredis 6 speaks RESP3, where a score is a double within a pair.
  const scores = (await redis.zrange(name, 0, 1, 'WITHSCORES')).flat().map(String);
  assert.deepEqual(scores, ['a', '1', 'b', '2.5']);
  assert.equal(Number(await redis.zscore(name, 'b')), 2.5);
  assert.equal(await redis.zscore(name, 'none'), null);
  assert.equal(Number(await redis.zincrby(name, 10, 'a')), 11);
  assert.deepEqual(await redis.zrange(name, 0, -1), ['b', 'a', 'c']);
  assert.equal(await redis.zrank(name, 'a'), 1);
  assert.deepEqual(await redis.zrangebyscore(name, '(2.5', '+inf'), ['a', 'c']);
  assert.deepEqual((await redis.zpopmin(name)).flat().map(String), ['b', '2.5']);
  assert.equal(await redis.zcard(name), 2);
});

test('streams', async (t) => {
  const redis = connect(t);
  const reader = connect(t);
  const name = key();
  assert.equal(await redis.xadd(name, '1-1', 'field', 'one'), '1-1');
  assert.deepEqual(await redis.xrange(name, '-', '+'), [['1-1', ['field', 'one']]]);
  const waiting = reader.xread('BLOCK', 5000, 'STREAMS', name, '$');
  await sleep(100);
  const id = await redis.xadd(name, '*', 'field', 'two');
  const arrived = await waiting;
  const entries = Array.isArray(arrived) ? arrived[0][1] : Object.values(arrived)[0];
  assert.deepEqual(entries, [[id, ['field', 'two']]]);
  assert.equal(await redis.xlen(name), 2);
  await redis.xgroup('CREATE', name, 'workers', '0');
  const taken = await redis.xreadgroup('GROUP', 'workers', 'me', 'COUNT', 1, 'STREAMS', name, '>');
  assert.ok(JSON.stringify(taken).includes('"1-1"'));
  assert.equal((await redis.xpending(name, 'workers'))[0], 1);
  assert.equal(await redis.xack(name, 'workers', '1-1'), 1);
  assert.equal((await redis.xpending(name, 'workers'))[0], 0);
});

test('pipelines', async (t) => {
  const redis = connect(t);
  const name = key();
  const answers = await redis.pipeline().set(name, 'a').get(name).lpush(name, 'x').incr(key())
    .get(name).exec();
  assert.deepEqual(answers[0], [null, 'OK']);
  assert.deepEqual(answers[1], [null, 'a']);
  assert.match(answers[2][0].message, /^WRONGTYPE/);
  assert.deepEqual(answers[3], [null, 1]);
  assert.deepEqual(answers[4], [null, 'a']);
});

test('10,000 commands in one pipeline', async (t) => {
  const redis = connect(t);
  const name = key();
  const pipeline = redis.pipeline();
  for (let number = 0; number < 5000; number += 1) {
    pipeline.set(`${name}:${number % 100}`, number);
    pipeline.get(`${name}:${number % 100}`);
  }
  const answers = await pipeline.exec();
  assert.equal(answers.length, 10000);
  for (let number = 0; number < 5000; number += 1) {
    assert.deepEqual(answers[number * 2], [null, 'OK']);
    assert.deepEqual(answers[number * 2 + 1], [null, String(number)]);
  }
});

test('commands at once on one connection', async (t) => {
  const redis = connect(t);
  const name = key();
  const answers = await Promise.all(Array.from({ length: 500 }, (_, number) => (
    number % 2 ? redis.incr(name) : redis.get(key()))));
  assert.equal(answers.filter((answer) => answer === null).length, 250);
  assert.equal(await redis.get(name), '250');
});

test('automatic pipelining', async (t) => {
  const redis = connect(t, { enableAutoPipelining: true });
  const name = key();
  await Promise.all(Array.from({ length: 300 }, (_, number) => redis.set(`${name}:${number}`, number)));
  const values = await Promise.all(
    Array.from({ length: 300 }, (_, number) => redis.get(`${name}:${number}`)));
  assert.deepEqual(values, Array.from({ length: 300 }, (_, number) => String(number)));
});

test('transactions', async (t) => {
  const redis = connect(t);
  const name = key();
  await redis.set(name, '1');
  assert.equal(await redis.get(name), '1');
  assert.deepEqual(await redis.multi().incr(name).get(name).exec(), [[null, 2], [null, '2']]);
  assert.equal(await redis.get(name), '2');
  await redis.multi({ pipeline: false });
  assert.equal(await redis.set(name, '3'), 'QUEUED');
  assert.deepEqual(await redis.exec(), [[null, 'OK']]);
  assert.equal(await redis.get(name), '3');
  await redis.multi({ pipeline: false });
  await redis.set(name, '4');
  assert.equal(await redis.discard(), 'OK');
  assert.equal(await redis.get(name), '3');
});

test('errors in a transaction', async (t) => {
  const redis = connect(t);
  const name = key();
  const answers = await redis.multi().set(name, 'a').lpush(name, 'x').get(name).exec();
  assert.deepEqual(answers[0], [null, 'OK']);
  assert.match(answers[1][0].message, /^WRONGTYPE/);
  assert.deepEqual(answers[2], [null, 'a']);
  await assert.rejects(redis.multi().set(name).exec(), /EXECABORT/);
  assert.equal(await redis.get(name), 'a');
});

test('WATCH', async (t) => {
  const [redis, rival] = [connect(t), connect(t)];
  const name = key();
  await redis.set(name, '1');
  await redis.watch(name);
  assert.equal(await redis.get(name), '1');
  await rival.set(name, '2');
  assert.equal(await redis.multi().set(name, '3').exec(), null);
  assert.equal(await redis.get(name), '2');
  await redis.watch(name);
  assert.deepEqual(await redis.multi().set(name, '3').exec(), [[null, 'OK']]);
  assert.equal(await rival.get(name), '3');
  await redis.watch(name);
  await rival.set(name, '4');
  assert.equal(await redis.unwatch(), 'OK');
  assert.deepEqual(await redis.multi().get(name).exec(), [[null, '4']]);
});

test('publish and subscribe', async (t) => {
  const [subscriber, redis] = [connect(t), connect(t)];
  const [channel, pattern] = [key('channel'), key('pattern')];
  const messages = [];
  subscriber.on('message', (...words) => messages.push(words));
  subscriber.on('pmessage', (...words) => messages.push(words));
  assert.equal(await subscriber.subscribe(channel), 1);
  assert.equal(await subscriber.psubscribe(`${pattern}*`), 2);
  assert.equal(await redis.publish(channel, 'hello'), 1);
  assert.equal(await redis.publish(`${pattern}-x`, 'world'), 1);
  await eventually(() => messages.length === 2);
  assert.deepEqual(messages, [[channel, 'hello'], [`${pattern}*`, `${pattern}-x`, 'world']]);
  assert.equal(await subscriber.unsubscribe(channel), 1);
  assert.equal(await redis.publish(channel, 'nobody'), 0);
  assert.equal(await subscriber.punsubscribe(), 0);
  await redis.set(channel, 'as before');
  assert.equal(await subscriber.get(channel), 'as before');
});

test('sharded publish and subscribe', async (t) => {
  const [subscriber, redis] = [connect(t), connect(t)];
  const channel = key('shard');
  const messages = [];
  subscriber.on('smessage', (...words) => messages.push(words));
  assert.equal(await subscriber.ssubscribe(channel), 1);
  assert.equal(await redis.spublish(channel, 'hello'), 1);
  await eventually(() => messages.length === 1);
  assert.deepEqual(messages, [[channel, 'hello']]);
});

test('blocking pops', async (t) => {
  const [waiting, redis] = [connect(t), connect(t)];
  const name = key();
  const popped = waiting.blpop(name, 5);
  await sleep(100);
  await redis.rpush(name, 'late');
  assert.deepEqual(await popped, [name, 'late']);
  assert.equal(await waiting.brpop(name, 0.1), null);
  assert.equal(await waiting.get(name), null);
  const least = waiting.bzpopmin(name, 5);
  await sleep(100);
  await redis.zadd(name, 7, 'member');
  assert.deepEqual((await least).map(String), [name, 'member', '7']);
  const moved = waiting.blmove(name, key(), 'LEFT', 'RIGHT', 5);
  await sleep(50);
  await redis.rpush(name, 'moved');
  assert.equal(await moved, 'moved');
});

test('scripts', async (t) => {
  const redis = connect(t);
  const name = key();
  redis.defineCommand('raise', {
    numberOfKeys: 1,
    lua: "return redis.call('incrby', KEYS[1], ARGV[1])",
  });
  assert.equal(await redis.get(name), null);
  assert.equal(await redis.raise(name, 5), 5);
  assert.equal(await redis.get(name), '5');
  assert.equal(await redis.raise(name, 5), 10);
  assert.equal(await redis.get(name), '10');
  await redis.script('FLUSH');
  assert.equal(await redis.raise(name, 1), 11); // EVALSHA, NOSCRIPT, EVAL
  assert.equal(await redis.get(name), '11');
  assert.deepEqual(await redis.pipeline().raise(name, 1).get(name).exec(), [[null, 12], [null, '12']]);
  assert.equal(await redis.eval("redis.call('set', KEYS[1], ARGV[1]) return 'done'", 1, name, 'x'), 'done');
  assert.equal(await redis.get(name), 'x');
  await assert.rejects(redis.eval("return redis.error_reply('MINE no')", 0), /MINE no/);
});

test('scans', async (t) => {
  const redis = connect(t);
  const name = key('scan');
  const names = Array.from({ length: 1200 }, (_, number) => `${name}:${number}`);
  await redis.mset(names.flatMap((each) => [each, '1']));
  const found = new Set();
  for await (const some of redis.scanStream({ match: `${name}:*`, count: 100 })) {
    some.forEach((each) => found.add(each));
  }
  assert.deepEqual([...found].sort(), [...names].sort());
  const hash = key('hash');
  await redis.hset(hash, Object.fromEntries(names.map((each) => [each, 'v'])));
  const fields = new Set();
  for await (const some of redis.hscanStream(hash, { count: 100 })) {
    for (let at = 0; at < some.length; at += 2) fields.add(some[at]);
  }
  assert.equal(fields.size, names.length);
});

test('keys that expire', async (t) => {
  const redis = connect(t);
  const name = key();
  await redis.set(name, 'short', 'PX', 300);
  assert.equal(await redis.get(name), 'short');
  await eventually(async () => await redis.get(name) === null, 5);
  await redis.set(name, 'kept');
  await redis.pexpire(name, 200);
  assert.equal(await redis.get(name), 'kept');
  await eventually(async () => await redis.get(name) === null, 5);
});

test('what was written on one connection is read on another', async (t) => {
  const [writer, reader] = [connect(t), connect(t)];
  const name = key();
  for (let number = 0; number < 300; number += 1) {
    await writer.set(name, number);
    assert.equal(await reader.get(name), String(number));
  }
});

test('another database', async (t) => {
  const [first, second] = [connect(t), connect(t, { db: 1 })];
  const name = key();
  await first.set(name, 'in 0');
  await second.set(name, 'in 1');
  assert.equal(await first.get(name), 'in 0');
  assert.equal(await second.get(name), 'in 1');
  await second.select(0);
  assert.equal(await second.get(name), 'in 0');
  assert.equal(await first.move(name, 2), 1);
  assert.equal(await first.get(name), null);
});

test('names, numbers and lists of clients', async (t) => {
  const redis = connect(t, { connectionName: 'a-name' });
  assert.equal(await redis.client('GETNAME'), 'a-name');
  const id = await redis.client('ID');
  const lines = (await redis.client('LIST')).trim().split('\n');
  assert.ok(lines.some((line) => line.includes(`id=${id} `) && line.includes('name=a-name ')));
  assert.match(await redis.info(), /redis_version:\d/);
});

test('MONITOR', async (t) => {
  const redis = connect(t);
  const monitor = await connect(t).monitor();
  t.after(() => monitor.disconnect());
  const seen = [];
  monitor.on('monitor', (time, words) => seen.push(words));
  const name = key();
  await eventually(async () => {
    await redis.set(name, 'watched');
    return seen.some((words) => words.includes(name));
  });
});

test('QUIT answers what was asked before', async () => {
  const redis = new Redis(port);
  const name = key();
  const answers = [redis.set(name, 'last'), redis.get(name), redis.quit()];
  assert.deepEqual(await Promise.all(answers), ['OK', 'last', 'OK']);
});

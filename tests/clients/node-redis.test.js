// node-redis with its defaults: what an application does with Redis, through the sidecar.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { closing, eventually, key, library, sleep, url } from './help.js';

const { createClient, createClientPool, WatchError } = await import(library);

async function connect(t, options = {}) {
  const client = createClient({ url, ...options });
  client.on('error', () => {});
  closing(t, client, (each) => each.destroy());
  await client.connect();
  return client;
}

// RESP2 gives lists and text where RESP3 gives maps and doubles: the client evens that out.
const plain = (value) => JSON.parse(JSON.stringify(value));

test('strings', async (t) => {
  const redis = await connect(t);
  const [name, count, other] = [key(), key(), key()];
  assert.equal(await redis.get(name), null);
  assert.equal(await redis.set(name, 'value'), 'OK');
  assert.equal(await redis.get(name), 'value');
  assert.equal(await redis.get(name), 'value');
  assert.equal(await redis.append(name, '!'), 6);
  assert.equal(await redis.get(name), 'value!');
  assert.equal(await redis.set(name, 'new', { condition: 'NX' }), null);
  assert.equal(await redis.set(name, 'new', { expiration: { type: 'EX', value: 100 } }), 'OK');
  assert.equal(await redis.get(name), 'new');
  assert.ok(await redis.ttl(name) > 90);
  assert.equal(await redis.incr(count), 1);
  assert.equal(await redis.incrBy(count, 41), 42);
  assert.equal(await redis.get(count), '42');
  assert.equal(await redis.mSet({ [name]: 'a', [other]: 'b' }), 'OK');
  assert.deepEqual(await redis.mGet([name, other, key()]), ['a', 'b', null]);
  assert.deepEqual(await redis.mGet([name, other]), ['a', 'b']);
  assert.equal(await redis.getDel(name), 'a');
  assert.equal(await redis.get(name), null);
  assert.equal(await redis.del([name, other]), 1);
  assert.equal(await redis.exists(other), 0);
  await assert.rejects(redis.sendCommand(['GET']), /wrong number of arguments/);
});

test('hashes', async (t) => {
  const redis = await connect(t);
  const name = key();
  assert.equal(await redis.hSet(name, { a: 1, b: 'two' }), 2);
  for (let turn = 0; turn < 3; turn += 1) {
    assert.deepEqual(plain(await redis.hGetAll(name)), { a: '1', b: 'two' });
    assert.equal(await redis.hGet(name, 'b'), 'two');
    assert.deepEqual(await redis.hmGet(name, ['a', 'none']), ['1', null]);
  }
  assert.equal(await redis.hIncrBy(name, 'a', 5), 6);
  assert.deepEqual(plain(await redis.hGetAll(name)), { a: '6', b: 'two' });
  assert.equal(await redis.hDel(name, ['a', 'b']), 2);
  assert.deepEqual(plain(await redis.hGetAll(name)), {});
});

test('lists', async (t) => {
  const redis = await connect(t);
  const [name, other] = [key(), key()];
  assert.equal(await redis.rPush(name, ['a', 'b', 'c']), 3);
  assert.deepEqual(await redis.lRange(name, 0, -1), ['a', 'b', 'c']);
  assert.equal(await redis.lPush(name, 'z'), 4);
  assert.deepEqual(await redis.lRange(name, 0, -1), ['z', 'a', 'b', 'c']);
  assert.equal(await redis.lMove(name, other, 'LEFT', 'RIGHT'), 'z');
  assert.deepEqual(await redis.lRange(other, 0, -1), ['z']);
  assert.deepEqual(await redis.lPopCount(name, 2), ['a', 'b']);
  assert.equal(await redis.lLen(name), 1);
});

test('sets', async (t) => {
  const redis = await connect(t);
  const [name, other] = [key(), key()];
  assert.equal(await redis.sAdd(name, ['a', 'b', 'c']), 3);
  assert.equal(await redis.sAdd(other, ['b', 'c', 'd']), 3);
  assert.deepEqual([...await redis.sMembers(name)].sort(), ['a', 'b', 'c']);
  assert.deepEqual([...await redis.sMembers(name)].sort(), ['a', 'b', 'c']);
  assert.deepEqual([...await redis.sInter([name, other])].sort(), ['b', 'c']);
  assert.equal(await redis.sIsMember(name, 'a'), 1);
  assert.equal(await redis.sRem(name, 'a'), 1);
  assert.equal(await redis.sIsMember(name, 'a'), 0);
  assert.deepEqual([...await redis.sMembers(name)].sort(), ['b', 'c']);
});

test('sorted sets', async (t) => {
  const redis = await connect(t);
  const name = key();
  const members = [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }, { score: Infinity, value: 'c' }];
  assert.equal(await redis.zAdd(name, members), 3);
  for (let turn = 0; turn < 3; turn += 1) {
    assert.deepEqual(await redis.zRange(name, 0, -1), ['a', 'b', 'c']);
    assert.deepEqual((await redis.zRangeWithScores(name, 0, -1)).map((each) => ({ ...each })),
      members.map(({ score, value }) => ({ value, score })));
    assert.equal(await redis.zScore(name, 'b'), 2.5);
    assert.equal(await redis.zScore(name, 'none'), null);
  }
  assert.equal(await redis.zIncrBy(name, 10, 'a'), 11);
  assert.deepEqual(await redis.zRange(name, 0, -1), ['b', 'a', 'c']);
  assert.deepEqual({ ...await redis.zPopMin(name) }, { value: 'b', score: 2.5 });
  assert.equal(await redis.zCard(name), 2);
});

test('streams', async (t) => {
  const [redis, reader] = [await connect(t), await connect(t)];
  const name = key();
  assert.equal(await redis.xAdd(name, '1-1', { field: 'one' }), '1-1');
  assert.deepEqual(plain(await redis.xRange(name, '-', '+')), [{ id: '1-1', message: { field: 'one' } }]);
  const waiting = reader.xRead({ key: name, id: '$' }, { BLOCK: 5000 });
  await sleep(100);
  const id = await redis.xAdd(name, '*', { field: 'two' });
  const [arrived] = plain(await waiting);
  assert.deepEqual(arrived, { name, messages: [{ id, message: { field: 'two' } }] });
  await redis.xGroupCreate(name, 'workers', '0');
  const taken = await redis.xReadGroup('workers', 'me', { key: name, id: '>' }, { COUNT: 1 });
  assert.equal(plain(taken)[0].messages[0].id, '1-1');
  assert.equal((await redis.xPending(name, 'workers')).pending, 1);
  assert.equal(await redis.xAck(name, 'workers', '1-1'), 1);
  assert.equal((await redis.xPending(name, 'workers')).pending, 0);
});

test('commands at once are one pipeline', async (t) => {
  const redis = await connect(t);
  const name = key();
  const answers = await Promise.all(Array.from({ length: 10000 }, (_, number) => (
    number % 2 ? redis.get(`${name}:${number >> 1}`) : redis.set(`${name}:${number >> 1}`, number))));
  for (let number = 0; number < 5000; number += 1) {
    assert.equal(answers[number * 2], 'OK');
    assert.equal(answers[number * 2 + 1], String(number * 2));
  }
});

test('transactions', async (t) => {
  const redis = await connect(t);
  const name = key();
  await redis.set(name, '1');
  assert.equal(await redis.get(name), '1');
  assert.deepEqual(await redis.multi().incr(name).get(name).exec(), [2, '2']);
  assert.equal(await redis.get(name), '2');
  assert.deepEqual(await redis.multi().set(name, '3').get(name).execAsPipeline(), ['OK', '3']);
  await assert.rejects(redis.multi().set(name, 'a').lPush(name, 'x').exec());
  assert.equal(await redis.get(name), 'a');
});

test('WATCH', async (t) => {
  const [redis, rival] = [await connect(t), await connect(t)];
  const name = key();
  await redis.set(name, '1');
  await redis.watch(name);
  assert.equal(await redis.get(name), '1');
  await rival.set(name, '2');
  await assert.rejects(redis.multi().set(name, '3').exec(), WatchError);
  assert.equal(await redis.get(name), '2');
  await redis.watch(name);
  assert.deepEqual(await redis.multi().set(name, '3').exec(), ['OK']);
  assert.equal(await rival.get(name), '3');
});

test('a pool', async (t) => {
  const pool = createClientPool({ url }, { minimum: 2, maximum: 5 });
  pool.on('error', () => {});
  closing(t, pool, (each) => each.destroy());
  await pool.connect();
  const name = key();
  await Promise.all(Array.from({ length: 200 }, () => pool.incr(name)));
  assert.equal(await pool.get(name), '200');
  const answer = await pool.execute(async (client) => {
    await client.watch(name);
    return client.multi().incr(name).exec();
  });
  assert.deepEqual(answer, [201]);
  assert.equal(await pool.get(name), '201');
});

test('publish and subscribe', async (t) => {
  const [subscriber, redis] = [await connect(t), await connect(t)];
  const [channel, pattern] = [key('channel'), key('pattern')];
  const messages = [];
  await subscriber.subscribe(channel, (message, from) => messages.push([from, message]));
  await subscriber.pSubscribe(`${pattern}*`, (message, from) => messages.push([from, message]));
  assert.equal(await redis.publish(channel, 'hello'), 1);
  assert.equal(await redis.publish(`${pattern}-x`, 'world'), 1);
  await eventually(() => messages.length === 2);
  assert.deepEqual(messages, [[channel, 'hello'], [`${pattern}-x`, 'world']]);
  await subscriber.unsubscribe(channel);
  await subscriber.pUnsubscribe();
  assert.equal(await redis.publish(channel, 'nobody'), 0);
  await redis.set(channel, 'as before');
  // Version 5 gives bytes from here on, also from Redis itself.
  assert.equal(String(await subscriber.get(channel)), 'as before');
});

test('sharded publish and subscribe', async (t) => {
  const [subscriber, redis] = [await connect(t), await connect(t)];
  const channel = key('shard');
  const messages = [];
  await subscriber.sSubscribe(channel, (message) => messages.push(message));
  assert.equal(await redis.sPublish(channel, 'hello'), 1);
  await eventually(() => messages.length === 1);
  assert.deepEqual(messages, ['hello']);
});

test('blocking pops', async (t) => {
  const [waiting, redis] = [await connect(t), await connect(t)];
  const name = key();
  const popped = waiting.blPop(name, 5);
  await sleep(100);
  await redis.rPush(name, 'late');
  assert.deepEqual(plain(await popped), { key: name, element: 'late' });
  assert.equal(await waiting.brPop(name, 0.1), null);
  assert.equal(await waiting.get(name), null);
  const least = waiting.bzPopMin(name, 5);
  await sleep(100);
  await redis.zAdd(name, { score: 7, value: 'member' });
  assert.deepEqual(plain(await least), { key: name, value: 'member', score: 7 });
});

test('scripts', async (t) => {
  const redis = await connect(t);
  const name = key();
  const script = "return redis.call('incrby', KEYS[1], ARGV[1])";
  const options = { keys: [name], arguments: ['5'] };
  assert.equal(await redis.get(name), null);
  assert.equal(await redis.eval(script, options), 5);
  assert.equal(await redis.get(name), '5');
  const sha = await redis.scriptLoad(script);
  assert.equal(await redis.evalSha(sha, options), 10);
  assert.equal(await redis.get(name), '10');
  await redis.scriptFlush();
  await assert.rejects(redis.evalSha(sha, options), /NOSCRIPT/);
  assert.equal(await redis.eval(script, options), 15);
  assert.equal(await redis.evalSha(sha, options), 20);
  assert.equal(await redis.get(name), '20');
});

test('functions', async (t) => {
  const redis = await connect(t);
  const name = key();
  await redis.functionLoad(`#!lua name=mine
    redis.register_function('raise', function(keys, args)
      return redis.call('incrby', keys[1], args[1])
    end)`, { REPLACE: true });
  assert.equal(await redis.get(name), null);
  assert.equal(await redis.fCall('raise', { keys: [name], arguments: ['7'] }), 7);
  assert.equal(await redis.get(name), '7');
});

test('scans', async (t) => {
  const redis = await connect(t);
  const name = key('scan');
  const names = Array.from({ length: 1200 }, (_, number) => `${name}:${number}`);
  await redis.mSet(names.flatMap((each) => [each, '1']));
  const found = new Set();
  for await (const some of redis.scanIterator({ MATCH: `${name}:*`, COUNT: 100 })) {
    some.forEach((each) => found.add(each));
  }
  assert.deepEqual([...found].sort(), [...names].sort());
  const hash = key('hash');
  await redis.hSet(hash, Object.fromEntries(names.map((each) => [each, 'v'])));
  let fields = 0;
  for await (const some of redis.hScanIterator(hash, { COUNT: 100 })) fields += some.length;
  assert.equal(fields, names.length);
});

test('keys that expire', async (t) => {
  const redis = await connect(t);
  const name = key();
  await redis.set(name, 'short', { expiration: { type: 'PX', value: 300 } });
  assert.equal(await redis.get(name), 'short');
  await eventually(async () => await redis.get(name) === null, 5);
});

test('what was written on one connection is read on another', async (t) => {
  const [writer, reader] = [await connect(t), await connect(t)];
  const name = key();
  for (let number = 0; number < 300; number += 1) {
    await writer.set(name, String(number));
    assert.equal(await reader.get(name), String(number));
  }
});

test('another database', async (t) => {
  const [first, second] = [await connect(t), await connect(t, { database: 1 })];
  const name = key();
  await first.set(name, 'in 0');
  await second.set(name, 'in 1');
  assert.equal(await first.get(name), 'in 0');
  assert.equal(await second.get(name), 'in 1');
  await second.select(0);
  assert.equal(await second.get(name), 'in 0');
});

test('RESP3', async (t) => {
  const redis = await connect(t, { RESP: 3 });
  const name = key();
  await redis.hSet(name, { a: '1' });
  for (let turn = 0; turn < 3; turn += 1) {
    assert.deepEqual(plain(await redis.hGetAll(name)), { a: '1' });
  }
  const scores = key();
  await redis.zAdd(scores, { score: 1.5, value: 'a' });
  assert.equal(await redis.zScore(scores, 'a'), 1.5);
  assert.equal(await redis.zScore(scores, 'a'), 1.5);
});

test("the client's own cache, by CLIENT TRACKING", async (t) => {
  const redis = await connect(t, { RESP: 3, clientSideCache: { ttl: 0, maxEntries: 0 } });
  const rival = await connect(t);
  const name = key();
  await rival.set(name, '1');
  assert.equal(await redis.get(name), '1');
  assert.equal(await redis.get(name), '1');
  await rival.set(name, '2');
  await eventually(async () => await redis.get(name) === '2', 5);
});

test('names and lists of clients', async (t) => {
  const redis = await connect(t, { name: 'a-name' });
  assert.equal(await redis.clientGetName(), 'a-name');
  const id = await redis.clientId();
  const all = await redis.clientList();
  assert.ok(all.some((each) => each.id === id && each.name === 'a-name'));
  assert.match(await redis.info(), /redis_version:\d/);
});

test('MONITOR', async (t) => {
  const [redis, monitor] = [await connect(t), await connect(t)];
  const seen = [];
  await monitor.monitor((line) => seen.push(String(line)));
  const name = key();
  await eventually(async () => {
    await redis.set(name, 'watched');
    return seen.some((line) => line.includes(name));
  });
});

test('RESET', async (t) => {
  const [redis, rival] = [await connect(t), await connect(t)];
  const name = key();
  await redis.watch(name);
  await redis.reset();
  await rival.set(name, '1');
  assert.deepEqual(await redis.sendCommand(['INCR', name]), 2);
  assert.equal(await rival.get(name), '2');
  assert.equal(await redis.get(name), '2');
});

test('closing answers what was asked before', async (t) => {
  const redis = await connect(t);
  const name = key();
  const answers = [redis.set(name, 'last'), redis.get(name)];
  await redis.close();
  assert.deepEqual(await Promise.all(answers), ['OK', 'last']);
});

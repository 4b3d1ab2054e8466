// Clients that connect while Redis is down, or live through it: with their defaults, and without
// a word of code about outages.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { beforeEach, test } from 'node:test';

import { closing, eventually, key, library, port, redis, url } from './help.js';

const kinds = {
  'ioredis': connectIoredis,
  'ioredis-6': connectIoredis,
  'redis': connectNodeRedis,
  'redis-6': connectNodeRedis,
};
const connect = kinds[library];
const PLAN_7 = '{"tier":"basic","n":7}';

// What both have, by the same names: get, set, subscribe(channel, onMessage), publish.
async function connectIoredis(t) {
  const { default: Redis } = await import(library);
  const client = closing(t, new Redis(port), (each) => each.disconnect());
  client.on('error', () => {});
  return {
    get: (name) => client.get(name),
    set: (name, value) => client.set(name, value),
    publish: (channel, message) => client.publish(channel, message),
    subscribe: async (channel, onMessage) => {
      client.on('message', (_, message) => onMessage(message));
      await client.subscribe(channel);
    },
    multi: (name) => client.multi().incr(name).exec(),
    pop: (name) => client.blpop(name, 20),
  };
}

async function connectNodeRedis(t) {
  const { createClient } = await import(library);
  const client = closing(t, createClient({ url }), (each) => each.destroy());
  client.on('error', () => {});
  await client.connect();
  return {
    get: (name) => client.get(name),
    set: (name, value) => client.set(name, value),
    publish: (channel, message) => client.publish(channel, message),
    subscribe: (channel, onMessage) => client.subscribe(channel, onMessage),
    multi: (name) => client.multi().incr(name).exec(),
    pop: (name) => client.blPop(name, 20),
  };
}

async function within(seconds, promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}

beforeEach(() => redis('ready'));

test('connects while Redis is down, reads a mapped key, and recovers by itself', async (t) => {
  await redis('stop');
  const client = await within(3, connect(t));
  assert.equal(await within(2, client.get('plan:7')), PLAN_7);
  await assert.rejects(within(2, client.get(key())), /REDISDOWN/);
  await assert.rejects(within(2, client.set(key(), 'x')), /REDISDOWN/);
  await redis('start');
  const name = key();
  await eventually(async () => await client.set(name, 'after') === 'OK');
  assert.equal(await client.get(name), 'after');
  assert.equal(await client.get('plan:7'), PLAN_7);
});

test('lives through an outage', async (t) => {
  const client = await connect(t);
  const name = key();
  await client.set(name, 'before');
  assert.equal(await client.get(name), 'before');
  assert.equal(await client.get('plan:7'), PLAN_7);
  await redis('stop');
  for (let turn = 0; turn < 20; turn += 1) {
    assert.equal(await within(2, client.get('plan:7')), PLAN_7);
    assert.equal(await within(2, client.get('plan:20')), '{"tier":"plus","n":20}');
  }
  assert.equal(await within(2, client.get(name)), 'before'); // from memory
  await redis('start');
  await eventually(async () => await client.set(name, 'after') === 'OK');
  assert.equal(await client.get(name), 'after');
});

test('a write to a mapped key during an outage holds', async (t) => {
  const client = await connect(t);
  assert.equal(await client.get('plan:7'), PLAN_7);
  await redis('stop');
  assert.equal(await within(2, client.set('plan:9', 'mine')), 'OK');
  assert.equal(await within(2, client.get('plan:9')), 'mine');
  await redis('start');
  await eventually(async () => await client.set(key(), 'x') === 'OK');
});

test('subscriptions come back', async (t) => {
  const [subscriber, client] = [await connect(t), await connect(t)];
  const channel = key('channel');
  const messages = [];
  await subscriber.subscribe(channel, (message) => messages.push(message));
  await eventually(async () => {
    await client.publish(channel, 'before');
    return messages.includes('before');
  });
  await redis('stop');
  await redis('start');
  await eventually(async () => {
    await client.publish(channel, 'after');
    return messages.includes('after');
  }, 15);
});

test('subscriptions come back after an outage of two seconds', async (t) => {
  const [subscriber, client] = [await connect(t), await connect(t)];
  const channel = key('channel');
  const messages = [];
  await subscriber.subscribe(channel, (message) => messages.push(message));
  await redis('stop');
  await new Promise((resolve) => { setTimeout(resolve, 2000); });
  await redis('start');
  await eventually(async () => {
    await client.publish(channel, 'after');
    return messages.includes('after');
  }, 15);
});

test('transactions and blocking pops work again after an outage', async (t) => {
  const client = await connect(t);
  await client.multi(key());
  await redis('stop');
  await assert.rejects(within(5, client.multi(key())));
  await redis('start');
  const name = key();
  await eventually(async () => Boolean(await client.multi(name)));
  const popped = client.pop(key());
  popped.catch(() => {});
  const other = await connect(t);
  assert.equal(await other.set(key(), 'x'), 'OK');
});

if (library === 'ioredis') {
  test('BullMQ works on after an outage', async (t) => {
    const { Queue, Worker } = createRequire(import.meta.url)('bullmq');
    const connection = { host: '127.0.0.1', port };
    const name = key('queue').replaceAll(':', '-');
    const done = [];
    const queue = closing(t, new Queue(name, { connection }), (each) => each.close());
    const worker = closing(t, new Worker(name, async (job) => done.push(job.name), { connection }),
      (each) => each.close(true));
    for (const each of [queue, worker]) each.on('error', () => {});
    await queue.add('before', {});
    await eventually(() => done.includes('before'));
    await redis('stop');
    await redis('start');
    await eventually(async () => {
      await queue.add('after', {});
      return done.includes('after');
    }, 20);
  });
}

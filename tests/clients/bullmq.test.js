// BullMQ with its defaults: Lua scripts, blocking pops, streams and transactions, all at once.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { closing, eventually, key, port, sleep } from './help.js';

// As CommonJS: what an application on node 18 gets.
const { FlowProducer, Queue, QueueEvents, Worker } = createRequire(import.meta.url)('bullmq');

const connection = { host: '127.0.0.1', port };
const shut = (each) => each.close();

function open(t, work, options = {}) {
  const name = key('queue').replaceAll(':', '-');
  const queue = closing(t, new Queue(name, { connection }), shut);
  const worker = work && closing(t, new Worker(name, work, { connection, ...options }), shut);
  for (const each of [queue, worker]) each?.on('error', () => {});
  return { name, queue, worker };
}

test('a queue and a worker', async (t) => {
  const done = [];
  const { queue } = open(t, async (job) => {
    done.push(job.data.number);
    return job.data.number * 2;
  });
  for (let number = 0; number < 20; number += 1) await queue.add('double', { number });
  await eventually(() => done.length === 20);
  assert.deepEqual(done, Array.from({ length: 20 }, (_, number) => number));
  await eventually(async () => (await queue.getJobCounts()).completed === 20);
  const jobs = await queue.getCompleted();
  assert.deepEqual(jobs.map((job) => job.returnvalue).sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, number) => number * 2));
});

test('many jobs at once', async (t) => {
  let done = 0;
  const { queue } = open(t, async () => { done += 1; }, { concurrency: 20 });
  await queue.addBulk(Array.from({ length: 500 }, (_, number) => ({ name: 'job', data: { number } })));
  await eventually(() => done === 500);
  await eventually(async () => (await queue.getJobCounts()).completed === 500);
});

test('a delayed job', async (t) => {
  const { queue } = open(t);
  const arrived = [];
  const started = Date.now();
  await queue.add('later', {}, { delay: 600 });
  assert.equal((await queue.getJobCounts()).delayed, 1);
  const worker = closing(t, new Worker(queue.name, async () => arrived.push(Date.now() - started),
    { connection }), shut);
  worker.on('error', () => {});
  await eventually(() => arrived.length === 1);
  assert.ok(arrived[0] >= 590 && arrived[0] < 3000, `after ${arrived[0]} ms`);
});

test('a worker that waits is woken', async (t) => {
  const arrived = [];
  const { queue, worker } = open(t, async () => arrived.push(Date.now()));
  await worker.waitUntilReady();
  await sleep(300);
  const added = Date.now();
  await queue.add('now', {});
  await eventually(() => arrived.length === 1);
  assert.ok(arrived[0] - added < 1000, `after ${arrived[0] - added} ms`);
});

test('a job that fails is tried again', async (t) => {
  let tries = 0;
  const { queue } = open(t, async () => {
    tries += 1;
    if (tries < 3) throw new Error('not yet');
    return 'done';
  });
  const job = await queue.add('stubborn', {}, { attempts: 5, backoff: { type: 'fixed', delay: 50 } });
  await eventually(async () => await job.getState() === 'completed');
  assert.equal(tries, 3);
});

test('events tell when a job has ended', async (t) => {
  const { name, queue } = open(t, async (job) => job.data.word.toUpperCase());
  const events = closing(t, new QueueEvents(name, { connection }), shut);
  events.on('error', () => {});
  await events.waitUntilReady();
  const job = await queue.add('shout', { word: 'hello' });
  assert.equal(await job.waitUntilFinished(events, 10000), 'HELLO');
});

test('priorities, pausing and removal', async (t) => {
  const { queue } = open(t);
  await queue.add('third', {}, { priority: 3 });
  await queue.add('first', {}, { priority: 1 });
  const removed = await queue.add('second', {}, { priority: 2 });
  await removed.remove();
  await queue.pause();
  const done = [];
  const worker = closing(t, new Worker(queue.name, async (job) => done.push(job.name),
    { connection }), shut);
  worker.on('error', () => {});
  await sleep(200);
  assert.deepEqual(done, []);
  await queue.resume();
  await eventually(() => done.length === 2);
  assert.deepEqual(done, ['first', 'third']);
});

test('a job that comes again and again', async (t) => {
  let times = 0;
  const { queue } = open(t, async () => { times += 1; });
  await queue.upsertJobScheduler('tick', { every: 150 });
  await eventually(() => times >= 3);
  assert.equal(await queue.removeJobScheduler('tick'), true);
});

test('a flow: the parent after its children', async (t) => {
  const order = [];
  const { name } = open(t, async (job) => { order.push(job.name); });
  const producer = closing(t, new FlowProducer({ connection }), shut);
  producer.on('error', () => {});
  await producer.add({
    name: 'parent', queueName: name,
    children: [{ name: 'child', queueName: name, data: {} }, { name: 'child', queueName: name }],
  });
  await eventually(() => order.length === 3);
  assert.deepEqual(order, ['child', 'child', 'parent']);
});

test('a limit on the rate', async (t) => {
  const times = [];
  const { queue } = open(t, async () => times.push(Date.now()), { limiter: { max: 2, duration: 400 } });
  await queue.addBulk(Array.from({ length: 6 }, () => ({ name: 'job', data: {} })));
  await eventually(() => times.length === 6);
  assert.ok(times[5] - times[0] >= 700, `within ${times[5] - times[0]} ms`);
});

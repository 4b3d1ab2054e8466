// What the tests share: where the sidecar is, which client it is about, and the control of Redis.

import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

// Set by tests/integration/test_node_clients.py; by hand: any sidecar, and no outages.
export const port = Number(process.env.SIDECAR_PORT ?? 6380);
export const url = `redis://127.0.0.1:${port}`;
export const library = process.env.CLIENT_LIBRARY;

// redis('stop') kills Redis, redis('start') starts it again, redis('ready') also waits until the
// sidecar knows; returns when that is done.
export async function redis(action) {
  const answer = await fetch(`http://127.0.0.1:${process.env.CONTROL_PORT}/${action}`);
  if (!answer.ok) throw new Error(`${action}: ${await answer.text()}`);
}

// Polls until `check` returns something true and does not throw; returns that.
export async function eventually(check, seconds = 10) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    let result;
    try {
      result = await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`did not come true within ${seconds} s: ${check}`);
    await sleep(20);
  }
}

let names = 0;

// A key that no other test uses.
export function key(name = 'key') {
  names += 1;
  return `${library}:${process.pid}:${name}:${names}`;
}

// Closes what a test has opened, also when it fails: `after` is the test's own t.after.
export function closing(t, client, close) {
  t.after(async () => {
    try {
      await close(client);
    } catch {
      // It may be closed already.
    }
  });
  return client;
}

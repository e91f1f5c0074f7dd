// SPDX-License-Identifier: Apache-2.0
// npm ioredis against a daemon: node node_ioredis.mjs HOST PORT
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(process.cwd() + '/');
const Redis = require('ioredis');
const [host, port] = process.argv.slice(2);
const client = new Redis({ host, port: Number(port), retryStrategy: () => 50 });
client.on('error', () => {});
const k = (name) => `ioredis/${name}`;

assert.equal(await client.set(k('a'), 'one'), 'OK');
assert.equal(await client.get(k('a')), 'one');
assert.equal(await client.get(k('none')), null);
assert.deepEqual(await client.mget(k('a'), k('none')), ['one', null]);
assert.equal(await client.set(k('a'), 'two', 'NX'), null);
assert.equal(await client.set(k('t'), 'x', 'PX', 100000), 'OK');
assert.ok((await client.pttl(k('t'))) > 90000);
assert.equal(await client.unlink(k('t')), 1);

// Its pipelines, and its automatic ones.
const replies = await client.pipeline().set(k('p'), '1').get(k('p')).exists(k('p')).exec();
assert.deepEqual(replies, [[null, 'OK'], [null, '1'], [null, 1]]);
const values = await Promise.all(Array.from({ length: 1000 }, () => client.get(k('p'))));
assert.ok(values.every((value) => value === '1'));

const seen = [];
for await (const batch of client.scanStream({ match: k('*') })) seen.push(...batch);
assert.deepEqual(seen.sort(), [k('a'), k('p')]);
assert.deepEqual(await client.getBuffer(k('p')), Buffer.from('1'));
await assert.rejects(client.lpush(k('list'), '1'));

const subscriber = new Redis({ host, port: Number(port) });
const heard = new Promise((resolve) => subscriber.on('message', (...words) => resolve(words)));
await subscriber.subscribe(`__keyevent@0__:set`);
await client.set(k('s'), '1');
assert.deepEqual(await heard, ['__keyevent@0__:set', k('s')]);
subscriber.disconnect();

// A connection that is cut is made again, and the commands go on.
const id = await client.client('ID');
const other = new Redis({ host, port: Number(port) });
await other.client('KILL', 'ID', id);
assert.equal(await client.get(k('p')), '1');
other.disconnect();
client.disconnect();
console.log('all held');

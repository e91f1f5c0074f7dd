// SPDX-License-Identifier: Apache-2.0
// npm redis against a daemon: node node_redis.mjs HOST PORT PROTOCOL
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(process.cwd() + '/');
const { createClient } = require('redis');
const [host, port, protocol] = process.argv.slice(2);

const options = { socket: { host, port: Number(port) }, RESP: Number(protocol) };
const client = createClient(options);
client.on('error', (error) => { console.error(error); process.exit(1); });
await client.connect();
const k = (name) => `node${protocol}/${name}`;

assert.equal(await client.set(k('a'), 'one'), 'OK');
assert.equal(await client.get(k('a')), 'one');
assert.equal(await client.get(k('none')), null);
assert.deepEqual(await client.mGet([k('a'), k('none')]), ['one', null]);
assert.equal(await client.set(k('a'), 'two', { NX: true }), null);
assert.equal(await client.set(k('t'), 'x', { EX: 100 }), 'OK');
const ttl = await client.ttl(k('t'));
assert.ok(ttl > 90 && ttl <= 100);
assert.equal(await client.exists([k('a'), k('t')]), 2);
assert.equal(await client.del([k('t'), k('none')]), 1);
assert.equal(await client.type(k('a')), 'string');
assert.equal(await client.strLen(k('a')), 3);
assert.equal(await client.ping(), 'PONG');

// A thousand commands in flight on one connection come back in their order.
await Promise.all(Array.from({ length: 500 }, (_, i) => client.set(k(`p/${i}`), String(i))));
const values = await Promise.all(Array.from({ length: 500 }, (_, i) => client.get(k(`p/${i}`))));
assert.deepEqual(values, Array.from({ length: 500 }, (_, i) => String(i)));

const seen = new Set();
for await (const batch of client.scanIterator({ MATCH: k('p/*'), COUNT: 100 })) {
  for (const key of Array.isArray(batch) ? batch : [batch]) seen.add(key);
}
assert.equal(seen.size, 500);

const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
await client.set(k('bytes'), bytes);
const commandOptions = require('redis').commandOptions;
if (commandOptions) {
  assert.deepEqual(await client.get(commandOptions({ returnBuffers: true }), k('bytes')), bytes);
}

await assert.rejects(client.sendCommand(['LPUSH', k('list'), '1']), /no configuration operation|unknown command|not/i);

// Changes come to a subscriber on its own connection.
const subscriber = client.duplicate();
subscriber.on('error', () => {});
await subscriber.connect();
const heard = new Promise((resolve) => {
  subscriber.pSubscribe('__keyspace@0__:*', (message, channel) => {
    if (channel.endsWith(k('s'))) resolve([channel, message]);
  }).then(() => client.set(k('s'), '1'));
});
assert.deepEqual(await heard, [`__keyspace@0__:${k('s')}`, 'set']);
await subscriber.disconnect();
await client.quit();
console.log('all held');

// The quick starts, as they stand, against `dev`.
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { test } from "node:test";
import { compressionGzip } from "@connectrpc/connect-node";
import * as connect from "./connect.js";
import * as sdk from "./gitpod-sdk.js";
import { dev } from "./dev.js";

const CONTENT_TYPES = {
  "connect-json": "application/json",
  "connect-proto": "application/proto",
  "grpc": "application/grpc+proto",
  "grpc-web": "application/grpc-web+proto",
};
// Three pages, a prebuild, a pool and a page of pools.
const READS = 6;
const gzip = { sendCompression: compressionGzip, acceptCompression: [compressionGzip], compressMinBytes: 0 };

test("@gitpod/sdk, Connect JSON without its headers", async (test) => {
  const { url, key, projectId, environmentClassId } = await dev(test);
  await sdk.quickstart(`${url}/api`, key, projectId, environmentClassId);
});

for (const [protocol, contentType] of Object.entries(CONTENT_TYPES)) {
  const transport = connect.transports[protocol];

  test(`connect-node, ${protocol}`, async (test) => {
    assert.deepEqual(await run(test, transport), [contentType]);
  });

  test(`connect-node, ${protocol}, HTTP/2, gzip, a path prefix`, async (test) => {
    assert.deepEqual(await run(test, transport, { httpVersion: "2", ...gzip }, "/api"), [contentType]);
  });
}

for (const encoding of ["json", "proto"]) {
  test(`connect-node, connect-${encoding}, GET for what only reads`, async (test) => {
    const requests = new Set();
    const watch = ({ request }) => requests.add(request);
    subscribe("http.client.request.start", watch);
    test.after(() => unsubscribe("http.client.request.start", watch));

    await run(test, connect.transports[`connect-${encoding}`], { useHttpGet: true, ...gzip });

    const reads = [...requests].filter((request) => request.method === "GET");
    assert.equal(reads.length, READS);
    assert.ok(reads.every((request) => request.path.includes(`encoding=${encoding}`)));
  });
}

/** Returns which content types were sent. */
async function run(test, transport, options = {}, prefix = "") {
  const { url, key, projectId, environmentClassId } = await dev(test);
  const sent = new Set();
  const watch = (next) => (request) => {
    sent.add(request.header.get("content-type"));
    return next(request);
  };
  const made = transport({ baseUrl: url + prefix, interceptors: [connect.withKey(key), watch], ...options });
  await connect.quickstart(made, projectId, environmentClassId);
  return [...sent];
}

// Quick start for Node with connectrpc: any of four protocols, on one port; set the base URL and send the key.
//
//   npm install @connectrpc/connect @connectrpc/connect-node @bufbuild/protobuf
//   node connect.js http://127.0.0.1:8080 KEY PROJECT_ID ENVIRONMENT_CLASS_ID [connect-json|connect-proto|grpc|grpc-web]
//
// gen/ is made from the gateway's proto/ by `buf generate`; see buf.gen.yaml.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { PrebuildService } from "./gen/gitpod/v1/prebuild_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

export const transports = {
  "connect-json": (options) => createConnectTransport({ httpVersion: "1.1", useBinaryFormat: false, ...options }),
  "connect-proto": (options) => createConnectTransport({ httpVersion: "1.1", useBinaryFormat: true, ...options }),
  "grpc": (options) => createGrpcTransport(options),
  "grpc-web": (options) => createGrpcWebTransport({ httpVersion: "1.1", ...options }),
};

export function withKey(key) {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
}

export async function quickstart(transport, projectId, environmentClassId) {
  const client = createClient(PrebuildService, transport);
  await prebuilds(client, projectId);
  await warmPools(client, projectId, environmentClassId);
  await refusal(client, projectId);
}

async function prebuilds(client, projectId) {
  const created = [];
  for (let i = 0; i < 3; i++) {
    const { prebuild } = await client.createPrebuild({ projectId, spec: { timeout: { seconds: 3600n } } });
    created.unshift(prebuild.id);
  }

  const listed = [];
  let token = "";
  for (let page = 0; page < 3; page++) {
    const filter = { projectIds: [projectId] };
    const reply = await client.listPrebuilds({ pagination: { pageSize: 1, token }, filter });
    listed.push(...reply.prebuilds.map((prebuild) => prebuild.id));
    token = reply.pagination?.nextToken;
  }
  assert.deepEqual(listed, created, "three pages of one, newest first");

  const [prebuildId] = created;
  const { prebuild } = await client.getPrebuild({ prebuildId });
  assert.equal(prebuild.spec.timeout.seconds, 3600n);
  assert.ok((await client.createPrebuildLogsToken({ prebuildId })).accessToken);
  assert.equal((await client.cancelPrebuild({ prebuildId })).prebuild.id, prebuildId);
  await client.deletePrebuild({ prebuildId });
}

async function warmPools(client, projectId, environmentClassId) {
  const { warmPool } = await client.createWarmPool({ projectId, environmentClassId, maxSize: 3 });
  const warmPoolId = warmPool.id;
  assert.equal((await client.getWarmPool({ warmPoolId })).warmPool.spec.maxSize, 3);
  assert.ok((await client.listWarmPools({})).warmPools.some((pool) => pool.id === warmPoolId));

  // 0 is not "not set": the pool may scale down to nothing.
  const { spec } = (await client.updateWarmPool({ warmPoolId, minSize: 0 })).warmPool;
  assert.deepEqual([spec.minSize, spec.maxSize], [0, 3]);
  await client.deleteWarmPool({ warmPoolId });
}

async function refusal(client, projectId) {
  const error = await client.createPrebuild({ projectId, spec: { timeout: { seconds: 7201n } } }).then(
    () => assert.fail("two hours is the most"),
    (error) => ConnectError.from(error),
  );
  assert.equal(error.code, Code.InvalidArgument);
  const [info] = error.findDetails(ErrorInfoSchema);
  assert.deepEqual([info.domain, info.reason], ["prebuild-gateway", "GUARDRAIL"]);
  const [violation] = error.findDetails(BadRequestSchema)[0].fieldViolations;
  assert.equal(violation.field, "spec.timeout");
  console.log("refused:", violation.field, violation.description);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [baseUrl, key, projectId, environmentClassId, protocol = "connect-json"] = process.argv.slice(2);
  await quickstart(transports[protocol]({ baseUrl, interceptors: [withKey(key)] }), projectId, environmentClassId);
}

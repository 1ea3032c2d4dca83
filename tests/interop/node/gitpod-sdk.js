// Quick start for Node with the official SDK: set the base URL and the key, and nothing else.
//
//   npm install @gitpod/sdk@0.6.0
//   node gitpod-sdk.js http://127.0.0.1:8080/api KEY PROJECT_ID ENVIRONMENT_CLASS_ID
//
// This version has no methods for prebuilds; `client.post` calls them.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import Gitpod, { BadRequestError } from "@gitpod/sdk";

export async function quickstart(baseURL, key, projectId, environmentClassId) {
  const client = new Gitpod({ baseURL, bearerToken: key });

  const { organizationId } = await client.identity.getAuthenticatedIdentity();
  console.log("calls for organization", organizationId);

  const call = (method, body, query) => client.post(`/gitpod.v1.PrebuildService/${method}`, { body, query });
  await prebuilds(call, projectId);
  await warmPools(call, projectId, environmentClassId);
  await refusal(call, projectId);
}

async function prebuilds(call, projectId) {
  const created = [];
  for (let i = 0; i < 3; i++) {
    const { prebuild } = await call("CreatePrebuild", { projectId, spec: { timeout: "3600s" } });
    created.unshift(prebuild.id);
  }

  // As the SDK's own lists do it: the page is asked for in the URL, and the body stays.
  const listed = [];
  let token;
  for (let page = 0; page < 3; page++) {
    const reply = await call("ListPrebuilds", { filter: { projectIds: [projectId] } }, { pageSize: 1, token });
    listed.push(...reply.prebuilds.map((prebuild) => prebuild.id));
    token = reply.pagination?.nextToken;
  }
  assert.deepEqual(listed, created, "three pages of one, newest first");

  const [prebuildId] = created;
  assert.equal((await call("GetPrebuild", { prebuildId })).prebuild.spec.timeout, "3600s");
  assert.ok((await call("CreatePrebuildLogsToken", { prebuildId })).accessToken);
  assert.equal((await call("CancelPrebuild", { prebuildId })).prebuild.id, prebuildId);
  await call("DeletePrebuild", { prebuildId });
}

async function warmPools(call, projectId, environmentClassId) {
  // null means "not set", as if it were left out.
  const { warmPool } = await call("CreateWarmPool", { projectId, environmentClassId, minSize: null, maxSize: 3 });
  const warmPoolId = warmPool.id;
  assert.equal((await call("GetWarmPool", { warmPoolId })).warmPool.spec.maxSize, 3);
  assert.ok((await call("ListWarmPools", {})).warmPools.some((pool) => pool.id === warmPoolId));

  // 0 is not null: the pool may scale down to nothing.
  const { spec } = (await call("UpdateWarmPool", { warmPoolId, minSize: 0 })).warmPool;
  assert.deepEqual([spec.minSize, spec.maxSize], [0, 3]);
  await call("DeleteWarmPool", { warmPoolId });
}

async function refusal(call, projectId) {
  const error = await call("CreatePrebuild", { projectId, spec: { timeout: "7201s" } }).then(
    () => assert.fail("two hours is the most"),
    (error) => error,
  );
  assert.ok(error instanceof BadRequestError, error);
  assert.equal(error.code, "invalid_argument");
  // The SDK hands on what the error says as it came: protobuf in base64. Its texts can be read without a schema.
  const details = Object.fromEntries(error.error.details.map(({ type, value }) => [type, atob(value)]));
  assert.ok(details["google.rpc.ErrorInfo"].includes("GUARDRAIL"));
  assert.ok(details["google.rpc.BadRequest"].includes("spec.timeout"));
  console.log("refused:", error.message);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await quickstart(...process.argv.slice(2));
}

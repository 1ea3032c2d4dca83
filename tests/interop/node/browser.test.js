// A page in Chromium calls the gateway, which is another origin to it.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { build } from "esbuild";
import { launch } from "puppeteer-core";
import { withKey } from "./connect.js";
import { dev } from "./dev.js";
import { PrebuildService } from "./gen/gitpod/v1/prebuild_pb.js";

// A browser on a busy machine starts within seconds; what takes longer hangs.
const PATIENCE = 60_000;
const HTML = '<!doctype html><meta charset="utf-8"><title>Prebuilds</title><script src="page.js"></script>';

let browser, script;

before(async () => {
  const entry = fileURLToPath(new URL("page.js", import.meta.url));
  const bundle = await build({ entryPoints: [entry], bundle: true, write: false, format: "iife", logLevel: "warning" });
  script = bundle.outputFiles[0].text;
  browser = await launch({
    executablePath: process.env.CHROMIUM,
    timeout: PATIENCE,
    // As root there is no sandbox, and in a container little shared memory. It shows only pages of this test.
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
});

after(() => browser?.close());

for (const protocol of ["connect-json", "connect-proto", "connect-get", "grpc-web"]) {
  test(`connect-web, ${protocol}, in Chromium, from a page that may call`, async (test) => {
    const origin = await site(test);
    const gateway = await dev(test, "--cors-origin", origin);
    const prebuildId = await createPrebuild(gateway);
    const { listPrebuilds, seen } = await open(test, origin);

    assert.deepEqual(await listPrebuilds(protocol, gateway, 10), { ids: [prebuildId] });

    const preflight = await seen((event) => event.request?.method === "OPTIONS");
    const answer = await seen((event) => event.requestId === preflight.requestId && event.response);
    assert.equal(answer.response.headers["access-control-allow-origin"], origin);
    const method = protocol === "connect-get" ? "GET" : "POST";
    await seen((event) => event.request?.method === method && event.type === "Fetch");

    // The page may read what an error says, wherever its protocol puts that.
    const refused = await listPrebuilds(protocol, gateway, 101);
    assert.deepEqual(refused, { code: "InvalidArgument", fields: ["pagination.page_size"] });
  });
}

for (const protocol of ["connect-json", "grpc-web"]) {
  test(`connect-web, ${protocol}, in Chromium, from a page that may not`, async (test) => {
    const [origin, other] = [await site(test), await site(test)];
    const gateway = await dev(test, "--cors-origin", other);
    const { listPrebuilds, seen } = await open(test, origin);

    const blocked = await listPrebuilds(protocol, gateway, 10);

    assert.equal(blocked.ids, undefined);
    const failed = await seen((event) => event.corsErrorStatus);
    assert.equal(failed.corsErrorStatus.corsError, "PreflightMissingAllowOriginHeader");
  });
}

/** Serves the page, and is an origin of its own. */
async function site(test) {
  const server = createServer((request, response) => {
    const [type, body] = request.url === "/page.js" ? ["text/javascript", script] : ["text/html", HTML];
    response.writeHead(200, { "content-type": type }).end(body);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Opens the page in a profile that remembers no preflight, and keeps what goes over the network. */
async function open(test, origin) {
  const profile = await browser.createBrowserContext();
  test.after(() => profile.close());
  const page = await profile.newPage();
  const network = await page.createCDPSession();
  const events = [];
  for (const name of ["requestWillBeSent", "responseReceived", "loadingFailed"]) {
    network.on(`Network.${name}`, (event) => events.push(event));
  }
  await network.send("Network.enable");
  await page.goto(origin);
  const listPrebuilds = (protocol, { url, key }, pageSize) =>
    page.evaluate((...call) => window.listPrebuilds(...call), protocol, url, key, pageSize);
  // What the page has seen the browser may still be about to tell.
  const seen = async (wanted) => {
    for (const end = Date.now() + PATIENCE; Date.now() < end; await setTimeout(20)) {
      const event = events.find(wanted);
      if (event) return event;
    }
    assert.fail(`not among what went over the network: ${wanted}`);
  };
  return { listPrebuilds, seen };
}

async function createPrebuild({ url, key, projectId }) {
  const transport = createConnectTransport({ baseUrl: url, httpVersion: "1.1", interceptors: [withKey(key)] });
  const { prebuild } = await createClient(PrebuildService, transport).createPrebuild({ projectId, spec: {} });
  return prebuild.id;
}

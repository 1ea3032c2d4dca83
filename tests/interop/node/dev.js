// Starts `prebuild-gateway dev` for a test.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

// A debug build on a busy machine starts within a second; what takes longer hangs.
const PATIENCE = 30_000;

/** A running `dev`, which ends with the test. */
export async function dev(test, ...more) {
  const binary = process.env.PREBUILD_GATEWAY_BIN;
  if (!binary) throw new Error("PREBUILD_GATEWAY_BIN must name the gateway's binary; run sets it");
  const ports = ["--listen", "--admin", "--sandbox"].flatMap((port) => [port, "127.0.0.1:0"]);
  // Its audit log goes where TMPDIR says, and away with the test.
  const TMPDIR = await mkdtemp(join(tmpdir(), "interop-node-"));
  const options = { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, TMPDIR } };
  const gateway = spawn(binary, ["dev", "--print", "json", ...ports, ...more], options);
  const ended = once(gateway, "exit");
  let log = "";
  gateway.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  test.after(async () => {
    gateway.kill("SIGTERM");
    const timer = setTimeout(() => gateway.kill("SIGKILL"), PATIENCE);
    const [code] = await ended;
    clearTimeout(timer);
    await rm(TMPDIR, { recursive: true });
    if (code !== 0) throw new Error(`SIGTERM ends \`dev\` with 0, not ${code}:\n${log}`);
  });

  const line = once(createInterface(gateway.stdout), "line", { signal: AbortSignal.timeout(PATIENCE) });
  const noLine = ended.then(([code]) => {
    throw new Error(`\`dev\` printed no line and ended with ${code}:\n${log}`);
  });
  const told = JSON.parse((await Promise.race([line, noLine]))[0]);
  const [org] = told.orgs;
  return { url: `http://${told.gateway}`, key: org.key, projectId: org.projects[0], environmentClassId: org.classes[0] };
}

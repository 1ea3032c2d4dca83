// One line for every client and protocol that went well, for the summary of tests/interop/run.
export default async function* (events) {
  for await (const { type, data } of events) {
    if (type !== "test:pass" || data.nesting > 0) continue;
    const [client, ...protocol] = data.name.split(", ");
    yield `interop ok: ${client.padEnd(20)} ${protocol.join(", ")}\n`;
  }
}

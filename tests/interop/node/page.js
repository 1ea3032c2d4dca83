// Quick start for web pages with connect-web, over Connect or gRPC-Web; the gateway must list the page's origin in
// `cors.origins`.
//
//   npm install @connectrpc/connect @connectrpc/connect-web @bufbuild/protobuf
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { PrebuildService } from "./gen/gitpod/v1/prebuild_pb.js";
import { BadRequestSchema } from "./gen/google/rpc/error_details_pb.js";

const transports = {
  "connect-json": (options) => createConnectTransport({ useBinaryFormat: false, ...options }),
  "connect-proto": (options) => createConnectTransport({ useBinaryFormat: true, ...options }),
  "connect-get": (options) => createConnectTransport({ useHttpGet: true, ...options }),
  "grpc-web": (options) => createGrpcWebTransport(options),
};

/** The ids of all prebuilds, or why there are none. */
export async function listPrebuilds(protocol, baseUrl, key, pageSize) {
  const client = createClient(PrebuildService, transports[protocol]({ baseUrl }));
  const headers = { authorization: `Bearer ${key}` };
  try {
    const { prebuilds } = await client.listPrebuilds({ pagination: { pageSize } }, { headers });
    return { ids: prebuilds.map((prebuild) => prebuild.id) };
  } catch (reason) {
    const error = ConnectError.from(reason);
    const violations = error.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations);
    return { code: Code[error.code], fields: violations.map((violation) => violation.field) };
  }
}

// The page's console, and the test, call it.
window.listPrebuilds = listPrebuilds;

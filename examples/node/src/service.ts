// The service's contract as TypeScript: the messages' types and the stub made from the proto.
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { fileURLToPath } from "node:url";

/** One tensor's description; its bytes stand beside it in `raw_..._contents`. */
export interface Tensor {
  name: string;
  datatype: string;
  shape: number[];
}

export interface InferRequest {
  model_name: string;
  id: string;
  parameters: Record<string, { int64_param: number }>;
  inputs: Tensor[];
  raw_input_contents: Buffer[];
}

export interface InferResponse {
  id: string;
  outputs: Tensor[];
  raw_output_contents: Buffer[];
}

type Unary<Request, Response> = (
  request: Request,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: (error: grpc.ServiceError | null, response?: Response) => void,
) => grpc.ClientUnaryCall;

export interface Service extends grpc.Client {
  ModelInfer: Unary<InferRequest, InferResponse>;
  ModelReady: Unary<{ name: string }, { ready: boolean }>;
}

const PROTO = fileURLToPath(new URL("../../proto/kserve.proto", import.meta.url));

/** A stub for HOST:PORT; nothing is opened before its first call, and `close()` gives it back. */
export function connect(address: string): Service {
  const definition = loadSync(PROTO, { keepCase: true, longs: Number });
  const loaded = grpc.loadPackageDefinition(definition) as unknown as {
    inference: { GRPCInferenceService: grpc.ServiceClientConstructor };
  };
  return new loaded.inference.GRPCInferenceService(address, grpc.credentials.createInsecure(), {
    // RESULT of an hour with characters is larger than the 4 MiB that gRPC accepts by default.
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  }) as unknown as Service;
}

// The contract's call: AUDIO and OPTIONS in, RESULT out, with a deadline and typed errors.
import * as grpc from "@grpc/grpc-js";
import { randomUUID } from "node:crypto";
import type { InferResponse, Service } from "./service.js";

export interface Span {
  text: string;
  start_s: number;
  end_s: number;
  confidence: number;
}

/** The RESULT document; keys that are not listed here belong to later versions. */
export interface Result {
  contract: 1;
  text: string;
  duration_s: number;
  confidence: number;
  words?: Span[];
  chars?: Span[];
  model: { id: string; revision: string };
  timing_ms: Record<string, number>;
}

export interface Options {
  encoding?: "container" | "pcm_s16le" | "pcm_f32le";
  sample_rate?: number;
  channels?: number;
  timestamps?: "none" | "word" | "char";
  channel?: "mix" | number;
}

export class AsrError extends Error {
  /** The contract's code, such as AUDIO_TOO_LONG; null where the words are Triton's own. */
  readonly code: string | null;
  /** The gRPC status, such as INVALID_ARGUMENT. */
  readonly status: string;
  readonly requestId: string;

  constructor(status: string, words: string, requestId: string) {
    super(words);
    this.name = "AsrError";
    this.status = status;
    this.requestId = requestId;
    this.code = /^(?:\[request id: [^\]]*\] )?([A-Z][A-Z0-9_]+): /.exec(words)?.[1] ?? null;
  }
}

/** Transcribes one recording, or rejects with an AsrError after `timeoutMs` at the latest. */
export function transcribe(
  service: Service,
  audio: Buffer,
  options: Options,
  timeoutMs: number,
): Promise<Result> {
  return infer<Result>(service, "transcribe", audio, options, timeoutMs);
}

/** One call of a model: AUDIO and OPTIONS in, RESULT out. */
export function infer<T>(
  service: Service,
  model: string,
  audio: Buffer,
  options: object,
  timeoutMs: number,
): Promise<T> {
  const id = randomUUID();
  const request = {
    model_name: model,
    id,
    // Microseconds: the server drops the request from its queue when nobody waits any more.
    // Microseconds in the queue: the rest of the time is for the answer.
    parameters: { timeout: { int64_param: Math.max(1, Math.round(0.7 * timeoutMs * 1000)) } },
    inputs: ["AUDIO", "OPTIONS"].map((name) => ({ name, datatype: "BYTES", shape: [1, 1] })),
    raw_input_contents: [element(audio), element(Buffer.from(JSON.stringify(options)))],
  };
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + timeoutMs;
    service.ModelInfer(request, new grpc.Metadata(), { deadline }, (error, response) => {
      if (error || !response) {
        const status = grpc.status[error?.code ?? grpc.status.UNKNOWN];
        reject(new AsrError(status, error?.details ?? "no response", id));
        return;
      }
      try {
        resolve(result<T>(response));
      } catch (broken) {
        reject(new AsrError("OK", String(broken), id));
      }
    });
  });
}

function result<T>(response: InferResponse): T {
  const index = response.outputs.findIndex((output) => output.name === "RESULT");
  const raw = response.raw_output_contents[index];
  if (!raw || raw.readUInt32LE(0) !== raw.length - 4) throw new Error("no RESULT of one element");
  const document = JSON.parse(raw.toString("utf8", 4)) as T & { contract: number };
  if (document.contract !== 1) throw new Error(`contract ${document.contract} is not known here`);
  return document;
}

/** One element of a BYTES tensor: its length in 4 bytes, little-endian, then the bytes. */
function element(value: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  return Buffer.concat([length, value]);
}

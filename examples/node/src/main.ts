// node dist/main.js recording.wav [--url HOST:PORT] [--timeout SECONDS]
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { connect } from "./service.js";
import { AsrError, transcribe } from "./transcribe.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string", default: process.env.ASR_URL ?? "localhost:8001" },
    timeout: { type: "string", default: "60" },
  },
});
const [file] = positionals;
const timeoutMs = 1000 * Number(values.timeout);
if (file === undefined || !(timeoutMs > 0)) {
  console.error("usage: node dist/main.js FILE [--url HOST:PORT] [--timeout SECONDS]");
  process.exit(2);
}

const service = connect(values.url);
try {
  const result = await transcribe(service, await readFile(file), { timestamps: "word" }, timeoutMs);
  console.log(result.text);
  for (const word of result.words ?? []) {
    console.log(`${word.start_s.toFixed(2)} ${word.end_s.toFixed(2)} ${word.text}`);
  }
} catch (error) {
  if (!(error instanceof AsrError)) throw error;
  const { status, code, message, requestId } = error;
  console.error(JSON.stringify({ status, code, message, requestId }));
  process.exitCode = 1;
} finally {
  service.close();
}

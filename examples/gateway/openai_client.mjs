// Transcribe a recording with OpenAI's package for Node.js: text, word times, and a stream.
//
// node openai_client.mjs recording.wav --url http://127.0.0.1:8080

import fs from "node:fs/promises";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import OpenAI, { toFile } from "openai";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string", default: process.env.ASR_GATEWAY ?? "http://127.0.0.1:8080" },
    key: { type: "string", default: "unused" },
  },
});
const client = new OpenAI({ baseURL: `${values.url}/v1`, apiKey: values.key });
// From memory: the package sends a request again when the service is busy, but never a stream.
const file = await toFile(await fs.readFile(positionals[0]), basename(positionals[0]));
const recording = { model: "whisper-1", file };

const { text } = await client.audio.transcriptions.create(recording);
console.log(text);

const verbose = await client.audio.transcriptions.create({
  ...recording,
  response_format: "verbose_json",
  timestamp_granularities: ["word"],
});
for (const { word, start, end } of verbose.words) {
  console.log(start.toFixed(2).padStart(6), end.toFixed(2).padStart(6), word);
}

for await (const event of await client.audio.transcriptions.create({ ...recording, stream: true })) {
  if (event.type === "transcript.text.delta") process.stdout.write(event.delta);
}
console.log();

try {
  await client.audio.transcriptions.create({ ...recording, prompt: "in upper case" });
} catch (error) {
  if (!(error instanceof OpenAI.BadRequestError)) throw error;
  console.log(`refused because of the field ${error.param}: ${error.message}`);
}

// Calls a gateway with OpenAI's npm package: arguments URL and the path of a recording.
// Prints one JSON object, what each call gave; the tests say what it has to be.

import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const [url, path] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });
const fields = (more) => ({ model: "whisper-1", file: fs.createReadStream(path), ...more });
const create = (more) => client.audio.transcriptions.create(fields(more));

async function failure(call) {
  try {
    await call;
  } catch (error) {
    const { status, param, code } = error;
    return { kind: error.constructor.name, status, param, code, id: Boolean(error.requestID) };
  }
  return null;
}

const found = {};
found.json = await create();
found.text = await create({ response_format: "text" });
found.srt = await create({ response_format: "srt" });
found.vtt = await create({ response_format: "vtt" });
found.verbose = await create({
  response_format: "verbose_json",
  timestamp_granularities: ["word", "segment"],
});
found.buffer = await client.audio.transcriptions.create({
  model: "whisper-1",
  file: await toFile(fs.readFileSync(path), "any.wav"),
});
found.keywords = await create({ keywords: ["clubs"] });

found.events = [];
for await (const event of await create({ stream: true })) found.events.push(event);

const raw = await client.audio.transcriptions.create(fields(), { headers: { "x-request-id": "r-9" } }).withResponse();
found.requestId = raw.response.headers.get("x-request-id");

found.models = [];
for await (const model of client.models.list()) found.models.push(model.id);
found.model = await client.models.retrieve("whisper-1");

found.failures = {
  model: await failure(create({ model: "gpt-4o-transcribe" })),
  retrieve: await failure(client.models.retrieve("none")),
  prompt: await failure(create({ prompt: "in upper case" })),
  temperature: await failure(create({ temperature: 0.5 })),
  streamedText: await failure(create({ stream: true, response_format: "text" })),
  audio: await failure(client.audio.transcriptions.create({
    model: "whisper-1",
    file: await toFile(Buffer.from("no audio"), "a.wav"),
  })),
};

const many = await Promise.all(Array.from({ length: 16 }, () => create()));
found.many = many.map(({ text }) => text);
console.log(JSON.stringify(found));

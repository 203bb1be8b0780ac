// node dist/live.js recording.wav [--url HOST:PORT]: plays a WAV file in place of a microphone.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { connect } from "./service.js";
import { bytesPerSecond, stream, type Form, type Microphone } from "./stream.js";
import { AsrError } from "./transcribe.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { url: { type: "string", default: process.env.ASR_URL ?? "localhost:8001" } },
});
const [file] = positionals;
if (file === undefined) {
  console.error("usage: node dist/live.js FILE [--url HOST:PORT]");
  process.exit(2);
}
const { pcm, form } = wav(await readFile(file));
const service = connect(values.url);
try {
  for await (const look of stream(service, play(pcm, form), form, { decoder: "beam" })) {
    for (const { start_s, text } of look.segments) {
      console.log(`${start_s.toFixed(2).padStart(7)} s  ${text}`);
    }
    if (look.interim) console.log(`         …  ${look.interim.text}`);
  }
} catch (error) {
  if (!(error instanceof AsrError)) throw error;
  const { status, code, message, requestId } = error;
  console.error(JSON.stringify({ status, code, message, requestId }));
  process.exitCode = 1;
} finally {
  service.close();
}

/** The samples at the speed at which they were recorded. */
function play(pcm: Buffer, form: Form): Microphone {
  const perS = bytesPerSecond(form);
  const began = performance.now();
  let heard = 0;
  return async (seconds) => {
    if (heard === pcm.length) return null;
    const due = Math.min(pcm.length, heard + seconds * perS);
    await sleep(Math.max(0, (1000 * due) / perS - (performance.now() - began)));
    const frames = Math.floor(((performance.now() - began) / 1000) * form.sample_rate);
    const from = heard;
    heard = Math.min(pcm.length, Math.max(heard, frames * (perS / form.sample_rate)));
    return pcm.subarray(from, heard);
  };
}

/** The samples of a WAV file of 16 bits. */
function wav(bytes: Buffer): { pcm: Buffer; form: Form } {
  let form: Form | undefined;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = bytes.toString("latin1", at, at + 4);
    const body = bytes.subarray(at + 8, at + 8 + bytes.readUInt32LE(at + 4));
    if (name === "fmt " && body.readUInt16LE(0) === 1 && body.readUInt16LE(14) === 16) {
      const [channels, sample_rate] = [body.readUInt16LE(2), body.readUInt32LE(4)];
      form = { encoding: "pcm_s16le", sample_rate, channels };
    }
    if (name === "data" && form) {
      const frame = 2 * form.channels;
      return { pcm: body.subarray(0, body.length - (body.length % frame)), form };
    }
    at += 8 + body.length + (body.length % 2);
  }
  console.error(`${file} is no WAV file of 16 bits`);
  process.exit(2);
}

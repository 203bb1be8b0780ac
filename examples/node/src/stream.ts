// Live recognition: looks at the audio that is not final yet. docs/live.md explains each step.
import { setTimeout as sleep } from "node:timers/promises";
import type { Service } from "./service.js";
import { AsrError, infer, type Span } from "./transcribe.js";

const HOP_S = 0.4;
const MIN_TIMEOUT_S = 5;
/** The server's `max_segment_s`, and 5 s: what a caller that is behind sends at once. */
const CATCH_UP_S = 20;
/** How long the last look is repeated. */
const GIVE_UP_S = 30;

export interface Segment {
  index: number;
  start_s: number;
  end_s: number;
  text: string;
  words?: Span[];
}

/** RESULT of one look; keys that are not listed here belong to later versions. */
export interface Look {
  audio_processed_s: number;
  consumed_bytes: number;
  consumed_s: number;
  state: string;
  /** What became final. */
  segments: Segment[];
  /** The words so far of the open segment; replaces the interim before. */
  interim?: Segment & { stable_text: string };
}

export interface Form {
  encoding: "pcm_s16le" | "pcm_f32le";
  sample_rate: number;
  channels: number;
}

/** Waits for so many more seconds and returns all PCM since the last time; null at the end. */
export type Microphone = (seconds: number) => Promise<Buffer | null>;

/** Yields the answer of every look, up to the end of the audio; throws what ends the stream. */
export async function* stream(
  service: Service,
  microphone: Microphone,
  form: Form,
  options: { decoder?: "greedy" | "beam" } = {},
): AsyncGenerator<Look> {
  const bytesPerS = bytesPerSecond(form);
  let kept = Buffer.alloc(0); // the audio that is not final
  let state: string | undefined; // RESULT's, of the look before
  let hopS = HOP_S;
  let felled = 0; // looks at the open segment that ended a process of the server
  let endedAt: number | undefined;
  for (;;) {
    const block = await microphone(hopS);
    if (block) kept = Buffer.concat([kept, block]);
    else endedAt ??= performance.now();
    const isBehind = kept.length > CATCH_UP_S * bytesPerS;
    const audio = isBehind ? kept.subarray(0, CATCH_UP_S * bytesPerS) : kept;
    const end = !block && !isBehind;
    const leftS = GIVE_UP_S - (performance.now() - (endedAt ?? performance.now())) / 1000;
    const timeoutS = end ? leftS : Math.max(MIN_TIMEOUT_S, audio.length / bytesPerS);
    let look: Look;
    try {
      const document = { ...form, ...options, state, end, interim: !isBehind };
      look = await infer(service, "transcribe_stream", audio, document, 1000 * timeoutS);
    } catch (error) {
      if (!(error instanceof AsrError) || !isLost(error) || leftS < 1) throw error;
      // This segment's audio must not end a third process: drop it, or stop, as here.
      if (mayHaveFelled(error) && ++felled === 2) throw error;
      hopS = HOP_S; // The next look has this one's audio, and more.
      if (!block) await sleep(1000 * HOP_S * (1 + Math.random()));
      continue;
    }
    kept = kept.subarray(look.consumed_bytes);
    state = look.state;
    felled = 0;
    yield look;
    if (end) return;
    // A look may stop behind a final; then the next one is due at once.
    const restS = look.consumed_s + kept.length / bytesPerS - look.audio_processed_s;
    const openS = look.interim ? look.interim.end_s - look.interim.start_s : 0;
    hopS = restS > 0.01 ? 0 : Math.max(HOP_S, 0.1 * openS);
  }
}

export function bytesPerSecond(form: Form): number {
  return form.sample_rate * form.channels * (form.encoding === "pcm_s16le" ? 2 : 4);
}

/** Whether the next look may succeed. */
function isLost(error: AsrError): boolean {
  return ["UNAVAILABLE", "DEADLINE_EXCEEDED"].includes(error.status) || mayHaveFelled(error);
}

/** Whether the look may have ended a process: "Stub process … is not healthy" has no code. */
function mayHaveFelled(error: AsrError): boolean {
  return error.code === "ENGINE_RESTARTING" || (error.status === "INTERNAL" && error.code === null);
}

/** Frames, as far as the fake gateway looks into them (docs/protocol.md), and how they are refused. */

/** A frame of either side. */
export interface Frame {
  readonly op: string;
  readonly [field: string]: unknown;
}

/** An event as it was published. */
export type Envelope = Readonly<Record<string, unknown>> & { readonly type: string };

/** A frame that can't be done: becomes an `error`, or a status over HTTP. */
export class Refusal extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly topic?: string,
  ) {
    super(message);
  }
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isFrame(value: unknown): value is Frame {
  return isMap(value) && typeof value.op === 'string';
}

/** A field that must be a string. */
export function textIn(frame: Readonly<Record<string, unknown>>, field: string): string {
  const value = frame[field];
  if (typeof value !== 'string') {
    throw new Refusal('bad_frame', `\`${field}\` must be a string`);
  }
  return value;
}

/** A field that may be left out, and else must be a whole number of at least 1. */
export function countIn(frame: Frame, field: string): number | undefined {
  const value = frame[field];
  if (value === undefined) {
    return undefined;
  }
  if (!Number.isInteger(value) || (value as number) < 1) {
    const topic = typeof frame.topic === 'string' ? frame.topic : undefined;
    throw new Refusal('bad_frame', `\`${field}\` must be an integer of 1 or more`, topic);
  }
  return value as number;
}

const BYTES_MAX = 200;
// Spaces, control characters and `{ } * ? [ ]`.
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
const FORBIDDEN = /[\u0000-\u0020\u007f-\u009f{}*?[\]]/;

/** A field that must be a topic: `tenant`, `user:<id>` or `channel:<name>`. */
export function topicIn(frame: Readonly<Record<string, unknown>>): string {
  const topic = textIn(frame, 'topic');
  const name = topic === 'tenant' ? topic : topic.replace(/^(user|channel):/, '');
  const isOne = topic === 'tenant' || name !== topic;
  if (!isOne || name === '' || new TextEncoder().encode(name).length > BYTES_MAX || FORBIDDEN.test(name)) {
    throw new Refusal('invalid_topic', `${JSON.stringify(topic)} is no topic`, topic);
  }
  return topic;
}

/** An event that may be published. */
export function envelopeIn(event: unknown, topic: string): Envelope {
  if (!isMap(event)) {
    throw new Refusal('bad_frame', 'the event is neither a JSON object nor a MessagePack map', topic);
  }
  const { type } = event;
  if (typeof type !== 'string' || type === '' || new TextEncoder().encode(type).length > BYTES_MAX) {
    throw new Refusal('bad_frame', `the event's \`type\` must be a string of 1 to ${BYTES_MAX} bytes`, topic);
  }
  return event as Envelope;
}

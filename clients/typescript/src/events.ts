/** From an envelope off the wire to the message that listeners get. */

import { FanfareError } from './error.ts';
import type { Envelope } from './frames.ts';
import type { Message } from './message.ts';
import type { ClientOptions, Schema } from './options.ts';
import { channelOf, type EventDetails } from './topics.ts';

/** So many of the events that this client published are known as its own when they come back. */
const OWN_IDS_MAX = 256;

/** What a publisher may write; the node has seen to it that the types are these. */
interface KnownFields {
  type: string;
  data?: unknown;
  id?: string;
  at?: number;
  traceparent?: string;
}

export function createEvents(
  { schemas, trace }: Pick<ClientOptions<never>, 'schemas' | 'trace'>,
  tell: { message(message: Message): void; invalid(error: FanfareError): void },
) {
  const ownIds = new Set<string>();

  /** The message, unless its data doesn't match its schema. */
  function read(
    topic: string,
    envelope: Envelope,
    { position, traceparent, recovered }: EventDetails,
  ): Message | undefined {
    const { type, data = null, id, at, traceparent: published } = envelope as unknown as KnownFields;
    const schema = (schemas as Record<string, Schema | undefined> | undefined)?.[type];
    const [valid, problem] = schema ? check(schema, data) : [data];
    if (problem !== undefined) {
      tell.invalid(new FanfareError('invalid_data', `${topic}: event ${type}: ${problem}`, { topic }));
      return undefined;
    }
    return {
      type,
      data: valid,
      topic,
      channel: channelOf(topic),
      position,
      id,
      at,
      traceparent: traceparent ?? published,
      recovered,
      own: id !== undefined && ownIds.has(id),
      envelope,
    };
  }

  return {
    read,
    /** An id for an event of this client's own, by which it is known when it comes back. */
    own(id = randomId()): string {
      ownIds.add(id);
      if (ownIds.size > OWN_IDS_MAX) {
        ownIds.delete(ownIds.values().next().value as string);
      }
      return id;
    },
    /** Tells the listeners, within the event's trace. */
    deliver(topic: string, envelope: Envelope, details: EventDetails): void {
      const message = read(topic, envelope, details);
      if (message?.traceparent && trace?.extract) {
        trace.extract(message.traceparent, () => tell.message(message));
      } else if (message) {
        tell.message(message);
      }
    },
  };
}

/** The data as its schema has it, or what is wrong with it. */
function check(schema: Schema, data: unknown): [unknown, string?] {
  try {
    const result = schema['~standard'].validate(data);
    if ('value' in result && !result.issues) {
      return [result.value];
    }
    const issues = 'issues' in result ? result.issues : undefined;
    return [undefined, issues?.map(({ message }) => message).join('; ') ?? 'asynchronous schema'];
  } catch (thrown) {
    return [undefined, String(thrown)];
  }
}

/** It need only be unlike others: no secret, so it does without `crypto`, which not every page and app has. */
function randomId(): string {
  return `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
}

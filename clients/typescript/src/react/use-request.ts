/** Requests to backends, and what became of them. */

import { useCallback, useState } from 'react';
import type { FanfareError, MethodInput, MethodName, MethodOutput, RequestOptions } from '../index.ts';
import { useClient } from './provider.tsx';

type Arguments<M extends MethodName> =
  undefined extends MethodInput<M>
    ? [input?: MethodInput<M>, options?: RequestOptions]
    : [input: MethodInput<M>, options?: RequestOptions];

export interface RequestHandle<M extends MethodName> {
  /**
   * Asks. The same function at each render. What it returns rejects with a `FanfareError`; whoever looks at `error` may
   * ignore that. A request goes on when the component unmounts: give a `signal` to end it.
   */
  request: (...args: Arguments<M>) => Promise<MethodOutput<M>>;
  /** The last answer. Stays while the next one is waited for. */
  data: MethodOutput<M> | undefined;
  /** Why the last request failed. */
  error: FanfareError | undefined;
  /** The last request is waited for. */
  isPending: boolean;
}

interface Asked<M extends MethodName> extends Omit<RequestHandle<M>, 'request'> {
  method: M;
  answer: Promise<MethodOutput<M>> | undefined;
}

/** Asks backends by `request(input)`, and shows how the last request stands. Of several in flight only the last one counts. */
export function useRequest<M extends MethodName>(method: M): RequestHandle<M> {
  const client = useClient();
  const [asked, setAsked] = useState<Asked<M>>(() => nothingAsked(method));
  const request = useCallback(
    (...args: Arguments<M>) => {
      const answer = client.request(method, ...args);
      setAsked((last) => ({
        ...nothingAsked(method),
        data: last.method === method ? last.data : undefined,
        answer,
        isPending: true,
      }));
      const settle = (outcome: Partial<Asked<M>>) =>
        setAsked((last) => (last.answer === answer ? { ...last, ...outcome, isPending: false } : last));
      answer.then(
        (data) => settle({ data }),
        (error) => settle({ error }),
      );
      return answer;
    },
    [client, method],
  );
  const { data, error, isPending } = asked.method === method ? asked : nothingAsked(method);
  return { request, data, error, isPending };
}

function nothingAsked<M extends MethodName>(method: M): Asked<M> {
  return { method, answer: undefined, data: undefined, error: undefined, isPending: false };
}

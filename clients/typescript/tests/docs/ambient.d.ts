/** As much as the documents use of packages that are not installed here. */

declare module '*.vue' {
  const component: import('vue').Component;
  export default component;
}

declare module 'express' {
  interface Response {
    sendStatus(status: number): this;
    set(field: string, value: string): this;
    send(body: string): this;
  }
  interface Application {
    get(path: string, handler: (request: { headers: Record<string, unknown> }, response: Response) => unknown): this;
  }
  export default function express(): Application;
}

declare module 'react-native' {
  export const AppState: {
    addEventListener(
      type: 'change',
      listener: (state: 'active' | 'background' | 'inactive') => void,
    ): { remove(): void };
  };
}

declare module 'react-native-url-polyfill/auto' {}

declare module 'sonner' {
  interface Toast {
    (message: string, options?: { id?: string }): string | number;
    success: Toast;
    warning: Toast;
    error: Toast;
  }
  export const toast: Toast;
}

declare module '@sentry/browser' {
  export function captureException(
    error: unknown,
    hint?: { tags?: Record<string, string>; extra?: Record<string, unknown> },
  ): string;
}

declare module '@sentry/react' {
  export * from '@sentry/browser';
}

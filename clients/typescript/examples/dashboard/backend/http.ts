/** Routes over node:http: `get('/workshops/:id', …)`. What a handler returns is the answer, as JSON; undefined is 404. */

import { createServer, type Server } from 'node:http';

export interface HttpRequest {
  /** What stands for `:name` in the path. */
  param(name: string): string;
  /** Who asks. Here whoever the page says; a real backend knows by its session. */
  user: string;
  body: unknown;
}

type Handler = (request: HttpRequest) => unknown;

export class Routes {
  readonly #routes: { method: string; pattern: RegExp; handler: Handler }[] = [];

  get(path: string, handler: Handler): void {
    this.#add('GET', path, handler);
  }

  post(path: string, handler: Handler): void {
    this.#add('POST', path, handler);
  }

  /** A server that answers by these routes, below `/api`. */
  server(): Server {
    return createServer(async (request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://localhost');
      let status = 404;
      let answer: unknown = { error: 'not found' };
      for (const { method, pattern, handler } of this.#routes) {
        const match = request.method === method && pattern.exec(pathname);
        if (match) {
          try {
            const body = method === 'POST' ? await bodyOf(request) : undefined;
            const user = String(request.headers['x-user'] ?? 'ada');
            const result = await handler({ param: (name) => match.groups?.[name] ?? '', user, body });
            if (result !== undefined) [status, answer] = [200, result];
          } catch (error) {
            console.error(error);
            [status, answer] = [500, { error: 'the backend failed' }];
          }
          break;
        }
      }
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      response.end(JSON.stringify(answer));
    });
  }

  #add(method: string, path: string, handler: Handler): void {
    const pattern = new RegExp(`^/api${path.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`);
    this.#routes.push({ method, pattern, handler });
  }
}

async function bodyOf(request: AsyncIterable<Buffer>): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
}

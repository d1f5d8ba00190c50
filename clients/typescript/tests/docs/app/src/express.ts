/** As much of Express as one route takes. */

type Handler = (request: object, response: object) => unknown;

declare global {
  var routes: Map<string, Handler>;
}

export default function express() {
  globalThis.routes = new Map();
  return { get: (path: string, handler: Handler) => globalThis.routes.set(path, handler) };
}

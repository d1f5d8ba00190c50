import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Listener } from './support/listener.ts';
import { API_KEY, FanfareNode, SECRET } from './support/node.ts';

const root = join(import.meta.dirname, '..');

/** What an edge runtime has, and nothing of Node. */
const edge = () => ({
  fetch,
  URL,
  TextEncoder,
  AbortController,
  setTimeout,
  clearTimeout,
  crypto,
  btoa,
});

/** The built package, bundled as for a browser. What it can't resolve there fails. */
async function bundled(text: string): Promise<{ code: string; inputs: string[] }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: text, resolveDir: root },
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'bundle',
    target: 'es2022',
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  return { code: outputFiles[0]?.text ?? '', inputs: Object.keys(metafile.inputs) };
}

describe('on the edge', () => {
  let node: FanfareNode;

  beforeAll(async () => {
    node = await FanfareNode.start();
  });

  afterAll(() => node?.stop());

  test('publishing and minting need nothing but what every runtime has', async () => {
    const text = "export * from '@fanfare/server/http'; export { mintToken } from '@fanfare/server/token';";
    const { code, inputs } = await bundled(text);
    expect(inputs.filter((path) => path !== '<stdin>' && !path.startsWith('dist/'))).toEqual([]);
    const listener = await Listener.connect(node);
    const bundle = runInNewContext(`${code}; bundle`, edge());
    const publisher = bundle.createHttpPublisher({ url: node.apiUrl, apiKey: API_KEY });
    await publisher.publish('acme', bundle.user('42'), { type: 'from.the.edge', data: { ok: true } });
    expect((await listener.event('from.the.edge')).event.data).toEqual({ ok: true });
    const token = await bundle.mintToken({ secret: SECRET, tenant: 'acme', user: '7' });
    expect(token.split('.').length).toBe(3);
    await expect(publisher.publish('node', 'tenant', { type: 'a' })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
    listener.close();
  });

  test('what is not used is left out', async () => {
    const { code } = await bundled("import '@fanfare/server/http'; export { mintToken } from '@fanfare/server/token';");
    expect(code).toContain('HMAC');
    expect(code).not.toContain('Bearer');
  });
});

test('the package lists what it has, types first', () => {
  const { exports, dependencies, sideEffects } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  expect(dependencies).toBeUndefined();
  expect(sideEffects).toBe(false);
  for (const entry of ['.', './http', './token']) {
    expect(Object.keys(exports[entry])[0]).toBe('types');
    for (const path of Object.values<string>(exports[entry])) {
      expect(readFileSync(join(root, path), 'utf8').length).toBeGreaterThan(0);
    }
  }
});
